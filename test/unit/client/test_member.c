/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_member.c - what ternmq_groups.h promises of members, against a fake server in a simulated world.
 */
#include "test/lib/check_main.h"
#include "test/unit/client/client_world.h"
#include "test/unit/client/fake_group.h"
#include "tools/client/member.h"

#include <stdlib.h>

static struct client_world world;
static struct fake_group group;
static struct ternmq_error error;

/* A worker that settles what it gets, each after `work_ms`, or keeps it. */
struct worker {
    struct ternmq_member *member;
    struct ternmq_settlement settlement;
    bool keeps;
    uint64_t received;
    uint64_t lost; /* verdicts */
    int code;      /* the last that was not OK or NOTHING */
    struct ternmq_error why;
    uint64_t receipts[4096]; /* with `keeps` */
    uint32_t receipt_count;
    uint32_t attempt; /* of the last */
    char reason[128];
};

static struct worker worker;

static void on_lost(void *context, const char *topic, uint32_t queue, uint64_t offset,
                    const struct ternmq_error *why)
{
    struct worker *of = context;
    ck_assert_str_eq(topic, "t");
    ck_assert_int_eq(why->queue, queue);
    ck_assert_int_eq(why->offset, (int64_t)offset);
    of->lost++;
    of->why = *why;
}

static void setup(void)
{
    world_init(&world, 3);
    memset(&group, 0, sizeof(group));
    memset(&worker, 0, sizeof(worker));
    fake_group_init(&group, &world.server);
    world.server.group = &group;
}

static void group_end(struct fake_group *one, struct fake_server *server)
{
    server->group = NULL;
    ck_assert_uint_eq(one->parked, 0);
    fake_group_free(one);
}

static bool server_is_stopped(void *context)
{
    return fake_server_is_stopped(context);
}

static void teardown(void)
{
    client_detach(world.client, NULL, NULL);
    world.client = NULL;
    fake_server_drop_all(&world.server);
    world_pass(&world, 1000);
    group_end(&group, &world.server);
    world_deinit(&world);
}

static struct ternmq_member *open_member(struct ternmq_member_options options)
{
    options.group = options.group == NULL ? "g" : options.group;
    options.lost = on_lost;
    options.context = &worker;
    worker.member = ternmq_member_open(world.client, &options, &error);
    ck_assert_msg(worker.member != NULL, "%s", error.message);
    return worker.member;
}

static void check_message(const struct ternmq_received *received)
{
    const struct ternmq_delivery *message = &received->message;
    char digits[32] = {0};
    ck_assert_str_eq(message->topic, "t");
    memcpy(digits, message->body.data, message->body.length);
    ck_assert_uint_eq(strtoull(digits, NULL, 10), message->offset);
    ck_assert_uint_ne(received->receipt, 0);
    worker.attempt = received->attempt;
    snprintf(worker.reason, sizeof(worker.reason), "%.*s", (int)received->reason.length,
             received->reason.data == NULL ? "" : (const char *)received->reason.data);
}

/* Takes what is there and settles it. */
static void work_on(void)
{
    struct ternmq_received received[16];
    size_t count;
    int code;
    while ((code = ternmq_receive(worker.member, 0, received, 16, &count, &error)) == TERNMQ_OK) {
        for (size_t i = 0; i < count; i++) {
            check_message(&received[i]);
            worker.received++;
            if (worker.keeps) {
                worker.receipts[worker.receipt_count++] = received[i].receipt;
                continue;
            }
            ck_assert_int_eq(
                ternmq_settle(worker.member, &received[i].receipt, 1, &worker.settlement, &error),
                TERNMQ_OK);
        }
    }
    if (code != TERNMQ_NOTHING) {
        worker.code = code;
        worker.why = error;
    }
}

static void settle_kept(enum ternmq_verdict verdict)
{
    const struct ternmq_settlement settlement = {.verdict = verdict};
    ck_assert_int_eq(
        ternmq_settle(worker.member, worker.receipts, worker.receipt_count, &settlement, &error),
        TERNMQ_OK);
    worker.receipt_count = 0;
}

