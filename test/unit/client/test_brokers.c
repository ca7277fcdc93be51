/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_brokers.c - a topic on two brokers, "a" with its queues 0 and 1 and "b" with 2 and 3, and a
 * nameserver, in a simulated world.
 */
#include "proto/base/crc32c.h"
#include "proto/message.h"
#include "test/lib/check_main.h"
#include "test/unit/client/client_world.h"
#include "tools/client/client_avoid.h"

#include <stdlib.h>

#define ADDRESS_A "10.0.0.2:10911"
#define ADDRESS_B "10.0.0.3:10911"

enum { QUEUES = 4, TIMEOUT_MS = 5000, A = 0, B = 1 };

static struct client_world world; /* its server is the nameserver */
static struct fake_server brokers[2];
static struct fake_part parts[2];
static const char *const names[2] = {"a", "b"};
static const char *const addresses[2] = {ADDRESS_A, ADDRESS_B};
static struct ternmq_error error;

static void begin(struct ternmq_options options)
{
    options.timeout_ms = TIMEOUT_MS;
    world_init_options(&world, 3, 0, options);
    for (int i = 0; i < 2; i++) {
        parts[i] = (struct fake_part){
            .broker = names[i], .first = 2U * (uint32_t)i, .count = 2, .address = addresses[i]};
        memset(&brokers[i], 0, sizeof(brokers[i]));
        brokers[i].name = names[i];
        brokers[i].parts = parts;
        brokers[i].part_count = 2;
        fake_server_start(&brokers[i], world.server_reactor, addresses[i]);
    }
    world.server.parts = parts;
    world.server.part_count = 2;
}

static void setup(void)
{
    begin((struct ternmq_options){.nameservers = FAKE_ADDRESS});
}

static bool is_down(void *context)
{
    return fake_server_is_stopped(context);
}

/* The broker is gone; the nameserver knows it at once (its lease was given back) or not yet. */
static void stop(int which, bool lease_ends)
{
    parts[which].address = lease_ends ? NULL : addresses[which];
    fake_server_stop(&brokers[which]);
    world_run(&world, is_down, &brokers[which]);
    world_pass(&world, 10); /* the client knows it: what it sends now is not lost on the way */
}

static void start(int which)
{
    parts[which].address = addresses[which];
    fake_server_start(&brokers[which], world.server_reactor, addresses[which]);
}

static void teardown(void)
{
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(brokers[i].misdirected, 0);
        if (!fake_server_is_stopped(&brokers[i])) {
            stop(i, true);
        }
    }
    world_deinit(&world);
    for (int i = 0; i < 2; i++) {
        fake_server_free(&brokers[i]);
    }
}

/* How many messages a broker has. */
static uint64_t stored(int which)
{
    uint64_t count = 0;
    for (uint32_t queue = 0; queue < FAKE_QUEUES_MAX; queue++) {
        count += brokers[which].queues[queue].next;
    }
    return count;
}

/* -------------------------------------------------------------------------- producing */

static struct ternmq_producer *open_producer(enum ternmq_choose choose)
{
    struct ternmq_producer *producer = ternmq_producer_open(
        world.client, &(struct ternmq_producer_options){.topic = "t", .choose = choose}, &error);
    ck_assert_msg(producer != NULL, "%s", error.message);
    return producer;
}

/* Produces one message and waits for its end; how many ms that took. */
static uint64_t produce(struct ternmq_producer *producer, struct outcome *outcome)
{
    struct ternmq_message message = {.body = ternmq_text("x")};
    uint64_t before_ms = world_now_ms(&world);
    *outcome = (struct outcome){.calls = 0};
    ck_assert_int_eq(
        ternmq_produce_batch_async(producer, &message, 1, outcome_produced, outcome, &error),
        TERNMQ_OK);
    world_run(&world, outcome_is_there, outcome);
    return world_now_ms(&world) - before_ms;
}

