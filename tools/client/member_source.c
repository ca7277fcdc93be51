/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member_source.c - one broker that a member receives from.
 */
#include "tools/client/member_source.h"

#include "net/connection.h"
#include "proto/cursor.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "tools/client/answer_map.h"
#include "tools/client/client.h"
#include "tools/client/fault.h"
#include "tools/client/held.h"
#include "tools/client/receive_answer.h"
#include "tools/client/settle.h"

#include <stdio.h>
#include <stdlib.h>

enum { RECEIVE_ROOM = 1024, HELLO_ROOM = 64 };

/* -------------------------------------------------------------------------- failing */

static void source_pause(struct member_source *source, const struct ternmq_error *error)
{
    struct reactor *reactor = source->member->client->reactor;
    source->state = SOURCE_PAUSED;
    uint64_t pause_ns = client_pause_ns(source->member->client, source->tries++, error);
    timer_start(reactor, &source->pause, reactor_now_ns(reactor) + pause_ns);
}

/* Whether another broker has the group: then it is no error that this one has not. */
static bool others_have_the_group(const struct member_source *source)
{
    LIST_FOREACH (link, &source->member->sources) {
        const struct member_source *other = CONTAINER_OF(link, struct member_source, link);
        if (other != source && other->listed && !other->lacks_group &&
            other->state != SOURCE_STOPPED) {
            return true;
        }
    }
    return false;
}

static void source_lacks_group(struct member_source *source, const struct ternmq_error *error)
{
    struct ternmq_member *member = source->member;
    source->lacks_group = true;
    source_pause(source, error);
    if (member->topic[0] != '\0' || !others_have_the_group(source)) {
        member_notice(member, error, false);
        return;
    }
    struct reactor *reactor = member->client->reactor;
    timer_start(reactor, &source->pause,
                reactor_now_ns(reactor) + (uint64_t)RECEIVE_PAUSE_MS_ABSENT * 1000000U);
}

/* It may go on later: is told when it has been so for long. */
static void source_fails(struct member_source *source, const struct ternmq_error *error)
{
    struct ternmq_member *member = source->member;
    struct ternmq *client = member->client;
    uint64_t now_ns = reactor_now_ns(client->reactor);
    if (source->failing_ns == 0) {
        source->failing_ns = now_ns;
    }
    source_pause(source, error);
    if ((now_ns - source->failing_ns) / 1000000U >= client_patience_ms(client, error)) {
        source->failing_ns = now_ns;
        member_notice(member, error, false);
    } else {
        client_tell_waiting(client, error, source->failing_ns);
    }
}

static bool all_have_stopped(const struct ternmq_member *member)
{
    LIST_FOREACH (link, &member->sources) {
        const struct member_source *source = CONTAINER_OF(link, struct member_source, link);
        if (source->state != SOURCE_STOPPED) {
            return false;
        }
    }
    return true;
}

static void source_failed(struct member_source *source, const struct ternmq_error *error)
{
    source->is_clock_known = false;
    switch (error->code) {
    case TERNMQ_GROUP_NOT_FOUND:
        source_lacks_group(source, error);
        return;
    case TERNMQ_TOPIC_NOT_FOUND:
        source_pause(source, error);
        member_notice(source->member, error, false);
        return;
    case TERNMQ_LOST:
    case TERNMQ_TIMED_OUT:
    case TERNMQ_PROTOCOL:
    case TERNMQ_NO_MEMORY:
        source_fails(source, error);
        return;
    default:
        break;
    }
    if (error->retryable) {
        source_fails(source, error);
        return;
    }
    source->state = SOURCE_STOPPED;
    member_notice(source->member, error, all_have_stopped(source->member));
}

static void pause_over(struct timer *timer)
{
    struct member_source *source = CONTAINER_OF(timer, struct member_source, pause);
    source->state = SOURCE_IDLE;
    member_ask(source->member);
}

/* -------------------------------------------------------------------------- its clock */

static void hello_write(struct client_call *call, struct connection *connection, uint32_t id,
                        uint32_t left_ms)
{
    (void)call;
    (void)left_ms;
    struct writer writer = writer_over(connection_reserve(connection, HELLO_ROOM), HELLO_ROOM);
    request_begin(&writer, id, "hello", 0);
    connection_commit(connection, writer_length(&writer));
}

