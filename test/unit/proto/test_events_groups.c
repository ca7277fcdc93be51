/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_events_groups.c - what the log says of groups survives its journey; half of it, or numbers that
 * are none, are refused.
 */
#include "proto/events_groups.h"
#include "test/lib/check_main.h"
#include "test/unit/proto/hex.h"

static uint8_t buffer[65536];
static struct writer writer;

static const struct group_place place = {.group = 7, .topic = UINT32_MAX, .queue = 1023};

static void set_up(void)
{
    writer = writer_over(buffer, sizeof(buffer));
}

/* The fields of the one entry that was written, behind its number, which must be this. */
static struct cursor fields_of(uint64_t expected)
{
    struct cursor cursor = cursor_over(writer_bytes(&writer));
    struct bytes span = {NULL, 0};
    uint32_t count = 0;
    uint64_t number = 0;
    ck_assert(!writer.overflowed);
    ck_assert(cursor_take_span(&cursor, &span) && cursor_is_done(&cursor));
    struct cursor fields = cursor_over(span);
    ck_assert(cursor_take_array(&fields, &count) && cursor_take_uint(&fields, &number));
    ck_assert_uint_eq(number, expected);
    return fields;
}

/* Fields as people write them: behind the number. */
static struct cursor fields_from(const char *text)
{
    return cursor_over(hex(text));
}

/* `reads` is false for every cut of the fields, byte by byte. */
#define REFUSES_EVERY_CUT(fields, reads)                                    \
    do {                                                                    \
        size_t whole_bytes = cursor_left(&(fields));                        \
        for (size_t cut = 0; cut < whole_bytes; cut++) {                    \
            struct bytes beginning = {(fields).at, cut};                    \
            uint8_t *copy = exact_copy(beginning);                          \
            struct cursor cut_fields = cursor_over(bytes_make(copy, cut));  \
            ck_assert_msg(!(reads), "cut at %zu of %zu", cut, whole_bytes); \
            free(copy);                                                     \
        }                                                                   \
    } while (0)

static void check_place(const struct group_place *back)
{
    ck_assert_uint_eq(back->group, place.group);
    ck_assert_uint_eq(back->topic, place.topic);
    ck_assert_uint_eq(back->queue, place.queue);
}

START_TEST(numbers_are_those_of_the_table)
{
    ck_assert_uint_eq(EVENT_PROGRESS, 7);
    ck_assert_uint_eq(EVENT_RETRY, 8);
    ck_assert_uint_eq(EVENT_LEASE, 9);
    ck_assert_uint_eq(EVENT_SEEK, 10);
    ck_assert_uint_eq(ROW_CURSOR, 40);
    ck_assert_uint_eq(ROW_RETRY, 41);
    ck_assert_uint_eq(ROW_LEASE, 42);
}
END_TEST

/* ---------------------------------------------------------------- progress */

START_TEST(progress_of_one_range_survives)
{
    const struct event_progress progress = {.place = place, .range = {1000, 5}};
    struct event_progress back;
    event_put_progress(&writer, &progress, NULL, 0);
    ck_assert_uint_le(writer_length(&writer), EVENT_PROGRESS_BYTES);
    struct cursor fields = fields_of(EVENT_PROGRESS);
    ck_assert(event_read_progress(fields, &back));
    check_place(&back.place);
    ck_assert_uint_eq(back.range.first, 1000);
    ck_assert_uint_eq(back.range.count, 5);
    ck_assert_uint_eq(back.more_count, 0);
    ck_assert_uint_eq(back.skipped, 0);
    REFUSES_EVERY_CUT(fields, event_read_progress(cut_fields, &back));
}
END_TEST

START_TEST(progress_of_many_ranges_survives_within_its_bound)
{
    enum { MORE = 1025 };
    static struct offset_range more[MORE];
    struct event_progress progress = {.place = place, .range = {0, 1}, .skipped = 0};
    uint64_t end = 1;
    for (uint32_t i = 0; i < MORE; i++) {
        /* Right behind the one before, a little, or far behind. */
        uint64_t skip = i % 3 == 0 ? 0 : i % 3 == 1 ? 1 : UINT64_C(1) << 40;
        more[i] = (struct offset_range){end + skip, i % 2 == 0 ? 1 : UINT64_C(1) << 32};
        end = more[i].first + more[i].count;
    }
    event_put_progress(&writer, &progress, more, MORE);
    ck_assert_uint_le(writer_length(&writer),
                      EVENT_PROGRESS_BYTES + MORE * EVENT_PROGRESS_MORE_BYTES);
    struct event_progress back;
    ck_assert(event_read_progress(fields_of(EVENT_PROGRESS), &back));
    ck_assert_uint_eq(back.more_count, MORE);
    struct offset_range range = back.range;
    for (uint32_t i = 0; i < MORE; i++) {
        ck_assert(event_take_progress(&back.more, &range));
        ck_assert_uint_eq(range.first, more[i].first);
        ck_assert_uint_eq(range.count, more[i].count);
    }
    ck_assert(!event_take_progress(&back.more, &range));
}
END_TEST

