/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_choice.h - which queue a produce goes to that names none.
 *
 * Only queues that this broker has are taken. A core takes one whose shard is its own, so that the call need not travel,
 * and stays with it for CHOICE_BYTES or CHOICE_MS: records of one queue then lie together in the
 * log and are delivered in long runs. A core that owns none of them goes round all that are here.
 *
 * Memory:  CHOICE_SLOTS slots a core. Topics that share a slot change queues more often, which is
 *          no fault.
 * Threads: the core's.
 */
#ifndef BROKER_QUEUE_CHOICE_H
#define BROKER_QUEUE_CHOICE_H

#include <stddef.h>
#include <stdint.h>

struct core;
struct queue_choices;
struct topic;

enum {
    CHOICE_SLOTS = 256,
    CHOICE_BYTES = 64 * 1024, /* a run that is worth a sendfile, four times over */
    CHOICE_MS = 10
};

struct queue_choices *queue_choices_create(void);
void queue_choices_destroy(struct queue_choices *choices);

/* The queue for a call that brings `bytes` of messages. */
uint16_t queue_choices_take(struct core *core, const struct topic *topic, size_t bytes);

#endif
