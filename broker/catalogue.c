/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue.c - the state, and what an operation does to it. Groups: catalogue_groups.c; rows and bytes:
 * catalogue_rows.c.
 */
#include "broker/catalogue.h"

#include "broker/catalogue_rows.h"
#include "storage/commit_log.h"

#include <stdlib.h>
#include <string.h>

/* Names here were let in by ourselves, one at a time and durably, and are few: no seed is needed,
 * and equal catalogues stay equal. */
const struct map_seed catalogue_seed = {.low = 1, .high = 2};

/* ------------------------------------------------------------------ life */

struct catalogue *catalogue_create(uint32_t shard, enum durability durability)
{
    ASSERT(shard < SHARDS_MAX);
    struct catalogue *catalogue = calloc(1, sizeof(*catalogue));
    ASSERT(catalogue != NULL);
    catalogue->view.name = "catalogue";
    catalogue->view.operations = &catalogue_view_operations;
    catalogue->shard = shard;
    catalogue->durability = durability;
    catalogue->next_id = 1;
    map_init(&catalogue->by_name, catalogue_seed);
    map_init(&catalogue->groups_by_name, catalogue_seed);
    return catalogue;
}

void catalogue_clear(struct catalogue *catalogue)
{
    for (uint32_t i = 0; i < catalogue->topic_count; i++) {
        topic_unref(catalogue->topics[i]);
    }
    for (uint32_t i = 0; i < catalogue->removed_count; i++) {
        topic_unref(catalogue->removed[i]);
    }
    for (uint32_t i = 0; i < catalogue->setting_count; i++) {
        free(catalogue->settings[i]);
    }
    map_deinit(&catalogue->by_name);
    map_init(&catalogue->by_name, catalogue_seed);
    catalogue_clear_groups(catalogue);
    catalogue->topic_count = 0;
    catalogue->removed_count = 0;
    catalogue->setting_count = 0;
    catalogue->deleted_count = 0;
    catalogue->version = 0;
    catalogue->next_id = 1;
    memset(catalogue->queue_count, 0, sizeof(catalogue->queue_count));
    catalogue->part_count = 0;
}

void catalogue_destroy(struct catalogue *catalogue)
{
    if (catalogue == NULL) {
        return;
    }
    catalogue_clear(catalogue);
    map_deinit(&catalogue->by_name);
    map_deinit(&catalogue->groups_by_name);
    free(catalogue->topics);
    free(catalogue->groups);
    free(catalogue->removed);
    free(catalogue);
}

/* ---------------------------------------------------------------- lookup */

