/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_READ_AHEAD_H
#define STORAGE_READ_AHEAD_H

/*
 * read_ahead.h - the page cache around readers who are far behind: what one needs next is read from
 * the disk before he asks, what he leaves is dropped, so that he uses a few MiB of the cache and not
 * all of it, which is the tail's.
 *
 * Whoever misses something is a cold reader from then on. A pull does not say who it is; he is known
 * by where he goes on: the queue and the offset behind what he got last. Each has a window of the log,
 * whose chunks (of a segment, 1 MiB) count him; the last one to leave a chunk drops it. What was in
 * the cache before he came is not counted, and never dropped.
 *
 *     window              behind           READ_BEHIND_BYTES           ahead
 *                            | <--------------> ^ <---- at most ----> |
 *     the log      ..dropped.|                  he   READ_AHEAD_BYTES |..cold..
 *
 * A wrong guess costs time or cache, never an answer. Two who read the same in step count as one. A
 * chunk that the system takes away in between is missed, and brought again.
 *
 * Memory:  COLD_READERS_MAX windows a log; a byte a MiB of a segment in which somebody missed
 *          something; jobs of about 150 bytes for READ_AHEAD_BYTES_MAX. Owner: the log, the segment.
 * Threads: the log's reactor; jobs apart.
 */

#include "storage/commit_log.h"

enum {
    READ_CHUNK_BYTES = 1024 * 1024,
    /* What a disk of 2 GB/s gives in the four milliseconds that a job and the turns around it may take on
     * a busy machine. Reached by doubling from one chunk on: he may have wanted a few messages only. */
    READ_AHEAD_BYTES = 8 * READ_CHUNK_BYTES,
    /* What may still be on its way to sockets, which holds pages. */
    READ_BEHIND_BYTES = 4 * READ_CHUNK_BYTES,
    /* Of all readers of a log, on its way from the disk: whoever misses something waits for no more. */
    READ_AHEAD_BYTES_MAX = 32 * READ_CHUNK_BYTES,
    /* More at a time share the disk anyway; who is forgotten is a new one when he misses something. */
    COLD_READERS_MAX = 32
};

/* With topic 0: nobody. */
struct cold_reader {
    struct reader_place next; /* where he goes on */
    uint64_t behind;          /* positions: the chunks between count him */
    uint64_t ahead;
    uint64_t step_bytes; /* how far ahead of him is read by now */
    uint64_t seen_ns;
};

/* Somebody missed a range of records and waits for it. Answers how many bytes right behind it should
 * come along: those to the end of the chunk. */
uint64_t read_ahead_missed(struct commit_log *log, const struct cold_range *range);

/* Whoever goes on at `from` is given a list, all of which is in the page cache. */
void read_ahead_moved(struct commit_log *log, const struct reader_place *from,
                      const struct run_list *list);

#endif
