/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lease.h - keeps this broker known to every nameserver.
 *
 * One connection a nameserver, each by itself:
 *
 *     WAITING --back-off is over--> CONNECTING --> CONNECTED --> (lost) --> WAITING
 *                                                    |  ^
 *                              every third of a lease|  |answer
 *                              or at once on a change`--'
 *
 * A renewal says who we are and a digest of our topics; the list itself goes along when the
 * nameserver asked for it, and when a topic has just changed. With no nameserver reachable the
 * broker works on: clients that know their routes need none.
 *
 * FENCED means that a broker of this name with a higher epoch is known. Where this one has held a
 * lease before, or has tried for LEASES_FENCED_MAX leases, two brokers share a name: `fenced` runs. A new
 * store under an old name is forgotten by nameservers sooner than that.
 *
 * Memory:  about 1 KiB a nameserver, and the list of topics while it is being sent, below 8 MiB.
 * Threads: core 0's.
 */
#ifndef BROKER_LEASE_H
#define BROKER_LEASE_H

#include "net/address.h"
#include "net/reactor.h"
#include "proto/base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct directory;
struct leases;

/* Time for a new store under an old name to be let in, in leases. */
#define LEASES_FENCED_MAX 3

struct leases_options {
    struct reactor *reactor;
    const struct directory *directory; /* core 0's: every topic */
    const char *name;                  /* outlives the leases */
    uint32_t epoch;
    const struct address *nameservers; /* copied */
    uint32_t nameserver_count;         /* 0 to NAMESERVERS_MAX */

    /* Two brokers have this name: `what` is one line. Runs once, from the loop. */
    void (*fenced)(void *owner, const char *what);
    void *owner;
};

/* Somebody who waits until the nameservers know what the directory has now. */
struct lease_waiter {
    void (*done)(struct lease_waiter *waiter); /* once, from the loop */
    uint64_t sequence;                         /* leases */
    struct timer timer;                        /* leases */
    struct leases *leases;                     /* leases */
    struct list link;                          /* leases */
};

struct leases *leases_create(const struct leases_options *options);

/* Begins to connect; `address` is what the nameservers tell to clients, copied. */
void leases_start(struct leases *leases, const char *address);

/* Renews everywhere at once, with the list of topics; `done` runs when every nameserver that is
 * connected has acknowledged it, or after RENEWAL_WAIT_MS. */
void leases_announce(struct leases *leases, struct lease_waiter *waiter);

/* Releases the leases and closes; `stopped` runs once, from the loop, after at most
 * RENEWAL_WAIT_MS and what closing takes. Nobody waits any more: asserted. */
void leases_stop(struct leases *leases, void (*stopped)(void *owner), void *owner);

/* Stopped, or never started: asserted. */
void leases_destroy(struct leases *leases);

/* How many nameservers hold a lease of ours now: for stats and tests. */
uint32_t leases_held(const struct leases *leases);

#endif
