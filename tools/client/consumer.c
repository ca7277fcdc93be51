/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consumer.c - reads a topic: its pullers, and what ternmq_consume() gives of what they pulled.
 */
#include "tools/client/consumer.h"

#include "net/buffer.h"
#include "proto/base/contract.h"
#include "proto/names.h"
#include "proto/record.h"
#include "tools/client/client.h"
#include "tools/client/client_call.h"
#include "tools/client/delivery.h"
#include "tools/client/fault.h"
#include "tools/client/puller.h"

#include <stdio.h>
#include <stdlib.h>

/* -------------------------------------------------------------------------- what came */

static void consumer_tell_ready(struct ternmq_consumer *consumer)
{
    if (!consumer->ready_owed || consumer->ready_fn == NULL) {
        return;
    }
    consumer->ready_owed = false;
    client_callback_begin(consumer->client);
    consumer->ready_fn(consumer->ready_context);
    client_callback_end(consumer->client);
}

void consumer_add(struct ternmq_consumer *consumer, struct pulled *pulled)
{
    if (pulled != NULL) {
        list_init(&pulled->link);
        list_append(&consumer->ready, &pulled->link);
        consumer->held_bytes += pulled->held_bytes;
    }
    consumer_tell_ready(consumer);
}

void consumer_add_notice(struct ternmq_consumer *consumer, struct puller *puller,
                         const struct ternmq_error *error, bool is_last_word)
{
    struct pulled *pulled = calloc(1, sizeof(*pulled));
    if (pulled == NULL) {
        consumer->last_word = *error;
        consumer_tell_ready(consumer);
        return;
    }
    pulled->puller = puller;
    pulled->notice = *error;
    pulled->is_last_word = is_last_word;
    consumer_add(consumer, pulled);
}

static void pulled_free(struct ternmq_consumer *consumer, struct pulled *pulled)
{
    list_remove(&pulled->link);
    consumer->held_bytes -= pulled->held_bytes;
    if (pulled->buffer != NULL) {
        consumer->client->pinned_bytes -= pulled->pinned_bytes;
        buffer_unref(pulled->buffer);
    }
    free(pulled);
}

static void free_all(struct ternmq_consumer *consumer, struct list *list)
{
    for (struct list *link = list_first(list); link != NULL; link = list_first(list)) {
        pulled_free(consumer, CONTAINER_OF(link, struct pulled, link));
    }
}

bool consumer_has_room(const struct ternmq_consumer *consumer)
{
    return consumer->held_bytes < consumer->prefetch_bytes;
}

uint32_t consumer_pull_bytes(const struct ternmq_consumer *consumer, uint32_t doublings)
{
    if (consumer->pull_bytes_wanted != 0) {
        return consumer->pull_bytes_wanted;
    }
    size_t share = consumer->prefetch_bytes / (consumer->puller_count + 1);
    share = share < (size_t)PULL_BYTES_LEAST ? (size_t)PULL_BYTES_LEAST : share;
    size_t bytes = (size_t)PULL_BYTES_DEFAULT << doublings;
    bytes = bytes > (size_t)PULL_BYTES_BEHIND ? (size_t)PULL_BYTES_BEHIND : bytes;
    return (uint32_t)(share < bytes ? share : bytes);
}

/* -------------------------------------------------------------------------- its queues */

static void consumer_start_all(struct ternmq_consumer *consumer)
{
    for (uint32_t i = 0; i < consumer->puller_count; i++) {
        uint32_t index = (consumer->refill_turn + i) % consumer->puller_count;
        puller_start(consumer->pullers[index]);
    }
    consumer->refill_turn++;
}

