/* SPDX-License-Identifier: Apache-2.0 */
/* test_delivery_trace.c - events are found again, joined, and the oldest go. */
#include "broker/delivery_trace.h"
#include "broker/member.h"
#include "test/lib/check_main.h"

static struct delivery_trace trace;

static struct trace_event event_of(uint64_t first, uint32_t count, enum trace_outcome outcome)
{
    return (struct trace_event){
        .first = first,
        .at_ms = 1000,
        .outcome = outcome & UINT8_MAX,
        .count = count,
        .group = 1,
        .topic = 2,
        .queue = 3,
        .attempt = 1,
    };
}

static void note(uint64_t first, uint32_t count, enum trace_outcome outcome)
{
    const struct trace_event event = event_of(first, count, outcome);
    delivery_trace_note(&trace, &event);
}

static const struct trace_event *find(uint64_t offset, uint64_t *before)
{
    const struct trace_place place = {.topic = 2, .queue = 3, .offset = offset};
    return delivery_trace_find(&trace, &place, before);
}

START_TEST(events_of_an_offset_are_found_newest_first)
{
    note(10, 5, TRACE_LEASED);
    note(20, 5, TRACE_LEASED);
    note(12, 1, TRACE_NACKED);
    uint64_t before = trace.count;
    ck_assert_int_eq(find(12, &before)->outcome, TRACE_NACKED);
    ck_assert_int_eq(find(12, &before)->outcome, TRACE_LEASED);
    ck_assert_ptr_null(find(12, &before));
    before = trace.count;
    ck_assert_uint_eq(find(24, &before)->first, 20);
    for (uint64_t offset = 9; offset <= 25; offset += 6) { /* 9, 15, 21 */
        before = trace.count;
        ck_assert_int_eq(find(offset, &before) != NULL, offset == 21);
    }
    delivery_trace_deinit(&trace);
}
END_TEST

START_TEST(of_another_queue_or_topic_is_not_found)
{
    note(10, 5, TRACE_LEASED);
    const struct trace_place places[] = {{2, 4, 10}, {3, 3, 10}};
    for (int i = 0; i < 2; i++) {
        uint64_t before = trace.count;
        ck_assert_ptr_null(delivery_trace_find(&trace, &places[i], &before));
    }
    delivery_trace_deinit(&trace);
}
END_TEST

START_TEST(what_follows_alike_is_one_event)
{
    note(10, 1, TRACE_LEASED);
    note(11, 2, TRACE_LEASED);
    ck_assert_uint_eq(trace.count, 1);
    uint64_t before = 1;
    ck_assert_uint_eq(find(12, &before)->count, 3);
    note(13, 1, TRACE_ACKED);
    ck_assert_uint_eq(trace.count, 2);
    note(15, 1, TRACE_ACKED);
    ck_assert_uint_eq(trace.count, 3);
    struct trace_event later = event_of(16, 1, TRACE_ACKED);
    later.at_ms++;
    delivery_trace_note(&trace, &later);
    ck_assert_uint_eq(trace.count, 4);
    delivery_trace_deinit(&trace);
}
END_TEST

START_TEST(the_oldest_go_and_it_says_since_when_it_knows)
{
    ck_assert_uint_eq(delivery_trace_since(&trace), 0);
    for (uint64_t i = 0; i < TRACE_EVENTS; i++) {
        struct trace_event event = event_of(2 * i, 1, TRACE_LEASED);
        event.at_ms = (5000 + i) & TRACE_AT_MAX;
        delivery_trace_note(&trace, &event);
    }
    uint64_t before = trace.count;
    ck_assert_ptr_nonnull(find(0, &before));
    ck_assert_uint_eq(delivery_trace_since(&trace), 0);
    note(1, 1, TRACE_LEASED);
    before = trace.count;
    ck_assert_ptr_null(find(0, &before));
    before = trace.count;
    ck_assert_ptr_nonnull(find(2, &before));
    ck_assert_uint_eq(delivery_trace_since(&trace), 5001);
    delivery_trace_deinit(&trace);
}
END_TEST

START_TEST(a_member_lives_as_long_as_its_events)
{
    struct group_member *member = group_member_create(BYTES_OF("worker"));
    struct trace_event event = event_of(0, 1, TRACE_LEASED);
    event.member = group_member_ref(member);
    delivery_trace_note(&trace, &event);
    event.first = 1; /* joined: its reference is not needed */
    event.member = group_member_ref(member);
    delivery_trace_note(&trace, &event);
    ck_assert_uint_eq(trace.count, 1);
    ck_assert_uint_eq(member->references, 2);
    group_member_unref(member);
    uint64_t before = trace.count;
    ck_assert(bytes_equal(find(0, &before)->member->name, BYTES_OF("worker")));
    for (uint64_t i = 0; i < TRACE_EVENTS;
         i++) { /* its event goes, and it with it: leaks are seen */
        note(2 * i + 2, 1, TRACE_LEASED);
    }
    before = trace.count;
    ck_assert_ptr_null(find(0, &before));
    delivery_trace_deinit(&trace);
}
END_TEST

START_TEST(a_range_may_be_longer_than_an_event)
{
    const struct trace_event like = event_of(0, 0, TRACE_ACKED);
    const struct offset_range range = {7, (UINT64_C(1) << 33) + 1};
    delivery_trace_note_range(&trace, &like, &range);
    const uint64_t offsets[] = {7, UINT64_C(1) << 32, (UINT64_C(1) << 33) + 7};
    for (int i = 0; i < 3; i++) {
        uint64_t before = trace.count;
        ck_assert_ptr_nonnull(find(offsets[i], &before));
        ck_assert_ptr_null(find(offsets[i], &before));
    }
    uint64_t before = trace.count;
    ck_assert_ptr_null(find((UINT64_C(1) << 33) + 8, &before));
    delivery_trace_deinit(&trace);
}
END_TEST

static Suite *delivery_trace_suite(void)
{
    Suite *suite = suite_create("delivery_trace");
    TCase *tests = tcase_create("delivery_trace");
    tcase_add_test(tests, events_of_an_offset_are_found_newest_first);
    tcase_add_test(tests, of_another_queue_or_topic_is_not_found);
    tcase_add_test(tests, what_follows_alike_is_one_event);
    tcase_add_test(tests, the_oldest_go_and_it_says_since_when_it_knows);
    tcase_add_test(tests, a_member_lives_as_long_as_its_events);
    tcase_add_test(tests, a_range_may_be_longer_than_an_event);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(delivery_trace_suite)
