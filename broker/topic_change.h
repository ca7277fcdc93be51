/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_change.h - how topics are made, changed and deleted: core 0 decides, every shard records.
 *
 *     begin ---> WAITING (another change of this name is under way)
 *        |          |
 *        `----------+--> decide: a pure function of the catalogue and the request
 *                          |    \
 *                          |     `--> refused, or nothing changes: answered
 *                          v
 *                       APPENDING   to shard 0, then to every shard that has a queue of it
 *                          |        (one of them is full: OWING, tried again every second)
 *                          v        all durable
 *                       PUBLISHING  to the directory of every core
 *                          |        all have it; the next change of this name may begin
 *                          v
 *                       RENEWING    every connected nameserver acknowledges, or RENEWAL_WAIT_MS
 *                          |
 *                          v
 *                       answered
 *
 * Once shard 0 has accepted the operation the change is decided and only goes forward: what a
 * crash leaves undone in other shards is done at the next start (broker/repair.h).
 *
 * Memory:  at most CATALOGUE_CHANGES_MAX changes of about 16 KiB. Owner: core 0.
 * Threads: decisions are pure; the rest is core 0's, parts of a change visit other cores.
 */
#ifndef BROKER_TOPIC_CHANGE_H
#define BROKER_TOPIC_CHANGE_H

#include "broker/catalogue.h"
#include "proto/arguments.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct core;
struct leases;
struct topic_changes;

/* ------------------------------------------------------------- decisions */

/* What the shards of this broker are. */
struct topic_rules {
    uint32_t shard_count;
    uint64_t read_only; /* bit 1 << shard: it takes no writes */
};

/* What topic.put asks for. */
struct topic_put {
    struct bytes name;
    bool has_queues;
    uint32_t queues; /* the default where has_queues is false */
    struct topic_settings settings;
    bool has_version;
    uint64_t version; /* 0: the topic must not be there yet */
    bool rehash;
};

/*
 * Decides on a topic.put. `*topic_out` is the topic as it shall be, with a reference for the
 * caller; it is the catalogue's own where nothing changes.
 *
 *   ERROR_CONFLICT       {version}              it is another than the one last seen
 *   ERROR_BAD_ARGUMENT   {key: queues, limit}   fewer queues than it has
 *   ERROR_WOULD_REORDER                         more queues of keys, or another route, without
 *                                               `rehash`
 *   ERROR_READ_ONLY                             a shard that must record it takes no writes
 *   ERROR_OVERLOADED     {limit, value, usage}  TOPICS_MAX, QUEUES_PER_SHARD_MAX
 */
NODISCARD enum error topic_put_decide(const struct catalogue *catalogue,
                                      const struct topic_rules *rules, const struct topic_put *put,
                                      struct topic **topic_out, struct refusal *refusal);

/* What topic.delete asks for. */
struct topic_delete {
    struct bytes name;
    bool has_version;
    uint64_t version;
};

/*
 * Decides on a topic.delete: `*topic_out` is the catalogue's, borrowed, `*deleted_out` what becomes of
 * it.
 *
 *   ERROR_TOPIC_NOT_FOUND
 *   ERROR_CONFLICT   {version}
 *   ERROR_READ_ONLY
 */
NODISCARD enum error topic_delete_decide(const struct catalogue *catalogue,
                                         const struct topic_rules *rules,
                                         const struct topic_delete *delete,
                                         struct topic **topic_out,
                                         struct catalogue_deleted *deleted_out,
                                         struct refusal *refusal);

/* A change is recorded in all shards of the topic, or begun in none: ERROR_READ_ONLY where one of
 * them takes no writes. */
NODISCARD enum error topic_check_writable(const struct topic *topic,
                                          const struct topic_rules *rules, struct refusal *refusal);

/* --------------------------------------------------------------- changes */

struct topic_changes *topic_changes_create(struct core *core0, struct leases *leases,
                                           const struct topic_rules *rules);

/* None is under way: asserted. */
void topic_changes_destroy(struct topic_changes *changes);

/* Every call has been answered. Changes that wait for a full shard are given up, and done at the next
 * start; `stopped` runs once, perhaps at once, when what else is still under way has ended. */
void topic_changes_stop(struct topic_changes *changes, void (*stopped)(void *owner), void *owner);

/* Begin a change, on the home core of `call`, which is answered when it has ended; the request is
 * copied. */
void topic_change_put(struct call *call, const struct topic_put *put);
void topic_change_delete(struct call *call, const struct topic_delete *delete);

#endif
