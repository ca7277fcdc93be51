/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_COMMIT_LOG_H
#define STORAGE_COMMIT_LOG_H

/*
 * commit_log.h - everything one shard knows, in the order in which it happened.
 *
 * The log is a run of segments. It always starts with a snapshot of the whole state, so what is
 * retained is a complete shard. Messages and operations are appended; queues and views are derived.
 * Three positions move forward and never back:
 *
 *     durable <= written <= appended
 *
 *     appended   accepted, in memory
 *     written    given to the kernel: survives the process
 *     durable    synced: survives a power cut
 *
 * A turn: appends and operations are collected; at the turn's end (TURN_WRITE hook) the operations
 * become one events record, first, since they were applied when they were accepted; then the
 * messages, grouped by queue, given positions, are written in pieces of at most 64 KiB; then those
 * who wait for `written` are told. One fdatasync is in flight at a time, off the loop; when it comes
 * home those who wait for `durable` are told and the next begins if somebody waits.
 *
 * Failure: a failed sync or a failed write in the middle of an append fences the log: nothing more
 * is acknowledged, `failed` runs once, and the process must end. It is never retried.
 *
 * Memory:  16 bytes a record of the open segment (2 Mi records at most) and the staging buffer;
 *          queues, about 250 bytes and two marks each; what waits for a next segment, 32 MiB of the
 *          callers'. Owner: the log.
 * Threads: one reactor owns a log and all of its queues; nothing here locks.
 * Format:  storage/README.md; records, proto/README.md.
 */

#include "net/reactor.h"
#include "proto/base/bytes.h"
#include "proto/base/list.h"
#include "proto/error.h"
#include "storage/disk.h"
#include "storage/segment.h"
#include "storage/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct commit_log;
struct filter;
struct index;
struct index_span;
struct queue;

enum {
    /* Most runs that one read answers. sendmsg takes 1,024 ranges at once; a quarter keeps one
     * reader's turn short. */
    LOG_RUNS_MAX = 256
};

enum log_durability { LOG_MEMORY, LOG_DISK };

/* ------------------------------------------------------------------ life */

struct commit_log_options {
    struct disk *disk;
    struct reactor *reactor;
    uint32_t shard;               /* its directory is "<shard>" in the store */
    uint64_t store_id;            /* for a new store; an old one's is kept and reported */
    uint64_t segment_bytes_least; /* of the first segment; doubles with each roll ... */
    uint64_t segment_bytes_most;  /* ... up to this. 64 KiB to 1 GiB */
    uint64_t retain_bytes;        /* oldest segments go above it; 0: never */
    struct view *const *views;    /* in the order in which a snapshot has them; copied */
    size_t view_count;

    /* The log is fenced: `what` is one line for the operator. Runs once, from the loop. */
    void (*failed)(void *owner, const char *what);

    /*
     * The oldest segment is about to go by retention: whether it may. `index` says what it has of which
     * queues, of those that are gone, too: index_span_count(), index_span_at() in storage/index.h, of
     * which the entries may be cold. False: not yet; it stays, and what it has can be read, until
     * commit_log_retain() has this asked again, or whatever else has retention look. From the loop; it
     * may read and append. NULL: it may.
     */
    bool (*may_remove)(void *owner, const struct index *index);
    void *may_remove_owner;
    void *owner; /* of `failed` */
};

/* What recovery found and did: the one line at start. */
struct recovery_report {
    bool fresh; /* there was no log: a new one was made */
    uint64_t store_id;
    uint32_t epoch;             /* the highest seen; 0 for a fresh log */
    uint64_t snapshot_position; /* where replay began */
    uint64_t end;               /* where the log ends now */
    uint64_t records;           /* replayed */
    uint64_t bytes;
    uint64_t cut_bytes;    /* unsynced tail that was cut */
    uint64_t cut_records;  /* whole records of this log in it, behind the one that was not */
    uint64_t durable;      /* the highest mark seen */
    bool corrupt;          /* below `durable`: the log is read-only */
    uint64_t corrupt_from; /* the range that is not whole */
    uint64_t corrupt_to;
    uint64_t took_ns;
};

