/* SPDX-License-Identifier: Apache-2.0 */
/*
 * producer.h - the window of a producer: batches that are open, ready, and sent.
 *
 *     OPEN ---full, due, or something that must not overtake---> READY ---a call is free---> SENT
 *      ^  ternmq_produce_async() adds                            in order    their callbacks end it
 *
 * An open batch whose time has come stays open, and grows, while all calls of the window are
 * in use: the busier the broker, the larger the batches.
 *
 * Memory:  bounded by the window's bytes and messages, plus SPARE_MAX empty batches.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_PRODUCER_H
#define TOOLS_CLIENT_PRODUCER_H

#include "net/reactor.h"
#include "proto/base/bytes.h"
#include "proto/base/list.h"
#include "proto/limits.h"
#include "tools/client/client_route.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct batch;

enum {
    BATCH_MESSAGES_DEFAULT = 1000,
    BATCH_BYTES_DEFAULT = 256 << 10,
    BATCH_BYTES_MAX = 4 << 20,
    WINDOW_MESSAGES_DEFAULT = 100000,
    WINDOW_BYTES_DEFAULT = 32 << 20,
    WINDOW_CALLS_DEFAULT = 64,
    SPARE_MAX = 64,              /* as many as the calls of the usual window */
    SPARE_BYTES_MAX = 512 << 10, /* twice a usual batch: one that was larger is not kept */
    LINGER_MS_MAX = 60000
};

struct ternmq_producer {
    struct ternmq *client;
    struct list link; /* client->producers */
    char topic[TOPIC_NAME_BYTES_MAX + 1];
    enum ternmq_choose choose;
    uint32_t queue;
    enum ternmq_durability durability;
    uint32_t timeout_ms;
    uint32_t linger_ms;
    uint32_t batch_messages;
    uint32_t batch_bytes;
    uint32_t window_messages;
    uint32_t window_calls;
    size_t window_bytes;

    struct client_route *route; /* by key alone: how many queues there are */
    struct route_waiter route_waiter;
    bool route_asked;
    struct ternmq_error route_error; /* code 0: none */

    struct batch **open; /* by key: a queue each; else one */
    uint32_t open_count;
    struct list open_batches; /* those of them that are there, oldest first */
    struct list ready;
    struct list sent;
    struct list spare;
    uint32_t spare_count;
    struct timer linger;
    bool due; /* open batches are to be sent as calls become free */
    bool closing;
    uint32_t calls;
    size_t messages;
    size_t bytes;
};

static inline struct ternmq_producer *producer_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct ternmq_producer, link);
}

/* An empty batch of the producer for `queue`, in none of its lists; NULL: no memory. */
struct batch *producer_take_batch(struct ternmq_producer *producer, uint32_t queue);

/* Lets go of a batch that is not under way, whatever list it is in. */
void producer_give_batch(struct ternmq_producer *producer, struct batch *batch);

/* Counts messages as under way. */
void producer_window_add(struct ternmq_producer *producer, size_t messages, size_t bytes);

/* An open batch takes no more and is ready; all open batches. */
void producer_close_batch(struct ternmq_producer *producer, struct batch *batch);
void producer_close_all(struct ternmq_producer *producer);

/* Sends what may be sent now. */
void producer_pump(struct ternmq_producer *producer);

/* Sends a batch: from here it may end at any turn, and a one-way batch at once. */
void producer_send_batch(struct ternmq_producer *producer, struct batch *batch, bool one_way);

/* The bytes of a one-way batch have left: so does it. */
void producer_one_way_left(struct batch *batch);

#endif
