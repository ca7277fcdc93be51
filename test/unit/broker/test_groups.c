/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_groups.c - where groups stand survives any restart:
 *
 *     replay(L) == load(s) + replay(after s)      for every log L and every snapshot s in it
 *
 * Random operations on the queues of three groups, one of each order, are written to a log of small
 * segments, whose snapshots take several chunks. Then the log is recovered from every snapshot that it has and
 * compared with what was live: by hash, and offset by offset.
 */
#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/groups.h"
#include "broker/limits.h"
#include "broker/member.h"
#include "broker/shard.h"
#include "proto/events.h"
#include "test/lib/check_main.h"
#include "test/lib/group_of_topic.h"
#include "test/lib/log_snapshots.h"
#include "test/lib/log_world.h"

enum {
    SEEDS = 6,
    STEPS = 3000,
    QUEUES = 4,
    TOPIC = 1,
    OTHER_TOPIC = 2, /* deleted in the middle */
    FIRST_GROUP = 10,
    GROUPS = 3,
    MESSAGES = 4000, /* of each queue: offsets that may be given out */
    LATER_MS = 1000,
    APPENDS_MAX = STEPS
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

static void open_world(struct groups_world *one, uint64_t seed, struct disk_image *image)
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

static void close_world(struct groups_world *one)
{
    groups_stop(one->shard.groups);
    world_close(&one->log);
    groups_destroy(one->shard.groups);
    catalogue_destroy(one->shard.catalogue);
    world_deinit(&one->log);
}

/* ------------------------------------------------------------------- setting up */

static void operate(const struct writer *writer)
{
    struct log_operation operation = {.done = NULL};
    ck_assert(!writer->overflowed);
    ck_assert_int_eq(commit_log_operate(world.log.log, writer_bytes(writer), &operation), OK);
}

static void put_topic(uint32_t id, const char *name)
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

static void put_group(uint32_t id, const char *name, enum group_order order)
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

static void begin_log(uint64_t seed)
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

static void end_log(void)
{
    close_world(&world);
    while (produce_count > 0) {
        produce_free(produces[--produce_count]);
    }
}

/* ------------------------------------------------------------------- random steps */

static uint64_t below(uint64_t bound)
{
    return random_below(&world.log.random, bound);
}

/* A key that follows from the offset, as it would from the message. */
static uint32_t key_of(const struct group_queue *queue, uint64_t offset)
{
    return queue->order == GROUP_ORDER_KEY ? (uint32_t)(offset % 13) : 0;
}

static struct group_place some_place(void)
{
    return (struct group_place){
        .group = FIRST_GROUP + (uint32_t)below(GROUPS),
        .topic = below(8) == 0 ? OTHER_TOPIC : TOPIC,
        .queue = (uint16_t)below(QUEUES),
    };
}

static void step_lease(struct group_queue *queue)
{
    /* New messages mostly; in the order of keys one by one. */
    struct open_range *ready = NULL;
    struct list *link = list_first(&queue->ready);
    if (link != NULL && below(2) == 0) {
        ready = CONTAINER_OF(link, struct open_range, link);
    }
    uint64_t first = ready != NULL ? ready->first : queue->next;
    uint64_t most = ready != NULL ? ready->count : 1 + below(30);
    uint64_t count = queue->order == GROUP_ORDER_KEY ? 1 : 1 + below(most);
    uint32_t key =
        ready != NULL && queue->order == GROUP_ORDER_KEY ? ready->key : key_of(queue, first);
    if (first + count > MESSAGES || !group_queue_key_is_free(queue, key, serial + 1)) {
        return;
    }
    const struct event_lease lease = {
        .place = queue->place,
        .range = {first, count},
        .until_ms = UINT64_C(1700000000000) + 1000000 + below(1000),
        .serial = ++serial,
        .key = key,
    };
    ck_assert_int_eq(groups_lease(queue, &lease, NULL), OK);
}

static struct open_range *some_range(struct group_queue *queue)
{
    return open_ranges_find(&queue->open, below(queue->next + 1));
}

/* A part of a range. */
static struct offset_range some_part(const struct open_range *range)
{
    uint64_t skip = below(range->count);
    return (struct offset_range){range->first + skip, 1 + below(range->count - skip)};
}

static void step_settle(struct group_queue *queue)
{
    const struct open_range *range = some_range(queue);
    if (range != NULL) {
        const struct offset_range part = some_part(range);
        ck_assert_int_eq(groups_settle(queue, &part), OK);
    }
}

static void step_fail(struct group_queue *queue)
{
    static const char *const reasons[] = {"", "no", "a longer reason than the others have"};
    struct open_range *range = some_range(queue);
    if (range == NULL || range->attempts > 60000) {
        return;
    }
    struct event_retry retry = {
        .place = queue->place,
        .range = some_part(range),
        .attempt = (uint16_t)(range->attempts + 1),
        .due_ms = below(20) == 0 ? DUE_NEVER : UINT64_C(1700000000000) + 900000 + below(1000),
        .reason = bytes_from_string(reasons[below(3)]),
        .key = range->key,
    };
    ck_assert_int_eq(groups_retry(queue, &retry), OK);
    groups_changed(queue);
}

static void step_extend(struct group_queue *queue)
{
    struct open_range *range = some_range(queue);
    if (range != NULL && range->state == OPEN_LEASED) {
        const struct event_lease lease = {
            .place = queue->place,
            .range = some_part(range),
            .until_ms = range->moment.key + 1 + below(1000),
            .serial = range->serial,
            .key = range->key,
        };
        ck_assert_int_eq(groups_extend(queue, range, &lease), OK);
    }
}

static void step_give_back(struct group_queue *queue)
{
    struct open_range *range = some_range(queue);
    if (range != NULL && range->state == OPEN_LEASED) {
        (void)groups_give_back(range);
    } else if (range != NULL && range->state == OPEN_WAITING) {
        group_queue_due(queue, range);
        groups_changed(queue);
    }
}

static void step_skip(struct group_queue *queue)
{
    const struct open_range *range = open_ranges_first(&queue->open);
    if (range != NULL && below(10) == 0) {
        const struct offset_range all = {range->first, range->count};
        ck_assert_int_eq(groups_skip(queue, &all, all.count), OK);
    }
}

/* So that segments are filled. */
static void step_append(void)
{
    enum error error;
    uint16_t queue = (uint16_t)below(QUEUES);
    uint32_t length = 11 + (uint32_t)below(600);
    produces[produce_count++] =
        world_produce(&world.log, queue, 1 + (uint32_t)below(4), length, 0, false, &error);
    ck_assert_int_eq(error, OK);
}

static void delete_of(uint32_t operation, uint32_t id)
{
    uint8_t bytes[EVENT_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    const struct event_deleted deleted = {id, 100};
    event_put_deleted(&writer, operation, &deleted);
    operate(&writer);
}

static void step(uint32_t number)
{
    const struct group_place place = some_place();
    struct group_queue *queue = groups_find(world.shard.groups, &place);
    if (queue == NULL || below(400) == 0) {
        bool is_gone = catalogue_find_id(world.shard.catalogue, place.topic) == NULL;
        ck_assert_int_eq(is_gone ? OK : groups_seek(world.shard.groups, &place, below(50)), OK);
        return;
    }
    static void (*const steps[])(struct group_queue *) = {
        step_lease,  step_lease, step_lease,  step_lease,     step_settle,
        step_settle, step_fail,  step_extend, step_give_back, step_skip};
    if (number == STEPS / 2) {
        delete_of(EVENT_TOPIC_DELETE, OTHER_TOPIC);
    } else if (below(4) == 0) {
        step_append();
    } else {
        steps[below(sizeof(steps) / sizeof(steps[0]))](queue);
    }
    if (below(6) == 0) {
        world_run(&world.log, 1, NULL, NULL);
    }
}

static void write_log(uint64_t seed)
{
    begin_log(seed);
    for (uint32_t i = 0; i < STEPS; i++) {
        step(i);
    }
    world_run(&world.log, LATER_MS, NULL, NULL);
}

/* ------------------------------------------------------------------- snapshots */

/* What the log knows of an offset. */
static void check_offset(const struct group_queue *live, const struct group_queue *back,
                         uint64_t offset)
{
    const struct open_range *was = open_ranges_find(&live->open, offset);
    const struct open_range *is = open_ranges_find(&back->open, offset);
    was = was != NULL && was->first <= offset ? was : NULL;
    is = is != NULL && is->first <= offset ? is : NULL;
    ck_assert_int_eq(was != NULL, is != NULL);
    if (was != NULL) {
        ck_assert_uint_eq(is->attempts, was->attempts);
        ck_assert_uint_eq(is->due_ms, was->due_ms);
        ck_assert(bytes_equal(reason_text(is->reason), reason_text(was->reason)));
        bool is_kept = live->order != GROUP_ORDER_NONE && was->state == OPEN_LEASED;
        ck_assert(!is_kept || (is->state == OPEN_LEASED && is->serial == was->serial));
    }
}

static void check_same(const struct groups_world *back)
{
    uint32_t queues = 0;
    LIST_FOREACH (link, &world.shard.groups->queues) {
        const struct group_queue *live = CONTAINER_OF(link, struct group_queue, all);
        const struct group_queue *other = groups_find(back->shard.groups, &live->place);
        ck_assert_ptr_nonnull(other);
        ck_assert_uint_eq(other->generation, live->generation);
        ck_assert_uint_eq(other->logged, live->logged);
        ck_assert_uint_eq(other->skipped, live->skipped);
        for (uint64_t offset = 0; offset < live->logged; offset++) {
            check_offset(live, other, offset);
        }
        queues++;
    }
    ck_assert_uint_ge(queues, GROUPS * QUEUES);
}

/* Recovers from the first `keep` snapshots as if the later ones had never begun. */
static void recover_from(uint32_t keep, uint64_t hash, uint64_t end)
{
    struct disk_cut cut = {disk_image_events(world.log.image), DISK_KEEP_ALL, 0};
    struct disk_image *image = disk_image_cut(world.log.image, &cut, false);
    struct groups_world other;
    uint64_t expected_begin = snapshots_keep(image, keep, end);
    open_world(&other, 99, image);
    ck_assert(!other.log.report.corrupt);
    ck_assert_uint_eq(other.log.report.snapshot_position, expected_begin);
    ck_assert_uint_eq(other.log.report.end, end);
    ck_assert_uint_eq(world.shard.groups->view.operations->hash(&other.shard.groups->view), hash);
    check_same(&other);
    close_world(&other);
    disk_image_destroy(image);
}

START_TEST(a_replay_from_any_snapshot_says_where_groups_stood)
{
    write_log((uint64_t)_i + 1);
    struct commit_log_counters counters;
    commit_log_counters(world.log.log, &counters);
    ck_assert_uint_gt(counters.snapshots, 2);
    ck_assert(list_is_empty(&world.shard.groups->dirty));
    uint64_t hash = world.shard.groups->view.operations->hash(&world.shard.groups->view);
    for (uint32_t keep = 1; keep <= counters.snapshots; keep++) {
        recover_from(keep, hash, counters.position_written);
    }
    end_log();
}
END_TEST

/* What a restart finds goes on: leases of ordered groups hold, what was never tried is there at once. */
START_TEST(after_a_start_everything_open_is_ready_leased_or_waits)
{
    write_log((uint64_t)_i + 1);
    struct disk_cut cut = {disk_image_events(world.log.image), DISK_KEEP_ALL, 0};
    struct disk_image *image = disk_image_cut(world.log.image, &cut, false);
    struct groups_world other;
    open_world(&other, 99, image);
    other.cores.epoch = 2;
    groups_attach(other.shard.groups);
    ck_assert_uint_gt(other.shard.groups->lease_serial, UINT64_C(1) << 40);
    LIST_FOREACH (link, &other.shard.groups->queues) {
        const struct group_queue *queue = CONTAINER_OF(link, struct group_queue, all);
        ck_assert_uint_eq(queue->place.topic, TOPIC);
        const struct open_range *range = open_ranges_first(&queue->open);
        for (; range != NULL; range = open_ranges_next(&queue->open, range)) {
            ck_assert(range->state != OPEN_LEASED || queue->order != GROUP_ORDER_NONE);
            ck_assert(range->state != OPEN_WAITING || range->due_ms > 0);
        }
    }
    close_world(&other);
    disk_image_destroy(image);
    end_log();
}
END_TEST

static struct group_queue *begin_queue(uint32_t group)
{
    const struct group_place place = {.group = group, .topic = TOPIC, .queue = 0};
    begin_log(1);
    ck_assert_int_eq(groups_seek(world.shard.groups, &place, 0), OK);
    return groups_find(world.shard.groups, &place);
}

/* The log as it is now has the queue as it is. */
static void check_replayed(const struct group_queue *queue)
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

START_TEST(what_a_turn_settles_is_one_operation_of_merged_ranges)
{
    struct group_queue *queue = begin_queue(FIRST_GROUP);
    const struct event_lease lease = {
        .place = queue->place, .range = {0, 100}, .until_ms = UINT64_C(1700000900000), .serial = 1};
    ck_assert_int_eq(groups_lease(queue, &lease, NULL), OK);
    static const struct offset_range settled[] = {{10, 5}, {50, 1}, {15, 5},
                                                  {5, 5},  {51, 9}, {0, 1}};
    for (size_t i = 0; i < sizeof(settled) / sizeof(settled[0]); i++) {
        ck_assert_int_eq(groups_settle(queue, &settled[i]), OK);
    }
    ck_assert_uint_eq(queue->settled_count, 3);
    ck_assert_uint_eq(queue->settled[0].first, 0);
    ck_assert_uint_eq(queue->settled[0].count, 1);
    ck_assert_uint_eq(queue->settled[1].first, 5);
    ck_assert_uint_eq(queue->settled[1].count, 15);
    ck_assert_uint_eq(queue->settled[2].first, 50);
    ck_assert_uint_eq(queue->settled[2].count, 10);
    ck_assert_uint_eq(queue->logged, 0);
    world_run(&world.log, 1, NULL, NULL);
    ck_assert_uint_eq(queue->settled_count, 0);
    ck_assert(list_is_empty(&queue->dirty));
    ck_assert_uint_eq(queue->logged, 60);
    end_log();
}
END_TEST

START_TEST(more_ranges_than_an_operation_has_room_for_are_settled_all_the_same)
{
    enum { COUNT = 3 * GROUPS_SETTLED_MAX + 7 };
    struct group_queue *queue = begin_queue(FIRST_GROUP);
    for (uint64_t i = COUNT; i > 0; i--) {
        const struct offset_range range = {2 * i, 1};
        ck_assert_int_eq(groups_settle(queue, &range), OK);
        ck_assert_uint_le(queue->settled_count, GROUPS_SETTLED_MAX);
    }
    world_run(&world.log, LATER_MS, NULL, NULL);
    ck_assert(list_is_empty(&queue->dirty));
    ck_assert_uint_eq(queue->open.offsets, COUNT + 1);
    check_replayed(queue);
    end_log();
}
END_TEST

/* A commit of a cursor may settle more in a turn than may be open, and what comes behind it is in the log first. */
START_TEST(what_is_leased_behind_much_that_the_turn_settled_is_replayed)
{
    enum { MUCH = 5 << 20 };
    struct group_queue *queue = begin_queue(FIRST_GROUP + 1);
    const struct offset_range much = {0, MUCH};
    ck_assert_int_eq(groups_settle(queue, &much), OK);
    const struct event_lease lease = {.place = queue->place,
                                      .range = {MUCH, 3},
                                      .until_ms = UINT64_C(1700000900000),
                                      .serial = 1};
    ck_assert_int_eq(groups_lease(queue, &lease, NULL), OK);
    world_run(&world.log, LATER_MS, NULL, NULL);
    check_replayed(queue);
    end_log();
}
END_TEST

START_TEST(a_lease_expires_and_counts_an_attempt)
{
    struct group_queue *queue = begin_queue(FIRST_GROUP);
    const struct event_lease lease = {
        .place = queue->place, .range = {0, 10}, .until_ms = UINT64_C(1700000003000), .serial = 1};
    ck_assert_int_eq(groups_lease(queue, &lease, NULL), OK);
    groups_changed(queue);
    world_run(&world.log, 1500, NULL, NULL);
    ck_assert_int_eq(open_ranges_first(&queue->open)->state, OPEN_LEASED);
    world_run(&world.log, 1000, NULL, NULL);
    const struct open_range *range = open_ranges_first(&queue->open);
    ck_assert_int_eq(range->state, OPEN_READY);
    ck_assert_uint_eq(range->count, 10);
    ck_assert_uint_eq(range->attempts, 1);
    ck_assert_uint_eq(queue->group->expired, 10);
    end_log();
}
END_TEST

START_TEST(what_was_never_delivered_is_given_back_without_an_attempt)
{
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct group_queue *queue = begin_queue(FIRST_GROUP + i);
        const struct event_lease lease = {.place = queue->place,
                                          .range = {0, 1},
                                          .until_ms = UINT64_C(1700000900000),
                                          .serial = 5,
                                          .key = i == 2 ? 9 : 0};
        ck_assert_int_eq(groups_lease(queue, &lease, NULL), OK);
        groups_hold(world.shard.groups, 77, open_ranges_first(&queue->open));
        groups_release(world.shard.groups, 77, 6, 9); /* of other answers */
        ck_assert_int_eq(open_ranges_first(&queue->open)->state, OPEN_LEASED);
        groups_release(world.shard.groups, 77, 5, 5);
        ck_assert_int_eq(open_ranges_first(&queue->open)->state, OPEN_READY);
        ck_assert_uint_eq(open_ranges_first(&queue->open)->attempts, 0);
        groups_forget_session(world.shard.groups, 77);
        groups_forget_session(world.shard.groups, 77);
        end_log();
    }
}
END_TEST

/* ---------------------------------------------------------------------- ended */

enum { MANY = 10000, A_TURN_MAX = 1024 };

/* Sees how many ranges go in one turn. */
struct watcher {
    struct turn_hook hook;
    uint64_t last;
    uint64_t most;
    uint32_t turns; /* in which some went */
};

static void watch_turn(struct turn_hook *hook)
{
    struct watcher *watcher = CONTAINER_OF(hook, struct watcher, hook);
    uint64_t now = world.shard.groups->range_count;
    uint64_t gone = watcher->last > now ? watcher->last - now : 0;
    watcher->most = gone > watcher->most ? gone : watcher->most;
    watcher->turns += gone > 0;
    watcher->last = now;
}

/* A turn has room for so many operations. */
static void write_now_and_then(uint64_t i)
{
    if (i % 100 == 0) {
        world_run(&world.log, 1, NULL, NULL);
    }
}

/* An offset is a session's. */
static void lease_one(struct group_queue *queue, uint64_t offset, struct group_member *member)
{
    const struct event_lease lease = {.place = queue->place,
                                      .range = {offset, 1},
                                      .until_ms = UINT64_C(1700000060000),
                                      .serial = offset + 1,
                                      .key = key_of(queue, offset)};
    ck_assert_int_eq(groups_lease(queue, &lease, member), OK);
    groups_hold(world.shard.groups, 77, open_ranges_find(&queue->open, offset));
}

/* MANY offsets are, each a range. */
static void lease_many(struct group_queue *queue, struct group_member *member)
{
    for (uint64_t i = 0; i < MANY; i++) {
        lease_one(queue, i, member);
        write_now_and_then(i);
    }
    world_run(&world.log, 1, NULL, NULL);
}

/* MANY ranges of one offset in every state: a session's, failed, dying, ready, in the order of keys blocked. */
static struct group_queue *open_many(uint32_t group, struct group_member *member)
{
    struct group_queue *queue = begin_queue(group);
    lease_many(queue, member);
    for (uint64_t i = 0; i < MANY; i += 3) {
        const struct event_retry retry = {.place = queue->place,
                                          .range = {i, 1},
                                          .attempt = 1,
                                          .due_ms =
                                              i % 2 == 0 ? DUE_NEVER : UINT64_C(1700000030000) + i,
                                          .key = key_of(queue, i)};
        ck_assert_int_eq(groups_retry(queue, &retry), OK);
        write_now_and_then(i);
    }
    for (uint64_t i = 1; i < MANY; i += 3) {
        ck_assert(groups_give_back(open_ranges_find(&queue->open, i)));
        write_now_and_then(i);
    }
    world_run(&world.log, 1, NULL, NULL);
    return queue;
}

static void watch_turns(struct watcher *watcher)
{
    *watcher =
        (struct watcher){.hook = {.run = watch_turn}, .last = world.shard.groups->range_count};
    reactor_hook_add(world.log.reactor, TURN_WRITE, &watcher->hook);
}

/* All of MANY are gone, in turns of A_TURN_MAX. */
static void check_gone(struct watcher *watcher, const struct group_member *member)
{
    const struct groups *groups = world.shard.groups;
    world_run(&world.log, LATER_MS, NULL, NULL);
    reactor_hook_remove(world.log.reactor, &watcher->hook);
    ck_assert_uint_eq(groups->range_count, 0);
    ck_assert_uint_eq(groups->moments.count, 0);
    ck_assert(list_is_empty(&groups->dying));
    ck_assert(list_is_empty(&groups->retired));
    ck_assert_uint_eq(atomic_load(&member->leased), 0);
    ck_assert_uint_le(watcher->most, A_TURN_MAX);
    ck_assert_uint_ge(watcher->turns, MANY / A_TURN_MAX);
}

START_TEST(a_seek_takes_apart_what_was_open_some_in_each_turn)
{
    struct group_member *member = group_member_create(bytes_from_string("member"));
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct watcher watcher;
        struct group_queue *old = open_many(FIRST_GROUP + i, member);
        const struct group_place place = old->place;
        const uint64_t old_serial = old->serial;
        watch_turns(&watcher);
        world.shard.groups->walk = &old->all;
        ck_assert_int_eq(groups_seek(world.shard.groups, &place, 5), OK);
        ck_assert_uint_eq(world.shard.groups->range_count, MANY);
        const struct group_queue *queue = groups_find(world.shard.groups, &place);
        ck_assert_uint_eq(queue->open.count, 0);
        ck_assert_uint_eq(queue->generation, 2);
        ck_assert_uint_eq(queue->next, 5);
        ck_assert_uint_eq(queue->serial, old_serial);
        ck_assert_ptr_eq(world.shard.groups->queues.next, &queue->all);
        ck_assert_ptr_eq(world.shard.groups->walk, &queue->all);
        check_gone(&watcher, member);
        ck_assert_ptr_eq(groups_find(world.shard.groups, &place), queue);
        check_replayed(queue);
        groups_forget_session(world.shard.groups, 77);
        end_log();
    }
    group_member_unref(member);
}
END_TEST

