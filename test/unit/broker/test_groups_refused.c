/* SPDX-License-Identifier: Apache-2.0 */
/* test_groups_refused.c - what becomes of what groups have open while the log takes nothing. */
#include "test/lib/check_main.h"
#include "test/unit/broker/shard_world.h"

enum { HELD_MS = 3600000, SESSION = 77 };

/* The disk takes no other segment, and those that are there are full. */
static void fill_disk(struct world *world, struct group_queue *settled)
{
    const struct offset_range first = {0, 1};
    ck_assert_int_eq(groups_settle(settled, &first), OK);
    fails[DISK_CALL_ALLOCATE] = true;
    while (groups_say_again(settled, 0, NULL) == OK) {
        run_ms(world, 1);
    }
}

START_TEST(what_was_given_back_counts_no_attempt_when_the_log_can_say_so_again)
{
    bool is_of_key = _i == 1;
    struct world world = begin_with(is_of_key ? GROUP_ORDER_KEY : GROUP_ORDER_QUEUE, 0);
    put_group(&world, OTHER, "other", "t", GROUP_ORDER_NONE);
    produce(&world, TOPIC, 1, is_of_key ? 5 : 0);
    struct groups *groups = world.shard->groups;
    struct group_queue *queue = begin_group(&world, GROUP, TOPIC);
    lease(&world, queue, 0, 1, is_of_key ? 5 : 0);
    const struct open_range *range = open_ranges_first(&queue->open);
    groups_hold(groups, SESSION, open_ranges_first(&queue->open));
    fill_disk(&world, begin_group(&world, OTHER, TOPIC));
    groups_release(groups, SESSION, 0, UINT64_MAX);
    ck_assert_int_eq(range->state, OPEN_LEASED);
    run_ms(&world, HELD_MS + 5000);
    ck_assert_int_eq(range->state, OPEN_LEASED);
    fails[DISK_CALL_ALLOCATE] = false;
    run_ms(&world, 60000);
    ck_assert_ptr_eq(open_ranges_first(&queue->open), range);
    ck_assert_int_eq(range->state, OPEN_READY);
    ck_assert_uint_eq(range->attempts, 0);
    ck_assert_uint_eq(queue->group->expired, 0);
    /* What is given out after that and is not settled has failed. */
    lease(&world, queue, 0, 1, is_of_key ? 5 : 0);
    run_ms(&world, HELD_MS + 5000);
    ck_assert_uint_eq(queue->group->expired, 1);
    ck_assert_uint_eq(range->attempts, 1);
    end(&world);
}
END_TEST

static Suite *groups_refused_suite(void)
{
    Suite *suite = suite_create("groups_refused");
    TCase *tests = tcase_create("groups_refused");
    tcase_add_loop_test(tests, what_was_given_back_counts_no_attempt_when_the_log_can_say_so_again,
                        0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(groups_refused_suite)
