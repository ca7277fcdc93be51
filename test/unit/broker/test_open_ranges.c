/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_open_ranges.c - an ordered set of ranges against a plain array of offsets, at any size.
 */
#include "broker/open_ranges.h"
#include "proto/base/random.h"
#include "test/lib/check_main.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { OFFSETS = 20000, STEPS = 60000, SEEDS = 6, BLOCK = 256, BLOCKS = 20, PAGE_BYTES = 4096 };

/* What the set has to say: of each offset the range that has it. */
static struct open_range *model[OFFSETS + 1];
static struct open_ranges set;
static uint32_t model_count;
static uint64_t model_offsets;
static struct random chance;

static struct open_range *range_make(uint64_t first, uint32_t count)
{
    struct open_range *range = calloc(1, sizeof(*range));
    ck_assert_ptr_nonnull(range);
    range->first = first;
    range->count = count;
    return range;
}

static void note(struct open_range *range, struct open_range *value)
{
    for (uint64_t offset = range->first; offset < open_range_end(range); offset++) {
        model[offset] = value;
    }
}

static void add(uint64_t first, uint32_t count)
{
    struct open_range *range = range_make(first, count);
    open_ranges_add(&set, range);
    note(range, range);
    model_count++;
    model_offsets += count;
}

static void drop(struct open_range *range)
{
    open_ranges_remove(&set, range);
    note(range, NULL);
    model_count--;
    model_offsets -= range->count;
    free(range);
}

static void set_up(void)
{
    memset(model, 0, sizeof(model));
    set = (struct open_ranges){.count = 0};
    model_count = 0;
    model_offsets = 0;
    random_init(&chance, 1);
}

static void tear_down(void)
{
    struct open_range *range;
    while ((range = open_ranges_first(&set)) != NULL) {
        drop(range);
    }
    ck_assert_uint_eq(set.count, 0);
    ck_assert_uint_eq(set.offsets, 0);
    open_ranges_deinit(&set);
}

/* The first range of the model that ends behind `offset`, or NULL. */
static struct open_range *model_find(uint64_t offset)
{
    while (offset < OFFSETS && model[offset] == NULL) {
        offset++;
    }
    return offset < OFFSETS ? model[offset] : NULL;
}

static void check_all(void)
{
    ck_assert_uint_eq(set.count, model_count);
    ck_assert_uint_eq(set.offsets, model_offsets);
    struct open_range *range = open_ranges_first(&set);
    uint64_t offset = 0;
    uint32_t seen = 0;
    for (; range != NULL; range = open_ranges_next(&set, range)) {
        ck_assert_ptr_eq(range, model_find(offset));
        offset = open_range_end(range);
        seen++;
    }
    ck_assert_ptr_null(model_find(offset));
    ck_assert_uint_eq(seen, model_count);
}

/* How many offsets of [first, end) the model has. */
static uint64_t model_count_within(uint64_t first, uint64_t end)
{
    uint64_t count = 0;
    for (uint64_t offset = first; offset < end && offset < OFFSETS; offset++) {
        count += model[offset] != NULL;
    }
    return count;
}

static struct open_range *model_first_untried(void)
{
    uint64_t offset = 0;
    while (offset < OFFSETS && (model[offset] == NULL || model[offset]->attempts > 0)) {
        offset++;
    }
    return offset < OFFSETS ? model[offset] : NULL;
}

/* What is asked about all of them. */
static void check_sums(void)
{
    uint64_t first = random_below(&chance, OFFSETS);
    uint64_t end = random_below(&chance, OFFSETS + 10);
    ck_assert_uint_eq(open_ranges_count(&set, first, end), model_count_within(first, end));
    ck_assert_uint_eq(open_ranges_count(&set, 0, UINT64_MAX), model_offsets);
    ck_assert_ptr_eq(open_ranges_first_untried(&set), model_first_untried());
}

START_TEST(an_empty_set_has_nothing)
{
    ck_assert_ptr_null(open_ranges_first(&set));
    ck_assert_ptr_null(open_ranges_find(&set, 0));
    ck_assert_ptr_null(open_ranges_find(&set, UINT64_MAX));
}
END_TEST

