/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_head.h - the head of one msgpack value: the only place that knows what first bytes mean.
 *
 * For framer.c and cursor.c, which walk values of which they want to know nothing but the end.
 *
 * Threads: any; the table is constant.
 * Format:  https://github.com/msgpack/msgpack/blob/master/spec.md
 */
#ifndef PROTO_VALUE_HEAD_H
#define PROTO_VALUE_HEAD_H

#include "proto/base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

enum value_class {
    VALUE_SCALAR,   /* nil, bool, number: the head is all of it */
    VALUE_FIXTEXT,  /* length in the low 5 bits */
    VALUE_FIXARRAY, /* count in the low 4 bits */
    VALUE_FIXMAP,
    VALUE_PAYLOAD8, /* str or bin; length in 8, 16, 32 bits */
    VALUE_PAYLOAD16,
    VALUE_PAYLOAD32,
    VALUE_ARRAY16,
    VALUE_ARRAY32,
    VALUE_MAP16,
    VALUE_MAP32,
    VALUE_EXT,
    VALUE_INVALID,
};

struct value_shape {
    uint8_t head_bytes; /* of a scalar the whole value */
    uint8_t class;      /* enum value_class */
};

/* By first byte. */
extern const struct value_shape value_shapes[256];

/* By first byte: how long the whole value is, of scalars and short texts; 0 of all others. */
extern const uint8_t value_short_bytes[256];

struct value_head {
    uint32_t head_bytes;
    uint64_t payload_bytes; /* raw bytes after the head */
    uint64_t children;      /* values after the head: elements, or keys and values */
};

/* True of arrays and maps. */
static inline bool value_is_container(struct value_shape shape)
{
    return shape.class == VALUE_FIXARRAY || shape.class == VALUE_FIXMAP ||
           (shape.class >= VALUE_ARRAY16 && shape.class <= VALUE_MAP32);
}

/* Reads a head all of whose bytes are there and whose shape is neither EXT nor INVALID. */
static inline struct value_head value_head_read(const uint8_t *at, struct value_shape shape)
{
    struct value_head head = {.head_bytes = shape.head_bytes};

    switch ((enum value_class)shape.class) {
    case VALUE_FIXTEXT:
        head.payload_bytes = at[0] & 0x1f;
        break;
    case VALUE_FIXARRAY:
        head.children = at[0] & 0x0f;
        break;
    case VALUE_FIXMAP:
        head.children = (at[0] & 0x0fU) * 2;
        break;
    case VALUE_PAYLOAD8:
        head.payload_bytes = at[1];
        break;
    case VALUE_PAYLOAD16:
        head.payload_bytes = load_u16(at + 1);
        break;
    case VALUE_PAYLOAD32:
        head.payload_bytes = load_u32(at + 1);
        break;
    case VALUE_ARRAY16:
        head.children = load_u16(at + 1);
        break;
    case VALUE_ARRAY32:
        head.children = load_u32(at + 1);
        break;
    case VALUE_MAP16:
        head.children = load_u16(at + 1) * UINT64_C(2);
        break;
    case VALUE_MAP32:
        head.children = load_u32(at + 1) * UINT64_C(2);
        break;
    case VALUE_SCALAR:
    case VALUE_EXT:
    case VALUE_INVALID:
        break;
    }
    return head;
}

#endif
