/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_seek.h - the method group.seek: a group goes on somewhere else, while its members run.
 *
 *     home: `to` is read --> every queue, in its shard (broker/queue_tour.h):
 *                            target found, decided, appended --> (the log has written) --> next shard .. home
 *
 * Every queue is decided and changed at one moment; several are not changed at one moment together. What was
 * leased or failed there is void: the generation of the queue grows, and receipts of an older one are
 * LEASE_LOST. With `dry_run` nothing is changed, and the answer is the same.
 *
 * A time is looked for in the queue's records, of which some may be cold: the call waits for the disk then, and
 * the loop goes on.
 *
 * Memory:  of the call: 64 bytes a queue, until it is answered; charged to its session.
 * Threads: as the call; what decides is pure.
 */
#ifndef BROKER_GROUP_SEEK_H
#define BROKER_GROUP_SEEK_H

#include "broker/group_queue.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/error.h"

#include <stdint.h>

enum seek_kind {
    SEEK_FIRST,  /* the oldest message that is there */
    SEEK_LAST,   /* behind all that can be read now */
    SEEK_TIME,   /* the first stored at or after a moment */
    SEEK_OFFSET, /* of one queue */
    SEEK_GROUP,  /* where another group has what is not settled */
};

/* What `to` says. */
struct seek_target {
    enum seek_kind kind;
    uint64_t number;    /* of SEEK_TIME, ms since 1970; of SEEK_OFFSET */
    struct bytes group; /* of SEEK_GROUP; in what was read */
};

/* Reads "first", "last", {at_time: ms}, {offset: n} or {group: name}. ERROR_BAD_ARGUMENT {key: to}: it is none
 * of these. */
NODISCARD enum error seek_target_read(struct cursor cursor, struct seek_target *target_out,
                                      struct refusal *refusal);

/* A queue that is decided on. */
struct seek_place {
    struct queue_state state;        /* of the queue */
    const struct group_queue *queue; /* NULL: the group has not begun it ... */
    uint64_t start;                  /* ... and would here */
};

/* What a seek does to one queue. No message is looked at: what a filter does not want is counted, too. */
struct seek_row {
    uint64_t was;     /* the cursor */
    uint64_t now;     /* the next message that is given out */
    uint64_t again;   /* messages that were settled, and are delivered once more */
    uint64_t skipped; /* messages that were not, and will not be */
};

/*
 * Decides on `offset`. Where it was not asked for as such (`is_exact` false) retention may have taken it: the
 * oldest that is there takes its place.
 *
 *   ERROR_TRUNCATED         {resume}  it lies behind all that can be read
 *   ERROR_OFFSET_TOO_SMALL  {first}   retention took it
 */
NODISCARD enum error seek_decide(const struct seek_place *place, uint64_t offset, bool is_exact,
                                 struct seek_row *row_out, struct refusal *refusal);

#endif
