/* SPDX-License-Identifier: Apache-2.0 */
/* test_pull.c - where a pull begins, what it answers, how it waits and how it stops waiting. */
#include "test/lib/check_main.h"
#include "test/unit/broker/broker_world.h"

static struct world world;

static struct client_simulated *begin(int index)
{
    return world_begin(&world, index, 2);
}

static void end(void)
{
    world_end(&world);
}

static struct answer pull_with(struct client_simulated *client, const char *key, uint64_t value)
{
    struct writer request = ask_pull("t", 1);
    writer_put_key_uint(&request, key, value);
    return call(client, &request);
}

static uint32_t poll(struct client_simulated *client, uint64_t wait_ms)
{
    struct writer request = ask_pull("t", 2);
    writer_put_key_bool(&request, "last", true);
    writer_put_key_uint(&request, "wait_ms", wait_ms);
    return tell(client, &request);
}

static uint64_t now_ms(void)
{
    return simulation_now_ns(world.simulation) / 1000000;
}

START_TEST(begins_at_the_first_the_last_an_offset_or_a_time)
{
    struct client_simulated *client = begin(_i);
    (void)produce(client, "t", "one");
    (void)simulation_run(world.simulation, 1000, NULL, NULL);
    uint64_t later_ms = UINT64_C(1700000000000) + now_ms();
    (void)produce(client, "t", "two");
    (void)produce(client, "t", "three");

    struct writer request = ask_pull("t", 1);
    writer_put_key_bool(&request, "first", true);
    struct answer answer = call(client, &request);
    ck_assert_uint_eq(number_of(answer.result, "first"), 0);
    ck_assert_uint_eq(number_of(answer.result, "next"), 3);
    ck_assert_uint_eq(number_of(answer.result, "end"), 3);
    ck_assert_uint_eq(count_of(&answer), 3);

    request = ask_pull("t", 1);
    writer_put_key_bool(&request, "last", true);
    answer = call(client, &request);
    ck_assert_uint_eq(number_of(answer.result, "first"), 3);
    ck_assert_uint_eq(count_of(&answer), 0);

    answer = pull_with(client, "offset", 2);
    ck_assert_uint_eq(count_of(&answer), 1);
    struct record_view record = record_of(&answer, 0);
    ck_assert_uint_eq(record.fields.offset, 2);
    ck_assert(bytes_equal(record.message, BYTES_OF("\xc4\x05three")));

    answer = pull_with(client, "at_time", later_ms);
    ck_assert_uint_eq(number_of(answer.result, "first"), 1);
    ck_assert_uint_eq(count_of(&answer), 2);
    end();
}
END_TEST

START_TEST(begins_at_exactly_one_place)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_pull("t", 0);
    struct answer answer = call(client, &request);
    ck_refused(answer, "BAD_ARGUMENT");
    request = ask_pull("t", 2);
    writer_put_key_uint(&request, "offset", 0);
    writer_put_key_bool(&request, "last", true);
    answer = call(client, &request);
    ck_refused(answer, "BAD_ARGUMENT");
    end();
}
END_TEST

START_TEST(beyond_the_end_says_where_to_resume)
{
    struct client_simulated *client = begin(_i);
    (void)produce(client, "t", "one");
    struct answer answer = pull_with(client, "offset", 2);
    ck_refused(answer, "TRUNCATED");
    ck_assert_uint_eq(number_of(answer.error, "resume"), 1);
    end();
}
END_TEST

START_TEST(answers_as_much_as_is_asked_and_one_message_always)
{
    struct client_simulated *client = begin(_i);
    for (uint32_t i = 0; i < 10; i++) {
        (void)produce(client, "t", "0123456789");
    }
    struct writer request = ask_pull("t", 2);
    writer_put_key_uint(&request, "offset", 3);
    writer_put_key_uint(&request, "max", 4);
    struct answer answer = call(client, &request);
    ck_assert_uint_eq(count_of(&answer), 4);
    ck_assert_uint_eq(number_of(answer.result, "next"), 7);

    request = ask_pull("t", 2);
    writer_put_key_uint(&request, "offset", 3);
    writer_put_key_uint(&request, "max_bytes", 0);
    answer = call(client, &request);
    ck_assert_uint_eq(count_of(&answer), 1);

    request = ask_pull("t", 2);
    writer_put_key_uint(&request, "offset", 3);
    writer_put_key_uint(&request, "max_bytes", 3 * (RECORD_HEAD_BYTES + 12));
    answer = call(client, &request);
    ck_assert_uint_eq(count_of(&answer), 3);
    end();
}
END_TEST

