/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_replay.c - records back into state.
 */

#include "storage/log_replay.h"

#include "proto/base/contract.h"
#include "proto/message.h"

/* ------------------------------------------------------- segment records */

/* The first entry of an own record, if it has that number. */
static bool first_entry(const struct record_view *record, uint64_t number,
                        struct cursor *fields_out)
{
    struct events_reader reader;
    uint64_t found;
    return events_open(&reader, record_content(record)) &&
           events_next(&reader, &found, fields_out) == EVENTS_ENTRY && found == number;
}

static bool read_segment_row(const struct commit_log *log, const struct record_view *record,
                             uint64_t base, struct event_segment *row_out)
{
    struct cursor fields;
    return record->fields.kind == RECORD_SEGMENT && first_entry(record, ROW_SEGMENT, &fields) &&
           event_read_segment(fields, row_out) && row_out->format <= EVENTS_FORMAT &&
           row_out->base == base && row_out->shard == log->options.shard;
}

static uint64_t store_id_of(const struct event_segment *row)
{
    return load_u64(row->store_id + EVENT_ID_BYTES - sizeof(uint64_t));
}

bool replay_find_begin(struct commit_log *log, struct segment *segment, uint64_t *begin_out,
                       uint64_t *store_id_out)
{
    struct scan scan;
    struct record_view record;
    struct event_segment row;
    struct cursor fields;
    scan_init(&scan, segment->file, segment->base, segment->map_bytes);
    bool is_begin =
        scan_read(&scan, &record) && read_segment_row(log, &record, segment->base, &row);
    if (is_begin) {
        scan.place += record.fields.size;
        is_begin = scan_read(&scan, &record) && record.fields.kind == RECORD_SNAPSHOT &&
                   first_entry(&record, ROW_BEGIN, &fields);
    }
    if (is_begin) {
        *begin_out = segment->base + scan.place;
        *store_id_out = store_id_of(&row);
    }
    scan_deinit(&scan);
    return is_begin;
}

bool replay_continues(struct commit_log *log, struct segment *segment)
{
    struct scan scan;
    struct record_view record;
    struct event_segment row;
    scan_init(&scan, segment->file, log->end, segment->map_bytes);
    bool continues = scan_read(&scan, &record) && read_segment_row(log, &record, log->end, &row) &&
                     store_id_of(&row) == log->store_id &&
                     row.previous_head_crc == log->open->last_head_crc;
    scan_deinit(&scan);
    return continues;
}

/* ---------------------------------------------------------------- entries */

static bool not_understood(struct replay *replay, const char *what)
{
    replay->format = what;
    return false;
}

static bool load_row(struct replay *replay, uint64_t number, struct cursor *fields)
{
    struct commit_log *log = replay->log;
    for (uint32_t i = 0; i < log->view_count; i++) {
        struct cursor copy = *fields;
        if (log->views[i]->operations->load(log->views[i], (uint32_t)number, &copy)) {
            return true;
        }
    }
    return number >= EVENTS_OPTIONAL_FROM || not_understood(replay, "a row of a snapshot");
}

static bool apply_row(struct replay *replay, const struct record_view *record, uint64_t number,
                      struct cursor *fields)
{
    uint64_t position = record->fields.position;
    if (number == ROW_BEGIN) {
        uint32_t format;
        if (!event_read_begin(*fields, &format) || format > EVENTS_FORMAT) {
            return not_understood(replay, "the format of a snapshot");
        }
        replay->loading |= position == replay->begin && !replay->is_complete;
        return true;
    }
    if (number == ROW_END) {
        uint64_t begin;
        if (!event_read_end(*fields, &begin)) {
            return not_understood(replay, "the end of a snapshot");
        }
        if (replay->loading && begin == replay->begin) {
            replay->loading = false;
            replay->is_complete = true;
        }
        return true;
    }
    /* Rows of a snapshot that never came to its end say nothing that the state does not have. */
    return !replay->loading || load_row(replay, number, fields);
}

