/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_head.c - the table of first bytes.
 */
#include "proto/value_head.h"

/* Ranges in initializers are an extension that both compilers have. */
#pragma GCC diagnostic ignored "-Wpedantic"

const struct value_shape value_shapes[256] = {
    [0x00 ... 0x7f] = {1, VALUE_SCALAR},
    [0x80 ... 0x8f] = {1, VALUE_FIXMAP},
    [0x90 ... 0x9f] = {1, VALUE_FIXARRAY},
    [0xa0 ... 0xbf] = {1, VALUE_FIXTEXT},
    [0xc0] = {1, VALUE_SCALAR},
    [0xc1] = {1, VALUE_INVALID},
    [0xc2 ... 0xc3] = {1, VALUE_SCALAR},
    [0xc4] = {2, VALUE_PAYLOAD8},
    [0xc5] = {3, VALUE_PAYLOAD16},
    [0xc6] = {5, VALUE_PAYLOAD32},
    [0xc7 ... 0xc9] = {1, VALUE_EXT},
    [0xca] = {5, VALUE_SCALAR},
    [0xcb] = {9, VALUE_SCALAR},
    [0xcc] = {2, VALUE_SCALAR},
    [0xcd] = {3, VALUE_SCALAR},
    [0xce] = {5, VALUE_SCALAR},
    [0xcf] = {9, VALUE_SCALAR},
    [0xd0] = {2, VALUE_SCALAR},
    [0xd1] = {3, VALUE_SCALAR},
    [0xd2] = {5, VALUE_SCALAR},
    [0xd3] = {9, VALUE_SCALAR},
    [0xd4 ... 0xd8] = {1, VALUE_EXT},
    [0xd9] = {2, VALUE_PAYLOAD8},
    [0xda] = {3, VALUE_PAYLOAD16},
    [0xdb] = {5, VALUE_PAYLOAD32},
    [0xdc] = {3, VALUE_ARRAY16},
    [0xdd] = {5, VALUE_ARRAY32},
    [0xde] = {3, VALUE_MAP16},
    [0xdf] = {5, VALUE_MAP32},
    [0xe0 ... 0xff] = {1, VALUE_SCALAR},
};

const uint8_t value_short_bytes[256] = {
    [0x00 ... 0x7f] = 1, [0xa0] = 1,  [0xa1] = 2,  [0xa2] = 3,  [0xa3] = 4,
    [0xa4] = 5,          [0xa5] = 6,  [0xa6] = 7,  [0xa7] = 8,  [0xa8] = 9,
    [0xa9] = 10,         [0xaa] = 11, [0xab] = 12, [0xac] = 13, [0xad] = 14,
    [0xae] = 15,         [0xaf] = 16, [0xb0] = 17, [0xb1] = 18, [0xb2] = 19,
    [0xb3] = 20,         [0xb4] = 21, [0xb5] = 22, [0xb6] = 23, [0xb7] = 24,
    [0xb8] = 25,         [0xb9] = 26, [0xba] = 27, [0xbb] = 28, [0xbc] = 29,
    [0xbd] = 30,         [0xbe] = 31, [0xbf] = 32, [0xc0] = 1,  [0xc2 ... 0xc3] = 1,
    [0xca] = 5,          [0xcb] = 9,  [0xcc] = 2,  [0xcd] = 3,  [0xce] = 5,
    [0xcf] = 9,          [0xd0] = 2,  [0xd1] = 3,  [0xd2] = 5,  [0xd3] = 9,
    [0xe0 ... 0xff] = 1,
};
