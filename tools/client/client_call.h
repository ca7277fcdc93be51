/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_call.h - one call, from the wish to its one end: finds the server, sends, pauses and
 * sends again while that is safe and there is time.
 *
 *        start
 *          |
 *          v          known                    answered, lost, unreachable
 *      ROUTING ------------------> SENT --------------------------------------> ENDED
 *          ^                         |  may be tried again                        ^
 *          |       pause is over     v                                            |
 *          `--------------------- PAUSED -----------------------------------------'
 *                                                            the deadline, from any state
 *
 * Memory:  embedded in its owner, who may free it from `ended` on, or after client_call_drop().
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_CLIENT_CALL_H
#define TOOLS_CLIENT_CLIENT_CALL_H

#include "net/reactor.h"
#include "tools/client/channel.h"
#include "tools/client/client_route.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stdint.h>

struct client_call;

enum {
    /* Pauses: short enough for a broker that restarts, long enough not to be its load. */
    PAUSE_MS_LEAST = 50,
    PAUSE_MS_MOST = 1000,
    /* Brokers tell a nameserver that has started within a third of a lease, one after the other:
     * asking often finds the topic as soon as it is there. */
    PAUSE_MS_WARMING = 250,
    /* How long one of several nameservers may be silent before the next one is asked: far beyond
     * any answer of one that lives, and short beside the deadline of a call. */
    NAMESERVER_SHARE_MS = 2000
};

struct client_call_end {
    const struct ternmq_error *error; /* NULL: answered without one */
    struct bytes result;
    struct buffer *buffer;
    const char *address; /* who answered, or NULL */
    uint64_t round_trip_ns;
};

struct client_call_kind {
    /* Writes the request's frame. `left_ms` is what to tell the server as deadline_ms, 0: nothing. */
    void (*write)(struct client_call *call, struct connection *connection, uint32_t id,
                  uint32_t left_ms);
    /* Runs once, from the loop. */
    void (*ended)(struct client_call *call, const struct client_call_end *end);
};

enum client_call_state { CALL_IDLE, CALL_ROUTING, CALL_SENT, CALL_PAUSED, CALL_ENDING };

struct client_call {
    /* The owner's; strings live until the end. */
    struct ternmq *client;
    const struct client_call_kind *kind;
    enum ternmq_to to;
    const char *to_name;
    bool any_queue; /* with TERNMQ_TO_TOPIC: any broker of the topic */
    uint32_t queue;
    uint32_t timeout_ms; /* 0: no deadline */
    bool changes;        /* a second time would be wrong: not sent again when it was lost */
    bool one_try;        /* what would lead to a pause ends it */
    bool receives;       /* over a connection of those that receive */
    bool parks;          /* a long poll */
    bool one_way;        /* no answer: over when `write` has run, without `ended` */

    /* The call's from here. */
    enum client_call_state state;
    struct exchange exchange;
    struct client_route *route;
    struct route_waiter waiter;
    struct timer pause; /* while SENT to a nameserver: the end of its share */
    struct timer deadline;
    uint64_t began_ns;
    uint64_t deadline_ns;
    bool turns_away;         /* its last broker is avoided since it failed in this call */
    bool clock_is_old;       /* began_ns and deadline_ns are to be set in the next turn */
    uint64_t unreachable_ns; /* since when nobody could be reached; 0: somebody could */
    uint32_t tries;
    uint32_t nameserver;        /* the one that was asked last */
    uint32_t nameservers_tried; /* in this round */
    struct ternmq_error error;  /* the last one; code 0: none */
};

/* Zero-initialize, fill in the owner's part, then start. Nothing of it ends before the loop runs. */
void client_call_start(struct client_call *call);

static inline bool client_call_is_under_way(const struct client_call *call)
{
    return call->state != CALL_IDLE;
}

/* True if the server may have got it: what is told of a call that is given up. */
static inline bool client_call_was_sent(const struct client_call *call)
{
    return call->state == CALL_SENT && call->exchange.sent;
}

/* Gives it up: `ended` does not run any more. Nothing if it is not under way. */
void client_call_drop(struct client_call *call);

/*
 * Asks the server to end a long poll now: it ends with what it is answered. False: it had not been sent,
 * and was dropped.
 */
bool client_call_cancel(struct client_call *call);

/* How long to pause before try `tries` + 1, for what went wrong as `error` says. */
uint64_t client_pause_ns(struct ternmq *client, uint32_t tries, const struct ternmq_error *error);

/* After how many ms of failing with `error` the user is told. */
uint64_t client_patience_ms(const struct ternmq *client, const struct ternmq_error *error);

/* Tells the user's `waiting` that something is about to be tried again. */
void client_tell_waiting(struct ternmq *client, const struct ternmq_error *why, uint64_t since_ns);

#endif
