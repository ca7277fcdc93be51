/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_consume.c - what ternmq.h promises of consuming, against a fake server in a simulated world.
 */
#include "test/lib/check_main.h"
#include "test/unit/client/client_world.h"

#include <stdlib.h>

static struct client_world world;
static struct ternmq_error error;

/* What a consumer has given: how many of each queue, and the next offset expected. */
struct reader {
    struct ternmq_consumer *consumer;
    uint64_t seen;
    uint64_t want;
    uint64_t next[FAKE_QUEUES_MAX];
    int code; /* the last that was not OK or NOTHING */
};

static struct reader reader;

static void setup(void)
{
    world_init(&world, 2);
    memset(&reader, 0, sizeof(reader));
}

static void teardown(void)
{
    world_deinit(&world);
}

static struct ternmq_consumer *open_consumer(struct ternmq_consumer_options options)
{
    options.topic = "t";
    struct ternmq_consumer *consumer = ternmq_consumer_open(world.client, &options, &error);
    ck_assert_msg(consumer != NULL, "%s", error.message);
    reader.consumer = consumer;
    return consumer;
}

/* Takes what is there; checks that bodies count up and no offset is left out or comes twice. */
static void read_on(void)
{
    struct ternmq_delivery deliveries[16];
    size_t count;
    int code;
    while ((code = ternmq_consume(reader.consumer, 0, deliveries, 16, &count, &error)) ==
           TERNMQ_OK) {
        for (size_t i = 0; i < count; i++) {
            const struct ternmq_delivery *delivery = &deliveries[i];
            ck_assert_str_eq(delivery->topic, "t");
            ck_assert_uint_eq(delivery->offset, reader.next[delivery->queue]);
            char digits[32] = {0};
            memcpy(digits, delivery->body.data, delivery->body.length);
            ck_assert_uint_eq(strtoull(digits, NULL, 10), delivery->offset);
            ck_assert_uint_eq(delivery->epoch, world.server.epoch);
            ck_assert_ptr_null(delivery->tag.data);
            reader.next[delivery->queue]++;
            reader.seen++;
        }
    }
    if (code != TERNMQ_NOTHING) {
        reader.code = code;
    }
}

static bool reader_is_over(void *context)
{
    (void)context;
    read_on();
    return reader.code != TERNMQ_OK || (reader.want > 0 && reader.seen >= reader.want);
}

static void fill(uint32_t queues, uint32_t each)
{
    for (uint32_t q = 0; q < queues; q++) {
        for (uint32_t i = 0; i < each; i++) {
            world_append(&world, q, world.server.queues[q].next);
        }
    }
}

START_TEST(all_queues_are_read_in_order_up_to_their_end_as_of_the_start)
{
    fill(4, 1000);
    open_consumer((struct ternmq_consumer_options){.until_end = true, .pull_bytes = 3000});
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_END);
    ck_assert_uint_eq(reader.seen, 4000);
    ck_assert_uint_eq(ternmq_consumer_queue_count(reader.consumer), 4);
    struct ternmq_position position;
    ck_assert(ternmq_consumer_position(reader.consumer, 2, &position));
    ck_assert_uint_eq(position.next, 1000);
    ck_assert_uint_eq(position.end_first, 1000);
    ck_assert_uint_eq(position.epoch, 1);
    ck_assert(!ternmq_consumer_position(reader.consumer, 4, &position));
}
END_TEST

START_TEST(an_empty_topic_is_at_its_end_at_once)
{
    open_consumer((struct ternmq_consumer_options){.until_end = true});
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_END);
    ck_assert_uint_lt(world_now_ms(&world), 100);
}
END_TEST

START_TEST(what_comes_after_the_start_is_not_given_until_the_end)
{
    fill(1, 10);
    open_consumer((struct ternmq_consumer_options){
        .until_end = true, .one_queue = true, .queue = 0, .pull_bytes = 300});
    world_pass(&world, 1); /* the first answer is under way or there: the end is fixed */
    while (world.server.pulls == 0) {
        world_pass(&world, 1);
    }
    fill(1, 10);
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_END);
    ck_assert_uint_eq(reader.seen, 10);
}
END_TEST

START_TEST(a_consumer_waits_for_what_comes)
{
    fill(2, 3);
    open_consumer((struct ternmq_consumer_options){.start = TERNMQ_START_FIRST});
    reader.want = 6;
    world_run(&world, reader_is_over, NULL);
    world_pass(&world, 100000); /* polls time out and are sent again */
    ck_assert_uint_eq(world.server.parked, 4);
    ck_assert_uint_le(world.server.pulls, 2 * 4 + 4 * 4);

    struct ternmq_producer *producer = ternmq_producer_open(
        world.client,
        &(struct ternmq_producer_options){.topic = "t", .choose = TERNMQ_CHOOSE_QUEUE, .queue = 1},
        NULL);
    struct ternmq_message message = {.body = ternmq_text("3")};
    uint64_t before_ms = world_now_ms(&world);
    ck_assert_int_eq(ternmq_produce_async(producer, &message, NULL, NULL, NULL), TERNMQ_OK);
    reader.want = 7;
    world_run(&world, reader_is_over, NULL);
    ck_assert_uint_lt(world_now_ms(&world) - before_ms, 100);
}
END_TEST

