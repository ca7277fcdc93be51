/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_LOG_STATE_H
#define STORAGE_LOG_STATE_H

/*
 * log_state.h - the inside of a commit log, shared by the files that are its steps.
 *
 *     commit_log.c    life: open, the turn, close          log_recover.c  what a start finds
 *     log_append.c    what is accepted                      log_roll.c     the next segment
 *     log_write.c     a turn's records, grouped, written    snapshot.c     the whole state, in chunks
 *     log_flush.c     group commit, who is told when        retention.c    the oldest segments go
 *     log_read.c      what is served                        log_search.c   offsets by time, by epoch
 *     warming.c       what is not in the page cache          read_ahead.c   who is far behind
 *     log_view.c      epochs
 *
 * Only these include it. Threads: the log's reactor, jobs apart.
 */

#include "net/reactor.h"
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "proto/events.h"
#include "proto/record.h"
#include "storage/commit_log.h"
#include "storage/consume_queue.h"
#include "storage/read_ahead.h"
#include "storage/segment_file.h"
#include "storage/snapshot.h"

enum {
    /* One write. Where free memory is given back to a host, pages for larger writes come from it
     * instead of from lists at hand: with 256 KiB a message took 0.7 to 0.9 us in the middle of
     * others' work, with 64 KiB 0.3 to 0.6. On a quiet machine 256 KiB were a fifth faster. */
    PIECE_BYTES = 64 * 1024,
    /* IOV_MAX. */
    PIECE_RANGES = 1024,
    /* Messages below it are copied behind their heads; above, a range of their own is cheaper. */
    COPY_BYTES_MAX = 512,
    /* Appends collected in a turn before they are written early. */
    PENDING_BYTES_EARLY = 1024 * 1024,
    /* Appends that may wait for the next segment: about what a 5 s stall of a slow disk needs. */
    PENDING_BYTES_MAX = 32 * 1024 * 1024,
    /* Operations of one events record, which must fit the smallest segment. */
    OPERATIONS_BYTES_MAX = 48 * 1024,
    /* This part of the open segment is for operations where there is no next one. While the disk is full
     * consumers go on: what they acknowledge takes up to 32 bytes a message, alone, and much less in
     * ranges, of 71 and more, so that the acknowledgements of most of a segment have room. */
    KEPT_PART = 16,
    /* Least time between two `durable` marks: what recovery may take for an unsynced tail though it
     * was synced, but never told to anybody as such after a power cut. */
    DURABLE_MARK_NS = 10 * 1000 * 1000,
    /* A log that was not written to for so long, and has no mark for its end, gets one. */
    IDLE_MARK_NS = 100 * 1000 * 1000,
    /* What is written is not given up by the page cache so soon. */
    RECENT_NS = 1000 * 1000 * 1000,
    /* Pause before a next segment is tried again after the disk was full. */
    NEXT_RETRY_NS = 1000 * 1000 * 1000,
    LOG_PATH_BYTES = SEGMENT_PATH_BYTES,
    LOG_FAILURE_BYTES = 200
};

/* The room that a roll takes at the start of a segment: its segment record and a begin record. */
#define ROLL_BYTES (2U * (RECORD_CONTENT_PLACE + EVENTS_BEGIN_BYTES + EVENT_BYTES_MAX))

/* Bytes on their way into one write: heads and small messages copied, large ones referred to. */
struct stage {
    uint8_t *scratch; /* PIECE_BYTES */
    uint32_t scratch_used;
    uint32_t bytes;       /* of the piece */
    uint32_t place;       /* in the open segment, where the piece begins */
    bool ends_in_scratch; /* the last range lies in scratch and can grow */
    int count;
    struct iovec ranges[PIECE_RANGES];
};

/* Operations of the turn: a record in the making, with room for its head before it. */
struct operations {
    uint8_t *record;
    uint32_t content_bytes;
    uint32_t count;
    struct list waiting; /* log_operation, not yet written */
};

/* From `position` durable on, `queue` is visible up to `visible`. */
struct durable_mark {
    uint64_t position;
    struct queue *queue; /* NULL: removed */
    uint64_t visible;
    uint64_t before; /* the number of the queue's mark before this one, if that is still there */
};

struct durable_marks {
    struct durable_mark *ring;
    uint32_t capacity; /* 0 or a power of two */
    uint32_t first;
    uint32_t count;
    uint64_t passed; /* marks that are gone: the number of the first one there */
};

enum next_state { NEXT_NONE, NEXT_MAKING, NEXT_READY, NEXT_FAILED };

/* next.log: made ready off the loop. */
struct next_segment {
    enum next_state state;
    struct segment *segment; /* READY */
    uint64_t bytes;          /* what is made, or was */
    bool is_tried_again;     /* it could not be made the last time: nothing is to wait for it */
    int error;
    struct disk_job job;
    struct timer retry;
};

