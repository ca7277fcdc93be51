/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor.c - typed takes over hostile msgpack.
 */
#include "proto/cursor.h"

#include "proto/limits.h"
#include "proto/value_head.h"

/* Ranges in initializers are an extension that both compilers have. */
#pragma GCC diagnostic ignored "-Wpedantic"

const uint8_t cursor_types[256] = {
    [0x00 ... 0x7f] = CURSOR_INTEGER,
    [0x80 ... 0x8f] = CURSOR_MAP,
    [0x90 ... 0x9f] = CURSOR_ARRAY,
    [0xa0 ... 0xbf] = CURSOR_STR,
    [0xc0] = CURSOR_NIL,
    [0xc1] = CURSOR_INVALID,
    [0xc2 ... 0xc3] = CURSOR_BOOL,
    [0xc4 ... 0xc6] = CURSOR_BIN,
    [0xc7 ... 0xc9] = CURSOR_INVALID,
    [0xca ... 0xcb] = CURSOR_FLOAT,
    [0xcc ... 0xd3] = CURSOR_INTEGER,
    [0xd4 ... 0xd8] = CURSOR_INVALID,
    [0xd9 ... 0xdb] = CURSOR_STR,
    [0xdc ... 0xdd] = CURSOR_ARRAY,
    [0xde ... 0xdf] = CURSOR_MAP,
    [0xe0 ... 0xff] = CURSOR_INTEGER,
};

const char *cursor_type_name(enum cursor_type type)
{
    static const char *const names[] = {
        [CURSOR_NONE] = "nothing", [CURSOR_NIL] = "nil",     [CURSOR_BOOL] = "bool",
        [CURSOR_INTEGER] = "int",  [CURSOR_FLOAT] = "float", [CURSOR_STR] = "str",
        [CURSOR_BIN] = "bin",      [CURSOR_ARRAY] = "array", [CURSOR_MAP] = "map",
        [CURSOR_INVALID] = "ext",
    };
    return names[type];
}

bool cursor_fail(struct cursor *cursor)
{
    cursor->failed = true;
    cursor->at = cursor->end;
    return false;
}

