/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - writes JSON. */
#include "tools/cli/json.h"

#include "proto/base/utf8.h"
#include "proto/limits.h"

void json_put_string(FILE *to, struct bytes text)
{
    (void)putc_unlocked('"', to);
    size_t plain = 0; /* where the run of bytes that need no escape began */
    for (size_t i = 0; i < text.length; i++) {
        uint8_t byte = text.data[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f && byte != 0xc2) {
            continue;
        }
        size_t control = utf8_control_length(bytes_make(text.data + i, text.length - i));
        if (byte == 0xc2 && control == 0) {
            continue;
        }
        (void)fwrite_unlocked(text.data + plain, 1, i - plain, to);
        i += control == 2;
        plain = i + 1;
        switch (byte) {
        case '"':
            (void)fputs_unlocked("\\\"", to);
            break;
        case '\\':
            (void)fputs_unlocked("\\\\", to);
            break;
        case '\n':
            (void)fputs_unlocked("\\n", to);
            break;
        case '\r':
            (void)fputs_unlocked("\\r", to);
            break;
        case '\t':
            (void)fputs_unlocked("\\t", to);
            break;
        default:
            (void)fprintf(to, "\\u%04x", text.data[i]); /* C1's second byte is its number */
            break;
        }
    }
    if (text.length > plain) {
        (void)fwrite_unlocked(text.data + plain, 1, text.length - plain, to);
    }
    (void)putc_unlocked('"', to);
}

void json_put_base64(FILE *to, struct bytes bytes)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (void)putc_unlocked('"', to);
    for (size_t i = 0; i < bytes.length; i += 3) {
        size_t left = bytes.length - i;
        uint32_t three = (uint32_t)bytes.data[i] << 16;
        three |= left > 1 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        three |= left > 2 ? (uint32_t)bytes.data[i + 2] : 0;
        (void)putc_unlocked(DIGITS[three >> 18 & 63], to);
        (void)putc_unlocked(DIGITS[three >> 12 & 63], to);
        (void)putc_unlocked(left > 1 ? DIGITS[three >> 6 & 63] : '=', to);
        (void)putc_unlocked(left > 2 ? DIGITS[three & 63] : '=', to);
    }
    (void)putc_unlocked('"', to);
}

static void put_bytes(FILE *to, struct bytes bytes)
{
    if (utf8_is_valid(bytes)) {
        json_put_string(to, bytes);
        return;
    }
    (void)fputs("{\"base64\":", to);
    json_put_base64(to, bytes);
    (void)putc_unlocked('}', to);
}

/* A key: JSON has only strings. */
static bool put_key(FILE *to, struct cursor *cursor)
{
    struct bytes text;
    int64_t number;
    if (cursor_peek(cursor) == CURSOR_INTEGER && cursor_take_int(cursor, &number)) {
        (void)fprintf(to, "\"%lld\"", (long long)number);
        return true;
    }
    if (!cursor_take_text(cursor, &text) || !utf8_is_valid(text)) {
        return cursor_fail(cursor);
    }
    json_put_string(to, text);
    return true;
}

static bool put_scalar(FILE *to, struct cursor *cursor)
{
    struct bytes text;
    int64_t number;
    bool truth;
    switch (cursor_peek(cursor)) {
    case CURSOR_NIL:
        (void)fputs_unlocked("null", to);
        return cursor_take_nil(cursor);
    case CURSOR_BOOL:
        if (cursor_take_bool(cursor, &truth)) {
            (void)fputs_unlocked(truth ? "true" : "false", to);
        }
        return !cursor->failed;
    case CURSOR_STR:
    case CURSOR_BIN:
        if (cursor_take_text(cursor, &text)) {
            put_bytes(to, text);
        }
        return !cursor->failed;
    default:
        if (cursor_take_int(cursor, &number)) {
            (void)fprintf(to, "%lld", (long long)number);
        }
        return !cursor->failed;
    }
}

/* Arrays and maps that are open, innermost last. */
struct nesting {
    uint32_t left;
    bool is_map;
    bool is_first;
};

bool json_put_value(FILE *to, struct cursor *cursor)
{
    struct nesting open[FRAME_DEPTH_MAX + 1];
    unsigned depth = 0;
    do {
        if (depth > 0) {
            struct nesting *inner = &open[depth - 1];
            if (inner->left == 0) {
                (void)putc_unlocked(inner->is_map ? '}' : ']', to);
                depth--;
                continue;
            }
            inner->left--;
            if (!inner->is_first) {
                (void)putc_unlocked(',', to);
            }
            inner->is_first = false;
            if (inner->is_map) {
                if (!put_key(to, cursor)) {
                    return false;
                }
                (void)putc_unlocked(':', to);
            }
        }
        enum cursor_type type = cursor_peek(cursor);
        if (type != CURSOR_ARRAY && type != CURSOR_MAP) {
            if (!put_scalar(to, cursor)) {
                return false;
            }
            continue;
        }
        if (depth > FRAME_DEPTH_MAX) {
            return cursor_fail(cursor);
        }
        struct nesting *nesting = &open[depth++];
        *nesting = (struct nesting){.is_map = type == CURSOR_MAP, .is_first = true};
        bool taken = nesting->is_map ? cursor_take_map(cursor, &nesting->left)
                                     : cursor_take_array(cursor, &nesting->left);
        if (!taken) {
            return false;
        }
        (void)putc_unlocked(nesting->is_map ? '{' : '[', to);
    } while (depth > 0);
    return true;
}

struct json_object json_open(FILE *to)
{
    (void)putc_unlocked('{', to);
    return (struct json_object){.to = to, .has_pairs = false};
}

void json_close(struct json_object *object)
{
    (void)fputs_unlocked("}\n", object->to);
}

void json_key(struct json_object *object, const char *key)
{
    if (object->has_pairs) {
        (void)putc_unlocked(',', object->to);
    }
    object->has_pairs = true;
    json_put_string(object->to, bytes_from_string(key));
    (void)putc_unlocked(':', object->to);
}

void json_pair_number(struct json_object *object, const char *key, uint64_t number)
{
    json_key(object, key);
    char digits[24];
    int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    (void)fwrite_unlocked(digits, 1, (size_t)length, object->to);
}

void json_pair_text(struct json_object *object, const char *key, const char *text)
{
    json_key(object, key);
    json_put_string(object->to, bytes_from_string(text));
}

void json_pair_bool(struct json_object *object, const char *key, bool truth)
{
    json_key(object, key);
    (void)fputs_unlocked(truth ? "true" : "false", object->to);
}

void json_pair_real(struct json_object *object, const char *key, double number)
{
    json_key(object, key);
    (void)fprintf(object->to, "%.3f", number);
}
