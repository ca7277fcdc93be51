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
 * whose chunks (of a segment, 2 MiB) count him; the last one to leave a chunk drops it. What was in
 * the cache before he came is not counted, and never dropped.
 *
 *     window   behind           READ_BEHIND_BYTES           ahead                     entered
 *                 | <--------------> ^ <---- at most ----> | <- READ_UNASKED_BYTES -> |
 *     the log     |                  he   READ_AHEAD_BYTES |
 *
 * A wrong guess costs time or cache, never an answer. Two who read the same in step count as one. A
 * chunk that the system takes away in between is missed, and brought again.
 *
 * Memory:  COLD_READERS_MAX windows a log; a byte a chunk of a segment in which somebody missed
 *          something; jobs of about 150 bytes for READ_AHEAD_BYTES_MAX. Owner: the log, the segment.
 * Threads: the log's reactor; jobs apart.
 */

#include "storage/commit_log.h"

enum {
    /* The largest folio of a page cache, which is aligned to its size: a smaller part of one is not given
     * back. */
    READ_CHUNK_BYTES = 2 * 1024 * 1024,
    /* What a disk of 2 GB/s gives in the four milliseconds that a job and the turns around it may take on
     * a busy machine. Reached by doubling from one chunk on: he may have wanted a few messages only. */
    READ_AHEAD_BYTES = 8 * 1024 * 1024,
    /* The system reads on by itself behind what it is asked for, up to twice `read_ahead_kb`: what was there
     * before has to be known before that. */
    READ_UNASKED_BYTES = 16 * 1024 * 1024,
    /* What may still be on its way to sockets, which holds pages. */
    READ_BEHIND_BYTES = 4 * 1024 * 1024,
    /* Of all readers of a log, on its way from the disk: whoever misses something waits for no more. */
    READ_AHEAD_BYTES_MAX = 16 * 1024 * 1024,
    /* More at a time share the disk anyway: whoever comes then is read for what he misses, no more. */
    COLD_READERS_MAX = 32
};

/* With topic 0: nobody. */
struct cold_reader {
    struct reader_place next; /* where he goes on */
    uint64_t behind;          /* positions: the chunks from here */
    uint64_t entered;         /* to here count him, where they were cold */
    uint64_t ahead;           /* what was asked for in between */
    uint64_t step_bytes;      /* how far ahead of him is read by now */
    uint64_t seen_ns;
};

/* Somebody missed a range of records and waits for it. Answers how many bytes right behind it should
 * come along: those to the end of the chunk. */
uint64_t read_ahead_missed(struct commit_log *log, const struct cold_range *range);

/* Whoever goes on at `from` is given a list, all of which is in the page cache. */
void read_ahead_moved(struct commit_log *log, const struct reader_place *from,
                      const struct run_list *list);

#endif