/*
 * Opens the shard's log, replaying it into the views, which must be in the state of an empty log.
 * Cuts an unsynced tail that is not whole, and syncs. A log with corruption below its durable mark
 * opens read-only. Blocks; called at start. On failure (`error`: one line) nothing is held.
 */
bool commit_log_open(struct commit_log **log_out, const struct commit_log_options *options,
                     struct recovery_report *report_out, char *error, size_t error_bytes);

/* Takes the epoch in which everything from here is written; its record is on disk on return.
 * Blocks; called once, at start, before anything is appended. Not for a read-only log. */
bool commit_log_begin_epoch(struct commit_log *log, uint32_t epoch, const uint8_t boot_id[16],
                            char *error, size_t error_bytes);

/*
 * Ends a log: refuses appends from here (STOPPING), writes and syncs what was accepted, tells
 * everybody who waits, waits for the references to its segments, then `closed` runs, once, from the
 * loop, and the log is gone. Waiting queue_waiters are woken first.
 */
void commit_log_close(struct commit_log *log, void (*closed)(void *owner), void *owner);

/* ---------------------------------------------------------------- queues */

/* Where one queue stands. */
struct queue_state {
    uint64_t first;          /* the oldest offset still there */
    uint64_t next;           /* what the next message gets */
    uint64_t visible;        /* the first offset that may not be read yet */
    uint64_t last_stored_ms; /* 0: never */
};

/*
 * Makes the queue, or changes the durability that bounds what of it is visible. The catalogue's
 * apply calls this, live and in replay alike; messages replayed before it made the queue already.
 */
void commit_log_queue_put(struct commit_log *log, uint32_t topic_id, uint16_t number,
                          enum log_durability durability);

/* Forgets the queue; who waits on it is woken. */
void commit_log_queue_remove(struct commit_log *log, uint32_t topic_id, uint16_t number);

/* NULL if there is none. The pointer stays until the queue is removed. */
struct queue *commit_log_queue_find(struct commit_log *log, uint32_t topic_id, uint16_t number);

struct queue_state queue_state(const struct queue *queue);

/* ------------------------------------------------------------- appending */

/* One message of an append: element 12 as it will be stored, and what was computed from it. */
struct append_message {
    const uint8_t *bytes;
    uint32_t length;
    uint32_t crc;      /* CRC32C of `bytes` */
    uint32_t tag_hash; /* 0: none */
    uint32_t key_hash; /* of the first key; 0: none */
};

/*
 * The messages of one produce call, for one queue. The caller owns it and keeps it, the messages
 * and their bytes still until `done`, which runs once, from the loop, when all are written (or
 * durable, if `wait_durable`).
 */
struct append {
    void (*done)(struct append *append);
    struct queue *queue;
    const struct append_message *messages;
    uint32_t count;     /* 1 to 65,535 */
    struct bytes extra; /* of a lone message: an encoded map of at most EXTRA_BYTES_MAX, element 11;
                         * empty: nil. Kept as the messages are */
    uint64_t born_ms;   /* 0: as stored */
    bool wait_durable;
    bool relocates;    /* makes room: may have what a full disk leaves to operations */
    uint64_t offset;   /* out, at once: of the first message; the others follow */
    uint64_t position; /* out, when written: of the first record */
    uint64_t end;      /* log */
    struct list link;  /* log */
};

/*
 * Accepts an append: offsets are given, order is decided. Or refuses it, and nothing happened:
 *
 *   ERROR_READ_ONLY  the log has a corrupt range
 *   ERROR_DISK_FULL  there is no room but what is kept for operations, and no next segment yet
 *   ERROR_STOPPING   the log is closing or fenced
 */
enum error commit_log_append(struct commit_log *log, struct append *append);

/* Stops waiting for `durable` (a time-out): `done` will not run. Only when it is written. */
void commit_log_append_abandon(struct commit_log *log, struct append *append);

/* Whether an append is written, so that it may be abandoned. */
bool append_is_written(const struct append *append);

/* One state change. `operation` is the array `[number, fields..]`, copied. */
struct log_operation {
    void (*done)(struct log_operation *operation); /* when durable; NULL: does not wait */
    uint64_t end;                                  /* log */
    struct list link;                              /* log */
};

