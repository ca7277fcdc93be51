/* SPDX-License-Identifier: Apache-2.0 */
/* test_receive_session.c - what becomes of leases, answers and calls when sessions end or take nothing. */
#include "test/lib/check_main.h"
#include "test/unit/broker/receive_world.h"

/* Another client; it must be closed. */
static struct client_simulated *third(void)
{
    return client_simulated_open(world.simulation, "third", &world.broker.address);
}

static void hello(struct client_simulated *client, bool release_on_close)
{
    struct writer request = ask("hello", 1);
    writer_put_string(&request, "release_on_close");
    writer_put_bool(&request, release_on_close);
    struct answer answer = call(client, &request);
    ck_answered(answer);
}

START_TEST(what_a_session_has_not_settled_comes_back_when_it_closes_if_it_asked_for_that)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *closing = third();
    fill(client, 5);
    hello(closing, true);
    struct answer answer = receive_most(closing, "g", 4);
    struct given given = only_range(&answer);
    struct given settled = part_of(&given, 1, 2);
    ck_assert_int_eq(ack(closing, "g", &settled), OK);
    client_simulated_close(closing);
    run_ms(&world, 50);
    answer = receive(client, "g");
    struct given back[3];
    ck_assert_uint_ge(ranges_of(&answer, back, 3), 2);
    ck_assert_uint_eq(count_of(&answer), 3); /* 0, 3 and 4 */
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(back[i].attempt, 1);
        ck_assert_str_eq(back[i].reason, "");
    }
    end();
}
END_TEST

START_TEST(what_a_session_has_not_settled_stays_until_its_lease_ends)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *closing = third();
    fill(client, 2);
    (void)receive_one(closing, "g");
    client_simulated_close(closing);
    run_ms(&world, 50);
    struct answer answer = receive(client, "g");
    ck_assert_uint_eq(only_range(&answer).first, 1);
    run_ms(&world, GROUP_LEASE_MS_DEFAULT);
    ck_assert_uint_eq(receive_one(client, "g").attempt, 2);
    end();
}
END_TEST

static void ask_large(struct client_simulated *client, uint64_t wait_ms)
{
    struct writer request = ask_receive("g", 2);
    writer_put_key_uint(&request, "max_bytes", 2 << 20);
    writer_put_key_uint(&request, "wait_ms", wait_ms);
    (void)tell(client, &request);
}

/* Everything that the group has now: how many messages; each must come for the first time. */
static uint32_t take_everything(struct client_simulated *client)
{
    uint32_t count = 0;
    for (;;) {
        struct answer answer = receive(client, "g");
        struct given given[8];
        uint32_t ranges = ranges_of(&answer, given, 8);
        if (ranges == 0) {
            return count;
        }
        for (uint32_t i = 0; i < ranges; i++) {
            ck_assert_uint_eq(given[i].attempt, 1);
        }
        count += count_of(&answer);
    }
}

START_TEST(an_answer_that_was_not_sent_when_its_session_closed_is_given_to_others)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *closing = third();
    fill_large(client);
    client_simulated_pause(closing);
    ask_large(closing, 0);
    run_ms(&world, 100);
    ck_assert_uint_lt(take_everything(client), LARGE);
    client_simulated_close(closing);
    run_ms(&world, 100);
    ck_assert_uint_gt(take_everything(client), LARGE_BYTES / LARGE_BYTES);
    /* All have been given to the one that is left. */
    run_ms(&world, 100);
    ck_nothing(client, "g");
    end();
}
END_TEST

START_TEST(a_session_that_takes_nothing_is_given_nothing_until_it_does)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *slow = other(_i);
    fill_large(client);
    client_simulated_pause(slow);
    ask_large(slow, 0);
    run_ms(&world, 100);
    ask_large(slow, LONG_MS); /* its session is full: it must not keep messages from others */
    run_ms(&world, 100);
    uint32_t count = take_everything(client);
    ck_assert_uint_gt(count, LARGE / 4);
    ck_assert_uint_lt(count, LARGE);
    client_simulated_resume(slow);
    struct answer answer = take(slow);
    ck_assert_uint_eq(count_of(&answer), LARGE - count);
    run_ms(&world, 100);
    ck_assert_uint_eq(client_simulated_answers(slow), 0);
    fill(client, 1);
    answer = take(slow);
    ck_assert_uint_eq(count_of(&answer), 1);
    end();
}
END_TEST

START_TEST(a_call_whose_session_closes_while_it_waits_takes_nothing)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *closing = third();
    (void)poll_group(closing, "g", NULL, LONG_MS);
    run_ms(&world, 50);
    uint32_t msgid = poll_group(client, "g", NULL, LONG_MS);
    run_ms(&world, 50);
    client_simulated_close(closing);
    run_ms(&world, 50);
    fill(other(_i), 1);
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, msgid);
    ck_assert_uint_eq(only_range(&answer).attempt, 1);
    end();
}
END_TEST

static Suite *receive_session_suite(void)
{
    Suite *suite = suite_create("receive_session");
    TCase *tests = tcase_create("receive_session");
    tcase_add_loop_test(
        tests, what_a_session_has_not_settled_comes_back_when_it_closes_if_it_asked_for_that, 0, 2);
    tcase_add_loop_test(tests, what_a_session_has_not_settled_stays_until_its_lease_ends, 0, 2);
    tcase_add_loop_test(
        tests, an_answer_that_was_not_sent_when_its_session_closed_is_given_to_others, 0, 2);
    tcase_add_loop_test(tests, a_session_that_takes_nothing_is_given_nothing_until_it_does, 0, 2);
    tcase_add_loop_test(tests, a_call_whose_session_closes_while_it_waits_takes_nothing, 0, 2);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(receive_session_suite)
