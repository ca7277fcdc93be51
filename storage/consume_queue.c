/* SPDX-License-Identifier: Apache-2.0 */

/*
 * consume_queue.c - queues: made, pushed to, made visible, waited for, saved and loaded.
 */

#include "storage/consume_queue.h"

#include "proto/base/contract.h"
#include "proto/events.h"
#include "proto/message.h"
#include "storage/log_state.h"

#include <stdlib.h>

/* What a save writes at least: a row of a queue, never near a chunk's end. */
enum { ROW_BYTES = EVENT_BYTES_MAX };

static uint64_t queue_key(uint32_t topic, uint16_t number)
{
    return (uint64_t)topic << 16 | number;
}

/* ------------------------------------------------------------------ life */

struct queue *queue_make(struct commit_log *log, uint32_t topic, uint16_t number)
{
    struct queue *queue = calloc(1, sizeof(*queue));
    ASSERT(queue != NULL);
    queue->log = log;
    queue->topic = topic;
    queue->number = number;
    queue->durability = LOG_DISK;
    queue->serial = ++log->queue_serial;
    list_init(&queue->appends);
    list_init(&queue->touched);
    list_init(&queue->moved);
    list_init(&queue->waking);
    list_init(&queue->waiters);
    list_init(&queue->all);
    ASSERT(number_map_put(&log->queues, queue_key(topic, number), queue));
    list_append(&log->queue_list, &queue->all);
    return queue;
}

void queue_free(struct queue *queue)
{
    ASSERT(list_is_empty(&queue->appends) && list_is_empty(&queue->waiters));
    if (queue->part != NULL) {
        queue->part->owner = NULL;
    }
    list_remove(&queue->touched);
    list_remove(&queue->moved);
    list_remove(&queue->waking);
    list_remove(&queue->all);
    free(queue);
}

struct queue *commit_log_queue_find(struct commit_log *log, uint32_t topic_id, uint16_t number)
{
    struct queue *queue = log->queue_found;
    if (queue == NULL || queue->topic != topic_id || queue->number != number) {
        queue = number_map_find(&log->queues, queue_key(topic_id, number));
        log->queue_found = queue;
    }
    return queue;
}

void commit_log_queue_put(struct commit_log *log, uint32_t topic_id, uint16_t number,
                          enum log_durability durability)
{
    struct queue *queue = commit_log_queue_find(log, topic_id, number);
    if (queue == NULL) {
        queue = queue_make(log, topic_id, number);
    }
    queue->durability = durability;
    if (durability == LOG_MEMORY) {
        queue_set_visible(queue, queue->written_next);
    }
}

void commit_log_queue_remove(struct commit_log *log, uint32_t topic_id, uint16_t number)
{
    struct queue *queue = commit_log_queue_find(log, topic_id, number);
    if (queue == NULL) {
        return;
    }
    /* What was accepted before stands in the log before: the operation that removes it follows. */
    if (!list_is_empty(&queue->appends)) {
        log_write_pending(log);
    }
    log->queue_found = NULL;
    number_map_remove(&log->queues, queue_key(topic_id, number));
    list_remove(&queue->all);
    log_forget_marks(log, queue);
    queue->removed = true;
    queue_wake(queue, true);
    if (list_is_empty(&queue->appends)) {
        queue_free(queue);
    } else {
        log->removed_first = true;
    }
}

struct queue_state queue_state(const struct queue *queue)
{
    return (struct queue_state){queue->first, queue->next, queue->visible, queue->last_stored_ms};
}

/* --------------------------------------------------------------- entries */

void queue_push_entry(struct queue *queue, uint64_t offset, struct index_entry entry)
{
    struct index_part *part = queue->part;
    if (__builtin_expect(part == NULL, 0)) {
        part = index_part_add(&queue->log->open->index, queue->topic, queue->number, offset);
        queue->part = part;
        part->owner = queue;
    }
    /* Offsets jump only over a range that is not whole. */
    while (part->first + part->count < offset) {
        index_part_push(part, (struct index_entry){0});
    }
    index_part_push(part, entry);
}

struct index_entry queue_entry_of(const struct record_view *record, uint32_t place)
{
    struct index_entry entry = {.place = place, .size = record->fields.size};
    struct message_view message;
    if (message_read_stored(record->message, &message)) {
        entry.tag_hash = message_tag_hash(&message);
        entry.key_hash = message_key_hash(&message);
    }
    return entry;
}

