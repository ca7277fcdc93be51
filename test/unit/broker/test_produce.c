/* SPDX-License-Identifier: Apache-2.0 */
/* test_produce.c - what a produce stores, refuses and answers, and in which order. */
#include "proto/base/crc32c.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/broker_world.h"

static struct world world;

/* Every test runs with one core, and with two of which the second client's has no shard. */
static struct client_simulated *begin(int index)
{
    return world_begin(&world, index, 2);
}

static void end(void)
{
    world_end(&world);
}

START_TEST(answers_queue_offset_count_epoch_and_reached)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_produce("t", 0, 2);
    writer_put_bin(&request, BYTES_OF("one"));
    writer_put_bin(&request, BYTES_OF("two"));
    struct answer answer = call(client, &request);
    ck_answered(answer);
    ck_assert_uint_eq(number_of(answer.result, "queue"), 0);
    ck_assert_uint_eq(number_of(answer.result, "offset"), 0);
    ck_assert_uint_eq(number_of(answer.result, "count"), 2);
    ck_assert_uint_eq(number_of(answer.result, "epoch"), 1);
    ck_assert(text_is(answer.result, "reached", "memory"));
    answer = produce(client, "t", "three");
    ck_assert_uint_eq(number_of(answer.result, "offset"), 2);
    end();
}
END_TEST

START_TEST(stores_the_element_as_it_was_sent)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_produce("t", 0, 1);
    size_t from = writer_length(&request);
    writer_put_array(&request, 4);
    writer_put_string(&request, "tag");
    writer_put_array(&request, 1);
    writer_put_string(&request, "key");
    writer_put_nil(&request);
    writer_put_bin(&request, BYTES_OF("body"));
    uint8_t element[64];
    size_t length = writer_length(&request) - from;
    memcpy(element, request.start + from, length);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    answer = pull(client, "t", 0);
    struct record_view record = record_of(&answer, 0);
    ck_assert(bytes_equal(record.message, bytes_make(element, length)));
    end();
}
END_TEST

START_TEST(a_body_sent_as_text_is_stored_as_bytes)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_produce("t", 0, 2);
    writer_put_str(&request, BYTES_OF("text"));
    writer_put_bin(&request, BYTES_OF("bytes"));
    struct answer answer = call(client, &request);
    ck_answered(answer);
    answer = pull(client, "t", 0);
    struct record_view record = record_of(&answer, 0);
    ck_assert(bytes_equal(record.message, BYTES_OF("\xc4\x04text")));
    record = record_of(&answer, 1);
    ck_assert(bytes_equal(record.message, BYTES_OF("\xc4\x05"
                                                   "bytes")));
    ck_assert_uint_eq(core_counter(client, "rewritten_messages"), 1);
    end();
}
END_TEST

START_TEST(takes_as_many_messages_as_a_call_may_have)
{
    struct client_simulated *client = begin(_i);
    static uint8_t frame[4 * MESSAGES_PER_CALL_MAX];
    struct writer request = writer_over(frame, sizeof(frame));
    request_begin(&request, ++request_msgid, "produce", 3);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 1);
    writer_put_string(&request, "messages");
    writer_put_array(&request, MESSAGES_PER_CALL_MAX);
    for (uint32_t i = 0; i < MESSAGES_PER_CALL_MAX; i++) {
        writer_put_bin(&request, BYTES_OF(""));
    }
    client_simulated_send(client, writer_bytes(&request));
    struct answer answer;
    ck_assert(client_simulated_take(client, 60000, &answer));
    ck_answered(answer);
    ck_assert_uint_eq(number_of(answer.result, "count"), MESSAGES_PER_CALL_MAX);
    end();
}
END_TEST

START_TEST(nothing_of_a_batch_is_stored_where_one_message_is_refused)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_produce("t", 0, 2);
    writer_put_bin(&request, BYTES_OF("good"));
    writer_put_uint(&request, 5);
    struct answer answer = call(client, &request);
    ck_refused(answer, "BAD_ARGUMENT");
    answer = pull(client, "t", 0);
    ck_assert_uint_eq(number_of(answer.result, "end"), 0);
    end();
}
END_TEST

