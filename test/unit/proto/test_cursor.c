/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cursor.c - typed takes, every refusal, every truncation, hostile counts.
 */
#include "proto/cursor.h"
#include "proto/limits.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"
#include "test/unit/proto/values.h"

static struct cursor over(const char *text)
{
    return cursor_over(hex(text));
}

/* The bytes are taken as this unsigned number. */
static void is_uint(const char *text, uint64_t expected)
{
    struct cursor cursor = over(text);
    uint64_t value = 0;
    ck_assert_msg(cursor_take_uint(&cursor, &value), "refused: %s", text);
    ck_assert_uint_eq(value, expected);
    ck_assert(cursor_is_done(&cursor));
}

/* The bytes are refused as an unsigned number, and the value is not touched. */
static void is_no_uint(const char *text)
{
    struct cursor cursor = over(text);
    uint64_t value = 77;
    ck_assert_msg(!cursor_take_uint(&cursor, &value), "taken: %s", text);
    ck_assert_uint_eq(value, 77);
    ck_assert(cursor.failed);
}

START_TEST(integers_of_every_width_below_2_53_are_taken)
{
    is_uint("00", 0);
    is_uint("7f", 127);
    is_uint("cc 00", 0);
    is_uint("cc ff", 255);
    is_uint("cd ff ff", 65535);
    is_uint("ce ff ff ff ff", UINT32_MAX);
    is_uint("cf 00 00 00 00 00 00 00 05", 5);
    is_uint("cf 00 1f ff ff ff ff ff ff", INTEGER_LIMIT - 1);
    is_uint("d0 7f", 127);
    is_uint("d1 7f ff", 32767);
    is_uint("d2 7f ff ff ff", INT32_MAX);
    is_uint("d3 00 00 00 00 00 00 00 01", 1);
}
END_TEST

START_TEST(integral_floats_are_integers)
{
    is_uint("cb 00 00 00 00 00 00 00 00", 0);
    is_uint("cb 80 00 00 00 00 00 00 00", 0);
    is_uint("cb 40 59 00 00 00 00 00 00", 100);
    is_uint("cb 43 3f ff ff ff ff ff ff", INTEGER_LIMIT - 1);
    is_uint("ca 42 c8 00 00", 100);
    is_no_uint("cb 40 59 20 00 00 00 00 00");
    is_no_uint("cb 43 40 00 00 00 00 00 00");
    is_no_uint("cb 7f f0 00 00 00 00 00 00");
    is_no_uint("cb 7f f8 00 00 00 00 00 00");
    is_no_uint("cb ff f0 00 00 00 00 00 00");
    is_no_uint("cb c0 59 00 00 00 00 00 00");
    is_no_uint("ca 7f c0 00 00");
}
END_TEST

START_TEST(what_is_no_unsigned_integer_is_refused)
{
    is_no_uint("");
    is_no_uint("cf 00 20 00 00 00 00 00 00");
    is_no_uint("cf ff ff ff ff ff ff ff ff");
    is_no_uint("ff");
    is_no_uint("d0 80");
    is_no_uint("d3 ff ff ff ff ff ff ff ff");
    is_no_uint("c0");
    is_no_uint("c3");
    is_no_uint("a1 31");
    is_no_uint("91 01");
    is_no_uint("c1");
    is_no_uint("c7 00 01");
    is_no_uint("d4 01 00");
}
END_TEST

START_TEST(signed_integers_are_taken_in_both_directions)
{
    struct cursor cursor = over("ff e0 d0 80 d1 80 00 d2 80 00 00 00 d3 ff e0 00 00 00 00 00 01 05"
                                "cb c0 59 00 00 00 00 00 00");
    static const int64_t expected[] = {
        -1, -32, -128, -32768, INT32_MIN, -(int64_t)(INTEGER_LIMIT - 1), 5, -100};
    for (size_t i = 0; i < 8; i++) {
        int64_t value;
        ck_assert(cursor_take_int(&cursor, &value));
        ck_assert_int_eq(value, expected[i]);
    }
    ck_assert(cursor_is_done(&cursor));
    int64_t value;
    struct cursor least = over("d3 80 00 00 00 00 00 00 00");
    ck_assert(!cursor_take_int(&least, &value));
}
END_TEST

START_TEST(narrow_takes_refuse_what_does_not_fit)
{
    uint32_t word = 9;
    uint16_t half = 9;
    uint64_t value = 9;
    struct cursor cursor = over("cf 00 00 00 01 00 00 00 00");
    ck_assert(!cursor_take_u32(&cursor, &word));
    cursor = over("ce 00 01 00 00");
    ck_assert(!cursor_take_u16(&cursor, &half));
    cursor = over("0b");
    ck_assert(!cursor_take_uint_max(&cursor, 10, &value));
    ck_assert_uint_eq(word + half + value, 27);
    cursor = over("cf ff ff ff ff ff ff ff ff");
    ck_assert(cursor_take_u64(&cursor, &value));
    ck_assert_uint_eq(value, UINT64_MAX);
}
END_TEST

