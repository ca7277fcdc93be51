/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_call.c - plain calls, connections and errors of the client, against a fake server in a
 * simulated world.
 */
#include "proto/cursor.h"
#include "proto/writer.h"
#include "test/lib/check_main.h"
#include "test/unit/client/client_world.h"
#include "tools/client/answer_map.h"

#define SECOND_ADDRESS "10.0.0.3:9876"

static struct client_world world;

struct called {
    uint32_t calls;
    int code;
    struct ternmq_error error;
    uint64_t number; /* `protocol` or `queues` of the answer */
    char address[64];
};

static void on_answered(void *context, const struct ternmq_answer *answer,
                        const struct ternmq_error *error)
{
    struct called *called = context;
    ck_assert((answer == NULL) != (error == NULL));
    called->calls++;
    if (error != NULL) {
        called->code = error->code;
        called->error = *error;
        return;
    }
    struct bytes result = bytes_make(answer->result.data, answer->result.length);
    if (!answer_find_uint(result, "protocol", &called->number)) {
        called->number = 0;
    }
    snprintf(called->address, sizeof(called->address), "%s", answer->address);
}

static bool was_answered(void *context)
{
    return ((struct called *)context)->calls > 0;
}

static void call(struct ternmq_call wish, struct called *called)
{
    struct ternmq_error error;
    memset(called, 0, sizeof(*called));
    int code = ternmq_call_async(world.client, &wish, on_answered, called, &error);
    ck_assert_msg(code == TERNMQ_OK, "%s", error.message);
}

START_TEST(a_call_reaches_a_server_by_any_of_its_names)
{
    world_init(&world, 3);
    const struct ternmq_call wishes[] = {
        {.to = TERNMQ_TO_NAMESERVER, .method = "hello"},
        {.to = TERNMQ_TO_ANY_BROKER, .method = "hello"},
        {.to = TERNMQ_TO_BROKER, .to_name = "fake", .method = "hello"},
        {.to = TERNMQ_TO_TOPIC, .to_name = "t", .queue = 1, .method = "hello"},
        {.to = TERNMQ_TO_ADDRESS, .to_name = FAKE_ADDRESS, .method = "hello"},
    };
    for (size_t i = 0; i < sizeof(wishes) / sizeof(wishes[0]); i++) {
        struct called called;
        call(wishes[i], &called);
        ck_assert_uint_eq(called.calls, 0);
        world_run(&world, was_answered, &called);
        ck_assert_int_eq(called.code, TERNMQ_OK);
        ck_assert_uint_eq(called.number, 1);
        ck_assert_str_eq(called.address, FAKE_ADDRESS);
    }
    ck_assert_uint_eq(world.server.accepted, 1);
    world_deinit(&world);
}
END_TEST

START_TEST(arguments_go_as_they_were_given)
{
    world_init(&world, 4);
    uint8_t room[64];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "client", "tester");
    struct called called;
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER,
                              .method = "hello",
                              .arguments = ternmq_bytes(room, writer_length(&writer))},
         &called);
    world_run(&world, was_answered, &called);
    ck_assert_str_eq(world.server.client, "tester");

    /* What is no map, and what ends too early, is refused here. */
    const struct ternmq_call wrong[] = {
        {.method = "hello", .arguments = ternmq_bytes("\x90", 1)},
        {.method = "hello", .arguments = ternmq_bytes(room, writer_length(&writer) - 1)},
        {.method = NULL},
        {.to = TERNMQ_TO_TOPIC, .method = "hello"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_int_eq(ternmq_call_async(world.client, &wrong[i], on_answered, NULL, NULL),
                         TERNMQ_USAGE);
    }
    world_deinit(&world);
}
END_TEST

START_TEST(a_client_with_a_name_says_it)
{
    world_init_options(&world, 5, 0,
                       (struct ternmq_options){.nameservers = FAKE_ADDRESS, .name = "my program"});
    struct called called;
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "broker.list"}, &called);
    world_run(&world, was_answered, &called);
    ck_assert_str_eq(world.server.client, "my program");
    world_deinit(&world);
}
END_TEST

START_TEST(a_dead_nameserver_is_passed_over)
{
    world_init_options(&world, 6, 0,
                       (struct ternmq_options){.nameservers = DEAD_ADDRESS ";" FAKE_ADDRESS});
    struct called called;
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "hello"}, &called);
    world_run(&world, was_answered, &called);
    ck_assert_int_eq(called.code, TERNMQ_OK);
    ck_assert_uint_lt(world_now_ms(&world), 100);
    world_deinit(&world);
}
END_TEST

