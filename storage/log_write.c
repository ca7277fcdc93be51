/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_write.c - what a turn has accepted becomes records and is written.
 *
 *     operations   one events record: they were applied when they were accepted, so they come first
 *     messages     queue after queue, in the order in which the queues were first appended to
 *
 * Heads and small messages are copied into the stage, large messages are referred to where they
 * lie. A record never straddles two segments: where the next record does not fit the log rolls, and
 * where the next segment is not ready yet what is left waits.
 *
 * This is the hot path: nothing here allocates per message, and no byte of a message is looked at.
 */

#include "proto/base/contract.h"
#include "storage/log_state.h"

#include <string.h>

enum {
    /* Own records below it are copied, so that the memory they were made in is free at once. */
    OWN_COPY_BYTES_MAX = RECORD_CONTENT_PLACE + OPERATIONS_BYTES_MAX
};
_Static_assert((int)OWN_COPY_BYTES_MAX <= (int)PIECE_BYTES, "what is copied fits a piece");

/* ----------------------------------------------------------------- stage */

static bool write_piece(struct commit_log *log)
{
    struct stage *stage = &log->stage;
    if (stage->count == 0) {
        return !log->fenced;
    }
    if (log->fenced) {
        return false;
    }
    int result = disk_file_write(log->open->file, stage->ranges, stage->count, stage->place);
    if (result < 0) {
        log_fence(log, "writing the log", result);
        return false;
    }
    log->counters.writes++;
    stage->place += stage->bytes;
    stage->bytes = 0;
    stage->scratch_used = 0;
    stage->count = 0;
    stage->ends_in_scratch = false;
    return true;
}

/* Room for `bytes` (at most OWN_COPY_BYTES_MAX) at the piece's end, or NULL when the log is fenced. */
static inline uint8_t *stage_reserve(struct commit_log *log, uint32_t bytes)
{
    struct stage *stage = &log->stage;
    if (__builtin_expect(stage->bytes + bytes > PIECE_BYTES || stage->count == PIECE_RANGES, 0) &&
        !write_piece(log)) {
        return NULL;
    }
    return stage->scratch + stage->scratch_used;
}

static inline void stage_commit(struct stage *stage, uint32_t bytes)
{
    if (stage->ends_in_scratch) {
        stage->ranges[stage->count - 1].iov_len += bytes;
    } else {
        stage->ranges[stage->count].iov_base = stage->scratch + stage->scratch_used;
        stage->ranges[stage->count].iov_len = bytes;
        stage->count++;
        stage->ends_in_scratch = true;
    }
    stage->scratch_used += bytes;
    stage->bytes += bytes;
}

/* Bytes that stay where they are until they are written. */
static bool stage_refer(struct commit_log *log, const uint8_t *bytes, uint32_t length)
{
    struct stage *stage = &log->stage;
    while (length > 0) {
        if ((stage->bytes == PIECE_BYTES || stage->count == PIECE_RANGES) && !write_piece(log)) {
            return false;
        }
        uint32_t room = PIECE_BYTES - stage->bytes;
        uint32_t now = length < room ? length : room;
        stage->ranges[stage->count].iov_base = (void *)(uintptr_t)bytes;
        stage->ranges[stage->count].iov_len = now;
        stage->count++;
        stage->ends_in_scratch = false;
        stage->bytes += now;
        bytes += now;
        length -= now;
    }
    return true;
}

bool log_write_staged(struct commit_log *log)
{
    if (!write_piece(log)) {
        return false;
    }
    log->written = log->end;
    return true;
}

/* A record of `bytes` was staged. */
static inline void note_record(struct commit_log *log, const uint8_t *head, uint32_t bytes)
{
    struct segment *open = log->open;
    open->last_head_crc = record_head_crc(head);
    open->used += bytes;
    open->records++;
    index_note_time(&open->index, log->stored_ms);
    log->end += bytes;
}

/* ----------------------------------------------------------- own records */

bool log_put_own_here(struct commit_log *log, enum record_kind kind, uint8_t *record,
                      uint32_t content_bytes)
{
    struct record_fields fields = {.kind = kind,
                                   .epoch = log->epoch,
                                   .position = log->end,
                                   .stored_at_ms = log->stored_ms,
                                   .born_at_ms = log->stored_ms};
    uint32_t bytes =
        record_build_own(record, &fields, bytes_make(record + RECORD_CONTENT_PLACE, content_bytes));
    if (bytes <= OWN_COPY_BYTES_MAX) {
        uint8_t *to = stage_reserve(log, bytes);
        if (to == NULL) {
            return false;
        }
        memcpy(to, record, bytes);
        stage_commit(&log->stage, bytes);
    } else if (!stage_refer(log, record, bytes)) {
        return false;
    }
    note_record(log, record, bytes);
    return true;
}

bool log_put_own(struct commit_log *log, enum record_kind kind, uint8_t *record,
                 uint32_t content_bytes)
{
    uint32_t bytes = RECORD_CONTENT_PLACE + content_bytes;
    return (log_fits(log, bytes) || log_roll(log, bytes)) &&
           log_put_own_here(log, kind, record, content_bytes);
}

