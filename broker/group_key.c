/* SPDX-License-Identifier: Apache-2.0 */
/* group_key.c - lists of ranges by key. */
#include "broker/group_key.h"

#include <stdlib.h>

struct group_key {
    uint32_t hash;
    uint32_t leased;    /* of its ranges */
    struct list ranges; /* struct keyed_range.of_key, in the order of offsets */
};

/* A range of a queue in the order of keys. */
struct keyed_range {
    struct open_range range;
    struct list of_key;
    struct group_key *key;
};

static struct keyed_range *keyed(const struct open_range *range)
{
    return CONTAINER_OF((struct open_range *)(uintptr_t)range, struct keyed_range, range);
}

static struct open_range *range_at(struct list *link)
{
    return link == NULL ? NULL : &CONTAINER_OF(link, struct keyed_range, of_key)->range;
}

struct open_range *group_range_allocate(const struct group_queue *queue)
{
    if (queue->order != GROUP_ORDER_KEY) {
        struct open_range *range = calloc(1, sizeof(*range));
        ASSERT(range != NULL);
        return range;
    }
    struct keyed_range *range = calloc(1, sizeof(*range));
    ASSERT(range != NULL);
    list_init(&range->of_key);
    return &range->range;
}

struct open_range *group_key_enter(struct group_queue *queue, struct open_range *range)
{
    struct group_key *key = number_map_find(&queue->keys, range->key);
    if (key == NULL) {
        key = calloc(1, sizeof(*key));
        ASSERT(key != NULL);
        key->hash = range->key;
        list_init(&key->ranges);
        ASSERT(number_map_put(&queue->keys, key->hash, key));
    }
    keyed(range)->key = key;
    /* Mostly it comes behind all. */
    struct list *place = &key->ranges;
    while (place->previous != &key->ranges && range_at(place->previous)->first > range->first) {
        place = place->previous;
    }
    struct open_range *first = range_at(list_first(&key->ranges));
    list_insert_before(place, &keyed(range)->of_key);
    return first != NULL && group_key_is_first(range) ? first : NULL;
}

struct open_range *group_key_leave(struct group_queue *queue, struct open_range *range)
{
    struct group_key *key = keyed(range)->key;
    bool was_first = group_key_is_first(range);
    list_remove(&keyed(range)->of_key);
    keyed(range)->key = NULL;
    if (list_is_empty(&key->ranges)) {
        (void)number_map_remove(&queue->keys, key->hash);
        free(key);
        return NULL;
    }
    return was_first && key->leased == 0 ? range_at(list_first(&key->ranges)) : NULL;
}

bool group_key_is_free(const struct open_range *range)
{
    return group_key_is_first(range) && keyed(range)->key->leased == 0;
}

void group_key_count_leased(const struct open_range *range, bool is_leased)
{
    struct group_key *key = keyed(range)->key;
    ASSERT(is_leased || key->leased > 0);
    key->leased += is_leased ? 1 : UINT32_MAX;
}

struct open_range *group_key_freed(const struct open_range *range)
{
    struct group_key *key = keyed(range)->key;
    return key->leased == 0 ? range_at(list_first(&key->ranges)) : NULL;
}

bool group_key_is_first(const struct open_range *range)
{
    return list_first(&keyed(range)->key->ranges) == &keyed(range)->of_key;
}

const struct open_range *group_key_before(const struct open_range *range)
{
    return group_key_is_first(range) ? NULL : range_at(keyed(range)->of_key.previous);
}

/* ------------------------------------------------- for who gives them out */

bool group_queue_key_is_free(const struct group_queue *queue, uint32_t key_hash, uint64_t serial)
{
    const struct group_key *key = key_hash == 0 ? NULL : number_map_find(&queue->keys, key_hash);
    if (key == NULL) {
        return true;
    }
    const struct open_range *last = range_at(list_last(&key->ranges));
    return last->state == OPEN_LEASED && last->serial == serial;
}

struct open_range *group_queue_held_behind(const struct open_range *range, uint64_t serial)
{
    struct group_key *key = keyed(range)->key;
    struct list *link = key->leased == 0 ? &key->ranges : keyed(range)->of_key.next;
    for (; link != &key->ranges; link = link->next) {
        struct open_range *behind = range_at(link);
        if (behind->state == OPEN_LEASED && behind->serial == serial) {
            return behind;
        }
    }
    return NULL;
}

struct open_range *group_queue_next_of_key(const struct group_queue *queue, uint32_t key_hash,
                                           uint64_t serial)
{
    const struct group_key *key = key_hash == 0 ? NULL : number_map_find(&queue->keys, key_hash);
    if (key == NULL) {
        return NULL;
    }
    LIST_FOREACH (link, &key->ranges) {
        struct open_range *range = range_at(link);
        if (range->state != OPEN_LEASED || range->serial != serial) {
            return range->state == OPEN_BLOCKED ? range : NULL;
        }
    }
    return NULL;
}
