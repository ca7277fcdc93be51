/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_roll.c - from one segment to the next, without the loop waiting for a disk.
 *
 *     quarter full  a job makes next.log: allocated, synced, mapped
 *     full          the loop goes on in next.log, whose first record is its segment record
 *     behind it     a job syncs the old segment, renames next.log to its base, syncs the directory;
 *                   only then is anything in the new one durable
 *     behind that   a job writes the old segment's index
 *
 * Jobs of one log run in this order, so there is never a second next.log before the first has its
 * name. A crash between leaves either next.log, which recovery takes for the continuation if it says
 * so itself, or a segment without an index, which is made again.
 */

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "storage/log_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* The next segment is made when this part of the open one is full: it is there before half is,
     * and an empty log has none. */
    AHEAD = 4
};

bool log_fits(const struct commit_log *log, uint64_t bytes)
{
    return bytes <= log->open->map_bytes - log->open->used;
}

void log_keep(struct commit_log *log)
{
    uint64_t pending = log->pending_bytes + log->operations.content_bytes + RECORD_CONTENT_PLACE;
    bool is_needed = log->next.state != NEXT_READY && !log_fits(log, pending + log_kept_part(log));
    log->kept_bytes = is_needed ? log_kept_part(log) : 0;
}

/* Runs a job on the worker for files, or in place while no loop runs. */
static void submit(struct commit_log *log, struct disk_job *job)
{
    log->jobs++;
    if (log->at_start) {
        job->work(job);
        job->done(job);
    } else {
        disk_submit(log->disk, log->reactor, DISK_WORKER_FILES, job);
    }
}

/* ------------------------------------------------------------- next.log */

/* Makes the file, or gives -errno with nothing left open. */
static int make_next(struct commit_log *log, uint64_t bytes, struct segment **segment_out)
{
    char path[LOG_PATH_BYTES];
    struct disk_file *file;
    log_file_path(log, path, "next.log");
    int result = disk_remove(log->disk, path);
    if (result == 0) {
        result = disk_file_open(log->disk, path, DISK_CREATE, &file);
    }
    if (result < 0) {
        return result;
    }
    result = disk_file_allocate(file, bytes);
    if (result == 0) {
        result = disk_file_sync(file);
    }
    if (result == 0) {
        struct segment_owner owner = log_segment_owner(log);
        *segment_out = segment_create(&owner, file, 0);
        result = *segment_out == NULL ? -ENOMEM : 0;
    }
    if (result < 0) {
        /* What was reserved goes back: others need the room too. */
        disk_file_close(file);
        (void)disk_remove(log->disk, path);
    }
    return result;
}

static void next_work(struct disk_job *job)
{
    struct next_segment *next = CONTAINER_OF(job, struct next_segment, job);
    struct commit_log *log = CONTAINER_OF(next, struct commit_log, next);
    if (next->segment != NULL) {
        segment_destroy(next->segment); /* Too small. */
        next->segment = NULL;
    }
    next->error = make_next(log, next->bytes, &next->segment);
}

static void retry_next(struct timer *timer)
{
    struct next_segment *next = CONTAINER_OF(timer, struct next_segment, retry);
    struct commit_log *log = CONTAINER_OF(next, struct commit_log, next);
    if (next->state == NEXT_FAILED && log->phase == LOG_RUNNING) {
        log_next_make(log, next->bytes);
    }
}

static void next_done(struct disk_job *job)
{
    struct next_segment *next = CONTAINER_OF(job, struct next_segment, job);
    struct commit_log *log = CONTAINER_OF(next, struct commit_log, next);
    static struct log_limit limit;
    log->jobs--;
    next->is_tried_again = next->error != 0;
    if (next->error == 0) {
        next->state = NEXT_READY;
        log->segments_alive++;
        return;
    }
    next->state = NEXT_FAILED;
    log_limited(&limit, reactor_now_ns(log->reactor), LOG_LEVEL_WARN,
                "shard %u: no room for the next segment of %llu bytes: %s: produces are refused "
                "until there is",
                log->options.shard, (unsigned long long)next->bytes, strerror(-next->error));
    next->retry.fired = retry_next;
    timer_start(log->reactor, &next->retry, reactor_now_ns(log->reactor) + NEXT_RETRY_NS);
}

