/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_state.h - what a load is made of; for load*.c alone.
 *
 * Threads: one.
 */
#ifndef TOOLS_BENCH_LOAD_STATE_H
#define TOOLS_BENCH_LOAD_STATE_H

#include "net/reactor.h"
#include "tools/bench/load.h"

#include <time.h>

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
    struct ternmq_producer **producers; /* one a topic, or with `spread` one a queue */
    uint32_t turn;                      /* whose turn it is among them */
    struct load_call *calls;            /* an array of `window` */
    struct load_call *free;
    uint32_t in_flight;
    uint8_t *bodies; /* `batch` of them, copied by the client when they are taken */
    struct ternmq_message *messages;
    uint64_t due_ns; /* with a rate: when the next message is to be sent */
};

/* A queue that is read, by one connection or another. */
struct load_queue {
    struct load *load;
    uint32_t number;                  /* among all queues of all topics */
    struct ternmq_consumer *consumer; /* NULL: it is not read now */
    bool ended;
};

struct load {
    struct load_options options;
    struct reactor *reactor;
    struct load_stream *streams;
    struct ternmq **readers; /* connections that consume */
    struct ternmq **idle;    /* connections that say hello and no more */
    uint32_t idle_greeted;
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

static inline uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static inline uint32_t load_queue_count(const struct load_options *options)
{
    return options->topics * options->queues;
}

static inline uint32_t load_producer_count(const struct load_options *options)
{
    return options->spread ? load_queue_count(options) : options->topics;
}

/* Opens the idle connections and waits until each was answered once; closes nothing on failure. */
bool load_idle_open(struct load *load, struct ternmq_error *error);

/* Sends what the window, or the rate, allows now. */
void load_stream_pump(struct load_stream *stream);

#endif
