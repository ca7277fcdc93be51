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

/* Memory that stays reachable until the test's process ends; the bytes end where it ends. */
struct hex_block {
    struct hex_block *next;
    uint8_t bytes[];
};

static struct hex_block *hex_blocks;

/*
 * Decodes "93 02 a6..." (blanks anywhere between bytes) into memory of exactly that size, so that a
 * sanitizer sees the first byte read beyond.
 */
static inline struct bytes hex(const char *text)
{
    static uint8_t bytes[65536];
    size_t length = 0;
    for (const char *at = text; *at != '\0';) {
        if (*at == ' ' || *at == '\n') {
            at++;
            continue;
        }
        ck_assert_msg(hex_digit(at[0]) >= 0 && hex_digit(at[1]) >= 0, "no hex: %s", at);
        ck_assert_uint_lt(length, sizeof(bytes));
        bytes[length++] = (uint8_t)(hex_digit(at[0]) << 4 | hex_digit(at[1]));
        at += 2;
    }
    struct hex_block *block = malloc(sizeof(*block) + length);
    ck_assert_ptr_nonnull(block);
    block->next = hex_blocks;
    hex_blocks = block;
    memcpy(block->bytes, bytes, length);
    return (struct bytes){block->bytes, length};
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
