/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_flush.c - group commit: one fdatasync in flight, off the loop; and who is told when.
 *
 * A sync covers what was written when it was submitted. It begins at the end of a turn, if somebody
 * waits for more than is durable (or much is not), so that one sync serves everybody who came while the last one
 * ran. What lies in a new segment is durable only when the roll is: when the segment before is
 * synced and the new one has its name.
 */

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "storage/log_state.h"

#include <stdlib.h>

enum {
    MARKS_LEAST = 64,
    /* Where nobody waits for the disk it is synced all the same when so much is not: or the sync that
     * seals a segment would hold up the next one. */
    FLUSH_BEHIND_BYTES = 32 * 1024 * 1024
};

/* ----------------------------------------------------------------- marks */

static void grow_marks(struct durable_marks *marks)
{
    uint32_t capacity = marks->capacity == 0 ? MARKS_LEAST : marks->capacity * 2;
    struct durable_mark *ring = malloc(capacity * sizeof(*ring));
    ASSERT(ring != NULL);
    for (uint32_t i = 0; i < marks->count; i++) {
        ring[i] = marks->ring[(marks->first + i) & (marks->capacity - 1)];
    }
    free(marks->ring);
    marks->ring = ring;
    marks->capacity = capacity;
    marks->first = 0;
}

/* The mark of a number, if it is there and the queue's. */
static struct durable_mark *mark_of(struct durable_marks *marks, const struct queue *queue,
                                    uint64_t number)
{
    uint64_t place = number - marks->passed;
    if (number < marks->passed || place >= marks->count) {
        return NULL;
    }
    struct durable_mark *mark = &marks->ring[(marks->first + place) & (marks->capacity - 1)];
    return mark->queue == queue ? mark : NULL;
}

/* The queue's newest mark, if the sync in flight does not cover it: that one can be moved, since the
 * next sync covers everything from there to now. So there are at most two marks a queue. */
static struct durable_mark *movable_mark(struct commit_log *log, const struct queue *queue)
{
    struct durable_mark *mark = mark_of(&log->marks, queue, queue->mark);
    return mark != NULL && mark->position > log->flush.position ? mark : NULL;
}

void log_mark_visible(struct commit_log *log, struct queue *queue)
{
    struct durable_marks *marks = &log->marks;
    if (queue->durability == LOG_MEMORY) {
        queue_set_visible(queue, queue->written_next);
        return;
    }
    struct durable_mark *mark = movable_mark(log, queue);
    uint64_t before = mark != NULL ? mark->before : queue->mark;
    if (mark == NULL) {
        if (marks->count == marks->capacity) {
            grow_marks(marks);
        }
        queue->mark = marks->passed + marks->count;
        mark = &marks->ring[(marks->first + marks->count++) & (marks->capacity - 1)];
    }
    *mark = (struct durable_mark){log->written, queue, queue->written_next, before};
    log_want_durable(log, log->written);
}

void log_forget_marks(struct commit_log *log, const struct queue *queue)
{
    struct durable_mark *mark;
    for (uint64_t number = queue->mark; (mark = mark_of(&log->marks, queue, number)) != NULL;
         number = mark->before) {
        mark->queue = NULL;
    }
}

static void pass_marks(struct commit_log *log)
{
    struct durable_marks *marks = &log->marks;
    while (marks->count > 0 && marks->ring[marks->first].position <= log->durable) {
        struct durable_mark mark = marks->ring[marks->first];
        marks->first = (marks->first + 1) & (marks->capacity - 1);
        marks->count--;
        marks->passed++;
        if (mark.queue != NULL) {
            queue_set_visible(mark.queue, mark.visible);
        }
    }
}

/* --------------------------------------------------------------- telling */

/* Each list is emptied before anybody on it is told: who is told may append again at once. */
static void tell_appends(struct list *told)
{
    struct list *link;
    while ((link = list_take_first(told)) != NULL) {
        struct append *append = CONTAINER_OF(link, struct append, link);
        append->done(append);
    }
}