bool queue_replay(struct commit_log *log, const struct record_view *record, uint32_t place,
                  bool loading)
{
    const struct record_fields *fields = &record->fields;
    struct queue *queue = commit_log_queue_find(log, fields->topic, fields->queue);
    bool is_new = queue == NULL || (queue->last_stored_ms == 0 && queue->next == 0);
    uint64_t next = is_new && loading ? fields->offset : is_new ? 0 : queue->next;
    if (fields->offset != next) {
        return false;
    }
    if (queue == NULL) {
        queue = queue_make(log, fields->topic, fields->queue);
    }
    queue->next = next;
    queue_push_entry(queue, fields->offset, queue_entry_of(record, place));
    queue->next++;
    queue->written_next = queue->next;
    queue->last_stored_ms = fields->stored_at_ms;
    return true;
}

/* ------------------------------------------------------- visible, waiting */

void queue_set_visible(struct queue *queue, uint64_t visible)
{
    if (visible <= queue->visible) {
        return;
    }
    queue->visible = visible;
    if (!list_is_empty(&queue->waiters) && list_is_empty(&queue->waking)) {
        list_append(&queue->log->waking, &queue->waking);
    }
}

void queue_wait(struct queue *queue, struct queue_waiter *waiter)
{
    ASSERT(waiter->woken != NULL && !queue->removed);
    list_append(&queue->waiters, &waiter->link);
    if (waiter->offset < queue->visible && list_is_empty(&queue->waking)) {
        list_append(&queue->log->waking, &queue->waking);
    }
}

void queue_waiter_cancel(struct queue_waiter *waiter)
{
    if (waiter->link.next != NULL) {
        list_remove(&waiter->link);
    }
}

void queue_wake(struct queue *queue, bool all)
{
    /* Collected first: who is woken may wait again at once, or cancel another. */
    struct list woken;
    list_init(&woken);
    list_remove(&queue->waking);
    LIST_FOREACH (link, &queue->waiters) {
        struct queue_waiter *waiter = CONTAINER_OF(link, struct queue_waiter, link);
        if (all || waiter->offset < queue->visible) {
            list_remove(link);
            list_append(&woken, link);
        }
    }
    struct list *link;
    while ((link = list_take_first(&woken)) != NULL) {
        struct queue_waiter *waiter = CONTAINER_OF(link, struct queue_waiter, link);
        waiter->woken(waiter);
    }
}

/* ------------------------------------------------ what the segments have */

static void settle_queue(struct queue *queue)
{
    queue->visible = queue->next;
    queue->written_next = queue->next;
    /* Until a segment says otherwise nothing of it is there. */
    queue->first = queue->next;
}

static void take_first(struct commit_log *log, uint32_t topic, uint16_t number, uint64_t first)
{
    struct queue *queue = commit_log_queue_find(log, topic, number);
    if (queue != NULL && first < queue->first) {
        queue->first = first;
    }
}

void queues_settle(struct commit_log *log)
{
    LIST_FOREACH (link, &log->queue_list) {
        settle_queue(CONTAINER_OF(link, struct queue, all));
    }
    for (uint32_t i = 0; i < log->segment_count; i++) {
        const struct index *index = &log->segments[i]->index;
        for (uint32_t j = 0; j < index_span_count(index); j++) {
            struct index_span span = index_span_at(index, j);
            take_first(log, span.topic, span.queue, span.first);
        }
    }
}

void queues_leave_segment(struct segment *segment)
{
    for (uint32_t i = 0; i < segment->index.part_count; i++) {
        struct index_part *part = segment->index.parts[i];
        if (part->owner != NULL) {
            part->owner->part = NULL;
            part->owner = NULL;
        }
    }
}

void queues_forget_index(struct commit_log *log, const struct segment *segment)
{
    LIST_FOREACH (link, &log->queue_list) {
        struct queue *queue = CONTAINER_OF(link, struct queue, all);
        queue->hint = queue->hint == segment ? NULL : queue->hint;
    }
}

