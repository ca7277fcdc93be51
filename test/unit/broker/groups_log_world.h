/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups_log_world.h - a log with the views of a shard, the catalogue and the groups, as a broker has them: two topics
 * and three groups, one of each order. What is told to a group is in the log, from which it can be recovered.
 */
#ifndef TEST_UNIT_BROKER_GROUPS_LOG_WORLD_H
#define TEST_UNIT_BROKER_GROUPS_LOG_WORLD_H

#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/groups.h"
#include "broker/shard.h"
#include "proto/events.h"
#include "test/lib/group_of_topic.h"
#include "test/lib/log_world.h"

#include <check.h>

#include <string.h>

enum {
    QUEUES = 4,
    TOPIC = 1,
    OTHER_TOPIC = 2, /* for tests to delete */
    FIRST_GROUP = 10,
    GROUPS = 3,
    LATER_MS = 1000,
    APPENDS_MAX = 3000
};

/* A log with its views, as a broker has them. */
struct groups_world {
    struct log_world log;
    struct cores cores;
    struct core core;
    struct shard shard;
    struct view *views[2];
};

static struct groups_world world;
static struct produce *produces[APPENDS_MAX];
static uint32_t produce_count;
static uint64_t serial;

static inline void open_world(struct groups_world *one, uint64_t seed, struct disk_image *image)
{
    memset(one, 0, sizeof(*one));
    world_init(&one->log, seed, image);
    one->core.reactor = one->log.reactor;
    one->core.cores = &one->cores;
    one->core.hooked = true; /* nobody is told what is ready */
    list_init(&one->core.woken_groups);
    one->shard.core = &one->core;
    one->shard.catalogue = catalogue_create(0, DURABILITY_MEMORY);
    one->shard.groups = groups_create(&one->shard);
    one->views[0] = &one->shard.catalogue->view;
    one->views[1] = &one->shard.groups->view;
    one->log.options.views = one->views;
    one->log.options.view_count = 2;
    ck_assert_msg(world_open(&one->log), "%s", one->log.error);
    one->shard.log = one->log.log;
    catalogue_attach(one->shard.catalogue, one->log.log);
}

static inline void close_world(struct groups_world *one)
{
    groups_stop(one->shard.groups);
    world_close(&one->log);
    groups_destroy(one->shard.groups);
    catalogue_destroy(one->shard.catalogue);
    world_deinit(&one->log);
}

/* ------------------------------------------------------------------- setting up */

static inline void operate(const struct writer *writer)
{
    struct log_operation operation = {.done = NULL};
    ck_assert(!writer->overflowed);
    ck_assert_int_eq(commit_log_operate(world.log.log, writer_bytes(writer), &operation), OK);
}

static inline void put_topic(uint32_t id, const char *name)
{
    static const uint16_t shards[QUEUES];
    uint8_t bytes[1024];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    const struct topic_parts parts = {
        .id = id,
        .version = id,
        .name = bytes_from_string(name),
        .settings = {.has_route = true, .route = TOPIC_ROUTE_KEY},
        .queue_count = QUEUES,
        .shards = shards,
    };
    struct topic *topic = topic_create(&parts);
    catalogue_write_put(&writer, topic);
    topic_unref(topic);
    operate(&writer);
}

static inline void put_group(uint32_t id, const char *name, enum group_order order)
{
    uint8_t bytes[1024];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    struct group_settings settings;
    group_settings_init(&settings);
    settings.given = 1U << GROUP_SETTING_ORDER;
    settings.order = order;
    const struct group_parts parts = {
        .id = id, .version = id, .name = bytes_from_string(name), .settings = &settings};
    struct group *group = group_of_topic(&parts, "t", NULL);
    catalogue_write_put_group(&writer, group);
    group_unref(group);
    operate(&writer);
}

static inline void begin_log(uint64_t seed)
{
    open_world(&world, seed, NULL);
    ck_assert(world_begin_epoch(&world.log));
    put_topic(TOPIC, "t");
    put_topic(OTHER_TOPIC, "u");
    put_group(FIRST_GROUP, "none", GROUP_ORDER_NONE);
    put_group(FIRST_GROUP + 1, "queue", GROUP_ORDER_QUEUE);
    put_group(FIRST_GROUP + 2, "key", GROUP_ORDER_KEY);
    groups_attach(world.shard.groups);
    produce_count = 0;
    serial = 0;
}

static inline void end_log(void)
{
    close_world(&world);
    while (produce_count > 0) {
        produce_free(produces[--produce_count]);
    }
}

static inline void delete_of(uint32_t operation, uint32_t id)
{
    uint8_t bytes[EVENT_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    const struct event_deleted deleted = {id, 100};
    event_put_deleted(&writer, operation, &deleted);
    operate(&writer);
}

static inline uint64_t below(uint64_t bound)
{
    return random_below(&world.log.random, bound);
}

/* A key that follows from the offset, as it would from the message. */
static inline uint32_t key_of(const struct group_queue *queue, uint64_t offset)
{
    return queue->order == GROUP_ORDER_KEY ? (uint32_t)(offset % 13) : 0;
}

static inline struct group_queue *begin_queue(uint32_t group)
{
    const struct group_place place = {.group = group, .topic = TOPIC, .queue = 0};
    begin_log(1);
    ck_assert_int_eq(groups_seek(world.shard.groups, &place, 0), OK);
    return groups_find(world.shard.groups, &place);
}

/* The log as it is now has the queue as it is. */
static inline void check_replayed(const struct group_queue *queue)
{
    uint64_t hash = group_queue_hash(queue);
    struct disk_cut cut = {disk_image_events(world.log.image), DISK_KEEP_ALL, 0};
    struct disk_image *image = disk_image_cut(world.log.image, &cut, false);
    struct groups_world other;
    open_world(&other, 99, image);
    ck_assert_uint_eq(group_queue_hash(groups_find(other.shard.groups, &queue->place)), hash);
    close_world(&other);
    disk_image_destroy(image);
}

#endif
