/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.h - the methods about the connection and the broker itself: hello, cancel, stats.
 *
 * Threads: as the call.
 */
#ifndef BROKER_ADMIN_H
#define BROKER_ADMIN_H

#include "proto/arguments.h"

struct call;

/* `hello`: who we are, what we take, and how this connection wants its errors. */
void hello_run(struct call *call, const struct arguments *arguments);

/* `cancel`: a poll of the same connection is answered at once. One-way. */
void cancel_run(struct call *call, const struct arguments *arguments);

/* `stats`: the counters of all cores, shards and logs, as a map of maps. */
void stats_run(struct call *call, const struct arguments *arguments);

#endif