static bool queues_are_counted(void *context)
{
    struct ternmq_message message = {.body = ternmq_text("x")};
    struct ternmq_bytes key = ternmq_text("first");
    message.keys = &key;
    message.key_count = 1;
    int code = ternmq_produce_batch_async(context, &message, 1, NULL, NULL, &error);
    return code != TERNMQ_FULL;
}

/* A key of queue `queue`, of `queues`. */
static const char *key_of(uint32_t queue, uint32_t queues)
{
    static char key[32];
    for (unsigned i = 0;; i++) {
        int length = snprintf(key, sizeof(key), "key-%u", i);
        if (message_key_queue(crc32c(key, (size_t)length), queues) == queue) {
            return key;
        }
    }
}

static void give_keyed(struct ternmq_producer *producer, const char *text, struct outcome *outcome)
{
    struct ternmq_message message = {.body = ternmq_text("x")};
    struct ternmq_bytes key = ternmq_text(text);
    message.keys = &key;
    message.key_count = 1;
    *outcome = (struct outcome){.calls = 0};
    ck_assert_int_eq(
        ternmq_produce_batch_async(producer, &message, 1, outcome_produced, outcome, &error),
        TERNMQ_OK);
}

START_TEST(masters_that_are_alive_take_turns)
{
    struct ternmq_producer *producer = open_producer(TERNMQ_CHOOSE_ANY);
    struct outcome outcome;
    for (int i = 0; i < 20; i++) {
        produce(producer, &outcome);
        ck_assert(!outcome.failed);
    }
    ck_assert_uint_eq(stored(A), 10);
    ck_assert_uint_eq(stored(B), 10);
}
END_TEST

START_TEST(a_broker_without_a_lease_gets_nothing)
{
    stop(B, true);
    struct ternmq_producer *producer = open_producer(TERNMQ_CHOOSE_ANY);
    struct outcome outcome;
    for (int i = 0; i < 10; i++) {
        ck_assert_uint_lt(produce(producer, &outcome), 10);
        ck_assert(!outcome.failed);
    }
    ck_assert_uint_eq(stored(A), 10);
}
END_TEST

START_TEST(a_broker_that_refuses_is_avoided_for_a_time_that_doubles_and_nobody_waits_for_it)
{
    struct ternmq_producer *producer = open_producer(TERNMQ_CHOOSE_ANY);
    struct outcome outcome;
    brokers[B].refuse_method = "produce";
    brokers[B].refuse_with = ERROR_DISK_FULL;
    brokers[B].refuse_detail = 1000; /* ms, which one broker alone would be given */
    brokers[B].refuse_times = UINT32_MAX;
    uint64_t began_ms = world_now_ms(&world);
    uint64_t count = 0;
    for (; world_now_ms(&world) - began_ms < 6000; count++) {
        ck_assert_uint_lt(produce(producer, &outcome), 10);
        ck_assert_msg(!outcome.failed, "%s", outcome.error.message);
        world_pass(&world, 10);
    }
    /* After 0, 100, 300, 700, 1500, 3100 ms; the next would be after 6300. */
    ck_assert_uint_eq(brokers[B].refused, 6);
    ck_assert_uint_eq(stored(A), count);

    brokers[B].refuse_times = 0; /* well again: it has its turn when its time is over */
    world_pass(&world, 3200);
    for (int i = 0; i < 20; i++) {
        produce(producer, &outcome);
    }
    ck_assert_uint_eq(stored(B), 10);
    brokers[B].refuse_times = 1; /* and what came before is forgotten */
    produce(producer, &outcome);
    produce(producer, &outcome);
    ck_assert_uint_eq(brokers[B].refused, 7);
    world_pass(&world, AVOID_MS_LEAST + 10);
    for (int i = 0; i < 20; i++) {
        produce(producer, &outcome);
    }
    ck_assert_uint_eq(stored(B), 20);
}
END_TEST

