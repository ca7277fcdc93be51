/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_SNAPSHOT_H
#define STORAGE_SNAPSHOT_H

/*
 * snapshot.h - the whole state as records in the log: begin, chunks of rows, end.
 *
 * A snapshot begins right behind the segment record of a new segment, when the log has grown by
 * max(one segment, 8 times the last snapshot), so that it takes at most an eighth of what is
 * written. It goes on by one chunk of at most 256 KiB a turn, while appends go on; the rows of each
 * view are written in the view's own order, the views in theirs. It counts once `end` is durable:
 * then the segments before its begin may go.
 *
 * Threads: the log's reactor.
 * Format:  storage/README.md, "Snapshots"; rows, proto/events.def.
 */

#include "storage/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct commit_log;

struct snapshot {
    bool active;
    uint64_t begin;         /* of the active one, or of the last */
    uint64_t base;          /* of the segment that it begins in */
    uint64_t bytes;         /* of its records so far */
    uint64_t last_bytes;    /* of the records of the last complete one */
    uint64_t end;           /* of the last complete one; 0: none yet that is not durable */
    uint64_t durable_begin; /* of the newest one that is complete on disk: retention stops there */
    uint32_t view;          /* which is being saved */
    struct view_place place;
    uint8_t *chunk; /* while active */
    size_t chunk_bytes;
};

/* Whether one is due at a roll that makes a segment at `base`. */
bool snapshot_is_due(const struct commit_log *log, uint64_t base);

/* Writes the begin record, behind the segment record that was just put. False: fenced. */
bool snapshot_begin(struct commit_log *log);

/* One is under way, and no operations are pending: they were applied already, and their record would
 * come behind rows that have them. Messages may wait: rows say what was staged. */
bool snapshot_can_step(const struct commit_log *log);

/* Writes the next chunk, or the end. */
void snapshot_step(struct commit_log *log);

/* The log is durable further: whether a snapshot has just become so. */
bool snapshot_durable(struct commit_log *log);

/* Gives the memory of an unfinished one back. */
void snapshot_abandon(struct commit_log *log);

#endif
