/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_indexes.c - at a start: the index of every sealed segment, from its file, or what the replay
 * made, or made again from the segment.
 */

#include "proto/base/contract.h"
#include "storage/log_replay.h"

#include <stdio.h>
#include <string.h>

enum {
    /* Index entries that are read for their checksum at a start, newest segments first: bounds the
     * time. Older indexes are checked but for their entries. */
    INDEX_CHECK_BYTES = 256 * 1024 * 1024
};

/* One range is named, from the first byte that is not whole. */
static void note_corrupt(struct commit_log *log, uint64_t from, uint64_t to)
{
    if (!log->read_only || from < log->corrupt_from) {
        log->corrupt_from = from;
        log->corrupt_to = log->read_only ? log->corrupt_to : to;
    }
    log->read_only = true;
    log->refusal = ERROR_READ_ONLY;
}

/* 0, or -errno of a read. */
static int settle_index(struct commit_log *log, uint32_t number, bool was_replayed,
                        uint64_t *budget)
{
    struct segment *segment = log->segments[number];
    char path[SEGMENT_PATH_BYTES];
    int error = 0;
    if (!was_replayed) {
        segment->used = (uint32_t)log_segment_limit(log, number);
    }
    segment_path(path, log->directory, segment->base, SEGMENT_INDEX);
    bool is_checked = *budget > 0;
    if (index_load(&segment->index, log->disk, path, segment->base, segment->used, is_checked)) {
        *budget -= segment->index.map_bytes < *budget ? segment->index.map_bytes : *budget;
        return 0;
    }
    uint64_t end = segment_end(segment);
    if (!was_replayed && !replay_rebuild_index(log, segment, &error)) {
        note_corrupt(log, segment_end(segment), end);
    }
    if (error == 0 && !log->read_only) {
        log_index_submit(log, segment);
    }
    return error;
}

bool log_settle_indexes(struct commit_log *log, uint32_t replayed_from, char *error,
                        size_t error_bytes)
{
    uint64_t budget = INDEX_CHECK_BYTES;
    uint32_t open = log_segment_number(log, log->open);
    for (uint32_t i = open; i > 0; i--) {
        bool was_replayed = i - 1 >= replayed_from;
        /* Behind a range that is not whole the replay's index stays, with its holes. */
        if (log->read_only && was_replayed) {
            continue;
        }
        int result = settle_index(log, i - 1, was_replayed, &budget);
        if (result < 0) {
            (void)snprintf(error, error_bytes, "shard %u: a segment cannot be read: %s",
                           log->options.shard, strerror(-result));
            return false;
        }
    }
    /* A gap between segments is a range that is not whole, too. */
    for (uint32_t i = 0; i < open; i++) {
        uint64_t end = segment_end(log->segments[i]);
        if (end < log->segments[i + 1]->base) {
            note_corrupt(log, end, log->segments[i + 1]->base);
        }
    }
    return true;
}
