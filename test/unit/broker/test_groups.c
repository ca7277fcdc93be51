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
#include "broker/limits.h"
#include "test/lib/check_main.h"
#include "test/lib/log_snapshots.h"
#include "test/unit/broker/groups_log_world.h"

enum {
    SEEDS = 6,
    STEPS = APPENDS_MAX,
    MESSAGES = 4000 /* of each queue: offsets that may be given out */
};

/* ------------------------------------------------------------------- random steps */

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

/* A queue that is kept back by what others have open does not hear when they settle that. */
START_TEST(a_queue_that_others_crowd_out_is_there_when_they_have_settled)
{
    struct group_queue *queue = begin_queue(FIRST_GROUP);
    struct groups *groups = world.shard.groups;
    groups->range_count = GROUP_RANGES_MAX; /* as if others had them */
    enum error error;
    produces[produce_count++] = world_produce(&world.log, 0, 1, 11, 0, false, &error);
    ck_assert_int_eq(error, OK);
    world_run(&world.log, LATER_MS, NULL, NULL);
    struct group_bound bound;
    ck_assert(list_is_empty(&queue->in_ready));
    ck_assert(groups_find_full(queue->group, &bound));
    ck_assert_uint_eq(bound.limit, GROUP_RANGES_MAX);
    groups->range_count--;
    world_run(&world.log, LATER_MS, NULL, NULL);
    ck_assert(!list_is_empty(&queue->in_ready));
    ck_assert(!groups_find_full(queue->group, &bound));
    groups->range_count = 0;
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

/* A receive may fail, and give back what it took, behind the word that its session is gone. */
START_TEST(a_session_that_holds_nothing_any_more_is_forgotten)
{
    struct group_queue *queue = begin_queue(FIRST_GROUP);
    struct groups *groups = world.shard.groups;
    groups_forget_session(groups, 77);
    for (uint64_t i = 0; i < 2; i++) {
        const struct event_lease lease = {.place = queue->place,
                                          .range = {i, 1},
                                          .until_ms = UINT64_C(1700000900000),
                                          .serial = 5 + i};
        ck_assert_int_eq(groups_lease(queue, &lease, NULL), OK);
        groups_hold(groups, 77, open_ranges_find(&queue->open, i));
    }
    groups_release(groups, 77, 6, 6);
    ck_assert_uint_eq(groups->sessions.count, 1);
    groups_release(groups, 77, 5, 5);
    ck_assert_uint_eq(groups->sessions.count, 0);
    end_log();
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
    tcase_add_test(tests, a_queue_that_others_crowd_out_is_there_when_they_have_settled);
    tcase_add_test(tests, a_lease_expires_and_counts_an_attempt);
    tcase_add_test(tests, what_was_never_delivered_is_given_back_without_an_attempt);
    tcase_add_test(tests, a_session_that_holds_nothing_any_more_is_forgotten);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(groups_suite)
