/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory.c - two hash maps and a sorted array over the same topics. Groups: directory_groups.c.
 */
#include "broker/directory.h"

#include "broker/directory_groups.h"
#include "proto/limits.h"

#include <stdlib.h>
#include <string.h>

void directory_init(struct directory *directory, struct map_seed seed)
{
    map_init(&directory->by_name, seed);
    number_map_init(&directory->by_id, seed);
    directory->sorted = NULL;
    directory->last = NULL;
    directory->count = 0;
    directory->capacity = 0;
    directory_init_groups(directory, seed);
}

void directory_deinit(struct directory *directory)
{
    for (uint32_t i = 0; i < directory->count; i++) {
        topic_unref(directory->sorted[i]);
    }
    free(directory->sorted);
    map_deinit(&directory->by_name);
    number_map_deinit(&directory->by_id);
    directory_deinit_groups(directory);
}

struct topic *directory_find(struct directory *directory, struct bytes name)
{
    struct topic *topic = directory->last;
    if (topic == NULL || !bytes_equal(topic->name, name)) {
        topic = map_find(&directory->by_name, name);
        directory->last = topic;
    }
    return topic;
}

struct topic *directory_find_id(const struct directory *directory, uint32_t id)
{
    return number_map_find(&directory->by_id, id);
}

uint32_t directory_place(const struct directory *directory, struct bytes name)
{
    uint32_t low = 0;
    uint32_t high = directory->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(directory->sorted[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t directory_place_after(const struct directory *directory, struct bytes name)
{
    uint32_t place = directory_place(directory, name);
    bool is_there = place < directory->count && bytes_equal(directory->sorted[place]->name, name);
    return is_there ? place + 1 : place;
}

static void directory_make_room(struct directory *directory)
{
    if (directory->count < directory->capacity) {
        return;
    }
    directory->capacity = directory->capacity == 0 ? 16 : directory->capacity * 2;
    directory->sorted =
        realloc(directory->sorted, directory->capacity * sizeof(directory->sorted[0]));
    ASSERT(directory->sorted != NULL);
}

void directory_put(struct directory *directory, struct topic *topic)
{
    directory->changes++;
    topic_ref(topic); /* first: it may be the very one that is there */
    directory_remove(directory, topic->id);
    ASSERT(directory_find(directory, topic->name) == NULL);

    directory_make_room(directory);
    uint32_t place = directory_place(directory, topic->name);
    memmove(&directory->sorted[place + 1], &directory->sorted[place],
            (directory->count - place) * sizeof(directory->sorted[0]));
    directory->sorted[place] = topic;
    directory->count++;
    bool stored = map_put(&directory->by_name, topic->name, topic) &&
                  number_map_put(&directory->by_id, topic->id, topic);
    ASSERT(stored);
}

void directory_remove(struct directory *directory, uint32_t id)
{
    directory->changes++;
    struct topic *topic = number_map_remove(&directory->by_id, id);
    if (topic == NULL) {
        return;
    }
    directory->last = NULL;
    void *named = map_remove(&directory->by_name, topic->name);
    ASSERT(named == topic);
    uint32_t place = directory_place(directory, topic->name);
    ASSERT(directory->sorted[place] == topic);
    directory->count--;
    memmove(&directory->sorted[place], &directory->sorted[place + 1],
            (directory->count - place) * sizeof(directory->sorted[0]));
    topic_unref(topic);
}

/* The finalizer of splitmix64: every bit of the input moves every bit of the result. */
static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

bool directory_announces(const struct topic *topic)
{
    return topic->name.data[0] != '%';
}

uint64_t directory_digest(const struct directory *directory)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < directory->count; i++) {
        const struct topic *topic = directory->sorted[i];
        /* Ids begin at 1 and are never reused, so (id, version) says which version of what. */
        if (directory_announces(topic)) {
            sum += mix(mix(topic->id) + topic->version);
        }
    }
    return sum % INTEGER_LIMIT;
}
