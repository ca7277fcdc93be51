/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - one connection: frames in, calls out of them, answers back. */
#include "nameserver/nameserver_state.h"

#include <stdlib.h>

static struct session *session_of(struct connection *connection)
{
    return CONTAINER_OF(connection, struct session, connection);
}

void session_send(struct session *session, const struct writer *writer)
{
    ASSERT(!writer->overflowed);
    connection_write(&session->connection, writer->start, writer_length(writer));
    if (session_is_full(session)) {
        connection_pause(&session->connection);
    }
}

void session_send_refusal(struct session *session, uint32_t msgid, const struct refusal *refusal)
{
    session->nameserver->counters.refused++;
    uint8_t room[ANSWER_BEGIN_BYTES_MAX + REFUSAL_BYTES_MAX];
    struct writer writer = writer_over(room, sizeof(room));
    answer_write_refusal(&writer, msgid, refusal, session->error_form);
    session_send(session, &writer);
}

/* --------------------------------------------------------------- methods */

static enum error call_hello(struct call *call, struct refusal *refusal)
{
    (void)refusal;
    struct session *session = call->session;
    if (arguments_has(&call->arguments, ARGUMENT_ERRORS)) {
        session->error_form = (enum error_form)arguments_number(&call->arguments, ARGUMENT_ERRORS);
    }
    struct writer writer = session_begin_answer(session, call->request.msgid);
    writer_put_map(&writer, 5);
    writer_put_key_uint(&writer, "protocol", PROTOCOL_VERSION);
    writer_put_string(&writer, "features");
    writer_put_array(&writer, 0);
    answer_put_limits(&writer);
    writer_put_key_string(&writer, "name", "nameserver");
    writer_put_key_uint(&writer, "now", reactor_wall_ms(session->nameserver->reactor));
    session_send(session, &writer);
    return OK;
}

/* Tells the operator what a renewal has changed. */
static void log_renewal(struct nameserver *nameserver, const struct lease *lease,
                        const struct lease_answer *answer)
{
    uint64_t now_ns = reactor_now_ns(nameserver->reactor);
    if (answer->arrived || answer->replaced) {
        log_limited(&nameserver->log_lease, now_ns, LOG_LEVEL_INFO,
                    "broker %.*s %s: %.*s, epoch %u", (int)lease->broker.length,
                    (const char *)lease->broker.data,
                    answer->replaced ? "has a newer epoch" : "has come", (int)lease->address.length,
                    (const char *)lease->address.data, lease->epoch);
    }
    if (answer->disputed.length > 0) {
        log_limited(&nameserver->log_disputed, now_ns, LOG_LEVEL_WARN,
                    "topic %.*s is on several brokers that do not agree about its queues, %.*s is "
                    "one: delete it where it is not meant to be",
                    (int)answer->disputed.length, (const char *)answer->disputed.data,
                    (int)lease->broker.length, (const char *)lease->broker.data);
    }
}

static enum error call_renew(struct call *call, struct refusal *refusal)
{
    struct session *session = call->session;
    struct nameserver *nameserver = session->nameserver;
    const struct arguments *arguments = &call->arguments;
    struct lease lease = {
        .broker = arguments_bytes(arguments, ARGUMENT_BROKER),
        .address = arguments_bytes(arguments, ARGUMENT_ADDRESS),
        .epoch = (uint32_t)arguments_number(arguments, ARGUMENT_EPOCH),
        .digest = arguments_number(arguments, ARGUMENT_DIGEST),
        .has_topics = arguments_has(arguments, ARGUMENT_TOPICS),
        .session = session->number,
    };
    if (lease.has_topics) {
        lease.topics = arguments_cursor(arguments, ARGUMENT_TOPICS);
        lease.topic_count = (uint32_t)arguments_number(arguments, ARGUMENT_TOPICS);
    }
    struct lease_answer answer;
    enum error error = routes_renew(nameserver->routes, reactor_now_ms(nameserver->reactor), &lease,
                                    &answer, refusal);
    if (error != OK) {
        if (error == ERROR_FENCED) {
            log_limited(&nameserver->log_fenced, reactor_now_ns(nameserver->reactor),
                        LOG_LEVEL_WARN, "a lease was refused to %.*s: %s",
                        (int)lease.address.length, (const char *)lease.address.data,
                        refusal->message);
        }
        return error;
    }
    log_renewal(nameserver, &lease, &answer);
    if (call->request.has_msgid) {
        struct writer writer = session_begin_answer(session, call->request.msgid);
        writer_put_map(&writer, 2);
        writer_put_key_uint(&writer, "lease_ms", nameserver->options.lease_ms);
        writer_put_key_bool(&writer, "want_topics", answer.want_topics);
        session_send(session, &writer);
    }
    return OK;
}