/*
 * Whether an operation of so many bytes would be accepted now: OK, or what commit_log_operate() would
 * answer. For who collects operations during a turn and has them written at its end; what others
 * append until then may still take the room.
 *
 * A full disk refuses messages first: the last part of the open segment is for operations as long as
 * there is no next one, so that what is stored can be consumed and deleted.
 */
enum error commit_log_may_operate(const struct commit_log *log, uint32_t bytes);

/* Applies it to the views, now, and appends it with the turn's events. Refuses as append does. At
 * most 48 KiB. */
enum error commit_log_operate(struct commit_log *log, struct bytes bytes,
                              struct log_operation *operation);

/*
 * Whether every operation that was accepted is written, so that a process that is killed now forgets none. Not
 * so between being accepted and the turn's write, while they wait for the next segment, and never again
 * where the log is fenced. For who answers then without waiting for the disk.
 */
bool commit_log_has_written(const struct commit_log *log);

/* --------------------------------------------------------------- reading */

/* Adjacent records of one segment, of one queue, ready to be sent as they lie. */
struct run {
    struct segment *segment; /* a reference that is the holder's to give back */
    uint32_t place;          /* in the segment's file */
    uint32_t bytes;
    uint32_t messages;
    uint64_t offset; /* in the queue, of the first */
};

/* Where somebody goes on to read. */
struct reader_place {
    uint32_t topic; /* 0: nobody does */
    uint16_t number;
    uint64_t offset;
};

/* What of a segment, or of its index, is not in the page cache. */
struct cold_range {
    struct segment *segment; /* not a reference: good until the turn ends; NULL: nothing is cold */
    struct reader_place reader; /* of records: who misses it and will go on from there */
    bool of_index;
    uint64_t offset; /* in that file */
    uint64_t bytes;
};

struct run_list {
    uint32_t count;
    uint32_t messages;
    uint64_t bytes;
    uint64_t next; /* the offset behind the last that was looked at */
    struct cold_range cold;
    struct run runs[LOG_RUNS_MAX];
};

/* Where a read begins, and how much it may bring. */
struct read_limits {
    uint64_t offset;
    uint32_t messages_max;
    uint64_t bytes_max;
    bool may_wait;
};

/* Adds a record to a list: to its last run if it lies right behind it. False: no room. */
bool run_list_add(struct run_list *list, const struct run *record);

/*
 * Messages of `queue` from `offset` on, below `visible`: at most `messages_max` of them in at most
 * `bytes_max` bytes, but always one if there is one, in at most LOG_RUNS_MAX runs.
 *
 * Never waits for a disk: where what comes first is not in the page cache the list is empty, its
 * `cold` says what to have warmed, and the read is tried again after that. With `may_wait` it
 * waits: for who has had it warmed and finds it gone again.
 *
 *   OK                      also with no message, where offset == visible, or where it is cold
 *   ERROR_OFFSET_TOO_SMALL  retention took it: queue_state().first is the oldest there
 *   ERROR_TRUNCATED         offset > visible
 *   ERROR_CORRUPT           it lies in a range that is not whole
 */
enum error commit_log_read(struct commit_log *log, struct queue *queue,
                           const struct read_limits *limits, struct run_list *list_out);

/* What a read leaves out: messages of which the index alone says that `filter` does not want them. */
struct read_selection {
    const struct filter *filter;
    uint32_t looked_at_max; /* offsets, left out or not */
};

/* The same of what a filter may want: whether it does is the caller's to see. Where nothing of what was
 * looked at is, the list is empty and list_out->next says how far that was, also if `cold` is told. */
enum error commit_log_select(struct commit_log *log, struct queue *queue,
                             const struct read_limits *limits,
                             const struct read_selection *selection, struct run_list *list_out);

/*
 * What the index says of `queue` from `offset` on, without a look at the log: for who wants to know tags or
 * keys of many. `span_out` (storage/index.h) is of one segment and ends below `visible`, behind
 * `count_max` entries at the latest: 16 bytes each, brought at once where they are cold. It stays until
 * something is appended or the turn ends. An entry of place 0 is a hole.
 *
 * Never waits for a disk: with nothing in `span_out` `cold` says what to have warmed, or that there
 * is nothing cold, at `visible`. NULL for `cold`: it may wait. Errors as commit_log_read().
 */
