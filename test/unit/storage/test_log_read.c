/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of storage/log_read.c: runs, limits, refusals, and searches by time and epoch.
 */

#include "proto/filter.h"
#include "storage/index.h"
#include "test/lib/check_main.h"
#include "test/lib/log_world.h"

enum { COUNT = 400, LENGTH = 700, LATER_MS = 5000 };

static struct log_world world;
static uint64_t stored_ms[COUNT];

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

static struct queue *queue(uint16_t number)
{
    return commit_log_queue_find(world.log, 1, number);
}

/* One message after the other, so that other queues lie between: offset == number. */
static void fill(uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        enum error error;
        struct produce *mine = world_produce(&world, 0, 1, LENGTH, i, true, &error);
        ck_assert_int_eq(error, OK);
        struct produce *other = world_produce(&world, 1, 1, 50, i, true, &error);
        ck_assert_int_eq(error, OK);
        ck_assert(world_run(&world, LATER_MS, produce_is_told, mine));
        ck_assert(world_run(&world, LATER_MS, produce_is_told, other));
        stored_ms[i] = queue_state(queue(0)).last_stored_ms;
        produce_free(mine);
        produce_free(other);
    }
}

/* Checks each record of a list, gives its references back, and the count. */
static uint32_t take(struct run_list *list, uint64_t first)
{
    uint64_t bytes = 0;
    uint32_t messages = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const struct run *run = &list->runs[i];
        const uint8_t *start = segment_bytes(run->segment) + run->place;
        const uint8_t *at = start;
        for (uint32_t j = 0; j < run->messages; j++) {
            struct record_view view;
            ck_assert_int_eq(record_read_anywhere(bytes_make(at, record_size(at)), &view),
                             RECORD_WHOLE);
            ck_assert_uint_eq(view.fields.offset, first + messages);
            ck_assert_uint_eq(load_u64(view.message.data + 3), first + messages);
            at += record_size(at);
            messages++;
        }
        ck_assert_uint_eq((uint64_t)(at - start), run->bytes);
        bytes += run->bytes;
        segment_unref(run->segment);
    }
    ck_assert_uint_eq(bytes, list->bytes);
    ck_assert_uint_eq(messages, list->messages);
    return messages;
}

START_TEST(everything_can_be_read_from_any_offset_across_segments)
{
    struct run_list list;
    fill(0, COUNT);
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    ck_assert_uint_gt(counters.segments, 3);
    for (uint64_t offset = 0; offset < COUNT; offset += 7) {
        ck_assert_int_eq(commit_log_read(world.log, queue(0),
                                         &(struct read_limits){offset, 50, 1 << 20, false}, &list),
                         OK);
        uint64_t left = COUNT - offset;
        ck_assert_uint_eq(take(&list, offset), left < 50 ? left : 50);
    }
    for (uint64_t offset = COUNT; offset > 0; offset -= 5) {
        ck_assert_int_eq(commit_log_read(world.log, queue(0),
                                         &(struct read_limits){offset - 1, 1, 1, false}, &list),
                         OK);
        ck_assert_uint_eq(take(&list, offset - 1), 1);
    }
}
END_TEST

START_TEST(a_read_keeps_its_limits_but_gives_at_least_one_message)
{
    struct run_list list;
    fill(0, 20);
    ck_assert_int_eq(
        commit_log_read(world.log, queue(0), &(struct read_limits){0, 3, 1 << 20, false}, &list),
        OK);
    ck_assert_uint_eq(take(&list, 0), 3);
    ck_assert_int_eq(
        commit_log_read(world.log, queue(0), &(struct read_limits){0, 100, 1, false}, &list), OK);
    ck_assert_uint_eq(take(&list, 0), 1);
    uint64_t record = LENGTH + RECORD_HEAD_BYTES;
    ck_assert_int_eq(commit_log_read(world.log, queue(0),
                                     &(struct read_limits){0, 100, 3 * record, false}, &list),
                     OK);
    ck_assert_uint_eq(take(&list, 0), 3);
    ck_assert_int_eq(commit_log_read(world.log, queue(0),
                                     &(struct read_limits){0, 100, 4 * record - 1, false}, &list),
                     OK);
    ck_assert_uint_eq(take(&list, 0), 3);
}
END_TEST

