/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle.h - verdicts on their way: batches of receipts that are acked, nacked or extended by one call.
 *
 *              .------ rides on a poll (acks that nobody waits for) ------.
 *              |                                                          v
 *     OPEN ----+------ full, due, or somebody waits ------> SENT ------> ENDED: each told its fate
 *       ^                                                                 |
 *       `------------- the poll that it rode on was lost -----------------'
 *
 * What lies side by side under one lease becomes one receipt. All of these calls may be sent twice: a
 * lease that was settled is over, so the second one finds nothing, and says LEASE_LOST.
 *
 * Memory:  an entry a message, so bounded by the member's credit, and one more beside each that a filter
 *          left a gap at.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_SETTLE_H
#define TOOLS_CLIENT_SETTLE_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/base/list.h"
#include "proto/cursor.h"
#include "tools/client/client_call.h"
#include "tools/client/held.h"
#include "tools/client/member.h"

#include <stdbool.h>
#include <stdint.h>

enum settle_kind { SETTLE_ACK, SETTLE_NACK, SETTLE_EXTEND };

/* What a call says of all its receipts. */
struct settle_terms {
    enum settle_kind kind;
    bool has_delay;  /* nack */
    bool uncounted;  /* nack */
    bool dead;       /* nack */
    bool is_unheard; /* nobody is told when it was not taken */
    uint32_t delay_ms;
    uint32_t lease_ms; /* extend; 0: as the group says */
    uint32_t reason_bytes;
    char reason[REASON_BYTES_MAX]; /* nack */
};

/* Somebody who waits for the fate of messages. */
struct settle_wait {
    uint32_t pending;
    uint32_t lost;
    struct ternmq_error why; /* of the first that was lost */
};

struct settle_entry {
    struct grant *grant; /* a reference */
    uint64_t first;
    uint64_t span;
    struct held *held; /* the message whose place is free afterwards, or NULL */
    struct settle_wait *wait;
    uint32_t receipt; /* its index in the call */
    uint32_t code;    /* what the broker said; 0: it was taken */
};

struct settle_batch {
    struct client_call call;
    struct list link; /* source->open or ->sent; of none while it rides */
    struct member_source *source;
    struct settle_terms terms;
    struct settle_entry *entries;
    uint32_t count;
    uint32_t capacity;
    uint32_t runs; /* of entries that were added side by side: so many receipts, or fewer */
    bool is_waited_for;
    uint64_t sent_ns;
    uint8_t *receipts; /* as they are written, with their array header */
    size_t receipts_bytes;
    uint32_t receipt_count;
};

/* The terms of a nack, or ack, that the user's words stand for. */
struct settle_terms settle_terms_of(const struct ternmq_settlement *settlement);

/*
 * Takes a verdict on a message that is ready or given; `wait` (may be NULL) is counted up. Sends the batch
 * where that made it full. Where it is no ack in an ordered group, gives back what waits behind the message.
 * False: no memory, nothing changed.
 */
NODISCARD bool settle_add(struct ternmq_member *member, struct held *held,
                          const struct settle_terms *terms, struct settle_wait *wait);

/* In an ordered group: gives back what was not given yet and must be done after a message that will be tried again
 * first. The broker does so by itself where it hears of it, and then there is nothing more to give back. */
void settle_release_behind(struct ternmq_member *member, const struct held *failed);

/* Adds a part of a grant to the open batch of these terms, for no message. False: no memory. */
NODISCARD bool settle_add_part(struct grant *grant, uint64_t first, uint64_t span,
                               const struct settle_terms *terms, struct settle_wait *wait);

/* The same of a message and what a filter left out beside it, whose lease shall last `lease_ms`; 0: as its group's. */
NODISCARD bool settle_extend(const struct held *held, uint32_t lease_ms, struct settle_wait *wait);

/* Whether `entry` goes on where `before` ends, under the same lease. */
bool settle_is_next_to(const struct settle_entry *before, const struct settle_entry *entry);

/* Puts the entries of a batch in order and writes their receipts. False: no memory. */
NODISCARD bool settle_encode(struct settle_batch *batch);

/* The method that a call of such terms is. */
const char *settle_method(enum settle_kind kind);

/* Of a batch that was answered: marks what the broker did not take. False: `failed` does not stand before `count`
 * pairs [index, code]. */
NODISCARD bool settle_batch_mark(struct settle_batch *batch, struct cursor failed, uint32_t count);

/* Everybody is told, and the batch is gone; `why` NULL: the entries' codes say it. */
void settle_batch_end(struct settle_batch *batch, const struct ternmq_error *why);

/* The same, and nobody is told. */
void settle_batch_free(struct settle_batch *batch);

/* Sends what is open, at once; of one source, of all. */
void settle_send(struct member_source *source);
void settle_send_all(struct ternmq_member *member);

/* `wait` is about to be gone: nobody is told any more. */
void settle_unwait(struct ternmq_member *member, const struct settle_wait *wait);

/*
 * The acks that may ride on the next poll of `source`, out of its open batches: encoded, and the poll's
 * until it gives them to one of the others. NULL: there are none.
 */
struct settle_batch *settle_ride(struct member_source *source);

/* How many places are free when those that may ride do. */
uint32_t settle_rideable(const struct member_source *source);

/* The poll was answered: `failed` stands before `count` pairs [index, code]. */
void settle_rode(struct settle_batch *batch, struct cursor failed, uint32_t count);

/* The poll was not answered: they are open again. */
void settle_fell(struct settle_batch *batch);

/* Drops all batches of a source without telling anybody. */
void settle_drop(struct member_source *source);

#endif