START_TEST(calls_that_were_under_way_together_fail_once)
{
    enum { TOGETHER = 10 };
    struct ternmq_producer *producer = open_producer(TERNMQ_CHOOSE_ANY);
    struct outcome outcomes[TOGETHER];
    struct outcome outcome;
    produce(producer, &outcome); /* both are connected to */
    produce(producer, &outcome);
    brokers[B].refuse_method = "produce";
    brokers[B].refuse_with = ERROR_READ_ONLY;
    brokers[B].refuse_times = UINT32_MAX;
    for (int i = 0; i < TOGETHER; i++) {
        struct ternmq_message message = {.body = ternmq_text("x")};
        outcomes[i] = (struct outcome){.calls = 0};
        ck_assert_int_eq(ternmq_produce_batch_async(producer, &message, 1, outcome_produced,
                                                    &outcomes[i], &error),
                         TERNMQ_OK);
    }
    for (int i = 0; i < TOGETHER; i++) {
        world_run(&world, outcome_is_there, &outcomes[i]);
        ck_assert(!outcomes[i].failed);
    }
    ck_assert_uint_eq(brokers[B].refused, TOGETHER / 2);
    world_pass(&world, AVOID_MS_LEAST + 10); /* its time was that of one failure */
    produce(producer, &outcome);
    produce(producer, &outcome);
    ck_assert_uint_eq(brokers[B].refused, TOGETHER / 2 + 1);
}
END_TEST

START_TEST(a_time_is_never_longer_than_half_a_minute)
{
    struct ternmq_producer *producer = open_producer(TERNMQ_CHOOSE_ANY);
    struct outcome outcome;
    brokers[B].refuse_method = "produce";
    brokers[B].refuse_with = ERROR_STOPPING;
    brokers[B].refuse_times = UINT32_MAX;
    for (int i = 0; i < 200; i++) { /* 200 s */
        produce(producer, &outcome);
        ck_assert(!outcome.failed);
        world_pass(&world, 1000);
    }
    uint32_t before = brokers[B].refused;
    for (int i = 0; i < 120; i++) {
        produce(producer, &outcome);
        world_pass(&world, 1000);
    }
    ck_assert_uint_ge(brokers[B].refused - before, 3);
    ck_assert_uint_le(brokers[B].refused - before, 4);
}
END_TEST

START_TEST(a_dead_broker_whose_lease_is_not_over_costs_one_failure_and_no_message)
{
    struct ternmq_producer *producer = open_producer(TERNMQ_CHOOSE_ANY);
    struct outcome outcome;
    for (int i = 0; i < 4; i++) {
        produce(producer, &outcome);
    }
    stop(B, false);
    uint64_t before = stored(A);
    for (int i = 0; i < 50; i++) {
        ck_assert_uint_lt(produce(producer, &outcome), 20);
        ck_assert_msg(!outcome.failed, "%s", outcome.error.message);
    }
    ck_assert_uint_eq(stored(A) - before, 50);
    start(B);
    world_pass(&world, AVOID_MS_MOST);
    for (int i = 0; i < 10; i++) {
        produce(producer, &outcome);
    }
    ck_assert_uint_eq(stored(B), 2 + 5);
}
END_TEST

START_TEST(the_only_broker_left_is_asked_though_it_failed)
{
    struct ternmq_producer *producer = open_producer(TERNMQ_CHOOSE_ANY);
    struct outcome outcome;
    stop(B, true);
    brokers[A].refuse_method = "produce";
    brokers[A].refuse_with = ERROR_OVERLOADED;
    brokers[A].refuse_detail = 20;
    brokers[A].refuse_times = 3;
    ck_assert_uint_lt(produce(producer, &outcome), 2000);
    ck_assert(!outcome.failed);
    ck_assert_uint_eq(stored(A), 1);
}
END_TEST

