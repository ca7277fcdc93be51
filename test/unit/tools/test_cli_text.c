/* SPDX-License-Identifier: Apache-2.0 */
/* test_cli_text.c - numbers, times, JSON and tables as people and scripts see them. */
#include "proto/writer.h"
#include "test/lib/check_main.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"
#include "tools/cli/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW_MS UINT64_C(1767225600000) /* 2026-01-01T00:00:00Z */

START_TEST(numbers_are_grouped_and_bytes_have_units)
{
    ck_assert_str_eq(text_of_number(0), "0");
    ck_assert_str_eq(text_of_number(999), "999");
    ck_assert_str_eq(text_of_number(1000), "1,000");
    ck_assert_str_eq(text_of_number(UINT64_MAX), "18,446,744,073,709,551,615");
    ck_assert_str_eq(text_of_bytes(999), "999 B");
    ck_assert_str_eq(text_of_bytes(1500), "1.5 kB");
    ck_assert_str_eq(text_of_bytes(123456789), "123 MB");
    ck_assert_str_eq(text_of_count(1, "message"), "1 message");
    ck_assert_str_eq(text_of_count(1200, "message"), "1,200 messages");
}
END_TEST

static const struct {
    const char *text;
    uint64_t ms;
} TIMES[] = {
    {"2026-01-01", NOW_MS},
    {"2026-01-01T00:00", NOW_MS},
    {"2026-01-01T00:00:00Z", NOW_MS},
    {"2026-01-01 00:00:01.5Z", NOW_MS + 1500},
    {"2026-01-01T00:00:00.1239Z", NOW_MS + 123},
    {"2026-01-01T01:00:00+01:00", NOW_MS},
    {"2025-12-31T22:30:00-0130", NOW_MS},
    {"2024-02-29Z", UINT64_C(1709164800000)},
    {"-1h", NOW_MS - 3600000},
    {"-90s", NOW_MS - 90000},
    {"-2d", NOW_MS - 172800000},
    {"-250ms", NOW_MS - 250},
};

START_TEST(moments_are_read_as_iso_8601_or_as_a_time_ago)
{
    (void)setenv("TZ", "UTC", 1);
    uint64_t ms = 0;
    ck_assert_msg(text_read_time(TIMES[_i].text, NOW_MS, &ms), "%s", TIMES[_i].text);
    ck_assert_msg(ms == TIMES[_i].ms, "%s: %llu", TIMES[_i].text, (unsigned long long)ms);
}
END_TEST

static const char *const NO_TIMES[] = {
    "",
    "now",
    "2026",
    "2026-13-01",
    "2026-02-29",
    "2026-01-32",
    "2026-01-01T",
    "2026-01-01T24:00",
    "2026-01-01T10:61",
    "2026-01-01T10:00:00.",
    "1h",
    "-",
    "-1w",
    "-1",
    "-h",
    "2026-01-01Zx",
    "--1h",
    "2026-1-1",
};

START_TEST(what_is_no_moment_is_refused)
{
    uint64_t ms = 7;
    ck_assert_msg(!text_read_time(NO_TIMES[_i], NOW_MS, &ms), "%s", NO_TIMES[_i]);
    ck_assert_uint_eq(ms, 7);
}
END_TEST

START_TEST(a_moment_is_written_as_it_is_read)
{
    ck_assert_str_eq(text_of_time(NOW_MS + 7), "2026-01-01T00:00:00.007Z");
}
END_TEST

/* ------------------------------------------------------------------- JSON */

static char *printed;
static size_t printed_bytes;

static FILE *open_print(void)
{
    free(printed);
    FILE *stream = open_memstream(&printed, &printed_bytes);
    ck_assert_ptr_nonnull(stream);
    return stream;
}

START_TEST(strings_are_escaped_and_bytes_become_base64)
{
    FILE *stream = open_print();
    json_put_string(stream, BYTES_OF("a\"b\\c\n\t\r\x01\x7f\xc3\xbc\xc2\x80\xc2\x9f\xc2\xa0"));
    (void)fclose(stream);
    ck_assert_str_eq(printed,
                     "\"a\\\"b\\\\c\\n\\t\\r\\u0001\\u007f\xc3\xbc\\u0080\\u009f\xc2\xa0\"");
    static const char *const PAIRS[][2] = {
        {"", "\"\""},        {"f", "\"Zg==\""},        {"fo", "\"Zm8=\""},
        {"foo", "\"Zm9v\""}, {"foob", "\"Zm9vYg==\""},
    };
    for (size_t i = 0; i < sizeof(PAIRS) / sizeof(PAIRS[0]); i++) {
        stream = open_print();
        json_put_base64(stream, bytes_from_string(PAIRS[i][0]));
        (void)fclose(stream);
        ck_assert_str_eq(printed, PAIRS[i][1]);
    }
}
END_TEST

