/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lost_verdicts.h - verdicts of a member that a broker did not take: the first of a kind is told, all are counted.
 *
 * A kind is a broker and an error: thousands of messages of one broker that is gone are one line.
 *
 * Memory:  the caller's struct, 16 KiB.
 * Threads: one.
 */
#ifndef TOOLS_CLI_LOST_VERDICTS_H
#define TOOLS_CLI_LOST_VERDICTS_H

#include "proto/limits.h"
#include "tools/cli/command.h"

#include <stdint.h>

/* More lines would not be read: what is of yet another kind is only counted. */
enum { LOST_KINDS_MAX = 64 };

/* Which broker has a range of the topic's queues. */
struct lost_span {
    uint32_t queue_first;
    uint32_t queue_count;
    char broker[BROKER_NAME_BYTES_MAX + 1];
};

struct lost_kind {
    int code;
    char broker[BROKER_NAME_BYTES_MAX + 1]; /* "": not known */
};

struct lost_verdicts {
    struct invocation *invocation;
    uint64_t count; /* of messages that may come again */
    uint32_t span_count;
    struct lost_span spans[PLACEMENT_PARTS_MAX];
    uint32_t kind_count;
    struct lost_kind kinds[LOST_KINDS_MAX];
};

/* Begins with none, and asks where the queues of the topic are now. A queue whose broker is not found, or any with -b,
 * is of no broker. Blocks, so that it is no matter of a callback. */
void lost_verdicts_init(struct lost_verdicts *lost, struct invocation *invocation,
                        const char *topic);

/* One was not taken, or may not have been. Does not block. */
void lost_verdicts_note(struct lost_verdicts *lost, const char *topic, uint32_t queue,
                        uint64_t offset, const struct ternmq_error *why);

#endif
