/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.c - one block a topic: the struct, its shards, its name, its placement.
 */
#include "broker/topic.h"

#include "broker/placement.h"
#include "proto/limits.h"

#include <stdlib.h>
#include <string.h>

#define PLACEMENT_ALIGN _Alignof(struct event_placement)

static size_t names_bytes(const struct topic_parts *parts)
{
    size_t bytes = parts->name.length;
    for (uint32_t i = 0; i < parts->part_count; i++) {
        bytes += parts->parts[i].broker.length;
    }
    return bytes;
}

/* Copies a name to the block, where the next one goes behind it. */
static struct bytes keep_name(uint8_t **names, struct bytes name)
{
    struct bytes kept = bytes_make(*names, name.length);
    memcpy(*names, name.data, name.length);
    *names += name.length;
    return kept;
}

struct topic *topic_create(const struct topic_parts *parts)
{
    ASSERT(parts->id > 0);
    ASSERT(parts->name.length > 0 && parts->name.length <= TOPIC_NAME_BYTES_MAX);
    ASSERT(parts->queue_count > 0 && parts->queue_count <= QUEUES_PER_TOPIC_MAX);

    size_t shards_bytes = parts->queue_count * sizeof(parts->shards[0]);
    size_t places_at = offsetof(struct topic, shards) + shards_bytes;
    places_at = (places_at + PLACEMENT_ALIGN - 1) / PLACEMENT_ALIGN * PLACEMENT_ALIGN;
    size_t places_bytes = parts->part_count * sizeof(parts->parts[0]);
    size_t bytes = places_at + places_bytes + names_bytes(parts);
    struct topic *topic = malloc(bytes < sizeof(*topic) ? sizeof(*topic) : bytes);
    ASSERT(topic != NULL);
    struct event_placement *places =
        (struct event_placement *)(void *)((uint8_t *)topic + places_at);
    uint8_t *names = (uint8_t *)topic + places_at + places_bytes;
    memcpy(topic->shards, parts->shards, shards_bytes);
    topic->name = keep_name(&names, parts->name);
    topic->part_count = parts->part_count;
    topic->parts = places;
    for (uint32_t i = 0; i < parts->part_count; i++) {
        places[i] = parts->parts[i];
        places[i].broker = keep_name(&names, parts->parts[i].broker);
    }

    atomic_init(&topic->references, 1);
    topic->id = parts->id;
    topic->version = parts->version;
    topic->settings = parts->settings;
    topic->route = parts->settings.has_route ? parts->settings.route : TOPIC_ROUTE_ANY;
    topic->durability =
        parts->settings.has_durability ? parts->settings.durability : parts->durability;
    topic->queue_count = parts->queue_count;
    return topic;
}

struct topic *topic_ref(struct topic *topic)
{
    uint32_t before = atomic_fetch_add_explicit(&topic->references, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return topic;
}

void topic_unref(struct topic *topic)
{
    if (topic == NULL) {
        return;
    }
    /* Release: what was read of it here is read before; acquire: the last one sees all of that. */
    uint32_t before = atomic_fetch_sub_explicit(&topic->references, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1) {
        free(topic);
    }
}

uint64_t topic_shards(const struct topic *topic)
{
    uint64_t shards = 1;
    for (uint32_t queue = 0; queue < topic->queue_count; queue++) {
        if (topic_has(topic, queue)) {
            shards |= UINT64_C(1) << topic->shards[queue];
        }
    }
    return shards;
}

uint32_t topic_queues_here(const struct topic *topic)
{
    uint32_t count = 0;
    for (uint32_t queue = 0; queue < topic->queue_count; queue++) {
        count += topic_has(topic, queue);
    }
    return count;
}

void topic_write_settings(const struct topic *topic, struct writer *writer)
{
    const struct topic_settings settings = {
        .has_route = true,
        .has_durability = true,
        .route = topic->route,
        .durability = topic->durability,
    };
    writer_put_string(writer, "settings");
    topic_settings_write(&settings, writer);
}

void topic_write_placement(const struct topic *topic, const char *broker, struct writer *writer)
{
    const struct event_placement all = {
        .broker = bytes_from_string(broker), .first = 0, .count = topic->queue_count};
    if (topic->part_count == 0) {
        placement_write(&all, 1, writer);
    } else {
        placement_write(topic->parts, topic->part_count, writer);
    }
}

size_t topic_placement_bytes(const struct topic *topic)
{
    /* Three headers and two numbers of at most three bytes beside a name, and the array's. */
    enum { PART_BYTES = BROKER_NAME_BYTES_MAX + 9, ARRAY_BYTES = 3 };
    return ARRAY_BYTES + (size_t)PART_BYTES * (topic->part_count == 0 ? 1 : topic->part_count);
}

enum error topic_refuse_queue(const struct topic *topic, uint64_t queue, struct refusal *refusal)
{
    if (queue >= topic->queue_count) {
        return arguments_refuse(refusal, ARGUMENT_QUEUE, "below the topic's number of queues");
    }
    const struct event_placement *part =
        placement_part_of(topic->parts, topic->part_count, (uint32_t)queue);
    refusal_set(refusal, ERROR_WRONG_BROKER, "queue %u is on broker %.*s", (uint32_t)queue,
                (int)part->broker.length, (const char *)part->broker.data);
    refusal_add(refusal, REFUSAL_QUEUE, queue);
    refusal_add_broker(refusal, part->broker);
    return ERROR_WRONG_BROKER;
}
