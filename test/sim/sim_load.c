/* SPDX-License-Identifier: Apache-2.0 */
/* sim_load.c - producers, consumers, the judge. */
#include "test/sim/sim_load.h"

#include "net/simulation.h"
#include "proto/writer.h"
#include "test/sim/sim_cluster.h"
#include "tools/client/attach.h"
#include "tools/client/ternmq.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PRODUCE_EVERY_NS_MOST = 50000000,
    CONSUME_EVERY_MS = 10,
    KEYS = 7,
    BODY_BYTES_MAX = 600, /* so that small segments roll */
    DELIVERIES = 64,
    SETTLE_MS = 120000
};

static uint64_t soon_ns(struct reactor *reactor, uint64_t ms)
{
    return reactor_now_ns(reactor) + ms * 1000000;
}

/* -------------------------------------------------------------- producing */

static void on_put(void *context, const struct ternmq_answer *answer,
                   const struct ternmq_error *error)
{
    (void)error;
    struct load_topic *topic = context;
    topic->put_pending = false;
    topic->made = answer != NULL;
}

/* Asks the topic's broker to make it; again until it was done. */
static void put_topic(struct load_topic *topic)
{
    uint8_t room[128];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 3);
    writer_put_key_string(&writer, "name", topic->name);
    writer_put_key_uint(&writer, "queues", LOAD_QUEUES);
    writer_put_string(&writer, "settings");
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "route", topic->by_key ? "key" : "any");
    struct ternmq_call call = {
        .to = TERNMQ_TO_BROKER,
        .to_name = topic->broker,
        .method = "topic.put",
        .arguments = ternmq_bytes(room, writer_length(&writer)),
        .timeout_ms = 5000,
    };
    topic->put_pending =
        ternmq_call_async(topic->producer_client, &call, on_put, topic, NULL) == TERNMQ_OK;
}

static void on_produced(void *context, const struct ternmq_produced *produced,
                        const struct ternmq_error *error)
{
    struct sent_message *message = context;
    struct load_topic *topic = message->topic;
    struct load *load = topic->load;
    ck_assert_int_eq(message->fate, FATE_PENDING);
    topic->pending--;
    if (error == NULL) {
        message->fate = FATE_STORED;
        message->queue = produced->queue;
        message->offset = produced->offset;
        message->epoch = produced->epoch;
        load->acknowledged++;
        simulation_note(load->simulation, (uint64_t)message->number << 32 | produced->offset);
        return;
    }
    bool refused = error->stored == TERNMQ_STORED_NO;
    message->fate = refused ? FATE_REFUSED : FATE_UNKNOWN;
    load->refused += refused;
    load->unknown += !refused;
    simulation_note(load->simulation, (uint64_t)message->number << 32 | (uint32_t)error->code);
}

/* The body of a number: "number ", then as many bytes as the number says. */
static size_t write_body(char *body, uint32_t number)
{
    int length = snprintf(body, BODY_BYTES_MAX, "%u ", number);
    size_t bytes = (size_t)length + (number * 7919U) % (BODY_BYTES_MAX - 32);
    memset(body + length, 'a' + (int)(number % 26), bytes - (size_t)length);
    return bytes;
}

/* Sends the next message. False: not now. */
static bool produce_one(struct load_topic *topic)
{
    char body[BODY_BYTES_MAX];
    char key_text[16];
    struct sent_message *sent = &topic->messages[topic->sent];
    size_t body_bytes = write_body(body, topic->sent);
    (void)snprintf(key_text, sizeof(key_text), "key-%u", topic->sent % KEYS);
    struct ternmq_bytes key = ternmq_text(key_text);
    struct ternmq_message message = {
        .body = ternmq_bytes(body, body_bytes), .keys = &key, .key_count = 1};
    sent->topic = topic;
    sent->number = topic->sent;
    sent->fate = FATE_PENDING;
    struct ternmq_error error;
    int code = ternmq_produce_async(topic->producer, &message, on_produced, sent, &error);
    if (code != TERNMQ_OK) {
        /* With BY_KEY also what looking for the topic gave. Not taken: sent again later. */
        ck_assert_int_ne(code, TERNMQ_USAGE);
        sent->fate = FATE_UNSENT;
        return false;
    }
    topic->sent++;
    topic->pending++;
    return true;
}

