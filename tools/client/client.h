/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - what `struct ternmq` is, for the sources of the library.
 *
 *     ternmq --- channels   connections, each with the exchanges under way on it
 *            --- routes     where topics and brokers are
 *            --- avoided    brokers that failed lately
 *            --- producers  --- batches            \  each is a client_call: finds its server, sends,
 *            --- consumers  --- pullers             \ pauses, sends again, until its deadline
 *            --- members    --- sources, verdicts   /
 *            --- plain calls                       /
 *
 * Threads: the caller's; client_interrupt's flag alone is shared.
 */
#ifndef TOOLS_CLIENT_CLIENT_H
#define TOOLS_CLIENT_CLIENT_H

#include "net/address.h"
#include "net/reactor.h"
#include "proto/base/list.h"
#include "tools/client/ternmq.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    CLIENT_NAMESERVERS_MAX = 16,
    CLIENT_NAME_BYTES = 256,
    CLIENT_RECEIVE_BYTES_DEFAULT = 64 << 20,
    CLIENT_RECEIVE_BYTES_LEAST = 4 << 20,
    CLIENT_TIMEOUT_MS_DEFAULT = 15000, /* a nameserver is warming for 10 s after its start */
    CLIENT_CONNECT_MS_DEFAULT = 3000,
    /* A program that was away so long gets its clock read and its sockets looked at before it sends:
     * what has been closed meanwhile is then known. */
    CLIENT_AWAY_NS = 100 * 1000 * 1000,
    /* A program that is busy with what it consumed lets the loop run so often beside it. */
    CLIENT_BESIDE_NS = 1000 * 1000
};

struct ternmq {
    struct reactor *reactor;
    bool attached; /* the reactor is somebody else's, who runs it */
    bool direct;   /* one broker, no nameserver */
    bool closing;

    char nameservers[CLIENT_NAMESERVERS_MAX][ADDRESS_TEXT_BYTES];
    uint32_t nameserver_count;
    uint32_t nameserver; /* the one that answered last */
    char broker[ADDRESS_TEXT_BYTES];
    char name[CLIENT_NAME_BYTES];
    uint32_t timeout_ms;
    uint32_t unreachable_ms;
    uint32_t connect_timeout_ms;
    void (*waiting)(void *context, const struct ternmq_error *why, uint64_t waited_ms);
    void *waiting_context;

    struct list channels;
    struct list routes;
    uint32_t route_count;
    struct list avoided; /* brokers that failed lately (client_avoid.h) */
    uint32_t avoided_count;
    struct list producers;
    struct list consumers;
    struct list members;
    struct list calls; /* plain calls */

    size_t pinned_bytes;     /* receive buffers that consumers hold */
    size_t pinned_bytes_max; /* above it they copy instead, so that answers can still come in */
    void *kept;              /* what the last function gave borrowed */
    uint32_t callbacks;      /* that run now */
    uint64_t turned_ns;      /* when the loop last ran, by our own clock */
    _Atomic bool interrupted;

    void (*detached)(void *context);
    void *detached_context;
};

/*
 * At the beginning of every function of ternmq.h that does something: lets the loop catch up if it did
 * not run for a while, unless inside a callback or attached.
 */
void client_enter(struct ternmq *client);

/* Lets the loop run once, without waiting, if it did not for CLIENT_BESIDE_NS. */
void client_run_beside(struct ternmq *client);

/* True with `*error_out` filled in (TERNMQ_USAGE) where blocking is not allowed. */
bool client_must_not_block(const struct ternmq *client, struct ternmq_error *error_out);

/*
 * Runs the loop until `met(context)`, which is asked first and after each turn. At most `wait_ms` (-1:
 * for ever). TERNMQ_OK, TERNMQ_TIMED_OUT, TERNMQ_INTERRUPTED.
 */
int client_run_until(struct ternmq *client, int64_t wait_ms, bool (*met)(void *context),
                     void *context);

/* Whether ternmq_interrupt() was called; it is forgotten then. */
static inline bool client_take_interrupt(struct ternmq *client)
{
    return atomic_load_explicit(&client->interrupted, memory_order_relaxed) &&
           atomic_exchange(&client->interrupted, false);
}

/* Frees what was given borrowed, and gives room for `bytes` more of it, or NULL. */
void *client_keep(struct ternmq *client, size_t bytes);

/* A channel is gone: a client that is closing may be home. */
void client_channel_freed(struct ternmq *client);

/* Around everything of the user's that the library calls. */
static inline void client_callback_begin(struct ternmq *client)
{
    client->callbacks++;
}

static inline void client_callback_end(struct ternmq *client)
{
    client->callbacks--;
}

#endif