START_TEST(keys_go_to_their_queue_on_whichever_broker)
{
    struct ternmq_producer *producer = open_producer(TERNMQ_CHOOSE_BY_KEY);
    world_run(&world, queues_are_counted, producer);
    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        struct outcome outcome;
        give_keyed(producer, key_of(queue, QUEUES), &outcome);
        world_run(&world, outcome_is_there, &outcome);
        ck_assert_msg(!outcome.failed, "%s", outcome.error.message);
        ck_assert_uint_eq(outcome.produced.queue, queue);
        ck_assert_uint_ge(brokers[queue / 2].queues[queue].next, 1);
    }
}
END_TEST

/* `lease_ends`: as `_i` says. */
START_TEST(keys_of_a_dead_broker_wait_for_it_and_fail_retryably_while_others_go_on)
{
    struct ternmq_producer *producer = open_producer(TERNMQ_CHOOSE_BY_KEY);
    world_run(&world, queues_are_counted, producer);
    world_pass(&world, 100);
    uint64_t before = stored(A);
    stop(B, _i == 1);
    struct outcome dead;
    give_keyed(producer, key_of(3, QUEUES), &dead);
    for (int i = 0; i < 10; i++) {
        struct outcome alive;
        give_keyed(producer, key_of(1, QUEUES), &alive);
        world_run(&world, outcome_is_there, &alive);
        ck_assert(!alive.failed);
    }
    ck_assert_uint_eq(dead.calls, 0);
    world_run(&world, outcome_is_there, &dead);
    ck_assert(dead.failed);
    ck_assert_int_eq(dead.error.code, TERNMQ_UNREACHABLE);
    ck_assert(dead.error.retryable);
    ck_assert_int_eq(dead.error.stored, TERNMQ_STORED_NO);
    ck_assert_uint_eq(stored(A) - before, 10);

    give_keyed(producer, key_of(3, QUEUES), &dead); /* in time for this one it is back */
    world_pass(&world, TIMEOUT_MS / 2);
    start(B);
    world_run(&world, outcome_is_there, &dead);
    ck_assert_msg(!dead.failed, "%s", dead.error.message);
    ck_assert_uint_eq(dead.produced.queue, 3);
}
END_TEST

START_TEST(a_producer_by_key_counts_anew_when_its_broker_counts_other_queues)
{
    struct ternmq_producer *producer = open_producer(TERNMQ_CHOOSE_BY_KEY);
    world_run(&world, queues_are_counted, producer);
    world_pass(&world, 100);
    parts[B].count = 3; /* grown to 5, and the client was not told */
    for (int i = 0; i < 2; i++) {
        brokers[i].queue_count = QUEUES + 1;
    }
    world.server.queue_count = QUEUES + 1;
    brokers[A].refuse_method = "produce";
    brokers[A].refuse_with = ERROR_MIXED_QUEUES;
    brokers[A].refuse_times = 1;
    struct outcome outcome;
    give_keyed(producer, key_of(0, QUEUES), &outcome);
    world_run(&world, outcome_is_there, &outcome);
    ck_assert_int_eq(outcome.error.code, TERNMQ_MIXED_QUEUES);
    world_run(&world, queues_are_counted, producer);
    give_keyed(producer, key_of(4, QUEUES + 1), &outcome);
    world_run(&world, outcome_is_there, &outcome);
    ck_assert_msg(!outcome.failed, "%s", outcome.error.message);
    ck_assert_uint_eq(outcome.produced.queue, 4);
}
END_TEST

/* -------------------------------------------------------------------------- consuming */

static void fill(uint32_t messages)
{
    for (uint32_t i = 0; i < messages; i++) {
        uint32_t queue = i % QUEUES;
        fake_server_append_number(&brokers[queue / 2], queue, i);
    }
}

static struct ternmq_consumer *open_consumer(struct ternmq_consumer_options options)
{
    options.topic = "t";
    struct ternmq_consumer *consumer = ternmq_consumer_open(world.client, &options, &error);
    ck_assert_msg(consumer != NULL, "%s", error.message);
    return consumer;
}

