/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of storage/log_append.c and log_write.c: offsets, order, what is told when, and refusals.
 */

#include "test/lib/check_main.h"
#include "test/lib/log_world.h"

#include <errno.h>
#include <signal.h>

enum { FEW = 8, LARGE_BYTES = 300 * 1024, LATER_MS = 1000 };

static struct log_world world;
static struct produce *produces[FEW * 8];

static void set_up(void)
{
    world_init(&world, 1, NULL);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    commit_log_queue_put(world.log, 1, 3, LOG_MEMORY);
}

static void tear_down(void)
{
    world_deinit(&world);
    for (size_t i = 0; i < sizeof(produces) / sizeof(produces[0]); i++) {
        if (produces[i] != NULL) {
            produce_free(produces[i]);
        }
    }
}

static struct queue_state state_of(uint16_t queue)
{
    return queue_state(commit_log_queue_find(world.log, 1, queue));
}

static struct produce *produce(int slot, uint16_t queue, uint32_t count, bool durable)
{
    enum error error;
    produces[slot] =
        world_produce(&world, queue, count, 100, (uint64_t)slot * 100, durable, &error);
    ck_assert_int_eq(error, OK);
    return produces[slot];
}

START_TEST(offsets_are_given_at_once_and_follow_each_other)
{
    ck_assert_uint_eq(produce(0, 0, 3, true)->append.offset, 0);
    ck_assert_uint_eq(produce(1, 0, 5, true)->append.offset, 3);
    ck_assert_uint_eq(produce(2, 1, 1, true)->append.offset, 0);
    ck_assert_uint_eq(produce(3, 0, 1, true)->append.offset, 8);
    ck_assert_uint_eq(state_of(0).next, 9);
    ck_assert_uint_eq(state_of(0).visible, 0);
}
END_TEST

START_TEST(nobody_is_told_inside_the_call_and_everybody_once)
{
    produce(0, 0, 3, true);
    produce(1, 3, 1, false);
    ck_assert_uint_eq(produces[0]->told + produces[1]->told, 0);
    ck_assert(!append_is_written(&produces[1]->append));
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[0]));
    world_run(&world, LATER_MS, NULL, NULL);
    ck_assert_uint_eq(produces[0]->told, 1);
    ck_assert_uint_eq(produces[1]->told, 1);
    ck_assert(append_is_written(&produces[1]->append));
}
END_TEST

START_TEST(written_is_told_before_durable)
{
    produce(0, 0, 1, true);
    produce(1, 0, 1, false);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[1]));
    ck_assert_uint_eq(produces[0]->told, 0);
}
END_TEST

static bool is_visible(void *context)
{
    return state_of(*(uint16_t *)context).visible > 0;
}

START_TEST(a_disk_queue_shows_only_what_is_durable_and_a_memory_queue_what_is_written)
{
    uint16_t disk = 0;
    produce(0, 0, 1, false);
    produce(1, 3, 1, false);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[1]));
    ck_assert_uint_eq(state_of(3).visible, 1);
    ck_assert_uint_eq(state_of(0).visible, 0);
    ck_assert(world_run(&world, LATER_MS, is_visible, &disk));
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    ck_assert_uint_ge(counters.position_durable, produces[0]->append.position + 1);
}
END_TEST

START_TEST(appends_of_a_turn_lie_together_by_queue)
{
    for (int i = 0; i < FEW; i++) {
        produce(i, (uint16_t)(i % 2), 2, true);
    }
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[FEW - 1]));
    for (uint16_t queue = 0; queue < 2; queue++) {
        struct run_list list;
        ck_assert_int_eq(commit_log_read(world.log, commit_log_queue_find(world.log, 1, queue),
                                         &(struct read_limits){0, 100, 1 << 20, false}, &list),
                         OK);
        ck_assert_uint_eq(list.count, 1);
        ck_assert_uint_eq(list.messages, FEW);
        segment_unref(list.runs[0].segment);
    }
}
END_TEST

struct expected {
    uint64_t number;
    uint32_t count;
};

static void expect_record(void *context, const uint8_t *record)
{
    struct expected *expected = context;
    struct record_view view;
    ck_assert_int_eq(record_read_anywhere(bytes_make(record, record_size(record)), &view),
                     RECORD_WHOLE);
    ck_assert_uint_eq(load_u64(view.message.data + 3), expected->number);
    ck_assert_uint_eq(view.fields.stored_at_ms, view.fields.born_at_ms);
    expected->number++;
    expected->count++;
}

