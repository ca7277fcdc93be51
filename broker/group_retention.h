/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_retention.h - what becomes of what groups have open in the oldest segment of a log before it goes.
 *
 *     in retry, or leased          a dead letter of reason `retention`, its attempts as they were
 *     never given out, given back  passed, and counted as skipped
 *     of a group of dead letters   passed and counted, whatever it is: they make none of their own
 *
 *     asked --> LOOKING through all queues of groups --> WAITING for the dead letters --> SYNCING --> it goes
 *                  ^    a share a turn                     |  to be appended                |
 *                  `------- a seek went back into it ------'--------------------------------'
 *
 * Nobody is given anything of the segment once his queue was looked at. It goes when all that was done is
 * durable, so a power cut leaves a message or its dead letter.
 *
 * Dead letters that cannot be written must not fill the disk: when for RETENTION_WAIT_MS none was and
 * nothing else could be done, with a full disk as with a topic that cannot be made, the segment goes all the
 * same. Dead letters of what lies elsewhere do not count: there may be no end of them. The broker's log says so, and what could not be saved is counted as skipped as soon as there is
 * room to record that. As long as dead letters are written the segment stays: they are bounded by what it has.
 *
 * Memory:  32 bytes a queue of a group, in it. Owner: the shard.
 * Threads: the shard's core.
 */
#ifndef BROKER_GROUP_RETENTION_H
#define BROKER_GROUP_RETENTION_H

#include <stdbool.h>
#include <stdint.h>

struct group_queue;
struct group_retention;
struct index;
struct shard;

struct group_retention *group_retention_create(struct shard *shard);

/* The log is closed. NULL is allowed. */
void group_retention_destroy(struct group_retention *retention);

/* The log is about to be closed: the segment stays. */
void group_retention_stop(struct group_retention *retention);

/* For the log's `may_remove`, whose owner is a struct group_retention. */
bool group_retention_may_remove(void *retention, const struct index *index);

/* A queue was sought, or has begun: something of the segment may be its next again. */
void group_retention_note_seek(struct group_queue *queue);

/* An offset of a queue that was dying is gone. */
void group_retention_note_dead(struct group_queue *queue, uint64_t offset);

#endif
