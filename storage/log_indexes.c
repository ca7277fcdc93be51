/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_indexes.c - the index of every sealed segment, from its file, or what the replay made, or made
 * again from the segment.
 *
 * At the start a file is checked but for its entries, which grow with the store: those of segments
 * that were not replayed are read by a job behind the start, one segment at a time. A read before
 * that may be led to a wrong place by a damaged entry, as one of an older index may: to bytes of the
 * same segment, whose checksums and positions tell.
 */

#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "storage/log_replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Entries of indexes that are read for their checksum after a start, newest segments first:
     * bounds what it takes from everybody else's disk and cache. */
    INDEX_CHECK_BYTES = 256 * 1024 * 1024
};

/* --------------------------------------------------------------- the start */

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
    if (index_load(&segment->index, log->disk, path, segment->base, segment->used, was_replayed)) {
        segment->unchecked = !was_replayed && *budget > 0;
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

/* ------------------------------------------------------------- behind the start */

struct index_check {
    struct disk_job job;
    struct commit_log *log;
    struct segment *segment;
    struct segment again; /* what is made of the segment where its index is damaged: an index */
    bool keeps_files;     /* nothing is written or removed */
    bool is_damaged;
    int error;     /* of a read: nothing is known then */
    bool is_whole; /* the segment: `again` has all of it, else what lies in front */
};

/* A file that cannot be made again is removed, so that the next start finds what is not whole. What is
 * known of the segment is served until then. */
static void make_again(struct index_check *check)
{
    struct commit_log *log = check->log;
    const struct segment *segment = check->segment;
    struct segment *again = &check->again;
    char path[SEGMENT_PATH_BYTES];
    char temporary[SEGMENT_PATH_BYTES];
    segment_path(path, log->directory, segment->base, SEGMENT_INDEX);
    segment_path(temporary, log->directory, segment->base, SEGMENT_INDEX_NEW);
    *again = (struct segment){.file = segment->file, .base = segment->base, .used = segment->used};
    check->is_whole = replay_rebuild_index(log, again, &check->error);
    if (check->error != 0) {
        index_deinit(&again->index);
        return;
    }
    if (check->keeps_files) {
        return;
    }
    if (!check->is_whole) {
        (void)disk_remove(log->disk, path); /* Left, it is found damaged at the next start. */
        return;
    }
    struct index_names names = {log->directory, path, temporary};
    if (index_write(&again->index, log->disk, &names, segment->base, segment->used) == 0) {
        (void)index_load(&again->index, log->disk, path, segment->base, segment->used, false);
    }
}

static void check_work(struct disk_job *job)
{
    struct index_check *check = CONTAINER_OF(job, struct index_check, job);
    check->is_damaged = index_check_entries(&check->segment->index) < 0;
    if (check->is_damaged) {
        make_again(check);
    }
}

/* The damaged one stays mapped while its segment is there: somebody may be reading it. */
static void take_index(struct segment *segment, const struct index *made)
{
    segment->damaged = malloc(sizeof(*segment->damaged));
    ASSERT(segment->damaged != NULL);
    *segment->damaged = segment->index;
    segment->index = *made;
}

static void say_damaged(const struct index_check *check)
{
    uint32_t shard = check->log->options.shard;
    uint64_t base = check->segment->base;
    if (check->error != 0) {
        log_error("shard %u: the index of segment %" PRIu64
                  " is damaged, and the segment cannot be "
                  "read: %s: look at the disk",
                  shard, base, strerror(-check->error));
    } else if (check->is_whole) {
        log_warn("shard %u: the index of segment %" PRIu64 " was damaged and was made again: look "
                 "at the disk",
                 shard, base);
    } else {
        log_error("shard %u: segment %" PRIu64 " and its index are damaged from position %" PRIu64
                  " on: the next start will take no writes; restore the store from a copy",
                  shard, base, segment_end(&check->again));
    }
}

static void check_done(struct disk_job *job)
{
    struct index_check *check = CONTAINER_OF(job, struct index_check, job);
    struct commit_log *log = check->log;
    struct segment *segment = check->segment;
    if (check->is_damaged) {
        say_damaged(check);
    }
    if (check->is_damaged && check->error == 0) {
        take_index(segment, &check->again.index);
        queues_forget_index(log, segment);
    }
    free(check);
    log->jobs--;
    segment->unchecked = false;
    segment->busy = false;
    segment_unref(segment);
    if (!log->fenced) {
        log_retain(log);
        log_check_indexes(log);
    }
}

void log_check_indexes(struct commit_log *log)
{
    uint32_t number = log->segment_count;
    while (number > 0 && !log->segments[number - 1]->unchecked) {
        number--;
    }
    if (number == 0 || log->phase != LOG_RUNNING) {
        return;
    }
    struct index_check *check = calloc(1, sizeof(*check));
    ASSERT(check != NULL);
    check->log = log;
    check->segment = log->segments[number - 1];
    check->keeps_files = log->read_only;
    check->job.work = check_work;
    check->job.done = check_done;
    check->segment->busy = true;
    segment_ref(check->segment);
    log->jobs++;
    disk_submit(log->disk, log->reactor, DISK_WORKER_READ, &check->job);
}
