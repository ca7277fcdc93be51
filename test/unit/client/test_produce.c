/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_produce.c - what ternmq.h promises of producing, against a fake server in a simulated world.
 */
#include "proto/base/crc32c.h"
#include "test/lib/check_main.h"
#include "test/unit/client/client_world.h"

#include <stdio.h>
#include <stdlib.h>

static struct client_world world;

static void setup(void)
{
    world_init(&world, 1);
}

static void teardown(void)
{
    world_deinit(&world);
}

static struct ternmq_producer *open_producer(struct ternmq_producer_options options)
{
    struct ternmq_error error;
    options.topic = "t";
    struct ternmq_producer *producer = ternmq_producer_open(world.client, &options, &error);
    ck_assert_msg(producer != NULL, "%s", error.message);
    return producer;
}

static int produce(struct ternmq_producer *producer, const char *body, struct outcome *outcome)
{
    struct ternmq_message message = {.body = ternmq_text(body)};
    return ternmq_produce_async(producer, &message, outcome_produced, outcome, NULL);
}

START_TEST(a_message_is_stored_and_its_place_told_once)
{
    struct outcome outcome = {.calls = 0};
    struct ternmq_producer *producer = open_producer((struct ternmq_producer_options){
        .choose = TERNMQ_CHOOSE_QUEUE, .queue = 3, .durability = TERNMQ_DURABILITY_MEMORY});
    world_append(&world, 3, 1);
    ck_assert_int_eq(produce(producer, "hello", &outcome), TERNMQ_OK);
    ck_assert_uint_eq(outcome.calls, 0); /* never inside the call that took it */
    world_run(&world, outcome_is_there, &outcome);
    world_pass(&world, 1000);
    ck_assert_uint_eq(outcome.calls, 1);
    ck_assert(!outcome.failed);
    ck_assert_uint_eq(outcome.produced.queue, 3);
    ck_assert_uint_eq(outcome.produced.offset, 1);
    ck_assert_uint_eq(outcome.produced.epoch, 1);
    ck_assert_uint_eq(outcome.produced.count, 1);
    ck_assert_int_eq(outcome.produced.reached, TERNMQ_DURABILITY_MEMORY);
}
END_TEST

START_TEST(messages_taken_in_one_turn_share_a_call_and_know_their_own_offsets)
{
    enum { COUNT = 100 };
    struct outcome outcomes[COUNT] = {{.calls = 0}};
    struct ternmq_producer *producer =
        open_producer((struct ternmq_producer_options){.choose = TERNMQ_CHOOSE_ANY});
    for (int i = 0; i < COUNT; i++) {
        ck_assert_int_eq(produce(producer, "x", &outcomes[i]), TERNMQ_OK);
    }
    world_run(&world, outcome_is_there, &outcomes[COUNT - 1]);
    ck_assert_uint_eq(world.server.produces, 1);
    for (unsigned i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(outcomes[i].calls, 1);
        ck_assert_uint_eq(outcomes[i].produced.offset, i);
        ck_assert_uint_eq(outcomes[i].produced.count, 1);
    }
}
END_TEST

START_TEST(a_batch_is_one_call_and_what_was_taken_before_goes_before_it)
{
    struct outcome single = {.calls = 0};
    struct outcome batch = {.calls = 0};
    struct ternmq_producer *producer = open_producer((struct ternmq_producer_options){
        .choose = TERNMQ_CHOOSE_QUEUE, .queue = 1, .linger_ms = 1000});
    struct ternmq_message messages[10];
    for (int i = 0; i < 10; i++) {
        messages[i] = (struct ternmq_message){.body = ternmq_text("b")};
    }
    ck_assert_int_eq(produce(producer, "a", &single), TERNMQ_OK);
    ck_assert_int_eq(
        ternmq_produce_batch_async(producer, messages, 10, outcome_produced, &batch, NULL),
        TERNMQ_OK);
    world_run(&world, outcome_is_there, &batch);
    ck_assert_uint_eq(world.server.produces, 2);
    ck_assert_uint_eq(single.produced.offset, 0);
    ck_assert_uint_eq(batch.produced.offset, 1);
    ck_assert_uint_eq(batch.produced.count, 10);
}
END_TEST

