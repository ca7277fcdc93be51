/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_group_queue.c - one queue of a group: every transition of its ranges, what they are cut into, bounds, and
 * what its hash sees. Its keys are in test_group_queue_keys.c, random operations in test_group_queue_model.c.
 */
#include "broker/limits.h"
#include "broker/reason.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/group_queue_world.h"

/* ------------------------------------------------------------- transitions */

START_TEST(a_seek_begins_with_nothing_open)
{
    begin(GROUP_ORDER_NONE);
    lease(0, 10, 1);
    retry(2, 1, 1, 100);
    group_queue_seek(queue, 2, 1000);
    check_queue();
    ck_assert_uint_eq(queue->generation, 2);
    ck_assert_uint_eq(queue->next, 1000);
    ck_assert_uint_eq(queue->logged, 1000);
    ck_assert_uint_eq(queue->open.count, 0);
    ck_assert_uint_eq(group_queue_cursor(queue), 1000);
    ck_assert_uint_eq(atomic_load(&member->leased), 0);
    end();
}
END_TEST

START_TEST(ready_leased_settled)
{
    begin(GROUP_ORDER_NONE);
    lease(0, 10, 1);
    ck_state(0, OPEN_LEASED);
    ck_assert_uint_eq(atomic_load(&member->leased), 10);
    ck_assert_uint_eq(at(0)->moment.key, 500);
    ck_assert_uint_eq(queue->next, 10);
    settle(0, 10);
    ck_assert_ptr_null(at(0));
    ck_assert_uint_eq(atomic_load(&member->leased), 0);
    ck_assert_uint_eq(group_queue_cursor(queue), 10);
    end();
}
END_TEST

START_TEST(leased_given_back_is_ready_as_it_was)
{
    begin(GROUP_ORDER_NONE);
    retry(0, 4, 3, 100);
    group_queue_due(queue, at(0));
    check_queue();
    lease(0, 4, 1);
    group_queue_give_back(queue, at(0));
    check_queue();
    ck_state(0, OPEN_READY);
    ck_assert_uint_eq(at(0)->attempts, 3);
    ck_assert_uint_eq(at(0)->due_ms, 100);
    ck_assert(bytes_equal(reason_text(at(0)->reason), bytes_from_string("why")));
    ck_assert_uint_eq(atomic_load(&member->leased), 0);
    end();
}
END_TEST

START_TEST(what_is_given_back_is_one_with_neighbors_that_are_alike)
{
    begin(_i == 0 ? GROUP_ORDER_NONE : GROUP_ORDER_QUEUE);
    for (uint64_t i = 0; i < 5; i++) {
        lease(i, 1, i + 1);
    }
    retry(3, 1, 1, 100); /* unlike the others */
    static const uint64_t order[] = {0, 2, 1, 4};
    for (size_t i = 0; i < 4; i++) {
        group_queue_give_back(queue, at(order[i]));
        check_queue();
    }
    ck_range(1, 0, 3);
    ck_range(3, 3, 4);
    ck_range(4, 4, 5);
    group_queue_due(queue, at(3));
    check_queue();
    ck_range(1, 0, 3);
    ck_range(4, 4, 5);
    end();
}
END_TEST

START_TEST(what_failed_alike_waits_and_becomes_due_as_one)
{
    begin(GROUP_ORDER_NONE);
    lease(0, 6, 1);
    retry(0, 1, 1, 100);
    retry(1, 1, 1, 100);
    ck_range(1, 0, 2);
    retry(2, 1, 2, 100);
    retry(3, 1, 2, 101);
    retry(4, 1, 2, DUE_NEVER);
    retry(5, 1, 2, DUE_NEVER); /* each becomes a dead letter by itself */
    ck_assert_uint_eq(queue->open.count, 5);
    group_queue_due(queue, at(0));
    check_queue();
    ck_range(0, 0, 2);
    end();
}
END_TEST