START_TEST(a_silent_nameserver_is_passed_over_long_before_the_deadline)
{
    world_init_options(&world, 13, 0,
                       (struct ternmq_options){.nameservers = FAKE_ADDRESS ";" SECOND_ADDRESS});
    struct fake_server second = {.accepted = 0};
    fake_server_start(&second, world.server_reactor, SECOND_ADDRESS);
    world.server.ignore_method = "broker.list";
    struct called called[3];
    uint64_t before_ms = world_now_ms(&world);
    for (int i = 0; i < 3; i++) { /* each of them turns to the second one, none back */
        call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "broker.list"}, &called[i]);
    }
    for (int i = 0; i < 3; i++) {
        world_run(&world, was_answered, &called[i]);
        ck_assert_int_eq(called[i].code, TERNMQ_OK);
    }
    ck_assert_uint_lt(world_now_ms(&world) - before_ms, 2500);
    /* It stays with the one that answers. */
    before_ms = world_now_ms(&world);
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "broker.list"}, &called[0]);
    world_run(&world, was_answered, &called[0]);
    ck_assert_uint_lt(world_now_ms(&world) - before_ms, 100);
    fake_server_stop(&second);
    world_pass(&world, 100);
    ck_assert(fake_server_is_stopped(&second));
    fake_server_free(&second);
    world_deinit(&world);
}
END_TEST

START_TEST(a_route_is_found_though_one_nameserver_is_silent)
{
    world_init_options(&world, 14, 0,
                       (struct ternmq_options){.nameservers = FAKE_ADDRESS ";" SECOND_ADDRESS});
    struct fake_server second = {.accepted = 0};
    fake_server_start(&second, world.server_reactor, SECOND_ADDRESS);
    world.server.ignore_method = "route.get";
    struct called called;
    call((struct ternmq_call){.to = TERNMQ_TO_TOPIC, .to_name = "t", .method = "hello"}, &called);
    world_run(&world, was_answered, &called);
    ck_assert_int_eq(called.code, TERNMQ_OK);
    ck_assert_uint_lt(world_now_ms(&world), 2500);
    /* With all of them silent it ends by its deadline, and says who. */
    second.ignore_method = "broker.list";
    world.server.ignore_method = "broker.list";
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "broker.list"}, &called);
    world_run(&world, was_answered, &called);
    ck_assert_int_eq(called.code, TERNMQ_TIMED_OUT);
    ck_assert_ptr_nonnull(strstr(called.error.message, "no answer from"));
    fake_server_stop(&second);
    world_pass(&world, 100);
    ck_assert(fake_server_is_stopped(&second));
    fake_server_free(&second);
    world_deinit(&world);
}
END_TEST

START_TEST(nobody_there_is_unreachable_as_soon_as_the_user_wants_to_know)
{
    world_init_options(
        &world, 7, 0, (struct ternmq_options){.nameservers = DEAD_ADDRESS, .unreachable_ms = 1000});
    struct called called;
    call((struct ternmq_call){.to = TERNMQ_TO_TOPIC, .to_name = "t", .method = "hello"}, &called);
    world_run(&world, was_answered, &called);
    ck_assert_int_eq(called.code, TERNMQ_UNREACHABLE);
    ck_assert_ptr_nonnull(strstr(called.error.message, "10.0.0.9:9876"));
    ck_assert_uint_ge(world_now_ms(&world), 900);
    ck_assert_uint_lt(world_now_ms(&world), 3500);
    ck_assert_uint_gt(world.waits, 1);
    world_deinit(&world);
}
END_TEST

START_TEST(a_client_of_one_broker_asks_no_nameserver)
{
    world_init_options(&world, 8, 0, (struct ternmq_options){.broker = FAKE_ADDRESS});
    struct called called;
    call((struct ternmq_call){.to = TERNMQ_TO_TOPIC, .to_name = "t", .method = "hello"}, &called);
    world_run(&world, was_answered, &called);
    ck_assert_int_eq(called.code, TERNMQ_OK);
    ck_assert_uint_eq(world.server.routes, 0);
    ck_assert_int_eq(ternmq_call_async(world.client, &(struct ternmq_call){.method = "broker.list"},
                                       on_answered, &called, NULL),
                     TERNMQ_USAGE);

    /* Its queues are those that the broker shows. */
    struct ternmq_consumer *consumer = ternmq_consumer_open(
        world.client, &(struct ternmq_consumer_options){.topic = "t", .until_end = true}, NULL);
    world_pass(&world, 1000);
    struct ternmq_delivery delivery;
    size_t count;
    ck_assert_int_eq(ternmq_consume(consumer, 0, &delivery, 1, &count, NULL), TERNMQ_END);
    ck_assert_uint_eq(ternmq_consumer_queue_count(consumer), 4);
    world_deinit(&world);
}
END_TEST