START_TEST(messages_of_every_size_come_back_byte_for_byte)
{
    static const uint32_t sizes[] = {11, 500, 511, 512, 513, 4096, 20000, 60000};
    for (int i = 0; i < FEW; i++) {
        enum error error;
        produces[i] = world_produce(&world, 0, 1, sizes[i], (uint64_t)i, true, &error);
        ck_assert_int_eq(error, OK);
    }
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[FEW - 1]));
    struct expected expected = {0, 0};
    ck_assert_int_eq(world_read_all(&world, 0, expect_record, &expected), OK);
    ck_assert_uint_eq(expected.count, FEW);
}
END_TEST

START_TEST(a_message_larger_than_a_segment_gets_a_segment_of_its_size)
{
    static uint8_t bytes[LARGE_BYTES] = {0xc6};
    struct append_message message = {.bytes = bytes, .length = LARGE_BYTES};
    struct queue *queue = commit_log_queue_find(world.log, 1, 0);
    store_u32(bytes + 1, LARGE_BYTES - 5);
    memset(bytes + 5, 0x5a, LARGE_BYTES - 5);
    message.crc = crc32c(bytes, LARGE_BYTES);
    produces[0] = calloc(1, sizeof(*produces[0]));
    produces[0]->image = world.image;
    produces[0]->append = (struct append){.done = produce_done,
                                          .queue = queue,
                                          .messages = &message,
                                          .count = 1,
                                          .wait_durable = true};
    ck_assert_int_eq(commit_log_append(world.log, &produces[0]->append), OK);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[0]));
    struct run_list list;
    ck_assert_int_eq(
        commit_log_read(world.log, queue, &(struct read_limits){0, 1, 1, false}, &list), OK);
    ck_assert_uint_eq(list.bytes, LARGE_BYTES + RECORD_HEAD_BYTES);
    ck_assert_mem_eq(segment_bytes(list.runs[0].segment) + list.runs[0].place + RECORD_HEAD_BYTES,
                     bytes, LARGE_BYTES);
    segment_unref(list.runs[0].segment);
}
END_TEST

struct extras {
    const uint32_t *lengths; /* 0: none */
    uint32_t count;
};

static void expect_extra(void *context, const uint8_t *record)
{
    struct extras *extras = context;
    const struct produce *of = produces[extras->count];
    struct record_view view;
    ck_assert_int_eq(
        record_read(bytes_make(record, record_size(record)), of->append.position, &view),
        RECORD_WHOLE);
    ck_assert_uint_eq(view.extra.length, extras->lengths[extras->count]);
    if (view.extra.length > 0) {
        ck_assert_mem_eq(view.extra.data, of->extra, view.extra.length);
    }
    ck_assert_uint_eq(view.message.length, of->messages[0].length);
    ck_assert_mem_eq(view.message.data, of->bytes, view.message.length);
    extras->count++;
}

START_TEST(an_extra_stands_before_its_message_and_views_are_shown_it)
{
    static const uint32_t lengths[FEW] = {1, 0, EXTRA_BYTES_MAX, 5, 0, EXTRA_BYTES_MAX, 100, 0};
    static const uint32_t sizes[FEW] = {11, 11, 511, 512, 513, 513, 8000, 40};
    for (int i = 0; i < FEW; i++) {
        produces[i] = produce_make(&world, 3, 1, sizes[i], (uint64_t)i);
        if (lengths[i] > 0) {
            produce_set_extra(produces[i], lengths[i]);
        }
        ck_assert_int_eq(commit_log_append(world.log, &produces[i]->append), OK);
    }
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[FEW - 1]));

    struct extras extras = {lengths, 0};
    ck_assert_int_eq(world_read_all(&world, 3, expect_extra, &extras), OK);
    ck_assert_uint_eq(extras.count, FEW);
    uint64_t hash = tally_hash(&world.tally.view);
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert_uint_eq(tally_hash(&world.tally.view), hash);
    extras.count = 0;
    ck_assert_int_eq(world_read_all(&world, 3, expect_extra, &extras), OK);
    ck_assert_uint_eq(extras.count, FEW);
}
END_TEST

