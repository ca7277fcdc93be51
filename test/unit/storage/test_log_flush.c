/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of storage/log_flush.c: nothing is told durable before the sync, one sync serves many, and
 * a sync that fails ends everything.
 */

#include "test/lib/check_main.h"
#include "test/lib/log_world.h"

#include <errno.h>

enum { APPENDS = 64, LATER_MS = 2000 };

static struct log_world world;
static struct produce *produces[APPENDS];
static int fault_result;

static int fault(void *context, enum disk_call call)
{
    (void)context;
    return call == DISK_CALL_SYNC ? fault_result : 0;
}

static void set_up(void)
{
    world_init(&world, 1, NULL);
    world.disk_options.fault = fault;
    fault_result = 0;
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
}

static void tear_down(void)
{
    world_deinit(&world);
    for (int i = 0; i < APPENDS; i++) {
        if (produces[i] != NULL) {
            produce_free(produces[i]);
        }
    }
}

static struct produce *produce(int slot, uint16_t queue)
{
    enum error error;
    produces[slot] = world_produce(&world, queue, 2, 200, (uint64_t)slot * 10, true, &error);
    ck_assert_int_eq(error, OK);
    return produces[slot];
}

/* What a power cut behind the event at which somebody was told would leave. */
static uint64_t surviving_messages(uint64_t events, uint16_t queue)
{
    struct disk_cut cut = {events, DISK_KEEP_NONE, 0};
    struct disk_image *image = disk_image_cut(world.image, &cut, false);
    struct log_world other;
    world_init(&other, 5, image);
    ck_assert_msg(world_open(&other), "%s", other.error);
    struct queue *found = commit_log_queue_find(other.log, 1, queue);
    uint64_t next = found == NULL ? 0 : queue_state(found).next;
    world_deinit(&other);
    disk_image_destroy(image);
    return next;
}

START_TEST(what_was_told_durable_survives_a_power_cut_at_that_moment)
{
    for (int i = 0; i < APPENDS; i++) {
        produce(i, 0);
        world_run(&world, random_below(&world.random, 3), NULL, NULL);
    }
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[APPENDS - 1]));
    for (int i = 0; i < APPENDS; i++) {
        const struct produce *told = produces[i];
        ck_assert_uint_ge(surviving_messages(told->told_events, 0), told->append.offset + 2);
    }
}
END_TEST

START_TEST(what_a_disk_queue_shows_survives_a_power_cut)
{
    for (int i = 0; i < APPENDS; i++) {
        produce(i, 0);
        world_run(&world, random_below(&world.random, 2), NULL, NULL);
        uint64_t visible = queue_state(commit_log_queue_find(world.log, 1, 0)).visible;
        ck_assert_uint_ge(surviving_messages(disk_image_events(world.image), 0), visible);
    }
}
END_TEST

START_TEST(one_sync_serves_everybody_who_came_while_the_last_one_ran)
{
    struct commit_log_counters counters;
    for (int i = 0; i < APPENDS; i++) {
        produce(i, (uint16_t)(i % TALLY_QUEUES));
        simulation_step(world.simulation);
    }
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[APPENDS - 1]));
    commit_log_counters(world.log, &counters);
    ck_assert_uint_gt(counters.syncs, 1);
    ck_assert_uint_lt(counters.syncs, APPENDS / 2);
}
END_TEST

START_TEST(an_idle_log_writes_one_mark_and_syncs_nothing)
{
    struct commit_log_counters before;
    struct commit_log_counters after;
    for (int i = 0; i < 3; i++) {
        ck_assert(world_run(&world, LATER_MS, produce_is_told, produce(i, 0)));
        commit_log_counters(world.log, &before);
        world_run(&world, 50, NULL, NULL);
        commit_log_counters(world.log, &after);
        ck_assert_uint_eq(before.writes, after.writes);
        world_run(&world, 200, NULL, NULL);
        commit_log_counters(world.log, &after);
        ck_assert_uint_eq(before.writes + 1, after.writes);
        ck_assert_uint_eq(before.position_durable, after.position_durable);
        for (int j = 0; j < 10; j++) {
            world_run(&world, LATER_MS, NULL, NULL);
        }
        commit_log_counters(world.log, &after);
        ck_assert_uint_eq(before.syncs, after.syncs);
        ck_assert_uint_eq(before.writes + 1, after.writes);
    }
}
END_TEST

