/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call.h - one request on its way: from the frame it came in to the answer.
 *
 * A call is made on the core of its session, its home, and answered there. In between it may work
 * on other cores: call_forward() sends the call itself there, with the step to run; whoever holds
 * it works on it alone, so nothing is locked. Answers are written at home only, straight into the
 * connection's memory.
 *
 *     session --> dispatch --> method's step at home
 *                                  |  call_forward(call, core of the shard, step)
 *                                  v
 *                              step there: append, read, ask
 *                                  |  call_return(call, step)
 *                                  v
 *                              step at home: call_answer(), call_refuse(): the call ends
 *
 * A call whose session has closed goes on as if nothing had happened; its answer is dropped.
 *
 * Memory:  from the core's pool. Bounded by what a session may have unanswered and parked. A call
 *          holds its receive buffer until call_drop_buffer() or its end.
 * Threads: the core that holds it.
 */
#ifndef BROKER_CALL_H
#define BROKER_CALL_H

#include "broker/produce.h"
#include "broker/pull.h"
#include "broker/receive.h"
#include "broker/settle.h"
#include "proto/arguments.h"
#include "proto/base/bytes.h"
#include "proto/base/list.h"
#include "proto/error.h"
#include "proto/method.h"
#include "proto/request.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

struct buffer;
struct call;
struct core;
struct session;

/* Something to do with a call on the core `at`, which holds it from here. */
typedef void call_step_fn(struct call *call, struct core *at);

struct call {
    struct list link; /* session->calls */
    struct session *session;
    struct core *home;
    struct buffer *buffer; /* where its frame lies, or NULL */
    enum method_id method;
    uint32_t msgid;
    bool one_way;         /* is not answered */
    bool counted;         /* in session->unanswered */
    uint32_t cost_bytes;  /* of session->unanswered_bytes */
    uint64_t arrived_ns;  /* monotonic */
    uint64_t deadline_ns; /* UINT64_MAX: none */
    call_step_fn *step;   /* of the journey it is on */
    call_step_fn *tour_each;
    call_step_fn *tour_last;
    union {
        struct produce_call produce;
        struct pull_call pull;
        struct receive_call receive;
        struct settling settling; /* ack, nack, extend */
        void *own;                /* any other method's; freed by the method before the call ends */
    };
};

/* ---------------------------------------------------------------- travel */

/* Runs `step` on `to`: at once if the call is there (`from` == `to`), else in a coming turn. */
void call_forward(struct call *call, struct core *from, struct core *to, call_step_fn *step);

/* Runs `step` at home. */
void call_return(struct call *call, struct core *from, call_step_fn *step);

/* Runs `each` on every core in order of their numbers, then `last` at home. */
void call_tour(struct call *call, struct core *from, call_step_fn *each, call_step_fn *last);

/* True, at home, where nobody will read an answer; work for it may be left out. */
bool call_is_dropped(const struct call *call);

/* True where `deadline_ms` has passed: refuse with ERROR_DEADLINE if nothing was done yet. */
bool call_is_late(const struct call *call, const struct core *at);

/* Gives the receive buffer back, at home, before the call ends. Spans into the frame are gone then. */
void call_drop_buffer(struct call *call);

/* ---------------------------------------------------------------- answer */

/*
 * All of these are for home, and end the call: it must not be touched afterwards. Of a one-way
 * call, or one whose session has closed, nothing is written.
 */

/* Answers with an error. */
void call_refuse(struct call *call, const struct refusal *refusal);

/* The same, with the error's own sentence and no details. */
void call_fail(struct call *call, enum error error);

/* Answers with `result`, one msgpack value of any length. */
void call_answer(struct call *call, struct bytes result);

/* Answers nil. */
void call_answer_nil(struct call *call);

/*
 * Writes an answer in place instead: room for `bytes` (at most 64 KiB) of the whole answer, or
 * NULL where it is dropped; then call_answer_commit() with what was written, then call_end().
 */
uint8_t *call_answer_reserve(struct call *call, size_t bytes);
void call_answer_commit(struct call *call, size_t bytes);

/* Ends the call; whatever was to be answered is queued. */
void call_end(struct call *call);

/* ------------------------------------------------------------- by session */

/* Makes a call of `session` for a frame of `frame_bytes`; counts it. References `buffer`. */
struct call *call_begin(struct session *session, struct buffer *buffer, size_t frame_bytes);

/* Takes it out of the unanswered: it ends, or is a poll that may wait. */
void call_uncount(struct call *call);

/* Counts memory that the call takes beyond its frame as unanswered bytes of its session. */
void call_charge(struct call *call, size_t bytes);

#endif
