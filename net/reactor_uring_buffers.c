/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_uring_buffers.c - the buffers that the kernel was lent to receive into.
 *
 * They are buffers of the reactor's pool, filled one after the other, each by many receives of any
 * sockets (IOU_PBUF_RING_INC): so a small message does not take a buffer of its own, and the same
 * few, still in the cache, are used again and again. Where in a buffer a receive's bytes lie its
 * completion does not say: they follow those of the completion before.
 */

#include "net/buffer.h"
#include "net/reactor_uring.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZES_ADDRESSES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZES_ADDRESSES 1
#endif
#endif
#if defined(SANITIZES_ADDRESSES)
#include <sanitizer/asan_interface.h>
#endif

/* Of the half of the pool that parts may use, a half: the rest is for what is kept. */
enum { POOL_SHARE = 2 };

/* Newer than Debian 12's liburing knows (Linux 6.12); the numbers are the kernel's interface. */
#define CQE_BUFFER_MORE         (1U << 4) /* more receives will go to this buffer */
#define BUFFER_RING_INCREMENTAL 2U /* in a word that liburing 2.3 calls `pad`, then `flags` */

/* ------------------------------------------------------------- sanitizer */

void uring_memory_check(const void *bytes, size_t length)
{
#if defined(SANITIZES_ADDRESSES)
    const void *bad = __asan_region_is_poisoned((void *)(uintptr_t)bytes, length);
    if (bad != NULL) {
        __asan_report_error(__builtin_return_address(0), __builtin_frame_address(0),
                            __builtin_frame_address(0), (void *)(uintptr_t)bad, 0, 1);
    }
#else
    (void)bytes;
    (void)length;
#endif
}

/* Whose memory it is: while the kernel has it nobody else may look. */
static void lend_memory(uint8_t *bytes, size_t length, bool to_kernel)
{
#if defined(SANITIZES_ADDRESSES)
    if (to_kernel) {
        uring_memory_check(bytes, length);
        __asan_poison_memory_region(bytes, length);
    } else {
        __asan_unpoison_memory_region(bytes, length);
    }
#else
    (void)bytes;
    (void)length;
    (void)to_kernel;
#endif
}

/* ----------------------------------------------------------------- lending */

static void lend(struct uring_buffers *buffers, struct buffer *buffer)
{
    uint32_t number = 0;
    while (buffers->lent[number] != NULL) {
        number++;
    }
    ASSERT(number < buffers->count);
    lend_memory(buffer->bytes, buffer->capacity, true);
    buffer->used = 0;
    buffers->lent[number] = buffer;
    buffers->lent_count++;
    io_uring_buf_ring_add(buffers->ring, buffer->bytes, buffer->capacity, (unsigned short)number,
                          io_uring_buf_ring_mask(buffers->count), 0);
    io_uring_buf_ring_advance(buffers->ring, 1);
}

bool uring_buffers_lend(struct uring_reactor *reactor)
{
    struct uring_buffers *buffers = &reactor->buffers;
    while (buffers->lent_count < buffers->count) {
        struct buffer *buffer = buffer_take(reactor->common.buffers, BUFFER_BYTES);
        if (buffer == NULL) {
            break; /* the pool tells when one has come home */
        }
        lend(buffers, buffer);
    }
    return buffers->lent_count > 0;
}

struct uring_received uring_buffers_take(struct uring_reactor *reactor, uint32_t flags,
                                         uint32_t bytes)
{
    struct uring_buffers *buffers = &reactor->buffers;
    uint32_t number = flags >> IORING_CQE_BUFFER_SHIFT;
    ASSERT((flags & IORING_CQE_F_BUFFER) != 0 && number < buffers->count);
    struct buffer *buffer = buffers->lent[number];
    ASSERT(buffer != NULL && bytes <= buffer->capacity - buffer->used);
    struct uring_received received = {buffer, buffer->bytes + buffer->used, bytes, false};
    buffer->used += bytes;
    lend_memory(received.at, bytes, false);
    if ((flags & CQE_BUFFER_MORE) == 0) {
        lend_memory(buffer->bytes + buffer->used, buffer->capacity - buffer->used, false);
        buffers->lent[number] = NULL;
        buffers->lent_count--;
        received.is_last = true;
    }
    return received;
}

void uring_buffers_give(struct uring_reactor *reactor, const struct uring_received *received)
{
    struct uring_buffers *buffers = &reactor->buffers;
    struct buffer *buffer = received->buffer;
    if (!received->is_last) {
        return;
    }
    bool is_free = atomic_load_explicit(&buffer->references, memory_order_acquire) == 1;
    if (is_free && buffers->lent_count < buffers->count) {
        lend(buffers, buffer);
    } else {
        buffer_unref(buffer);
    }
}

/* ------------------------------------------------------------------- life */

bool uring_buffers_open(struct uring_reactor *reactor)
{
    struct uring_buffers *buffers = &reactor->buffers;
    size_t share = buffer_pool_part_bytes_max(reactor->common.buffers) / POOL_SHARE / BUFFER_BYTES;
    buffers->count = 1;
    while (buffers->count * 2 <= share && buffers->count < URING_BUFFERS_MAX) {
        buffers->count *= 2;
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    buffers->ring = aligned_alloc(page, page);
    ASSERT(buffers->ring != NULL && buffers->count * sizeof(struct io_uring_buf) <= page);
    memset(buffers->ring, 0, page);
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)buffers->ring,
                                            .ring_entries = buffers->count,
                                            .bgid = URING_BUFFER_GROUP,
                                            .pad = BUFFER_RING_INCREMENTAL};
    int result = io_uring_register_buf_ring(&reactor->ring, &registration, 0);
    if (result < 0) {
        free(buffers->ring);
        buffers->ring = NULL;
        errno = -result;
        return false;
    }
    io_uring_buf_ring_init(buffers->ring);
    return true;
}

void uring_buffers_close(struct uring_reactor *reactor)
{
    struct uring_buffers *buffers = &reactor->buffers;
    for (uint32_t i = 0; i < buffers->count; i++) {
        if (buffers->lent[i] != NULL) {
            lend_memory(buffers->lent[i]->bytes, buffers->lent[i]->capacity, false);
            buffer_unref(buffers->lent[i]);
            buffers->lent[i] = NULL;
        }
    }
    free(buffers->ring);
    buffers->ring = NULL;
}
