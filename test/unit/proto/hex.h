/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hex.h - bytes of tests, written as people read them in a dump.
 */
#ifndef TEST_UNIT_PROTO_HEX_H
#define TEST_UNIT_PROTO_HEX_H

#include "proto/base/bytes.h"

#include <check.h>

#include <stdlib.h>

/* The value of a hex digit, or -1. */
static inline int hex_digit(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/*
 * Decodes "93 02 a6..." (blanks anywhere between bytes) into memory of exactly that size, so that a
 * sanitizer sees the first byte read beyond. Never freed: a test process ends soon.
 */
static inline struct bytes hex(const char *text)
{
    uint8_t *bytes = malloc(strlen(text) / 2 + 1);
    size_t length = 0;
    ck_assert_ptr_nonnull(bytes);
    for (const char *at = text; *at != '\0';) {
        if (*at == ' ' || *at == '\n') {
            at++;
            continue;
        }
        ck_assert_msg(hex_digit(at[0]) >= 0 && hex_digit(at[1]) >= 0, "no hex: %s", at);
        bytes[length++] = (uint8_t)(hex_digit(at[0]) << 4 | hex_digit(at[1]));
        at += 2;
    }
    uint8_t *exact = malloc(length == 0 ? 1 : length);
    ck_assert_ptr_nonnull(exact);
    memcpy(exact, bytes, length);
    free(bytes);
    return (struct bytes){exact, length};
}

/* A copy in memory of exactly its size. */
static inline uint8_t *exact_copy(struct bytes from)
{
    uint8_t *copy = malloc(from.length == 0 ? 1 : from.length);
    ck_assert_ptr_nonnull(copy);
    if (from.length > 0) {
        memcpy(copy, from.data, from.length);
    }
    return copy;
}

#define ck_assert_bytes_eq(actual, expected)                           \
    do {                                                               \
        struct bytes actual_bytes = (actual);                          \
        struct bytes expected_bytes = (expected);                      \
        ck_assert_uint_eq(actual_bytes.length, expected_bytes.length); \
        ck_assert(bytes_equal(actual_bytes, expected_bytes));          \
    } while (0)

#endif