static void answer_nil(struct call *call)
{
    if (call->request.has_msgid) {
        uint8_t room[ANSWER_BEGIN_BYTES_MAX + 1];
        struct writer writer = writer_over(room, sizeof(room));
        answer_write_nil(&writer, call->request.msgid);
        session_send(call->session, &writer);
    }
}

static enum error call_release(struct call *call, struct refusal *refusal)
{
    struct nameserver *nameserver = call->session->nameserver;
    struct bytes broker = arguments_bytes(&call->arguments, ARGUMENT_BROKER);
    enum error error =
        routes_release(nameserver->routes, reactor_now_ms(nameserver->reactor), broker,
                       (uint32_t)arguments_number(&call->arguments, ARGUMENT_EPOCH), refusal);
    if (error == OK) {
        log_limited(&nameserver->log_ended, reactor_now_ns(nameserver->reactor), LOG_LEVEL_INFO,
                    "broker %.*s has left", (int)broker.length, (const char *)broker.data);
        answer_nil(call);
    }
    return error;
}

static enum error call_cancel(struct call *call, struct refusal *refusal)
{
    (void)refusal;
    poll_cancel(call->session, (uint32_t)arguments_number(&call->arguments, ARGUMENT_MSGID));
    answer_nil(call);
    return OK;
}

static enum error call_method(struct call *call, struct refusal *refusal)
{
    switch (call->arguments.method->id) {
    case METHOD_NAMESERVER_HELLO:
        return call_hello(call, refusal);
    case METHOD_LEASE_RENEW:
        return call_renew(call, refusal);
    case METHOD_LEASE_RELEASE:
        return call_release(call, refusal);
    case METHOD_ROUTE_GET:
    case METHOD_BROKER_LIST:
    case METHOD_NAMESERVER_TOPIC_LIST:
        return poll_answer(call, refusal);
    case METHOD_NAMESERVER_CANCEL:
        return call_cancel(call, refusal);
    default:
        UNREACHABLE("method_find() gives methods of one side");
    }
}

/* Reads the arguments and runs the method. */
static enum error call_run(struct call *call, struct refusal *refusal)
{
    const struct request *request = &call->request;
    const struct method *method = method_find(METHOD_SIDE_NAMESERVER, request->method);
    if (method == NULL) {
        return refusal_set(refusal, ERROR_UNKNOWN_METHOD, "the nameserver has no method %.*s",
                           request->method.length > 64 ? 64 : (int)request->method.length,
                           (const char *)request->method.data);
    }
    enum error error = arguments_read(method, request->arguments, &call->arguments, refusal);
    if (error != OK) {
        return error;
    }
    /* What asks is of no use where nothing can be answered. */
    bool answers = request->has_msgid || method->id == METHOD_LEASE_RENEW ||
                   method->id == METHOD_LEASE_RELEASE || method->id == METHOD_NAMESERVER_CANCEL;
    return answers ? call_method(call, refusal) : OK;
}

/* ---------------------------------------------------------------- events */

static void log_malformed(struct nameserver *nameserver, const char *why)
{
    nameserver->counters.malformed++;
    log_limited(&nameserver->log_malformed, reactor_now_ns(nameserver->reactor), LOG_LEVEL_WARN,
                "a connection was closed: what it sent is no request: %s", why);
}