START_TEST(an_extra_that_no_replay_would_read_is_our_own_mistake)
{
    produces[0] = produce_make(&world, 0, 1, 11, 0);
    produce_set_extra(produces[0], 5);
    produces[0]->extra[0] = 0x91; /* an array */
    (void)commit_log_append(world.log, &produces[0]->append);
}
END_TEST

START_TEST(an_extra_of_several_messages_is_our_own_mistake)
{
    produces[0] = produce_make(&world, 0, 2, 11, 0);
    produce_set_extra(produces[0], 5);
    (void)commit_log_append(world.log, &produces[0]->append);
}
END_TEST

struct waiter {
    struct queue_waiter waiter;
    uint32_t woken;
};

static void woken(struct queue_waiter *waiter)
{
    ((struct waiter *)waiter)->woken++;
}

static void wait_for(struct waiter *waiter, uint16_t queue, uint64_t offset)
{
    *waiter = (struct waiter){.waiter = {.woken = woken, .offset = offset}};
    queue_wait(commit_log_queue_find(world.log, 1, queue), &waiter->waiter);
}

START_TEST(a_waiter_is_woken_once_when_its_offset_is_visible)
{
    struct waiter near;
    struct waiter far;
    struct waiter cancelled;
    wait_for(&near, 0, 0);
    wait_for(&far, 0, 2);
    wait_for(&cancelled, 0, 0);
    queue_waiter_cancel(&cancelled.waiter);
    produce(0, 0, 2, true);
    world_run(&world, LATER_MS, NULL, NULL);
    ck_assert_uint_eq(near.woken, 1);
    ck_assert_uint_eq(far.woken, 0);
    ck_assert_uint_eq(cancelled.woken, 0);
    produce(1, 0, 1, true);
    world_run(&world, LATER_MS, NULL, NULL);
    ck_assert_uint_eq(near.woken, 1);
    ck_assert_uint_eq(far.woken, 1);
}
END_TEST

START_TEST(who_waits_is_woken_when_the_queue_goes_and_when_the_log_closes)
{
    struct waiter removed;
    struct waiter closed;
    wait_for(&removed, 0, 10);
    wait_for(&closed, 1, 10);
    commit_log_queue_remove(world.log, 1, 0);
    ck_assert_uint_eq(removed.woken, 1);
    ck_assert_ptr_null(commit_log_queue_find(world.log, 1, 0));
    world_close(&world);
    ck_assert_uint_eq(closed.woken, 1);
}
END_TEST

START_TEST(a_queue_that_goes_with_appends_under_way_still_has_them_told)
{
    produce(0, 0, 3, true);
    commit_log_queue_remove(world.log, 1, 0);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[0]));
}
END_TEST

START_TEST(a_closing_log_tells_everybody_and_refuses_the_rest)
{
    enum error error;
    produce(0, 0, 3, true);
    world.is_closed = false;
    commit_log_close(world.log, world_closed, &world);
    produces[1] = world_produce(&world, 0, 1, 100, 0, true, &error);
    ck_assert_int_eq(error, ERROR_STOPPING);
    ck_assert_int_eq(world_operate(&world, TALLY_SET, 1, 1), ERROR_STOPPING);
    ck_assert(world_run(&world, LATER_MS, world_is_closed, &world));
    ck_assert_uint_eq(produces[0]->told, 1);
    disk_close(world.disk);
    world.log = NULL;
}
END_TEST

START_TEST(an_abandoned_append_is_not_told)
{
    produce(0, 0, 1, true);
    produce(1, 3, 1, false);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[1]));
    ck_assert(append_is_written(&produces[0]->append));
    commit_log_append_abandon(world.log, &produces[0]->append);
    world_run(&world, LATER_MS, NULL, NULL);
    ck_assert_uint_eq(produces[0]->told, 0);
    ck_assert_uint_eq(state_of(0).visible, 1);
}
END_TEST

START_TEST(a_full_disk_refuses_appends_and_serves_again_when_there_is_room)
{
    enum error error = OK;
    int count = 0;
    world_close(&world);
    world.disk_options.capacity_bytes = 2 * WORLD_SEGMENT_BYTES + 4096;
    ck_assert(world_open(&world));
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    while (error == OK && count < 40) {
        produces[count] = world_produce(&world, 0, 1, 8000, 0, true, &error);
        world_run(&world, 20, NULL, NULL);
        count++;
    }
    ck_assert_int_eq(error, ERROR_DISK_FULL);
    ck_assert_uint_eq(world.failures, 0);
    /* What was accepted before is told all the same, and can be read. */
    ck_assert_uint_eq(state_of(0).visible, (uint64_t)count - 1);
    world_close(&world);

    world.disk_options.capacity_bytes = 0;
    ck_assert(world_open(&world));
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    ck_assert_uint_eq(state_of(0).next, (uint64_t)count - 1);
    produces[count] = world_produce(&world, 0, 1, 8000, 0, true, &error);
    ck_assert_int_eq(error, OK);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[count]));
}
END_TEST

