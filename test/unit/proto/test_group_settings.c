/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_group_settings.c - the map of a group's settings: read, merged, compared, written.
 */
#include "proto/group_settings.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"

#include <stdio.h>
#include <stdlib.h>

static uint8_t room[64 * 1024];
static struct writer writer;
static struct group_settings settings;
static struct refusal refusal;

static void set_up(void)
{
    writer = writer_over(room, sizeof(room));
}

/* Reads the map that was written. */
static enum error read_map(enum group_settings_unknown unknown)
{
    ck_assert(!writer.overflowed);
    struct cursor pairs = cursor_over(writer_bytes(&writer));
    uint32_t count;
    ck_assert(cursor_take_map(&pairs, &count));
    return group_settings_read(pairs, count, unknown, &settings, &refusal);
}

/* Begins a map of one setting whose value the caller writes. */
static void begin_one(const char *name)
{
    set_up();
    writer_put_map(&writer, 1);
    writer_put_string(&writer, name);
}

static void put_topics(uint32_t count, size_t filter_bytes)
{
    static char filter[FILTER_BYTES_MAX + 2];
    memset(filter, 'f', sizeof(filter));
    writer_put_map(&writer, count);
    for (uint32_t i = 0; i < count; i++) {
        char name[16];
        int length = snprintf(name, sizeof(name), "topic-%u", i);
        writer_put_str(&writer, bytes_make(name, (size_t)length));
        if (filter_bytes == 0) {
            writer_put_nil(&writer);
        } else {
            writer_put_str(&writer, bytes_make(filter, filter_bytes));
        }
    }
}

#define ck_refused(setting)                                                    \
    do {                                                                       \
        ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), ERROR_BAD_ARGUMENT); \
        ck_assert_str_eq(refusal.key, setting);                                \
    } while (0)

START_TEST(what_is_not_given_has_its_default)
{
    writer_put_map(&writer, 0);
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    ck_assert_uint_eq(settings.given, 0);
    ck_assert_int_eq(settings.from, GROUP_FROM_LAST);
    ck_assert_int_eq(settings.order, GROUP_ORDER_NONE);
    ck_assert(!settings.broadcast);
    ck_assert_uint_eq(settings.lease_ms, 30000);
    ck_assert_uint_eq(settings.attempts, 17);
    ck_assert_uint_eq(settings.backoff_count, 16);
    ck_assert_uint_eq(settings.jitter_percent, 0);
    ck_assert_int_eq(settings.exhausted, GROUP_EXHAUSTED_DEAD);
    ck_assert_uint_eq(settings.idle_expire_ms, 0);
}
END_TEST

START_TEST(a_backoff_goes_step_by_step_and_stays_at_the_last)
{
    static const uint32_t steps_s[] = {10,  30,  60,  120, 180,  240,  300,  360,
                                       420, 480, 540, 600, 1200, 1800, 3600, 7200};
    group_settings_init(&settings);
    for (uint32_t i = 0; i < 16; i++) {
        ck_assert_uint_eq(group_settings_backoff_ms(&settings, i + 2), steps_s[i] * 1000);
    }
    ck_assert_uint_eq(group_settings_backoff_ms(&settings, 18), 7200000);
    ck_assert_uint_eq(group_settings_backoff_ms(&settings, 1000), 7200000);
    settings.backoff_count = 1;
    ck_assert_uint_eq(group_settings_backoff_ms(&settings, 2), 10000);
    ck_assert_uint_eq(group_settings_backoff_ms(&settings, 3), 10000);
}
END_TEST

/* {topics: {orders: "paid", refunds: nil}, from: 1700000000000, order: queue, broadcast: true,
 *  lease_ms: 100, attempts: 1000, backoff: [0, 86400000], jitter: 100, exhausted: stay,
 *  idle_expire_ms: 1000} */
#define ALL_GIVEN                                                                               \
    "8a a6 74 6f 70 69 63 73 82 a6 6f 72 64 65 72 73 a4 70 61 69 64 a7 72 65 66 75 6e 64 73 c0" \
    "a4 66 72 6f 6d cf 00 00 01 8b cf e5 68 00 a5 6f 72 64 65 72 a5 71 75 65 75 65"             \
    "a9 62 72 6f 61 64 63 61 73 74 c3 a8 6c 65 61 73 65 5f 6d 73 64"                            \
    "a8 61 74 74 65 6d 70 74 73 cd 03 e8 a7 62 61 63 6b 6f 66 66 92 00 ce 05 26 5c 00"          \
    "a6 6a 69 74 74 65 72 64 a9 65 78 68 61 75 73 74 65 64 a4 73 74 61 79"                      \
    "ae 69 64 6c 65 5f 65 78 70 69 72 65 5f 6d 73 cd 03 e8"