START_TEST(a_range_is_found_from_what_lies_before_it_to_its_last_offset)
{
    add(10, 5);
    add(20, 1);
    ck_assert_ptr_eq(open_ranges_find(&set, 0), model[10]);
    ck_assert_ptr_eq(open_ranges_find(&set, 14), model[10]);
    ck_assert_ptr_eq(open_ranges_find(&set, 15), model[20]);
    ck_assert_ptr_eq(open_ranges_find(&set, 20), model[20]);
    ck_assert_ptr_null(open_ranges_find(&set, 21));
    ck_assert_ptr_eq(open_ranges_next(&set, model[10]), model[20]);
    ck_assert_ptr_null(open_ranges_next(&set, model[20]));
}
END_TEST

START_TEST(offsets_may_be_as_large_as_there_are)
{
    struct open_range *last = range_make((UINT64_C(1) << 53) - 2, 1);
    open_ranges_add(&set, last);
    add(0, 1);
    ck_assert_ptr_eq(open_ranges_find(&set, 1), last);
    ck_assert_ptr_eq(open_ranges_next(&set, model[0]), last);
    open_ranges_remove(&set, last);
    free(last);
    check_all();
}
END_TEST

/* Blocks are full, split at their end, in their middle and at their beginning. */
START_TEST(ranges_come_in_any_order_of_offsets)
{
    for (uint32_t i = 0; i < 3 * BLOCK; i++) {
        add(OFFSETS / 2 + 2 * i, 1); /* behind all */
    }
    check_all();
    for (uint32_t i = 0; i < 3 * BLOCK; i++) {
        add(OFFSETS / 2 - 2 - 2 * i, 1); /* before all */
    }
    check_all();
    for (uint32_t i = 0; i < 3 * BLOCK; i++) {
        add(OFFSETS / 2 + 1 + 2 * i, 1); /* between them */
    }
    check_all();
}
END_TEST

START_TEST(what_is_taken_out_leaves_the_others_in_any_order)
{
    static struct open_range *ranges[8 * BLOCK];
    enum { COUNT = sizeof(ranges) / sizeof(ranges[0]) };
    for (uint32_t i = 0; i < COUNT; i++) {
        add(2 * i, 2);
        ranges[i] = model[2 * i];
    }
    for (uint32_t left = COUNT; left > 0; left--) {
        uint32_t at = (uint32_t)random_below(&chance, left);
        drop(ranges[at]);
        ranges[at] = ranges[left - 1];
        if (left % 97 == 0) {
            check_all();
        }
    }
    ck_assert_ptr_null(open_ranges_first(&set));
}
END_TEST

START_TEST(a_range_changes_in_its_place)
{
    add(10, 10);
    add(30, 10);
    struct open_range *range = model[10];
    note(range, NULL);
    open_ranges_resize(&set, range, 12, 3);
    note(range, range);
    model_offsets -= 7;
    check_all();
    ck_assert_ptr_eq(open_ranges_find(&set, 14), range);
    ck_assert_ptr_eq(open_ranges_find(&set, 15), model[30]);
}
END_TEST

/* One step of chance: adds into a gap, takes out, or cuts a range at one of its ends. */
static void step(uint32_t wanted)
{
    uint64_t offset = random_below(&chance, OFFSETS);
    struct open_range *range = model[offset];
    if (range == NULL && (model_count < wanted || random_below(&chance, 4) == 0)) {
        uint32_t count = 1;
        uint32_t most = 1 + (uint32_t)random_below(&chance, 20);
        while (count < most && offset + count < OFFSETS && model[offset + count] == NULL) {
            count++;
        }
        add(offset, count);
    } else if (range != NULL && random_below(&chance, 3) == 0 && range->count > 1) {
        uint32_t less = 1 + (uint32_t)random_below(&chance, range->count - 1);
        uint64_t first = random_below(&chance, 2) == 0 ? range->first : range->first + less;
        note(range, NULL);
        open_ranges_resize(&set, range, first, range->count - less);
        note(range, range);
        model_offsets -= less;
    } else if (range != NULL && model_count >= wanted / 2) {
        drop(range);
    } else if (range != NULL) {
        open_ranges_set_attempts(&set, range, (uint16_t)random_below(&chance, 4));
    }
    offset = random_below(&chance, OFFSETS);
    range = open_ranges_find(&set, offset);
    ck_assert_ptr_eq(range, model_find(offset));
    if (range != NULL) {
        ck_assert_ptr_eq(open_ranges_next(&set, range), model_find(open_range_end(range)));
    }
}

