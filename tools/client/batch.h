/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.h - messages that are produced by one call: encoded once, kept until their fate is known.
 *
 * The elements of `messages` are encoded when they are taken; the head of the request, which changes
 * from try to try, is written in front of them. They go to the socket from where they lie, so a batch
 * lives until its producer and the output have both let it go.
 *
 * Memory:  the producer's window counts it.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_BATCH_H
#define TOOLS_CLIENT_BATCH_H

#include "proto/base/contract.h"
#include "proto/base/list.h"
#include "tools/client/client_call.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Who wants to know of one message. */
struct batch_waiter {
    ternmq_produced_fn *done;
    void *context;
};

struct batch {
    struct client_call call;
    struct ternmq_producer *producer; /* NULL: it is only still being sent */
    struct list link;                 /* one of the producer's lists */
    uint32_t references;
    uint8_t *elements;
    size_t length;
    size_t capacity;
    uint32_t count;
    uint32_t queue; /* or BATCH_QUEUE_ANY */
    uint64_t born_ms;
    bool whole;                   /* one waiter for all messages; else one each */
    struct batch_waiter all;      /* with `whole` */
    struct batch_waiter *waiters; /* else, with `heard`: of each message */
    uint32_t waiters_capacity;
    bool heard; /* somebody wants to know of one of them */
};

#define BATCH_QUEUE_ANY UINT32_MAX

/* What the head of a produce request takes at most, topic and all. */
enum { BATCH_HEAD_ROOM = 512 };

/* An empty one with one reference, or NULL. */
struct batch *batch_create(void);

void batch_ref(struct batch *batch);
void batch_unref(struct batch *batch);

/* Makes it empty again, for reuse; nobody else holds it. */
void batch_clear(struct batch *batch);

/*
 * The bytes that `message` takes as an element, checked against the limits of the protocol. 0 with
 * `*error_out` filled in: BAD_ARGUMENT, TOO_LARGE, USAGE.
 */
size_t message_measure(const struct ternmq_message *message, struct ternmq_error *error_out);

/* Appends a message that takes `bytes`. False: no memory, nothing changed. */
NODISCARD bool batch_add(struct batch *batch, const struct ternmq_message *message, size_t bytes);

/* Says who wants to know of the message added last. False: no memory. */
NODISCARD bool batch_add_waiter(struct batch *batch, ternmq_produced_fn *done, void *context);

/* Writes the request, or, with `one_way`, the notice. */
void batch_write(struct batch *batch, struct connection *connection, uint32_t id, uint32_t left_ms);

/* Reads what the broker answered. False: it is no answer to this batch. */
NODISCARD bool batch_read_answer(const struct batch *batch, struct bytes result,
                                 struct ternmq_produced *produced_out);

#endif
