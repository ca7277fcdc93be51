/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of storage/snapshot.c: the equation that carries everything,
 *
 *     replay(L) == load(s) + replay(after s)      for every log L and every snapshot s in it
 *
 * Random logs are written with snapshots whose chunks lie between appends. Then each is recovered
 * from every snapshot that it has, the first of which stands for the whole log, and compared by hash
 * with the log that was live.
 */

#include "proto/events.h"
#include "test/lib/check_main.h"
#include "test/lib/log_snapshots.h"
#include "test/lib/log_world.h"

#include <errno.h>

enum { SEEDS = 6, STEPS = 700, SNAPSHOTS_MAX = 64, LATER_MS = 1000 };

static struct log_world world;
static struct produce *produces[STEPS];
static uint32_t produce_count;

static void write_log(uint64_t seed)
{
    world_init(&world, seed, NULL);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    for (uint64_t key = 0; key < TALLY_KEYS; key++) {
        ck_assert_int_eq(world_operate(&world, TALLY_SET, key, key), OK);
    }
    for (uint32_t i = 0; i < STEPS; i++) {
        uint64_t what = random_below(&world.random, 8);
        if (what < 4) {
            uint16_t queue = (uint16_t)random_below(&world.random, TALLY_QUEUES);
            uint32_t count = 1 + (uint32_t)random_below(&world.random, 8);
            uint32_t length = 11 + (uint32_t)random_below(&world.random, 1500);
            struct produce *produce = produce_make(&world, queue, count, length, i * 100);
            produce->append.wait_durable = true;
            if (count == 1) {
                produce_set_extra(produce, EXTRA_BYTES_MAX - i % 500);
            }
            produces[produce_count++] = produce;
            ck_assert_int_eq(commit_log_append(world.log, &produce->append), OK);
        } else if (what < 7) {
            ck_assert_int_eq(world_operate_randomly(&world), OK);
        } else {
            world_run(&world, random_below(&world.random, 5), NULL, NULL);
        }
    }
    world_run(&world, LATER_MS, NULL, NULL);
}

static void free_log(void)
{
    world_deinit(&world);
    while (produce_count > 0) {
        produce_free(produces[--produce_count]);
    }
}

/* Recovers from the first `keep` snapshots of an image as if the later ones had never begun. */
static void recover_from(uint32_t keep, uint64_t hash, uint64_t end)
{
    struct disk_cut cut = {disk_image_events(world.image), DISK_KEEP_ALL, 0};
    struct disk_image *image = disk_image_cut(world.image, &cut, false);
    struct log_world other;
    uint64_t expected_begin = snapshots_keep(image, keep, end);
    world_init(&other, 99, image);
    ck_assert_msg(world_open(&other), "%s", other.error);
    ck_assert(!other.report.corrupt);
    ck_assert_uint_eq(other.report.snapshot_position, expected_begin);
    ck_assert_uint_eq(other.report.end, end);
    ck_assert_uint_eq(commit_log_hash(other.log), hash);
    world_deinit(&other);
    disk_image_destroy(image);
}

START_TEST(a_replay_from_any_snapshot_gives_the_state_that_was_live)
{
    write_log((uint64_t)_i + 1);
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    ck_assert_uint_gt(counters.snapshots, 2);
    uint64_t hash = commit_log_hash(world.log);
    for (uint32_t keep = 1; keep <= counters.snapshots; keep++) {
        recover_from(keep, hash, counters.position_written);
    }
    free_log();
}
END_TEST

START_TEST(chunks_lie_between_the_records_of_other_turns)
{
    write_log(1);
    uint64_t segment_end;
    uint32_t others = 0;
    uint32_t chunks = 0;
    uint64_t base = 0;
    while (snapshot_find_begin(world.image, base, &segment_end) == NULL || base == 0) {
        base = segment_end;
    }
    /* The second snapshot: everything from its begin to its end. */
    uint64_t bytes;
    const uint8_t *file = image_segment(world.image, base, &bytes);
    struct record_view view;
    uint64_t place = 0;
    while (record_read(bytes_make(file + place, bytes - place), base + place, &view) ==
           RECORD_WHOLE) {
        chunks += view.fields.kind == RECORD_SNAPSHOT;
        others += view.fields.kind == RECORD_MESSAGE && chunks > 1;
        place += view.fields.size;
    }
    ck_assert_uint_gt(chunks, 3);
    ck_assert_uint_gt(others, 0);
    free_log();
}
END_TEST

