/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer.c - msgpack into a fixed buffer.
 */
#include "proto/writer.h"

/* Makes room for `length` bytes and moves past it, or overflows and gives NULL. */
static uint8_t *reserve(struct writer *writer, size_t length)
{
    if (writer->overflowed || length > (size_t)(writer->end - writer->at)) {
        writer->overflowed = true;
        return NULL;
    }
    uint8_t *at = writer->at;
    writer->at += length;
    return at;
}

static void put_u8(struct writer *writer, uint8_t byte)
{
    uint8_t *at = reserve(writer, 1);
    if (at != NULL) {
        *at = byte;
    }
}

/* A first byte and a number after it. */
static void put_head8(struct writer *writer, uint8_t first, uint8_t value)
{
    uint8_t *at = reserve(writer, 2);
    if (at != NULL) {
        at[0] = first;
        at[1] = value;
    }
}

static void put_head16(struct writer *writer, uint8_t first, uint16_t value)
{
    uint8_t *at = reserve(writer, 3);
    if (at != NULL) {
        at[0] = first;
        store_u16(at + 1, value);
    }
}

static void put_head32(struct writer *writer, uint8_t first, uint32_t value)
{
    uint8_t *at = reserve(writer, 5);
    if (at != NULL) {
        at[0] = first;
        store_u32(at + 1, value);
    }
}

static void put_head64(struct writer *writer, uint8_t first, uint64_t value)
{
    uint8_t *at = reserve(writer, 9);
    if (at != NULL) {
        at[0] = first;
        store_u64(at + 1, value);
    }
}

void writer_put_nil(struct writer *writer)
{
    put_u8(writer, 0xc0);
}

void writer_put_bool(struct writer *writer, bool value)
{
    put_u8(writer, value ? 0xc3 : 0xc2);
}

void writer_put_uint(struct writer *writer, uint64_t value)
{
    if (value < 0x80) {
        put_u8(writer, (uint8_t)value);
    } else if (value <= UINT8_MAX) {
        put_head8(writer, 0xcc, (uint8_t)value);
    } else if (value <= UINT16_MAX) {
        put_head16(writer, 0xcd, (uint16_t)value);
    } else if (value <= UINT32_MAX) {
        put_head32(writer, 0xce, (uint32_t)value);
    } else {
        put_head64(writer, 0xcf, value);
    }
}

void writer_put_int(struct writer *writer, int64_t value)
{
    if (value >= 0) {
        writer_put_uint(writer, (uint64_t)value);
    } else if (value >= -32) {
        put_u8(writer, (uint8_t)value);
    } else if (value >= INT8_MIN) {
        put_head8(writer, 0xd0, (uint8_t)value);
    } else if (value >= INT16_MIN) {
        put_head16(writer, 0xd1, (uint16_t)value);
    } else if (value >= INT32_MIN) {
        put_head32(writer, 0xd2, (uint32_t)value);
    } else {
        put_head64(writer, 0xd3, (uint64_t)value);
    }
}

void writer_put_str_header(struct writer *writer, uint32_t length)
{
    if (length < 32) {
        put_u8(writer, (uint8_t)(0xa0 | length));
    } else if (length <= UINT8_MAX) {
        put_head8(writer, 0xd9, (uint8_t)length);
    } else if (length <= UINT16_MAX) {
        put_head16(writer, 0xda, (uint16_t)length);
    } else {
        put_head32(writer, 0xdb, length);
    }
}

void writer_put_bin_header(struct writer *writer, uint32_t length)
{
    if (length <= UINT8_MAX) {
        put_head8(writer, 0xc4, (uint8_t)length);
    } else if (length <= UINT16_MAX) {
        put_head16(writer, 0xc5, (uint16_t)length);
    } else {
        put_head32(writer, 0xc6, length);
    }
}

void writer_put_raw(struct writer *writer, struct bytes raw)
{
    uint8_t *at = reserve(writer, raw.length);
    if (at != NULL && raw.length > 0) {
        memcpy(at, raw.data, raw.length);
    }
}

void writer_put_str(struct writer *writer, struct bytes content)
{
    ASSERT(content.length <= UINT32_MAX);
    writer_put_str_header(writer, (uint32_t)content.length);
    writer_put_raw(writer, content);
}

void writer_put_string(struct writer *writer, const char *string)
{
    writer_put_str(writer, bytes_from_string(string));
}

void writer_put_bin(struct writer *writer, struct bytes content)
{
    ASSERT(content.length <= UINT32_MAX);
    writer_put_bin_header(writer, (uint32_t)content.length);
    writer_put_raw(writer, content);
}

void writer_put_array(struct writer *writer, uint32_t count)
{
    if (count < 16) {
        put_u8(writer, (uint8_t)(0x90 | count));
    } else if (count <= UINT16_MAX) {
        put_head16(writer, 0xdc, (uint16_t)count);
    } else {
        put_head32(writer, 0xdd, count);
    }
}

void writer_put_map(struct writer *writer, uint32_t count)
{
    if (count < 16) {
        put_u8(writer, (uint8_t)(0x80 | count));
    } else if (count <= UINT16_MAX) {
        put_head16(writer, 0xde, (uint16_t)count);
    } else {
        put_head32(writer, 0xdf, count);
    }
}

void writer_put_key_uint(struct writer *writer, const char *key, uint64_t value)
{
    writer_put_string(writer, key);
    writer_put_uint(writer, value);
}

void writer_put_key_string(struct writer *writer, const char *key, const char *value)
{
    writer_put_string(writer, key);
    writer_put_string(writer, value);
}

void writer_put_key_str(struct writer *writer, const char *key, struct bytes value)
{
    writer_put_string(writer, key);
    writer_put_str(writer, value);
}

void writer_put_key_bool(struct writer *writer, const char *key, bool value)
{
    writer_put_string(writer, key);
    writer_put_bool(writer, value);
}

void writer_put_u8_fixed(struct writer *writer, uint8_t value)
{
    put_head8(writer, 0xcc, value);
}

void writer_put_u16_fixed(struct writer *writer, uint16_t value)
{
    put_head16(writer, 0xcd, value);
}

void writer_put_u32_fixed(struct writer *writer, uint32_t value)
{
    put_head32(writer, 0xce, value);
}

void writer_put_u64_fixed(struct writer *writer, uint64_t value)
{
    put_head64(writer, 0xcf, value);
}

void writer_put_array16(struct writer *writer, uint16_t count)
{
    put_head16(writer, 0xdc, count);
}

void writer_put_array32(struct writer *writer, uint32_t count)
{
    put_head32(writer, 0xdd, count);
}

void writer_patch_u16(struct writer *writer, size_t place, uint16_t value)
{
    if (writer->overflowed) {
        return;
    }
    ASSERT(place + 3 <= writer_length(writer));
    store_u16(writer->start + place + 1, value);
}

void writer_patch_u32(struct writer *writer, size_t place, uint32_t value)
{
    if (writer->overflowed) {
        return;
    }
    ASSERT(place + 5 <= writer_length(writer));
    store_u32(writer->start + place + 1, value);
}
