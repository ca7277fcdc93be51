/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_read.c - from a queue's offset to bytes that can be sent as they lie.
 *
 * The segment that has an offset is looked for at the end, where the queue was last read, right
 * behind that, and else from the newest to the oldest. What a mapped index says is checked against the segment's
 * bounds, so that a damaged one can lead to wrong bytes, which their checksums tell, but never
 * outside the file.
 */

#include "proto/base/contract.h"
#include "storage/log_state.h"
#include "storage/warming.h"

bool log_span_in(struct segment *segment, const struct queue *queue, struct index_span *span_out)
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

enum place { PLACE_FOUND, PLACE_NOWHERE, PLACE_COLD };

/* Looks from segment `number` on, upward or downward, until one has the offset, or it is clear that it
 * lies between two: its record is not whole then. */
static enum place look_through(struct commit_log *log, struct queue *queue, uint64_t offset,
                               uint32_t number, int step, struct cold_range *cold,
                               struct log_place *place_out)
{
    for (; number < log->segment_count; number += (uint32_t)step) {
        struct segment *segment = log->segments[number];
        struct index_span span;
        if (!warming_has_rows(segment, cold)) {
            return PLACE_COLD;
        }
        if (!log_span_in(segment, queue, &span)) {
            continue;
        }
        if (span_has(&span, offset)) {
            *place_out = (struct log_place){segment, span};
            return PLACE_FOUND;
        }
        if ((offset < span.first) == (step > 0)) {
            return PLACE_NOWHERE;
        }
    }
    return PLACE_NOWHERE;
}

bool log_locate(struct commit_log *log, struct queue *queue, uint64_t offset,
                struct cold_range *cold, struct log_place *place_out)
{
    struct index_span span;
    if (log_span_in(log->open, queue, &span) && offset >= span.first) {
        *place_out = (struct log_place){log->open, span};
        return span_has(&span, offset);
    }
    struct segment *hint = queue->hint;
    if (hint != NULL && span_has(&queue->hint_span, offset)) {
        *place_out = (struct log_place){hint, queue->hint_span};
        return true;
    }
    bool goes_on = hint != NULL && offset >= queue->hint_span.first;
    uint32_t number = goes_on ? log_segment_number(log, hint) + 1 : log->segment_count - 1;
    if (look_through(log, queue, offset, number, goes_on ? 1 : -1, cold, place_out) !=
        PLACE_FOUND) {
        return false;
    }
    /* An index in memory will be replaced by the file that is made of it. */
    if (place_out->segment->index.file != NULL) {
        queue->hint = place_out->segment;
        queue->hint_span = place_out->span;
    }
    return true;
}

bool log_entry_is_sane(const struct segment *segment, const struct index_entry *entry)
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

/* Whether the entries that a read may look at are there. */
static bool has_entries(const struct log_place *located, uint64_t offset,
                        const struct read_limits *limits, struct cold_range *cold)
{
    const struct index_span *span = &located->span;
    uint64_t count = span->first + span->count - offset;
    uint64_t most = limits->bytes_max / RECORD_BYTES_MIN + 1;
    count = count < most ? count : most;
    count = count < limits->messages_max ? count : limits->messages_max;
    return warming_has_entries(located->segment, &span->entries[offset - span->first], count, cold);
}

/* Takes from one segment what fits. False: enough, or what comes next is not whole. */
static bool read_span(const struct log_place *located, uint64_t *offset, uint64_t visible,
                      const struct read_limits *limits, struct run_list *list)
{
    const struct index_span *span = &located->span;
    while (span_has(span, *offset) && *offset < visible) {
        const struct index_entry *entry = &span->entries[*offset - span->first];
        if (list->messages == limits->messages_max || !log_entry_is_sane(located->segment, entry) ||
            (list->messages > 0 && list->bytes + entry->size > limits->bytes_max) ||
            !add_record(list, located->segment, entry)) {
            return false;
        }
        (*offset)++;
    }
    return true;
}

enum error commit_log_read(struct commit_log *log, struct queue *queue,
                           const struct read_limits *limits, struct run_list *list_out)
{
    struct log_place located;
    uint64_t at = limits->offset;
    if (at < queue->first) {
        return ERROR_OFFSET_TOO_SMALL;
    }
    if (at > queue->visible) {
        return ERROR_TRUNCATED;
    }
    list_out->count = 0;
    list_out->messages = 0;
    list_out->bytes = 0;
    list_out->cold = (struct cold_range){.segment = NULL};
    struct cold_range *cold = limits->may_wait ? NULL : &list_out->cold;
    bool goes_on = limits->messages_max > 0;
    while (goes_on && at < queue->visible) {
        goes_on = log_locate(log, queue, at, cold, &located) &&
                  has_entries(&located, at, limits, cold) &&
                  read_span(&located, &at, queue->visible, limits, list_out);
    }
    if (cold != NULL && list_out->count > 0) {
        /* What came before something cold is enough for now. */
        *cold = (struct cold_range){.segment = NULL};
        const struct reader_place reader = {queue->topic, queue->number, limits->offset};
        if (warming_cut(log, list_out, cold)) {
            read_ahead_moved(log, &reader, list_out);
        } else {
            cold->reader = reader;
        }
    }
    bool is_refused = list_out->messages == 0 && list_out->cold.segment == NULL &&
                      limits->messages_max > 0 && limits->offset < queue->visible;
    return is_refused ? ERROR_CORRUPT : OK;
}
