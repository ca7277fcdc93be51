/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_recover.c - what a start finds in a log's directory, and what it makes of it.
 *
 *     1. segments are opened, oldest to newest, by their names
 *     2. the newest segment that begins with a snapshot which comes to its end is replayed, and
 *        what follows it; each is synced and dropped from the cache first, so that what is read is
 *        what the disk holds, also after a sync that failed on this boot
 *     3. next.log goes on where the last segment ends, if it says so itself
 *     4. the replay stops at the first record that is not whole. If anything says that the log was
 *        durable beyond it - a mark before or behind it, a later segment, whose name was given
 *        after its predecessor was synced - that is corruption, and the log becomes read-only.
 *        Else it is the tail that a power cut tore: cut, zeroed ahead and synced
 *     5. segments before the snapshot are not read, but for an index that is lost
 *
 * A crash at any of these steps leaves what the next start recovers in the same way.
 */

#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "storage/log_replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_LEAST = 16 };

struct recovery {
    struct commit_log *log;
    struct recovery_report *report;
    char *error;
    size_t error_bytes;
    uint64_t *bases;
    uint32_t base_count;
    uint32_t base_capacity;
    bool has_next;
    uint32_t replayed_from;
    struct replay replay;
};

static bool fail(struct recovery *recovery, const char *what, const char *why)
{
    (void)snprintf(recovery->error, recovery->error_bytes, "shard %u: %s: %s",
                   recovery->log->options.shard, what, why);
    return false;
}

static bool fail_errno(struct recovery *recovery, const char *what, int result)
{
    return fail(recovery, what, strerror(-result));
}

/* --------------------------------------------------------------- listing */

static bool note_name(void *context, const char *name)
{
    struct recovery *recovery = context;
    uint64_t base;
    if (strcmp(name, "next.log") == 0) {
        recovery->has_next = true;
    } else if (strlen(name) < LOG_PATH_BYTES / 2 && segment_name_read(name, "log", &base) &&
               base < INTEGER_LIMIT) {
        if (recovery->base_count == recovery->base_capacity) {
            recovery->base_capacity =
                recovery->base_count == 0 ? NAMES_LEAST : recovery->base_count * 2;
            recovery->bases =
                realloc(recovery->bases, recovery->base_capacity * sizeof(*recovery->bases));
            ASSERT(recovery->bases != NULL);
        }
        recovery->bases[recovery->base_count++] = base;
    }
    return true;
}

