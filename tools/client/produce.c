/* SPDX-License-Identifier: Apache-2.0 */
/*
 * produce.c - takes messages into a producer's window: which queue they go to, and whether the caller
 * waits.
 */
#include "proto/base/contract.h"
#include "proto/base/crc32c.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "tools/client/batch.h"
#include "tools/client/client.h"
#include "tools/client/fault.h"
#include "tools/client/producer.h"

/* -------------------------------------------------------------------------- which queue */

static void route_ready(struct route_waiter *waiter, const struct ternmq_error *error)
{
    struct ternmq_producer *producer = CONTAINER_OF(waiter, struct ternmq_producer, route_waiter);
    producer->route_asked = false;
    if (error != NULL) {
        producer->route_error = *error;
    }
}

/* Whether it is known how many queues the topic has, and was not proved wrong since. */
static bool queues_are_known(const struct ternmq_producer *producer)
{
    return producer->route->queue_count > 0 && !producer->route->recount;
}

/* How many queues the topic has; while that is not known FULL, or why it cannot be known. */
static int know_queues(struct ternmq_producer *producer, struct ternmq_error *error_out)
{
    if (queues_are_known(producer)) {
        return TERNMQ_OK;
    }
    if (producer->route_error.code != TERNMQ_OK) {
        struct ternmq_error error = producer->route_error;
        producer->route_error.code = TERNMQ_OK;
        if (!fault_can_retry(&error)) {
            return fault_give(&error, error_out);
        }
    }
    if (!producer->route_asked) {
        producer->route_asked = true;
        producer->route_waiter.ready = route_ready;
        client_route_wait(producer->route, &producer->route_waiter);
    }
    return fault_set(error_out, TERNMQ_FULL, TERNMQ_STORED_NO, "where topic %s is is not known yet",
                     producer->topic);
}

/* The queue of `count` messages, which must be one. */
static int choose_queue(struct ternmq_producer *producer, const struct ternmq_message *messages,
                        size_t count, uint32_t *queue_out, struct ternmq_error *error_out)
{
    if (producer->choose != TERNMQ_CHOOSE_BY_KEY) {
        *queue_out = producer->choose == TERNMQ_CHOOSE_QUEUE ? producer->queue : BATCH_QUEUE_ANY;
        return TERNMQ_OK;
    }
    int code = know_queues(producer, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    uint32_t queue = 0;
    for (size_t i = 0; i < count; i++) {
        if (messages[i].key_count == 0) {
            return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                             "a message without a key cannot be produced by key");
        }
        uint32_t hash = crc32c(messages[i].keys[0].data, messages[i].keys[0].length);
        uint32_t one = message_key_queue(hash, producer->route->queue_count);
        if (i > 0 && one != queue) {
            return fault_set(error_out, TERNMQ_MIXED_QUEUES, TERNMQ_STORED_NO,
                             "the keys of one call belong to queues %u and %u", queue, one);
        }
        queue = one;
    }
    *queue_out = queue;
    return TERNMQ_OK;
}

/* -------------------------------------------------------------------------- taking messages */

static bool window_has_room(const struct ternmq_producer *producer, size_t messages, size_t bytes)
{
    if (producer->messages == 0) {
        return true; /* one that is larger than the window goes alone */
    }
    return producer->messages + messages <= producer->window_messages &&
           producer->bytes + bytes <= producer->window_bytes;
}

static int refuse_full(struct ternmq_error *error_out)
{
    return fault_set(error_out, TERNMQ_FULL, TERNMQ_STORED_NO,
                     "the producer's window is full: ternmq_poll() and try again");
}

static int refuse_memory(struct ternmq_error *error_out)
{
    return fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a message");
}

static int refuse_closed(struct ternmq_error *error_out)
{
    return fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO, "the producer is being closed");
}

/* The open batch for `queue` that has room for `bytes` more, or NULL: no memory. */
static struct batch *open_batch(struct ternmq_producer *producer, uint32_t queue, size_t bytes)
{
    uint32_t index = producer->choose == TERNMQ_CHOOSE_BY_KEY ? queue : 0;
    struct batch *batch = producer->open[index];
    if (batch != NULL && batch->length + bytes > producer->batch_bytes) {
        producer_close_batch(producer, batch);
        producer_pump(producer);
        batch = NULL;
    }
    if (batch == NULL) {
        batch = producer_take_batch(producer, queue);
        if (batch != NULL) {
            producer->open[index] = batch;
            list_append(&producer->open_batches, &batch->link);
        }
    }
    return batch;
}

