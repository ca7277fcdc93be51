/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive_answer.h - what a broker answers to `receive`, read as bytes of a stranger.
 *
 *     {order: queue|key, ranges: [[topic, queue, first, span, messages, attempt, lease, until, reason]..],
 *      acked: [[index, code]..], messages: [record..]}
 *
 * The records of a range follow those of the range before; each has an offset of its own within it.
 * Whether they are whole delivery_read() finds out.
 *
 * Threads: any; everything points into the answer.
 */
#ifndef TOOLS_CLIENT_RECEIVE_ANSWER_H
#define TOOLS_CLIENT_RECEIVE_ANSWER_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/group_settings.h"
#include "proto/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /* Opaque, 16 bytes today: room for another form. */
    LEASE_BYTES_MAX = 64
};

struct receive_answer {
    enum group_order order;
    struct cursor ranges; /* before the range that comes next */
    uint32_t range_count; /* left */
    struct cursor acked;  /* before the first pair */
    uint32_t acked_count;
    uint32_t message_count; /* of all ranges */
    struct bytes records;   /* left; from the next range's first on */
};

/* One range: adjacent offsets of a queue under one lease. */
struct receive_range {
    struct bytes topic;
    uint32_t queue;
    uint64_t first;
    uint64_t span;
    uint32_t message_count;
    uint32_t attempt;
    struct bytes lease;
    uint64_t until_ms;
    struct bytes reason; /* `data` NULL: none */
    struct bytes records;
};

/*
 * Reads `result` and looks at every range and every record's place. False: it is no answer to a receive
 * of at most `most` messages.
 */
NODISCARD bool receive_answer_read(struct bytes result, uint32_t most,
                                   struct receive_answer *answer_out);

/* Takes the next range of an answer that was read. False: there is none. */
bool receive_answer_next(struct receive_answer *answer, struct receive_range *range_out);

#endif
