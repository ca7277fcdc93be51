/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_bench_histogram.c - what tools/bench/histogram.h promises.
 */
#include "proto/base/random.h"
#include "test/lib/check_main.h"
#include "tools/bench/histogram.h"

#include <stdlib.h>

static struct histogram histogram;

static void setup(void)
{
    histogram_clear(&histogram);
}

START_TEST(nothing_has_no_quantiles)
{
    ck_assert_uint_eq(histogram_quantile(&histogram, 0.5), 0);
    ck_assert_uint_eq(histogram.max, 0);
}
END_TEST

START_TEST(a_single_value_is_every_quantile_within_one_percent)
{
    static const uint64_t values[] = {0, 1, 127, 128, 129, 255, 1000000, 4294967296, 1000000000000};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        histogram_clear(&histogram);
        histogram_add(&histogram, values[i], 3);
        ck_assert_uint_eq(histogram_quantile(&histogram, 0.0), values[i]);
        ck_assert_uint_eq(histogram_quantile(&histogram, 1.0), values[i]);
        ck_assert_uint_eq(histogram.total, 3);
    }
}
END_TEST

START_TEST(what_exceeds_everything_is_counted_and_its_maximum_is_exact)
{
    histogram_add(&histogram, UINT64_MAX / 2, 1);
    histogram_add(&histogram, 5, 99);
    ck_assert_uint_eq(histogram.max, UINT64_MAX / 2);
    ck_assert_uint_eq(histogram_quantile(&histogram, 0.99), 5);
}
END_TEST

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

START_TEST(quantiles_agree_with_a_sorted_list_within_one_percent)
{
    enum { COUNT = 100000 };
    uint64_t *values = calloc(COUNT, sizeof(*values));
    struct random random;
    random_init(&random, 7);
    for (int i = 0; i < COUNT; i++) {
        values[i] = random_next(&random) >> (24 + random_below(&random, 38));
        histogram_add(&histogram, values[i], 1);
    }
    qsort(values, COUNT, sizeof(*values), compare);
    static const double fractions[] = {0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999};
    for (size_t i = 0; i < sizeof(fractions) / sizeof(fractions[0]); i++) {
        uint64_t exact = values[(size_t)(fractions[i] * COUNT) - 1];
        uint64_t told = histogram_quantile(&histogram, fractions[i]);
        ck_assert_uint_ge(told, exact);
        ck_assert_uint_le(told, exact + exact / 100);
    }
    ck_assert_uint_eq(histogram_quantile(&histogram, 1.0), values[COUNT - 1]);
    free(values);
}
END_TEST

static Suite *histogram_suite(void)
{
    Suite *suite = suite_create("bench histogram");
    TCase *tests = tcase_create("histogram");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, nothing_has_no_quantiles);
    tcase_add_test(tests, a_single_value_is_every_quantile_within_one_percent);
    tcase_add_test(tests, what_exceeds_everything_is_counted_and_its_maximum_is_exact);
    tcase_add_test(tests, quantiles_agree_with_a_sorted_list_within_one_percent);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(histogram_suite)