/* Something was added to an open batch: sent now, or when it has lingered. */
static void batch_added(struct ternmq_producer *producer, struct batch *batch)
{
    if (batch->count >= producer->batch_messages || batch->length >= producer->batch_bytes) {
        producer_close_batch(producer, batch);
        producer_pump(producer);
    } else if (!producer->due && !producer->linger.started) {
        struct reactor *reactor = producer->client->reactor;
        timer_start(reactor, &producer->linger,
                    reactor_now_ns(reactor) + (uint64_t)producer->linger_ms * 1000000U);
    }
}

TERNMQ_API int ternmq_produce_async(struct ternmq_producer *producer,
                                    const struct ternmq_message *message, ternmq_produced_fn *done,
                                    void *context, struct ternmq_error *error_out)
{
    if (producer->closing) {
        return refuse_closed(error_out);
    }
    client_enter(producer->client);
    uint32_t queue = 0;
    int code = choose_queue(producer, message, 1, &queue, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct ternmq_error error;
    size_t bytes = message_measure(message, &error);
    if (bytes == 0) {
        return fault_give(&error, error_out);
    }
    if (!window_has_room(producer, 1, bytes)) {
        return refuse_full(error_out);
    }
    struct batch *batch = open_batch(producer, queue, bytes);
    if (batch == NULL || !batch_add(batch, message, bytes)) {
        return refuse_memory(error_out);
    }
    if (!batch_add_waiter(batch, done, context)) {
        batch->count--;
        batch->length -= bytes;
        return refuse_memory(error_out);
    }
    producer_window_add(producer, 1, bytes);
    batch_added(producer, batch);
    return TERNMQ_OK;
}

/* A batch of its own of all messages, in the window and in no list yet. */
static int make_batch(struct ternmq_producer *producer, const struct ternmq_message *messages,
                      size_t count, struct batch **batch_out, struct ternmq_error *error_out)
{
    if (count == 0 || count > MESSAGES_PER_CALL_MAX) {
        return fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO, "1 to %d messages a call",
                         MESSAGES_PER_CALL_MAX);
    }
    uint32_t queue = 0;
    int code = choose_queue(producer, messages, count, &queue, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct batch *batch = producer_take_batch(producer, queue);
    if (batch == NULL) {
        return refuse_memory(error_out);
    }
    batch->whole = true;
    struct ternmq_error error = {.code = TERNMQ_OK};
    for (size_t i = 0; i < count && error.code == TERNMQ_OK; i++) {
        size_t bytes = message_measure(&messages[i], &error);
        if (bytes == 0) {
            break;
        }
        if (batch->count > 0 && batch->length + bytes > (size_t)BATCH_BYTES_MAX) {
            fault_set(&error, TERNMQ_TOO_LARGE, TERNMQ_STORED_NO,
                      "the messages of one call: at most %d bytes together", BATCH_BYTES_MAX);
        } else if (!batch_add(batch, &messages[i], bytes)) {
            refuse_memory(&error);
        }
    }
    if (error.code == TERNMQ_OK && !window_has_room(producer, batch->count, batch->length)) {
        refuse_full(&error);
    }
    if (error.code != TERNMQ_OK) {
        producer_give_batch(producer, batch);
        return fault_give(&error, error_out);
    }
    producer_window_add(producer, batch->count, batch->length);
    *batch_out = batch;
    return TERNMQ_OK;
}

TERNMQ_API int ternmq_produce_batch_async(struct ternmq_producer *producer,
                                          const struct ternmq_message *messages, size_t count,
                                          ternmq_produced_fn *done, void *context,
                                          struct ternmq_error *error_out)
{
    if (producer->closing) {
        return refuse_closed(error_out);
    }
    client_enter(producer->client);
    struct batch *batch;
    int code = make_batch(producer, messages, count, &batch, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    batch->all = (struct batch_waiter){.done = done, .context = context};
    producer_close_all(producer);
    list_append(&producer->ready, &batch->link);
    producer_pump(producer);
    return TERNMQ_OK;
}

TERNMQ_API int ternmq_produce_oneway(struct ternmq_producer *producer,
                                     const struct ternmq_message *messages, size_t count,
                                     struct ternmq_error *error_out)
{
    if (producer->closing) {
        return refuse_closed(error_out);
    }
    client_enter(producer->client);
    struct batch *batch;
    int code = make_batch(producer, messages, count, &batch, error_out);
    if (code == TERNMQ_OK) {
        producer_send_batch(producer, batch, true);
    }
    return code;
}

/* -------------------------------------------------------------------------- blocking */

struct produce_wait {
    struct ternmq_producer *producer;
    bool ended;
    struct ternmq_produced produced;
    struct ternmq_error error; /* code 0: stored */
};

static void produce_waited(void *context, const struct ternmq_produced *produced,
                           const struct ternmq_error *error)
{
    struct produce_wait *wait = context;
    wait->ended = true;
    wait->error.code = TERNMQ_OK;
    if (error != NULL) {
        wait->error = *error;
    } else {
        wait->produced = *produced;
    }
}

static bool produce_is_over(void *context)
{
    const struct produce_wait *wait = context;
    return wait->ended;
}

static bool window_is_lower(void *context)
{
    const struct produce_wait *wait = context;
    return wait->producer->messages == 0;
}

static int refuse_interrupted(struct ternmq_error *error_out, enum ternmq_stored stored)
{
    return fault_set(error_out, TERNMQ_INTERRUPTED, stored, "interrupted");
}

/* Takes a batch, waiting for what must be waited for. */
static int make_batch_waiting(struct ternmq_producer *producer,
                              const struct ternmq_message *messages, size_t count,
                              struct batch **batch_out, struct ternmq_error *error_out)
{
    struct produce_wait wait = {.producer = producer};
    if (producer->choose == TERNMQ_CHOOSE_BY_KEY && !queues_are_known(producer)) {
        int code = client_route_await(producer->client, producer->route, error_out);
        if (code != TERNMQ_OK) {
            return code;
        }
    }
    for (;;) {
        int code = make_batch(producer, messages, count, batch_out, error_out);
        if (code != TERNMQ_FULL) {
            return code;
        }
        producer->due = true;
        producer_pump(producer);
        if (client_run_until(producer->client, -1, window_is_lower, &wait) != TERNMQ_OK) {
            return refuse_interrupted(error_out, TERNMQ_STORED_NO);
        }
    }
}

TERNMQ_API int ternmq_produce(struct ternmq_producer *producer,
                              const struct ternmq_message *messages, size_t count,
                              struct ternmq_produced *produced_out, struct ternmq_error *error_out)
{
    struct ternmq *client = producer->client;
    if (client_must_not_block(client, error_out)) {
        return TERNMQ_USAGE;
    }
    client_enter(client);
    struct batch *batch;
    int code = make_batch_waiting(producer, messages, count, &batch, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct produce_wait wait = {.producer = producer};
    batch->all = (struct batch_waiter){.done = produce_waited, .context = &wait};
    producer_close_all(producer);
    list_append(&producer->ready, &batch->link);
    producer_pump(producer);
    if (client_run_until(client, -1, produce_is_over, &wait) != TERNMQ_OK) {
        batch->all.done = NULL; /* it goes on, and nobody listens */
        return refuse_interrupted(error_out, TERNMQ_STORED_MAYBE);
    }
    if (wait.error.code != TERNMQ_OK) {
        return fault_give(&wait.error, error_out);
    }
    if (produced_out != NULL) {
        *produced_out = wait.produced;
    }
    return TERNMQ_OK;
}

TERNMQ_API int ternmq_flush(struct ternmq_producer *producer, int64_t wait_ms)
{
    struct ternmq *client = producer->client;
    if (client_must_not_block(client, NULL)) {
        return TERNMQ_USAGE;
    }
    client_enter(client);
    struct produce_wait wait = {.producer = producer};
    producer->due = true;
    producer_pump(producer);
    return client_run_until(client, wait_ms, window_is_lower, &wait);
}

TERNMQ_API void ternmq_producer_in_flight(const struct ternmq_producer *producer,
                                          size_t *messages_out, size_t *bytes_out)
{
    if (messages_out != NULL) {
        *messages_out = producer->messages;
    }
    if (bytes_out != NULL) {
        *bytes_out = producer->bytes;
    }
}
