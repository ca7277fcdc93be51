/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of storage/warming.c and read_ahead.c: what is cold is named, brought and dropped, and nobody waits.
 */

#include "storage/index.h"
#include "storage/read_ahead.h"
#include "storage/segment_file.h"
#include "test/lib/check_main.h"
#include "test/lib/log_world.h"

enum {
    MIB = 1024 * 1024,
    BODY_BYTES = 8000,
    BATCH = 16,
    BATCHES = 400, /* 51 MB, in segments of 16 MiB: four of them */
    COUNT = BATCH * BATCHES,
    SEGMENT_BYTES = 16 * MIB,
    LATER_MS = 60000,
    /* As a consumer asks for it. */
    PULL_BYTES = 256 * 1024
};

static struct log_world world;
static uint64_t stored_ms[COUNT];

struct waiting {
    struct warm_waiter waiter;
    uint32_t told;
    int error;
};

static void told(struct warm_waiter *waiter, int error)
{
    struct waiting *waiting = (struct waiting *)waiter;
    waiting->told++;
    waiting->error = error;
}

static bool is_told(void *context)
{
    return ((struct waiting *)context)->told > 0;
}

static struct queue *queue(void)
{
    return commit_log_queue_find(world.log, 1, 0);
}

static void produce_some(uint32_t count)
{
    enum error error;
    struct produce *mine = world_produce(&world, 0, count, BODY_BYTES, 0, true, &error);
    ck_assert_int_eq(error, OK);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, mine));
    produce_free(mine);
}

static void fill(void)
{
    for (uint32_t i = 0; i < BATCHES; i++) {
        produce_some(BATCH);
        for (uint32_t j = 0; j < BATCH; j++) {
            stored_ms[i * BATCH + j] = queue_state(queue()).last_stored_ms;
        }
    }
}

static bool jobs_are_done(void *context)
{
    (void)context;
    return false;
}

/* Until every job that is under way has come home, and nothing was written a moment ago. */
static void settle(void)
{
    (void)world_run(&world, 5000, jobs_are_done, NULL);
}

static void set_up(void)
{
    world_init(&world, 1, NULL);
    world.options.segment_bytes_least = SEGMENT_BYTES;
    world.options.segment_bytes_most = SEGMENT_BYTES;
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    fill();
    settle();
    disk_image_cool(world.image);
}

static void tear_down(void)
{
    world_deinit(&world);
}

static struct commit_log_counters counters(void)
{
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    return counters;
}

static int warm(const struct cold_range *cold)
{
    struct waiting waiting = {.waiter = {.warmed = told}};
    commit_log_warm(world.log, cold, &waiting.waiter);
    ck_assert_uint_eq(waiting.told, 0);
    ck_assert(world_run(&world, LATER_MS, is_told, &waiting));
    ck_assert_uint_eq(waiting.told, 1);
    return waiting.error;
}

static void expect_resident(const struct run_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        const struct run *run = &list->runs[i];
        ck_assert(disk_file_is_resident(run->segment->file, run->place, run->bytes));
    }
}

/* Reads on from `offset` until `end`, warming what is cold; how often it was. */
static uint32_t read_through(uint64_t offset, uint64_t end)
{
    uint32_t rounds = 0;
    while (offset < end) {
        struct run_list list;
        const struct read_limits limits = {offset, COUNT, PULL_BYTES, false};
        ck_assert_int_eq(commit_log_read(world.log, queue(), &limits, &list), OK);
        if (list.messages == 0) {
            ck_assert_ptr_nonnull(list.cold.segment);
            ck_assert_int_eq(warm(&list.cold), 0);
            rounds++;
            continue;
        }
        expect_resident(&list);
        for (uint32_t i = 0; i < list.count; i++) {
            const uint8_t *at = segment_bytes(list.runs[i].segment) + list.runs[i].place;
            for (uint32_t j = 0; j < list.runs[i].messages; j++) {
                ck_assert_uint_eq(record_offset(at), offset++);
                at += record_size(at);
            }
            segment_unref(list.runs[i].segment);
        }
        (void)world_run(&world, 5, jobs_are_done, NULL);
    }
    return rounds;
}