/* ------------------------------------------------------------ operations */

static void put_durable_mark(struct commit_log *log)
{
    struct operations *operations = &log->operations;
    struct writer writer = writer_over(
        operations->record + RECORD_CONTENT_PLACE + operations->content_bytes, EVENT_BYTES_MAX);
    event_put_durable(&writer, log->durable);
    operations->content_bytes += (uint32_t)writer_length(&writer);
    operations->count++;
    log->durable_marked = log->durable;
    log->epochs.durable = log->durable;
    log->marked_at_ns = reactor_now_ns(log->reactor);
}

/* Now and then a turn that writes anyway says how far the log is durable. */
static void add_durable_mark(struct commit_log *log)
{
    uint64_t now_ns = reactor_now_ns(log->reactor);
    if (log->durable > log->durable_marked && now_ns - log->marked_at_ns >= DURABLE_MARK_NS &&
        log->operations.content_bytes + EVENT_BYTES_MAX <= OPERATIONS_BYTES_MAX) {
        put_durable_mark(log);
    }
}

static bool write_operations(struct commit_log *log)
{
    struct operations *operations = &log->operations;
    if (operations->count == 0) {
        return true;
    }
    struct writer writer =
        writer_over(operations->record + RECORD_CONTENT_PLACE, EVENTS_BEGIN_BYTES);
    events_begin(&writer);
    events_end(&writer, 0, operations->count);
    if (!log_put_own(log, RECORD_EVENTS, operations->record, operations->content_bytes)) {
        return false;
    }
    operations->count = 0;
    operations->content_bytes = EVENTS_BEGIN_BYTES;
    struct list *link;
    while ((link = list_take_first(&operations->waiting)) != NULL) {
        struct log_operation *operation = CONTAINER_OF(link, struct log_operation, link);
        operation->end = log->end;
        list_append(&log->durable_operations, link);
        log_want_durable(log, log->end);
    }
    return true;
}

/* -------------------------------------------------------------- messages */

static void show_message(struct commit_log *log, const struct record_fields *fields,
                         struct bytes extra, const struct append_message *message)
{
    struct record_view record = {
        .fields = *fields, .extra = extra, .message = bytes_make(message->bytes, message->length)};
    for (uint32_t i = 0; i < log->view_count; i++) {
        if (log->views[i]->operations->apply_message != NULL) {
            log->views[i]->operations->apply_message(log->views[i], &record, false);
        }
    }
}

/* Own records need no entry of the index, which is what bounds the number of records. */
static inline bool fits_message(const struct commit_log *log, const struct append *append,
                                uint32_t bytes)
{
    uint64_t kept = append->relocates ? 0 : log->kept_bytes;
    return log_fits(log, bytes + kept) && log->open->records < SEGMENT_RECORDS_MAX;
}

static inline bool put_message(struct commit_log *log, struct queue *queue,
                               const struct append *append, uint32_t number, uint32_t head_bytes)
{
    const struct append_message *message = &append->messages[number];
    uint32_t size = head_bytes + message->length;
    if (__builtin_expect(!fits_message(log, append, size), 0) && !log_roll(log, size)) {
        return false;
    }
    bool is_copied = message->length < COPY_BYTES_MAX;
    uint8_t *to = stage_reserve(log, is_copied ? size : head_bytes);
    if (to == NULL) {
        return false;
    }
    struct record_fields fields = {
        .size = size,
        .message_crc = message->crc,
        .kind = RECORD_MESSAGE,
        .epoch = log->epoch,
        .position = log->end,
        .topic = queue->topic,
        .queue = queue->number,
        .offset = append->offset + number,
        .stored_at_ms = log->stored_ms,
        .born_at_ms = append->born_ms != 0 ? append->born_ms : log->stored_ms,
    };
    (void)record_build_head(to, &fields, append->extra, message->length);
    if (is_copied) {
        memcpy(to + head_bytes, message->bytes, message->length);
        stage_commit(&log->stage, size);
    } else {
        stage_commit(&log->stage, head_bytes);
        if (!stage_refer(log, message->bytes, message->length)) {
            return false;
        }
    }
    queue_push_entry(
        queue, fields.offset,
        (struct index_entry){log->open->used, size, message->tag_hash, message->key_hash});
    note_record(log, to, size);
    if (log->views_take_messages) {
        show_message(log, &fields, append->extra, message);
    }
    return true;
}

/* False: it waits for a roll in the middle, queue->appended messages of it are staged. */
static bool put_append(struct commit_log *log, struct queue *queue, struct append *append)
{
    uint32_t number = queue->appended;
    uint32_t head_bytes = record_size_for(append->extra.length, 0);
    while (number < append->count) {
        if (!put_message(log, queue, append, number, head_bytes)) {
            queue->appended = number;
            return false;
        }
        if (number++ == 0) {
            append->position = log->end - head_bytes - append->messages[0].length;
        }
        queue->written_next++;
        log->pending_bytes -= head_bytes + append->messages[number - 1].length;
    }
    queue->appended = 0;
    return true;
}