static struct filter *compile(const char *text)
{
    struct filter *filter = NULL;
    struct refusal refusal;
    ck_assert_int_eq(filter_create(bytes_from_string(text), &filter, &refusal), OK);
    return filter;
}

/* The messages here have no tags. */
START_TEST(a_selection_leaves_out_what_a_hash_rules_out_and_says_how_far_it_looked)
{
    enum { FROM = 3 };
    struct run_list list;
    fill(0, COUNT);
    struct filter *tags = compile("paid || sent");
    struct filter *sql = compile("TAGS IS NULL");
    const struct read_limits limits = {FROM, COUNT, 16 << 20, false};
    for (uint32_t most = 1; most <= COUNT; most += 13) {
        uint64_t next = FROM + most < COUNT ? FROM + most : COUNT;
        const struct read_selection none = {tags, most};
        ck_assert_int_eq(commit_log_select(world.log, queue(0), &limits, &none, &list), OK);
        ck_assert_uint_eq(take(&list, FROM), 0);
        ck_assert_uint_eq(list.next, next);
        const struct read_selection all = {sql, most};
        ck_assert_int_eq(commit_log_select(world.log, queue(0), &limits, &all, &list), OK);
        uint64_t offset = FROM;
        for (uint32_t i = 0; i < list.count; i++) {
            ck_assert_uint_eq(list.runs[i].offset, offset);
            offset += list.runs[i].messages;
        }
        ck_assert_uint_eq(list.next, offset);
        ck_assert(offset == next || list.count == LOG_RUNS_MAX);
        (void)take(&list, FROM);
    }
    filter_destroy(tags);
    filter_destroy(sql);
}
END_TEST

START_TEST(a_run_counts_exactly_the_records_that_lie_in_it)
{
    enum { BATCHES = 12, BATCH = 5 };
    static struct produce *produces[BATCHES];
    struct run_list list;
    for (uint64_t i = 0; i < BATCHES; i++) {
        enum error error;
        produces[i] = world_produce(&world, 0, BATCH, 40, i * BATCH, true, &error);
        ck_assert_int_eq(error, OK);
    }
    for (uint64_t i = 0; i < BATCHES; i++) {
        ck_assert(world_run(&world, LATER_MS, produce_is_told, produces[i]));
        produce_free(produces[i]);
    }
    for (uint32_t most = 1; most <= BATCHES * BATCH; most++) {
        ck_assert_int_eq(commit_log_read(world.log, queue(0),
                                         &(struct read_limits){0, most, 1 << 20, false}, &list),
                         OK);
        ck_assert_uint_eq(list.count, 1);
        ck_assert_uint_eq(take(&list, 0), most);
    }
}
END_TEST

START_TEST(runs_are_bounded)
{
    struct run_list list;
    fill(0, COUNT);
    ck_assert_int_eq(commit_log_read(world.log, queue(0),
                                     &(struct read_limits){0, COUNT, 4 << 20, false}, &list),
                     OK);
    ck_assert_uint_eq(list.count, LOG_RUNS_MAX);
    ck_assert_uint_lt(take(&list, 0), COUNT);
}
END_TEST

START_TEST(an_offset_beyond_the_end_is_truncated_and_the_end_is_empty)
{
    struct run_list list;
    fill(0, 5);
    ck_assert_int_eq(
        commit_log_read(world.log, queue(0), &(struct read_limits){5, 10, 1000, false}, &list), OK);
    ck_assert_uint_eq(list.messages, 0);
    ck_assert_int_eq(
        commit_log_read(world.log, queue(0), &(struct read_limits){6, 10, 1000, false}, &list),
        ERROR_TRUNCATED);
}
END_TEST

static uint32_t key_hash_of(uint32_t number)
{
    return number * 2654435761U;
}

/* fill(), with keys. */
static void fill_with_keys(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct produce *produce = produce_make(&world, 0, 1, LENGTH, i);
        produce->messages[0].key_hash = key_hash_of(i);
        ck_assert_int_eq(commit_log_append(world.log, &produce->append), OK);
        ck_assert(world_run(&world, LATER_MS, produce_is_told, produce));
        produce_free(produce);
    }
    world_run(&world, LATER_MS, NULL, NULL);
}

