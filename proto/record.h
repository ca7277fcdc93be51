/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - the record: what lies in the log is what travels on the wire.
 *
 * One msgpack array of 13 elements whose first 68 bytes have fixed places (the table below), then
 * `extra` (nil, or a map of at most EXTRA_BYTES_MAX), then the message, byte for byte as the
 * producer sent it. Two checksums: the head's covers everything from byte 6 up to the message, the
 * message's covers the message alone, so that the owner of a log need not touch foreign bytes.
 *
 *     byte  wire      field
 *        0  9d        array of 13
 *        1  ce u32    head crc, of bytes 6 up to element 12
 *        6  ce u32    size of the whole record
 *       11  ce u32    message crc, of element 12, its header included
 *       16  cd u16    kind (bits 0-3), body codec (bits 4-6)
 *       19  ce u32    epoch
 *       24  cf u64    position in the shard's log
 *       33  ce u32    topic id, 0: not a queue's
 *       38  cd u16    queue
 *       41  cf u64    queue offset
 *       50  cf u64    stored at, ms since 1970
 *       59  cf u64    born at, ms since 1970
 *       68  nil, map  extra
 *      69+            element 12
 *
 * Threads: any; nothing here has state.
 * Format:  proto/README.md, "The record".
 */
#ifndef PROTO_RECORD_H
#define PROTO_RECORD_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/limits.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

enum record_place {
    RECORD_PLACE_HEAD_CRC = 1,
    RECORD_PLACE_SIZE = 6,
    RECORD_PLACE_MESSAGE_CRC = 11,
    RECORD_PLACE_KIND = 16,
    RECORD_PLACE_EPOCH = 19,
    RECORD_PLACE_POSITION = 24,
    RECORD_PLACE_TOPIC = 33,
    RECORD_PLACE_QUEUE = 38,
    RECORD_PLACE_OFFSET = 41,
    RECORD_PLACE_STORED_AT = 50,
    RECORD_PLACE_BORN_AT = 59,
    RECORD_PLACE_EXTRA = 68,
};

#define RECORD_ELEMENTS 13

/* A head with nil extra; a head with any; the smallest record (an empty bin); the largest. */
#define RECORD_HEAD_BYTES     69
#define RECORD_HEAD_BYTES_MAX (RECORD_PLACE_EXTRA + EXTRA_BYTES_MAX)
#define RECORD_BYTES_MIN      (RECORD_HEAD_BYTES + 2)
#define RECORD_BYTES_MAX      (RECORD_HEAD_BYTES_MAX + MESSAGE_BYTES_MAX)

static_assert(RECORD_PLACE_EXTRA + 1 == RECORD_HEAD_BYTES, "nil is one byte");
static_assert(RECORD_BYTES_MAX < FRAME_BYTES_MAX, "every record can be delivered");

enum record_kind {
    RECORD_MESSAGE = 1, /* the only one that reaches consumers */
    RECORD_DELAYED = 2,
    RECORD_PREPARED = 3,
    RECORD_EVENTS = 4, /* 4 to 6: element 12 is a bin that holds an array of proto/events.h */
    RECORD_SNAPSHOT = 5,
    RECORD_SEGMENT = 6,
};

enum record_codec {
    RECORD_CODEC_NONE = 0,
    RECORD_CODEC_LZ4 = 1,
    RECORD_CODEC_ZSTD = 2,
    RECORD_CODEC_ZLIB = 3,
};

/* The fields of a head, for building one and as read from one. */
struct record_fields {
    uint32_t size; /* of the whole record; record_build_head() sets it from its parameters */
    uint32_t message_crc;
    enum record_kind kind;
    enum record_codec codec;
    uint32_t epoch;
    uint64_t position;
    uint32_t topic;
    uint16_t queue;
    uint64_t offset;
    uint64_t stored_at_ms;
    uint64_t born_at_ms;
};

