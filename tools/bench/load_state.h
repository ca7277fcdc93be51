/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_state.h - what a load is made of; for load*.c alone.
 *
 * Threads: one.
 */
#ifndef TOOLS_BENCH_LOAD_STATE_H
#define TOOLS_BENCH_LOAD_STATE_H

#include "net/reactor.h"
#include "proto/writer.h"
#include "tools/bench/body.h"
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

/* One member of a group. */
struct load_member {
    struct load *load;
    struct ternmq *client;
    char name[20];
    uint32_t under_way; /* calls */
    uint32_t acking;    /* messages whose settling is under way */
    uint64_t asked_ns;  /* when the receive was sent that is under way */
    uint64_t acking_ns; /* the same of the one that gave what is being settled */
};

/* The receipts of an answer, as msgpack without the array's header. */
struct load_receipts {
    uint8_t *bytes;
    struct writer writer;
    uint32_t count;
    uint32_t messages;
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
    struct load_member *members;
    struct ternmq **member_clients; /* each of `sharing` members */
    bool receiving;
    uint64_t settled;
    uint64_t poisoned;         /* messages produced */
    struct load_receipts acks; /* of the answer that is looked at */
    struct load_receipts nacks;
    uint8_t *arguments; /* of the call that is written; as large as both */
    size_t arguments_bytes;
    struct ternmq_bytes *keys; /* texts */
    struct timer next;         /* with a rate: the next moment at which something is to be sent */
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

static inline uint32_t load_member_clients(const struct load_options *options)
{
    const struct load_members *members = &options->members;
    return members->count == 0 ? 0 : (members->count + members->sharing - 1) / members->sharing;
}

/* Which key a message has; 0 without keys. */
static inline uint32_t load_key(const struct load_options *options, uint64_t number)
{
    return options->members.keys == 0 ? 0 : (uint32_t)(number % options->members.keys);
}

/* Whether a message's key is one of those whose messages are refused each time: the first. */
static inline bool load_is_poisoned(const struct load_options *options, uint64_t number)
{
    return (uint64_t)load_key(options, number) * 100 <
           (uint64_t)options->members.keys * options->members.poisoned_percent;
}

/* Attaches the members' connections, makes keys; frees what belongs to members. */
bool load_members_open(struct load *load, struct ternmq_error *error);
void load_members_free(struct load *load);

/* Judges an answer to a receive: `load->acks` and `load->nacks` are its receipts. False: it is no whole
 * answer, and the load has failed. */
bool load_members_judge(struct load_member *member, struct ternmq_bytes result,
                        uint32_t *messages_out);

/* Opens the idle connections and waits until each was answered once; closes nothing on failure. */
bool load_idle_open(struct load *load, struct ternmq_error *error);

/* Sends what the window, or the rate, allows now. */
void load_stream_pump(struct load_stream *stream);

#endif