START_TEST(another_topic_of_that_name_is_noticed)
{
    struct client_simulated *client = begin(_i);
    struct answer answer = pull(client, "t", 0);
    uint64_t id = number_of(answer.result, "topic_id");
    struct writer request = ask_pull("t", 2);
    writer_put_key_uint(&request, "offset", 0);
    writer_put_key_uint(&request, "topic_id", id);
    answer = call(client, &request);
    ck_answered(answer);
    request = ask_pull("t", 2);
    writer_put_key_uint(&request, "offset", 0);
    writer_put_key_uint(&request, "topic_id", id + 1);
    answer = call(client, &request);
    ck_refused(answer, "TOPIC_CHANGED");
    end();
}
END_TEST

START_TEST(a_poll_is_answered_when_a_message_comes)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *other = world.client[1 - _i];
    uint32_t msgid = poll(client, 60000);
    (void)simulation_run(world.simulation, 5000, NULL, NULL);
    ck_assert_uint_eq(client_simulated_answers(client), 0);
    (void)produce(other, "t", "now");
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, msgid);
    ck_assert_uint_eq(count_of(&answer), 1);
    ck_assert_uint_eq(core_counter(other, "parked"), 0);
    end();
}
END_TEST

/* Sends a pull and a produce behind it in one piece, and takes both answers. How many messages the
 * pull got. */
static uint64_t pull_then_produce(struct client_simulated *client, struct writer *pull)
{
    uint32_t msgid = request_msgid;
    request_begin(pull, ++request_msgid, "produce", 3);
    writer_put_key_string(pull, "topic", "t");
    writer_put_key_uint(pull, "queue", 0);
    writer_put_string(pull, "messages");
    writer_put_array(pull, 1);
    writer_put_bin(pull, BYTES_OF("x"));
    (void)tell(client, pull);
    uint64_t pulled = 0;
    for (int i = 0; i < 2; i++) {
        struct answer answer = take(client);
        ck_answered(answer);
        pulled += answer.msgid == msgid ? count_of(&answer) : 0;
    }
    return pulled;
}

/* The simulated network cuts the piece where it likes: not every pair comes in one turn. */
START_TEST(a_pull_takes_what_came_in_the_same_turn)
{
    enum { PAIRS = 50 };
    struct client_simulated *client = begin(0);
    uint64_t pulled = 0;
    for (uint32_t i = 0; i < PAIRS; i++) {
        struct writer request = ask_pull("t", 1);
        writer_put_key_uint(&request, "offset", i);
        pulled += pull_then_produce(client, &request);
    }
    ck_assert_uint_gt(pulled, 0);
    end();
}
END_TEST

START_TEST(the_last_is_what_it_is_when_the_poll_comes)
{
    enum { PAIRS = 50 };
    struct client_simulated *client = begin(0);
    for (uint32_t i = 0; i < PAIRS; i++) {
        struct writer request = ask_pull("t", 2);
        writer_put_key_bool(&request, "last", true);
        writer_put_key_uint(&request, "wait_ms", 10000);
        ck_assert_uint_eq(pull_then_produce(client, &request), 1);
    }
    end();
}
END_TEST

START_TEST(a_poll_of_what_is_only_in_memory_waits_for_the_disk)
{
    struct client_simulated *client = begin(_i);
    make_topic(client, "d", 1, "any", "disk");
    struct writer request = ask_pull("d", 2);
    writer_put_key_uint(&request, "offset", 0);
    writer_put_key_uint(&request, "wait_ms", 1000);
    uint32_t msgid = tell(client, &request);
    request = ask_produce("d", 0, 1);
    writer_put_bin(&request, BYTES_OF("x"));
    (void)tell(client, &request);
    struct answer answer = take(client);
    struct answer other = take(client);
    const struct answer *polled = answer.msgid == msgid ? &answer : &other;
    ck_assert_uint_eq(polled->msgid, msgid);
    ck_assert_uint_eq(client_simulated_answers(client), 0);
    end();
}
END_TEST

