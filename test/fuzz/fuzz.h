/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz.h - what the fuzz targets have in common.
 */
#ifndef TEST_FUZZ_FUZZ_H
#define TEST_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a target defines; returns 0, and aborts when a property does not hold. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

/* A copy in memory of exactly its size, so that a sanitizer sees the first byte read beyond. */
static inline uint8_t *fuzz_copy(const uint8_t *data, size_t length)
{
    uint8_t *copy = malloc(length == 0 ? 1 : length);
    if (copy == NULL) {
        fprintf(stderr, "fuzz: no memory\n");
        abort();
    }
    if (length > 0) {
        memcpy(copy, data, length);
    }
    return copy;
}

#endif
