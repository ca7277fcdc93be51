/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open_ranges.h - what of a queue a group has begun and not settled: disjoint ranges in order of offset.
 *
 *     READY    to be given out: never given out but passed, given back, or due for another attempt
 *     WAITING  failed, and not due yet
 *     LEASED   somebody's until a moment
 *     BLOCKED  in groups that keep the order of keys: an earlier message of its key is open
 *     DYING    on its way to the dead letters
 *
 *     READY --lease--> LEASED --settled--> (gone)
 *       ^ ^               | `--failed--> WAITING --due--> READY, or DYING when that was the last attempt
 *       | `---given back--'
 *     BLOCKED: the message before it is settled
 *
 * The set is an array of blocks of pointers, so that a million ranges are found, added and removed in
 * any order in about a microsecond. A block knows what its ranges have together: what is asked about all of them
 * looks at the blocks, of which there are about a hundred times fewer.
 *
 * Memory:  about 130 bytes a range, with its place here and among the moments. Owner: the group's queue; bounded by GROUP_OPEN_MAX offsets.
 * Threads: the shard's core.
 */
#ifndef BROKER_OPEN_RANGES_H
#define BROKER_OPEN_RANGES_H

#include "proto/base/heap.h"
#include "proto/base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct group_member;
struct group_queue;
struct reason;

enum open_state { OPEN_READY, OPEN_WAITING, OPEN_LEASED, OPEN_BLOCKED, OPEN_DYING };

struct open_range {
    struct heap_node moment; /* in groups->moments: until, of LEASED; due, of WAITING */
    struct list link;        /* READY: queue->ready; LEASED: session's leases; BLOCKED: key's */
    uint64_t first;
    uint32_t count;
    uint32_t key; /* 0: none, or not looked at yet */
    struct group_queue *queue;
    struct group_member *member; /* LEASED: whose it is; NULL: of before a start */
    struct reason *reason;       /* why the last attempt failed; NULL: it is the first */
    uint64_t serial;             /* LEASED: of the answer that it was given out with */
    uint64_t due_ms;             /* of the next attempt, also while it is LEASED; 0: at once */
    uint16_t attempts;           /* that failed; in a set open_ranges_set_attempts() sets it */
    uint8_t state;               /* enum open_state */
    bool is_looked_at;           /* its key is known */
    bool is_given_back;          /* LEASED: given back, but the log could not say so yet */
};

struct open_block;

/* A zeroed set is an empty one. */
struct open_ranges {
    struct open_block **blocks;
    uint32_t block_count;
    uint32_t block_capacity;
    uint32_t count;   /* of ranges */
    uint64_t offsets; /* in all of them */
};

static inline uint64_t open_range_end(const struct open_range *range)
{
    return range->first + range->count;
}

/* How many attempts have failed when one more has. */
static inline uint16_t attempts_after(uint16_t attempts)
{
    return attempts < UINT16_MAX ? (uint16_t)(attempts + 1) : UINT16_MAX;
}

/* Gives the blocks back; the ranges are not touched. */
void open_ranges_deinit(struct open_ranges *ranges);

/* Adds a range that meets no other (asserted). */
void open_ranges_add(struct open_ranges *ranges, struct open_range *range);

/* Takes one of its ranges out. */
void open_ranges_remove(struct open_ranges *ranges, struct open_range *range);

/* Changes a range of the set so that it stays in its place: asserted. */
void open_ranges_resize(struct open_ranges *ranges, struct open_range *range, uint64_t first,
                        uint32_t count);

/* Another number of failed attempts for a range of the set. */
void open_ranges_set_attempts(struct open_ranges *ranges, struct open_range *range,
                              uint16_t attempts);

/* The first range that ends behind `offset`, or NULL: it has the offset, or lies behind it. */
struct open_range *open_ranges_find(const struct open_ranges *ranges, uint64_t offset);

/* The range behind one of the set, or NULL. */
struct open_range *open_ranges_next(const struct open_ranges *ranges,
                                    const struct open_range *range);

/* The first of all, or NULL. */
struct open_range *open_ranges_first(const struct open_ranges *ranges);

/* The first of those that have not failed yet, or NULL. */
struct open_range *open_ranges_first_untried(const struct open_ranges *ranges);

/* How many offsets of [first, end) are in the set. */
uint64_t open_ranges_count(const struct open_ranges *ranges, uint64_t first, uint64_t end);

#endif
