/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease_state.h - what the leases are made of; for lease.c and lease_link.c alone.
 *
 * Threads: core 0's.
 */
#ifndef BROKER_LEASE_STATE_H
#define BROKER_LEASE_STATE_H

#include "broker/lease.h"
#include "net/connection.h"
#include "proto/base/log.h"

#define LEASE_NS_PER_MS UINT64_C(1000000)

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

/* Makes a link, CLOSED; the address is copied. */
void link_init(struct link *link, struct leases *leases, const struct address *nameserver);

/* Begins to connect. */
void link_connect(struct link *link);

/* Renews now, on a connection on which no answer is waited for. */
void link_renew(struct link *link);

/* Releases the lease, or stops trying; the link is CLOSED at once or later. */
void link_stop(struct link *link);

/* A link knows more, or is gone: tells those whose wait is over. */
void leases_check_waiters(struct leases *leases);

/* While stopping: a link is CLOSED. */
void leases_check_stopped(struct leases *leases);

#endif