START_TEST(leased_failed_waits_and_becomes_due)
{
    begin(GROUP_ORDER_NONE);
    lease(0, 10, 1);
    retry(4, 2, 1, 700);
    ck_state(3, OPEN_LEASED);
    ck_state(4, OPEN_WAITING);
    ck_state(6, OPEN_LEASED);
    ck_range(4, 4, 6);
    ck_assert_uint_eq(at(4)->moment.key, 700);
    ck_assert_uint_eq(atomic_load(&member->leased), 8);
    ck_assert_uint_eq(queue->retrying, 2);
    group_queue_due(queue, at(4));
    check_queue();
    ck_state(4, OPEN_READY);
    ck_assert_uint_eq(at(4)->attempts, 1);
    end();
}
END_TEST

START_TEST(a_last_attempt_is_dying_until_it_is_settled)
{
    begin(GROUP_ORDER_NONE);
    lease(0, 3, 1);
    retry(1, 1, 17, DUE_NEVER);
    ck_state(1, OPEN_DYING);
    ck_assert_uint_eq(length_of(&groups.dying), 1);
    ck_assert_uint_eq(queue->retrying, 0);
    progress(1, 1);
    ck_assert(list_is_empty(&groups.dying));
    end();
}
END_TEST

START_TEST(a_failure_says_all_of_its_offsets_whatever_they_were)
{
    begin(GROUP_ORDER_NONE);
    lease(0, 3, 1);     /* LEASED */
    retry(3, 3, 2, 50); /* WAITING */
    settle(8, 1);       /* 6 and 7 are READY */
    retry(1, 9, 5, 60); /* also what was settled, and 9, which is new */
    ck_range(1, 1, 10);
    ck_state(1, OPEN_WAITING);
    ck_assert_uint_eq(at(1)->attempts, 5);
    ck_range(0, 0, 1);
    ck_assert_uint_eq(queue->next, 10);
    end();
}
END_TEST

START_TEST(what_lies_before_something_settled_becomes_open)
{
    begin(GROUP_ORDER_NONE);
    progress(5, 2);
    ck_range(0, 0, 5);
    ck_state(0, OPEN_READY);
    ck_assert_uint_eq(queue->next, 7);
    ck_assert_uint_eq(queue->logged, 7);
    ck_assert_uint_eq(group_queue_cursor(queue), 0);
    progress(0, 5);
    ck_assert_uint_eq(group_queue_cursor(queue), 7);
    end();
}
END_TEST

START_TEST(settling_cuts_a_range_at_its_ends_and_in_its_middle)
{
    begin(GROUP_ORDER_NONE);
    lease(0, 100, 1);
    settle(0, 10);
    ck_range(10, 10, 100);
    settle(90, 10);
    ck_range(10, 10, 90);
    settle(40, 20);
    ck_range(10, 10, 40);
    ck_range(60, 60, 90);
    ck_assert_uint_eq(at(60)->serial, 1);
    ck_assert_uint_eq(at(60)->moment.key, 500);
    ck_assert_ptr_eq(at(60)->member, member);
    ck_assert_uint_eq(atomic_load(&member->leased), 60);
    settle(0, 100);
    ck_assert_uint_eq(queue->open.count, 0);
    end();
}
END_TEST

START_TEST(a_part_of_a_lease_is_carved_out_and_stays_in_its_session)
{
    struct list session;
    begin(GROUP_ORDER_NONE);
    lease(0, 9, 1);
    list_init(&session);
    list_append(&session, &at(0)->link);
    const struct offset_range part = {3, 3};
    struct open_range *range = group_queue_carve(queue, at(0), &part);
    check_queue();
    ck_assert_uint_eq(range->first, 3);
    ck_assert_uint_eq(range->count, 3);
    group_queue_set_moment(range, 900);
    ck_assert_uint_eq(at(0)->moment.key, 500);
    ck_assert_uint_eq(at(8)->moment.key, 500);
    ck_assert_uint_eq(length_of(&session), 3);
    settle(0, 9);
    ck_assert_uint_eq(length_of(&session), 0);
    end();
}
END_TEST

