/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_map.c - both maps against an array that is searched, and SipHash against its definition.
 */
#include "proto/base/map.h"
#include "proto/base/random.h"
#include "test/lib/check_main.h"

#include <stdio.h>

#define KEYS 600

static const struct map_seed seed = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};

static char texts[KEYS][24];
static bool is_in[KEYS];

static struct bytes key_of(uint64_t i)
{
    return bytes_from_string(texts[i]);
}

static void set_up(void)
{
    for (int i = 0; i < KEYS; i++) {
        snprintf(texts[i], sizeof(texts[i]), "topic-%d", i);
        is_in[i] = false;
    }
}

START_TEST(the_hash_is_siphash_1_3)
{
    /* Worked out with an independent implementation: key 00..0f, input 00..0e. */
    uint8_t input[15];
    for (uint8_t i = 0; i < sizeof(input); i++) {
        input[i] = i;
    }
    ck_assert_uint_eq(map_hash(seed, bytes_make(input, 0)), UINT64_C(0xabac0158050fc4dc));
    ck_assert_uint_eq(map_hash(seed, bytes_make(input, 8)), UINT64_C(0x369095118d299a8e));
    ck_assert_uint_eq(map_hash(seed, bytes_make(input, 15)), UINT64_C(0xd320d86d2a519956));
}
END_TEST

START_TEST(another_seed_gives_another_hash)
{
    struct map_seed other = {seed.low, seed.high + 1};
    ck_assert_uint_ne(map_hash(seed, key_of(1)), map_hash(other, key_of(1)));
}
END_TEST

START_TEST(a_map_holds_what_was_put_and_not_removed)
{
    struct map map;
    struct random random;
    uint32_t count = 0;
    map_init(&map, seed);
    random_init(&random, 3);
    for (int step = 0; step < 20000; step++) {
        uint64_t i = random_below(&random, KEYS);
        ck_assert_ptr_eq(map_find(&map, key_of(i)), is_in[i] ? texts[i] : NULL);
        if (is_in[i]) {
            ck_assert_ptr_eq(map_remove(&map, key_of(i)), texts[i]);
            count--;
        } else {
            ck_assert(map_put(&map, key_of(i), texts[i]));
            count++;
        }
        is_in[i] = !is_in[i];
        ck_assert_uint_eq(map.count, count);
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        ck_assert_ptr_eq(map_find(&map, key_of(i)), is_in[i] ? texts[i] : NULL);
    }
    map_deinit(&map);
}
END_TEST

START_TEST(small_maps_find_what_a_removal_has_moved_over_the_end)
{
    struct random random;
    random_init(&random, 5);
    for (uint64_t round = 0; round < 100; round++) {
        struct map map;
        struct number_map numbers;
        set_up();
        map_init(&map, (struct map_seed){round, 1});
        number_map_init(&numbers, (struct map_seed){round, 1});
        for (int step = 0; step < 60; step++) {
            /* At most 12 of 16 slots, so that runs go over the end of the table. */
            uint64_t i = random_below(&random, 12);
            if (is_in[i]) {
                ck_assert_ptr_eq(map_remove(&map, key_of(i)), texts[i]);
                ck_assert_ptr_eq(number_map_remove(&numbers, i), texts[i]);
            } else {
                ck_assert(map_put(&map, key_of(i), texts[i]));
                ck_assert(number_map_put(&numbers, i, texts[i]));
            }
            is_in[i] = !is_in[i];
            for (uint64_t k = 0; k < 12; k++) {
                ck_assert_ptr_eq(map_find(&map, key_of(k)), is_in[k] ? texts[k] : NULL);
                ck_assert_ptr_eq(number_map_find(&numbers, k), is_in[k] ? texts[k] : NULL);
            }
        }
        map_deinit(&map);
        number_map_deinit(&numbers);
    }
}
END_TEST

START_TEST(an_iteration_meets_every_value_once)
{
    struct map map;
    uint32_t slot = 0;
    uint32_t met = 0;
    map_init(&map, seed);
    ck_assert_ptr_null(map_next(&map, &slot));
    for (uint64_t i = 0; i < KEYS; i++) {
        ck_assert(map_put(&map, key_of(i), texts[i]));
    }
    for (char *text = map_next(&map, &slot); text != NULL; text = map_next(&map, &slot)) {
        long i = (text - texts[0]) / (long)sizeof(texts[0]);
        ck_assert(!is_in[i]);
        is_in[i] = true;
        met++;
    }
    ck_assert_uint_eq(met, KEYS);
    map_deinit(&map);
}
END_TEST

START_TEST(an_empty_map_finds_and_removes_nothing)
{
    struct map map;
    map_init(&map, seed);
    ck_assert_ptr_null(map_find(&map, BYTES_OF("x")));
    ck_assert_ptr_null(map_remove(&map, BYTES_OF("x")));
    map_deinit(&map);
}
END_TEST

START_TEST(a_number_map_holds_what_was_put_and_not_removed)
{
    struct number_map map;
    struct random random;
    uint32_t slot = 0;
    uint32_t met = 0;
    number_map_init(&map, seed);
    random_init(&random, 4);
    for (int step = 0; step < 20000; step++) {
        uint64_t i = random_below(&random, KEYS);
        /* Keys that agree in their low bits: what a mask alone would heap up. */
        uint64_t key = i << 20;
        ck_assert_ptr_eq(number_map_find(&map, key), is_in[i] ? texts[i] : NULL);
        if (is_in[i]) {
            ck_assert_ptr_eq(number_map_remove(&map, key), texts[i]);
        } else {
            ck_assert(number_map_put(&map, key, texts[i]));
        }
        is_in[i] = !is_in[i];
    }
    while (number_map_next(&map, &slot) != NULL) {
        met++;
    }
    ck_assert_uint_eq(met, map.count);
    ck_assert_ptr_null(number_map_remove(&map, 1));
    number_map_deinit(&map);
}
END_TEST

static Suite *map_suite(void)
{
    Suite *suite = suite_create("map");
    TCase *cases = tcase_create("map");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, the_hash_is_siphash_1_3);
    tcase_add_test(cases, another_seed_gives_another_hash);
    tcase_add_test(cases, a_map_holds_what_was_put_and_not_removed);
    tcase_add_test(cases, small_maps_find_what_a_removal_has_moved_over_the_end);
    tcase_add_test(cases, an_iteration_meets_every_value_once);
    tcase_add_test(cases, an_empty_map_finds_and_removes_nothing);
    tcase_add_test(cases, a_number_map_holds_what_was_put_and_not_removed);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(map_suite)
