/* SPDX-License-Identifier: Apache-2.0 */
/* dead_letter.c - records of dead letters, taken apart. */
#include "tools/cli/dead_letter.h"

#include "proto/cursor.h"
#include "proto/dead_letter_extra.h"
#include "proto/message.h"
#include "proto/record.h"
#include "tools/cli/text.h"

#include <string.h>

bool dead_letter_read(struct bytes record, struct dead_letter *letter_out)
{
    struct record_view view;
    struct message_view message;
    struct dead_letter_extra was;
    if (record_read_anywhere(record, &view) != RECORD_WHOLE || view.fields.kind != RECORD_MESSAGE ||
        !message_read_stored(view.message, &message)) {
        return false;
    }
    *letter_out = (struct dead_letter){
        .queue = view.fields.queue,
        .offset = view.fields.offset,
        .epoch = view.fields.epoch,
        .stored_at_ms = view.fields.stored_at_ms,
        .born_at_ms = view.fields.born_at_ms,
        .element = view.message,
    };
    if (!dead_letter_extra_read(view.extra, &was)) {
        return false;
    }
    letter_out->group = was.group;
    letter_out->topic = was.topic;
    letter_out->origin_queue = was.queue;
    letter_out->origin_offset = was.offset;
    letter_out->attempts = was.attempts;
    letter_out->reason = was.reason;
    return true;
}

static struct ternmq_bytes borrowed(struct bytes bytes)
{
    return ternmq_bytes(bytes.data, bytes.length);
}

bool dead_letter_delivery(const struct dead_letter *letter, const char *topic,
                          struct ternmq_delivery *delivery_out)
{
    struct message_view message;
    struct cursor cursor = cursor_over(letter->element);
    uint32_t elements;
    if (!message_read_stored(letter->element, &message)) {
        return false;
    }
    *delivery_out = (struct ternmq_delivery){
        .topic = topic,
        .queue = letter->queue,
        .epoch = letter->epoch,
        .offset = letter->offset,
        .stored_at_ms = letter->stored_at_ms,
        .born_at_ms = letter->born_at_ms,
        .body = borrowed(message.body),
        .key_count = message.key_count,
        .property_count = message.property_count,
    };
    if (message.has_tag) {
        delivery_out->tag = borrowed(message.tag);
    }
    struct bytes span;
    if (cursor_peek(&cursor) == CURSOR_ARRAY) {
        bool is_read = cursor_take_array(&cursor, &elements) && cursor_skip(&cursor);
        if (is_read && !cursor_try_nil(&cursor) && cursor_take_span(&cursor, &span)) {
            delivery_out->keys = borrowed(span);
        }
        if (is_read && !cursor_try_nil(&cursor) && cursor_take_span(&cursor, &span)) {
            delivery_out->properties = borrowed(span);
        }
    }
    return true;
}

bool dead_letter_read_id(const char *text, const char *topic, uint32_t *queue_out,
                         uint64_t *offset_out)
{
    uint64_t queue;
    size_t length = strlen(topic);
    if (strncmp(text, topic, length) == 0 && text[length] == '/') {
        text += length + 1;
    }
    if (!text_take_number(&text, QUEUES_PER_TOPIC_MAX - 1, &queue) || *text++ != '/' ||
        !text_take_number(&text, INTEGER_LIMIT - 1, offset_out) || *text != '\0') {
        return false;
    }
    *queue_out = (uint32_t)queue;
    return true;
}
