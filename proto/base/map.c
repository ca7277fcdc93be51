/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map.c - open addressing with linear probing; removal shifts the run behind it back, so that
 * there are no tombstones and a map that was full once is as fast as a new one.
 */
#include "proto/base/map.h"

#include <stdlib.h>

#define CAPACITY_MIN 16

/* ---- SipHash-1-3, by Aumasson and Bernstein ---- */

struct sip {
    uint64_t v0;
    uint64_t v1;
    uint64_t v2;
    uint64_t v3;
};

static inline uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v2 = rotate(s->v2, 32);
}

static inline struct sip sip_start(struct map_seed seed)
{
    /* The constants spell "somepseudorandomlygeneratedbytes". */
    return (struct sip){
        .v0 = seed.low ^ UINT64_C(0x736f6d6570736575),
        .v1 = seed.high ^ UINT64_C(0x646f72616e646f6d),
        .v2 = seed.low ^ UINT64_C(0x6c7967656e657261),
        .v3 = seed.high ^ UINT64_C(0x7465646279746573),
    };
}

static inline void sip_take(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

static inline uint64_t sip_end(struct sip *s)
{
    s->v2 ^= 0xff;
    sip_round(s);
    sip_round(s);
    sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t map_hash(struct map_seed seed, struct bytes key)
{
    struct sip s = sip_start(seed);
    const uint8_t *at = key.data;
    size_t left = key.length;

    while (left >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        sip_take(&s, word);
        at += 8;
        left -= 8;
    }
    uint64_t last = 0;
    if (left > 0) {
        memcpy(&last, at, left);
    }
    sip_take(&s, last | (uint64_t)key.length << 56);
    return sip_end(&s);
}

static uint64_t number_hash(struct map_seed seed, uint64_t key)
{
    struct sip s = sip_start(seed);
    sip_take(&s, key);
    sip_take(&s, UINT64_C(8) << 56);
    return sip_end(&s);
}

/* The capacity that `count` entries need, doubled from the present one; 0: there is none. */
static uint32_t capacity_for(uint32_t capacity, uint32_t count)
{
    if (capacity != 0 && (uint64_t)count * 4 <= (uint64_t)capacity * 3) {
        return capacity;
    }
    if (capacity > UINT32_MAX / 2) {
        return 0;
    }
    return capacity == 0 ? CAPACITY_MIN : capacity * 2;
}

/* True where an entry that belongs at `home` may move from `from` back to the free slot `to`. */
static bool may_shift(uint32_t home, uint32_t from, uint32_t to)
{
    return from >= to ? home <= to || home > from : home <= to && home > from;
}

/* ---- keyed by bytes ---- */

void map_init(struct map *map, struct map_seed seed)
{
    *map = (struct map){.seed = seed};
}

void map_deinit(struct map *map)
{
    free(map->slots);
    *map = (struct map){.seed = map->seed};
}

/* The slot of `key`, or the free one where it would go; the map has one free slot at least. */
static uint32_t map_slot_of(const struct map *map, uint64_t hash, struct bytes key)
{
    uint32_t mask = map->capacity - 1;
    uint32_t slot = (uint32_t)hash & mask;
    while (map->slots[slot].value != NULL &&
           (map->slots[slot].hash != hash || !bytes_equal(map->slots[slot].key, key))) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

void *map_find(const struct map *map, struct bytes key)
{
    if (map->count == 0) {
        return NULL;
    }
    return map->slots[map_slot_of(map, map_hash(map->seed, key), key)].value;
}

static bool map_grow(struct map *map)
{
    uint32_t capacity = capacity_for(map->capacity, map->count + 1);
    if (capacity == map->capacity) {
        return true;
    }
    struct map_slot *slots = capacity == 0 ? NULL : calloc(capacity, sizeof(struct map_slot));
    if (slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].value == NULL) {
            continue;
        }
        uint32_t slot = (uint32_t)map->slots[i].hash & (capacity - 1);
        while (slots[slot].value != NULL) {
            slot = (slot + 1) & (capacity - 1);
        }
        slots[slot] = map->slots[i];
    }
    free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    return true;
}

bool map_put(struct map *map, struct bytes key, void *value)
{
    ASSERT(value != NULL);

    if (!map_grow(map)) {
        return false;
    }
    uint64_t hash = map_hash(map->seed, key);
    struct map_slot *slot = &map->slots[map_slot_of(map, hash, key)];
    ASSERT(slot->value == NULL);
    *slot = (struct map_slot){.key = key, .value = value, .hash = hash};
    map->count++;
    return true;
}

void *map_remove(struct map *map, struct bytes key)
{
    if (map->count == 0) {
        return NULL;
    }
    uint32_t mask = map->capacity - 1;
    uint32_t free_slot = map_slot_of(map, map_hash(map->seed, key), key);
    void *value = map->slots[free_slot].value;
    if (value == NULL) {
        return NULL;
    }
    for (uint32_t slot = (free_slot + 1) & mask; map->slots[slot].value != NULL;
         slot = (slot + 1) & mask) {
        if (may_shift((uint32_t)map->slots[slot].hash & mask, slot, free_slot)) {
            map->slots[free_slot] = map->slots[slot];
            free_slot = slot;
        }
    }
    map->slots[free_slot] = (struct map_slot){0};
    map->count--;
    return value;
}

void *map_next(const struct map *map, uint32_t *slot)
{
    while (*slot < map->capacity) {
        void *value = map->slots[(*slot)++].value;
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}

/* ---- keyed by numbers ---- */

void number_map_init(struct number_map *map, struct map_seed seed)
{
    *map = (struct number_map){.seed = seed};
}

void number_map_deinit(struct number_map *map)
{
    free(map->slots);
    *map = (struct number_map){.seed = map->seed};
}

static uint32_t number_map_slot_of(const struct number_map *map, uint64_t key)
{
    uint32_t mask = map->capacity - 1;
    uint32_t slot = (uint32_t)number_hash(map->seed, key) & mask;
    while (map->slots[slot].value != NULL && map->slots[slot].key != key) {
        slot = (slot + 1) & mask;
    }
    return slot;
}

void *number_map_find(const struct number_map *map, uint64_t key)
{
    return map->count == 0 ? NULL : map->slots[number_map_slot_of(map, key)].value;
}

static bool number_map_grow(struct number_map *map)
{
    struct number_map grown = *map;
    grown.capacity = capacity_for(map->capacity, map->count + 1);
    if (grown.capacity == map->capacity) {
        return true;
    }
    grown.slots =
        grown.capacity == 0 ? NULL : calloc(grown.capacity, sizeof(struct number_map_slot));
    if (grown.slots == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].value != NULL) {
            grown.slots[number_map_slot_of(&grown, map->slots[i].key)] = map->slots[i];
        }
    }
    free(map->slots);
    *map = grown;
    return true;
}

