/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard_world.h - one shard with small segments in a simulated world, with topics and groups that are put
 * directly, for tests of what becomes of groups: who was given what is said, nobody is asked.
 */
#ifndef TEST_UNIT_BROKER_SHARD_WORLD_H
#define TEST_UNIT_BROKER_SHARD_WORLD_H

#include "broker/catalogue.h"
#include "broker/catalogue_change.h"
#include "broker/core.h"
#include "broker/dead_letter.h"
#include "broker/directory.h"
#include "broker/group_retention.h"
#include "broker/groups.h"
#include "broker/recovery.h"
#include "broker/shard.h"
#include "net/simulation.h"
#include "proto/base/crc32c.h"
#include "proto/base/log.h"
#include "proto/message.h"
#include "storage/disk_simulated.h"
#include "storage/segment.h"
#include "test/lib/group_of_topic.h"

#include <check.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_BYTES = 512, SEGMENT_BYTES = 64 << 10, KEEP_BYTES = 160 << 10, WAIT_MS = 600000 };

/* The topic that groups read, the one that fills the log, and the ids of groups. */
enum { TOPIC = 1, FILLER = 2, GROUP = 10, OTHER = 11 };

static bool fails[DISK_CALL_SYNC_DIRECTORY + 1];

static inline int fault(void *context, enum disk_call call)
{
    (void)context;
    return fails[call] ? -ENOSPC : 0;
}

struct world {
    struct simulation *simulation;
    struct disk_image *image;
    struct disk *disk;
    struct reactor *reactor;
    struct cores *cores;
    struct directory *directory; /* stays where it is: a world is copied */
    struct shard *shard;
    uint64_t version;
};

static inline void found_topic(void *context, struct topic *topic)
{
    directory_put(((struct world *)context)->directory, topic);
}

static inline void found_group(void *context, struct group *group)
{
    directory_put_group(((struct world *)context)->directory, group);
}

static inline void log_failed(void *owner, const char *what)
{
    (void)owner;
    ck_abort_msg("%s", what);
}

static inline void start(struct world *world, uint64_t read_only)
{
    world->reactor = reactor_create_simulated(world->simulation, "broker/0");
    world->cores = cores_create(&world->reactor, 1, 1);
    world->directory = calloc(1, sizeof(*world->directory));
    ck_assert_ptr_nonnull(world->directory);
    directory_init(world->directory, (struct map_seed){1, 2});
    world->cores->core[0]->directory = world->directory;
    world->shard = world->cores->shard[0];
    const struct broker_options broker = {
        .name = "broker-a",
        .disk = world->disk,
        .reactors = &world->reactor,
        .core_count = 1,
        .shard_count = 1,
        .retain_bytes = KEEP_BYTES,
        .segment_bytes = SEGMENT_BYTES,
    };
    const struct recovery_options options = {
        .broker = &broker,
        .cores = world->cores,
        .log_failed = log_failed,
        .topic = found_topic,
        .group = found_group,
        .context = world,
    };
    struct recovery_result result;
    char error[512];
    ck_assert_msg(recovery_run(&options, &result, error, sizeof(error)), "%s", error);
    world->cores->epoch = result.epoch;
    groups_attach(world->shard->groups);
    const struct catalogue_rules rules = {.shard_count = 1, .read_only = read_only};
    world->cores->changes = catalogue_changes_create(world->cores->core[0], NULL, &rules);
}

static inline void nothing_left(void *owner)
{
    *(bool *)owner = true;
}

static inline bool is_set(void *context)
{
    return *(const bool *)context;
}

static inline void stop(struct world *world)
{
    bool stopped = false;
    catalogue_changes_stop(world->cores->changes, nothing_left, &stopped);
    ck_assert(simulation_run(world->simulation, WAIT_MS, is_set, &stopped));
    catalogue_changes_destroy(world->cores->changes);
    bool closed = false;
    groups_stop(world->shard->groups);
    dead_letters_stop(world->shard->groups);
    group_retention_stop(world->shard->retention);
    commit_log_close(world->shard->log, nothing_left, &closed);
    ck_assert(simulation_run(world->simulation, WAIT_MS, is_set, &closed));
    world->shard->log = NULL;
    recovery_close(world->cores);
    cores_destroy(world->cores);
    directory_deinit(world->directory);
    free(world->directory);
    reactor_destroy(world->reactor);
}

