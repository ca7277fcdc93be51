/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c - one run of load: connections that produce, connections that consume, on one reactor.
 */
#include "tools/bench/load.h"

#include "net/reactor.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "tools/client/attach.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* The beginning of every body: "TBENCH" and a version. */
#define BODY_MARK UINT64_C(0x5442454e43480001)

enum { DELIVERIES = 512 };

/* A call under way; from the stream's free list. */
struct load_call {
    struct load_stream *stream;
    struct load_call *next;
    uint64_t first;
    uint32_t count;
    uint64_t sent_ns;
};

/* A connection that produces. */
struct load_stream {
    struct load *load;
    uint32_t number;
    struct ternmq *client;
    struct ternmq_producer *producer;
    struct load_call *calls; /* an array of `window` */
    struct load_call *free;
    uint32_t in_flight;
    uint8_t *bodies; /* `batch` of them, copied by the client when they are taken */
    struct ternmq_message *messages;
    uint64_t due_ns; /* with a rate: when the next message is to be sent */
};

/* A queue that is read, by one connection or another. */
struct load_queue {
    struct load *load;
    struct ternmq_consumer *consumer; /* NULL: it is not read now */
    bool ended;
};

struct load {
    struct load_options options;
    struct reactor *reactor;
    struct load_stream *streams;
    struct ternmq **readers; /* connections that consume */
    struct load_queue *queues;
    uint32_t ended_count;
    struct timer next; /* with a rate: the next moment at which something is to be sent */
    struct ledger *ledger;
    uint64_t run; /* in every body */
    bool producing;
    uint64_t limit;
    uint64_t taken;
    bool measuring;
    struct load_figures figures;
    uint64_t measure_begin_ns;
    uint64_t measure_begin_cpu_ns;
    struct ternmq_error failure;
    struct ternmq_error last_error;
    uint32_t detached;
};

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static uint64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000U +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000U;
}

/* -------------------------------------------------------------------------- producing */

static void stream_pump(struct load_stream *stream);

/* Writes the heads of `count` bodies; with a rate each has its own moment. */
static void write_heads(struct load_stream *stream, uint64_t first, uint32_t count, uint64_t at_ns,
                        uint64_t step_ns)
{
    const struct load *load = stream->load;
    uint8_t *body = stream->bodies;
    for (uint32_t i = 0; i < count; i++, body += load->options.size) {
        store_u64(body, load->run);
        store_u64(body + 8, ((uint64_t)stream->number << 48) | (first + i));
        store_u64(body + 16, at_ns + i * step_ns);
    }
}

static void call_ended(void *context, const struct ternmq_produced *produced,
                       const struct ternmq_error *error)
{
    struct load_call *call = context;
    struct load_stream *stream = call->stream;
    struct load *load = stream->load;
    if (error == NULL) {
        ledger_acknowledge(load->ledger, stream->number, call->first, produced->count);
        if (load->measuring) {
            load->figures.acknowledged += call->count;
            histogram_add(&load->figures.acknowledge, clock_ns() - call->sent_ns, call->count);
        }
    } else {
        load->figures.errors += call->count;
        load->last_error = *error;
        if (error->stored != TERNMQ_STORED_NO) {
            ledger_lose(load->ledger, stream->number, call->first, call->count);
        }
        if (!error->retryable && error->code != TERNMQ_LOST && error->code != TERNMQ_CLOSED) {
            load->failure = *error;
        }
    }
    call->next = stream->free;
    stream->free = call;
    stream->in_flight--;
    stream_pump(stream);
}

static bool stream_send(struct load_stream *stream, uint32_t count, uint64_t at_ns,
                        uint64_t step_ns)
{
    struct load *load = stream->load;
    struct load_call *call = stream->free;
    struct ternmq_error error;
    uint64_t first = ledger_take(load->ledger, stream->number, count);
    write_heads(stream, first, count, at_ns, step_ns);
    call->first = first;
    call->count = count;
    call->sent_ns = at_ns;
    if (ternmq_produce_batch_async(stream->producer, stream->messages, count, call_ended, call,
                                   &error) != TERNMQ_OK) {
        load->failure = error;
        return false;
    }
    stream->free = call->next;
    stream->in_flight++;
    load->taken += count;
    return true;
}

