/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - idle blocks as a chain through their first bytes. */
#include "broker/pool.h"

#include "proto/base/contract.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void pool_init(struct pool *pool, size_t block_bytes, uint32_t idle_max)
{
    ASSERT(block_bytes >= sizeof(void *));
    *pool = (struct pool){.block_bytes = block_bytes, .idle_max = idle_max};
}

static void *pool_pop(struct pool *pool)
{
    void *block = pool->first;
    memcpy(&pool->first, block, sizeof(pool->first));
    pool->idle--;
    return block;
}

/* The block behind `block` in a chain of idle ones. */
static void *next_of(const void *block)
{
    void *next;
    memcpy(&next, block, sizeof(next));
    return next;
}

/* Takes in what came back from other cores: the whole chain at once, so that nobody meets a half. */
static void pool_take_in(struct pool *pool)
{
    if (atomic_load_explicit(&pool->returned, memory_order_relaxed) == NULL) {
        return;
    }
    void *block = atomic_exchange_explicit(&pool->returned, NULL, memory_order_acquire);
    while (block != NULL) {
        void *next = next_of(block);
        pool_give(pool, block);
        block = next;
    }
}

void pool_deinit(struct pool *pool)
{
    pool_take_in(pool);
    while (pool->idle > 0) {
        free(pool_pop(pool));
    }
}

void *pool_take(struct pool *pool)
{
    pool->taken++;
    if (pool->idle == 0) {
        pool_take_in(pool);
    }
    if (pool->idle > 0) {
        return pool_pop(pool);
    }
    void *block = malloc(pool->block_bytes);
    ASSERT(block != NULL);
    return block;
}

void pool_give(struct pool *pool, void *block)
{
    pool->given++;
    if (pool->idle == pool->idle_max) {
        free(block);
        pool_take_in(pool); /* Nobody takes of these now; without this they would stay. */
        return;
    }
    memcpy(block, &pool->first, sizeof(pool->first));
    pool->first = block;
    pool->idle++;
}

void pool_give_back(struct pool *pool, void *block)
{
    void *top = atomic_load_explicit(&pool->returned, memory_order_relaxed);
    do {
        memcpy(block, &top, sizeof(top));
    } while (!atomic_compare_exchange_weak_explicit(&pool->returned, &top, block,
                                                    memory_order_release, memory_order_relaxed));
}