static int compare_bases(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static bool list_segments(struct recovery *recovery)
{
    struct commit_log *log = recovery->log;
    int result = disk_make_directory(log->disk, log->directory);
    if (result == 0) {
        result = disk_list(log->disk, log->directory, note_name, recovery);
    }
    if (result < 0) {
        return fail_errno(recovery, "its directory cannot be read", result);
    }
    if (recovery->base_count > 1) {
        qsort(recovery->bases, recovery->base_count, sizeof(*recovery->bases), compare_bases);
    }
    return true;
}

static struct segment *open_segment(struct recovery *recovery, const char *path, uint64_t base)
{
    struct commit_log *log = recovery->log;
    struct disk_file *file;
    int result = disk_file_open(log->disk, path, DISK_WRITE, &file);
    if (result < 0) {
        (void)fail_errno(recovery, path, result);
        return NULL;
    }
    struct segment_owner owner = log_segment_owner(log);
    struct segment *segment = segment_create(&owner, file, base);
    if (segment == NULL) {
        disk_file_close(file);
        (void)fail(recovery, path, "it is empty, or cannot be mapped");
        return NULL;
    }
    if (segment->map_bytes > 2 * (uint64_t)SEGMENT_BYTES_MOST) {
        segment_destroy(segment);
        (void)fail(recovery, path, "it is larger than a segment can be");
        return NULL;
    }
    log->segments_alive++;
    return segment;
}

/* A power cut may keep the last segment's name and nothing of its bytes. */
static bool is_empty_file(struct commit_log *log, const char *path)
{
    struct disk_file *file;
    if (disk_file_open(log->disk, path, DISK_READ, &file) < 0) {
        return false;
    }
    int64_t bytes = disk_file_size(file);
    disk_file_close(file);
    return bytes == 0;
}

static int remove_file(struct commit_log *log, const char *path)
{
    int result = disk_remove(log->disk, path);
    return result == 0 ? disk_sync_directory(log->disk, log->directory) : result;
}

static bool open_segments(struct recovery *recovery)
{
    struct commit_log *log = recovery->log;
    char path[SEGMENT_PATH_BYTES];
    for (uint32_t i = 0; i < recovery->base_count; i++) {
        segment_path(path, log->directory, recovery->bases[i], SEGMENT_LOG);
        if (i > 0 && i + 1 == recovery->base_count && is_empty_file(log, path)) {
            int result = remove_file(log, path);
            return result == 0 || fail_errno(recovery, path, result);
        }
        struct segment *segment = open_segment(recovery, path, recovery->bases[i]);
        if (segment == NULL) {
            return false;
        }
        segment->named = true;
        log_segment_add(log, segment);
    }
    log->open = NULL;
    return true;
}

uint64_t log_segment_limit(const struct commit_log *log, uint32_t number)
{
    const struct segment *segment = log->segments[number];
    if (number + 1 < log->segment_count) {
        uint64_t distance = log->segments[number + 1]->base - segment->base;
        return distance < segment->map_bytes ? distance : segment->map_bytes;
    }
    return segment->map_bytes;
}

static bool is_followed(const struct commit_log *log, uint32_t number)
{
    return number + 1 < log->segment_count;
}

/* ---------------------------------------------------------------- replay */

static bool settle_segment(struct recovery *recovery, uint32_t number)
{
    struct segment *segment = recovery->log->segments[number];
    if (segment->settled) {
        return true;
    }
    int result = disk_file_sync(segment->file);
    if (result < 0) {
        return fail_errno(recovery, "a segment cannot be synced", result);
    }
    disk_file_drop_cache(segment->file);
    segment->settled = true;
    return true;
}

/* Whether next.log is the continuation; then it is the last segment from here on. */
static bool take_next(struct recovery *recovery, bool *taken_out)
{
    struct commit_log *log = recovery->log;
    char from[LOG_PATH_BYTES];
    char to[SEGMENT_PATH_BYTES];
    log_file_path(log, from, "next.log");
    *taken_out = false;
    if (!recovery->has_next || is_empty_file(log, from)) {
        return true;
    }
    struct segment *segment = open_segment(recovery, from, log->end);
    if (segment == NULL) {
        return false;
    }
    if (!replay_continues(log, segment)) {
        segment_destroy(segment);
        log->segments_alive--;
        return true;
    }
    segment_path(to, log->directory, log->end, SEGMENT_LOG);
    int result = disk_file_sync(segment->file);
    if (result == 0) {
        result = disk_rename(log->disk, from, to);
    }
    if (result == 0) {
        result = disk_sync_directory(log->disk, log->directory);
    }
    if (result < 0) {
        segment_destroy(segment);
        log->segments_alive--;
        return fail_errno(recovery, "next.log cannot be taken as a segment", result);
    }
    recovery->has_next = false;
    struct segment *open = log->open;
    segment->named = true;
    log_segment_add(log, segment);
    log->open = open; /* Until its first record is read. */
    *taken_out = true;
    return true;
}

/* False: `error` says why nothing can be opened. */
static bool replay_from(struct recovery *recovery, uint32_t number)
{
    struct commit_log *log = recovery->log;
    struct replay *replay = &recovery->replay;
    bool goes_on = true;
    while (goes_on) {
        uint64_t limit = log_segment_limit(log, number);
        if (!settle_segment(recovery, number)) {
            return false;
        }
        bool is_whole = replay_segment(replay, number, limit);
        if (replay->error != 0) {
            return fail_errno(recovery, "a segment cannot be read", replay->error);
        }
        if (replay->format != NULL) {
            (void)snprintf(recovery->error, recovery->error_bytes,
                           "shard %u: %s at position %" PRIu64
                           " is not understood: it was written by a newer version",
                           log->options.shard, replay->format, log->end);
            return false;
        }
        goes_on = is_whole && is_followed(log, number) &&
                  segment_end(log->segments[number]) == log->segments[number + 1]->base;
        if (!goes_on && !is_followed(log, number) && log->open == log->segments[number] &&
            !take_next(recovery, &goes_on)) {
            return false;
        }
        number++;
    }
    return true;
}

static void reset(struct recovery *recovery, uint32_t from)
{
    struct commit_log *log = recovery->log;
    for (uint32_t i = 0; i < log->view_count; i++) {
        log->views[i]->operations->reset(log->views[i]);
    }
    for (uint32_t i = from; i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        queues_leave_segment(segment);
        index_deinit(&segment->index);
        segment->used = 0;
        segment->records = 0;
    }
    log->open = NULL;
    log->stored_ms = 0;
}

/* Newest first: the snapshot that comes to its end. */
static bool replay_newest(struct recovery *recovery)
{
    struct commit_log *log = recovery->log;
    for (uint32_t i = log->segment_count; i > 0; i--) {
        struct replay *replay = &recovery->replay;
        *replay = (struct replay){.log = log};
        if (!settle_segment(recovery, i - 1)) {
            return false;
        }
        if (!replay_find_begin(log, log->segments[i - 1], &replay->begin, &log->store_id)) {
            continue;
        }
        log->end = log->segments[i - 1]->base;
        if (!replay_from(recovery, i - 1)) {
            return false;
        }
        recovery->replayed_from = i - 1;
        if (replay->is_complete) {
            return true;
        }
        reset(recovery, i - 1);
    }
    return fail(recovery, "no snapshot in it is whole",
                "its log is lost: restore the store from a copy");
}

/* ------------------------------------------------------------ where it ends */

/* What stands behind the place where the replay stopped. */
struct ahead {
    uint64_t durable;   /* the highest mark */
    uint64_t dirty_end; /* one behind the last byte that is not zero */
    uint64_t records;   /* whole, and not of an older epoch */
};

static uint64_t mark_of(const struct record_view *record)
{
    struct events_reader reader;
    struct cursor fields;
    uint64_t number;
    uint64_t position;
    uint64_t highest = 0;
    if (record->fields.kind != RECORD_EVENTS || !events_open(&reader, record_content(record))) {
        return 0;
    }
    while (events_next(&reader, &number, &fields) == EVENTS_ENTRY) {
        if (number == EVENT_DURABLE && event_read_durable(fields, &position) &&
            position > highest) {
            highest = position;
        }
    }
    return highest;
}

/* Of one segment, from a place on that can be a record's first byte. */
static bool look_ahead_in(struct recovery *recovery, const struct segment *segment, uint64_t place,
                          struct ahead *ahead)
{
    struct scan scan;
    struct record_view record;
    *ahead = (struct ahead){0};
    scan_init(&scan, segment->file, segment->base, segment->map_bytes);
    ahead->dirty_end = scan_dirty_end(&scan, place);
    scan.place = place;
    while (ahead->dirty_end > place && scan_find(&scan) && scan_read(&scan, &record)) {
        uint64_t mark = mark_of(&record);
        ahead->durable = mark > ahead->durable ? mark : ahead->durable;
        ahead->records += record.fields.epoch >= recovery->replay.epoch;
        scan.place += record.fields.size;
    }
    int error = scan.error;
    scan_deinit(&scan);
    return error == 0 || fail_errno(recovery, "the end of the log cannot be read", error);
}

uint32_t log_segment_number(const struct commit_log *log, const struct segment *segment)
{
    uint32_t number = 0;
    while (log->segments[number] != segment) {
        number++;
    }
    return number;
}

/* Below the durable mark: serve what is whole, refuse the rest by name. */
static bool keep_corrupt(struct recovery *recovery, uint64_t durable)
{
    struct commit_log *log = recovery->log;
    uint64_t from = log->end;
    uint64_t to = 0;
    uint32_t number = log_segment_number(log, log->open);
    uint64_t place = log->open->used;
    for (; number < log->segment_count; number++, place = 0) {
        uint64_t limit = log_segment_limit(log, number);
        int error;
        uint64_t first = replay_index_rest(log, number, place, limit, &error);
        if (error != 0) {
            return fail_errno(recovery, "a segment cannot be read", error);
        }
        if (to == 0 && first < limit) {
            to = log->segments[number]->base + first;
        }
    }
    log->read_only = true;
    log->refusal = ERROR_READ_ONLY;
    log->corrupt_from = from;
    log->corrupt_to = to != 0 ? to : durable > from ? durable : log->end;
    return true;
}

/* The last segment has its name and not even its own record, and nothing in it was ever durable: the
 * log ends in the one before. */
static bool drop_last(struct recovery *recovery)
{
    struct commit_log *log = recovery->log;
    char path[SEGMENT_PATH_BYTES];
    struct segment *last = log->segments[--log->segment_count];
    segment_path(path, log->directory, last->base, SEGMENT_LOG);
    segment_destroy(last);
    log->segments_alive--;
    int result = remove_file(log, path);
    return result == 0 || fail_errno(recovery, path, result);
}

static bool cut_tail(struct recovery *recovery, const struct ahead *ahead)
{
    struct commit_log *log = recovery->log;
    struct segment *open = log->open;
    char path[SEGMENT_PATH_BYTES];
    recovery->report->cut_bytes += ahead->dirty_end - open->used;
    /* Also where it seems clean: only so much was looked at. */
    int result = disk_file_zero(open->file, open->used, open->map_bytes - open->used);
    if (result == 0) {
        result = disk_file_sync(open->file);
    }
    if (result == 0) {
        /* Of a time when this segment was sealed; it might grow to the same size. */
        segment_path(path, log->directory, open->base, SEGMENT_INDEX);
        result = disk_remove(log->disk, path);
    }
    if (result == 0) {
        log_file_path(log, path, "next.log");
        result = disk_remove(log->disk, path);
    }
    if (result == 0) {
        result = disk_sync_directory(log->disk, log->directory);
    }
    return result == 0 || fail_errno(recovery, "the end of the log cannot be cut", result);
}

static bool settle_end(struct recovery *recovery)
{
    struct commit_log *log = recovery->log;
    const struct segment *last = log->segments[log->segment_count - 1];
    struct ahead ahead;
    struct ahead in_last = {0};
    uint64_t durable = log->epochs.durable;
    if (last->base > log->end && last->base > durable) {
        durable = last->base;
    }
    if (!look_ahead_in(recovery, log->open, log->open->used, &ahead) ||
        (last != log->open && !look_ahead_in(recovery, last, 0, &in_last))) {
        return false;
    }
    durable = ahead.durable > durable ? ahead.durable : durable;
    durable = in_last.durable > durable ? in_last.durable : durable;
    recovery->report->durable = durable;
    if (durable > log->end) {
        return keep_corrupt(recovery, durable);
    }
    if (last != log->open && !drop_last(recovery)) {
        return false;
    }
    recovery->report->cut_bytes = in_last.dirty_end;
    recovery->report->cut_records = ahead.records + in_last.records;
    return cut_tail(recovery, &ahead);
}

/* ---------------------------------------------------------------- result */

static void fill_report(struct recovery *recovery)
{
    const struct commit_log *log = recovery->log;
    const struct replay *replay = &recovery->replay;
    struct recovery_report *report = recovery->report;
    report->store_id = log->store_id;
    report->epoch = log->epoch;
    report->snapshot_position = replay->begin;
    report->end = log->end;
    report->records = replay->records;
    report->bytes = replay->bytes;
    report->corrupt = log->read_only;
    report->corrupt_from = log->corrupt_from;
    report->corrupt_to = log->corrupt_to;
}

static void settle_state(struct recovery *recovery)
{
    struct commit_log *log = recovery->log;
    const struct replay *replay = &recovery->replay;
    log->written = log->end;
    log->synced = log->end;
    log->durable = log->end;
    log->durable_marked = log->epochs.durable;
    log->marked_end = log->end;
    log->stage.place = log->open->used;
    log->epoch = replay->epoch;
    if (log->epochs.count > 0 && log->epochs.list[log->epochs.count - 1].epoch > log->epoch) {
        log->epoch = log->epochs.list[log->epochs.count - 1].epoch;
    }
    log->snapshot.begin = replay->begin;
    log->snapshot.base = log->segments[recovery->replayed_from]->base;
    log->snapshot.durable_begin = replay->begin;
    log->snapshot.last_bytes = replay->snapshot_bytes;
    queues_settle(log);
}

bool log_recover(struct commit_log *log, struct recovery_report *report, char *error,
                 size_t error_bytes)
{
    struct recovery recovery = {
        .log = log, .report = report, .error = error, .error_bytes = error_bytes};
    bool is_done = list_segments(&recovery);
    if (is_done && recovery.base_count == 0) {
        report->fresh = true;
        is_done = log_make_fresh(log, error, error_bytes);
        report->store_id = log->store_id;
        report->end = log->end;
        report->snapshot_position = log->snapshot.begin;
    } else if (is_done) {
        is_done = open_segments(&recovery) && replay_newest(&recovery) && settle_end(&recovery) &&
                  log_settle_indexes(log, recovery.replayed_from, error, error_bytes);
        if (is_done) {
            settle_state(&recovery);
            fill_report(&recovery);
        }
    }
    free(recovery.bases);
    return is_done;
}
