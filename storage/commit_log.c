/* SPDX-License-Identifier: Apache-2.0 */

/*
 * commit_log.c - a log's life: open, the turn, fence, close.
 *
 * A turn's end:
 *
 *     write what is pending -> a chunk of a snapshot -> start a sync -> tell who waits for written
 *
 * Closing is a join: what was accepted is written and synced, who waits is told, jobs come home,
 * references to segments are given back; then the log is gone.
 */

#include "storage/commit_log.h"

#include "proto/base/contract.h"
#include "storage/log_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---------------------------------------------------------------- making */

static void segment_released(void *owner)
{
    struct commit_log *log = owner;
    log->segments_alive--;
    reactor_again(log->reactor);
}

struct segment_owner log_segment_owner(struct commit_log *log)
{
    return (struct segment_owner){log->disk, log->reactor, segment_released, log};
}

void log_segment_add(struct commit_log *log, struct segment *segment)
{
    enum { LEAST = 8 };
    if (log->segment_count == log->segment_capacity) {
        log->segment_capacity = log->segment_capacity == 0 ? LEAST : log->segment_capacity * 2;
        log->segments = realloc(log->segments, log->segment_capacity * sizeof(*log->segments));
        ASSERT(log->segments != NULL);
    }
    log->segments[log->segment_count++] = segment;
    log->open = segment;
}

void log_file_path(const struct commit_log *log, char path[LOG_PATH_BYTES], const char *name)
{
    int length = snprintf(path, LOG_PATH_BYTES, "%s/%s", log->directory, name);
    ASSERT(length < LOG_PATH_BYTES);
}

static void set_views(struct commit_log *log)
{
    const struct commit_log_options *options = &log->options;
    epochs_init(&log->epochs);
    queues_init(&log->queues_view, log);
    log->views = calloc(options->view_count + 2, sizeof(struct view *));
    ASSERT(log->views != NULL);
    log->views[log->view_count++] = &log->epochs.view;
    log->views[log->view_count++] = &log->queues_view.view;
    for (size_t i = 0; i < options->view_count; i++) {
        log->views_take_messages |= options->views[i]->operations->apply_message != NULL;
        log->views[log->view_count++] = options->views[i];
    }
    log->options.views = NULL;
}

struct commit_log *log_create(const struct commit_log_options *options)
{
    ASSERT(options->segment_bytes_least >= SEGMENT_BYTES_LEAST &&
           options->segment_bytes_least <= options->segment_bytes_most &&
           options->segment_bytes_most <= SEGMENT_BYTES_MOST);
    struct commit_log *log = calloc(1, sizeof(*log));
    ASSERT(log != NULL);
    log->options = *options;
    log->disk = options->disk;
    log->reactor = options->reactor;
    (void)snprintf(log->directory, sizeof(log->directory), "%u", options->shard);
    log->stage.scratch = malloc(PIECE_BYTES);
    log->operations.record = malloc(RECORD_CONTENT_PLACE + OPERATIONS_BYTES_MAX);
    ASSERT(log->stage.scratch != NULL && log->operations.record != NULL);
    log->operations.content_bytes = EVENTS_BEGIN_BYTES;
    number_map_init(&log->queues,
                    (struct map_seed){reactor_random(log->reactor), reactor_random(log->reactor)});
    list_init(&log->queue_list);
    list_init(&log->touched);
    list_init(&log->moved);
    list_init(&log->waking);
    list_init(&log->staged);
    list_init(&log->warmings);
    log->recent = UINT64_MAX; /* What a start finds was not written a moment ago. */
    log->recent_next = UINT64_MAX;
    list_init(&log->written_appends);
    list_init(&log->durable_appends);
    list_init(&log->durable_operations);
    list_init(&log->operations.waiting);
    set_views(log);
    return log;
}

static void free_log(struct commit_log *log)
{
    /* Of a fenced log appends are still on their lists; they are never told. */
    LIST_FOREACH (link, &log->queue_list) {
        struct queue *queue = CONTAINER_OF(link, struct queue, all);
        list_init(&queue->appends);
        queue->part = NULL;
    }
    LIST_FOREACH (link, &log->touched) {
        struct queue *queue = CONTAINER_OF(link, struct queue, touched);
        if (queue->removed) {
            list_init(&queue->appends);
            queue->part = NULL;
            queue_free(queue);
        }
    }
    queues_deinit(&log->queues_view);
    number_map_deinit(&log->queues);
    epochs_deinit(&log->epochs);
    snapshot_abandon(log);
    free(log->marks.ring);
    free(log->segments);
    free(log->views);
    free(log->stage.scratch);
    free(log->operations.record);
    free(log);
}

