/* SPDX-License-Identifier: Apache-2.0 */
/* test_queue_reader.c - reads of a queue: their bounds, their filters, and how they wait for the disk. */
#include "broker/core.h"
#include "broker/filter_scan.h"
#include "broker/limits.h"
#include "broker/queue_reader.h"
#include "broker/shard.h"
#include "proto/filter.h"
#include "test/lib/check_main.h"
#include "test/lib/log_world.h"

enum {
    COUNT = 400,
    LENGTH = 700,
    LATER_MS = 5000, /* what was written since is taken to be in memory */
    BYTES_MAX = 64 * 1024
};

static struct log_world world;
static struct cores *cores;
static struct core *core;
static struct shard *shard;
static struct queue_reader reader;
static uint32_t again_count;
static bool reads_fail;

static int read_fault(void *context, enum disk_call call)
{
    (void)context;
    return reads_fail && call == DISK_CALL_READ ? -5 : 0;
}

static void again(struct queue_reader *told, struct core *at)
{
    ck_assert_ptr_eq(told, &reader);
    ck_assert_ptr_eq(at, core);
    ck_assert(!told->is_cold);
    again_count++;
}

static bool is_again(void *context)
{
    (void)context;
    return again_count > 0;
}

/* A log with COUNT messages in queue 0 of topic 1, and a core that its shard is on. */
static void set_up(void)
{
    reads_fail = false;
    world_init(&world, 1, NULL);
    world.disk_options.fault = read_fault;
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    for (uint64_t i = 0; i < COUNT; i++) {
        enum error error;
        struct produce *produce = world_produce(&world, 0, 1, LENGTH, i, true, &error);
        ck_assert_int_eq(error, OK);
        ck_assert(world_run(&world, LATER_MS, produce_is_told, produce));
        produce_free(produce);
    }
    cores = cores_create(&world.reactor, 1, 1);
    core = cores->core[0];
    shard = cores->shard[0];
    shard->log = world.log;
}

static void note_drained(struct core *drained, void *owner)
{
    (void)drained;
    *(bool *)owner = true;
}

static bool is_set(void *context)
{
    return *(bool *)context;
}

static void tear_down(void)
{
    static bool is_drained;
    if (reader.runs != NULL) {
        queue_reader_drop_runs(&reader, core);
    }
    if (!core->draining) {
        is_drained = false;
        core_drain(core, note_drained, &is_drained);
    }
    ck_assert(world_run(&world, LATER_MS, is_set, &is_drained));
    world_close(&world);
    cores_destroy(cores);
    world_deinit(&world);
}

static void begin(uint64_t from, uint64_t until)
{
    queue_reader_init(&reader, shard, 1, 0, BYTES_MAX);
    reader.again = again;
    reader.from = from;
    reader.until = until;
    again_count = 0;
}

/* Reads until it is not cold any more. */
static void read_on(void)
{
    while (!queue_reader_read(&reader, core)) {
        ck_assert(reader.is_cold);
        again_count = 0;
        ck_assert(world_run(&world, LATER_MS, is_again, NULL));
    }
    ck_assert(reader.runs != NULL || reader.next == reader.from);
}

/* Reads on to the end of what is there for it, and gives back what comes; how many messages. */
static uint32_t read_all(uint32_t *turns)
{
    uint32_t messages = 0;
    *turns = 0;
    for (;;) {
        filter_scans_begin(&core->scans);
        read_on();
        ck_assert_int_eq(reader.error, OK);
        ck_assert(reader.next <= reader.until || reader.next == reader.from);
        if (reader.runs != NULL) {
            ck_assert_uint_ge(reader.runs->runs[0].offset, reader.from);
            messages += reader.runs->messages;
            queue_reader_drop_runs(&reader, core);
        }
        (*turns)++;
        if (reader.next >= reader.until || reader.next == reader.end) {
            return messages;
        }
        ck_assert(!reader.put_off);
        reader.from = reader.next;
    }
}

START_TEST(a_reader_reads_no_further_than_it_was_told)
{
    static const uint64_t bounds[][3] = {{0, 1, 1},      {3, 10, 7}, {0, COUNT, COUNT},
                                         {5, 5, 0},      {7, 5, 0},  {0, COUNT + 9, COUNT},
                                         {120, 300, 180}};
    uint32_t turns;
    for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        begin(bounds[i][0], bounds[i][1]);
        ck_assert_uint_eq(read_all(&turns), bounds[i][2]);
        ck_assert_uint_eq(reader.end, COUNT);
    }
    begin(0, QUEUE_READER_NO_END);
    ck_assert_uint_eq(read_all(&turns), COUNT);
    ck_assert_uint_gt(turns, 3); /* BYTES_MAX holds */
    begin(10, QUEUE_READER_NO_END);
    reader.messages_max = 4;
    read_on();
    ck_assert_uint_eq(reader.runs->messages, 4);
    ck_assert_uint_eq(reader.next, 14);
}
END_TEST

static struct filter *compile(const char *text)
{
    struct filter *filter = NULL;
    struct refusal refusal;
    ck_assert_int_eq(filter_create(bytes_from_string(text), &filter, &refusal), OK);
    return filter;
}

