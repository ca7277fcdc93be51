/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.h - hash maps from bytes, or from numbers, to pointers.
 *
 * Keys may come from hostile peers: both maps hash with SipHash-1-3 under a seed that the caller
 * draws (from the reactor's random numbers, so that a simulation repeats itself). Open addressing,
 * linear probing, at most 3/4 full, removal without tombstones. The maps own their slots and
 * nothing else: values are the caller's, and the bytes of a key are borrowed for as long as the
 * entry stands (keep them in the value).
 *
 * Iteration goes over slots and is valid until the next put or remove.
 *
 * Threads: whoever owns the map.
 */
#ifndef PROTO_BASE_MAP_H
#define PROTO_BASE_MAP_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"

#include <stdbool.h>
#include <stdint.h>

struct map_seed {
    uint64_t low;
    uint64_t high;
};

struct map_slot {
    struct bytes key;
    void *value; /* NULL: the slot is free */
    uint64_t hash;
};

struct map {
    struct map_slot *slots;
    uint32_t count;
    uint32_t capacity; /* 0 or a power of two */
    struct map_seed seed;
};

/* SipHash-1-3 of the bytes under the seed. */
uint64_t map_hash(struct map_seed seed, struct bytes key);

/* Adds a number to a hash of numbers in their order; of our own alone, for it is no defence against chosen ones. */
static inline uint64_t map_mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

/* Makes an empty map; takes no memory until the first put. */
void map_init(struct map *map, struct map_seed seed);

/* Gives the slots back; keys and values are not touched. */
void map_deinit(struct map *map);

/* The value of `key`, or NULL. */
void *map_find(const struct map *map, struct bytes key);

/*
 * Puts an entry in; `value` is not NULL and `key` not in the map yet (asserted); `key` is borrowed
 * until the entry is removed. False: no memory, nothing changed.
 */
NODISCARD bool map_put(struct map *map, struct bytes key, void *value);

/* Removes the entry of `key` and gives its value, or NULL when there was none. */
void *map_remove(struct map *map, struct bytes key);

/* The next value from `*slot` (0 at first) on, which is moved past it; NULL at the end. */
void *map_next(const struct map *map, uint32_t *slot);

struct number_map_slot {
    uint64_t key;
    void *value; /* NULL: the slot is free */
};

struct number_map {
    struct number_map_slot *slots;
    uint32_t count;
    uint32_t capacity; /* 0 or a power of two */
    struct map_seed seed;
};

/* The same, keyed by numbers. */
void number_map_init(struct number_map *map, struct map_seed seed);
void number_map_deinit(struct number_map *map);
void *number_map_find(const struct number_map *map, uint64_t key);
NODISCARD bool number_map_put(struct number_map *map, uint64_t key, void *value);
void *number_map_remove(struct number_map *map, uint64_t key);
void *number_map_next(const struct number_map *map, uint32_t *slot);

#endif