START_TEST(a_poll_times_out_with_nothing_and_not_before)
{
    struct client_simulated *client = begin(_i);
    uint64_t began_ms = now_ms();
    (void)poll(client, 700);
    struct answer answer = take(client);
    ck_answered(answer);
    ck_assert_uint_eq(count_of(&answer), 0);
    ck_assert_uint_ge(now_ms() - began_ms, 700);
    ck_assert_uint_le(now_ms() - began_ms, 750);
    end();
}
END_TEST

START_TEST(a_cancelled_poll_is_answered_at_once)
{
    struct client_simulated *client = begin(_i);
    uint32_t kept = poll(client, 60000);
    uint32_t cancelled = poll(client, 60000);
    struct writer request = writer_over(request_room, sizeof(request_room));
    one_way_begin(&request, "cancel", 1);
    writer_put_key_uint(&request, "msgid", cancelled);
    client_simulated_send(client, writer_bytes(&request));
    struct answer answer = take(client);
    ck_answered(answer);
    ck_assert_uint_eq(answer.msgid, cancelled);
    ck_assert_uint_eq(count_of(&answer), 0);
    (void)produce(world.client[1 - _i], "t", "x");
    answer = take(client);
    ck_assert_uint_eq(answer.msgid, kept);
    ck_assert_uint_eq(count_of(&answer), 1);
    end();
}
END_TEST

START_TEST(a_cancel_that_meets_its_message_is_answered_once)
{
    struct client_simulated *client = begin(_i);
    for (uint32_t i = 0; i < 50; i++) {
        uint32_t msgid = poll(client, 60000);
        (void)simulation_run(world.simulation, 10, NULL, NULL);
        struct writer request = ask_produce("t", 0, 1);
        writer_put_bin(&request, BYTES_OF("x"));
        (void)tell(world.client[1 - _i], &request);
        (void)simulation_run(world.simulation, i % 3, NULL, NULL);
        request = writer_over(request_room, sizeof(request_room));
        one_way_begin(&request, "cancel", 1);
        writer_put_key_uint(&request, "msgid", msgid);
        client_simulated_send(client, writer_bytes(&request));
        ck_assert_uint_eq(take(client).msgid, msgid);
        (void)take(world.client[1 - _i]);
        ck_assert_uint_eq(client_simulated_answers(client), 0);
    }
    ck_assert_uint_eq(core_counter(client, "parked"), 0);
    end();
}
END_TEST

/* On two cores only: on one a cancel is not read while the answer before it is too much. */
/* A pull that fills the connection, a poll that finds no room, its cancel, in one piece; the poll's id. */
static uint32_t fill_poll_and_cancel(struct client_simulated *client)
{
    struct writer request = ask_pull("t", 2);
    writer_put_key_bool(&request, "first", true);
    writer_put_key_uint(&request, "max_bytes", PULL_BYTES_MAX);
    request_begin(&request, ++request_msgid, "pull", 4);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 0);
    writer_put_key_bool(&request, "first", true);
    writer_put_key_uint(&request, "wait_ms", WAIT_MS_MAX);
    one_way_begin(&request, "cancel", 1);
    writer_put_key_uint(&request, "msgid", request_msgid);
    return tell(client, &request);
}

START_TEST(a_cancel_that_meets_a_full_connection_ends_the_poll_with_nothing)
{
    enum { BODY_BYTES = 50000, MESSAGES = 30, ROUNDS = 20 };
    struct client_simulated *client = begin(1);
    static char body[BODY_BYTES + 1];
    memset(body, 'x', BODY_BYTES);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct answer answer = produce(client, "t", body);
        ck_answered(answer);
    }
    uint32_t nothing = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t cancelled = fill_poll_and_cancel(client);
        struct answer answer = take(client);
        ck_assert_uint_eq(answer.msgid, cancelled - 1);
        ck_assert_uint_eq(count_of(&answer), MESSAGES);
        answer = take(client);
        ck_assert_uint_eq(answer.msgid, cancelled);
        ck_answered(answer);
        nothing += count_of(&answer) == 0;
    }
    /* What the network tears apart may find room again. */
    ck_assert_uint_gt(nothing, 0);
    ck_assert_uint_eq(core_counter(client, "parked"), 0);
    end();
}
END_TEST

