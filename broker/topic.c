/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.c - one block a topic: the struct, its shards, its name.
 */
#include "broker/topic.h"

#include "proto/limits.h"

#include <stdlib.h>
#include <string.h>

struct topic *topic_create(const struct topic_parts *parts)
{
    ASSERT(parts->id > 0);
    ASSERT(parts->name.length > 0 && parts->name.length <= TOPIC_NAME_BYTES_MAX);
    ASSERT(parts->queue_count > 0 && parts->queue_count <= QUEUES_PER_TOPIC_MAX);

    size_t shards_bytes = parts->queue_count * sizeof(parts->shards[0]);
    struct topic *topic = malloc(sizeof(*topic) + shards_bytes + parts->name.length);
    ASSERT(topic != NULL);
    char *name = (char *)topic->shards + shards_bytes;
    memcpy(topic->shards, parts->shards, shards_bytes);
    memcpy(name, parts->name.data, parts->name.length);

    atomic_init(&topic->references, 1);
    topic->id = parts->id;
    topic->version = parts->version;
    topic->name = bytes_make(name, parts->name.length);
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
        shards |= UINT64_C(1) << topic->shards[queue];
    }
    return shards;
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
