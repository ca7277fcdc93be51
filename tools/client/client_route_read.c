/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_route_read.c - what route.get, broker.list and topic.show answer, as a route keeps it.
 */
#include "tools/client/client_route_read.h"

#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "tools/client/answer_map.h"
#include "tools/client/client.h"

#include <stdlib.h>

/* `answer_bytes` is more than the strings of the answer can have. */
static bool block_make(struct span_block *block, uint32_t count_max, size_t answer_bytes)
{
    /* Every name may be there twice, in the placement and with its broker. */
    size_t text_bytes = answer_bytes * 2 + (size_t)count_max * (ADDRESS_BYTES_MAX + 2);
    size_t spans_bytes = (size_t)count_max * sizeof(struct ternmq_route_span);
    size_t masters_bytes = (size_t)count_max * sizeof(const char *);
    char *memory = calloc(1, spans_bytes + masters_bytes + text_bytes + 1);
    *block = (struct span_block){
        .spans = (struct ternmq_route_span *)(void *)memory,
        .masters = memory == NULL ? NULL : (const char **)(void *)(memory + spans_bytes),
        .text = memory == NULL ? NULL : memory + spans_bytes + masters_bytes,
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
    uint32_t queues; /* of the topic, that it knows */
};

static bool take_broker(struct cursor *cursor, struct broker_row *row_out)
{
    struct broker_row row = {.writable = true, .queues = UINT32_MAX};
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
        } else if (bytes_equal(key, BYTES_OF("queues"))) {
            cursor_take_u32(cursor, &row.queues);
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
            if (!bytes_equal(bytes_from_string(span->broker), row.name) ||
                row.queues < span->queue_first + span->queue_count) {
                continue; /* another's, or it was not told of these queues yet */
            }
            address = address != NULL ? address : block_text(block, row.address);
            span->address = address;
            span->epoch = row.epoch;
            span->writable = row.writable;
        }
    }
    return true;
}

/* [[broker, first, count]..]: spans, of nobody who is alive yet. False: it is none. */
static bool read_placement(struct cursor placement, size_t answer_bytes, struct span_block *block,
                           uint32_t *queue_count_out)
{
    uint32_t count;
    uint32_t queues = 0;
    if (!cursor_take_array(&placement, &count) || count > QUEUES_PER_TOPIC_MAX ||
        !block_make(block, count, answer_bytes)) {
        return false;
    }
    for (; block->count < count; block->count++) {
        struct ternmq_route_span *span = &block->spans[block->count];
        struct bytes broker;
        if (!cursor_take_array_of(&placement, 3) || !cursor_take_text(&placement, &broker) ||
            !cursor_take_u32(&placement, &span->queue_first) ||
            !cursor_take_u32(&placement, &span->queue_count) || span->queue_first != queues ||
            span->queue_count == 0 || span->queue_count > QUEUES_PER_TOPIC_MAX - queues) {
            return false;
        }
        span->broker = block_text(block, broker);
        span->address = "";
        queues += span->queue_count;
    }
    *queue_count_out = queues;
    return queues > 0;
}

/* route.get: {version, placement: [[broker, first, count]..], brokers: [..]} */
static bool read_topic_route(struct client_route *route, struct bytes result,
                             struct span_block *block)
{
    struct cursor placement;
    struct cursor brokers;
    return answer_find(result, "placement", &placement) &&
           answer_find(result, "brokers", &brokers) &&
           read_placement(placement, result.length, block, &route->queue_count) &&
           read_route_brokers(brokers, block) &&
           answer_find_uint(result, "version", &route->version);
}

/* topic.show of the one broker, whose own queues can be had. */
static bool read_shown_placement(struct client_route *route, struct bytes result,
                                 struct cursor placement, struct span_block *block)
{
    struct cursor cursor;
    struct bytes broker;
    if (!answer_find(result, "broker", &cursor) || !cursor_take_text(&cursor, &broker) ||
        !read_placement(placement, result.length, block, &route->queue_count)) {
        return false;
    }
    for (uint32_t i = 0; i < block->count; i++) {
        struct ternmq_route_span *span = &block->spans[i];
        if (bytes_equal(bytes_from_string(span->broker), broker)) {
            span->address = route->client->broker;
            span->writable = true;
        }
    }
    return true;
}

/* topic.show of the one broker. Without a placement all is there: `queues` is a number, or has a row a
 * queue. */
static bool read_shown_topic(struct client_route *route, struct bytes result,
                             struct span_block *block)
{
    struct cursor queues;
    struct cursor placement;
    uint32_t count;
    if (answer_find(result, "placement", &placement)) {
        return read_shown_placement(route, result, placement, block);
    }
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

/* Notes each master that takes writes once, in the order of the spans. Spans of one have one address. */
static void note_masters(struct span_block *block)
{
    for (uint32_t i = 0; i < block->count; i++) {
        const struct ternmq_route_span *span = &block->spans[i];
        bool is_new = span->address[0] != '\0' && span->writable;
        for (uint32_t j = 0; j < block->master_count && is_new; j++) {
            is_new = block->masters[j] != span->address;
        }
        if (is_new) {
            block->masters[block->master_count++] = span->address;
        }
    }
}

bool client_route_read(struct client_route *route, struct bytes result,
                       struct span_block *block_out)
{
    *block_out = (struct span_block){.spans = NULL};
    bool read = route->kind != ROUTE_TOPIC ? read_broker_list(route, result, block_out)
                : route->client->direct    ? read_shown_topic(route, result, block_out)
                                           : read_topic_route(route, result, block_out);
    if (!read) {
        free(block_out->spans);
        return false;
    }
    note_masters(block_out);
    return true;
}