START_TEST(a_group_or_a_topic_is_deleted_at_once_and_taken_apart_some_in_each_turn)
{
    struct group_member *member = group_member_create(bytes_from_string("member"));
    for (uint32_t i = 0; i < 2 * GROUPS; i++) {
        struct watcher watcher;
        bool is_topic = i % 2 == 0;
        uint32_t group = FIRST_GROUP + i / 2;
        const struct group_place place = open_many(group, member)->place;
        watch_turns(&watcher);
        delete_of(is_topic ? EVENT_TOPIC_DELETE : EVENT_GROUP_DELETE, is_topic ? TOPIC : group);
        ck_assert_uint_eq(world.shard.groups->range_count, MANY);
        ck_assert_ptr_null(groups_find(world.shard.groups, &place));
        ck_assert(list_is_empty(&world.shard.groups->queues));
        check_gone(&watcher, member);
        groups_forget_session(world.shard.groups, 77);
        end_log();
    }
    group_member_unref(member);
}
END_TEST

START_TEST(what_has_ended_counts_until_it_is_taken_apart_and_then_there_is_room)
{
    struct group_member *member = group_member_create(bytes_from_string("member"));
    struct group_queue *queue = open_many(FIRST_GROUP, member);
    struct groups *groups = world.shard.groups;
    const struct group_place place = queue->place;
    enum error error;
    produces[produce_count++] = world_produce(&world.log, 0, 10, 11, 0, false, &error);
    ck_assert_int_eq(error, OK);
    world_run(&world.log, 1, NULL, NULL);
    groups->range_count += GROUP_RANGES_MAX - MANY; /* others' */
    ck_assert_int_eq(groups_seek(groups, &place, 0), OK);
    queue = groups_find(groups, &place);
    ck_assert(queue->is_full && list_is_empty(&queue->in_ready));
    world_run(&world.log, LATER_MS, NULL, NULL);
    ck_assert(!queue->is_full && !list_is_empty(&queue->in_ready));
    ck_assert_uint_eq(queue->group->full, 0);
    ck_assert_uint_eq(groups->range_count, GROUP_RANGES_MAX - MANY);
    groups_forget_session(groups, 77);
    group_member_unref(member);
    end_log();
}
END_TEST

