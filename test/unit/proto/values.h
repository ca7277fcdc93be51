/* SPDX-License-Identifier: Apache-2.0 */
/*
 * values.h - random msgpack values for the tests of those who read and write them.
 */
#ifndef TEST_UNIT_PROTO_VALUES_H
#define TEST_UNIT_PROTO_VALUES_H

#include "proto/base/random.h"
#include "proto/writer.h"

/* A number whose width is as random as its value. */
static inline uint64_t values_number(struct random *random)
{
    return random_next(random) >> random_below(random, 64);
}

static inline void values_put_content(struct random *random, struct writer *writer)
{
    static uint8_t content[70000];
    /* Mostly short; sometimes around the borders of the widths. */
    static const uint32_t borders[] = {31, 32, 255, 256, 65535, 65536};
    uint64_t pick = random_below(random, 40);
    uint32_t length = pick < 6 ? borders[pick] : (uint32_t)random_below(random, 40);
    for (uint32_t i = 0; i < length; i++) {
        content[i] = (uint8_t)('a' + i % 26);
    }
    if (random_below(random, 2) == 0) {
        writer_put_str(writer, bytes_make(content, length));
    } else {
        writer_put_bin(writer, bytes_make(content, length));
    }
}

static inline void values_put(struct random *random, struct writer *writer, int depth)
{
    uint32_t count = (uint32_t)random_below(random, random_below(random, 12) == 0 ? 40 : 5);
    switch (random_below(random, depth > 0 ? 8 : 6)) {
    case 0:
        writer_put_nil(writer);
        break;
    case 1:
        writer_put_bool(writer, random_below(random, 2) == 0);
        break;
    case 2:
        writer_put_uint(writer, values_number(random));
        break;
    case 3:
        writer_put_int(writer, -(int64_t)(values_number(random) >> 1) - 1);
        break;
    case 4:
    case 5:
        values_put_content(random, writer);
        break;
    case 6:
        writer_put_array(writer, count);
        for (uint32_t i = 0; i < count; i++) {
            values_put(random, writer, depth - 1);
        }
        break;
    default:
        writer_put_map(writer, count);
        for (uint32_t i = 0; i < count; i++) {
            writer_put_uint(writer, i);
            values_put(random, writer, depth - 1);
        }
        break;
    }
}

#endif
