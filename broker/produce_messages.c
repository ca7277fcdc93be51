/* SPDX-License-Identifier: Apache-2.0 */
/* produce_messages.c - one pass over the messages of a call; a second one to rewrite. */
#include "broker/produce_messages.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/topic.h"
#include "proto/base/crc32c.h"
#include "proto/message.h"

#include <stdlib.h>

/* The call's list has room for `count` messages from here. */
static struct append_message *take_list(struct call *call, uint32_t count)
{
    struct produce_call *produce = &call->produce;
    produce->append.count = count;
    produce->append.messages = produce->inline_messages;
    if (count <= PRODUCE_MESSAGES_INLINE) {
        return produce->inline_messages;
    }
    uint8_t span_class = 0;
    while (span_class_messages(span_class) < count) {
        span_class++;
    }
    ASSERT(span_class < SPAN_CLASSES);
    struct pool *pool = &call->home->spans[span_class];
    struct append_message *messages = pool_take(pool);
    produce->span_class = span_class;
    produce->append.messages = messages;
    call_charge(call, pool->block_bytes);
    return messages;
}

/* Notes where a message's key belongs; false: somewhere else than those before. */
static bool route_add(struct produce_route *route, const struct topic *topic,
                      const struct message_view *view, uint32_t key_hash)
{
    if (topic->route != TOPIC_ROUTE_KEY || view->key_count == 0) {
        return true;
    }
    uint16_t queue = (uint16_t)message_key_queue(key_hash, topic->queue_count);
    if (!route->keyed) {
        *route = (struct produce_route){.keyed = true, .queue = queue};
    }
    return route->queue == queue;
}

/* Names the queues that the messages from here on belong to, as many as a refusal holds. */
static enum error refuse_mixed(const struct topic *topic, const struct arguments *arguments,
                               struct refusal *refusal)
{
    struct refusal scratch;
    refusal_set(refusal, ERROR_MIXED_QUEUES, "%s", error_text(ERROR_MIXED_QUEUES));
    struct cursor cursor = arguments_cursor(arguments, ARGUMENT_MESSAGES);
    uint64_t count = arguments_number(arguments, ARGUMENT_MESSAGES);
    for (uint64_t i = 0; i < count; i++) {
        struct message_view view;
        enum error error = message_read(&cursor, &view, &scratch);
        if (error != OK) {
            *refusal = scratch;
            return error;
        }
        if (view.key_count > 0) {
            refusal_add_queue(refusal,
                              message_key_queue(message_key_hash(&view), topic->queue_count));
        }
    }
    return ERROR_MIXED_QUEUES;
}

/*
 * Writes the messages as they are stored, those that are right already too, into one block of
 * `bytes`, and points the list there.
 */
static void rewrite(struct call *call, const struct arguments *arguments, size_t bytes,
                    struct append_message *messages)
{
    uint8_t *to = malloc(bytes);
    ASSERT(to != NULL);
    call->produce.rewritten = to;
    call_charge(call, bytes);
    struct cursor cursor = arguments_cursor(arguments, ARGUMENT_MESSAGES);
    for (uint32_t i = 0; i < call->produce.append.count; i++) {
        struct message_view view;
        struct refusal refusal;
        enum error error = message_read(&cursor, &view, &refusal);
        ASSERT(error == OK);
        call->home->counters.rewritten_messages += view.needs_rewrite ? 1 : 0;
        message_write_canonical(&view, to);
        messages[i].bytes = to;
        messages[i].length = view.canonical_bytes;
        to += view.canonical_bytes;
    }
}

static enum error compare_crcs(const struct arguments *arguments,
                               const struct append_message *messages, uint32_t count,
                               struct refusal *refusal)
{
    if (arguments_number(arguments, ARGUMENT_CRCS) != count) {
        return arguments_refuse(refusal, ARGUMENT_CRCS, "one for each message");
    }
    struct cursor cursor = arguments_cursor(arguments, ARGUMENT_CRCS);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t crc;
        if (!cursor_take_u32(&cursor, &crc)) {
            return arguments_refuse(refusal, ARGUMENT_CRCS, "unsigned 32-bit integers");
        }
        if (crc != messages[i].crc) {
            return refusal_set(refusal, ERROR_CRC_MISMATCH,
                               "message %u has the checksum %u, not %u", i, messages[i].crc, crc);
        }
    }
    return OK;
}

enum error produce_messages_read(struct call *call, const struct topic *topic,
                                 const struct arguments *arguments, struct produce_route *route_out,
                                 struct refusal *refusal)
{
    uint32_t count = (uint32_t)arguments_number(arguments, ARGUMENT_MESSAGES);
    struct append_message *messages = take_list(call, count);
    struct cursor cursor = arguments_cursor(arguments, ARGUMENT_MESSAGES);
    struct produce_route route = {.keyed = false, .queue = 0};
    bool needs_rewrite = false;
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct message_view view;
        enum error error = message_read(&cursor, &view, refusal);
        if (error != OK) {
            return error;
        }
        uint32_t key_hash = message_key_hash(&view);
        messages[i] = (struct append_message){.bytes = view.element.data,
                                              .length = (uint32_t)view.element.length,
                                              .tag_hash = message_tag_hash(&view),
                                              .key_hash = key_hash};
        bytes += view.canonical_bytes;
        needs_rewrite = needs_rewrite || view.needs_rewrite;
        if (!route_add(&route, topic, &view, key_hash)) {
            return refuse_mixed(topic, arguments, refusal);
        }
    }
    if (needs_rewrite) {
        rewrite(call, arguments, bytes, messages);
    }
    for (uint32_t i = 0; i < count; i++) {
        messages[i].crc = crc32c(messages[i].bytes, messages[i].length);
    }
    call->produce.bytes = bytes;
    *route_out = route;
    return arguments_has(arguments, ARGUMENT_CRCS)
               ? compare_crcs(arguments, messages, count, refusal)
               : OK;
}

void produce_messages_release(struct call *call)
{
    struct produce_call *produce = &call->produce;
    if (produce->span_class != SPAN_CLASSES) {
        pool_give(&call->home->spans[produce->span_class], (void *)produce->append.messages);
    }
    free(produce->rewritten);
}
