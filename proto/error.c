/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error.c - the table of errors, and refusals on their way to a peer and back.
 */
#include "proto/error.h"

#include "proto/base/utf8.h"
#include "proto/cursor.h"
#include "proto/writer.h"

#include <stdarg.h>
#include <stdio.h>

struct error_row {
    enum error error;
    const char *name;
    const char *text;
};

static const struct error_row rows[] = {
#define ERROR(name, code, text) {ERROR_##name, #name, text},
#include "proto/error.def"
#undef ERROR
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

static const char *const detail_keys[REFUSAL_DETAIL_COUNT] = {
    [REFUSAL_LIMIT] = "limit",     [REFUSAL_VALUE] = "value",
    [REFUSAL_USAGE] = "usage",     [REFUSAL_RETRY_AFTER_MS] = "retry_after_ms",
    [REFUSAL_RESUME] = "resume",   [REFUSAL_FIRST] = "first",
    [REFUSAL_QUEUE] = "queue",     [REFUSAL_OFFSET] = "offset",
    [REFUSAL_VERSION] = "version", [REFUSAL_EXPECTED] = "expected",
    [REFUSAL_NEXT] = "next",       [REFUSAL_COLUMN] = "column",
};

/* ---- the table ---- */

static const struct error_row *row_of(enum error error)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].error == error) {
            return &rows[i];
        }
    }
    return NULL;
}

const char *error_name(enum error error)
{
    const struct error_row *row = row_of(error);
    return row != NULL ? row->name : error == OK ? "OK" : "UNKNOWN";
}

const char *error_text(enum error error)
{
    const struct error_row *row = row_of(error);
    return row != NULL ? row->text : error == OK ? "no error" : "an error that is not known here";
}

bool error_is_retryable(enum error error)
{
    return error >= 20 && error <= 59;
}

bool error_is_overload(enum error error)
{
    return error >= 40 && error <= 59;
}

enum error_stored error_stored(enum error error)
{
    if (error >= 80 && error <= 89) {
        return ERROR_STORED_YES;
    }
    return error >= 90 ? ERROR_STORED_MAYBE : ERROR_STORED_NO;
}

const char *error_stored_name(enum error_stored stored)
{
    static const char *const names[] = {"no", "maybe", "yes"};
    return names[stored];
}

enum error error_from_name(struct bytes name)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (bytes_equal(name, bytes_from_string(rows[i].name))) {
            return rows[i].error;
        }
    }
    return OK;
}

enum error error_from_code(uint64_t code)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if ((uint64_t)rows[i].error == code) {
            return rows[i].error;
        }
    }
    return OK;
}

/* ---- making a refusal ---- */

/*
 * Copies text that a peer may have chosen into a field of `to_bytes`: cut where it is too long, and
 * with '?' for what is no printable ASCII, unless all of it is UTF-8 without control characters.
 */
static void copy_text(char *to, size_t to_bytes, struct bytes from)
{
    size_t length = from.length < to_bytes - 1 ? from.length : to_bytes - 1;
    /* A cut must not fall into a sequence. */
    while (length < from.length && length > 0 && (from.data[length] & 0xc0) == 0x80) {
        length--;
    }
    bool is_text = utf8_is_valid((struct bytes){from.data, length});
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = from.data[i];
        bool is_printable = byte >= 0x20 && byte != 0x7f && (byte < 0x80 || is_text);
        to[i] = is_printable ? (char)byte : '?';
    }
    to[length] = '\0';
}

static void refusal_clear(struct refusal *refusal, enum error error)
{
    refusal->code = error;
    refusal->details = 0;
    refusal->message[0] = '\0';
    refusal->key[0] = '\0';
    refusal->limit_text[0] = '\0';
    refusal->broker[0] = '\0';
    refusal->queue_count = 0;
}

enum error refusal_set(struct refusal *refusal, enum error error, const char *format, ...)
{
    char text[REFUSAL_MESSAGE_BYTES];

    ASSERT(error != OK);
    refusal_clear(refusal, error);
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    const char *chosen = length > 0 ? text : error_text(error);
    copy_text(refusal->message, sizeof(refusal->message), bytes_from_string(chosen));
    return error;
}

void refusal_add(struct refusal *refusal, enum refusal_detail detail, uint64_t value)
{
    refusal->details |= 1U << detail;
    refusal->values[detail] = value;
}

void refusal_add_key(struct refusal *refusal, struct bytes key)
{
    copy_text(refusal->key, sizeof(refusal->key), key);
}

