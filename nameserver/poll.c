/* SPDX-License-Identifier: Apache-2.0 */
/* poll.c - route.get, broker.list, topic.list: answered at once, or parked until something changes. */
#include "nameserver/nameserver_state.h"

#include <stdlib.h>
#include <string.h>

/* What is asked for, in memory of its own: the frame is gone when a poll is answered. */
struct question {
    enum method_id method;
    uint32_t limit;
    uint8_t name_length; /* the topic, or the prefix */
    uint8_t after_length;
    char name[TOPIC_NAME_BYTES_MAX];
    char after[TOPIC_NAME_BYTES_MAX];
};

struct poll {
    struct list link; /* in session->polls */
    struct session *session;
    struct route_watch watch;
    struct timer timer;
    struct question question;
    uint32_t msgid;
    bool due; /* to be answered when there is room in the output */
};

static_assert(BROKER_NAME_BYTES_MAX <= TOPIC_NAME_BYTES_MAX, "a question has room for both");

static uint64_t now_ms(const struct nameserver *nameserver)
{
    return reactor_now_ms(nameserver->reactor);
}

static enum routes_list list_of(enum method_id method)
{
    return method == METHOD_BROKER_LIST ? ROUTES_BROKERS : ROUTES_TOPICS;
}

static struct bytes name_of(const struct question *question)
{
    return bytes_make(question->name, question->name_length);
}

static void question_read(struct question *question, const struct call *call)
{
    *question = (struct question){.method = call->arguments.method->id};
    bool route = question->method == METHOD_ROUTE_GET;
    struct bytes name = arguments_bytes(&call->arguments, route ? ARGUMENT_TOPIC : ARGUMENT_PREFIX);
    ASSERT(name.length <= sizeof(question->name));
    question->name_length = (uint8_t)name.length;
    if (name.length > 0) {
        memcpy(question->name, name.data, name.length);
    }
    if (route) {
        return;
    }
    struct bytes after = arguments_bytes(&call->arguments, ARGUMENT_AFTER);
    ASSERT(after.length <= sizeof(question->after));
    question->after_length = (uint8_t)after.length;
    if (after.length > 0) {
        memcpy(question->after, after.data, after.length);
    }
    question->limit = (uint32_t)arguments_number(&call->arguments, ARGUMENT_LIMIT);
}

/* Answers from what is known now. */
static enum error question_answer(const struct question *question, struct session *session,
                                  uint32_t msgid, struct refusal *refusal)
{
    struct nameserver *nameserver = session->nameserver;
    if (question->method == METHOD_ROUTE_GET) {
        struct route_topic *topic;
        enum error error =
            routes_find(nameserver->routes, now_ms(nameserver), name_of(question), &topic, refusal);
        if (error != OK) {
            return error;
        }
        struct writer writer = session_begin_answer(session, msgid);
        route_write(topic, &writer);
        session_send(session, &writer);
        return OK;
    }
    struct routes_page page = {
        .list = list_of(question->method),
        .prefix = name_of(question),
        .after = bytes_make(question->after, question->after_length),
        .limit = question->limit,
    };
    struct writer writer = session_begin_answer(session, msgid);
    routes_list_write(nameserver->routes, now_ms(nameserver), &page, &writer);
    session_send(session, &writer);
    return OK;
}

static void poll_destroy(struct poll *poll)
{
    struct session *session = poll->session;
    timer_stop(session->nameserver->reactor, &poll->timer);
    route_watch_cancel(&poll->watch);
    list_remove(&poll->link);
    session->poll_count--;
    session->nameserver->counters.polls--;
    session->connection.idle_exempt = session->poll_count > 0;
    free(poll);
}

/* Answers a poll now, or when the peer has taken some of what it was answered before. */
static void poll_finish(struct poll *poll)
{
    struct session *session = poll->session;
    if (session_is_full(session)) {
        poll->due = true;
        return;
    }
    struct refusal refusal;
    if (question_answer(&poll->question, session, poll->msgid, &refusal) != OK) {
        session_send_refusal(session, poll->msgid, &refusal);
    }
    poll_destroy(poll);
}

static void poll_changed(struct route_watch *watch)
{
    poll_finish(CONTAINER_OF(watch, struct poll, watch));
}