/* Bytes of sealed segments' records that are in the page cache. */
static uint64_t resident_bytes(void)
{
    uint64_t bytes = 0;
    struct run_list list;
    for (uint64_t offset = 0; offset < COUNT; offset++) {
        const struct read_limits limits = {offset, 1, 1, true};
        ck_assert_int_eq(commit_log_read(world.log, queue(), &limits, &list), OK);
        const struct run *run = &list.runs[0];
        if (run->segment->index.sealed &&
            disk_file_is_resident(run->segment->file, run->place, run->bytes)) {
            bytes += run->bytes;
        }
        segment_unref(run->segment);
    }
    return bytes;
}

START_TEST(a_read_of_something_cold_brings_nothing_and_names_it)
{
    struct run_list list;
    const struct read_limits limits = {0, 10, PULL_BYTES, false};
    ck_assert_int_eq(commit_log_read(world.log, queue(), &limits, &list), OK);
    ck_assert_uint_eq(list.count, 0);
    ck_assert_uint_eq(list.messages, 0);
    ck_assert_ptr_nonnull(list.cold.segment);
    ck_assert(list.cold.of_index);
    /* Entries, records: each once, and then it is there. */
    ck_assert_uint_eq(read_through(0, 10), 2);
    ck_assert_uint_eq(read_through(0, 10), 0);
    ck_assert_uint_eq(counters().cold_reads, 2);
    ck_assert_uint_gt(counters().warm_ns_max, 0);
}
END_TEST

START_TEST(who_may_wait_is_served_at_once)
{
    struct run_list list;
    const struct read_limits limits = {0, 10, PULL_BYTES, true};
    ck_assert_int_eq(commit_log_read(world.log, queue(), &limits, &list), OK);
    ck_assert_uint_eq(list.messages, 10);
    for (uint32_t i = 0; i < list.count; i++) {
        segment_unref(list.runs[i].segment);
    }
    ck_assert_uint_eq(counters().cold_reads, 0);
}
END_TEST

START_TEST(who_is_at_the_tail_is_asked_nothing_of_the_disk)
{
    struct run_list list;
    /* A reader far behind has the queue remember where he is. */
    (void)read_through(0, 10);
    const struct read_limits limits = {COUNT, 10, PULL_BYTES, false};
    produce_some(1);
    disk_image_cool(world.image);
    ck_assert_int_eq(commit_log_read(world.log, queue(), &limits, &list), OK);
    ck_assert_uint_eq(list.messages, 1);
    segment_unref(list.runs[0].segment);
    /* And he himself goes on without looking for his segment again. */
    const struct read_limits next = {10, 10, PULL_BYTES, false};
    ck_assert_int_eq(commit_log_read(world.log, queue(), &next, &list), OK);
    ck_assert(list.cold.of_index);
    ck_assert_uint_gt(list.cold.offset, 0);
}
END_TEST

START_TEST(what_was_written_long_ago_is_asked_for_even_in_the_open_segment)
{
    struct run_list list;
    const struct read_limits limits = {COUNT - 1, 10, PULL_BYTES, false};
    ck_assert_int_eq(commit_log_read(world.log, queue(), &limits, &list), OK);
    ck_assert_uint_eq(list.messages, 0);
    ck_assert(!list.cold.of_index);
    ck_assert_uint_eq(read_through(COUNT - 1, COUNT), 1);
}
END_TEST

START_TEST(a_reader_in_order_finds_it_warm_and_leaves_nothing)
{
    uint64_t sealed = counters().segments - 1;
    ck_assert_uint_ge(sealed, 3);
    uint32_t rounds = read_through(0, COUNT);
    /* Of each segment rows and entries; of the records the first, and again where the first read of a chunk
     * showed that he reads on. */
    ck_assert_uint_le(rounds, 2 * sealed + 3);
    settle();
    uint64_t all = sealed * SEGMENT_BYTES;
    ck_assert_uint_ge(counters().warmed_bytes, all - sealed * READ_CHUNK_BYTES);
    ck_assert_uint_le(counters().warmed_bytes, all + sealed * READ_CHUNK_BYTES);
    ck_assert_uint_ge(counters().dropped_bytes, all - READ_BEHIND_BYTES - READ_CHUNK_BYTES);
    ck_assert_uint_le(resident_bytes(), READ_BEHIND_BYTES + READ_CHUNK_BYTES);
}
END_TEST

