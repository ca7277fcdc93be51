/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead_letter.h - a dead letter as its record says it: what it was, and why it is one.
 *
 * Threads: any; spans point into the record.
 */
#ifndef TOOLS_CLI_DEAD_LETTER_H
#define TOOLS_CLI_DEAD_LETTER_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/limits.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stdint.h>

struct dead_letter {
    uint32_t queue; /* its own place, in the topic of dead letters */
    uint64_t offset;
    uint32_t epoch;
    uint64_t stored_at_ms;
    uint64_t born_at_ms;
    struct bytes group; /* that gave it up */
    struct bytes topic; /* what it was */
    uint32_t origin_queue;
    uint64_t origin_offset;
    uint32_t attempts;
    struct bytes reason;  /* empty: none */
    struct bytes element; /* the message, as it is stored */
};

/* Reads the record of one. False: it is not whole, or says nothing of an origin. */
NODISCARD bool dead_letter_read(struct bytes record, struct dead_letter *letter_out);

/* The message as what was delivered, of the topic of that name, which the result points to. False: it is not
 * in stored form. */
NODISCARD bool dead_letter_delivery(const struct dead_letter *letter, const char *topic,
                                    struct ternmq_delivery *delivery_out);

/* An id as people give it: [%DLQ%GROUP/]QUEUE/OFFSET. `topic` is the only one that may stand there. */
bool dead_letter_read_id(const char *text, const char *topic, uint32_t *queue_out,
                         uint64_t *offset_out);

#endif