START_TEST(progress_says_what_was_skipped)
{
    const struct event_progress progress = {.place = place, .range = {3, 4}, .skipped = 4};
    const struct offset_range more[] = {{9, 2}};
    struct event_progress back;
    event_put_progress(&writer, &progress, more, 1);
    struct cursor fields = fields_of(EVENT_PROGRESS);
    ck_assert(event_read_progress(fields, &back));
    ck_assert_uint_eq(back.skipped, 4);
    ck_assert_uint_eq(back.more_count, 1);
}
END_TEST

START_TEST(the_largest_progress_stays_within_its_bound)
{
    const struct event_progress progress = {
        .place = {UINT32_MAX, UINT32_MAX, UINT16_MAX},
        .range = {INTEGER_LIMIT - 2, 1},
        .skipped = INTEGER_LIMIT - 1,
    };
    event_put_progress(&writer, &progress, NULL, 0);
    ck_assert_uint_le(writer_length(&writer), EVENT_PROGRESS_BYTES);
    struct event_progress back;
    ck_assert(event_read_progress(fields_of(EVENT_PROGRESS), &back));
    ck_assert_uint_eq(back.range.first, INTEGER_LIMIT - 2);
}
END_TEST

START_TEST(progress_that_is_none_is_refused)
{
    static const char *const bad[] = {
        "00 01 00 00 01 90",                               /* no group */
        "01 00 00 00 01 90",                               /* no topic */
        "01 01 ce 00 01 00 00 00 01 90",                   /* a queue of 17 bits */
        "01 01 00 00 00 90",                               /* nothing settled */
        "01 01 00 ff 01 90",                               /* an offset below zero */
        "01 01 00 00 cf 00 20 00 00 00 00 00 01 90",       /* ends beyond 2^53 */
        "01 01 00 cf ff ff ff ff ff ff ff ff 01 90",       /* begins beyond it */
        "01 01 00 cf 00 1f ff ff ff ff ff ff 02 90",       /* the sum is beyond it */
        "01 01 00 00 01 91 00",                            /* half a range */
        "01 01 00 00 01 92 00 00",                         /* a further one of nothing */
        "01 01 00 00 01 92 cf 00 20 00 00 00 00 00 00 01", /* behind 2^53 */
        "01 01 00 00 01 94 00 01 c0 01",                   /* the second is none */
        "01 01 00 00 01 80",                               /* a map */
        "01 01 00 00 01 dd ff ff ff fe",                   /* more than is there */
        "01 01 00 00 01 90 a1 61",                         /* skipped is no number */
        "01 01 00 00 01",                                  /* no array */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct event_progress back;
        ck_assert_msg(!event_read_progress(fields_from(bad[i]), &back), "%s", bad[i]);
    }
    struct event_progress back;
    ck_assert(event_read_progress(fields_from("01 01 00 00 01 92 00 01"), &back));
    /* Ranges end where 2^53 begins. */
    ck_assert(event_read_progress(fields_from("01 01 00 cf 00 1f ff ff ff ff ff ff 01 90"), &back));
}
END_TEST

/* ------------------------------------------------------------------- retry */

START_TEST(a_retry_survives_as_an_operation_and_as_a_row)
{
    static const enum event_number numbers[] = {EVENT_RETRY, ROW_RETRY};
    uint8_t reason[REASON_BYTES_MAX];
    memset(reason, 'r', sizeof(reason));
    for (size_t i = 0; i < 2; i++) {
        const struct event_retry retry = {
            .place = {UINT32_MAX, UINT32_MAX, UINT16_MAX},
            .range = {INTEGER_LIMIT - 2, 1},
            .attempt = UINT16_MAX,
            .due_ms = INTEGER_LIMIT - 1,
            .reason = bytes_make(reason, sizeof(reason)),
            .key = UINT32_MAX,
        };
        struct event_retry back;
        set_up();
        event_put_retry(&writer, numbers[i], &retry);
        ck_assert_uint_le(writer_length(&writer), EVENT_RETRY_BYTES_MAX);
        struct cursor fields = fields_of((uint64_t)numbers[i]);
        ck_assert(event_read_retry(fields, &back));
        ck_assert_uint_eq(back.place.group, UINT32_MAX);
        ck_assert_uint_eq(back.range.first, retry.range.first);
        ck_assert_uint_eq(back.range.count, 1);
        ck_assert_uint_eq(back.attempt, UINT16_MAX);
        ck_assert_uint_eq(back.due_ms, INTEGER_LIMIT - 1);
        ck_assert_bytes_eq(back.reason, retry.reason);
        ck_assert_uint_eq(back.key, UINT32_MAX);
        REFUSES_EVERY_CUT(fields, event_read_retry(cut_fields, &back));
    }
}
END_TEST

