/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive_take.h - what a receive takes of one queue.
 *
 * Threads: the shard's core.
 */
#ifndef BROKER_RECEIVE_TAKE_H
#define BROKER_RECEIVE_TAKE_H

#include "broker/group_queue.h"
#include "broker/receive.h"

struct filter;

enum {
    /* Messages that are looked at and leased at once, in the order of keys. */
    TAKE_KEYS_MAX = 1024,
    /* How often in one turn of one queue: at a microsecond a message about 4 ms. */
    TAKE_KEYS_TIMES_MAX = 4,
    /* Ranges that are looked at for one that need not be cut, when no more may be: 0.1 ms. */
    TAKE_LOOKS_MAX = 1024
};

enum take_result {
    TAKE_NOTHING, /* there is nothing to give out any more */
    TAKE_FULL,    /* there is, and a bound keeps it back */
    TAKE_SOME,    /* something was taken, or passed: there may be more */
    TAKE_ENOUGH,  /* the answer is full */
    TAKE_LATER,   /* it has had its share of the turn */
    TAKE_COLD,    /* the reader waits for the disk; nothing of this queue was taken */
    TAKE_FAILED,  /* call->receive.error says why */
};

/* A queue of the group, its topic's name in call->receive.group's block, and the filter for it. */
struct take {
    struct call *call;
    struct core *at;
    struct group_queue *queue;
    struct bytes topic;
    struct filter *filter;
    uint64_t visible;
    const uint32_t *keys; /* of what is read, from its first on, in an order of keys; NULL: none */
};

/* Takes from the queue, in no order or that of queues. */
enum take_result take_next(const struct take *take);

/* Takes from the queue in the order of keys. */
enum take_result take_keyed(const struct take *take);

/* For the two: whether the answer is full; makes the reader one of this queue. */
bool take_is_enough(const struct take *take);
void take_init_reader(const struct take *take, uint64_t from);

/* Reads what lies from `first` to `until` and is wanted; TAKE_SOME: the reader has runs. What is
 * not wanted before them is settled where there are none. */
enum take_result take_read(const struct take *take, uint64_t first, uint64_t until);

/* The end of what of the reader's runs has room in the answer: they are cut to that. */
uint64_t take_fit(const struct take *take);

/* Adds the reader's runs and a range from `first` to `end` to the answer. What it was before is told by `like`. */
struct attempt_like {
    uint16_t attempts;
    struct reason *reason;
};
void take_add(const struct take *take, uint64_t first, uint64_t end,
              const struct attempt_like *like);

/* Leases [first, end) to the call's member. */
enum error take_lease(const struct take *take, uint64_t first, uint64_t end, uint32_t key);

#endif