START_TEST(a_lease_again_is_longer_for_the_same_and_another_for_others)
{
    begin(GROUP_ORDER_NONE);
    struct group_member *other = group_member_create(bytes_from_string("other"));
    lease(0, 4, 1);
    const struct event_lease longer = {
        .place = place, .range = {1, 2}, .until_ms = 800, .serial = 1};
    group_queue_lease(queue, &longer, NULL);
    check_queue();
    ck_range(1, 1, 3);
    ck_assert_ptr_eq(at(1)->member, member); /* who had it has it */
    ck_assert_uint_eq(at(1)->moment.key, 800);
    ck_assert_uint_eq(at(0)->moment.key, 500);
    const struct event_lease taken = {
        .place = place, .range = {1, 2}, .until_ms = 900, .serial = 2};
    group_queue_lease(queue, &taken, other);
    check_queue();
    ck_assert_uint_eq(atomic_load(&member->leased), 2);
    ck_assert_uint_eq(atomic_load(&other->leased), 2);
    settle(0, 4);
    ck_assert_uint_eq(atomic_load(&other->references), 1);
    group_member_unref(other);
    end();
}
END_TEST

/* After a start the log knows of a lease, but not whose it is. */
START_TEST(a_lease_of_nobody_becomes_its_members)
{
    begin(GROUP_ORDER_QUEUE);
    const struct event_lease known = {
        .place = place, .range = {0, 5}, .until_ms = 800, .serial = 1};
    group_queue_lease(queue, &known, NULL);
    check_queue();
    ck_assert_ptr_null(at(0)->member);
    group_queue_lease(queue, &known, member);
    check_queue();
    ck_assert_uint_eq(atomic_load(&member->leased), 5);
    end();
}
END_TEST

START_TEST(attempts_stay_when_a_failed_message_is_given_out_again)
{
    begin(GROUP_ORDER_NONE);
    lease(0, 5, 1);
    retry(2, 1, 4, 100);
    group_queue_due(queue, at(2));
    lease(2, 1, 2);
    ck_assert_uint_eq(at(2)->attempts, 4);
    ck_assert_uint_eq(at(1)->attempts, 0);
    ck_assert_uint_eq(queue->retrying, 0);
    end();
}
END_TEST

/* --------------------------------------------------------------- questions */

START_TEST(the_cursor_passes_what_has_failed_and_nothing_else)
{
    begin(GROUP_ORDER_NONE);
    lease(0, 10, 1);
    retry(0, 3, 1, 100);
    ck_assert_uint_eq(group_queue_first_open(queue), 0);
    ck_assert_uint_eq(group_queue_cursor(queue), 3);
    settle(3, 2);
    ck_assert_uint_eq(group_queue_cursor(queue), 5);
    settle(6, 4);
    ck_assert_uint_eq(group_queue_cursor(queue), 5);
    settle(5, 1);
    ck_assert_uint_eq(group_queue_cursor(queue), 10);
    ck_assert_uint_eq(group_queue_first_open(queue), 0);
    settle(0, 3);
    ck_assert_uint_eq(group_queue_first_open(queue), 10);
    end();
}
END_TEST

START_TEST(there_is_work_where_something_is_ready_or_new)
{
    begin(GROUP_ORDER_NONE);
    ck_assert(!group_queue_has_work(queue, 0));
    ck_assert(group_queue_has_work(queue, 1));
    lease(0, 5, 1);
    ck_assert(!group_queue_has_work(queue, 5));
    ck_assert(group_queue_has_work(queue, 6));
    retry(0, 1, 1, 100);
    ck_assert(!group_queue_has_work(queue, 5));
    group_queue_due(queue, at(0));
    ck_assert(group_queue_has_work(queue, 5));
    end();
}
END_TEST

