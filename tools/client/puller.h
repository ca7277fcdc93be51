/* SPDX-License-Identifier: Apache-2.0 */
/*
 * puller.h - reads one queue, from where it is to where the log ends, and waits there.
 *
 *          .--------- answered, and there is room ---------.
 *          v                                               |
 *        IDLE ---room---> ASKING ---failed---> PAUSED --> ASKING
 *                           |
 *                           |---a gap---> GAP ---its notice was given---> IDLE
 *                           |---the end as of the start---> FINISHED
 *                           `---will never be answered---> STOPPED
 *
 * Memory:  its consumer's.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_PULLER_H
#define TOOLS_CLIENT_PULLER_H

#include "net/reactor.h"
#include "tools/client/client_call.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /* A poll parks so long: half of what a server allows, so that neither end's idle time-out
     * (CHANNEL_IDLE_MS) comes near. */
    PULL_WAIT_MS = 30000
};

enum puller_state {
    PULLER_IDLE,
    PULLER_ASKING,
    PULLER_PAUSED,
    PULLER_GAP,
    PULLER_FINISHED,
    PULLER_STOPPED
};

struct puller {
    struct ternmq_consumer *consumer;
    uint32_t queue;
    enum puller_state state;
    struct client_call call;
    struct timer pause;
    uint32_t tries;
    uint64_t failing_ns; /* since when; 0: it works */

    enum ternmq_start start; /* where to begin, until the broker has answered an offset */
    uint64_t start_value;
    bool placed;                     /* `next` is known */
    uint64_t next;                   /* the offset to ask for */
    uint32_t epoch;                  /* of the record before it, 0: none was seen */
    uint32_t topic_id;               /* 0: not known */
    uint32_t behind;                 /* answers in a row that ended far from the end of the queue */
    struct ternmq_position position; /* as ternmq_consume() has delivered */
};

struct puller *puller_create(struct ternmq_consumer *consumer, uint32_t queue,
                             enum ternmq_start start, uint64_t start_value);
void puller_destroy(struct puller *puller);

/* Asks for more, if it is idle and its consumer has room. */
void puller_start(struct puller *puller);

/* The user was told of the gap: goes on behind it. */
void puller_pass_gap(struct puller *puller, const struct ternmq_error *notice);

#endif
