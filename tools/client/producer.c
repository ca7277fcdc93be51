/* SPDX-License-Identifier: Apache-2.0 */
/*
 * producer.c - the window of a producer: what is taken, in which order it goes, how it ends.
 */
#include "tools/client/producer.h"

#include "proto/base/contract.h"
#include "proto/base/crc32c.h"
#include "proto/message.h"
#include "proto/names.h"
#include "tools/client/batch.h"
#include "tools/client/client.h"
#include "tools/client/client_call.h"
#include "tools/client/fault.h"

#include <stdio.h>
#include <stdlib.h>

static void producer_pump(struct ternmq_producer *producer);

/* -------------------------------------------------------------------------- batches */

static struct batch *batch_take(struct ternmq_producer *producer, uint32_t queue)
{
    struct list *link = list_take_first(&producer->spare);
    struct batch *batch;
    if (link != NULL) {
        batch = CONTAINER_OF(link, struct batch, link);
        producer->spare_count--;
    } else {
        batch = batch_create();
        if (batch == NULL) {
            return NULL;
        }
    }
    batch->producer = producer;
    batch->queue = queue;
    batch->born_ms = reactor_wall_ms(producer->client->reactor);
    return batch;
}

/* The producer's reference is over; the memory is kept for the next if nothing else uses it. */
static void batch_give(struct ternmq_producer *producer, struct batch *batch)
{
    list_remove(&batch->link);
    if (!producer->closing && batch->references == 1 && producer->spare_count < SPARE_MAX &&
        batch->capacity <= SPARE_BYTES_MAX) {
        batch_clear(batch);
        list_prepend(&producer->spare, &batch->link);
        producer->spare_count++;
        return;
    }
    batch->producer = NULL;
    batch_unref(batch);
}

static void tell_one(struct batch_waiter waiter, const struct ternmq_produced *produced,
                     const struct ternmq_error *error)
{
    if (waiter.done != NULL) {
        waiter.done(waiter.context, produced, error);
    }
}

/* Tells everybody who waits for a batch; it is out of the window already. */
static void batch_tell(struct batch *batch, const struct ternmq_produced *produced,
                       const struct ternmq_error *error)
{
    struct ternmq *client = batch->producer->client;
    client_callback_begin(client);
    if (batch->whole) {
        tell_one(batch->all, produced, error);
    } else if (batch->heard) {
        struct ternmq_produced one = {.count = 1};
        if (produced != NULL) {
            one = *produced;
            one.count = 1;
        }
        for (uint32_t i = 0; i < batch->count; i++) {
            tell_one(batch->waiters[i], produced == NULL ? NULL : &one, error);
            one.offset++;
        }
    }
    client_callback_end(client);
}

static void window_add(struct ternmq_producer *producer, size_t messages, size_t bytes)
{
    producer->messages += messages;
    producer->bytes += bytes;
}

static void window_remove(struct ternmq_producer *producer, size_t messages, size_t bytes)
{
    ASSERT(producer->messages >= messages && producer->bytes >= bytes);
    producer->messages -= messages;
    producer->bytes -= bytes;
}

static void batch_end(struct batch *batch, const struct ternmq_produced *produced,
                      const struct ternmq_error *error)
{
    struct ternmq_producer *producer = batch->producer;
    producer->calls--;
    window_remove(producer, batch->count, batch->length);
    batch_tell(batch, produced, error);
    batch_give(producer, batch);
    producer_pump(producer);
}

static void produce_write(struct client_call *call, struct connection *connection, uint32_t id,
                          uint32_t left_ms)
{
    batch_write(CONTAINER_OF(call, struct batch, call), connection, id, left_ms);
}

static void produce_ended(struct client_call *call, const struct client_call_end *end)
{
    struct batch *batch = CONTAINER_OF(call, struct batch, call);
    if (end->error != NULL) {
        batch_end(batch, NULL, end->error);
        return;
    }
    struct ternmq_produced produced;
    if (!batch_read_answer(batch, end->result, &produced)) {
        struct ternmq_error error;
        fault_set(&error, TERNMQ_PROTOCOL, TERNMQ_STORED_MAYBE,
                  "%s answered a produce without queue and offset", end->address);
        batch_end(batch, NULL, &error);
        return;
    }
    batch_end(batch, &produced, NULL);
}

static const struct client_call_kind produce_kind = {.write = produce_write,
                                                     .ended = produce_ended};