START_TEST(a_queue_in_order_has_no_work_while_something_is_under_way)
{
    begin(GROUP_ORDER_QUEUE);
    ck_assert(group_queue_has_work(queue, 10));
    lease(0, 5, 1);
    ck_assert(!group_queue_has_work(queue, 10));
    retry(0, 5, 1, 100);
    ck_assert(!group_queue_has_work(queue, 10));
    group_queue_due(queue, at(0));
    ck_assert(group_queue_has_work(queue, 10));
    retry(0, 5, 2, DUE_NEVER);
    ck_assert(!group_queue_has_work(queue, 10));
    progress(0, 5);
    ck_assert(group_queue_has_work(queue, 10));
    ck_assert(!group_queue_has_work(queue, 5));
    end();
}
END_TEST

START_TEST(too_much_that_is_open_keeps_new_messages_back)
{
    struct group_bound bound;
    begin(GROUP_ORDER_NONE);
    lease(0, GROUP_OPEN_MAX - 1, 1);
    ck_assert(!group_queue_is_full(queue, &bound));
    ck_assert(group_queue_has_work(queue, GROUP_OPEN_MAX));
    lease(GROUP_OPEN_MAX - 1, 1, 1);
    ck_assert(group_queue_is_full(queue, &bound));
    ck_assert_uint_eq(bound.limit, GROUP_OPEN_MAX);
    ck_assert_uint_eq(bound.usage, GROUP_OPEN_MAX);
    ck_assert(!group_queue_has_work(queue, GROUP_OPEN_MAX + 1));
    settle(5, 1);
    ck_assert(group_queue_has_work(queue, GROUP_OPEN_MAX + 1));
    end();
}
END_TEST

START_TEST(too_many_that_fail_keep_new_messages_back_and_not_what_failed)
{
    struct group_bound bound;
    begin(GROUP_ORDER_NONE);
    lease(0, GROUP_RETRIES_MAX, 1);
    retry(0, GROUP_RETRIES_MAX, 1, 100);
    ck_assert(group_queue_is_full(queue, &bound));
    ck_assert_uint_eq(bound.limit, GROUP_RETRIES_MAX);
    ck_assert(!group_queue_has_work(queue, 2 * GROUP_RETRIES_MAX));
    group_queue_due(queue, at(0));
    ck_assert(group_queue_is_full(queue, &bound));
    ck_assert(group_queue_has_work(queue, 2 * GROUP_RETRIES_MAX));
    settle(7, 1);
    ck_assert(!group_queue_is_full(queue, &bound));
    end();
}
END_TEST

START_TEST(too_many_ranges_of_the_shard_keep_new_messages_back)
{
    struct group_bound bound;
    begin(GROUP_ORDER_NONE);
    groups.range_count = GROUP_RANGES_MAX;
    ck_assert(group_queue_is_full(queue, &bound));
    ck_assert_uint_eq(bound.limit, GROUP_RANGES_MAX);
    groups.range_count = 0;
    end();
}
END_TEST

/* -------------------------------------------------------------------- hash */

/* The hash of what is made of a fresh queue by `make`. */
static uint64_t hash_of(enum group_order order, void (*make)(void))
{
    begin(order);
    make();
    uint64_t hash = group_queue_hash(queue);
    end();
    return hash;
}

static void make_failed_at_once(void)
{
    retry(0, 6, 1, 100);
    progress(8, 2);
}

static void make_failed_piecemeal(void)
{
    progress(8, 2);
    retry(3, 3, 1, 100);
    retry(0, 1, 1, 100);
    retry(1, 2, 1, 100);
}

static void make_failed_and_given_out(void)
{
    make_failed_at_once();
    group_queue_due(queue, at(0));
    lease(0, 3, 9); /* which the log does not know */
    lease(12, 5, 9);
    settle(12, 1);
}

START_TEST(the_hash_sees_what_the_log_knows_and_not_how_it_is_cut)
{
    uint64_t hash = hash_of(GROUP_ORDER_NONE, make_failed_at_once);
    ck_assert_uint_eq(hash_of(GROUP_ORDER_NONE, make_failed_piecemeal), hash);
    ck_assert_uint_eq(hash_of(GROUP_ORDER_NONE, make_failed_and_given_out), hash);
}
END_TEST