static bool apply_operation(struct replay *replay, const struct record_view *record,
                            uint64_t number, struct cursor *fields)
{
    return (number <= UINT32_MAX &&
            log_apply_operation(replay->log, (uint32_t)number, fields, record->fields.position,
                                replay->loading)) ||
           number >= EVENTS_OPTIONAL_FROM || not_understood(replay, "an operation");
}

static bool apply_entries(struct replay *replay, const struct record_view *record)
{
    struct events_reader reader;
    struct cursor fields;
    uint64_t number;
    enum events_result result;
    if (!events_open(&reader, record_content(record))) {
        return not_understood(replay, "a record");
    }
    while ((result = events_next(&reader, &number, &fields)) == EVENTS_ENTRY) {
        bool is_applied = record->fields.kind == RECORD_SNAPSHOT
                              ? apply_row(replay, record, number, &fields)
                              : apply_operation(replay, record, number, &fields);
        if (!is_applied) {
            return false;
        }
    }
    return result == EVENTS_DONE || not_understood(replay, "an entry");
}

/* ---------------------------------------------------------------- records */

static bool apply_message(struct replay *replay, const struct record_view *record, uint32_t place)
{
    struct commit_log *log = replay->log;
    if (record->fields.topic == 0 || record->fields.offset >= INTEGER_LIMIT ||
        (record->fields.kind == RECORD_MESSAGE &&
         !queue_replay(log, record, place, replay->loading))) {
        return false;
    }
    for (uint32_t i = 0; i < log->view_count; i++) {
        const struct view_operations *operations = log->views[i]->operations;
        if (operations->apply_message != NULL) {
            operations->apply_message(log->views[i], record, replay->loading);
        }
    }
    return true;
}

/* The segment becomes the open one once its first record is seen to be right. */
static bool enter_segment(struct replay *replay, const struct record_view *record, uint32_t number)
{
    struct commit_log *log = replay->log;
    struct segment *segment = log->segments[number];
    struct event_segment row;
    if (!read_segment_row(log, record, segment->base, &row) || store_id_of(&row) != log->store_id) {
        return false;
    }
    if (log->open != NULL && log->open != segment) {
        if (row.previous_head_crc != log->open->last_head_crc) {
            return false;
        }
        queues_leave_segment(log->open);
        index_seal(&log->open->index);
    }
    log->open = segment;
    return true;
}

static void note_record(struct commit_log *log, const struct record_view *record, uint64_t place)
{
    struct segment *open = log->open;
    open->used = (uint32_t)(place + record->fields.size);
    open->records++;
    open->last_head_crc = record->head_crc;
    index_note_time(&open->index, record->fields.stored_at_ms);
    log->end = segment_end(open);
    if (record->fields.stored_at_ms > log->stored_ms) {
        log->stored_ms = record->fields.stored_at_ms;
    }
}

/* False: the record is whole, but none of this log's history, or not understood. */
static bool replay_record(struct replay *replay, uint32_t number, const struct record_view *record,
                          uint64_t place)
{
    enum record_kind kind = record->fields.kind;
    /* An older epoch behind a newer one is what a cut left behind. */
    if (record->fields.epoch < replay->epoch || (place == 0) != (kind == RECORD_SEGMENT) ||
        record->fields.stored_at_ms >= INTEGER_LIMIT) {
        return false;
    }
    bool is_applied;
    switch (kind) {
    case RECORD_SEGMENT:
        is_applied = enter_segment(replay, record, number);
        break;
    case RECORD_EVENTS:
    case RECORD_SNAPSHOT:
        is_applied = apply_entries(replay, record);
        break;
    default:
        is_applied = apply_message(replay, record, (uint32_t)place);
        break;
    }
    if (!is_applied) {
        return false;
    }
    replay->epoch = record->fields.epoch;
    replay->snapshot_bytes += kind == RECORD_SNAPSHOT && replay->loading ? record->fields.size : 0;
    replay->records++;
    replay->bytes += record->fields.size;
    note_record(replay->log, record, place);
    return true;
}

