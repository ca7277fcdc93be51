/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pull.h - the method `pull`: records of one queue from a place on, waiting for the first.
 *
 * The call goes to the core of the queue's shard, which finds the runs of bytes to send; it comes
 * home with references to their segments and the home core sends them (broker/delivery.h). Where
 * there is nothing yet it parks there, until something is visible, `wait_ms` is over, the client
 * cancels, or its connection closes.
 *
 *     home: READ ---> owner: served ----------------------------> home: answered
 *                      |   ^                                         |  ^
 *                      v   | visible, time-out, cancel               v  | socket took some
 *                     PARKED                                         HELD (unsent answers above
 *                                                                          UNSENT_BYTES_MAX)
 *
 * Memory:  struct pull_call lies in the call; a list of runs only while it is served.
 * Threads: as the call. A cancel travels as a message of its own, so a call that one is under way
 *          for does not end before that message has come back.
 */
#ifndef BROKER_PULL_H
#define BROKER_PULL_H

#include "net/reactor.h"
#include "proto/arguments.h"
#include "proto/base/list.h"
#include "proto/error.h"
#include "storage/commit_log.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct core;
struct session;
struct shard;

/* Where a pull begins. */
enum pull_place { PULL_OFFSET, PULL_TIME, PULL_FIRST, PULL_LAST };

struct pull_call {
    struct queue_waiter waiter; /* the owner's, while parked */
    struct timer timer;         /* the owner's, while parked */
    struct list woken;          /* the owner core's list of polls to be served this turn */
    struct list held;           /* session->held */
    struct shard *shard;
    struct run_list *runs; /* what to send; NULL: nothing */
    enum pull_place place;
    uint64_t at;     /* the offset, or the time in ms */
    uint64_t first;  /* resolved */
    uint64_t end;    /* visible, when it was served */
    uint64_t detail; /* of the error: resume, first or next */
    uint64_t wait_until_ns;
    uint64_t bytes_max;
    uint32_t messages_max;
    uint32_t topic_id;
    uint32_t epoch;
    uint16_t queue;
    bool has_epoch;
    bool waits;            /* counted in session->parked; home's */
    bool parked;           /* the owner's */
    bool cancelled;        /* no more waiting; set by whoever holds the call */
    bool cancel_under_way; /* home's */
    bool ended;            /* home's: ends when the cancel has come back */
    enum error error;
};

/* The method. */
void pull_run(struct call *call, const struct arguments *arguments);

/* Ends a poll's waiting, at home, wherever it waits: it is answered as if it had timed out. */
void pull_cancel(struct call *call);

/* Serves the polls of a session whose socket has taken enough. */
void pull_resume_held(struct session *session);

/* True where the call may end now; else it ends when its cancel has come back. For call_end(). */
bool pull_release(struct call *call);

/* Serves the polls that were woken on `core` this turn. */
void pull_serve_woken(struct core *core);

#endif
