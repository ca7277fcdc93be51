/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker_world.h - what the tests of the broker's data path share: a world with a broker of one or
 * two cores, and short ways to ask it something.
 *
 * Tests run as loops over 1 and 2 cores (`_i` is 0 or 1): with two, half of the connections live on
 * another core than the shard that they talk to.
 */
#ifndef TEST_UNIT_BROKER_BROKER_WORLD_H
#define TEST_UNIT_BROKER_BROKER_WORLD_H

#include "net/simulation.h"
#include "proto/base/log.h"
#include "proto/cursor.h"
#include "proto/limits.h"
#include "proto/record.h"
#include "storage/disk.h"
#include "storage/disk_simulated.h"
#include "test/lib/broker_simulated.h"

#include <check.h>

#include <errno.h>
#include <string.h>

enum {
    ROOM_BYTES = 64 * 1024,
    WORLD_CLIENTS = 2,
    SOON_MS = 1000,
    RECENT_MS = 5000 /* what was written since is taken to be in memory */
};

struct world {
    struct simulation *simulation;
    struct disk_image *image;
    struct disk *disk;
    struct broker_simulated broker;
    /* With two cores the first client is on the core of shard 0, the second on the other one. */
    struct client_simulated *client[WORLD_CLIENTS];
};

static bool reads_fail;        /* the disk gives nothing */
static uint32_t reads_to_fail; /* nor to so many reads from here on */
static bool disk_is_full;      /* nor does it take another file */

static inline int world_fault(void *context, enum disk_call call)
{
    (void)context;
    if (call == DISK_CALL_READ && reads_to_fail > 0) {
        reads_to_fail--;
        return -EIO;
    }
    if (call == DISK_CALL_ALLOCATE && disk_is_full) {
        return -ENOSPC;
    }
    return reads_fail && call == DISK_CALL_READ ? -EIO : 0;
}

static uint8_t request_room[ROOM_BYTES];
static uint32_t request_msgid;

/* Begins the next request; its msgid is `request_msgid`. */
static inline struct writer ask(const char *method, uint32_t argument_count)
{
    struct writer writer = writer_over(request_room, sizeof(request_room));
    request_begin(&writer, ++request_msgid, method, argument_count);
    return writer;
}

static inline uint32_t tell(struct client_simulated *client, const struct writer *request)
{
    ck_assert(!request->overflowed);
    client_simulated_send(client, writer_bytes(request));
    return request_msgid;
}

static inline struct answer take(struct client_simulated *client)
{
    struct answer answer = {.failed = true};
    ck_assert(client_simulated_take(client, SOON_MS, &answer));
    return answer;
}

/* A cursor at the value of `key` in a map; fails the test if it is not there. */
static inline struct cursor value_of(struct bytes map, const char *key)
{
    struct cursor cursor = cursor_over(map);
    uint32_t pairs = 0;
    ck_assert(cursor_take_map(&cursor, &pairs));
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes name;
        ck_assert(cursor_take_text(&cursor, &name));
        if (bytes_equal(name, bytes_from_string(key))) {
            return cursor;
        }
        ck_assert(cursor_skip(&cursor));
    }
    ck_abort_msg("the answer has no '%s'", key);
    return cursor;
}

static inline uint64_t number_of(struct bytes map, const char *key)
{
    struct cursor cursor = value_of(map, key);
    uint64_t value = 0;
    ck_assert(cursor_take_uint(&cursor, &value));
    return value;
}

static inline bool text_is(struct bytes map, const char *key, const char *expected)
{
    struct cursor cursor = value_of(map, key);
    struct bytes text;
    return cursor_take_text(&cursor, &text) && bytes_equal(text, bytes_from_string(expected));
}

/* The name of an answer's error; "" where it has none. */
static inline const char *error_of(const struct answer *answer)
{
    struct cursor cursor = cursor_over(answer->error);
    struct refusal refusal;
    if (!answer->failed) {
        return "";
    }
    ck_assert(refusal_read(&cursor, &refusal));
    return error_name(refusal.code);
}

#define ck_answered(answer)          ck_assert_str_eq(error_of(&(answer)), "")
#define ck_refused(answer, expected) ck_assert_str_eq(error_of(&(answer)), expected)

static inline struct answer call(struct client_simulated *client, const struct writer *request)
{
    uint32_t msgid = tell(client, request);
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, msgid);
    return answer;
}

static inline void make_topic(struct client_simulated *client, const char *name, uint32_t queues,
                              const char *route, const char *durability)
{
    struct writer request = ask("topic.put", 3);
    writer_put_key_string(&request, "name", name);
    writer_put_key_uint(&request, "queues", queues);
    writer_put_string(&request, "settings");
    writer_put_map(&request, 2);
    writer_put_key_string(&request, "route", route);
    writer_put_key_string(&request, "durability", durability);
    struct answer answer = call(client, &request);
    ck_answered(answer);
}

/* A produce of `count` messages to queue 0, its messages still to be put. */
static inline struct writer ask_produce(const char *topic, uint32_t more_arguments, uint32_t count)
{
    struct writer request = ask("produce", 3 + more_arguments);
    writer_put_key_string(&request, "topic", topic);
    writer_put_key_uint(&request, "queue", 0);
    writer_put_string(&request, "messages");
    writer_put_array(&request, count);
    return request;
}