START_TEST(failure_sticks)
{
    struct cursor cursor = over("c0 01 02");
    uint64_t value;
    uint32_t count;
    struct bytes span;
    bool truth;
    ck_assert(!cursor_take_uint(&cursor, &value));
    ck_assert(!cursor_take_uint(&cursor, &value));
    ck_assert(!cursor_take_nil(&cursor));
    ck_assert(!cursor_try_nil(&cursor));
    ck_assert(!cursor_take_bool(&cursor, &truth));
    ck_assert(!cursor_take_text(&cursor, &span));
    ck_assert(!cursor_take_array(&cursor, &count));
    ck_assert(!cursor_take_map(&cursor, &count));
    ck_assert(!cursor_take_raw(&cursor, 0, &span));
    ck_assert(!cursor_skip(&cursor));
    ck_assert_uint_eq(cursor_left(&cursor), 0);
    ck_assert_int_eq(cursor_peek(&cursor), CURSOR_NONE);
    ck_assert(!cursor_is_done(&cursor));
}
END_TEST

START_TEST(trying_for_nil_moves_only_when_it_is_there)
{
    struct cursor cursor = over("c0 c3");
    bool truth = false;
    ck_assert(cursor_try_nil(&cursor));
    ck_assert(!cursor_try_nil(&cursor));
    ck_assert(!cursor.failed);
    ck_assert(cursor_take_bool(&cursor, &truth));
    ck_assert(truth);
    ck_assert(!cursor_try_nil(&cursor));
    ck_assert(cursor_is_done(&cursor));
}
END_TEST

START_TEST(text_and_bytes_are_told_apart_where_asked)
{
    struct bytes content;
    struct cursor cursor = over("a2 68 69 c4 02 68 69 d9 02 68 69 c5 00 02 68 69");
    ck_assert(cursor_take_str(&cursor, &content));
    ck_assert_bytes_eq(content, BYTES_OF("hi"));
    ck_assert(cursor_take_bin(&cursor, &content));
    ck_assert(cursor_take_text(&cursor, &content));
    ck_assert(cursor_take_text(&cursor, &content));
    ck_assert_bytes_eq(content, BYTES_OF("hi"));
    ck_assert(cursor_is_done(&cursor));
    cursor = over("c4 00");
    ck_assert(!cursor_take_str(&cursor, &content));
    cursor = over("a0");
    ck_assert(!cursor_take_bin(&cursor, &content));
}
END_TEST

START_TEST(a_length_beyond_the_end_is_refused)
{
    static const char *const texts[] = {
        "a2 68", "d9 01", "d9", "da 00", "c6 ff ff ff ff 00", "db 00 00 00 02 61", "c4 ff"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct bytes content;
        struct cursor cursor = over(texts[i]);
        ck_assert_msg(!cursor_take_text(&cursor, &content), "%s", texts[i]);
        cursor = over(texts[i]);
        ck_assert_msg(!cursor_skip(&cursor), "%s", texts[i]);
    }
}
END_TEST

START_TEST(a_count_that_the_bytes_cannot_hold_is_refused)
{
    uint32_t count = 5;
    struct cursor cursor = over("dd ff ff ff ff 00 00");
    ck_assert(!cursor_take_array(&cursor, &count));
    cursor = over("df ff ff ff ff 00 00");
    ck_assert(!cursor_take_map(&cursor, &count));
    cursor = over("93 00 00");
    ck_assert(!cursor_take_array(&cursor, &count));
    cursor = over("82 00 00 00");
    ck_assert(!cursor_take_map(&cursor, &count));
    ck_assert_uint_eq(count, 5);
    cursor = over("92 00 00");
    ck_assert(!cursor_take_array_of(&cursor, 3));
    cursor = over("dc 00 02 00 00");
    ck_assert(cursor_take_array_of(&cursor, 2));
    cursor = over("81 00 00");
    ck_assert(cursor_take_map(&cursor, &count));
    ck_assert_uint_eq(count, 1);
}
END_TEST

