/* SPDX-License-Identifier: Apache-2.0 */
/*
 * framer.h - finds the end of a frame: a resumable skip over one msgpack value.
 *
 * MessagePack-RPC has no length prefix; msgpack delimits itself. A framer is fed the bytes of one
 * frame, from its first, as they come; it keeps where the next value begins and how many are still
 * missing at each depth, so that a frame that arrives in a thousand pieces costs as much as one
 * that arrives whole: only a header that was cut is looked at again, a payload never.
 *
 * It judges size and shape only: at most FRAME_BYTES_MAX, FRAME_ELEMENTS_MAX values, nested at
 * most FRAME_DEPTH_MAX deep, the outermost an array of 3 or 4, no ext, no 0xc1. A count or length
 * that cannot fit the limit is refused when its header is read, before anything is waited for.
 *
 * Memory:  a framer is about 60 bytes and owns nothing.
 * Threads: whoever owns it.
 */
#ifndef PROTO_FRAMER_H
#define PROTO_FRAMER_H

#include "proto/limits.h"

#include <stddef.h>
#include <stdint.h>

enum framer_result {
    FRAMER_MORE,  /* the frame goes on beyond what is there */
    FRAMER_WHOLE, /* `length` bytes are one frame */
    FRAMER_BAD,   /* `reason` says why; the stream has no frame boundaries any more: close it */
};

enum framer_reason {
    FRAMER_REASON_NONE,
    FRAMER_REASON_NOT_A_FRAME, /* it does not begin with an array of 3 or 4 */
    FRAMER_REASON_INVALID,     /* 0xc1 */
    FRAMER_REASON_EXT,
    FRAMER_REASON_TOO_LONG,
    FRAMER_REASON_TOO_DEEP,
    FRAMER_REASON_TOO_MANY, /* values */
};

struct framer {
    uint32_t next;     /* where in the frame the next header begins, or began when it was cut */
    uint32_t need;     /* no progress before so many bytes of the frame are there */
    uint32_t elements; /* values announced so far */
    uint8_t depth;     /* containers open */
    uint8_t reason;    /* enum framer_reason */
    uint32_t missing[FRAME_DEPTH_MAX]; /* values not seen yet, per open container */
};

/* Makes it ready for the first byte of a frame. */
void framer_init(struct framer *framer);

/*
 * Looks at the frame's `available` bytes so far: always all of them from the first on, though
 * they may lie elsewhere than at the last call. With FRAMER_WHOLE `*length_out` is the frame's
 * length and the framer is ready for the next frame's first byte (bytes + *length_out). A bad
 * framer stays bad until framer_init().
 */
enum framer_result framer_feed(struct framer *framer, const uint8_t *bytes, size_t available,
                               size_t *length_out);

/* How many bytes the frame has at the least, as far as is known: what to make room for. */
static inline uint32_t framer_need(const struct framer *framer)
{
    return framer->need;
}

/* One word or two for a log line. */
const char *framer_reason_text(enum framer_reason reason);

#endif
