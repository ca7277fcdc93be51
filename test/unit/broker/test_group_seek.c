/* SPDX-License-Identifier: Apache-2.0 */
/* test_group_seek.c - what `to` may say, and what a seek does to one queue. */
#include "broker/group_seek.h"
#include "proto/writer.h"
#include "test/lib/check_main.h"

/* ------------------------------------------------------------------ target */

static uint8_t room[128];
static struct writer writer;

static enum error read(struct seek_target *target)
{
    struct refusal refusal;
    enum error error = seek_target_read(cursor_over(writer_bytes(&writer)), target, &refusal);
    if (error != OK) {
        ck_assert_str_eq(refusal.key, "to");
    }
    return error;
}

static enum error read_text(const char *text, struct seek_target *target)
{
    writer = writer_over(room, sizeof(room));
    writer_put_string(&writer, text);
    return read(target);
}

static enum error read_pair(const char *key, uint64_t value, struct seek_target *target)
{
    writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_uint(&writer, key, value);
    return read(target);
}

START_TEST(every_form_of_to_is_read)
{
    struct seek_target target;
    ck_assert_int_eq(read_text("first", &target), OK);
    ck_assert_int_eq(target.kind, SEEK_FIRST);
    ck_assert_int_eq(read_text("last", &target), OK);
    ck_assert_int_eq(target.kind, SEEK_LAST);
    ck_assert_int_eq(read_pair("at_time", 17, &target), OK);
    ck_assert_int_eq(target.kind, SEEK_TIME);
    ck_assert_uint_eq(target.number, 17);
    ck_assert_int_eq(read_pair("offset", INTEGER_LIMIT - 1, &target), OK);
    ck_assert_int_eq(target.kind, SEEK_OFFSET);
    ck_assert_uint_eq(target.number, INTEGER_LIMIT - 1);
    writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "group", "billing@one");
    ck_assert_int_eq(read(&target), OK);
    ck_assert_int_eq(target.kind, SEEK_GROUP);
    ck_assert(bytes_equal(target.group, BYTES_OF("billing@one")));
}
END_TEST

START_TEST(nothing_else_is)
{
    struct seek_target target;
    ck_assert_int_eq(read_text("", &target), ERROR_BAD_ARGUMENT);
    ck_assert_int_eq(read_text("middle", &target), ERROR_BAD_ARGUMENT);
    ck_assert_int_eq(read_pair("offset", INTEGER_LIMIT, &target), ERROR_BAD_ARGUMENT);
    ck_assert_int_eq(read_pair("when", 1, &target), ERROR_BAD_ARGUMENT);
    ck_assert_int_eq(read_pair("group", 1, &target), ERROR_BAD_ARGUMENT);
    writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 0);
    ck_assert_int_eq(read(&target), ERROR_BAD_ARGUMENT);
    writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 2);
    writer_put_key_uint(&writer, "offset", 1);
    writer_put_key_uint(&writer, "at_time", 1);
    ck_assert_int_eq(read(&target), ERROR_BAD_ARGUMENT);
    writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "group", "a b");
    ck_assert_int_eq(read(&target), ERROR_BAD_ARGUMENT);
    writer = writer_over(room, sizeof(room));
    writer_put_uint(&writer, 7);
    ck_assert_int_eq(read(&target), ERROR_BAD_ARGUMENT);
}
END_TEST

/* ---------------------------------------------------------------- decision */

static struct group_queue queue;
static struct open_range ranges[3];

/* Next is 80; open are [20, 30), failed; [40, 45); [60, 70). */
static void begin(void)
{
    queue = (struct group_queue){.next = 80};
    ranges[0] = (struct open_range){.first = 20, .count = 10, .attempts = 2};
    ranges[1] = (struct open_range){.first = 40, .count = 5};
    ranges[2] = (struct open_range){.first = 60, .count = 10};
    for (int i = 0; i < 3; i++) {
        open_ranges_add(&queue.open, &ranges[i]);
    }
}

static void end(void)
{
    open_ranges_deinit(&queue.open);
}