static bool is_full;

static int full_fault(void *context, enum disk_call call)
{
    (void)context;
    return call == DISK_CALL_ALLOCATE && is_full ? -ENOSPC : 0;
}

START_TEST(service_resumes_by_itself_when_there_is_room_again)
{
    enum error error = OK;
    int count = 0;
    world_close(&world);
    world.disk_options.fault = full_fault;
    ck_assert(world_open(&world));
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    is_full = true;
    while (error == OK && count < 40) {
        produces[count] = world_produce(&world, 0, 1, 8000, 0, true, &error);
        world_run(&world, 20, NULL, NULL);
        count++;
    }
    ck_assert_int_eq(error, ERROR_DISK_FULL);
    is_full = false;
    world_run(&world, 2000, NULL, NULL);
    produces[count] = world_produce(&world, 0, 1, 8000, 0, true, &error);
    ck_assert_int_eq(error, OK);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[count]));
    ck_assert_uint_eq(world.failures, 0);
}
END_TEST

START_TEST(time_in_a_log_never_goes_back)
{
    produce(0, 0, 1, true);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[0]));
    uint64_t last = state_of(0).last_stored_ms;
    world_close(&world);
    reactor_destroy(world.reactor);
    simulation_destroy(world.simulation);

    /* The next process's clock is a day behind. */
    struct simulation_options options = {
        .seed = 3, .wall_ms = last - 86400000, .delay_ns_most = 2, .window_bytes = 1024};
    world.simulation = simulation_create(&options);
    world.reactor = reactor_create_simulated(world.simulation, "again");
    world.options.reactor = world.reactor;
    world.disk_options.simulation = world.simulation;
    ck_assert(world_open(&world));
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    produce(1, 0, 1, true);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[1]));
    ck_assert_uint_ge(state_of(0).last_stored_ms, last);
}
END_TEST

static Suite *log_append_suite(void)
{
    Suite *suite = suite_create("storage/log_append");
    TCase *appends = tcase_create("appends");
    tcase_add_checked_fixture(appends, set_up, tear_down);
    tcase_add_test(appends, offsets_are_given_at_once_and_follow_each_other);
    tcase_add_test(appends, nobody_is_told_inside_the_call_and_everybody_once);
    tcase_add_test(appends, written_is_told_before_durable);
    tcase_add_test(appends,
                   a_disk_queue_shows_only_what_is_durable_and_a_memory_queue_what_is_written);
    tcase_add_test(appends, appends_of_a_turn_lie_together_by_queue);
    tcase_add_test(appends, messages_of_every_size_come_back_byte_for_byte);
    tcase_add_test(appends, a_message_larger_than_a_segment_gets_a_segment_of_its_size);
    tcase_add_test(appends, a_waiter_is_woken_once_when_its_offset_is_visible);
    tcase_add_test(appends, who_waits_is_woken_when_the_queue_goes_and_when_the_log_closes);
    tcase_add_test(appends, a_queue_that_goes_with_appends_under_way_still_has_them_told);
    tcase_add_test(appends, a_closing_log_tells_everybody_and_refuses_the_rest);
    tcase_add_test(appends, an_abandoned_append_is_not_told);
    tcase_add_test(appends, a_full_disk_refuses_appends_and_serves_again_when_there_is_room);
    tcase_add_test(appends, service_resumes_by_itself_when_there_is_room_again);
    tcase_add_test(appends, time_in_a_log_never_goes_back);
    tcase_add_test(appends, an_extra_stands_before_its_message_and_views_are_shown_it);
    tcase_add_test_raise_signal(appends, an_extra_that_no_replay_would_read_is_our_own_mistake,
                                SIGABRT);
    tcase_add_test_raise_signal(appends, an_extra_of_several_messages_is_our_own_mistake, SIGABRT);
    suite_add_tcase(suite, appends);
    return suite;
}

TEST_MAIN(log_append_suite)