START_TEST(what_was_given_is_read_and_written_as_it_was)
{
    struct bytes map = hex(ALL_GIVEN);
    writer_put_raw(&writer, map);
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    ck_assert_uint_eq(settings.given, (1U << GROUP_SETTING_COUNT) - 1);
    ck_assert_uint_eq(settings.topic_count, 2);
    ck_assert_int_eq(settings.from, GROUP_FROM_TIME);
    ck_assert_uint_eq(settings.from_ms, UINT64_C(1700000000000));
    ck_assert_int_eq(settings.order, GROUP_ORDER_QUEUE);
    ck_assert(settings.broadcast);
    ck_assert_uint_eq(settings.backoff_ms[1], 86400000);
    ck_assert_int_eq(settings.exhausted, GROUP_EXHAUSTED_STAY);
    uint8_t again[512];
    struct writer copy = writer_over(again, sizeof(again));
    group_settings_write_given(&settings, &copy);
    ck_assert_bytes_eq(writer_bytes(&copy), map);
    copy = writer_over(again, sizeof(again));
    group_settings_write(&settings, &copy);
    ck_assert_bytes_eq(writer_bytes(&copy), map);
}
END_TEST

START_TEST(no_part_of_a_map_is_taken_for_all_of_it)
{
    struct bytes map = hex(ALL_GIVEN);
    for (size_t cut = 1; cut < map.length; cut++) {
        uint8_t *copy = exact_copy(bytes_make(map.data + 1, cut - 1));
        struct cursor pairs = cursor_over(bytes_make(copy, cut - 1));
        ck_assert_int_eq(group_settings_read(pairs, 10, GROUP_SETTINGS_SKIP, &settings, &refusal),
                         ERROR_BAD_ARGUMENT);
        free(copy);
    }
}
END_TEST

START_TEST(unknown_settings_are_refused_or_left_out)
{
    begin_one("colour");
    put_topics(3, 1);
    ck_refused("colour");
    ck_assert_int_eq(read_map(GROUP_SETTINGS_SKIP), OK);
    ck_assert_uint_eq(settings.given, 0);
}
END_TEST

START_TEST(nil_is_absent_and_nothing_is_given_twice)
{
    begin_one("jitter");
    writer_put_nil(&writer);
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    ck_assert_uint_eq(settings.given, 0);
    set_up();
    writer_put_map(&writer, 2);
    writer_put_key_uint(&writer, "jitter", 1);
    writer_put_key_uint(&writer, "jitter", 1);
    ck_refused("jitter");
}
END_TEST

START_TEST(topics_are_bounded_one_by_one_and_together)
{
    begin_one("topics");
    put_topics(GROUP_TOPICS_MAX, 0);
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    begin_one("topics");
    put_topics(GROUP_TOPICS_MAX + 1, 0);
    ck_refused("topics");
    begin_one("topics");
    put_topics(0, 0);
    ck_refused("topics");
    begin_one("topics");
    put_topics(3, FILTER_BYTES_MAX);
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    begin_one("topics");
    put_topics(1, FILTER_BYTES_MAX + 1);
    ck_refused("topics");
    begin_one("topics");
    put_topics(4, FILTER_BYTES_MAX);
    ck_refused("topics");
}
END_TEST

START_TEST(a_topic_is_there_once_and_has_a_name)
{
    begin_one("topics");
    writer_put_map(&writer, 2);
    writer_put_key_string(&writer, "a", "x");
    writer_put_key_string(&writer, "a", "y");
    ck_refused("topics");
    static const char *const names[] = {"", "a b", "a@b", "%x", "%DLQ%"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        begin_one("topics");
        writer_put_map(&writer, 1);
        writer_put_key_string(&writer, names[i], "x");
        ck_refused("topics");
    }
    begin_one("topics");
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "%DLQ%a", "x");
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
}
END_TEST

struct number_case {
    const char *name;
    uint64_t least;
    uint64_t most;
};

static const struct number_case number_cases[] = {
    {"lease_ms", 100, 43200000},
    {"attempts", 1, 1000},
    {"jitter", 0, 100},
    {"idle_expire_ms", 1000, INTEGER_LIMIT - 1},
};

START_TEST(numbers_have_their_ranges)
{
    const struct number_case *number = &number_cases[_i];
    begin_one(number->name);
    writer_put_uint(&writer, number->least);
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    begin_one(number->name);
    writer_put_uint(&writer, number->most);
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    begin_one(number->name);
    writer_put_uint(&writer, number->most + 1);
    ck_refused(number->name);
    if (number->least > 0) {
        begin_one(number->name);
        writer_put_uint(&writer, number->least - 1);
        ck_refused(number->name);
    }
    begin_one(number->name);
    writer_put_string(&writer, "1");
    ck_refused(number->name);
}
END_TEST

START_TEST(a_group_may_never_expire)
{
    begin_one("idle_expire_ms");
    writer_put_uint(&writer, 0);
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    ck_assert_uint_eq(settings.given, 1U << GROUP_SETTING_IDLE_EXPIRE_MS);
}
END_TEST