/* Chunks of a log with large segments are written from where they lie. */
START_TEST(a_last_chunk_that_is_large_is_written_before_it_goes)
{
    enum {
        MANY = 5000,
        BODY = 8000,
        BATCH = 16,
        BATCHES = 140
    }; /* rows of 100 KiB; more than a segment */
    world_init(&world, 1, NULL);
    world.options.segment_bytes_least = 16 << 20;
    world.options.segment_bytes_most = 16 << 20;
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    for (uint16_t i = 0; i < MANY; i++) {
        commit_log_queue_put(world.log, 1, i, LOG_DISK);
    }
    for (uint32_t i = 0; i < BATCHES; i++) {
        enum error error;
        struct produce *one = world_produce(&world, 7, BATCH, BODY, i * BATCH, true, &error);
        ck_assert_int_eq(error, OK);
        ck_assert(world_run(&world, 10 * LATER_MS, produce_is_told, one));
        produce_free(one);
    }
    world_run(&world, LATER_MS, NULL, NULL);
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    ck_assert_uint_gt(counters.snapshots, 0);
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(!world.report.corrupt);
    ck_assert_uint_gt(world.report.snapshot_position, 0);
    for (uint16_t i = 0; i < MANY; i += 100) {
        ck_assert_ptr_nonnull(commit_log_queue_find(world.log, 1, i));
    }
    ck_assert_uint_eq(queue_state(commit_log_queue_find(world.log, 1, 7)).next, BATCH * BATCHES);
    world_deinit(&world);
}
END_TEST

START_TEST(a_snapshot_is_due_only_when_the_log_has_grown)
{
    write_log(2);
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    /* Rows are about 40 KiB: eight times that is five segments of 64 KiB. */
    ck_assert_uint_ge(counters.rolls, 4);
    ck_assert_uint_lt(counters.snapshots, counters.rolls);
    free_log();
}
END_TEST

START_TEST(a_snapshot_ends_though_messages_always_wait_for_a_segment)
{
    enum { ROUNDS = 60, LENGTH = 4000 };
    world_init(&world, 1, NULL);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    for (uint64_t key = 0; key < TALLY_KEYS; key++) {
        ck_assert_int_eq(world_operate(&world, TALLY_SET, key, key), OK);
    }
    struct commit_log_counters counters;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        enum error error;
        for (uint16_t queue = 0; queue < 2; queue++) {
            produces[produce_count++] =
                world_produce(&world, queue, PRODUCE_COUNT_MAX, LENGTH, i, true, &error);
            ck_assert_int_eq(error, OK);
        }
        world_run(&world, 1, NULL, NULL);
    }
    commit_log_counters(world.log, &counters);
    ck_assert_uint_gt(counters.rolls, 10);
    ck_assert_uint_lt(counters.roll_waits, 5); /* It has waited nearly all the time. */
    ck_assert_uint_gt(counters.snapshots, 1);
    world_run(&world, LATER_MS, NULL, NULL);
    uint64_t hash = commit_log_hash(world.log);
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(!world.report.corrupt);
    ck_assert_uint_gt(world.report.snapshot_position, WORLD_SEGMENT_BYTES);
    ck_assert_uint_eq(commit_log_hash(world.log), hash);
    free_log();
}
END_TEST

static uint32_t operations_told;

static void operation_told(struct log_operation *operation)
{
    (void)operation;
    operations_told++;
}

