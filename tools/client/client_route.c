/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_route.c - where topics and brokers are, as the nameservers say.
 */
#include "tools/client/client_route.h"

#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "tools/client/client.h"
#include "tools/client/client_avoid.h"
#include "tools/client/client_call.h"
#include "tools/client/client_route_read.h"
#include "tools/client/fault.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    FRAME_ROOM = 1024, /* a request here is a method, a name and a few words */
    /* One round of asking: connecting to each nameserver has its own, shorter, time. */
    ASK_TIMEOUT_MS = 10000
};

/* How a route is asked for. */
struct route_ask {
    struct client_call call;
    struct client_route *route;
};

/* -------------------------------------------------------------------------- life */

static void route_free(struct client_route *route)
{
    ASSERT(route->references == 0 && list_is_empty(&route->waiters));
    client_call_drop(&route->ask->call);
    free(route->ask);
    route->client->route_count--;
    list_remove(&route->link);
    free(route->spans);
    free(route);
}

/* What nobody uses is thrown out when there is too much of it. */
static void routes_trim(struct ternmq *client)
{
    LIST_FOREACH (link, &client->routes) {
        struct client_route *route = CONTAINER_OF(link, struct client_route, link);
        if (client->route_count <= ROUTES_KEPT_MAX) {
            return;
        }
        if (route->references == 0) {
            route_free(route);
        }
    }
}

static struct client_route *route_make(struct ternmq *client, enum route_kind kind,
                                       const char *name)
{
    struct client_route *route = calloc(1, sizeof(*route));
    struct route_ask *ask = calloc(1, sizeof(*ask));
    if (route == NULL || ask == NULL || strlen(name) >= sizeof(route->name)) {
        free(route);
        free(ask);
        return NULL;
    }
    ask->route = route;
    route->ask = ask;
    route->client = client;
    route->kind = kind;
    memcpy(route->name, name, strlen(name) + 1);
    /* Programs that produce one message each do not all begin with the same broker. */
    route->turn = (uint32_t)reactor_random(client->reactor);
    list_init(&route->waiters);
    list_init(&route->link);
    list_append(&client->routes, &route->link);
    client->route_count++;
    return route;
}

struct client_route *client_route_take(struct ternmq *client, enum route_kind kind,
                                       const char *name)
{
    struct client_route *route = NULL;
    LIST_FOREACH (link, &client->routes) {
        struct client_route *one = CONTAINER_OF(link, struct client_route, link);
        if (one->kind == kind && strcmp(one->name, name) == 0) {
            route = one;
        }
    }
    if (route == NULL) {
        route = route_make(client, kind, name);
    }
    if (route != NULL) {
        route->references++;
        routes_trim(client);
    }
    return route;
}

void client_route_give(struct client_route *route)
{
    if (route != NULL) {
        ASSERT(route->references > 0);
        route->references--;
    }
}

void client_routes_drop(struct ternmq *client)
{
    LIST_FOREACH (link, &client->routes) {
        route_free(CONTAINER_OF(link, struct client_route, link));
    }
}

void client_route_forget(struct client_route *route)
{
    if (route->state == ROUTE_KNOWN) {
        route->state = ROUTE_STALE;
    }
}

/* -------------------------------------------------------------------------- asking */

static void tell_waiters(struct client_route *route, const struct ternmq_error *error)
{
    struct list telling;
    list_init(&telling);
    list_move_all(&telling, &route->waiters);
    route->references++; /* a waiter may give the last one back */
    for (struct list *link = list_take_first(&telling); link != NULL;
         link = list_take_first(&telling)) {
        struct route_waiter *waiter = CONTAINER_OF(link, struct route_waiter, link);
        waiter->ready(waiter, error);
    }
    route->references--;
}

static void ask_write(struct client_call *call, struct connection *connection, uint32_t id,
                      uint32_t left_ms)
{
    const struct client_route *route = CONTAINER_OF(call, struct route_ask, call)->route;
    struct writer writer = writer_over(connection_reserve(connection, FRAME_ROOM), FRAME_ROOM);
    if (route->kind != ROUTE_TOPIC) {
        request_begin(&writer, id, "broker.list", 2);
        writer_put_key_string(&writer, "prefix", route->name);
    } else if (route->client->direct) {
        request_begin(&writer, id, "topic.show", 2);
        writer_put_key_string(&writer, "name", route->name);
    } else {
        request_begin(&writer, id, "route.get", 2);
        writer_put_key_string(&writer, "topic", route->name);
    }
    writer_put_key_uint(&writer, "deadline_ms", left_ms);
    connection_commit(connection, writer_length(&writer));
}

/* What a nameserver's refusal means for a route that may have been known before. */
static struct ternmq_error refusal_of(const struct client_route *route,
                                      const struct ternmq_error *error)
{
    struct ternmq_error meant = *error;
    bool was_known = route->kind == ROUTE_TOPIC && !route->client->direct && route->span_count > 0;
    if (was_known && !route->denied && error->code == TERNMQ_TOPIC_NOT_FOUND) {
        meant.retryable = true;
        snprintf(meant.message, sizeof(meant.message),
                 "topic %s was on broker %s, which holds no lease now", route->name,
                 route->spans[0].broker);
    }
    return meant;
}

