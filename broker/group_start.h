/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_start.h - where a group begins in a queue that it has not begun.
 *
 * Of `last` the queues that were there began when the group was put (groups_put()): what is made afterwards is
 * read from its first message.
 *
 * Threads: the shard's core.
 */
#ifndef BROKER_GROUP_START_H
#define BROKER_GROUP_START_H

#include "broker/group.h"
#include "storage/commit_log.h"

#include <stdbool.h>
#include <stdint.h>

/* False: that is cold, and `cold` is told. NULL for `cold`: it may wait. */
bool group_find_start(const struct group *group, struct commit_log *log, struct queue *queue,
                      struct cold_range *cold, uint64_t *offset_out);

#endif
