/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ternmq_groups.h - the C client of TernMQ: members of consumer groups, and push consumers.
 *
 * Beside ternmq.h, whose rules on handles, time, errors, retries and memory hold here too.
 *
 *     struct ternmq_member *member = ternmq_member_open(
 *         client, &(struct ternmq_member_options){.group = "billing"}, &error);
 *     struct ternmq_received received;
 *     size_t count;
 *     while (member != NULL && work_is_wanted()) {
 *         if (ternmq_receive(member, 1000, &received, 1, &count, &error) == TERNMQ_OK) {
 *             struct ternmq_settlement again = {.verdict = TERNMQ_RETRY, .reason = "no stock"};
 *             bool done = work_on(received.message.body);
 *             ternmq_settle(member, &received.receipt, 1, done ? NULL : &again, &error);
 *         }
 *     }
 *     ternmq_member_close(member, 5000, &error);
 */
#ifndef TERNMQ_GROUPS_H
#define TERNMQ_GROUPS_H

#include "ternmq.h"

#ifdef __cplusplus
extern "C" {
#endif

/* -------------------------------------------------------------------------------- groups */

/*
 * A consumer group shares the messages of its topics among its members: each message is leased to one
 * of them, who settles it before the lease is over, or it comes again, to whoever asks. The broker keeps
 * what was settled; a member remembers nothing, and there is nothing to rebalance.
 *
 *     receive ---> in hand ---ternmq_ack()----------------------------> done
 *                     |-------RETRY, after the group's backoff-------> comes again, attempt + 1
 *                     |-------RETRY_LATER, after delay_ms------------> comes again, attempt + 1
 *                     |-------DEAD-----------------------------------> the group's dead letters
 *                     |-------RELEASE--------------------------------> comes again, not counted
 *                     `-------(the lease ends)-----------------------> comes again, attempt + 1
 *
 * In an ordered group messages of one queue, or of one key, are given one after the other: the next one when a
 * verdict on the one before was taken, and none behind one whose verdict is no ack, or whose lease is over, before
 * that comes again. So many in hand, many workers and many brokers do not break the order, as long as leases last.
 *
 * Delivery is at least once. After a lost connection, a lost lease or the end of a member messages may
 * come twice; none is lost.
 */
struct ternmq_member;

/* A message in hand. Everything that it points to is good until a verdict on it was taken
 * (ternmq_settle() and its kin), or its member is closed. */
struct ternmq_received {
    struct ternmq_delivery message;
    uint64_t receipt;           /* names it to ternmq_settle() and its kin; never 0 */
    uint32_t attempt;           /* which delivery of it this is, from 1 on */
    struct ternmq_bytes reason; /* why the attempt before failed; absent on the first */
    uint64_t lease_until_ms;    /* when its lease ends, by the broker's clock */
    uint64_t lease_left_ms;     /* how long that was from its arrival */
};

/* Zeroes are the defaults. Copied. */
struct ternmq_member_options {
    const char *group;

    /* Only this one of the group's topics, at its brokers. NULL: all topics of the group, at every
     * broker that has it. */
    const char *topic;

    /* What the broker shows of this member, 1 to 120 bytes; in a broadcast group it is who reads. NULL:
     * the connection. */
    const char *name;

    /* The most messages in hand: asked for, received ahead, given, and settled without the broker's
     * word yet, over all brokers together. It is never exceeded. Default 100, at most 65,535. What is
     * received ahead is leased: who works slowly, and shares with others, takes a small one. */
    uint32_t credit;

    /* Nothing more is asked for while messages of so many bytes are in hand; an answer a broker may
     * exceed it. Default 8 MiB. `receive_bytes` are asked for at a time, at least a message: default
     * 256 KiB, at most 4 MiB. */
    size_t hold_bytes;
    uint32_t receive_bytes;

    /* How long what is received is leased, 100 to 43,200,000; 0: as the group says. */
    uint32_t lease_ms;

    /* Extends the leases of what was given, at a third of their time, until it is settled. What is
     * received ahead is kept so in any case. Happens, as everything, inside calls of yours. */
    bool keep_leases;

    /* An ack is answered when it is on disk, and so survives a power cut. Else a power cut may bring
     * back what was acked in the last moments. */
    bool durable;

    /* Verdicts that nobody waits for travel together: up to `settle_count` of them (default 100, at most
     * 1,000; those side by side in a queue are one), and none waits longer than `settle_linger_ms` (default 5,
     * at most 1,000). */
    uint32_t settle_count;
    uint32_t settle_linger_ms;

    /* Called, if not NULL, when ternmq_receive() would have something to say after it had not. */
    void (*ready)(void *context);

    /* Called, if not NULL, for a verdict that the broker did not take (LEASE_LOST), or may not have got:
     * the message may come again. */
    void (*lost)(void *context, const char *topic, uint32_t queue, uint64_t offset,
                 const struct ternmq_error *why);
    void *context;
};

/*
 * Makes a member of a group that exists. Does not block: whether the group is there, the first
 * ternmq_receive() finds out. NULL: TERNMQ_USAGE, TERNMQ_NO_MEMORY.
 */
TERNMQ_API struct ternmq_member *ternmq_member_open(struct ternmq *client,
                                                    const struct ternmq_member_options *options,
                                                    struct ternmq_error *error_out);

/*
 * Ends it. Blocks for at most `wait_ms`: ends the waiting polls, sends the verdicts that wait, and gives
 * back, uncounted, what is in hand. TERNMQ_OK: all of it was answered; else TERNMQ_TIMED_OUT or
 * TERNMQ_INTERRUPTED: what was not comes again when its lease is over. With `wait_ms` 0 it does not
 * block, and what it says may not arrive; so ends what is left of a client that is closed. NULL is
 * allowed.
 */
TERNMQ_API int ternmq_member_close(struct ternmq_member *member, int64_t wait_ms,
                                   struct ternmq_error *error_out);

/*
 * Blocks for at most `wait_ms` (0: not at all, -1: as long as it takes) until there is a message, and
 * gives 1 to `max`, which are in hand from then on. Messages of a range come in order.
 *
 * TERNMQ_OK; TERNMQ_NOTHING within the time, or where all the credit is in hand and what was not given yet
 * must wait for what was; TERNMQ_INTERRUPTED;
 * TERNMQ_GROUP_NOT_FOUND, TERNMQ_TOPIC_NOT_FOUND, TERNMQ_UNREACHABLE or another retryable code when it
 * has been so for the client's timeout_ms or unreachable_ms (the first two at once): call again to try
 * on; others that are not retryable: nothing will come from that broker; TERNMQ_CORRUPT: a message was
 * changed in the broker's storage or on its way; it was settled RETRY.
 */
TERNMQ_API int ternmq_receive(struct ternmq_member *member, int64_t wait_ms,
                              struct ternmq_received *received_out, size_t max, size_t *count_out,
                              struct ternmq_error *error_out);

enum ternmq_verdict {
    TERNMQ_ACK = 0,
    TERNMQ_RETRY,
    TERNMQ_RETRY_LATER,
    TERNMQ_DEAD,
    TERNMQ_RELEASE
};

/* What becomes of a message in hand; zeroes, and NULL where it is asked for: it is done. */
struct ternmq_settlement {
    enum ternmq_verdict verdict;
    uint32_t delay_ms;  /* of RETRY_LATER: at most 86,400,000 */
    const char *reason; /* of all but ACK: travels with the message, at most 120 bytes; or NULL */
};

/*
 * Takes verdicts and returns at once; they travel together, with the next question for messages where
 * that fits. What becomes of them `lost` says. TERNMQ_OK; TERNMQ_USAGE: one of the receipts names
 * nothing in hand, and none was taken; TERNMQ_NO_MEMORY: the first `error.value` were taken.
 */
TERNMQ_API int ternmq_settle(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                             const struct ternmq_settlement *settlement,
                             struct ternmq_error *error_out);

/*
 * The same, and block until the brokers have answered. TERNMQ_LEASE_LOST, or why a broker was not
 * reached within the client's timeout_ms: `error.value` messages may come again. TERNMQ_INTERRUPTED: the
 * verdicts go on their way, and what becomes of them is not told.
 */
TERNMQ_API int ternmq_ack(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                          struct ternmq_error *error_out);
TERNMQ_API int ternmq_nack(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                           const struct ternmq_settlement *settlement,
                           struct ternmq_error *error_out);

/*
 * Leases messages in hand for `lease_ms` from now on (0: as the group says). Blocks. Errors as
 * ternmq_ack(): `error.value` leases were lost. TERNMQ_USAGE with `keep_leases`.
 */
TERNMQ_API int ternmq_extend(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                             uint32_t lease_ms, struct ternmq_error *error_out);

/* Blocks for at most `wait_ms` (-1: as long as it takes) until every verdict that was taken has been
 * answered or given up. TERNMQ_OK, TERNMQ_TIMED_OUT, TERNMQ_INTERRUPTED. */
TERNMQ_API int ternmq_member_flush(struct ternmq_member *member, int64_t wait_ms,
                                   struct ternmq_error *error_out);

/* What is in hand now: received ahead, given, and settled without an answer; each `_out` may be NULL. */
TERNMQ_API void ternmq_member_in_hand(const struct ternmq_member *member, size_t *ahead_out,
                                      size_t *given_out, size_t *settling_out);

/* --------------------------------------------------------------------------------- push */

/*
 * A push consumer is a member of a group with threads of its own: one runs the loop of a client that
 * belongs to it, and `workers` threads run your callback. Leases are kept for as long as a callback runs,
 * and verdicts travel in batches.
 *
 * Threads: the one exception to what is said above. `message` runs on several threads at once, never
 * twice at once for one message; `failing` runs on the loop's thread and must not block. All of them have
 * every signal blocked. ternmq_push_consumer_close() may be called by any thread but those, once. A
 * callback must not touch the push consumer; it may use clients of its own.
 */
struct ternmq_push_consumer;

/* Works on a message, which is good until it returns. What it gives is settled; `reason` must be good
 * until the same thread is called again, and is cut to 120 bytes. What is no settlement is a RETRY. */
typedef struct ternmq_settlement ternmq_message_fn(void *context,
                                                   const struct ternmq_received *received);

/* Zeroes are the defaults. Copied. */
struct ternmq_push_options {
    /* `credit` 0 stands for twice the workers here: one to work on, one to come next. `keep_leases` is
     * always on; `ready`, `lost` and `context` are not used. */
    struct ternmq_member_options member;

    uint32_t workers; /* default 1, at most 256 */
    ternmq_message_fn *message;

    /* Called, if not NULL, with what ternmq_receive() says other than messages (it goes on trying), and
     * with verdicts that were lost (`error->queue` and `->offset` say of which message). */
    void (*failing)(void *context, const struct ternmq_error *error);
    void *context; /* of both */
};

/*
 * Makes one, with a client of `client_options`, and begins. Does not wait for anybody. NULL:
 * TERNMQ_USAGE, TERNMQ_NO_MEMORY (threads too).
 */
TERNMQ_API struct ternmq_push_consumer *ternmq_push_consumer_open(
    const struct ternmq_options *client_options, const struct ternmq_push_options *options,
    struct ternmq_error *error_out);

/*
 * Ends it: asks for nothing more, gives back what no callback has begun, waits for the callbacks that
 * run, however long they take, and then for at most `wait_ms` (-1: as long as it takes) until all is
 * settled. Errors as ternmq_member_close(); TERNMQ_USAGE from a callback: nothing was done. NULL is
 * allowed.
 */
TERNMQ_API int ternmq_push_consumer_close(struct ternmq_push_consumer *consumer, int64_t wait_ms,
                                          struct ternmq_error *error_out);

/* What it has done so far; each `_out` may be NULL. Any thread. */
TERNMQ_API void ternmq_push_consumer_counts(struct ternmq_push_consumer *consumer,
                                            uint64_t *called_out, uint64_t *acked_out,
                                            uint64_t *lost_out);

#ifdef __cplusplus
}
#endif

#endif