static void produce_tick(struct timer *timer)
{
    struct load_topic *topic = CONTAINER_OF(timer, struct load_topic, produce_timer);
    struct reactor *reactor = topic->producer_reactor;
    timer_start(reactor, timer,
                reactor_now_ns(reactor) + reactor_random(reactor) % PRODUCE_EVERY_NS_MOST);
    if (!topic->made) {
        if (!topic->put_pending) {
            put_topic(topic);
        }
        return;
    }
    uint64_t burst = 1 + reactor_random(topic->producer_reactor) % 4;
    while (burst-- > 0 && topic->sent < LOAD_MESSAGES && produce_one(topic)) {
    }
}

/* -------------------------------------------------------------- consuming */

/* Notes what is at an offset; whoever looks there again must see the same. */
static void note_seen(struct load_topic *topic, uint32_t queue, uint64_t offset, uint32_t number)
{
    struct seen_queue *seen = &topic->seen[queue];
    if (offset >= seen->capacity) {
        uint64_t capacity = (offset + 1) * 2;
        seen->numbers = realloc(seen->numbers, capacity * sizeof(*seen->numbers));
        ck_assert_ptr_nonnull(seen->numbers);
        memset(seen->numbers + seen->capacity, 0,
               (capacity - seen->capacity) * sizeof(*seen->numbers));
        seen->capacity = capacity;
    }
    ck_assert_msg(seen->numbers[offset] == 0 || seen->numbers[offset] == number + 1,
                  "%s queue %u offset %llu: message %u, where %u was seen before", topic->name,
                  queue, (unsigned long long)offset, number, seen->numbers[offset] - 1);
    seen->numbers[offset] = number + 1;
}

static void check_delivery(struct load_consumer *consumer, const struct ternmq_delivery *delivery)
{
    struct load_topic *topic = consumer->topic;
    char expected[BODY_BYTES_MAX];
    char digits[16] = "";
    ck_assert_uint_lt(delivery->queue, LOAD_QUEUES);
    ck_assert_uint_gt(delivery->body.length, 1);
    memcpy(digits, delivery->body.data, delivery->body.length < 15 ? delivery->body.length : 15);
    uint32_t number = (uint32_t)strtoul(digits, NULL, 10);
    ck_assert_msg(number < topic->sent, "%s: message %u was never sent", topic->name, number);
    ck_assert_uint_eq(delivery->body.length, write_body(expected, number));
    ck_assert_mem_eq(delivery->body.data, expected, delivery->body.length);
    uint64_t *next = &consumer->next[delivery->queue];
    ck_assert_msg(*next == UINT64_MAX || *next == delivery->offset,
                  "%s queue %u: offset %llu where %llu comes next", topic->name, delivery->queue,
                  (unsigned long long)delivery->offset, (unsigned long long)*next);
    *next = delivery->offset + 1;
    const struct sent_message *message = &topic->messages[number];
    ck_assert_msg(message->fate != FATE_STORED || message->epoch == delivery->epoch,
                  "%s: message %u was acknowledged in epoch %u and is of %u", topic->name, number,
                  message->epoch, delivery->epoch);
    ck_assert_uint_ge(delivery->epoch, consumer->epoch[delivery->queue]);
    consumer->epoch[delivery->queue] = delivery->epoch;
    consumer->deliveries++;
    note_seen(topic, delivery->queue, delivery->offset, number);
}

static void open_consumer(struct load_topic *topic, struct load_consumer *consumer, bool until_end)
{
    struct ternmq_error error;
    const struct ternmq_consumer_options options = {
        .topic = topic->name, .start = TERNMQ_START_FIRST, .until_end = until_end};
    consumer->topic = topic;
    consumer->ended = false;
    for (uint32_t queue = 0; queue < LOAD_QUEUES; queue++) {
        consumer->next[queue] = UINT64_MAX;
        consumer->epoch[queue] = 0;
    }
    consumer->consumer = ternmq_consumer_open(topic->consumer_client, &options, &error);
    ck_assert_msg(consumer->consumer != NULL, "%s", error.message);
}