START_TEST(what_was_there_before_stays)
{
    /* Somebody else has brought the second half of it. */
    struct run_list list;
    const struct read_limits limits = {0, 1, 1, true};
    ck_assert_int_eq(commit_log_read(world.log, queue(), &limits, &list), OK);
    struct segment *first = list.runs[0].segment;
    uint8_t byte;
    for (uint64_t at = SEGMENT_BYTES / 2; at < first->used; at += 4096) {
        ck_assert(segment_read(first, at, &byte, 1));
    }
    uint64_t in_first = first->index.entry_count;
    (void)read_through(0, COUNT);
    settle();
    ck_assert(
        disk_file_is_resident(first->file, SEGMENT_BYTES / 2, first->used - SEGMENT_BYTES / 2));
    ck_assert(!disk_file_is_resident(first->file, 0, SEGMENT_BYTES / 2));
    ck_assert_uint_lt(in_first, COUNT);
    segment_unref(first);
}
END_TEST

START_TEST(two_readers_one_behind_the_other_read_the_disk_once)
{
    /* 3 MiB apart: within what is kept behind the first. */
    uint64_t apart = 3 * MIB / BODY_BYTES;
    uint64_t ahead = apart;
    (void)read_through(0, apart);
    for (uint64_t behind = 0; behind < 2000; behind += 30, ahead += 30) {
        (void)read_through(ahead, ahead + 30);
        (void)read_through(behind, behind + 30);
    }
    settle();
    uint64_t seen = ahead * (BODY_BYTES + RECORD_HEAD_BYTES);
    ck_assert_uint_le(counters().warmed_bytes, seen + READ_AHEAD_BYTES + 2 * READ_CHUNK_BYTES);
}
END_TEST

START_TEST(a_reader_who_jumps_reads_no_more_than_a_chunk_each_time)
{
    uint32_t jumps = 0;
    for (uint64_t offset = 0; offset + 600 < COUNT; offset += 600, jumps++) {
        (void)read_through(offset, offset + 1);
    }
    settle();
    ck_assert_uint_le(counters().warmed_bytes, jumps * 3 * MIB);
}
END_TEST

START_TEST(what_is_gone_again_is_brought_again)
{
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_uint_gt(read_through(100, 200), 0);
        ck_assert_uint_eq(read_through(100, 200), 0);
        disk_image_cool(world.image);
    }
}
END_TEST

static int no_reads(void *context, enum disk_call call)
{
    return *(bool *)context && call == DISK_CALL_READ ? -5 : 0;
}

START_TEST(what_the_disk_cannot_give_is_an_error_of_those_who_wait)
{
    static bool fails;
    struct run_list list;
    world_close(&world);
    world.disk_options.fault = no_reads;
    world.disk_options.fault_context = &fails;
    fails = false;
    ck_assert(world_open(&world));
    ck_assert(world_begin_epoch(&world));
    disk_image_cool(world.image);
    fails = true;
    const struct read_limits limits = {0, 10, PULL_BYTES, false};
    ck_assert_int_eq(commit_log_read(world.log, queue(), &limits, &list), OK);
    ck_assert_ptr_nonnull(list.cold.segment);
    struct waiting waiting[2] = {{.waiter = {.warmed = told}}, {.waiter = {.warmed = told}}};
    commit_log_warm(world.log, &list.cold, &waiting[0].waiter);
    commit_log_warm(world.log, &list.cold, &waiting[1].waiter);
    ck_assert(world_run(&world, LATER_MS, is_told, &waiting[1]));
    ck_assert_int_eq(waiting[0].error, -5);
    ck_assert_int_eq(waiting[1].error, -5);
    fails = false;
    (void)read_through(0, 10);
}
END_TEST

START_TEST(a_log_that_closes_waits_for_what_is_on_its_way)
{
    struct run_list list;
    const struct read_limits limits = {0, 10, PULL_BYTES, false};
    ck_assert_int_eq(commit_log_read(world.log, queue(), &limits, &list), OK);
    struct waiting waiting = {.waiter = {.warmed = told}};
    commit_log_warm(world.log, &list.cold, &waiting.waiter);
    world_close(&world);
    ck_assert_uint_eq(waiting.told, 1);
}
END_TEST

