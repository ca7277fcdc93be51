/* SPDX-License-Identifier: Apache-2.0 */
/*
 * producer.c - the window of a producer: what is taken, in which order it goes, how it ends.
 */
#include "tools/client/producer.h"

#include "proto/base/contract.h"
#include "proto/names.h"
#include "tools/client/batch.h"
#include "tools/client/client.h"
#include "tools/client/client_call.h"
#include "tools/client/fault.h"

#include <stdio.h>
#include <stdlib.h>

/* -------------------------------------------------------------------------- batches */

struct batch *producer_take_batch(struct ternmq_producer *producer, uint32_t queue)
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
void producer_give_batch(struct ternmq_producer *producer, struct batch *batch)
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

void producer_window_add(struct ternmq_producer *producer, size_t messages, size_t bytes)
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
    producer_give_batch(producer, batch);
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
void producer_send_batch(struct ternmq_producer *producer, struct batch *batch, bool one_way)
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
void producer_close_batch(struct ternmq_producer *producer, struct batch *batch)
{
    producer->open[open_index(producer, batch)] = NULL;
    list_remove(&batch->link);
    list_append(&producer->ready, &batch->link);
}

void producer_close_all(struct ternmq_producer *producer)
{
    for (struct list *link = list_first(&producer->open_batches); link != NULL;
         link = list_first(&producer->open_batches)) {
        producer_close_batch(producer, CONTAINER_OF(link, struct batch, link));
    }
}

void producer_pump(struct ternmq_producer *producer)
{
    if (producer->closing) {
        return;
    }
    while (producer->calls < producer->window_calls) {
        struct list *link = list_first(&producer->ready);
        if (link == NULL && producer->due) {
            link = list_first(&producer->open_batches);
            if (link != NULL) {
                producer_close_batch(producer, CONTAINER_OF(link, struct batch, link));
            }
        }
        if (link == NULL) {
            break;
        }
        producer_send_batch(producer, CONTAINER_OF(link, struct batch, link), false);
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
        producer_give_batch(producer, batch);
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
