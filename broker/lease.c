/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.c - one link a nameserver: connecting, renewing, being refused, releasing.
 */
#include "broker/lease.h"

#include "broker/directory.h"
#include "broker/lease_call.h"
#include "broker/limits.h"
#include "net/connection.h"
#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "proto/error.h"
#include "proto/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS UINT64_C(1000000)

enum {
    CONNECT_MS = 2000,       /* a nameserver that takes longer is tried again */
    BACK_OFF_MS_LEAST = 100, /* doubles with each failure ... */
    BACK_OFF_MS_MOST = 2000, /* ... up to this: a returned nameserver is not kept waiting longer */
    FENCED_RETRY_MS = 1000,
    ANSWER_BYTES_MAX = 64 * 1024 /* answers are small maps */
};

enum link_state { LINK_WAITING, LINK_CONNECTING, LINK_CONNECTED, LINK_CLOSED };

struct link {
    struct leases *leases;
    struct address address;
    enum link_state state;
    struct connect_op connect;
    struct connection connection;
    struct timer
        timer; /* WAITING: the back-off; CONNECTED: the next renewal, or its answer's end */
    uint32_t back_off_ms;
    uint32_t lease_ms;
    uint32_t msgid;
    bool waits_for_answer;
    bool wants_topics;     /* the nameserver asked for the list, or a topic has changed */
    bool told_topics;      /* the renewal under way has the list */
    bool releasing;        /* the answer that is waited for is that of lease.release */
    bool held;             /* a renewal was acknowledged on this connection */
    bool was_held;         /* on any */
    bool said_lost;        /* the operator knows that it is not reachable */
    uint64_t sequence;     /* what the renewal under way tells */
    uint64_t acknowledged; /* what the nameserver knows */
    uint64_t sent_ns;
    struct log_limit log_refused;
};

struct leases {
    struct leases_options options;
    struct address *nameservers;
    char address[ADDRESS_TEXT_BYTES];
    bool started;
    bool stopping;
    bool fenced;
    uint64_t started_ns;
    uint64_t sequence; /* counts the changes that were announced */
    struct list waiters;
    struct timer stop_timer;
    void (*stopped)(void *owner);
    void *stopped_owner;
    uint32_t link_count;
    struct link links[];
};

static void link_connect(struct link *link);
static void link_renew(struct link *link);

/* --------------------------------------------------------------- waiters */

/* Whether every nameserver that is connected knows what `sequence` told. */
static bool is_known(const struct leases *leases, uint64_t sequence)
{
    for (uint32_t i = 0; i < leases->link_count; i++) {
        const struct link *link = &leases->links[i];
        if (link->state == LINK_CONNECTED && link->acknowledged < sequence) {
            return false;
        }
    }
    return true;
}

static void waiter_end(struct lease_waiter *waiter)
{
    timer_stop(waiter->leases->options.reactor, &waiter->timer);
    list_remove(&waiter->link);
    waiter->done(waiter);
}

static void waiters_check(struct leases *leases)
{
    struct list *first;
    while ((first = list_first(&leases->waiters)) != NULL) {
        struct lease_waiter *waiter = CONTAINER_OF(first, struct lease_waiter, link);
        if (!is_known(leases, waiter->sequence)) {
            return; /* those behind it wait for more */
        }
        waiter_end(waiter);
    }
}

static void waiter_fired(struct timer *timer)
{
    waiter_end(CONTAINER_OF(timer, struct lease_waiter, timer));
}

void leases_announce(struct leases *leases, struct lease_waiter *waiter)
{
    ASSERT(leases->started);
    waiter->sequence = ++leases->sequence;
    waiter->leases = leases;
    waiter->timer = (struct timer){.fired = waiter_fired};
    list_append(&leases->waiters, &waiter->link);
    for (uint32_t i = 0; i < leases->link_count; i++) {
        struct link *link = &leases->links[i];
        link->wants_topics = true;
        if (link->state == LINK_CONNECTED && !link->waits_for_answer) {
            link_renew(link);
        }
    }
    /* With nobody to wait for it fires in the next turn: `done` never runs inside this call. */
    uint64_t now_ns = reactor_now_ns(leases->options.reactor);
    bool waits = !is_known(leases, waiter->sequence);
    timer_start(leases->options.reactor, &waiter->timer,
                waits ? now_ns + RENEWAL_WAIT_MS * NS_PER_MS : now_ns);
}

