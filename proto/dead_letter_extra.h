/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead_letter_extra.h - what a dead letter's record says of where it came from: the record's extra.
 *
 *     dead   [group, topic, queue, offset, attempts, reason]     for people and programs
 *     place  [group's id, topic's id, generation]                for the view, which settles the origin
 *
 * A map; a newer broker may say more, in the map and behind the arrays' elements.
 *
 * Threads: any; spans point into the record.
 */
#ifndef PROTO_DEAD_LETTER_EXTRA_H
#define PROTO_DEAD_LETTER_EXTRA_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

struct dead_letter_extra {
    struct bytes group; /* that gave it up; of a member of a broadcast group the group itself */
    struct bytes topic; /* where it lay */
    uint16_t queue;
    uint64_t offset;
    uint32_t attempts;
    struct bytes reason; /* of the last attempt; empty: none was given */
    uint32_t group_id;
    uint32_t topic_id;
    uint32_t generation; /* that the group had in that queue */
};

/* At most EXTRA_BYTES_MAX, as long as names and reason are within their limits. */
void dead_letter_extra_write(struct writer *writer, const struct dead_letter_extra *extra);

/* False: it is not that of a dead letter. */
NODISCARD bool dead_letter_extra_read(struct bytes bytes, struct dead_letter_extra *extra_out);

#endif
