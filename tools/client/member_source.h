/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member_source.h - one broker that a member receives from: a poll at a time.
 *
 *          .--------------- answered, and credit is left ----------------.
 *          v                                                             |
 *        IDLE ---its clock is not known---> GREETING ---> IDLE ---> ASKING
 *          ^                                    | failed             | failed
 *          `--------- PAUSED <------------------+--------------------'
 *                                               `--- will never be answered ---> STOPPED
 *
 * Leases end by the broker's clock, which is asked for (`hello`) and kept as a distance from our monotonic
 * one, so that ours may be set. Theirs may be, too: it is asked for anew after CLOCK_MS, after a failure, and
 * when a lease seems to be over at its arrival.
 *
 * Memory:  a source lives as long as its member; there are as many as brokers were seen.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_MEMBER_SOURCE_H
#define TOOLS_CLIENT_MEMBER_SOURCE_H

#include "net/reactor.h"
#include "proto/base/list.h"
#include "proto/limits.h"
#include "tools/client/client_call.h"
#include "tools/client/member.h"

#include <stdbool.h>
#include <stdint.h>

struct settle_batch;

enum {
    /* A poll parks so long: as those of pullers do. */
    RECEIVE_WAIT_MS = 30000,
    /* Where the credit does not suffice for a poll at each broker they take turns. */
    RECEIVE_WAIT_MS_SHARED = 500,
    /* A broker that has no such group, where others do, is asked again so often. */
    RECEIVE_PAUSE_MS_ABSENT = 10000,
    /* What is known of a broker's clock is believed so long: two polls that wait. */
    CLOCK_MS = 60000
};

enum source_state { SOURCE_IDLE, SOURCE_GREETING, SOURCE_ASKING, SOURCE_PAUSED, SOURCE_STOPPED };

struct member_source {
    struct ternmq_member *member;
    struct list link;                       /* member->sources */
    char broker[BROKER_NAME_BYTES_MAX + 1]; /* "": the one that the client talks to */
    enum source_state state;
    bool listed;       /* the routes name it */
    bool lacks_group;  /* it said so last */
    bool is_cancelled; /* the poll under way was asked to end */
    struct client_call call;
    struct timer pause;
    uint32_t tries;
    uint64_t failing_ns; /* since when; 0: it works */
    bool is_clock_known;
    int64_t ahead_ms;  /* how far the broker's clock is ahead of reactor_now_ms() */
    uint64_t clock_ns; /* when that was learned */
    uint32_t asked;    /* what the poll under way may bring */
    uint32_t wait_ms;
    uint64_t asked_ns;
    bool was_full; /* the last poll brought all that it asked for: there may be more */
    struct settle_batch *riding; /* on the poll under way, or NULL */
    struct list open;            /* verdicts that wait */
    struct list sent;            /* verdicts under way */
};

/* NULL: no memory. */
struct member_source *member_source_create(struct ternmq_member *member, const char *broker);

/* Forgets everything that is under way. */
void member_source_destroy(struct member_source *source);

/* Whether a poll could be sent, if there is credit. */
bool member_source_may_ask(const struct member_source *source);

/* Learns the broker's clock first, where it is not known; then the source may ask. */
void member_source_greet(struct member_source *source);

/* Puts the acks that may ride on the next poll on it, and says how many places they have. */
uint32_t member_source_load(struct member_source *source);

/* Sends a poll for at most `most` messages, at least as many as ride on it. */
void member_source_ask(struct member_source *source, uint32_t most, uint32_t wait_ms);

/* Asks the broker to end the poll under way now. Nothing where there is none. */
void member_source_cancel(struct member_source *source);

/* Sets where calls to the broker go. */
void member_source_address(const struct member_source *source, struct client_call *call);

#endif
