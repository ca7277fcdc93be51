/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cursor.h - reads msgpack in place, out of bytes that nobody can be trusted to have written.
 *
 * A cursor stands between two values of a run of bytes. Each take reads the value it stands before
 * and moves past it. What does not fit - another type, a value that ends beyond the run, a count
 * that the bytes left cannot hold, an ext, 0xc1 - makes the cursor fail: the take gives false, its
 * out parameter is untouched, and every take after it gives false too. So a reader may take a
 * whole row of values and look at the last result only.
 *
 * It allocates nothing, recurses nowhere and never reads at or beyond `end`. Spans that it gives
 * point into the run and live as long as it.
 *
 * Numbers: below 2^53, in any width, signed or not, and as float64 or float32 without a fraction,
 * because some encoders have no other numbers.
 *
 * Threads: whoever owns the cursor; it is a value and may be copied to look ahead.
 */
#ifndef PROTO_CURSOR_H
#define PROTO_CURSOR_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"

#include <stdbool.h>
#include <stdint.h>

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

/* What the next value is, by its first byte. */
enum cursor_type {
    CURSOR_NONE, /* no byte left, or the cursor has failed */
    CURSOR_NIL,
    CURSOR_BOOL,
    CURSOR_INTEGER, /* of any sign and width */
    CURSOR_FLOAT,
    CURSOR_STR,
    CURSOR_BIN,
    CURSOR_ARRAY,
    CURSOR_MAP,
    CURSOR_INVALID, /* ext, or 0xc1 */
};

static inline struct cursor cursor_over(struct bytes run)
{
    /* Adding even 0 to NULL is undefined. */
    const uint8_t *end = run.length == 0 ? run.data : run.data + run.length;
    return (struct cursor){.at = run.data, .end = end, .failed = false};
}

/* The bytes that were not taken yet; 0 when failed. */
static inline size_t cursor_left(const struct cursor *cursor)
{
    return cursor->failed ? 0 : (size_t)(cursor->end - cursor->at);
}

/* True when everything was taken and nothing failed. */
static inline bool cursor_is_done(const struct cursor *cursor)
{
    return !cursor->failed && cursor->at == cursor->end;
}

/* Of a first byte: enum cursor_type. */
extern const uint8_t cursor_types[256];

static inline enum cursor_type cursor_peek(const struct cursor *cursor)
{
    return cursor->at == cursor->end ? CURSOR_NONE : (enum cursor_type)cursor_types[*cursor->at];
}

/* "str", "map", ... for messages about a wrong type. */
const char *cursor_type_name(enum cursor_type type);

/* Makes the cursor fail, for what its reader finds wrong; gives false. */
bool cursor_fail(struct cursor *cursor);

/* Takes a nil if one is next; if not, gives false and the cursor has not failed. */
static inline bool cursor_try_nil(struct cursor *cursor)
{
    if (cursor->at == cursor->end || *cursor->at != 0xc0) {
        return false;
    }
    cursor->at++;
    return true;
}

bool cursor_take_nil(struct cursor *cursor);
bool cursor_take_bool(struct cursor *cursor, bool *value_out);

/* The takes of what is most often met are in two halves: the plainest form of a value, whose first
 * byte says all of it, is taken here, every other by the function of the same name with _any. */
bool cursor_take_uint_any(struct cursor *cursor, uint64_t *value_out);
bool cursor_take_text_any(struct cursor *cursor, struct bytes *content_out);
bool cursor_take_array_any(struct cursor *cursor, uint32_t *count_out);
bool cursor_take_map_any(struct cursor *cursor, uint32_t *count_out);

/* An integer from 0 to 2^53 - 1. */
static inline bool cursor_take_uint(struct cursor *cursor, uint64_t *value_out)
{
    if (cursor->at != cursor->end && *cursor->at < 0x80) {
        *value_out = *cursor->at++;
        return true;
    }
    return cursor_take_uint_any(cursor, value_out);
}

/* The same, at most `most`. */
bool cursor_take_uint_max(struct cursor *cursor, uint64_t most, uint64_t *value_out);
bool cursor_take_u32(struct cursor *cursor, uint32_t *value_out);
bool cursor_take_u16(struct cursor *cursor, uint16_t *value_out);

/* An integer of either sign whose magnitude is below 2^53. */
bool cursor_take_int(struct cursor *cursor, int64_t *value_out);

/* An integer that fills all 64 bits: only for our own records, where hashes may be stored. */
bool cursor_take_u64(struct cursor *cursor, uint64_t *value_out);

/* The content of a str, of a bin, of either. UTF-8 is not checked here. */
bool cursor_take_str(struct cursor *cursor, struct bytes *content_out);
bool cursor_take_bin(struct cursor *cursor, struct bytes *content_out);

static inline bool cursor_take_text(struct cursor *cursor, struct bytes *content_out)
{
    if (cursor->at != cursor->end && (*cursor->at & 0xe0) == 0xa0) {
        size_t length = *cursor->at & 0x1f;
        if (length < (size_t)(cursor->end - cursor->at)) {
            *content_out = (struct bytes){cursor->at + 1, length};
            cursor->at += 1 + length;
            return true;
        }
    }
    return cursor_take_text_any(cursor, content_out);
}

/* A header: as many elements, or pairs, follow; the bytes left could hold so many. */
static inline bool cursor_take_array(struct cursor *cursor, uint32_t *count_out)
{
    if (cursor->at != cursor->end && (*cursor->at & 0xf0) == 0x90) {
        uint32_t count = *cursor->at & 0x0f;
        if (count < (size_t)(cursor->end - cursor->at)) {
            *count_out = count;
            cursor->at++;
            return true;
        }
    }
    return cursor_take_array_any(cursor, count_out);
}

static inline bool cursor_take_map(struct cursor *cursor, uint32_t *count_out)
{
    if (cursor->at != cursor->end && (*cursor->at & 0xf0) == 0x80) {
        uint32_t count = *cursor->at & 0x0f;
        if (2 * count < (size_t)(cursor->end - cursor->at)) {
            *count_out = count;
            cursor->at++;
            return true;
        }
    }
    return cursor_take_map_any(cursor, count_out);
}

/* The header of an array of exactly `count`. */
bool cursor_take_array_of(struct cursor *cursor, uint32_t count);

/* `length` raw bytes, whatever they are. */
bool cursor_take_raw(struct cursor *cursor, size_t length, struct bytes *raw_out);

/* Skips one whole value, nested at most FRAME_DEPTH_MAX deep. */
bool cursor_skip(struct cursor *cursor);

/* The same, and gives its bytes, header included. */
bool cursor_take_span(struct cursor *cursor, struct bytes *span_out);

#endif