START_TEST(one_poll_more_than_the_limit_is_refused)
{
    struct client_simulated *client = begin(_i);
    for (uint32_t i = 0; i < PARKED_MAX; i++) {
        (void)poll(client, 60000);
    }
    uint32_t msgid = poll(client, 60000);
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, msgid);
    ck_refused(answer, "TOO_MANY_WAITING");
    ck_assert_uint_eq(number_of(answer.error, "limit"), PARKED_MAX);
    ck_assert_uint_eq(number_of(answer.error, "usage"), PARKED_MAX);
    ck_assert_uint_gt(number_of(answer.error, "retry_after_ms"), 0);
    ck_assert_uint_eq(core_counter(world.client[1 - _i], "parked"), PARKED_MAX);
    end();
}
END_TEST

START_TEST(polls_of_a_closed_connection_are_forgotten)
{
    struct client_simulated *client = begin(_i);
    for (uint32_t i = 0; i < PARKED_MAX; i++) {
        (void)poll(client, 60000);
    }
    (void)simulation_run(world.simulation, 100, NULL, NULL);
    client_simulated_close(client);
    world.client[_i] = client_simulated_open(world.simulation, "again", &world.broker.address);
    (void)simulation_run(world.simulation, 100, NULL, NULL);
    ck_assert_uint_eq(core_counter(world.client[1 - _i], "parked"), 0);
    (void)produce(world.client[1 - _i], "t", "x");
    end();
}
END_TEST

START_TEST(a_poll_of_a_topic_that_is_deleted_is_told)
{
    struct client_simulated *client = begin(_i);
    uint32_t msgid = poll(client, 60000);
    (void)simulation_run(world.simulation, 100, NULL, NULL);
    struct writer request = ask("topic.delete", 1);
    writer_put_key_string(&request, "name", "t");
    struct answer answer = call(world.client[1 - _i], &request);
    ck_answered(answer);
    answer = take(client);
    ck_assert_uint_eq(answer.msgid, msgid);
    ck_refused(answer, "TOPIC_NOT_FOUND");
    end();
}
END_TEST

START_TEST(a_reader_that_reads_nothing_gets_no_more_than_its_share)
{
    enum { BODY_BYTES = 50000, MESSAGES = 40, PULLS = 60 };
    struct client_simulated *client = begin(_i);
    static char body[BODY_BYTES + 1];
    memset(body, 'x', BODY_BYTES);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct answer answer = produce(client, "t", body);
        ck_answered(answer);
    }
    for (uint32_t i = 0; i < PARKED_MAX; i++) {
        (void)poll(client, 60000);
    }
    client_simulated_pause(client);
    struct writer request = ask_produce("t", 0, 1);
    writer_put_bin(&request, bytes_make(body, BODY_BYTES));
    (void)call(world.client[1 - _i], &request);
    for (uint32_t i = 0; i < PULLS; i++) {
        request = ask_pull("t", 2);
        writer_put_key_bool(&request, "first", true);
        writer_put_key_uint(&request, "max_bytes", 1000000);
        (void)tell(client, &request);
    }
    (void)simulation_run(world.simulation, 1000, NULL, NULL);
    ck_assert_uint_gt(core_counter(world.client[1 - _i], "reading_stopped"), 0);

    client_simulated_resume(client);
    for (uint32_t i = 0; i < PARKED_MAX + PULLS; i++) {
        struct answer answer;
        ck_assert(client_simulated_take(client, 60000, &answer));
        ck_answered(answer);
        ck_assert_uint_ge(count_of(&answer), 1);
    }
    end();
}
END_TEST

