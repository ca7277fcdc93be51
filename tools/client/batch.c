/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.c - messages that are produced by one call.
 */
#include "tools/client/batch.h"

#include "net/connection.h"
#include "proto/arguments.h"
#include "proto/base/utf8.h"
#include "proto/cursor.h"
#include "proto/limits.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "tools/client/client.h"
#include "tools/client/fault.h"
#include "tools/client/producer.h"

#include <stdlib.h>

enum { ELEMENTS_BYTES_LEAST = 4096, WAITERS_LEAST = 64 };

/* -------------------------------------------------------------------------- life */

struct batch *batch_create(void)
{
    struct batch *batch = calloc(1, sizeof(*batch));
    if (batch != NULL) {
        batch->references = 1;
        list_init(&batch->link);
    }
    return batch;
}

void batch_ref(struct batch *batch)
{
    batch->references++;
}

void batch_unref(struct batch *batch)
{
    ASSERT(batch->references > 0);
    if (--batch->references == 0) {
        ASSERT(!client_call_is_under_way(&batch->call));
        free(batch->elements);
        free(batch->waiters);
        free(batch);
    }
}

void batch_clear(struct batch *batch)
{
    ASSERT(batch->references == 1 && !client_call_is_under_way(&batch->call));
    batch->length = 0;
    batch->count = 0;
    batch->whole = false;
    batch->all = (struct batch_waiter){.done = NULL};
    batch->heard = false;
}

/* -------------------------------------------------------------------------- encoding */

static size_t str_bytes(size_t length)
{
    return length + (length < 32 ? 1 : length < 256 ? 2 : length < 65536 ? 3 : 5);
}

static size_t bin_bytes(size_t length)
{
    return length + (length < 256 ? 2 : length < 65536 ? 3 : 5);
}

static size_t head_bytes(size_t count)
{
    return count < 16 ? 1 : 3;
}

static bool is_bare(const struct ternmq_message *message)
{
    return message->tag.data == NULL && message->key_count == 0 && message->property_count == 0;
}

static size_t refuse_text(struct ternmq_error *error_out, const char *what)
{
    fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO, "%s: not UTF-8", what);
    return 0;
}

static size_t refuse_size(struct ternmq_error *error_out, const char *what, size_t limit,
                          size_t value)
{
    struct ternmq_error error;
    fault_set(&error, TERNMQ_TOO_LARGE, TERNMQ_STORED_NO, "%s: %zu, at most %zu", what, value,
              limit);
    error.limit = (int64_t)limit;
    error.value = (int64_t)value;
    fault_give(&error, error_out);
    return 0;
}

static bool is_text(struct ternmq_bytes bytes)
{
    return utf8_is_valid(bytes_make(bytes.data, bytes.length));
}

static size_t measure_keys(const struct ternmq_message *message, struct ternmq_error *error_out)
{
    if (message->key_count == 0) {
        return 1; /* nil */
    }
    if (message->key_count > KEYS_MAX) {
        return refuse_size(error_out, "keys of a message", KEYS_MAX, message->key_count);
    }
    size_t bytes = head_bytes(message->key_count);
    for (size_t i = 0; i < message->key_count; i++) {
        if (message->keys[i].length > KEY_BYTES_MAX) {
            return refuse_size(error_out, "bytes of a key", KEY_BYTES_MAX, message->keys[i].length);
        }
        if (!is_text(message->keys[i])) {
            return refuse_text(error_out, "key");
        }
        bytes += str_bytes(message->keys[i].length);
    }
    return bytes;
}

static bool is_repeated(const struct ternmq_message *message, size_t index)
{
    struct ternmq_bytes name = message->properties[index].name;
    for (size_t i = 0; i < index; i++) {
        struct ternmq_bytes other = message->properties[i].name;
        if (other.length == name.length && memcmp(other.data, name.data, name.length) == 0) {
            return true;
        }
    }
    return false;
}