static bool has_acked(void *context)
{
    work_on();
    return group.acked >= *(const uint32_t *)context;
}

static void run_until_acked(uint32_t count)
{
    world_run(&world, has_acked, &count);
}

static bool has_received(void *context)
{
    work_on();
    return worker.received >= *(const uint32_t *)context;
}

static void run_until_received(uint32_t count)
{
    world_run(&world, has_received, &count);
}

static bool has_code(void *context)
{
    work_on();
    return worker.code == *(const int *)context;
}

static void run_until_code(int code)
{
    world_run(&world, has_code, &code);
}

static bool is_home(void *context)
{
    return member_is_home(context);
}

static void fill(struct fake_server *server, uint32_t queues, uint32_t each)
{
    for (uint32_t q = 0; q < queues; q++) {
        for (uint32_t i = 0; i < each; i++) {
            fake_server_append_number(server, q, server->queues[q].next);
        }
    }
}

static void check_all_are_done_once(struct fake_group *one, uint32_t queues, uint64_t each)
{
    for (uint32_t q = 0; q < queues; q++) {
        for (uint64_t at = 0; at < each; at++) {
            const struct fake_offset *offset = fake_group_at(one, q, at);
            ck_assert_int_eq(offset->stage, FAKE_DONE);
            ck_assert_uint_le(offset->settled, 1);
        }
    }
}

/* -------------------------------------------------------------------------- settling */

START_TEST(everything_is_received_and_settled_once)
{
    fill(&world.server, 4, 250);
    open_member((struct ternmq_member_options){.name = "worker-1"});
    run_until_acked(1000);
    world_pass(&world, 100);
    ck_assert_uint_eq(worker.received, 1000);
    ck_assert_uint_eq(group.acked, 1000);
    ck_assert_uint_eq(group.leased, 0);
    ck_assert_str_eq(group.member, "worker-1");
    check_all_are_done_once(&group, 4, 250);
    size_t ahead = 1;
    size_t given = 1;
    size_t settling = 1;
    ternmq_member_in_hand(worker.member, &ahead, &given, &settling);
    ck_assert_uint_eq(ahead + given, 0);
    ck_assert_uint_lt(settling, 100); /* what rides on the poll that waits now */
}
END_TEST

START_TEST(a_member_waits_for_what_comes)
{
    open_member((struct ternmq_member_options){.credit = 10});
    world_pass(&world, 100000); /* polls time out and are sent again */
    work_on();
    ck_assert_uint_eq(group.parked, 1);
    ck_assert_uint_le(group.receives, 5);
    uint64_t before_ms = world_now_ms(&world);
    fill(&world.server, 1, 1);
    run_until_acked(1);
    ck_assert_uint_lt(world_now_ms(&world) - before_ms, 50);
}
END_TEST

START_TEST(acks_ride_on_the_next_poll_where_one_is_due)
{
    fill(&world.server, 4, 100);
    open_member((struct ternmq_member_options){.credit = 10});
    run_until_acked(400);
    ck_assert_uint_gt(group.rides, 10);
    ck_assert_uint_lt(group.ack_calls, group.rides);
    ck_assert_uint_le(group.leased_most, 10);
}
END_TEST

START_TEST(acks_that_must_be_durable_go_by_themselves)
{
    fill(&world.server, 1, 20);
    open_member((struct ternmq_member_options){.credit = 10, .durable = true});
    run_until_acked(20);
    ck_assert_uint_eq(group.rides, 0);
    ck_assert_uint_eq(group.durable, group.ack_calls);
    ck_assert_uint_gt(group.durable, 0);
}
END_TEST

START_TEST(what_lies_side_by_side_is_one_receipt)
{
    fill(&world.server, 1, 1000);
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 1000});
    run_until_received(1000);
    settle_kept(TERNMQ_ACK);
    worker.keeps = false;
    run_until_acked(1000);
    ck_assert_uint_eq(group.receipts, 1);
}
END_TEST