/* Sees how many leases are given back in one turn. */
static void watch_leases(struct turn_hook *hook_of)
{
    struct watcher *watcher = CONTAINER_OF(hook_of, struct watcher, hook);
    const struct list *first = world.shard.groups->queues.next;
    uint64_t now = CONTAINER_OF(first, struct group_queue, all)->in_state[OPEN_LEASED];
    uint64_t gone = watcher->last - now;
    watcher->most = gone > watcher->most ? gone : watcher->most;
    watcher->turns += gone > 0;
    watcher->last = now;
}

START_TEST(what_a_session_held_is_given_back_some_in_each_turn)
{
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct group_queue *queue = begin_queue(FIRST_GROUP + i);
        struct groups *groups = world.shard.groups;
        lease_many(queue, NULL);
        struct watcher watcher = {.hook = {.run = watch_leases}};
        reactor_hook_add(world.log.reactor, TURN_WRITE, &watcher.hook);
        groups_release(groups, 77, 0, 0); /* nothing, of who goes without a wish */
        ck_assert_uint_eq(queue->in_state[OPEN_LEASED], MANY);
        groups_release(groups, 77, MANY - 1, MANY);
        ck_assert_uint_eq(queue->in_state[OPEN_LEASED], MANY - 2); /* few are at once */
        groups_release(groups, 77, 0, UINT64_MAX);
        groups_forget_session(groups, 77);
        watcher.last = queue->in_state[OPEN_LEASED];
        ck_assert_uint_eq(watcher.last, MANY - GROUPS_RELEASED_A_TURN);
        world_run(&world.log, LATER_MS, NULL, NULL);
        reactor_hook_remove(world.log.reactor, &watcher.hook);
        ck_assert_uint_eq(queue->in_state[OPEN_LEASED], 0);
        ck_assert_uint_eq(queue->open.offsets, MANY);
        ck_assert_uint_eq(open_ranges_first(&queue->open)->attempts, 0);
        ck_assert_uint_le(watcher.most, GROUPS_RELEASED_A_TURN);
        ck_assert_uint_ge(watcher.turns, MANY / GROUPS_RELEASED_A_TURN - 1);
        check_replayed(queue);
        end_log();
    }
}
END_TEST

