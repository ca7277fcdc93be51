/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of storage/log_roll.c and retention.c: segments come and go.
 */

#include "storage/index.h"
#include "storage/segment_file.h"
#include "test/lib/check_main.h"
#include "test/lib/log_world.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>

enum { LATER_MS = 2000, LENGTH = 2000, MANY = 500, PATH_BYTES = 64 };

static struct log_world world;

static void set_up(void)
{
    world_init(&world, 1, NULL);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
}

static void tear_down(void)
{
    world_deinit(&world);
}

static void put(uint64_t number)
{
    enum error error;
    struct produce *produce = world_produce(&world, 0, 1, LENGTH, number, true, &error);
    ck_assert_int_eq(error, OK);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produce));
    produce_free(produce);
}

static void put_many(uint64_t from, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        put(from + i);
    }
    world_run(&world, LATER_MS, NULL, NULL);
}

static struct commit_log_counters counters(void)
{
    struct commit_log_counters now;
    commit_log_counters(world.log, &now);
    return now;
}

static bool is_there(const char *name)
{
    char path[PATH_BYTES + 4];
    uint64_t bytes;
    ck_assert_int_gt(snprintf(path, sizeof(path), "0/%s", name), 0);
    return disk_image_bytes(world.image, path, &bytes) != NULL;
}

START_TEST(an_empty_store_is_one_segment)
{
    ck_assert_uint_eq(counters().segments, 1);
    ck_assert_uint_eq(counters().bytes, WORLD_SEGMENT_BYTES);
    ck_assert(is_there("00000000000000000000.log"));
    ck_assert(!is_there("next.log"));
}
END_TEST

START_TEST(the_next_segment_is_there_before_the_open_one_is_half_full)
{
    uint64_t number = 0;
    while (counters().position_written < WORLD_SEGMENT_BYTES / 4) {
        ck_assert(!is_there("next.log"));
        put(number++);
    }
    world_run(&world, LATER_MS, NULL, NULL);
    ck_assert(is_there("next.log"));
    ck_assert_uint_eq(counters().rolls, 0);
}
END_TEST

START_TEST(segments_follow_each_other_without_filler_and_each_sealed_one_has_an_index)
{
    put_many(0, 200);
    ck_assert_uint_gt(counters().rolls, 4);
    ck_assert_uint_eq(counters().segments, counters().rolls + 1);
    uint64_t base = 0;
    for (uint64_t i = 0; i < counters().segments; i++) {
        char name[PATH_BYTES];
        char path[PATH_BYTES];
        uint64_t bytes;
        uint64_t place = 0;
        struct record_view view;
        (void)snprintf(name, sizeof(name), "%020" PRIu64 ".log", base);
        ck_assert_msg(is_there(name), "%s", name);
        (void)snprintf(path, sizeof(path), "0/%020" PRIu64 ".log", base);
        const uint8_t *file = disk_image_bytes(world.image, path, &bytes);
        while (record_read(bytes_make(file + place, bytes - place), base + place, &view) ==
               RECORD_WHOLE) {
            ck_assert_int_eq(view.fields.kind == RECORD_SEGMENT, place == 0);
            place += view.fields.size;
        }
        (void)snprintf(name, sizeof(name), "%020" PRIu64 ".idx", base);
        ck_assert_int_eq(is_there(name), i + 1 < counters().segments);
        base += place;
    }
    ck_assert_uint_eq(base, counters().position_written);
}
END_TEST

START_TEST(segments_double_up_to_the_most)
{
    char path[PATH_BYTES];
    uint64_t bytes = 0;
    world_close(&world);
    world.options.segment_bytes_most = 4 * WORLD_SEGMENT_BYTES;
    ck_assert(world_open(&world));
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    put_many(0, MANY);
    uint64_t base = 0;
    uint64_t expected = WORLD_SEGMENT_BYTES;
    for (uint64_t i = 0; i < counters().segments; i++) {
        uint64_t place = 0;
        struct record_view view;
        (void)snprintf(path, sizeof(path), "0/%020" PRIu64 ".log", base);
        const uint8_t *file = disk_image_bytes(world.image, path, &bytes);
        ck_assert_ptr_nonnull(file);
        ck_assert_uint_eq(bytes, expected);
        while (record_read(bytes_make(file + place, bytes - place), base + place, &view) ==
               RECORD_WHOLE) {
            place += view.fields.size;
        }
        base += place;
        expected = expected < 4 * WORLD_SEGMENT_BYTES ? expected * 2 : expected;
    }
    ck_assert_uint_eq(bytes, 4 * WORLD_SEGMENT_BYTES);
}
END_TEST

static void retain(uint64_t bytes)
{
    world_close(&world);
    world.options.retain_bytes = bytes;
    ck_assert(world_open(&world));
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
}