START_TEST(a_retry_without_a_reason_survives)
{
    const struct event_retry retry = {.place = place, .range = {5, 70000}};
    struct event_retry back;
    event_put_retry(&writer, EVENT_RETRY, &retry);
    ck_assert(event_read_retry(fields_of(EVENT_RETRY), &back));
    check_place(&back.place);
    ck_assert_uint_eq(back.range.count, 70000);
    ck_assert_uint_eq(back.attempt, 0);
    ck_assert_uint_eq(back.due_ms, 0);
    ck_assert_uint_eq(back.reason.length, 0);
    ck_assert_uint_eq(back.key, 0);
}
END_TEST

START_TEST(a_retry_that_is_none_is_refused)
{
    static const char *const bad[] = {
        "00 01 00 00 01 01 05 c0 00",                         /* no group */
        "01 01 00 00 00 01 05 c0 00",                         /* of nothing */
        "01 01 00 00 01 ce 00 01 00 00 05 c0 00",             /* 65,536 attempts */
        "01 01 00 00 01 01 cf 00 20 00 00 00 00 00 00 c0 00", /* due at 2^53 */
        "01 01 00 00 01 01 ff c0 00",                         /* due before 1970 */
        "01 01 00 00 01 01 05 c4 01 61 00",                   /* a reason of bytes */
        "01 01 00 00 01 01 05 07 00",                         /* a reason that is a number */
        "01 01 00 00 02 01 05 c0 09",                         /* two messages of one key */
        "01 01 00 00 01 01 05 c0 cf 00 00 00 01 00 00 00 00", /* a key of 33 bits */
        "01 01 00 00 01 01 05 c0",                            /* no key */
    };
    struct event_retry back;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(!event_read_retry(fields_from(bad[i]), &back), "%s", bad[i]);
    }
    ck_assert(event_read_retry(fields_from("01 01 00 00 01 01 05 a1 61 09"), &back));
    ck_assert_bytes_eq(back.reason, bytes_from_string("a"));

    uint8_t reason[REASON_BYTES_MAX + 1];
    memset(reason, 'r', sizeof(reason));
    for (size_t length = REASON_BYTES_MAX; length <= REASON_BYTES_MAX + 1; length++) {
        set_up();
        writer_put_uint(&writer, 1);
        writer_put_uint(&writer, 1);
        for (int i = 0; i < 5; i++) {
            writer_put_uint(&writer, i == 2 ? 1 : 0);
        }
        writer_put_str(&writer, bytes_make(reason, length));
        writer_put_uint(&writer, 0);
        ck_assert_int_eq(event_read_retry(cursor_over(writer_bytes(&writer)), &back),
                         length == REASON_BYTES_MAX);
    }
}
END_TEST

/* ------------------------------------------------------------------- lease */

START_TEST(a_lease_survives_as_an_operation_and_as_a_row)
{
    static const enum event_number numbers[] = {EVENT_LEASE, ROW_LEASE};
    for (size_t i = 0; i < 2; i++) {
        const struct event_lease lease = {
            .place = {UINT32_MAX, UINT32_MAX, UINT16_MAX},
            .range = {INTEGER_LIMIT - 2, 1},
            .until_ms = INTEGER_LIMIT - 1,
            .serial = UINT64_MAX, /* an epoch and a count: it may be larger than 2^53 */
            .key = UINT32_MAX,
        };
        struct event_lease back;
        set_up();
        event_put_lease(&writer, numbers[i], &lease);
        ck_assert_uint_le(writer_length(&writer), EVENT_LEASE_BYTES_MAX);
        struct cursor fields = fields_of((uint64_t)numbers[i]);
        ck_assert(event_read_lease(fields, &back));
        ck_assert_uint_eq(back.place.topic, UINT32_MAX);
        ck_assert_uint_eq(back.range.first, lease.range.first);
        ck_assert_uint_eq(back.until_ms, INTEGER_LIMIT - 1);
        ck_assert_uint_eq(back.serial, UINT64_MAX);
        ck_assert_uint_eq(back.key, UINT32_MAX);
        REFUSES_EVERY_CUT(fields, event_read_lease(cut_fields, &back));
    }
}
END_TEST

