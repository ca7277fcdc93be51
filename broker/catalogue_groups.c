/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue_groups.c - the groups of a catalogue: found, put, taken out.
 */
#include "broker/catalogue.h"
#include "broker/catalogue_rows.h"

#include <stdlib.h>
#include <string.h>

/* The place of the first group whose id is `id` or above. */
static uint32_t group_place(const struct catalogue *catalogue, uint32_t id)
{
    uint32_t low = 0;
    uint32_t high = catalogue->group_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (catalogue->groups[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct group *catalogue_find_group(const struct catalogue *catalogue, struct bytes name)
{
    return map_find(&catalogue->groups_by_name, name);
}

struct group *catalogue_find_group_id(const struct catalogue *catalogue, uint32_t id)
{
    uint32_t place = group_place(catalogue, id);
    bool is_there = place < catalogue->group_count && catalogue->groups[place]->id == id;
    return is_there ? catalogue->groups[place] : NULL;
}

static void put_in(struct catalogue *catalogue, struct group *group)
{
    if (catalogue->group_count == catalogue->group_capacity) {
        catalogue->group_capacity =
            catalogue->group_capacity == 0 ? 16 : catalogue->group_capacity * 2;
        catalogue->groups =
            realloc(catalogue->groups, catalogue->group_capacity * sizeof(catalogue->groups[0]));
        ASSERT(catalogue->groups != NULL);
    }
    uint32_t place = group_place(catalogue, group->id);
    memmove(&catalogue->groups[place + 1], &catalogue->groups[place],
            (catalogue->group_count - place) * sizeof(catalogue->groups[0]));
    catalogue->groups[place] = group_ref(group);
    catalogue->group_count++;
    catalogue->group_bytes += group->topics_bytes;
    bool stored = map_put(&catalogue->groups_by_name, group->name, group);
    ASSERT(stored);
}

void catalogue_drop_group(struct catalogue *catalogue, uint32_t id)
{
    uint32_t place = group_place(catalogue, id);
    if (place == catalogue->group_count || catalogue->groups[place]->id != id) {
        return;
    }
    struct group *group = catalogue->groups[place];
    catalogue->group_count--;
    memmove(&catalogue->groups[place], &catalogue->groups[place + 1],
            (catalogue->group_count - place) * sizeof(catalogue->groups[0]));
    catalogue->group_bytes -= group->topics_bytes;
    void *named = map_remove(&catalogue->groups_by_name, group->name);
    ASSERT(named == group);
    group_unref(group);
}

void catalogue_put_group(struct catalogue *catalogue, struct group *group)
{
    catalogue_note(catalogue, group->id, group->version);
    const struct group *old = catalogue_find_group_id(catalogue, group->id);
    if (catalogue_find_deleted(catalogue, group->id) != NULL ||
        (old != NULL && old->version > group->version)) {
        return;
    }
    catalogue_drop_group(catalogue, group->id);
    /* Of two groups of one name the newer is right: the other's deletion was missed here. */
    const struct group *other = catalogue_find_group(catalogue, group->name);
    if (other != NULL) {
        if (other->version > group->version) {
            return;
        }
        catalogue_drop_group(catalogue, other->id);
    }
    put_in(catalogue, group);
}

void catalogue_clear_groups(struct catalogue *catalogue)
{
    for (uint32_t i = 0; i < catalogue->group_count; i++) {
        group_unref(catalogue->groups[i]);
    }
    map_deinit(&catalogue->groups_by_name);
    map_init(&catalogue->groups_by_name, catalogue_seed);
    catalogue->group_count = 0;
    catalogue->group_bytes = 0;
}
