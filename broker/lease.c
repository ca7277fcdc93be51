/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.c - all links together: who waits for them, how they begin and end.
 */
#include "broker/lease.h"

#include "broker/lease_state.h"
#include "broker/limits.h"
#include "proto/base/contract.h"

#include <stdlib.h>
#include <string.h>

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

void leases_check_waiters(struct leases *leases)
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
                waits ? now_ns + RENEWAL_WAIT_MS * LEASE_NS_PER_MS : now_ns);
}

/* ------------------------------------------------------------------ stop */

void leases_check_stopped(struct leases *leases)
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
        link_init(&leases->links[i], leases, &options->nameservers[i]);
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
    leases_check_stopped(leases);
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
    timer_start(reactor, &leases->stop_timer,
                open ? now_ns + RENEWAL_WAIT_MS * LEASE_NS_PER_MS : now_ns);
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
