/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_link.c - one nameserver: connecting, renewing, being refused, releasing.
 */
#include "broker/lease_call.h"
#include "broker/lease_state.h"
#include "proto/base/contract.h"
#include "proto/error.h"
#include "proto/request.h"

#include <stdio.h>
#include <string.h>

enum {
    CONNECT_MS = 2000,       /* a nameserver that takes longer is tried again */
    BACK_OFF_MS_LEAST = 100, /* doubles with each failure ... */
    BACK_OFF_MS_MOST = 2000, /* a nameserver that is back is not kept waiting longer */
    FENCED_RETRY_MS = 1000,
    ANSWER_BYTES_MAX = 64 * 1024 /* answers are small maps */
};

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
        leases_check_stopped(link->leases);
        return;
    }
    /* A little chance, so that brokers do not come back to a nameserver all at once. */
    uint64_t wait_ms = link->back_off_ms + reactor_random(reactor) % (link->back_off_ms / 4 + 1);
    timer_start(reactor, &link->timer, reactor_now_ns(reactor) + wait_ms * LEASE_NS_PER_MS);
    link->back_off_ms *= 2;
    if (link->back_off_ms > BACK_OFF_MS_MOST) {
        link->back_off_ms = BACK_OFF_MS_MOST;
    }
    leases_check_waiters(link->leases);
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
    uint64_t patience_ns = (uint64_t)link->lease_ms * LEASES_FENCED_MAX * LEASE_NS_PER_MS;
    if (!link->was_held && now_ns - leases->started_ns < patience_ns) {
        log_limited(
            &link->log_refused, now_ns, LOG_LEVEL_WARN,
            "nameserver %s: a broker %s with a higher epoch than %u was here (%s); if it is "
            "gone it will be forgotten soon",
            link->address.text, leases->options.name, leases->options.epoch, refusal->message);
        link->acknowledged = link->sequence; /* there is no lease that a caller could wait for */
        timer_start(leases->options.reactor, &link->timer,
                    now_ns + FENCED_RETRY_MS * LEASE_NS_PER_MS);
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
    uint64_t at_ns = link->sent_ns + (uint64_t)link->lease_ms * LEASE_NS_PER_MS / 3;
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
    leases_check_waiters(link->leases);
}

static const struct connection_events connection_events = {
    .frame = frame_came,
    .malformed = NULL,
    .drained = NULL,
    .closed = connection_closed,
};

/* ----------------------------------------------------------------- renew */

void link_renew(struct link *link)
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
                link->sent_ns + (uint64_t)link->lease_ms * LEASE_NS_PER_MS / 2);
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

void link_connect(struct link *link)
{
    link->state = LINK_CONNECTING;
    link->connect = (struct connect_op){.op = {.done = connected}};
    reactor_connect(link->leases->options.reactor, &link->connect, &link->address, CONNECT_MS);
}

/* ------------------------------------------------------------------ life */

void link_init(struct link *link, struct leases *leases, const struct address *nameserver)
{
    link->leases = leases;
    link->address = *nameserver;
    link->state = LINK_CLOSED;
    link->timer.fired = timer_fired;
    link->back_off_ms = BACK_OFF_MS_LEAST;
    link->lease_ms = LEASE_MS;
}

void link_stop(struct link *link)
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
