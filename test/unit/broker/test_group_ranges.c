/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_group_ranges.c - GROUP_RANGES_MAX binds whatever makes ranges of a shard's groups: what is received, new or
 * given back, and what is settled in parts. A shard whose receives and receipts are judged directly; the ranges
 * of others are said, not made.
 */
#include "broker/call.h"
#include "broker/delivery.h"
#include "broker/limits.h"
#include "broker/pool.h"
#include "broker/receive_take.h"
#include "broker/settle_receipt.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/shard_world.h"

enum { MESSAGES = 40, KEY = 77 };

static struct world world;
static struct group_queue *queue;
static struct group *group;
static uint64_t others; /* ranges that are said to be open elsewhere */

/* MESSAGES in the queue of the group, without a key or, in the order of keys, all with the same. */
static void begin_queue(enum group_order order)
{
    world = begin_with(order, 0);
    produce(&world, TOPIC, MESSAGES, order == GROUP_ORDER_KEY ? KEY : 0);
    queue = begin_group(&world, GROUP, TOPIC);
    group = catalogue_find_group_id(world.shard->catalogue, GROUP);
    others = 0;
}

/* From here `left` ranges more may be made. */
static void leave_room(uint64_t left)
{
    struct groups *groups = world.shard->groups;
    uint64_t count = groups->range_count - others;
    others = GROUP_RANGES_MAX - left - count;
    groups->range_count = count + others;
}

static void end_queue(void)
{
    world.shard->groups->range_count -= others;
    end(&world);
}

/* ------------------------------------------------------------------- receiving */

struct taken {
    enum take_result result;
    uint64_t first; /* where there is something */
    uint64_t count;
};

/* What a receive of at most `most` messages is given, in one look; the bound holds. */
static struct taken take_most(uint32_t most)
{
    static struct call call;
    memset(&call, 0, sizeof(call));
    struct receive_call *receive = &call.receive;
    receive->shard = world.shard;
    receive->group = group;
    receive->messages_max = most;
    receive->bytes_max = 1 << 20;
    receive->serial = ++world.shard->groups->lease_serial;
    receive->until_ms = reactor_wall_ms(world.reactor) + 3600000;
    const struct take take = {
        .call = &call,
        .at = world.cores->core[0],
        .queue = queue,
        .topic = BYTES_OF("t"),
        .visible = MESSAGES,
    };
    struct taken taken = {.count = 0};
    taken.result = queue->order == GROUP_ORDER_KEY ? take_keyed(&take) : take_next(&take);
    ck_assert_uint_le(world.shard->groups->range_count, GROUP_RANGES_MAX);
    ck_assert_int_eq(receive->error, OK);
    if (receive->ranges != NULL) {
        taken.first = receive->ranges->at[0].first;
        taken.count = receive->ranges->at[0].span;
        delivery_drop(receive->runs);
        pool_give(&take.at->run_lists, receive->runs);
        reason_unref(receive->ranges->at[0].reason);
        pool_give(&take.at->receive_ranges, receive->ranges);
    }
    return taken;
}

static void give_back(uint64_t offset)
{
    (void)groups_give_back(open_ranges_find(&queue->open, offset));
}

/* Ten messages that are given back are one range; with no room for another nobody is given a part of it. */
START_TEST(what_is_given_out_again_is_not_cut_beyond_the_bound)
{
    begin_queue(_i == 0 ? GROUP_ORDER_NONE : GROUP_ORDER_QUEUE);
    struct taken taken = take_most(10);
    ck_assert_uint_eq(taken.count, 10);
    give_back(0);
    leave_room(1);
    taken = take_most(4);
    ck_assert_uint_eq(taken.count, 4);
    give_back(0); /* and it is one again: there is room for one more */
    taken = take_most(4);
    ck_assert_uint_eq(taken.count, 4);
    give_back(0);
    leave_room(0);
    taken = take_most(4);
    ck_assert_int_eq(taken.result, TAKE_FULL);
    ck_assert_uint_eq(taken.count, 0);
    taken = take_most(10);
    ck_assert_uint_eq(taken.count, 10);
    end_queue();
}
END_TEST

START_TEST(behind_a_range_that_may_not_be_cut_a_smaller_one_is_found)
{
    begin_queue(GROUP_ORDER_NONE);
    ck_assert_uint_eq(take_most(10).count, 10);
    ck_assert_uint_eq(take_most(1).count, 1);
    ck_assert_uint_eq(take_most(2).count, 2);
    give_back(0);
    give_back(11);
    leave_room(0);
    struct taken taken = take_most(3);
    ck_assert_uint_eq(taken.first, 11);
    ck_assert_uint_eq(taken.count, 2);
    ck_assert_int_eq(take_most(3).result, TAKE_FULL);
    end_queue();
}
END_TEST

