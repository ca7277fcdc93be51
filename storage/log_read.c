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
#include "proto/filter.h"
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

bool run_list_add(struct run_list *list, const struct run *record)
{
    struct run *last = list->count == 0 ? NULL : &list->runs[list->count - 1];
    if (last != NULL && last->segment == record->segment &&
        last->place + last->bytes == record->place) {
        last->bytes += record->bytes;
        last->messages++;
    } else if (list->count < LOG_RUNS_MAX) {
        segment_ref(record->segment);
        list->runs[list->count++] = *record;
    } else {
        return false;
    }
    list->messages++;
    list->bytes += record->bytes;
    return true;
}

/* One read under way. */
struct reading {
    const struct read_limits *limits;
    const struct read_selection *selection; /* NULL: leaves out nothing */
    uint64_t visible;
    uint64_t at; /* the offset that is looked at next */
    struct run_list *list;
    struct cold_range *cold; /* NULL: it may wait */
};

/* Whether the entries that a read may look at are there. */
static bool has_entries(const struct log_place *located, const struct reading *reading)
{
    const struct index_span *span = &located->span;
    const struct read_limits *limits = reading->limits;
    uint64_t count = span->first + span->count - reading->at;
    uint64_t most = limits->bytes_max / RECORD_BYTES_MIN + 1;
    most = most < limits->messages_max ? most : limits->messages_max;
    most = reading->selection == NULL ? most : reading->selection->looked_at_max;
    count = count < most ? count : most;
    return warming_has_entries(located->segment, &span->entries[reading->at - span->first], count,
                               reading->cold);
}

/* Whether the read is over before it looks at the next entry. */
static bool is_enough(const struct reading *reading)
{
    const struct read_selection *selection = reading->selection;
    return reading->list->messages == reading->limits->messages_max ||
           (selection != NULL && reading->at - reading->limits->offset >= selection->looked_at_max);
}

static bool is_left_out(const struct reading *reading, const struct index_entry *entry)
{
    return reading->selection != NULL &&
           !filter_may_want(reading->selection->filter, entry->tag_hash);
}

/* False: no room. */
static bool add_record(const struct reading *reading, struct segment *segment,
                       const struct index_entry *entry)
{
    struct run_list *list = reading->list;
    const struct run record = {segment, entry->place, entry->size, 1, reading->at};
    bool fits = list->messages == 0 || list->bytes + entry->size <= reading->limits->bytes_max;
    return fits && run_list_add(list, &record);
}

/* Takes from one segment what fits. False: enough, or what comes next is not whole. */
static bool read_span(const struct log_place *located, struct reading *reading)
{
    const struct index_span *span = &located->span;
    while (span_has(span, reading->at) && reading->at < reading->visible) {
        const struct index_entry *entry = &span->entries[reading->at - span->first];
        if (is_enough(reading) || !log_entry_is_sane(located->segment, entry)) {
            return false;
        }
        if (!is_left_out(reading, entry) && !add_record(reading, located->segment, entry)) {
            return false;
        }
        reading->at++;
    }
    return true;
}

/* Leaves in the list what is in the page cache; if that is nothing, names what is missed. */
static void cut_cold(struct commit_log *log, const struct queue *queue, struct reading *reading)
{
    struct run_list *list = reading->list;
    struct reader_place reader = {queue->topic, queue->number, reading->limits->offset};
    uint32_t count = list->count;
    bool is_here = warming_cut(log, list, reading->cold);
    if (list->count < count) {
        list->next = list->runs[list->count].offset; /* of the first that was cut off */
    }
    if (is_here) {
        read_ahead_moved(log, &reader, list);
    } else {
        reader.offset = list->next;
        reading->cold->reader = reader;
    }
}

enum error commit_log_select(struct commit_log *log, struct queue *queue,
                             const struct read_limits *limits,
                             const struct read_selection *selection, struct run_list *list_out)
{
    if (limits->offset < queue->first) {
        return ERROR_OFFSET_TOO_SMALL;
    }
    if (limits->offset > queue->visible) {
        return ERROR_TRUNCATED;
    }
    list_out->count = 0;
    list_out->messages = 0;
    list_out->bytes = 0;
    list_out->cold = (struct cold_range){.segment = NULL};
    struct reading reading = {.limits = limits,
                              .selection = selection,
                              .visible = queue->visible,
                              .at = limits->offset,
                              .list = list_out,
                              .cold = limits->may_wait ? NULL : &list_out->cold};
    struct log_place located;
    bool goes_on = limits->messages_max > 0;
    while (goes_on && reading.at < queue->visible) {
        goes_on = log_locate(log, queue, reading.at, reading.cold, &located) &&
                  has_entries(&located, &reading) && read_span(&located, &reading);
    }
    list_out->next = reading.at;
    if (reading.cold != NULL && list_out->count > 0) {
        /* What came before something cold is enough for now. */
        *reading.cold = (struct cold_range){.segment = NULL};
        cut_cold(log, queue, &reading);
    }
    bool is_refused = list_out->next == limits->offset && list_out->cold.segment == NULL &&
                      limits->messages_max > 0 && limits->offset < queue->visible;
    return is_refused ? ERROR_CORRUPT : OK;
}

enum error commit_log_read(struct commit_log *log, struct queue *queue,
                           const struct read_limits *limits, struct run_list *list_out)
{
    return commit_log_select(log, queue, limits, NULL, list_out);
}

/* -------------------------------------------------------------- entries */

static uint64_t least(uint64_t one, uint64_t other)
{
    return one < other ? one : other;
}

enum error commit_log_entries(struct commit_log *log, struct queue *queue, uint64_t offset,
                              uint32_t count_max, struct cold_range *cold,
                              struct index_span *span_out)
{
    *span_out = (struct index_span){.first = offset, .topic = queue->topic, .queue = queue->number};
    if (cold != NULL) {
        *cold = (struct cold_range){.segment = NULL};
    }
    if (offset < queue->first) {
        return ERROR_OFFSET_TOO_SMALL;
    }
    if (offset > queue->visible) {
        return ERROR_TRUNCATED;
    }
    if (offset == queue->visible || count_max == 0) {
        return OK;
    }
    struct log_place located;
    if (!log_locate(log, queue, offset, cold, &located)) {
        return cold != NULL && cold->segment != NULL ? OK : ERROR_CORRUPT;
    }
    uint64_t before = offset - located.span.first;
    uint64_t count = least(located.span.count - before, least(queue->visible - offset, count_max));
    const struct index_entry *entries = &located.span.entries[before];
    if (warming_has_entries(located.segment, entries, count, cold)) {
        span_out->entries = entries;
        span_out->count = (uint32_t)count;
    }
    return OK;
}
