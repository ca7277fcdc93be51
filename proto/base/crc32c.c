/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32c.c - CRC-32C through isa-l, which picks the machine's instructions at the first call.
 */
#include "proto/base/crc32c.h"

#include <isa-l/crc.h>

/* isa-l takes the length as an int. */
#define PIECE_BYTES_MAX ((size_t)1 << 30)

uint32_t crc32c(const void *data, size_t length)
{
    return crc32c_continue(0, data, length);
}

uint32_t crc32c_continue(uint32_t crc, const void *data, size_t length)
{
    /* isa-l does not write through the pointer; its prototype merely lacks the const. */
    unsigned char *at = (unsigned char *)(uintptr_t)data;
    uint32_t state = ~crc;

    while (length > 0) {
        size_t piece = length < PIECE_BYTES_MAX ? length : PIECE_BYTES_MAX;
        state = crc32_iscsi(at, (int)piece, state);
        at += piece;
        length -= piece;
    }
    return ~state;
}
