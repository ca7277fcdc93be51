/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_random.c - a seed means the same numbers for ever.
 */
#include "proto/base/random.h"
#include "test/lib/check_main.h"

#include <string.h>

START_TEST(the_numbers_of_a_seed_never_change)
{
    struct random random = {{1, 2, 3, 4}};
    /* The first outputs of the reference implementation from this state. */
    ck_assert_uint_eq(random_next(&random), 11520);
    ck_assert_uint_eq(random_next(&random), 0);
    ck_assert_uint_eq(random_next(&random), 1509978240);
    ck_assert_uint_eq(random_next(&random), UINT64_C(1215971899390074240));
    /* splitmix64 of seed 0 begins with this. */
    random_init(&random, 0);
    ck_assert_uint_eq(random.state[0], UINT64_C(0xe220a8397b1dcdaf));
    ck_assert_uint_eq(random.state[1], UINT64_C(0x6e789e6aa1b965f4));
}
END_TEST

START_TEST(a_bounded_number_is_below_its_bound_and_reaches_all_values)
{
    struct random random;
    uint32_t seen = 0;
    random_init(&random, 7);
    for (int i = 0; i < 1000; i++) {
        uint64_t value = random_below(&random, 10);
        ck_assert_uint_lt(value, 10);
        seen |= 1U << value;
    }
    ck_assert_uint_eq(seen, 0x3ff);
    ck_assert_uint_eq(random_below(&random, 1), 0);
}
END_TEST

START_TEST(filling_writes_exactly_the_bytes_asked_for)
{
    struct random random;
    uint8_t buffer[32];
    uint8_t zeros[32] = {0};
    random_init(&random, 8);
    memset(buffer, 0, sizeof(buffer));
    random_fill(&random, buffer, 13);
    ck_assert_mem_eq(buffer + 13, zeros, 32 - 13);
    ck_assert_mem_ne(buffer, zeros, 13);
}
END_TEST

static Suite *random_suite(void)
{
    Suite *suite = suite_create("random");
    TCase *cases = tcase_create("random");
    tcase_add_test(cases, the_numbers_of_a_seed_never_change);
    tcase_add_test(cases, a_bounded_number_is_below_its_bound_and_reaches_all_values);
    tcase_add_test(cases, filling_writes_exactly_the_bytes_asked_for);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(random_suite)