/* The place of the first topic whose id is `id` or above. */
static uint32_t topic_place(const struct catalogue *catalogue, uint32_t id)
{
    uint32_t low = 0;
    uint32_t high = catalogue->topic_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (catalogue->topics[middle]->id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct topic *catalogue_find(const struct catalogue *catalogue, struct bytes name)
{
    return map_find(&catalogue->by_name, name);
}

struct topic *catalogue_find_id(const struct catalogue *catalogue, uint32_t id)
{
    uint32_t place = topic_place(catalogue, id);
    bool is_there = place < catalogue->topic_count && catalogue->topics[place]->id == id;
    return is_there ? catalogue->topics[place] : NULL;
}

const struct catalogue_deleted *catalogue_find_deleted(const struct catalogue *catalogue,
                                                       uint32_t id)
{
    for (uint32_t i = 0; i < catalogue->deleted_count; i++) {
        if (catalogue->deleted[i].id == id) {
            return &catalogue->deleted[i];
        }
    }
    return NULL;
}

const struct catalogue_setting *catalogue_find_setting(const struct catalogue *catalogue,
                                                       const char *name)
{
    for (uint32_t i = 0; i < catalogue->setting_count; i++) {
        if (strcmp(catalogue->settings[i]->name, name) == 0) {
            return catalogue->settings[i];
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- queues */

static void queues_put(struct catalogue *catalogue, const struct topic *topic)
{
    enum log_durability durability = topic->durability == DURABILITY_DISK ? LOG_DISK : LOG_MEMORY;
    for (uint32_t queue = 0; queue < topic->queue_count; queue++) {
        if (topic->shards[queue] == catalogue->shard) {
            commit_log_queue_put(catalogue->log, topic->id, (uint16_t)queue, durability);
        }
    }
}

static void queues_remove(struct catalogue *catalogue, const struct topic *topic)
{
    for (uint32_t queue = 0; queue < topic->queue_count; queue++) {
        uint16_t number = (uint16_t)queue;
        if (topic->shards[queue] == catalogue->shard &&
            commit_log_queue_find(catalogue->log, topic->id, number) != NULL) {
            commit_log_queue_remove(catalogue->log, topic->id, number);
        }
    }
}

void catalogue_attach(struct catalogue *catalogue, struct commit_log *log)
{
    ASSERT(catalogue->log == NULL);
    catalogue->log = log;
    for (uint32_t i = 0; i < catalogue->removed_count; i++) {
        queues_remove(catalogue, catalogue->removed[i]);
        topic_unref(catalogue->removed[i]);
    }
    catalogue->removed_count = 0;
    for (uint32_t i = 0; i < catalogue->topic_count; i++) {
        queues_put(catalogue, catalogue->topics[i]);
    }
}

/* ---------------------------------------------------------------- change */

/* Makes room for one more topic in an array that doubles. */
static struct topic **make_room(struct topic **topics, uint32_t count, uint32_t *capacity)
{
    if (count < *capacity) {
        return topics;
    }
    *capacity = *capacity == 0 ? 16 : *capacity * 2;
    struct topic **grown = realloc(topics, *capacity * sizeof(topics[0]));
    ASSERT(grown != NULL);
    return grown;
}

void catalogue_note(struct catalogue *catalogue, uint32_t id, uint64_t version)
{
    if (version > catalogue->version) {
        catalogue->version = version;
    }
    if (id >= catalogue->next_id) {
        catalogue->next_id = id + 1;
    }
}

/* Counts the queues of a topic that is put in (1) or taken out (-1). */
static void count_queues(struct catalogue *catalogue, const struct topic *topic, int by)
{
    for (uint32_t queue = 0; queue < topic->queue_count; queue++) {
        if (topic_has(topic, queue)) {
            catalogue->queue_count[topic->shards[queue]] += (uint32_t)by;
        }
    }
}

/* Takes the topic at `place` out and gives its reference to the caller. */
static struct topic *take_out(struct catalogue *catalogue, uint32_t place)
{
    struct topic *topic = catalogue->topics[place];
    catalogue->topic_count--;
    memmove(&catalogue->topics[place], &catalogue->topics[place + 1],
            (catalogue->topic_count - place) * sizeof(catalogue->topics[0]));
    void *named = map_remove(&catalogue->by_name, topic->name);
    ASSERT(named == topic);
    count_queues(catalogue, topic, -1);
    catalogue->part_count -= topic->part_count;
    return topic;
}

static void put_in(struct catalogue *catalogue, struct topic *topic)
{
    catalogue->topics =
        make_room(catalogue->topics, catalogue->topic_count, &catalogue->topic_capacity);
    uint32_t place = topic_place(catalogue, topic->id);
    memmove(&catalogue->topics[place + 1], &catalogue->topics[place],
            (catalogue->topic_count - place) * sizeof(catalogue->topics[0]));
    catalogue->topics[place] = topic;
    catalogue->topic_count++;
    bool stored = map_put(&catalogue->by_name, topic->name, topic);
    ASSERT(stored);
    count_queues(catalogue, topic, 1);
    catalogue->part_count += topic->part_count;
}

/* The topic and its queues go. */
static void drop(struct catalogue *catalogue, uint32_t id)
{
    uint32_t place = topic_place(catalogue, id);
    if (place == catalogue->topic_count || catalogue->topics[place]->id != id) {
        return;
    }
    struct topic *topic = take_out(catalogue, place);
    if (catalogue->log != NULL) {
        queues_remove(catalogue, topic);
        topic_unref(topic);
        return;
    }
    catalogue->removed =
        make_room(catalogue->removed, catalogue->removed_count, &catalogue->removed_capacity);
    catalogue->removed[catalogue->removed_count++] = topic;
}

void catalogue_put_topic(struct catalogue *catalogue, const struct topic_parts *parts)
{
    catalogue_note(catalogue, parts->id, parts->version);
    const struct catalogue_deleted *deleted = catalogue_find_deleted(catalogue, parts->id);
    struct topic *old = catalogue_find_id(catalogue, parts->id);
    if (deleted != NULL || (old != NULL && old->version > parts->version)) {
        return;
    }
    if (old != NULL) {
        topic_unref(take_out(catalogue, topic_place(catalogue, parts->id)));
    }
    /* Of two topics of one name the newer is right: the other's deletion was missed here. */
    struct topic *other = catalogue_find(catalogue, parts->name);
    if (other != NULL) {
        if (other->version > parts->version) {
            return;
        }
        drop(catalogue, other->id);
    }
    struct topic *topic = topic_create(parts);
    put_in(catalogue, topic);
    if (catalogue->log != NULL) {
        queues_put(catalogue, topic);
    }
}

int catalogue_compare_deleted(const struct catalogue_deleted *a, const struct catalogue_deleted *b)
{
    if (a->version != b->version) {
        return a->version < b->version ? -1 : 1;
    }
    return (a->id > b->id) - (a->id < b->id);
}

void catalogue_delete(struct catalogue *catalogue, const struct catalogue_deleted *deleted)
{
    catalogue_note(catalogue, deleted->id, deleted->version);
    drop(catalogue, deleted->id);
    catalogue_drop_group(catalogue, deleted->id);
    if (catalogue_find_deleted(catalogue, deleted->id) != NULL) {
        return;
    }
    if (catalogue->deleted_count == DELETED_MAX) {
        if (catalogue_compare_deleted(deleted, &catalogue->deleted[0]) < 0) {
            return;
        }
        catalogue->deleted_count--;
        memmove(&catalogue->deleted[0], &catalogue->deleted[1],
                catalogue->deleted_count * sizeof(catalogue->deleted[0]));
    }
    uint32_t place = catalogue->deleted_count;
    while (place > 0 && catalogue_compare_deleted(&catalogue->deleted[place - 1], deleted) > 0) {
        catalogue->deleted[place] = catalogue->deleted[place - 1];
        place--;
    }
    catalogue->deleted[place] = *deleted;
    catalogue->deleted_count++;
}

/* Names and values are kept as strings of C. */
static bool is_text(struct bytes text)
{
    return text.length <= CATALOGUE_SETTING_BYTES_MAX &&
           (text.length == 0 || memchr(text.data, '\0', text.length) == NULL);
}

bool catalogue_put_setting(struct catalogue *catalogue, struct bytes name, struct bytes value,
                           uint64_t version)
{
    if (name.length == 0 || !is_text(name) || !is_text(value)) {
        return false;
    }
    char text[CATALOGUE_SETTING_BYTES_MAX + 1];
    memcpy(text, name.data, name.length);
    text[name.length] = '\0';
    struct catalogue_setting *setting = NULL;
    for (uint32_t i = 0; i < catalogue->setting_count; i++) {
        if (strcmp(catalogue->settings[i]->name, text) == 0) {
            setting = catalogue->settings[i];
        }
    }
    if (setting == NULL) {
        if (catalogue->setting_count == CATALOGUE_SETTINGS_MAX) {
            return false;
        }
        setting = calloc(1, sizeof(*setting));
        ASSERT(setting != NULL);
        memcpy(setting->name, text, name.length + 1);
        catalogue->settings[catalogue->setting_count++] = setting;
    }
    catalogue_note(catalogue, 0, version);
    if (version >= setting->version) {
        setting->version = version;
        memcpy(setting->value, value.data, value.length);
        setting->value[value.length] = '\0';
    }
    return true;
}
