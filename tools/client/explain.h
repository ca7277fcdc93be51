/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain.h - sentences from the answers of group.show and message.trace.
 *
 * An answer is foreign: what is missing in it counts as nothing, what cannot be read makes it no answer. Texts
 * of others are cut, and their control characters replaced.
 *
 * Memory:  the caller's struct.
 * Threads: any; pure.
 */
#ifndef TOOLS_CLIENT_EXPLAIN_H
#define TOOLS_CLIENT_EXPLAIN_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /* More would not be read; of many queues, keys and groups the first few are named. */
    EXPLAINED_SENTENCES_MAX = 24,
    EXPLAINED_SENTENCE_BYTES = 600
};

struct explained {
    bool is_well;
    uint32_t count;
    char sentences[EXPLAINED_SENTENCES_MAX][EXPLAINED_SENTENCE_BYTES];
};

/* Adds a sentence; none where there are too many. */
void explained_say(struct explained *explained, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same of something that somebody has to look at. */
void explained_warn(struct explained *explained, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Texts that a sentence is made of. */
struct explained_text {
    char text[200];
};
struct explained_text explained_name(struct bytes name);
struct explained_text explained_count(uint64_t count, const char *noun); /* "2 messages" */
struct explained_text explained_are(uint64_t count, const char *noun);   /* "2 messages are" */
struct explained_text explained_distance(uint64_t moment_ms, uint64_t now_ms); /* "1.5 s ago" */
struct explained_text explained_due(uint64_t moment_ms, uint64_t now_ms); /* "in 1.5 s", "now" */

/* A number of a map, 0 where it has none; a text of it, or an empty one. */
uint64_t explained_number(struct bytes map, const char *key);
struct bytes explained_bytes(struct bytes map, const char *key);

/* False: it is no such answer. `epoch` 0: any. */
NODISCARD bool explain_group(struct bytes answer, struct explained *explained_out);
NODISCARD bool explain_message(struct bytes answer, uint32_t epoch,
                               struct explained *explained_out);

#endif