START_TEST(a_server_that_babbles_is_an_error_and_no_crash)
{
    world_init_options(&world, 9, 0,
                       (struct ternmq_options){.nameservers = FAKE_ADDRESS, .timeout_ms = 3000});
    world.server.babbles = true;
    struct called called;
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "hello", .once = true},
         &called);
    world_run(&world, was_answered, &called);
    ck_assert_int_eq(called.code, TERNMQ_PROTOCOL);
    world_deinit(&world);
}
END_TEST

START_TEST(a_call_whose_connection_is_lost_is_sent_again_unless_once)
{
    world_init(&world, 10);
    world.server.ignore_method = "hello";
    struct called again;
    struct called once;
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "hello"}, &again);
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "hello", .once = true}, &once);
    world_pass(&world, 1000);
    world.server.ignore_method = NULL;
    fake_server_drop_all(&world.server);
    world_run(&world, was_answered, &again);
    world_run(&world, was_answered, &once);
    ck_assert_int_eq(again.code, TERNMQ_OK);
    ck_assert_int_eq(once.code, TERNMQ_LOST);
    ck_assert_int_eq(once.error.stored, TERNMQ_STORED_MAYBE);
    world_deinit(&world);
}
END_TEST

START_TEST(closing_the_client_tells_every_call_once)
{
    world_init(&world, 11);
    world.server.ignore_method = "hello";
    struct called called;
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "hello"}, &called);
    world_pass(&world, 1000);
    ck_assert_uint_eq(called.calls, 0);
    world_deinit(&world);
    ck_assert_uint_eq(called.calls, 1);
    ck_assert_int_eq(called.code, TERNMQ_CLOSED);
}
END_TEST

START_TEST(an_idle_connection_is_closed_before_the_server_would)
{
    world_init(&world, 12);
    struct called called;
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "hello"}, &called);
    world_pass(&world, 200000);
    ck_assert(list_is_empty(&world.server.sessions));
    call((struct ternmq_call){.to = TERNMQ_TO_NAMESERVER, .method = "hello"}, &called);
    world_run(&world, was_answered, &called);
    ck_assert_int_eq(called.code, TERNMQ_OK);
    ck_assert_uint_eq(world.server.accepted, 2);
    world_deinit(&world);
}
END_TEST

START_TEST(options_that_make_no_sense_are_named)
{
    struct ternmq_error error;
    const struct {
        struct ternmq_options options;
        const char *named;
    } wrong[] = {
        {{.nameservers = ";;"}, "nameservers"},          {{.nameservers = "a:b:c:d:0:z"}, "a:b"},
        {{.broker = "127.0.0.1:99999"}, "99999"},        {{.timeout_ms = 90000000}, "timeout_ms"},
        {{.receive_bytes_max = 1}, "receive_bytes_max"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_ptr_null(ternmq_open(&wrong[i].options, &error));
        ck_assert_int_eq(error.code, TERNMQ_USAGE);
        ck_assert_msg(strstr(error.message, wrong[i].named) != NULL, "%s", error.message);
    }
    ternmq_close(NULL);
    ck_assert_str_eq(ternmq_code_name(TERNMQ_TOPIC_NOT_FOUND), "TOPIC_NOT_FOUND");
    ck_assert_str_eq(ternmq_code_name(TERNMQ_UNREACHABLE), "UNREACHABLE");
    ck_assert_str_eq(ternmq_version(), TERNMQ_VERSION);
}
END_TEST

static Suite *call_suite(void)
{
    Suite *suite = suite_create("client call");
    TCase *tests = tcase_create("call");
    tcase_add_test(tests, a_call_reaches_a_server_by_any_of_its_names);
    tcase_add_test(tests, arguments_go_as_they_were_given);
    tcase_add_test(tests, a_client_with_a_name_says_it);
    tcase_add_test(tests, a_dead_nameserver_is_passed_over);
    tcase_add_test(tests, a_silent_nameserver_is_passed_over_long_before_the_deadline);
    tcase_add_test(tests, a_route_is_found_though_one_nameserver_is_silent);
    tcase_add_test(tests, nobody_there_is_unreachable_as_soon_as_the_user_wants_to_know);
    tcase_add_test(tests, a_client_of_one_broker_asks_no_nameserver);
    tcase_add_test(tests, a_server_that_babbles_is_an_error_and_no_crash);
    tcase_add_test(tests, a_call_whose_connection_is_lost_is_sent_again_unless_once);
    tcase_add_test(tests, closing_the_client_tells_every_call_once);
    tcase_add_test(tests, an_idle_connection_is_closed_before_the_server_would);
    tcase_add_test(tests, options_that_make_no_sense_are_named);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(call_suite)
