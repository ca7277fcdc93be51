/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair.h - makes the catalogues of all shards agree again after a crash.
 *
 * A change of a topic or group is recorded in several logs, one after the other, so a crash can leave
 * it in some of them only. The highest version of each, in whichever log, is what was decided; it is
 * recorded again where it is missing: of a topic in shard 0 and where its queues are, of a group in all
 * shards, those that are new included. Example, of two shards, topic 3 with queues in both:
 *
 *     shard 0: topic.put 3, version 7    topic.put 3, version 9       (9: a third queue, in shard 0)
 *     shard 1: topic.put 3, version 7    -- crash --
 *
 *     repair appends topic.put 3, version 9 to shard 1.
 *
 * It is a function of the catalogues alone, so that it can be cut anywhere and done again.
 *
 * Threads: at start, before the cores run.
 */
#ifndef BROKER_REPAIR_H
#define BROKER_REPAIR_H

#include "broker/catalogue.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct repair_options {
    struct catalogue *const *catalogues; /* one a shard */
    uint32_t shard_count;
    uint64_t read_only; /* bit 1 << shard: nothing can be appended */

    /* Appends an operation to a shard; false ends the repair. */
    bool (*append)(void *context, uint32_t shard, struct bytes operation);

    /* A topic that exists, with its newest version; borrowed. */
    void (*topic)(void *context, struct topic *topic);

    /* A group that exists, likewise. */
    void (*group)(void *context, struct group *group);

    /* A shard has recorded a group that it had missed, in the place of `old` (NULL: of none). */
    void (*group_put)(void *context, uint32_t shard, const struct group *group,
                      const struct group *old);
    void *context;
};

/*
 * Before anything is made: whether a shard that has no log (bit 1 << shard of `logs` is 0) had one.
 * It had if a catalogue says so, by its setting `shards` or by the place of a queue, or if a later
 * shard has one. A log that is lost would come back empty, and give its offsets again. Needs
 * `catalogues` and `shard_count` alone; catalogues of shards without a log are empty. False and one
 * line in `error`: the first shard that is lost.
 */
NODISCARD bool catalogues_check_lost(const struct repair_options *options, uint64_t logs,
                                     char *error, size_t error_bytes);

/* Repairs, then calls `topic` for every topic and `group` for every group. False and one line in `error`: an append was
 * refused. */
NODISCARD bool catalogues_repair(const struct repair_options *options, uint32_t *appended_out,
                                 char *error, size_t error_bytes);

#endif