void refusal_add_limit_text(struct refusal *refusal, const char *limit)
{
    copy_text(refusal->limit_text, sizeof(refusal->limit_text), bytes_from_string(limit));
}

void refusal_add_broker(struct refusal *refusal, struct bytes broker)
{
    copy_text(refusal->broker, sizeof(refusal->broker), broker);
}

void refusal_add_queue(struct refusal *refusal, uint32_t queue)
{
    for (uint32_t i = 0; i < refusal->queue_count; i++) {
        if (refusal->queues[i] == queue) {
            return;
        }
    }
    if (refusal->queue_count < REFUSAL_QUEUES_MAX) {
        refusal->queues[refusal->queue_count++] = queue;
    }
}

bool refusal_get(const struct refusal *refusal, enum refusal_detail detail, uint64_t *value_out)
{
    if ((refusal->details >> detail & 1) == 0) {
        return false;
    }
    *value_out = refusal->values[detail];
    return true;
}

enum error refusal_set_overload(struct refusal *refusal, enum error error,
                                const struct refusal_overload *overload)
{
    ASSERT(error_is_overload(error));

    (void)refusal_set(refusal, error, "%s: limit %llu, asked for %llu, in use %llu", overload->what,
                      (unsigned long long)overload->limit, (unsigned long long)overload->value,
                      (unsigned long long)overload->usage);
    refusal_add(refusal, REFUSAL_LIMIT, overload->limit);
    refusal_add(refusal, REFUSAL_VALUE, overload->value);
    refusal_add(refusal, REFUSAL_USAGE, overload->usage);
    refusal_add(refusal, REFUSAL_RETRY_AFTER_MS, overload->retry_after_ms);
    return error;
}

/* ---- writing one ---- */

static uint32_t detail_count(const struct refusal *refusal)
{
    uint32_t count = (uint32_t)__builtin_popcount(refusal->details);
    count += refusal->key[0] != '\0';
    count += refusal->limit_text[0] != '\0';
    count += refusal->broker[0] != '\0';
    count += refusal->queue_count > 0;
    return count;
}

static void write_map(const struct refusal *refusal, struct writer *writer)
{
    writer_put_map(writer, 5 + detail_count(refusal));
    writer_put_key_uint(writer, "code", (uint64_t)refusal->code);
    writer_put_key_string(writer, "name", error_name(refusal->code));
    writer_put_key_string(writer, "message", refusal->message);
    writer_put_key_bool(writer, "retryable", error_is_retryable(refusal->code));
    writer_put_key_string(writer, "stored", error_stored_name(error_stored(refusal->code)));
    if (refusal->key[0] != '\0') {
        writer_put_key_string(writer, "key", refusal->key);
    }
    if (refusal->limit_text[0] != '\0') {
        writer_put_key_string(writer, "limit", refusal->limit_text);
    }
    for (uint32_t i = 0; i < REFUSAL_DETAIL_COUNT; i++) {
        if ((refusal->details >> i & 1) != 0) {
            writer_put_key_uint(writer, detail_keys[i], refusal->values[i]);
        }
    }
    if (refusal->broker[0] != '\0') {
        writer_put_key_string(writer, "broker", refusal->broker);
    }
    if (refusal->queue_count > 0) {
        writer_put_string(writer, "queues");
        writer_put_array(writer, refusal->queue_count);
        for (uint32_t i = 0; i < refusal->queue_count; i++) {
            writer_put_uint(writer, refusal->queues[i]);
        }
    }
}

void refusal_write(const struct refusal *refusal, enum error_form form, struct writer *writer)
{
    ASSERT(refusal->code != OK);
    /* A map with `limit` twice would be no map. */
    ASSERT_IF(refusal->limit_text[0] != '\0', (refusal->details >> REFUSAL_LIMIT & 1) == 0);

    const char *name = error_name(refusal->code);
    switch (form) {
    case ERROR_FORM_MAP:
        write_map(refusal, writer);
        return;
    case ERROR_FORM_TEXT:
        writer_put_str_header(writer, (uint32_t)(strlen(name) + 2 + strlen(refusal->message)));
        writer_put_raw(writer, bytes_from_string(name));
        writer_put_raw(writer, BYTES_OF(": "));
        writer_put_raw(writer, bytes_from_string(refusal->message));
        return;
    case ERROR_FORM_PAIR:
        writer_put_array(writer, 2);
        writer_put_uint(writer, (uint64_t)refusal->code);
        writer_put_string(writer, refusal->message);
        return;
    }
    UNREACHABLE("a form that the enum does not have");
}

/* ---- reading one ---- */