START_TEST(lingering_messages_wait_for_their_time_and_a_full_batch_does_not)
{
    struct outcome outcome = {.calls = 0};
    struct ternmq_producer *producer =
        open_producer((struct ternmq_producer_options){.linger_ms = 500, .batch_messages = 3});
    produce(producer, "x", &outcome);
    world_pass(&world, 400);
    ck_assert_uint_eq(world.server.produces, 0);
    world_pass(&world, 200);
    ck_assert_uint_eq(world.server.produces, 1);
    for (int i = 0; i < 3; i++) {
        produce(producer, "x", &outcome);
    }
    world_pass(&world, 100);
    ck_assert_uint_eq(world.server.produces, 2);
    ck_assert_uint_eq(outcome.calls, 4);
}
END_TEST

START_TEST(the_first_key_chooses_the_queue_and_mixed_batches_are_refused)
{
    struct outcome outcome = {.calls = 0};
    struct ternmq_producer *producer =
        open_producer((struct ternmq_producer_options){.choose = TERNMQ_CHOOSE_BY_KEY});
    struct ternmq_bytes keys[2] = {ternmq_text("customer-1"), ternmq_text("x")};
    struct ternmq_message message = {
        .body = ternmq_text("b"), .keys = keys, .key_count = 2, .tag = ternmq_text("tag")};
    /* Where the topic is is not known yet: that is to be tried again. */
    ck_assert_int_eq(ternmq_produce_async(producer, &message, outcome_produced, &outcome, NULL),
                     TERNMQ_FULL);
    world_pass(&world, 100);
    ck_assert_int_eq(ternmq_produce_async(producer, &message, outcome_produced, &outcome, NULL),
                     TERNMQ_OK);
    world_run(&world, outcome_is_there, &outcome);
    ck_assert_uint_eq(outcome.produced.queue, crc32c("customer-1", 10) % 4);

    struct ternmq_message bare = {.body = ternmq_text("b")};
    ck_assert_int_eq(ternmq_produce_async(producer, &bare, NULL, NULL, NULL), TERNMQ_BAD_ARGUMENT);

    /* Keys 0.. are tried until one belongs to another queue. */
    struct ternmq_bytes other = {.data = NULL};
    for (char c = '0'; c <= '9' && other.data == NULL; c++) {
        static char text[2];
        text[0] = c;
        if (crc32c(text, 1) % 4 != outcome.produced.queue) {
            other = ternmq_text(text);
        }
    }
    struct ternmq_message mixed[2] = {message,
                                      {.body = ternmq_text("b"), .keys = &other, .key_count = 1}};
    ck_assert_int_eq(ternmq_produce_batch_async(producer, mixed, 2, NULL, NULL, NULL),
                     TERNMQ_MIXED_QUEUES);
}
END_TEST

START_TEST(overload_is_waited_out_as_long_as_the_server_asks)
{
    struct outcome outcome = {.calls = 0};
    struct ternmq_producer *producer = open_producer((struct ternmq_producer_options){.queue = 0});
    world.server.refuse_method = "produce";
    world.server.refuse_times = 3;
    world.server.refuse_with = ERROR_OVERLOADED;
    world.server.refuse_detail = 1000;
    produce(producer, "x", &outcome);
    world_run(&world, outcome_is_there, &outcome);
    ck_assert(!outcome.failed);
    ck_assert_uint_ge(world_now_ms(&world), 2250);
    ck_assert_uint_eq(world.server.produces, 1);
    ck_assert_uint_eq(world.server.queues[outcome.produced.queue].next, 1);
    ck_assert_uint_eq(world.waits, 3);
    ck_assert_int_eq(world.why.code, TERNMQ_OVERLOADED);
}
END_TEST

START_TEST(warming_is_waited_out_and_the_user_is_told)
{
    struct outcome outcome = {.calls = 0};
    struct ternmq_producer *producer = open_producer((struct ternmq_producer_options){.queue = 0});
    world.server.refuse_method = "route.get";
    world.server.refuse_times = 20;
    world.server.refuse_with = ERROR_WARMING;
    world.server.refuse_detail = 9000;
    produce(producer, "x", &outcome);
    world_run(&world, outcome_is_there, &outcome);
    ck_assert(!outcome.failed);
    ck_assert_uint_eq(world.waits, 20);
    ck_assert_int_eq(world.why.code, TERNMQ_WARMING);
}
END_TEST

