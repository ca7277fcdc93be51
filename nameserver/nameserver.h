/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nameserver.h - the server around the routes: listeners, sessions, and the clock of the leases.
 *
 * It lives in one reactor, real or simulated, and never blocks. A session is one connection:
 * requests come in, are answered at once or parked as a long poll until what they watch changes, their time is
 * over, or a `cancel` names them.
 *
 *     nameserver_create() -> nameserver_listen().. -> nameserver_stop() -> `stopped` -> nameserver_destroy()
 *
 * Any bytes may come: where a message id can be read they are answered with an error, else the connection
 * is closed; each kind is logged at most once a second.
 *
 * Memory:  bounded by routes.h and the limits below; the owner is the nameserver.
 * Threads: the reactor's.
 */
#ifndef NAMESERVER_NAMESERVER_H
#define NAMESERVER_NAMESERVER_H

#include "proto/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct address;
struct nameserver;
struct reactor;

/* Some thousand brokers and clients; what comes beyond it is closed at once. */
#define NAMESERVER_SESSIONS_MAX 8192

/* Eight a session: a client has one for each topic that it uses; about 600 bytes each. */
#define NAMESERVER_POLLS_MAX (8 * NAMESERVER_SESSIONS_MAX)

/* Receive buffers: what all sessions together may have sent and not seen answered. */
#define NAMESERVER_RECEIVE_BYTES_MAX (64U << 20)

/* Addresses to listen on. */
#define NAMESERVER_LISTENERS_MAX 16

struct nameserver_options {
    uint32_t lease_ms; /* LEASE_MS, unless a test is in a hurry */
    uint32_t idle_ms;  /* IDLE_CLOSE_MS; of a connection without a parked poll */
};

/* Never fails: it is made at start. The options are copied. */
struct nameserver *nameserver_create(struct reactor *reactor,
                                     const struct nameserver_options *options);

/* Listens on one more address; `bound_out` (may be NULL) has the real port. On failure one line
 * that says what and what to do is in `error`. */
bool nameserver_listen(struct nameserver *nameserver, const struct address *address,
                       struct address *bound_out, char *error, size_t error_bytes);

/* Stops listening and closes all sessions after what was answered is sent; the loop has to turn until
 * `stopped` runs, once. */
void nameserver_stop(struct nameserver *nameserver, void (*stopped)(void *owner), void *owner);

/* Only once it is stopped: asserted. */
void nameserver_destroy(struct nameserver *nameserver);

/* What it does and has: for tests. */
struct nameserver_counters {
    uint64_t requests;
    uint64_t refused;         /* requests answered with an error */
    uint64_t one_way_dropped; /* unknown one-way calls */
    uint64_t malformed;       /* connections closed for what they sent */
    uint32_t sessions;
    uint32_t polls;
    uint32_t brokers;
    uint32_t topics;
};
struct nameserver_counters nameserver_counters(const struct nameserver *nameserver);

#endif
