/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_route.h - where topics and brokers are, as the nameservers say, kept until it proves wrong.
 *
 *     STALE --route_wait()--> ASKING --> KNOWN        an error puts it back to STALE, and those
 *       ^                                  |          who waited are told
 *       `-------- route_forget() ----------'
 *
 * A client of one broker asks that broker, and has those queues of a topic that lie there.
 *
 * Where any queue will do the masters that are alive take turns, but for those that failed lately
 * (client_avoid.h). A queue has one broker, alive or not: nothing that belongs to it goes elsewhere.
 *
 * A nameserver forgets the topics of a broker with its lease, at once when it stops, so its
 * TOPIC_NOT_FOUND about a topic whose route was known means that the broker is away, or that the
 * topic was deleted. It is retryable until a broker itself has denied the topic.
 *
 * Memory:  a route lives while somebody holds a reference, and some time longer: ROUTES_KEPT_MAX.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_CLIENT_ROUTE_H
#define TOOLS_CLIENT_CLIENT_ROUTE_H

#include "net/address.h"
#include "proto/base/list.h"
#include "proto/limits.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stdint.h>

struct client_route;
struct route_ask;

enum { ROUTES_KEPT_MAX = 256 };

/* What a route is about. */
enum route_kind {
    ROUTE_TOPIC,     /* `name` is a topic */
    ROUTE_BROKER,    /* `name` is a broker: one span */
    ROUTE_ANY_BROKER /* every broker: a span each; `name` is "" */
};

enum route_state { ROUTE_STALE, ROUTE_ASKING, ROUTE_KNOWN };

struct route_waiter {
    /* Runs once, from the loop; `error` NULL: the route is known. */
    void (*ready)(struct route_waiter *waiter, const struct ternmq_error *error);
    struct list link; /* the route's; zeroed: waits for nothing */
};

struct client_route {
    struct ternmq *client;
    struct list link;
    enum route_kind kind;
    enum route_state state;
    char name[TOPIC_NAME_BYTES_MAX + 1]; /* brokers' names are as long */
    uint32_t references;
    struct route_ask *ask;
    struct list waiters;
    bool denied; /* since it was known a broker has said that there is no such topic */
    uint64_t known_ns;
    uint64_t version;
    uint32_t queue_count;
    uint32_t span_count;
    struct ternmq_route_span *spans; /* with their strings, one block */
    const char *
        *masters; /* of the spans that are alive and take writes, each once; in their block */
    uint32_t master_count;
    uint32_t turn; /* whose turn it is among them */
    bool recount;  /* the number of queues has proved wrong: keys belong elsewhere now */
};

/* The route, made if need be, with one reference more; NULL: no memory, or the name is too long. */
struct client_route *client_route_take(struct ternmq *client, enum route_kind kind,
                                       const char *name);
void client_route_give(struct client_route *route); /* NULL is allowed */

/* Calls `waiter->ready` when the route is known or cannot be had; asks if nobody did. */
void client_route_wait(struct client_route *route, struct route_waiter *waiter);

/* `ready` does not run any more. Nothing if it does not wait. */
void client_route_unwait(struct route_waiter *waiter);

/*
 * Blocks: asks anew until the route is there, with pauses, for at most the client's timeout_ms or
 * unreachable_ms. TERNMQ_OK, or why it cannot be had.
 */
int client_route_await(struct ternmq *client, struct client_route *route,
                       struct ternmq_error *error_out);

/* What is known has proved wrong. Until it is asked anew all of it stays, dead brokers included. */
void client_route_forget(struct client_route *route);

/*
 * The address to send to for `queue`, or, with `any_queue`, of the masters in turn, those that failed
 * lately after all others. NULL with `*error` filled in: nobody has it alive now (UNREACHABLE), or there
 * is no such queue.
 */
const char *client_route_pick(struct client_route *route, bool any_queue, uint32_t queue,
                              struct ternmq_error *error);

/* The span that has `queue` of a topic, or NULL. */
const struct ternmq_route_span *client_route_span(const struct client_route *route, uint32_t queue);

/* Whether one of the masters is not avoided now. */
bool client_route_has_choice(const struct client_route *route);

/* Frees them all; nobody waits, or is told. */
void client_routes_drop(struct ternmq *client);

#endif
