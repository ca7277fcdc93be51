/* SPDX-License-Identifier: Apache-2.0 */
/* test_pool.c - blocks kept for reuse. */
#include "broker/pool.h"
#include "test/lib/check_main.h"

#include <stdbool.h>
#include <string.h>

enum { BLOCK_BYTES = 48, KEPT = 3 };

START_TEST(a_block_that_was_given_is_taken_again)
{
    struct pool pool;
    pool_init(&pool, BLOCK_BYTES, KEPT);
    void *block = pool_take(&pool);
    memset(block, 1, BLOCK_BYTES);
    pool_give(&pool, block);
    ck_assert_ptr_eq(pool_take(&pool), block);
    pool_give(&pool, block);
    pool_deinit(&pool);
}
END_TEST

/* Takes more blocks than are kept, and gives all of them back by `give`. */
static void take_and_give(struct pool *pool, void *blocks[2 * KEPT],
                          void (*give)(struct pool *pool, void *block))
{
    pool_init(pool, BLOCK_BYTES, KEPT);
    for (int i = 0; i < 2 * KEPT; i++) {
        blocks[i] = pool_take(pool);
    }
    for (int i = 0; i < 2 * KEPT; i++) {
        give(pool, blocks[i]);
    }
}

START_TEST(no_more_blocks_are_kept_than_was_said)
{
    struct pool pool;
    void *blocks[2 * KEPT];
    take_and_give(&pool, blocks, pool_give);
    ck_assert_uint_eq(pool.idle, KEPT);
    ck_assert_uint_eq(pool.taken, pool.given);
    pool_deinit(&pool);
    ck_assert_uint_eq(pool.idle, 0);
}
END_TEST

START_TEST(a_block_may_move_to_another_pool)
{
    struct pool from;
    struct pool to;
    pool_init(&from, BLOCK_BYTES, KEPT);
    pool_init(&to, BLOCK_BYTES, KEPT);
    void *block = pool_take(&from);
    pool_give(&to, block);
    ck_assert_ptr_eq(pool_take(&to), block);
    pool_give(&from, block);
    pool_deinit(&from);
    pool_deinit(&to);
}
END_TEST

START_TEST(a_block_that_was_sent_back_is_taken_again)
{
    struct pool pool;
    void *blocks[2 * KEPT];
    take_and_give(&pool, blocks, pool_give_back);
    ck_assert_uint_eq(pool.idle, 0);
    void *again = pool_take(&pool);
    ck_assert_uint_eq(pool.idle, KEPT - 1);
    bool is_known = false;
    for (int i = 0; i < 2 * KEPT; i++) {
        is_known = is_known || blocks[i] == again;
    }
    ck_assert(is_known);
    pool_give_back(&pool, again);
    pool_deinit(&pool);
}
END_TEST

static Suite *pool_suite(void)
{
    Suite *suite = suite_create("pool");
    TCase *tests = tcase_create("pool");
    tcase_add_test(tests, a_block_that_was_given_is_taken_again);
    tcase_add_test(tests, no_more_blocks_are_kept_than_was_said);
    tcase_add_test(tests, a_block_may_move_to_another_pool);
    tcase_add_test(tests, a_block_that_was_sent_back_is_taken_again);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(pool_suite)
