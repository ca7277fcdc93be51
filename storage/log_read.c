/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_read.c - from a queue's offset to bytes that can be sent as they lie.
 *
 * The segment that has an offset is looked for where the queue was last read, right behind it, and
 * else from the newest to the oldest. What a mapped index says is checked against the segment's
 * bounds, so that a damaged one can lead to wrong bytes, which their checksums tell, but never
 * outside the file.
 */

#include "proto/base/contract.h"
#include "storage/log_state.h"

#include <string.h>

/* The entries of a queue in one segment, and whose bytes they are of. */
struct located {
    struct segment *segment;
    struct index_span span;
};

static bool span_in(struct segment *segment, const struct queue *queue, struct index_span *span_out)
{
    if (segment->index.sealed) {
        return index_find(&segment->index, queue->topic, queue->number, span_out);
    }
    const struct index_part *part = queue->part;
    if (part == NULL) {
        return false;
    }
    *span_out =
        (struct index_span){part->entries, part->first, part->count, queue->topic, queue->number};
    return true;
}

static bool span_has(const struct index_span *span, uint64_t offset)
{
    return offset >= span->first && offset - span->first < span->count;
}

static bool locate(struct commit_log *log, struct queue *queue, uint64_t offset,
                   struct located *located_out)
{
    struct index_span span;
    if (queue->hint != NULL && span_in(queue->hint, queue, &span) && span_has(&span, offset)) {
        *located_out = (struct located){queue->hint, span};
        return true;
    }
    for (uint32_t i = log->segment_count; i > 0; i--) {
        struct segment *segment = log->segments[i - 1];
        if (!span_in(segment, queue, &span) || offset < span.first) {
            continue;
        }
        if (!span_has(&span, offset)) {
            return false; /* Between this segment's and a later one's: not whole. */
        }
        queue->hint = segment;
        *located_out = (struct located){segment, span};
        return true;
    }
    return false;
}

static bool entry_is_sane(const struct segment *segment, const struct index_entry *entry)
{
    return entry->place != 0 && entry->size >= RECORD_BYTES_MIN && entry->place <= segment->used &&
           entry->size <= segment->used - entry->place;
}

/* Adds one record to the list: to its last run if it lies right behind it. False: no room. */
static bool add_record(struct run_list *list, struct segment *segment,
                       const struct index_entry *entry)
{
    struct run *last = list->count == 0 ? NULL : &list->runs[list->count - 1];
    if (last != NULL && last->segment == segment && last->place + last->bytes == entry->place) {
        last->bytes += entry->size;
        last->messages++;
    } else if (list->count < LOG_RUNS_MAX) {
        segment_ref(segment);
        list->runs[list->count++] = (struct run){segment, entry->place, entry->size, 1};
    } else {
        return false;
    }
    list->messages++;
    list->bytes += entry->size;
    return true;
}

struct read_limits {
    uint64_t visible;
    uint32_t messages;
    uint64_t bytes;
};

/* Takes from one segment what fits. False: enough, or what comes next is not whole. */
static bool read_span(const struct located *located, uint64_t *offset,
                      const struct read_limits *limits, struct run_list *list)
{
    const struct index_span *span = &located->span;
    while (span_has(span, *offset) && *offset < limits->visible) {
        const struct index_entry *entry = &span->entries[*offset - span->first];
        if (list->messages == limits->messages || !entry_is_sane(located->segment, entry) ||
            (list->messages > 0 && list->bytes + entry->size > limits->bytes) ||
            !add_record(list, located->segment, entry)) {
            return false;
        }
        (*offset)++;
    }
    return true;
}

enum error commit_log_read(struct commit_log *log, struct queue *queue, uint64_t offset,
                           uint32_t messages_max, uint64_t bytes_max, struct run_list *list_out)
{
    const struct read_limits limits = {queue->visible, messages_max, bytes_max};
    struct located located;
    if (offset < queue->first) {
        return ERROR_OFFSET_TOO_SMALL;
    }
    if (offset > queue->visible) {
        return ERROR_TRUNCATED;
    }
    list_out->count = 0;
    list_out->messages = 0;
    list_out->bytes = 0;
    uint64_t at = offset;
    bool goes_on = messages_max > 0;
    while (goes_on && at < limits.visible) {
        goes_on = locate(log, queue, at, &located) && read_span(&located, &at, &limits, list_out);
    }
    bool is_refused = list_out->messages == 0 && messages_max > 0 && offset < limits.visible;
    return is_refused ? ERROR_CORRUPT : OK;
}

/* ------------------------------------------------------- search by content */

/* The head of the record of an offset. False: it is not whole. */
static bool read_head(struct commit_log *log, struct queue *queue, uint64_t offset,
                      uint8_t head[RECORD_HEAD_BYTES])
{
    struct located located;
    if (!locate(log, queue, offset, &located)) {
        return false;
    }
    const struct index_entry *entry = &located.span.entries[offset - located.span.first];
    return entry_is_sane(located.segment, entry) &&
           segment_read(located.segment, entry->place, head, RECORD_HEAD_BYTES);
}

/* The first offset of [low, high) whose record says `is_past`, or high. Both times and epochs never
 * decrease along a queue; a record that is not whole counts as not past. */
static uint64_t search(struct commit_log *log, struct queue *queue, uint64_t low, uint64_t high,
                       bool (*is_past)(const uint8_t *head, uint64_t bound), uint64_t bound)
{
    uint8_t head[RECORD_HEAD_BYTES];
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (read_head(log, queue, middle, head) && is_past(head, bound)) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static bool is_stored_from(const uint8_t *head, uint64_t at_ms)
{
    return record_stored_at_ms(head) >= at_ms;
}

static bool is_epoch_above(const uint8_t *head, uint64_t epoch)
{
    return record_epoch(head) > epoch;
}

uint64_t commit_log_find_time(struct commit_log *log, struct queue *queue, uint64_t at_ms)
{
    uint64_t low = queue->first;
    uint64_t high = queue->visible;
    struct index_span span;
    /* Whole segments first: their times are known without touching a record. */
    for (uint32_t i = 0; i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        if (!span_in(segment, queue, &span)) {
            continue;
        }
        uint64_t behind = span.first + span.count;
        if (segment->index.last_stored_ms < at_ms) {
            low = behind > low ? behind : low;
        } else if (segment->index.first_stored_ms >= at_ms) {
            high = span.first < high ? span.first : high;
            break;
        }
    }
    low = low < high ? low : high;
    high = high > low ? high : low;
    return search(log, queue, low, high, is_stored_from, at_ms);
}

uint64_t commit_log_find_epoch(struct commit_log *log, struct queue *queue, uint64_t offset,
                               uint32_t epoch)
{
    uint64_t visible = queue->visible;
    if (offset <= queue->first && offset <= visible) {
        return offset; /* His last record is gone by age: nothing contradicts him. */
    }
    if (offset - 1 < visible) {
        uint8_t head[RECORD_HEAD_BYTES];
        if (!read_head(log, queue, offset - 1, head) || record_epoch(head) <= epoch) {
            return offset;
        }
    }
    uint64_t high = offset < visible ? offset : visible;
    return search(log, queue, queue->first < high ? queue->first : high, high, is_epoch_above,
                  epoch);
}
