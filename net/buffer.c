/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buffer.c - counted receive buffers, their bound and their way home.
 *
 * A buffer whose last reference goes on the pool's own thread is put into the idle list or given
 * back to the system at once. On any other thread it is pushed on a lock-free stack, which counts
 * as out until the pool's thread takes it down, at its next take.
 */

#include "net/buffer.h"

#include "proto/base/contract.h"

#include <stdbool.h>
#include <stdlib.h>

enum { PART_BYTES_LEAST = 1024, PART_BYTES_STEP = 64 * 1024 };

struct buffer_pool {
    size_t bytes_max;      /* of all */
    size_t common_max;     /* without the last quarter */
    size_t part_bytes_max; /* what a large part may make of it */
    size_t idle_bytes_max;
    size_t idle_bytes;
    struct buffer *idle;
    struct list all;
    void (*starved)(void *owner);
    void *owner;
    _Atomic size_t bytes;
    _Atomic size_t bytes_peak;
    _Atomic(const void *) home; /* thread_mark of the pool's thread */
    _Atomic bool refused;       /* a take was refused; nobody was told of a return since */
    _Atomic(struct buffer *) returned;
};

/* Its address tells threads apart. */
static _Thread_local char thread_mark;

struct buffer_pool *buffer_pool_create(size_t bytes_max, size_t idle_bytes_max,
                                       void (*starved)(void *owner), void *owner)
{
    ASSERT(bytes_max >= 4 * (size_t)BUFFER_BYTES);
    struct buffer_pool *pool = calloc(1, sizeof(*pool));
    ASSERT(pool != NULL);
    pool->bytes_max = bytes_max;
    pool->common_max = bytes_max - bytes_max / 4;
    pool->part_bytes_max = bytes_max / 2;
    pool->idle_bytes_max = idle_bytes_max;
    pool->starved = starved;
    pool->owner = owner;
    list_init(&pool->all);
    return pool;
}

static void buffer_free(struct buffer *buffer)
{
    list_remove(&buffer->all);
    free(buffer);
}

/* The buffer is nobody's: on the pool's thread. */
static void settle(struct buffer_pool *pool, struct buffer *buffer)
{
    size_t out = atomic_load_explicit(&pool->bytes, memory_order_relaxed);
    ASSERT(out >= buffer->capacity);
    atomic_store_explicit(&pool->bytes, out - buffer->capacity, memory_order_relaxed);
    if (buffer->capacity != BUFFER_BYTES ||
        pool->idle_bytes + BUFFER_BYTES > pool->idle_bytes_max) {
        buffer_free(buffer);
        return;
    }
    buffer->next = pool->idle;
    pool->idle = buffer;
    pool->idle_bytes += BUFFER_BYTES;
}

static void drain_returned(struct buffer_pool *pool)
{
    if (atomic_load_explicit(&pool->returned, memory_order_relaxed) == NULL) {
        return;
    }
    struct buffer *buffer = atomic_exchange_explicit(&pool->returned, NULL, memory_order_acquire);
    while (buffer != NULL) {
        struct buffer *next = buffer->next;
        settle(pool, buffer);
        buffer = next;
    }
}

static void free_idle(struct buffer_pool *pool)
{
    while (pool->idle != NULL) {
        struct buffer *buffer = pool->idle;
        pool->idle = buffer->next;
        buffer_free(buffer);
    }
}

void buffer_pool_destroy(struct buffer_pool *pool)
{
    drain_returned(pool);
    ASSERT(atomic_load(&pool->bytes) == 0);
    free_idle(pool);
    free(pool);
}

void buffer_pool_destroy_killed(struct buffer_pool *pool)
{
    LIST_FOREACH (link, &pool->all) {
        buffer_free(CONTAINER_OF(link, struct buffer, all));
    }
    free(pool);
}

/* Counts `capacity` as out, unless `limit` would be passed. */
static bool admit(struct buffer_pool *pool, size_t capacity, size_t limit)
{
    atomic_store_explicit(&pool->home, &thread_mark, memory_order_relaxed);
    drain_returned(pool);
    size_t out = atomic_load_explicit(&pool->bytes, memory_order_relaxed);
    if (out + capacity > limit) {
        /* Who gives a buffer back after this is seen tells the owner; who did so before it is
         * seen in the stack. */
        atomic_store(&pool->refused, true);
        if (atomic_load(&pool->returned) == NULL) {
            return false;
        }
        drain_returned(pool);
        out = atomic_load_explicit(&pool->bytes, memory_order_relaxed);
        if (out + capacity > limit) {
            return false;
        }
    }
    atomic_store_explicit(&pool->bytes, out + capacity, memory_order_relaxed);
    if (out + capacity > atomic_load_explicit(&pool->bytes_peak, memory_order_relaxed)) {
        atomic_store_explicit(&pool->bytes_peak, out + capacity, memory_order_relaxed);
    }
    return true;
}

