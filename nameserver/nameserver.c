/* SPDX-License-Identifier: Apache-2.0 */
/* nameserver.c - the server's life: it listens, keeps the clock of the leases, and stops in order. */
#include "nameserver/nameserver.h"

#include "nameserver/nameserver_state.h"
#include "net/address.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void lease_ended(void *context, struct bytes broker)
{
    struct nameserver *nameserver = context;
    log_limited(&nameserver->log_ended, reactor_now_ns(nameserver->reactor), LOG_LEVEL_WARN,
                "broker %.*s is out of the routes: its lease has ended", (int)broker.length,
                (const char *)broker.data);
}

void nameserver_advance(struct nameserver *nameserver)
{
    routes_advance(nameserver->routes, reactor_now_ms(nameserver->reactor), lease_ended,
                   nameserver);
}

void nameserver_arm(struct nameserver *nameserver)
{
    uint64_t next_ms = routes_next_ms(nameserver->routes);
    if (next_ms == UINT64_MAX) {
        timer_stop(nameserver->reactor, &nameserver->timer);
        return;
    }
    if (!nameserver->timer.started || nameserver->armed_ms != next_ms) {
        nameserver->armed_ms = next_ms;
        timer_start(nameserver->reactor, &nameserver->timer, next_ms * 1000000);
    }
}

static void timer_fired(struct timer *timer)
{
    struct nameserver *nameserver = CONTAINER_OF(timer, struct nameserver, timer);
    nameserver_advance(nameserver);
    nameserver_arm(nameserver);
}

struct nameserver *nameserver_create(struct reactor *reactor,
                                     const struct nameserver_options *options)
{
    struct nameserver *nameserver = calloc(1, sizeof(*nameserver));
    ASSERT(nameserver != NULL);
    nameserver->reactor = reactor;
    nameserver->options = *options;
    nameserver->answer = malloc(ROUTES_ANSWER_BYTES_MAX);
    ASSERT(nameserver->answer != NULL);
    nameserver->timer.fired = timer_fired;
    list_init(&nameserver->sessions);
    struct routes_options routes_options = {
        .now_ms = reactor_now_ms(reactor),
        .lease_ms = options->lease_ms,
        .seed = reactor_random(reactor),
    };
    nameserver->routes = routes_create(&routes_options);
    return nameserver;
}

/* ------------------------------------------------------------- listening */

static void accepted(struct accept_op *accept, int socket)
{
    session_open(CONTAINER_OF(accept, struct listener, accept)->nameserver, socket);
}

static void accept_done(struct op *op, int64_t result)
{
    struct listener *listener = CONTAINER_OF(op, struct listener, accept.op);
    struct nameserver *nameserver = listener->nameserver;
    if (!nameserver->stopping) {
        log_error("no longer accepting on %s: %s", listener->bound.text, strerror((int)-result));
    }
    reactor_close(nameserver->reactor, listener->socket);
    nameserver->listening--;
    nameserver_check_stopped(nameserver);
}

bool nameserver_listen(struct nameserver *nameserver, const struct address *address,
                       struct address *bound_out, char *error, size_t error_bytes)
{
    if (nameserver->listener_count == NAMESERVER_LISTENERS_MAX) {
        (void)snprintf(error, error_bytes, "more than %u addresses to listen on",
                       NAMESERVER_LISTENERS_MAX);
        return false;
    }
    struct address bound;
    int socket = reactor_listen(nameserver->reactor, address, &bound);
    if (socket < 0) {
        (void)snprintf(error, error_bytes, "%s; stop what listens there, or listen elsewhere",
                       strerror(-socket));
        return false;
    }
    struct listener *listener = &nameserver->listeners[nameserver->listener_count++];
    listener->nameserver = nameserver;
    listener->socket = socket;
    listener->accept.accepted = accepted;
    listener->accept.op.done = accept_done;
    listener->bound = bound;
    nameserver->listening++;
    reactor_accept(nameserver->reactor, &listener->accept, socket);
    if (bound_out != NULL) {
        *bound_out = bound;
    }
    return true;
}

/* -------------------------------------------------------------- stopping */

static void stop_done(struct op *op, int64_t result)
{
    (void)result;
    struct nameserver *nameserver = CONTAINER_OF(op, struct nameserver, stopped_op);
    nameserver->stopped(nameserver->owner);
}

void nameserver_check_stopped(struct nameserver *nameserver)
{
    bool done = nameserver->stopping && nameserver->listening == 0 &&
                list_is_empty(&nameserver->sessions) && !nameserver->stopped_op.in_flight;
    if (done) {
        timer_stop(nameserver->reactor, &nameserver->timer);
        nameserver->stopped_op.done = stop_done;
        reactor_post(nameserver->reactor, &nameserver->stopped_op, 0);
    }
}

void nameserver_stop(struct nameserver *nameserver, void (*stopped)(void *owner), void *owner)
{
    ASSERT(!nameserver->stopping);
    nameserver->stopping = true;
    nameserver->stopped = stopped;
    nameserver->owner = owner;
    for (uint32_t i = 0; i < nameserver->listener_count; i++) {
        if (nameserver->listeners[i].accept.op.in_flight) {
            reactor_cancel(nameserver->reactor, &nameserver->listeners[i].accept.op);
        }
    }
    LIST_FOREACH (link, &nameserver->sessions) {
        session_finish(CONTAINER_OF(link, struct session, link));
    }
    nameserver_check_stopped(nameserver);
}

void nameserver_destroy(struct nameserver *nameserver)
{
    ASSERT(list_is_empty(&nameserver->sessions) && nameserver->listening == 0);
    timer_stop(nameserver->reactor, &nameserver->timer);
    routes_destroy(nameserver->routes);
    free(nameserver->answer);
    free(nameserver);
}

struct nameserver_counters nameserver_counters(const struct nameserver *nameserver)
{
    struct nameserver_counters counters = nameserver->counters;
    struct routes_usage usage = routes_usage(nameserver->routes);
    counters.brokers = usage.brokers;
    counters.topics = usage.topics;
    return counters;
}
