/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events_groups.c - encoders and decoders of where groups stand.
 */
#include "proto/events_groups.h"

#include "proto/limits.h"

static void put_entry(struct writer *writer, enum event_number number, uint32_t field_count,
                      const struct group_place *place)
{
    writer_put_array(writer, field_count + 4);
    writer_put_uint(writer, (uint64_t)number);
    writer_put_uint(writer, place->group);
    writer_put_uint(writer, place->topic);
    writer_put_uint(writer, place->queue);
}

static bool take_place(struct cursor *fields, struct group_place *place)
{
    return cursor_take_u32(fields, &place->group) && cursor_take_u32(fields, &place->topic) &&
           cursor_take_u16(fields, &place->queue) && place->group != 0 && place->topic != 0;
}

static void put_range(struct writer *writer, const struct offset_range *range)
{
    ASSERT(range->count > 0 && range->first + range->count <= INTEGER_LIMIT);
    writer_put_uint(writer, range->first);
    writer_put_uint(writer, range->count);
}

static bool take_range(struct cursor *fields, struct offset_range *range)
{
    return cursor_take_uint(fields, &range->first) && cursor_take_uint(fields, &range->count) &&
           range->count > 0 && range->count <= INTEGER_LIMIT - range->first;
}

/* ---------------------------------------------------------------- progress */

void event_put_progress(struct writer *writer, const struct event_progress *progress,
                        const struct offset_range *more, uint32_t more_count)
{
    put_entry(writer, EVENT_PROGRESS, progress->skipped == 0 ? 3 : 4, &progress->place);
    put_range(writer, &progress->range);
    writer_put_array(writer, 2 * more_count);
    uint64_t end = progress->range.first + progress->range.count;
    for (uint32_t i = 0; i < more_count; i++) {
        ASSERT(more[i].first >= end && more[i].count > 0);
        writer_put_uint(writer, more[i].first - end);
        writer_put_uint(writer, more[i].count);
        end = more[i].first + more[i].count;
    }
    if (progress->skipped != 0) {
        writer_put_uint(writer, progress->skipped);
    }
}

bool event_take_progress(struct cursor *more, struct offset_range *range)
{
    uint64_t end = range->first + range->count;
    struct offset_range next;
    uint64_t skip;
    if (!cursor_take_uint(more, &skip) || !cursor_take_uint(more, &next.count)) {
        return false;
    }
    if (next.count == 0 || skip > INTEGER_LIMIT - end || next.count > INTEGER_LIMIT - end - skip) {
        return false;
    }
    next.first = end + skip;
    *range = next;
    return true;
}

bool event_read_progress(struct cursor fields, struct event_progress *progress_out)
{
    struct event_progress progress = {.skipped = 0};
    uint32_t numbers;
    struct bytes span;
    struct cursor walk = fields;
    if (!take_place(&walk, &progress.place) || !take_range(&walk, &progress.range)) {
        return false;
    }
    struct cursor array = walk;
    if (!cursor_take_span(&walk, &span) || !cursor_take_array(&array, &numbers) ||
        numbers % 2 != 0) {
        return false;
    }
    progress.more_count = numbers / 2;
    progress.more = array;
    struct offset_range range = progress.range;
    for (uint32_t i = 0; i < progress.more_count; i++) {
        if (!event_take_progress(&array, &range)) {
            return false;
        }
    }
    if (cursor_left(&walk) > 0 && !cursor_take_uint(&walk, &progress.skipped)) {
        return false;
    }
    *progress_out = progress;
    return true;
}

/* ------------------------------------------------------------ retry, lease */

void event_put_retry(struct writer *writer, enum event_number number,
                     const struct event_retry *retry)
{
    ASSERT(number == EVENT_RETRY || number == ROW_RETRY);
    ASSERT(retry->reason.length <= REASON_BYTES_MAX);
    put_entry(writer, number, 6, &retry->place);
    put_range(writer, &retry->range);
    writer_put_uint(writer, retry->attempt);
    writer_put_uint(writer, retry->due_ms);
    if (retry->reason.length == 0) {
        writer_put_nil(writer);
    } else {
        writer_put_str(writer, retry->reason);
    }
    writer_put_uint(writer, retry->key);
}

bool event_read_retry(struct cursor fields, struct event_retry *retry_out)
{
    struct event_retry retry = {.reason = {NULL, 0}};
    if (!take_place(&fields, &retry.place) || !take_range(&fields, &retry.range) ||
        !cursor_take_u16(&fields, &retry.attempt) || !cursor_take_uint(&fields, &retry.due_ms)) {
        return false;
    }
    bool has_reason = !cursor_try_nil(&fields);
    if ((has_reason && !cursor_take_str(&fields, &retry.reason)) ||
        !cursor_take_u32(&fields, &retry.key) || retry.reason.length > REASON_BYTES_MAX ||
        (retry.key != 0 && retry.range.count != 1)) {
        return false;
    }
    *retry_out = retry;
    return true;
}

void event_put_lease(struct writer *writer, enum event_number number,
                     const struct event_lease *lease)
{
    ASSERT(number == EVENT_LEASE || number == ROW_LEASE);
    put_entry(writer, number, 5, &lease->place);
    put_range(writer, &lease->range);
    writer_put_uint(writer, lease->until_ms);
    writer_put_uint(writer, lease->serial);
    writer_put_uint(writer, lease->key);
}

bool event_read_lease(struct cursor fields, struct event_lease *lease_out)
{
    struct event_lease lease;
    if (!take_place(&fields, &lease.place) || !take_range(&fields, &lease.range) ||
        !cursor_take_uint(&fields, &lease.until_ms) || !cursor_take_u64(&fields, &lease.serial) ||
        !cursor_take_u32(&fields, &lease.key) || (lease.key != 0 && lease.range.count != 1)) {
        return false;
    }
    *lease_out = lease;
    return true;
}

/* ------------------------------------------------------------ seek, cursor */

void event_put_seek(struct writer *writer, const struct event_seek *seek)
{
    put_entry(writer, EVENT_SEEK, 2, &seek->place);
    writer_put_uint(writer, seek->generation);
    writer_put_uint(writer, seek->offset);
}

bool event_read_seek(struct cursor fields, struct event_seek *seek_out)
{
    struct event_seek seek;
    if (!take_place(&fields, &seek.place) || !cursor_take_u32(&fields, &seek.generation) ||
        !cursor_take_uint(&fields, &seek.offset)) {
        return false;
    }
    *seek_out = seek;
    return true;
}

void event_put_cursor(struct writer *writer, const struct event_cursor *cursor)
{
    put_entry(writer, ROW_CURSOR, 3, &cursor->place);
    writer_put_uint(writer, cursor->generation);
    writer_put_uint(writer, cursor->next);
    writer_put_uint(writer, cursor->skipped);
}

bool event_read_cursor(struct cursor fields, struct event_cursor *cursor_out)
{
    struct event_cursor cursor;
    if (!take_place(&fields, &cursor.place) || !cursor_take_u32(&fields, &cursor.generation) ||
        !cursor_take_uint(&fields, &cursor.next) || !cursor_take_uint(&fields, &cursor.skipped)) {
        return false;
    }
    *cursor_out = cursor;
    return true;
}
