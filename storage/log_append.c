/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_append.c - what a log accepts: messages get their offsets at once, operations are applied at
 * once; both are written at the turn's end.
 */

#include "proto/base/contract.h"
#include "storage/log_state.h"

#include <string.h>

static uint64_t append_bytes(const struct append *append)
{
    uint64_t bytes = (uint64_t)append->count * record_size_for(append->extra.length, 0);
    for (uint32_t i = 0; i < append->count; i++) {
        bytes += append->messages[i].length;
    }
    return bytes;
}

/* What a replay would not read must not be written. */
static bool is_extra(struct bytes extra)
{
    struct cursor cursor = cursor_over(extra);
    return extra.length <= EXTRA_BYTES_MAX && cursor_peek(&cursor) == CURSOR_MAP &&
           cursor_skip(&cursor) && cursor_is_done(&cursor);
}

/* Whether the open segment has room for all that is pending and `bytes` more. */
static bool fits_open(const struct commit_log *log, uint64_t bytes)
{
    return !log->roll_waits && log_fits(log, log->pending_bytes + log->operations.content_bytes +
                                                 RECORD_CONTENT_PLACE + bytes);
}

bool log_operations_fit(const struct commit_log *log, uint64_t bytes_more)
{
    /* Of a queue that was removed the messages come first. */
    return !log->removed_first && log_fits(log, log->operations.content_bytes + EVENT_BYTES_MAX +
                                                    RECORD_CONTENT_PLACE + bytes_more);
}

static bool fits_operation(const struct commit_log *log, uint64_t bytes)
{
    return fits_open(log, bytes) || (log->roll_waits && log_operations_fit(log, bytes));
}

/* Messages leave the last part of a log without a next segment to operations; but those that make
 * room may have it. */
static bool fits_append(const struct commit_log *log, const struct append *append, uint64_t bytes)
{
    uint64_t kept = append->relocates ? 0 : log_kept_part(log);
    return log->open->records < SEGMENT_RECORDS_MAX && fits_open(log, bytes + kept);
}

/* Whether what does not fit the open segment may wait for the next: it is there, or it is being made, for
 * the first time, and what waits for it is bounded. */
static enum error may_wait(const struct commit_log *log, uint64_t bytes)
{
    uint64_t pending = log->pending_bytes + log->operations.content_bytes + bytes;
    bool is_bounded = pending <= PENDING_BYTES_MAX || log->pending_bytes == 0;
    bool may_come = log->next.state != NEXT_FAILED && !log->next.is_tried_again;
    return may_come && is_bounded ? OK : ERROR_DISK_FULL;
}

static enum error wait_for_next(struct commit_log *log, uint64_t bytes)
{
    if (log->next.state == NEXT_NONE) {
        log_next_make(log, 0);
    }
    return may_wait(log, bytes);
}

enum error commit_log_append(struct commit_log *log, struct append *append)
{
    struct queue *queue = append->queue;
    ASSERT(append->count > 0 && append->count <= MESSAGES_PER_CALL_MAX && append->done != NULL);
    ASSERT(queue->log == log && !queue->removed);
    if (__builtin_expect(append->extra.length > 0, 0)) {
        ASSERT(append->count == 1 && is_extra(append->extra));
    }
    if (log->refusal != OK) {
        return log->refusal;
    }
    uint64_t bytes = append_bytes(append);
    enum error error = fits_append(log, append, bytes) ? OK : wait_for_next(log, bytes);
    if (error != OK) {
        return error;
    }
    append->offset = queue->next;
    append->position = 0;
    append->end = 0;
    queue->next += append->count;
    list_append(&queue->appends, &append->link);
    if (list_is_empty(&queue->touched)) {
        list_append(&log->touched, &queue->touched);
    }
    log->pending_bytes += bytes;
    if (log->pending_bytes > PENDING_BYTES_EARLY && !log->roll_waits) {
        log_write_pending(log);
    }
    return OK;
}

bool append_is_written(const struct append *append)
{
    return append->end != 0;
}

void commit_log_append_abandon(struct commit_log *log, struct append *append)
{
    (void)log;
    ASSERT(append_is_written(append));
    list_remove(&append->link);
}

/* ------------------------------------------------------------ operations */

static void apply(struct commit_log *log, struct bytes bytes)
{
    struct cursor cursor = cursor_over(bytes);
    uint32_t elements;
    uint32_t number;
    bool is_read = cursor_take_array(&cursor, &elements) && cursor_take_u32(&cursor, &number);
    ASSERT(is_read);
    ASSERT(log_apply_operation(log, number, &cursor, log->end, false));
}

/* Whether the turn's operations have room for one more; else they are written first. */
static bool fits_operations(const struct commit_log *log, uint64_t bytes)
{
    return log->operations.content_bytes + bytes <= OPERATIONS_BYTES_MAX - EVENT_BYTES_MAX;
}

enum error commit_log_may_operate(const struct commit_log *log, uint32_t bytes)
{
    if (log->refusal != OK) {
        return log->refusal;
    }
    bool can_write = log_operations_fit(log, 0) || log->next.state == NEXT_READY;
    if (!fits_operations(log, bytes) && !can_write) {
        return ERROR_DISK_FULL;
    }
    return fits_operation(log, bytes) ? OK : may_wait(log, bytes);
}

bool commit_log_has_written(const struct commit_log *log)
{
    return !log->fenced && log->operations.count == 0;
}

enum error commit_log_operate(struct commit_log *log, struct bytes bytes,
                              struct log_operation *operation)
{
    struct operations *operations = &log->operations;
    ASSERT(bytes.length > 0 && bytes.length <= OPERATIONS_BYTES_MAX - 2 * EVENT_BYTES_MAX);
    if (log->refusal != OK) {
        return log->refusal;
    }
    if (!fits_operations(log, bytes.length)) {
        log_write_pending(log);
        if (operations->count > 0) {
            return log->refusal != OK ? log->refusal : ERROR_DISK_FULL;
        }
    }
    enum error error = fits_operation(log, bytes.length) ? OK : wait_for_next(log, bytes.length);
    if (error != OK) {
        return error;
    }
    apply(log, bytes);
    memcpy(operations->record + RECORD_CONTENT_PLACE + operations->content_bytes, bytes.data,
           bytes.length);
    operations->content_bytes += (uint32_t)bytes.length;
    operations->count++;
    if (operation->done != NULL) {
        operation->end = 0;
        list_append(&operations->waiting, &operation->link);
    }
    return OK;
}
