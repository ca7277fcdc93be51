/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue_rows.c - operations and snapshot rows of the catalogue, written and read.
 *
 * All operations are absolute, so a snapshot's rows and the operations that came while it was
 * written may be applied in any order: the highest version of each entity stays.
 */
#include "broker/catalogue_rows.h"

#include "broker/placement.h"
#include "proto/events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The next id, of topics and groups, as a row: ids of deleted ones that are no longer remembered must
 * not come again. */
#define SETTING_NEXT_ID "next_topic_id"

/* ----------------------------------------------------------------- write */

static void write_topic(struct writer *writer, enum event_number number, const struct topic *topic)
{
    struct event_queue_shard queues[QUEUES_PER_TOPIC_MAX];
    uint32_t here = 0;
    for (uint32_t queue = 0; queue < topic->queue_count; queue++) {
        if (topic_has(topic, queue)) {
            queues[here++] = (struct event_queue_shard){(uint16_t)queue, topic->shards[queue]};
        }
    }
    struct event_topic event = {
        .id = topic->id,
        .version = topic->version,
        .name = topic->name,
        .settings = topic->settings,
        .placement_count = topic->part_count,
        .queue_count = here,
    };
    event_put_topic(writer, number, &event, topic->parts, queues);
}

void catalogue_write_put(struct writer *writer, const struct topic *topic)
{
    write_topic(writer, EVENT_TOPIC_PUT, topic);
}

void catalogue_write_delete(struct writer *writer, uint32_t id, uint64_t version)
{
    event_put_deleted(writer, EVENT_TOPIC_DELETE, &(struct event_deleted){id, version});
}

static void write_group(struct writer *writer, enum event_number number, const struct group *group)
{
    struct event_group event = {
        .id = group->id,
        .version = group->version,
        .name = group->name,
        .settings = group->settings,
    };
    event_put_group(writer, number, &event);
}

void catalogue_write_put_group(struct writer *writer, const struct group *group)
{
    write_group(writer, EVENT_GROUP_PUT, group);
}

void catalogue_write_delete_group(struct writer *writer, uint32_t id, uint64_t version)
{
    event_put_deleted(writer, EVENT_GROUP_DELETE, &(struct event_deleted){id, version});
}

void catalogue_write_setting(struct writer *writer, const char *name, const char *value,
                             uint64_t version)
{
    struct event_setting setting = {bytes_from_string(name), bytes_from_string(value), version};
    event_put_setting(writer, EVENT_SETTING, &setting);
}

/* ------------------------------------------------------------------ read */

/* Ids and versions begin at 1, and there is always a next id. */
static bool is_ours(uint32_t id, uint64_t version)
{
    return id > 0 && id < UINT32_MAX && version > 0;
}

/* Reads the placement; of a topic without one it is empty, and all queues are here. */
static bool read_placement(struct event_topic *event, struct placement *placement_out)
{
    struct refusal refusal;
    if (event->placement_count == 0) {
        placement_out->part_count = 0;
        placement_out->queue_count = event->queue_count;
        return true;
    }
    return event->placement_count <= PLACEMENT_PARTS_MAX &&
           placement_read(event->placement, event->placement_count, placement_out, &refusal) == OK;
}

/* Reads which queue is in which shard, in the order of the queues; all others are elsewhere. */
static bool read_shards(struct event_topic *event, uint32_t queue_count, uint16_t *shards)
{
    for (uint32_t queue = 0; queue < queue_count; queue++) {
        shards[queue] = TOPIC_ELSEWHERE;
    }
    uint32_t next = 0;
    for (uint32_t i = 0; i < event->queue_count; i++) {
        struct event_queue_shard part;
        if (!event_take_queue_shard(&event->queues, &part) || part.queue < next ||
            part.queue >= queue_count || part.shard >= SHARDS_MAX) {
            return false;
        }
        shards[part.queue] = part.shard;
        next = part.queue + 1U;
    }
    return true;
}

static bool read_topic(struct catalogue *catalogue, struct cursor fields)
{
    struct event_topic event;
    if (!event_read_topic(fields, &event)) {
        return false;
    }
    struct placement placement;
    uint16_t shards[QUEUES_PER_TOPIC_MAX];
    if (!is_ours(event.id, event.version) || event.name.length == 0 ||
        event.name.length > TOPIC_NAME_BYTES_MAX || event.queue_count == 0 ||
        event.queue_count > QUEUES_PER_TOPIC_MAX || !read_placement(&event, &placement) ||
        !read_shards(&event, placement.queue_count, shards)) {
        return false;
    }
    struct topic_parts parts = {
        .id = event.id,
        .version = event.version,
        .name = event.name,
        .settings = event.settings,
        .durability = catalogue->durability,
        .queue_count = placement.queue_count,
        .shards = shards,
        .parts = placement.parts,
        .part_count = placement.part_count,
    };
    catalogue_put_topic(catalogue, &parts);
    return true;
}

