/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of storage/log_append.c on a full disk: who is refused first, and what goes on.
 */

#include "storage/segment_file.h"
#include "test/lib/check_main.h"
#include "test/lib/log_world.h"

#include <errno.h>

enum {
    LENGTH = 300,
    LEAST = 11,
    PRODUCES_MAX = 600,
    LATER_MS = 1000,
    TURN_MS = 20,
    KEPT_BYTES = WORLD_SEGMENT_BYTES / 16,
    MARKS_BYTES = 200, /* durable marks are operations, too */
    /* TALLY_SET, a key below 128, a fixed u64. */
    OPERATION_BYTES = 1 + 1 + 1 + 9
};

static struct log_world world;
static struct produce *produces[PRODUCES_MAX];
static uint32_t produce_count;
static bool is_full;

static int full_fault(void *context, enum disk_call call)
{
    (void)context;
    return call == DISK_CALL_ALLOCATE && is_full ? -ENOSPC : 0;
}

static void set_up(void)
{
    is_full = false;
    produce_count = 0;
    world_init(&world, 1, NULL);
    world.disk_options.fault = full_fault;
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    is_full = true;
}

static void tear_down(void)
{
    world_deinit(&world);
    while (produce_count > 0) {
        produce_free(produces[--produce_count]);
    }
}

static enum error append_sized(uint32_t length, bool relocates)
{
    struct produce *produce = produce_make(&world, 0, 1, length, produce_count);
    produce->append.wait_durable = true;
    produce->append.relocates = relocates;
    enum error error = commit_log_append(world.log, &produce->append);
    if (error != OK) {
        produce_free(produce);
        return error;
    }
    produces[produce_count++] = produce;
    return OK;
}

static enum error append(bool relocates)
{
    return append_sized(LENGTH, relocates);
}

static uint64_t position(void)
{
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    return counters.position_written;
}

static void fill_with(uint32_t length)
{
    enum error error;
    while ((error = append_sized(length, false)) == OK) {
        ck_assert_uint_lt(produce_count, PRODUCES_MAX);
        if (produce_count % 7 == 0) {
            world_run(&world, TURN_MS, NULL, NULL);
        }
    }
    ck_assert_int_eq(error, ERROR_DISK_FULL);
}

/* Appends until not even the smallest is accepted; most share a turn with others. */
static void fill(void)
{
    fill_with(LENGTH);
    fill_with(LEAST);
    world_run(&world, LATER_MS, NULL, NULL);
    ck_assert_uint_eq(world.failures, 0);
}

struct operation {
    struct log_operation operation;
    uint32_t told;
};

static void told(struct log_operation *operation)
{
    ((struct operation *)operation)->told++;
}

/* An operation that is told when it is durable. */
static enum error operate(struct operation *operation, uint64_t value)
{
    uint8_t bytes[OPERATION_BYTES];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    *operation = (struct operation){.operation = {.done = told}};
    writer_put_array(&writer, 3);
    writer_put_uint(&writer, TALLY_SET);
    writer_put_uint(&writer, 1);
    writer_put_u64_fixed(&writer, value);
    ck_assert_uint_eq(writer_length(&writer), OPERATION_BYTES);
    enum error said = commit_log_may_operate(world.log, OPERATION_BYTES);
    enum error error = commit_log_operate(world.log, writer_bytes(&writer), &operation->operation);
    ck_assert_int_eq(said, error);
    return error;
}

/* Turns with one operation each, until that is refused; the value of the last that was accepted. */
static uint64_t operate_until_full(void)
{
    struct operation operation;
    uint64_t value = 0;
    while (operate(&operation, value + 1) == OK) {
        value++;
        world_run(&world, TURN_MS, NULL, NULL);
        ck_assert_uint_eq(operation.told, 1);
        ck_assert_uint_lt(value, WORLD_SEGMENT_BYTES);
    }
    return value;
}