static void make_other_attempt(void)
{
    make_failed_at_once();
    retry(2, 1, 2, 100);
}

static void make_other_due(void)
{
    make_failed_at_once();
    retry(2, 1, 1, 101);
}

static void make_settled(void)
{
    make_failed_at_once();
    progress(2, 1);
}

static void make_longer(void)
{
    make_failed_at_once();
    progress(10, 1);
}

static void make_skipped(void)
{
    make_failed_at_once();
    queue->skipped++;
}

static void make_other_generation(void)
{
    group_queue_seek(queue, 2, 0);
    make_failed_at_once();
}

START_TEST(the_hash_sees_every_difference)
{
    static void (*const makes[])(void) = {make_other_attempt, make_other_due,
                                          make_settled,       make_longer,
                                          make_skipped,       make_other_generation};
    uint64_t hash = hash_of(GROUP_ORDER_NONE, make_failed_at_once);
    for (size_t i = 0; i < sizeof(makes) / sizeof(makes[0]); i++) {
        ck_assert_msg(hash_of(GROUP_ORDER_NONE, makes[i]) != hash, "difference %zu", i);
    }
}
END_TEST

static void make_leased(void)
{
    lease(0, 5, 1);
}

static void make_leased_to_another(void)
{
    lease(0, 5, 2);
}

START_TEST(in_ordered_groups_the_hash_sees_leases)
{
    ck_assert_uint_ne(hash_of(GROUP_ORDER_QUEUE, make_leased),
                      hash_of(GROUP_ORDER_QUEUE, make_leased_to_another));
}
END_TEST

static Suite *group_queue_suite(void)
{
    Suite *suite = suite_create("group_queue");
    TCase *tests = tcase_create("group_queue");
    tcase_add_test(tests, a_seek_begins_with_nothing_open);
    tcase_add_test(tests, ready_leased_settled);
    tcase_add_test(tests, leased_given_back_is_ready_as_it_was);
    tcase_add_loop_test(tests, what_is_given_back_is_one_with_neighbors_that_are_alike, 0, 2);
    tcase_add_test(tests, what_failed_alike_waits_and_becomes_due_as_one);
    tcase_add_test(tests, leased_failed_waits_and_becomes_due);
    tcase_add_test(tests, a_last_attempt_is_dying_until_it_is_settled);
    tcase_add_test(tests, a_failure_says_all_of_its_offsets_whatever_they_were);
    tcase_add_test(tests, what_lies_before_something_settled_becomes_open);
    tcase_add_test(tests, settling_cuts_a_range_at_its_ends_and_in_its_middle);
    tcase_add_test(tests, a_part_of_a_lease_is_carved_out_and_stays_in_its_session);
    tcase_add_test(tests, a_lease_again_is_longer_for_the_same_and_another_for_others);
    tcase_add_test(tests, a_lease_of_nobody_becomes_its_members);
    tcase_add_test(tests, attempts_stay_when_a_failed_message_is_given_out_again);
    tcase_add_test(tests, the_cursor_passes_what_has_failed_and_nothing_else);
    tcase_add_test(tests, there_is_work_where_something_is_ready_or_new);
    tcase_add_test(tests, a_queue_in_order_has_no_work_while_something_is_under_way);
    tcase_add_test(tests, too_much_that_is_open_keeps_new_messages_back);
    tcase_add_test(tests, too_many_that_fail_keep_new_messages_back_and_not_what_failed);
    tcase_add_test(tests, too_many_ranges_of_the_shard_keep_new_messages_back);
    tcase_add_test(tests, the_hash_sees_what_the_log_knows_and_not_how_it_is_cut);
    tcase_add_test(tests, the_hash_sees_every_difference);
    tcase_add_test(tests, in_ordered_groups_the_hash_sees_leases);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(group_queue_suite)
