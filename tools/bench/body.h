/* SPDX-License-Identifier: Apache-2.0 */
/*
 * body.h - the beginning of every body that this program produces: whose it is and when it was meant to be
 * sent. What follows it is filling.
 *
 *     u64  run: a mark in the upper half, and a number that no other run of these days has
 *     u64  stream in the upper 16 bits, and the message's number in it
 *     u64  the moment at which it was meant to be sent, ns of the monotonic clock
 *     u64  0, kept for later
 *
 * Threads: any.
 */
#ifndef TOOLS_BENCH_BODY_H
#define TOOLS_BENCH_BODY_H

#include "proto/base/bytes.h"
#include "tools/bench/load.h"

#include <stdbool.h>
#include <stdint.h>

struct body_head {
    uint64_t run;
    uint32_t stream;
    uint64_t number;
    uint64_t meant_ns;
};

#define BODY_MARK        UINT64_C(0x5442454e) /* "TBEN" */
#define BODY_NUMBER_BITS 48

/* A run's name from the moment of its start: another one each 1 us, for more than an hour. */
static inline uint64_t body_run(uint64_t now_ns)
{
    return BODY_MARK << 32 | (uint32_t)(now_ns >> 10);
}

/* Writes the head into a body of at least LOAD_HEAD_BYTES. */
static inline void body_write(uint8_t *body, const struct body_head *head)
{
    store_u64(body, head->run);
    store_u64(body + 8, (uint64_t)head->stream << BODY_NUMBER_BITS | head->number);
    store_u64(body + 16, head->meant_ns);
}

/* False: it is none of this program's. */
static inline bool body_read(struct ternmq_bytes body, struct body_head *head_out)
{
    if (body.length < (size_t)LOAD_HEAD_BYTES) {
        return false;
    }
    const uint8_t *at = body.data;
    uint64_t place = load_u64(at + 8);
    *head_out = (struct body_head){
        .run = load_u64(at),
        .stream = (uint32_t)(place >> BODY_NUMBER_BITS),
        .number = place & ((UINT64_C(1) << BODY_NUMBER_BITS) - 1),
        .meant_ns = load_u64(at + 16),
    };
    return head_out->run >> 32 == BODY_MARK;
}

#endif