/* ------------------------------------------------------------------ stop */

static void stop_check(struct leases *leases)
{
    if (!leases->stopping || leases->stopped == NULL) {
        return;
    }
    for (uint32_t i = 0; i < leases->link_count; i++) {
        if (leases->links[i].state != LINK_CLOSED) {
            return;
        }
    }
    timer_stop(leases->options.reactor, &leases->stop_timer);
    void (*stopped)(void *owner) = leases->stopped;
    leases->stopped = NULL;
    stopped(leases->stopped_owner);
}

/* ------------------------------------------------------------------ lost */

static void link_wait(struct link *link)
{
    struct reactor *reactor = link->leases->options.reactor;
    link->state = LINK_WAITING;
    link->held = false;
    link->waits_for_answer = false;
    link->releasing = false;
    if (link->leases->stopping) {
        link->state = LINK_CLOSED;
        timer_stop(reactor, &link->timer);
        stop_check(link->leases);
        return;
    }
    /* A little chance, so that brokers do not come back to a nameserver all at once. */
    uint64_t wait_ms = link->back_off_ms + reactor_random(reactor) % (link->back_off_ms / 4 + 1);
    timer_start(reactor, &link->timer, reactor_now_ns(reactor) + wait_ms * NS_PER_MS);
    link->back_off_ms *= 2;
    if (link->back_off_ms > BACK_OFF_MS_MOST) {
        link->back_off_ms = BACK_OFF_MS_MOST;
    }
    waiters_check(link->leases);
}

static void say_lost(struct link *link, const char *why)
{
    if (!link->said_lost && !link->leases->stopping) {
        link->said_lost = true;
        log_warn("nameserver %s: %s; working on without it, trying again", link->address.text, why);
    }
}

static void connection_closed(struct connection *connection, enum connection_end end, int error)
{
    struct link *link = CONTAINER_OF(connection, struct link, connection);
    switch (end) {
    case CONNECTION_END_PEER:
        say_lost(link, "it has closed the connection");
        break;
    case CONNECTION_END_ERROR:
        say_lost(link, strerror(error));
        break;
    case CONNECTION_END_MALFORMED:
        say_lost(link, "it does not speak our protocol");
        break;
    case CONNECTION_END_IDLE:
    case CONNECTION_END_OWNER:
        say_lost(link, "it does not answer");
        break;
    }
    link_wait(link);
}

/* --------------------------------------------------------------- answers */

static void fenced(struct link *link, const struct refusal *refusal)
{
    struct leases *leases = link->leases;
    uint64_t now_ns = reactor_now_ns(leases->options.reactor);
    uint64_t patience_ns = (uint64_t)link->lease_ms * LEASES_FENCED_MAX * NS_PER_MS;
    if (!link->was_held && now_ns - leases->started_ns < patience_ns) {
        log_limited(
            &link->log_refused, now_ns, LOG_LEVEL_WARN,
            "nameserver %s: a broker %s with a higher epoch than %u was here (%s); if it is "
            "gone it will be forgotten soon",
            link->address.text, leases->options.name, leases->options.epoch, refusal->message);
        link->acknowledged = link->sequence; /* there is no lease that a caller could wait for */
        timer_start(leases->options.reactor, &link->timer, now_ns + FENCED_RETRY_MS * NS_PER_MS);
        return;
    }
    if (leases->fenced || leases->stopping) {
        return;
    }
    leases->fenced = true;
    char what[LOG_LINE_BYTES_MAX];
    (void)snprintf(what, sizeof(what),
                   "nameserver %s: another broker has the name %s and a higher epoch than %u; "
                   "give one of the two another --name and --store",
                   link->address.text, leases->options.name, leases->options.epoch);
    leases->options.fenced(leases->options.owner, what);
}

static void renew_later(struct link *link)
{
    struct reactor *reactor = link->leases->options.reactor;
    uint64_t at_ns = link->sent_ns + (uint64_t)link->lease_ms * NS_PER_MS / 3;
    timer_start(reactor, &link->timer, at_ns);
}