START_TEST(retention_removes_the_oldest_segments_and_their_files)
{
    retain(4 * WORLD_SEGMENT_BYTES);
    put_many(0, MANY);
    ck_assert_uint_gt(counters().segments_removed, 5);
    ck_assert_uint_le(counters().segments, 7);
    ck_assert(!is_there("00000000000000000000.log"));
    ck_assert(!is_there("00000000000000000000.idx"));
    struct queue *queue = commit_log_queue_find(world.log, 1, 0);
    struct queue_state state = queue_state(queue);
    ck_assert_uint_gt(state.first, 0);
    /* What is retained is a whole shard. */
    uint64_t hash = commit_log_hash(world.log);
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(!world.report.corrupt);
    ck_assert_uint_eq(commit_log_hash(world.log), hash);
    ck_assert_uint_eq(queue_state(commit_log_queue_find(world.log, 1, 0)).first, state.first);
}
END_TEST

/* While a log runs only retention removes twice in a row: an index, then its segment. */
static int second_removal_fault(void *context, enum disk_call call)
{
    uint32_t *failures_left = context;
    static bool was_removal;
    bool is_second = was_removal && call == DISK_CALL_REMOVE;
    was_removal = call == DISK_CALL_REMOVE;
    if (is_second && *failures_left > 0) {
        (*failures_left)--;
        return -EIO;
    }
    return 0;
}

START_TEST(a_segment_that_cannot_be_removed_leaves_no_gap_and_goes_later)
{
    uint32_t failures_left = 0;
    uint64_t number = 0;
    world.disk_options.fault = second_removal_fault;
    world.disk_options.fault_context = &failures_left;
    retain(4 * WORLD_SEGMENT_BYTES);
    failures_left = 2;
    while (failures_left > 0) {
        put(number++);
    }
    ck_assert(is_there("00000000000000000000.log"));
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert_msg(!world.report.corrupt, "from %llu to %llu",
                  (unsigned long long)world.report.corrupt_from,
                  (unsigned long long)world.report.corrupt_to);
    ck_assert(world_begin_epoch(&world));
    put_many(number, 60);
    ck_assert(!is_there("00000000000000000000.log"));

    /* And without a new start. */
    failures_left = 2;
    number += 60;
    while (failures_left > 0) {
        put(number++);
    }
    uint64_t removed = counters().segments_removed;
    put_many(number, 60);
    ck_assert_uint_gt(counters().segments_removed, removed);
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(!world.report.corrupt);
}
END_TEST

START_TEST(retention_never_passes_the_newest_snapshot_that_is_whole)
{
    /* A large state: snapshots are rare, and what is before the last one is kept until it is. */
    for (uint64_t key = 0; key < TALLY_KEYS; key++) {
        ck_assert_int_eq(world_operate(&world, TALLY_SET, key, key), OK);
    }
    put_many(0, 40);
    retain(1);
    for (uint64_t i = 0; i < MANY; i++) {
        put(i);
        struct disk_cut cut = {disk_image_events(world.image), DISK_KEEP_NONE, 0};
        if (i % 25 == 0) {
            struct disk_image *image = disk_image_cut(world.image, &cut, false);
            struct log_world other;
            world_init(&other, 2, image);
            ck_assert_msg(world_open(&other), "%s", other.error);
            ck_assert(other.tally.entries[TALLY_KEYS - 1].is_there);
            world_deinit(&other);
            disk_image_destroy(image);
        }
    }
    ck_assert_uint_gt(counters().segments_removed, 0);
    ck_assert_uint_gt(counters().segments, 1);
}
END_TEST

/* An owner who is asked about segments. */
static struct {
    bool agrees;
    bool appends;     /* when asked: what it saves */
    uint32_t asked;   /* how often */
    uint32_t removed; /* how often it has agreed */
    uint64_t next;    /* of queue 0, behind what it has agreed to */
    struct produce *saved;
} asked;

static bool may_remove(void *owner, const struct index *index)
{
    ck_assert_ptr_eq(owner, &world);
    asked.asked++;
    for (uint32_t i = 0; i < index_span_count(index); i++) {
        struct index_span span = index_span_at(index, i);
        ck_assert_uint_eq(span.topic, 1);
        if (span.queue == 0) {
            ck_assert_uint_gt(span.count, 0);
            ck_assert_uint_eq(span.first, asked.next);
            ck_assert_uint_eq(queue_state(commit_log_queue_find(world.log, 1, 0)).first,
                              asked.next);
            asked.next += asked.agrees ? span.count : 0;
        }
    }
    if (asked.appends) {
        asked.appends = false;
        asked.saved = produce_make(&world, 2, 1, LENGTH, 0);
        asked.saved->append.relocates = true;
        ck_assert_int_eq(commit_log_append(world.log, &asked.saved->append), OK);
    }
    asked.removed += asked.agrees;
    return asked.agrees;
}

