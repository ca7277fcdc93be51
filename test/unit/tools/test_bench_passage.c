/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bench_passage.c - what tools/bench/passage.h promises, and the head of a body.
 */
#include "test/lib/check_main.h"
#include "tools/bench/body.h"
#include "tools/bench/passage.h"

#include <string.h>

enum { QUEUES = 3 };

static struct passage *passage;

static void setup(void)
{
    passage = passage_create(QUEUES);
}

static void teardown(void)
{
    passage_destroy(passage);
}

static void take_body(uint32_t queue, uint64_t offset, const void *body, size_t length)
{
    const struct ternmq_delivery delivery = {
        .queue = queue, .offset = offset, .body = {.data = body, .length = length}};
    passage_take(passage, &delivery);
}

/* A message of `stream` of the run that began at `run_ns`. */
static void take(uint32_t queue, uint64_t offset, uint64_t run_ns, uint32_t stream, uint64_t number)
{
    uint8_t body[100] = {0};
    const struct body_head head = {
        .run = body_run(run_ns), .stream = stream, .number = number, .meant_ns = 77};
    body_write(body, &head);
    take_body(queue, offset, body, sizeof(body));
}

START_TEST(what_follows_is_good_and_counted)
{
    for (uint64_t i = 0; i < 10; i++) {
        take(0, i, 1000000, 0, i);
        take(2, 500 + i, 1000000, 0, 100 + i); /* a queue whose beginning is gone */
    }
    struct passage_verdict verdict = passage_judge(passage);
    ck_assert_uint_eq(verdict.messages, 20);
    ck_assert_uint_eq(verdict.body_bytes, 2000);
    ck_assert_uint_eq(verdict.gaps, 0);
    ck_assert_uint_eq(verdict.disordered, 0);
}
END_TEST

START_TEST(an_offset_that_is_left_out_or_comes_again_is_a_gap)
{
    take(0, 0, 1000000, 0, 0);
    take(0, 2, 1000000, 0, 2);
    ck_assert_uint_eq(passage_judge(passage).gaps, 1);
    take(0, 2, 1000000, 0, 3);
    ck_assert_uint_eq(passage_judge(passage).gaps, 2);
    take(1, 0, 1000000, 0, 4); /* another queue */
    ck_assert_uint_eq(passage_judge(passage).gaps, 2);
}
END_TEST

START_TEST(a_number_that_comes_late_or_again_is_out_of_order)
{
    take(0, 0, 1000000, 0, 5);
    take(0, 1, 1000000, 0, 4);
    ck_assert_uint_eq(passage_judge(passage).disordered, 1);
    take(0, 2, 1000000, 0, 4);
    ck_assert_uint_eq(passage_judge(passage).disordered, 2);
    take(0, 3, 1000000, 0, 9); /* what another queue has is left out */
    ck_assert_uint_eq(passage_judge(passage).disordered, 2);
}
END_TEST

START_TEST(streams_and_runs_are_in_order_each_for_itself)
{
    take(0, 0, 1000000, 0, 5);
    take(0, 1, 1000000, 1, 0);
    take(0, 2, 9000000, 0, 0);
    take(0, 3, 1000000, 0, 6);
    take(0, 4, 9000000, 0, 1);
    ck_assert_uint_eq(passage_judge(passage).disordered, 0);
    take(0, 5, 9000000, 0, 0);
    ck_assert_uint_eq(passage_judge(passage).disordered, 1);
}
END_TEST

START_TEST(runs_beyond_the_bound_and_foreign_bodies_have_offsets_alone)
{
    for (uint64_t run = 1; run <= (uint64_t)PASSAGE_RUNS_MAX; run++) {
        take(0, run - 1, run * 1000000, 0, 3);
    }
    take(0, PASSAGE_RUNS_MAX, 99000000, 0, 3);
    take(0, PASSAGE_RUNS_MAX + 1, 99000000, 0, 3);
    take_body(0, PASSAGE_RUNS_MAX + 2, "short", 5);
    static const uint8_t foreign[64] = {1};
    take_body(0, PASSAGE_RUNS_MAX + 3, foreign, sizeof(foreign));
    take(0, PASSAGE_RUNS_MAX + 4, 1000000, PASSAGE_STREAMS_MAX, 0);
    struct passage_verdict verdict = passage_judge(passage);
    ck_assert_uint_eq(verdict.disordered, 0);
    ck_assert_uint_eq(verdict.gaps, 0);
    ck_assert_uint_eq(verdict.messages, PASSAGE_RUNS_MAX + 5);
}
END_TEST

START_TEST(reading_again_begins_anew_and_keeps_the_verdict)
{
    take(0, 0, 1000000, 0, 0);
    take(0, 2, 1000000, 0, 1);
    passage_read_again(passage);
    take(0, 0, 1000000, 0, 0);
    take(0, 1, 1000000, 0, 1);
    struct passage_verdict verdict = passage_judge(passage);
    ck_assert_uint_eq(verdict.messages, 4);
    ck_assert_uint_eq(verdict.gaps, 1);
    ck_assert_uint_eq(verdict.disordered, 0);
}
END_TEST

START_TEST(the_head_of_a_body_is_read_as_it_was_written)
{
    uint8_t body[LOAD_HEAD_BYTES];
    const struct body_head head = {.run = body_run(UINT64_MAX),
                                   .stream = 65535,
                                   .number = (UINT64_C(1) << BODY_NUMBER_BITS) - 1,
                                   .meant_ns = UINT64_MAX - 1};
    struct body_head read;
    memset(body, 'x', sizeof(body));
    body_write(body, &head);
    ck_assert(body_read((struct ternmq_bytes){.data = body, .length = sizeof(body)}, &read));
    ck_assert_uint_eq(read.run, head.run);
    ck_assert_uint_eq(read.stream, head.stream);
    ck_assert_uint_eq(read.number, head.number);
    ck_assert_uint_eq(read.meant_ns, head.meant_ns);
    ck_assert(!body_read((struct ternmq_bytes){.data = body, .length = sizeof(body) - 1}, &read));
    body[0] ^= 1;
    ck_assert(!body_read((struct ternmq_bytes){.data = body, .length = sizeof(body)}, &read));
}
END_TEST

static Suite *passage_suite(void)
{
    Suite *suite = suite_create("bench passage");
    TCase *tests = tcase_create("passage");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, what_follows_is_good_and_counted);
    tcase_add_test(tests, an_offset_that_is_left_out_or_comes_again_is_a_gap);
    tcase_add_test(tests, a_number_that_comes_late_or_again_is_out_of_order);
    tcase_add_test(tests, streams_and_runs_are_in_order_each_for_itself);
    tcase_add_test(tests, runs_beyond_the_bound_and_foreign_bodies_have_offsets_alone);
    tcase_add_test(tests, reading_again_begins_anew_and_keeps_the_verdict);
    tcase_add_test(tests, the_head_of_a_body_is_read_as_it_was_written);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(passage_suite)