static struct buffer *buffer_make(struct buffer_pool *pool, size_t capacity)
{
    struct buffer *buffer = malloc(sizeof(*buffer) + capacity);
    if (buffer == NULL) {
        /* The system is at its bound before we are at ours: the same back-pressure. */
        atomic_fetch_sub_explicit(&pool->bytes, capacity, memory_order_relaxed);
        atomic_store(&pool->refused, true);
        return NULL;
    }
    buffer->bytes = (uint8_t *)(buffer + 1);
    buffer->capacity = (uint32_t)capacity;
    buffer->pool = pool;
    list_init(&buffer->all);
    list_append(&pool->all, &buffer->all);
    return buffer;
}

static struct buffer *take(struct buffer_pool *pool, size_t capacity, size_t limit)
{
    ASSERT(capacity <= UINT32_MAX);
    if (!admit(pool, capacity, limit)) {
        return NULL;
    }
    struct buffer *buffer = pool->idle;
    if (capacity == BUFFER_BYTES && buffer != NULL) {
        pool->idle = buffer->next;
        pool->idle_bytes -= BUFFER_BYTES;
    } else {
        buffer = buffer_make(pool, capacity);
        if (buffer == NULL) {
            return NULL;
        }
    }
    buffer->used = 0;
    buffer->held = 0;
    buffer->next = NULL;
    atomic_store_explicit(&buffer->references, 1, memory_order_relaxed);
    return buffer;
}

struct buffer *buffer_take(struct buffer_pool *pool, size_t bytes)
{
    return take(pool, bytes < BUFFER_BYTES ? BUFFER_BYTES : bytes, pool->common_max);
}

static size_t part_capacity(const struct buffer_pool *pool, size_t bytes)
{
    size_t capacity = PART_BYTES_LEAST;
    while (capacity < bytes && capacity < BUFFER_BYTES) {
        capacity *= 2;
    }
    if (bytes > capacity) {
        capacity = (bytes + PART_BYTES_STEP - 1) / PART_BYTES_STEP * PART_BYTES_STEP;
    }
    return capacity > pool->part_bytes_max ? bytes : capacity;
}

static size_t part_limit(const struct buffer_pool *pool, size_t capacity, bool urgent)
{
    if (urgent) {
        return pool->bytes_max;
    }
    return capacity <= BUFFER_PART_BYTES_FREE ? pool->common_max : pool->part_bytes_max;
}

struct buffer *buffer_take_part(struct buffer_pool *pool, size_t bytes, bool urgent)
{
    size_t capacity = part_capacity(pool, bytes);
    return take(pool, capacity, part_limit(pool, capacity, urgent));
}

bool buffer_grow(struct buffer **buffer, size_t bytes, bool urgent)
{
    struct buffer *old = *buffer;
    struct buffer_pool *pool = old->pool;
    ASSERT(atomic_load(&old->references) == 1);
    ASSERT(bytes <= UINT32_MAX);
    size_t capacity = part_capacity(pool, bytes);
    if (capacity <= old->capacity) {
        return true;
    }
    size_t more = capacity - old->capacity;
    if (!admit(pool, more, part_limit(pool, capacity, urgent))) {
        return false;
    }
    list_remove(&old->all);
    struct buffer *grown = realloc(old, sizeof(*grown) + capacity);
    if (grown == NULL) {
        list_append(&pool->all, &old->all);
        atomic_fetch_sub_explicit(&pool->bytes, more, memory_order_relaxed);
        return false;
    }
    grown->bytes = (uint8_t *)(grown + 1);
    grown->capacity = (uint32_t)capacity;
    list_init(&grown->all);
    list_append(&pool->all, &grown->all);
    *buffer = grown;
    return true;
}

size_t buffer_pool_part_bytes_max(const struct buffer_pool *pool)
{
    return pool->part_bytes_max;
}

void buffer_ref(struct buffer *buffer)
{
    uint32_t before = atomic_fetch_add_explicit(&buffer->references, 1, memory_order_relaxed);
    ASSERT(before >= 1 && before < UINT32_MAX);
}

static void tell_starved(struct buffer_pool *pool)
{
    if (atomic_load(&pool->refused) && atomic_exchange(&pool->refused, false) &&
        pool->starved != NULL) {
        pool->starved(pool->owner);
    }
}

void buffer_unref(struct buffer *buffer)
{
    if (buffer == NULL) {
        return;
    }
    uint32_t before = atomic_fetch_sub_explicit(&buffer->references, 1, memory_order_acq_rel);
    ASSERT(before >= 1);
    if (before > 1) {
        return;
    }
    struct buffer_pool *pool = buffer->pool;
    if (atomic_load_explicit(&pool->home, memory_order_relaxed) == &thread_mark) {
        settle(pool, buffer);
    } else {
        struct buffer *top = atomic_load_explicit(&pool->returned, memory_order_relaxed);
        do {
            buffer->next = top;
        } while (!atomic_compare_exchange_weak(&pool->returned, &top, buffer));
    }
    tell_starved(pool);
}

size_t buffer_pool_bytes(const struct buffer_pool *pool)
{
    return atomic_load_explicit(&pool->bytes, memory_order_relaxed);
}

size_t buffer_pool_bytes_peak(const struct buffer_pool *pool)
{
    return atomic_load_explicit(&pool->bytes_peak, memory_order_relaxed);
}
