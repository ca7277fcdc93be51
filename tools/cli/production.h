/* SPDX-License-Identifier: Apache-2.0 */
/*
 * production.h - a produce command under way: where bodies come from, the batch being filled, and what
 * has become of the messages.
 *
 *     source (words, lines) --> batch --> calls, one at a time --> counts
 *
 * One call is under way at a time, so that the order holds even where one is tried again; meanwhile the
 * next grows. What the source gives is sent as soon as nothing is under way.
 *
 * A call whose answer never came may be stored or not. It ends the command; with --on-lost resend the
 * batch, kept until its answer is there, is sent again: nothing grows meanwhile.
 *
 * Memory:  a batch of message heads, the line buffer, and the producer's window of some MiB.
 * Threads: one.
 */
#ifndef TOOLS_CLI_PRODUCTION_H
#define TOOLS_CLI_PRODUCTION_H

#include "proto/limits.h"
#include "tools/cli/command.h"
#include "tools/cli/lines.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* One call: large enough that a sync a call is no brake, small enough to show progress. */
    BATCH_MESSAGES = 16384,
    BATCH_BYTES = 1 << 20,
    /* What may wait behind the call under way, of its deadline too. */
    WINDOW_BYTES = 8 << 20,
    /* What a message costs in a call beside its body. */
    MESSAGE_OVERHEAD_BYTES = 5
};

/* The command's own options. */
enum {
    PRODUCE_FILE,
    PRODUCE_TAG,
    PRODUCE_KEY,
    PRODUCE_PROPERTY,
    PRODUCE_QUEUE,
    PRODUCE_DURABILITY,
    PRODUCE_ON_LOST
};

/* A produce command under way. */
struct production {
    struct invocation *invocation;
    struct ternmq *client;
    struct ternmq_producer *producer;
    const char *topic;

    /* What all messages have. */
    struct ternmq_bytes tag;
    struct ternmq_bytes keys[KEYS_MAX];
    size_t key_count;
    struct ternmq_property properties[PROPERTIES_MAX];
    size_t property_count;
    size_t extra_bytes; /* of all these, an upper bound */

    /* Where bodies come from: words, or lines. */
    char **words;
    int word_count;
    int next_word;
    bool from_lines;
    const char *source; /* "standard input", the path */
    struct lines lines;
    bool ended;

    /* The batch being filled. */
    struct ternmq_message *batch;
    size_t batch_count;
    size_t batch_bytes; /* with what messages cost beside their bodies */
    uint64_t body_bytes;

    /* What has become of the messages. */
    uint64_t taken;
    uint64_t stored; /* all of the first so many are */
    uint64_t stored_bytes;
    uint64_t calls;
    uint32_t queue;
    uint64_t first;
    uint64_t last;
    bool several_queues;
    bool resends;              /* --on-lost resend */
    uint64_t resent;           /* messages, once for each time */
    bool failed;               /* a call was: nothing more is sent */
    bool source_failed;        /* what was read before is still sent */
    struct ternmq_error error; /* of the first call that failed, else of the source */
    uint64_t began_ms;
};

/* Opens what the words and options name as the source. Gives an exit status. */
int production_open_source(struct production *production);

/* Gives back what the source holds. */
void production_close_source(struct production *production);

/* Reads lines ahead, as far as that needs no waiting; not while the batch points into them. */
void production_read_ahead(struct production *production);

/* Waits for the source's next lines, for at most `wait_ms`. False: none came. */
bool production_wait_for_lines(struct production *production, int wait_ms);

/* Puts what the source has at hand into the batch, until it is full; notes when the source has ended. */
void production_fill_batch(struct production *production);

/* Sends until the source has ended and all of it was given to the client. */
void production_run(struct production *production);

/* How many messages are under way. */
size_t production_in_flight(const struct production *production);

/* Shows how far it is, on a terminal, now and then. */
void production_show_progress(struct production *production);

#endif
