/* SPDX-License-Identifier: Apache-2.0 */

/*
 * retention.c - the oldest segments go, whole, when the log has more bytes than it may keep.
 *
 * Never past the begin of the newest snapshot that is complete on disk: what is retained is a
 * complete shard. A segment leaves the log at once, and its file when the worker comes to it. Files
 * go one after the other, each with the directory synced, and the next one only when that has been
 * done: what a crash or a file that cannot be removed leaves is always a log without a gap. Who
 * still sends from a segment holds a reference, and with it the mapping.
 *
 * The owner may have something to save from a segment first: while he says no it stays, and with it
 * all that came later.
 */

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "storage/log_state.h"
#include "storage/warming.h"

#include <stdlib.h>
#include <string.h>

struct removal {
    struct disk_job job;
    struct commit_log *log;
    uint64_t base;
    int error;
};

static void removal_work(struct disk_job *job)
{
    struct removal *removal = CONTAINER_OF(job, struct removal, job);
    struct commit_log *log = removal->log;
    char path[SEGMENT_PATH_BYTES];
    segment_path(path, log->directory, removal->base, SEGMENT_INDEX);
    removal->error = disk_remove(log->disk, path);
    if (removal->error == 0) {
        segment_path(path, log->directory, removal->base, SEGMENT_LOG);
        removal->error = disk_remove(log->disk, path);
    }
    if (removal->error == 0) {
        removal->error = disk_sync_directory(log->disk, log->directory);
    }
}

/* A file that stays is tried again with the next roll or snapshot, before any other goes. */
static void removal_done(struct disk_job *job)
{
    struct removal *removal = CONTAINER_OF(job, struct removal, job);
    struct commit_log *log = removal->log;
    int error = removal->error;
    log->removing = false;
    log->removal_owed = error < 0;
    if (error < 0) {
        log_warn("shard %u: segment %llu cannot be removed: %s", log->options.shard,
                 (unsigned long long)removal->base, strerror(-error));
    }
    free(removal);
    log->jobs--;
    if (error == 0 && !log->fenced) {
        log_retain(log);
    }
}

static void submit_removal(struct commit_log *log, uint64_t base)
{
    struct removal *removal = calloc(1, sizeof(*removal));
    ASSERT(removal != NULL);
    removal->log = log;
    removal->base = base;
    removal->job.work = removal_work;
    removal->job.done = removal_done;
    log->removing = true;
    log->removal_base = base;
    log->jobs++;
    disk_submit(log->disk, log->reactor, DISK_WORKER_FILES, &removal->job);
}

static void remove_oldest(struct commit_log *log)
{
    struct segment *segment = log->segments[0];
    queues_drop_segment(log, segment);
    log->segment_count--;
    memmove(log->segments, log->segments + 1, log->segment_count * sizeof(*log->segments));
    log->counters.segments_removed++;
    submit_removal(log, segment->base);
    segment_unref(segment);
}

static uint64_t log_bytes(const struct commit_log *log)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < log->segment_count; i++) {
        bytes += log->segments[i]->used + index_file_bytes(&log->segments[i]->index);
    }
    return bytes;
}

static void remove_if_due(struct commit_log *log, bool may_wait);

/* What is gone again by now is waited for: a removal is rare. */
static void rows_warmed(struct warm_waiter *waiter, int error)
{
    struct commit_log *log = CONTAINER_OF(waiter, struct commit_log, removal_waiter);
    log->removal_warms = false;
    if (error < 0) {
        log_warn("shard %u: the index of segment %llu cannot be read, so it stays: %s",
                 log->options.shard, (unsigned long long)log->segments[0]->base, strerror(-error));
    } else if (!log->fenced) {
        remove_if_due(log, true);
    }
}

/* Whether what the oldest segment has of which queues can be read without a disk; if not it will be
 * soon, and retention goes on then. */
static bool knows_queues(struct commit_log *log)
{
    struct cold_range cold;
    if (warming_has_rows(log->segments[0], &cold)) {
        return true;
    }
    log->removal_warms = true;
    log->removal_waiter.warmed = rows_warmed;
    commit_log_warm(log, &cold, &log->removal_waiter);
    return false;
}

/* Whether the owner lets the oldest segment go. */
static bool owner_agrees(struct commit_log *log)
{
    if (log->options.may_remove == NULL) {
        return true;
    }
    log->removal_asks = true;
    bool agrees = log->options.may_remove(log->options.may_remove_owner, &log->segments[0]->index);
    log->removal_asks = false;
    return agrees && !log->fenced;
}

static void remove_if_due(struct commit_log *log, bool may_wait)
{
    uint64_t bytes = log->options.retain_bytes;
    if (bytes == 0 || log->read_only || log->at_start || log->phase != LOG_RUNNING) {
        return;
    }
    if (log->removing || log->removal_warms) {
        return;
    }
    if (log->removal_owed) {
        submit_removal(log, log->removal_base);
        return;
    }
    const struct segment *oldest = log->segments[0];
    if (log->segment_count > 1 && log_bytes(log) > bytes && !oldest->busy &&
        segment_end(oldest) <= log->snapshot.durable_begin && (may_wait || knows_queues(log)) &&
        owner_agrees(log)) {
        remove_oldest(log);
    }
}

void log_retain(struct commit_log *log)
{
    remove_if_due(log, false);
}

void commit_log_retain(struct commit_log *log)
{
    ASSERT(!log->removal_asks);
    if (!log->fenced) {
        log_retain(log);
    }
}
