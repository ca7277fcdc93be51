/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.h - the bounds that a broker keeps on its own, each with its reason.
 *
 * Bounds that clients must know stand in proto/limits.h. Whoever runs into one of these is refused
 * with OVERLOADED {limit, value, usage}.
 */
#ifndef BROKER_LIMITS_H
#define BROKER_LIMITS_H

#include "proto/limits.h"

#include <assert.h>
#include <stdint.h>

/* Connections of the process. One idle costs about 1 KiB here and 4 KiB in the kernel. The bound in
 * force is the smaller of this and what RLIMIT_NOFILE leaves above the reserve. */
#define CONNECTIONS_MAX 10000

/* Descriptors kept back for the process's own files, and a quarter of all beside it: segments,
 * their indexes, connections to nameservers, an operator's look. */
#define DESCRIPTORS_RESERVED 128

/* Queues of one shard: about 200 bytes each in its log, so 13 MiB. */
#define QUEUES_PER_SHARD_MAX 65536

/* Parts of the placements of all topics of a broker that lie on several: with a name of
 * BROKER_NAME_BYTES_MAX in each, and TOPICS_MAX topics, lease.renew fits a frame. */
#define PLACEMENT_PARTS_IN_ALL_MAX 16384

/* Catalogue changes under way, of all topics and groups: each holds its operation, below 16 KiB, and as
 * much of its request. */
#define CATALOGUE_CHANGES_MAX 256

/* Topics and filters of all groups together, 1 KiB each if there are GROUPS_MAX; what filters are
 * compiled to is at most eight times as much in each shard. */
#define GROUPS_BYTES_MAX (16U << 20)

/* How long a member of a broadcast group may be away, unless the group says otherwise: a night. */
#define BROADCAST_IDLE_EXPIRE_MS 86400000

/* Deleted topics and groups that a shard remembers. They are needed only for changes that a crash cut in the
 * middle, of which there are at most CATALOGUE_CHANGES_MAX. */
#define DELETED_MAX 1024

/* Settings kept in the catalogue; there is one so far. */
#define CATALOGUE_SETTINGS_MAX 64

/* How long the caller of a catalogue change is kept waiting for nameservers. */
#define RENEWAL_WAIT_MS 500

/* Listening addresses and nameservers of one broker. */
#define LISTENERS_MAX   16
#define NAMESERVERS_MAX 16

/* Receive buffers of one core: 32 connections that keep all of their UNANSWERED_BYTES_MAX in them. */
#define CORE_BUFFER_BYTES_MAX (128U << 20)

/* Of one group in one queue. Open offsets: what a thousand members with a thousand messages each have. Failed
 * ones: beyond it something is wrong with all messages, and nothing new is tried until some of them are
 * settled. Blocked ones: as far as a group that keeps the order of keys looks for a key that is free. */
#define GROUP_OPEN_MAX    (1U << 20)
#define GROUP_RETRIES_MAX 65536
#define GROUP_BLOCKED_MAX 65536

/* Open ranges of all groups of a shard: about 130 bytes each, so 260 MiB at the most. Retention alone may cut two more
 * a queue of a group, until its dead letters are written: it must not wait for who settles nothing. */
#define GROUP_RANGES_MAX (2U << 20)

/* How long the oldest segment waits for dead letters of what groups have open in it when none can be written
 * and nothing else is done: as long as it takes somebody to see a full disk, and no longer than a full disk can
 * be borne. */
#define RETENTION_WAIT_MS 60000

/* Members that the groups' homes of a core remember: those that wait, hold something, or were seen in the last two
 * minutes. About 200 bytes each. */
#define HOME_MEMBERS_MAX 16384

static_assert(DELETED_MAX >= CATALOGUE_CHANGES_MAX,
              "every change that a crash can cut is remembered");

#endif
