/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pull_filter.h - what of a queue a pull's filter wants.
 *
 * Tags are looked for by their hash in the index, which touches no record; what may be wanted is then
 * read out of the page cache, a window of bytes at a time and without bodies that are larger than it, and
 * looked at exactly. What is wanted is delivered as always, as runs of the log: they are shorter, since
 * what is not wanted lies between them, and LOG_RUNS_MAX bounds an answer.
 *
 * All pulls of a core together look at PULL_SCAN_MESSAGES_MAX messages, or for PULL_SCAN_NS_MAX, a turn;
 * the others wait for the next, behind those that came before.
 *
 * Memory:  a window a core, from its first filtered pull on; a filter a pull.
 * Threads: as the call.
 */
#ifndef BROKER_PULL_FILTER_H
#define BROKER_PULL_FILTER_H

#include "proto/arguments.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct cold_range;
struct core;
struct queue;

enum {
    PULL_SCAN_MESSAGES_MAX = 2000,
    PULL_SCAN_NS_MAX = 500 * 1000,     /* others of the core wait no longer for it */
    PULL_SCAN_BYTES_MAX = 1024 * 1024, /* of records at a time: asked about at once, and copied */
    PULL_SCAN_MS_MAX = 100, /* of a pull that may not wait, until it says how far it came */
    PULL_SCAN_WINDOW_BYTES =
        64 * 1024, /* more than a head with the largest tag, keys, properties */
    PULL_SCAN_GLANCE_BYTES =
        4 * 1024, /* of a record behind a large one: mostly enough for the labels */
};

/* A core's: what this turn's looking may still cost. */
struct pull_scans {
    uint32_t messages_left;
    uint64_t until_ns; /* by the clock itself; 0: nothing was looked at this turn */
    uint8_t *window;
};

/* A turn begins. */
void pull_scans_begin(struct pull_scans *scans);

void pull_scans_deinit(struct pull_scans *scans);

/* Reads the argument `filter`. The filter is call->pull's, NULL where every message is wanted. */
enum error pull_filter_read(struct call *call, const struct arguments *arguments,
                            struct refusal *refusal);

/*
 * Looks at a part of the queue from pull->from on, at the owner: what is wanted of it is in pull->runs,
 * `from` or, with runs, `next` is where to go on. OK without runs: nothing is wanted up to `from`; or, with
 * something in `cold_out`, the disk is needed first.
 *
 *   as commit_log_read(); also ERROR_CORRUPT for a record that is none, ERROR_IO_FAILED
 */
enum error pull_filter_scan(struct call *call, struct core *at, struct queue *queue,
                            struct cold_range *cold_out);

/* Until when a pull goes on looking. */
uint64_t pull_filter_until_ns(const struct call *call);

#endif