START_TEST(an_operation_is_written_though_messages_wait_and_a_queue_was_removed_among_them)
{
    enum { ROUNDS = 120, REMOVED_AT = 4, LENGTH = 4000 };
    world_init(&world, 1, NULL);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    uint8_t bytes[64];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    struct log_operation operation = {.done = operation_told};
    writer_put_array(&writer, 3);
    writer_put_uint(&writer, TALLY_SET);
    writer_put_uint(&writer, 1);
    writer_put_u64_fixed(&writer, 7);
    operations_told = 0;
    uint32_t told_at = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        enum error error;
        for (uint16_t queue = 0; queue < 2; queue++) {
            uint16_t number = i < REMOVED_AT ? queue : 0;
            produces[produce_count++] =
                world_produce(&world, number, PRODUCE_COUNT_MAX, LENGTH, i, true, &error);
            ck_assert_int_eq(error, OK);
        }
        if (i == REMOVED_AT - 1) {
            commit_log_queue_remove(world.log, 1, 1); /* its appends wait */
            ck_assert_int_eq(commit_log_operate(world.log, writer_bytes(&writer), &operation), OK);
        }
        world_run(&world, 1, NULL, NULL);
        told_at = operations_told > 0 && told_at == 0 ? i : told_at;
    }
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    ck_assert_uint_lt(counters.roll_waits, 5); /* It has waited nearly all the time. */
    ck_assert_uint_eq(operations_told, 1);
    ck_assert_uint_lt(told_at, ROUNDS - 1);
    world_run(&world, LATER_MS, NULL, NULL);
    world_close(&world);
    free_log();
}
END_TEST

static bool is_full;

static int full_fault(void *context, enum disk_call call)
{
    (void)context;
    return call == DISK_CALL_ALLOCATE && is_full ? -ENOSPC : 0;
}

static bool is_rolled(void *context)
{
    struct commit_log_counters counters;
    (void)context;
    commit_log_counters(world.log, &counters);
    return counters.rolls > 0;
}

/* Appends messages in one turn. */
static void put_at_once(uint32_t count, uint32_t length)
{
    enum error error;
    produces[produce_count++] = world_produce(&world, 0, count, length, 0, true, &error);
    ck_assert_int_eq(error, OK);
}

START_TEST(a_snapshot_that_has_no_room_waits_asleep_and_goes_on)
{
    enum { LENGTH = 3000, ASLEEP_MS = 5000 };
    world_init(&world, 1, NULL);
    world.disk_options.fault = full_fault;
    is_full = false;
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    put_at_once(10, LENGTH);
    world_run(&world, LATER_MS, NULL, NULL); /* The next segment is there: the last one for now. */
    is_full = true;
    /* Into the next one, up to where no chunk of a snapshot fits. */
    for (uint64_t key = 0; key < TALLY_KEYS; key++) {
        ck_assert_int_eq(world_operate(&world, TALLY_SET, key, key), OK);
    }
    put_at_once(PRODUCE_COUNT_MAX, LENGTH);
    put_at_once(9, LENGTH);
    ck_assert(world_run(&world, LATER_MS, is_rolled, NULL));
    world_run(&world, LATER_MS, NULL, NULL);
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    ck_assert_uint_eq(counters.snapshots, 1); /* That of the empty log. */
    uint64_t turns = reactor_counters(world.reactor)->turns;
    world_run(&world, ASLEEP_MS, NULL, NULL);
    ck_assert_uint_lt(reactor_counters(world.reactor)->turns - turns, 100);

    is_full = false;
    world_run(&world, ASLEEP_MS, NULL, NULL);
    commit_log_counters(world.log, &counters);
    ck_assert_uint_eq(counters.snapshots, 2);
    free_log();
}
END_TEST

static Suite *snapshot_suite(void)
{
    Suite *suite = suite_create("storage/snapshot");
    TCase *equation = tcase_create("equation");
    tcase_add_loop_test(equation, a_replay_from_any_snapshot_gives_the_state_that_was_live, 0,
                        SEEDS);
    tcase_add_test(equation, a_last_chunk_that_is_large_is_written_before_it_goes);
    tcase_add_test(equation, chunks_lie_between_the_records_of_other_turns);
    tcase_add_test(equation, a_snapshot_is_due_only_when_the_log_has_grown);
    tcase_add_test(equation, a_snapshot_ends_though_messages_always_wait_for_a_segment);
    tcase_add_test(equation,
                   an_operation_is_written_though_messages_wait_and_a_queue_was_removed_among_them);
    tcase_add_test(equation, a_snapshot_that_has_no_room_waits_asleep_and_goes_on);
    suite_add_tcase(suite, equation);
    return suite;
}

TEST_MAIN(snapshot_suite)
