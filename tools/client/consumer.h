/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consumer.h - reads a topic: a puller for each queue, on whichever broker it is, and what they pulled,
 * in the order in which it came. What is held of all of them together is one bound.
 *
 *     pullers --- answers, notices ---> ready ---ternmq_consume()---> spent ---the next one---> freed
 *        ^                                                                            |
 *        `---------------------- room for prefetch_bytes again -----------------------'
 *
 * Memory:  `prefetch_bytes`, and an answer a queue beyond it.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_CONSUMER_H
#define TOOLS_CLIENT_CONSUMER_H

#include "net/reactor.h"
#include "proto/base/bytes.h"
#include "proto/base/list.h"
#include "proto/limits.h"
#include "tools/client/client_route.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer;
struct puller;

enum {
    PREFETCH_BYTES_DEFAULT = 8 << 20,
    PULL_BYTES_LEAST = 16 << 10, /* with many queues a pull asks for no less */
    /* Where a queue is far behind, the time of a round trip is what limits it: more bytes a trip. */
    PULL_BYTES_BEHIND = 2 << 20,
    /* A topic's queues may become more: asked so often, as a new queue's first messages may wait. */
    GROWTH_MS = 10000,
    /* From here a received frame stays in its buffer; a shorter one would pin far more than itself. */
    PIN_BYTES_LEAST = 64 << 10
};

/* One answer with messages, or a notice that ternmq_consume() must give. */
struct pulled {
    struct list link;      /* consumer->ready or ->spent */
    struct puller *puller; /* NULL: a notice of the whole consumer */
    struct buffer *buffer; /* that the records lie in, or NULL: in `copy` */
    size_t pinned_bytes;
    size_t held_bytes;
    const uint8_t *at;
    const uint8_t *end;
    uint32_t left;   /* records from `at` on that are to be delivered; their sizes were checked */
    uint64_t offset; /* of the first of them; behind the last it is where the answer ended */
    uint64_t next;   /* where the answer ended */
    struct ternmq_error notice; /* code 0: none */
    bool is_last_word;          /* nothing comes after this notice */
    uint8_t copy[];
};

struct ternmq_consumer {
    struct ternmq *client;
    struct list link; /* client->consumers */
    char topic[TOPIC_NAME_BYTES_MAX + 1];
    bool one_queue;
    uint32_t queue;
    enum ternmq_start start;
    uint64_t start_value;
    struct bytes filter; /* empty: none; in */
    uint8_t *filter_copy;
    bool until_end;
    bool stop_at_gap;
    size_t prefetch_bytes;
    uint32_t pull_bytes_wanted; /* 0: the default */
    void (*ready_fn)(void *context);
    void *ready_context;

    struct client_route *route;
    struct route_waiter route_waiter;
    struct timer route_timer; /* asks again: after a failure, and for growth */
    uint32_t route_tries;
    uint64_t failing_ns; /* since when the route cannot be had; 0: it can */

    struct puller **pullers;
    uint32_t puller_count;
    uint32_t queue_count;    /* of the topic, when it was last looked at */
    uint32_t finished_count; /* that have come to their end */
    uint32_t refill_turn;    /* the puller that is asked first for more */
    struct list ready;
    struct list spent;
    size_t held_bytes;
    bool ready_owed;               /* ternmq_consume() had nothing to say */
    struct ternmq_error last_word; /* code 0: none; else all that ternmq_consume() says any more */
};

static inline struct ternmq_consumer *consumer_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct ternmq_consumer, link);
}

/* Puts what came, or a notice, at the end of what ternmq_consume() gives. */
void consumer_add(struct ternmq_consumer *consumer, struct pulled *pulled);

/* A notice about `puller` (NULL: the consumer); without memory for it, the consumer's last word. */
void consumer_add_notice(struct ternmq_consumer *consumer, struct puller *puller,
                         const struct ternmq_error *error, bool is_last_word);

/* Whether there is room to pull more. */
bool consumer_has_room(const struct ternmq_consumer *consumer);

/*
 * How many bytes one pull asks for, for a queue that has come far behind its end `doublings` times in
 * a row: the farther behind, the more at a time, up to PULL_BYTES_BEHIND.
 */
uint32_t consumer_pull_bytes(const struct ternmq_consumer *consumer, uint32_t doublings);

#endif
