/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.h - one run of load: connections that produce, connections that consume, on one reactor.
 *
 * A body begins with LOAD_HEAD_BYTES (body.h) that say whose it is: run, stream, number, and the moment
 * at which it was meant to be sent. Other runs' messages are left out of everything.
 *
 * Threads: one, which is also the clients'.
 */
#ifndef TOOLS_BENCH_LOAD_H
#define TOOLS_BENCH_LOAD_H

#include "proto/limits.h"
#include "tools/bench/histogram.h"
#include "tools/bench/ledger.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stdint.h>

struct load;
struct reactor;

enum {
    LOAD_HEAD_BYTES = 32,
    LOAD_CONNECTIONS_MAX = 64,
    LOAD_TOPICS_MAX = 64,
    LOAD_IDLE_MAX = 8192,           /* below the 10,000 connections of a broker */
    LOAD_RECEIVE_BYTES = 256 << 20, /* of all connections; never the bottleneck */
    /* Without an answer for so long a run has failed. */
    LOAD_TIMEOUT_MS = 30000,
};

struct load_options {
    struct ternmq_options client;
    const char *topic; /* of one topic its name, of several its beginning: load_topic_name() */
    uint32_t topics;
    uint32_t queues;      /* of each */
    bool spread;          /* each call goes to the next queue, else the broker chooses */
    uint32_t size;        /* of a body */
    uint32_t batch;       /* messages a call */
    uint32_t connections; /* that produce, and as many that consume */
    uint32_t window;      /* calls in flight, a connection */
    uint32_t idle;        /* connections that are open and ask for nothing */
    enum ternmq_durability durability;
    uint64_t rate; /* messages a second of all together, 0: as many as are answered */
};

/* What is measured between load_measure_begin() and ..._end(). */
struct load_figures {
    uint64_t acknowledged;
    uint64_t consumed;
    uint64_t errors;
    uint64_t nanoseconds;
    uint64_t client_cpu_ns;
    struct histogram acknowledge; /* from the intended or real sending to its answer */
    struct histogram deliver;     /* from the same to the consumer's hands */
};

/* The name of one of the topics; false: it is too long for one. */
bool load_topic_name(const struct load_options *options, uint32_t number,
                     char name_out[TOPIC_NAME_BYTES_MAX + 1]);

/* NULL with `*error` filled in. */
struct load *load_create(const struct load_options *options, struct ternmq_error *error);
void load_destroy(struct load *load);

/* Starts and stops sending. After a stop what is under way still comes home: load_is_quiet(). */
void load_produce_begin(struct load *load);
void load_produce_end(struct load *load);
bool load_is_quiet(const struct load *load);

/* With a number: stops by itself after so many messages. 0: never. */
void load_produce_limit(struct load *load, uint64_t messages);
bool load_has_produced_all(const struct load *load);

/* Starts to read the topic, from the first message or from what comes; stops. */
bool load_consume_begin(struct load *load, bool from_first, bool until_end,
                        struct ternmq_error *error);
void load_consume_end(struct load *load);

/* Whether every consumer is at the end that its queues had. */
bool load_is_at_end(const struct load *load);

/* Runs the loop until `met(load)` or `ms` are over; false then, or when something failed for good. */
bool load_run(struct load *load, uint64_t ms, bool (*met)(const struct load *load));

/* What failed for good; NULL: nothing has. */
const struct ternmq_error *load_failure(const struct load *load);

/* The last error that a message was told, if any. */
const struct ternmq_error *load_last_error(const struct load *load);

void load_measure_begin(struct load *load);
void load_measure_end(struct load *load);
void load_measure_go_on(struct load *load); /* after an end: as if it had not been */
const struct load_figures *load_figures(const struct load *load);

struct ledger *load_ledger(struct load *load);

#endif
