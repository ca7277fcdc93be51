/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_placement.h - which broker has which queues of a topic, to be added to.
 *
 * Parts lie one behind the other, so a part's first queue is where those before it end; two parts side by
 * side are of different brokers.
 *
 * Memory:  the caller's, about 6 KiB; names are in it.
 * Threads: any.
 */
#ifndef TOOLS_CLIENT_TOPIC_PLACEMENT_H
#define TOOLS_CLIENT_TOPIC_PLACEMENT_H

#include "proto/base/contract.h"
#include "proto/limits.h"
#include "proto/writer.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stdint.h>

struct topic_part {
    char broker[BROKER_NAME_BYTES_MAX + 1];
    uint32_t count;
};

struct topic_placement {
    uint32_t part_count;
    uint32_t queue_count;
    struct topic_part parts[PLACEMENT_PARTS_MAX];
};

/* What topic_placement_write() writes at most: a name and three short values a part, and the key. */
#define TOPIC_PLACEMENT_BYTES_MAX (PLACEMENT_PARTS_MAX * (BROKER_NAME_BYTES_MAX + 9) + 16)

/* That of a route. False: it has more than PLACEMENT_PARTS_MAX parts. */
NODISCARD bool topic_placement_of_route(const struct ternmq_route *route,
                                        struct topic_placement *placement_out);

/* Adds `queues` behind those that are there, shared out among `brokers`, in runs, the first ones getting
 * one more where it does not come out even. False: too many parts. */
NODISCARD bool topic_placement_share(struct topic_placement *placement, const char *const *brokers,
                                     uint32_t broker_count, uint32_t queues);

/* Whether part `index` is the first of its broker. */
bool topic_placement_is_first(const struct topic_placement *placement, uint32_t index);

/* Writes the pair `placement`. */
void topic_placement_write(const struct topic_placement *placement, struct writer *writer);

#endif