static void expect(uint64_t first, uint64_t target, uint64_t again, uint64_t skipped)
{
    const struct seek_place place = {.state = {.first = first, .visible = 100}, .queue = &queue};
    struct seek_row row;
    struct refusal refusal;
    ck_assert_int_eq(seek_decide(&place, target, false, &row, &refusal), OK);
    ck_assert_uint_eq(row.was, 40);
    ck_assert_uint_eq(row.now, target < first ? first : target);
    ck_assert_uint_eq(row.again, again);
    ck_assert_uint_eq(row.skipped, skipped);
}

START_TEST(again_is_what_was_settled_and_skipped_what_was_not)
{
    begin();
    expect(0, 0, 80 - 25, 0);
    expect(0, 20, 60 - 25, 0);
    expect(0, 25, 55 - 20, 5);
    expect(0, 42, 38 - 13, 12);
    expect(0, 80, 0, 25);
    expect(0, 100, 0, 45);
    end();
}
END_TEST

START_TEST(what_retention_took_is_neither)
{
    begin();
    expect(24, 0, 56 - 21, 0);
    expect(24, 42, 25, 8);
    end();
}
END_TEST

START_TEST(a_queue_that_was_not_begun_starts_where_it_would)
{
    const struct seek_place place = {.state = {.first = 5, .visible = 50}, .start = 30};
    struct seek_row row;
    struct refusal refusal;
    ck_assert_int_eq(seek_decide(&place, 10, true, &row, &refusal), OK);
    ck_assert_uint_eq(row.was, 30);
    ck_assert_uint_eq(row.again, 20);
    ck_assert_uint_eq(row.skipped, 0);
    ck_assert_int_eq(seek_decide(&place, 50, true, &row, &refusal), OK);
    ck_assert_uint_eq(row.again, 0);
    ck_assert_uint_eq(row.skipped, 20);
}
END_TEST

START_TEST(an_exact_offset_must_be_there)
{
    const struct seek_place place = {.state = {.first = 5, .visible = 50}};
    struct seek_row row;
    struct refusal refusal;
    uint64_t detail;
    ck_assert_int_eq(seek_decide(&place, 51, true, &row, &refusal), ERROR_TRUNCATED);
    ck_assert(refusal_get(&refusal, REFUSAL_RESUME, &detail));
    ck_assert_uint_eq(detail, 50);
    ck_assert_int_eq(seek_decide(&place, 4, true, &row, &refusal), ERROR_OFFSET_TOO_SMALL);
    ck_assert(refusal_get(&refusal, REFUSAL_FIRST, &detail));
    ck_assert_uint_eq(detail, 5);
    ck_assert_int_eq(seek_decide(&place, 5, true, &row, &refusal), OK);
    ck_assert_int_eq(seek_decide(&place, 50, true, &row, &refusal), OK);
}
END_TEST

START_TEST(another_groups_place_may_lie_behind_what_is_visible)
{
    begin();
    const struct seek_place place = {.state = {.first = 0, .visible = 70}, .queue = &queue};
    struct seek_row row;
    struct refusal refusal;
    ck_assert_int_eq(seek_decide(&place, 75, false, &row, &refusal), OK);
    ck_assert_uint_eq(row.now, 75);
    ck_assert_uint_eq(row.again, 0);
    ck_assert_uint_eq(row.skipped, 25);
    end();
}
END_TEST

static Suite *group_seek_suite(void)
{
    Suite *suite = suite_create("group_seek");
    TCase *tests = tcase_create("group_seek");
    tcase_add_test(tests, every_form_of_to_is_read);
    tcase_add_test(tests, nothing_else_is);
    tcase_add_test(tests, again_is_what_was_settled_and_skipped_what_was_not);
    tcase_add_test(tests, what_retention_took_is_neither);
    tcase_add_test(tests, a_queue_that_was_not_begun_starts_where_it_would);
    tcase_add_test(tests, an_exact_offset_must_be_there);
    tcase_add_test(tests, another_groups_place_may_lie_behind_what_is_visible);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(group_seek_suite)
