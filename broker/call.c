/* SPDX-License-Identifier: Apache-2.0 */
/* call.c - calls travel, are answered and end. */
#include "broker/call.h"

#include "broker/core.h"
#include "broker/session.h"
#include "net/buffer.h"
#include "proto/base/contract.h"

/* What an overloaded broker asks a client to wait before it tries again, unless it knows better. */
#define RETRY_AFTER_MS 100

/* ---------------------------------------------------------------- travel */

static void deliver_call(const struct core_message *message, void *core)
{
    struct call *call = message->object;
    call->step(call, core);
}

void call_forward(struct call *call, struct core *from, struct core *to, call_step_fn *step)
{
    if (from == to) {
        step(call, to);
        return;
    }
    call->step = step;
    from->counters.forwarded++;
    struct core_message message = {.deliver = deliver_call, .object = call};
    core_send_to(from, to, &message);
}

void call_return(struct call *call, struct core *from, call_step_fn *step)
{
    call_forward(call, from, call->home, step);
}

static void tour_step(struct call *call, struct core *at)
{
    call->tour_each(call, at);
    uint32_t next = at->number + 1;
    if (next == at->cores->count) {
        call_return(call, at, call->tour_last);
        return;
    }
    call_forward(call, at, at->cores->core[next], tour_step);
}

void call_tour(struct call *call, struct core *from, call_step_fn *each, call_step_fn *last)
{
    call->tour_each = each;
    call->tour_last = last;
    call_forward(call, from, from->cores->core[0], tour_step);
}

bool call_is_dropped(const struct call *call)
{
    return call->one_way || call->session->closed;
}

bool call_is_late(const struct call *call, const struct core *at)
{
    return reactor_now_ns(at->reactor) >= call->deadline_ns;
}

void call_drop_buffer(struct call *call)
{
    buffer_release(call->buffer);
    call->buffer = NULL;
}

/* ---------------------------------------------------------------- answer */

uint8_t *call_answer_reserve(struct call *call, size_t bytes)
{
    return call_is_dropped(call) ? NULL : connection_reserve(&call->session->connection, bytes);
}

void call_answer_commit(struct call *call, size_t bytes)
{
    connection_commit(&call->session->connection, bytes);
}

void call_refuse(struct call *call, const struct refusal *refusal)
{
    struct core_counters *counters = &call->home->counters;
    counters->refused++;
    counters->one_way_dropped += call->one_way ? 1 : 0;
    counters->deadlines += refusal->code == ERROR_DEADLINE ? 1 : 0;
    enum { BYTES = ANSWER_BEGIN_BYTES_MAX + REFUSAL_BYTES_MAX };
    uint8_t *room = call_answer_reserve(call, BYTES);
    if (room != NULL) {
        struct writer writer = writer_over(room, BYTES);
        answer_write_refusal(&writer, call->msgid, refusal, call->session->error_form);
        ASSERT(!writer.overflowed);
        call_answer_commit(call, writer_length(&writer));
    }
    call_end(call);
}

void call_fail(struct call *call, enum error error)
{
    struct refusal refusal;
    refusal_set(&refusal, error, "%s", error_text(error));
    if (error_is_overload(error)) {
        refusal_add(&refusal, REFUSAL_RETRY_AFTER_MS, RETRY_AFTER_MS);
    }
    call_refuse(call, &refusal);
}

void call_answer(struct call *call, struct bytes result)
{
    uint8_t *room = call_answer_reserve(call, ANSWER_BEGIN_BYTES_MAX);
    if (room != NULL) {
        struct writer writer = writer_over(room, ANSWER_BEGIN_BYTES_MAX);
        answer_begin(&writer, call->msgid);
        call_answer_commit(call, writer_length(&writer));
        connection_write(&call->session->connection, result.data, result.length);
    }
    call_end(call);
}

void call_answer_nil(struct call *call)
{
    uint8_t *room = call_answer_reserve(call, ANSWER_BEGIN_BYTES_MAX);
    if (room != NULL) {
        struct writer writer = writer_over(room, ANSWER_BEGIN_BYTES_MAX);
        answer_write_nil(&writer, call->msgid);
        call_answer_commit(call, writer_length(&writer));
    }
    call_end(call);
}

/* ------------------------------------------------------------- begin, end */

struct call *call_begin(struct session *session, struct buffer *buffer, size_t frame_bytes)
{
    struct core *core = session->core;
    struct call *call = pool_take(&core->calls);
    call->session = session;
    call->home = core;
    call->buffer = buffer;
    buffer_hold(buffer);
    call->method = METHOD_COUNT;
    call->one_way = false;
    call->counted = true;
    call->cost_bytes = (uint32_t)frame_bytes;
    call->arrived_ns = reactor_now_ns(core->reactor);
    call->deadline_ns = UINT64_MAX;
    session->unanswered++;
    session->unanswered_bytes += frame_bytes;
    list_append(&session->calls, &call->link);
    return call;
}

void call_charge(struct call *call, size_t bytes)
{
    call->cost_bytes += (uint32_t)bytes;
    call->session->unanswered_bytes += bytes;
}

void call_uncount(struct call *call)
{
    struct session *session = call->session;
    if (call->counted) {
        call->counted = false;
        session->unanswered--;
        session->unanswered_bytes -= call->cost_bytes;
    }
}

void call_end(struct call *call)
{
    struct session *session = call->session;
    call_uncount(call);
    if (call->buffer != NULL) {
        call_drop_buffer(call);
    }
    if (call->method == METHOD_PRODUCE) {
        produce_release(call);
    } else if (call->method == METHOD_PULL || call->method == METHOD_MESSAGE_GET) {
        if (!pull_release(call)) {
            return;
        }
    } else if (call->method == METHOD_RECEIVE) {
        if (!receive_release(call)) {
            return;
        }
    } else if (call->method == METHOD_ACK || call->method == METHOD_NACK ||
               call->method == METHOD_EXTEND) {
        settle_release(call);
    }
    list_remove(&call->link);
    pool_give(&call->home->calls, call);
    session_call_ended(session);
}
