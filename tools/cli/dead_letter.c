/* SPDX-License-Identifier: Apache-2.0 */
/* dead_letter.c - records of dead letters, taken apart. */
#include "tools/cli/dead_letter.h"

#include "proto/cursor.h"
#include "proto/message.h"
#include "proto/record.h"
#include "tools/cli/text.h"

#include <string.h>

/* [group, topic, queue, offset, attempts, reason]; a newer broker may say more. */
static bool take_dead(struct cursor cursor, struct dead_letter *letter)
{
    uint32_t count;
    return cursor_take_array(&cursor, &count) && count >= 6 &&
           cursor_take_text(&cursor, &letter->group) && cursor_take_text(&cursor, &letter->topic) &&
           cursor_take_u32(&cursor, &letter->origin_queue) &&
           cursor_take_uint(&cursor, &letter->origin_offset) &&
           cursor_take_u32(&cursor, &letter->attempts) &&
           (cursor_try_nil(&cursor) || cursor_take_text(&cursor, &letter->reason));
}

static bool read_extra(struct bytes extra, struct dead_letter *letter)
{
    struct cursor cursor = cursor_over(extra);
    uint32_t pairs;
    if (!cursor_take_map(&cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes key;
        struct bytes value;
        if (!cursor_take_text(&cursor, &key) || !cursor_take_span(&cursor, &value)) {
            return false;
        }
        if (bytes_equal(key, BYTES_OF("dead"))) {
            return take_dead(cursor_over(value), letter);
        }
    }
    return false;
}

bool dead_letter_read(struct bytes record, struct dead_letter *letter_out)
{
    struct record_view view;
    struct message_view message;
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
    return read_extra(view.extra, letter_out);
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