/* The bytes left; 0 once failed, because failing moves to the end. */
static inline size_t left_of(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

bool cursor_take_nil(struct cursor *cursor)
{
    return cursor_try_nil(cursor) || cursor_fail(cursor);
}

bool cursor_take_bool(struct cursor *cursor, bool *value_out)
{
    if (left_of(cursor) == 0 || (*cursor->at != 0xc2 && *cursor->at != 0xc3)) {
        return cursor_fail(cursor);
    }
    *value_out = *cursor->at == 0xc3;
    cursor->at++;
    return true;
}

/* ---- numbers ---- */

struct integer {
    bool negative;
    uint64_t magnitude;
};

static struct integer integer_from(int64_t value)
{
    return (struct integer){
        .negative = value < 0,
        .magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value,
    };
}

/* An integral float of a magnitude below 2^53. */
static bool integer_from_float(double value, struct integer *integer_out)
{
    const double limit = (double)INTEGER_LIMIT;
    /* Also false of a NaN. */
    if (!(value > -limit && value < limit)) {
        return false;
    }
    int64_t whole = (int64_t)value;
    if ((double)whole < value || (double)whole > value) {
        return false;
    }
    *integer_out = integer_from(whole);
    return true;
}

/* Reads the scalar `first`, whose bytes after the first are at `at`, as a number. */
static bool integer_read(uint8_t first, const uint8_t *at, struct integer *integer_out)
{
    switch (first) {
    case 0xcc:
        *integer_out = (struct integer){.magnitude = *at};
        return true;
    case 0xcd:
        *integer_out = (struct integer){.magnitude = load_u16(at)};
        return true;
    case 0xce:
        *integer_out = (struct integer){.magnitude = load_u32(at)};
        return true;
    case 0xcf:
        *integer_out = (struct integer){.magnitude = load_u64(at)};
        return true;
    case 0xd0:
        *integer_out = integer_from((int8_t)*at);
        return true;
    case 0xd1:
        *integer_out = integer_from((int16_t)load_u16(at));
        return true;
    case 0xd2:
        *integer_out = integer_from((int32_t)load_u32(at));
        return true;
    case 0xd3:
        *integer_out = integer_from((int64_t)load_u64(at));
        return true;
    case 0xca: {
        uint32_t bits = load_u32(at);
        float value;
        memcpy(&value, &bits, sizeof(value));
        return integer_from_float((double)value, integer_out);
    }
    case 0xcb: {
        uint64_t bits = load_u64(at);
        double value;
        memcpy(&value, &bits, sizeof(value));
        return integer_from_float(value, integer_out);
    }
    default:
        if (first >= 0x80 && first < 0xe0) {
            return false;
        }
        *integer_out = integer_from((int8_t)first);
        return true;
    }
}

/* Takes a number of any width and sign. */
static bool take_integer(struct cursor *cursor, struct integer *integer_out)
{
    size_t left = left_of(cursor);
    if (left == 0) {
        return cursor_fail(cursor);
    }
    uint8_t first = *cursor->at;
    struct value_shape shape = value_shapes[first];
    if (shape.class != VALUE_SCALAR || left < shape.head_bytes ||
        !integer_read(first, cursor->at + 1, integer_out)) {
        return cursor_fail(cursor);
    }
    cursor->at += shape.head_bytes;
    return true;
}

bool cursor_take_u64(struct cursor *cursor, uint64_t *value_out)
{
    struct integer integer;
    if (left_of(cursor) > 0 && *cursor->at < 0x80) {
        *value_out = *cursor->at++;
        return true;
    }
    if (left_of(cursor) >= 5 && *cursor->at == 0xce) {
        *value_out = load_u32(cursor->at + 1);
        cursor->at += 5;
        return true;
    }
    if (!take_integer(cursor, &integer) || integer.negative) {
        return cursor_fail(cursor);
    }
    *value_out = integer.magnitude;
    return true;
}

bool cursor_take_uint_max(struct cursor *cursor, uint64_t most, uint64_t *value_out)
{
    uint64_t value;
    if (!cursor_take_u64(cursor, &value) || value > most) {
        return cursor_fail(cursor);
    }
    *value_out = value;
    return true;
}

bool cursor_take_uint_any(struct cursor *cursor, uint64_t *value_out)
{
    return cursor_take_uint_max(cursor, INTEGER_LIMIT - 1, value_out);
}

bool cursor_take_u32(struct cursor *cursor, uint32_t *value_out)
{
    uint64_t value;
    if (!cursor_take_uint_max(cursor, UINT32_MAX, &value)) {
        return false;
    }
    *value_out = (uint32_t)value;
    return true;
}

bool cursor_take_u16(struct cursor *cursor, uint16_t *value_out)
{
    uint64_t value;
    if (!cursor_take_uint_max(cursor, UINT16_MAX, &value)) {
        return false;
    }
    *value_out = (uint16_t)value;
    return true;
}

bool cursor_take_int(struct cursor *cursor, int64_t *value_out)
{
    struct integer integer;
    if (!take_integer(cursor, &integer) || integer.magnitude >= INTEGER_LIMIT) {
        return cursor_fail(cursor);
    }
    *value_out = integer.negative ? -(int64_t)integer.magnitude : (int64_t)integer.magnitude;
    return true;
}

/* ---- text and bytes ---- */

bool cursor_take_text_any(struct cursor *cursor, struct bytes *content_out)
{
    size_t left = left_of(cursor);
    if (left == 0) {
        return cursor_fail(cursor);
    }
    struct value_shape shape = value_shapes[*cursor->at];
    bool is_text = shape.class == VALUE_FIXTEXT ||
                   (shape.class >= VALUE_PAYLOAD8 && shape.class <= VALUE_PAYLOAD32);
    if (!is_text || left < shape.head_bytes) {
        return cursor_fail(cursor);
    }
    struct value_head head = value_head_read(cursor->at, shape);
    if (head.payload_bytes > left - head.head_bytes) {
        return cursor_fail(cursor);
    }
    *content_out = (struct bytes){cursor->at + head.head_bytes, head.payload_bytes};
    cursor->at += head.head_bytes + head.payload_bytes;
    return true;
}

bool cursor_take_str(struct cursor *cursor, struct bytes *content_out)
{
    return cursor_peek(cursor) == CURSOR_STR ? cursor_take_text(cursor, content_out)
                                             : cursor_fail(cursor);
}

bool cursor_take_bin(struct cursor *cursor, struct bytes *content_out)
{
    return cursor_peek(cursor) == CURSOR_BIN ? cursor_take_text(cursor, content_out)
                                             : cursor_fail(cursor);
}

bool cursor_take_raw(struct cursor *cursor, size_t length, struct bytes *raw_out)
{
    if (cursor->failed || length > left_of(cursor)) {
        return cursor_fail(cursor);
    }
    *raw_out = (struct bytes){cursor->at, length};
    cursor->at += length;
    return true;
}

/* ---- containers ---- */

/* Takes the header of an array, or of a map; `children` bytes at the least must follow. */
static bool take_container(struct cursor *cursor, enum cursor_type type, uint64_t *children_out)
{
    if (cursor_peek(cursor) != type) {
        return cursor_fail(cursor);
    }
    size_t left = left_of(cursor);
    struct value_shape shape = value_shapes[*cursor->at];
    if (left < shape.head_bytes) {
        return cursor_fail(cursor);
    }
    struct value_head head = value_head_read(cursor->at, shape);
    if (head.children > left - head.head_bytes) {
        return cursor_fail(cursor);
    }
    cursor->at += head.head_bytes;
    *children_out = head.children;
    return true;
}

bool cursor_take_array_any(struct cursor *cursor, uint32_t *count_out)
{
    uint64_t children;
    if (!take_container(cursor, CURSOR_ARRAY, &children)) {
        return false;
    }
    *count_out = (uint32_t)children;
    return true;
}

bool cursor_take_map_any(struct cursor *cursor, uint32_t *count_out)
{
    uint64_t children;
    if (!take_container(cursor, CURSOR_MAP, &children)) {
        return false;
    }
    *count_out = (uint32_t)(children / 2);
    return true;
}

bool cursor_take_array_of(struct cursor *cursor, uint32_t count)
{
    uint32_t found;
    return (cursor_take_array(cursor, &found) && found == count) || cursor_fail(cursor);
}

bool cursor_skip(struct cursor *cursor)
{
    const uint8_t *at = cursor->at;
    uint64_t outer[FRAME_DEPTH_MAX]; /* what is missing of the containers around */
    uint64_t missing = 1;
    uint32_t depth = 0;

    for (;;) {
        size_t left = (size_t)(cursor->end - at);
        if (left == 0) {
            return cursor_fail(cursor);
        }
        size_t length = value_short_bytes[*at];
        struct value_head head = {.children = 0};
        if (length == 0) {
            struct value_shape shape = value_shapes[*at];
            if (shape.class >= VALUE_EXT || left < shape.head_bytes ||
                (value_is_container(shape) && depth == FRAME_DEPTH_MAX)) {
                return cursor_fail(cursor);
            }
            head = value_head_read(at, shape);
            if (head.payload_bytes + head.children > left - head.head_bytes) {
                return cursor_fail(cursor);
            }
            length = head.head_bytes + head.payload_bytes;
        } else if (length > left) {
            return cursor_fail(cursor);
        }
        at += length;
        missing--;
        if (head.children > 0) {
            outer[depth++] = missing;
            missing = head.children;
        }
        while (missing == 0) {
            if (depth == 0) {
                cursor->at = at;
                return true;
            }
            missing = outer[--depth];
        }
    }
}

bool cursor_take_span(struct cursor *cursor, struct bytes *span_out)
{
    const uint8_t *start = cursor->at;
    if (!cursor_skip(cursor)) {
        return false;
    }
    *span_out = (struct bytes){start, (size_t)(cursor->at - start)};
    return true;
}
