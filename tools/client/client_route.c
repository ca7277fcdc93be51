/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_route.c - where topics and brokers are, as the nameservers say.
 */
#include "tools/client/client_route.h"

#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "tools/client/answer_map.h"
#include "tools/client/client.h"
#include "tools/client/client_call.h"
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

/* -------------------------------------------------------------------------- reading answers */

/* One block: the spans, then their strings. */
struct span_block {
    struct ternmq_route_span *spans;
    uint32_t count;
    uint32_t count_max;
    char *text;
    size_t text_left;
};

/* `answer_bytes` is more than the strings of the answer can have. */
static bool block_make(struct span_block *block, uint32_t count_max, size_t answer_bytes)
{
    /* Every name may be there twice, in the placement and with its broker. */
    size_t text_bytes = answer_bytes * 2 + (size_t)count_max * (ADDRESS_BYTES_MAX + 2);
    size_t spans_bytes = (size_t)count_max * sizeof(struct ternmq_route_span);
    char *memory = calloc(1, spans_bytes + text_bytes + 1);
    *block = (struct span_block){
        .spans = (struct ternmq_route_span *)(void *)memory,
        .count_max = count_max,
        .text = memory == NULL ? NULL : memory + spans_bytes,
        .text_left = text_bytes,
    };
    return memory != NULL;
}

static const char *block_text(struct span_block *block, struct bytes text)
{
    ASSERT(text.length + 1 <= block->text_left);
    char *copy = block->text;
    if (text.length > 0) {
        memcpy(copy, text.data, text.length);
    }
    copy[text.length] = '\0';
    block->text += text.length + 1;
    block->text_left -= text.length + 1;
    return copy;
}

/* What of a broker's map is of use here; of route.get and of broker.list. */
struct broker_row {
    struct bytes name;
    struct bytes address;
    uint64_t epoch;
    bool writable;
};