void log_next_make(struct commit_log *log, uint64_t bytes_least)
{
    struct next_segment *next = &log->next;
    if (next->state == NEXT_MAKING || log->fenced) {
        return;
    }
    if (next->state == NEXT_READY) {
        log->segments_alive--; /* The job ends it. */
    }
    uint64_t bytes = log->open == NULL ? 0 : log->open->map_bytes * 2;
    bytes = bytes < log->options.segment_bytes_least ? log->options.segment_bytes_least : bytes;
    bytes = bytes > log->options.segment_bytes_most ? log->options.segment_bytes_most : bytes;
    next->bytes = bytes > bytes_least ? bytes : bytes_least;
    next->state = NEXT_MAKING;
    next->job.work = next_work;
    next->job.done = next_done;
    submit(log, &next->job);
}

void log_next_ahead(struct commit_log *log)
{
    const struct segment *open = log->open;
    if (log->next.state == NEXT_NONE && log->phase == LOG_RUNNING &&
        (open->used >= open->map_bytes / AHEAD || open->records >= SEGMENT_RECORDS_MAX / AHEAD)) {
        log_next_make(log, 0);
    }
}

/* --------------------------------------------------------------- the roll */

struct roll {
    struct disk_job job;
    struct commit_log *log;
    struct segment *old;
    struct segment *new;
    int error;
};

static void roll_work(struct disk_job *job)
{
    struct roll *roll = CONTAINER_OF(job, struct roll, job);
    struct commit_log *log = roll->log;
    char from[LOG_PATH_BYTES];
    char to[LOG_PATH_BYTES];
    log_file_path(log, from, "next.log");
    segment_path(to, log->directory, roll->new->base, SEGMENT_LOG);
    roll->error = segment_sync(roll->old);
    if (roll->error == 0) {
        roll->error = disk_rename(log->disk, from, to);
    }
    if (roll->error == 0) {
        roll->error = disk_sync_directory(log->disk, log->directory);
    }
}

static void roll_done(struct disk_job *job)
{
    struct roll *roll = CONTAINER_OF(job, struct roll, job);
    struct commit_log *log = roll->log;
    struct segment *old = roll->old;
    struct segment *new = roll->new;
    int error = roll->error;
    free(roll);
    log->jobs--;
    if (error < 0) {
        log_fence(log, "sealing a segment", error);
    } else {
        new->named = true;
        if (new->synced < new->base) {
            new->synced = new->base;
        }
        log_index_submit(log, old);
        log_segment_synced(log, new);
    }
    segment_unref(old);
    segment_unref(new);
}

static void roll_submit(struct commit_log *log, struct segment *old, struct segment *new)
{
    struct roll *roll = calloc(1, sizeof(*roll));
    ASSERT(roll != NULL);
    roll->log = log;
    roll->old = old;
    roll->new = new;
    roll->job.work = roll_work;
    roll->job.done = roll_done;
    segment_ref(old);
    segment_ref(new);
    submit(log, &roll->job);
}

bool log_put_segment_record(struct commit_log *log)
{
    uint8_t record[RECORD_CONTENT_PLACE + EVENTS_BEGIN_BYTES + EVENT_BYTES_MAX];
    const struct segment *open = log->open;
    struct event_segment row = {
        .format = EVENTS_FORMAT,
        .shard = (uint16_t)log->options.shard,
        .base = open->base,
        .epoch = log->epoch,
        .previous_head_crc =
            log->segment_count > 1 ? log->segments[log->segment_count - 2]->last_head_crc : 0,
    };
    store_u64(row.store_id + EVENT_ID_BYTES - sizeof(uint64_t), log->store_id);
    struct writer writer =
        writer_over(record + RECORD_CONTENT_PLACE, sizeof(record) - RECORD_CONTENT_PLACE);
    events_begin(&writer);
    event_put_segment(&writer, &row);
    events_end(&writer, 0, 1);
    ASSERT(!writer.overflowed);
    return log_put_own_here(log, RECORD_SEGMENT, record, (uint32_t)writer_length(&writer));
}

