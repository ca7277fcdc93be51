/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.h - an intrusive binary heap, least key first: timers, due lists.
 *
 * The members embed a `struct heap_node`; the heap owns only its array of pointers, which grows by
 * doubling and shrinks at heap_deinit(). Insert and remove cost O(log n), the least is at hand.
 * Nodes of equal keys come out in an order that depends on nothing but the calls made.
 *
 * Threads: whoever owns the heap.
 */
#ifndef PROTO_BASE_HEAP_H
#define PROTO_BASE_HEAP_H

#include "proto/base/contract.h"

#include <stdbool.h>
#include <stdint.h>

/* The index of a node that is in no heap. */
#define HEAP_INDEX_NONE UINT32_MAX

struct heap_node {
    uint64_t key;   /* set by heap_insert() and heap_move() */
    uint32_t index; /* the heap's; HEAP_INDEX_NONE outside */
};

/* A zeroed heap is an empty one. */
struct heap {
    struct heap_node **nodes;
    uint32_t count;
    uint32_t capacity;
};

void heap_init(struct heap *heap);

/* Gives the array back; the members are not touched. */
void heap_deinit(struct heap *heap);

/* Makes a node that is in no heap; to be called once before its first use. */
static inline void heap_node_init(struct heap_node *node)
{
    node->key = 0;
    node->index = HEAP_INDEX_NONE;
}

static inline bool heap_node_is_in(const struct heap_node *node)
{
    return node->index != HEAP_INDEX_NONE;
}

/* Makes room for `count` members in all. False: no memory, nothing changed. */
NODISCARD bool heap_reserve(struct heap *heap, uint32_t count);

/* Puts a node that is in no heap in with `key`. False: no memory, nothing changed. */
NODISCARD bool heap_insert(struct heap *heap, struct heap_node *node, uint64_t key);

/* Takes a node of this heap out, wherever it stands. */
void heap_remove(struct heap *heap, struct heap_node *node);

/* Gives a node of this heap another key. */
void heap_move(struct heap *heap, struct heap_node *node, uint64_t key);

/* The node of the least key, or NULL of an empty heap. */
static inline struct heap_node *heap_least(const struct heap *heap)
{
    return heap->count == 0 ? (struct heap_node *)0 : heap->nodes[0];
}

#endif
