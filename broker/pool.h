/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - blocks of one size, kept for reuse instead of given back to the allocator.
 *
 * The data path takes and gives a block a call; this makes it two pointer moves. A block may be given
 * to another core's pool than it was taken from: blocks belong to nobody while they are idle. Where
 * blocks always move the same way that would fill one pool and drain the other: there they are sent
 * back with pool_give_back().
 *
 * Memory:  at most `idle_max` blocks are kept; what is out is bounded by who takes (calls by the
 *          limits of a connection, message lists by its unanswered bytes). Ends the process when
 *          the allocator has nothing: every bound was chosen below what a machine must have.
 * Threads: a pool belongs to one core; pool_give_back() is for the others.
 */
#ifndef BROKER_POOL_H
#define BROKER_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool {
    size_t block_bytes;
    uint32_t idle_max;
    uint32_t idle;
    uint64_t taken;           /* ever */
    uint64_t given;           /* ever; may exceed `taken` where blocks come from other cores */
    void *first;              /* idle blocks, each beginning with a pointer to the next */
    _Atomic(void *) returned; /* the same, of other cores; they are taken in when none is idle */
};

/* `block_bytes` at least a pointer's. */
void pool_init(struct pool *pool, size_t block_bytes, uint32_t idle_max);

/* Gives the idle blocks back to the allocator. */
void pool_deinit(struct pool *pool);

/* A block of uninitialized bytes, aligned for anything; never NULL. */
void *pool_take(struct pool *pool);

void pool_give(struct pool *pool, void *block);

/* Gives a block back to the pool that it was taken from, on any other core's thread. */
void pool_give_back(struct pool *pool, void *block);

/* The one where the pool is this core's own, else the other. */
static inline void pool_return(struct pool *pool, void *block, bool is_own)
{
    if (is_own) {
        pool_give(pool, block);
    } else {
        pool_give_back(pool, block);
    }
}

#endif