START_TEST(every_first_byte_has_its_type)
{
    for (unsigned first = 0; first < 256; first++) {
        uint8_t byte = (uint8_t)first;
        struct cursor cursor = cursor_over(bytes_make(&byte, 1));
        enum cursor_type type = cursor_peek(&cursor);
        enum cursor_type expected = CURSOR_INTEGER;
        if (first >= 0x80 && first <= 0x8f) {
            expected = CURSOR_MAP;
        } else if (first >= 0x90 && first <= 0x9f) {
            expected = CURSOR_ARRAY;
        } else if (first >= 0xa0 && first <= 0xbf) {
            expected = CURSOR_STR;
        } else if (first >= 0xc0 && first <= 0xdf) {
            static const uint8_t types[32] = {
                CURSOR_NIL,     CURSOR_INVALID, CURSOR_BOOL,    CURSOR_BOOL,    CURSOR_BIN,
                CURSOR_BIN,     CURSOR_BIN,     CURSOR_INVALID, CURSOR_INVALID, CURSOR_INVALID,
                CURSOR_FLOAT,   CURSOR_FLOAT,   CURSOR_INTEGER, CURSOR_INTEGER, CURSOR_INTEGER,
                CURSOR_INTEGER, CURSOR_INTEGER, CURSOR_INTEGER, CURSOR_INTEGER, CURSOR_INTEGER,
                CURSOR_INVALID, CURSOR_INVALID, CURSOR_INVALID, CURSOR_INVALID, CURSOR_INVALID,
                CURSOR_STR,     CURSOR_STR,     CURSOR_STR,     CURSOR_ARRAY,   CURSOR_ARRAY,
                CURSOR_MAP,     CURSOR_MAP};
            expected = (enum cursor_type)types[first - 0xc0];
        }
        ck_assert_msg(type == expected, "first byte %02x", first);
        ck_assert_ptr_nonnull(cursor_type_name(type));
    }
}
END_TEST

START_TEST(skipping_is_limited_in_depth)
{
    uint8_t nested[FRAME_DEPTH_MAX + 2];
    struct bytes span;
    memset(nested, 0x91, sizeof(nested));
    nested[FRAME_DEPTH_MAX] = 0x00;
    struct cursor cursor = cursor_over(bytes_make(nested, FRAME_DEPTH_MAX + 1));
    ck_assert(cursor_take_span(&cursor, &span));
    ck_assert_uint_eq(span.length, FRAME_DEPTH_MAX + 1);
    nested[FRAME_DEPTH_MAX] = 0x91;
    nested[FRAME_DEPTH_MAX + 1] = 0x00;
    cursor = cursor_over(bytes_make(nested, FRAME_DEPTH_MAX + 2));
    ck_assert(!cursor_skip(&cursor));
}
END_TEST

START_TEST(no_prefix_of_a_value_is_a_value_and_none_is_read_beyond)
{
    static uint8_t buffer[1 << 20];
    struct random random;
    random_init(&random, 11);
    for (int round = 0; round < 300; round++) {
        struct writer writer = writer_over(buffer, sizeof(buffer));
        values_put(&random, &writer, 3);
        ck_assert(!writer.overflowed);
        size_t length = writer_length(&writer);
        size_t step = length / 200 + 1;
        for (size_t cut = 0; cut < length; cut += step) {
            uint8_t *copy = exact_copy(bytes_make(buffer, cut));
            struct cursor cursor = cursor_over(bytes_make(copy, cut));
            ck_assert(!cursor_skip(&cursor));
            free(copy);
        }
        struct cursor cursor = cursor_over(writer_bytes(&writer));
        ck_assert(cursor_skip(&cursor));
        ck_assert(cursor_is_done(&cursor));
    }
}
END_TEST

static Suite *cursor_suite(void)
{
    Suite *suite = suite_create("cursor");
    TCase *cases = tcase_create("cursor");
    tcase_add_test(cases, integers_of_every_width_below_2_53_are_taken);
    tcase_add_test(cases, integral_floats_are_integers);
    tcase_add_test(cases, what_is_no_unsigned_integer_is_refused);
    tcase_add_test(cases, signed_integers_are_taken_in_both_directions);
    tcase_add_test(cases, narrow_takes_refuse_what_does_not_fit);
    tcase_add_test(cases, failure_sticks);
    tcase_add_test(cases, trying_for_nil_moves_only_when_it_is_there);
    tcase_add_test(cases, text_and_bytes_are_told_apart_where_asked);
    tcase_add_test(cases, a_length_beyond_the_end_is_refused);
    tcase_add_test(cases, a_count_that_the_bytes_cannot_hold_is_refused);
    tcase_add_test(cases, every_first_byte_has_its_type);
    tcase_add_test(cases, skipping_is_limited_in_depth);
    tcase_add_test(cases, no_prefix_of_a_value_is_a_value_and_none_is_read_beyond);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(cursor_suite)
