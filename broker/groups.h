/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups.h - where groups stand in the queues of a shard.
 *
 * Threads: the shard's core.
 */
#ifndef BROKER_GROUPS_H
#define BROKER_GROUPS_H

struct group;
struct shard;

/* The shard's log has accepted a new version of a group; `old` is the one before, NULL: it is new. */
void groups_put(struct shard *shard, const struct group *group, const struct group *old);

#endif