START_TEST(a_full_disk_refuses_messages_before_operations)
{
    fill();
    for (uint32_t i = 0; i < produce_count; i++) {
        ck_assert_uint_eq(produces[i]->told, 1);
    }
    uint64_t begin = position();
    ck_assert_uint_le(begin, WORLD_SEGMENT_BYTES - KEPT_BYTES + MARKS_BYTES);
    ck_assert_uint_gt(begin, WORLD_SEGMENT_BYTES - KEPT_BYTES - 3 * (LEAST + RECORD_HEAD_BYTES));

    uint64_t last = operate_until_full();
    ck_assert_uint_ge(last, KEPT_BYTES / (2 * (RECORD_CONTENT_PLACE + OPERATION_BYTES)));
    ck_assert_uint_ge(position() - begin,
                      KEPT_BYTES - 2 * (RECORD_CONTENT_PLACE + OPERATION_BYTES));
    ck_assert_int_eq(append(false), ERROR_DISK_FULL);

    /* Nothing of it is lost. */
    world_close(&world);
    is_full = false;
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert_uint_eq(world.tally.entries[1].value, last);
    ck_assert_uint_eq(queue_state(commit_log_queue_find(world.log, 1, 0)).next, produce_count);
}
END_TEST

START_TEST(a_start_with_a_full_disk_finds_room_for_its_epoch)
{
    fill();
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert_msg(world_begin_epoch(&world), "%s", world.error);
    world_put_queues(&world, LOG_DISK);
    ck_assert_int_eq(append(false), ERROR_DISK_FULL);
}
END_TEST

/* More than the open segment has room for, accepted while the next one was still being made. */
START_TEST(messages_that_wait_for_room_leave_it_to_operations)
{
    struct operation operation;
    while (produce_count * LENGTH < 2 * WORLD_SEGMENT_BYTES) {
        ck_assert_int_eq(append(false), OK);
    }
    world_run(&world, LATER_MS, NULL, NULL);
    ck_assert_int_eq(append(false), ERROR_DISK_FULL);
    ck_assert_uint_eq(produces[0]->told, 1);
    ck_assert_uint_eq(produces[produce_count - 1]->told, 0);
    ck_assert_uint_le(position(), WORLD_SEGMENT_BYTES - KEPT_BYTES);

    for (uint64_t i = 0; i < 10; i++) {
        ck_assert_int_eq(operate(&operation, i), OK);
        world_run(&world, TURN_MS, NULL, NULL);
        ck_assert_uint_eq(operation.told, 1);
    }
    ck_assert_uint_eq(produces[produce_count - 1]->told, 0);

    is_full = false;
    world_run(&world, 5 * LATER_MS, NULL, NULL);
    ck_assert_uint_eq(produces[produce_count - 1]->told, 1);
    uint64_t hash = commit_log_hash(world.log);
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert_uint_eq(commit_log_hash(world.log), hash);
}
END_TEST

/* All of them would fit, and while the next one is being made nobody is refused. */
START_TEST(messages_that_fit_leave_what_is_kept_until_there_is_a_next_one)
{
    struct operation operation;
    while ((produce_count + 1) * (LENGTH + RECORD_HEAD_BYTES) <
           WORLD_SEGMENT_BYTES - KEPT_BYTES / 2) {
        ck_assert_int_eq(append(false), OK);
    }
    world_run(&world, LATER_MS, NULL, NULL);
    ck_assert_uint_le(position(), WORLD_SEGMENT_BYTES - KEPT_BYTES + MARKS_BYTES);
    ck_assert_int_eq(operate(&operation, 1), OK);
    world_run(&world, TURN_MS, NULL, NULL);
    ck_assert_uint_eq(operation.told, 1);
    is_full = false;
    world_run(&world, 5 * LATER_MS, NULL, NULL);
    ck_assert_uint_eq(produces[produce_count - 1]->told, 1);
}
END_TEST