void log_tell_written(struct commit_log *log)
{
    struct list told;
    list_init(&told);
    list_move_all(&told, &log->written_appends);
    tell_appends(&told);
}

static void tell_durable(struct commit_log *log)
{
    struct list appends;
    struct list operations;
    struct list *link;
    list_init(&appends);
    list_init(&operations);
    while ((link = list_first(&log->durable_appends)) != NULL &&
           CONTAINER_OF(link, struct append, link)->end <= log->durable) {
        list_remove(link);
        list_append(&appends, link);
    }
    while ((link = list_first(&log->durable_operations)) != NULL &&
           CONTAINER_OF(link, struct log_operation, link)->end <= log->durable) {
        list_remove(link);
        list_append(&operations, link);
    }
    tell_appends(&appends);
    while ((link = list_take_first(&operations)) != NULL) {
        struct log_operation *operation = CONTAINER_OF(link, struct log_operation, link);
        operation->done(operation);
    }
}

void log_wake_queues(struct commit_log *log)
{
    struct list waking;
    struct list *link;
    list_init(&waking);
    list_move_all(&waking, &log->waking);
    while ((link = list_take_first(&waking)) != NULL) {
        queue_wake(CONTAINER_OF(link, struct queue, waking), false);
    }
}

/* ------------------------------------------------------------------ sync */

void log_want_durable(struct commit_log *log, uint64_t position)
{
    if (position > log->sync_wanted) {
        log->sync_wanted = position;
    }
}

void log_durable_advance(struct commit_log *log)
{
    if (log->fenced || log->synced <= log->durable) {
        return;
    }
    log->durable = log->synced;
    log_mark_soon(log);
    pass_marks(log);
    bool has_snapshot = snapshot_durable(log);
    tell_durable(log);
    log_wake_queues(log);
    if (has_snapshot) {
        log_retain(log);
    }
}

static void flush_work(struct disk_job *job)
{
    struct flush *flush = CONTAINER_OF(job, struct flush, job);
    flush->error = segment_sync(flush->segment);
}

static void flush_done(struct disk_job *job)
{
    struct flush *flush = CONTAINER_OF(job, struct flush, job);
    struct commit_log *log = CONTAINER_OF(flush, struct commit_log, flush);
    struct segment *segment = flush->segment;
    uint64_t took_ns = reactor_now_ns(log->reactor) - flush->started_ns;
    flush->segment = NULL;
    log->counters.syncs++;
    log->counters.sync_ns += took_ns;
    if (took_ns > log->counters.sync_ns_max) {
        log->counters.sync_ns_max = took_ns;
    }
    if (flush->error < 0) {
        log_fence(log, "syncing the log", flush->error);
    } else {
        segment->synced = flush->position;
        log_segment_synced(log, segment);
    }
    segment_unref(segment);
}

void log_segment_synced(struct commit_log *log, const struct segment *segment)
{
    /* Of a segment that has not its name yet nothing is durable, nor is the end of the one before:
     * the roll will say so. */
    if (segment->named && segment->synced > log->synced) {
        log->synced = segment->synced;
    }
    log_durable_advance(log);
}

bool log_flush_is_due(const struct commit_log *log)
{
    const struct flush *flush = &log->flush;
    uint64_t flushed = flush->position > log->synced ? flush->position : log->synced;
    bool is_wanted = log->sync_wanted > flushed || log->written - flushed > FLUSH_BEHIND_BYTES;
    return !log->fenced && !flush->job.in_flight && is_wanted && log->written > flushed;
}

void log_flush_start(struct commit_log *log)
{
    struct flush *flush = &log->flush;
    if (!log_flush_is_due(log)) {
        return;
    }
    flush->segment = log->open;
    segment_ref(flush->segment);
    flush->position = log->written;
    flush->started_ns = reactor_now_ns(log->reactor);
    flush->job.work = flush_work;
    flush->job.done = flush_done;
    disk_submit(log->disk, log->reactor, DISK_WORKER_SYNC, &flush->job);
}
