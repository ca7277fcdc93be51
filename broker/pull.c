/* SPDX-License-Identifier: Apache-2.0 */
/* pull.c - a pull from its arguments to its answer, and where it waits in between. */
#include "broker/pull.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/delivery.h"
#include "broker/directory.h"
#include "broker/session.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "proto/filter.h"

#include <string.h>

static void pull_serve(struct call *call, struct core *at);

/* ------------------------------------------------------------------ answer */

/*
 * [1, msgid, nil, {topic_id, first, next, end, messages: array32}] in fixed widths; the records
 * follow as they lie in the log.
 */
static const uint8_t answer_template[] = "\x94\x01\xce\0\0\0\0\xc0\x85"
                                         "\xa8topic_id\xce\0\0\0\0"
                                         "\xa5"
                                         "first\xcf\0\0\0\0\0\0\0\0"
                                         "\xa4next\xcf\0\0\0\0\0\0\0\0"
                                         "\xa3"
                                         "end\xcf\0\0\0\0\0\0\0\0"
                                         "\xa8messages\xdd\0\0\0\0";

enum {
    ANSWER_MSGID = 3,
    ANSWER_TOPIC_ID = ANSWER_MSGID + 4 + 2 + 9 + 1,
    ANSWER_FIRST = ANSWER_TOPIC_ID + 4 + 6 + 1,
    ANSWER_NEXT = ANSWER_FIRST + 8 + 5 + 1,
    ANSWER_END = ANSWER_NEXT + 8 + 4 + 1,
    ANSWER_MESSAGES = ANSWER_END + 8 + 9 + 1,
    ANSWER_BYTES = ANSWER_MESSAGES + 4
};

_Static_assert(sizeof(answer_template) - 1 == ANSWER_BYTES, "the places are the template's");

static void answer_ok(struct call *call)
{
    struct pull_call *pull = &call->pull;
    const struct queue_reader *reader = &pull->reader;
    struct core_counters *counters = &call->home->counters;
    uint32_t messages = reader->runs == NULL ? 0 : reader->runs->messages;
    counters->pulls++;
    counters->pulled_messages += messages;
    counters->pulled_bytes += reader->runs == NULL ? 0 : reader->runs->bytes;
    uint8_t *to = call_answer_reserve(call, ANSWER_BYTES);
    if (to != NULL) {
        memcpy(to, answer_template, ANSWER_BYTES);
        store_u32(to + ANSWER_MSGID, call->msgid);
        store_u32(to + ANSWER_TOPIC_ID, reader->topic_id);
        store_u64(to + ANSWER_FIRST, pull->first);
        store_u64(to + ANSWER_NEXT, reader->next);
        store_u64(to + ANSWER_END, reader->end);
        store_u32(to + ANSWER_MESSAGES, messages);
        call_answer_commit(call, ANSWER_BYTES);
        if (reader->runs != NULL) {
            delivery_write(&call->session->connection, reader->runs);
        }
    }
    call_end(call);
}

void pull_refuse(struct call *call)
{
    const struct queue_reader *reader = &call->pull.reader;
    struct refusal refusal;
    refusal_set(&refusal, reader->error, "%s", error_text(reader->error));
    if (reader->error == ERROR_TRUNCATED) {
        refusal_add(&refusal, REFUSAL_RESUME, reader->detail);
    } else if (reader->error == ERROR_OFFSET_TOO_SMALL) {
        refusal_add(&refusal, REFUSAL_FIRST, reader->detail);
    } else if (reader->error == ERROR_CORRUPT || reader->error == ERROR_IO_FAILED) {
        refusal_add(&refusal, REFUSAL_NEXT, reader->detail);
    } else {
        call_fail(call, reader->error);
        return;
    }
    call_refuse(call, &refusal);
}

/* The call comes home from its shard. */
static void pull_home(struct call *call, struct core *at)
{
    struct pull_call *pull = &call->pull;
    struct queue_reader *reader = &pull->reader;
    struct session *session = call->session;
    if (reader->error != OK) {
        pull_refuse(call);
    } else if (reader->runs != NULL && !session->closed && session_is_full(session)) {
        /* What it found is given back, so that a client that reads nothing pins no segments. It
         * goes on from there; unless it was cancelled meanwhile, since nobody would cancel it again. */
        reader->from = reader->runs->runs[0].offset;
        reader->next = reader->from;
        queue_reader_drop_runs(reader, at);
        if (pull->poll.cancel_under_way || reader->cancelled) {
            answer_ok(call);
            return;
        }
        pull->place = PULL_OFFSET;
        pull->at = pull->first;
        list_append(&session->held, &pull->poll.held);
        at->counters.pulls_held++;
    } else {
        answer_ok(call);
    }
}