static size_t measure_properties(const struct ternmq_message *message,
                                 struct ternmq_error *error_out)
{
    if (message->property_count == 0) {
        return 1; /* nil */
    }
    if (message->property_count > PROPERTIES_MAX) {
        return refuse_size(error_out, "properties of a message", PROPERTIES_MAX,
                           message->property_count);
    }
    size_t bytes = head_bytes(message->property_count);
    for (size_t i = 0; i < message->property_count; i++) {
        const struct ternmq_property *property = &message->properties[i];
        if (!is_text(property->name) || !is_text(property->value)) {
            return refuse_text(error_out, "property");
        }
        if (is_repeated(message, i)) {
            fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO, "property '%.*s' twice",
                      (int)property->name.length, (const char *)property->name.data);
            return 0;
        }
        bytes += str_bytes(property->name.length) + str_bytes(property->value.length);
    }
    if (bytes > PROPERTIES_BYTES_MAX) {
        return refuse_size(error_out, "bytes of the properties", PROPERTIES_BYTES_MAX, bytes);
    }
    return bytes;
}

size_t message_measure(const struct ternmq_message *message, struct ternmq_error *error_out)
{
    size_t bytes = bin_bytes(message->body.length);
    if (!is_bare(message)) {
        if (message->tag.length > TAG_BYTES_MAX) {
            return refuse_size(error_out, "bytes of the tag", TAG_BYTES_MAX, message->tag.length);
        }
        if (!is_text(message->tag)) {
            return refuse_text(error_out, "tag");
        }
        size_t keys = measure_keys(message, error_out);
        size_t properties = keys == 0 ? 0 : measure_properties(message, error_out);
        if (properties == 0) {
            return 0;
        }
        bytes += 1 + keys + properties +
                 (message->tag.data == NULL ? 1 : str_bytes(message->tag.length));
    }
    if (bytes > MESSAGE_BYTES_MAX) {
        return refuse_size(error_out, "bytes of a message", MESSAGE_BYTES_MAX, bytes);
    }
    return bytes;
}

static struct bytes as_ours(struct ternmq_bytes bytes)
{
    return bytes_make(bytes.data, bytes.length);
}

static void write_message(struct writer *writer, const struct ternmq_message *message)
{
    if (is_bare(message)) {
        writer_put_bin(writer, as_ours(message->body));
        return;
    }
    writer_put_array(writer, 4);
    if (message->tag.data == NULL) {
        writer_put_nil(writer);
    } else {
        writer_put_str(writer, as_ours(message->tag));
    }
    if (message->key_count == 0) {
        writer_put_nil(writer);
    } else {
        writer_put_array(writer, (uint32_t)message->key_count);
        for (size_t i = 0; i < message->key_count; i++) {
            writer_put_str(writer, as_ours(message->keys[i]));
        }
    }
    if (message->property_count == 0) {
        writer_put_nil(writer);
    } else {
        writer_put_map(writer, (uint32_t)message->property_count);
        for (size_t i = 0; i < message->property_count; i++) {
            writer_put_str(writer, as_ours(message->properties[i].name));
            writer_put_str(writer, as_ours(message->properties[i].value));
        }
    }
    writer_put_bin(writer, as_ours(message->body));
}

static bool make_room(struct batch *batch, size_t bytes)
{
    if (batch->capacity - batch->length >= bytes) {
        return true;
    }
    size_t capacity =
        batch->capacity < ELEMENTS_BYTES_LEAST ? ELEMENTS_BYTES_LEAST : batch->capacity * 2;
    capacity = capacity < batch->length + bytes ? batch->length + bytes : capacity;
    uint8_t *elements = realloc(batch->elements, capacity);
    if (elements == NULL) {
        return false;
    }
    batch->elements = elements;
    batch->capacity = capacity;
    return true;
}

bool batch_add(struct batch *batch, const struct ternmq_message *message, size_t bytes)
{
    if (!make_room(batch, bytes)) {
        return false;
    }
    struct writer writer = writer_over(batch->elements + batch->length, bytes);
    write_message(&writer, message);
    ASSERT(!writer.overflowed && writer_length(&writer) == bytes);
    batch->length += bytes;
    batch->count++;
    return true;
}

static bool make_waiters_room(struct batch *batch)
{
    if (batch->waiters_capacity >= batch->count) {
        return true;
    }
    uint32_t capacity = batch->waiters_capacity * 2;
    capacity = capacity < WAITERS_LEAST ? WAITERS_LEAST : capacity;
    capacity = capacity < batch->count ? batch->count : capacity;
    struct batch_waiter *waiters = realloc(batch->waiters, capacity * sizeof(*waiters));
    if (waiters == NULL) {
        return false;
    }
    batch->waiters = waiters;
    batch->waiters_capacity = capacity;
    return true;
}