START_TEST(message_get_finds_one_message)
{
    struct client_simulated *client = begin(_i);
    (void)produce(client, "t", "one");
    (void)produce(client, "t", "two");
    struct writer request = ask("message.get", 3);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 0);
    writer_put_key_uint(&request, "offset", 1);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    struct record_view record = record_of(&answer, 0);
    ck_assert(bytes_equal(record.message, BYTES_OF("\xc4\x03two")));

    request = ask("message.get", 3);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 0);
    writer_put_key_uint(&request, "offset", 2);
    answer = call(client, &request);
    ck_refused(answer, "MESSAGE_NOT_FOUND");
    end();
}
END_TEST

static uint64_t first_of(struct client_simulated *client)
{
    struct writer request = ask_pull("t", 2);
    writer_put_key_bool(&request, "first", true);
    writer_put_key_uint(&request, "max", 1);
    struct answer answer = call(client, &request);
    return number_of(answer.result, "first");
}

START_TEST(what_retention_took_is_too_small_and_the_first_is_named)
{
    enum { BODY_BYTES = 8000, MESSAGES = 200 };
    static char body[BODY_BYTES + 1];
    memset(body, 'x', BODY_BYTES);
    world = world_open();
    world_start_keeping(&world, _i + 1, 256 * 1024);
    make_topic(world.client[0], "t", 1, "any", "memory");
    struct client_simulated *client = world.client[_i];
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct answer answer = produce(client, "t", body);
        ck_answered(answer);
        (void)simulation_run(world.simulation, 5, NULL, NULL);
    }
    uint64_t first = first_of(client);
    ck_assert_uint_gt(first, 0);
    ck_assert_uint_lt(first, MESSAGES);
    struct answer answer = pull(client, "t", first - 1);
    ck_refused(answer, "OFFSET_TOO_SMALL");
    ck_assert_uint_eq(number_of(answer.error, "first"), first);
    struct writer request = ask("message.get", 3);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 0);
    writer_put_key_uint(&request, "offset", 0);
    answer = call(client, &request);
    ck_refused(answer, "OFFSET_TOO_SMALL");
    ck_assert_uint_eq(number_of(answer.error, "first"), first);
    end();
}
END_TEST

static Suite *pull_suite(void)
{
    Suite *suite = suite_create("pull");
    TCase *tests = tcase_create("pull");
    tcase_add_loop_test(tests, begins_at_the_first_the_last_an_offset_or_a_time, 0, 2);
    tcase_add_loop_test(tests, begins_at_exactly_one_place, 0, 2);
    tcase_add_loop_test(tests, beyond_the_end_says_where_to_resume, 0, 2);
    tcase_add_loop_test(tests, answers_as_much_as_is_asked_and_one_message_always, 0, 2);
    tcase_add_loop_test(tests, another_topic_of_that_name_is_noticed, 0, 2);
    tcase_add_loop_test(tests, a_poll_is_answered_when_a_message_comes, 0, 2);
    tcase_add_test(tests, a_pull_takes_what_came_in_the_same_turn);
    tcase_add_test(tests, the_last_is_what_it_is_when_the_poll_comes);
    tcase_add_loop_test(tests, a_poll_of_what_is_only_in_memory_waits_for_the_disk, 0, 2);
    tcase_add_loop_test(tests, a_poll_times_out_with_nothing_and_not_before, 0, 2);
    tcase_add_loop_test(tests, a_cancelled_poll_is_answered_at_once, 0, 2);
    tcase_add_loop_test(tests, a_cancel_that_meets_its_message_is_answered_once, 0, 2);
    tcase_add_test(tests, a_cancel_that_meets_a_full_connection_ends_the_poll_with_nothing);
    tcase_add_loop_test(tests, one_poll_more_than_the_limit_is_refused, 0, 2);
    tcase_add_loop_test(tests, polls_of_a_closed_connection_are_forgotten, 0, 2);
    tcase_add_loop_test(tests, a_poll_of_a_topic_that_is_deleted_is_told, 0, 2);
    tcase_add_loop_test(tests, a_reader_that_reads_nothing_gets_no_more_than_its_share, 0, 2);
    tcase_add_loop_test(tests, message_get_finds_one_message, 0, 2);
    tcase_add_loop_test(tests, what_retention_took_is_too_small_and_the_first_is_named, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(pull_suite)
