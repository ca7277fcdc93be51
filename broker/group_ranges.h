/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_ranges.h - the open ranges of a group's queue, one by one: how they come, change their state, are cut and
 * joined, and go. Each is counted in its state, in its member and in the groups' bound; whoever calls keeps
 * `next`.
 *
 * For group_queue.c, which says what operations make of them; nobody else changes a range.
 *
 * Memory:  a range each, counted in groups->range_count. Owner: the group's queue.
 * Threads: the shard's core.
 */
#ifndef BROKER_GROUP_RANGES_H
#define BROKER_GROUP_RANGES_H

#include "broker/group_queue.h"

#include <stdint.h>

/* Adds a range in no state yet: group_range_enter() or group_range_enter_open() follows. A `key` other than 0 is one
 * message, whose key has been looked at. */
struct open_range *group_range_add(struct group_queue *queue, uint64_t first, uint32_t count,
                                   uint32_t key);

/* Takes one out, whatever it is in. What waited for it of its key may be given out then. */
void group_range_remove(struct group_queue *queue, struct open_range *range);

/* Ends what the range is in: the state that it is to have comes next. */
void group_range_leave(struct group_queue *queue, struct open_range *range);
void group_range_enter(struct group_queue *queue, struct open_range *range, enum open_state state);

/* READY, or BLOCKED where an earlier message of its key is open, or a later one somebody's. */
void group_range_enter_open(struct group_queue *queue, struct open_range *range);

/* It is nobody's any more, or its due has come. What it is in now: neighbors that are alike are one. */
struct open_range *group_range_open_again(struct group_queue *queue, struct open_range *range);

/* What was LEASED of a key is it no more: the first of the key may have waited for that. */
void group_range_free_key(struct group_queue *queue, const struct open_range *range);

/* Makes a range and its neighbors one where they are alike; gives that. Never in the order of keys, where each
 * offset is one. */
struct open_range *group_range_join(struct group_queue *queue, struct open_range *range);

/* Takes the offsets from `first` to before `end` out of what is open. */
void group_queue_cut(struct group_queue *queue, uint64_t first, uint64_t end);

/* What lies between `next` and `first` is open from here. */
void group_queue_begin_to(struct group_queue *queue, uint64_t first);

#endif
