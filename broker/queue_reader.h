/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_reader.h - records of one queue from an offset on, with a filter or without.
 *
 * A read is made at the core of the queue's shard and brings runs of bytes with references to their
 * segments (storage/commit_log.h), to be sent as they lie (broker/delivery.h). It does not wait for a
 * disk in the loop: what the page cache lacks is brought, and it is made again after that:
 *
 *     queue_reader_read() ---> true: `error`, `runs`, `next`
 *        ^          |
 *        |          `-------> false: it is COLD
 *        `-- again() <-------'       (as long as a disk needs)
 *
 * Only where what was brought is gone again each time the read waits. What the disk cannot give is tried
 * once more for one message alone, so that it hides no message before it.
 *
 * With a filter a read is a bounded part of looking through what is there (broker/filter_scan.h): without
 * runs, and `next` below `end` and `until`, it is to be made again, in the next turn.
 *
 * Memory:  the struct is its user's; a list of runs of the core's pool from a read that found something
 *          to queue_reader_drop_runs().
 * Threads: the core of the shard, and the one that sends the runs; the struct goes with its user's call.
 */
#ifndef BROKER_QUEUE_READER_H
#define BROKER_QUEUE_READER_H

#include "proto/error.h"
#include "storage/commit_log.h"

#include <stdbool.h>
#include <stdint.h>

struct core;
struct filter;
struct shard;

/* Where a queue has no end for a reader. */
#define QUEUE_READER_NO_END UINT64_MAX

struct queue_reader {
    /* What to read: the user's. */
    void (*again)(struct queue_reader *reader, struct core *at);
    struct shard *shard;
    struct filter *filter; /* NULL: every message; stays the user's */
    uint64_t from;  /* what lies before it was looked at; a read that finds nothing moves it */
    uint64_t until; /* nothing is looked at from here on; above `from`, or there is nothing */
    uint64_t bytes_max;
    uint32_t messages_max; /* at least 1 */
    uint32_t topic_id;
    uint16_t queue;
    bool cancelled;    /* it need not wait for the disk any more */
    bool at_hand_only; /* what is cold is put off instead of being brought */

    /* What was read. */
    struct run_list *runs; /* NULL: nothing */
    uint64_t next;         /* behind the last that was looked at */
    uint64_t end;          /* what was visible then */
    uint64_t detail;       /* of the error: the offset to resume at, or the first that is kept */
    enum error error;
    bool put_off; /* by its filter: nothing of this turn was left for it */
    bool is_cold; /* it waits for the disk, and `again` will run */

    /* The reader's own. */
    bool unreadable;         /* the disk could not give what it waited for */
    bool one_by_one;         /* among the next messages is one that the disk could not give */
    uint32_t cold_tries;     /* so often in a row the same was cold */
    uint32_t cold_rounds;    /* so often anything was */
    struct cold_range cold;  /* what that was, to be compared only */
    struct warm_waiter warm; /* while it is cold */
};

/* Reads nothing yet: from offset 0 of a queue without an end, all that one call may bring of
 * `bytes_max`. */
void queue_reader_init(struct queue_reader *reader, struct shard *shard, uint32_t topic_id,
                       uint16_t queue, uint64_t bytes_max);

/*
 * Reads, at the shard's core. False: it is cold; `again` runs once and is to read again, or to end. True:
 *
 *   OK                      with runs; or without, up to `next`: nothing is there yet, wanted, or
 *                           below `until`. Also where it was cancelled while it was cold
 *   ERROR_TOPIC_NOT_FOUND   the queue was removed
 *   ERROR_STOPPING          it was cold, and the core drains
 *   ERROR_IO_FAILED         the disk cannot give the record of `from`; `detail` is behind it
 *   and those of commit_log_read(), with their `detail`
 *
 * Not while it is cold, nor while it has runs.
 */
bool queue_reader_read(struct queue_reader *reader, struct core *at);

/* Gives back what was read; `at` any core. */
void queue_reader_drop_runs(struct queue_reader *reader, struct core *at);

/* For who first looks for the place where to begin, which may be cold, too: whether to go on (else the
 * reading is over, with `error`); whether to wait in the loop now; makes it cold. */
bool queue_reader_goes_on(struct queue_reader *reader, const struct core *at);
bool queue_reader_may_wait(const struct queue_reader *reader);
void queue_reader_warm(struct queue_reader *reader, const struct cold_range *cold);

#endif
