/* SPDX-License-Identifier: Apache-2.0 */
/* records.c - `inspect DIR records`: a line, or an object, a record. */
#include "proto/events.h"
#include "storage/scan.h"
#include "storage/segment_file.h"
#include "tools/cli/command.h"
#include "tools/cli/json.h"
#include "tools/cli/text.h"
#include "tools/inspect/inspect.h"
#include "tools/inspect/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *kind_name(enum record_kind kind)
{
    static const char *const NAMES[] = {"?",      "message",  "delayed", "prepared",
                                        "events", "snapshot", "segment"};
    return kind < sizeof(NAMES) / sizeof(NAMES[0]) ? NAMES[kind] : "?";
}

static bool is_of_system(enum record_kind kind)
{
    return kind == RECORD_EVENTS || kind == RECORD_SNAPSHOT || kind == RECORD_SEGMENT;
}

/* The names of the entries of an events, snapshot or segment record, separated by blanks. */
static void entry_names(const struct record_view *record, char *text, size_t text_bytes)
{
    struct events_reader reader;
    struct cursor fields;
    uint64_t number;
    size_t used = 0;
    text[0] = '\0';
    if (!events_open(&reader, record_content(record))) {
        return;
    }
    while (events_next(&reader, &number, &fields) == EVENTS_ENTRY && used + 32 < text_bytes) {
        used += (size_t)snprintf(text + used, text_bytes - used, "%s%s", used > 0 ? " " : "",
                                 event_name(number));
    }
}

static void print_line(uint32_t shard, const struct record_view *record)
{
    const struct record_fields *fields = &record->fields;
    char entries[160];
    if (is_of_system(fields->kind)) {
        entry_names(record, entries, sizeof(entries));
        (void)printf("%u %12" PRIu64 " %-8s epoch %u, %s, %u bytes: %s\n", shard, fields->position,
                     kind_name(fields->kind), fields->epoch, text_of_time(fields->stored_at_ms),
                     fields->size, entries);
        return;
    }
    (void)printf("%u %12" PRIu64 " %-8s epoch %u, %s, %u bytes: topic %u queue %u offset %" PRIu64
                 "\n",
                 shard, fields->position, kind_name(fields->kind), fields->epoch,
                 text_of_time(fields->stored_at_ms), fields->size, fields->topic, fields->queue,
                 fields->offset);
}

static void print_json(uint32_t shard, const struct record_view *record)
{
    const struct record_fields *fields = &record->fields;
    struct json_object object = json_open(stdout);
    json_pair_number(&object, "shard", shard);
    json_pair_number(&object, "position", fields->position);
    json_pair_text(&object, "kind", kind_name(fields->kind));
    json_pair_number(&object, "size", fields->size);
    json_pair_number(&object, "epoch", fields->epoch);
    json_pair_number(&object, "stored_at", fields->stored_at_ms);
    struct cursor cursor;
    if (is_of_system(fields->kind)) {
        json_key(&object, "entries");
        cursor = cursor_over(record_content(record));
    } else {
        json_pair_number(&object, "born_at", fields->born_at_ms);
        json_pair_number(&object, "topic", fields->topic);
        json_pair_number(&object, "queue", fields->queue);
        json_pair_number(&object, "offset", fields->offset);
        json_key(&object, "message");
        cursor = cursor_over(record->message);
    }
    (void)json_put_value(stdout, &cursor);
    json_close(&object);
}

/* Prints the records of one segment from `from` on. Gives how many. */
static uint64_t print_segment(struct invocation *invocation, const struct store_shard *shard,
                              struct scan *scan, uint64_t most)
{
    uint64_t from = invocation_option(invocation, INSPECT_FROM)->number;
    uint64_t printed = 0;
    struct record_view record;
    while (printed < most && !interrupted && ferror(stdout) == 0) {
        if (!scan_read(scan, &record)) {
            uint64_t bad = scan->base + scan->place;
            if (scan->error != 0 || scan_dirty_end(scan, scan->place) == scan->place) {
                break;
            }
            bool goes_on = scan_find(scan);
            invocation_say(invocation,
                           "shard %u: no whole record from position %" PRIu64 " to %" PRIu64,
                           shard->number, bad, scan->base + scan->place);
            if (!goes_on) {
                break;
            }
            continue;
        }
        scan->place += record.fields.size;
        if (record.fields.position < from) {
            continue;
        }
        if (invocation->json) {
            print_json(shard->number, &record);
        } else {
            print_line(shard->number, &record);
        }
        printed++;
    }
    return printed;
}

static int print_shard(struct invocation *invocation, const struct store *store,
                       const struct store_shard *shard)
{
    const struct setting_value *count = invocation_option(invocation, INSPECT_COUNT);
    uint64_t from = invocation_option(invocation, INSPECT_FROM)->number;
    uint64_t left = count->given ? count->number : UINT64_MAX;
    int status = EXIT_DONE;
    for (size_t i = 0; i < shard->segment_count && left > 0 && !interrupted; i++) {
        if (i + 1 < shard->segment_count && shard->bases[i + 1] <= from) {
            continue;
        }
        char path[SEGMENT_PATH_BYTES];
        struct disk_file *file;
        segment_path(path, shard->directory, shard->bases[i], SEGMENT_LOG);
        int error = disk_file_open(store->disk, path, DISK_READ, &file);
        if (error != 0) {
            status = invocation_fail(invocation, EXIT_FAILED, "%s: %s", path, strerror(-error));
            continue;
        }
        struct scan scan;
        int64_t limit = store_segment_limit(shard, i, file);
        scan_init(&scan, file, shard->bases[i], limit < 0 ? 0 : (uint64_t)limit);
        left -= print_segment(invocation, shard, &scan, left);
        if (scan.error != 0) {
            status = invocation_fail(invocation, EXIT_FAILED, "%s: reading at %" PRIu64 ": %s",
                                     path, scan.place, strerror(-scan.error));
        }
        scan_deinit(&scan);
        disk_file_close(file);
    }
    return status;
}

int inspect_records(struct invocation *invocation, const struct store *store)
{
    const struct setting_value *shard = invocation_option(invocation, INSPECT_SHARD);
    int status = EXIT_DONE;
    bool found = false;
    for (size_t i = 0; i < store->shard_count; i++) {
        if (!shard->given || shard->number == store->shards[i].number) {
            found = true;
            int one = print_shard(invocation, store, &store->shards[i]);
            status = one == EXIT_DONE ? status : one;
        }
    }
    return found ? status
                 : invocation_fail(invocation, EXIT_FAILED, "there is no shard %s", shard->text);
}
