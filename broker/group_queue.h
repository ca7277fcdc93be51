/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_queue.h - where one group stands in one queue.
 *
 *        settled but for what is open                 never given out
 *     |=======|---|====|--|===========|-------------|- - - - - - - - - ->
 *             open     open                         next          visible
 *
 *     durable     generation, next as the log knows it (`logged`), of what is open below it how often it was
 *                 tried, when it is due again and why it failed; in ordered groups also whose it is
 *     live only   leases of unordered groups: a restart takes them, and what they had is given out again
 *     operations  progress, retry, lease, seek (proto/events_groups.h), applied by the functions below
 *     bound       GROUP_OPEN_MAX open offsets, GROUP_RETRIES_MAX of them failed: then nothing new is given
 *                 out; GROUP_BLOCKED_MAX behind keys; GROUP_RANGES_MAX ranges of all groups of the shard: then
 *                 none is cut into more either (group_queue_has_room())
 *     snapshot    rows cursor, then retry and lease for every open range below `logged`
 *
 * Nothing here appends, asks for the time or for chance: a function takes the state and what happened. What
 * must be in the log first is written by groups.c, receive.c and settle.c, whose operations come back
 * here through the view.
 *
 * An order of queues gives out the first that is open, and nothing while something is LEASED; an order of keys
 * the same for each key, so there every open offset is a range of its own that knows its key.
 *
 * Memory:  about 350 bytes and its open ranges. Owner: the shard's groups.
 * Threads: the shard's core.
 */
#ifndef BROKER_GROUP_QUEUE_H
#define BROKER_GROUP_QUEUE_H

#include "broker/open_ranges.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "proto/events_groups.h"
#include "proto/group_settings.h"
#include "proto/limits.h"
#include "storage/commit_log.h"

#include <stdbool.h>
#include <stdint.h>

struct group_key;
struct group_member;
struct groups;
struct shard_group;

/* A due that never comes: the next attempt is the dead letters'. */
#define DUE_NEVER (INTEGER_LIMIT - 1)

struct group_queue {
    struct groups *groups;
    struct shard_group *group;
    struct group_place place;
    uint64_t serial;            /* in the order in which they were made, for the snapshot */
    struct list all;            /* groups->queues; retired: groups->retired */
    struct list of_group;       /* group->queues */
    struct list dirty;          /* groups->dirty: something of this turn is not in the log yet */
    struct list in_ready;       /* group->ready: there may be something to give out */
    struct list in_crowded;     /* groups->crowded: the ranges of all groups keep something back */
    struct list in_retention;   /* group_retention.c's: a segment that has some of it is to go */
    struct queue_waiter waiter; /* while there is not */

    enum group_order order; /* as the group's settings have it */
    uint32_t generation;    /* from 1; every seek makes another */
    uint64_t next;
    uint64_t logged;
    bool is_full; /* a bound keeps back what is there: group->full counts it */
    bool
        is_retired; /* it has ended: what is open is nobody's, and goes (groups_retired.c); no `group` */
    uint64_t skipped; /* offsets that retention took before anybody had them */

    struct open_ranges open;
    uint64_t in_state[5];   /* open offsets by enum open_state */
    uint64_t retrying;      /* of those not LEASED, that have failed before */
    struct list ready;      /* READY ranges, who became so first */
    struct list unknown;    /* in the order of keys: READY ranges whose keys are not looked at */
    struct number_map keys; /* in the order of keys: of open offsets */

    uint64_t retention_from; /* group_retention.c's: where it goes on to look */
    uint64_t retention_end;  /* behind the last that is to go */

    struct offset_range *settled; /* of this turn, not in the log yet; in order, disjoint */
    uint32_t settled_count;
    uint32_t settled_capacity;
};

/* An empty queue of no generation: seek begins it. */
struct group_queue *group_queue_create(struct groups *groups, const struct group_place *place,
                                       enum group_order order);
void group_queue_destroy(struct group_queue *queue);

/* Takes it out of all lists that it is in; what of a turn is not in the log yet is forgotten. Its ranges stay. */
void group_queue_detach(struct group_queue *queue);