START_TEST(words_are_those_that_there_are)
{
    static const char *const names[] = {"from", "order", "exhausted", "broadcast"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        begin_one(names[i]);
        writer_put_string(&writer, "whatever");
        ck_refused(names[i]);
        begin_one(names[i]);
        writer_put_array(&writer, 0);
        ck_refused(names[i]);
    }
    begin_one("from");
    writer_put_int(&writer, -1);
    ck_refused("from");
}
END_TEST

START_TEST(a_change_takes_the_place_of_what_it_gives)
{
    struct group_settings old;
    begin_one("attempts");
    writer_put_uint(&writer, 3);
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    old = settings;
    begin_one("jitter");
    writer_put_uint(&writer, 20);
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    struct group_settings merged = group_settings_merge(&old, &settings);
    ck_assert_uint_eq(merged.given, 1U << GROUP_SETTING_ATTEMPTS | 1U << GROUP_SETTING_JITTER);
    ck_assert_uint_eq(merged.attempts, 3);
    ck_assert_uint_eq(merged.jitter_percent, 20);
    ck_assert(!group_settings_equal(&merged, &old));
    struct group_settings again = group_settings_merge(&merged, &settings);
    ck_assert(group_settings_equal(&again, &merged));
}
END_TEST

START_TEST(all_given_survives_a_merge_and_every_difference_is_seen)
{
    writer_put_raw(&writer, hex(ALL_GIVEN));
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    struct group_settings nothing;
    group_settings_init(&nothing);
    struct group_settings merged = group_settings_merge(&nothing, &settings);
    ck_assert(group_settings_equal(&merged, &settings));
    /* One setting less: it has its default again, and is not the same. */
    for (uint32_t i = 0; i < GROUP_SETTING_COUNT; i++) {
        struct group_settings less = settings;
        less.given &= ~(1U << i);
        merged = group_settings_merge(&nothing, &less);
        merged.given = settings.given;
        ck_assert_msg(!group_settings_equal(&merged, &settings), "setting %u", i);
    }
}
END_TEST

START_TEST(the_largest_settings_stay_within_their_bound)
{
    writer_put_map(&writer, 2);
    writer_put_string(&writer, "topics");
    put_topics(3, FILTER_BYTES_MAX);
    writer_put_string(&writer, "backoff");
    writer_put_array(&writer, GROUP_BACKOFF_MAX);
    for (uint32_t i = 0; i < GROUP_BACKOFF_MAX; i++) {
        writer_put_uint(&writer, DURATION_MS_MAX);
    }
    ck_assert_int_eq(read_map(GROUP_SETTINGS_REFUSE), OK);
    settings.from = GROUP_FROM_TIME;
    settings.from_ms = INTEGER_LIMIT - 1;
    settings.order = GROUP_ORDER_QUEUE;
    settings.lease_ms = GROUP_LEASE_MS_MOST;
    settings.attempts = GROUP_ATTEMPTS_MAX;
    settings.jitter_percent = 100;
    settings.idle_expire_ms = INTEGER_LIMIT - 1;
    static uint8_t bytes[GROUP_SETTINGS_BYTES_MAX];
    struct writer copy = writer_over(bytes, sizeof(bytes));
    group_settings_write(&settings, &copy);
    ck_assert(!copy.overflowed);
    ck_assert_uint_lt(writer_length(&copy) - 3 * (FILTER_BYTES_MAX + 7 + GROUP_TOPIC_HEADER_BYTES),
                      GROUP_SETTINGS_BYTES_MAX - GROUP_TOPICS_BYTES_MAX);
}
END_TEST

static Suite *group_settings_suite(void)
{
    Suite *suite = suite_create("group_settings");
    TCase *cases = tcase_create("group_settings");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, what_is_not_given_has_its_default);
    tcase_add_test(cases, a_backoff_goes_step_by_step_and_stays_at_the_last);
    tcase_add_test(cases, what_was_given_is_read_and_written_as_it_was);
    tcase_add_test(cases, no_part_of_a_map_is_taken_for_all_of_it);
    tcase_add_test(cases, unknown_settings_are_refused_or_left_out);
    tcase_add_test(cases, nil_is_absent_and_nothing_is_given_twice);
    tcase_add_test(cases, topics_are_bounded_one_by_one_and_together);
    tcase_add_test(cases, a_topic_is_there_once_and_has_a_name);
    tcase_add_loop_test(cases, numbers_have_their_ranges, 0,
                        sizeof(number_cases) / sizeof(number_cases[0]));
    tcase_add_test(cases, a_group_may_never_expire);
    tcase_add_test(cases, words_are_those_that_there_are);
    tcase_add_test(cases, a_change_takes_the_place_of_what_it_gives);
    tcase_add_test(cases, all_given_survives_a_merge_and_every_difference_is_seen);
    tcase_add_test(cases, the_largest_settings_stay_within_their_bound);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(group_settings_suite)