START_TEST(a_topic_that_no_nameserver_knows_is_an_error_at_once)
{
    struct outcome outcome = {.calls = 0};
    struct ternmq_producer *producer = open_producer((struct ternmq_producer_options){.queue = 0});
    world.server.refuse_method = "route.get";
    world.server.refuse_times = 1000;
    world.server.refuse_with = ERROR_TOPIC_NOT_FOUND;
    produce(producer, "x", &outcome);
    world_run(&world, outcome_is_there, &outcome);
    ck_assert_int_eq(outcome.error.code, TERNMQ_TOPIC_NOT_FOUND);
    ck_assert(!outcome.error.retryable);
    ck_assert_uint_lt(world_now_ms(&world), 100);
}
END_TEST

START_TEST(a_broker_without_the_topic_makes_the_client_look_again)
{
    struct outcome outcome = {.calls = 0};
    struct ternmq_producer *producer = open_producer((struct ternmq_producer_options){.queue = 0});
    world.server.refuse_method = "produce";
    world.server.refuse_times = 2;
    world.server.refuse_with = ERROR_TOPIC_NOT_FOUND;
    produce(producer, "x", &outcome);
    world_run(&world, outcome_is_there, &outcome);
    ck_assert(!outcome.failed);
    ck_assert_uint_eq(world.server.routes, 3);
}
END_TEST

START_TEST(a_connection_lost_after_sending_is_maybe_stored_and_never_sent_again)
{
    struct outcome outcome = {.calls = 0};
    struct ternmq_producer *producer = open_producer((struct ternmq_producer_options){.queue = 0});
    world.server.drop_produces = 1;
    produce(producer, "x", &outcome);
    world_run(&world, outcome_is_there, &outcome);
    world_pass(&world, 20000);
    ck_assert_uint_eq(outcome.calls, 1);
    ck_assert_int_eq(outcome.error.code, TERNMQ_LOST);
    ck_assert_int_eq(outcome.error.stored, TERNMQ_STORED_MAYBE);
    ck_assert_uint_eq(world.server.produces, 1);
    /* The next one makes a new connection. */
    produce(producer, "y", &outcome);
    world_pass(&world, 1000);
    ck_assert_uint_eq(outcome.calls, 2);
    ck_assert(!outcome.failed);
}
END_TEST

START_TEST(an_answer_that_never_comes_ends_with_the_deadline)
{
    struct outcome outcome = {.calls = 0};
    struct ternmq_producer *producer =
        open_producer((struct ternmq_producer_options){.timeout_ms = 3000});
    world.server.ignore_method = "produce";
    produce(producer, "x", &outcome);
    world_run(&world, outcome_is_there, &outcome);
    ck_assert_int_eq(outcome.error.code, TERNMQ_TIMED_OUT);
    ck_assert_int_eq(outcome.error.stored, TERNMQ_STORED_MAYBE);
    ck_assert_uint_ge(world_now_ms(&world), 3000);
    ck_assert_uint_lt(world_now_ms(&world), 3010);
}
END_TEST

START_TEST(a_full_window_says_so_and_has_room_again_when_calls_end)
{
    struct outcome outcome = {.calls = 0};
    struct ternmq_producer *producer = open_producer(
        (struct ternmq_producer_options){.window_messages = 5, .choose = TERNMQ_CHOOSE_ANY});
    for (int i = 0; i < 5; i++) {
        ck_assert_int_eq(produce(producer, "x", &outcome), TERNMQ_OK);
    }
    ck_assert_int_eq(produce(producer, "x", &outcome), TERNMQ_FULL);
    size_t messages;
    size_t bytes;
    ternmq_producer_in_flight(producer, &messages, &bytes);
    ck_assert_uint_eq(messages, 5);
    ck_assert_uint_eq(bytes, 15);
    world_pass(&world, 1000);
    ck_assert_uint_eq(outcome.calls, 5);
    ternmq_producer_in_flight(producer, &messages, &bytes);
    ck_assert_uint_eq(messages, 0);
    ck_assert_uint_eq(bytes, 0);
    ck_assert_int_eq(produce(producer, "x", &outcome), TERNMQ_OK);
    world_pass(&world, 1000);
}
END_TEST