static void retain_by_owner(bool agrees)
{
    memset(&asked, 0, sizeof(asked));
    asked.agrees = agrees;
    world.options.may_remove = may_remove;
    retain(4 * WORLD_SEGMENT_BYTES);
}

START_TEST(the_owner_is_told_what_a_segment_has_before_it_goes)
{
    retain_by_owner(true);
    put_many(0, MANY);
    ck_assert_uint_gt(asked.removed, 5);
    ck_assert_uint_eq(asked.removed, counters().segments_removed);
    ck_assert_uint_eq(queue_state(commit_log_queue_find(world.log, 1, 0)).first, asked.next);
}
END_TEST

START_TEST(nothing_goes_while_the_owner_says_no_and_all_that_is_due_when_he_has_done)
{
    struct run_list list;
    retain_by_owner(false);
    asked.appends = true;
    put_many(0, MANY);
    ck_assert_uint_gt(asked.asked, 1);
    ck_assert_uint_eq(counters().segments_removed, 0);
    ck_assert(is_there("00000000000000000000.log"));
    ck_assert_uint_eq(asked.saved->told, 1);
    ck_assert_int_eq(commit_log_read(world.log, commit_log_queue_find(world.log, 1, 0),
                                     &(struct read_limits){0, 1, 1, false}, &list),
                     OK);
    ck_assert_uint_eq(list.messages, 1);
    segment_unref(list.runs[0].segment);

    commit_log_retain(world.log);
    ck_assert_uint_eq(counters().segments_removed, 0);
    asked.agrees = true;
    commit_log_retain(world.log);
    ck_assert_uint_eq(counters().segments_removed, 1);
    world_run(&world, LATER_MS, NULL, NULL);
    ck_assert_uint_gt(counters().segments_removed, 5);
    ck_assert_uint_eq(counters().segments_removed, asked.removed);
    ck_assert_uint_le(counters().segments, 7);
    ck_assert(!is_there("00000000000000000000.log"));
    produce_free(asked.saved);
}
END_TEST

static bool retains_when_asked(void *owner, const struct index *index)
{
    (void)owner;
    (void)index;
    commit_log_retain(world.log);
    return true;
}

START_TEST(retention_from_within_its_question_is_our_own_mistake)
{
    world.options.may_remove = retains_when_asked;
    retain(WORLD_SEGMENT_BYTES);
    put_many(0, MANY);
}
END_TEST

START_TEST(a_segment_that_is_still_sent_from_outlives_its_file)
{
    struct run_list list;
    retain(4 * WORLD_SEGMENT_BYTES);
    put_many(0, 60);
    struct queue *queue = commit_log_queue_find(world.log, 1, 0);
    ck_assert_int_eq(
        commit_log_read(world.log, queue, &(struct read_limits){0, 10, 1 << 20, false}, &list), OK);
    ck_assert_uint_eq(list.messages, 10);
    put_many(60, MANY);
    ck_assert(!is_there("00000000000000000000.log"));
    ck_assert_uint_gt(queue_state(queue).first, 10);
    const uint8_t *at = segment_bytes(list.runs[0].segment) + list.runs[0].place;
    struct record_view view;
    ck_assert_int_eq(record_read_anywhere(bytes_make(at, record_size(at)), &view), RECORD_WHOLE);
    ck_assert_uint_eq(view.fields.offset, 0);

    /* Closing is a join: it waits for the last reference. */
    world.is_closed = false;
    commit_log_close(world.log, world_closed, &world);
    ck_assert(!world_run(&world, LATER_MS, world_is_closed, &world));
    for (uint32_t i = 0; i < list.count; i++) {
        segment_unref(list.runs[i].segment);
    }
    ck_assert(world_run(&world, LATER_MS, world_is_closed, &world));
    disk_close(world.disk);
    world.log = NULL;
}
END_TEST

START_TEST(many_appends_of_one_turn_cross_segments_in_order)
{
    enum { APPENDS = 100 };
    static struct produce *produces[APPENDS];
    for (uint64_t i = 0; i < APPENDS; i++) {
        enum error error;
        produces[i] = world_produce(&world, (uint16_t)(i % 2), 4, 1500, i * 4, true, &error);
        ck_assert_int_eq(error, OK);
    }
    for (int i = 0; i < APPENDS; i++) {
        ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[i]));
    }
    ck_assert_uint_gt(counters().rolls, 8);
    for (uint16_t queue = 0; queue < 2; queue++) {
        struct queue_state state = queue_state(commit_log_queue_find(world.log, 1, queue));
        ck_assert_uint_eq(state.next, APPENDS * 2);
    }
    uint64_t hash = commit_log_hash(world.log);
    world_close(&world);
    ck_assert(world_open(&world));
    ck_assert_uint_eq(commit_log_hash(world.log), hash);
    for (int i = 0; i < APPENDS; i++) {
        produce_free(produces[i]);
    }
}
END_TEST

