/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.h - one version of a topic, as every core sees it.
 *
 * A topic is immutable: a change makes a new struct, and whoever began with the old one goes on
 * with it. It is counted, because cores and calls hold it independently; a call that waits (an
 * append in flight, a parked poll) holds a reference if it looks at the topic afterwards.
 *
 * Memory:  one block, names, shards and placement included. Whoever gives the last reference back frees it.
 * Threads: any; nothing but the count changes.
 */
#ifndef BROKER_TOPIC_H
#define BROKER_TOPIC_H

#include "proto/arguments.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/error.h"
#include "proto/events.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the place of the shard: another broker has the queue. */
#define TOPIC_ELSEWHERE UINT16_MAX

struct topic {
    _Atomic uint32_t references;
    uint32_t id;                    /* never reused, from 1 */
    uint64_t version;               /* of the catalogue when this version of it was made */
    struct bytes name;              /* in this block */
    struct topic_settings settings; /* as stored: what was never given is absent */
    enum topic_route route;         /* the same with defaults filled in */
    enum durability durability;
    uint32_t queue_count;                /* 1 to QUEUES_PER_TOPIC_MAX, those of other brokers too */
    uint32_t part_count;                 /* of its placement; 0: all its queues are here */
    const struct event_placement *parts; /* in this block */
    uint16_t shards[]; /* of each queue: the shard that has it, or TOPIC_ELSEWHERE */
};

/* What a topic is made of; all is copied. */
struct topic_parts {
    uint32_t id;
    uint64_t version;
    struct bytes name; /* 1 to TOPIC_NAME_BYTES_MAX bytes */
    struct topic_settings settings;
    enum durability durability; /* where the settings have none */
    uint32_t queue_count;
    const uint16_t *shards; /* queue_count of them */
    const struct event_placement *parts;
    uint32_t part_count;
};

/* A topic with one reference. Aborts when there is no memory: topics are few and bounded. */
struct topic *topic_create(const struct topic_parts *parts);

struct topic *topic_ref(struct topic *topic); /* gives its argument back */
void topic_unref(struct topic *topic);        /* NULL is allowed */

/* The shards that must record a change of it, bit 1 << shard: those of its queues, and shard 0, which
 * knows all topics. */
uint64_t topic_shards(const struct topic *topic);

/* Writes the key "settings" and the settings in force, as answers show them. */
void topic_write_settings(const struct topic *topic, struct writer *writer);

/* Writes `[[broker, first, count]..]`; of a topic without placement that is all of it at `broker`. */
void topic_write_placement(const struct topic *topic, const char *broker, struct writer *writer);

/* At most what that writes. */
size_t topic_placement_bytes(const struct topic *topic);

/* Says why the topic has no `queue` here: topic_check_queue(). */
enum error topic_refuse_queue(const struct topic *topic, uint64_t queue, struct refusal *refusal);

/* Whether `queue`, which is below queue_count, is here. */
static inline bool topic_has(const struct topic *topic, uint32_t queue)
{
    ASSERT(queue < topic->queue_count);
    return topic->shards[queue] != TOPIC_ELSEWHERE;
}

/* How many of its queues are here. */
uint32_t topic_queues_here(const struct topic *topic);

/*
 * Whether `queue`, any number that was asked for, is one of the topic's that are here.
 *
 *   ERROR_BAD_ARGUMENT  {key: queue, limit}  the topic has fewer
 *   ERROR_WRONG_BROKER  {broker, queue}      it is elsewhere
 */
NODISCARD static inline enum error topic_check_queue(const struct topic *topic, uint64_t queue,
                                                     struct refusal *refusal)
{
    bool is_here = queue < topic->queue_count && topic_has(topic, (uint32_t)queue);
    return is_here ? OK : topic_refuse_queue(topic, queue, refusal);
}

/* Whether `queue` is here and lies in `shard`. */
static inline bool topic_is_in(const struct topic *topic, uint32_t queue, uint32_t shard)
{
    return topic_has(topic, queue) && topic->shards[queue] == shard;
}

/* The shard that has `queue`, which is here. */
static inline uint32_t topic_shard(const struct topic *topic, uint32_t queue)
{
    ASSERT(topic_has(topic, queue));
    return topic->shards[queue];
}

#endif
