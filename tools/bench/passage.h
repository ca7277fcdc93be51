/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passage.h - what one reading of a topic by itself can show: offsets follow each other without a gap, and
 * what a run produced comes in its order. Unlike a ledger it needs to know nothing of who produced.
 *
 * A topic may hold several runs, one behind the other or mixed: of the first RUNS_MAX that are met the order
 * is checked, of others the offsets alone.
 *
 * Memory:  4 KiB a queue and run.
 * Threads: whoever owns it.
 */
#ifndef TOOLS_BENCH_PASSAGE_H
#define TOOLS_BENCH_PASSAGE_H

#include "tools/client/ternmq.h"

#include <stdint.h>

enum {
    PASSAGE_RUNS_MAX = 8,
    PASSAGE_STREAMS_MAX = 64,
};

struct passage;

struct passage_verdict {
    uint64_t messages;
    uint64_t body_bytes;
    uint64_t gaps; /* places where an offset did not follow the one before */
    uint64_t
        disordered; /* a run's messages that came after a later one of their stream, or twice */
};

/* Of a topic with `queue_count` queues. Never NULL. */
struct passage *passage_create(uint32_t queue_count);
void passage_destroy(struct passage *passage); /* NULL is allowed */

/* Begins anew: what was read is forgotten, the verdict is kept. */
void passage_read_again(struct passage *passage);

/* A message, in the order in which it came. The first of a queue may have any offset. */
void passage_take(struct passage *passage, const struct ternmq_delivery *delivery);

struct passage_verdict passage_judge(const struct passage *passage);

#endif
