/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups.h - where all groups stand in the queues of one shard: the view, its timers, and what has
 * something to give out.
 *
 *     operations  progress, retry, lease, seek; messages whose extra says `dead` settle what they were
 *     bound       GROUP_RANGES_MAX open ranges; a queue of a group only where the group reads the topic
 *     snapshot    rows cursor, retry, lease, queue by queue in the order in which they were made
 *
 * What must survive the process goes through the log: groups_retry(), groups_seek() and, in ordered groups,
 * groups_lease() append an operation, which changes the state when it is accepted, live and in replay
 * alike. Settling is merged: groups_settle() changes the state at once, and before the turn's end one
 * operation a queue says what was settled.
 *
 *     READY ranges, new messages ---> queue in group->ready ---> group in core->woken_groups
 *                                                                      | after the logs have written
 *                                                                      v
 *                                                        home_ready() (broker/home.h), once until asked
 *
 * A queue of a group ends when it is sought, or its group or topic is deleted. It may have a million ranges
 * open, so it is retired: where it stood is free at once, and what it had open, which is nobody's any more, is taken
 * apart some a turn. Until then that counts in GROUP_RANGES_MAX, and in what its members hold.
 *
 * Memory:  300 bytes a group here, 300 a queue of it, what group_queue.h says. Owner: the shard.
 * Threads: the shard's core.
 */
#ifndef BROKER_GROUPS_H
#define BROKER_GROUPS_H

#include "broker/delivery_trace.h"
#include "broker/group_queue.h"
#include "broker/reason.h"
#include "net/reactor.h"
#include "proto/base/heap.h"
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "proto/error.h"
#include "storage/view.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /* Settled ranges of one queue in one turn: more are appended at once. */
    GROUPS_SETTLED_MAX = 1024,
    /* Leases that are given back in one turn, of all sessions: a microsecond each, in an ordered group with an
     * operation of 100 bytes, for which a log has room. */
    GROUPS_RELEASED_A_TURN = 1024,
    /* A lease's serial has the epoch in which it was made above these: 10^12 leases of a shard in one epoch, and
     * 16 million starts. */
    GROUPS_SERIAL_BITS = 40
};

struct catalogue;
struct core;
struct group;
struct shard;

/* One group in this shard. */
struct shard_group {
    struct groups *groups;
    uint32_t id;
    uint64_t opened_version; /* of the core's directory when its queues were looked for; 0: never */
    struct number_map places;   /* topic << 16 | queue -> struct group_queue */
    struct list queues;         /* struct group_queue.of_group */
    struct list ready;          /* struct group_queue.in_ready */
    struct list woken;          /* core->woken_groups */
    struct list dying_later;    /* struct open_range.link: there is no topic for dead letters yet */
    struct list in_dying_later; /* groups->dying_later */
    uint64_t used_told_ns;      /* when its home was told last that something is settled */
    bool told;      /* its home has been told that something is ready, and has sent nobody since */
    bool told_full; /* its home knows that a bound keeps something back */

    /* Since the start of the process. */
    uint64_t delivered;
    uint64_t acked;
    uint64_t nacked;
    uint64_t expired;
    uint64_t dead;     /* dead letters made */
    uint32_t full;     /* of its queues that keep something back for a bound */
    uint64_t filtered; /* looked at, and not delivered */
};

/* What a session holds here. */
struct session_leases {
    struct list ranges; /* struct open_range.link, the newest last */
};