START_TEST(what_is_to_be_given_back_may_be_settled_or_end_before)
{
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct group_queue *queue = begin_queue(FIRST_GROUP + i);
        struct groups *groups = world.shard.groups;
        const struct group_place place = queue->place;
        lease_many(queue, NULL);
        groups_release(groups, 77, 0, UINT64_MAX);
        groups_forget_session(groups, 77);
        ck_assert_uint_eq(queue->in_state[OPEN_LEASED], MANY - GROUPS_RELEASED_A_TURN);
        const struct offset_range last = {MANY - 1000, 1000};
        ck_assert_int_eq(groups_settle(queue, &last), OK);
        ck_assert_int_eq(groups_seek(groups, &place, 0), OK);
        world_run(&world.log, LATER_MS, NULL, NULL);
        ck_assert_uint_eq(groups->range_count, 0);
        ck_assert(list_is_empty(&groups->released));
        check_replayed(groups_find(groups, &place));
        end_log();
    }
}
END_TEST

/* An end does not wait: who comes after it would wait for the leases to expire. */
START_TEST(at_the_end_all_is_given_back_that_was_to_be)
{
    enum { SOME = 2 * GROUPS_RELEASED_A_TURN };
    struct group_queue *queue = begin_queue(FIRST_GROUP + 1);
    for (uint64_t i = 0; i < SOME; i++) {
        lease_one(queue, i, NULL);
    }
    world_run(&world.log, 1, NULL, NULL);
    groups_release(world.shard.groups, 77, 0, UINT64_MAX);
    groups_forget_session(world.shard.groups, 77);
    ck_assert_uint_gt(queue->in_state[OPEN_LEASED], 0);
    groups_stop(world.shard.groups);
    ck_assert_uint_eq(queue->in_state[OPEN_LEASED], 0);
    ck_assert(list_is_empty(&world.shard.groups->released));
    end_log();
}
END_TEST

