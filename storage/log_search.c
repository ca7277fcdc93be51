/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_search.c - offsets by what their records say: when they were stored, in which epoch.
 *
 * A search that comes to something cold ends there and begins anew once it is warm. All that it looked at
 * before is in the page cache then, so each round is longer than the one before.
 */

#include "proto/base/contract.h"
#include "storage/log_state.h"
#include "storage/warming.h"

enum head { HEAD_READ, HEAD_NOT_WHOLE, HEAD_COLD };

/* What is looked for: the first record for which `is_past` holds. */
struct question {
    bool (*is_past)(const uint8_t *head, uint64_t bound);
    uint64_t bound;
    bool is_broken_past;     /* what a record counts as that is not whole */
    struct cold_range *cold; /* told what is cold; NULL: may wait */
};

/* The head of the record of an offset. */
static enum head read_head(struct commit_log *log, struct queue *queue, uint64_t offset,
                           struct cold_range *cold, uint8_t head[RECORD_HEAD_BYTES])
{
    struct log_place at;
    if (!log_locate(log, queue, offset, cold, &at)) {
        return cold != NULL && cold->segment != NULL ? HEAD_COLD : HEAD_NOT_WHOLE;
    }
    const struct index_entry *entry = &at.span.entries[offset - at.span.first];
    if (!warming_has_entries(at.segment, entry, 1, cold)) {
        return HEAD_COLD;
    }
    if (!log_entry_is_sane(at.segment, entry)) {
        return HEAD_NOT_WHOLE;
    }
    if (!warming_has_record(log, at.segment, entry->place, RECORD_HEAD_BYTES, cold)) {
        return HEAD_COLD;
    }
    return segment_read(at.segment, entry->place, head, RECORD_HEAD_BYTES) ? HEAD_READ
                                                                           : HEAD_NOT_WHOLE;
}

/* The first offset of [low, high) that is past, or high. Both times and epochs never decrease along a
 * queue. False: something is cold. */
static bool search(struct commit_log *log, struct queue *queue, uint64_t low, uint64_t high,
                   const struct question *question, uint64_t *offset_out)
{
    uint8_t head[RECORD_HEAD_BYTES];
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        enum head found = read_head(log, queue, middle, question->cold, head);
        if (found == HEAD_COLD) {
            return false;
        }
        bool is_past = found == HEAD_READ ? question->is_past(head, question->bound)
                                          : question->is_broken_past;
        if (is_past) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    *offset_out = low;
    return true;
}

static bool is_stored_from(const uint8_t *head, uint64_t at_ms)
{
    return record_stored_at_ms(head) >= at_ms;
}

static bool is_epoch_above(const uint8_t *head, uint64_t epoch)
{
    return record_epoch(head) > epoch;
}

bool commit_log_find_time(struct commit_log *log, struct queue *queue, uint64_t at_ms,
                          struct cold_range *cold, uint64_t *offset_out)
{
    const struct question question = {is_stored_from, at_ms, false, cold};
    *offset_out = queue->visible;
    for (uint32_t i = 0; i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        struct index_span span;
        if (segment->index.last_stored_ms < at_ms) {
            continue; /* the whole of it, which is known without a look at it */
        }
        if (!warming_has_rows(segment, cold)) {
            return false;
        }
        uint64_t end;
        if (!log_span_in(segment, queue, &span) ||
            (end = span.first + span.count) <= queue->first) {
            continue;
        }
        uint64_t low = span.first > queue->first ? span.first : queue->first;
        uint64_t high = end < queue->visible ? end : queue->visible;
        if (low >= high || segment->index.first_stored_ms >= at_ms) {
            *offset_out = low < high ? low : high;
            return true;
        }
        /* All of the queue's may be older: the next one's first is the answer then, which is `high`. */
        return search(log, queue, low, high, &question, offset_out);
    }
    return true;
}

/* Where the record of an offset ends in the log, whose entry was just looked at. */
static uint64_t end_of_record(struct commit_log *log, struct queue *queue, uint64_t offset)
{
    struct log_place at;
    if (!log_locate(log, queue, offset, NULL, &at)) {
        return UINT64_MAX;
    }
    const struct index_entry *entry = &at.span.entries[offset - at.span.first];
    return segment_base(at.segment) + entry->place + entry->size;
}

bool commit_log_find_stored(struct commit_log *log, struct queue *queue, uint64_t offset,
                            struct cold_range *cold, struct stored *stored_out)
{
    uint8_t head[RECORD_HEAD_BYTES];
    *stored_out = (struct stored){.is_whole = false};
    enum head found =
        offset < queue->written_next ? read_head(log, queue, offset, cold, head) : HEAD_NOT_WHOLE;
    if (found == HEAD_COLD) {
        return false;
    }
    if (found == HEAD_READ) {
        *stored_out = (struct stored){
            .stored_ms = record_stored_at_ms(head),
            .epoch = record_epoch(head),
            .is_whole = true,
            .is_durable = end_of_record(log, queue, offset) <= log->durable,
        };
    }
    return true;
}

bool commit_log_find_epoch(struct commit_log *log, struct queue *queue,
                           const struct last_seen *last_seen, struct cold_range *cold,
                           uint64_t *offset_out)
{
    const struct question question = {is_epoch_above, last_seen->epoch, false, cold};
    uint64_t offset = last_seen->next;
    uint64_t visible = queue->visible;
    *offset_out = offset;
    if (offset <= queue->first && offset <= visible) {
        return true; /* His last record is gone by age: nothing contradicts him. */
    }
    if (offset - 1 < visible) {
        uint8_t head[RECORD_HEAD_BYTES];
        enum head found = read_head(log, queue, offset - 1, cold, head);
        if (found != HEAD_READ || record_epoch(head) <= last_seen->epoch) {
            return found != HEAD_COLD;
        }
    }
    uint64_t high = offset < visible ? offset : visible;
    return search(log, queue, queue->first < high ? queue->first : high, high, &question,
                  offset_out);
}

bool commit_log_find_other(struct commit_log *log, struct queue *queue, const struct had_range *had,
                           struct cold_range *cold, uint64_t *offset_out)
{
    const struct question question = {is_epoch_above, had->epoch, true, cold};
    uint64_t first = had->first > queue->first ? had->first : queue->first;
    uint8_t head[RECORD_HEAD_BYTES];
    ASSERT(had->first < had->end && had->end <= queue->visible);
    *offset_out = had->end;
    if (first >= had->end) {
        return true;
    }
    enum head found = read_head(log, queue, had->end - 1, cold, head);
    if (found == HEAD_COLD || (found == HEAD_READ && record_epoch(head) <= had->epoch)) {
        return found != HEAD_COLD; /* the last is the newest */
    }
    return search(log, queue, first, had->end - 1, &question, offset_out);
}