static bool take_broker(struct cursor *cursor, struct broker_row *row_out)
{
    struct broker_row row = {.writable = true};
    uint32_t pairs;
    if (!cursor_take_map(cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes key;
        if (!cursor_take_text(cursor, &key)) {
            return false;
        }
        if (bytes_equal(key, BYTES_OF("name"))) {
            cursor_take_text(cursor, &row.name);
        } else if (bytes_equal(key, BYTES_OF("master")) || bytes_equal(key, BYTES_OF("address"))) {
            if (!cursor_try_nil(cursor)) {
                cursor_take_text(cursor, &row.address);
            }
        } else if (bytes_equal(key, BYTES_OF("epoch"))) {
            cursor_take_uint(cursor, &row.epoch);
        } else if (bytes_equal(key, BYTES_OF("writable"))) {
            cursor_take_bool(cursor, &row.writable);
        } else {
            cursor_skip(cursor);
        }
    }
    if (cursor->failed || row.address.length > ADDRESS_BYTES_MAX) {
        return false;
    }
    *row_out = row;
    return true;
}

/* Fills in who serves the spans of a broker that is alive. */
static bool read_route_brokers(struct cursor brokers, struct span_block *block)
{
    uint32_t count;
    if (!cursor_take_array(&brokers, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct broker_row row;
        if (!take_broker(&brokers, &row)) {
            return false;
        }
        const char *address = NULL;
        for (uint32_t j = 0; j < block->count; j++) {
            struct ternmq_route_span *span = &block->spans[j];
            if (!bytes_equal(bytes_from_string(span->broker), row.name)) {
                continue;
            }
            address = address != NULL ? address : block_text(block, row.address);
            span->address = address;
            span->epoch = row.epoch;
            span->writable = row.writable;
        }
    }
    return true;
}

/* route.get: {version, placement: [[broker, first, count]..], brokers: [..]} */
static bool read_topic_route(struct client_route *route, struct bytes result,
                             struct span_block *block)
{
    struct cursor placement;
    struct cursor brokers;
    uint32_t count;
    if (!answer_find(result, "placement", &placement) ||
        !answer_find(result, "brokers", &brokers) || !cursor_take_array(&placement, &count) ||
        !block_make(block, count, result.length)) {
        return false;
    }
    uint32_t queues = 0;
    for (; block->count < count; block->count++) {
        struct ternmq_route_span *span = &block->spans[block->count];
        struct bytes broker;
        if (!cursor_take_array_of(&placement, 3) || !cursor_take_text(&placement, &broker) ||
            !cursor_take_u32(&placement, &span->queue_first) ||
            !cursor_take_u32(&placement, &span->queue_count) || span->queue_first != queues ||
            span->queue_count > QUEUES_PER_TOPIC_MAX) {
            return false;
        }
        span->broker = block_text(block, broker);
        span->address = "";
        queues += span->queue_count;
    }
    if (queues == 0 || queues > QUEUES_PER_TOPIC_MAX || !read_route_brokers(brokers, block)) {
        return false;
    }
    route->queue_count = queues;
    return answer_find_uint(result, "version", &route->version);
}

/* topic.show of the one broker: `queues` is a number, or has a row a queue. */
static bool read_shown_topic(struct client_route *route, struct bytes result,
                             struct span_block *block)
{
    struct cursor queues;
    uint32_t count;
    if (!answer_find(result, "queues", &queues) || !block_make(block, 1, result.length)) {
        return false;
    }
    bool taken = cursor_peek(&queues) == CURSOR_ARRAY ? cursor_take_array(&queues, &count)
                                                      : cursor_take_u32(&queues, &count);
    if (!taken || count == 0 || count > QUEUES_PER_TOPIC_MAX) {
        return false;
    }
    block->count = 1;
    block->spans[0] = (struct ternmq_route_span){
        .queue_count = count,
        .broker = "",
        .address = route->client->broker,
        .writable = true,
    };
    route->queue_count = count;
    return true;
}

/* broker.list: {version, rows: [{name, address, role, epoch, topics}..], next} */
static bool read_broker_list(struct client_route *route, struct bytes result,
                             struct span_block *block)
{
    struct cursor rows;
    uint32_t count;
    if (!answer_find(result, "rows", &rows) || !cursor_take_array(&rows, &count) ||
        !block_make(block, count, result.length)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct broker_row row;
        if (!take_broker(&rows, &row)) {
            return false;
        }
        if (route->kind == ROUTE_BROKER && !bytes_equal(row.name, bytes_from_string(route->name))) {
            continue;
        }
        block->spans[block->count++] = (struct ternmq_route_span){
            .broker = block_text(block, row.name),
            .address = block_text(block, row.address),
            .epoch = row.epoch,
            .writable = row.writable,
        };
    }
    route->queue_count = 0;
    return true;
}

static bool read_answer(struct client_route *route, struct bytes result, struct span_block *block)
{
    if (route->kind != ROUTE_TOPIC) {
        return read_broker_list(route, result, block);
    }
    return route->client->direct ? read_shown_topic(route, result, block)
                                 : read_topic_route(route, result, block);
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

    struct span_block block = {.spans = NULL};
    if (!read_answer(route, end->result, &block)) {
        struct ternmq_error error;
        fault_set(&error, TERNMQ_PROTOCOL, TERNMQ_STORED_NO, "%s answered no route", end->address);
        free(block.spans);
        tell_waiters(route, &error);
        return;
    }
    free(route->spans);
    route->spans = block.spans;
    route->span_count = block.count;
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

static const char *pick_queue(const struct client_route *route, uint32_t queue,
                              struct ternmq_error *error)
{
    for (uint32_t i = 0; i < route->span_count; i++) {
        const struct ternmq_route_span *span = &route->spans[i];
        if (queue < span->queue_first || queue - span->queue_first >= span->queue_count) {
            continue;
        }
        if (span->address[0] != '\0') {
            return span->address;
        }
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

const char *client_route_pick(struct client_route *route, bool any_queue, uint32_t queue,
                              struct ternmq_error *error)
{
    if (!any_queue) {
        return pick_queue(route, queue, error);
    }
    for (uint32_t i = 0; i < route->span_count; i++) {
        const struct ternmq_route_span *span = &route->spans[route->turn++ % route->span_count];
        if (span->address[0] != '\0' && span->writable) {
            return span->address;
        }
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