static inline struct world begin(void)
{
    struct world world = {.version = 0};
    memset(fails, 0, sizeof(fails));
    log_set_level(LOG_LEVEL_ERROR);
    const struct simulation_options options = {
        .seed = 3, .wall_ms = UINT64_C(1700000000000), .window_bytes = 4096};
    world.simulation = simulation_create(&options);
    world.image = disk_image_create(false);
    const struct disk_simulated_options disk_options = {.simulation = world.simulation,
                                                        .job_ns_least = 100000,
                                                        .job_ns_most = 2000000,
                                                        .fault = fault};
    world.disk = disk_simulated_open(world.image, &disk_options);
    return world;
}

static inline void end(struct world *world)
{
    stop(world);
    disk_close(world->disk);
    disk_image_destroy(world->image);
    simulation_destroy(world->simulation);
}

static inline void run_ms(struct world *world, uint64_t ms)
{
    (void)simulation_run(world->simulation, ms, NULL, NULL);
}

/* -------------------------------------------------------------- what there is */

static inline void operate(struct world *world, const struct writer *writer)
{
    struct log_operation operation = {.done = NULL};
    ck_assert(!writer->overflowed);
    ck_assert_int_eq(commit_log_operate(world->shard->log, writer_bytes(writer), &operation), OK);
}

static inline void put_topic(struct world *world, uint32_t id, const char *name)
{
    static const uint16_t shards[1] = {0};
    const struct topic_parts parts = {
        .id = id,
        .version = ++world->version,
        .name = bytes_from_string(name),
        .queue_count = 1,
        .shards = shards,
    };
    struct topic *topic = topic_create(&parts);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put(&writer, topic);
    operate(world, &writer);
    directory_put(world->directory, topic);
    topic_unref(topic);
}

static inline void put_group(struct world *world, uint32_t id, const char *name, const char *topic,
                             enum group_order order)
{
    struct group_settings settings;
    group_settings_init(&settings);
    settings.order = order;
    settings.given = 1U << GROUP_SETTING_ORDER;
    const struct group_parts parts = {
        .id = id,
        .version = ++world->version,
        .name = bytes_from_string(name),
        .settings = &settings,
    };
    struct group *group = group_of_topic(&parts, topic, NULL);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer operation = writer_over(bytes, sizeof(bytes));
    catalogue_write_put_group(&operation, group);
    operate(world, &operation);
    directory_put_group(world->directory, group);
    group_unref(group);
}

/* ------------------------------------------------------------------- messages */

struct produced {
    struct append append;
    bool done;
};

static inline void produced_done(struct append *append)
{
    CONTAINER_OF(append, struct produced, append)->done = true;
}

/* `key` is of all of them; 0: none. */
static inline void produce(struct world *world, uint32_t topic, uint32_t count, uint32_t key)
{
    static uint8_t body[BODY_BYTES + 3];
    struct writer writer = writer_over(body, sizeof(body));
    static uint8_t zeroes[BODY_BYTES];
    writer_put_bin(&writer, bytes_make(zeroes, sizeof(zeroes)));
    struct append_message message = {
        .bytes = body,
        .length = (uint32_t)writer_length(&writer),
        .crc = crc32c(body, writer_length(&writer)),
        .key_hash = key,
    };
    for (uint32_t i = 0; i < count; i++) {
        struct produced produced = {.done = false};
        produced.append.done = produced_done;
        produced.append.queue = commit_log_queue_find(world->shard->log, topic, 0);
        produced.append.messages = &message;
        produced.append.count = 1;
        list_init(&produced.append.link);
        ck_assert_int_eq(commit_log_append(world->shard->log, &produced.append), OK);
        ck_assert(simulation_run(world->simulation, WAIT_MS, is_set, &produced.done));
    }
}

static inline uint64_t first_kept(const struct world *world, uint32_t topic)
{
    return queue_state(commit_log_queue_find(world->shard->log, topic, 0)).first;
}

static inline uint64_t removed(const struct world *world)
{
    struct commit_log_counters counters;
    commit_log_counters(world->shard->log, &counters);
    return counters.segments_removed;
}

/* Fills the log until a segment more should go, as far as its bytes say. */
static inline void fill(struct world *world)
{
    produce(world, FILLER, 2 * KEEP_BYTES / BODY_BYTES, 0);
}

/* Until `count` segments are gone; false: they are not in `most_ms`. */
struct goal {
    const struct world *world;
    uint64_t count;
};

static inline bool is_removed(void *context)
{
    const struct goal *goal = context;
    return removed(goal->world) >= goal->count;
}

