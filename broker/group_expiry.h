/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_expiry.h - groups that nobody has received from, or settled anything of, for as long as they say go.
 *
 * Each core looks at the groups whose home it is (broker/home.h), which knows when somebody asked last:
 *
 *     in use      a call of it waits, a member holds a lease, somebody has asked, or has settled something, with a
 *                 lease or as a cursor; what was not asked for since the start counts from the start, a new
 *                 one from when it was made
 *     broadcast   in use as long as it has members, and then since it was made
 *     member      gone with its broadcast group at once, else idle by itself
 *     idle        core 0 is told, which deletes the group at the version that was looked at
 *
 * A look goes through all groups of the core, at most once a second, and there is none before the first of
 * them may be idle: where no group expires there is no timer.
 *
 * Memory:  a home, about 150 bytes, of every group that expires. Owner: the core.
 * Threads: the core's.
 */
#ifndef BROKER_GROUP_EXPIRY_H
#define BROKER_GROUP_EXPIRY_H

#include "net/reactor.h"

#include <stdbool.h>
#include <stdint.h>

struct core;
struct group;

struct group_expiry {
    struct timer timer;
    uint64_t looked_ns; /* 0: never */
};

/* The core's. */
void group_expiry_init(struct core *core);

/* Nothing goes any more. */
void group_expiry_stop(struct core *core);

/* Groups may expire, as they are known at the start. */
void group_expiry_start(struct core *core);

/* A group was put, or deleted, in the core's directory. */
void group_expiry_note_put(struct core *core, const struct group *group);
void group_expiry_note_delete(struct core *core, const struct group *group);

#endif
