/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message.c - checks a producer's message and puts str and bin where they belong.
 *
 * The element is walked once and described; a rewrite, which is rare, walks it again.
 */
#include "proto/message.h"

#include "proto/base/crc32c.h"
#include "proto/base/utf8.h"
#include "proto/limits.h"
#include "proto/writer.h"

/* What a bin or str header of `length` bytes of content takes when it is shortest. */
static uint32_t str_head_bytes(size_t length)
{
    return length < 32 ? 1 : length <= UINT8_MAX ? 2 : length <= UINT16_MAX ? 3 : 5;
}

static uint32_t bin_head_bytes(size_t length)
{
    return length <= UINT8_MAX ? 2 : length <= UINT16_MAX ? 3 : 5;
}

/* The walk: where it stands, what it has found, and what the canonical form will add or save. */
struct walk {
    struct cursor cursor;
    struct message_view view;
    int64_t grown_bytes;
};

/*
 * Takes the content of a str or bin; where it should have been the other, its header will be
 * rewritten. A header that is right but longer than need be stays as it is.
 */
static bool take_content(struct walk *walk, enum cursor_type wanted, struct bytes *content_out)
{
    enum cursor_type type = cursor_peek(&walk->cursor);
    const uint8_t *start = walk->cursor.at;
    if (!cursor_take_text(&walk->cursor, content_out)) {
        return false;
    }
    if (type != wanted) {
        int64_t old_bytes = content_out->data - start;
        int64_t new_bytes = wanted == CURSOR_STR ? str_head_bytes(content_out->length)
                                                 : bin_head_bytes(content_out->length);
        walk->view.needs_rewrite = true;
        walk->grown_bytes += new_bytes - old_bytes;
    }
    return true;
}

static enum error refuse(struct refusal *refusal, const char *what, const char *limit)
{
    (void)refusal_set(refusal, ERROR_BAD_ARGUMENT, "%s of a message has to be %s", what, limit);
    refusal_add_key(refusal, BYTES_OF("messages"));
    refusal_add_limit_text(refusal, limit);
    return refusal->code;
}

static enum error refuse_size(struct refusal *refusal, const char *what, uint64_t limit,
                              uint64_t value)
{
    (void)refusal_set(refusal, ERROR_TOO_LARGE, "%s of a message: %llu, at most %llu", what,
                      (unsigned long long)value, (unsigned long long)limit);
    refusal_add_key(refusal, BYTES_OF("messages"));
    refusal_add(refusal, REFUSAL_LIMIT, limit);
    refusal_add(refusal, REFUSAL_VALUE, value);
    return refusal->code;
}

/* Takes a text of at most `bytes_max`. */
static enum error read_text(struct walk *walk, const char *what, size_t bytes_max,
                            struct bytes *text_out, struct refusal *refusal)
{
    if (!take_content(walk, CURSOR_STR, text_out)) {
        return refuse(refusal, what, "text");
    }
    if (text_out->length > bytes_max) {
        return refuse_size(refusal, what, bytes_max, text_out->length);
    }
    return utf8_is_valid(*text_out) ? OK : refuse(refusal, what, "UTF-8");
}

static enum error read_tag(struct walk *walk, struct refusal *refusal)
{
    if (cursor_try_nil(&walk->cursor)) {
        return OK;
    }
    walk->view.has_tag = true;
    return read_text(walk, "the tag", TAG_BYTES_MAX, &walk->view.tag, refusal);
}

static enum error read_keys(struct walk *walk, struct refusal *refusal)
{
    struct message_view *view = &walk->view;
    if (cursor_try_nil(&walk->cursor)) {
        return OK;
    }
    if (!cursor_take_array(&walk->cursor, &view->key_count)) {
        return refuse(refusal, "keys", "an array of text or nil");
    }
    if (view->key_count > KEYS_MAX) {
        return refuse_size(refusal, "keys", KEYS_MAX, view->key_count);
    }
    const uint8_t *start = walk->cursor.at;
    for (uint32_t i = 0; i < view->key_count; i++) {
        struct bytes key;
        enum error error = read_text(walk, "a key", KEY_BYTES_MAX, &key, refusal);
        if (error != OK) {
            return error;
        }
        if (i == 0) {
            view->first_key = key;
        }
    }
    view->keys = (struct bytes){start, (size_t)(walk->cursor.at - start)};
    return OK;
}

/* Names already seen, by a hash of 8 bits: at most PROPERTIES_MAX of them, so chains stay short. */
struct seen {
    struct bytes names[PROPERTIES_MAX];
    uint8_t next[PROPERTIES_MAX]; /* index + 1 of the next name of the same hash, 0: none */
    uint8_t first[256];
};

static_assert(PROPERTIES_MAX < UINT8_MAX, "an index + 1 is a byte");