static void fail_for_memory(struct ternmq_consumer *consumer)
{
    struct ternmq_error error;
    fault_set(&error, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a queue");
    consumer_add_notice(consumer, NULL, &error, true);
}

/* Whether a queue of the topic is read: a client of one broker reads what lies there. */
static bool is_read(const struct ternmq_consumer *consumer, uint32_t queue)
{
    if (consumer->one_queue || !consumer->client->direct) {
        return true;
    }
    const struct ternmq_route_span *span = client_route_span(consumer->route, queue);
    return span != NULL && span->address[0] != '\0';
}

/* Makes pullers for queues that have none yet; those that were added later are read from their first
 * message on, wherever the consumer started. */
static void consumer_grow(struct ternmq_consumer *consumer, uint32_t queue_count)
{
    bool is_first = consumer->queue_count == 0;
    if (queue_count <= consumer->queue_count) {
        return;
    }
    struct puller **pullers = realloc(consumer->pullers, queue_count * sizeof(struct puller *));
    if (pullers == NULL) {
        fail_for_memory(consumer);
        return;
    }
    consumer->pullers = pullers;
    while (consumer->queue_count < queue_count) {
        uint32_t queue = consumer->queue_count++;
        if (!is_read(consumer, queue)) {
            continue;
        }
        queue = consumer->one_queue ? consumer->queue : queue;
        struct puller *puller =
            puller_create(consumer, queue, is_first ? consumer->start : TERNMQ_START_FIRST,
                          consumer->start_value);
        if (puller == NULL) {
            fail_for_memory(consumer);
            return;
        }
        pullers[consumer->puller_count++] = puller;
    }
    consumer_start_all(consumer);
}

static void ask_again_in(struct ternmq_consumer *consumer, uint64_t pause_ns)
{
    struct reactor *reactor = consumer->client->reactor;
    timer_start(reactor, &consumer->route_timer, reactor_now_ns(reactor) + pause_ns);
}

static void consumer_route_failed(struct ternmq_consumer *consumer,
                                  const struct ternmq_error *error)
{
    struct ternmq *client = consumer->client;
    if (consumer->queue_count > 0) { /* it was growth that was asked for: no matter */
        ask_again_in(consumer, (uint64_t)GROWTH_MS * 1000000U);
        return;
    }
    if (!fault_can_retry(error) && error->code != TERNMQ_LOST && error->code != TERNMQ_TIMED_OUT) {
        consumer_add_notice(consumer, NULL, error, true);
        return;
    }
    uint64_t now_ns = reactor_now_ns(client->reactor);
    if (consumer->failing_ns == 0) {
        consumer->failing_ns = now_ns;
    }
    ask_again_in(consumer, client_pause_ns(client, consumer->route_tries++, error));
    if ((now_ns - consumer->failing_ns) / 1000000U >= client_patience_ms(client, error)) {
        consumer->failing_ns = now_ns;
        consumer_add_notice(consumer, NULL, error, false);
    } else {
        client_tell_waiting(client, error, consumer->failing_ns);
    }
}

static void route_ready(struct route_waiter *waiter, const struct ternmq_error *error)
{
    struct ternmq_consumer *consumer = CONTAINER_OF(waiter, struct ternmq_consumer, route_waiter);
    if (error != NULL) {
        consumer_route_failed(consumer, error);
        return;
    }
    consumer->failing_ns = 0;
    consumer->route_tries = 0;
    consumer_grow(consumer, consumer->route->queue_count);
    if (!consumer->until_end) {
        ask_again_in(consumer, (uint64_t)GROWTH_MS * 1000000U);
    }
}

static void route_timer_over(struct timer *timer)
{
    struct ternmq_consumer *consumer = CONTAINER_OF(timer, struct ternmq_consumer, route_timer);
    client_route_forget(consumer->route);
    client_route_wait(consumer->route, &consumer->route_waiter);
}

/* -------------------------------------------------------------------------- life */

static bool usage(struct ternmq_error *error_out, const char *what)
{
    fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO, "%s", what);
    return false;
}

static bool read_options(struct ternmq_consumer *consumer,
                         const struct ternmq_consumer_options *options,
                         struct ternmq_error *error_out)
{
    if (options->topic == NULL || !name_is_any_topic(bytes_from_string(options->topic))) {
        return usage(error_out, "topic: 1 to 127 of A-Z a-z 0-9 . _ -, or %DLQ%GROUP");
    }
    if (options->queue >= QUEUES_PER_TOPIC_MAX) {
        return usage(error_out, "queue: at most 1023");
    }
    if (options->start_value >= INTEGER_LIMIT || options->pull_bytes > PULL_BYTES_MAX) {
        return usage(error_out, "start_value, pull_bytes: below 2^53, and at most 4 MiB");
    }
    struct bytes filter =
        options->filter == NULL ? (struct bytes){NULL, 0} : bytes_from_string(options->filter);
    if (filter.length > FILTER_BYTES_MAX) {
        return usage(error_out, "filter: at most 4096 bytes");
    }
    snprintf(consumer->topic, sizeof(consumer->topic), "%s", options->topic);
    consumer->filter = filter;
    consumer->one_queue = options->one_queue;
    consumer->queue = options->queue;
    consumer->start = options->start;
    consumer->start_value = options->start_value;
    consumer->until_end = options->until_end;
    consumer->stop_at_gap = options->stop_at_gap;
    consumer->prefetch_bytes =
        options->prefetch_bytes == 0 ? (size_t)PREFETCH_BYTES_DEFAULT : options->prefetch_bytes;
    consumer->pull_bytes_wanted = options->pull_bytes;
    consumer->ready_fn = options->ready;
    consumer->ready_context = options->context;
    consumer->ready_owed = true;
    return true;
}