/* The one fdatasync in flight. */
struct flush {
    struct disk_job job;
    struct segment *segment;
    uint64_t position;
    uint64_t started_ns;
    int error;
};

struct epochs {
    struct view view;
    struct event_epoch *list;
    uint32_t count;
    uint32_t capacity;
    uint64_t durable; /* the highest mark seen */
};

enum log_phase { LOG_RUNNING, LOG_CLOSING, LOG_RELEASING, LOG_RELEASED };

struct commit_log {
    struct commit_log_options options;
    struct disk *disk;
    struct reactor *reactor;
    char directory[16];
    uint64_t store_id;
    uint32_t epoch;

    /* What appends are answered; OK while all is well. */
    enum error refusal;
    bool read_only;
    uint64_t corrupt_from;
    uint64_t corrupt_to;
    bool fenced;
    char failure[LOG_FAILURE_BYTES];
    struct op failed_op;

    /* Oldest first; the last is `open`. */
    struct segment **segments;
    uint32_t segment_count;
    uint32_t segment_capacity;
    struct segment *open;
    uint32_t segments_alive; /* not yet released, with those removed and the next */

    /* Positions. `end` counts what is staged. */
    uint64_t end;
    uint64_t written;
    uint64_t synced; /* what syncs and rolls that came home cover, without a gap */
    uint64_t durable;
    uint64_t durable_marked;
    uint64_t marked_at_ns;
    uint64_t marked_end;     /* a log that ends here needs no mark: its last record is one */
    struct timer mark_timer; /* runs while there is something to mark */
    uint64_t mark_seen;      /* `end` when it was started */
    uint64_t stored_ms;      /* never decreasing */

    /* Queues, by key and in the order in which they were made. */
    struct number_map queues;
    struct queue *queue_found; /* last: appends and reads stay with their queue */
    struct list queue_list;
    uint64_t queue_serial;
    struct queues_view queues_view;

    struct epochs epochs;
    struct view **views; /* ours, then the options' */
    uint32_t view_count;
    bool views_take_messages;

    /* The turn. */
    struct list touched; /* queues with appends not yet staged, in the order of their first */
    uint64_t pending_bytes;
    bool removed_first;  /* a queue was removed while its appends wait for a roll */
    bool roll_waits;     /* what is pending waits for the next segment */
    uint32_t kept_bytes; /* by this write, of the open segment, for later operations */
    bool at_start;       /* no loop runs yet: jobs are done in place */
    struct operations operations;
    struct stage stage;
    struct list moved;  /* queues written to by this write */
    struct list waking; /* queues whose `visible` moved and that are waited for */

    /* Who is told when. */
    struct list staged;             /* appends, of this write */
    struct list written_appends;    /* appends to be told at the turn's end */
    struct list durable_appends;    /* in order of their end */
    struct list durable_operations; /* likewise */
    struct durable_marks marks;
    uint64_t sync_wanted; /* somebody waits until durable is there */

    struct flush flush;
    struct list warmings; /* struct warming: under way */
    struct cold_reader cold_readers[COLD_READERS_MAX];
    bool has_cold_readers; /* or had */
    uint64_t ahead_bytes;  /* are being read ahead for them */

    /* What was written a moment ago is in the page cache: from `recent` on, for two RECENT_NS at most. */
    uint64_t recent;
    uint64_t recent_next; /* the same a RECENT_NS later */
    uint64_t recent_ns;   /* when that was */
    struct next_segment next;
    struct snapshot snapshot;

    /* Of the oldest segment's file. */
    uint64_t removal_base;
    bool removing;
    bool removal_warms; /* what must be known to remove it is on its way */
    struct warm_waiter removal_waiter;
    bool removal_owed; /* it could not be removed */
    bool removal_asks; /* the owner, at this moment, whether it may be */

    uint32_t jobs; /* under way, but the flush and those of segments that are released */

    struct turn_hook hook;
    enum log_phase phase;
    struct op close_op;
    void (*closed)(void *owner);
    void *closed_owner;

    struct commit_log_counters counters;
};

/* commit_log.c */
struct commit_log *log_create(const struct commit_log_options *options);
void log_destroy(struct commit_log *log); /* everything at once; for a log that never ran */
void log_segment_add(struct commit_log *log, struct segment *segment);
struct segment_owner log_segment_owner(struct commit_log *log);
void log_file_path(const struct commit_log *log, char path[LOG_PATH_BYTES], const char *name);

/* Nothing is acknowledged from here; `failed` runs from the loop. `what` names the step. */
void log_fence(struct commit_log *log, const char *what, int error);

/* log_read.c */

/* Where a queue's offset is: a segment that has it, and all that the segment has of the queue. */
struct log_place {
    struct segment *segment;
    struct index_span span;
};

