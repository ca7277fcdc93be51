/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.h - what was sent, what was acknowledged, what came back: whether the numbers may be
 * believed.
 *
 * Each connection that produces is a stream; its messages carry a number that counts up. A message has
 * three marks: acknowledged, unknown (its call ended without saying whether it was stored), seen.
 * Every acknowledged message must be seen exactly once, nothing may be seen that was not produced, and
 * within a queue the numbers of a stream must count up.
 *
 * Memory:  three bits a message.
 * Threads: whoever owns it.
 */
#ifndef TOOLS_BENCH_LEDGER_H
#define TOOLS_BENCH_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

struct ledger;

struct ledger_verdict {
    uint64_t acknowledged;
    uint64_t seen;
    uint64_t missing;    /* acknowledged and not seen */
    uint64_t repeated;   /* seen more than once */
    uint64_t invented;   /* seen, and refused or never sent */
    uint64_t disordered; /* seen after a later one of its stream and queue */
    uint64_t unknown;    /* neither acknowledged nor refused */
};

/* NULL: no memory. */
struct ledger *ledger_create(uint32_t stream_count, uint32_t queue_count);
void ledger_destroy(struct ledger *ledger); /* NULL is allowed */

/* `count` numbers of `stream` for a call that is about to be made, counting up from what is given. */
uint64_t ledger_take(struct ledger *ledger, uint32_t stream, uint32_t count);

void ledger_acknowledge(struct ledger *ledger, uint32_t stream, uint64_t first, uint32_t count);
void ledger_lose(struct ledger *ledger, uint32_t stream, uint64_t first, uint32_t count);

/* A message came; of another run's nothing may be said here. */
void ledger_see(struct ledger *ledger, uint32_t stream, uint64_t number, uint32_t queue);

/* How many were acknowledged, and of those seen, so far. */
uint64_t ledger_acknowledged(const struct ledger *ledger);
uint64_t ledger_seen(const struct ledger *ledger);

/* Forgets what was seen, to read the same once more. */
void ledger_read_again(struct ledger *ledger);

struct ledger_verdict ledger_judge(const struct ledger *ledger);

#endif