START_TEST(a_retry_comes_again_with_its_attempt_and_reason)
{
    fill(&world.server, 1, 1);
    worker.settlement =
        (struct ternmq_settlement){.verdict = TERNMQ_RETRY, .reason = "out of stock"};
    open_member((struct ternmq_member_options){.credit = 5});
    run_until_received(1);
    ck_assert_uint_eq(worker.attempt, 1);
    ck_assert_str_eq(worker.reason, "");
    run_until_received(2);
    ck_assert_uint_eq(worker.attempt, 2);
    ck_assert_str_eq(worker.reason, "out of stock");
    ck_assert_uint_eq(group.delay_ms, 1000); /* the fake group's own */
}
END_TEST

START_TEST(each_verdict_says_what_it_means)
{
    fill(&world.server, 1, 3);
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 3});
    run_until_received(3);
    const struct ternmq_settlement later = {.verdict = TERNMQ_RETRY_LATER, .delay_ms = 70000};
    const struct ternmq_settlement dead = {.verdict = TERNMQ_DEAD, .reason = "no such customer"};
    const struct ternmq_settlement release = {.verdict = TERNMQ_RELEASE};
    ck_assert_int_eq(ternmq_settle(worker.member, worker.receipts, 1, &later, NULL), TERNMQ_OK);
    ck_assert_int_eq(ternmq_settle(worker.member, worker.receipts + 1, 1, &dead, NULL), TERNMQ_OK);
    ck_assert_int_eq(ternmq_settle(worker.member, worker.receipts + 2, 1, &release, NULL),
                     TERNMQ_OK);
    run_until_received(4); /* what was given back, at once */
    ck_assert_int_eq(ternmq_settle(worker.member, worker.receipts + 3, 1, NULL, NULL), TERNMQ_OK);
    ck_assert_uint_lt(world_now_ms(&world), 1000);
    ck_assert_uint_eq(worker.attempt, 1);
    ck_assert_uint_eq(group.delay_ms, 70000);
    ck_assert_uint_eq(group.retried, 1);
    ck_assert_uint_eq(group.dead, 1);
    ck_assert_uint_eq(group.released, 1);
    ck_assert_str_eq(fake_group_at(&group, 0, 1)->reason, "no such customer");
    run_until_received(5);
    ck_assert_uint_gt(world_now_ms(&world), 70000);
    ck_assert_uint_eq(worker.attempt, 2);
}
END_TEST

START_TEST(what_a_filter_left_out_is_settled_with_what_lies_beside_it)
{
    group.skip_modulo = 3;
    fill(&world.server, 2, 100);
    open_member((struct ternmq_member_options){.credit = 20});
    run_until_acked(132);
    world_pass(&world, 100);
    /* What lies behind the last that is wanted nobody was given. */
    check_all_are_done_once(&group, 2, 99);
}
END_TEST

START_TEST(a_nack_is_of_the_message_alone)
{
    group.skip_modulo = 2;
    fill(&world.server, 1, 6);
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 3});
    run_until_received(3);
    settle_kept(TERNMQ_RETRY);
    world_pass(&world, 100);
    ck_assert_uint_eq(group.retried, 3);
    ck_assert_int_eq(fake_group_at(&group, 0, 2)->stage, FAKE_DONE);
    ck_assert_int_eq(fake_group_at(&group, 0, 3)->stage, FAKE_FREE);
    ck_assert_int_eq(fake_group_at(&group, 0, 4)->stage, FAKE_DONE);
}
END_TEST

START_TEST(a_verdict_that_is_not_taken_is_told)
{
    fill(&world.server, 1, 5);
    group.loses_leases = true;
    open_member((struct ternmq_member_options){.credit = 5});
    run_until_received(5);
    world_pass(&world, 31000); /* they may ride on a poll that waits */
    ck_assert_uint_eq(worker.lost, 5);
    ck_assert_int_eq(worker.why.code, TERNMQ_LEASE_LOST);
}
END_TEST