static void session_frame(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    (void)buffer;
    struct session *session = session_of(connection);
    struct nameserver *nameserver = session->nameserver;
    nameserver_advance(nameserver);
    nameserver->counters.requests++;

    struct call call = {.session = session};
    struct refusal refusal;
    enum error error = request_read(frame, &call.request);
    if (error == OK) {
        error = call_run(&call, &refusal);
        if (error != OK && !call.request.has_msgid) {
            nameserver->counters.one_way_dropped++;
        }
    } else if (call.request.has_msgid) {
        refusal_set(&refusal, error, "a request is [0, msgid, method, [arguments]]");
    } else {
        log_malformed(nameserver, "neither [0, msgid, method, [arguments]] nor one-way");
        connection_finish(connection);
        return;
    }
    if (error != OK && call.request.has_msgid) {
        session_send_refusal(session, call.request.msgid, &refusal);
    }
    nameserver_arm(nameserver);
}

static void session_malformed(struct connection *connection, struct bytes seen, const char *why)
{
    struct session *session = session_of(connection);
    log_malformed(session->nameserver, why);
    struct request request;
    enum error error = request_read(seen, &request);
    (void)error; /* OK where what is wrong lies within the arguments, which it does not read */
    if (request.has_msgid) {
        struct refusal refusal;
        refusal_set(&refusal, ERROR_MALFORMED, "%s; the connection is closed", why);
        session_send_refusal(session, request.msgid, &refusal);
    }
}

static void session_drained(struct connection *connection)
{
    struct session *session = session_of(connection);
    poll_resume(session);
    if (!session_is_full(session)) {
        connection_resume(connection);
    }
}

static void session_drop(struct session *session)
{
    poll_drop_all(session);
    list_remove(&session->link);
    session->nameserver->counters.sessions--;
    free(session);
}

static void session_closed(struct connection *connection, enum connection_end end, int error)
{
    (void)end;
    (void)error;
    struct session *session = session_of(connection);
    struct nameserver *nameserver = session->nameserver;
    uint64_t now_ms = reactor_now_ms(nameserver->reactor);
    uint32_t lost = routes_lose(nameserver->routes, now_ms, session->number);
    if (lost > 0 && !nameserver->stopping) {
        log_limited(&nameserver->log_ended, reactor_now_ns(nameserver->reactor), LOG_LEVEL_WARN,
                    "the connection of %u broker%s was lost: its lease ends in %u ms at most", lost,
                    lost == 1 ? "" : "s", LEASE_LOST_MS);
    }
    session_drop(session);
    nameserver_arm(nameserver);
    nameserver_check_stopped(nameserver);
}

static const struct connection_events SESSION_EVENTS = {
    .frame = session_frame,
    .malformed = session_malformed,
    .drained = session_drained,
    .closed = session_closed,
};

void session_open(struct nameserver *nameserver, int socket)
{
    bool room = nameserver->counters.sessions < NAMESERVER_SESSIONS_MAX && !nameserver->stopping;
    struct session *session = room ? calloc(1, sizeof(*session)) : NULL;
    if (session == NULL) {
        log_limited(&nameserver->log_full, reactor_now_ns(nameserver->reactor), LOG_LEVEL_WARN,
                    "a connection was turned away: %u of %u are open",
                    nameserver->counters.sessions, NAMESERVER_SESSIONS_MAX);
        reactor_close(nameserver->reactor, socket);
        return;
    }
    session->nameserver = nameserver;
    session->number = ++nameserver->next_session;
    list_init(&session->polls);
    list_append(&nameserver->sessions, &session->link);
    nameserver->counters.sessions++;
    session->connection.events = &SESSION_EVENTS;
    session->connection.frame_bytes_max = FRAME_BYTES_MAX;
    session->connection.unsent_high = UNSENT_BYTES_MAX;
    session->connection.idle_ms = nameserver->options.idle_ms;
    connection_open(&session->connection, nameserver->reactor, socket);
}

void session_finish(struct session *session)
{
    connection_finish(&session->connection);
}