/* What a segment has of a queue: looks at the rows of its index. */
bool log_span_in(struct segment *segment, const struct queue *queue, struct index_span *span_out);

/* False: it is nowhere whole; or `cold`, unless NULL, is told what has to be warmed to know. */
bool log_locate(struct commit_log *log, struct queue *queue, uint64_t offset,
                struct cold_range *cold, struct log_place *place_out);

/* Whether what an index says can be in its segment. */
bool log_entry_is_sane(const struct segment *segment, const struct index_entry *entry);

/* log_append.c: whether the operations that are pending can be written though messages wait for a roll. */
bool log_operations_fit(const struct commit_log *log, uint64_t bytes_more);

/* log_write.c */

/* Stages and writes what is pending, as far as there is room: operations, then messages. */
void log_write_pending(struct commit_log *log);

/* Has a mark written for what is durable once the log falls idle. */
void log_mark_soon(struct commit_log *log);

/* Writes a mark for what is durable, if the last records have none, none of them is one, and there
 * is room. False: nothing was written. */
bool log_mark_end(struct commit_log *log);

/* Reads the clock that records are stored by; it never goes back. */
void log_set_time(struct commit_log *log);
bool log_has_pending(const struct commit_log *log);

/* Puts one record of kinds 4 to 6 at the end; its content lies at record + RECORD_CONTENT_PLACE.
 * Above OPERATIONS_BYTES_MAX the bytes stay as they are until log_write_staged(). False: it waits for a roll, or fenced. */
bool log_put_own(struct commit_log *log, enum record_kind kind, uint8_t *record,
                 uint32_t content_bytes);

/* The same without asking for room: the first records of a segment. */
bool log_put_own_here(struct commit_log *log, enum record_kind kind, uint8_t *record,
                      uint32_t content_bytes);

/* Writes what is staged. False: fenced. */
bool log_write_staged(struct commit_log *log);

/* log_flush.c */
void log_want_durable(struct commit_log *log, uint64_t position);
bool log_flush_is_due(const struct commit_log *log); /* somebody waits, and none is in flight */
void log_flush_start(struct commit_log *log);        /* if it is due */
void log_durable_advance(struct commit_log *log);    /* after log->synced has moved */
void log_segment_synced(struct commit_log *log, const struct segment *segment);
void log_mark_visible(struct commit_log *log, struct queue *queue);
void log_forget_marks(struct commit_log *log, const struct queue *queue);
void log_tell_written(struct commit_log *log);
void log_wake_queues(struct commit_log *log);

/* warming.c: something is about to be written; from which position on all was written a moment ago. */
void log_note_recent(struct commit_log *log);
uint64_t log_recent(const struct commit_log *log);

/* log_roll.c */

/* Makes the next segment the open one, if it is ready for a record of `need` bytes; else asks for
 * it. False: not yet, or fenced. */
bool log_roll(struct commit_log *log, uint32_t need);
bool log_fits(const struct commit_log *log, uint64_t bytes);

/* The part of the open segment that messages leave to operations while there is no next one. */
static inline uint32_t log_kept_part(const struct commit_log *log)
{
    return (uint32_t)(log->open->map_bytes / KEPT_PART);
}

/* Decides what this write keeps: nothing where all that is pending fits, or the next segment is there. */
void log_keep(struct commit_log *log);

/* Has the next segment made if a quarter of the open one is full. */
void log_next_ahead(struct commit_log *log);
void log_next_make(struct commit_log *log, uint64_t bytes_least);
bool log_put_segment_record(struct commit_log *log);
void log_index_submit(struct commit_log *log, struct segment *segment);

/* log_recover.c */
bool log_recover(struct commit_log *log, struct recovery_report *report, char *error,
                 size_t error_bytes);

/* Bytes of a segment that can be records: up to the next one's base, or all there are. */
uint64_t log_segment_limit(const struct commit_log *log, uint32_t number);
uint32_t log_segment_number(const struct commit_log *log, const struct segment *segment);

/* log_indexes.c: of all segments but the open one; those from `replayed_from` on have one in memory.
 * What is lost and cannot be made again makes the log read-only. False: `error` says why. */
bool log_settle_indexes(struct commit_log *log, uint32_t replayed_from, char *error,
                        size_t error_bytes);

/* Has the newest index whose entries were not read yet checked by a job, and then the next. */
void log_check_indexes(struct commit_log *log);

/* log_fresh.c */
bool log_make_fresh(struct commit_log *log, char *error, size_t error_bytes);

/* log_view.c */
void epochs_init(struct epochs *epochs);
void epochs_deinit(struct epochs *epochs);

/* Gives an operation to every view; false if none knows the number. */
bool log_apply_operation(struct commit_log *log, uint32_t number, struct cursor *fields,
                         uint64_t position, bool loading);

/* retention.c */
void log_retain(struct commit_log *log);

#endif