START_TEST(agrees_with_a_plain_array)
{
    static const uint32_t wanted[] = {10, 300, 2000};
    random_init(&chance, (uint64_t)_i + 1);
    for (uint32_t i = 0; i < STEPS; i++) {
        step(wanted[_i % 3]);
        if (i % 1000 == 0) {
            check_sums();
        }
        if (i % 5000 == 0) {
            check_all();
        }
    }
    check_all();
}
END_TEST

/* Of each full block but its last range, by which it is found, nothing may be read. */
static void protect_blocks(struct open_range *ranges, size_t stride, int protection)
{
    for (uint32_t i = 1; i + 1 < BLOCKS; i++) {
        uint8_t *block = (uint8_t *)ranges + i * stride;
        ck_assert_int_eq(mprotect(block, stride - PAGE_BYTES, protection), 0);
    }
}

/* A million ranges are asked about in one turn. */
START_TEST(what_is_asked_of_whole_blocks_is_answered_without_a_look_at_their_ranges)
{
    size_t stride = BLOCK * sizeof(struct open_range) / PAGE_BYTES * PAGE_BYTES + 2 * PAGE_BYTES;
    struct open_range *ranges =
        mmap(NULL, BLOCKS * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(ranges, MAP_FAILED);
    for (uint32_t i = 0; i < BLOCKS * BLOCK; i++) {
        uint8_t *block = (uint8_t *)ranges + i / BLOCK * stride;
        bool is_last = i % BLOCK == BLOCK - 1;
        struct open_range *range =
            (struct open_range *)(void *)(is_last ? block + stride - PAGE_BYTES : block) +
            (is_last ? 0 : i % BLOCK);
        range->first = 2 * i;
        range->count = 1;
        range->attempts = i < (BLOCKS - 1) * BLOCK;
        open_ranges_add(&set, range);
    }
    protect_blocks(ranges, stride, PROT_NONE);
    ck_assert_uint_eq(open_ranges_count(&set, 0, UINT64_MAX), BLOCKS * BLOCK);
    ck_assert_uint_eq(open_ranges_count(&set, 1, 2 * (BLOCKS * BLOCK - 1)), BLOCKS * BLOCK - 2);
    ck_assert_uint_eq(open_ranges_first_untried(&set)->first, 2 * (BLOCKS - 1) * BLOCK);
    protect_blocks(ranges, stride, PROT_READ | PROT_WRITE);
    open_ranges_deinit(&set);
    ck_assert_int_eq(munmap(ranges, BLOCKS * stride), 0);
}
END_TEST

static Suite *open_ranges_suite(void)
{
    Suite *suite = suite_create("open_ranges");
    TCase *tests = tcase_create("open_ranges");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, an_empty_set_has_nothing);
    tcase_add_test(tests, a_range_is_found_from_what_lies_before_it_to_its_last_offset);
    tcase_add_test(tests, offsets_may_be_as_large_as_there_are);
    tcase_add_test(tests, ranges_come_in_any_order_of_offsets);
    tcase_add_test(tests, what_is_taken_out_leaves_the_others_in_any_order);
    tcase_add_test(tests, a_range_changes_in_its_place);
    tcase_add_test(tests, what_is_asked_of_whole_blocks_is_answered_without_a_look_at_their_ranges);
    tcase_add_loop_test(tests, agrees_with_a_plain_array, 0, SEEDS);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(open_ranges_suite)
