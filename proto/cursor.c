/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor.c - typed takes over hostile msgpack.
 */
#include "proto/cursor.h"

#include "proto/limits.h"
#include "proto/value_head.h"

/* What the first byte says of a value's type, for the shapes that do not say it by themselves. */
static enum cursor_type scalar_type(uint8_t first)
{
    switch (first) {
    case 0xc0:
        return CURSOR_NIL;
    case 0xc2:
    case 0xc3:
        return CURSOR_BOOL;
    case 0xca:
    case 0xcb:
        return CURSOR_FLOAT;
    default:
        return CURSOR_INTEGER;
    }
}

enum cursor_type cursor_peek(const struct cursor *cursor)
{
    if (cursor->failed || cursor->at == cursor->end) {
        return CURSOR_NONE;
    }
    uint8_t first = *cursor->at;
    switch ((enum value_class)value_shapes[first].class) {
    case VALUE_SCALAR:
        return scalar_type(first);
    case VALUE_FIXTEXT:
        return CURSOR_STR;
    case VALUE_PAYLOAD8:
    case VALUE_PAYLOAD16:
    case VALUE_PAYLOAD32:
        return first <= 0xc6 ? CURSOR_BIN : CURSOR_STR;
    case VALUE_FIXARRAY:
    case VALUE_ARRAY16:
    case VALUE_ARRAY32:
        return CURSOR_ARRAY;
    case VALUE_FIXMAP:
    case VALUE_MAP16:
    case VALUE_MAP32:
        return CURSOR_MAP;
    case VALUE_EXT:
    case VALUE_INVALID:
        break;
    }
    return CURSOR_INVALID;
}

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

bool cursor_try_nil(struct cursor *cursor)
{
    if (left_of(cursor) == 0 || *cursor->at != 0xc0) {
        return false;
    }
    cursor->at++;
    return true;
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

bool cursor_take_uint(struct cursor *cursor, uint64_t *value_out)
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

bool cursor_take_text(struct cursor *cursor, struct bytes *content_out)
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

bool cursor_take_array(struct cursor *cursor, uint32_t *count_out)
{
    uint64_t children;
    if (!take_container(cursor, CURSOR_ARRAY, &children)) {
        return false;
    }
    *count_out = (uint32_t)children;
    return true;
}

bool cursor_take_map(struct cursor *cursor, uint32_t *count_out)
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
    uint64_t missing[FRAME_DEPTH_MAX];
    uint32_t depth = 0;

    do {
        size_t left = (size_t)(cursor->end - at);
        if (left == 0) {
            return cursor_fail(cursor);
        }
        struct value_shape shape = value_shapes[*at];
        bool is_container = value_is_container(shape);
        if (shape.class >= VALUE_EXT || left < shape.head_bytes ||
            (is_container && depth == FRAME_DEPTH_MAX)) {
            return cursor_fail(cursor);
        }
        struct value_head head = value_head_read(at, shape);
        if (head.payload_bytes + head.children > left - head.head_bytes) {
            return cursor_fail(cursor);
        }
        at += head.head_bytes + head.payload_bytes;
        if (depth > 0) {
            missing[depth - 1]--;
        }
        if (head.children > 0) {
            missing[depth++] = head.children;
        }
        while (depth > 0 && missing[depth - 1] == 0) {
            depth--;
        }
    } while (depth > 0);

    cursor->at = at;
    return true;
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
