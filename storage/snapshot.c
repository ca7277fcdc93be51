/* SPDX-License-Identifier: Apache-2.0 */

/*
 * snapshot.c - begin, one chunk a turn, end.
 */

#include "storage/snapshot.h"

#include "proto/base/contract.h"
#include "storage/log_state.h"

#include <stdlib.h>

enum {
    CHUNK_BYTES_MOST = 256 * 1024,
    /* Of the least segment: a chunk is a record, and must fit any segment with room to spare. */
    CHUNKS_A_SEGMENT = 4,
    /* So that writing snapshots takes at most a ninth of what is written. */
    GROWTH = 8
};

static size_t chunk_bytes(const struct commit_log *log)
{
    size_t share = (size_t)log->options.segment_bytes_least / CHUNKS_A_SEGMENT;
    return share < CHUNK_BYTES_MOST ? share : CHUNK_BYTES_MOST;
}

bool snapshot_is_due(const struct commit_log *log, uint64_t base)
{
    const struct snapshot *snapshot = &log->snapshot;
    return !snapshot->active && base - snapshot->base >= log->open->used &&
           base - snapshot->base >= GROWTH * snapshot->last_bytes;
}

/* Stages a record of one entry that says something about the snapshot as a whole. */
static bool put_entry(struct commit_log *log, bool is_begin)
{
    uint8_t record[RECORD_CONTENT_PLACE + EVENTS_BEGIN_BYTES + EVENT_BYTES_MAX];
    struct writer writer =
        writer_over(record + RECORD_CONTENT_PLACE, sizeof(record) - RECORD_CONTENT_PLACE);
    events_begin(&writer);
    if (is_begin) {
        event_put_begin(&writer);
    } else {
        event_put_end(&writer, log->snapshot.begin);
    }
    events_end(&writer, 0, 1);
    ASSERT(!writer.overflowed);
    uint32_t bytes = (uint32_t)writer_length(&writer);
    /* Small, so that staging copies it: `record` may go. */
    return is_begin ? log_put_own_here(log, RECORD_SNAPSHOT, record, bytes)
                    : log_put_own(log, RECORD_SNAPSHOT, record, bytes);
}

bool snapshot_begin(struct commit_log *log)
{
    struct snapshot *snapshot = &log->snapshot;
    ASSERT(!snapshot->active);
    uint64_t begin = log->end;
    if (!put_entry(log, true)) {
        return false;
    }
    snapshot->active = true;
    snapshot->bytes = log->end - begin;
    snapshot->begin = begin;
    snapshot->base = log->open->base;
    snapshot->view = 0;
    snapshot->place = (struct view_place){{0}};
    snapshot->chunk_bytes = RECORD_CONTENT_PLACE + chunk_bytes(log);
    snapshot->chunk = malloc(snapshot->chunk_bytes);
    ASSERT(snapshot->chunk != NULL);
    return true;
}

/* Rows of as many views as fit, from where the save stands. */
static uint32_t save_rows(struct commit_log *log, struct writer *writer)
{
    struct snapshot *snapshot = &log->snapshot;
    uint32_t rows = 0;
    while (snapshot->view < log->view_count) {
        struct view *view = log->views[snapshot->view];
        bool is_saved = view->operations->save(view, &snapshot->place, writer, &rows);
        ASSERT(!writer->overflowed);
        if (!is_saved) {
            ASSERT(rows > 0); /* An empty chunk has room for any row. */
            return rows;
        }
        snapshot->view++;
        snapshot->place = (struct view_place){{0}};
    }
    return rows;
}

static bool put_chunk(struct commit_log *log)
{
    struct snapshot *snapshot = &log->snapshot;
    struct snapshot before = *snapshot;
    struct writer writer = writer_over(snapshot->chunk + RECORD_CONTENT_PLACE,
                                       snapshot->chunk_bytes - RECORD_CONTENT_PLACE);
    events_begin(&writer);
    uint32_t rows = save_rows(log, &writer);
    events_end(&writer, 0, rows);
    if (rows == 0) {
        return true;
    }
    if (!log_put_own(log, RECORD_SNAPSHOT, snapshot->chunk, (uint32_t)writer_length(&writer))) {
        /* A roll comes first; the rows are saved again then, as they are then. */
        snapshot->view = before.view;
        snapshot->place = before.place;
        return false;
    }
    snapshot->bytes += RECORD_CONTENT_PLACE + writer_length(&writer);
    return true;
}

static void complete(struct commit_log *log)
{
    struct snapshot *snapshot = &log->snapshot;
    snapshot->active = false;
    snapshot->end = log->end;
    snapshot->last_bytes = snapshot->bytes;
    free(snapshot->chunk);
    snapshot->chunk = NULL;
    log->counters.snapshots++;
    log_want_durable(log, snapshot->end);
}

bool snapshot_can_step(const struct commit_log *log)
{
    return log->snapshot.active && !log->fenced && log->phase == LOG_RUNNING &&
           log->operations.count == 0;
}

void snapshot_step(struct commit_log *log)
{
    struct snapshot *snapshot = &log->snapshot;
    ASSERT(snapshot->active && log->operations.count == 0);
    bool is_put = snapshot->view == log->view_count || put_chunk(log);
    bool is_over = is_put && snapshot->view == log->view_count && put_entry(log, false);
    /* Before the chunk goes: a large one is written from where it lies. A failure has fenced the log. */
    if (log_write_staged(log) && is_over) {
        complete(log);
    }
}

bool snapshot_durable(struct commit_log *log)
{
    struct snapshot *snapshot = &log->snapshot;
    if (snapshot->end == 0 || log->durable < snapshot->end || snapshot->active) {
        return false;
    }
    snapshot->durable_begin = snapshot->begin;
    snapshot->end = 0;
    return true;
}

void snapshot_abandon(struct commit_log *log)
{
    free(log->snapshot.chunk);
    log->snapshot.chunk = NULL;
    log->snapshot.active = false;
}
