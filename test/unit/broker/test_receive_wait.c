/* SPDX-License-Identifier: Apache-2.0 */
/* test_receive_wait.c - how receives wait: who is woken, in which order, and what ends it. */
#include "broker/limits.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/receive_world.h"

/* In one read come a poll, a nack that makes a message ready, and a receive that takes it: on two cores the shard
 * has nothing for the poll, something a moment later, and nothing again, before the home hears of any of it. */
START_TEST(who_waits_is_told_after_others_took_what_came_between)
{
    enum { ROUNDS = 100, PIPELINE_BYTES = 4096 };
    static uint8_t pipeline[PIPELINE_BYTES];
    struct client_simulated *client = begin(1);
    make_group(client, "h"); /* of two groups each has another core as its home */
    make_group(client, "i");
    const char *name = _i == 0 ? "h" : "i";
    for (int round = 0; round < ROUNDS; round++) {
        fill(client, 1);
        struct given given = receive_one(client, name);
        size_t bytes = 0;
        struct writer request = ask_receive(name, 2);
        writer_put_key_uint(&request, "wait_ms", 20000);
        writer_put_key_uint(&request, "max", 1);
        uint32_t poll = request_msgid;
        memcpy(pipeline, request.start, writer_length(&request));
        bytes += writer_length(&request);
        request = ask_settle("nack", name, &given, 1);
        writer_put_key_uint(&request, "delay_ms", 0);
        memcpy(pipeline + bytes, request.start, writer_length(&request));
        bytes += writer_length(&request);
        request = ask_receive(name, 1);
        writer_put_key_uint(&request, "max", 1);
        memcpy(pipeline + bytes, request.start, writer_length(&request));
        bytes += writer_length(&request);
        ck_assert_uint_le(bytes, sizeof(pipeline));
        client_simulated_send(client, bytes_make(pipeline, bytes));
        bool is_waiting = true;
        struct answer answer;
        while (client_simulated_take(client, 300, &answer)) {
            struct given ranges[2];
            bool is_nack = answer.msgid != poll && answer.msgid != request_msgid;
            is_waiting = is_waiting && answer.msgid != poll;
            if (!is_nack && ranges_of(&answer, ranges, 2) == 1) {
                given = ranges[0];
            }
        }
        ck_assert_int_eq(ack(client, name, &given), OK);
        if (is_waiting) {
            fill(other(1), 1);
            ck_assert_msg(client_simulated_take(client, SOON_MS, &answer), "round %d", round);
            given = only_range(&answer);
            ck_assert_int_eq(ack(client, name, &given), OK);
        }
    }
    end();
}
END_TEST

START_TEST(a_message_wakes_one_call_in_the_order_in_which_they_came)
{
    enum { CALLS = 5 };
    struct client_simulated *client = begin(_i);
    uint32_t msgids[CALLS];
    for (int i = 0; i < CALLS; i++) {
        msgids[i] = poll_group(client, "g", NULL, LONG_MS);
        run_ms(&world, 50);
    }
    for (int i = 0; i < CALLS; i++) {
        fill(other(_i), 1);
        struct answer answer = take(client);
        ck_assert_uint_eq(answer.msgid, msgids[i]);
        ck_assert_uint_eq(only_range(&answer).first, (uint64_t)i);
        run_ms(&world, 100);
        ck_assert_uint_eq(client_simulated_answers(client), 0);
        ck_assert_uint_eq(core_counter(other(_i), "parked"), (uint64_t)(CALLS - 1 - i));
    }
    end();
}
END_TEST

START_TEST(many_messages_wake_as_many_calls_as_there_are_for_them)
{
    enum { CALLS = 4 };
    struct client_simulated *client = begin(_i);
    for (int i = 0; i < CALLS; i++) {
        struct writer request = ask_receive("g", 2);
        writer_put_key_uint(&request, "max", 1);
        writer_put_key_uint(&request, "wait_ms", LONG_MS);
        (void)tell(client, &request);
    }
    run_ms(&world, 50);
    fill(other(_i), 3);
    for (uint64_t i = 0; i < 3; i++) {
        struct answer answer = take(client);
        ck_assert_uint_eq(only_range(&answer).first, i);
    }
    run_ms(&world, 100);
    ck_assert_uint_eq(client_simulated_answers(client), 0);
    fill(other(_i), 1);
    struct answer answer = take(client);
    ck_assert_uint_eq(only_range(&answer).first, 3);
    end();
}
END_TEST

START_TEST(a_call_that_nothing_came_for_is_answered_with_nothing)
{
    struct client_simulated *client = begin(_i);
    uint32_t msgid = poll_group(client, "g", NULL, 500);
    run_ms(&world, 400);
    ck_assert_uint_eq(client_simulated_answers(client), 0);
    struct answer answer = take(client);
    ck_answered(answer);
    ck_assert_uint_eq(answer.msgid, msgid);
    ck_assert(is_nothing(&answer));
    ck_assert_uint_eq(core_counter(client, "parked"), 0);
    end();
}
END_TEST