bool pull_release(struct call *call)
{
    struct pull_call *pull = &call->pull;
    if (poll_end(&pull->poll)) {
        queue_reader_drop_runs(&pull->reader, call->home);
        filter_destroy(pull->reader.filter);
    }
    return !pull->poll.cancel_under_way;
}

/* ------------------------------------------------------- at the shard's core */

static void unpark(struct call *call)
{
    struct pull_call *pull = &call->pull;
    if (!pull->parked) {
        return;
    }
    pull->parked = false;
    timer_stop(pull->reader.shard->core->reactor, &pull->timer);
    queue_waiter_cancel(&pull->waiter);
}

/* Waiting is over without a message. */
static void stop_waiting(struct call *call)
{
    list_remove(&call->pull.woken);
    unpark(call);
    call_return(call, call->pull.reader.shard->core, pull_home);
}

/* At the owner, for a call that came here before its cancel did, so it is here or gone home. One that has just
 * come is served in its turn. */
static void cancel_here(struct call *call, struct core *at)
{
    struct pull_call *pull = &call->pull;
    (void)at;
    if (pull->parked) {
        stop_waiting(call);
    } else if (!list_is_empty(&pull->woken) || pull->reader.is_cold) {
        pull->reader.cancelled = true;
    }
}

static void waiter_woken(struct queue_waiter *waiter)
{
    struct pull_call *pull = CONTAINER_OF(waiter, struct pull_call, waiter);
    list_append(&pull->reader.shard->core->woken, &pull->woken);
}

static void timer_fired(struct timer *timer)
{
    stop_waiting(CONTAINER_OF(timer, struct call, pull.timer));
}

static void park(struct call *call, struct core *at)
{
    struct pull_call *pull = &call->pull;
    const struct queue_reader *reader = &pull->reader;
    struct queue *queue =
        commit_log_queue_find(reader->shard->log, reader->topic_id, reader->queue);
    pull->parked = true;
    pull->waiter.offset = reader->from;
    queue_wait(queue, &pull->waiter);
    timer_start(at->reactor, &pull->timer, pull->wait_until_ns);
}

static void pull_serve(struct call *call, struct core *at)
{
    struct pull_call *pull = &call->pull;
    const struct queue_reader *reader = &pull->reader;
    uint64_t now_ns = reactor_now_ns(at->reactor);
    if (!pull_read(call, at, pull_serve)) {
        return;
    }
    bool may_go_on =
        reader->error == OK && reader->runs == NULL && !reader->cancelled && !at->draining;
    if (may_go_on && reader->from < reader->end && now_ns < pull_scan_until_ns(call)) {
        list_append(reader->put_off ? &at->woken : &at->scanning, &pull->woken);
        return;
    }
    if (may_go_on && reader->from == reader->end && now_ns < pull->wait_until_ns) {
        park(call, at);
        return;
    }
    call_return(call, at, pull_home);
}

/* A pull from an offset is served when the logs have written: messages that came in the same turn are
 * among what it finds, instead of waiting for the next pull. What begins elsewhere means now. */
static void pull_arrive(struct call *call, struct core *at)
{
    core_hook_woken(at);
    if (call->pull.place != PULL_OFFSET) {
        pull_serve(call, at);
        return;
    }
    list_append(&at->woken, &call->pull.woken);
}

void pull_serve_woken(struct core *core)
{
    struct list woken;
    list_init(&woken);
    list_move_all(&woken, &core->woken);
    filter_scans_begin(&core->scans);
    struct list *link;
    while ((link = list_first(&woken)) != NULL) {
        struct call *call = CONTAINER_OF(link, struct call, pull.woken);
        list_remove(link);
        unpark(call);
        pull_serve(call, core);
    }
    /* Who looked on goes behind those for whom nothing was left. */
    list_move_all(&core->woken, &core->scanning);
}

/* ------------------------------------------------------------------ cancel */

void pull_cancel(struct call *call)
{
    struct pull_call *pull = &call->pull;
    struct poll *poll = &pull->poll;
    if (poll->ended || poll->cancel_under_way) {
        return;
    }
    if (!list_is_empty(&poll->held)) {
        list_remove(&poll->held);
        answer_ok(call);
        return;
    }
    poll_cancel_at(poll, pull->reader.shard->core);
}