START_TEST(a_receipt_names_a_message_in_hand_once)
{
    fill(&world.server, 1, 2);
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 2});
    run_until_received(2);
    uint64_t receipts[3] = {worker.receipts[0], 12345, worker.receipts[1]};
    ck_assert_int_eq(ternmq_settle(worker.member, receipts, 3, NULL, &error), TERNMQ_USAGE);
    world_pass(&world, 100);
    ck_assert_uint_eq(group.acked, 0);
    ck_assert_int_eq(ternmq_settle(worker.member, receipts, 1, NULL, &error), TERNMQ_OK);
    ck_assert_int_eq(ternmq_settle(worker.member, receipts, 1, NULL, &error), TERNMQ_USAGE);
    world_pass(&world, 100);
    ck_assert_int_eq(ternmq_settle(worker.member, receipts, 1, NULL, &error), TERNMQ_USAGE);
    const struct ternmq_settlement long_reason = {
        .verdict = TERNMQ_RETRY,
        .reason = "1234567890123456789012345678901234567890123456789012345678901234567890"
                  "123456789012345678901234567890123456789012345678901"};
    ck_assert_int_eq(ternmq_settle(worker.member, receipts + 2, 1, &long_reason, &error),
                     TERNMQ_USAGE);
}
END_TEST

/* -------------------------------------------------------------------------- credit */

START_TEST(the_credit_is_never_exceeded_by_who_keeps_all)
{
    fill(&world.server, 4, 100);
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 7});
    run_until_received(7);
    world_pass(&world, 20000);
    work_on();
    ck_assert_uint_eq(worker.received, 7);
    ck_assert_uint_eq(group.leased_most, 7);
    ck_assert_uint_eq(group.expired, 0);
    settle_kept(TERNMQ_ACK);
    run_until_received(14);
    world_pass(&world, 1000);
    ck_assert_uint_eq(group.leased_most, 7);
}
END_TEST

START_TEST(the_credit_is_never_exceeded_by_who_works)
{
    fill(&world.server, 4, 500);
    open_member((struct ternmq_member_options){.credit = (uint32_t)_i + 1});
    run_until_acked(2000);
    ck_assert_uint_le(group.leased_most, (uint32_t)_i + 1);
    check_all_are_done_once(&group, 4, 500);
}
END_TEST

START_TEST(who_holds_many_bytes_is_not_sent_more)
{
    fill(&world.server, 1, 1000);
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 100, .hold_bytes = 1});
    run_until_received(100);
    world_pass(&world, 1000);
    ck_assert_uint_eq(group.receives, 1);
}
END_TEST

START_TEST(an_answer_of_more_than_was_asked_for_is_refused)
{
    fill(&world.server, 1, 20);
    group.too_many = 1;
    group.lease_ms = 1000;
    open_member((struct ternmq_member_options){.credit = 5});
    run_until_acked(20); /* those that came with it come again when their leases are over */
    ck_assert_uint_eq(group.expired, 6);
    ck_assert_int_eq(world.why.code, TERNMQ_PROTOCOL);
}
END_TEST

/* -------------------------------------------------------------------------- leases */

START_TEST(leases_of_what_was_given_are_kept_by_wish)
{
    fill(&world.server, 1, 10);
    group.lease_ms = 300;
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 10, .keep_leases = true});
    run_until_received(10);
    world_pass(&world, 3000);
    ck_assert_uint_eq(group.expired, 0);
    ck_assert_uint_ge(group.extended, 3000 / 100 - 3); /* a receipt each third of a lease */
    ck_assert_uint_le(group.extended, 3000 / 100 + 3);
    settle_kept(TERNMQ_ACK);
    world_pass(&world, 100);
    uint32_t extended = group.extended;
    ck_assert_uint_eq(group.acked, 10);
    world_pass(&world, 3000);
    ck_assert_uint_eq(group.extended, extended);
}
END_TEST

START_TEST(leases_of_what_was_given_end_without_that_wish)
{
    fill(&world.server, 1, 10);
    group.lease_ms = 300;
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 10});
    run_until_received(10);
    world_pass(&world, 310 + 10);
    ck_assert_uint_eq(group.expired, 10);
    settle_kept(TERNMQ_ACK);
    world_pass(&world, 100);
    ck_assert_uint_eq(worker.lost, 10);
}
END_TEST

