/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive.h - the method `receive`: messages of a group for one of its members, leased to it.
 *
 *     session's core: READ [settles `ack` first] --> group's home (broker/home.h) --> a shard that is ready
 *          ^                                           |  waits there for one          |
 *          |                                           v                               v
 *          `---------------- nothing ------------------'      SERVED: ranges are leased, their runs read
 *          `---------------------------------------------------------- messages --------'
 *
 * At the shard the queues that are ready are looked at in turn. Of each the messages are read first
 * (broker/queue_reader.h) and what was read is leased then, so that nobody holds what waits for a disk: a call
 * that must wait for one begins again after that. In an ordered group a lease is in the log before its
 * messages leave.
 *
 * An answer that the connection could not give to the kernel whole before it closed gives its leases back
 * (receive_answer.h), uncounted.
 *
 * Memory:  struct receive_call lies in the call; ranges and runs only from being served to being
 *          answered, in blocks of the core's pools. The receive buffer is given back before it waits.
 * Threads: as the call. A cancel travels as a message of its own, as with pull.
 */
#ifndef BROKER_RECEIVE_H
#define BROKER_RECEIVE_H

#include "broker/catalogue_change.h"
#include "broker/group_queue.h"
#include "broker/poll.h"
#include "broker/queue_reader.h"
#include "broker/settle.h"
#include "net/reactor.h"
#include "proto/arguments.h"
#include "proto/base/list.h"
#include "proto/error.h"
#include "storage/commit_log.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct core;
struct group;
struct group_member;
struct reason;
struct session;
struct shard;

enum {
    /* Ranges of an answer: one a run at the most. */
    RECEIVE_RANGES_MAX = LOG_RUNS_MAX
};

/* One range of an answer. */
struct receive_range {
    struct bytes topic; /* in receive->group's block */
    uint64_t first;
    uint64_t span;
    uint32_t topic_id;
    uint32_t generation;
    uint32_t messages;
    uint16_t queue;
    uint16_t attempt;      /* this one, from 1 */
    struct reason *reason; /* a reference; NULL: none */
};

struct receive_ranges {
    uint32_t count;
    struct receive_range at[RECEIVE_RANGES_MAX];
};

struct receive_call {
    struct poll poll;
    /* Home's, also while the call is away. */
    bool has_ack;
    bool is_placed; /* on its way to its group's home, which stays the same from here */
    bool is_member; /* of a broadcast group, whose member's group is its own */

    /* The core of the group's home alone. */
    struct list waiting; /* home->waiting */
    struct timer timer;
    bool parked;
    _Atomic bool cancelled; /* a home that it has left may still say so */
    bool has_waited;
    uint64_t tried; /* bit 1 << shard: had nothing for it */
    uint64_t round; /* of its home, when it was asked last */

    /* Whose the call is. */
    struct settling settling; /* of `ack` */
    struct group *group;      /* a reference: the version that it is served with */
    struct core *group_home;
    struct group_member *member; /* a reference */
    struct shard *shard;
    struct receive_ranges *ranges; /* NULL: none */
    struct run_list *runs;         /* likewise */
    struct list woken;             /* core->receives, or core->leased */
    struct queue_reader reader;
    struct change_waiter change; /* while its member of a broadcast group is made */
    uint64_t session;
    uint64_t serial; /* of its leases */
    uint64_t until_ms;
    uint64_t wait_until_ns; /* 0: does not wait */
    uint64_t bytes_max;
    uint32_t messages_max;
    uint32_t lease_ms; /* 0: the group's */
    uint32_t group_id;
    uint32_t topic_id;
    bool is_of_topic;
    bool leaves_some;  /* the shard has something that this call did not take */
    bool was_put_off;  /* for want of time to look at it */
    bool is_full_here; /* the shard keeps something back for a bound */
    bool is_full;      /* one of the shards does */
    /* What the reader was last made for: where it goes on with what it has learned of the disk. */
    struct group_place read_place;
    uint64_t read_from;
    enum error error;
    struct group_bound bound; /* where is_full */
    uint8_t member_bytes;
    uint8_t member_name[MEMBER_NAME_BYTES_MAX];
};

/* The method. */
void receive_run(struct call *call, const struct arguments *arguments);

/* As pull_cancel(). */
void receive_cancel(struct call *call);

/* Goes on with the receives of a session whose socket has taken enough. */
void receive_resume_held(struct session *session);

/* At a shard's core: leases and reads; the call goes home, or to its group's home with nothing. */
void receive_serve(struct call *call, struct core *at);

/* The same, for its reader: what was cold is there. */
void receive_serve_again(struct queue_reader *reader, struct core *at);

/* At home, with what there is. */
void receive_home(struct call *call, struct core *at);

/* For the core, when its logs have written: whether anything can, and it goes home, that waited for its leases
 * to be in the log; what waits for a segment stays. What had no time is served again. */
bool receive_is_written(const struct core *core);
void receive_written(struct core *core);
void receive_serve_woken(struct core *core);

/* As pull_release(). */
bool receive_release(struct call *call);

/* A session is closed: what it was given and cannot have got, or with `release_on_close` has not settled, is
 * given back. */
void receive_session_closed(struct session *session);

#endif