static bool read_code(struct cursor *cursor, struct refusal *refusal)
{
    uint32_t code;
    if (!cursor_take_u32(cursor, &code) || code == 0 || code > INT32_MAX) {
        return cursor_fail(cursor);
    }
    refusal->code = (enum error)code;
    return true;
}

static bool read_text(struct cursor *cursor, char *to, size_t to_bytes)
{
    struct bytes text;
    if (!cursor_take_text(cursor, &text)) {
        return false;
    }
    copy_text(to, to_bytes, text);
    return true;
}

static bool read_queues(struct cursor *cursor, struct refusal *refusal)
{
    uint32_t count;
    if (!cursor_take_array(cursor, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t queue;
        if (!cursor_take_u32(cursor, &queue)) {
            return false;
        }
        refusal_add_queue(refusal, queue);
    }
    return true;
}

/* Reads the value of an integer detail, or skips that of a key that is not known here. */
static bool read_detail(struct cursor *cursor, struct bytes key, struct refusal *refusal)
{
    for (uint32_t i = 0; i < REFUSAL_DETAIL_COUNT; i++) {
        uint64_t value;
        if (!bytes_equal(key, bytes_from_string(detail_keys[i]))) {
            continue;
        }
        if (cursor_peek(cursor) != CURSOR_INTEGER) {
            break;
        }
        if (!cursor_take_u64(cursor, &value)) {
            return false;
        }
        if (i == REFUSAL_LIMIT) {
            refusal->limit_text[0] = '\0';
        }
        refusal_add(refusal, (enum refusal_detail)i, value);
        return true;
    }
    return cursor_skip(cursor);
}

static bool read_pair(struct cursor *cursor, struct refusal *refusal)
{
    struct bytes key;
    if (!cursor_take_text(cursor, &key)) {
        return false;
    }
    if (bytes_equal(key, BYTES_OF("code"))) {
        return read_code(cursor, refusal);
    }
    if (bytes_equal(key, BYTES_OF("message"))) {
        return read_text(cursor, refusal->message, sizeof(refusal->message));
    }
    if (bytes_equal(key, BYTES_OF("key"))) {
        return read_text(cursor, refusal->key, sizeof(refusal->key));
    }
    if (bytes_equal(key, BYTES_OF("broker"))) {
        return read_text(cursor, refusal->broker, sizeof(refusal->broker));
    }
    if (bytes_equal(key, BYTES_OF("limit")) && cursor_peek(cursor) == CURSOR_STR) {
        /* The last one counts, of whichever kind, so that a refusal can always be written again. */
        refusal->details &= ~(1U << REFUSAL_LIMIT);
        return read_text(cursor, refusal->limit_text, sizeof(refusal->limit_text));
    }
    if (bytes_equal(key, BYTES_OF("queues"))) {
        return read_queues(cursor, refusal);
    }
    return read_detail(cursor, key, refusal);
}

static bool read_map(struct cursor *cursor, struct refusal *refusal)
{
    uint32_t count;
    if (!cursor_take_map(cursor, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (!read_pair(cursor, refusal)) {
            return false;
        }
    }
    return refusal->code != OK;
}

/* "NAME: message" */
static bool read_form_text(struct cursor *cursor, struct refusal *refusal)
{
    struct bytes text;
    if (!cursor_take_text(cursor, &text) || text.length == 0) {
        return false;
    }
    const uint8_t *colon = memchr(text.data, ':', text.length);
    size_t name_bytes = colon == NULL ? text.length : (size_t)(colon - text.data);
    refusal->code = error_from_name((struct bytes){text.data, name_bytes});
    size_t skipped = name_bytes + 2 <= text.length ? name_bytes + 2 : text.length;
    copy_text(refusal->message, sizeof(refusal->message),
              (struct bytes){text.data + skipped, text.length - skipped});
    return refusal->code != OK;
}

bool refusal_read(struct cursor *cursor, struct refusal *refusal_out)
{
    struct refusal refusal;
    bool is_read = false;

    refusal_clear(&refusal, OK);
    switch (cursor_peek(cursor)) {
    case CURSOR_MAP:
        is_read = read_map(cursor, &refusal);
        break;
    case CURSOR_STR:
        is_read = read_form_text(cursor, &refusal);
        break;
    case CURSOR_ARRAY:
        is_read = cursor_take_array_of(cursor, 2) && read_code(cursor, &refusal) &&
                  read_text(cursor, refusal.message, sizeof(refusal.message));
        break;
    default:
        break;
    }
    if (is_read) {
        *refusal_out = refusal;
    }
    return is_read;
}
