/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle.h - the methods `ack`, `nack` and `extend`: what becomes of messages that were given out.
 *
 * One function does all three, since they differ in the last step only. A call carries receipts,
 * [topic, queue, first, span, lease]: it visits the shards of their queues one after the other, waits in
 * each until what it changed is written (or durable, if asked), and is answered with the receipts of which
 * not every offset counted.
 *
 *     home: receipts read ---> shard: judged, changed ---> (after the log wrote) next shard .. home
 *                                |  ^ the next turn, behind the others
 *                                `--'
 *
 * A receipt may cover a million open ranges, and a call bring many such receipts. So all calls of a core together
 * settle SETTLE_STEPS_A_TURN a turn; what is left goes on in the next one. A receipt that was begun is
 * finished, also where its deadline passes or what it covers changes in between.
 *
 * An offset counts if
 *
 *     it is not settled, its topic and generation are those of the receipt, its message is the one that was
 *     given out (not one of a later epoch, after a power cut: broker/settle_lost.h), and
 *     ack           nobody else holds it: a lease that is over is as good as long as it was not given to
 *                   another, before or after a restart
 *     nack, extend  it is held by this very lease
 *
 * and in a queue that is kept in order an ack without a live lease counts only for the first open offset
 * and what follows it. A receipt without a lease is a cursor: everything below its end is settled.
 *
 * Receipts are read at home in one turn: 65,535 in 2 to 4 ms where they are of one topic, in 9.5 ms where they are
 * of 64 in turn, with names as long as the frame has room for. Others of the core wait so long, as they do for
 * a frame of that many messages.
 *
 * Memory:  receipts in the call, or 56 bytes each beside it, which the session is charged for.
 * Threads: as the call.
 */
#ifndef BROKER_SETTLE_H
#define BROKER_SETTLE_H

#include "proto/arguments.h"
#include "proto/base/list.h"
#include "proto/error.h"
#include "proto/events_groups.h"
#include "proto/writer.h"
#include "storage/commit_log.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct core;
struct group;
struct settle_disk;
struct shard;

enum settle_verb { SETTLE_ACK, SETTLE_NACK, SETTLE_EXTEND };

enum {
    SETTLE_RECEIPTS_INLINE = 2, /* of most calls */
    /* Receipts and the ranges that they cover, at a microsecond or less each. */
    SETTLE_STEPS_A_TURN = 4096,
    LEASE_BYTES = 20 /* what a receipt's lease says: struct lease_said */
};

/* What a lease says. A topic that was made again has the same offsets in the same generation: its id tells
 * them apart. */
struct lease_said {
    uint32_t group;
    uint32_t generation;
    uint64_t serial;
    uint32_t topic;
};

struct receipt {
    uint64_t first;
    uint64_t span;
    uint64_t from; /* where it goes on */
    uint64_t serial;
    uint32_t generation;
    uint32_t group; /* by its lease: a member's of a broadcast group, else the group itself */
    uint32_t topic;
    uint16_t queue;
    uint16_t shard;
    bool has_lease;
    bool is_begun;
    bool has_missed; /* something of it did not count */
    bool has_failed; /* nack: something of it has */
    enum error error;
};

/* What a call has to settle; lies in it. */
struct settling {
    struct call *call;
    enum settle_verb verb;
    uint32_t count;
    struct receipt *receipts; /* inline_receipts, or memory of its own */
    struct receipt inline_receipts[SETTLE_RECEIPTS_INLINE];
    uint64_t shards;                                  /* bit 1 << shard: still to visit */
    struct group *group;                              /* a reference */
    void (*done)(struct call *call, struct core *at); /* at home */
    struct shard *shard;                              /* that it is in */
    uint32_t place;                                   /* of the receipt that it is at there */
    bool gives_back;     /* nack: all were settled there, and it is at what lies behind */
    struct list written; /* core->written: goes on when the logs have written;
                                     * core->settling: likewise in the next turn */
    struct log_operation operation; /* where it waits for the disk */
    struct settle_disk *disk;       /* settle_lost.c's; NULL: nothing of it was cold */
    bool durable;
    bool counts;    /* nack: an attempt */
    bool dead;      /* nack: the last one */
    bool has_delay; /* nack: of its own */
    uint64_t delay_ms;
    uint64_t lease_ms; /* extend */
    uint8_t reason_length;
    uint8_t reason[REASON_BYTES_MAX];
};

/* The methods. */
void ack_run(struct call *call, const struct arguments *arguments);
void nack_run(struct call *call, const struct arguments *arguments);
void extend_run(struct call *call, const struct arguments *arguments);

/* For receive.c, whose argument `ack` is the same. Reads receipts of `group`, of which it takes a
 * reference, at home; with an error nothing is to be released. */
enum error settling_read(struct call *call, struct settling *settling, struct group *group,
                         const struct arguments *arguments, enum argument_id id,
                         struct refusal *refusal);

/* Settles; `settling->done` runs at home afterwards. */
void settling_begin(struct call *call, struct settling *settling,
                    void (*done)(struct call *call, struct core *at));

/* How many receipts have failed; their [[index, code]..]. */
uint32_t settling_failed(const struct settling *settling);
void settling_write_failed(const struct settling *settling, struct writer *writer);

enum { FAILED_BYTES = 8 }; /* of one in it, at the most */

/* Gives back what was read. */
void settling_release(struct settling *settling);

/* For the core, when its logs have written: takes out calls of which the log has everything, before anything
 * else is appended, and lets them go on. What waits for a segment stays. */
bool settle_is_written(const struct core *core);
void settle_take_written(struct core *core, struct list *settled_out);
void settle_let_go(struct core *core, struct list *settled);

/* For the core, at the end of a turn: another one's steps begin, with those calls that had more to do. */
void settle_go_on(struct core *core);

/* For call_end(). */
void settle_release(struct call *call);

/* Writes the lease of a receipt. */
void lease_write(struct writer *writer, const struct lease_said *said);

#endif
