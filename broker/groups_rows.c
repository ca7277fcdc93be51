/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups_rows.c - operations and snapshot rows of groups, read and written.
 *
 * While a snapshot is loaded a queue of a group is known from its row cursor on, or from a seek, which gives
 * all of it; what comes for one that is not known is in rows to come. Rows retry and lease are absolute as the
 * operations are, so they may follow their cursor in later chunks: what happened in between is in them.
 */
#include "broker/catalogue.h"
#include "broker/groups.h"
#include "broker/limits.h"
#include "proto/base/contract.h"
#include "proto/dead_letter_extra.h"

static struct groups *of_view(const struct view *view)
{
    return CONTAINER_OF((struct view *)(uintptr_t)view, struct groups, view);
}

static void reset(struct view *view)
{
    groups_reset(of_view(view));
}

/* -------------------------------------------------------------- operations */

/* Whether such a range can be of this queue: what lies between is open, and that is bounded; keys are of
 * queues that keep their order. */
static bool is_possible(const struct group_queue *queue, const struct offset_range *range,
                        uint32_t key)
{
    return range->first <= queue->next + 2 * (uint64_t)GROUP_OPEN_MAX &&
           (key == 0 || queue->order == GROUP_ORDER_KEY);
}

static bool apply_progress(struct groups *groups, struct cursor fields)
{
    struct event_progress progress;
    if (!event_read_progress(fields, &progress)) {
        return false;
    }
    struct group_queue *queue = groups_find(groups, &progress.place);
    if (queue == NULL) {
        return true;
    }
    struct offset_range range = progress.range;
    if (!is_possible(queue, &range, 0)) {
        return false;
    }
    group_queue_progress(queue, &range);
    for (uint32_t i = 0; i < progress.more_count; i++) {
        if (!event_take_progress(&progress.more, &range) || !is_possible(queue, &range, 0)) {
            return false;
        }
        group_queue_progress(queue, &range);
    }
    queue->skipped += progress.skipped;
    return true;
}

static bool apply_retry(struct groups *groups, struct cursor fields)
{
    struct event_retry retry;
    if (!event_read_retry(fields, &retry)) {
        return false;
    }
    struct group_queue *queue = groups_find(groups, &retry.place);
    if (queue == NULL) {
        return true;
    }
    if (!is_possible(queue, &retry.range, retry.key) ||
        retry.range.count > 2 * (uint64_t)GROUP_OPEN_MAX) {
        return false;
    }
    group_queue_retry(queue, &retry);
    return true;
}

static bool apply_lease(struct groups *groups, struct cursor fields)
{
    struct event_lease lease;
    if (!event_read_lease(fields, &lease)) {
        return false;
    }
    struct group_queue *queue = groups_find(groups, &lease.place);
    if (queue == NULL) {
        return true;
    }
    if (!is_possible(queue, &lease.range, lease.key) || queue->order == GROUP_ORDER_NONE ||
        lease.range.count > UINT32_MAX) {
        return false;
    }
    group_queue_lease(queue, &lease, NULL);
    group_queue_note_logged(queue, &lease.range);
    return true;
}

static bool apply_seek(struct groups *groups, struct cursor fields)
{
    struct event_seek seek;
    if (!event_read_seek(fields, &seek)) {
        return false;
    }
    struct group_queue *queue = groups_begin(groups, &seek.place);
    if (queue != NULL) {
        groups_restart(queue, seek.generation, seek.offset);
    }
    return true;
}

static bool apply_deleted(struct groups *groups, uint32_t number, struct cursor fields)
{
    struct event_deleted deleted;
    if (!event_read_deleted(fields, &deleted)) {
        return false;
    }
    if (number == EVENT_GROUP_DELETE) {
        groups_drop_group(groups, deleted.id);
    } else {
        groups_drop_topic(groups, deleted.id);
    }
    return true;
}

static bool apply_operation(struct view *view, uint32_t number, struct cursor *fields,
                            uint64_t position, bool loading)
{
    (void)position;
    (void)loading;
    struct groups *groups = of_view(view);
    switch (number) {
    case EVENT_PROGRESS:
        return apply_progress(groups, *fields);
    case EVENT_RETRY:
        return apply_retry(groups, *fields);
    case EVENT_LEASE:
        return apply_lease(groups, *fields);
    case EVENT_SEEK:
        return apply_seek(groups, *fields);
    case EVENT_GROUP_DELETE:
    case EVENT_TOPIC_DELETE:
        return apply_deleted(groups, number, *fields);
    default:
        return false;
    }
}

