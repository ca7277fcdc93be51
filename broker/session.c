/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - the events of a connection, its limits, its end. */
#include "broker/session.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/dispatch.h"
#include "broker/receive.h"
#include "proto/base/contract.h"
#include "proto/limits.h"

#include <stdlib.h>
#include <string.h>

/* How much of unreadable bytes a log line shows. */
enum { SHOWN_BYTES = 8 };

static struct session *session_of(struct connection *connection)
{
    return CONTAINER_OF(connection, struct session, connection);
}

/* ------------------------------------------------------------------ limits */

bool session_is_full(const struct session *session)
{
    return connection_unsent_bytes(&session->connection) > UNSENT_BYTES_MAX;
}

void session_check_limits(struct session *session)
{
    bool stop = session->unanswered >= UNANSWERED_MAX ||
                session->unanswered_bytes >= UNANSWERED_BYTES_MAX || session_is_full(session) ||
                session->ending;
    if (stop == session->reading_stopped || session->closed) {
        return;
    }
    session->reading_stopped = stop;
    if (stop) {
        session->core->counters.reading_stopped++;
        connection_pause(&session->connection);
    } else {
        connection_resume(&session->connection);
    }
}

void session_poll_parked(struct session *session)
{
    session->parked++;
    session->core->counters.parked++;
    session->connection.idle_exempt = true;
}

void session_poll_ended(struct session *session)
{
    session->parked--;
    session->core->counters.parked--;
    session->connection.idle_exempt = session->parked > 0;
}

/* --------------------------------------------------------------------- end */

static void session_destroy(struct session *session)
{
    struct core *core = session->core;
    ASSERT(session->unanswered == 0 && session->parked == 0);
    list_remove(&session->link);
    free(session);
    core_session_gone(core);
}

void session_call_ended(struct session *session)
{
    if (!list_is_empty(&session->calls)) {
        session_check_limits(session);
    } else if (session->closed) {
        session_destroy(session);
    } else if (session->ending) {
        connection_finish(&session->connection);
    } else {
        session_check_limits(session);
    }
}

/* Ends every poll. Ending the last call may end the session too, so the next link is read before
 * and the head's address is all that is used of it afterwards. */
static void session_cancel_polls(struct session *session)
{
    struct list *head = &session->calls;
    struct list *link = head->next;
    while (link != head) {
        struct list *next = link->next;
        struct call *call = CONTAINER_OF(link, struct call, link);
        if (call->method == METHOD_PULL) {
            pull_cancel(call);
        } else if (call->method == METHOD_RECEIVE) {
            receive_cancel(call);
        }
        link = next;
    }
}

void session_end(struct session *session)
{
    if (session->ending || session->closed) {
        return;
    }
    session->ending = true;
    session_check_limits(session);
    if (list_is_empty(&session->calls)) {
        connection_finish(&session->connection);
        return;
    }
    session_cancel_polls(session);
}

void session_close(struct session *session)
{
    connection_close(&session->connection);
}

/* ------------------------------------------------------------------ events */

static void session_frame(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    struct session *session = session_of(connection);
    dispatch_frame(session, frame, buffer);
    session_check_limits(session); /* a connection does not close within its own event */
}

/* The first bytes in hex, for the one log line a second that a malformed stream is worth. */
static void show_bytes(struct bytes seen, char text[2 * SHOWN_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    size_t count = seen.length < SHOWN_BYTES ? seen.length : SHOWN_BYTES;
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = digits[seen.data[i] >> 4];
        text[2 * i + 1] = digits[seen.data[i] & 15];
    }
    text[2 * count] = '\0';
}

static void session_malformed(struct connection *connection, struct bytes seen, const char *why)
{
    struct session *session = session_of(connection);
    struct core *core = session->core;
    core->counters.malformed++;
    char shown[2 * SHOWN_BYTES + 1];
    show_bytes(seen, shown);
    log_limited(&core->log_malformed, reactor_now_ns(core->reactor), LOG_LEVEL_WARN,
                "closed a connection whose bytes are no frame (%s): they begin with %s", why,
                shown);

    struct request request;
    enum error error = request_read(seen, &request);
    (void)error; /* it is bad in any case; the question is whether somebody can be told */
    if (!request.has_msgid) {
        return;
    }
    struct refusal refusal;
    if (connection->framer.reason == FRAMER_REASON_TOO_LONG) {
        refusal_set(&refusal, ERROR_TOO_LARGE, "the frame is longer than %u bytes",
                    FRAME_BYTES_MAX);
        refusal_add(&refusal, REFUSAL_LIMIT, FRAME_BYTES_MAX);
        refusal_add(&refusal, REFUSAL_VALUE, framer_need(&connection->framer));
    } else {
        refusal_set(&refusal, ERROR_MALFORMED, "the frame cannot be read: %s", why);
    }
    enum { BYTES = ANSWER_BEGIN_BYTES_MAX + REFUSAL_BYTES_MAX };
    struct writer writer = writer_over(connection_reserve(connection, BYTES), BYTES);
    answer_write_refusal(&writer, request.msgid, &refusal, session->error_form);
    connection_commit(connection, writer_length(&writer));
}

static void session_drained(struct connection *connection)
{
    struct session *session = session_of(connection);
    pull_resume_held(session);
    receive_resume_held(session);
    session_check_limits(session);
}

static void session_closed(struct connection *connection, enum connection_end end, int error)
{
    struct session *session = session_of(connection);
    struct core *core = session->core;
    if (end == CONNECTION_END_ERROR) {
        log_limited(&core->log_closed, reactor_now_ns(core->reactor), LOG_LEVEL_DEBUG,
                    "a connection ended: %s", strerror(error));
    }
    session->closed = true;
    receive_session_closed(session);
    if (list_is_empty(&session->calls)) {
        session_destroy(session);
        return;
    }
    session_cancel_polls(session);
}

static const struct connection_events session_events = {
    .frame = session_frame,
    .malformed = session_malformed,
    .drained = session_drained,
    .closed = session_closed,
};

void session_start(struct core *core, int socket)
{
    struct session *session = calloc(1, sizeof(*session));
    ASSERT(session != NULL);
    session->core = core;
    list_init(&session->calls);
    list_init(&session->produces);
    list_init(&session->held);
    list_init(&session->held_receives);
    list_init(&session->given);
    session->id = (uint64_t)core->number << 48 | ++core->session_serial;
    list_append(&core->sessions, &session->link);
    session->connection.events = &session_events;
    session->connection.frame_bytes_max = FRAME_BYTES_MAX;
    session->connection.unsent_high = UNSENT_BYTES_MAX;
    session->connection.idle_ms = IDLE_CLOSE_MS;
    connection_open(&session->connection, core->reactor, socket);
}
