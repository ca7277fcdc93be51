/* SPDX-License-Identifier: Apache-2.0 */
/*
 * framer.c - walks heads, jumps over payloads, counts what is missing at each depth.
 */
#include "proto/framer.h"

#include "proto/base/contract.h"
#include "proto/value_head.h"

/* The longest fixstr, or a container with its children at one byte each: what step_plain() may pass
 * over without a look at the limits. */
#define PLAIN_BYTES_MAX 32

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

/* Where the payload of 8 or 16 bits of length at `at` ends, counted from `at`; 0: it is none. */
static inline uint32_t payload_end(const uint8_t *at)
{
    switch ((enum value_class)value_shapes[*at].class) {
    case VALUE_PAYLOAD8:
        return 2 + (uint32_t)at[1];
    case VALUE_PAYLOAD16:
        return 3 + (uint32_t)load_u16(at + 1);
    default:
        return 0;
    }
}

/*
 * Passes over what most of a frame is made of: scalars, texts, small containers, payloads of up to
 * 64 KiB. All that moves stays in registers. Whatever must wait, or be refused, is left to step().
 */
static void step_plain(struct framer *framer, const uint8_t *bytes, size_t available)
{
    /* No plain head is longer, so none of them crosses the end or the limit unseen. */
    size_t end = available < FRAME_BYTES_MAX ? available : FRAME_BYTES_MAX;
    size_t safe = end < PLAIN_BYTES_MAX ? 0 : end - PLAIN_BYTES_MAX;
    uint32_t next = framer->next;
    uint32_t elements = framer->elements;
    uint32_t depth = framer->depth;
    uint32_t left = framer->missing[depth - 1];

    while (next < safe) {
        uint8_t first = bytes[next];
        uint32_t length = value_short_bytes[first];
        if (length == 0 && (first & 0xe0) == 0x80) {
            uint32_t children = (first & 0x0fU) << (first < 0x90);
            if (depth == FRAME_DEPTH_MAX || elements + children > FRAME_ELEMENTS_MAX) {
                break;
            }
            elements += children;
            if (children > 0) {
                next++;
                framer->missing[depth - 1] = left - 1;
                depth++;
                left = children;
                continue;
            }
            length = 1;
        } else if (length == 0) {
            length = payload_end(bytes + next);
            if (length == 0 || next + length > FRAME_BYTES_MAX) {
                break;
            }
        }
        next += length;
        left--;
        while (left == 0 && depth > 1) {
            depth--;
            left = framer->missing[depth - 1];
        }
        if (left == 0) {
            depth = 0;
            break;
        }
    }
    if (depth > 0) {
        framer->missing[depth - 1] = left;
    }
    framer->depth = (uint8_t)depth;
    framer->elements = elements;
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
            step_plain(framer, bytes, available);
            if (framer->depth == 0) {
                break;
            }
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
