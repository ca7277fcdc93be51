/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_CONSUME_QUEUE_H
#define STORAGE_CONSUME_QUEUE_H

/*
 * consume_queue.h - the queues of a log, as a view: derived by replaying it.
 *
 *     first <= visible <= written_next <= next
 *
 * A queue is made by the catalogue (commit_log_queue_put) or by its first message in a replay,
 * whichever comes first, and goes with its topic. Where its messages lie is in the segments'
 * indexes; the queue has the part of the open segment at hand, and remembers where it was last
 * read.
 *
 * Operations: topic.delete. Row: queue.
 * Bound:   about 200 bytes a queue; as many as the catalogue allows. Owner: the log.
 * Threads: the log's reactor.
 */

#include "proto/base/list.h"
#include "proto/record.h"
#include "storage/commit_log.h"
#include "storage/index.h"
#include "storage/view.h"

struct queue {
    struct commit_log *log;
    uint32_t topic;
    uint16_t number;
    bool removed; /* only its last appends keep it */
    enum log_durability durability;
    uint64_t serial; /* in the order in which they were made */
    uint64_t first;
    uint64_t visible;
    uint64_t written_next;
    uint64_t next;
    uint64_t last_stored_ms;
    uint64_t mark;           /* the number of its newest durable mark */
    struct index_part *part; /* of the open segment; NULL: none yet */
    struct segment *hint;    /* where it was last read, while that is there, if it has its file */
    struct index_span hint_span;
    struct list appends; /* not yet staged, in order */
    uint32_t appended;   /* messages of the first of them that are staged already */
    struct list touched; /* in log->touched */
    struct list moved;   /* in log->moved */
    struct list waking;  /* in log->waking */
    struct list waiters;
    struct list all; /* in log->queue_list */
};

struct queues_view {
    struct view view;
    struct commit_log *log;
};

void queues_init(struct queues_view *queues, struct commit_log *log);

/* Frees all queues. Nobody may wait or append any more. */
void queues_deinit(struct queues_view *queues);

struct queue *queue_make(struct commit_log *log, uint32_t topic, uint16_t number);

/* Frees a removed queue whose last append is written. */
void queue_free(struct queue *queue);

/* One entry of the index of the open segment: the message with offset queue->next - 1 or, while
 * appending, the next one in order. */
void queue_push_entry(struct queue *queue, uint64_t offset, struct index_entry entry);

/* The entry of a record that lies at `place`. */
struct index_entry queue_entry_of(const struct record_view *record, uint32_t place);

/* A message was replayed. While a snapshot is `loading`, a queue whose row was not read yet may begin
 * anywhere. False: it cannot come here, the record is not of this log's history. */
bool queue_replay(struct commit_log *log, const struct record_view *record, uint32_t place,
                  bool loading);

/* Moves `visible`, and has those woken who waited for it. Never back. */
void queue_set_visible(struct queue *queue, uint64_t visible);

/* Wakes everybody who waits for less than `visible`, or everybody. */
void queue_wake(struct queue *queue, bool all);

/* After a replay: what is there is visible, and `first` is what the segments still have. */
void queues_settle(struct commit_log *log);

/* A segment is about to be sealed: its queues push to it no more. */
void queues_leave_segment(struct segment *segment);

/* A segment has another index: nobody goes on in the one that it had. */
void queues_forget_index(struct commit_log *log, const struct segment *segment);

/* A segment goes: its queues begin behind what they had in it. */
void queues_drop_segment(struct commit_log *log, const struct segment *segment);

#endif