static inline bool goes(struct world *world, uint64_t count, uint64_t most_ms)
{
    struct goal goal = {world, count};
    return simulation_run(world->simulation, most_ms, is_removed, &goal);
}

/* --------------------------------------------------------------------- groups */

static inline struct group_queue *begin_group(struct world *world, uint32_t group, uint32_t topic)
{
    const struct group_place place = {group, topic, 0};
    ck_assert_int_eq(groups_seek(world->shard->groups, &place, 0), OK);
    return groups_find(world->shard->groups, &place);
}

static inline void lease(struct world *world, struct group_queue *queue, uint64_t first,
                         uint64_t count, uint32_t key)
{
    const struct event_lease event = {
        .place = queue->place,
        .range = {first, count},
        .until_ms = reactor_wall_ms(world->reactor) + 3600000,
        .serial = ++world->shard->groups->lease_serial,
        .key = key,
    };
    ck_assert_int_eq(groups_lease(queue, &event, NULL), OK);
    groups_changed(queue);
}

static inline void fail_at(struct world *world, struct group_queue *queue, uint64_t first,
                           uint64_t count, uint32_t key)
{
    const struct event_retry event = {
        .place = queue->place,
        .range = {first, count},
        .attempt = 3,
        .due_ms = reactor_wall_ms(world->reactor) + 3600000,
        .reason = BYTES_OF("it is broken"),
        .key = key,
    };
    ck_assert_int_eq(groups_retry(queue, &event), OK);
    groups_changed(queue);
}

static inline struct topic *letters_of(struct world *world, const char *name)
{
    return directory_find(world->directory, bytes_from_string(name));
}

struct letter {
    uint64_t offset;
    uint64_t attempts;
    char reason[REASON_BYTES_MAX + 1];
};

static inline void read_extra(struct bytes extra, struct letter *letter)
{
    struct cursor cursor = cursor_over(extra);
    uint32_t pairs;
    uint32_t elements;
    struct bytes text;
    uint64_t queue;
    ck_assert(cursor_take_map(&cursor, &pairs) && cursor_take_text(&cursor, &text));
    ck_assert(bytes_equal(text, BYTES_OF("dead")) && cursor_take_array(&cursor, &elements));
    ck_assert_uint_eq(elements, 6);
    ck_assert(cursor_take_text(&cursor, &text) && cursor_take_text(&cursor, &text));
    ck_assert(cursor_take_uint(&cursor, &queue) && cursor_take_uint(&cursor, &letter->offset) &&
              cursor_take_uint(&cursor, &letter->attempts) && cursor_take_text(&cursor, &text));
    memcpy(letter->reason, text.data, text.length);
    letter->reason[text.length] = '\0';
}

/* Dead letter `number` of the group. */
static inline struct letter letter_of(struct world *world, const char *name, uint64_t number)
{
    struct topic *topic = letters_of(world, name);
    ck_assert_ptr_nonnull(topic);
    struct queue *queue = commit_log_queue_find(world->shard->log, topic->id, 0);
    static struct run_list list;
    const struct read_limits limits = {number, 1, 1 << 20, true};
    ck_assert_int_eq(commit_log_read(world->shard->log, queue, &limits, &list), OK);
    ck_assert_uint_eq(list.messages, 1);
    uint8_t bytes[BODY_BYTES + 512];
    struct record_view view;
    struct letter letter = {.offset = 0};
    ck_assert_uint_le(list.runs[0].bytes, sizeof(bytes));
    ck_assert(segment_read(list.runs[0].segment, list.runs[0].place, bytes, list.runs[0].bytes));
    ck_assert_int_eq(record_read_anywhere(bytes_make(bytes, list.runs[0].bytes), &view),
                     RECORD_WHOLE);
    ck_assert_uint_eq(view.message.length, BODY_BYTES + 3);
    read_extra(view.extra, &letter);
    segment_unref(list.runs[0].segment);
    return letter;
}

static inline uint64_t letter_count(struct world *world, const char *name)
{
    struct topic *topic = letters_of(world, name);
    if (topic == NULL) {
        return 0;
    }
    return queue_state(commit_log_queue_find(world->shard->log, topic->id, 0)).next;
}

static inline struct world begin_with(enum group_order order, uint64_t read_only)
{
    struct world world = begin();
    start(&world, read_only);
    put_topic(&world, TOPIC, "t");
    put_topic(&world, FILLER, "filler");
    put_group(&world, GROUP, "g", "t", order);
    return world;
}

#endif
