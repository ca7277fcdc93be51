/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery.h - from a store's directory to shards that can be written: what a start does first.
 *
 *     1. the logs that are there are opened and replayed into their catalogues, in parallel; if one
 *        was lost (broker/repair.h) the start ends here, and nothing was made. Those that are new
 *        are made in order, with the store's id
 *     2. the store belongs to the broker of this name, or to nobody yet
 *     3. the epoch, 1 + the highest in any shard, is put on disk in every shard
 *     4. catalogues are attached to their logs and repaired (broker/repair.h)
 *
 * One line a shard says what was found, done, and how long it took.
 *
 * Memory:  what logs and catalogues own. Owner: the recovery, until recovery_close().
 * Threads: at start, one thread a core where `recover_in_parallel`; none is left on return.
 * Blocks:  as long as reading about two segments a shard takes.
 */
#ifndef BROKER_RECOVERY_H
#define BROKER_RECOVERY_H

#include "broker/broker.h"
#include "broker/core.h"
#include "broker/group.h"
#include "broker/topic.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct recovery_options {
    const struct broker_options *broker;
    struct cores *cores; /* made; logs and catalogues of its shards are set */

    /* As of a commit log: runs on the shard's core, later. */
    void (*log_failed)(void *owner, const char *what);
    void *log_owner;

    /* A topic that exists, for the directories; borrowed. */
    void (*topic)(void *context, struct topic *topic);
    void (*group)(void *context, struct group *group); /* a group, likewise */
    void *context;
};

struct recovery_result {
    uint32_t epoch;
    uint64_t read_only; /* bit 1 << shard */
    uint64_t took_ns;   /* of the shard that took longest */
};

/* Does all of it. On failure one line is in `error`; logs that were opened stay so, for
 * recovery_close(). */
NODISCARD bool recovery_run(const struct recovery_options *options,
                            struct recovery_result *result_out, char *error, size_t error_bytes);

/* Closes what logs are still open, running their reactors on this thread until that is done, and
 * destroys the catalogues. No reactor may run elsewhere. */
void recovery_close(struct cores *cores);

#endif
