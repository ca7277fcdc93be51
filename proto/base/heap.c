/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heap.c - a binary heap of borrowed nodes; each node knows its index.
 */
#include "proto/base/heap.h"

#include <stddef.h>
#include <stdlib.h>

/* The array's first size; 64 timers are what one busy connection has. */
#define CAPACITY_MIN 64

void heap_init(struct heap *heap)
{
    *heap = (struct heap){0};
}

void heap_deinit(struct heap *heap)
{
    free(heap->nodes);
    *heap = (struct heap){0};
}

bool heap_reserve(struct heap *heap, uint32_t count)
{
    if (count <= heap->capacity) {
        return true;
    }
    uint32_t capacity = heap->capacity == 0 ? CAPACITY_MIN : heap->capacity;
    while (capacity < count) {
        if (capacity > UINT32_MAX / 2) {
            return false;
        }
        capacity *= 2;
    }
    struct heap_node **nodes = realloc(heap->nodes, capacity * sizeof(struct heap_node *));
    if (nodes == NULL) {
        return false;
    }
    heap->nodes = nodes;
    heap->capacity = capacity;
    return true;
}

static void place(struct heap *heap, struct heap_node *node, uint32_t index)
{
    heap->nodes[index] = node;
    node->index = index;
}

/* Moves `node` from `index` towards the root to where its key belongs. */
static void sift_up(struct heap *heap, struct heap_node *node, uint32_t index)
{
    while (index > 0) {
        uint32_t parent = (index - 1) / 2;
        if (heap->nodes[parent]->key <= node->key) {
            break;
        }
        place(heap, heap->nodes[parent], index);
        index = parent;
    }
    place(heap, node, index);
}

/* Moves `node` from `index` towards the leaves to where its key belongs. */
static void sift_down(struct heap *heap, struct heap_node *node, uint32_t index)
{
    for (;;) {
        uint64_t child = (uint64_t)index * 2 + 1;
        if (child >= heap->count) {
            break;
        }
        if (child + 1 < heap->count && heap->nodes[child + 1]->key < heap->nodes[child]->key) {
            child++;
        }
        if (node->key <= heap->nodes[child]->key) {
            break;
        }
        place(heap, heap->nodes[child], index);
        index = (uint32_t)child;
    }
    place(heap, node, index);
}

/* Puts `node` at `index`, whose place is free, and lets it go up or down. */
static void settle(struct heap *heap, struct heap_node *node, uint32_t index)
{
    if (index > 0 && node->key < heap->nodes[(index - 1) / 2]->key) {
        sift_up(heap, node, index);
    } else {
        sift_down(heap, node, index);
    }
}

bool heap_insert(struct heap *heap, struct heap_node *node, uint64_t key)
{
    ASSERT(!heap_node_is_in(node));

    if (heap->count == UINT32_MAX - 1 || !heap_reserve(heap, heap->count + 1)) {
        return false;
    }
    node->key = key;
    heap->count++;
    sift_up(heap, node, heap->count - 1);
    return true;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
    uint32_t index = node->index;
    ASSERT(index < heap->count);
    ASSERT(heap->nodes[index] == node);

    heap->count--;
    struct heap_node *last = heap->nodes[heap->count];
    if (last != node) {
        settle(heap, last, index);
    }
    node->index = HEAP_INDEX_NONE;
}

void heap_move(struct heap *heap, struct heap_node *node, uint64_t key)
{
    ASSERT(node->index < heap->count);
    ASSERT(heap->nodes[node->index] == node);

    node->key = key;
    settle(heap, node, node->index);
}