START_TEST(it_starts_where_it_was_told)
{
    fill(1, 100);
    open_consumer((struct ternmq_consumer_options){
        .one_queue = true, .start = TERNMQ_START_OFFSET, .start_value = 90, .until_end = true});
    reader.next[0] = 90;
    world_run(&world, reader_is_over, NULL);
    ck_assert_uint_eq(reader.seen, 10);

    reader = (struct reader){.next = {50}};
    open_consumer((struct ternmq_consumer_options){
        .one_queue = true, .start = TERNMQ_START_TIME, .start_value = 1, .until_end = true});
    world_run(&world, reader_is_over, NULL);
    ck_assert_uint_eq(reader.seen, 50);

    reader = (struct reader){.next = {100}};
    open_consumer((struct ternmq_consumer_options){.one_queue = true, .start = TERNMQ_START_LAST});
    world_pass(&world, 1000);
    read_on();
    ck_assert_uint_eq(reader.seen, 0);
    ck_assert_uint_eq(world.server.parked, 1);
}
END_TEST

START_TEST(a_lost_connection_costs_no_message_and_gives_none_twice)
{
    fill(4, 500);
    open_consumer((struct ternmq_consumer_options){.pull_bytes = 2000});
    for (int i = 0; i < 20; i++) {
        reader.want = (uint64_t)i * 100 + 1;
        world_run(&world, reader_is_over, NULL);
        fake_server_drop_all(&world.server);
    }
    reader.want = 2000;
    world_run(&world, reader_is_over, NULL);
    ck_assert_uint_eq(reader.seen, 2000);
    world_pass(&world, 5000);
    read_on();
    ck_assert_uint_eq(reader.seen, 2000);
    ck_assert_uint_gt(world.server.accepted, 10);
}
END_TEST

START_TEST(broken_connections_at_any_moment_cost_no_message)
{
    world_init_options(&world, (uint64_t)_i + 100, 10000,
                       (struct ternmq_options){.nameservers = FAKE_ADDRESS});
    memset(&reader, 0, sizeof(reader));
    fill(3, 700);
    open_consumer((struct ternmq_consumer_options){.pull_bytes = 3000});
    reader.want = 2100;
    world_run(&world, reader_is_over, NULL);
    ck_assert_uint_eq(reader.seen, 2100);
    world_deinit(&world);
}
END_TEST

START_TEST(a_truncated_log_is_told_once_and_then_read_on)
{
    fill(1, 10);
    open_consumer((struct ternmq_consumer_options){.one_queue = true});
    reader.want = 10;
    world_run(&world, reader_is_over, NULL);
    /* The parked poll was answered as if it had timed out; the next one is refused. */
    world.server.refuse_method = "pull";
    world.server.refuse_times = 1;
    world.server.refuse_with = ERROR_TRUNCATED;
    world.server.refuse_detail = 7;
    reader.want = 0;
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_TRUNCATED);
    ck_assert_int_eq(error.resume, 7);
    ck_assert_int_eq(error.queue, 0);
    reader.code = TERNMQ_OK;
    reader.next[0] = 7;
    reader.seen = 0;
    reader.want = 3;
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_OK);
}
END_TEST

START_TEST(with_stop_at_gap_it_is_told_again_and_again)
{
    fill(1, 10);
    world.server.queues[0].first = 5;
    open_consumer((struct ternmq_consumer_options){
        .one_queue = true, .start = TERNMQ_START_OFFSET, .stop_at_gap = true});
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_OFFSET_TOO_SMALL);
    ck_assert_int_eq(error.resume, 5);
    world_pass(&world, 1000);
    reader.code = TERNMQ_OK;
    read_on();
    ck_assert_int_eq(reader.code, TERNMQ_OFFSET_TOO_SMALL);
    ck_assert_uint_eq(reader.seen, 0);
}
END_TEST

START_TEST(a_topic_made_anew_is_told_and_read_from_its_first_message)
{
    fill(1, 10);
    open_consumer((struct ternmq_consumer_options){.one_queue = true});
    reader.want = 10;
    world_run(&world, reader_is_over, NULL);
    world.server.topic_id++;
    world_run(&world, reader_is_over, NULL);
    fake_server_drop_all(&world.server); /* so that the parked poll is sent again */
    reader.want = 0;
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_TOPIC_CHANGED);
    reader = (struct reader){.consumer = reader.consumer, .want = 10};
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_OK);
}
END_TEST