/* How many messages the limit still allows in the next call. */
static uint32_t allowed(const struct load *load)
{
    if (load->limit == 0 || load->taken + load->options.batch <= load->limit) {
        return load->options.batch;
    }
    return (uint32_t)(load->limit - load->taken);
}

/* At a fixed rate a message has its moment whether or not earlier ones were answered; what waits
 * because the window is full is late, and its latency counts from when it was meant. */
static void stream_pump_rate(struct load_stream *stream)
{
    const struct load_options *options = &stream->load->options;
    uint64_t step_ns = (uint64_t)options->connections * 1000000000U / options->rate;
    step_ns = step_ns == 0 ? 1 : step_ns;
    uint64_t now_ns = clock_ns();
    while (stream->free != NULL && stream->due_ns <= now_ns) {
        uint64_t due = (now_ns - stream->due_ns) / step_ns + 1;
        uint32_t count = due < options->batch ? (uint32_t)due : options->batch;
        if (!stream_send(stream, count, stream->due_ns, step_ns)) {
            return;
        }
        stream->due_ns += count * step_ns;
    }
}

static void stream_pump(struct load_stream *stream)
{
    struct load *load = stream->load;
    if (!load->producing || load->failure.code != TERNMQ_OK) {
        return;
    }
    if (load->options.rate != 0) {
        stream_pump_rate(stream);
        return;
    }
    while (stream->free != NULL && allowed(load) > 0) {
        if (!stream_send(stream, allowed(load), clock_ns(), 0)) {
            return;
        }
    }
}

void load_produce_begin(struct load *load)
{
    load->producing = true;
    uint64_t now_ns = clock_ns();
    for (uint32_t i = 0; i < load->options.connections; i++) {
        load->streams[i].due_ns = now_ns;
        stream_pump(&load->streams[i]);
    }
}

void load_produce_end(struct load *load)
{
    load->producing = false;
}

void load_produce_limit(struct load *load, uint64_t messages)
{
    load->limit = messages == 0 ? 0 : load->taken + messages;
}

bool load_has_produced_all(const struct load *load)
{
    return load->limit != 0 && load->taken >= load->limit && load_is_quiet(load);
}

bool load_is_quiet(const struct load *load)
{
    uint32_t in_flight = 0;
    for (uint32_t i = 0; i < load->options.connections; i++) {
        in_flight += load->streams[i].in_flight;
    }
    return in_flight == 0;
}

/* -------------------------------------------------------------------------- consuming */

static void reader_take(struct load *load, const struct ternmq_delivery *delivery, uint64_t now_ns)
{
    if (delivery->body.length < (size_t)LOAD_HEAD_BYTES) {
        return;
    }
    const uint8_t *body = delivery->body.data;
    if (load_u64(body) != load->run) {
        return;
    }
    uint64_t word = load_u64(body + 8);
    ledger_see(load->ledger, (uint32_t)(word >> 48), word & ((UINT64_C(1) << 48) - 1),
               delivery->queue);
    if (load->measuring) {
        load->figures.consumed++;
        uint64_t meant_ns = load_u64(body + 16);
        histogram_add(&load->figures.deliver, now_ns > meant_ns ? now_ns - meant_ns : 0, 1);
    }
}

/* Takes what one consumer has. */
static void queue_drain(struct load_queue *queue)
{
    static struct ternmq_delivery deliveries[DELIVERIES];
    struct load *load = queue->load;
    struct ternmq_error error;
    size_t count;
    int code;
    while ((code = ternmq_consume(queue->consumer, 0, deliveries, DELIVERIES, &count, &error)) ==
           TERNMQ_OK) {
        uint64_t now_ns = clock_ns();
        for (size_t i = 0; i < count; i++) {
            reader_take(load, &deliveries[i], now_ns);
        }
    }
    if (code == TERNMQ_END && !queue->ended) {
        queue->ended = true;
        load->ended_count++;
    } else if (code != TERNMQ_END && code != TERNMQ_NOTHING) {
        load->figures.errors++;
        load->last_error = error;
        if (!error.retryable) {
            load->failure = error;
        }
    }
}