enum error commit_log_entries(struct commit_log *log, struct queue *queue, uint64_t offset,
                              uint32_t count_max, struct cold_range *cold,
                              struct index_span *span_out);

/* Somebody who waits for something cold. */
struct warm_waiter {
    void (*warmed)(struct warm_waiter *waiter, int error); /* once, from the loop; 0 or -errno */
    struct list link;                                      /* log */
};

/* Has a cold range, which a read of this turn has named, brought into the page cache. The waiter
 * stays the log's until it is told, which is soon; closing the log waits for it. */
void commit_log_warm(struct commit_log *log, const struct cold_range *range,
                     struct warm_waiter *waiter);

/*
 * Searches, which wait for no disk either: with false `cold` is told what to have warmed before the
 * next try. NULL for `cold`: it may wait.
 */

/* The first offset of `queue` stored at or after `at_ms`, or `visible` if there is none. */
bool commit_log_find_time(struct commit_log *log, struct queue *queue, uint64_t at_ms,
                          struct cold_range *cold, uint64_t *offset_out);

/* What is known of one message that is there. */
struct stored {
    uint64_t stored_ms; /* since 1970 */
    uint32_t epoch;
    bool is_whole; /* false: its record cannot be read, and nothing else is set */
    bool is_durable;
};

/* When the message `offset` of `queue`, at or behind its first and below its next, was stored. */
bool commit_log_find_stored(struct commit_log *log, struct queue *queue, uint64_t offset,
                            struct cold_range *cold, struct stored *stored_out);

/* The last that a reader has seen of a queue: the record of `next` - 1, of `epoch`. */
struct last_seen {
    uint64_t next;
    uint32_t epoch;
};

/* Where such a reader goes on: at `next` if that record is the one that is there; else, having seen
 * what was lost, at the first offset that he has not seen. */
bool commit_log_find_epoch(struct commit_log *log, struct queue *queue,
                           const struct last_seen *last_seen, struct cold_range *cold,
                           uint64_t *offset_out);

/* Visible offsets, of which somebody had the messages in `epoch`. */
struct had_range {
    uint64_t first;
    uint64_t end; /* above `first` */
    uint32_t epoch;
};

/* The first of them of which it is not certain that it is still the same message: what was lost makes room
 * for others, and what cannot be read may be one. `end`: all are the same, or gone by age. */
bool commit_log_find_other(struct commit_log *log, struct queue *queue, const struct had_range *had,
                           struct cold_range *cold, uint64_t *offset_out);

/* Somebody who waits until `visible` passes `offset`. */
struct queue_waiter {
    void (*woken)(struct queue_waiter *waiter); /* once; no longer waiting. Also at remove, close */
    uint64_t offset;
    struct list link; /* log; list_is_linked() tells whether it waits */
};
void queue_wait(struct queue *queue, struct queue_waiter *waiter);
void queue_waiter_cancel(struct queue_waiter *waiter);

/* Has retention go on now, whose `may_remove` has said no. Not from within that. */
void commit_log_retain(struct commit_log *log);

/* ------------------------------------------------------------ inspecting */

struct commit_log_counters {
    uint64_t appended_messages;
    uint64_t appended_bytes;
    uint64_t writes;
    uint64_t syncs;
    uint64_t sync_ns;
    uint64_t sync_ns_max;
    uint64_t rolls;
    uint64_t roll_waits; /* turns in which appends were refused for want of a next segment */
    uint64_t snapshots;
    uint64_t segments_removed;
    uint64_t cold_reads;    /* reads that had to wait for the disk */
    uint64_t warmed_bytes;  /* read for those who waited, and ahead of them */
    uint64_t dropped_bytes; /* given back behind them */
    uint64_t warm_ns_total; /* that somebody waited */
    uint64_t warm_ns_max;
    uint64_t segments; /* now */
    uint64_t bytes;    /* now, of all segments and indexes */
    uint64_t position_written;
    uint64_t position_durable;
    uint64_t queues; /* now */
    bool read_only;
    uint64_t corrupt_from;
    uint64_t corrupt_to;
};
void commit_log_counters(const struct commit_log *log, struct commit_log_counters *counters_out);

/* Hash of all state derived from the log: queues, then every view. */
uint64_t commit_log_hash(const struct commit_log *log);

#endif
