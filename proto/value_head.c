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