static void on_ready(void *context)
{
    queue_drain(context);
}

bool load_consume_begin(struct load *load, bool from_first, bool until_end,
                        struct ternmq_error *error)
{
    load->ended_count = 0;
    for (uint32_t number = 0; number < load->options.queues; number++) {
        struct load_queue *queue = &load->queues[number];
        const struct ternmq_consumer_options options = {
            .topic = load->options.topic,
            .one_queue = true,
            .queue = number,
            .start = from_first ? TERNMQ_START_FIRST : TERNMQ_START_LAST,
            .until_end = until_end,
            .ready = on_ready,
            .context = queue,
        };
        queue->ended = false;
        queue->consumer = ternmq_consumer_open(load->readers[number % load->options.connections],
                                               &options, error);
        if (queue->consumer == NULL) {
            return false;
        }
    }
    return true;
}

void load_consume_end(struct load *load)
{
    for (uint32_t number = 0; number < load->options.queues; number++) {
        ternmq_consumer_close(load->queues[number].consumer);
        load->queues[number].consumer = NULL;
    }
}

bool load_is_at_end(const struct load *load)
{
    return load->ended_count == load->options.queues;
}

/* -------------------------------------------------------------------------- the loop */

/* With a rate: wakes when the next message of any stream is due. */
static void arm_next(struct load *load)
{
    uint64_t due_ns = UINT64_MAX;
    for (uint32_t i = 0; i < load->options.connections; i++) {
        const struct load_stream *stream = &load->streams[i];
        if (stream->free != NULL && stream->due_ns < due_ns) {
            due_ns = stream->due_ns;
        }
    }
    if (due_ns != UINT64_MAX) {
        timer_start(load->reactor, &load->next, due_ns);
    }
}

static void next_is_due(struct timer *timer)
{
    struct load *load = CONTAINER_OF(timer, struct load, next);
    for (uint32_t i = 0; i < load->options.connections; i++) {
        stream_pump(&load->streams[i]);
    }
    if (load->producing) {
        arm_next(load);
    }
}

bool load_run(struct load *load, uint64_t ms, bool (*met)(const struct load *load))
{
    uint64_t until_ns = clock_ns() + ms * 1000000U;
    while (met == NULL || !met(load)) {
        uint64_t now_ns = clock_ns();
        if (load->failure.code != TERNMQ_OK) {
            return false;
        }
        if (now_ns >= until_ns) {
            return met == NULL;
        }
        if (load->producing && load->options.rate != 0 && !load->next.started) {
            arm_next(load);
        }
        uint64_t left_ms = (until_ns - now_ns) / 1000000U;
        reactor_run_once(load->reactor, left_ms < 10 ? (int64_t)left_ms : 10);
    }
    return true;
}

/* -------------------------------------------------------------------------- figures */

void load_measure_begin(struct load *load)
{
    memset(&load->figures, 0, sizeof(load->figures));
    load->measuring = true;
    load->measure_begin_cpu_ns = cpu_ns();
    load->measure_begin_ns = clock_ns();
}

void load_measure_end(struct load *load)
{
    load->figures.nanoseconds = clock_ns() - load->measure_begin_ns;
    load->figures.client_cpu_ns = cpu_ns() - load->measure_begin_cpu_ns;
    load->measuring = false;
}

void load_measure_go_on(struct load *load)
{
    load->measuring = true;
}

const struct load_figures *load_figures(const struct load *load)
{
    return &load->figures;
}

struct ledger *load_ledger(struct load *load)
{
    return load->ledger;
}

const struct ternmq_error *load_failure(const struct load *load)
{
    return load->failure.code == TERNMQ_OK ? NULL : &load->failure;
}

const struct ternmq_error *load_last_error(const struct load *load)
{
    return load->last_error.code == TERNMQ_OK ? NULL : &load->last_error;
}

/* -------------------------------------------------------------------------- life */

