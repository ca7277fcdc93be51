/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard.h - a commit log, the views derived from it, and the calls that wait on it.
 *
 * A shard belongs to one core for its whole life (broker/core.h). Only that core appends to it,
 * reads its queues and applies operations to its views; bytes of it are sent by whichever core has
 * the connection, through references to segments.
 *
 * Who starts the broker opens `log` over the views and sets the others; all are NULL before.
 *
 * Memory:  what the log and its views own; the waiting calls belong to their sessions.
 * Threads: its core's.
 */
#ifndef BROKER_SHARD_H
#define BROKER_SHARD_H

#include "net/reactor.h"
#include "proto/base/list.h"

#include <stdint.h>

struct catalogue;
struct commit_log;
struct core;
struct dead_letters;
struct group_retention;
struct groups;

struct shard {
    uint32_t number;
    struct core *core;
    struct commit_log *log;
    struct catalogue *catalogue;
    struct groups *groups;
    struct dead_letters *dead;
    struct group_retention *retention;

    /* Produces written and waiting for the disk, oldest first: struct produce_call.waiting. One
     * timer for all of them, at the moment the first may be due. */
    struct list waiting_durable;
    struct timer waiting_timer;
};

void shard_init(struct shard *shard, struct core *core, uint32_t number);

/* Nothing waits any more: asserted. The log is closed by who opened it. */
void shard_deinit(struct shard *shard);

#endif