/* It is tried again to make the next one, every second: nothing is accepted meanwhile to wait for it. */
START_TEST(who_comes_while_it_is_tried_again_is_refused_like_the_others)
{
    fill();
    uint64_t until_ns = simulation_now_ns(world.simulation) + 20 * LATER_MS * UINT64_C(1000000);
    uint64_t begin = position();
    while (simulation_now_ns(world.simulation) < until_ns) {
        ck_assert_int_eq(append_sized(LEAST, false), ERROR_DISK_FULL);
        ck_assert(simulation_step(world.simulation));
    }
    (void)operate_until_full();
    ck_assert_uint_ge(position() - begin,
                      KEPT_BYTES - 2 * (RECORD_CONTENT_PLACE + OPERATION_BYTES));
    until_ns = simulation_now_ns(world.simulation) + 20 * LATER_MS * UINT64_C(1000000);
    while (simulation_now_ns(world.simulation) < until_ns) {
        struct operation operation;
        ck_assert_int_eq(operate(&operation, 1), ERROR_DISK_FULL);
        ck_assert(simulation_step(world.simulation));
    }
    is_full = false;
    world_run(&world, 5 * LATER_MS, NULL, NULL);
    ck_assert_int_eq(append(false), OK);
}
END_TEST

START_TEST(what_makes_room_may_have_what_is_kept)
{
    fill();
    uint32_t before = produce_count;
    while (append(true) == OK) {
        world_run(&world, TURN_MS, NULL, NULL);
        ck_assert_uint_eq(produces[produce_count - 1]->told, 1);
    }
    ck_assert_uint_ge(produce_count - before, KEPT_BYTES / (LENGTH + RECORD_HEAD_BYTES) / 2);
    ck_assert_uint_gt(position(), WORLD_SEGMENT_BYTES - KEPT_BYTES);
}
END_TEST

START_TEST(all_room_is_used_once_there_is_a_next_segment)
{
    is_full = false;
    while (position() < 3 * WORLD_SEGMENT_BYTES) {
        for (int i = 0; i < 40; i++) {
            ck_assert_int_eq(append(false), OK);
        }
        world_run(&world, TURN_MS, NULL, NULL);
    }
    uint64_t bytes;
    struct record_view view;
    const uint8_t *file = disk_image_bytes(world.image, "0/00000000000000000000.log", &bytes);
    uint64_t place = 0;
    while (record_read(bytes_make(file + place, bytes - place), place, &view) == RECORD_WHOLE) {
        place += view.fields.size;
    }
    ck_assert_uint_gt(place, WORLD_SEGMENT_BYTES - 2 * (LENGTH + RECORD_HEAD_BYTES));
}
END_TEST

START_TEST(a_log_that_closes_accepts_no_operation)
{
    ck_assert_int_eq(commit_log_may_operate(world.log, OPERATION_BYTES), OK);
    world.is_closed = false;
    commit_log_close(world.log, world_closed, &world);
    ck_assert_int_eq(commit_log_may_operate(world.log, OPERATION_BYTES), ERROR_STOPPING);
    ck_assert(world_run(&world, LATER_MS, world_is_closed, &world));
    disk_close(world.disk);
    world.log = NULL;
}
END_TEST

static Suite *log_full_suite(void)
{
    Suite *suite = suite_create("storage/log_full");
    TCase *full = tcase_create("full");
    tcase_add_checked_fixture(full, set_up, tear_down);
    tcase_set_timeout(full, 60);
    tcase_add_test(full, a_full_disk_refuses_messages_before_operations);
    tcase_add_test(full, a_start_with_a_full_disk_finds_room_for_its_epoch);
    tcase_add_test(full, messages_that_wait_for_room_leave_it_to_operations);
    tcase_add_test(full, messages_that_fit_leave_what_is_kept_until_there_is_a_next_one);
    tcase_add_test(full, who_comes_while_it_is_tried_again_is_refused_like_the_others);
    tcase_add_test(full, what_makes_room_may_have_what_is_kept);
    tcase_add_test(full, all_room_is_used_once_there_is_a_next_segment);
    tcase_add_test(full, a_log_that_closes_accepts_no_operation);
    suite_add_tcase(suite, full);
    return suite;
}

TEST_MAIN(log_full_suite)