/* A dead letter settles what it was. */
static void apply_message(struct view *view, const struct record_view *record, bool loading)
{
    (void)loading;
    struct dead_letter_extra was;
    if (record->extra.length == 0 || !dead_letter_extra_read(record->extra, &was)) {
        return;
    }
    const struct group_place place = {was.group_id, was.topic_id, was.queue};
    struct group_queue *queue = groups_find(of_view(view), &place);
    const struct offset_range range = {was.offset, 1};
    if (queue != NULL && queue->generation == was.generation && is_possible(queue, &range, 0)) {
        const struct open_range *open = open_ranges_find(&queue->open, was.offset);
        bool is_open = open != NULL && open->first <= was.offset;
        if (queue->groups->is_live) {
            struct trace_event event = groups_trace_of(queue, TRACE_DEAD, NULL);
            event.attempt = is_open ? open->attempts : 0;
            groups_trace_note(queue, &event, &range, OK);
        }
        group_queue_progress(queue, &range);
        queue->group->dead += queue->groups->is_live ? 1 : 0;
        groups_changed(queue);
    }
}

/* ---------------------------------------------------------------- snapshot */

static bool load_cursor(struct groups *groups, struct cursor fields)
{
    struct event_cursor row;
    if (!event_read_cursor(fields, &row)) {
        return false;
    }
    struct group_queue *queue = groups_begin(groups, &row.place);
    if (queue != NULL) {
        group_queue_seek(queue, row.generation, row.next);
        queue->skipped = row.skipped;
    }
    return true;
}

static bool load(struct view *view, uint32_t number, struct cursor *fields)
{
    struct groups *groups = of_view(view);
    switch (number) {
    case ROW_CURSOR:
        return load_cursor(groups, *fields);
    case ROW_RETRY:
        return apply_retry(groups, *fields);
    case ROW_LEASE:
        return apply_lease(groups, *fields);
    default:
        return false;
    }
}

static void write_cursor(struct writer *writer, const struct group_queue *queue)
{
    const struct event_cursor row = {
        .place = queue->place,
        .generation = queue->generation,
        .next = queue->logged,
        .skipped = queue->skipped,
    };
    event_put_cursor(writer, &row);
}

/* One open range, as far as the log knows of it. */
static uint32_t write_range(struct writer *writer, const struct group_queue *queue,
                            const struct open_range *range)
{
    uint64_t end = open_range_end(range) < queue->logged ? open_range_end(range) : queue->logged;
    const struct offset_range offsets = {range->first, end - range->first};
    const struct event_retry retry = {
        .place = queue->place,
        .range = offsets,
        .attempt = range->attempts,
        .due_ms = range->due_ms,
        .reason = reason_text(range->reason),
        .key = range->key,
    };
    event_put_retry(writer, ROW_RETRY, &retry);
    if (queue->order == GROUP_ORDER_NONE || range->state != OPEN_LEASED) {
        return 1;
    }
    const struct event_lease lease = {
        .place = queue->place,
        .range = offsets,
        .until_ms = range->moment.key,
        .serial = range->serial,
        .key = range->key,
    };
    event_put_lease(writer, ROW_LEASE, &lease);
    return 2;
}

/* Rows of one queue from place->words[1] on, 0: its cursor, else 1 and the offset to go on at. */
static bool save_queue(const struct group_queue *queue, struct view_place *place,
                       struct writer *writer, uint32_t *rows)
{
    enum { ROW_BYTES = EVENT_RETRY_BYTES_MAX + EVENT_LEASE_BYTES_MAX };
    if (place->words[1] == 0) {
        if (writer_left(writer) < ROW_BYTES) {
            return false;
        }
        write_cursor(writer, queue);
        (*rows)++;
        place->words[1] = 1;
    }
    const struct open_range *range = open_ranges_find(&queue->open, place->words[1] - 1);
    for (; range != NULL && range->first < queue->logged;
         range = open_ranges_next(&queue->open, range)) {
        if (writer_left(writer) < ROW_BYTES) {
            return false;
        }
        *rows += write_range(writer, queue, range);
        place->words[1] = open_range_end(range) + 1;
    }
    return true;
}

/* words[0]: the serial of the last queue whose rows are all there. */
static bool save(struct view *view, struct view_place *place, struct writer *writer, uint32_t *rows)
{
    LIST_FOREACH (link, &of_view(view)->queues) {
        const struct group_queue *queue = CONTAINER_OF(link, struct group_queue, all);
        if (queue->serial <= place->words[0]) {
            continue;
        }
        if (place->words[2] != queue->serial) {
            place->words[1] = 0;
            place->words[2] = queue->serial;
        }
        if (!save_queue(queue, place, writer, rows)) {
            return false;
        }
        place->words[0] = queue->serial;
        place->words[1] = 0;
    }
    return true;
}

/* A sum, so that the order in which queues were begun does not matter. */
static uint64_t hash(const struct view *view)
{
    uint64_t sum = 0;
    LIST_FOREACH (link, &of_view(view)->queues) {
        sum += group_queue_hash(CONTAINER_OF(link, struct group_queue, all));
    }
    return sum;
}

const struct view_operations groups_view_operations = {
    .reset = reset,
    .apply_message = apply_message,
    .apply_operation = apply_operation,
    .save = save,
    .load = load,
    .hash = hash,
};