static bool put_queue(struct commit_log *log, struct queue *queue)
{
    struct list *link;
    bool is_put = true;
    uint64_t before = queue->written_next;
    while (is_put && (link = list_first(&queue->appends)) != NULL) {
        struct append *append = CONTAINER_OF(link, struct append, link);
        is_put = put_append(log, queue, append);
        if (is_put) {
            append->end = log->end;
            list_remove(link);
            list_append(&log->staged, link);
            log->counters.appended_messages += append->count;
        }
    }
    if (queue->written_next != before) {
        queue->last_stored_ms = log->stored_ms;
        if (list_is_empty(&queue->moved)) {
            list_append(&log->moved, &queue->moved);
        }
    }
    return is_put;
}

/* -------------------------------------------------------------- the turn */

bool log_has_pending(const struct commit_log *log)
{
    return log->operations.count > 0 || !list_is_empty(&log->touched);
}

/* Of all queues, or of those alone that were removed meanwhile. */
static bool put_messages(struct commit_log *log, bool removed_only)
{
    LIST_FOREACH (link, &log->touched) {
        struct queue *queue = CONTAINER_OF(link, struct queue, touched);
        if (removed_only && !queue->removed) {
            continue;
        }
        if (!put_queue(log, queue)) {
            return false;
        }
        list_remove(link);
    }
    return true;
}

/* What was staged is written now: it may be told, and memory's queues may show it. */
static void publish(struct commit_log *log)
{
    struct list *link;
    while ((link = list_take_first(&log->staged)) != NULL) {
        struct append *append = CONTAINER_OF(link, struct append, link);
        if (append->wait_durable) {
            list_append(&log->durable_appends, link);
            log_want_durable(log, append->end);
        } else {
            list_append(&log->written_appends, link);
        }
    }
    while ((link = list_take_first(&log->moved)) != NULL) {
        struct queue *queue = CONTAINER_OF(link, struct queue, moved);
        if (!queue->removed) {
            log_mark_visible(log, queue);
        } else if (list_is_empty(&queue->appends)) {
            queue_free(queue);
        }
    }
}

void log_set_time(struct commit_log *log)
{
    uint64_t wall_ms = reactor_wall_ms(log->reactor);
    if (wall_ms > log->stored_ms) {
        log->stored_ms = wall_ms;
    }
}

void log_write_pending(struct commit_log *log)
{
    if (log->fenced || !log_has_pending(log)) {
        return;
    }
    log_set_time(log);
    log_note_recent(log);
    add_durable_mark(log);
    log_keep(log);
    uint64_t before = log->end;
    bool is_put = !log->removed_first || put_messages(log, true);
    log->removed_first = log->removed_first && !is_put;
    is_put = is_put && write_operations(log) && put_messages(log, false);
    if (!log_write_staged(log)) {
        return;
    }
    log->counters.appended_bytes += log->end - before;
    ASSERT(!is_put || log->pending_bytes == 0);
    if (!is_put && !log->roll_waits) {
        log->counters.roll_waits++;
    }
    log->roll_waits = !is_put;
    publish(log);
    log_next_ahead(log);
}

/* --------------------------------------------------------- the last mark */

static bool needs_mark(const struct commit_log *log)
{
    return !log->fenced && !log->read_only && log->durable > log->durable_marked &&
           log->end != log->marked_end;
}

bool log_mark_end(struct commit_log *log)
{
    uint32_t bytes = RECORD_CONTENT_PLACE + EVENTS_BEGIN_BYTES + EVENT_BYTES_MAX;
    bool has_room = log_fits(log, bytes) || log->next.state == NEXT_READY;
    if (!needs_mark(log) || log_has_pending(log) || !has_room) {
        return false;
    }
    bool is_last = log->durable == log->end;
    put_durable_mark(log);
    log_write_pending(log);
    /* Else what is not durable now is marked when it is. */
    if (is_last && !log->fenced) {
        log->marked_end = log->end;
    }
    return !log->fenced;
}

static void mark_fired(struct timer *timer)
{
    struct commit_log *log = CONTAINER_OF(timer, struct commit_log, mark_timer);
    if (log->phase != LOG_RUNNING || !needs_mark(log)) {
        return;
    }
    if (log->end != log->mark_seen || log_has_pending(log)) {
        log_mark_soon(log);
    } else if (!log_mark_end(log) && log->next.state == NEXT_MAKING) {
        log_mark_soon(log);
    }
}

void log_mark_soon(struct commit_log *log)
{
    if (log->phase != LOG_RUNNING || !needs_mark(log) || log->mark_timer.started) {
        return;
    }
    log->mark_seen = log->end;
    log->mark_timer.fired = mark_fired;
    timer_start(log->reactor, &log->mark_timer, reactor_now_ns(log->reactor) + IDLE_MARK_NS);
}
