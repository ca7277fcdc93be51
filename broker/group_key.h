/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_key.h - in groups that keep the order of keys: the open messages of each key, in order.
 *
 * A message of a key may be given out when it is the first of its key that is open and nothing of the key is
 * LEASED, or when all before it were given out in the same answer. The others are BLOCKED.
 *
 * Memory:  64 bytes a key that has open messages, 24 more an open range. Owner: the group's queue.
 * Threads: the shard's core.
 */
#ifndef BROKER_GROUP_KEY_H
#define BROKER_GROUP_KEY_H

#include "broker/group_queue.h"

#include <stdbool.h>

/* Memory of a zeroed range of this queue, for free(). */
struct open_range *group_range_allocate(const struct group_queue *queue);

/* Puts a range among those of its key. What was the first of them and is no more, or NULL. Where the
 * range itself is not the first that is for group_key_is_first() to say. */
struct open_range *group_key_enter(struct group_queue *queue, struct open_range *range);

/* Takes it out. What is the first of them now and may be given out, if it was the first; or NULL. */
struct open_range *group_key_leave(struct group_queue *queue, struct open_range *range);

/* Whether nothing of its key before it is open; and whether nothing of its key is LEASED either. */
bool group_key_is_first(const struct open_range *range);
bool group_key_is_free(const struct open_range *range);

/* The range of its key right before it, or NULL. */
const struct open_range *group_key_before(const struct open_range *range);

/* A range that has a key became LEASED, or is it no more. */
void group_key_count_leased(const struct open_range *range, bool is_leased);

/* Behind the latter: the first of its key, if nothing of it is LEASED any more; or NULL. */
struct open_range *group_key_freed(const struct open_range *range);

#endif