START_TEST(one_way_messages_are_stored_and_leave_the_window)
{
    struct ternmq_producer *producer =
        open_producer((struct ternmq_producer_options){.choose = TERNMQ_CHOOSE_QUEUE, .queue = 2});
    static char large[100000];
    memset(large, 'x', sizeof(large));
    struct ternmq_message small = {.body = ternmq_text("small")};
    struct ternmq_message big = {.body = ternmq_bytes(large, sizeof(large))};
    ck_assert_int_eq(ternmq_produce_oneway(producer, &small, 1, NULL), TERNMQ_OK);
    ck_assert_int_eq(ternmq_produce_oneway(producer, &big, 1, NULL), TERNMQ_OK);
    world_pass(&world, 1000);
    ck_assert_int_eq(ternmq_produce_oneway(producer, &big, 1, NULL), TERNMQ_OK);
    ck_assert_int_eq(ternmq_produce_oneway(producer, &small, 1, NULL), TERNMQ_OK);
    world_pass(&world, 1000);
    ck_assert_uint_eq(world.server.one_ways, 4);
    ck_assert_uint_eq(world.server.queues[2].next, 4);
    size_t messages;
    ternmq_producer_in_flight(producer, &messages, NULL);
    ck_assert_uint_eq(messages, 0);
}
END_TEST

START_TEST(with_one_call_in_flight_order_survives_refusals)
{
    enum { COUNT = 40 };
    struct outcome outcomes[COUNT] = {{.calls = 0}};
    struct ternmq_producer *producer = open_producer((struct ternmq_producer_options){
        .choose = TERNMQ_CHOOSE_QUEUE, .window_calls = 1, .batch_messages = 3});
    world.server.refuse_method = "produce";
    world.server.refuse_times = 4;
    world.server.refuse_with = ERROR_OVERLOADED;
    for (int i = 0; i < COUNT; i++) {
        produce(producer, "x", &outcomes[i]);
    }
    world_run(&world, outcome_is_there, &outcomes[COUNT - 1]);
    for (unsigned i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(outcomes[i].produced.offset, i);
    }
}
END_TEST

START_TEST(closing_a_producer_tells_every_message_once)
{
    struct outcome sent = {.calls = 0};
    struct outcome unsent = {.calls = 0};
    struct ternmq_producer *producer =
        open_producer((struct ternmq_producer_options){.linger_ms = 1000, .batch_messages = 2});
    world.server.ignore_method = "produce";
    produce(producer, "x", &sent);
    produce(producer, "x", &sent);
    world_pass(&world, 100);
    produce(producer, "x", &unsent);
    ternmq_producer_close(producer);
    ck_assert_uint_eq(sent.calls, 2);
    ck_assert_int_eq(sent.error.code, TERNMQ_CLOSED);
    ck_assert_int_eq(sent.error.stored, TERNMQ_STORED_MAYBE);
    ck_assert_uint_eq(unsent.calls, 1);
    ck_assert_int_eq(unsent.error.stored, TERNMQ_STORED_NO);
    world_pass(&world, 5000);
    ck_assert_uint_eq(sent.calls, 2);
}
END_TEST

START_TEST(what_a_broker_would_refuse_is_refused_before_it_is_taken)
{
    struct ternmq_producer *producer = open_producer((struct ternmq_producer_options){.queue = 0});
    char *large = calloc(1, (4 << 20) + 1);
    struct ternmq_message message = {.body = ternmq_bytes(large, (4 << 20) + 1)};
    struct ternmq_error error;
    ck_assert_int_eq(ternmq_produce_async(producer, &message, NULL, NULL, &error),
                     TERNMQ_TOO_LARGE);
    ck_assert_int_eq(error.limit, 4 << 20);
    free(large);
    message = (struct ternmq_message){.tag = ternmq_text("\xff"), .body = ternmq_text("")};
    ck_assert_int_eq(ternmq_produce_async(producer, &message, NULL, NULL, &error),
                     TERNMQ_BAD_ARGUMENT);
    struct ternmq_property twice[2] = {{ternmq_text("a"), ternmq_text("1")},
                                       {ternmq_text("a"), ternmq_text("2")}};
    message = (struct ternmq_message){.properties = twice, .property_count = 2};
    ck_assert_int_eq(ternmq_produce_async(producer, &message, NULL, NULL, &error),
                     TERNMQ_BAD_ARGUMENT);
    ck_assert_int_eq(ternmq_produce_batch_async(producer, &message, 0, NULL, NULL, NULL),
                     TERNMQ_USAGE);
    ck_assert_ptr_null(ternmq_producer_open(
        world.client, &(struct ternmq_producer_options){.topic = "no topic"}, &error));
    ck_assert_int_eq(error.code, TERNMQ_USAGE);
    /* An attached client does not block. */
    ck_assert_int_eq(ternmq_produce(producer, &message, 1, NULL, NULL), TERNMQ_USAGE);
    size_t messages;
    ternmq_producer_in_flight(producer, &messages, NULL);
    ck_assert_uint_eq(messages, 0);
}
END_TEST

