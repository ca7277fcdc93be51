/* SPDX-License-Identifier: Apache-2.0 */
/* message_json.c - a delivered message as the pairs of a JSON object. */
#include "tools/cli/message_json.h"

#include "proto/base/utf8.h"

void message_json_put_place(struct json_object *object, const struct ternmq_delivery *delivery)
{
    json_pair_text(object, "topic", delivery->topic);
    json_pair_number(object, "queue", delivery->queue);
    json_pair_number(object, "offset", delivery->offset);
    json_pair_number(object, "epoch", delivery->epoch);
    json_pair_number(object, "stored_at", delivery->stored_at_ms);
    json_pair_number(object, "born_at", delivery->born_at_ms);
    if (delivery->tag.data != NULL) {
        json_key(object, "tag");
        json_put_string(object->to, bytes_make(delivery->tag.data, delivery->tag.length));
    }
    struct cursor cursor;
    if (delivery->keys.data != NULL) {
        json_key(object, "keys");
        cursor = cursor_over(bytes_make(delivery->keys.data, delivery->keys.length));
        (void)json_put_value(object->to, &cursor);
    }
    if (delivery->properties.data != NULL) {
        json_key(object, "properties");
        cursor = cursor_over(bytes_make(delivery->properties.data, delivery->properties.length));
        (void)json_put_value(object->to, &cursor);
    }
}

void message_json_put_body(struct json_object *object, const struct ternmq_delivery *delivery)
{
    struct bytes body = bytes_make(delivery->body.data, delivery->body.length);
    if (utf8_is_valid(body)) {
        json_key(object, "body");
        json_put_string(object->to, body);
    } else {
        json_key(object, "body_base64");
        json_put_base64(object->to, body);
    }
}