/* In the order of keys each offset is a range: those that are given out, and those that wait for their key. */
START_TEST(no_more_keys_are_looked_at_than_there_is_room_for)
{
    begin_queue(GROUP_ORDER_KEY);
    if (_i == 1) {
        const struct offset_range last = {MESSAGES - 1, 1};
        group_queue_settle(queue, &last); /* what is before has begun, its keys are unknown */
    }
    leave_room(5);
    ck_assert_uint_eq(take_most(3).count, 3);
    struct taken taken = {.result = TAKE_SOME};
    for (int i = 0; i < 9 && taken.result == TAKE_SOME; i++) {
        taken = take_most(1); /* notes that they are blocked */
        ck_assert_uint_eq(taken.count, 0);
    }
    ck_assert_uint_eq(queue->in_state[OPEN_BLOCKED], 2);
    ck_assert_int_eq(taken.result, _i == 0 ? TAKE_NOTHING : TAKE_FULL);
    end_queue();
}
END_TEST

/* The last offset of what has begun takes the place that it has. */
START_TEST(the_last_unknown_key_needs_no_room)
{
    begin_queue(GROUP_ORDER_KEY);
    const struct offset_range behind = {1, MESSAGES - 1};
    group_queue_settle(queue, &behind);
    leave_room(0);
    ck_assert_uint_eq(take_most(3).count, 1);
    end_queue();
}
END_TEST

/* ------------------------------------------------------------------- settling */

/* What becomes of `count` offsets from `first` on that were leased last; the bound holds. */
static enum error judge(enum settle_verb verb, uint64_t first, uint64_t count)
{
    struct settling settling = {.verb = verb, .counts = true, .has_delay = true, .delay_ms = 5000};
    settling.lease_ms = 3600000;
    struct receipt receipt = {
        .first = first,
        .span = count,
        .from = first,
        .serial = world.shard->groups->lease_serial,
        .generation = queue->generation,
        .group = GROUP,
        .topic = TOPIC,
        .has_lease = true,
    };
    uint32_t steps = 100;
    ck_assert(settle_receipt(world.shard->groups, &settling, &receipt, &steps));
    ck_assert_uint_le(world.shard->groups->range_count, GROUP_RANGES_MAX);
    return receipt.error;
}

START_TEST(an_ack_of_an_end_of_a_range_needs_no_room)
{
    begin_queue(GROUP_ORDER_NONE);
    lease(&world, queue, 0, 20, 0);
    leave_room(0);
    ck_assert_int_eq(judge(SETTLE_ACK, 0, 2), OK);
    ck_assert_int_eq(judge(SETTLE_ACK, 18, 2), OK);
    ck_assert_int_eq(judge(SETTLE_ACK, 8, 1), ERROR_GROUP_FULL);
    ck_assert_uint_eq(queue->open.offsets, 16);
    leave_room(1);
    ck_assert_int_eq(judge(SETTLE_ACK, 8, 1), OK);
    ck_assert_int_eq(judge(SETTLE_ACK, 10, 1), ERROR_GROUP_FULL);
    ck_assert_int_eq(judge(SETTLE_ACK, 2, 6), OK);
    ck_assert_int_eq(judge(SETTLE_ACK, 10, 1), OK);
    end_queue();
}
END_TEST

START_TEST(what_fails_or_is_extended_in_parts_needs_room_for_each)
{
    enum settle_verb verb = _i == 0 ? SETTLE_NACK : SETTLE_EXTEND;
    begin_queue(GROUP_ORDER_NONE);
    lease(&world, queue, 0, 20, 0);
    leave_room(1);
    ck_assert_int_eq(judge(verb, 8, 1), ERROR_GROUP_FULL); /* it would be three */
    ck_assert_int_eq(judge(verb, 0, 2), OK);
    ck_assert_int_eq(judge(verb, 18, 2), ERROR_GROUP_FULL);
    ck_assert_int_eq(judge(verb, 2, 18), OK);
    end_queue();
}
END_TEST

/* An ack of what was given out before a start may leave something open before it. */
START_TEST(an_ack_behind_what_has_begun_needs_room_for_what_lies_between)
{
    begin_queue(GROUP_ORDER_NONE);
    leave_room(0);
    ck_assert_int_eq(judge(SETTLE_ACK, 0, 2), OK);
    ck_assert_int_eq(judge(SETTLE_ACK, 5, 2), ERROR_GROUP_FULL);
    leave_room(1);
    ck_assert_int_eq(judge(SETTLE_ACK, 5, 2), OK);
    ck_assert_uint_eq(queue->open.offsets, 3);
    end_queue();
}
END_TEST

static Suite *group_ranges_suite(void)
{
    Suite *suite = suite_create("group_ranges");
    TCase *tests = tcase_create("group_ranges");
    tcase_add_loop_test(tests, what_is_given_out_again_is_not_cut_beyond_the_bound, 0, 2);
    tcase_add_test(tests, behind_a_range_that_may_not_be_cut_a_smaller_one_is_found);
    tcase_add_loop_test(tests, no_more_keys_are_looked_at_than_there_is_room_for, 0, 2);
    tcase_add_test(tests, the_last_unknown_key_needs_no_room);
    tcase_add_test(tests, an_ack_of_an_end_of_a_range_needs_no_room);
    tcase_add_loop_test(tests, what_fails_or_is_extended_in_parts_needs_room_for_each, 0, 2);
    tcase_add_test(tests, an_ack_behind_what_has_begun_needs_room_for_what_lies_between);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(group_ranges_suite)