START_TEST(leases_of_what_waits_to_be_given_are_kept)
{
    fill(&world.server, 1, 10);
    group.lease_ms = 300;
    open_member((struct ternmq_member_options){.credit = 10});
    world_pass(&world, 3000);
    ck_assert_uint_eq(group.expired, 0);
    ck_assert_uint_eq(group.leased, 10);
    run_until_acked(10);
    ck_assert_uint_eq(worker.lost, 0);
}
END_TEST

START_TEST(what_waited_beyond_its_lease_is_not_given)
{
    fill(&world.server, 1, 10);
    group.lease_ms = 300;
    world.server.ignore_method = "extend";
    open_member((struct ternmq_member_options){.credit = 10});
    world_pass(&world, 290);
    ck_assert_uint_eq(group.leased, 10);
    world_pass(&world, 100);
    work_on();
    ck_assert_uint_eq(worker.received, 0);
    run_until_acked(10);
    ck_assert_uint_eq(worker.received, 10);
    ck_assert_uint_eq(worker.lost, 0);
    ck_assert_uint_eq(worker.attempt, 2);
    ck_assert_str_eq(worker.reason, "lease expired");
}
END_TEST

START_TEST(a_broker_s_clock_may_be_wrong_by_hours)
{
    fill(&world.server, 1, 10);
    group.lease_ms = 300;
    world.server.clock_ahead_ms = _i == 0 ? 7200000 : -7200000;
    open_member((struct ternmq_member_options){.credit = 10});
    world_pass(&world, 2000);
    ck_assert_uint_eq(group.expired, 0);
    run_until_acked(10);
    ck_assert_uint_eq(worker.received, 10);
}
END_TEST

START_TEST(a_lease_of_its_own_length_is_asked_for)
{
    fill(&world.server, 1, 1);
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 1, .lease_ms = 5000});
    run_until_received(1);
    world_pass(&world, 4900);
    ck_assert_uint_eq(group.expired, 0);
    world_pass(&world, 200);
    ck_assert_uint_eq(group.expired, 1);
}
END_TEST

/* -------------------------------------------------------------------------- ends */

START_TEST(who_leaves_gives_back_what_was_not_given_uncounted)
{
    fill(&world.server, 1, 20);
    struct ternmq_member *member = open_member((struct ternmq_member_options){.credit = 10});
    world_pass(&world, 100);
    ck_assert_uint_eq(group.leased, 10);
    member_leave(member);
    world_run(&world, is_home, member);
    ck_assert_uint_eq(group.released, 10);
    ck_assert_uint_eq(group.leased, 0);
    ck_assert_uint_eq(fake_group_at(&group, 0, 0)->attempt, 0);
    world_pass(&world, 1000);
    ck_assert_uint_eq(group.leased, 0); /* and asks for nothing more */
}
END_TEST

START_TEST(who_leaves_ends_its_poll_and_gives_back_what_that_still_brings)
{
    struct ternmq_member *member = open_member((struct ternmq_member_options){.credit = 10});
    world_pass(&world, 100);
    ck_assert_uint_eq(group.parked, 1);
    fill(&world.server, 1, 1); /* the answer is on its way */
    member_leave(member);
    world_run(&world, is_home, member);
    ck_assert_uint_eq(group.parked, 0);
    ck_assert_uint_eq(group.released, 1);
    ck_assert_uint_eq(group.leased, 0);
}
END_TEST

START_TEST(who_leaves_still_settles_what_was_given)
{
    fill(&world.server, 1, 10);
    worker.keeps = true;
    struct ternmq_member *member = open_member((struct ternmq_member_options){.credit = 10});
    run_until_received(4);
    member_leave(member);
    world_pass(&world, 100);
    ck_assert(!member_is_home(member));
    settle_kept(TERNMQ_ACK);
    world_run(&world, is_home, member);
    ck_assert_uint_eq(group.acked, 10);
}
END_TEST

START_TEST(a_closed_client_takes_its_members_along)
{
    fill(&world.server, 1, 10);
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 5});
    run_until_received(5);
    /* The teardown closes the client; leaks and use after free are the sanitizer's to find. */
    ck_assert_int_eq(ternmq_settle(worker.member, worker.receipts, 2, NULL, NULL), TERNMQ_OK);
}
END_TEST

