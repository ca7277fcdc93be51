/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delivery.c - a stored record as what the user gets.
 */
#include "tools/client/delivery.h"

#include "proto/cursor.h"
#include "proto/message.h"
#include "proto/record.h"

/* The second to fourth elements of [tag, keys, properties, body] as they stand there, for keys and
 * properties: the user's msgpack library reads them with their headers. */
static bool take_containers(struct bytes element, struct ternmq_delivery *delivery)
{
    struct cursor cursor = cursor_over(element);
    struct bytes keys;
    struct bytes properties;
    if (!cursor_take_array_of(&cursor, 4) || !cursor_skip(&cursor) ||
        !cursor_take_span(&cursor, &keys) || !cursor_take_span(&cursor, &properties)) {
        return false;
    }
    if (delivery->key_count > 0) {
        delivery->keys = ternmq_bytes(keys.data, keys.length);
    }
    if (delivery->property_count > 0) {
        delivery->properties = ternmq_bytes(properties.data, properties.length);
    }
    return true;
}

static bool read_message(struct bytes element, struct ternmq_delivery *delivery)
{
    /* A body alone, by far the commonest. */
    struct cursor cursor = cursor_over(element);
    if (cursor_peek(&cursor) != CURSOR_ARRAY) {
        struct bytes body;
        if (!cursor_take_text(&cursor, &body) || !cursor_is_done(&cursor)) {
            return false;
        }
        delivery->body = ternmq_bytes(body.data, body.length);
        return true;
    }
    struct message_view view;
    if (!message_read_stored(element, &view)) {
        return false;
    }
    delivery->body = ternmq_bytes(view.body.data, view.body.length);
    if (view.has_tag) {
        delivery->tag = ternmq_bytes(view.tag.data, view.tag.length);
    }
    delivery->key_count = view.key_count;
    delivery->property_count = view.property_count;
    return view.key_count == 0 && view.property_count == 0 ? true
                                                           : take_containers(element, delivery);
}

bool delivery_read(struct bytes available, const struct delivery_place *place,
                   struct ternmq_delivery *delivery_out)
{
    struct record_view view;
    if (record_read_anywhere(available, &view) != RECORD_WHOLE ||
        view.fields.kind != RECORD_MESSAGE || view.fields.queue != place->queue ||
        view.fields.offset != place->offset) {
        return false;
    }
    struct ternmq_delivery delivery = {
        .topic = place->topic,
        .queue = place->queue,
        .epoch = view.fields.epoch,
        .offset = view.fields.offset,
        .stored_at_ms = view.fields.stored_at_ms,
        .born_at_ms = view.fields.born_at_ms,
    };
    if (!read_message(view.message, &delivery)) {
        return false;
    }
    *delivery_out = delivery;
    return true;
}

/* -------------------------------------------------------------------------- for the user */

static struct ternmq_bytes as_public(struct bytes bytes)
{
    return ternmq_bytes(bytes.data, bytes.length);
}

TERNMQ_API bool ternmq_delivery_key(const struct ternmq_delivery *delivery, uint32_t index,
                                    struct ternmq_bytes *key_out)
{
    struct cursor cursor = cursor_over(bytes_make(delivery->keys.data, delivery->keys.length));
    uint32_t count;
    struct bytes key;
    if (index >= delivery->key_count || !cursor_take_array(&cursor, &count)) {
        return false;
    }
    for (uint32_t i = 0; i <= index; i++) {
        if (!cursor_take_text(&cursor, &key)) {
            return false;
        }
    }
    *key_out = as_public(key);
    return true;
}

TERNMQ_API bool ternmq_delivery_property_at(const struct ternmq_delivery *delivery, uint32_t index,
                                            struct ternmq_property *property_out)
{
    struct cursor cursor =
        cursor_over(bytes_make(delivery->properties.data, delivery->properties.length));
    uint32_t count;
    struct bytes name;
    struct bytes value;
    if (index >= delivery->property_count || !cursor_take_map(&cursor, &count)) {
        return false;
    }
    for (uint32_t i = 0; i <= index; i++) {
        if (!cursor_take_text(&cursor, &name) || !cursor_take_text(&cursor, &value)) {
            return false;
        }
    }
    *property_out = (struct ternmq_property){.name = as_public(name), .value = as_public(value)};
    return true;
}

TERNMQ_API bool ternmq_delivery_property(const struct ternmq_delivery *delivery, const char *name,
                                         struct ternmq_bytes *value_out)
{
    struct ternmq_property property;
    size_t length = strlen(name);
    for (uint32_t i = 0; ternmq_delivery_property_at(delivery, i, &property); i++) {
        if (property.name.length == length && memcmp(property.name.data, name, length) == 0) {
            *value_out = property.value;
            return true;
        }
    }
    return false;
}