/* ---------------------------------------------------------------- searches */

START_TEST(a_search_waits_for_no_disk)
{
    uint32_t rounds = 0;
    for (uint32_t i = 0; i < COUNT; i += 701) {
        struct cold_range cold = {.segment = NULL};
        uint64_t offset = 0;
        while (!commit_log_find_time(world.log, queue(), stored_ms[i], &cold, &offset)) {
            ck_assert_ptr_nonnull(cold.segment);
            ck_assert_int_eq(warm(&cold), 0);
            cold.segment = NULL;
            ck_assert_uint_lt(rounds++, 1000);
        }
        ck_assert_uint_eq(stored_ms[offset], stored_ms[i]);
        ck_assert(offset == 0 || stored_ms[offset - 1] < stored_ms[i]);
    }
    ck_assert_uint_gt(rounds, 10);
    const struct last_seen last_seen = {10, 1};
    struct cold_range cold = {.segment = NULL};
    uint64_t offset;
    while (!commit_log_find_epoch(world.log, queue(), &last_seen, &cold, &offset)) {
        ck_assert_int_eq(warm(&cold), 0);
        cold.segment = NULL;
    }
    ck_assert_uint_eq(offset, 10);
    ck_assert_uint_eq(disk_simulated_waits(world.disk), 0);
    /* A head is looked at alone. */
    ck_assert_uint_lt(counters().warmed_bytes, 4 * MIB);
}
END_TEST

START_TEST(entries_of_the_index_wait_for_no_disk_and_touch_no_record)
{
    uint32_t rounds = 0;
    uint64_t offset = 0;
    while (offset < COUNT) {
        struct cold_range cold;
        struct index_span span;
        ck_assert_int_eq(commit_log_entries(world.log, queue(), offset, 1000, &cold, &span), OK);
        if (span.count == 0) {
            ck_assert_ptr_nonnull(cold.segment);
            ck_assert(cold.of_index);
            ck_assert_int_eq(warm(&cold), 0);
            rounds++;
        }
        for (uint32_t i = 0; i < span.count; i++) {
            ck_assert_uint_eq(span.entries[i].size, BODY_BYTES + RECORD_HEAD_BYTES);
        }
        offset += span.count;
    }
    ck_assert_uint_ge(rounds, 2);
    ck_assert_uint_eq(disk_simulated_waits(world.disk), 0);
    ck_assert_uint_lt(counters().warmed_bytes, MIB);

    /* Who may wait does. */
    struct index_span span;
    disk_image_cool(world.image);
    ck_assert_int_eq(commit_log_entries(world.log, queue(), 0, 1000, NULL, &span), OK);
    ck_assert_uint_eq(span.count, 1000);
}
END_TEST

/* Starts again on a cold store with next to nothing to be kept; segments go, and no loop waits for it. */
static void retain_next_to_nothing(uint32_t forgets_one_in)
{
    world.options.retain_bytes = 1;
    world.disk_options.forgets_one_in = forgets_one_in;
    world_close(&world);
    ck_assert(world_open(&world));
    disk_image_cool(world.image);
    ck_assert(world_begin_epoch(&world));
    uint64_t before = disk_simulated_waits(world.disk); /* of the start */
    fill();
    settle();
    ck_assert_uint_gt(counters().segments_removed, 2);
    ck_assert_uint_eq(disk_simulated_waits(world.disk), before);
}

START_TEST(retention_waits_for_no_disk)
{
    retain_next_to_nothing(0);
    ck_assert_uint_eq(counters().cold_reads, 0); /* The rows of few queues are in memory. */
    ck_assert_uint_gt(queue_state(queue()).first, 0);
}
END_TEST

/* ------------------------------------------------------------- many queues */

enum { MANY_QUEUES = 3000, FIRST_OF_MANY = 100 };

/* A message in each, so that the rows of an index are too many to be kept. */
static void fill_many(void)
{
    for (uint32_t i = 0; i < MANY_QUEUES; i++) {
        enum error error;
        uint16_t number = (uint16_t)(FIRST_OF_MANY + i);
        commit_log_queue_put(world.log, 1, number, LOG_MEMORY);
        struct produce *mine = world_produce(&world, number, 1, BODY_BYTES / 4, i, false, &error);
        ck_assert_int_eq(error, OK);
        ck_assert(world_run(&world, LATER_MS, produce_is_told, mine));
        produce_free(mine);
    }
    settle();
}

