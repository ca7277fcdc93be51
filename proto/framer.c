/* SPDX-License-Identifier: Apache-2.0 */
/*
 * framer.c - walks heads, jumps over payloads, counts what is missing at each depth.
 */
#include "proto/framer.h"

#include "proto/base/contract.h"
#include "proto/value_head.h"

/* The longest fixstr, or a 64-bit number: what step_short() may pass over at once. */
#define SHORT_BYTES_MAX 32

void framer_init(struct framer *framer)
{
    framer->next = 0;
    framer->need = 1;
    framer->elements = 0;
    framer->depth = 0;
    framer->reason = FRAMER_REASON_NONE;
}

static enum framer_result refuse(struct framer *framer, enum framer_reason reason)
{
    framer->reason = (uint8_t)reason;
    return FRAMER_BAD;
}

/* Waits for `need` bytes. */
static enum framer_result want(struct framer *framer, uint32_t need)
{
    framer->need = need;
    return FRAMER_MORE;
}

/* Judges a head by the limits; NONE: it may stand. */
static enum framer_reason judge(const struct framer *framer, const struct value_head *head,
                                bool is_container)
{
    /* Each child is one byte at the least. */
    uint64_t end = framer->next + head->head_bytes + head->payload_bytes + head->children;
    if (framer->elements == 0 && (!is_container || (head->children != 3 && head->children != 4))) {
        return FRAMER_REASON_NOT_A_FRAME;
    }
    if (is_container && framer->depth == FRAME_DEPTH_MAX) {
        return FRAMER_REASON_TOO_DEEP;
    }
    if (framer->elements + head->children > FRAME_ELEMENTS_MAX) {
        return FRAMER_REASON_TOO_MANY;
    }
    return end > FRAME_BYTES_MAX ? FRAMER_REASON_TOO_LONG : FRAMER_REASON_NONE;
}

/* What the first byte alone says about a frame; a wrong one must not wait for the second. */
static bool may_begin(uint8_t first)
{
    return first == 0x93 || first == 0x94 || first == 0xdc || first == 0xdd;
}

/* Takes the head at `next`, all of which is there, into account. */
static enum framer_reason step(struct framer *framer, const uint8_t *at, struct value_shape shape)
{
    bool is_container = value_is_container(shape);
    struct value_head head = value_head_read(at, shape);
    enum framer_reason reason = judge(framer, &head, is_container);
    if (reason != FRAMER_REASON_NONE) {
        return reason;
    }

    framer->next += head.head_bytes + (uint32_t)head.payload_bytes;
    framer->elements += (uint32_t)head.children + (framer->elements == 0);
    if (framer->depth > 0) {
        framer->missing[framer->depth - 1]--;
    }
    if (head.children > 0) {
        framer->missing[framer->depth++] = (uint32_t)head.children;
    }
    while (framer->depth > 0 && framer->missing[framer->depth - 1] == 0) {
        framer->depth--;
    }
    return FRAMER_REASON_NONE;
}

/*
 * Passes over the scalars and short texts that stand next, of which most of a frame is made: they
 * open nothing, so all that moves is `next` and one count, and both stay in registers.
 */
static void step_short(struct framer *framer, const uint8_t *bytes, size_t available)
{
    uint32_t *missing = &framer->missing[framer->depth - 1];
    uint32_t left = *missing;
    uint32_t next = framer->next;
    /* No short value is longer, so none of them can cross the end or the limit unseen. */
    size_t end = available < FRAME_BYTES_MAX ? available : FRAME_BYTES_MAX;
    size_t safe = end < SHORT_BYTES_MAX ? 0 : end - SHORT_BYTES_MAX;

    /* The last value of a container is left to step(), which closes it. */
    while (left > 1 && next < safe) {
        struct value_shape shape = value_shapes[bytes[next]];
        if (shape.class > VALUE_FIXTEXT) {
            break;
        }
        next += shape.head_bytes + (shape.class == VALUE_FIXTEXT ? bytes[next] & 0x1fU : 0);
        left--;
    }
    *missing = left;
    framer->next = next;
}

enum framer_result framer_feed(struct framer *framer, const uint8_t *bytes, size_t available,
                               size_t *length_out)
{
    if (framer->reason != FRAMER_REASON_NONE) {
        return FRAMER_BAD;
    }
    if (available < framer->need) {
        return FRAMER_MORE;
    }
    if (framer->next == 0 && !may_begin(bytes[0])) {
        return refuse(framer, FRAMER_REASON_NOT_A_FRAME);
    }
    while (framer->elements == 0 || framer->depth > 0) {
        if (framer->depth > 0) {
            step_short(framer, bytes, available);
        }
        if (framer->next >= available) {
            return want(framer, framer->next + 1);
        }
        struct value_shape shape = value_shapes[bytes[framer->next]];
        if (shape.class >= VALUE_EXT) {
            return refuse(framer,
                          shape.class == VALUE_EXT ? FRAMER_REASON_EXT : FRAMER_REASON_INVALID);
        }
        if (available - framer->next < shape.head_bytes) {
            return want(framer, framer->next + shape.head_bytes);
        }
        enum framer_reason reason = step(framer, bytes + framer->next, shape);
        if (reason != FRAMER_REASON_NONE) {
            return refuse(framer, reason);
        }
    }
    if (framer->next > available) {
        return want(framer, framer->next);
    }
    ASSERT(framer->next <= FRAME_BYTES_MAX);
    *length_out = framer->next;
    framer_init(framer);
    return FRAMER_WHOLE;
}

const char *framer_reason_text(enum framer_reason reason)
{
    switch (reason) {
    case FRAMER_REASON_NONE:
        return "nothing wrong";
    case FRAMER_REASON_NOT_A_FRAME:
        return "not MessagePack-RPC";
    case FRAMER_REASON_INVALID:
        return "byte 0xc1";
    case FRAMER_REASON_EXT:
        return "ext type";
    case FRAMER_REASON_TOO_LONG:
        return "frame too long";
    case FRAMER_REASON_TOO_DEEP:
        return "nested too deep";
    case FRAMER_REASON_TOO_MANY:
        return "too many values";
    }
    UNREACHABLE("a reason that the enum does not have");
}
