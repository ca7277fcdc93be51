/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue.h - the view of what exists: topics, groups, those that were deleted, settings.
 *
 *     absent --put--> LIVE --delete--> DELETED (the id is remembered a while, used never again)
 *                      |  ^
 *                      `--' put of a higher version
 *
 *     operations  topic.put, topic.delete, group.put, group.delete, setting: each gives its entity's
 *                 whole value and the version of the catalogue that it makes. Versions of one broker
 *                 never repeat, so the highest one of an entity wins wherever two logs differ;
 *                 applying a version again, or an older one late, changes nothing. Topics and groups
 *                 have names of their own, and ids of one sequence.
 *     bound       TOPICS_MAX topics, GROUPS_MAX groups, DELETED_MAX deleted ones (the newest), a few
 *                 settings
 *     snapshot    rows topic, group, deleted, setting; the next id is the setting `next_topic_id`
 *
 * Every shard has one. That of shard 0 knows all topics and is what core 0 decides on; the others
 * know the topics of which they own a queue. All know all groups. Where the shard's log is attached,
 * the view makes and removes its queues.
 *
 * Memory:  a topic is about 300 bytes and 2 a queue, 24 and a name for each part of its placement; a
 *          group about 450, its name and topics, and at most eight times its filters. Owner: the shard.
 * Threads: the shard's core.
 */
#ifndef BROKER_CATALOGUE_H
#define BROKER_CATALOGUE_H

#include "broker/group.h"
#include "broker/limits.h"
#include "broker/topic.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/base/map.h"
#include "proto/events.h"
#include "proto/writer.h"
#include "storage/view.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

struct commit_log;

/* The setting that names the broker to which the store belongs. */
#define CATALOGUE_SETTING_NAME "name"

/* The setting that says how many shards the store has ever had, in the catalogue of shard 0. */
#define CATALOGUE_SETTING_SHARDS "shards"

/* Longest name and value of a setting. */
#define CATALOGUE_SETTING_BYTES_MAX EVENT_SETTING_TEXT_BYTES_MAX

/* What the shards of this broker are, for who decides on changes. */
struct catalogue_rules {
    uint32_t shard_count;
    uint64_t read_only;  /* bit 1 << shard: it takes no writes */
    struct bytes broker; /* whose they are: its name in placements */
};

struct catalogue_deleted {
    uint32_t id;
    uint64_t version;
};

struct catalogue_setting {
    uint64_t version;
    char name[CATALOGUE_SETTING_BYTES_MAX + 1];
    char value[CATALOGUE_SETTING_BYTES_MAX + 1];
};

struct catalogue {
    struct view view;
    uint32_t shard;
    enum durability durability; /* of topics that name none */
    struct commit_log *log;     /* NULL while it is replayed */
    struct topic **topics;      /* by id */
    uint32_t topic_count;
    uint32_t topic_capacity;
    struct map by_name;
    struct group **groups; /* by id */
    uint32_t group_count;
    uint32_t group_capacity;
    uint64_t group_bytes; /* of their topics as stored, all together */
    struct map groups_by_name;
    struct catalogue_deleted deleted[DELETED_MAX]; /* by version */
    uint32_t deleted_count;
    struct catalogue_setting *settings[CATALOGUE_SETTINGS_MAX];
    uint32_t setting_count;
    uint64_t version;                 /* the highest seen */
    uint32_t next_id;                 /* above every id ever seen */
    uint32_t queue_count[SHARDS_MAX]; /* queues of the topics here, by the shard that has them */
    uint32_t part_count;              /* of the placements of all topics */
    struct topic **removed;           /* in replay: topics whose queues the log may still have */
    uint32_t removed_count;
    uint32_t removed_capacity;
};

/* An empty catalogue of `shard`. Ends the process for want of memory. */
struct catalogue *catalogue_create(uint32_t shard, enum durability durability);
void catalogue_destroy(struct catalogue *catalogue);

/* The log was replayed: makes the queues of its topics in it, and removes those of topics that
 * were deleted. From here every change does so at once. */
void catalogue_attach(struct catalogue *catalogue, struct commit_log *log);

/* The topic, borrowed until the next operation, or NULL. */
struct topic *catalogue_find(const struct catalogue *catalogue, struct bytes name);
struct topic *catalogue_find_id(const struct catalogue *catalogue, uint32_t id);

/* The group, likewise. */
struct group *catalogue_find_group(const struct catalogue *catalogue, struct bytes name);
struct group *catalogue_find_group_id(const struct catalogue *catalogue, uint32_t id);

/* The deletion that is remembered of `id`, or NULL. */
const struct catalogue_deleted *catalogue_find_deleted(const struct catalogue *catalogue,
                                                       uint32_t id);

/* The setting, or NULL. */
const struct catalogue_setting *catalogue_find_setting(const struct catalogue *catalogue,
                                                       const char *name);

/* Most bytes of one operation written below: a row of it fits the smallest chunk of a snapshot, 16 KiB. */
#define CATALOGUE_OPERATION_BYTES_MAX (15U << 10)

static_assert(EVENT_TOPIC_BYTES(PLACEMENT_PARTS_MAX, QUEUES_PER_TOPIC_MAX) <=
                  CATALOGUE_OPERATION_BYTES_MAX,
              "the largest topic fits an operation");

/* Write operations, `[number, fields..]`. A topic without placement has all its queues here; of one
 * with placement `[[queue, shard]..]` names the queues that are here. */
void catalogue_write_put(struct writer *writer, const struct topic *topic);
void catalogue_write_delete(struct writer *writer, uint32_t id, uint64_t version);
void catalogue_write_put_group(struct writer *writer, const struct group *group);
void catalogue_write_delete_group(struct writer *writer, uint32_t id, uint64_t version);
void catalogue_write_setting(struct writer *writer, const char *name, const char *value,
                             uint64_t version);

static_assert(EVENT_GROUP_BYTES_MAX <= CATALOGUE_OPERATION_BYTES_MAX, "the largest group fits");

#endif