static bool next_is_ready(struct commit_log *log, uint32_t need)
{
    struct next_segment *next = &log->next;
    uint64_t bytes = (uint64_t)need + ROLL_BYTES;
    if (next->state == NEXT_READY && next->segment->map_bytes >= bytes) {
        return true;
    }
    if (next->state != NEXT_FAILED || log->at_start) {
        log_next_make(log, bytes);
    }
    return next->state == NEXT_READY && next->segment->map_bytes >= bytes;
}

bool log_roll(struct commit_log *log, uint32_t need)
{
    struct segment *old = log->open;
    if (log->fenced || !next_is_ready(log, need) || !log_write_staged(log)) {
        return false;
    }
    queues_leave_segment(old);
    index_seal(&old->index);
    struct segment *new = log->next.segment;
    log->next.segment = NULL;
    log->next.state = NEXT_NONE;
    new->base = segment_end(old);
    ASSERT(new->base == log->end);
    bool is_due = snapshot_is_due(log, new->base);
    log_segment_add(log, new);
    log->stage.place = 0;
    log->counters.rolls++;
    if (!log_put_segment_record(log) || (is_due && !snapshot_begin(log))) {
        return false;
    }
    roll_submit(log, old, new);
    log_keep(log);
    return log_fits(log, need);
}

/* -------------------------------------------------------------- the index */

struct index_job {
    struct disk_job job;
    struct commit_log *log;
    struct segment *segment;
    struct index loaded; /* then what it takes the place of */
    int error;
};

static void index_work(struct disk_job *job)
{
    struct index_job *work = CONTAINER_OF(job, struct index_job, job);
    struct segment *segment = work->segment;
    const char *directory = work->log->directory;
    char path[SEGMENT_PATH_BYTES];
    char temporary[SEGMENT_PATH_BYTES];
    segment_path(path, directory, segment->base, SEGMENT_INDEX);
    segment_path(temporary, directory, segment->base, SEGMENT_INDEX_NEW);
    struct index_names names = {directory, path, temporary};
    work->error =
        index_write(&segment->index, work->log->disk, &names, segment->base, segment->used);
    if (work->error == 0) {
        /* Written a moment ago: the entries need not be read for their checksum. */
        (void)index_load(&work->loaded, work->log->disk, path, segment->base, segment->used, false);
    }
}

static void forget_work(struct disk_job *job)
{
    index_deinit(&CONTAINER_OF(job, struct index_job, job)->loaded);
}

static void forget_done(struct disk_job *job)
{
    struct index_job *work = CONTAINER_OF(job, struct index_job, job);
    work->log->jobs--;
    free(work);
}

/* The index in memory, up to 32 MiB of pages: giving them back takes milliseconds. */
static void forget_memory(struct index_job *work, const struct index *memory)
{
    work->loaded = *memory;
    work->job = (struct disk_job){.work = forget_work, .done = forget_done};
    submit(work->log, &work->job);
}

/* An index that cannot be written stays in memory: it is no part of the truth. */
static void index_done(struct disk_job *job)
{
    struct index_job *work = CONTAINER_OF(job, struct index_job, job);
    struct commit_log *log = work->log;
    struct segment *segment = work->segment;
    if (work->loaded.file != NULL) {
        struct index memory = segment->index;
        segment->index = work->loaded;
        forget_memory(work, &memory);
    } else {
        log_warn("shard %u: the index of segment %llu stays in memory: %s", log->options.shard,
                 (unsigned long long)segment->base,
                 work->error < 0 ? strerror(-work->error) : "it cannot be read back");
        free(work);
    }
    log->jobs--;
    segment->busy = false;
    segment_unref(segment);
    if (!log->fenced) {
        log_retain(log);
    }
}

void log_index_submit(struct commit_log *log, struct segment *segment)
{
    struct index_job *work = calloc(1, sizeof(*work));
    ASSERT(work != NULL);
    work->log = log;
    work->segment = segment;
    work->job.work = index_work;
    work->job.done = index_done;
    segment->busy = true;
    segment_ref(segment);
    submit(log, &work->job);
}