void pull_resume_held(struct session *session)
{
    struct list held;
    list_init(&held);
    list_move_all(&held, &session->held);
    struct list *link;
    while ((link = list_first(&held)) != NULL) {
        struct call *call = CONTAINER_OF(link, struct poll, held)->call;
        list_remove(link);
        call_forward(call, call->home, call->pull.reader.shard->core, pull_serve);
    }
}

void pull_init(struct call *call, const struct topic *topic, uint16_t queue)
{
    struct pull_call *pull = &call->pull;
    struct shard *shard = call->home->cores->shard[topic_shard(topic, queue)];
    *pull = (struct pull_call){.waiter = {.woken = waiter_woken}, .timer = {.fired = timer_fired}};
    queue_reader_init(&pull->reader, shard, topic->id, queue, PULL_BYTES_DEFAULT);
    list_init(&pull->waiter.link);
    list_init(&pull->woken);
    poll_init(&pull->poll, call, cancel_here);
}

/* Reads where the pull begins: exactly one of four arguments says so. */
static enum error read_place(struct pull_call *pull, const struct arguments *arguments,
                             struct refusal *refusal)
{
    bool first = arguments_has(arguments, ARGUMENT_FIRST) &&
                 arguments_number(arguments, ARGUMENT_FIRST) != 0;
    bool last =
        arguments_has(arguments, ARGUMENT_LAST) && arguments_number(arguments, ARGUMENT_LAST) != 0;
    bool offset = arguments_has(arguments, ARGUMENT_OFFSET);
    bool at_time = arguments_has(arguments, ARGUMENT_AT_TIME);
    if (first + last + offset + at_time != 1) {
        return arguments_refuse(refusal, ARGUMENT_OFFSET,
                                "exactly one of offset, at_time, first, last");
    }
    if (offset) {
        pull->place = PULL_OFFSET;
        pull->at = arguments_number(arguments, ARGUMENT_OFFSET);
    } else if (at_time) {
        pull->place = PULL_TIME;
        pull->at = arguments_number(arguments, ARGUMENT_AT_TIME);
    } else {
        pull->place = first ? PULL_FIRST : PULL_LAST;
    }
    return OK;
}

static enum error read_arguments(struct call *call, const struct arguments *arguments,
                                 struct refusal *refusal)
{
    const struct topic *topic =
        directory_find(call->home->directory, arguments_bytes(arguments, ARGUMENT_TOPIC));
    if (topic == NULL) {
        return refusal_set(refusal, ERROR_TOPIC_NOT_FOUND, "%s", error_text(ERROR_TOPIC_NOT_FOUND));
    }
    if (arguments_has(arguments, ARGUMENT_TOPIC_ID) &&
        arguments_number(arguments, ARGUMENT_TOPIC_ID) != topic->id) {
        return refusal_set(refusal, ERROR_TOPIC_CHANGED, "%s", error_text(ERROR_TOPIC_CHANGED));
    }
    uint64_t queue = arguments_number(arguments, ARGUMENT_QUEUE);
    enum error error = topic_check_queue(topic, queue, refusal);
    if (error != OK) {
        return error;
    }
    pull_init(call, topic, (uint16_t)queue);
    struct pull_call *pull = &call->pull;
    pull->reader.messages_max = (uint32_t)arguments_number(arguments, ARGUMENT_MAX);
    pull->reader.bytes_max = arguments_number(arguments, ARGUMENT_MAX_BYTES);
    pull->has_epoch = arguments_has(arguments, ARGUMENT_EPOCH);
    pull->epoch = (uint32_t)arguments_number(arguments, ARGUMENT_EPOCH);
    pull->wait_until_ns = poll_until_ns(call, arguments_number(arguments, ARGUMENT_WAIT_MS));
    return read_place(pull, arguments, refusal);
}

void pull_run(struct call *call, const struct arguments *arguments)
{
    struct refusal refusal;
    call->method = METHOD_COUNT; /* until there is a pull to release */
    if (read_arguments(call, arguments, &refusal) != OK) {
        call_refuse(call, &refusal);
        return;
    }
    struct pull_call *pull = &call->pull;
    bool may_wait = pull->wait_until_ns != 0;
    if (may_wait && poll_is_one_too_many(call) && poll_refuse(call, &refusal) != OK) {
        call_refuse(call, &refusal);
        return;
    }
    if (pull_read_filter(call, arguments, &refusal) != OK) {
        call_refuse(call, &refusal);
        return;
    }
    call->method = METHOD_PULL;
    call_drop_buffer(call);
    struct core *home = call->home;
    struct core *owner = pull->reader.shard->core;
    if (may_wait) {
        poll_begin(&pull->poll);
    }
    call_forward(call, home, owner, pull_arrive);
}