static bool stream_open(struct load_stream *stream, struct ternmq_error *error)
{
    const struct load_options *options = &stream->load->options;
    stream->client = client_attach(stream->load->reactor, &options->client, error);
    if (stream->client == NULL) {
        return false;
    }
    size_t call_bytes = (size_t)options->batch * (options->size + 8);
    const struct ternmq_producer_options producer = {
        .topic = options->topic,
        .durability = options->durability,
        .timeout_ms = LOAD_TIMEOUT_MS,
        .window_messages = UINT32_MAX,
        .window_calls = options->window,
        .window_bytes = call_bytes * (options->window + 1),
    };
    stream->producer = ternmq_producer_open(stream->client, &producer, error);
    return stream->producer != NULL;
}

static void stream_make(struct load_stream *stream)
{
    const struct load_options *options = &stream->load->options;
    stream->calls = calloc(options->window, sizeof(*stream->calls));
    stream->bodies = malloc((size_t)options->batch * options->size);
    stream->messages = calloc(options->batch, sizeof(*stream->messages));
    ASSERT(stream->calls != NULL && stream->bodies != NULL && stream->messages != NULL);
    for (uint32_t i = 0; i < options->window; i++) {
        stream->calls[i].stream = stream;
        stream->calls[i].next = stream->free;
        stream->free = &stream->calls[i];
    }
    memset(stream->bodies, 'x', (size_t)options->batch * options->size);
    for (uint32_t i = 0; i < options->batch; i++) {
        stream->messages[i].body =
            ternmq_bytes(stream->bodies + (size_t)i * options->size, options->size);
    }
}

static bool open_all(struct load *load, struct ternmq_error *error)
{
    for (uint32_t i = 0; i < load->options.connections; i++) {
        struct ternmq_options client = load->options.client;
        client.receive_bytes_max = (size_t)LOAD_RECEIVE_BYTES / load->options.connections;
        load->readers[i] = client_attach(load->reactor, &client, error);
        if (load->readers[i] == NULL || !stream_open(&load->streams[i], error)) {
            return false;
        }
    }
    return true;
}

struct load *load_create(const struct load_options *options, struct ternmq_error *error)
{
    struct load *load = calloc(1, sizeof(*load));
    ASSERT(load != NULL);
    load->options = *options;
    load->next.fired = next_is_due;
    load->run = BODY_MARK ^ (clock_ns() << 16);
    load->reactor = reactor_create_epoll(LOAD_RECEIVE_BYTES);
    load->ledger = ledger_create(options->connections, options->queues);
    load->streams = calloc(options->connections, sizeof(*load->streams));
    load->readers = calloc(options->connections, sizeof(*load->readers));
    load->queues = calloc(options->queues, sizeof(*load->queues));
    ASSERT(load->reactor != NULL && load->streams != NULL && load->readers != NULL &&
           load->queues != NULL);
    for (uint32_t i = 0; i < options->queues; i++) {
        load->queues[i].load = load;
    }
    for (uint32_t i = 0; i < options->connections; i++) {
        load->streams[i].load = load;
        load->streams[i].number = i;
        stream_make(&load->streams[i]);
    }
    if (!open_all(load, error)) {
        load_destroy(load);
        return NULL;
    }
    return load;
}

static void on_detached(void *context)
{
    ((struct load *)context)->detached++;
}

void load_destroy(struct load *load)
{
    uint32_t clients = 0;
    load->producing = false;
    timer_stop(load->reactor, &load->next);
    for (uint32_t i = 0; i < load->options.connections; i++) {
        if (load->streams[i].client != NULL) {
            client_detach(load->streams[i].client, on_detached, load);
            clients++;
        }
        if (load->readers[i] != NULL) {
            client_detach(load->readers[i], on_detached, load);
            clients++;
        }
    }
    while (load->detached < clients) {
        reactor_run_once(load->reactor, -1);
    }
    for (uint32_t i = 0; i < load->options.connections; i++) {
        free(load->streams[i].calls);
        free(load->streams[i].bodies);
        free(load->streams[i].messages);
    }
    reactor_destroy(load->reactor);
    ledger_destroy(load->ledger);
    free(load->streams);
    free(load->readers);
    free(load->queues);
    free(load);
}
