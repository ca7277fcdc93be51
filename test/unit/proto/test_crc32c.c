/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_crc32c.c - the checksum is the one that everybody else computes.
 */
#include "proto/base/crc32c.h"
#include "test/lib/check_main.h"

#include <string.h>

/* Bit by bit, from the polynomial. */
static uint32_t slow_crc32c(const uint8_t *data, size_t length)
{
    uint32_t state = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        state ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            state = state >> 1 ^ (0x82f63b78U & (0U - (state & 1)));
        }
    }
    return ~state;
}

START_TEST(the_check_value_and_the_vectors_of_rfc_3720_hold)
{
    uint8_t data[32];
    ck_assert_uint_eq(crc32c("123456789", 9), 0xe3069283U);
    memset(data, 0, sizeof(data));
    ck_assert_uint_eq(crc32c(data, sizeof(data)), 0x8a9136aaU);
    memset(data, 0xff, sizeof(data));
    ck_assert_uint_eq(crc32c(data, sizeof(data)), 0x62a8ab43U);
    ck_assert_uint_eq(crc32c("", 0), 0);
}
END_TEST

START_TEST(pieces_give_the_same_as_the_whole)
{
    uint8_t data[300];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7);
    }
    uint32_t whole = slow_crc32c(data, sizeof(data));
    ck_assert_uint_eq(crc32c(data, sizeof(data)), whole);
    for (size_t cut = 0; cut <= sizeof(data); cut++) {
        uint32_t first = crc32c(data, cut);
        ck_assert_uint_eq(crc32c_continue(first, data + cut, sizeof(data) - cut), whole);
    }
}
END_TEST

/* Short and long runs go different ways. */
START_TEST(every_length_and_every_alignment_gives_the_same)
{
    enum { LENGTH_MOST = 600, ALIGNMENTS = 8 };
    uint8_t data[LENGTH_MOST + ALIGNMENTS];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 31 + (i >> 5));
    }
    for (size_t length = 0; length <= LENGTH_MOST; length++) {
        const uint8_t *from = data + length % ALIGNMENTS;
        ck_assert_uint_eq(crc32c(from, length), slow_crc32c(from, length));
    }
}
END_TEST

static Suite *crc32c_suite(void)
{
    Suite *suite = suite_create("crc32c");
    TCase *cases = tcase_create("crc32c");
    tcase_add_test(cases, the_check_value_and_the_vectors_of_rfc_3720_hold);
    tcase_add_test(cases, pieces_give_the_same_as_the_whole);
    tcase_add_test(cases, every_length_and_every_alignment_gives_the_same);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(crc32c_suite)