static void hello_ended(struct client_call *call, const struct client_call_end *end)
{
    struct member_source *source = CONTAINER_OF(call, struct member_source, call);
    if (end->error != NULL) {
        source_failed(source, end->error);
        return;
    }
    struct reactor *reactor = source->member->client->reactor;
    uint64_t now_ms;
    if (!answer_find_uint(end->result, "now", &now_ms)) {
        now_ms = reactor_wall_ms(reactor); /* it says none: taken for ours */
    }
    /* It was read some time on the way there and back: at its beginning, so that no lease is taken for
     * longer than it is. */
    source->ahead_ms =
        (int64_t)(now_ms + end->round_trip_ns / 1000000U + 1) - (int64_t)reactor_now_ms(reactor);
    source->clock_ns = reactor_now_ns(reactor);
    source->is_clock_known = true;
    source->state = SOURCE_IDLE;
    member_ask(source->member);
}

static const struct client_call_kind hello_kind = {.write = hello_write, .ended = hello_ended};

void member_source_address(const struct member_source *source, struct client_call *call)
{
    bool is_named = source->broker[0] != '\0';
    call->to = is_named ? TERNMQ_TO_BROKER : TERNMQ_TO_ANY_BROKER;
    call->to_name = is_named ? source->broker : NULL;
}

void member_source_greet(struct member_source *source)
{
    ASSERT(source->state == SOURCE_IDLE);
    struct ternmq *client = source->member->client;
    source->state = SOURCE_GREETING;
    source->call = (struct client_call){
        .client = client,
        .kind = &hello_kind,
        .timeout_ms = client->timeout_ms,
        .one_try = true,
        .receives = true,
    };
    member_source_address(source, &source->call);
    client_call_start(&source->call);
}

/* -------------------------------------------------------------------------- asking */

static void receive_write(struct client_call *call, struct connection *connection, uint32_t id,
                          uint32_t left_ms)
{
    const struct member_source *source = CONTAINER_OF(call, struct member_source, call);
    const struct ternmq_member *member = source->member;
    bool has_topic = member->topic[0] != '\0';
    bool has_name = member->name[0] != '\0';
    (void)left_ms; /* a poll ends by wait_ms */
    struct writer writer = writer_over(connection_reserve(connection, RECEIVE_ROOM), RECEIVE_ROOM);
    request_begin(&writer, id, "receive",
                  4U + has_topic + has_name + (member->lease_ms != 0) + (source->riding != NULL));
    writer_put_key_string(&writer, "group", member->group);
    writer_put_key_uint(&writer, "max", source->asked);
    writer_put_key_uint(&writer, "max_bytes", member->receive_bytes);
    writer_put_key_uint(&writer, "wait_ms", source->wait_ms);
    if (has_topic) {
        writer_put_key_string(&writer, "topic", member->topic);
    }
    if (has_name) {
        writer_put_key_string(&writer, "member", member->name);
    }
    if (member->lease_ms != 0) {
        writer_put_key_uint(&writer, "lease_ms", member->lease_ms);
    }
    if (source->riding != NULL) {
        writer_put_string(&writer, "ack");
    }
    ASSERT(!writer.overflowed);
    connection_commit(connection, writer_length(&writer));
    if (source->riding != NULL) {
        connection_write(connection, source->riding->receipts, source->riding->receipts_bytes);
    }
}

static void receive_ended(struct client_call *call, const struct client_call_end *end);

static const struct client_call_kind receive_kind = {.write = receive_write,
                                                     .ended = receive_ended};

bool member_source_may_ask(const struct member_source *source)
{
    return source->state == SOURCE_IDLE && source->listed;
}

uint32_t member_source_load(struct member_source *source)
{
    ASSERT(member_source_may_ask(source) && source->riding == NULL);
    uint32_t before = source->member->riding;
    source->riding = settle_ride(source);
    return source->member->riding - before;
}

void member_source_ask(struct member_source *source, uint32_t most, uint32_t wait_ms)
{
    ASSERT(member_source_may_ask(source) && source->is_clock_known && most > 0);
    struct ternmq *client = source->member->client;
    source->state = SOURCE_ASKING;
    source->asked = most;
    source->wait_ms = wait_ms;
    source->asked_ns = reactor_now_ns(client->reactor);
    source->is_cancelled = false;
    source->member->asked += most;
    (void)member_credit_left(source->member); /* asserts that it was there */
    source->call = (struct client_call){
        .client = client,
        .kind = &receive_kind,
        .timeout_ms = wait_ms + client->timeout_ms,
        .one_try = true,
        .receives = true,
        .parks = true,
    };
    member_source_address(source, &source->call);
    client_call_start(&source->call);
}

/* The broker's clock may have been set since it was asked for. */
static void forget_old_clock(struct member_source *source)
{
    uint64_t age_ns = reactor_now_ns(source->member->client->reactor) - source->clock_ns;
    if (age_ns >= (uint64_t)CLOCK_MS * 1000000U) {
        source->is_clock_known = false;
    }
}

