/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catch_up.h - one consumer that reads all that a topic holds, from its first message to the end that it had
 * when the reading began: how fast, and whether offsets follow, checksums hold and runs are in order.
 *
 * It has a client, and so a connection, of its own. libternmq checks both checksums of every record.
 *
 * Threads: made, started and destroyed by one; the reading itself runs on a thread of its own, so that a load
 * beside it is not held up.
 */
#ifndef TOOLS_BENCH_CATCH_UP_H
#define TOOLS_BENCH_CATCH_UP_H

#include "tools/bench/passage.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stdint.h>

struct catch_up;

struct catch_up_figures {
    uint64_t nanoseconds;
    uint64_t first_ns; /* from the beginning to the first message */
    uint64_t cpu_ns;   /* of the reading thread */
    uint64_t passes;
    struct passage_verdict verdict;
};

/* `duration_ms`: begins again as long as less has passed; 0 reads once. NULL with `*error` filled in: the
 * topic is not there, or nobody is. Pointers are good until destroy. */
struct catch_up *catch_up_create(const struct ternmq_options *client, const char *topic,
                                 uint64_t duration_ms, struct ternmq_error *error);

/* Ends the reading first, if it has not ended. NULL is allowed. */
void catch_up_destroy(struct catch_up *catch_up);

/* Starts to read; once. */
void catch_up_start(struct catch_up *catch_up);

/* Whether it has come to its end, or failed. */
bool catch_up_has_ended(const struct catch_up *catch_up);

/* Stops the reading if it has not ended: the figures of what was read, good until destroy. NULL with `*error`
 * filled in: it failed. */
const struct catch_up_figures *catch_up_finish(struct catch_up *catch_up,
                                               struct ternmq_error *error);

#endif