START_TEST(a_lease_that_is_none_is_refused)
{
    static const char *const bad[] = {
        "01 00 00 00 01 05 01 00",                         /* no topic */
        "01 01 00 00 00 05 01 00",                         /* of nothing */
        "01 01 00 00 01 cf 00 20 00 00 00 00 00 00 01 00", /* until 2^53 */
        "01 01 00 00 01 05 ff 00",                         /* a serial below zero */
        "01 01 00 00 02 05 01 09",                         /* two messages of one key */
        "01 01 00 00 01 05 01 a1 61",                      /* a key that is text */
    };
    struct event_lease back;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(!event_read_lease(fields_from(bad[i]), &back), "%s", bad[i]);
    }
    ck_assert(event_read_lease(fields_from("01 01 00 00 01 05 01 09"), &back));
}
END_TEST

/* ------------------------------------------------------------ seek, cursor */

START_TEST(a_seek_survives)
{
    const struct event_seek seek = {place, UINT32_MAX, INTEGER_LIMIT - 1};
    struct event_seek back;
    event_put_seek(&writer, &seek);
    ck_assert_uint_le(writer_length(&writer), EVENT_BYTES_MAX);
    struct cursor fields = fields_of(EVENT_SEEK);
    ck_assert(event_read_seek(fields, &back));
    check_place(&back.place);
    ck_assert_uint_eq(back.generation, UINT32_MAX);
    ck_assert_uint_eq(back.offset, INTEGER_LIMIT - 1);
    REFUSES_EVERY_CUT(fields, event_read_seek(cut_fields, &back));
    ck_assert(!event_read_seek(fields_from("00 01 00 01 00"), &back));
    ck_assert(!event_read_seek(fields_from("01 01 00 01 cf 00 20 00 00 00 00 00 00"), &back));
    ck_assert(!event_read_seek(fields_from("01 01 00 cf 00 00 00 01 00 00 00 00 00"), &back));
}
END_TEST

START_TEST(a_cursor_survives)
{
    const struct event_cursor cursor = {place, 3, INTEGER_LIMIT - 1, INTEGER_LIMIT - 1};
    struct event_cursor back;
    event_put_cursor(&writer, &cursor);
    ck_assert_uint_le(writer_length(&writer), EVENT_BYTES_MAX);
    struct cursor fields = fields_of(ROW_CURSOR);
    ck_assert(event_read_cursor(fields, &back));
    check_place(&back.place);
    ck_assert_uint_eq(back.generation, 3);
    ck_assert_uint_eq(back.next, INTEGER_LIMIT - 1);
    ck_assert_uint_eq(back.skipped, INTEGER_LIMIT - 1);
    REFUSES_EVERY_CUT(fields, event_read_cursor(cut_fields, &back));
    ck_assert(!event_read_cursor(fields_from("01 00 00 01 00 00"), &back));
    ck_assert(!event_read_cursor(fields_from("01 01 00 01 00 c0"), &back));
}
END_TEST

static Suite *events_groups_suite(void)
{
    Suite *suite = suite_create("events_groups");
    TCase *tests = tcase_create("events_groups");
    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_add_test(tests, numbers_are_those_of_the_table);
    tcase_add_test(tests, progress_of_one_range_survives);
    tcase_add_test(tests, progress_of_many_ranges_survives_within_its_bound);
    tcase_add_test(tests, progress_says_what_was_skipped);
    tcase_add_test(tests, the_largest_progress_stays_within_its_bound);
    tcase_add_test(tests, progress_that_is_none_is_refused);
    tcase_add_test(tests, a_retry_survives_as_an_operation_and_as_a_row);
    tcase_add_test(tests, a_retry_without_a_reason_survives);
    tcase_add_test(tests, a_retry_that_is_none_is_refused);
    tcase_add_test(tests, a_lease_survives_as_an_operation_and_as_a_row);
    tcase_add_test(tests, a_lease_that_is_none_is_refused);
    tcase_add_test(tests, a_seek_survives);
    tcase_add_test(tests, a_cursor_survives);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(events_groups_suite)
