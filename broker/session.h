/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - one client's connection: frames in, calls out, and the limits between them.
 *
 * A session lives on one core. It turns each frame into a call (broker/dispatch.h), counts what is
 * unanswered, and stops reading where a limit is reached:
 *
 *     UNANSWERED_MAX requests, or UNANSWERED_BYTES_MAX of them    (proto/limits.h)
 *     UNSENT_BYTES_MAX of answers that the socket has not taken
 *
 * A poll that waits does not count as unanswered; it has its own limit, PARKED_MAX. While one waits
 * the connection is not closed for being idle.
 *
 *     OPEN ---> ENDING ---------------------> CLOSED ---> gone
 *               (draining: answers what is     (the connection is; calls still
 *                under way, then finishes)      away come home and are dropped)
 *
 * Memory:  this struct, and of its calls what `unanswered_bytes` counts: at most
 *          UNANSWERED_BYTES_MAX and one frame more, with the message lists made for it; 64 polls.
 * Threads: its core's.
 */
#ifndef BROKER_SESSION_H
#define BROKER_SESSION_H

#include "net/connection.h"
#include "proto/base/list.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct core;

struct session {
    struct core *core;
    struct list link; /* core->sessions */
    struct connection connection;
    struct list calls;         /* struct call.link: every call that has not ended, here or away */
    struct list produces;      /* struct call.produce.ordered: answered in this order per queue */
    struct list held_receives; /* struct poll.held: likewise, of receives */
    struct list given;         /* answers of receives that may not be sent yet */
    uint64_t id;               /* of no other session of the broker */
    uint64_t lease_shards;     /* bit 1 << shard: may hold something for this session */
    bool release_on_close;     /* what it has not settled is given back when it closes */
    struct list held;          /* struct poll.held: pulls that wait until the socket takes more */
    uint32_t unanswered;       /* requests, polls that wait left out */
    uint64_t unanswered_bytes;
    uint32_t parked; /* polls that wait */
    enum error_form error_form;
    bool reading_stopped;
    bool ending; /* draining: finish when nothing is unanswered */
    bool closed; /* the connection is; the session goes with its last call */
};

/* Begins to serve `socket`, which is the session's from here. */
void session_start(struct core *core, int socket);

/* For drains: answers what is under way, then closes. */
void session_end(struct session *session);

/* Closes the connection now. The session may be gone on return. */
void session_close(struct session *session);

/* Looks at the limits again after one of the counts has changed; stops or resumes reading. */
void session_check_limits(struct session *session);

/* For call_end(): one of the calls is gone. The session may be gone on return. */
void session_call_ended(struct session *session);

/* A poll begins to wait, or has ended waiting. */
void session_poll_parked(struct session *session);
void session_poll_ended(struct session *session);

/* True where no poll is served: the socket must take some of what is unsent first. */
bool session_is_full(const struct session *session);

#endif