static const uint64_t RESET_SEEDS = 40;

/* With connections that break at any moment: every message is told once; what was told to be stored
 * is there, once; what was told not to be stored is not. */
START_TEST(whatever_breaks_what_is_told_is_true)
{
    enum { COUNT = 300 };
    static struct outcome outcomes[COUNT];
    memset(outcomes, 0, sizeof(outcomes));
    world_init_options(&world, (uint64_t)_i + 1, 20000,
                       (struct ternmq_options){.nameservers = FAKE_ADDRESS});
    struct ternmq_producer *producer = open_producer((struct ternmq_producer_options){
        .choose = _i % 2 == 0 ? TERNMQ_CHOOSE_ANY : TERNMQ_CHOOSE_QUEUE, .batch_messages = 7});
    for (int i = 0; i < COUNT; i++) {
        char body[16];
        snprintf(body, sizeof(body), "%d", i);
        ck_assert_int_eq(produce(producer, body, &outcomes[i]), TERNMQ_OK);
        if (i % 20 == 0) {
            world_pass(&world, 3);
        }
    }
    world_pass(&world, 30000);
    uint32_t seen[COUNT] = {0};
    for (uint32_t q = 0; q < world.server.queue_count; q++) {
        const struct fake_queue *queue = &world.server.queues[q];
        for (uint64_t o = 0; o < queue->next; o++) {
            /* head, bin8 header, digits */
            const uint8_t *bin = queue->records + queue->places[o] + 69;
            char digits[16] = {0};
            memcpy(digits, bin + 2, bin[1]);
            seen[atoi(digits)]++;
        }
    }
    uint32_t lost = 0;
    for (int i = 0; i < COUNT; i++) {
        ck_assert_uint_eq(outcomes[i].calls, 1);
        if (!outcomes[i].failed) {
            ck_assert_uint_eq(seen[i], 1);
        } else if (outcomes[i].error.stored == TERNMQ_STORED_NO) {
            ck_assert_uint_eq(seen[i], 0);
        } else {
            ck_assert_uint_le(seen[i], 1);
            lost++;
        }
    }
    ck_assert_uint_lt(lost, COUNT);
    world_deinit(&world);
}
END_TEST

static Suite *produce_suite(void)
{
    Suite *suite = suite_create("client produce");
    TCase *tests = tcase_create("produce");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_message_is_stored_and_its_place_told_once);
    tcase_add_test(tests, messages_taken_in_one_turn_share_a_call_and_know_their_own_offsets);
    tcase_add_test(tests, a_batch_is_one_call_and_what_was_taken_before_goes_before_it);
    tcase_add_test(tests, lingering_messages_wait_for_their_time_and_a_full_batch_does_not);
    tcase_add_test(tests, the_first_key_chooses_the_queue_and_mixed_batches_are_refused);
    tcase_add_test(tests, overload_is_waited_out_as_long_as_the_server_asks);
    tcase_add_test(tests, warming_is_waited_out_and_the_user_is_told);
    tcase_add_test(tests, a_topic_that_no_nameserver_knows_is_an_error_at_once);
    tcase_add_test(tests, a_broker_without_the_topic_makes_the_client_look_again);
    tcase_add_test(tests, a_connection_lost_after_sending_is_maybe_stored_and_never_sent_again);
    tcase_add_test(tests, an_answer_that_never_comes_ends_with_the_deadline);
    tcase_add_test(tests, a_full_window_says_so_and_has_room_again_when_calls_end);
    tcase_add_test(tests, one_way_messages_are_stored_and_leave_the_window);
    tcase_add_test(tests, with_one_call_in_flight_order_survives_refusals);
    tcase_add_test(tests, closing_a_producer_tells_every_message_once);
    tcase_add_test(tests, what_a_broker_would_refuse_is_refused_before_it_is_taken);
    suite_add_tcase(suite, tests);
    TCase *broken = tcase_create("broken");
    tcase_add_loop_test(broken, whatever_breaks_what_is_told_is_true, 0, (int)RESET_SEEDS);
    suite_add_tcase(suite, broken);
    return suite;
}

TEST_MAIN(produce_suite)
