/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_decision.h - what becomes of a wish to make, change or delete a topic: pure functions of the
 * catalogue and the request. What was decided is then done (broker/catalogue_change.h).
 *
 * Threads: core 0's, on the catalogue of shard 0.
 */
#ifndef BROKER_TOPIC_DECISION_H
#define BROKER_TOPIC_DECISION_H

#include "broker/catalogue.h"
#include "broker/placement.h"
#include "proto/arguments.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>

/* What topic.put asks for. */
struct topic_put {
    struct bytes name;
    bool has_queues;
    uint32_t queues;                   /* the default where has_queues is false */
    const struct placement *placement; /* NULL: not given */
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
 *   ERROR_BAD_ARGUMENT   {key: queues, limit}   fewer queues than it has, other ones than the placement
 *                        {key: placement, limit}  none of its queues here, or not the topic's own and
 *                                               more behind it
 *   ERROR_WOULD_REORDER                         more queues of keys, or another route, without
 *                                               `rehash`
 *   ERROR_READ_ONLY                             a shard that must record it takes no writes
 *   ERROR_OVERLOADED     {limit, value, usage}  TOPICS_MAX, QUEUES_PER_SHARD_MAX,
 *                                               PLACEMENT_PARTS_IN_ALL_MAX
 */
NODISCARD enum error topic_put_decide(const struct catalogue *catalogue,
                                      const struct catalogue_rules *rules,
                                      const struct topic_put *put, struct topic **topic_out,
                                      struct refusal *refusal);

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
                                         const struct catalogue_rules *rules,
                                         const struct topic_delete *delete,
                                         struct topic **topic_out,
                                         struct catalogue_deleted *deleted_out,
                                         struct refusal *refusal);

/* There may be one more, or ERROR_OVERLOADED {limit, value, usage}: TOPICS_MAX. */
NODISCARD enum error topic_check_count(const struct catalogue *catalogue, struct refusal *refusal);

/* The shard has room for one more queue besides `added` that it gets with the same topic, or
 * ERROR_OVERLOADED {limit, value, usage}: QUEUES_PER_SHARD_MAX. */
NODISCARD enum error topic_check_shard(const struct catalogue *catalogue, uint32_t shard,
                                       uint32_t added, struct refusal *refusal);

/* Makes the topic, with a reference for the caller; ERROR_READ_ONLY where a shard that must record it takes no
 * writes. */
NODISCARD enum error topic_make(const struct catalogue_rules *rules,
                                const struct topic_parts *parts, struct topic **topic_out,
                                struct refusal *refusal);

/*
 * Decides on the topic of dead letters `name` (name_is_dead_letters()): queue n lies in shard n, one for
 * each shard there is. `*topic_out` as of topic_put_decide().
 *
 *   ERROR_READ_ONLY                             as of topic_put_decide()
 *   ERROR_OVERLOADED     {limit, value, usage}
 */
NODISCARD enum error topic_dead_letters_decide(const struct catalogue *catalogue,
                                               const struct catalogue_rules *rules,
                                               struct bytes name, struct topic **topic_out,
                                               struct refusal *refusal);

#endif
