/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_read.c - from a queue's offset to bytes that can be sent as they lie.
 *
 * The segment that has an offset is looked for at the end, where the queue was last read, and else
 * by halves. What a mapped index says is checked against the segment's
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

/* The first segment of [from, to) that has something of the queue, or `to`. False: cold. */
static bool next_with(struct commit_log *log, struct queue *queue, uint32_t *from, uint32_t to,
                      struct cold_range *cold, struct index_span *span_out)
{
    for (; *from < to; (*from)++) {
        if (!warming_has_rows(log->segments[*from], cold)) {
            return false;
        }
        if (log_span_in(log->segments[*from], queue, span_out)) {
            break;
        }
    }
    return true;
}

/* Halves the segments; one that has nothing of the queue leads to the next one that has. False: none has
 * the offset, so its record is not whole, or `cold` is told. */
static bool search_segments(struct commit_log *log, struct queue *queue, uint64_t offset,
                            struct cold_range *cold, struct log_place *place_out)
{
    uint32_t low = 0;
    uint32_t high = log->segment_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        uint32_t found = middle;
        struct index_span span;
        if (!next_with(log, queue, &found, high, cold, &span)) {
            return false;
        }
        if (found < high && span_has(&span, offset)) {
            *place_out = (struct log_place){log->segments[found], span};
            return true;
        }
        if (found == high || offset < span.first) {
            high = middle;
        } else {
            low = found + 1;
        }
    }
    return false;
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
    if (!search_segments(log, queue, offset, cold, place_out)) {
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
