/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_route.c - what the client does while brokers and nameservers come and go: a nameserver and a
 * broker of their own in a simulated world.
 */
#include "test/lib/check_main.h"
#include "test/unit/client/client_world.h"

#define BROKER_ADDRESS "10.0.0.2:10911"

static struct client_world world; /* its server is the nameserver */
static struct fake_server broker;
static struct ternmq_error error;

static void setup(void)
{
    world_init_options(&world, 1, 0,
                       (struct ternmq_options){.nameservers = FAKE_ADDRESS, .timeout_ms = 30000});
    world.server.advertise = BROKER_ADDRESS;
    world.server.refuse_method = "route.get";
    world.server.refuse_with = ERROR_TOPIC_NOT_FOUND;
    memset(&broker, 0, sizeof(broker));
    fake_server_start(&broker, world.server_reactor, BROKER_ADDRESS);
    broker.refuse_with = ERROR_TOPIC_NOT_FOUND;
}

static bool broker_is_down(void *context)
{
    (void)context;
    return fake_server_is_stopped(&broker);
}

/* The broker ends, and its lease with it: the nameserver forgets its topics. */
static void broker_stop(void)
{
    world.server.refuse_times = UINT32_MAX;
    fake_server_stop(&broker);
    world_run(&world, broker_is_down, NULL);
    world_pass(&world, 10); /* the client knows it: what it sends now is not lost on the way */
}

static void broker_start(void)
{
    fake_server_start(&broker, world.server_reactor, BROKER_ADDRESS);
    world.server.refuse_times = 0;
}

/* The topic is deleted: neither of them knows it any more. */
static void topic_delete(const char *method)
{
    world.server.refuse_times = UINT32_MAX;
    broker.refuse_method = method;
    broker.refuse_times = UINT32_MAX;
}

static void teardown(void)
{
    if (!fake_server_is_stopped(&broker)) {
        broker_stop();
    }
    world_deinit(&world);
    fake_server_free(&broker);
}

static struct ternmq_producer *open_producer(void)
{
    struct ternmq_producer *producer =
        ternmq_producer_open(world.client, &(struct ternmq_producer_options){.topic = "t"}, &error);
    ck_assert_msg(producer != NULL, "%s", error.message);
    return producer;
}

static void produce(struct ternmq_producer *producer, struct outcome *outcome)
{
    struct ternmq_message message = {.body = ternmq_text("x")};
    *outcome = (struct outcome){.calls = 0};
    ck_assert_int_eq(ternmq_produce_async(producer, &message, outcome_produced, outcome, &error),
                     TERNMQ_OK);
}

static void produce_and_wait(struct ternmq_producer *producer, struct outcome *outcome)
{
    produce(producer, outcome);
    world_run(&world, outcome_is_there, outcome);
}

START_TEST(a_producer_outlives_a_restart_of_its_broker_and_says_that_it_waits)
{
    struct outcome outcome;
    struct ternmq_producer *producer = open_producer();
    produce_and_wait(producer, &outcome);
    ck_assert(!outcome.failed);
    broker_stop();
    world.waits = 0;
    produce(producer, &outcome);
    world_pass(&world, 5000);
    ck_assert_uint_eq(outcome.calls, 0);
    ck_assert_uint_gt(world.waits, 3);
    ck_assert_int_eq(world.why.code, TERNMQ_TOPIC_NOT_FOUND);
    ck_assert(world.why.retryable);
    ck_assert_ptr_nonnull(strstr(world.why.message, "broker fake, which holds no lease now"));
    broker_start();
    world_run(&world, outcome_is_there, &outcome);
    ck_assert_msg(!outcome.failed, "%s", outcome.error.message);
}
END_TEST

START_TEST(a_broker_that_stays_away_is_waited_for_until_the_deadline)
{
    struct outcome outcome;
    struct ternmq_producer *producer = open_producer();
    produce_and_wait(producer, &outcome);
    broker_stop();
    uint64_t before_ms = world_now_ms(&world);
    produce_and_wait(producer, &outcome);
    ck_assert_int_eq(outcome.error.code, TERNMQ_TOPIC_NOT_FOUND);
    ck_assert_int_eq(outcome.error.stored, TERNMQ_STORED_NO);
    ck_assert_uint_ge(world_now_ms(&world) - before_ms, 29000);
    ck_assert_uint_le(world_now_ms(&world) - before_ms, 31000);
}
END_TEST