START_TEST(a_message_changed_on_its_way_is_told_and_left_out)
{
    fill(1, 10);
    world.server.corrupt_next = true;
    open_consumer((struct ternmq_consumer_options){.one_queue = true, .until_end = true});
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_CORRUPT);
    ck_assert_int_eq(error.offset, 0);
    reader.code = TERNMQ_OK;
    reader.next[0] = 1;
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_END);
    ck_assert_uint_eq(reader.seen, 9);
}
END_TEST

START_TEST(an_answer_from_another_place_is_asked_for_again)
{
    fill(1, 100);
    world.server.misplaces = 3;
    open_consumer((struct ternmq_consumer_options){
        .one_queue = true, .start = TERNMQ_START_OFFSET, .until_end = true, .pull_bytes = 1000});
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_END);
    ck_assert_uint_eq(reader.seen, 100);
    ck_assert_int_eq(world.why.code, TERNMQ_PROTOCOL);
}
END_TEST

START_TEST(a_hundred_queues_wait_on_more_connections_than_one)
{
    world.server.queue_count = 100;
    open_consumer((struct ternmq_consumer_options){.start = TERNMQ_START_LAST});
    world_pass(&world, 2000);
    read_on();
    ck_assert_uint_eq(world.server.parked, 100);
    ck_assert_uint_eq(world.server.accepted, 3); /* calls, and twice at most 60 polls */
}
END_TEST

START_TEST(who_does_not_consume_is_not_sent_more_than_the_prefetch)
{
    fill(4, 2000); /* about 75 bytes each: 150 KB a queue */
    open_consumer((struct ternmq_consumer_options){.prefetch_bytes = 30000, .pull_bytes = 10000});
    world_pass(&world, 10000);
    uint32_t pulls = world.server.pulls;
    ck_assert_uint_le(pulls, 3 + 4);
    reader.want = 8000;
    world_run(&world, reader_is_over, NULL);
    ck_assert_uint_eq(reader.seen, 8000);
}
END_TEST

START_TEST(a_queue_that_is_far_behind_is_asked_for_more_at_a_time)
{
    fill(1, 30000); /* 2.2 MB: eight pulls of the usual size and one that finds the end */
    open_consumer((struct ternmq_consumer_options){.one_queue = true, .until_end = true});
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_END);
    ck_assert_uint_eq(reader.seen, 30000);
    ck_assert_uint_le(world.server.pulls, 5); /* 256 K, 512 K, 1 M, and the rest */
}
END_TEST

START_TEST(closing_a_consumer_cancels_its_waiting_polls)
{
    struct ternmq_consumer *consumer =
        open_consumer((struct ternmq_consumer_options){.start = TERNMQ_START_LAST});
    world_pass(&world, 1000);
    ck_assert_uint_eq(world.server.parked, 4);
    ternmq_consumer_close(consumer);
    world_pass(&world, 1000);
    ck_assert_uint_eq(world.server.parked, 0);
    ck_assert_uint_eq(world.server.cancels, 4);
}
END_TEST

START_TEST(queues_that_are_added_are_read_from_their_first_message)
{
    fill(4, 1);
    open_consumer((struct ternmq_consumer_options){.start = TERNMQ_START_LAST});
    world_pass(&world, 1000);
    world.server.queue_count = 6;
    world_append(&world, 5, 0);
    reader.want = 1;
    world_run(&world, reader_is_over, NULL);
    ck_assert_uint_eq(reader.next[5], 1);
}
END_TEST

START_TEST(a_topic_that_is_not_there_is_the_last_word)
{
    world.server.refuse_method = "route.get";
    world.server.refuse_times = 1000;
    world.server.refuse_with = ERROR_TOPIC_NOT_FOUND;
    open_consumer((struct ternmq_consumer_options){.until_end = true});
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_TOPIC_NOT_FOUND);
    reader.code = TERNMQ_OK;
    read_on();
    ck_assert_int_eq(reader.code, TERNMQ_TOPIC_NOT_FOUND);
}
END_TEST

START_TEST(a_queue_that_is_not_there_is_an_error)
{
    open_consumer((struct ternmq_consumer_options){.one_queue = true, .queue = 9});
    world_run(&world, reader_is_over, NULL);
    ck_assert_int_eq(reader.code, TERNMQ_BAD_ARGUMENT);
    ck_assert_int_eq(error.queue, 9);
}
END_TEST

static uint32_t ready_calls;

static void on_ready(void *context)
{
    (void)context;
    ready_calls++;
    read_on();
}

START_TEST(whoever_lives_in_callbacks_is_told_when_to_consume)
{
    ready_calls = 0;
    fill(1, 100);
    open_consumer((struct ternmq_consumer_options){
        .one_queue = true, .until_end = true, .pull_bytes = 1000, .ready = on_ready});
    world_pass(&world, 1000);
    ck_assert_uint_eq(reader.seen, 100);
    ck_assert_int_eq(reader.code, TERNMQ_END);
    ck_assert_uint_gt(ready_calls, 1);
}
END_TEST