static struct answer produce_with_crcs(struct client_simulated *client, uint32_t count,
                                       const uint32_t *crcs)
{
    struct writer request = ask_produce("t", 1, 2);
    writer_put_bin(&request, BYTES_OF("one"));
    writer_put_str(&request, BYTES_OF("two"));
    writer_put_string(&request, "crcs");
    writer_put_array(&request, count);
    for (uint32_t i = 0; i < count; i++) {
        writer_put_uint(&request, crcs[i]);
    }
    return call(client, &request);
}

START_TEST(checksums_are_compared_with_what_is_stored)
{
    struct client_simulated *client = begin(_i);
    const uint32_t right[] = {crc32c("\xc4\x03one", 5), crc32c("\xc4\x03two", 5)};
    const uint32_t wrong[] = {right[0], right[1] + 1};
    struct answer answer = produce_with_crcs(client, 2, wrong);
    ck_refused(answer, "CRC_MISMATCH");
    answer = produce_with_crcs(client, 1, right);
    ck_refused(answer, "BAD_ARGUMENT");
    answer = produce_with_crcs(client, 2, right);
    ck_answered(answer);
    ck_assert_uint_eq(number_of(answer.result, "offset"), 0);
    end();
}
END_TEST

static void put_keyed(struct writer *request, const char *key)
{
    writer_put_array(request, 4);
    writer_put_nil(request);
    writer_put_array(request, 1);
    writer_put_string(request, key);
    writer_put_nil(request);
    writer_put_bin(request, BYTES_OF("body"));
}

static uint64_t queue_of_key(const char *key)
{
    return crc32c(key, strlen(key)) % 7;
}

START_TEST(a_key_decides_the_queue)
{
    struct client_simulated *client = begin(_i);
    make_topic(client, "k", 7, "key", "memory");
    for (const char *const *key = (const char *const[]){"a", "b", "c", NULL}; *key != NULL; key++) {
        struct writer request = ask("produce", 2);
        writer_put_key_string(&request, "topic", "k");
        writer_put_string(&request, "messages");
        writer_put_array(&request, 1);
        put_keyed(&request, *key);
        struct answer answer = call(client, &request);
        ck_answered(answer);
        ck_assert_uint_eq(number_of(answer.result, "queue"), queue_of_key(*key));
    }
    end();
}
END_TEST

START_TEST(keys_of_several_queues_are_refused)
{
    struct client_simulated *client = begin(_i);
    make_topic(client, "k", 7, "key", "memory");
    ck_assert_uint_ne(queue_of_key("a"), queue_of_key("c"));
    struct writer request = ask("produce", 2);
    writer_put_key_string(&request, "topic", "k");
    writer_put_string(&request, "messages");
    writer_put_array(&request, 2);
    put_keyed(&request, "a");
    put_keyed(&request, "c");
    struct answer answer = call(client, &request);
    ck_refused(answer, "MIXED_QUEUES");
    struct cursor queues = value_of(answer.error, "queues");
    ck_assert(cursor_take_array_of(&queues, 2));

    request = ask("produce", 3);
    writer_put_key_string(&request, "topic", "k");
    writer_put_key_uint(&request, "queue", (queue_of_key("a") + 1) % 7);
    writer_put_string(&request, "messages");
    writer_put_array(&request, 1);
    put_keyed(&request, "a");
    answer = call(client, &request);
    ck_refused(answer, "MIXED_QUEUES");
    end();
}
END_TEST

START_TEST(what_is_not_there_is_refused)
{
    struct client_simulated *client = begin(_i);
    struct answer answer = produce(client, "nowhere", "x");
    ck_refused(answer, "TOPIC_NOT_FOUND");
    struct writer request = ask("produce", 3);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 2);
    writer_put_string(&request, "messages");
    writer_put_array(&request, 1);
    writer_put_bin(&request, BYTES_OF("x"));
    answer = call(client, &request);
    ck_refused(answer, "BAD_ARGUMENT");
    ck_assert(text_is(answer.error, "key", "queue"));
    end();
}
END_TEST

