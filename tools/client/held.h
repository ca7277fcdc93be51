/* SPDX-License-Identifier: Apache-2.0 */
/*
 * held.h - messages in hand, and the leases that they lie under.
 *
 *     FREE --held_grant()--> READY --held_give()--> GIVEN --held_settle()--> SETTLING --held_free()--> FREE
 *                              `-----------------------------------------------^
 *
 * In an ordered group messages of one queue, or of one key, are given one after the other: the next one when a
 * verdict on the one before was taken. Where that was no ack, what lies behind it is given back, as the broker
 * does by itself; and where its lease is over first the broker tries it again first, so that then, too, what lies
 * behind it is given back.
 *
 * A grant is what one range of an answer leased: it lives while something refers to it, a message
 * in hand or a verdict under way. The bytes of an answer live until its last message is settled.
 *
 * Memory:  the member's places; a grant a range, so at most one a place and verdict.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_HELD_H
#define TOOLS_CLIENT_HELD_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/base/list.h"
#include "tools/client/member.h"
#include "tools/client/receive_answer.h"

#include <stdbool.h>
#include <stdint.h>

struct buffer;
struct kept_answer;

struct grant {
    struct list link; /* member->grants */
    struct member_source *source;
    struct list held; /* messages in hand, by offset */
    uint32_t references;
    uint64_t number; /* grants are numbered as they come */
    uint32_t queue;
    enum group_order order;
    uint32_t attempt;
    uint64_t until_ms; /* as the broker said, by its clock */
    uint64_t left_ms;  /* how long that was at its arrival */
    uint64_t begun_ns; /* our clock: when the lease was given or extended at the latest */
    uint64_t lease_ns; /* how long it is from then on */
    uint64_t due_ns;   /* when it is to be extended */
    bool extending;
    bool lost;
    uint32_t verdicts;          /* taken on its messages */
    uint32_t verdicts_extended; /* before its extension under way was sent */
    uint8_t lease[LEASE_BYTES_MAX];
    uint32_t lease_bytes;
    char topic[TOPIC_NAME_BYTES_MAX + 1];
    uint32_t reason_bytes;
    bool has_reason;
    char reason[REASON_BYTES_MAX];
};

enum {
    /* A lease whose third is shorter than this is not kept up with by timers and round trips: it is
     * looked at no more often. */
    RENEWAL_MS_LEAST = 20
};

enum held_state { HELD_FREE, HELD_READY, HELD_GIVEN, HELD_SETTLING };

struct held {
    struct list link;   /* member->free, ->ready, ->working */
    struct list beside; /* grant->held */
    struct grant *grant;
    struct kept_answer *answer; /* NULL: a verdict was taken */
    const uint8_t *record;
    size_t record_bytes;
    uint64_t offset;
    uint64_t before; /* offsets that a filter left out: before it, and behind the last of a range */
    uint64_t behind;
    uint64_t
        ends_ns; /* GIVEN: when its lease is over, by the reactor's clock; UINT64_MAX: it was */
    uint64_t generation; /* of the place; receipts carry it */
    uint32_t key_hash;   /* in an order of keys; 0: it has none */
    enum held_state state;
};

/* Makes the places. False: no memory. */
NODISCARD bool held_init(struct ternmq_member *member);

/* Frees all of it; nothing refers to a grant any more. */
void held_deinit(struct ternmq_member *member);

/*
 * Takes what an answer granted in hand: for its messages there is credit. Where a lease is over already the
 * broker's clock is not known any more. False: no memory, and what was not taken comes again when its lease is over.
 */
NODISCARD bool held_grant(struct member_source *source, struct receive_answer *answer,
                          struct buffer *buffer);

/* The message that a receipt names and that was given, or NULL. */
struct held *held_of_receipt(struct ternmq_member *member, uint64_t receipt);
uint64_t held_receipt(const struct ternmq_member *member, const struct held *held);

/* The first that may be given now, or NULL. */
struct held *held_next(const struct ternmq_member *member);

/* Whether the two must be worked on one after the other. */
bool held_are_ordered(const struct held *one, const struct held *other);

/* The state changes of the drawing, with their counts. */
void held_give(struct ternmq_member *member, struct held *held);
void held_settle(struct ternmq_member *member, struct held *held);
void held_free(struct ternmq_member *member, struct held *held);

/* The lease of a message that was given is over then, by the reactor's clock. */
void held_set_end(struct ternmq_member *member, struct held *held, uint64_t ends_ns);

/* When the lease of a grant is over, by the reactor's clock. */
static inline uint64_t grant_ends_ns(const struct grant *grant)
{
    return grant->begun_ns + grant->lease_ns;
}

/* It was given, or extended, at `begun_ns` at the latest. */
void grant_begin(struct grant *grant, uint64_t begun_ns);

void grant_ref(struct grant *grant);
void grant_unref(struct grant *grant);

#endif