static void ask_ended(struct client_call *call, const struct client_call_end *end)
{
    struct client_route *route = CONTAINER_OF(call, struct route_ask, call)->route;
    route->state = ROUTE_STALE;
    if (end->error != NULL) {
        struct ternmq_error error = refusal_of(route, end->error);
        tell_waiters(route, &error);
        return;
    }

    struct span_block block;
    if (!client_route_read(route, end->result, &block)) {
        struct ternmq_error error;
        fault_set(&error, TERNMQ_PROTOCOL, TERNMQ_STORED_NO, "%s answered no route", end->address);
        tell_waiters(route, &error);
        return;
    }
    free(route->spans);
    route->spans = block.spans;
    route->span_count = block.count;
    route->masters = block.masters;
    route->master_count = block.master_count;
    route->recount = false;
    route->known_ns = reactor_now_ns(route->client->reactor);
    route->state = ROUTE_KNOWN;
    route->denied = false;
    tell_waiters(route, NULL);
}

static const struct client_call_kind ask_kind = {.write = ask_write, .ended = ask_ended};

static void route_ask(struct client_route *route)
{
    struct ternmq *client = route->client;
    route->ask->call = (struct client_call){
        .client = client,
        .kind = &ask_kind,
        .to = client->direct ? TERNMQ_TO_ANY_BROKER : TERNMQ_TO_NAMESERVER,
        .timeout_ms = ASK_TIMEOUT_MS,
        .one_try = true,
    };
    route->state = ROUTE_ASKING;
    client_call_start(&route->ask->call);
}

void client_route_wait(struct client_route *route, struct route_waiter *waiter)
{
    list_init(&waiter->link);
    list_append(&route->waiters, &waiter->link);
    if (route->state != ROUTE_ASKING) {
        route_ask(route);
    }
}

void client_route_unwait(struct route_waiter *waiter)
{
    if (waiter->link.next != NULL) {
        list_remove(&waiter->link);
    }
}

/* -------------------------------------------------------------------------- choosing */

const struct ternmq_route_span *client_route_span(const struct client_route *route, uint32_t queue)
{
    for (uint32_t i = 0; i < route->span_count; i++) {
        const struct ternmq_route_span *span = &route->spans[i];
        if (queue >= span->queue_first && queue - span->queue_first < span->queue_count) {
            return span;
        }
    }
    return NULL;
}

static const char *pick_queue(const struct client_route *route, uint32_t queue,
                              struct ternmq_error *error)
{
    const struct ternmq_route_span *span = client_route_span(route, queue);
    if (span != NULL && span->address[0] != '\0') {
        return span->address;
    }
    if (span != NULL) {
        fault_set(error, TERNMQ_UNREACHABLE, TERNMQ_STORED_NO,
                  "queue %u of topic %s is on broker %s, which is not alive", queue, route->name,
                  span->broker);
        error->queue = queue;
        return NULL;
    }
    fault_set(error, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO, "topic %s has queues 0 to %u, not %u",
              route->name, route->queue_count - 1, queue);
    error->queue = queue;
    error->limit = route->queue_count;
    error->value = queue;
    return NULL;
}

/* The next master in turn that is not avoided, or the one that is avoided for the shortest time. */
static const char *pick_master(struct client_route *route)
{
    uint64_t now_ns = reactor_now_ns(route->client->reactor);
    const char *soonest = NULL;
    uint64_t soonest_ns = UINT64_MAX;
    for (uint32_t i = 0; i < route->master_count; i++) {
        const char *address = route->masters[route->turn++ % route->master_count];
        uint64_t until_ns = client_avoided_until_ns(route->client, address);
        if (until_ns <= now_ns) {
            return address;
        }
        if (until_ns < soonest_ns) {
            soonest = address;
            soonest_ns = until_ns;
        }
    }
    return soonest;
}

bool client_route_has_choice(const struct client_route *route)
{
    uint64_t now_ns = reactor_now_ns(route->client->reactor);
    for (uint32_t i = 0; i < route->master_count; i++) {
        if (client_avoided_until_ns(route->client, route->masters[i]) <= now_ns) {
            return true;
        }
    }
    return false;
}

const char *client_route_pick(struct client_route *route, bool any_queue, uint32_t queue,
                              struct ternmq_error *error)
{
    if (!any_queue) {
        return pick_queue(route, queue, error);
    }
    const char *master = pick_master(route);
    if (master != NULL) {
        return master;
    }
    if (route->kind == ROUTE_TOPIC) {
        fault_set(error, TERNMQ_UNREACHABLE, TERNMQ_STORED_NO,
                  "no broker of topic %s is alive and takes writes", route->name);
    } else if (route->kind == ROUTE_BROKER) {
        fault_set(error, TERNMQ_UNREACHABLE, TERNMQ_STORED_NO,
                  "the nameserver knows no broker called %s", route->name);
    } else {
        fault_set(error, TERNMQ_UNREACHABLE, TERNMQ_STORED_NO, "the nameserver knows no broker");
    }
    return NULL;
}