void producer_one_way_left(struct batch *batch)
{
    struct ternmq_producer *producer = batch->producer;
    producer->calls--;
    window_remove(producer, batch->count, batch->length);
    list_remove(&batch->link);
    batch->producer = NULL;
    batch_unref(batch);
    /* Not pumped here: this may run inside the write of another batch. The loop will. */
    timer_start(producer->client->reactor, &producer->linger,
                reactor_now_ns(producer->client->reactor));
}

/* Sends it: from here it may end at any turn, and a one-way batch at once. */
static void batch_start(struct ternmq_producer *producer, struct batch *batch, bool one_way)
{
    batch->call = (struct client_call){
        .client = producer->client,
        .kind = &produce_kind,
        .to = TERNMQ_TO_TOPIC,
        .to_name = producer->topic,
        .any_queue = batch->queue == BATCH_QUEUE_ANY,
        .queue = batch->queue,
        .timeout_ms = producer->timeout_ms,
        .changes = true,
        .one_way = one_way,
    };
    producer->calls++;
    list_remove(&batch->link);
    list_append(&producer->sent, &batch->link);
    client_call_start(&batch->call);
}

/* -------------------------------------------------------------------------- the order */

static uint32_t open_index(const struct ternmq_producer *producer, const struct batch *batch)
{
    return producer->choose == TERNMQ_CHOOSE_BY_KEY ? batch->queue : 0;
}

/* An open batch takes no more. */
static void batch_close(struct ternmq_producer *producer, struct batch *batch)
{
    producer->open[open_index(producer, batch)] = NULL;
    list_remove(&batch->link);
    list_append(&producer->ready, &batch->link);
}

static void close_all_open(struct ternmq_producer *producer)
{
    for (struct list *link = list_first(&producer->open_batches); link != NULL;
         link = list_first(&producer->open_batches)) {
        batch_close(producer, CONTAINER_OF(link, struct batch, link));
    }
}

static void producer_pump(struct ternmq_producer *producer)
{
    if (producer->closing) {
        return;
    }
    while (producer->calls < producer->window_calls) {
        struct list *link = list_first(&producer->ready);
        if (link == NULL && producer->due) {
            link = list_first(&producer->open_batches);
            if (link != NULL) {
                batch_close(producer, CONTAINER_OF(link, struct batch, link));
            }
        }
        if (link == NULL) {
            break;
        }
        batch_start(producer, CONTAINER_OF(link, struct batch, link), false);
    }
    if (list_is_empty(&producer->open_batches)) {
        producer->due = false;
    }
}

static void linger_over(struct timer *timer)
{
    struct ternmq_producer *producer = CONTAINER_OF(timer, struct ternmq_producer, linger);
    producer->due = true;
    producer_pump(producer);
}

/* -------------------------------------------------------------------------- life */

static bool usage(struct ternmq_error *error_out, const char *what)
{
    fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO, "%s", what);
    return false;
}

static uint32_t or_default(uint32_t given, uint32_t otherwise)
{
    return given == 0 ? otherwise : given;
}

static bool read_options(struct ternmq_producer *producer,
                         const struct ternmq_producer_options *options,
                         struct ternmq_error *error_out)
{
    if (options->topic == NULL || !name_is_topic(bytes_from_string(options->topic))) {
        return usage(error_out, "topic: 1 to 127 of A-Z a-z 0-9 . _ -");
    }
    if (options->queue >= QUEUES_PER_TOPIC_MAX) {
        return usage(error_out, "queue: at most 1023");
    }
    if (options->batch_messages > MESSAGES_PER_CALL_MAX || options->batch_bytes > BATCH_BYTES_MAX) {
        return usage(error_out, "batch_messages, batch_bytes: at most 65,535 and 4 MiB");
    }
    if (options->window_calls > UNANSWERED_MAX) {
        return usage(error_out, "window_calls: at most 256");
    }
    if (options->timeout_ms > DURATION_MS_MAX || options->linger_ms > LINGER_MS_MAX) {
        return usage(error_out, "timeout_ms, linger_ms: at most a day, and a minute");
    }
    snprintf(producer->topic, sizeof(producer->topic), "%s", options->topic);
    producer->choose = options->choose;
    producer->queue = options->queue;
    producer->durability = options->durability;
    producer->timeout_ms = or_default(options->timeout_ms, producer->client->timeout_ms);
    producer->linger_ms = options->linger_ms;
    producer->batch_messages = or_default(options->batch_messages, BATCH_MESSAGES_DEFAULT);
    producer->batch_bytes = or_default(options->batch_bytes, BATCH_BYTES_DEFAULT);
    producer->window_messages = or_default(options->window_messages, WINDOW_MESSAGES_DEFAULT);
    producer->window_calls = or_default(options->window_calls, WINDOW_CALLS_DEFAULT);
    producer->window_bytes =
        options->window_bytes == 0 ? (size_t)WINDOW_BYTES_DEFAULT : options->window_bytes;
    return true;
}