/* Remembers name number `index`; false: it was there before. */
static bool seen_add(struct seen *seen, uint32_t index, struct bytes name)
{
    uint8_t hash = (uint8_t)crc32c(name.data, name.length);
    for (uint32_t at = seen->first[hash]; at != 0; at = seen->next[at - 1]) {
        if (bytes_equal(seen->names[at - 1], name)) {
            return false;
        }
    }
    seen->names[index] = name;
    seen->next[index] = seen->first[hash];
    seen->first[hash] = (uint8_t)(index + 1);
    return true;
}

static enum error read_property_pairs(struct walk *walk, struct refusal *refusal)
{
    struct seen seen;
    memset(seen.first, 0, sizeof(seen.first));
    for (uint32_t i = 0; i < walk->view.property_count; i++) {
        struct bytes name;
        struct bytes value;
        enum error error =
            read_text(walk, "a property's name", PROPERTIES_BYTES_MAX, &name, refusal);
        if (error == OK) {
            error = read_text(walk, "a property's value", PROPERTIES_BYTES_MAX, &value, refusal);
        }
        if (error != OK) {
            return error;
        }
        if (!seen_add(&seen, i, name)) {
            return refuse(refusal, "a property's name", "there once");
        }
    }
    return OK;
}

/* Takes the header of the properties; an empty array stands for an empty map. */
static bool take_property_count(struct walk *walk)
{
    if (cursor_peek(&walk->cursor) != CURSOR_ARRAY) {
        return cursor_take_map(&walk->cursor, &walk->view.property_count);
    }
    const uint8_t *start = walk->cursor.at;
    walk->view.needs_rewrite = true;
    if (!cursor_take_array_of(&walk->cursor, 0)) {
        return false;
    }
    walk->grown_bytes += 1 - (walk->cursor.at - start);
    return true;
}

static enum error read_properties(struct walk *walk, struct refusal *refusal)
{
    struct message_view *view = &walk->view;
    if (cursor_try_nil(&walk->cursor)) {
        return OK;
    }
    const uint8_t *start = walk->cursor.at;
    int64_t grown_before = walk->grown_bytes;
    if (!take_property_count(walk)) {
        return refuse(refusal, "properties", "a map of text or nil");
    }
    if (view->property_count > PROPERTIES_MAX) {
        return refuse_size(refusal, "properties", PROPERTIES_MAX, view->property_count);
    }
    const uint8_t *pairs = walk->cursor.at;
    enum error error = read_property_pairs(walk, refusal);
    if (error != OK) {
        return error;
    }
    int64_t stored_bytes = (walk->cursor.at - start) + (walk->grown_bytes - grown_before);
    if (stored_bytes > (int64_t)PROPERTIES_BYTES_MAX) {
        return refuse_size(refusal, "bytes of properties", PROPERTIES_BYTES_MAX,
                           (uint64_t)stored_bytes);
    }
    view->properties = (struct bytes){pairs, (size_t)(walk->cursor.at - pairs)};
    return OK;
}

static enum error read_body(struct walk *walk, struct refusal *refusal)
{
    if (!take_content(walk, CURSOR_BIN, &walk->view.body)) {
        return refuse(refusal, "the body", "bytes or text");
    }
    return OK;
}

static enum error read_parts(struct walk *walk, struct refusal *refusal)
{
    if (cursor_peek(&walk->cursor) != CURSOR_ARRAY) {
        return read_body(walk, refusal);
    }
    const uint8_t *start = walk->cursor.at;
    if (!cursor_take_array_of(&walk->cursor, 4)) {
        return refuse(refusal, "the array", "[tag, keys, properties, body]");
    }
    if (walk->cursor.at - start != 1) {
        /* A stored array of 4 is 0x94, so that its first byte says what it is. */
        walk->view.needs_rewrite = true;
        walk->grown_bytes += 1 - (walk->cursor.at - start);
    }
    enum error error = read_tag(walk, refusal);
    if (error == OK) {
        error = read_keys(walk, refusal);
    }
    if (error == OK) {
        error = read_properties(walk, refusal);
    }
    return error == OK ? read_body(walk, refusal) : error;
}

/* Walks one element from walk->cursor on and completes the view. */
static enum error read_element(struct walk *walk, struct refusal *refusal)
{
    const uint8_t *start = walk->cursor.at;
    enum error error = read_parts(walk, refusal);
    if (error != OK) {
        return error;
    }
    walk->view.element = (struct bytes){start, (size_t)(walk->cursor.at - start)};
    int64_t stored_bytes = (int64_t)walk->view.element.length + walk->grown_bytes;
    if (stored_bytes > (int64_t)MESSAGE_BYTES_MAX) {
        return refuse_size(refusal, "bytes", MESSAGE_BYTES_MAX, (uint64_t)stored_bytes);
    }
    walk->view.canonical_bytes = (uint32_t)stored_bytes;
    return OK;
}

enum error message_read(struct cursor *cursor, struct message_view *view_out,
                        struct refusal *refusal)
{
    struct walk walk = {.cursor = *cursor};
    enum error error = read_element(&walk, refusal);
    if (error != OK) {
        (void)cursor_fail(cursor);
        return error;
    }
    *cursor = walk.cursor;
    *view_out = walk.view;
    return OK;
}