START_TEST(what_has_ended_is_neither_given_back_nor_expired_nor_in_the_way_of_the_end)
{
    struct group_member *member = group_member_create(bytes_from_string("member"));
    for (uint32_t i = 0; i < GROUPS; i++) {
        struct group_queue *queue = open_many(FIRST_GROUP + i, member);
        struct groups *groups = world.shard.groups;
        const struct group_place place = queue->place;
        struct shard_group *group = queue->group;
        ck_assert_int_eq(groups_seek(groups, &place, 0), OK);
        groups_release(groups, 77, 0, UINT64_MAX);
        ck_assert_uint_eq(groups->range_count, MANY);
        groups_forget_session(groups, 77);
        /* The retired wait for as long as the clock of leases takes. */
        timer_stop(world.log.reactor, &groups->retired_timer);
        world_run(&world.log, 70000, NULL, NULL);
        ck_assert_uint_eq(group->expired, 0);
        ck_assert_uint_eq(groups->moments.count, 0);
        check_replayed(groups_find(groups, &place));
        ck_assert(!list_is_empty(&groups->retired));
        end_log(); /* with some that nobody took apart */
    }
    ck_assert_uint_eq(atomic_load(&member->references), 1);
    group_member_unref(member);
}
END_TEST

static Suite *groups_suite(void)
{
    Suite *suite = suite_create("groups");
    TCase *tests = tcase_create("groups");
    tcase_add_loop_test(tests, a_replay_from_any_snapshot_says_where_groups_stood, 0, SEEDS);
    tcase_add_loop_test(tests, after_a_start_everything_open_is_ready_leased_or_waits, 0, 2);
    tcase_add_test(tests, what_a_turn_settles_is_one_operation_of_merged_ranges);
    tcase_add_test(tests, more_ranges_than_an_operation_has_room_for_are_settled_all_the_same);
    tcase_add_test(tests, what_is_leased_behind_much_that_the_turn_settled_is_replayed);
    tcase_add_test(tests, a_lease_expires_and_counts_an_attempt);
    tcase_add_test(tests, what_was_never_delivered_is_given_back_without_an_attempt);
    tcase_add_test(tests, a_seek_takes_apart_what_was_open_some_in_each_turn);
    tcase_add_test(tests, a_group_or_a_topic_is_deleted_at_once_and_taken_apart_some_in_each_turn);
    tcase_add_test(tests, what_has_ended_counts_until_it_is_taken_apart_and_then_there_is_room);
    tcase_add_test(tests, what_a_session_held_is_given_back_some_in_each_turn);
    tcase_add_test(tests, what_is_to_be_given_back_may_be_settled_or_end_before);
    tcase_add_test(tests, at_the_end_all_is_given_back_that_was_to_be);
    tcase_add_test(tests,
                   what_has_ended_is_neither_given_back_nor_expired_nor_in_the_way_of_the_end);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(groups_suite)