static void answer_refused(struct link *link, const struct answer *answer)
{
    struct cursor cursor = cursor_over(answer->error);
    struct refusal refusal;
    if (!refusal_read(&cursor, &refusal)) {
        connection_close(&link->connection);
        return;
    }
    if (refusal.code == ERROR_FENCED) {
        fenced(link, &refusal);
        return;
    }
    log_limited(&link->log_refused, reactor_now_ns(link->leases->options.reactor), LOG_LEVEL_WARN,
                "nameserver %s refuses our lease: %s: %s", link->address.text,
                error_name(refusal.code), refusal.message);
    link->acknowledged = link->sequence; /* waiting longer for it would not help */
    renew_later(link);
}

static void answer_renewed(struct link *link, const struct answer *answer)
{
    struct lease_renewed renewed;
    if (!lease_read_renewed(answer->result, &renewed)) {
        connection_close(&link->connection);
        return;
    }
    if (!link->held) {
        log_info("nameserver %s: our lease is held", link->address.text);
    }
    link->held = true;
    link->was_held = true;
    link->said_lost = false;
    link->back_off_ms = BACK_OFF_MS_LEAST;
    link->lease_ms = renewed.lease_ms;
    if (renewed.want_topics) {
        link->wants_topics = true;
    }
    /* Who has just been sent the list and wants it again gets it at its time, not in a circle. */
    if (renewed.want_topics && !link->told_topics) {
        link_renew(link);
        return;
    }
    link->acknowledged = link->sequence;
    if (link->sequence < link->leases->sequence) {
        link_renew(link);
    } else {
        renew_later(link);
    }
}

static void frame_came(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    (void)buffer;
    struct link *link = CONTAINER_OF(connection, struct link, connection);
    struct answer answer;
    bool is_answer = answer_read(frame, &answer) == OK;
    if (is_answer && link->releasing && answer.msgid != link->msgid) {
        return; /* of a renewal that the release has overtaken */
    }
    if (!is_answer || !link->waits_for_answer || answer.msgid != link->msgid) {
        connection_close(connection);
        return;
    }
    link->waits_for_answer = false;
    if (link->releasing) {
        connection_close(connection);
        return;
    }
    if (link->leases->stopping) {
        return;
    }
    if (answer.failed) {
        answer_refused(link, &answer);
    } else {
        answer_renewed(link, &answer);
    }
    waiters_check(link->leases);
}

static const struct connection_events connection_events = {
    .frame = frame_came,
    .malformed = NULL,
    .drained = NULL,
    .closed = connection_closed,
};

/* ----------------------------------------------------------------- renew */

static void link_renew(struct link *link)
{
    struct leases *leases = link->leases;
    const struct lease_request request = {
        .msgid = ++link->msgid,
        .name = leases->options.name,
        .address = leases->address,
        .epoch = leases->options.epoch,
        .directory = leases->options.directory,
        .with_topics = link->wants_topics,
    };
    lease_write_renew(&request, &link->connection);
    link->told_topics = link->wants_topics;
    link->wants_topics = false;
    link->waits_for_answer = true;
    link->sequence = leases->sequence;
    link->sent_ns = reactor_now_ns(leases->options.reactor);
    /* An answer that takes half a lease is not worth waiting for: another connection may do. */
    timer_start(leases->options.reactor, &link->timer,
                link->sent_ns + (uint64_t)link->lease_ms * NS_PER_MS / 2);
}

static void timer_fired(struct timer *timer)
{
    struct link *link = CONTAINER_OF(timer, struct link, timer);
    if (link->state == LINK_WAITING) {
        link_connect(link);
    } else if (link->waits_for_answer) {
        connection_close(&link->connection);
    } else {
        link_renew(link);
    }
}

/* --------------------------------------------------------------- connect */

static void connected(struct op *op, int64_t result)
{
    struct link *link = CONTAINER_OF(CONTAINER_OF(op, struct connect_op, op), struct link, connect);
    struct leases *leases = link->leases;
    if (result < 0) {
        say_lost(link, strerror((int)-result));
        link_wait(link);
        return;
    }
    if (leases->stopping) {
        reactor_close(leases->options.reactor, (int)result);
        link_wait(link);
        return;
    }
    memset(&link->connection, 0, sizeof(link->connection));
    link->connection.events = &connection_events;
    link->connection.frame_bytes_max = ANSWER_BYTES_MAX;
    connection_open(&link->connection, leases->options.reactor, (int)result);
    link->state = LINK_CONNECTED;
    link_renew(link);
}

