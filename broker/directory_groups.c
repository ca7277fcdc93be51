/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory_groups.c - two hash maps and a sorted array over the same groups.
 */
#include "broker/directory_groups.h"

#include <stdlib.h>
#include <string.h>

void directory_init_groups(struct directory *directory, struct map_seed seed)
{
    map_init(&directory->groups_by_name, seed);
    number_map_init(&directory->groups_by_id, seed);
    directory->groups = NULL;
    directory->last_group = NULL;
    directory->group_count = 0;
    directory->group_capacity = 0;
}

void directory_deinit_groups(struct directory *directory)
{
    for (uint32_t i = 0; i < directory->group_count; i++) {
        group_unref(directory->groups[i]);
    }
    free(directory->groups);
    map_deinit(&directory->groups_by_name);
    number_map_deinit(&directory->groups_by_id);
}

struct group *directory_find_group(struct directory *directory, struct bytes name)
{
    struct group *group = directory->last_group;
    if (group == NULL || !bytes_equal(group->name, name)) {
        group = map_find(&directory->groups_by_name, name);
        directory->last_group = group;
    }
    return group;
}

struct group *directory_find_group_id(const struct directory *directory, uint32_t id)
{
    return number_map_find(&directory->groups_by_id, id);
}

uint32_t directory_group_place(const struct directory *directory, struct bytes name)
{
    uint32_t low = 0;
    uint32_t high = directory->group_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(directory->groups[middle]->name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

uint32_t directory_group_place_after(const struct directory *directory, struct bytes name)
{
    uint32_t place = directory_group_place(directory, name);
    bool is_there =
        place < directory->group_count && bytes_equal(directory->groups[place]->name, name);
    return is_there ? place + 1 : place;
}

void directory_put_group(struct directory *directory, struct group *group)
{
    directory->changes++;
    group_ref(group); /* first: it may be the very one that is there */
    directory_remove_group(directory, group->id);
    ASSERT(directory_find_group(directory, group->name) == NULL);

    if (directory->group_count == directory->group_capacity) {
        directory->group_capacity =
            directory->group_capacity == 0 ? 16 : directory->group_capacity * 2;
        directory->groups =
            realloc(directory->groups, directory->group_capacity * sizeof(directory->groups[0]));
        ASSERT(directory->groups != NULL);
    }
    uint32_t place = directory_group_place(directory, group->name);
    memmove(&directory->groups[place + 1], &directory->groups[place],
            (directory->group_count - place) * sizeof(directory->groups[0]));
    directory->groups[place] = group;
    directory->group_count++;
    bool stored = map_put(&directory->groups_by_name, group->name, group) &&
                  number_map_put(&directory->groups_by_id, group->id, group);
    ASSERT(stored);
}

void directory_remove_group(struct directory *directory, uint32_t id)
{
    struct group *group = number_map_remove(&directory->groups_by_id, id);
    if (group == NULL) {
        return;
    }
    directory->changes++;
    directory->last_group = NULL;
    void *named = map_remove(&directory->groups_by_name, group->name);
    ASSERT(named == group);
    uint32_t place = directory_group_place(directory, group->name);
    ASSERT(directory->groups[place] == group);
    directory->group_count--;
    memmove(&directory->groups[place], &directory->groups[place + 1],
            (directory->group_count - place) * sizeof(directory->groups[0]));
    group_unref(group);
}