/* -------------------------------------------------------------------------- failures */

START_TEST(lost_connections_cost_no_message)
{
    fill(&world.server, 4, 100);
    group.lease_ms = 2000;
    open_member((struct ternmq_member_options){.credit = 20});
    for (uint32_t i = 1; i <= 20; i++) {
        run_until_acked(i * 15);
        fake_server_drop_all(&world.server);
    }
    run_until_acked(400);
    world_pass(&world, 5000);
    work_on();
    check_all_are_done_once(&group, 4, 100);
    ck_assert_uint_gt(world.server.accepted, 10);
}
END_TEST

START_TEST(broken_connections_at_any_moment_cost_no_message)
{
    world_init_options(&world, (uint64_t)_i + 100, 10000,
                       (struct ternmq_options){.nameservers = FAKE_ADDRESS});
    memset(&group, 0, sizeof(group));
    memset(&worker, 0, sizeof(worker));
    fake_group_init(&group, &world.server);
    world.server.group = &group;
    group.lease_ms = 2000;
    fill(&world.server, 3, 200);
    open_member((struct ternmq_member_options){.credit = 10});
    run_until_acked(600);
    check_all_are_done_once(&group, 3, 200);
    teardown();
}
END_TEST

START_TEST(a_group_that_is_not_there_is_told_and_waited_for)
{
    group.is_there = false;
    fill(&world.server, 1, 1);
    open_member((struct ternmq_member_options){.topic = "t"});
    run_until_code(TERNMQ_GROUP_NOT_FOUND);
    worker.code = TERNMQ_OK;
    group.is_there = true;
    run_until_acked(1);
    ck_assert_int_eq(worker.code, TERNMQ_OK);
}
END_TEST

START_TEST(what_a_broker_refuses_for_good_is_the_last_word)
{
    world.server.refuse_method = "receive";
    world.server.refuse_times = 1;
    world.server.refuse_with = ERROR_FORBIDDEN;
    open_member((struct ternmq_member_options){.topic = "t"});
    run_until_code(TERNMQ_FORBIDDEN);
    worker.code = TERNMQ_OK;
    world_pass(&world, 10000);
    work_on();
    ck_assert_int_eq(worker.code, TERNMQ_FORBIDDEN);
}
END_TEST

START_TEST(an_overloaded_broker_is_asked_again)
{
    world.server.refuse_method = "receive";
    world.server.refuse_times = 3;
    world.server.refuse_with = ERROR_TOO_MANY_WAITING;
    world.server.refuse_detail = 200;
    fill(&world.server, 1, 1);
    open_member((struct ternmq_member_options){.topic = "t"});
    run_until_acked(1);
    ck_assert_uint_ge(world_now_ms(&world), 3 * 150);
    ck_assert_int_eq(worker.code, TERNMQ_OK);
}
END_TEST

START_TEST(a_message_changed_on_its_way_is_told_and_comes_again)
{
    fill(&world.server, 1, 3);
    world.server.corrupt_next = true;
    open_member((struct ternmq_member_options){.credit = 3});
    run_until_code(TERNMQ_CORRUPT);
    ck_assert_int_eq(worker.why.offset, 0);
    run_until_acked(3);
    ck_assert_uint_eq(group.retried, 1);
    ck_assert_str_eq(worker.reason, "its checksum failed on arrival");
}
END_TEST

START_TEST(a_topic_that_is_not_there_is_told)
{
    world.server.refuse_method = "route.get";
    world.server.refuse_times = 1000;
    world.server.refuse_with = ERROR_TOPIC_NOT_FOUND;
    open_member((struct ternmq_member_options){.topic = "t"});
    run_until_code(TERNMQ_TOPIC_NOT_FOUND);
}
END_TEST

START_TEST(wrong_options_are_refused)
{
    const struct ternmq_member_options wrong[] = {
        {.group = NULL},
        {.group = ""},
        {.group = "g", .credit = 65536},
        {.group = "g", .lease_ms = 99},
        {.group = "g", .receive_bytes = 5 << 20},
        {.group = "g", .settle_count = 1001},
        {.group = "g", .name = ""},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_ptr_null(ternmq_member_open(world.client, &wrong[i], &error));
        ck_assert_int_eq(error.code, TERNMQ_USAGE);
    }
}
END_TEST