/* The poll is over: what it might have brought may be asked for elsewhere. */
static void give_up_asked(struct member_source *source)
{
    source->member->asked -= source->asked;
    source->asked = 0;
    source->state = SOURCE_IDLE;
}

static struct settle_batch *take_riding(struct member_source *source)
{
    struct settle_batch *batch = source->riding;
    source->riding = NULL;
    return batch;
}

/* The poll will not be answered: what rode on it is open again. */
static void poll_fell(struct member_source *source)
{
    struct settle_batch *riding = take_riding(source);
    give_up_asked(source);
    if (riding != NULL) {
        settle_fell(riding);
    }
}

void member_source_cancel(struct member_source *source)
{
    if (source->state != SOURCE_ASKING || source->is_cancelled) {
        return;
    }
    if (client_call_cancel(&source->call)) {
        source->is_cancelled = true; /* what it is answered counts */
        return;
    }
    poll_fell(source);
    settle_send(source);
}

static void poll_failed(struct member_source *source, const struct ternmq_error *error)
{
    poll_fell(source); /* first: callbacks may ask elsewhere for what it might have brought */
    source_failed(source, error);
    settle_send(source); /* not with the next poll: that may be long in coming */
}

/* An empty answer before its time says that the broker cannot let the poll wait: not at once again. */
static bool is_too_early(const struct member_source *source, const struct receive_answer *answer)
{
    uint64_t waited_ns = reactor_now_ns(source->member->client->reactor) - source->asked_ns;
    return answer->message_count == 0 && !source->is_cancelled &&
           waited_ns < (uint64_t)source->wait_ms * 1000000U / 2;
}

static void source_answered(struct member_source *source, struct receive_answer *answer,
                            struct buffer *buffer)
{
    struct ternmq_member *member = source->member;
    struct settle_batch *riding = take_riding(source);
    struct cursor acked = answer->acked;
    uint32_t acked_count = answer->acked_count;
    bool is_too_soon = is_too_early(source, answer);
    bool has_messages = answer->message_count > 0;
    source->was_full = answer->message_count == source->asked;
    if (source->failing_ns != 0 || source->lacks_group) {
        member->notice.code = TERNMQ_OK; /* it is over */
    }
    source->failing_ns = 0;
    source->lacks_group = false;
    give_up_asked(source);
    bool kept = answer->range_count == 0 || held_grant(source, answer, buffer);
    forget_old_clock(source);
    struct ternmq_error error;
    if (!kept) {
        fault_set(&error, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for messages");
        source_fails(source, &error);
    } else if (is_too_soon) {
        fault_set(&error, TERNMQ_OVERLOADED, TERNMQ_STORED_NO,
                  "the broker does not let polls wait");
        source_pause(source, &error);
    } else {
        source->tries = 0;
    }
    /* Last, for it asks anew. */
    if (riding != NULL) {
        settle_rode(riding, acked, acked_count);
    }
    if (has_messages) {
        member_took(member);
    }
    member_ask(member);
}

static void receive_ended(struct client_call *call, const struct client_call_end *end)
{
    struct member_source *source = CONTAINER_OF(call, struct member_source, call);
    if (end->error != NULL) {
        poll_failed(source, end->error);
        return;
    }
    struct receive_answer answer;
    if (!receive_answer_read(end->result, source->asked, &answer)) {
        struct ternmq_error error;
        fault_set(&error, TERNMQ_PROTOCOL, TERNMQ_STORED_NO,
                  "%s answered a receive of %u messages with what is none", end->address,
                  source->asked);
        poll_failed(source, &error);
        return;
    }
    source_answered(source, &answer, end->buffer);
}

/* -------------------------------------------------------------------------- life */

struct member_source *member_source_create(struct ternmq_member *member, const char *broker)
{
    struct member_source *source = calloc(1, sizeof(*source));
    if (source == NULL) {
        return NULL;
    }
    source->member = member;
    source->listed = true;
    source->pause.fired = pause_over;
    snprintf(source->broker, sizeof(source->broker), "%s", broker);
    list_init(&source->open);
    list_init(&source->sent);
    list_init(&source->link);
    list_append(&member->sources, &source->link);
    return source;
}

void member_source_destroy(struct member_source *source)
{
    client_call_drop(&source->call);
    timer_stop(source->member->client->reactor, &source->pause);
    source->member->asked -= source->asked;
    settle_drop(source);
    list_remove(&source->link);
    free(source);
}
