/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_utf8.c - text is what Unicode calls well-formed, at every place of a word.
 */
#include "proto/base/utf8.h"
#include "test/lib/check_main.h"

#include <string.h>

/* Decodes by the definition: the code point, then its one shortest form must be the bytes. */
static bool is_well_formed(const uint8_t *at, size_t length)
{
    while (length > 0) {
        size_t size = at[0] < 0x80       ? 1
                      : at[0] >> 5 == 6  ? 2
                      : at[0] >> 4 == 14 ? 3
                      : at[0] >> 3 == 30 ? 4
                                         : 0;
        if (size == 0 || size > length) {
            return false;
        }
        uint32_t point = size == 1 ? at[0] : at[0] & (0xffU >> (size + 1));
        for (size_t i = 1; i < size; i++) {
            if (at[i] >> 6 != 2) {
                return false;
            }
            point = point << 6 | (at[i] & 0x3f);
        }
        size_t shortest = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
        if (size != shortest || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) {
            return false;
        }
        at += size;
        length -= size;
    }
    return true;
}

START_TEST(every_two_and_three_bytes_are_judged_as_unicode_does)
{
    uint8_t text[3];
    for (uint32_t value = 0; value < 1U << 24; value += value < 0xc00000 ? 257 : 1) {
        text[0] = (uint8_t)(value >> 16);
        text[1] = (uint8_t)(value >> 8);
        text[2] = (uint8_t)value;
        if (utf8_is_valid(bytes_make(text, 3)) != is_well_formed(text, 3)) {
            ck_abort_msg("%02x %02x %02x", text[0], text[1], text[2]);
        }
    }
}
END_TEST

START_TEST(four_bytes_end_at_the_last_code_point)
{
    ck_assert(utf8_is_valid(BYTES_OF("\xf0\x90\x80\x80")));
    ck_assert(utf8_is_valid(BYTES_OF("\xf4\x8f\xbf\xbf")));
    ck_assert(!utf8_is_valid(BYTES_OF("\xf4\x90\x80\x80")));
    ck_assert(!utf8_is_valid(BYTES_OF("\xf0\x8f\xbf\xbf")));
    ck_assert(!utf8_is_valid(BYTES_OF("\xf5\x80\x80\x80")));
    ck_assert(!utf8_is_valid(BYTES_OF("\xf0\x9f\x98")));
}
END_TEST

START_TEST(a_bad_byte_is_found_at_any_place_of_a_long_text)
{
    uint8_t text[40];
    for (size_t place = 0; place < sizeof(text); place++) {
        memset(text, 'a', sizeof(text));
        ck_assert(utf8_is_valid(bytes_make(text, sizeof(text))));
        text[place] = 0xff;
        ck_assert(!utf8_is_valid(bytes_make(text, sizeof(text))));
    }
    ck_assert(utf8_is_valid(bytes_make(NULL, 0)));
    ck_assert(utf8_is_valid(bytes_make("a\0b", 3)));
}
END_TEST

START_TEST(every_control_character_is_replaced_and_nothing_else)
{
    for (uint32_t code = 0; code < 0x800; code++) {
        char text[] = {'a', (char)code, 'b', '\0'};
        char two[] = {'a', (char)(0xc0 | code >> 6), (char)(0x80 | (code & 0x3f)), 'b'};
        bool is_one = code < 0x80;
        bool is_control = code < 0x20 || (code >= 0x7f && code <= 0x9f);
        struct bytes whole = is_one ? bytes_make(text, 3) : bytes_make(two, 4);
        char out[4];
        size_t length = utf8_replace_controls(whole, out);
        ck_assert_uint_eq(length, is_control ? 3 : whole.length);
        ck_assert_mem_eq(out, is_control ? (const void *)"a?b" : (const void *)whole.data, length);
        ck_assert_uint_eq(utf8_replace_controls(whole, is_one ? text : two), length);
        ck_assert_mem_eq(is_one ? text : two, out, length);
    }
    /* What was cut within a character is none. */
    char cut;
    ck_assert_uint_eq(utf8_replace_controls(BYTES_OF("\xc2"), &cut), 1);
    ck_assert_int_eq((unsigned char)cut, 0xc2);
    ck_assert_uint_eq(utf8_control_length(bytes_make(NULL, 0)), 0);
}
END_TEST

static Suite *utf8_suite(void)
{
    Suite *suite = suite_create("utf8");
    TCase *cases = tcase_create("utf8");
    tcase_add_test(cases, every_two_and_three_bytes_are_judged_as_unicode_does);
    tcase_add_test(cases, four_bytes_end_at_the_last_code_point);
    tcase_add_test(cases, a_bad_byte_is_found_at_any_place_of_a_long_text);
    tcase_add_test(cases, every_control_character_is_replaced_and_nothing_else);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(utf8_suite)