static uint32_t take_entries(uint64_t offset, uint32_t count_max)
{
    struct cold_range cold;
    struct index_span span;
    ck_assert_int_eq(commit_log_entries(world.log, queue(0), offset, count_max, &cold, &span), OK);
    ck_assert_ptr_null(cold.segment);
    ck_assert_uint_eq(span.first, offset);
    ck_assert_uint_le(span.count, count_max);
    ck_assert_uint_eq(span.topic, 1);
    for (uint32_t i = 0; i < span.count; i++) {
        ck_assert_uint_eq(span.entries[i].key_hash, key_hash_of((uint32_t)offset + i));
        ck_assert_uint_eq(span.entries[i].size, LENGTH + RECORD_HEAD_BYTES);
    }
    return span.count;
}

START_TEST(entries_follow_each_other_from_any_offset_a_segment_at_a_time)
{
    fill_with_keys(COUNT);
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    for (uint64_t from = 0; from <= COUNT; from += 13) {
        uint64_t offset = from;
        uint32_t spans = 0;
        while (offset < COUNT) {
            uint32_t count = take_entries(offset, COUNT);
            ck_assert_uint_gt(count, 0);
            offset += count;
            spans++;
        }
        ck_assert_uint_eq(offset, from < COUNT ? (uint64_t)COUNT : from);
        ck_assert_uint_le(spans, counters.segments);
    }
    ck_assert_uint_gt(counters.segments, 3);
    ck_assert_uint_eq(take_entries(0, 3), 3);
    ck_assert_uint_eq(take_entries(COUNT - 1, 3), 1);
    ck_assert_uint_eq(take_entries(COUNT, 3), 0);
}
END_TEST

START_TEST(entries_end_below_what_is_visible)
{
    struct cold_range cold;
    struct index_span span;
    fill_with_keys(5);
    enum error error;
    struct produce *hidden = world_produce(&world, 0, 1, LENGTH, 5, true, &error);
    ck_assert_int_eq(error, OK);
    while (!append_is_written(&hidden->append)) {
        simulation_step(world.simulation);
    }
    ck_assert_uint_eq(queue_state(queue(0)).visible, 5);
    ck_assert_uint_eq(take_entries(0, 100), 5);
    ck_assert_uint_eq(take_entries(5, 100), 0);
    ck_assert_int_eq(commit_log_entries(world.log, queue(0), 6, 100, &cold, &span),
                     ERROR_TRUNCATED);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, hidden));
    ck_assert_int_eq(commit_log_entries(world.log, queue(0), 5, 100, NULL, &span), OK);
    ck_assert_uint_eq(span.count, 1);
    produce_free(hidden);
}
END_TEST

START_TEST(what_retention_took_is_refused_by_name)
{
    struct run_list list;
    world_close(&world);
    world.options.retain_bytes = 3 * WORLD_SEGMENT_BYTES;
    ck_assert(world_open(&world));
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
    fill(0, COUNT);
    uint64_t first = queue_state(queue(0)).first;
    ck_assert_uint_gt(first, 0);
    ck_assert_int_eq(commit_log_read(world.log, queue(0),
                                     &(struct read_limits){first - 1, 10, 1000, false}, &list),
                     ERROR_OFFSET_TOO_SMALL);
    struct cold_range cold;
    struct index_span span;
    ck_assert_int_eq(commit_log_entries(world.log, queue(0), first - 1, 10, &cold, &span),
                     ERROR_OFFSET_TOO_SMALL);
    ck_assert_int_eq(commit_log_read(world.log, queue(0),
                                     &(struct read_limits){first, 10, 1 << 20, false}, &list),
                     OK);
    ck_assert_uint_eq(take(&list, first), 10);
}
END_TEST

static uint64_t find_time(uint64_t at_ms)
{
    uint64_t offset;
    ck_assert(commit_log_find_time(world.log, queue(0), at_ms, NULL, &offset));
    return offset;
}

static uint64_t find_epoch(uint64_t next, uint32_t epoch)
{
    uint64_t offset;
    ck_assert(commit_log_find_epoch(world.log, queue(0), &(struct last_seen){next, epoch}, NULL,
                                    &offset));
    return offset;
}

