/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_BUFFER_H
#define NET_BUFFER_H

/*
 * buffer.h - counted receive buffers: the memory that received bytes live in until they are used.
 *
 * A pool belongs to one reactor. Received bytes are parsed in place and, if a request appends
 * them, written to the log from here, so whoever needs the bytes after the receive callback
 * holds a reference. The last reference gives the buffer back to its home pool from any thread:
 * at home by a plain list, from elsewhere over a lock-free return stack that the home drains.
 *
 * Memory:  bounded by `bytes_max`; the owner is the pool. A take answers NULL at the bound: that
 *          is back-pressure (the reactor stops reading), never a reason to allocate. Of the bound,
 *          large parts of frames use a half at the most, so that large frames leave room for the
 *          others, and the last quarter is for one urgent frame at a time, so that of many that
 *          have begun one can always end.
 *          Buffers that nobody uses are given back to the system down to `idle_bytes_max`.
 * Threads: buffer_take(), hold and release on the pool's thread only; ref and unref on any.
 */

#include "proto/base/contract.h"
#include "proto/base/list.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buffer_pool;

enum {
    /* One buffer: room for a whole 256 KiB burst, the size at which receives stop to gain. */
    BUFFER_BYTES = 256 * 1024,
    BUFFER_PART_BYTES_FREE = 64 * 1024
};

struct buffer {
    uint8_t *bytes;
    uint32_t capacity;
    uint32_t used; /* bytes [0, used) were received; only the receiving thread moves it */
    _Atomic uint32_t references;
    uint32_t held; /* buffer_hold()s; all of them are one reference */
    struct buffer_pool *pool;
    struct list all;     /* the pool's: every buffer that exists */
    struct buffer *next; /* the pool's: idle, or on its way home */
};

/*
 * Makes a pool. `bytes_max` bounds all buffers out at one time (>= 4 * BUFFER_BYTES), and
 * `idle_bytes_max` what is kept for reuse. `starved`, if not NULL, runs when a buffer came back
 * after a take was refused; it may run on any thread (a reactor gives its wake-up here).
 * Aborts when there is no memory: pools are made at start.
 */
struct buffer_pool *buffer_pool_create(size_t bytes_max, size_t idle_bytes_max,
                                       void (*starved)(void *owner), void *owner);

/* Every buffer must be home again: asserted. */
void buffer_pool_destroy(struct buffer_pool *pool);

/* The same for a simulated process that was killed: buffers still out go with it. */
void buffer_pool_destroy_killed(struct buffer_pool *pool);

/* A buffer with one reference and at least `bytes` of room (BUFFER_BYTES for less), or NULL at
 * the bound. A lone frame above BUFFER_BYTES is given a buffer of its own size. */
struct buffer *buffer_take(struct buffer_pool *pool, size_t bytes);

/*
 * A buffer with one reference and at least `bytes` of room, in sizes from 1 KiB up, to gather a
 * frame that came in pieces; or NULL. It is large above BUFFER_PART_BYTES_FREE.
 */
struct buffer *buffer_take_part(struct buffer_pool *pool, size_t bytes, bool urgent);

/*
 * Makes a buffer with one reference larger, where it is or elsewhere: the bytes that it had room
 * for are kept, `*buffer` is changed. False: no room, nothing changed.
 */
bool buffer_grow(struct buffer **buffer, size_t bytes, bool urgent);

/* The most room that a part may have. */
size_t buffer_pool_part_bytes_max(const struct buffer_pool *pool);

void buffer_ref(struct buffer *buffer);
void buffer_unref(struct buffer *buffer); /* NULL is allowed */

/*
 * The same for the pool's thread alone, for references by the hundred: all that are held at one time
 * count as one, so that only the first and the last cost an atomic operation.
 */
static inline void buffer_hold(struct buffer *buffer)
{
    if (buffer->held++ == 0) {
        buffer_ref(buffer);
    }
}

static inline void buffer_release(struct buffer *buffer)
{
    ASSERT(buffer->held > 0);
    if (--buffer->held == 0) {
        buffer_unref(buffer);
    }
}

/* Bytes of all buffers now out, and the most there were: for stats. Any thread. */
size_t buffer_pool_bytes(const struct buffer_pool *pool);
size_t buffer_pool_bytes_peak(const struct buffer_pool *pool);

#endif
