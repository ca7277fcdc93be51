/* SPDX-License-Identifier: Apache-2.0 */
/* test_session.c - connections: forms of errors, limits, hostile bytes, idle time, draining. */
#include "test/lib/check_main.h"
#include "test/unit/broker/broker_world.h"

static struct world world;

static struct client_simulated *begin(int index)
{
    return world_begin(&world, index, 1);
}

static void end(void)
{
    world_end(&world);
}

static void say_hello(struct client_simulated *client, const char *errors)
{
    struct writer request = ask("hello", 1);
    writer_put_key_string(&request, "errors", errors);
    struct answer answer = call(client, &request);
    ck_answered(answer);
}

START_TEST(hello_says_who_and_how_much)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask("hello", 2);
    writer_put_key_string(&request, "client", "a test");
    writer_put_key_string(&request, "version", "1");
    struct answer answer = call(client, &request);
    ck_answered(answer);
    ck_assert_uint_eq(number_of(answer.result, "protocol"), PROTOCOL_VERSION);
    ck_assert(text_is(answer.result, "name", "broker-a"));
    ck_assert(text_is(answer.result, "role", "master"));
    ck_assert_uint_eq(number_of(answer.result, "epoch"), 1);
    ck_assert_uint_ge(number_of(answer.result, "now"), UINT64_C(1700000000000));
    struct cursor limits = value_of(answer.result, "limits");
    struct bytes map;
    ck_assert(cursor_take_span(&limits, &map));
    ck_assert_uint_eq(number_of(map, "parked"), PARKED_MAX);
    end();
}
END_TEST

START_TEST(errors_come_in_the_form_that_was_asked_for)
{
    struct client_simulated *client = begin(_i);
    say_hello(client, "text");
    struct answer answer = produce(client, "nowhere", "x");
    struct cursor error = cursor_over(answer.error);
    struct bytes text;
    ck_assert(cursor_take_str(&error, &text));
    ck_assert(bytes_starts_with(text, BYTES_OF("TOPIC_NOT_FOUND: ")));

    say_hello(client, "pair");
    answer = produce(client, "nowhere", "x");
    error = cursor_over(answer.error);
    uint64_t code = 0;
    ck_assert(cursor_take_array_of(&error, 2) && cursor_take_uint(&error, &code));
    ck_assert_uint_eq(code, ERROR_TOPIC_NOT_FOUND);

    say_hello(client, "map");
    answer = produce(client, "nowhere", "x");
    ck_assert_uint_eq(number_of(answer.error, "code"), ERROR_TOPIC_NOT_FOUND);
    end();
}
END_TEST

START_TEST(what_is_not_built_is_refused)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask("replicate", 0);
    struct answer answer = call(client, &request);
    ck_refused(answer, "UNKNOWN_METHOD");
    request = ask("stats", 1);
    writer_put_key_uint(&request, "nonsense", 1);
    answer = call(client, &request);
    ck_refused(answer, "UNKNOWN_ARGUMENT");
    ck_assert(text_is(answer.error, "key", "nonsense"));
    end();
}
END_TEST

START_TEST(unknown_one_way_calls_are_dropped_and_counted)
{
    struct client_simulated *client = begin(_i);
    struct writer request = writer_over(request_room, sizeof(request_room));
    one_way_begin(&request, "whatever", 0);
    client_simulated_send(client, writer_bytes(&request));
    ck_assert_uint_eq(core_counter(client, "one_way_dropped"), 1);
    end();
}
END_TEST

static void is_closed_for(int index, struct bytes bytes)
{
    struct client_simulated *client = begin(index);
    client_simulated_send(client, bytes);
    (void)simulation_run(world.simulation, 1000, NULL, NULL);
    ck_assert(client_simulated_is_closed(client));
    ck_assert_uint_eq(client_simulated_answers(client), 0);
    ck_assert_uint_eq(core_counter(world.client[1 - index], "malformed"), 1);
    end();
}

START_TEST(bytes_that_are_no_frame_close_the_connection)
{
    is_closed_for(_i, BYTES_OF("GET / HTTP/1.1\r\n\r\n"));
}
END_TEST

START_TEST(a_value_that_is_no_request_closes_the_connection)
{
    is_closed_for(_i, BYTES_OF("\x94\x01\x05\xc0\xc0"));
}
END_TEST

START_TEST(a_bad_frame_with_a_known_msgid_is_answered_first)
{
    struct client_simulated *client = begin(_i);
    client_simulated_send(client, BYTES_OF("\x94\x00\x07\xa5hello\xc1"));
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, 7);
    ck_refused(answer, "MALFORMED");
    (void)simulation_run(world.simulation, 1000, NULL, NULL);
    ck_assert(client_simulated_is_closed(client));
    end();
}
END_TEST

START_TEST(a_request_that_is_no_call_is_answered_and_the_connection_goes_on)
{
    struct client_simulated *client = begin(_i);
    client_simulated_send(client, BYTES_OF("\x94\x00\x07\x05\x90"));
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, 7);
    ck_refused(answer, "MALFORMED");
    answer = produce(client, "t", "x");
    ck_answered(answer);
    end();
}
END_TEST