START_TEST(a_removed_queue_has_no_mark_left_however_many_it_had)
{
    /* A mark that a sync in flight covers stays, and the next append makes another. */
    for (int i = 0; i < APPENDS; i++) {
        produce(i, (uint16_t)(i % 2));
        simulation_step(world.simulation);
    }
    commit_log_queue_remove(world.log, 1, 0);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[APPENDS - 1]));
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[APPENDS - 2]));
    ck_assert_uint_eq(queue_state(commit_log_queue_find(world.log, 1, 1)).visible, APPENDS);
    ck_assert_ptr_null(commit_log_queue_find(world.log, 1, 0));
}
END_TEST

static bool has_failed(void *context)
{
    return ((struct log_world *)context)->failures > 0;
}

START_TEST(a_failed_sync_fences_the_log_and_is_never_tried_again)
{
    enum error error;
    fault_result = -EIO;
    produce(0, 0);
    ck_assert(world_run(&world, LATER_MS, has_failed, &world));
    fault_result = 0;
    produces[1] = world_produce(&world, 0, 1, 100, 0, true, &error);
    ck_assert_int_eq(error, ERROR_STOPPING);
    ck_assert_int_eq(world_operate(&world, TALLY_SET, 1, 1), ERROR_STOPPING);
    struct commit_log_counters before;
    struct commit_log_counters after;
    commit_log_counters(world.log, &before);
    world_run(&world, LATER_MS, NULL, NULL);
    commit_log_counters(world.log, &after);
    ck_assert_uint_eq(before.syncs, after.syncs);
    ck_assert_uint_eq(world.failures, 1);
    ck_assert_ptr_nonnull(strstr(world.failure, "syncing the log failed"));
    ck_assert_uint_eq(produces[0]->told, 0);
    ck_assert_uint_eq(queue_state(commit_log_queue_find(world.log, 1, 0)).visible, 0);
}
END_TEST

START_TEST(after_a_failed_sync_recovery_sees_what_the_disk_holds_not_the_cache)
{
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produce(0, 0)));
    fault_result = -EIO;
    produce(1, 0);
    ck_assert(world_run(&world, LATER_MS, has_failed, &world));
    fault_result = 0;
    world_close(&world);
    /* The same boot: the cache still has the lost bytes, and a new sync would succeed. */
    ck_assert(world_open(&world));
    ck_assert_uint_eq(queue_state(commit_log_queue_find(world.log, 1, 0)).next, 2);
    ck_assert(!world.report.corrupt);
    ck_assert(world_begin_epoch(&world));
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produce(2, 0)));
    ck_assert_uint_eq(produces[2]->append.offset, 2);
}
END_TEST

static Suite *log_flush_suite(void)
{
    Suite *suite = suite_create("storage/log_flush");
    TCase *syncs = tcase_create("syncs");
    tcase_add_checked_fixture(syncs, set_up, tear_down);
    tcase_add_test(syncs, what_was_told_durable_survives_a_power_cut_at_that_moment);
    tcase_add_test(syncs, what_a_disk_queue_shows_survives_a_power_cut);
    tcase_add_test(syncs, one_sync_serves_everybody_who_came_while_the_last_one_ran);
    tcase_add_test(syncs, an_idle_log_writes_one_mark_and_syncs_nothing);
    tcase_add_test(syncs, a_removed_queue_has_no_mark_left_however_many_it_had);
    tcase_add_test(syncs, a_failed_sync_fences_the_log_and_is_never_tried_again);
    tcase_add_test(syncs, after_a_failed_sync_recovery_sees_what_the_disk_holds_not_the_cache);
    suite_add_tcase(suite, syncs);
    return suite;
}

TEST_MAIN(log_flush_suite)