struct seen {
    struct produce **produces;
    uint32_t count;
};

static void expect_whole(void *context, const uint8_t *record)
{
    struct seen *seen = context;
    const struct produce *of = seen->produces[seen->count++];
    struct record_view view;
    ck_assert_int_eq(
        record_read(bytes_make(record, record_size(record)), of->append.position, &view),
        RECORD_WHOLE);
    ck_assert_uint_eq(view.extra.length, of->append.extra.length);
    ck_assert_mem_eq(view.extra.data, of->extra, view.extra.length);
}

START_TEST(records_with_an_extra_cross_segments_whole_and_know_their_positions)
{
    enum { APPENDS = 400 };
    static struct produce *produces[APPENDS];
    for (uint64_t i = 0; i < APPENDS; i++) {
        produces[i] = produce_make(&world, 0, 1, 300 + (uint32_t)i, i);
        produce_set_extra(produces[i], EXTRA_BYTES_MAX - (uint32_t)i);
        ck_assert_int_eq(commit_log_append(world.log, &produces[i]->append), OK);
    }
    for (int i = 0; i < APPENDS; i++) {
        ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[i]));
    }
    world_run(&world, LATER_MS, NULL, NULL);
    ck_assert_uint_gt(counters().rolls, 4);
    struct seen seen = {produces, 0};
    ck_assert_int_eq(world_read_all(&world, 0, expect_whole, &seen), OK);
    ck_assert_uint_eq(seen.count, APPENDS);
    uint64_t hash = commit_log_hash(world.log);
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert_uint_eq(commit_log_hash(world.log), hash);
    for (int i = 0; i < APPENDS; i++) {
        produce_free(produces[i]);
    }
}
END_TEST

START_TEST(an_operation_after_a_roll_that_waits_is_replayed_in_the_same_order)
{
    /* Appends fill more than the open segment, so a turn ends in the middle; a topic goes then. */
    enum { APPENDS = 40 };
    static struct produce *produces[APPENDS];
    for (uint64_t i = 0; i < APPENDS; i++) {
        enum error error;
        produces[i] =
            world_produce(&world, (uint16_t)(i % TALLY_QUEUES), 4, 1500, i * 4, true, &error);
        ck_assert_int_eq(error, OK);
    }
    simulation_step(world.simulation);
    ck_assert_int_eq(world_operate(&world, TALLY_SET, 1, 1), OK);
    commit_log_queue_remove(world.log, 1, 3);
    ck_assert_int_eq(world_operate(&world, TALLY_ADD, 1, 5), OK);
    for (int i = 0; i < APPENDS; i++) {
        ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[i]));
        produce_free(produces[i]);
    }
    uint64_t value = world.tally.entries[1].value;
    world_close(&world);
    ck_assert(world_open(&world));
    ck_assert_uint_eq(world.tally.entries[1].value, value);
}
END_TEST

static Suite *log_roll_suite(void)
{
    Suite *suite = suite_create("storage/log_roll");
    TCase *segments = tcase_create("segments");
    tcase_add_checked_fixture(segments, set_up, tear_down);
    tcase_add_test(segments, an_empty_store_is_one_segment);
    tcase_add_test(segments, the_next_segment_is_there_before_the_open_one_is_half_full);
    tcase_add_test(segments,
                   segments_follow_each_other_without_filler_and_each_sealed_one_has_an_index);
    tcase_add_test(segments, segments_double_up_to_the_most);
    tcase_add_test(segments, retention_removes_the_oldest_segments_and_their_files);
    tcase_add_test(segments, a_segment_that_cannot_be_removed_leaves_no_gap_and_goes_later);
    tcase_add_test(segments, retention_never_passes_the_newest_snapshot_that_is_whole);
    tcase_add_test(segments, the_owner_is_told_what_a_segment_has_before_it_goes);
    tcase_add_test(segments,
                   nothing_goes_while_the_owner_says_no_and_all_that_is_due_when_he_has_done);
    tcase_add_test_raise_signal(segments, retention_from_within_its_question_is_our_own_mistake,
                                SIGABRT);
    tcase_add_test(segments, a_segment_that_is_still_sent_from_outlives_its_file);
    tcase_add_test(segments, many_appends_of_one_turn_cross_segments_in_order);
    tcase_add_test(segments, records_with_an_extra_cross_segments_whole_and_know_their_positions);
    tcase_add_test(segments, an_operation_after_a_roll_that_waits_is_replayed_in_the_same_order);
    suite_add_tcase(suite, segments);
    return suite;
}

TEST_MAIN(log_roll_suite)
