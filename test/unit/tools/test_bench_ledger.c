/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bench_ledger.c - what tools/bench/ledger.h promises: every way in which a broker can be wrong is
 * seen.
 */
#include "test/lib/check_main.h"
#include "tools/bench/ledger.h"

static struct ledger *ledger;

static void setup(void)
{
    ledger = ledger_create(2, 4);
}

static void teardown(void)
{
    ledger_destroy(ledger);
}

static void see(uint32_t stream, uint64_t first, uint64_t count, uint32_t queue)
{
    for (uint64_t i = 0; i < count; i++) {
        ledger_see(ledger, stream, first + i, queue);
    }
}

START_TEST(what_was_acknowledged_and_seen_once_is_good)
{
    ck_assert_uint_eq(ledger_take(ledger, 0, 100), 0);
    ck_assert_uint_eq(ledger_take(ledger, 0, 50), 100);
    ck_assert_uint_eq(ledger_take(ledger, 1, 3000000), 0);
    ledger_acknowledge(ledger, 0, 100, 50);
    ledger_acknowledge(ledger, 0, 0, 100);
    ledger_acknowledge(ledger, 1, 0, 3000000);
    see(0, 0, 100, 1);
    see(1, 0, 3000000, 1);
    see(0, 100, 50, 0);
    struct ledger_verdict verdict = ledger_judge(ledger);
    ck_assert_uint_eq(verdict.acknowledged, 3000150);
    ck_assert_uint_eq(verdict.seen, 3000150);
    ck_assert_uint_eq(verdict.missing, 0);
    ck_assert_uint_eq(verdict.repeated, 0);
    ck_assert_uint_eq(verdict.invented, 0);
    ck_assert_uint_eq(verdict.disordered, 0);

    ledger_read_again(ledger);
    ck_assert_uint_eq(ledger_judge(ledger).missing, 3000150);
    see(0, 0, 150, 0);
    see(1, 0, 3000000, 1);
    ck_assert_uint_eq(ledger_judge(ledger).missing, 0);
    ck_assert_uint_eq(ledger_judge(ledger).repeated, 0);
}
END_TEST

START_TEST(a_missing_message_is_found)
{
    ledger_take(ledger, 0, 200);
    ledger_acknowledge(ledger, 0, 0, 200);
    see(0, 0, 131, 0);
    see(0, 132, 68, 0);
    ck_assert_uint_eq(ledger_judge(ledger).missing, 1);
}
END_TEST

START_TEST(a_message_that_comes_twice_is_found)
{
    ledger_take(ledger, 0, 10);
    ledger_acknowledge(ledger, 0, 0, 10);
    see(0, 0, 10, 0);
    see(0, 4, 1, 3);
    ck_assert_uint_eq(ledger_judge(ledger).repeated, 1);
    ck_assert_uint_eq(ledger_judge(ledger).missing, 0);
}
END_TEST

START_TEST(a_message_that_was_refused_or_never_sent_is_invented)
{
    ledger_take(ledger, 0, 10); /* refused: neither acknowledged nor of unknown fate */
    see(0, 3, 1, 0);
    see(0, 10, 1, 0);
    see(7, 0, 1, 0);
    ck_assert_uint_eq(ledger_judge(ledger).invented, 3);
}
END_TEST

START_TEST(a_message_of_unknown_fate_may_come_or_not)
{
    ledger_take(ledger, 0, 10);
    ledger_lose(ledger, 0, 0, 10);
    see(0, 0, 5, 0);
    struct ledger_verdict verdict = ledger_judge(ledger);
    ck_assert_uint_eq(verdict.invented, 0);
    ck_assert_uint_eq(verdict.missing, 0);
    ck_assert_uint_eq(verdict.unknown, 10);
}
END_TEST

START_TEST(order_counts_within_a_queue_and_a_stream_alone)
{
    ledger_take(ledger, 0, 10);
    ledger_take(ledger, 1, 10);
    ledger_acknowledge(ledger, 0, 0, 10);
    ledger_acknowledge(ledger, 1, 0, 10);
    see(0, 5, 5, 0);
    see(1, 0, 10, 0); /* another stream */
    see(0, 0, 3, 1);  /* another queue */
    ck_assert_uint_eq(ledger_judge(ledger).disordered, 0);
    see(0, 4, 1, 0);
    ck_assert_uint_eq(ledger_judge(ledger).disordered, 1);
}
END_TEST

static Suite *ledger_suite(void)
{
    Suite *suite = suite_create("bench ledger");
    TCase *tests = tcase_create("ledger");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, what_was_acknowledged_and_seen_once_is_good);
    tcase_add_test(tests, a_missing_message_is_found);
    tcase_add_test(tests, a_message_that_comes_twice_is_found);
    tcase_add_test(tests, a_message_that_was_refused_or_never_sent_is_invented);
    tcase_add_test(tests, a_message_of_unknown_fate_may_come_or_not);
    tcase_add_test(tests, order_counts_within_a_queue_and_a_stream_alone);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(ledger_suite)
