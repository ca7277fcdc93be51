/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_scan.h - what of a queue a reader's filter wants.
 *
 * Tags are looked for by their hash in the index, which touches no record; what may be wanted is then
 * read out of the page cache, a window of bytes at a time and without bodies that are larger than it, and
 * looked at exactly. What is wanted is delivered as always, as runs of the log: they are shorter, since
 * what is not wanted lies between them, and LOG_RUNS_MAX bounds an answer.
 *
 * All readers of a core together look at FILTER_SCAN_MESSAGES_MAX messages, or for FILTER_SCAN_NS_MAX, a
 * turn; the others wait for the next, behind those that came before. Turns begin in the core's `woken_hook`:
 * who reads with a filter has asked for it (core_hook_woken()).
 *
 * Memory:  a window a core, from its first filtered read on. Owner: the core.
 * Threads: the core's.
 */
#ifndef BROKER_FILTER_SCAN_H
#define BROKER_FILTER_SCAN_H

#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>

struct cold_range;
struct core;
struct queue;
struct queue_reader;

enum {
    FILTER_SCAN_MESSAGES_MAX = 2000,
    FILTER_SCAN_NS_MAX = 500 * 1000,     /* others of the core wait no longer for it */
    FILTER_SCAN_BYTES_MAX = 1024 * 1024, /* of records at a time: asked about at once, and copied */
    FILTER_SCAN_WINDOW_BYTES =
        64 * 1024, /* more than a head with the largest tag, keys, properties */
    FILTER_SCAN_GLANCE_BYTES =
        4 * 1024, /* of a record behind a large one: mostly enough for the labels */
};

/* A core's: what this turn's looking may still cost. */
struct filter_scans {
    uint32_t messages_left;
    uint64_t until_ns; /* by the clock itself; 0: nothing was looked at this turn */
    uint8_t *window;
};

/* A turn begins. */
void filter_scans_begin(struct filter_scans *scans);

void filter_scans_deinit(struct filter_scans *scans);

/*
 * For queue_reader.c: looks at a part of the queue from reader->from on, which lies below reader->until. What
 * is wanted of it is in reader->runs, and reader->next is where to go on; without runs `from` moves there. OK
 * without runs: nothing is wanted up to `from`; or, with something in `cold_out`, the disk is needed
 * first; or reader->put_off is set.
 *
 *   as commit_log_read(); also ERROR_CORRUPT for a record that is none, ERROR_IO_FAILED
 */
enum error filter_scan(struct queue_reader *reader, struct core *at, struct queue *queue,
                       struct cold_range *cold_out);

#endif
