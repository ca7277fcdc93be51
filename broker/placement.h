/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement.h - which broker has which queues of a topic that lies on several.
 *
 *     [["a", 0, 4], ["b", 4, 4], ["a", 8, 2]]      queues 0 to 3 and 8, 9 are a's, 4 to 7 are b's
 *
 * Queue numbers are the topic's, from 0 on without a gap, the same on every broker, and no queue ever
 * gets another number or another broker: a placement changes only by what is appended to it. So of two
 * placements of a topic one is the beginning of the other, and the longer one is the newer: the number
 * of queues is the version of a placement, and brokers need not ask each other which one counts. The
 * versions of their catalogues are each broker's own and say nothing about it.
 *
 * Parts of one broker that lie side by side are one part, so that equal placements are equal in bytes.
 *
 * Memory:  the caller's; the names of the brokers are borrowed from whatever was read.
 * Threads: any, pure.
 */
#ifndef BROKER_PLACEMENT_H
#define BROKER_PLACEMENT_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/error.h"
#include "proto/events.h"
#include "proto/limits.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

struct placement {
    uint32_t part_count;  /* 0: all queues are this broker's */
    uint32_t queue_count; /* of all brokers */
    struct event_placement parts[PLACEMENT_PARTS_MAX];
};

/*
 * Reads the `count` elements of the argument `placement`.
 *
 *   ERROR_BAD_ARGUMENT  {key: placement, limit}  no part, a part that is not [broker, first, count], a
 *                                                gap, more than QUEUES_PER_TOPIC_MAX queues
 */
NODISCARD enum error placement_read(struct cursor elements, uint32_t count,
                                    struct placement *placement_out, struct refusal *refusal);

/* Adds `count` queues of `broker` behind those that are there. False: a part too many. */
NODISCARD bool placement_append(struct placement *placement, struct bytes broker, uint32_t count);

/* The part that has `queue`, which is below the number of queues: asserted. */
const struct event_placement *placement_part_of(const struct event_placement *parts,
                                                uint32_t part_count, uint32_t queue);

/* Whether `broker` has a queue of it. */
bool placement_names(const struct placement *placement, struct bytes broker);

/* Whether `old` is the beginning of `placement`, or all of it. */
bool placement_extends(const struct placement *placement, const struct placement *old);

/* A copy in one block, names and all, for who outlives what was read. The caller frees it. */
struct placement *placement_copy(const struct placement *placement);

/* Writes `[[broker, first, count]..]`. */
void placement_write(const struct event_placement *parts, uint32_t part_count,
                     struct writer *writer);

#endif
