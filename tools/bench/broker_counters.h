/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker_counters.h - what a broker says of itself by `stats`: how much it wrote, how much its cores told each
 * other.
 *
 * Threads: any, one at a time.
 */
#ifndef TOOLS_BENCH_BROKER_COUNTERS_H
#define TOOLS_BENCH_BROKER_COUNTERS_H

#include "tools/client/ternmq.h"

#include <stdint.h>

/* Since the broker's start, of all its shards and cores. */
struct broker_counters {
    uint64_t log_bytes;
    uint64_t core_messages;
};

/* Asks with a connection of its own. Blocks. TERNMQ_OK, or what `*error` says. */
int broker_counters_read(const struct ternmq_options *client, struct broker_counters *counters_out,
                         struct ternmq_error *error);

#endif