bool replay_segment(struct replay *replay, uint32_t number, uint64_t limit)
{
    struct segment *segment = replay->log->segments[number];
    struct scan scan;
    struct record_view record;
    scan_init(&scan, segment->file, segment->base, limit);
    while (scan_read(&scan, &record) && replay_record(replay, number, &record, scan.place)) {
        scan.place += record.fields.size;
    }
    replay->error = scan.error;
    bool is_whole = scan.place == limit && limit > 0;
    scan_deinit(&scan);
    return is_whole;
}

/* --------------------------------------------------- only what can be read */

static void index_message(struct commit_log *log, const struct record_view *record, uint64_t place,
                          uint64_t hole_bytes)
{
    const struct record_fields *fields = &record->fields;
    struct queue *queue = commit_log_queue_find(log, fields->topic, fields->queue);
    if (fields->kind != RECORD_MESSAGE || queue == NULL || fields->offset < queue->next ||
        fields->offset >= INTEGER_LIMIT ||
        fields->offset - queue->next > hole_bytes / RECORD_BYTES_MIN) {
        return;
    }
    queue->next = fields->offset;
    (void)queue_replay(log, record, (uint32_t)place, false);
}

uint64_t replay_index_rest(struct commit_log *log, uint32_t number, uint64_t place, uint64_t limit,
                           int *error_out)
{
    struct segment *segment = log->segments[number];
    struct scan scan;
    struct record_view record;
    uint64_t first = limit;
    uint64_t hole = log->end;
    if (segment != log->open) {
        queues_leave_segment(log->open);
        index_seal(&log->open->index);
        log->open = segment;
    }
    scan_init(&scan, segment->file, segment->base, limit);
    scan.place = place;
    while (scan_find(&scan) && scan_read(&scan, &record)) {
        first = first < scan.place ? first : scan.place;
        index_message(log, &record, scan.place, record.fields.position - hole);
        note_record(log, &record, scan.place);
        scan.place += record.fields.size;
    }
    *error_out = scan.error;
    scan_deinit(&scan);
    return first;
}

/* Queues push through the open segment; this one is none, so parts are found by their key. */
static struct index_part *rebuild_part(struct index *index, struct number_map *parts,
                                       const struct record_fields *fields)
{
    uint64_t key = (uint64_t)fields->topic << 16 | fields->queue;
    struct index_part *part = number_map_find(parts, key);
    if (part == NULL) {
        part = index_part_add(index, fields->topic, fields->queue, fields->offset);
        ASSERT(number_map_put(parts, key, part));
    }
    return part;
}

bool replay_rebuild_index(struct commit_log *log, struct segment *segment, int *error_out)
{
    struct scan scan;
    struct record_view record;
    uint32_t limit = segment->used;
    struct number_map parts;
    number_map_init(&parts, log->queues.seed);
    scan_init(&scan, segment->file, segment->base, limit);
    while (scan_read(&scan, &record)) {
        if (record.fields.kind == RECORD_MESSAGE) {
            struct index_part *part = rebuild_part(&segment->index, &parts, &record.fields);
            if (part->first + part->count != record.fields.offset) {
                break;
            }
            index_part_push(part, queue_entry_of(&record, (uint32_t)scan.place));
        }
        index_note_time(&segment->index, record.fields.stored_at_ms);
        segment->records++;
        segment->last_head_crc = record.head_crc;
        scan.place += record.fields.size;
    }
    segment->used = (uint32_t)scan.place;
    *error_out = scan.error;
    bool is_whole = scan.place == limit;
    scan_deinit(&scan);
    number_map_deinit(&parts);
    index_seal(&segment->index);
    return is_whole;
}