static uint64_t find_other(uint64_t first, uint64_t end, uint32_t epoch)
{
    uint64_t offset;
    ck_assert(commit_log_find_other(world.log, queue(0), &(struct had_range){first, end, epoch},
                                    NULL, &offset));
    return offset;
}

START_TEST(a_time_finds_the_first_record_stored_at_or_after)
{
    fill(0, COUNT);
    ck_assert_uint_eq(find_time(0), 0);
    ck_assert_uint_eq(find_time(stored_ms[COUNT - 1] + 1), COUNT);
    for (uint32_t i = 1; i < COUNT; i++) {
        uint64_t expected = i;
        while (expected > 0 && stored_ms[expected - 1] >= stored_ms[i]) {
            expected--;
        }
        ck_assert_uint_eq(find_time(stored_ms[i]), expected);
    }
}
END_TEST

START_TEST(a_reader_who_saw_what_was_lost_resumes_where_the_new_epoch_begins)
{
    fill(0, 10);
    world_close(&world);
    ck_assert(world_open(&world));
    ck_assert(world_begin_epoch(&world)); /* Epoch 2 begins at offset 10. */
    fill(10, 20);
    ck_assert_uint_eq(find_epoch(5, 1), 5);
    ck_assert_uint_eq(find_epoch(10, 1), 10);
    ck_assert_uint_eq(find_epoch(15, 2), 15);
    /* He read up to 14 in epoch 1: of that the log lost what lay at 10 to 14. */
    ck_assert_uint_eq(find_epoch(15, 1), 10);
    ck_assert_uint_eq(find_epoch(25, 1), 10);
    ck_assert_uint_eq(find_epoch(25, 2), 20);
    ck_assert_uint_eq(find_epoch(0, 1), 0);
}
END_TEST

START_TEST(what_somebody_had_is_another_from_where_the_next_epoch_begins)
{
    for (uint32_t epoch = 1; epoch <= 3; epoch++) { /* of ten messages each */
        fill(10 * (epoch - 1), 10 * epoch);
        world_close(&world);
        ck_assert(world_open(&world));
        ck_assert(world_begin_epoch(&world));
    }
    ck_assert_uint_eq(find_other(0, 10, 1), 10);
    ck_assert_uint_eq(find_other(0, 11, 1), 10);
    ck_assert_uint_eq(find_other(3, 30, 1), 10);
    ck_assert_uint_eq(find_other(3, 30, 2), 20);
    ck_assert_uint_eq(find_other(12, 18, 2), 18);
    ck_assert_uint_eq(find_other(12, 18, 1), 12);
    ck_assert_uint_eq(find_other(0, 30, 3), 30);
}
END_TEST

static Suite *log_read_suite(void)
{
    Suite *suite = suite_create("storage/log_read");
    TCase *reads = tcase_create("reads");
    tcase_add_checked_fixture(reads, set_up, tear_down);
    tcase_add_test(reads, everything_can_be_read_from_any_offset_across_segments);
    tcase_add_test(reads, a_read_keeps_its_limits_but_gives_at_least_one_message);
    tcase_add_test(reads, a_selection_leaves_out_what_a_hash_rules_out_and_says_how_far_it_looked);
    tcase_add_test(reads, a_run_counts_exactly_the_records_that_lie_in_it);
    tcase_add_test(reads, runs_are_bounded);
    tcase_add_test(reads, an_offset_beyond_the_end_is_truncated_and_the_end_is_empty);
    tcase_add_test(reads, entries_follow_each_other_from_any_offset_a_segment_at_a_time);
    tcase_add_test(reads, entries_end_below_what_is_visible);
    tcase_add_test(reads, what_retention_took_is_refused_by_name);
    tcase_add_test(reads, a_time_finds_the_first_record_stored_at_or_after);
    tcase_add_test(reads, a_reader_who_saw_what_was_lost_resumes_where_the_new_epoch_begins);
    tcase_add_test(reads, what_somebody_had_is_another_from_where_the_next_epoch_begins);
    suite_add_tcase(suite, reads);
    return suite;
}

TEST_MAIN(log_read_suite)
