/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_show.h - the method group.show: where a group stands in each queue, and who is in it.
 *
 *     home --> every core: members, counters, dead letters --> every queue (broker/queue_tour.h) --> home
 *
 * Of a broadcast group the groups of its members are looked at instead of itself, and summed up: what it has to
 * do is done when all have done it, and its cursor is that of the last of them.
 *
 *     lag      messages up to `end` that are not settled: also those that are leased or will be tried again
 *     oldest   when the first of them was stored, as its record says; that of a cold one is brought from the
 *              disk, and the call waits for it, not the loop
 *     state    in one word why nothing moves, for programs; below
 *
 * The ranges that are open in a queue are looked through SHOWN_A_TURN in a turn. What is told of a queue is of
 * one moment but for `next_retry`, `lease_until` and `blocked_by`, which may be some turns older where more
 * are open.
 *
 * Memory:  of the call: 200 bytes a queue, 200 a member, until it is answered; charged to its session.
 * Threads: as the call.
 */
#ifndef BROKER_GROUP_SHOW_H
#define BROKER_GROUP_SHOW_H

#include "broker/group_queue.h"
#include "broker/limits.h"
#include "broker/queue_tour.h"
#include "proto/writer.h"
#include "storage/commit_log.h"

#include <stdbool.h>
#include <stdint.h>

/* Why a queue does not move, or does; of several groups the highest counts. */
enum shown_state {
    SHOWN_IDLE,         /* nothing is undone */
    SHOWN_DEAD_LETTERS, /* all that is undone waits to become dead letters */
    SHOWN_WAITING,      /* all that is undone failed, and is not due yet */
    SHOWN_LEASED,       /* all that is undone is with members, or failed */
    SHOWN_BLOCKED,      /* the order keeps the rest back behind something that failed */
    SHOWN_FULL,         /* a bound keeps the rest back */
    SHOWN_READY,        /* something may be given out now: nobody asks, or not enough do */
};

enum {
    /* What keeps others back, that is named: of a queue, and of an answer. */
    SHOWN_BLOCKS_OF_QUEUE = 16,
    SHOWN_BLOCKS_MAX = 1024,
    /* Open ranges that are looked at in one turn: about 200 us. */
    SHOWN_A_TURN = 8192
};

/* Something in an ordered group that others wait for. */
struct shown_block {
    uint64_t offset;
    uint64_t until_ms; /* of its lease, or its next attempt; 0: it is to become a dead letter */
    uint32_t key;      /* 0: of an order of queues */
    uint16_t attempt;  /* the delivery that it is in, or waits for */
    bool is_leased;
};

struct shown_queue {
    bool is_there; /* its topic may go while we look */
    bool has_part; /* one group at least was looked at */
    enum shown_state state;
    uint64_t cursor;
    uint64_t end;
    uint64_t lag;
    uint64_t leased;
    uint64_t retrying;
    uint64_t dying;
    uint64_t skipped;
    uint64_t oldest_ms;       /* 0: nothing is undone, or it cannot be read */
    uint64_t next_retry_ms;   /* 0: nothing waits */
    uint64_t lease_until_ms;  /* the first that ends; 0: nothing is leased */
    struct group_bound bound; /* of SHOWN_FULL */
    uint32_t block_first;     /* in `blocks` */
    uint32_t block_count;
};

struct group_show {
    struct queue_tour tour;
    struct group *group;  /* a reference, as all others here */
    struct group **parts; /* whose state it is: itself, or its members' */
    uint32_t part_count;
    struct topic *dead_topic;   /* NULL: there is none */
    struct group *dead_group;   /* likewise */
    struct shown_queue *queues; /* as tour.queues */
    struct shown_block *blocks; /* SHOWN_BLOCKS_MAX; NULL: none yet */
    uint32_t block_count;
    uint32_t part;       /* that is looked at */
    uint64_t next_range; /* where its open ranges go on */
    bool is_walked;      /* they were looked through */
    uint8_t *members;    /* rows as they are answered */
    size_t members_bytes;
    uint32_t member_count;
    uint64_t delivered;
    uint64_t acked;
    uint64_t nacked;
    uint64_t expired;
    uint64_t filtered;
    uint64_t dead;
};

/* For group_show.c alone: what the tour does at a queue. */
enum tour_look group_show_look(struct queue_tour *tour, struct core *at, uint32_t place);

/* Likewise: how many messages of a queue its group has not settled; `queue` is NULL where it has not begun, and
 * would at `start`. */
uint64_t group_show_undone(const struct group_queue *queue, uint64_t start,
                           const struct queue_state *state);

#endif