void log_destroy(struct commit_log *log)
{
    timer_stop(log->reactor, &log->next.retry);
    timer_stop(log->reactor, &log->mark_timer);
    for (uint32_t i = 0; i < log->segment_count; i++) {
        queues_leave_segment(log->segments[i]);
        segment_destroy(log->segments[i]);
    }
    if (log->next.segment != NULL) {
        segment_destroy(log->next.segment);
    }
    free_log(log);
}

/* -------------------------------------------------------------- the fence */

static void tell_failure(struct op *op, int64_t result)
{
    struct commit_log *log = CONTAINER_OF(op, struct commit_log, failed_op);
    (void)result;
    if (log->options.failed != NULL) {
        log->options.failed(log->options.owner, log->failure);
    }
    reactor_again(log->reactor);
}

void log_fence(struct commit_log *log, const char *what, int error)
{
    if (log->fenced) {
        return;
    }
    log->fenced = true;
    log->refusal = ERROR_STOPPING;
    (void)snprintf(
        log->failure, sizeof(log->failure),
        "shard %u: %s failed: %s: nothing more is acknowledged; restart the broker, which "
        "recovers what the disk holds",
        log->options.shard, what, strerror(-error));
    if (!log->at_start) {
        log->failed_op.done = tell_failure;
        reactor_post(log->reactor, &log->failed_op, 0);
    }
}

/* --------------------------------------------------------------- the turn */

static bool is_told(const struct commit_log *log)
{
    return list_is_empty(&log->written_appends) && list_is_empty(&log->durable_appends) &&
           list_is_empty(&log->durable_operations) && log->marks.count == 0;
}

/* What was accepted is as durable as it will be. */
static bool is_drained(const struct commit_log *log)
{
    if (log->fenced || log->read_only) {
        return true;
    }
    bool is_stuck = log->roll_waits && log->next.state == NEXT_FAILED;
    return (is_stuck || !log_has_pending(log)) && is_told(log) && log->durable >= log->written;
}

static void gone(struct op *op, int64_t result)
{
    struct commit_log *log = CONTAINER_OF(op, struct commit_log, close_op);
    void (*closed)(void *owner) = log->closed;
    void *owner = log->closed_owner;
    (void)result;
    reactor_hook_remove(log->reactor, &log->hook);
    free_log(log);
    closed(owner);
}

static void release_segments(struct commit_log *log)
{
    timer_stop(log->reactor, &log->next.retry);
    for (uint32_t i = 0; i < log->segment_count; i++) {
        queues_leave_segment(log->segments[i]);
        segment_unref(log->segments[i]);
    }
    log->segment_count = 0;
    if (log->next.segment != NULL) {
        segment_unref(log->next.segment);
        log->next.segment = NULL;
    }
}

static void close_step(struct commit_log *log)
{
    if (log->phase == LOG_CLOSING) {
        /* The last sync is followed by a mark of it, which is synced too. */
        if (is_drained(log)) {
            (void)log_mark_end(log);
        }
        log_want_durable(log, log->written);
        if (is_drained(log) && log->jobs == 0 && !log->flush.job.in_flight &&
            !log->failed_op.in_flight) {
            log->phase = LOG_RELEASING;
            release_segments(log);
        }
    }
    if (log->phase == LOG_RELEASING && log->segments_alive == 0) {
        log->phase = LOG_RELEASED;
        log->close_op.done = gone;
        reactor_post(log->reactor, &log->close_op, 0);
    }
}

static void turn_write(struct turn_hook *hook)
{
    struct commit_log *log = CONTAINER_OF(hook, struct commit_log, hook);
    /* What waits for a segment would fill the next one, too, and the snapshot never come to its end:
     * its chunk goes first. */
    if (log->roll_waits && snapshot_can_step(log)) {
        snapshot_step(log);
    }
    log_write_pending(log);
    if (log->phase == LOG_CLOSING || log->phase == LOG_RELEASING) {
        close_step(log);
    }
    if (snapshot_can_step(log) && !log_has_pending(log)) {
        snapshot_step(log);
        /* Where the next segment is waited for, its job or the timer that tries again wakes us. */
        bool waits = log->next.state == NEXT_MAKING || log->next.state == NEXT_FAILED;
        if (log->snapshot.active && !waits) {
            reactor_again(log->reactor);
        }
    }
    if (log->phase <= LOG_CLOSING) {
        log_flush_start(log);
        if (!log->fenced) {
            log_tell_written(log);
            log_wake_queues(log);
        }
    }
}

