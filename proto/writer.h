/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer.h - writes msgpack into a caller's fixed buffer.
 *
 * What does not fit sets `overflowed`, and from then on nothing is written: a caller writes
 * everything and looks once. Values take their shortest form, so that equal values have equal
 * bytes; the `fixed` forms are for heads whose places must not move and for counts that are known
 * only later (writer_patch_...).
 *
 * Memory:  the buffer is the caller's and outlives the writer.
 * Threads: whoever owns the writer.
 */
#ifndef PROTO_WRITER_H
#define PROTO_WRITER_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"

#include <stdbool.h>
#include <stdint.h>

struct writer {
    uint8_t *start;
    uint8_t *at;
    uint8_t *end;
    bool overflowed;
};

static inline struct writer writer_over(void *buffer, size_t buffer_bytes)
{
    uint8_t *start = (uint8_t *)buffer;
    return (struct writer){.start = start, .at = start, .end = start + buffer_bytes};
}

/* How many bytes were written. */
static inline size_t writer_length(const struct writer *writer)
{
    return (size_t)(writer->at - writer->start);
}

/* What was written; as long as the buffer stands. */
static inline struct bytes writer_bytes(const struct writer *writer)
{
    return (struct bytes){writer->start, writer_length(writer)};
}

/* How many bytes still fit; 0 after an overflow. */
static inline size_t writer_left(const struct writer *writer)
{
    return writer->overflowed ? 0 : (size_t)(writer->end - writer->at);
}

void writer_put_nil(struct writer *writer);
void writer_put_bool(struct writer *writer, bool value);
void writer_put_uint(struct writer *writer, uint64_t value);
void writer_put_int(struct writer *writer, int64_t value);

/* `content` is UTF-8 by the caller's word. */
void writer_put_str(struct writer *writer, struct bytes content);

/* A terminated string as str: keys and names of ours. */
void writer_put_string(struct writer *writer, const char *string);
void writer_put_bin(struct writer *writer, struct bytes content);

/* The header of a str or bin alone; `length` raw bytes follow by other means. */
void writer_put_str_header(struct writer *writer, uint32_t length);
void writer_put_bin_header(struct writer *writer, uint32_t length);

/* Headers; the caller writes `count` values, or pairs, after them. */
void writer_put_array(struct writer *writer, uint32_t count);
void writer_put_map(struct writer *writer, uint32_t count);

/* Bytes that are msgpack already. */
void writer_put_raw(struct writer *writer, struct bytes raw);

/* A key of ours and its value, the commonest pair of calls. */
void writer_put_key_uint(struct writer *writer, const char *key, uint64_t value);
void writer_put_key_string(struct writer *writer, const char *key, const char *value);
void writer_put_key_str(struct writer *writer, const char *key, struct bytes value);
void writer_put_key_bool(struct writer *writer, const char *key, bool value);

/* Forms whose width does not depend on the value: 2, 3, 5, 9 bytes and 5. */
void writer_put_u8_fixed(struct writer *writer, uint8_t value);
void writer_put_u16_fixed(struct writer *writer, uint16_t value);
void writer_put_u32_fixed(struct writer *writer, uint32_t value);
void writer_put_u64_fixed(struct writer *writer, uint64_t value);
void writer_put_array32(struct writer *writer, uint32_t count);

/*
 * Puts the number of a u32_fixed or array32 that began at `place` (a writer_length() of before).
 * Does nothing after an overflow.
 */
void writer_patch_u32(struct writer *writer, size_t place, uint32_t value);

/* The same of a header that can be patched: array16, 3 bytes. */
void writer_put_array16(struct writer *writer, uint16_t count);
void writer_patch_u16(struct writer *writer, size_t place, uint16_t value);

#endif