/* -------------------------------------------------------------------------- two brokers */

#define OTHER_ADDRESS "10.0.0.2:10911"

static struct fake_server other;
static struct fake_group other_group;
static struct reactor *other_reactor;

static void setup_two(void)
{
    setup();
    memset(&other, 0, sizeof(other));
    memset(&other_group, 0, sizeof(other_group));
    other_reactor = reactor_create_simulated(world.simulation, "other");
    other.name = "other";
    fake_server_start(&other, other_reactor, OTHER_ADDRESS);
    fake_group_init(&other_group, &other);
    other.group = &other_group;
    world.server.beside = &other;
}

static void teardown_two(void)
{
    client_detach(world.client, NULL, NULL);
    world.client = NULL;
    fake_server_stop(&other);
    fake_server_drop_all(&world.server);
    world_run(&world, server_is_stopped, &other);
    world_pass(&world, 1000);
    group_end(&other_group, &other);
    group_end(&group, &world.server);
    fake_server_free(&other);
    reactor_destroy(other_reactor);
    world_deinit(&world);
}

static uint32_t most_leased;

static bool both_have_acked(void *context)
{
    uint32_t leased = group.leased + other_group.leased;
    most_leased = leased > most_leased ? leased : most_leased;
    work_on();
    leased = group.leased + other_group.leased;
    most_leased = leased > most_leased ? leased : most_leased;
    return group.acked + other_group.acked >= *(const uint32_t *)context;
}

START_TEST(one_credit_is_over_all_brokers)
{
    uint32_t credit = (uint32_t)_i + 1;
    uint32_t all = 1200;
    most_leased = 0;
    fill(&world.server, 4, 200);
    fill(&other, 4, 100);
    open_member((struct ternmq_member_options){.credit = credit, .topic = "t"});
    world_run(&world, both_have_acked, &all);
    ck_assert_uint_le(most_leased, credit);
    check_all_are_done_once(&group, 4, 200);
    check_all_are_done_once(&other_group, 4, 100);
}
END_TEST

START_TEST(with_a_credit_of_one_idle_brokers_take_turns)
{
    uint32_t all = 1;
    open_member((struct ternmq_member_options){.credit = 1, .topic = "t"});
    world_pass(&world, 10000);
    ck_assert_uint_ge(group.receives, 8);
    ck_assert_uint_ge(other_group.receives, 8);
    ck_assert_uint_le(group.receives, 12);
    ck_assert_uint_le(group.parked + other_group.parked, 1);
    uint64_t before_ms = world_now_ms(&world);
    fill(&other, 1, 1);
    world_run(&world, both_have_acked, &all);
    ck_assert_uint_lt(world_now_ms(&world) - before_ms, 600);
}
END_TEST

START_TEST(a_broker_that_is_away_stops_no_other)
{
    uint32_t all = 400;
    fill(&world.server, 4, 100);
    fill(&other, 4, 100);
    fake_server_stop(&other);
    open_member((struct ternmq_member_options){.credit = 10, .topic = "t"});
    world_run(&world, both_have_acked, &all);
    ck_assert_uint_eq(group.acked, 400);
    ck_assert_uint_lt(world_now_ms(&world), 5000);
    world_run(&world, server_is_stopped, &other);
    fake_server_start(&other, other_reactor, OTHER_ADDRESS);
    all = 800;
    world_run(&world, both_have_acked, &all);
    ck_assert_int_eq(worker.code, TERNMQ_OK);
}
END_TEST

START_TEST(a_broker_without_the_group_is_no_error_where_another_has_it)
{
    uint32_t all = 100;
    other_group.is_there = false;
    fill(&world.server, 1, 100);
    open_member((struct ternmq_member_options){.credit = 10});
    world_run(&world, both_have_acked, &all);
    world_pass(&world, 5000);
    work_on();
    ck_assert_int_eq(worker.code, TERNMQ_OK);
    other_group.is_there = true;
    fill(&other, 1, 10);
    all = 110;
    world_run(&world, both_have_acked, &all);
}
END_TEST