/* Takes out the first `most` ranges, or as many as there are: how many. */
uint32_t group_queue_dismantle(struct group_queue *queue, uint32_t most);

/* Takes out one range of a retired queue. */
void group_queue_drop(struct open_range *range);

/* ------------------------------------------------------ what operations do */

/* Everything below `offset` is settled, nothing is open. */
void group_queue_seek(struct group_queue *queue, uint32_t generation, uint64_t offset);

/* These offsets are settled, whatever they were. What lies between `next` and them becomes open. */
void group_queue_settle(struct group_queue *queue, const struct offset_range *range);

/* The same, and the log has it. */
void group_queue_progress(struct group_queue *queue, const struct offset_range *range);

/* These offsets have failed as told, whatever they were. */
void group_queue_retry(struct group_queue *queue, const struct event_retry *retry);

/* These offsets are given out, or longer than before to the same; what is open of them keeps what it was.
 * `member` may be NULL. */
void group_queue_lease(struct group_queue *queue, const struct event_lease *lease,
                       struct group_member *member);

/* The log has what was leased up to the end of `range`. */
void group_queue_note_logged(struct group_queue *queue, const struct offset_range *range);

/* ----------------------------------------------------------- what is live */

/* A LEASED range is open again as it was before. As what becomes due it is one with its neighbors then where they
 * are alike, but in the order of keys. */
void group_queue_give_back(struct group_queue *queue, struct open_range *range);

/* The log was replayed: what is open and was never tried is READY, all of it in the order of offsets. */
void group_queue_replayed(struct group_queue *queue);

/* Its due has come. */
void group_queue_due(struct group_queue *queue, struct open_range *range);

/* Another moment for a LEASED or WAITING range. */
void group_queue_set_moment(struct open_range *range, uint64_t at_ms);

/* Makes `range` two, of which the first has `count` offsets; gives the second. */
struct open_range *group_queue_split(struct group_queue *queue, struct open_range *range,
                                     uint32_t count);

/* Makes offsets that lie in `range` a range of their own, like it. */
struct open_range *group_queue_carve(struct group_queue *queue, struct open_range *range,
                                     const struct offset_range *offsets);

/* In the order of keys: notes that an offset behind all others, or the first of an unknown range, is there
 * and its key is this. It is READY, or BLOCKED where an earlier one is open. */
struct open_range *group_queue_meet_key(struct group_queue *queue, uint64_t offset, uint32_t key);

/* Whether an offset of this key may be given out with `serial`: nothing of it is open, but what was given
 * out with the same. */
bool group_queue_key_is_free(const struct group_queue *queue, uint32_t key, uint64_t serial);

/* The next range behind `range`, of its key, that is LEASED with `serial`; or NULL. */
struct open_range *group_queue_held_behind(const struct open_range *range, uint64_t serial);

/* The range of a key that follows what was given out with `serial`: BLOCKED behind it alone; or NULL. */
struct open_range *group_queue_next_of_key(const struct group_queue *queue, uint32_t key,
                                           uint64_t serial);

/* ---------------------------------------------------------------- questions */

/* The lowest offset that is neither settled nor failed. */
uint64_t group_queue_cursor(const struct group_queue *queue);

/* The lowest offset that is not settled. */
uint64_t group_queue_first_open(const struct group_queue *queue);

/* Whether nothing new is given out: which bound, its limit and what there is. */
struct group_bound {
    const char *what;
    uint64_t limit;
    uint64_t usage;
};
bool group_queue_is_full(const struct group_queue *queue, struct group_bound *bound_out);

/* Whether the ranges of all groups leave room to make these offsets, of one range or of none, a range of their own;
 * or to settle them and leave what is beside them. */
bool group_queue_has_room(const struct group_queue *queue, const struct offset_range *offsets,
                          bool are_settled);

/* Whether something may be given out, in a queue of which this much is visible. */
bool group_queue_has_work(const struct group_queue *queue, uint64_t visible);

/* A number that equal durable states share. */
uint64_t group_queue_hash(const struct group_queue *queue);

#endif
