/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nameserver_state.h - what the server consists of; for nameserver.c, session.c and poll.c alone.
 *
 *     nameserver --- sessions --- polls, each watching a topic or a list of the routes
 *
 * Threads: the reactor's.
 */
#ifndef NAMESERVER_NAMESERVER_STATE_H
#define NAMESERVER_NAMESERVER_STATE_H

#include "nameserver/nameserver.h"
#include "nameserver/routes.h"
#include "net/address.h"
#include "net/connection.h"
#include "net/reactor.h"
#include "proto/arguments.h"
#include "proto/base/list.h"
#include "proto/base/log.h"
#include "proto/request.h"

struct session;

struct listener {
    struct accept_op accept;
    struct nameserver *nameserver;
    int socket;
    struct address bound;
};

struct nameserver {
    struct reactor *reactor;
    struct nameserver_options options;
    struct routes *routes;
    struct listener listeners[NAMESERVER_LISTENERS_MAX];
    uint32_t listener_count;
    uint32_t listening; /* accepts in flight */
    struct list sessions;
    uint64_t next_session;
    struct timer timer; /* the next end of a lease ... */
    uint64_t armed_ms;  /* ... and when that is */
    uint8_t *answer; /* ROUTES_ANSWER_BYTES_MAX: where an answer is written before it is queued */
    bool stopping;
    void (*stopped)(void *owner);
    void *owner;
    struct op stopped_op;
    struct nameserver_counters counters;
    struct log_limit log_malformed;
    struct log_limit log_full;
    struct log_limit log_lease;
    struct log_limit log_ended;
    struct log_limit log_fenced;
    struct log_limit log_disputed;
};

struct session {
    struct connection connection;
    struct nameserver *nameserver;
    struct list link; /* in nameserver->sessions */
    struct list polls;
    uint32_t poll_count;
    uint64_t number;
    enum error_form error_form;
};

/* One request being answered. */
struct call {
    struct session *session;
    struct request request;
    struct arguments arguments;
};

/* Takes the socket of a new connection. */
void session_open(struct nameserver *nameserver, int socket);

/* Ends a session after what is queued was sent. */
void session_finish(struct session *session);

/* Runs when the last session or listener is gone, to see whether a stop is complete. */
void nameserver_check_stopped(struct nameserver *nameserver);

/* Ends the leases that are over; before any look at the routes. */
void nameserver_advance(struct nameserver *nameserver);

/* Sets the timer to the next end of a lease; after whatever changed one. */
void nameserver_arm(struct nameserver *nameserver);

/* The answer of route.get, broker.list or topic.list, at once or parked. Refuses as its method does. */
enum error poll_answer(struct call *call, struct refusal *refusal);

/* Ends the parked polls of that message id as if their time were over. */
void poll_cancel(struct session *session, uint32_t msgid);

/* Answers the polls that are due and had to wait for room in the output. */
void poll_resume(struct session *session);

/* Drops all polls of a session that is closed. */
void poll_drop_all(struct session *session);

/* Whether a session has more unsent than it may add to. */
static inline bool session_is_full(const struct session *session)
{
    return connection_unsent_bytes(&session->connection) > UNSENT_BYTES_MAX;
}

/* The answer's writer, before its result. */
static inline struct writer session_begin_answer(struct session *session, uint32_t msgid)
{
    struct writer writer = writer_over(session->nameserver->answer, ROUTES_ANSWER_BYTES_MAX);
    answer_begin(&writer, msgid);
    return writer;
}

/* Queues what was written. */
void session_send(struct session *session, const struct writer *writer);

/* Queues an error. */
void session_send_refusal(struct session *session, uint32_t msgid, const struct refusal *refusal);

#endif