/* The user's text is copied. False: no memory. */
static bool keep_filter(struct ternmq_consumer *consumer)
{
    if (consumer->filter.length == 0) {
        return true;
    }
    consumer->filter_copy = malloc(consumer->filter.length);
    if (consumer->filter_copy == NULL) {
        return false;
    }
    memcpy(consumer->filter_copy, consumer->filter.data, consumer->filter.length);
    consumer->filter.data = consumer->filter_copy;
    return true;
}

TERNMQ_API struct ternmq_consumer *ternmq_consumer_open(
    struct ternmq *client, const struct ternmq_consumer_options *options,
    struct ternmq_error *error_out)
{
    struct ternmq_consumer *consumer = calloc(1, sizeof(*consumer));
    if (consumer == NULL) {
        fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a consumer");
        return NULL;
    }
    consumer->client = client;
    consumer->route_timer.fired = route_timer_over;
    consumer->route_waiter.ready = route_ready;
    list_init(&consumer->link);
    list_init(&consumer->ready);
    list_init(&consumer->spent);
    if (!read_options(consumer, options, error_out)) {
        free(consumer);
        return NULL;
    }
    bool has_filter = keep_filter(consumer);
    consumer->route = client_route_take(client, ROUTE_TOPIC, consumer->topic);
    if (consumer->route == NULL || !has_filter) {
        fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a consumer");
        client_route_give(consumer->route);
        free(consumer->filter_copy);
        free(consumer);
        return NULL;
    }
    list_append(&client->consumers, &consumer->link);
    client_enter(client);
    if (consumer->one_queue) {
        consumer_grow(consumer, 1);
    } else {
        client_route_wait(consumer->route, &consumer->route_waiter);
    }
    return consumer;
}

TERNMQ_API void ternmq_consumer_close(struct ternmq_consumer *consumer)
{
    if (consumer == NULL) {
        return;
    }
    ASSERT(consumer->client->callbacks == 0);
    timer_stop(consumer->client->reactor, &consumer->route_timer);
    client_route_unwait(&consumer->route_waiter);
    client_route_give(consumer->route);
    for (uint32_t i = 0; i < consumer->puller_count; i++) {
        puller_destroy(consumer->pullers[i]);
    }
    free_all(consumer, &consumer->ready);
    free_all(consumer, &consumer->spent);
    list_remove(&consumer->link);
    free(consumer->pullers);
    free(consumer->filter_copy);
    free(consumer);
}

/* -------------------------------------------------------------------------- consuming */

static bool is_at_end(const struct ternmq_consumer *consumer)
{
    return consumer->until_end && consumer->puller_count > 0 &&
           consumer->finished_count == consumer->puller_count;
}

/* Whether ternmq_consume() has something to say. */
static bool has_something(void *context)
{
    const struct ternmq_consumer *consumer = context;
    return !list_is_empty(&consumer->ready) || consumer->last_word.code != TERNMQ_OK ||
           is_at_end(consumer);
}

/* One record is done with. */
static void pass_record(struct pulled *pulled)
{
    pulled->at += record_size(pulled->at);
    pulled->left--;
    pulled->offset = pulled->left > 0 ? record_offset(pulled->at) : pulled->next;
}

/* Gives messages of one answer. Stops before one that cannot be read. */
static size_t deliver(struct pulled *pulled, struct ternmq_delivery *deliveries_out, size_t max)
{
    struct puller *puller = pulled->puller;
    size_t count = 0;
    while (count < max && pulled->left > 0) {
        struct delivery_place place = {
            .topic = puller->consumer->topic, .queue = puller->queue, .offset = pulled->offset};
        struct bytes available = bytes_make(pulled->at, (size_t)(pulled->end - pulled->at));
        if (!delivery_read(available, &place, &deliveries_out[count])) {
            break;
        }
        puller->position.epoch = deliveries_out[count].epoch;
        pass_record(pulled);
        count++;
    }
    puller->position.next = pulled->offset;
    return count;
}

