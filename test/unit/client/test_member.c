/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_member.c - what ternmq_groups.h promises of members, against a fake server in a simulated world: how they
 * settle, their credit, their leases.
 */
#include "test/lib/check_main.h"
#include "test/unit/client/member_world.h"
#include "tools/client/held.h"
#include "tools/client/member_source.h"

#include <time.h>

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

static bool has_all_ahead(void *context)
{
    size_t ahead;
    ternmq_member_in_hand(worker.member, &ahead, NULL, NULL);
    return ahead == *(const uint32_t *)context;
}

START_TEST(a_message_costs_the_same_however_many_are_ahead)
{
    uint32_t credit = 20000;
    fill(&world.server, 1, credit);
    open_member((struct ternmq_member_options){.credit = credit, .hold_bytes = 64 << 20});
    world_run(&world, has_all_ahead, &credit);
    clock_t began = clock();
    for (uint32_t i = 0; i < credit; i++) {
        struct ternmq_received received;
        size_t count;
        ck_assert_int_eq(ternmq_receive(worker.member, 0, &received, 1, &count, &error), TERNMQ_OK);
    }
    /* 12 us each; looking at all of them took 70. */
    ck_assert_int_lt(clock() - began, CLOCKS_PER_SEC / 4);
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

START_TEST(what_waits_behind_a_lease_that_is_over_is_given_back)
{
    fill(&world.server, 1, 3);
    group.lease_ms = 300;
    group.order = "queue";
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 10});
    run_until_received(1);
    world_pass(&world, 280);
    ck_assert_uint_ge(group.extended, 2); /* it waits for what was given */
    ck_assert_uint_eq(group.released, 0);
    world_pass(&world, 40);
    ck_assert_uint_eq(group.expired, 1);
    ck_assert_uint_eq(group.released, 2);
    /* A late verdict lets nothing go on that is behind what comes first again. */
    settle_kept(TERNMQ_ACK);
    work_on();
    ck_assert_uint_eq(worker.received, 2);
    ck_assert_uint_eq(worker.attempt, 2);
    settle_kept(TERNMQ_ACK);
    worker.keeps = false;
    run_until_acked(3);
    world_pass(&world, 100);
    ck_assert_uint_eq(worker.lost, 1);
    ck_assert_uint_eq(worker.attempt, 1);
    check_all_are_done_once(&group, 1, 3);
}
END_TEST

START_TEST(what_waits_behind_a_lease_that_is_kept_waits_on)
{
    fill(&world.server, 1, 3);
    group.lease_ms = 300;
    group.order = "queue";
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 10, .keep_leases = true});
    run_until_received(1);
    world_pass(&world, 3000);
    ck_assert_uint_eq(group.released, 0);
    ck_assert_uint_eq(group.expired, 0);
    settle_kept(TERNMQ_ACK);
    worker.keeps = false;
    run_until_acked(3);
    ck_assert_uint_eq(worker.lost, 0);
    ck_assert_uint_eq(worker.attempt, 1);
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

START_TEST(a_broker_s_clock_may_be_set)
{
    group.lease_ms = 2000;
    fill(&world.server, 1, 10);
    open_member((struct ternmq_member_options){.credit = 10, .keep_leases = true});
    run_until_acked(10);
    world_pass(&world, 1000);
    world.server.clock_ahead_ms = _i == 0 ? 7200000 : -7200000;
    fill(&world.server, 1, 40);
    run_until_acked(50); /* one answer may have been taken for old */
    ck_assert_uint_le(group.expired, 10);
    world_pass(&world,
               CLOCK_MS + 2 * RECEIVE_WAIT_MS); /* a poll is answered, and the clock asked for */
    group.expired = 0;
    worker.keeps = true;
    fill(&world.server, 1, 10);
    run_until_received(60);
    world_pass(&world, 20000);
    ck_assert_uint_eq(group.expired, 0);
}
END_TEST

/* Whether an extension of what came first is under way. */
static bool is_extending(void *context)
{
    const struct ternmq_member *member = context;
    const struct list *link = list_first(&member->grants);
    return link != NULL && CONTAINER_OF(link, struct grant, link)->extending;
}

START_TEST(a_verdict_that_overtakes_an_extension_costs_no_other_lease)
{
    world_init_options(&world, (uint64_t)_i + 1, 0,
                       (struct ternmq_options){.nameservers = FAKE_ADDRESS});
    group_begin();
    group.lease_ms = 3000;
    fill(&world.server, 1, 200);
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 10, .keep_leases = true});
    run_until_received(10);
    for (uint32_t i = 0; i < 5; i++) {
        world_pass(&world, 100);
        world_run(&world, is_extending, worker.member);
        /* It rides on a poll, and so goes by another connection. */
        ck_assert_int_eq(ternmq_settle(worker.member, &worker.receipts[i], 1, NULL, &error),
                         TERNMQ_OK);
        run_until_received(11 + i);
    }
    world_pass(&world, 10000);
    ck_assert_uint_gt(group.rides, 0);
    ck_assert_uint_eq(group.expired, 0);
    teardown();
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
    tcase_add_test(tests, a_message_costs_the_same_however_many_are_ahead);
    tcase_add_test(tests, who_holds_many_bytes_is_not_sent_more);
    tcase_add_test(tests, an_answer_of_more_than_was_asked_for_is_refused);
    tcase_add_test(tests, leases_of_what_was_given_are_kept_by_wish);
    tcase_add_test(tests, leases_of_what_was_given_end_without_that_wish);
    tcase_add_test(tests, what_waits_behind_a_lease_that_is_over_is_given_back);
    tcase_add_test(tests, what_waits_behind_a_lease_that_is_kept_waits_on);
    tcase_add_test(tests, leases_of_what_waits_to_be_given_are_kept);
    tcase_add_test(tests, what_waited_beyond_its_lease_is_not_given);
    tcase_add_loop_test(tests, a_broker_s_clock_may_be_wrong_by_hours, 0, 2);
    tcase_add_loop_test(tests, a_broker_s_clock_may_be_set, 0, 2);
    tcase_add_test(tests, a_lease_of_its_own_length_is_asked_for);
    suite_add_tcase(suite, tests);
    TCase *seeds = tcase_create("leases, of several seeds");
    tcase_add_loop_test(seeds, a_verdict_that_overtakes_an_extension_costs_no_other_lease, 0, 8);
    suite_add_tcase(suite, seeds);
}

static Suite *member_suite(void)
{
    Suite *suite = suite_create("client member");
    add_settling(suite);
    add_credit_and_leases(suite);
    return suite;
}

TEST_MAIN(member_suite)
