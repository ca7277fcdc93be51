/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify.c - `inspect DIR verify`: everything that must hold of a store's bytes.
 *
 * Of each segment, record by record: both checksums, the position, offsets that follow one another in
 * each queue, epochs and times that never go back; the chain (each segment begins where the one
 * before ended, names its store and the last checksum before it); and the index file against one
 * made anew. Damage is counted and told with the range, and the walk goes on behind it.
 */
#include "proto/base/map.h"
#include "proto/events.h"
#include "storage/consume_queue.h"
#include "storage/index.h"
#include "storage/scan.h"
#include "storage/segment_file.h"
#include "tools/cli/command.h"
#include "tools/cli/json.h"
#include "tools/cli/text.h"
#include "tools/inspect/inspect.h"
#include "tools/inspect/store.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where one queue stands in the walk. */
struct queue_walk {
    uint64_t next;
    uint64_t damage;         /* how many damaged ranges the walk had passed at its last message */
    struct index_part *part; /* in the index of the segment being walked; NULL: none yet */
};

/* The walk through one shard. */
struct shard_walk {
    struct invocation *invocation;
    const struct store *store;
    const struct store_shard *shard;
    struct number_map queues; /* topic << 16 | queue -> struct queue_walk */
    uint64_t records;
    uint64_t messages;
    uint64_t bytes;
    uint64_t indexes;
    uint64_t faults;
    uint64_t tail_bytes; /* of the last segment, behind its last whole record */
    uint64_t durable;    /* the highest mark */
    uint32_t epoch;
    uint64_t stored_ms;
    uint32_t last_crc;
    uint64_t end;      /* of the last whole record */
    uint64_t damage;   /* ranges that are not whole */
    bool after_damage; /* the last thing passed was one */
    bool has_store_id;
    uint8_t store_id[EVENT_ID_BYTES];
};