static int skip_corrupt(struct pulled *pulled, struct ternmq_error *error_out)
{
    struct puller *puller = pulled->puller;
    struct ternmq_error error;
    fault_set(&error, TERNMQ_CORRUPT, TERNMQ_STORED_NO,
              "the message at queue %u offset %llu fails its checksum and is left out",
              puller->queue, (unsigned long long)pulled->offset);
    error.queue = puller->queue;
    error.offset = (int64_t)pulled->offset;
    pass_record(pulled);
    puller->position.next = pulled->offset;
    error.resume = (int64_t)pulled->offset;
    return fault_give(&error, error_out);
}

static int give_notice(struct ternmq_consumer *consumer, struct pulled *pulled,
                       struct ternmq_error *error_out)
{
    struct ternmq_error notice = pulled->notice;
    struct puller *puller = pulled->puller;
    bool is_gap = puller != NULL && puller->state == PULLER_GAP;
    if (pulled->is_last_word || (is_gap && consumer->stop_at_gap)) {
        consumer->last_word = notice;
    }
    pulled_free(consumer, pulled);
    if (is_gap && !consumer->stop_at_gap) {
        puller_pass_gap(puller, &notice);
    }
    return fault_give(&notice, error_out);
}

/* Gives what is there; TERNMQ_NOTHING if nothing is. */
static int take_ready(struct ternmq_consumer *consumer, struct ternmq_delivery *deliveries_out,
                      size_t max, size_t *count_out, struct ternmq_error *error_out)
{
    size_t count = 0;
    while (count < max && !list_is_empty(&consumer->ready)) {
        struct pulled *pulled = CONTAINER_OF(list_first(&consumer->ready), struct pulled, link);
        if (pulled->notice.code != TERNMQ_OK) {
            if (count > 0) {
                break;
            }
            return give_notice(consumer, pulled, error_out);
        }
        count += deliver(pulled, deliveries_out + count, max - count);
        if (pulled->left == 0) {
            list_remove(&pulled->link);
            list_append(&consumer->spent, &pulled->link);
        } else if (count < max) { /* what is next cannot be read */
            if (count == 0) {
                return skip_corrupt(pulled, error_out);
            }
            break;
        }
    }
    if (count > 0) {
        *count_out = count;
        return TERNMQ_OK;
    }
    if (consumer->last_word.code != TERNMQ_OK) {
        return fault_give(&consumer->last_word, error_out);
    }
    if (is_at_end(consumer)) {
        return fault_set(error_out, TERNMQ_END, TERNMQ_STORED_NO, "every queue is at its end");
    }
    consumer->ready_owed = true;
    return fault_set(error_out, TERNMQ_NOTHING, TERNMQ_STORED_NO, "no message yet");
}

TERNMQ_API int ternmq_consume(struct ternmq_consumer *consumer, int64_t wait_ms,
                              struct ternmq_delivery *deliveries_out, size_t max, size_t *count_out,
                              struct ternmq_error *error_out)
{
    struct ternmq *client = consumer->client;
    bool may_run = !client->attached && client->callbacks == 0;
    if (max == 0 || (wait_ms != 0 && !may_run)) {
        return fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO,
                         max == 0 ? "max: at least 1" : "this place must not block");
    }
    if (!list_is_empty(&consumer->spent)) {
        free_all(consumer, &consumer->spent);
        consumer_start_all(consumer);
    }
    if (may_run) {
        client_enter(client);
        bool interrupted = client_take_interrupt(client);
        if (has_something(consumer)) {
            client_run_beside(client); /* what is under way goes on */
        } else if (!interrupted) {
            interrupted =
                client_run_until(client, wait_ms, has_something, consumer) == TERNMQ_INTERRUPTED;
        }
        if (interrupted) {
            return fault_set(error_out, TERNMQ_INTERRUPTED, TERNMQ_STORED_NO, "interrupted");
        }
    }
    return take_ready(consumer, deliveries_out, max, count_out, error_out);
}

TERNMQ_API uint32_t ternmq_consumer_queue_count(const struct ternmq_consumer *consumer)
{
    return consumer->puller_count;
}

TERNMQ_API bool ternmq_consumer_position(const struct ternmq_consumer *consumer, uint32_t queue,
                                         struct ternmq_position *position_out)
{
    for (uint32_t i = 0; i < consumer->puller_count; i++) {
        if (consumer->pullers[i]->queue == queue) {
            *position_out = consumer->pullers[i]->position;
            return true;
        }
    }
    return false;
}