/* A filter that cannot be compiled is of a newer version: it was compiled before it was stored. */
static bool read_group(struct catalogue *catalogue, struct cursor fields)
{
    struct event_group event;
    struct refusal refusal;
    struct group *group;
    if (!event_read_group(fields, &event) || !is_ours(event.id, event.version)) {
        return false;
    }
    const struct group_parts parts = {
        .id = event.id,
        .version = event.version,
        .name = event.name,
        .settings = &event.settings,
    };
    if (group_create(&parts, &group, &refusal) != OK) {
        return false;
    }
    catalogue_put_group(catalogue, group);
    group_unref(group);
    return true;
}

static bool read_deleted(struct catalogue *catalogue, struct cursor fields)
{
    struct event_deleted event;
    if (!event_read_deleted(fields, &event) || !is_ours(event.id, event.version)) {
        return false;
    }
    catalogue_delete(catalogue, &(struct catalogue_deleted){event.id, event.version});
    return true;
}

static bool read_next_id(struct catalogue *catalogue, struct bytes value)
{
    uint64_t id = 0;
    for (size_t i = 0; i < value.length; i++) {
        if (value.data[i] < '0' || value.data[i] > '9' || id > UINT32_MAX) {
            return false;
        }
        id = id * 10 + (uint64_t)(value.data[i] - '0');
    }
    if (value.length == 0 || id > UINT32_MAX) {
        return false;
    }
    if (id > catalogue->next_id) {
        catalogue->next_id = (uint32_t)id;
    }
    return true;
}

static bool read_setting(struct catalogue *catalogue, struct cursor fields)
{
    struct event_setting event;
    if (!event_read_setting(fields, &event)) {
        return false;
    }
    if (bytes_equal(event.name, BYTES_OF(SETTING_NEXT_ID))) {
        return read_next_id(catalogue, event.value);
    }
    return catalogue_put_setting(catalogue, event.name, event.value, event.version);
}

/* ------------------------------------------------------------------ view */

static struct catalogue *of_view(const struct view *view)
{
    return CONTAINER_OF(view, struct catalogue, view);
}

static void reset(struct view *view)
{
    struct catalogue *catalogue = of_view(view);
    ASSERT(catalogue->log == NULL);
    catalogue_clear(catalogue);
}

/* What does not parse is of a format that is not understood: nobody knows its number then. */
static bool apply_operation(struct view *view, uint32_t number, struct cursor *fields,
                            uint64_t position, bool loading)
{
    (void)position;
    (void)loading;
    switch (number) {
    case EVENT_TOPIC_PUT:
        return read_topic(of_view(view), *fields);
    case EVENT_GROUP_PUT:
        return read_group(of_view(view), *fields);
    case EVENT_TOPIC_DELETE:
    case EVENT_GROUP_DELETE:
        return read_deleted(of_view(view), *fields);
    case EVENT_SETTING:
        return read_setting(of_view(view), *fields);
    default:
        return false;
    }
}

static bool load(struct view *view, uint32_t number, struct cursor *fields)
{
    switch (number) {
    case ROW_TOPIC:
        return read_topic(of_view(view), *fields);
    case ROW_GROUP:
        return read_group(of_view(view), *fields);
    case ROW_DELETED:
        return read_deleted(of_view(view), *fields);
    case ROW_SETTING:
        return read_setting(of_view(view), *fields);
    default:
        return false;
    }
}

/* Rows of topics above the id place->words[1], as many as fit; true when there are no more. */
static bool save_topics(const struct catalogue *catalogue, struct view_place *place,
                        struct writer *writer, uint32_t *rows)
{
    for (uint32_t i = 0; i < catalogue->topic_count; i++) {
        const struct topic *topic = catalogue->topics[i];
        if (topic->id <= place->words[1]) {
            continue;
        }
        if (writer_left(writer) < EVENT_TOPIC_BYTES(topic->part_count, topic->queue_count)) {
            return false;
        }
        write_topic(writer, ROW_TOPIC, topic);
        place->words[1] = topic->id;
        (*rows)++;
    }
    return true;
}

/* Rows of groups above the id place->words[1], likewise. */
static bool save_groups(const struct catalogue *catalogue, struct view_place *place,
                        struct writer *writer, uint32_t *rows)
{
    for (uint32_t i = 0; i < catalogue->group_count; i++) {
        const struct group *group = catalogue->groups[i];
        if (group->id <= place->words[1]) {
            continue;
        }
        if (writer_left(writer) < EVENT_GROUP_BYTES_MAX) {
            return false;
        }
        write_group(writer, ROW_GROUP, group);
        place->words[1] = group->id;
        (*rows)++;
    }
    return true;
}

