/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_group_queue_keys.c - the order of keys in one queue of a group: what of a key may be given out, what it
 * blocks, and how much may be blocked.
 */
#include "broker/limits.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/group_queue_world.h"

START_TEST(of_a_key_the_first_may_be_given_out_and_the_others_are_blocked)
{
    begin(GROUP_ORDER_KEY);
    lease_key(0, 1, 1, 7);
    ck_assert(!group_queue_key_is_free(queue, 7, 2));
    ck_assert(group_queue_key_is_free(queue, 7, 1)); /* in the same answer */
    ck_assert(group_queue_key_is_free(queue, 8, 2));
    ck_assert(group_queue_key_is_free(queue, 0, 2)); /* no key: no order */
    (void)group_queue_meet_key(queue, 1, 7);
    (void)group_queue_meet_key(queue, 2, 8);
    (void)group_queue_meet_key(queue, 3, 7);
    check_queue();
    ck_state(1, OPEN_BLOCKED);
    ck_state(2, OPEN_READY);
    ck_state(3, OPEN_BLOCKED);
    ck_assert_ptr_eq(group_queue_next_of_key(queue, 7, 1), at(1));
    ck_assert_ptr_null(group_queue_next_of_key(queue, 7, 9));
    settle(0, 1);
    ck_state(1, OPEN_READY);
    ck_state(3, OPEN_BLOCKED);
    settle(1, 1);
    ck_state(3, OPEN_READY);
    settle(3, 1);
    ck_assert(group_queue_key_is_free(queue, 7, 2));
    end();
}
END_TEST

START_TEST(a_key_that_fails_blocks_itself_alone)
{
    begin(GROUP_ORDER_KEY);
    lease_key(0, 1, 1, 7);
    lease_key(1, 1, 1, 8);
    (void)group_queue_meet_key(queue, 2, 7);
    retry_key(0, 1, 1, 100, 7);
    ck_state(0, OPEN_WAITING);
    ck_state(2, OPEN_BLOCKED);
    ck_assert(!group_queue_key_is_free(queue, 7, 1));
    ck_state(1, OPEN_LEASED);
    group_queue_due(queue, at(0));
    ck_state(0, OPEN_READY);
    ck_state(2, OPEN_BLOCKED);
    lease_key(0, 1, 5, 7);
    ck_assert_uint_eq(at(0)->attempts, 1);
    ck_assert_ptr_eq(group_queue_next_of_key(queue, 7, 5), at(2));
    end();
}
END_TEST

START_TEST(what_is_given_back_behind_a_failed_message_of_its_key_is_blocked)
{
    begin(GROUP_ORDER_KEY);
    lease_key(0, 1, 1, 7);
    lease_key(1, 1, 1, 7);
    retry_key(0, 1, 1, 100, 7);
    ck_state(1, OPEN_LEASED);
    group_queue_give_back(queue, at(1));
    check_queue();
    ck_state(1, OPEN_BLOCKED);
    retry_key(0, 1, 17, DUE_NEVER, 7);
    ck_state(1, OPEN_BLOCKED);
    progress(0, 1);
    ck_state(1, OPEN_READY);
    end();
}
END_TEST

START_TEST(a_key_of_which_something_is_held_waits_for_it)
{
    begin(GROUP_ORDER_KEY);
    lease_key(0, 1, 1, 7);
    lease_key(1, 1, 1, 7);
    retry_key(0, 1, 1, 100, 7);
    group_queue_due(queue, at(0));
    check_queue();
    ck_state(0, OPEN_BLOCKED); /* 1 is still somebody's */
    ck_assert(!group_queue_key_is_free(queue, 7, 2));
    settle(1, 1);
    ck_state(0, OPEN_READY);
    end();
}
END_TEST

START_TEST(an_earlier_message_of_a_key_takes_the_place_of_the_first)
{
    begin(GROUP_ORDER_KEY);
    lease_key(5, 1, 1, 7); /* 0 to 4 are open, their keys unknown */
    ck_range(0, 0, 5);
    ck_assert_uint_eq(length_of(&queue->unknown), 1);
    group_queue_give_back(queue, at(5));
    check_queue();
    ck_state(5, OPEN_READY);
    (void)group_queue_meet_key(queue, 0, 7);
    check_queue();
    ck_state(0, OPEN_READY);
    ck_state(5, OPEN_BLOCKED);
    ck_range(1, 1, 5);
    end();
}
END_TEST

START_TEST(unknown_keys_are_told_apart_from_those_that_are_known)
{
    begin(GROUP_ORDER_KEY);
    progress(3, 1);
    ck_assert_uint_eq(length_of(&queue->unknown), 1);
    ck_assert_uint_eq(length_of(&queue->ready), 0);
    ck_assert(group_queue_has_work(queue, 4));
    lease_key(0, 1, 1, 7);
    ck_range(1, 1, 3);
    lease_key(1, 1, 1, 8);
    lease_key(2, 1, 1, 0); /* it has none */
    ck_assert_uint_eq(length_of(&queue->unknown), 0);
    ck_assert(!group_queue_has_work(queue, 4));
    settle(0, 4);
    ck_assert_uint_eq(queue->keys.count, 0);
    end();
}
END_TEST

START_TEST(too_many_blocked_messages_keep_new_ones_back)
{
    struct group_bound bound;
    begin(GROUP_ORDER_KEY);
    lease_key(0, 1, 1, 7);
    for (uint64_t offset = 1; offset <= GROUP_BLOCKED_MAX; offset++) {
        ck_assert(!group_queue_is_full(queue, &bound));
        (void)group_queue_meet_key(queue, offset, 7);
    }
    ck_assert(group_queue_is_full(queue, &bound));
    ck_assert_uint_eq(bound.limit, GROUP_BLOCKED_MAX);
    ck_assert_uint_eq(bound.usage, GROUP_BLOCKED_MAX);
    ck_assert(!group_queue_has_work(queue, 2 * GROUP_BLOCKED_MAX));
    const struct offset_range first = {0, 1};
    group_queue_settle(queue, &first);
    ck_assert(group_queue_has_work(queue, 2 * GROUP_BLOCKED_MAX));
    end();
}
END_TEST

static Suite *group_queue_keys_suite(void)
{
    Suite *suite = suite_create("group_queue_keys");
    TCase *tests = tcase_create("group_queue_keys");
    tcase_add_test(tests, of_a_key_the_first_may_be_given_out_and_the_others_are_blocked);
    tcase_add_test(tests, a_key_that_fails_blocks_itself_alone);
    tcase_add_test(tests, what_is_given_back_behind_a_failed_message_of_its_key_is_blocked);
    tcase_add_test(tests, a_key_of_which_something_is_held_waits_for_it);
    tcase_add_test(tests, an_earlier_message_of_a_key_takes_the_place_of_the_first);
    tcase_add_test(tests, unknown_keys_are_told_apart_from_those_that_are_known);
    tcase_add_test(tests, too_many_blocked_messages_keep_new_ones_back);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(group_queue_keys_suite)