bool number_map_put(struct number_map *map, uint64_t key, void *value)
{
    ASSERT(value != NULL);

    if (!number_map_grow(map)) {
        return false;
    }
    struct number_map_slot *slot = &map->slots[number_map_slot_of(map, key)];
    ASSERT(slot->value == NULL);
    *slot = (struct number_map_slot){.key = key, .value = value};
    map->count++;
    return true;
}

void *number_map_remove(struct number_map *map, uint64_t key)
{
    if (map->count == 0) {
        return NULL;
    }
    uint32_t mask = map->capacity - 1;
    uint32_t free_slot = number_map_slot_of(map, key);
    void *value = map->slots[free_slot].value;
    if (value == NULL) {
        return NULL;
    }
    for (uint32_t slot = (free_slot + 1) & mask; map->slots[slot].value != NULL;
         slot = (slot + 1) & mask) {
        uint32_t home = (uint32_t)number_hash(map->seed, map->slots[slot].key) & mask;
        if (may_shift(home, slot, free_slot)) {
            map->slots[free_slot] = map->slots[slot];
            free_slot = slot;
        }
    }
    map->slots[free_slot] = (struct number_map_slot){0};
    map->count--;
    return value;
}

void *number_map_next(const struct number_map *map, uint32_t *slot)
{
    while (*slot < map->capacity) {
        void *value = map->slots[(*slot)++].value;
        if (value != NULL) {
            return value;
        }
    }
    return NULL;
}
