/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.h - one connection to one server, made when something is to be said, and the exchanges
 * (a request and its answer) that are under way on it.
 *
 *     IDLE --channel_send()--> CONNECTING --> OPEN --> IDLE (freed, unless something waits)
 *
 * A channel does not try again by itself: when it cannot connect, what waited ends as unreachable;
 * when its connection ends, what was sent ends as lost, and whoever owns it decides. Exchanges that
 * were not written to an open connection are surely unknown to the server.
 *
 * Memory:  a channel lives while it is connecting or open; the client owns it. Exchanges are their
 *          owners', who forget them before they free them.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_CHANNEL_H
#define TOOLS_CLIENT_CHANNEL_H

#include "net/address.h"
#include "net/connection.h"
#include "net/reactor.h"
#include "proto/base/bytes.h"
#include "proto/base/list.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stdint.h>

struct buffer;
struct channel;
struct exchange;

enum {
    /* Exchanges by id: as many as a server reads ahead (UNANSWERED_MAX), so chains stay short. */
    CHANNEL_BUCKETS = 256,
    /* Polls on one connection, below the 64 that a server parks (PARKED_MAX). */
    CHANNEL_PULLS_MAX = 60,
    /* Our own end of an idle connection comes before the server's (IDLE_CLOSE_MS), so that a
     * request never meets a connection that is just being closed. */
    CHANNEL_IDLE_MS = 60000
};

enum exchange_outcome {
    EXCHANGE_ANSWERED,
    EXCHANGE_UNREACHABLE, /* not sent */
    EXCHANGE_LOST         /* sent, and no answer will come */
};

struct exchange_end {
    enum exchange_outcome outcome;
    const char *address;
    struct ternmq_error
        *error;            /* what the server refused with, or why there is no answer; or NULL */
    struct bytes result;   /* of an answer without error; valid until return */
    struct buffer *buffer; /* that it lies in: a reference keeps it */
    uint64_t round_trip_ns;
};

/* Zero-initialize, set the three callbacks' owner part. */
struct exchange {
    /* Writes the frame of a request; `id` is its msgid. */
    void (*write)(struct exchange *exchange, struct connection *connection, uint32_t id);
    /* Runs once after channel_send(), from the loop, unless the exchange was forgotten. */
    void (*ended)(struct exchange *exchange, const struct exchange_end *end);
    bool parks;   /* a long poll: is cancelled at the server when it is forgotten */
    bool one_way; /* no answer: it is no longer under way when `write` runs; no `ended` then */

    struct channel *channel; /* the channel's from here; NULL: not under way */
    struct list link;
    struct exchange *chain;
    uint64_t sent_ns;
    uint32_t id;
    bool sent; /* written to an open connection; read it, do not set it */
};

enum channel_state { CHANNEL_IDLE, CHANNEL_CONNECTING, CHANNEL_OPEN, CHANNEL_CLOSING };

struct channel {
    struct ternmq *client;
    struct list link; /* client->channels */
    struct address address;
    char name[ADDRESS_TEXT_BYTES]; /* the address as it was given */
    bool receives;
    enum channel_state state;
    struct connect_op connect;
    struct connection connection;
    struct exchange hello;
    struct list waiting; /* until it is open */
    struct list sent;    /* in order */
    uint32_t waiting_count;
    uint32_t sent_count;
    uint32_t id_next;
    const char *broken; /* why what came is not ours; static, or NULL */
    struct exchange *buckets[CHANNEL_BUCKETS];
};

/*
 * The channel to `address`, made if need be: the one for calls, or, with `receives`, one that has
 * room for a long poll. NULL with `*error` filled in: no such host, or no memory. Blocks where
 * `address` is a name that must be looked up.
 */
struct channel *channel_get(struct ternmq *client, const char *address, bool receives,
                            struct ternmq_error *error);

/* Sends the request of an exchange that is not under way, now or when the channel is open. */
void channel_send(struct channel *channel, struct exchange *exchange);

/* Whether what is sent now is written at once. */
bool channel_is_open(const struct channel *channel);

/* Its `ended` does not run any more; an answer that comes is dropped. Nothing if not under way. */
void exchange_forget(struct exchange *exchange);

/* Asks the server to end a long poll that was sent; its answer ends the exchange as any other does. */
void exchange_cancel(struct exchange *exchange);

/* Closes all channels of a client whose exchanges are forgotten; each is freed when it is home. */
void channels_close(struct ternmq *client);

#endif