/*
 * Builds the head of a record whose element 12 has `message_bytes` bytes and the CRC
 * fields->message_crc. `extra` is an encoded map or empty (nil). `to` has room for
 * RECORD_PLACE_EXTRA + max(1, extra.length). Gives the head's length; element 12 follows it.
 */
uint32_t record_build_head(uint8_t *to, const struct record_fields *fields, struct bytes extra,
                           uint32_t message_bytes);

/* The size that record_build_head() would give its record. */
static inline uint32_t record_size_for(size_t extra_bytes, uint32_t message_bytes)
{
    return RECORD_PLACE_EXTRA + (uint32_t)(extra_bytes == 0 ? 1 : extra_bytes) + message_bytes;
}

/*
 * Builds a whole record of kind 4, 5 or 6 at `to`, its element 12 a bin around `content`, all
 * checksums set. Gives its size, at most RECORD_HEAD_BYTES + 5 + content.length. `content` may
 * already lie at to + RECORD_CONTENT_PLACE: then it is not moved, and its bin header is a bin 32.
 */
uint32_t record_build_own(uint8_t *to, struct record_fields *fields, struct bytes content);

/* Where the content of a bin32 of a record without extra begins. */
#define RECORD_CONTENT_PLACE (RECORD_HEAD_BYTES + 5)

enum record_state {
    RECORD_WHOLE,
    RECORD_SHORT, /* it may go on beyond what is available */
    RECORD_BAD,   /* it is no record of this position */
};

/* A record that was read; spans point into it. */
struct record_view {
    struct record_fields fields;
    uint32_t head_crc;
    struct bytes whole;   /* may be longer than what was available; see record_read_head() */
    struct bytes extra;   /* the map with its header; empty when nil */
    struct bytes message; /* element 12; likewise */
};

/*
 * Checks the head at the start of `available`: constants, places, size, kind, the head's crc, and
 * that it was written for `position`. RECORD_WHOLE: the head is good; the message may still lie
 * beyond `available` and was not looked at.
 */
NODISCARD enum record_state record_read_head(struct bytes available, uint64_t position,
                                             struct record_view *view_out);

/*
 * The same, and the whole record is there, its message has its checksum and the shape of one value:
 * a bin, or for kinds 1 to 3 also an array of 4.
 */
NODISCARD enum record_state record_read(struct bytes available, uint64_t position,
                                        struct record_view *view_out);

/*
 * The same for whoever does not know the position, as clients do not, nor care: the record says
 * its own.
 */
NODISCARD enum record_state record_read_anywhere(struct bytes available,
                                                 struct record_view *view_out);

/* The content of element 12 of kinds 4 to 6, or empty when it is no bin. */
struct bytes record_content(const struct record_view *view);

/* Single fields of a head that was checked before. */
static inline uint32_t record_size(const uint8_t *record)
{
    return load_u32(record + RECORD_PLACE_SIZE + 1);
}

static inline enum record_kind record_kind(const uint8_t *record)
{
    return (enum record_kind)(load_u16(record + RECORD_PLACE_KIND + 1) & 15);
}

static inline uint32_t record_head_crc(const uint8_t *record)
{
    return load_u32(record + RECORD_PLACE_HEAD_CRC + 1);
}

static inline uint32_t record_epoch(const uint8_t *record)
{
    return load_u32(record + RECORD_PLACE_EPOCH + 1);
}

static inline uint64_t record_position(const uint8_t *record)
{
    return load_u64(record + RECORD_PLACE_POSITION + 1);
}

static inline uint32_t record_topic(const uint8_t *record)
{
    return load_u32(record + RECORD_PLACE_TOPIC + 1);
}

static inline uint16_t record_queue(const uint8_t *record)
{
    return load_u16(record + RECORD_PLACE_QUEUE + 1);
}

static inline uint64_t record_offset(const uint8_t *record)
{
    return load_u64(record + RECORD_PLACE_OFFSET + 1);
}

static inline uint64_t record_stored_at_ms(const uint8_t *record)
{
    return load_u64(record + RECORD_PLACE_STORED_AT + 1);
}

#endif