static inline struct answer produce(struct client_simulated *client, const char *topic,
                                    const char *body)
{
    struct writer request = ask_produce(topic, 0, 1);
    writer_put_bin(&request, bytes_from_string(body));
    return call(client, &request);
}

/* A pull of queue 0, its place still to be put with `more_arguments`. */
static inline struct writer ask_pull(const char *topic, uint32_t more_arguments)
{
    struct writer request = ask("pull", 2 + more_arguments);
    writer_put_key_string(&request, "topic", topic);
    writer_put_key_uint(&request, "queue", 0);
    return request;
}

static inline struct answer pull(struct client_simulated *client, const char *topic,
                                 uint64_t offset)
{
    struct writer request = ask_pull(topic, 1);
    writer_put_key_uint(&request, "offset", offset);
    return call(client, &request);
}

/* How many records a pull's answer has. */
static inline uint32_t count_of(const struct answer *answer)
{
    struct cursor cursor = value_of(answer->result, "messages");
    uint32_t count = 0;
    ck_assert(cursor_take_array(&cursor, &count));
    return count;
}

/* Record `number` of a pull's answer. */
static inline struct record_view record_of(const struct answer *answer, uint32_t number)
{
    struct cursor cursor = value_of(answer->result, "messages");
    uint32_t count = 0;
    struct bytes span = {NULL, 0};
    struct record_view record;
    ck_assert(cursor_take_array(&cursor, &count));
    ck_assert_uint_lt(number, count);
    for (uint32_t i = 0; i <= number; i++) {
        ck_assert(cursor_take_span(&cursor, &span));
    }
    ck_assert_int_eq(record_read_anywhere(span, &record), RECORD_WHOLE);
    return record;
}

static inline uint64_t core_counter(struct client_simulated *client, const char *key)
{
    struct writer request = ask("stats", 0);
    struct answer answer = call(client, &request);
    struct cursor cores = value_of(answer.result, "cores");
    uint32_t count = 0;
    uint64_t sum = 0;
    ck_assert(cursor_take_array(&cores, &count));
    for (uint32_t i = 0; i < count; i++) {
        struct bytes core;
        ck_assert(cursor_take_span(&cores, &core));
        sum += number_of(core, key);
    }
    return sum;
}

/* What a network of such delays lies between. */
static inline struct world world_open_at(uint64_t delay_ns_least, uint64_t delay_ns_most)
{
    struct world world = {.simulation = NULL};
    request_msgid = 0;
    log_set_level(LOG_LEVEL_ERROR);
    const struct simulation_options options = {.seed = 7,
                                               .wall_ms = UINT64_C(1700000000000),
                                               .delay_ns_least = delay_ns_least,
                                               .delay_ns_most = delay_ns_most,
                                               .window_bytes = 256 * 1024};
    world.simulation = simulation_create(&options);
    world.image = disk_image_create(false);
    const struct disk_simulated_options disk_options = {.simulation = world.simulation,
                                                        .job_ns_least = 100000,
                                                        .job_ns_most = 2000000,
                                                        .fault = world_fault};
    reads_fail = false;
    reads_to_fail = 0;
    disk_is_full = false;
    world.disk = disk_simulated_open(world.image, &disk_options);
    return world;
}

static inline struct world world_open(void)
{
    return world_open_at(10000, 200000);
}

/* One shard, so that with two cores one of them has none. Of its log about `retain_bytes` are kept,
 * 0: all. */
static inline void world_start_keeping(struct world *world, int cores, uint64_t retain_bytes)
{
    const struct broker_simulated_options options = {.cores = (uint32_t)cores,
                                                     .shards = 1,
                                                     .segment_bytes =
                                                         retain_bytes == 0 ? 0 : 64 * 1024,
                                                     .retain_bytes = retain_bytes};
    broker_simulated_start(&world->broker, world->simulation, world->disk, &options);
    for (int i = 0; i < WORLD_CLIENTS; i++) {
        world->client[i] = client_simulated_open(world->simulation, i == 0 ? "first" : "second",
                                                 &world->broker.address);
    }
}

static inline void world_start(struct world *world, int cores)
{
    world_start_keeping(world, cores, 0);
}

static inline void world_stop(struct world *world)
{
    for (int i = 0; i < WORLD_CLIENTS; i++) {
        ck_assert_uint_eq(client_simulated_nonsense(world->client[i]), 0);
        client_simulated_close(world->client[i]);
    }
    broker_simulated_stop(&world->broker);
    ck_assert_ptr_null(world->broker.failed);
}

static inline void world_close(struct world *world)
{
    disk_close(world->disk);
    disk_image_destroy(world->image);
    simulation_destroy(world->simulation);
}

/* A world with one core (`index` 0) or two (1) and the topic `t`; the client of that number. */
static inline struct client_simulated *world_begin(struct world *world, int index, uint32_t queues)
{
    *world = world_open();
    world_start(world, index + 1);
    make_topic(world->client[0], "t", queues, "any", "memory");
    return world->client[index];
}

/* Everything that was written leaves the page cache. */
static inline void world_cool(struct world *world)
{
    (void)simulation_run(world->simulation, RECENT_MS, NULL, NULL);
    disk_image_cool(world->image);
}

static inline void world_end(struct world *world)
{
    world_stop(world);
    world_close(world);
}

#endif
