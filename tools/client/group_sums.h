/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_sums.h - an answer of group.show added up: what all queues, topics and members of a group are together.
 *
 * An answer is foreign: what is missing in it counts as nothing. Texts lie in the answer.
 *
 * Memory:  the caller's struct, 3 KiB.
 * Threads: any; pure.
 */
#ifndef TOOLS_CLIENT_GROUP_SUMS_H
#define TOOLS_CLIENT_GROUP_SUMS_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/limits.h"

#include <stdbool.h>
#include <stdint.h>

/* What the queues of one topic are together. */
struct group_topic_sums {
    struct bytes name;
    uint64_t ready; /* as those of all topics */
    bool is_least;
    uint64_t leased;
};

/* What all queues and members are together. */
struct group_sums {
    uint64_t queues;
    uint64_t lag;
    uint64_t leased;
    uint64_t retrying;
    uint64_t dying;
    uint64_t skipped;
    uint64_t ready; /* messages that may be given out */
    bool is_least;  /* it may be more */
    bool is_ordered;
    bool has_filter;
    struct group_topic_sums topics[GROUP_TOPICS_MAX];
    uint32_t topic_count;
    uint64_t oldest_ms;
    uint64_t next_retry_ms;
    uint64_t lease_until_ms;
    uint64_t members;
    uint64_t waiting; /* polls of them */
    uint64_t holders; /* of them, who hold something */
    uint64_t held;    /* messages that they hold */
    uint64_t seen_ms; /* the last that was heard of any */
    struct bytes seen;
};

/* False: queues or members are none that can be read. */
NODISCARD bool group_sums_add_up(struct bytes answer, struct group_sums *sums_out);

/* Calls `take` for each map of the array that is the value of `key`; an absent one has none. False: it is none. */
bool group_sums_each(struct bytes map, const char *key,
                     void (*take)(void *context, struct bytes row), void *context);

#endif
