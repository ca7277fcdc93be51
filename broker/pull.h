/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pull.h - the method `pull`: records of one queue from a place on, waiting for the first.
 *
 * The call goes to the core of the queue's shard, which finds the runs of bytes to send when its logs
 * have written at the turn's end; it comes home with references to their segments and the home core
 * sends them (broker/delivery.h). Where there is nothing yet it parks there, until something is
 * visible, `wait_ms` is over, the client cancels, or its connection closes.
 *
 *     home: READ ---> owner: SERVED ----------------------------> home: answered
 *                      |   ^  |  ^                                   |  ^
 *                      |   |  v  | it is in the page cache now       |  |
 *                      |   |  COLD                                   |  |
 *                      v   | visible, time-out, cancel               v  | socket took some
 *                     PARKED                                         HELD (unsent answers above
 *                                                                          UNSENT_BYTES_MAX)
 *
 * COLD is no waiting for messages: it is as long as a disk needs, and nothing ends it early.
 *
 * With a filter (proto/filter.h) serving is looking through what is there, a bounded part each turn
 * (broker/filter_scan.h): with nothing found it is served again in the next turn from where it has come
 * to, for PULL_SCAN_MS_MAX or as long as it may wait; at the end of the queue it parks.
 *
 * A poll, a pull that may wait, counts as waiting until it is answered.
 *
 * Memory:  struct pull_call lies in the call; a list of runs only from being served to being
 *          answered or held.
 * Threads: as the call. A cancel travels as a message of its own, so a call that one is under way
 *          for does not end before that message has come back.
 */
#ifndef BROKER_PULL_H
#define BROKER_PULL_H

#include "broker/poll.h"
#include "broker/queue_reader.h"
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
struct topic;

/* A pull that may not wait looks through what is there for so long, until it says how far it came. */
enum { PULL_SCAN_MS_MAX = 100 };

/* Where a pull begins. */
enum pull_place { PULL_OFFSET, PULL_TIME, PULL_FIRST, PULL_LAST };

struct pull_call {
    struct poll poll;

    /* The owner's. */
    struct queue_waiter waiter; /* while parked */
    struct timer timer;         /* while parked */
    struct list woken;          /* core->woken: is served at the turn's end */
    void (*again)(struct call *call, struct core *at); /* reads again when it is cold no more */

    /* Whose the call is. */
    struct queue_reader reader; /* its filter is home's to destroy */
    uint64_t at;                /* the offset, or the time in ms */
    uint64_t first;             /* resolved */
    uint64_t wait_until_ns;     /* 0: does not wait */
    uint32_t epoch;
    enum pull_place place;
    bool has_epoch;
    bool parked;
};

/* The method. */
void pull_run(struct call *call, const struct arguments *arguments);

/* For session.c and admin.c, at home: ends a poll's waiting, wherever it waits. It is answered as
 * if it had timed out. */
void pull_cancel(struct call *call);

/* Serves the polls of a session whose socket has taken enough. */
void pull_resume_held(struct session *session);

/* Serves the pulls that have come to `core` this turn and the polls that were woken. */
void pull_serve_woken(struct core *core);

/* Gives back what the call took. False: it ends later, when its cancel has come back, which then
 * calls call_end() again. For call_end(). */
bool pull_release(struct call *call);

/* For find.c, which travels the same way: makes an empty pull of `queue` of a topic; reads on
 * the owner what its reader has then, or, where the disk is needed first, answers false and runs
 * `again` later; answers its error, at home, with what there is to know about it. */
void pull_init(struct call *call, const struct topic *topic, uint16_t queue);
bool pull_read(struct call *call, struct core *at,
               void (*again)(struct call *call, struct core *at));
void pull_refuse(struct call *call);

/* For pull.c: reads the argument `filter`, the reader's then, or NULL where every message is wanted; until
 * when a pull goes on looking through what is there. */
enum error pull_read_filter(struct call *call, const struct arguments *arguments,
                            struct refusal *refusal);
uint64_t pull_scan_until_ns(const struct call *call);

#endif
