/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - idle blocks as a chain through their first bytes. */
#include "broker/pool.h"

#include "proto/base/contract.h"

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

void pool_deinit(struct pool *pool)
{
    while (pool->idle > 0) {
        free(pool_pop(pool));
    }
}

void *pool_take(struct pool *pool)
{
    pool->taken++;
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
        return;
    }
    memcpy(block, &pool->first, sizeof(pool->first));
    pool->first = block;
    pool->idle++;
}