static void poll_timed_out(struct timer *timer)
{
    poll_finish(CONTAINER_OF(timer, struct poll, timer));
}

/* The version that an answer would have now; 0 where it would be an error. */
static uint64_t question_version(const struct question *question, struct nameserver *nameserver,
                                 struct route_topic **topic_out)
{
    if (question->method != METHOD_ROUTE_GET) {
        *topic_out = NULL;
        return routes_list_version(nameserver->routes, list_of(question->method));
    }
    struct refusal refusal;
    if (routes_find(nameserver->routes, now_ms(nameserver), name_of(question), topic_out,
                    &refusal) != OK) {
        return 0;
    }
    return route_version(*topic_out);
}

static enum error refuse_waiting(struct refusal *refusal, const char *what, uint64_t limit,
                                 uint64_t usage)
{
    struct refusal_overload overload = {
        .what = what, .limit = limit, .value = 1, .usage = usage, .retry_after_ms = 1000};
    return refusal_set_overload(refusal, ERROR_TOO_MANY_WAITING, &overload);
}

static enum error poll_park(struct call *call, const struct question *question,
                            struct route_topic *topic, uint64_t wait_ms, struct refusal *refusal)
{
    struct session *session = call->session;
    struct nameserver *nameserver = session->nameserver;
    if (session->poll_count >= PARKED_MAX) {
        return refuse_waiting(refusal, "waiting calls of the connection", PARKED_MAX,
                              session->poll_count);
    }
    struct poll *poll =
        nameserver->counters.polls < NAMESERVER_POLLS_MAX ? calloc(1, sizeof(*poll)) : NULL;
    if (poll == NULL) {
        return refuse_waiting(refusal, "waiting calls of the nameserver", NAMESERVER_POLLS_MAX,
                              nameserver->counters.polls);
    }
    poll->session = session;
    poll->question = *question;
    poll->msgid = call->request.msgid;
    poll->watch.changed = poll_changed;
    poll->timer.fired = poll_timed_out;
    if (question->method == METHOD_ROUTE_GET) {
        route_watch_topic(topic, &poll->watch);
    } else {
        route_watch_list(nameserver->routes, list_of(question->method), &poll->watch);
    }
    timer_start(nameserver->reactor, &poll->timer,
                reactor_now_ns(nameserver->reactor) + wait_ms * 1000000);
    list_append(&session->polls, &poll->link);
    session->poll_count++;
    nameserver->counters.polls++;
    session->connection.idle_exempt = true;
    return OK;
}

enum error poll_answer(struct call *call, struct refusal *refusal)
{
    struct question question;
    question_read(&question, call);
    const struct arguments *arguments = &call->arguments;
    uint64_t wait_ms = arguments_number(arguments, ARGUMENT_WAIT_MS);
    if (arguments_has(arguments, ARGUMENT_DEADLINE_MS)) {
        uint64_t deadline_ms = arguments_number(arguments, ARGUMENT_DEADLINE_MS);
        wait_ms = wait_ms < deadline_ms ? wait_ms : deadline_ms;
    }
    if (arguments_has(arguments, ARGUMENT_KNOWN) && wait_ms > 0 && call->request.has_msgid) {
        struct route_topic *topic = NULL;
        uint64_t version = question_version(&question, call->session->nameserver, &topic);
        if (version != 0 && version == arguments_number(arguments, ARGUMENT_KNOWN)) {
            return poll_park(call, &question, topic, wait_ms, refusal);
        }
    }
    return question_answer(&question, call->session, call->request.msgid, refusal);
}

void poll_cancel(struct session *session, uint32_t msgid)
{
    LIST_FOREACH (link, &session->polls) {
        struct poll *poll = CONTAINER_OF(link, struct poll, link);
        if (poll->msgid == msgid) {
            poll_finish(poll);
        }
    }
}

void poll_resume(struct session *session)
{
    LIST_FOREACH (link, &session->polls) {
        struct poll *poll = CONTAINER_OF(link, struct poll, link);
        if (poll->due && !session_is_full(session)) {
            poll_finish(poll);
        }
    }
}

void poll_drop_all(struct session *session)
{
    struct list *link;
    while ((link = list_first(&session->polls)) != NULL) {
        poll_destroy(CONTAINER_OF(link, struct poll, link));
    }
}