struct groups {
    struct view view;
    struct shard *shard;
    const struct catalogue *catalogue; /* the shard's: says how a group is ordered */
    bool is_live;                      /* replayed and attached */
    struct map_seed seed;
    struct number_map by_id; /* struct shard_group */
    struct list queues;      /* struct group_queue.all, in the order of their serials */
    struct list *walk;   /* group_retention.c's: where it is in `queues`; follows when that goes */
    struct list retired; /* struct group_queue.all of those that have ended: with open ranges */
    struct timer retired_timer; /* in the next turn, while there are any */
    uint64_t queue_serial;
    uint64_t range_count; /* open ranges of all */
    struct list crowded;  /* struct group_queue.in_crowded: looked at again when there are fewer */
    struct heap moments;  /* struct open_range.moment, ms since 1970 */
    struct timer timer;   /* at the first of them, which is */
    uint64_t timer_ms;
    struct list dying;           /* struct open_range.link */
    struct list dying_later;     /* struct shard_group.in_dying_later */
    struct list dirty;           /* struct group_queue.dirty */
    struct turn_hook flush_hook; /* TURN_WRITE, before the log's */
    bool flush_refused;          /* the last time: `dirty` is tried again when the loop turns */
    uint64_t lease_serial;
    struct delivery_trace trace;
    struct number_map sessions; /* struct session_leases */
    struct list released;       /* struct open_range.link: LEASED, to be given back */
    struct timer release_timer; /* in the next turn, while some may be or were */
    uint32_t release_left;      /* of those that are given back in this turn */
    uint8_t flush_room[EVENT_PROGRESS_BYTES + (GROUPS_SETTLED_MAX + 1) * EVENT_PROGRESS_MORE_BYTES];
};

/* -------------------------------------------------------------------- life */

/* Empty; its view is for the log that is opened next, behind the catalogue's. Adds a hook to the core's
 * reactor, before the log adds its own. */
struct groups *groups_create(struct shard *shard);

/* The log is closed. NULL is allowed. */
void groups_destroy(struct groups *groups);

/* The log was replayed and its epoch has begun: from here ranges become due and queues are watched. What is
 * of groups or topics that are gone is dropped. */
void groups_attach(struct groups *groups);

/* The log is about to be closed: nothing becomes due any more. */
void groups_stop(struct groups *groups);

/* ----------------------------------------------------------------- finding */

/* The group here; made if it is not there yet. */
struct shard_group *groups_group(struct groups *groups, uint32_t id);

/* Or NULL. */
struct shard_group *groups_find_group(const struct groups *groups, uint32_t id);

/* Where a group stands in a queue, or NULL: it has not begun there. */
struct group_queue *groups_find(const struct groups *groups, const struct group_place *place);

/* The same, begun with no generation where the group is known to the catalogue. For the view. */
struct group_queue *groups_begin(struct groups *groups, const struct group_place *place);

/* A queue goes on at `offset` with nothing open, as another generation. For the view. */
void groups_restart(struct group_queue *queue, uint32_t generation, uint64_t offset);

/* A group, or a topic, is gone; all groups are. For the view. For a topic each queue of each group is looked at, at
 * 0.1 us, and those that go cost 1 us: 6 ms where the shard has 65,536, which is 4,096 groups of 16 queues; 50 ms
 * where it has four times as many and 16,384 go. It is once for a topic, and its queues must be gone for whatever
 * comes next in the log. */
void groups_drop_group(struct groups *groups, uint32_t id);
void groups_drop_topic(struct groups *groups, uint32_t topic);
void groups_reset(struct groups *groups);

/* Ends a queue, which is in no map any more: at once, or when its ranges are taken apart. */
void groups_retire(struct group_queue *queue);

/* Takes the retired ones apart at once. */
void groups_drop_retired(struct groups *groups);

/* The timer's: takes some of their ranges apart. */
void groups_dismantle(struct timer *timer);

/* ------------------------------------------------------------- for the log */

/* These refuse as commit_log_operate() does; nothing has happened then. */

/* The group goes on at `offset`, as another generation, which begins the queue if it is new. */
enum error groups_seek(struct groups *groups, const struct group_place *place, uint64_t offset);

/* Offsets have failed, or are to be tried at another moment. */
enum error groups_retry(struct group_queue *queue, const struct event_retry *retry);

/* Offsets of an ordered group are given out: the log has it when the turn's end is written. */
enum error groups_lease(struct group_queue *queue, const struct event_lease *lease,
                        struct group_member *member);

/* A LEASED range, or a part of it, is its holder's until another moment. */
enum error groups_extend(struct group_queue *queue, struct open_range *range,
                         const struct event_lease *lease);

/* Offsets are settled. */
enum error groups_settle(struct group_queue *queue, const struct offset_range *range);