START_TEST(waits_for_the_disk_where_the_topic_or_the_call_wants_it)
{
    struct client_simulated *client = begin(_i);
    make_topic(client, "d", 1, "any", "disk");
    struct answer answer = produce(client, "d", "x");
    ck_answered(answer);
    ck_assert(text_is(answer.result, "reached", "disk"));

    struct writer request = ask_produce("d", 1, 1);
    writer_put_bin(&request, BYTES_OF("x"));
    writer_put_key_string(&request, "durability", "memory");
    answer = call(client, &request);
    ck_assert(text_is(answer.result, "reached", "disk"));

    request = ask_produce("t", 1, 1);
    writer_put_bin(&request, BYTES_OF("x"));
    writer_put_key_string(&request, "durability", "disk");
    answer = call(client, &request);
    ck_assert(text_is(answer.result, "reached", "disk"));
    end();
}
END_TEST

START_TEST(what_is_not_durable_in_time_is_stored_all_the_same)
{
    struct client_simulated *client = begin(_i);
    make_topic(client, "d", 1, "any", "disk");
    struct writer request = ask_produce("d", 1, 1);
    writer_put_bin(&request, BYTES_OF("x"));
    writer_put_key_uint(&request, "timeout_ms", 0);
    struct answer answer = call(client, &request);
    ck_refused(answer, "NOT_YET_DURABLE");
    ck_assert(text_is(answer.error, "stored", "yes"));
    ck_assert_uint_eq(number_of(answer.error, "queue"), 0);
    ck_assert_uint_eq(number_of(answer.error, "offset"), 0);
    answer = produce(client, "d", "y");
    ck_assert_uint_eq(number_of(answer.result, "offset"), 1);
    ck_assert_uint_eq(core_counter(client, "not_yet_durable"), 1);
    end();
}
END_TEST

START_TEST(one_queue_is_answered_in_order_whatever_each_call_waits_for)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_produce("t", 1, 1);
    writer_put_bin(&request, BYTES_OF("slow"));
    writer_put_key_string(&request, "durability", "disk");
    uint32_t slow = tell(client, &request);
    request = ask_produce("t", 0, 1);
    writer_put_bin(&request, BYTES_OF("fast"));
    uint32_t fast = tell(client, &request);
    request = ask_produce("t", 0, 1);
    writer_put_uint(&request, 17);
    uint32_t refused = tell(client, &request);
    request = ask("produce", 3);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 1);
    writer_put_string(&request, "messages");
    writer_put_array(&request, 1);
    writer_put_bin(&request, BYTES_OF("elsewhere"));
    uint32_t elsewhere = tell(client, &request);

    ck_assert_uint_eq(take(client).msgid, elsewhere);
    ck_assert_uint_eq(take(client).msgid, slow);
    ck_assert_uint_eq(take(client).msgid, fast);
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, refused);
    ck_refused(answer, "BAD_ARGUMENT");
    end();
}
END_TEST

START_TEST(a_long_pipeline_is_answered_in_order)
{
    enum { CALLS = 1000 };
    struct client_simulated *client = begin(_i);
    uint32_t first = request_msgid + 1;
    for (uint32_t i = 0; i < CALLS; i++) {
        struct writer request = ask_produce("t", 0, 1);
        writer_put_bin(&request, BYTES_OF("x"));
        (void)tell(client, &request);
    }
    for (uint32_t i = 0; i < CALLS; i++) {
        struct answer answer = take(client);
        ck_assert_uint_eq(answer.msgid, first + i);
        ck_assert_uint_eq(number_of(answer.result, "offset"), i);
    }
    end();
}
END_TEST

START_TEST(a_one_way_produce_stores_and_is_not_answered)
{
    struct client_simulated *client = begin(_i);
    struct writer request = writer_over(request_room, sizeof(request_room));
    one_way_begin(&request, "produce", 3);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 0);
    writer_put_string(&request, "messages");
    writer_put_array(&request, 1);
    writer_put_bin(&request, BYTES_OF("x"));
    client_simulated_send(client, writer_bytes(&request));
    struct answer answer = produce(client, "t", "y");
    ck_assert_uint_eq(number_of(answer.result, "offset"), 1);
    end();
}
END_TEST