bool message_read_stored(struct bytes element, struct message_view *view_out)
{
    struct walk walk = {.cursor = cursor_over(element)};
    struct refusal refusal;
    if (read_element(&walk, &refusal) != OK || !cursor_is_done(&walk.cursor) ||
        walk.view.needs_rewrite) {
        return false;
    }
    *view_out = walk.view;
    return true;
}

/* Moves past so many texts. */
static bool skip_texts(struct cursor *cursor, uint32_t count)
{
    struct bytes text;
    bool is_taken = true;
    for (uint32_t i = 0; i < count && is_taken; i++) {
        is_taken = cursor_take_text(cursor, &text);
    }
    return is_taken;
}

bool message_read_labels(struct bytes beginning, struct message_labels *labels_out)
{
    struct cursor cursor = cursor_over(beginning);
    struct message_labels labels = {.has_tag = false};
    uint32_t keys = 0;
    if (cursor_peek(&cursor) == CURSOR_BIN) {
        *labels_out = labels;
        return true;
    }
    if (!cursor_take_array_of(&cursor, 4)) {
        return false;
    }
    if (!cursor_try_nil(&cursor)) {
        labels.has_tag = cursor_take_text(&cursor, &labels.tag);
    }
    if (!cursor_try_nil(&cursor) &&
        (!cursor_take_array(&cursor, &keys) || !skip_texts(&cursor, keys))) {
        return false;
    }
    if (!cursor_try_nil(&cursor)) {
        if (!cursor_take_map(&cursor, &labels.property_count)) {
            return false;
        }
        const uint8_t *pairs = cursor.at;
        if (labels.property_count > PROPERTIES_MAX ||
            !skip_texts(&cursor, 2 * labels.property_count)) {
            return false;
        }
        labels.properties = (struct bytes){pairs, (size_t)(cursor.at - pairs)};
    }
    *labels_out = labels;
    return !cursor.failed;
}

/* ---- the canonical form ---- */

/* Copies one text or body; its header only where it was right. */
static void rewrite_content(struct cursor *cursor, enum cursor_type wanted, struct writer *writer)
{
    struct bytes content;
    enum cursor_type type = cursor_peek(cursor);
    const uint8_t *start = cursor->at;

    bool is_taken = cursor_take_text(cursor, &content);
    ASSERT(is_taken);
    if (type == wanted) {
        writer_put_raw(writer, (struct bytes){start, (size_t)(cursor->at - start)});
    } else if (wanted == CURSOR_STR) {
        writer_put_str(writer, content);
    } else {
        writer_put_bin(writer, content);
    }
}

/* Copies the header of a container with its `values` texts. */
static void rewrite_texts(struct cursor *cursor, bool is_map, struct writer *writer)
{
    const uint8_t *start = cursor->at;
    uint32_t count = 0;

    if (cursor_try_nil(cursor)) {
        writer_put_nil(writer);
        return;
    }
    if (is_map && cursor_peek(cursor) == CURSOR_ARRAY) {
        bool is_taken = cursor_take_array_of(cursor, 0);
        ASSERT(is_taken);
        writer_put_map(writer, 0);
        return;
    }
    bool is_taken = is_map ? cursor_take_map(cursor, &count) : cursor_take_array(cursor, &count);
    ASSERT(is_taken);
    writer_put_raw(writer, (struct bytes){start, (size_t)(cursor->at - start)});
    for (uint32_t i = 0; i < (is_map ? count * 2 : count); i++) {
        rewrite_content(cursor, CURSOR_STR, writer);
    }
}

static void rewrite(const struct message_view *view, struct writer *writer)
{
    struct cursor cursor = cursor_over(view->element);
    if (cursor_peek(&cursor) == CURSOR_ARRAY) {
        bool is_taken = cursor_take_array_of(&cursor, 4);
        ASSERT(is_taken);
        writer_put_array(writer, 4);
        if (cursor_try_nil(&cursor)) {
            writer_put_nil(writer);
        } else {
            rewrite_content(&cursor, CURSOR_STR, writer);
        }
        rewrite_texts(&cursor, false, writer);
        rewrite_texts(&cursor, true, writer);
    }
    rewrite_content(&cursor, CURSOR_BIN, writer);
}

void message_write_canonical(const struct message_view *view, uint8_t *to)
{
    if (!view->needs_rewrite) {
        memcpy(to, view->element.data, view->element.length);
        return;
    }
    struct writer writer = writer_over(to, view->canonical_bytes);
    rewrite(view, &writer);
    ASSERT(!writer.overflowed);
    ASSERT(writer_length(&writer) == view->canonical_bytes);
}

uint32_t message_tag_hash(const struct message_view *view)
{
    return crc32c(view->tag.data, view->tag.length);
}

uint32_t message_key_hash(const struct message_view *view)
{
    return crc32c(view->first_key.data, view->first_key.length);
}