void queues_drop_segment(struct commit_log *log, const struct segment *segment)
{
    for (uint32_t i = 0; i < index_span_count(&segment->index); i++) {
        struct index_span span = index_span_at(&segment->index, i);
        struct queue *queue = commit_log_queue_find(log, span.topic, span.queue);
        if (queue == NULL) {
            continue;
        }
        uint64_t behind = span.first + span.count;
        queue->first = behind > queue->first ? behind : queue->first;
        if (queue->hint == segment) {
            queue->hint = NULL;
        }
    }
}

/* -------------------------------------------------------------- the view */

static struct queues_view *queues_of(struct view *view)
{
    return CONTAINER_OF(view, struct queues_view, view);
}

static void remove_all(struct commit_log *log)
{
    LIST_FOREACH (link, &log->queue_list) {
        struct queue *queue = CONTAINER_OF(link, struct queue, all);
        commit_log_queue_remove(log, queue->topic, queue->number);
    }
}

static void queues_reset(struct view *view)
{
    remove_all(queues_of(view)->log);
}

static bool remove_topic(struct commit_log *log, struct cursor fields)
{
    struct event_deleted deleted;
    if (!event_read_deleted(fields, &deleted)) {
        return false;
    }
    LIST_FOREACH (link, &log->queue_list) {
        struct queue *queue = CONTAINER_OF(link, struct queue, all);
        if (queue->topic == deleted.id) {
            commit_log_queue_remove(log, queue->topic, queue->number);
        }
    }
    return true;
}

/* The catalogue removes a topic's queues too; but while loading it may not know the topic, whose row
 * is gone, though messages behind the begin made its queues. */
static bool queues_apply(struct view *view, uint32_t number, struct cursor *fields,
                         uint64_t position, bool loading)
{
    (void)position;
    (void)loading;
    return number == EVENT_TOPIC_DELETE && remove_topic(queues_of(view)->log, *fields);
}

/* words[0]: the serial of the last queue that was saved. */
static bool queues_save(struct view *view, struct view_place *place, struct writer *writer,
                        uint32_t *rows)
{
    LIST_FOREACH (link, &queues_of(view)->log->queue_list) {
        const struct queue *queue = CONTAINER_OF(link, struct queue, all);
        if (queue->serial <= place->words[0]) {
            continue;
        }
        if (writer_left(writer) < ROW_BYTES) {
            return false;
        }
        event_put_queue(writer, &(struct event_queue){queue->topic, queue->number, queue->first,
                                                      queue->written_next, queue->last_stored_ms});
        (*rows)++;
        place->words[0] = queue->serial;
    }
    return true;
}

static bool queues_load(struct view *view, uint32_t number, struct cursor *fields)
{
    struct commit_log *log = queues_of(view)->log;
    struct event_queue row;
    if (number != ROW_QUEUE || !event_read_queue(*fields, &row) || row.first > row.next ||
        row.next >= INTEGER_LIMIT) {
        return false;
    }
    struct queue *queue = commit_log_queue_find(log, row.topic, row.queue);
    if (queue == NULL) {
        queue = queue_make(log, row.topic, row.queue);
    } else if (queue->last_stored_ms != 0 && queue->next != row.next) {
        return false; /* Messages behind the begin say otherwise. */
    }
    queue->first = row.first;
    queue->next = row.next;
    queue->written_next = row.next;
    queue->last_stored_ms = row.last_stored_at_ms;
    return true;
}

/* A sum, so that the order in which queues were made does not matter. */
static uint64_t queues_hash(const struct view *view)
{
    const struct queues_view *queues =
        CONTAINER_OF((struct view *)(uintptr_t)view, struct queues_view, view);
    uint64_t sum = 0;
    LIST_FOREACH (link, &queues->log->queue_list) {
        const struct queue *queue = CONTAINER_OF(link, struct queue, all);
        uint64_t hash = map_mix(1, queue_key(queue->topic, queue->number));
        hash = map_mix(hash, queue->first);
        hash = map_mix(hash, queue->written_next);
        sum += map_mix(hash, queue->last_stored_ms);
    }
    return sum;
}

static const struct view_operations queues_operations = {
    .reset = queues_reset,
    .apply_operation = queues_apply,
    .save = queues_save,
    .load = queues_load,
    .hash = queues_hash,
};

void queues_init(struct queues_view *queues, struct commit_log *log)
{
    queues->view = (struct view){"queues", &queues_operations};
    queues->log = log;
}

void queues_deinit(struct queues_view *queues)
{
    remove_all(queues->log);
}
