/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dead_letters.h - the open dead letters of a group at one broker, taken under a lease.
 *
 * Where they stand is a group of its own, named as the topic that it reads, %DLQ%GROUP, from the first: what
 * was settled in it once does not come again. A visit takes what is open, answer by answer; each message
 * is settled, or kept: its lease is extended as long as the visit lasts, so that it does not come twice, and
 * at the end it is given back, uncounted. What others have taken is not seen.
 *
 *     open --> take .. (settle | keep) .. take --> close: what was kept is given back
 *
 * Memory:  one answer, below 5 MiB, and 100 bytes for each range that is kept.
 * Threads: one.
 */
#ifndef TOOLS_CLI_DEAD_LETTERS_H
#define TOOLS_CLI_DEAD_LETTERS_H

#include "proto/base/bytes.h"
#include "proto/cursor.h"
#include "proto/limits.h"
#include "tools/cli/command.h"
#include "tools/cli/dead_letter.h"
#include "tools/cli/group_holders.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* Messages of one answer: what is settled with one call. */
    DEAD_TAKE_MAX = 256,
    DEAD_LEASE_BYTES_MAX = 64
};

/* Adjacent offsets of a queue under one lease. */
struct dead_range {
    uint32_t queue;
    uint64_t first;
    uint64_t span;
    uint8_t lease_bytes;
    uint8_t lease[DEAD_LEASE_BYTES_MAX];
};

/* One that was taken. */
struct dead_taken {
    struct dead_letter letter; /* in the answer: good until the next take */
    bool is_read; /* false: its record is none of a dead letter; the place alone is known */
    const struct dead_range *range;
};

struct dead_letters {
    struct invocation *invocation;
    const struct group_holders *brokers;
    size_t broker;
    char name[TOPIC_NAME_BYTES_MAX + 1]; /* %DLQ%GROUP */
    const char *
        member; /* "ternmq group dead", or with what is done behind it, which `explain message` reads */
    bool is_away; /* the broker does not answer, which was said */
    uint8_t *answer;
    size_t answer_room;
    struct dead_range *ranges; /* of the answer */
    uint32_t range_count;
    uint32_t range_room;
    struct dead_taken *taken; /* DEAD_TAKE_MAX */
    struct dead_range *kept;
    size_t kept_count;
    size_t kept_room;
    uint64_t extended_ms;
};

/* The name %DLQ%GROUP. */
void dead_letters_name(const char *group, char name_out[TOPIC_NAME_BYTES_MAX + 1]);

/* Begins a visit of brokers->brokers[broker]. `*has_some_out` is false where the group has no dead letters there, or
 * where that broker is away; the exit status is EXIT_DONE then, too. What went wrong was said. */
int dead_letters_open(struct invocation *invocation, const char *group,
                      const struct group_holders *brokers, size_t broker,
                      struct dead_letters *letters_out, bool *has_some_out);

/* Takes at most `most` (1 to DEAD_TAKE_MAX); 0 of `*count_out`: nothing else is open. Extends what is kept. */
int dead_letters_take(struct dead_letters *letters, uint32_t most, uint32_t *count_out);

/* What was taken is not settled: it is given back at the end. False: there is no memory, which was said. */
bool dead_letters_keep(struct dead_letters *letters, const struct dead_taken *taken,
                       uint32_t count);

/* Settles what was taken, durably. `*lost_out` is how many others have got meanwhile. */
int dead_letters_settle(struct dead_letters *letters, const struct dead_taken *taken,
                        uint32_t count, uint32_t *lost_out);

/* Extends what is kept, if it is time. */
int dead_letters_extend(struct dead_letters *letters);

/* Gives back what was kept and frees everything; `status` is given back unless that fails. */
int dead_letters_close(struct dead_letters *letters, int status);

/* Calls a method at the visited broker, without saying what fails; a produce must not be sent twice. Ctrl-C waits
 * until it is answered, since one that is cut short goes on at the broker: nobody would know what it took. */
int dead_letters_call(struct dead_letters *letters, const char *method,
                      struct ternmq_bytes arguments, bool once, struct ternmq_answer *answer_out,
                      struct ternmq_error *error_out);

/* SIGINT, SIGTERM and SIGHUP wait until the mask of before is set again. */
void dead_letters_block_signals(sigset_t *before_out);

#endif
