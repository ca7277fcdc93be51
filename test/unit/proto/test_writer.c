/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_writer.c - shortest forms, fixed forms, patches, and what happens when the buffer ends.
 */
#include "proto/cursor.h"
#include "proto/writer.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"
#include "test/unit/proto/values.h"

static uint8_t buffer[70100];
static struct writer writer;

static void set_up(void)
{
    writer = writer_over(buffer, sizeof(buffer));
}

/* What was written since the last call is these bytes. */
static void wrote(const char *text)
{
    ck_assert(!writer.overflowed);
    ck_assert_bytes_eq(writer_bytes(&writer), hex(text));
    set_up();
}

START_TEST(integers_take_their_shortest_form)
{
    static const struct {
        int64_t value;
        const char *bytes;
    } rows[] = {
        {0, "00"},
        {127, "7f"},
        {128, "cc 80"},
        {255, "cc ff"},
        {256, "cd 01 00"},
        {65536, "ce 00 01 00 00"},
        {INT64_C(1) << 32, "cf 00 00 00 01 00 00 00 00"},
        {-1, "ff"},
        {-32, "e0"},
        {-33, "d0 df"},
        {-128, "d0 80"},
        {-129, "d1 ff 7f"},
        {-32769, "d2 ff ff 7f ff"},
        {INT64_C(-2147483649), "d3 ff ff ff ff 7f ff ff ff"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        writer_put_int(&writer, rows[i].value);
        wrote(rows[i].bytes);
    }
}
END_TEST

START_TEST(text_bytes_and_containers_take_their_shortest_form)
{
    writer_put_string(&writer, "hi");
    wrote("a2 68 69");
    writer_put_bin(&writer, BYTES_OF("hi"));
    wrote("c4 02 68 69");
    writer_put_str_header(&writer, 31);
    writer_put_str_header(&writer, 32);
    writer_put_str_header(&writer, 256);
    writer_put_str_header(&writer, 65536);
    wrote("bf d9 20 da 01 00 db 00 01 00 00");
    writer_put_bin_header(&writer, 0);
    writer_put_bin_header(&writer, 256);
    writer_put_bin_header(&writer, 65536);
    wrote("c4 00 c5 01 00 c6 00 01 00 00");
    writer_put_array(&writer, 15);
    writer_put_array(&writer, 16);
    writer_put_array(&writer, 65536);
    wrote("9f dc 00 10 dd 00 01 00 00");
    writer_put_map(&writer, 15);
    writer_put_map(&writer, 16);
    writer_put_map(&writer, 65536);
    wrote("8f de 00 10 df 00 01 00 00");
    writer_put_nil(&writer);
    writer_put_bool(&writer, true);
    writer_put_bool(&writer, false);
    wrote("c0 c3 c2");
    writer_put_key_uint(&writer, "a", 1);
    writer_put_key_string(&writer, "b", "x");
    writer_put_key_str(&writer, "c", BYTES_OF("y"));
    writer_put_key_bool(&writer, "d", true);
    wrote("a1 61 01 a1 62 a1 78 a1 63 a1 79 a1 64 c3");
}
END_TEST

START_TEST(fixed_forms_can_be_patched_in_place)
{
    writer_put_u8_fixed(&writer, 1);
    writer_put_u16_fixed(&writer, 1);
    writer_put_u64_fixed(&writer, 1);
    wrote("cc 01 cd 00 01 cf 00 00 00 00 00 00 00 01");
    writer_put_nil(&writer);
    size_t place = writer_length(&writer);
    writer_put_array32(&writer, 0);
    writer_put_u32_fixed(&writer, 7);
    size_t narrow = writer_length(&writer);
    writer_put_array16(&writer, 0);
    writer_patch_u32(&writer, place, 1);
    writer_patch_u16(&writer, narrow, 0x0102);
    wrote("c0 dd 00 00 00 01 ce 00 00 00 07 dc 01 02");
}
END_TEST

START_TEST(an_overflow_sticks_and_nothing_is_written_beyond)
{
    struct random random;
    static uint8_t whole[1 << 20];
    random_init(&random, 5);
    for (int round = 0; round < 300; round++) {
        struct random before = random;
        struct writer full = writer_over(whole, sizeof(whole));
        values_put(&random, &full, 2);
        size_t length = writer_length(&full);
        size_t room = (size_t)random_below(&random, length);
        uint8_t *small = malloc(room == 0 ? 1 : room);
        struct writer cut = writer_over(small, room);
        values_put(&before, &cut, 2);
        ck_assert(cut.overflowed);
        ck_assert_uint_eq(writer_left(&cut), 0);
        writer_put_raw(&cut, (struct bytes){NULL, 0});
        writer_patch_u32(&cut, 0, 1);
        ck_assert_mem_eq(small, whole, writer_length(&cut));
        free(small);
    }
}
END_TEST

START_TEST(what_is_written_is_read_back)
{
    uint64_t number;
    int64_t integer;
    struct bytes content;
    struct random random;
    random_init(&random, 6);
    for (int round = 0; round < 2000; round++) {
        uint64_t expected = values_number(&random) >> 11;
        set_up();
        writer_put_uint(&writer, expected);
        writer_put_int(&writer, -(int64_t)expected);
        writer_put_str(&writer, BYTES_OF("t"));
        struct cursor cursor = cursor_over(writer_bytes(&writer));
        ck_assert(cursor_take_uint(&cursor, &number));
        ck_assert(cursor_take_int(&cursor, &integer));
        ck_assert(cursor_take_str(&cursor, &content));
        ck_assert_uint_eq(number, expected);
        ck_assert_int_eq(integer, -(int64_t)expected);
        ck_assert(cursor_is_done(&cursor));
    }
}
END_TEST

static Suite *writer_suite(void)
{
    Suite *suite = suite_create("writer");
    TCase *cases = tcase_create("writer");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, integers_take_their_shortest_form);
    tcase_add_test(cases, text_bytes_and_containers_take_their_shortest_form);
    tcase_add_test(cases, fixed_forms_can_be_patched_in_place);
    tcase_add_test(cases, an_overflow_sticks_and_nothing_is_written_beyond);
    tcase_add_test(cases, what_is_written_is_read_back);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(writer_suite)
