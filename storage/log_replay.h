/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_LOG_REPLAY_H
#define STORAGE_LOG_REPLAY_H

/*
 * log_replay.h - applies the records of segments, in order, to the queues and the views.
 *
 * Begins at a snapshot: until its end record what is read is `loading`. Stops at the first record
 * that is not whole, not of this log, or not in its place.
 *
 * Threads: the one that opens the log.
 */

#include "storage/log_state.h"
#include "storage/scan.h"

struct replay {
    struct commit_log *log;
    uint64_t begin; /* position of the snapshot's begin record */
    bool loading;
    bool is_complete;        /* its end was there */
    uint64_t snapshot_bytes; /* of its records */
    uint32_t epoch;          /* of the last record */
    uint64_t records;
    uint64_t bytes;
    int error;          /* -errno of a read */
    const char *format; /* what is not understood; NULL: all is */
};

/* Whether a segment begins as a snapshot does; its begin, and whose log it is. */
bool replay_find_begin(struct commit_log *log, struct segment *segment, uint64_t *begin_out,
                       uint64_t *store_id_out);

/* Replays log->segments[number] up to `limit` bytes of it; log->open and log->end follow. False: it
 * stopped before the limit, at log->end, or at the segment's base. */
bool replay_segment(struct replay *replay, uint32_t number, uint64_t limit);

/* Whether `segment` says that it goes on where the log ends now. */
bool replay_continues(struct commit_log *log, struct segment *segment);

/* Behind a range that is not whole: only the index is made, of messages of queues that are known,
 * from `place` in the segment on. Gives the first place at which a whole record stood, or `limit`;
 * `error` is the -errno of a read. */
uint64_t replay_index_rest(struct commit_log *log, uint32_t number, uint64_t place, uint64_t limit,
                           int *error_out);

/* Makes the index of a sealed segment that lost it. False: it is not whole either, from
 * segment->used on. */
bool replay_rebuild_index(struct commit_log *log, struct segment *segment, int *error_out);

#endif