static void fault(struct shard_walk *walk, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fault(struct shard_walk *walk, const char *format, ...)
{
    char text[300];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    walk->faults++;
    invocation_say(walk->invocation, "shard %u: %s", walk->shard->number, text);
}

/* ---------------------------------------------------------------- records */

static struct queue_walk *queue_of(struct shard_walk *walk, const struct record_fields *fields)
{
    uint64_t key = (uint64_t)fields->topic << 16 | fields->queue;
    struct queue_walk *queue = number_map_find(&walk->queues, key);
    if (queue == NULL) {
        queue = calloc(1, sizeof(*queue));
        ASSERT(queue != NULL);
        queue->next = fields->offset;
        queue->damage = walk->damage;
        bool put = number_map_put(&walk->queues, key, queue);
        ASSERT(put);
    }
    return queue;
}

static void walk_message(struct shard_walk *walk, const struct record_view *record, uint32_t place,
                         struct index *index)
{
    const struct record_fields *fields = &record->fields;
    struct queue_walk *queue = queue_of(walk, fields);
    walk->messages++;
    if (fields->offset != queue->next && queue->damage == walk->damage) {
        fault(walk,
              "position %" PRIu64 ": topic %u queue %u has offset %" PRIu64 " where %" PRIu64
              " comes next",
              fields->position, fields->topic, fields->queue, fields->offset, queue->next);
    }
    if (queue->part == NULL) {
        queue->part = index_part_add(index, fields->topic, fields->queue, fields->offset);
    }
    index_part_push(queue->part, queue_entry_of(record, place));
    queue->next = fields->offset + 1;
    queue->damage = walk->damage;
}

static void walk_events(struct shard_walk *walk, const struct record_view *record)
{
    struct events_reader reader;
    struct cursor fields;
    uint64_t number;
    uint64_t position;
    enum events_result result = EVENTS_BAD;
    if (events_open(&reader, record_content(record))) {
        while ((result = events_next(&reader, &number, &fields)) == EVENTS_ENTRY) {
            if (number == EVENT_DURABLE && event_read_durable(fields, &position) &&
                position > walk->durable) {
                walk->durable = position;
            }
        }
    }
    if (result != EVENTS_DONE) {
        fault(walk, "position %" PRIu64 ": its entries cannot be read", record->fields.position);
    }
}

/* The first record of a segment says where it belongs. */
static void walk_segment_record(struct shard_walk *walk, const struct record_view *record,
                                uint64_t base)
{
    struct events_reader reader;
    struct cursor fields;
    uint64_t number;
    struct event_segment segment;
    if (record->fields.kind != RECORD_SEGMENT || !events_open(&reader, record_content(record)) ||
        events_next(&reader, &number, &fields) != EVENTS_ENTRY || number != ROW_SEGMENT ||
        !event_read_segment(fields, &segment)) {
        fault(walk, "segment %" PRIu64 " does not begin with its segment record", base);
        return;
    }
    if (segment.base != base || segment.shard != walk->shard->number) {
        fault(walk, "segment %" PRIu64 " says that it is segment %" PRIu64 " of shard %u", base,
              segment.base, segment.shard);
    }
    if (walk->has_store_id && memcmp(walk->store_id, segment.store_id, EVENT_ID_BYTES) != 0) {
        fault(walk, "segment %" PRIu64 " belongs to another store", base);
    }
    memcpy(walk->store_id, segment.store_id, EVENT_ID_BYTES);
    walk->has_store_id = true;
    bool is_first = base == walk->shard->bases[0];
    if (!is_first && !walk->after_damage && segment.previous_head_crc != walk->last_crc) {
        fault(walk, "segment %" PRIu64 " does not follow the one before: its last checksum differs",
              base);
    }
}

static void walk_record(struct shard_walk *walk, const struct record_view *record, uint32_t place,
                        struct index *index)
{
    const struct record_fields *fields = &record->fields;
    if (place == 0) {
        walk_segment_record(walk, record, fields->position);
    }
    if (fields->epoch < walk->epoch) {
        fault(walk, "position %" PRIu64 ": epoch %u after %u", fields->position, fields->epoch,
              walk->epoch);
    }
    if (fields->stored_at_ms < walk->stored_ms) {
        fault(walk, "position %" PRIu64 ": stored at %s, after one of %s", fields->position,
              text_of_time(fields->stored_at_ms), text_of_time(walk->stored_ms));
    }
    walk->epoch = fields->epoch;
    walk->stored_ms = fields->stored_at_ms;
    if (fields->kind == RECORD_MESSAGE) {
        walk_message(walk, record, place, index);
    } else if (fields->kind == RECORD_EVENTS || fields->kind == RECORD_SNAPSHOT) {
        walk_events(walk, record);
    }
    walk->records++;
    walk->bytes += fields->size;
    walk->last_crc = record->head_crc;
    walk->end = fields->position + fields->size;
}

/* --------------------------------------------------------------- segments */

/* Whether the index file says the same as one made from the records. */
static void compare_index(struct shard_walk *walk, struct index *made, uint64_t base, uint32_t used)
{
    char path[SEGMENT_PATH_BYTES];
    struct index kept;
    segment_path(path, walk->shard->directory, base, SEGMENT_INDEX);
    index_init(&kept);
    index_seal(made);
    if (!index_load(&kept, walk->store->disk, path, base, used, true)) {
        struct disk_file *file;
        if (disk_file_open(walk->store->disk, path, DISK_READ, &file) == 0) {
            disk_file_close(file);
            fault(walk, "%s is damaged; the broker makes it anew when it starts", path);
        } else {
            invocation_say(walk->invocation,
                           "shard %u: %s is not there; the broker makes it anew when it starts",
                           walk->shard->number, path);
        }
        index_deinit(&kept);
        return;
    }
    walk->indexes++;
    bool same = index_span_count(&kept) == index_span_count(made);
    for (uint32_t i = 0; same && i < index_span_count(made); i++) {
        struct index_span a = index_span_at(&kept, i);
        struct index_span b = index_span_at(made, i);
        same = a.topic == b.topic && a.queue == b.queue && a.first == b.first &&
               a.count == b.count &&
               (a.count == 0 || memcmp(a.entries, b.entries, a.count * sizeof(*a.entries)) == 0);
    }
    if (!same) {
        fault(walk, "%s is not the index of its segment", path);
    }
    index_deinit(&kept);
}

/* Walks the records of a segment; what cannot be read is reported and passed. False: reading failed. */
static bool walk_segment(struct shard_walk *walk, struct scan *scan, bool is_last,
                         struct index *index)
{
    struct record_view record;
    while (scan->error == 0 && scan->place < scan->limit && !interrupted) {
        if (scan_read(scan, &record)) {
            walk_record(walk, &record, (uint32_t)scan->place, index);
            walk->after_damage = false;
            scan->place += record.fields.size;
            continue;
        }
        uint64_t bad = scan->base + scan->place;
        uint64_t dirty_end = scan->base + scan_dirty_end(scan, scan->place);
        if (is_last && dirty_end == bad) {
            break; /* Room that was made ready and not written yet. */
        }
        bool goes_on = scan_find(scan);
        if (is_last && !goes_on && bad >= walk->durable) {
            walk->tail_bytes = dirty_end - bad;
            break;
        }
        walk->after_damage = true;
        walk->damage++;
        fault(walk, "no whole record from position %" PRIu64 " to %" PRIu64, bad,
              scan->base + scan->place);
    }
    return scan->error == 0;
}

static void forget_parts(struct shard_walk *walk)
{
    uint32_t slot = 0;
    struct queue_walk *queue;
    while ((queue = number_map_next(&walk->queues, &slot)) != NULL) {
        queue->part = NULL;
    }
}

static void verify_segment(struct shard_walk *walk, size_t number)
{
    const struct store_shard *shard = walk->shard;
    uint64_t base = shard->bases[number];
    bool is_last = number + 1 == shard->segment_count;
    char path[SEGMENT_PATH_BYTES];
    struct disk_file *file;
    segment_path(path, shard->directory, base, SEGMENT_LOG);
    int error = disk_file_open(walk->store->disk, path, DISK_READ, &file);
    if (error != 0) {
        fault(walk, "%s: %s", path, strerror(-error));
        return;
    }
    if (number > 0 && walk->end != base) {
        fault(walk, "segment %" PRIu64 " begins where the one before does not end, at %" PRIu64,
              base, walk->end);
    }
    struct scan scan;
    struct index index;
    int64_t limit = store_segment_limit(shard, number, file);
    uint64_t faults = walk->faults;
    index_init(&index);
    scan_init(&scan, file, base, limit < 0 ? 0 : (uint64_t)limit);
    if (!walk_segment(walk, &scan, is_last, &index)) {
        fault(walk, "%s: reading at %" PRIu64 ": %s", path, scan.place, strerror(-scan.error));
    } else if (!is_last && walk->faults == faults && !interrupted) {
        compare_index(walk, &index, base, (uint32_t)(walk->end - base));
    }
    forget_parts(walk);
    index_deinit(&index);
    scan_deinit(&scan);
    disk_file_close(file);
}

/* ----------------------------------------------------------------- shards */

static void report_json(const struct shard_walk *walk)
{
    struct json_object object = json_open(stdout);
    json_pair_number(&object, "shard", walk->shard->number);
    json_pair_number(&object, "segments", walk->shard->segment_count);
    json_pair_number(&object, "indexes", walk->indexes);
    json_pair_number(&object, "records", walk->records);
    json_pair_number(&object, "messages", walk->messages);
    json_pair_number(&object, "queues", walk->queues.count);
    json_pair_number(&object, "bytes", walk->bytes);
    json_pair_number(&object, "epoch", walk->epoch);
    json_pair_number(&object, "durable", walk->durable);
    json_pair_number(&object, "end", walk->end);
    json_pair_number(&object, "tail_bytes", walk->tail_bytes);
    json_pair_number(&object, "faults", walk->faults);
    json_close(&object);
}

static void report_text(const struct shard_walk *walk)
{
    (void)printf("shard %u: %s, %s, %s in %s, %s; epoch %u, end %" PRIu64, walk->shard->number,
                 walk->faults == 0 ? "whole" : text_of_count(walk->faults, "fault"),
                 text_of_count(walk->shard->segment_count, "segment"),
                 text_of_count(walk->messages, "message"),
                 text_of_count(walk->queues.count, "queue"), text_of_bytes(walk->bytes),
                 walk->epoch, walk->end);
    if (walk->tail_bytes > 0) {
        (void)printf(
            "; %s behind it are not a whole record: an unsynced tail, which the next start "
            "cuts",
            text_of_count(walk->tail_bytes, "byte"));
    }
    (void)putchar('\n');
}

static uint64_t verify_shard(struct invocation *invocation, const struct store *store,
                             const struct store_shard *shard)
{
    struct shard_walk walk = {.invocation = invocation, .store = store, .shard = shard};
    number_map_init(&walk.queues, (struct map_seed){shard->number, 1});
    if (shard->segment_count == 0) {
        fault(&walk, "there is no segment");
    }
    for (size_t i = 0; i < shard->segment_count && !interrupted; i++) {
        verify_segment(&walk, i);
        if (invocation_shows_progress()) {
            invocation_progress(invocation, "shard %u: %zu of %zu segments", shard->number, i + 1,
                                shard->segment_count);
        }
    }
    if (invocation->json) {
        report_json(&walk);
    } else {
        report_text(&walk);
    }
    uint32_t slot = 0;
    struct queue_walk *queue;
    while ((queue = number_map_next(&walk.queues, &slot)) != NULL) {
        free(queue);
    }
    number_map_deinit(&walk.queues);
    return walk.faults;
}

int inspect_verify(struct invocation *invocation, const struct store *store)
{
    const struct setting_value *only = invocation_option(invocation, INSPECT_SHARD);
    uint64_t faults = 0;
    bool found = false;
    for (size_t i = 0; i < store->shard_count && !interrupted; i++) {
        if (!only->given || only->number == store->shards[i].number) {
            found = true;
            faults += verify_shard(invocation, store, &store->shards[i]);
        }
    }
    if (!found && !interrupted) {
        return invocation_fail(invocation, EXIT_FAILED, "there is no shard %s", only->text);
    }
    if (interrupted) {
        return invocation_fail(invocation, EXIT_FAILED,
                               "interrupted: not everything was looked at");
    }
    return faults == 0 ? EXIT_DONE
                       : invocation_fail(invocation, EXIT_FAILED, "%s found",
                                         text_of_count(faults, "fault"));
}
