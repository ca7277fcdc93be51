/* SPDX-License-Identifier: Apache-2.0 */
/*
 * produce.h - the method `produce`: messages of one call to one queue of one shard.
 *
 * At home all messages are checked and their checksums made, before anything is appended
 * (broker/produce_messages.h); then the call goes to the core of the queue's shard, is appended
 * there in one piece, waits until that is written (or durable), and comes home to be answered.
 *
 *     home: CHECKED --> owner: APPENDED --written--> (DURABLE?) --> home: ENDED --> answered
 *              |                   |                     |                  in turn
 *              `---- refused ------`----- refused        `-- timeout_ms: NOT_YET_DURABLE
 *
 * Produces of one connection to one queue are answered in the order in which they came, whatever
 * each of them waits for: one that has ended keeps its answer until those before it are answered.
 *
 * Memory:  struct produce_call lies in the call. Lists of more than PRODUCE_MESSAGES_INLINE messages
 *          come from the core's pools, rewritten messages from the allocator; both are charged to
 *          the session's unanswered bytes.
 * Threads: as the call.
 */
#ifndef BROKER_PRODUCE_H
#define BROKER_PRODUCE_H

#include "net/reactor.h"
#include "proto/arguments.h"
#include "proto/base/list.h"
#include "proto/error.h"
#include "storage/commit_log.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct core;
struct session;
struct shard;

/* Few enough to keep a call small, enough for clients that send message by message. */
enum { PRODUCE_MESSAGES_INLINE = 4 };

struct produce_call {
    struct append append; /* its messages: the inline ones, or a block of `span_class` */
    struct append_message inline_messages[PRODUCE_MESSAGES_INLINE];
    uint8_t *rewritten; /* messages whose headers were made right, or NULL */
    size_t bytes;       /* of all messages as stored */
    struct shard *shard;
    struct list ordered;     /* session->produces */
    struct list waiting;     /* shard->waiting_durable, if it has the default time-out */
    struct timer timer;      /* the owner's, if it has another */
    struct refusal *refusal; /* why it ended, if that was not `error` alone */
    uint64_t due_ns;         /* when waiting for the disk ends */
    uint32_t topic_id;
    uint16_t queue;
    uint8_t span_class;         /* SPAN_CLASSES: none */
    enum durability durability; /* what it waits for */
    enum error error;           /* how it ended */
    bool default_timeout;
    bool ended; /* is home, and waits at most for its turn to be answered */
};

/* The method. */
void produce_run(struct call *call, const struct arguments *arguments);

/* Gives back what the call took. For call_end(). */
void produce_release(struct call *call);

/* What `shard->waiting_timer` runs. */
void produce_waiting_fired(struct timer *timer);

#endif