START_TEST(with_a_filter_it_looks_no_further_either)
{
    /* The messages have neither tags nor properties; a tag is ruled out by the index alone. */
    static const char *const nothing[] = {"paid || sent", "n = 1"};
    uint32_t turns;
    for (int i = 0; i < 2; i++) {
        struct filter *filter = compile(nothing[i]);
        for (uint64_t until = 1; until < COUNT; until += 37) {
            begin(until / 3, until);
            reader.filter = filter;
            ck_assert_uint_eq(read_all(&turns), 0);
            ck_assert_uint_eq(reader.next, until);
            ck_assert_uint_eq(reader.from, until);
        }
        filter_destroy(filter);
    }
    struct filter *all = compile("TAGS IS NULL AND n IS NULL");
    for (uint64_t until = 1; until < COUNT; until += 37) {
        begin(until / 3, until);
        reader.filter = all;
        ck_assert_uint_eq(read_all(&turns), until - until / 3);
    }
    filter_destroy(all);
}
END_TEST

START_TEST(what_a_turn_may_cost_is_shared_and_who_comes_late_is_put_off)
{
    struct filter *filter = compile("n = 1");
    filter_scans_begin(&core->scans);
    uint32_t looked_at = 0;
    for (;;) {
        begin(0, QUEUE_READER_NO_END);
        reader.filter = filter;
        read_on();
        if (reader.put_off) {
            break;
        }
        looked_at += (uint32_t)reader.next;
        ck_assert_uint_le(looked_at, FILTER_SCAN_MESSAGES_MAX);
    }
    ck_assert_uint_gt(looked_at, 0);
    ck_assert_int_eq(reader.error, OK);
    ck_assert_uint_eq(reader.next, 0);
    filter_scans_begin(&core->scans);
    read_on();
    ck_assert(!reader.put_off);
    ck_assert_uint_gt(reader.next, 0);
    filter_destroy(filter);
}
END_TEST

static void cool(void)
{
    (void)world_run(&world, LATER_MS, NULL, NULL);
    disk_image_cool(world.image);
}

START_TEST(what_is_cold_is_read_after_it_was_brought)
{
    uint32_t turns;
    cool();
    begin(0, 100);
    ck_assert(!queue_reader_read(&reader, core));
    ck_assert(reader.is_cold);
    ck_assert_ptr_null(reader.runs);
    ck_assert(world_run(&world, LATER_MS, is_again, NULL));
    ck_assert_uint_eq(again_count, 1);
    ck_assert_uint_eq(read_all(&turns), 100);
    ck_assert_uint_eq(disk_simulated_waits(world.disk), 0);
}
END_TEST

START_TEST(a_cancel_while_it_is_cold_ends_it_without_an_error)
{
    cool();
    begin(7, QUEUE_READER_NO_END);
    ck_assert(!queue_reader_read(&reader, core));
    reader.cancelled = true;
    ck_assert(world_run(&world, LATER_MS, is_again, NULL));
    ck_assert(queue_reader_read(&reader, core));
    ck_assert_int_eq(reader.error, OK);
    ck_assert_ptr_null(reader.runs);
    ck_assert_uint_eq(reader.next, 7);
}
END_TEST

START_TEST(what_the_disk_cannot_give_is_one_message_and_the_next_is_named)
{
    cool();
    reads_fail = true;
    begin(20, QUEUE_READER_NO_END);
    read_on();
    ck_assert_int_eq(reader.error, ERROR_IO_FAILED);
    ck_assert_uint_eq(reader.detail, 21);
    reads_fail = false;
    begin(20, QUEUE_READER_NO_END);
    read_on();
    ck_assert_int_eq(reader.error, OK);
    ck_assert_uint_gt(reader.runs->messages, 1);
}
END_TEST

START_TEST(errors_say_where_to_go_on)
{
    begin(COUNT + 1, QUEUE_READER_NO_END);
    ck_assert(queue_reader_read(&reader, core));
    ck_assert_int_eq(reader.error, ERROR_TRUNCATED);
    ck_assert_uint_eq(reader.detail, COUNT);
    begin(COUNT, QUEUE_READER_NO_END);
    ck_assert(queue_reader_read(&reader, core));
    ck_assert_int_eq(reader.error, OK);
    ck_assert_ptr_null(reader.runs);
    ck_assert_uint_eq(reader.next, COUNT);
    commit_log_queue_remove(world.log, 1, 0);
    begin(0, QUEUE_READER_NO_END);
    ck_assert(queue_reader_read(&reader, core));
    ck_assert_int_eq(reader.error, ERROR_TOPIC_NOT_FOUND);
}
END_TEST

static Suite *queue_reader_suite(void)
{
    Suite *suite = suite_create("broker/queue_reader");
    TCase *tests = tcase_create("queue_reader");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_reader_reads_no_further_than_it_was_told);
    tcase_add_test(tests, with_a_filter_it_looks_no_further_either);
    tcase_add_test(tests, what_a_turn_may_cost_is_shared_and_who_comes_late_is_put_off);
    tcase_add_test(tests, what_is_cold_is_read_after_it_was_brought);
    tcase_add_test(tests, a_cancel_while_it_is_cold_ends_it_without_an_error);
    tcase_add_test(tests, what_the_disk_cannot_give_is_one_message_and_the_next_is_named);
    tcase_add_test(tests, errors_say_where_to_go_on);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(queue_reader_suite)