/* Takes what is there. A consumer that came to an end of its own is closed. */
static void consume_on(struct load_consumer *consumer)
{
    struct ternmq_delivery deliveries[DELIVERIES];
    struct ternmq_error error;
    size_t count;
    int code;
    while ((code = ternmq_consume(consumer->consumer, 0, deliveries, DELIVERIES, &count, &error)) ==
           TERNMQ_OK) {
        for (size_t i = 0; i < count; i++) {
            check_delivery(consumer, &deliveries[i]);
        }
    }
    /* Who could not be reached for long is said once, and tried on. */
    bool tries_on = code == TERNMQ_TIMED_OUT || code == TERNMQ_LOST ||
                    (code != TERNMQ_NOTHING && code != TERNMQ_END && error.retryable);
    if (code == TERNMQ_NOTHING || tries_on) {
        return;
    }
    /* Nothing is ever lost or damaged here: a gap is a broken promise. */
    ck_assert_msg(code == TERNMQ_END || code == TERNMQ_TOPIC_NOT_FOUND, "%s: %s: %s",
                  consumer->topic->name, ternmq_code_name(code), error.message);
    ternmq_consumer_close(consumer->consumer);
    consumer->consumer = NULL;
    consumer->ended = code == TERNMQ_END;
}

static void consume_tick(struct timer *timer)
{
    struct load_topic *topic = CONTAINER_OF(timer, struct load_topic, consume_timer);
    timer_start(topic->consumer_reactor, timer, soon_ns(topic->consumer_reactor, CONSUME_EVERY_MS));
    if (!topic->made) {
        return;
    }
    if (topic->reader.consumer == NULL) {
        open_consumer(topic, &topic->reader, false);
    }
    consume_on(&topic->reader);
    if (topic->load->judging && !topic->judge.ended) {
        if (topic->judge.consumer == NULL) {
            open_consumer(topic, &topic->judge, true);
        }
        consume_on(&topic->judge);
    }
}

/* ------------------------------------------------------------------- life */

static void start_topic(struct load *load, uint32_t number)
{
    struct load_topic *topic = &load->topics[number];
    char name[16];
    struct ternmq_error error;
    const struct ternmq_options options = {.nameservers = SIM_NAMESERVER_LIST, .timeout_ms = 15000};
    topic->load = load;
    topic->by_key = number == 1;
    (void)snprintf(topic->name, sizeof(topic->name), "topic-%u", number);
    (void)snprintf(topic->broker, sizeof(topic->broker), "broker-%u", number);
    (void)snprintf(name, sizeof(name), "producer-%u", number);
    topic->producer_reactor = reactor_create_simulated(load->simulation, name);
    (void)snprintf(name, sizeof(name), "consumer-%u", number);
    topic->consumer_reactor = reactor_create_simulated(load->simulation, name);
    topic->producer_client = client_attach(topic->producer_reactor, &options, &error);
    topic->consumer_client = client_attach(topic->consumer_reactor, &options, &error);
    ck_assert(topic->producer_client != NULL && topic->consumer_client != NULL);
    topic->producer =
        ternmq_producer_open(topic->producer_client,
                             &(struct ternmq_producer_options){
                                 .topic = topic->name,
                                 .choose = topic->by_key ? TERNMQ_CHOOSE_BY_KEY : TERNMQ_CHOOSE_ANY,
                                 .window_calls = 1,
                                 .batch_messages = 8,
                                 .timeout_ms = 10000,
                             },
                             &error);
    ck_assert_msg(topic->producer != NULL, "%s", error.message);
    topic->produce_timer.fired = produce_tick;
    topic->consume_timer.fired = consume_tick;
    timer_start(topic->producer_reactor, &topic->produce_timer,
                soon_ns(topic->producer_reactor, 1));
    timer_start(topic->consumer_reactor, &topic->consume_timer,
                soon_ns(topic->consumer_reactor, 1));
}