/* What was consumed, by queue, and the last code that was no message. */
struct taken {
    struct ternmq_consumer *consumer;
    uint64_t count[QUEUES];
    uint64_t all;
    uint64_t wanted;
    int code;
};

static bool take(void *context)
{
    struct taken *taken = context;
    struct ternmq_delivery deliveries[16];
    size_t count;
    int code;
    while ((code = ternmq_consume(taken->consumer, 0, deliveries, 16, &count, &error)) ==
           TERNMQ_OK) {
        for (size_t i = 0; i < count; i++) {
            ck_assert_uint_eq(deliveries[i].offset, taken->count[deliveries[i].queue]);
            taken->count[deliveries[i].queue]++;
            taken->all++;
        }
    }
    taken->code = code;
    return taken->all >= taken->wanted || code != TERNMQ_NOTHING;
}

START_TEST(a_consumer_reads_the_queues_of_all_brokers)
{
    fill(1000);
    struct taken taken = {.wanted = 1001};
    taken.consumer = open_consumer((struct ternmq_consumer_options){.until_end = true});
    world_run(&world, take, &taken);
    ck_assert_int_eq(taken.code, TERNMQ_END);
    ck_assert_uint_eq(taken.all, 1000);
    ck_assert_uint_eq(ternmq_consumer_queue_count(taken.consumer), QUEUES);
}
END_TEST

START_TEST(the_bound_of_what_is_in_hand_is_of_all_brokers_together)
{
    enum { PREFETCH = 64 << 10, PULL = 8 << 10 };
    fill(20000);
    struct taken taken = {.wanted = 20000};
    taken.consumer = open_consumer(
        (struct ternmq_consumer_options){.prefetch_bytes = PREFETCH, .pull_bytes = PULL});
    world_pass(&world, 2000);
    uint64_t pulled = brokers[A].pulled + brokers[B].pulled;
    ck_assert_uint_gt(brokers[A].pulled, 0);
    ck_assert_uint_gt(brokers[B].pulled, 0);
    ck_assert_uint_ge(pulled, PREFETCH - PULL);
    ck_assert_uint_le(pulled, PREFETCH + QUEUES * PULL);
    world_pass(&world, 2000);
    ck_assert_uint_eq(brokers[A].pulled + brokers[B].pulled, pulled); /* not a byte more */
    world_run(&world, take, &taken);
    ck_assert_uint_eq(taken.all, 20000);
}
END_TEST

/* `lease_ends`: as `_i` says. */
START_TEST(a_dead_broker_does_not_stop_the_messages_of_the_other)
{
    fill(100);
    struct taken taken = {.wanted = 100};
    taken.consumer = open_consumer((struct ternmq_consumer_options){.start = TERNMQ_START_FIRST});
    world_run(&world, take, &taken);
    world_pass(&world, 100);
    stop(B, _i == 1);
    taken.wanted = 150;
    for (int i = 0; i < 50; i++) {
        world_pass(&world, 50);
        fake_server_append(&brokers[A], 0, BYTES_OF("\xc4\x01x"), 1);
        fake_server_drop_all(&brokers[A]); /* its parked polls look again */
    }
    uint64_t before_ms = world_now_ms(&world);
    while (!take(&taken)) {
        world_pass(&world, 10);
    }
    ck_assert_uint_eq(taken.all, 150);
    ck_assert_uint_lt(world_now_ms(&world) - before_ms, 1000);
    world_run(&world, take, &taken); /* after its patience it says what is missing, and tries on */
    while (taken.code == TERNMQ_NOTHING) {
        world_pass(&world, 100);
        take(&taken);
    }
    ck_assert_int_eq(taken.code, TERNMQ_UNREACHABLE);
    ck_assert(error.retryable);
    fake_server_append(&brokers[B], 2, BYTES_OF("\xc4\x01y"), 1);
    start(B);
    taken.wanted = 151;
    while (taken.all < 151) {
        world_pass(&world, 100);
        take(&taken);
    }
    ck_assert_uint_eq(taken.count[2], 26);
}
END_TEST

