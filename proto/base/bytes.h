/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bytes.h - a borrowed run of bytes, and numbers as they travel: big-endian, unaligned.
 *
 * A `struct bytes` owns nothing; whoever hands it out says how long it is good for. An empty one
 * may have a NULL pointer.
 *
 * Threads: any; nothing here has state.
 */
#ifndef PROTO_BASE_BYTES_H
#define PROTO_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
    const uint8_t *data;
    size_t length;
};

/* The object of `type` whose member `member` lies at `pointer`. */
#define CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* The bytes of a string literal, without its terminator. */
#define BYTES_OF(literal) ((struct bytes){(const uint8_t *)("" literal), sizeof(literal) - 1})

static inline struct bytes bytes_make(const void *data, size_t length)
{
    return (struct bytes){(const uint8_t *)data, length};
}

/* The bytes of a terminated string, without its terminator. */
static inline struct bytes bytes_from_string(const char *string)
{
    return (struct bytes){(const uint8_t *)string, strlen(string)};
}

/* Orders by content, a prefix before what it begins: negative, 0 or positive. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t shorter = a.length < b.length ? a.length : b.length;
    int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);
    if (order != 0) {
        return order;
    }
    return (a.length > b.length) - (a.length < b.length);
}

static inline bool bytes_starts_with(struct bytes whole, struct bytes prefix)
{
    return whole.length >= prefix.length &&
           (prefix.length == 0 || memcmp(whole.data, prefix.data, prefix.length) == 0);
}

static inline uint16_t load_u16(const uint8_t *from)
{
    uint16_t value;
    memcpy(&value, from, sizeof(value));
    return __builtin_bswap16(value);
}

static inline uint32_t load_u32(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof(value));
    return __builtin_bswap32(value);
}

static inline uint64_t load_u64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof(value));
    return __builtin_bswap64(value);
}

/* Names are short, and a call costs more than comparing one: up to 16 bytes are compared here, as
 * two words that overlap. */
static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    if (a.length != b.length) {
        return false;
    }
    if (a.length > 16) {
        return memcmp(a.data, b.data, a.length) == 0;
    }
    if (a.length >= 8) {
        size_t last = a.length - 8;
        return load_u64(a.data) == load_u64(b.data) &&
               load_u64(a.data + last) == load_u64(b.data + last);
    }
    if (a.length >= 4) {
        size_t last = a.length - 4;
        return load_u32(a.data) == load_u32(b.data) &&
               load_u32(a.data + last) == load_u32(b.data + last);
    }
    for (size_t i = 0; i < a.length; i++) {
        if (a.data[i] != b.data[i]) {
            return false;
        }
    }
    return true;
}

static inline void store_u16(uint8_t *to, uint16_t value)
{
    value = __builtin_bswap16(value);
    memcpy(to, &value, sizeof(value));
}

static inline void store_u32(uint8_t *to, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(to, &value, sizeof(value));
}

static inline void store_u64(uint8_t *to, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(to, &value, sizeof(value));
}

/* The swaps above are right on little-endian machines only, which are all that we build for. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bytes.h swaps for little-endian");

#endif