static void link_connect(struct link *link)
{
    link->state = LINK_CONNECTING;
    link->connect = (struct connect_op){.op = {.done = connected}};
    reactor_connect(link->leases->options.reactor, &link->connect, &link->address, CONNECT_MS);
}

/* ------------------------------------------------------------------ life */

struct leases *leases_create(const struct leases_options *options)
{
    ASSERT(options->nameserver_count <= NAMESERVERS_MAX);
    size_t links_bytes = options->nameserver_count * sizeof(struct link);
    struct leases *leases = calloc(1, sizeof(*leases) + links_bytes);
    ASSERT(leases != NULL);
    leases->options = *options;
    leases->options.nameservers = NULL;
    list_init(&leases->waiters);
    leases->link_count = options->nameserver_count;
    for (uint32_t i = 0; i < leases->link_count; i++) {
        struct link *link = &leases->links[i];
        link->leases = leases;
        link->address = options->nameservers[i];
        link->state = LINK_CLOSED;
        link->timer.fired = timer_fired;
        link->back_off_ms = BACK_OFF_MS_LEAST;
        link->lease_ms = LEASE_MS;
    }
    return leases;
}

void leases_start(struct leases *leases, const char *address)
{
    ASSERT(!leases->started && strlen(address) < sizeof(leases->address));
    leases->started = true;
    leases->started_ns = reactor_now_ns(leases->options.reactor);
    memcpy(leases->address, address, strlen(address) + 1);
    for (uint32_t i = 0; i < leases->link_count; i++) {
        link_connect(&leases->links[i]);
    }
}

/* A nameserver that does not answer a release will see the lease run out by itself. */
static void stop_fired(struct timer *timer)
{
    struct leases *leases = CONTAINER_OF(timer, struct leases, stop_timer);
    for (uint32_t i = 0; i < leases->link_count; i++) {
        if (leases->links[i].state == LINK_CONNECTED) {
            connection_close(&leases->links[i].connection);
        }
    }
    stop_check(leases);
}

static void link_stop(struct link *link)
{
    struct leases *leases = link->leases;
    struct reactor *reactor = leases->options.reactor;
    timer_stop(reactor, &link->timer);
    switch (link->state) {
    case LINK_WAITING:
        link->state = LINK_CLOSED;
        break;
    case LINK_CONNECTING:
        reactor_cancel(reactor, &link->connect.op);
        break;
    case LINK_CONNECTED:
        link->waits_for_answer = true;
        link->releasing = true;
        lease_write_release(++link->msgid, leases->options.name, leases->options.epoch,
                            &link->connection);
        break;
    case LINK_CLOSED:
        break;
    }
}

void leases_stop(struct leases *leases, void (*stopped)(void *owner), void *owner)
{
    ASSERT(list_is_empty(&leases->waiters) && !leases->stopping);
    leases->stopping = true;
    leases->stopped = stopped;
    leases->stopped_owner = owner;
    bool open = false;
    for (uint32_t i = 0; i < leases->link_count; i++) {
        link_stop(&leases->links[i]);
        open = open || leases->links[i].state != LINK_CLOSED;
    }
    struct reactor *reactor = leases->options.reactor;
    leases->stop_timer = (struct timer){.fired = stop_fired};
    uint64_t now_ns = reactor_now_ns(reactor);
    timer_start(reactor, &leases->stop_timer, open ? now_ns + RENEWAL_WAIT_MS * NS_PER_MS : now_ns);
}

void leases_destroy(struct leases *leases)
{
    if (leases == NULL) {
        return;
    }
    for (uint32_t i = 0; i < leases->link_count; i++) {
        ASSERT(leases->links[i].state == LINK_CLOSED);
    }
    free(leases);
}

uint32_t leases_held(const struct leases *leases)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < leases->link_count; i++) {
        held += leases->links[i].held ? 1 : 0;
    }
    return held;
}