START_TEST(a_topic_that_its_broker_denies_is_deleted_and_ends_a_producer_at_once)
{
    struct outcome outcome;
    struct ternmq_producer *producer = open_producer();
    produce_and_wait(producer, &outcome);
    topic_delete("produce");
    for (int i = 0; i < 2; i++) { /* and it stays so, also when the broker is away then */
        uint64_t before_ms = world_now_ms(&world);
        produce_and_wait(producer, &outcome);
        ck_assert_int_eq(outcome.error.code, TERNMQ_TOPIC_NOT_FOUND);
        ck_assert(!outcome.error.retryable);
        ck_assert_uint_le(world_now_ms(&world) - before_ms, 500);
        broker_stop();
    }
}
END_TEST

START_TEST(a_topic_made_anew_is_waited_for_again)
{
    struct outcome outcome;
    struct ternmq_producer *producer = open_producer();
    produce_and_wait(producer, &outcome);
    topic_delete("produce");
    produce_and_wait(producer, &outcome);
    ck_assert(outcome.failed);
    world.server.refuse_times = 0;
    broker.refuse_times = 0;
    produce_and_wait(producer, &outcome);
    ck_assert(!outcome.failed);
    broker_stop();
    produce(producer, &outcome);
    world_pass(&world, 5000);
    broker_start();
    world_run(&world, outcome_is_there, &outcome);
    ck_assert(!outcome.failed);
}
END_TEST

/* -------------------------------------------------------------------------- consumers */

static int last_code;

static int take(struct ternmq_consumer *consumer)
{
    struct ternmq_delivery delivery;
    size_t count;
    return ternmq_consume(consumer, 0, &delivery, 1, &count, &error);
}

static bool has_said(void *context)
{
    last_code = take(context);
    return last_code != TERNMQ_NOTHING;
}

static struct ternmq_consumer *open_consumer(void)
{
    struct ternmq_consumer *consumer = ternmq_consumer_open(
        world.client,
        &(struct ternmq_consumer_options){.topic = "t", .one_queue = true, .queue = 0}, &error);
    ck_assert_msg(consumer != NULL, "%s", error.message);
    return consumer;
}

static void store(const char *body)
{
    uint8_t element[16] = {0xc4, (uint8_t)strlen(body)};
    memcpy(element + 2, body, strlen(body));
    fake_server_append(&broker, 0, bytes_make(element, strlen(body) + 2), 1);
}

START_TEST(a_consumer_waits_for_its_broker_for_as_long_as_it_takes)
{
    store("a");
    struct ternmq_consumer *consumer = open_consumer();
    world_run(&world, has_said, consumer);
    ck_assert_int_eq(last_code, TERNMQ_OK);
    world_pass(&world, 1000); /* it has come to the end and its poll is parked */
    broker_stop();
    for (int i = 0; i < 3; i++) { /* every timeout_ms it says so, and goes on */
        world_run(&world, has_said, consumer);
        ck_assert_int_eq(last_code, TERNMQ_TOPIC_NOT_FOUND);
        ck_assert_msg(error.retryable, "%s %s", error.name, error.message);
    }
    store("b");
    broker_start();
    while (!has_said(consumer) || last_code == TERNMQ_TOPIC_NOT_FOUND) {
        world_pass(&world, 100);
    }
    ck_assert_int_eq(last_code, TERNMQ_OK);
}
END_TEST

START_TEST(a_deleted_topic_ends_a_consumer_at_once)
{
    store("a");
    struct ternmq_consumer *consumer = open_consumer();
    world_run(&world, has_said, consumer);
    world_pass(&world, 1000);
    topic_delete("pull");
    fake_server_drop_all(&broker); /* its parked poll ends, and the next one is denied */
    world.server.refuse_times = 0;
    world_pass(&world, 75); /* the first pause is of 63 ms at most, the second of 75 at least */
    world.server.refuse_times = UINT32_MAX;
    uint64_t before_ms = world_now_ms(&world);
    world_run(&world, has_said, consumer);
    ck_assert_int_eq(last_code, TERNMQ_TOPIC_NOT_FOUND);
    ck_assert(!error.retryable);
    ck_assert_uint_le(world_now_ms(&world) - before_ms, 1000);
    ck_assert_int_eq(take(consumer), TERNMQ_TOPIC_NOT_FOUND);
}
END_TEST

static Suite *route_suite(void)
{
    Suite *suite = suite_create("client route");
    TCase *tests = tcase_create("route");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_producer_outlives_a_restart_of_its_broker_and_says_that_it_waits);
    tcase_add_test(tests, a_broker_that_stays_away_is_waited_for_until_the_deadline);
    tcase_add_test(tests, a_topic_that_its_broker_denies_is_deleted_and_ends_a_producer_at_once);
    tcase_add_test(tests, a_topic_made_anew_is_waited_for_again);
    tcase_add_test(tests, a_consumer_waits_for_its_broker_for_as_long_as_it_takes);
    tcase_add_test(tests, a_deleted_topic_ends_a_consumer_at_once);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(route_suite)