bool batch_add_waiter(struct batch *batch, ternmq_produced_fn *done, void *context)
{
    if (!batch->heard && done == NULL) {
        return true;
    }
    if (!make_waiters_room(batch)) {
        return false;
    }
    if (!batch->heard) {
        memset(batch->waiters, 0, batch->count * sizeof(*batch->waiters));
        batch->heard = true;
    }
    batch->waiters[batch->count - 1] = (struct batch_waiter){.done = done, .context = context};
    return true;
}

/* -------------------------------------------------------------------------- the call */

static void output_is_done(void *owner)
{
    struct batch *batch = owner;
    bool was_last = batch->call.one_way && batch->producer != NULL;
    if (was_last) {
        producer_one_way_left(batch);
    }
    batch_unref(batch);
}

void batch_write(struct batch *batch, struct connection *connection, uint32_t id, uint32_t left_ms)
{
    const struct ternmq_producer *producer = batch->producer;
    bool has_queue = batch->queue != BATCH_QUEUE_ANY;
    bool has_durability = producer->durability != TERNMQ_DURABILITY_DEFAULT;
    uint32_t pairs = 5U + has_queue + has_durability;

    struct writer writer =
        writer_over(connection_reserve(connection, BATCH_HEAD_ROOM), BATCH_HEAD_ROOM);
    if (batch->call.one_way) {
        one_way_begin(&writer, "produce", pairs);
    } else {
        request_begin(&writer, id, "produce", pairs);
    }
    writer_put_key_string(&writer, "topic", producer->topic);
    if (has_queue) {
        writer_put_key_uint(&writer, "queue", batch->queue);
    }
    if (has_durability) {
        enum durability durability =
            producer->durability == TERNMQ_DURABILITY_MEMORY ? DURABILITY_MEMORY : DURABILITY_DISK;
        writer_put_key_string(&writer, "durability", durability_name(durability));
    }
    writer_put_key_uint(&writer, "born", batch->born_ms);
    writer_put_key_uint(&writer, "timeout_ms", left_ms);
    writer_put_key_uint(&writer, "deadline_ms", left_ms);
    writer_put_string(&writer, "messages");
    writer_put_array(&writer, batch->count);
    ASSERT(!writer.overflowed);
    connection_commit(connection, writer_length(&writer));

    batch_ref(batch);
    connection_write_range(connection, batch->elements, batch->length,
                           (struct output_hold){.release = output_is_done, .owner = batch});
}

bool batch_read_answer(const struct batch *batch, struct bytes result,
                       struct ternmq_produced *produced_out)
{
    struct cursor cursor = cursor_over(result);
    struct ternmq_produced produced = {.count = batch->count};
    bool has_queue = false;
    bool has_offset = false;
    uint32_t pairs = 0;
    cursor_take_map(&cursor, &pairs);
    for (uint32_t i = 0; i < pairs && !cursor.failed; i++) {
        struct bytes key;
        struct bytes text;
        if (!cursor_take_text(&cursor, &key)) {
            return false;
        }
        if (bytes_equal(key, BYTES_OF("queue"))) {
            has_queue = cursor_take_u32(&cursor, &produced.queue);
        } else if (bytes_equal(key, BYTES_OF("offset"))) {
            has_offset = cursor_take_uint(&cursor, &produced.offset);
        } else if (bytes_equal(key, BYTES_OF("epoch"))) {
            cursor_take_u32(&cursor, &produced.epoch);
        } else if (bytes_equal(key, BYTES_OF("reached")) && cursor_take_text(&cursor, &text)) {
            produced.reached = bytes_equal(text, BYTES_OF("memory")) ? TERNMQ_DURABILITY_MEMORY
                                                                     : TERNMQ_DURABILITY_DISK;
        } else {
            cursor_skip(&cursor);
        }
    }
    if (cursor.failed || !has_queue || !has_offset) {
        return false;
    }
    *produced_out = produced;
    return true;
}