START_TEST(rows_of_many_queues_are_brought_too)
{
    struct run_list list;
    uint32_t rounds = 0;
    fill_many();
    fill();
    settle();
    disk_image_cool(world.image);
    struct queue *one = commit_log_queue_find(world.log, 1, FIRST_OF_MANY);
    const struct read_limits limits = {0, 1, 1, false};
    bool of_rows = false;
    for (;;) {
        ck_assert_int_eq(commit_log_read(world.log, one, &limits, &list), OK);
        if (list.messages > 0) {
            break;
        }
        of_rows |= list.cold.of_index && list.cold.offset == 0;
        ck_assert_int_eq(warm(&list.cold), 0);
        ck_assert_uint_lt(rounds++, 10);
    }
    expect_resident(&list);
    segment_unref(list.runs[0].segment);
    ck_assert(of_rows);
}
END_TEST

START_TEST(retention_waits_for_rows_of_many_queues_as_reads_do)
{
    fill_many();
    fill();
    retain_next_to_nothing(0);
    ck_assert_uint_gt(counters().cold_reads, 0);
}
END_TEST

/* As on file systems whose reads leave nothing in the page cache. */
START_TEST(retention_goes_on_where_nothing_ever_stays_in_memory)
{
    fill_many();
    fill();
    retain_next_to_nothing(1);
    ck_assert_uint_gt(counters().cold_reads, 0);
    ck_assert_uint_lt(counters().cold_reads, 50);
}
END_TEST

/* ------------------------------------------------------------- many readers */

START_TEST(more_readers_than_windows_read_the_disk_no_more_than_once_each)
{
    enum { READERS = COLD_READERS_MAX + 1, APART = COUNT / (READERS + 1), ROUNDS = 30 };
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < READERS; i++) {
            uint64_t offset = (uint64_t)i * APART + (uint64_t)round * 4;
            (void)read_through(offset, offset + 1);
        }
    }
    uint64_t delivered = counters().warmed_bytes;
    ck_assert_uint_lt(delivered, 3ULL * 4 * SEGMENT_BYTES);
}
END_TEST

static Suite *warming_suite(void)
{
    Suite *suite = suite_create("storage/warming");
    TCase *warming = tcase_create("warming");
    tcase_add_checked_fixture(warming, set_up, tear_down);
    tcase_set_timeout(warming, 60);
    tcase_add_test(warming, a_read_of_something_cold_brings_nothing_and_names_it);
    tcase_add_test(warming, who_may_wait_is_served_at_once);
    tcase_add_test(warming, who_is_at_the_tail_is_asked_nothing_of_the_disk);
    tcase_add_test(warming, what_was_written_long_ago_is_asked_for_even_in_the_open_segment);
    tcase_add_test(warming, a_reader_in_order_finds_it_warm_and_leaves_nothing);
    tcase_add_test(warming, what_was_there_before_stays);
    tcase_add_test(warming, two_readers_one_behind_the_other_read_the_disk_once);
    tcase_add_test(warming, a_reader_who_jumps_reads_no_more_than_a_chunk_each_time);
    tcase_add_test(warming, what_is_gone_again_is_brought_again);
    tcase_add_test(warming, what_the_disk_cannot_give_is_an_error_of_those_who_wait);
    tcase_add_test(warming, a_log_that_closes_waits_for_what_is_on_its_way);
    tcase_add_test(warming, a_search_waits_for_no_disk);
    tcase_add_test(warming, entries_of_the_index_wait_for_no_disk_and_touch_no_record);
    tcase_add_test(warming, retention_waits_for_no_disk);
    tcase_add_test(warming, rows_of_many_queues_are_brought_too);
    tcase_add_test(warming, retention_waits_for_rows_of_many_queues_as_reads_do);
    tcase_add_test(warming, retention_goes_on_where_nothing_ever_stays_in_memory);
    tcase_add_test(warming, more_readers_than_windows_read_the_disk_no_more_than_once_each);
    suite_add_tcase(suite, warming);
    return suite;
}

TEST_MAIN(warming_suite)