START_TEST(a_deadline_that_has_passed_stores_nothing)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_produce("t", 1, 1);
    writer_put_bin(&request, BYTES_OF("x"));
    writer_put_key_uint(&request, "deadline_ms", 0);
    struct answer answer = call(client, &request);
    ck_refused(answer, "DEADLINE");
    ck_assert(text_is(answer.error, "stored", "no"));
    answer = produce(client, "t", "y");
    ck_assert_uint_eq(number_of(answer.result, "offset"), 0);
    end();
}
END_TEST

START_TEST(a_call_without_a_queue_takes_one_of_its_cores_own)
{
    struct client_simulated *client = begin(_i);
    uint64_t queue = UINT64_MAX;
    for (uint32_t i = 0; i < 10; i++) {
        struct writer request = ask("produce", 2);
        writer_put_key_string(&request, "topic", "t");
        writer_put_string(&request, "messages");
        writer_put_array(&request, 1);
        writer_put_bin(&request, BYTES_OF("x"));
        struct answer answer = call(client, &request);
        ck_answered(answer);
        queue = number_of(answer.result, "queue");
        ck_assert_uint_lt(queue, 2);
    }
    end();
}
END_TEST

START_TEST(the_time_of_birth_is_the_producers)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_produce("t", 1, 1);
    writer_put_bin(&request, BYTES_OF("x"));
    writer_put_key_uint(&request, "born", 12345);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    answer = produce(client, "t", "y");
    answer = pull(client, "t", 0);
    struct record_view record = record_of(&answer, 0);
    ck_assert_uint_eq(record.fields.born_at_ms, 12345);
    ck_assert_uint_ge(record.fields.stored_at_ms, UINT64_C(1700000000000));
    record = record_of(&answer, 1);
    ck_assert_uint_eq(record.fields.born_at_ms, record.fields.stored_at_ms);
    end();
}
END_TEST

static Suite *produce_suite(void)
{
    Suite *suite = suite_create("produce");
    TCase *tests = tcase_create("produce");
    tcase_add_loop_test(tests, answers_queue_offset_count_epoch_and_reached, 0, 2);
    tcase_add_loop_test(tests, stores_the_element_as_it_was_sent, 0, 2);
    tcase_add_loop_test(tests, a_body_sent_as_text_is_stored_as_bytes, 0, 2);
    tcase_add_loop_test(tests, takes_as_many_messages_as_a_call_may_have, 0, 2);
    tcase_add_loop_test(tests, nothing_of_a_batch_is_stored_where_one_message_is_refused, 0, 2);
    tcase_add_loop_test(tests, checksums_are_compared_with_what_is_stored, 0, 2);
    tcase_add_loop_test(tests, a_key_decides_the_queue, 0, 2);
    tcase_add_loop_test(tests, keys_of_several_queues_are_refused, 0, 2);
    tcase_add_loop_test(tests, what_is_not_there_is_refused, 0, 2);
    tcase_add_loop_test(tests, waits_for_the_disk_where_the_topic_or_the_call_wants_it, 0, 2);
    tcase_add_loop_test(tests, what_is_not_durable_in_time_is_stored_all_the_same, 0, 2);
    tcase_add_loop_test(tests, one_queue_is_answered_in_order_whatever_each_call_waits_for, 0, 2);
    tcase_add_loop_test(tests, a_long_pipeline_is_answered_in_order, 0, 2);
    tcase_add_loop_test(tests, a_one_way_produce_stores_and_is_not_answered, 0, 2);
    tcase_add_loop_test(tests, a_deadline_that_has_passed_stores_nothing, 0, 2);
    tcase_add_loop_test(tests, a_call_without_a_queue_takes_one_of_its_cores_own, 0, 2);
    tcase_add_loop_test(tests, the_time_of_birth_is_the_producers, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(produce_suite)
