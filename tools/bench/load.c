/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c - one run of load: its life, its loop, its figures.
 */
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "tools/bench/body.h"
#include "tools/bench/load_state.h"
#include "tools/client/attach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static uint64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000U +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000U;
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
        load_stream_pump(&load->streams[i]);
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

bool load_topic_name(const struct load_options *options, uint32_t number,
                     char name_out[TOPIC_NAME_BYTES_MAX + 1])
{
    int length =
        options->topics == 1
            ? snprintf(name_out, TOPIC_NAME_BYTES_MAX + 1, "%s", options->topic)
            : snprintf(name_out, TOPIC_NAME_BYTES_MAX + 1, "%s-%u", options->topic, number);
    return length <= TOPIC_NAME_BYTES_MAX;
}

static bool stream_open(struct load_stream *stream, struct ternmq_error *error)
{
    const struct load_options *options = &stream->load->options;
    stream->client = client_attach(stream->load->reactor, &options->client, error);
    if (stream->client == NULL) {
        return false;
    }
    size_t call_bytes = (size_t)options->batch * (options->size + 8);
    uint32_t count = load_producer_count(options);
    for (uint32_t i = 0; i < count; i++) {
        /* A queue's number among all, taken apart so that neighbours are of different topics. */
        char topic[TOPIC_NAME_BYTES_MAX + 1];
        (void)load_topic_name(options, i % options->topics, topic);
        const struct ternmq_producer_options producer = {
            .topic = topic,
            /* With keys there is but one queue, where they belong. */
            .choose = options->spread || options->members.keys > 0 ? TERNMQ_CHOOSE_QUEUE
                                                                   : TERNMQ_CHOOSE_ANY,
            .queue = options->spread ? i / options->topics : 0,
            .durability = options->durability,
            .timeout_ms = LOAD_TIMEOUT_MS,
            .window_messages = UINT32_MAX,
            .window_calls = options->window,
            .window_bytes = call_bytes * (options->window + 1),
        };
        stream->producers[i] = ternmq_producer_open(stream->client, &producer, error);
        if (stream->producers[i] == NULL) {
            return false;
        }
    }
    return true;
}

static void stream_make(struct load_stream *stream)
{
    const struct load_options *options = &stream->load->options;
    uint32_t producers = load_producer_count(options);
    stream->producers = calloc(producers, sizeof(*stream->producers));
    ASSERT(stream->producers != NULL);
    /* Streams begin at different places, so that they do not go through the queues together. */
    stream->turn = (uint32_t)((uint64_t)stream->number * producers / options->connections);
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
    if (!load_idle_open(load, error) ||
        (load->options.members.count > 0 && !load_members_open(load, error))) {
        return false;
    }
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
    load->run = body_run(clock_ns());
    load->reactor = reactor_create_epoll(LOAD_RECEIVE_BYTES);
    uint32_t queues = load_queue_count(options);
    /* Members keep the order of keys, where any. */
    uint32_t orders = options->members.count == 0  ? queues
                      : options->members.keys == 0 ? 1
                                                   : options->members.keys;
    load->ledger = ledger_create(options->connections, orders);
    load->streams = calloc(options->connections, sizeof(*load->streams));
    load->readers = calloc(options->connections, sizeof(*load->readers));
    load->queues = calloc(queues, sizeof(*load->queues));
    load->idle = calloc(options->idle + 1U, sizeof(*load->idle));
    ASSERT(load->reactor != NULL && load->streams != NULL && load->readers != NULL &&
           load->queues != NULL && load->idle != NULL);
    for (uint32_t i = 0; i < queues; i++) {
        load->queues[i].load = load;
        load->queues[i].number = i;
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
    for (uint32_t i = 0; i < load->options.idle; i++) {
        if (load->idle[i] != NULL) {
            client_detach(load->idle[i], on_detached, load);
            clients++;
        }
    }
    for (uint32_t i = 0; load->member_clients != NULL && i < load_member_clients(&load->options);
         i++) {
        if (load->member_clients[i] != NULL) {
            client_detach(load->member_clients[i], on_detached, load);
            clients++;
        }
    }
    while (load->detached < clients) {
        reactor_run_once(load->reactor, -1);
    }
    for (uint32_t i = 0; i < load->options.connections; i++) {
        free(load->streams[i].producers);
        free(load->streams[i].calls);
        free(load->streams[i].bodies);
        free(load->streams[i].messages);
    }
    reactor_destroy(load->reactor);
    ledger_destroy(load->ledger);
    load_members_free(load);
    free(load->streams);
    free(load->readers);
    free(load->queues);
    free(load->idle);
    free(load);
}