/* The same of what retention took, or nobody can read: `undone` of them count as skipped. */
enum error groups_skip(struct group_queue *queue, const struct offset_range *range,
                       uint64_t undone);

/* What was settled is appended now. False: refused; it is tried again with the next turn. */
bool groups_flush(struct groups *groups);

/* The same of who waits until it is durable; something was settled (asserted by whoever looks at `dirty`).
 * False: refused, `waiting` is not told. */
bool groups_flush_waiting(struct groups *groups, struct log_operation *waiting);

/* Appends again that an offset is settled which is, for who waits until it is durable. */
enum error groups_say_again(struct group_queue *queue, uint64_t offset,
                            struct log_operation *waiting);

/* ---------------------------------------------------------------- what is ready */

/* Something of a queue has changed: if there is something to give out now its group is told, if not the
 * queue is watched. Sets the timer. */
void groups_changed(struct group_queue *queue);

/* The same of a queue of which nothing could be taken, perhaps since a bound has kept it back: it is watched
 * only. */
void groups_watch(struct group_queue *queue, bool is_kept_back);

/* Whether there is room again for ranges of queues that had something for want of it alone; looks at them. */
bool groups_may_uncrowd(const struct groups *groups);
void groups_uncrowd(struct groups *groups);

/* Whether a queue of the group here keeps something back for a bound, and which. */
bool groups_find_full(const struct shard_group *group, struct group_bound *bound_out);

/* Tells the group's home, if it does not know, that there may be something. */
void groups_wake(struct shard_group *group);

/* Topics or groups have changed on this core: groups that are received from look for new queues. */
void groups_refresh(struct core *core);

/* At the turn's end, when the logs have written: tells the homes of the groups that became ready, or of which a
 * bound keeps something back, or does no more. */
void groups_tell_homes(struct core *core);

/* The timer's: leases expire, failures become due. */
void groups_due(struct timer *timer);

/* The moment of a range was set: the timer follows. */
void groups_set_timer(struct groups *groups);

/* When messages that have failed so often are tried again: at `due_ms` unless that was the last attempt.
 * Dead letters are never given up: they are tried again after the group's longest backoff. */
uint64_t groups_due_ms(const struct group *group, uint32_t attempts, uint64_t due_ms,
                       uint64_t now_ms);

/* A LEASED range is open again as it was, uncounted. False: in an ordered group the log must say so, and has
 * refused; when the lease ends that is tried again, and no attempt is counted. */
bool groups_give_back(struct open_range *range);

/* ----------------------------------------------------------------- sessions */

/* Notes that a LEASED range is a session's. */
void groups_hold(struct groups *groups, uint64_t session, struct open_range *range);

/* A session's leases of these serials are given back, uncounted: GROUPS_RELEASED_A_TURN, the others in the
 * turns that come. They are no session's any more; one that holds nothing then is forgotten. */
void groups_release(struct groups *groups, uint64_t session, uint64_t first_serial,
                    uint64_t last_serial);

/* What is still to be given back is, at once: for the end, when nobody is served any more. */
void groups_release_rest(struct groups *groups);

/* The timer's: the next turn has begun. */
void groups_release_more(struct timer *timer);

/* A session is gone: nothing is its any more. In constant time. */
void groups_forget_session(struct groups *groups, uint64_t session);

/* -------------------------------------------------------------------- trace */

/* Of what is about to happen to a range, which may be NULL: never given out in this life. Its member is told
 * when it is given out, alone. For groups_trace_note(), which takes over the reference to it. */
struct trace_event groups_trace_of(const struct group_queue *queue, enum trace_outcome outcome,
                                   const struct open_range *range);

/* It has happened to these offsets; with an error it has not. */
void groups_trace_note(struct group_queue *queue, const struct trace_event *event,
                       const struct offset_range *offsets, enum error error);

/* -------------------------------------------------------------- catalogue */

/* A group was put, and its log has it: begins the queues that it must not begin later. `old` is the
 * version before, or NULL. */
void groups_put(struct shard *shard, const struct group *group, const struct group *old);

extern const struct view_operations groups_view_operations;

#endif