static bool turn_pending(struct turn_hook *hook)
{
    const struct commit_log *log = CONTAINER_OF(hook, struct commit_log, hook);
    if (log->fenced) {
        return false;
    }
    bool can_write = log->roll_waits ? log->operations.count > 0 && log_operations_fit(log, 0)
                                     : log_has_pending(log);
    return can_write || !list_is_empty(&log->written_appends) || !list_is_empty(&log->waking) ||
           log_flush_is_due(log);
}

/* ------------------------------------------------------------------ life */

/* Only for the line at start; state never depends on it. */
static uint64_t clock_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool commit_log_open(struct commit_log **log_out, const struct commit_log_options *options,
                     struct recovery_report *report_out, char *error, size_t error_bytes)
{
    uint64_t started_ns = clock_ns();
    struct recovery_report report = {0};
    struct commit_log *log = log_create(options);
    log->at_start = true;
    bool is_open = log_recover(log, &report, error, error_bytes);
    log->at_start = false;
    if (!is_open) {
        log_destroy(log);
        return false;
    }
    report.took_ns = clock_ns() - started_ns;
    log->marked_at_ns = reactor_now_ns(log->reactor);
    log->hook.run = turn_write;
    log->hook.pending = turn_pending;
    reactor_hook_add(log->reactor, TURN_WRITE, &log->hook);
    log_check_indexes(log);
    *report_out = report;
    *log_out = log;
    return true;
}

bool commit_log_begin_epoch(struct commit_log *log, uint32_t epoch, const uint8_t boot_id[16],
                            char *error, size_t error_bytes)
{
    uint8_t bytes[EVENT_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    struct event_epoch event = {.epoch = epoch, .start = log->end};
    struct log_operation operation = {.done = NULL};
    ASSERT(!log->read_only && epoch > log->epoch);
    memcpy(event.boot_id, boot_id, sizeof(event.boot_id));
    event_put_epoch(&writer, EVENT_EPOCH, &event);
    log->at_start = true;
    log->epoch = epoch;
    enum error refused = commit_log_operate(log, writer_bytes(&writer), &operation);
    if (refused == OK) {
        log_write_pending(log);
    }
    if (refused != OK || log_has_pending(log)) {
        (void)snprintf(error, error_bytes,
                       "shard %u: the epoch cannot be written: %s: free some room",
                       log->options.shard, log->fenced ? log->failure : "the disk is full");
        log->at_start = false;
        return false;
    }
    int result = segment_sync(log->open);
    if (result < 0) {
        /* Closing it must not claim that a later sync has made up for this one. */
        log_fence(log, "syncing the epoch", result);
    }
    log->at_start = false;
    if (result < 0) {
        (void)snprintf(error, error_bytes, "shard %u: the epoch cannot be synced: %s",
                       log->options.shard, strerror(-result));
        return false;
    }
    log->synced = log->written;
    log_durable_advance(log);
    return true;
}

void commit_log_close(struct commit_log *log, void (*closed)(void *owner), void *owner)
{
    ASSERT(log->phase == LOG_RUNNING);
    log->phase = LOG_CLOSING;
    log->closed = closed;
    log->closed_owner = owner;
    timer_stop(log->reactor, &log->mark_timer);
    if (log->refusal == OK) {
        log->refusal = ERROR_STOPPING;
    }
    snapshot_abandon(log);
    LIST_FOREACH (link, &log->queue_list) {
        queue_wake(CONTAINER_OF(link, struct queue, all), true);
    }
    reactor_again(log->reactor);
}

/* ------------------------------------------------------------ inspecting */

void commit_log_counters(const struct commit_log *log, struct commit_log_counters *counters_out)
{
    *counters_out = log->counters;
    counters_out->segments = log->segment_count;
    counters_out->bytes = 0;
    for (uint32_t i = 0; i < log->segment_count; i++) {
        const struct segment *segment = log->segments[i];
        counters_out->bytes += (segment == log->open ? segment->map_bytes : segment->used) +
                               index_file_bytes(&segment->index);
    }
    counters_out->position_written = log->written;
    counters_out->position_durable = log->durable;
    counters_out->queues = log->queues.count;
    counters_out->read_only = log->read_only;
    counters_out->corrupt_from = log->corrupt_from;
    counters_out->corrupt_to = log->corrupt_to;
}