START_TEST(tag_keys_and_properties_come_as_they_were_given)
{
    struct ternmq_bytes keys[2] = {ternmq_text("k1"), ternmq_text("")};
    struct ternmq_property properties[2] = {{ternmq_text("a"), ternmq_text("1")},
                                            {ternmq_text("b"), ternmq_text("zwei")}};
    struct ternmq_message message = {.body = ternmq_bytes("\0\xff", 2),
                                     .tag = ternmq_text("blue"),
                                     .keys = keys,
                                     .key_count = 2,
                                     .properties = properties,
                                     .property_count = 2};
    struct ternmq_producer *producer = ternmq_producer_open(
        world.client,
        &(struct ternmq_producer_options){.topic = "t", .choose = TERNMQ_CHOOSE_QUEUE}, NULL);
    ck_assert_int_eq(ternmq_produce_async(producer, &message, NULL, NULL, NULL), TERNMQ_OK);
    world_pass(&world, 1000);
    struct ternmq_consumer *consumer =
        open_consumer((struct ternmq_consumer_options){.one_queue = true});
    world_pass(&world, 1000);
    struct ternmq_delivery delivery;
    size_t count;
    ck_assert_int_eq(ternmq_consume(consumer, 0, &delivery, 1, &count, NULL), TERNMQ_OK);
    ck_assert_uint_eq(delivery.body.length, 2);
    ck_assert_mem_eq(delivery.body.data, "\0\xff", 2);
    ck_assert_uint_eq(delivery.tag.length, 4);
    ck_assert_mem_eq(delivery.tag.data, "blue", 4);
    struct ternmq_bytes bytes;
    ck_assert(ternmq_delivery_key(&delivery, 0, &bytes));
    ck_assert_mem_eq(bytes.data, "k1", 2);
    ck_assert(ternmq_delivery_key(&delivery, 1, &bytes));
    ck_assert_uint_eq(bytes.length, 0);
    ck_assert(!ternmq_delivery_key(&delivery, 2, &bytes));
    ck_assert(ternmq_delivery_property(&delivery, "b", &bytes));
    ck_assert_uint_eq(bytes.length, 4);
    ck_assert_mem_eq(bytes.data, "zwei", 4);
    ck_assert(!ternmq_delivery_property(&delivery, "c", &bytes));
    ck_assert_uint_ge(delivery.born_at_ms, 1700000000000);
}
END_TEST

static Suite *consume_suite(void)
{
    Suite *suite = suite_create("client consume");
    TCase *tests = tcase_create("consume");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, all_queues_are_read_in_order_up_to_their_end_as_of_the_start);
    tcase_add_test(tests, an_empty_topic_is_at_its_end_at_once);
    tcase_add_test(tests, what_comes_after_the_start_is_not_given_until_the_end);
    tcase_add_test(tests, a_consumer_waits_for_what_comes);
    tcase_add_test(tests, it_starts_where_it_was_told);
    tcase_add_test(tests, a_lost_connection_costs_no_message_and_gives_none_twice);
    tcase_add_test(tests, a_truncated_log_is_told_once_and_then_read_on);
    tcase_add_test(tests, with_stop_at_gap_it_is_told_again_and_again);
    tcase_add_test(tests, a_topic_made_anew_is_told_and_read_from_its_first_message);
    tcase_add_test(tests, a_message_changed_on_its_way_is_told_and_left_out);
    tcase_add_test(tests, an_answer_from_another_place_is_asked_for_again);
    tcase_add_test(tests, a_hundred_queues_wait_on_more_connections_than_one);
    tcase_add_test(tests, who_does_not_consume_is_not_sent_more_than_the_prefetch);
    tcase_add_test(tests, a_queue_that_is_far_behind_is_asked_for_more_at_a_time);
    tcase_add_test(tests, closing_a_consumer_cancels_its_waiting_polls);
    tcase_add_test(tests, queues_that_are_added_are_read_from_their_first_message);
    tcase_add_test(tests, a_topic_that_is_not_there_is_the_last_word);
    tcase_add_test(tests, a_queue_that_is_not_there_is_an_error);
    tcase_add_test(tests, whoever_lives_in_callbacks_is_told_when_to_consume);
    tcase_add_test(tests, tag_keys_and_properties_come_as_they_were_given);
    suite_add_tcase(suite, tests);
    TCase *broken = tcase_create("broken");
    tcase_add_loop_test(broken, broken_connections_at_any_moment_cost_no_message, 0, 30);
    suite_add_tcase(suite, broken);
    return suite;
}

TEST_MAIN(consume_suite)