static void add_settling(Suite *suite)
{
    TCase *tests = tcase_create("settling");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, everything_is_received_and_settled_once);
    tcase_add_test(tests, a_member_waits_for_what_comes);
    tcase_add_test(tests, acks_ride_on_the_next_poll_where_one_is_due);
    tcase_add_test(tests, acks_that_must_be_durable_go_by_themselves);
    tcase_add_test(tests, what_lies_side_by_side_is_one_receipt);
    tcase_add_test(tests, a_retry_comes_again_with_its_attempt_and_reason);
    tcase_add_test(tests, each_verdict_says_what_it_means);
    tcase_add_test(tests, what_a_filter_left_out_is_settled_with_what_lies_beside_it);
    tcase_add_test(tests, a_nack_is_of_the_message_alone);
    tcase_add_test(tests, a_verdict_that_is_not_taken_is_told);
    tcase_add_test(tests, a_receipt_names_a_message_in_hand_once);
    suite_add_tcase(suite, tests);
}

static void add_credit_and_leases(Suite *suite)
{
    TCase *tests = tcase_create("credit and leases");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, the_credit_is_never_exceeded_by_who_keeps_all);
    tcase_add_loop_test(tests, the_credit_is_never_exceeded_by_who_works, 0, 12);
    tcase_add_test(tests, who_holds_many_bytes_is_not_sent_more);
    tcase_add_test(tests, an_answer_of_more_than_was_asked_for_is_refused);
    tcase_add_test(tests, leases_of_what_was_given_are_kept_by_wish);
    tcase_add_test(tests, leases_of_what_was_given_end_without_that_wish);
    tcase_add_test(tests, leases_of_what_waits_to_be_given_are_kept);
    tcase_add_test(tests, what_waited_beyond_its_lease_is_not_given);
    tcase_add_loop_test(tests, a_broker_s_clock_may_be_wrong_by_hours, 0, 2);
    tcase_add_test(tests, a_lease_of_its_own_length_is_asked_for);
    suite_add_tcase(suite, tests);
}

static void add_ends_and_failures(Suite *suite)
{
    TCase *tests = tcase_create("ends and failures");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, who_leaves_gives_back_what_was_not_given_uncounted);
    tcase_add_test(tests, who_leaves_ends_its_poll_and_gives_back_what_that_still_brings);
    tcase_add_test(tests, who_leaves_still_settles_what_was_given);
    tcase_add_test(tests, a_closed_client_takes_its_members_along);
    tcase_add_test(tests, lost_connections_cost_no_message);
    tcase_add_test(tests, a_group_that_is_not_there_is_told_and_waited_for);
    tcase_add_test(tests, what_a_broker_refuses_for_good_is_the_last_word);
    tcase_add_test(tests, an_overloaded_broker_is_asked_again);
    tcase_add_test(tests, a_message_changed_on_its_way_is_told_and_comes_again);
    tcase_add_test(tests, a_topic_that_is_not_there_is_told);
    tcase_add_test(tests, wrong_options_are_refused);
    suite_add_tcase(suite, tests);
    TCase *broken = tcase_create("broken");
    tcase_add_loop_test(broken, broken_connections_at_any_moment_cost_no_message, 0, 30);
    suite_add_tcase(suite, broken);
}

static Suite *member_suite(void)
{
    Suite *suite = suite_create("client member");
    add_settling(suite);
    add_credit_and_leases(suite);
    add_ends_and_failures(suite);
    TCase *two = tcase_create("two brokers");
    tcase_add_checked_fixture(two, setup_two, teardown_two);
    tcase_add_loop_test(two, one_credit_is_over_all_brokers, 0, 10);
    tcase_add_test(two, with_a_credit_of_one_idle_brokers_take_turns);
    tcase_add_test(two, a_broker_that_is_away_stops_no_other);
    tcase_add_test(two, a_broker_without_the_group_is_no_error_where_another_has_it);
    suite_add_tcase(suite, two);
    return suite;
}

TEST_MAIN(member_suite)