void load_start(struct load *load, struct simulation *simulation)
{
    memset(load, 0, sizeof(*load));
    load->simulation = simulation;
    for (uint32_t i = 0; i < LOAD_TOPICS; i++) {
        start_topic(load, i);
    }
}

bool load_is_done(void *context)
{
    const struct load *load = context;
    for (uint32_t i = 0; i < LOAD_TOPICS; i++) {
        if (load->topics[i].sent < LOAD_MESSAGES || load->topics[i].pending > 0) {
            return false;
        }
    }
    return true;
}

static bool judges_have_ended(void *context)
{
    const struct load *load = context;
    for (uint32_t i = 0; i < LOAD_TOPICS; i++) {
        if (!load->topics[i].judge.ended) {
            return false;
        }
    }
    return true;
}

/* One queue as the judge has read it: from offset 0 on, a number once, growing for each key or all. */
static void judge_queue(struct load_topic *topic, uint32_t queue)
{
    uint64_t end = topic->judge.next[queue] == UINT64_MAX ? 0 : topic->judge.next[queue];
    int64_t last = -1;
    for (uint64_t offset = 0; offset < end; offset++) {
        uint32_t number = topic->seen[queue].numbers[offset] - 1;
        ck_assert_uint_lt(number, LOAD_MESSAGES);
        struct sent_message *message = &topic->messages[number];
        ck_assert_msg(message->seen == 0, "%s: message %u is there twice", topic->name, number);
        message->seen++;
        ck_assert_msg(message->fate != FATE_REFUSED,
                      "%s: message %u is there, and was refused as not stored", topic->name,
                      number);
        ck_assert_msg((int64_t)number > last, "%s queue %u offset %llu: message %u after %lld",
                      topic->name, queue, (unsigned long long)offset, number, (long long)last);
        last = number;
    }
    for (uint64_t offset = end; offset < topic->seen[queue].capacity; offset++) {
        ck_assert_msg(topic->seen[queue].numbers[offset] == 0,
                      "%s queue %u offset %llu was seen, and is gone", topic->name, queue,
                      (unsigned long long)offset);
    }
}

static void judge_topic(struct load_topic *topic)
{
    for (uint32_t queue = 0; queue < LOAD_QUEUES; queue++) {
        judge_queue(topic, queue);
    }
    for (uint32_t number = 0; number < LOAD_MESSAGES; number++) {
        const struct sent_message *message = &topic->messages[number];
        if (message->fate != FATE_STORED) {
            continue;
        }
        ck_assert_msg(message->seen == 1, "%s: message %u was acknowledged and is lost",
                      topic->name, number);
        ck_assert_uint_eq(topic->seen[message->queue].numbers[message->offset], number + 1);
    }
}

void load_judge(struct load *load)
{
    load->judging = true;
    ck_assert(simulation_run(load->simulation, SETTLE_MS, judges_have_ended, load));
    for (uint32_t i = 0; i < LOAD_TOPICS; i++) {
        judge_topic(&load->topics[i]);
    }
}

static void note_detached(void *context)
{
    ((struct load_topic *)context)->detached++;
}

static bool all_are_detached(void *context)
{
    const struct load *load = context;
    for (uint32_t i = 0; i < LOAD_TOPICS; i++) {
        if (load->topics[i].detached < 2) {
            return false;
        }
    }
    return true;
}

void load_end(struct load *load)
{
    for (uint32_t i = 0; i < LOAD_TOPICS; i++) {
        struct load_topic *topic = &load->topics[i];
        timer_stop(topic->producer_reactor, &topic->produce_timer);
        timer_stop(topic->consumer_reactor, &topic->consume_timer);
        client_detach(topic->producer_client, note_detached, topic);
        client_detach(topic->consumer_client, note_detached, topic);
    }
    ck_assert(simulation_run(load->simulation, SETTLE_MS, all_are_detached, load));
    for (uint32_t i = 0; i < LOAD_TOPICS; i++) {
        struct load_topic *topic = &load->topics[i];
        reactor_destroy(topic->producer_reactor);
        reactor_destroy(topic->consumer_reactor);
        for (uint32_t queue = 0; queue < LOAD_QUEUES; queue++) {
            free(topic->seen[queue].numbers);
        }
    }
}