START_TEST(a_broker_is_not_asked_for_a_queue_that_it_has_not_been_told_of)
{
    parts[B].known = 2; /* of a topic that had two queues until now */
    fill(100);
    struct taken taken = {.wanted = 50};
    taken.consumer = open_consumer((struct ternmq_consumer_options){.start = TERNMQ_START_FIRST});
    world_run(&world, take, &taken);
    world_pass(&world, 1000);
    ck_assert(!take(&taken) || taken.all == 50);
    ck_assert_uint_eq(brokers[B].pulls, 0);
    parts[B].known = 4;
    taken.wanted = 100;
    world_run(&world, take, &taken);
    ck_assert_uint_eq(taken.all, 100);
}
END_TEST

START_TEST(a_client_of_one_broker_has_the_queues_that_are_there)
{
    teardown();
    begin((struct ternmq_options){.broker = ADDRESS_B});
    fill(100);
    struct taken taken = {.wanted = 101};
    taken.consumer = open_consumer((struct ternmq_consumer_options){.until_end = true});
    world_run(&world, take, &taken);
    ck_assert_int_eq(taken.code, TERNMQ_END);
    ck_assert_uint_eq(taken.all, 50);
    ck_assert_uint_eq(taken.count[2], 25);
    ck_assert_uint_eq(ternmq_consumer_queue_count(taken.consumer), 2);
    struct outcome outcome;
    produce(open_producer(TERNMQ_CHOOSE_ANY), &outcome);
    ck_assert(!outcome.failed);
    ck_assert_uint_ge(outcome.produced.queue, 2);

    struct ternmq_producer *elsewhere = ternmq_producer_open(
        world.client,
        &(struct ternmq_producer_options){.topic = "t", .choose = TERNMQ_CHOOSE_QUEUE, .queue = 1},
        &error);
    ck_assert_uint_lt(produce(elsewhere, &outcome), 100); /* there is nobody else to ask */
    ck_assert_int_eq(outcome.error.code, TERNMQ_WRONG_BROKER);
    brokers[B].misdirected = 0;
}
END_TEST

static Suite *brokers_suite(void)
{
    Suite *suite = suite_create("client brokers");
    TCase *tests = tcase_create("brokers");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, masters_that_are_alive_take_turns);
    tcase_add_test(tests, a_broker_without_a_lease_gets_nothing);
    tcase_add_test(
        tests, a_broker_that_refuses_is_avoided_for_a_time_that_doubles_and_nobody_waits_for_it);
    tcase_add_test(tests, calls_that_were_under_way_together_fail_once);
    tcase_add_test(tests, a_time_is_never_longer_than_half_a_minute);
    tcase_add_test(tests, a_dead_broker_whose_lease_is_not_over_costs_one_failure_and_no_message);
    tcase_add_test(tests, the_only_broker_left_is_asked_though_it_failed);
    tcase_add_test(tests, keys_go_to_their_queue_on_whichever_broker);
    tcase_add_loop_test(
        tests, keys_of_a_dead_broker_wait_for_it_and_fail_retryably_while_others_go_on, 0, 2);
    tcase_add_test(tests, a_producer_by_key_counts_anew_when_its_broker_counts_other_queues);
    tcase_add_test(tests, a_consumer_reads_the_queues_of_all_brokers);
    tcase_add_test(tests, the_bound_of_what_is_in_hand_is_of_all_brokers_together);
    tcase_add_loop_test(tests, a_dead_broker_does_not_stop_the_messages_of_the_other, 0, 2);
    tcase_add_test(tests, a_broker_is_not_asked_for_a_queue_that_it_has_not_been_told_of);
    tcase_add_test(tests, a_client_of_one_broker_has_the_queues_that_are_there);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(brokers_suite)