START_TEST(msgpack_becomes_json)
{
    uint8_t room[256];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 4);
    writer_put_string(&writer, "list");
    writer_put_array(&writer, 4);
    writer_put_nil(&writer);
    writer_put_bool(&writer, true);
    writer_put_int(&writer, -5);
    writer_put_array(&writer, 0);
    writer_put_string(&writer, "map");
    writer_put_map(&writer, 1);
    writer_put_uint(&writer, 7);
    writer_put_map(&writer, 0);
    writer_put_string(&writer, "text");
    writer_put_bin(&writer, BYTES_OF("ab"));
    writer_put_string(&writer, "bytes");
    writer_put_bin(&writer, BYTES_OF("\xff"));
    FILE *stream = open_print();
    struct cursor cursor = cursor_over(writer_bytes(&writer));
    ck_assert(json_put_value(stream, &cursor));
    ck_assert(cursor_is_done(&cursor));
    (void)fclose(stream);
    ck_assert_str_eq(printed, "{\"list\":[null,true,-5,[]],\"map\":{\"7\":{}},\"text\":\"ab\","
                              "\"bytes\":{\"base64\":\"/w==\"}}");

    /* Cut anywhere it is refused. */
    struct bytes whole = writer_bytes(&writer);
    for (size_t length = 0; length < whole.length; length++) {
        stream = open_print();
        cursor = cursor_over(bytes_make(whole.data, length));
        ck_assert(!json_put_value(stream, &cursor));
        (void)fclose(stream);
    }
}
END_TEST

/* ---------------------------------------------------------------- answers */

START_TEST(an_answer_is_shown_with_its_keys_and_rows)
{
    uint8_t room[512];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 4);
    writer_put_key_string(&writer, "name",
                          "orders\x1b[2J\xc2\x9b"
                          "1m");
    writer_put_string(&writer, "settings");
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "route", "any");
    writer_put_key_uint(&writer, "stored_at", NOW_MS);
    writer_put_string(&writer, "queues");
    writer_put_array(&writer, 2);
    writer_put_map(&writer, 2);
    writer_put_key_uint(&writer, "queue", 0);
    writer_put_key_uint(&writer, "end", 12345);
    writer_put_map(&writer, 1);
    writer_put_key_uint(&writer, "queue", 1);
    FILE *stream = open_print();
    ck_assert(show_map(stream, writer_bytes(&writer)));
    (void)fclose(stream);
    ck_assert_str_eq(printed, "name                         orders?[2J?1m\n"
                              "settings.route               any\n"
                              "stored_at                    2026-01-01T00:00:00.000Z\n"
                              "\n"
                              "queues\n"
                              "QUEUE    END\n"
                              "    0  12345\n"
                              "    1       \n");
    ck_assert(!show_map(stdout, BYTES_OF("\x93")));
}
END_TEST

static void tear_down(void)
{
    free(printed);
    printed = NULL;
}

static Suite *suite(void)
{
    Suite *made = suite_create("text");
    TCase *all = tcase_create("text");
    tcase_add_checked_fixture(all, NULL, tear_down);
    tcase_add_test(all, numbers_are_grouped_and_bytes_have_units);
    tcase_add_loop_test(all, moments_are_read_as_iso_8601_or_as_a_time_ago, 0,
                        (int)(sizeof(TIMES) / sizeof(TIMES[0])));
    tcase_add_loop_test(all, what_is_no_moment_is_refused, 0,
                        (int)(sizeof(NO_TIMES) / sizeof(NO_TIMES[0])));
    tcase_add_test(all, a_moment_is_written_as_it_is_read);
    tcase_add_test(all, strings_are_escaped_and_bytes_become_base64);
    tcase_add_test(all, msgpack_becomes_json);
    tcase_add_test(all, an_answer_is_shown_with_its_keys_and_rows);
    suite_add_tcase(made, all);
    return made;
}

TEST_MAIN(suite)