/* Rows of deletions behind the one of version place->words[1] and id place->words[2]. */
static bool save_deleted(const struct catalogue *catalogue, struct view_place *place,
                         struct writer *writer, uint32_t *rows)
{
    for (uint32_t i = 0; i < catalogue->deleted_count; i++) {
        const struct catalogue_deleted *deleted = &catalogue->deleted[i];
        const struct catalogue_deleted saved = {(uint32_t)place->words[2], place->words[1]};
        if (catalogue_compare_deleted(deleted, &saved) <= 0) {
            continue;
        }
        if (writer_left(writer) < EVENT_BYTES_MAX) {
            return false;
        }
        event_put_deleted(writer, ROW_DELETED,
                          &(struct event_deleted){deleted->id, deleted->version});
        place->words[1] = deleted->version;
        place->words[2] = deleted->id;
        (*rows)++;
    }
    return true;
}

/* The next id, then the settings from the number place->words[1] on. */
static bool save_settings(const struct catalogue *catalogue, struct view_place *place,
                          struct writer *writer, uint32_t *rows)
{
    enum { ROW_BYTES = 2 * CATALOGUE_SETTING_BYTES_MAX + EVENT_BYTES_MAX };
    for (; place->words[1] <= catalogue->setting_count; place->words[1]++) {
        if (writer_left(writer) < ROW_BYTES) {
            return false;
        }
        struct event_setting row;
        char next_id[16];
        if (place->words[1] == 0) {
            (void)snprintf(next_id, sizeof(next_id), "%" PRIu32, catalogue->next_id);
            row = (struct event_setting){BYTES_OF(SETTING_NEXT_ID), bytes_from_string(next_id), 0};
        } else {
            const struct catalogue_setting *setting = catalogue->settings[place->words[1] - 1];
            row = (struct event_setting){bytes_from_string(setting->name),
                                         bytes_from_string(setting->value), setting->version};
        }
        event_put_setting(writer, ROW_SETTING, &row);
        (*rows)++;
    }
    return true;
}

static bool save(struct view *view, struct view_place *place, struct writer *writer, uint32_t *rows)
{
    typedef bool save_fn(const struct catalogue *, struct view_place *, struct writer *,
                         uint32_t *);
    static save_fn *const steps[] = {save_topics, save_groups, save_deleted, save_settings};
    for (; place->words[0] < sizeof(steps) / sizeof(steps[0]);
         place->words[0]++, place->words[1] = 0) {
        if (!steps[place->words[0]](of_view(view), place, writer, rows)) {
            return false;
        }
    }
    return true;
}

/* Sums the hashes of all entities, so that their order in memory does not count. */
static uint64_t hash(const struct view *view)
{
    static const struct map_seed seed = {.low = 3, .high = 4};
    const struct catalogue *catalogue = of_view(view);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    uint64_t sum = catalogue->next_id;
    for (uint32_t i = 0; i < catalogue->topic_count; i++) {
        struct writer writer = writer_over(bytes, sizeof(bytes));
        write_topic(&writer, ROW_TOPIC, catalogue->topics[i]);
        ASSERT(!writer.overflowed);
        sum += map_hash(seed, writer_bytes(&writer));
    }
    for (uint32_t i = 0; i < catalogue->group_count; i++) {
        struct writer writer = writer_over(bytes, sizeof(bytes));
        write_group(&writer, ROW_GROUP, catalogue->groups[i]);
        ASSERT(!writer.overflowed);
        sum += map_hash(seed, writer_bytes(&writer));
    }
    for (uint32_t i = 0; i < catalogue->deleted_count; i++) {
        struct writer writer = writer_over(bytes, sizeof(bytes));
        catalogue_write_delete(&writer, catalogue->deleted[i].id, catalogue->deleted[i].version);
        sum += map_hash(seed, writer_bytes(&writer));
    }
    for (uint32_t i = 0; i < catalogue->setting_count; i++) {
        const struct catalogue_setting *setting = catalogue->settings[i];
        struct writer writer = writer_over(bytes, sizeof(bytes));
        catalogue_write_setting(&writer, setting->name, setting->value, setting->version);
        sum += map_hash(seed, writer_bytes(&writer));
    }
    return sum;
}

const struct view_operations catalogue_view_operations = {
    .reset = reset,
    .apply_message = NULL,
    .apply_operation = apply_operation,
    .save = save,
    .load = load,
    .hash = hash,
};