START_TEST(unanswered_requests_stop_the_reading_at_their_limit)
{
    struct client_simulated *client = begin(_i);
    make_topic(client, "d", 1, "any", "disk");
    uint64_t before = core_counter(client, "reading_stopped");
    for (uint32_t i = 0; i < 2 * UNANSWERED_MAX; i++) {
        struct writer request = ask_produce("d", 0, 1);
        writer_put_bin(&request, BYTES_OF("x"));
        (void)tell(client, &request);
    }
    for (uint32_t i = 0; i < 2 * UNANSWERED_MAX; i++) {
        struct answer answer = take(client);
        ck_answered(answer);
    }
    ck_assert_uint_gt(core_counter(client, "reading_stopped"), before);
    end();
}
END_TEST

START_TEST(a_silent_connection_is_closed_but_not_while_a_poll_waits)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *other = world.client[1 - _i];
    for (uint32_t i = 0; i < 3; i++) {
        struct writer request = ask_pull("t", 2);
        writer_put_key_bool(&request, "last", true);
        writer_put_key_uint(&request, "wait_ms", WAIT_MS_MAX);
        (void)tell(client, &request);
        struct answer answer;
        ck_assert(client_simulated_take(client, WAIT_MS_MAX + 1000, &answer));
    }
    ck_assert(client_simulated_is_closed(other));
    ck_assert(!client_simulated_is_closed(client));
    (void)simulation_run(world.simulation, IDLE_CLOSE_MS + 1000, NULL, NULL);
    ck_assert(client_simulated_is_closed(client));
    end();
}
END_TEST

START_TEST(a_drain_answers_what_is_under_way_and_the_polls)
{
    struct client_simulated *client = begin(_i);
    make_topic(client, "d", 1, "any", "disk");
    struct writer request = ask_pull("t", 2);
    writer_put_key_bool(&request, "last", true);
    writer_put_key_uint(&request, "wait_ms", WAIT_MS_MAX);
    uint32_t polled = tell(client, &request);
    (void)simulation_run(world.simulation, 100, NULL, NULL);
    request = ask_produce("d", 0, 1);
    writer_put_bin(&request, BYTES_OF("x"));
    uint32_t produced = tell(client, &request);
    while (core_counter(world.client[1 - _i], "parked") == 0) {
        (void)simulation_run(world.simulation, 1, NULL, NULL);
    }
    broker_simulated_stop(&world.broker);
    uint32_t seen = 0;
    struct answer answer;
    while (client_simulated_take(client, 1, &answer)) {
        ck_answered(answer);
        ck_assert(answer.msgid == polled || answer.msgid == produced);
        seen++;
    }
    ck_assert_uint_eq(seen, 2);
    for (int i = 0; i < WORLD_CLIENTS; i++) {
        client_simulated_close(world.client[i]);
    }
    world_close(&world);
}
END_TEST

START_TEST(connections_are_spread_over_the_cores)
{
    enum { MORE = 6 };
    struct client_simulated *client = begin(1);
    struct client_simulated *more[MORE];
    for (uint32_t i = 0; i < MORE; i++) {
        char name[] = "more-0";
        name[5] = (char)('0' + i);
        more[i] = client_simulated_open(world.simulation, name, &world.broker.address);
    }
    struct writer request = ask("stats", 0);
    struct answer answer = call(client, &request);
    struct cursor cores = value_of(answer.result, "cores");
    ck_assert(cursor_take_array_of(&cores, 2));
    for (uint32_t i = 0; i < 2; i++) {
        struct bytes core;
        ck_assert(cursor_take_span(&cores, &core));
        ck_assert_uint_eq(number_of(core, "connections"), (MORE + WORLD_CLIENTS) / 2);
    }
    for (uint32_t i = 0; i < MORE; i++) {
        client_simulated_close(more[i]);
    }
    end();
}
END_TEST

static Suite *session_suite(void)
{
    Suite *suite = suite_create("session");
    TCase *tests = tcase_create("session");
    tcase_add_loop_test(tests, hello_says_who_and_how_much, 0, 2);
    tcase_add_loop_test(tests, errors_come_in_the_form_that_was_asked_for, 0, 2);
    tcase_add_loop_test(tests, what_is_not_built_is_refused, 0, 2);
    tcase_add_loop_test(tests, unknown_one_way_calls_are_dropped_and_counted, 0, 2);
    tcase_add_loop_test(tests, bytes_that_are_no_frame_close_the_connection, 0, 2);
    tcase_add_loop_test(tests, a_value_that_is_no_request_closes_the_connection, 0, 2);
    tcase_add_loop_test(tests, a_bad_frame_with_a_known_msgid_is_answered_first, 0, 2);
    tcase_add_loop_test(tests, a_request_that_is_no_call_is_answered_and_the_connection_goes_on, 0,
                        2);
    tcase_add_loop_test(tests, unanswered_requests_stop_the_reading_at_their_limit, 0, 2);
    tcase_add_loop_test(tests, a_silent_connection_is_closed_but_not_while_a_poll_waits, 0, 2);
    tcase_add_loop_test(tests, a_drain_answers_what_is_under_way_and_the_polls, 0, 2);
    tcase_add_test(tests, connections_are_spread_over_the_cores);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(session_suite)
