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
    LOAD_IDLE_MAX = 8192, /* below the 10,000 connections of a broker */
    LOAD_MEMBERS_MAX = 4096,
    LOAD_RECEIVE_MAX = 10000, /* messages; their receipts fit a call, however they are settled */
    LOAD_KEYS_MAX = 65536,
    LOAD_RECEIVE_BYTES = 256 << 20, /* of all connections; never the bottleneck */
    /* Without an answer for so long a run has failed. */
    LOAD_TIMEOUT_MS = 30000,
};

/* What of a group is settled how. */
enum load_settle {
    LOAD_SETTLE_ACK,     /* by `ack`, before the next receive */
    LOAD_SETTLE_RECEIVE, /* by the next receive */
    LOAD_SETTLE_NOT      /* it stays leased */
};

/* Members of a consumer group in the place of consumers. */
struct load_members {
    uint32_t count;   /* 0: there is no group */
    uint32_t sharing; /* members on one connection */
    uint32_t max;     /* messages a receive */
    enum load_settle settle;
    enum ternmq_order order;
    uint32_t keys;             /* a message's key is its number modulo this; 0: no keys */
    uint32_t nack_percent;     /* of messages at their first attempt, to come again at once */
    uint32_t poisoned_percent; /* of keys, whose messages are refused each time */
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
    uint32_t pull_bytes;  /* what a consumer asks for at a time, 0: libternmq's default */
    uint32_t idle;        /* connections that are open and ask for nothing */
    enum ternmq_durability durability;
    uint64_t rate; /* messages a second of all together, 0: as many as are answered */
    struct load_members members;
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

    /* Of a group; `consumed` are the messages acknowledged, or with LOAD_SETTLE_NOT given out. */
    uint64_t receives; /* answered */
    uint64_t nacked;
    struct histogram settle; /* from asking for messages to the answer that they are settled */
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

/* Makes the group, of the topic's name, which begins at the topic's first message. Blocks. */
int load_group_put(const struct load_options *options, struct ternmq *client,
                   struct ternmq_error *error);

/* Members begin to receive, until they are told to stop; what is under way comes home then:
 * load_members_are_quiet(). */
bool load_members_begin(struct load *load, struct ternmq_error *error);
void load_members_end(struct load *load);
bool load_members_are_quiet(const struct load *load);

/* Whether all that was produced, but messages of poisoned keys, is settled, or with LOAD_SETTLE_NOT given
 * out. */
bool load_is_settled(const struct load *load);

/* How many messages nobody can settle: those of poisoned keys. */
uint64_t load_poisoned(const struct load *load);

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