static bool make_parts(struct ternmq_producer *producer)
{
    bool by_key = producer->choose == TERNMQ_CHOOSE_BY_KEY;
    producer->open_count = by_key ? QUEUES_PER_TOPIC_MAX : 1;
    producer->open = calloc(producer->open_count, sizeof(struct batch *));
    if (by_key) {
        producer->route = client_route_take(producer->client, ROUTE_TOPIC, producer->topic);
    }
    return producer->open != NULL && (!by_key || producer->route != NULL);
}

TERNMQ_API struct ternmq_producer *ternmq_producer_open(
    struct ternmq *client, const struct ternmq_producer_options *options,
    struct ternmq_error *error_out)
{
    struct ternmq_producer *producer = calloc(1, sizeof(*producer));
    if (producer == NULL) {
        fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a producer");
        return NULL;
    }
    producer->client = client;
    producer->linger.fired = linger_over;
    list_init(&producer->link);
    list_init(&producer->open_batches);
    list_init(&producer->ready);
    list_init(&producer->sent);
    list_init(&producer->spare);
    if (!read_options(producer, options, error_out)) {
        free(producer);
        return NULL;
    }
    if (!make_parts(producer)) {
        fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a producer");
        client_route_give(producer->route);
        free(producer->open);
        free(producer);
        return NULL;
    }
    list_append(&client->producers, &producer->link);
    return producer;
}

/* Ends every batch of a list: its fate is not known any more. */
static void drop_all(struct ternmq_producer *producer, struct list *batches)
{
    for (struct list *link = list_first(batches); link != NULL; link = list_first(batches)) {
        struct batch *batch = CONTAINER_OF(link, struct batch, link);
        struct ternmq_error error;
        fault_set(&error, TERNMQ_CLOSED,
                  client_call_was_sent(&batch->call) ? TERNMQ_STORED_MAYBE : TERNMQ_STORED_NO,
                  "the producer was closed");
        client_call_drop(&batch->call);
        batch_tell(batch, NULL, &error);
        batch_give(producer, batch);
    }
}

static void drop_spare(struct ternmq_producer *producer)
{
    for (struct list *link = list_take_first(&producer->spare); link != NULL;
         link = list_take_first(&producer->spare)) {
        batch_unref(CONTAINER_OF(link, struct batch, link));
    }
}

TERNMQ_API void ternmq_producer_close(struct ternmq_producer *producer)
{
    if (producer == NULL) {
        return;
    }
    ASSERT(producer->client->callbacks == 0);
    producer->closing = true;
    timer_stop(producer->client->reactor, &producer->linger);
    if (producer->route != NULL) {
        client_route_unwait(&producer->route_waiter);
        client_route_give(producer->route);
    }
    drop_all(producer, &producer->sent);
    drop_all(producer, &producer->ready);
    drop_all(producer, &producer->open_batches);
    drop_spare(producer);
    list_remove(&producer->link);
    free(producer->open);
    free(producer);
}

/* -------------------------------------------------------------------------- which queue */

static void route_ready(struct route_waiter *waiter, const struct ternmq_error *error)
{
    struct ternmq_producer *producer = CONTAINER_OF(waiter, struct ternmq_producer, route_waiter);
    producer->route_asked = false;
    if (error != NULL) {
        producer->route_error = *error;
    }
}

/* How many queues the topic has; while that is not known FULL, or why it cannot be known. */
static int know_queues(struct ternmq_producer *producer, struct ternmq_error *error_out)
{
    if (producer->route->queue_count > 0) {
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
        batch_close(producer, batch);
        producer_pump(producer);
        batch = NULL;
    }
    if (batch == NULL) {
        batch = batch_take(producer, queue);
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
        batch_close(producer, batch);
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
    uint32_t queue;
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
    window_add(producer, 1, bytes);
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
    uint32_t queue;
    int code = choose_queue(producer, messages, count, &queue, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct batch *batch = batch_take(producer, queue);
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
        batch_give(producer, batch);
        return fault_give(&error, error_out);
    }
    window_add(producer, batch->count, batch->length);
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
    close_all_open(producer);
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
        batch_start(producer, batch, true);
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
    if (producer->choose == TERNMQ_CHOOSE_BY_KEY && producer->route->queue_count == 0) {
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
    close_all_open(producer);
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