/* All that is there is somebody's, and fails: what comes then is kept back, though the call came before. */
START_TEST(who_waits_when_a_bound_is_reached_is_told_of_it_in_the_end)
{
    enum { AT_ONCE = 16384, WAIT_MS = 5000 };
    struct client_simulated *client = begin(_i);
    struct given given[GROUP_RETRIES_MAX / AT_ONCE];
    for (int i = 0; i < GROUP_RETRIES_MAX / AT_ONCE; i++) {
        fill(client, AT_ONCE);
        struct writer request = ask_receive("g", 2);
        writer_put_key_uint(&request, "max_bytes", 4 << 20);
        writer_put_key_uint(&request, "max", AT_ONCE);
        struct answer answer = call(client, &request);
        ck_answered(answer);
        given[i] = only_range(&answer);
        ck_assert_uint_eq(given[i].span, AT_ONCE);
    }
    (void)poll_group(other(_i), "g", NULL, WAIT_MS);
    run_ms(&world, 10);
    for (int i = 0; i < GROUP_RETRIES_MAX / AT_ONCE; i++) {
        ck_assert_int_eq(nack(client, "g", &given[i], DURATION_MS_MAX), OK);
    }
    fill(client, 1);
    run_ms(&world, WAIT_MS);
    struct answer answer = take(other(_i));
    ck_refused(answer, "GROUP_FULL");
    struct writer request = ask_receive("g", 0);
    answer = call(client, &request);
    ck_refused(answer, "GROUP_FULL");
    /* A call that waits meanwhile hears of it when that is over. */
    (void)poll_group(other(_i), "g", NULL, WAIT_MS);
    run_ms(&world, 10);
    ck_assert_int_eq(commit(client, "g", AT_ONCE), OK);
    answer = take(other(_i));
    ck_assert_uint_eq(count_of(&answer), 1);
    ck_nothing(client, "g");
    end();
}
END_TEST

START_TEST(a_call_waits_no_longer_than_its_deadline)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_receive("g", 2);
    writer_put_key_uint(&request, "wait_ms", LONG_MS);
    writer_put_key_uint(&request, "deadline_ms", 300);
    (void)tell(client, &request);
    run_ms(&world, 200);
    ck_assert_uint_eq(client_simulated_answers(client), 0);
    run_ms(&world, 200);
    ck_assert_uint_eq(client_simulated_answers(client), 1);
    end();
}
END_TEST

static void cancel(struct client_simulated *client, uint32_t msgid)
{
    struct writer request = writer_over(request_room, sizeof(request_room));
    one_way_begin(&request, "cancel", 1);
    writer_put_key_uint(&request, "msgid", msgid);
    client_simulated_send(client, writer_bytes(&request));
}

START_TEST(a_cancelled_call_is_answered_at_once_and_takes_nothing_with_it)
{
    struct client_simulated *client = begin(_i);
    uint32_t first = poll_group(client, "g", NULL, LONG_MS);
    uint32_t second = poll_group(client, "g", NULL, LONG_MS);
    run_ms(&world, 50);
    cancel(client, first);
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, first);
    ck_assert(is_nothing(&answer));
    fill(other(_i), 1);
    answer = take(client);
    ck_assert_uint_eq(answer.msgid, second);
    ck_assert_uint_eq(only_range(&answer).attempt, 1);
    cancel(client, second); /* too late: nobody minds */
    run_ms(&world, 50);
    end();
}
END_TEST

START_TEST(too_many_calls_that_wait_are_refused)
{
    struct client_simulated *client = begin(_i);
    for (uint32_t i = 0; i < PARKED_MAX; i++) {
        (void)poll_group(client, "g", NULL, LONG_MS);
    }
    run_ms(&world, 50);
    (void)poll_group(client, "g", NULL, LONG_MS);
    struct answer answer = take(client);
    ck_refused(answer, "TOO_MANY_WAITING");
    /* One that does not wait is none of them. */
    ck_nothing(client, "g");
    end();
}
END_TEST

START_TEST(the_end_of_the_broker_answers_who_waits)
{
    struct client_simulated *client = begin(_i);
    for (int i = 0; i < 3; i++) {
        (void)poll_group(client, "g", NULL, LONG_MS);
        (void)poll_group(other(_i), "g", NULL, LONG_MS);
    }
    run_ms(&world, 50);
    broker_simulated_stop(&world.broker);
    for (int i = 0; i < 3; i++) {
        struct answer answer = take(client);
        ck_answered(answer);
        ck_assert(is_nothing(&answer));
    }
    client_simulated_close(world.client[0]);
    client_simulated_close(world.client[1]);
    world_close(&world);
}
END_TEST

static Suite *receive_wait_suite(void)
{
    Suite *suite = suite_create("receive_wait");
    TCase *tests = tcase_create("receive_wait");
    tcase_add_loop_test(tests, who_waits_is_told_after_others_took_what_came_between, 0, 2);
    tcase_add_loop_test(tests, a_message_wakes_one_call_in_the_order_in_which_they_came, 0, 2);
    tcase_add_loop_test(tests, many_messages_wake_as_many_calls_as_there_are_for_them, 0, 2);
    tcase_add_loop_test(tests, a_call_that_nothing_came_for_is_answered_with_nothing, 0, 2);
    tcase_add_loop_test(tests, who_waits_when_a_bound_is_reached_is_told_of_it_in_the_end, 0, 2);
    tcase_add_loop_test(tests, a_call_waits_no_longer_than_its_deadline, 0, 2);
    tcase_add_loop_test(tests, a_cancelled_call_is_answered_at_once_and_takes_nothing_with_it, 0,
                        2);
    tcase_add_loop_test(tests, too_many_calls_that_wait_are_refused, 0, 2);
    tcase_add_loop_test(tests, the_end_of_the_broker_answers_who_waits, 0, 2);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(receive_wait_suite)
