/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of net/buffer.c: bounds, references, and the way home from other threads.
 */

#include "net/buffer.h"
#include "proto/base/contract.h"
#include "test/lib/check_main.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

enum { POOL_BYTES = 8 * BUFFER_BYTES, COMMON_BUFFERS = 6, ROUNDS = 20000 };

static struct buffer_pool *pool;
static _Atomic int starved_calls;

static void count_starved(void *owner)
{
    ASSERT(owner == &starved_calls);
    atomic_fetch_add(&starved_calls, 1);
}

static void set_up(void)
{
    atomic_store(&starved_calls, 0);
    pool = buffer_pool_create(POOL_BYTES, 2 * BUFFER_BYTES, count_starved, &starved_calls);
}

static void tear_down(void)
{
    buffer_pool_destroy(pool);
}

START_TEST(a_buffer_has_the_room_that_was_asked_for)
{
    const size_t sizes[] = {1, BUFFER_BYTES, BUFFER_BYTES + 1, 4 * BUFFER_BYTES};
    for (size_t i = 0; i < 4; i++) {
        struct buffer *buffer = buffer_take(pool, sizes[i]);
        ck_assert_ptr_nonnull(buffer);
        ck_assert_uint_ge(buffer->capacity, sizes[i]);
        ck_assert_uint_ge(buffer->capacity, BUFFER_BYTES);
        ck_assert_uint_eq(buffer->used, 0);
        memset(buffer->bytes, 0xee, buffer->capacity);
        buffer_unref(buffer);
    }
    ck_assert_uint_eq(buffer_pool_bytes(pool), 0);
    ck_assert_uint_eq(buffer_pool_bytes_peak(pool), 4 * BUFFER_BYTES);
}
END_TEST

START_TEST(a_pool_gives_no_more_than_its_bound_less_the_urgent_quarter)
{
    struct buffer *buffers[COMMON_BUFFERS];
    for (int i = 0; i < COMMON_BUFFERS; i++) {
        buffers[i] = buffer_take(pool, 1);
        ck_assert_ptr_nonnull(buffers[i]);
    }
    ck_assert_ptr_null(buffer_take(pool, 1));
    ck_assert_ptr_null(buffer_take_part(pool, 1000, false));

    struct buffer *urgent = buffer_take_part(pool, 2 * BUFFER_BYTES, true);
    ck_assert_ptr_nonnull(urgent);
    ck_assert_ptr_null(buffer_take_part(pool, 1, true));
    ck_assert_uint_eq(buffer_pool_bytes(pool), POOL_BYTES);

    buffer_unref(urgent);
    for (int i = 0; i < COMMON_BUFFERS; i++) {
        buffer_unref(buffers[i]);
    }
    ck_assert_uint_eq(buffer_pool_bytes(pool), 0);
    ck_assert_uint_eq(buffer_pool_bytes_peak(pool), POOL_BYTES);
}
END_TEST

START_TEST(large_parts_leave_half_of_the_pool_to_others)
{
    struct buffer *large = buffer_take_part(pool, 4 * BUFFER_BYTES, false);
    ck_assert_ptr_nonnull(large);
    ck_assert_ptr_null(buffer_take_part(pool, BUFFER_PART_BYTES_FREE + 1, false));

    struct buffer *small = buffer_take_part(pool, BUFFER_PART_BYTES_FREE, false);
    struct buffer *common = buffer_take(pool, 1);

    ck_assert_ptr_nonnull(small);
    ck_assert_ptr_nonnull(common);
    buffer_unref(large);
    buffer_unref(small);
    buffer_unref(common);
}
END_TEST

START_TEST(a_small_part_costs_little_of_the_bound)
{
    struct buffer *part = buffer_take_part(pool, 100, false);
    ck_assert_uint_ge(part->capacity, 100);
    ck_assert_uint_le(buffer_pool_bytes(pool), 1024);
    buffer_unref(part);
}
END_TEST

START_TEST(a_part_grows_and_keeps_its_bytes)
{
    struct buffer *part = buffer_take_part(pool, 1000, false);
    for (size_t i = 0; i < 1000; i++) {
        part->bytes[i] = (uint8_t)i;
    }
    for (size_t bytes = 1000; bytes <= 4 * BUFFER_BYTES; bytes = bytes * 2 + 3) {
        ck_assert(buffer_grow(&part, bytes, false));
        ck_assert_uint_ge(part->capacity, bytes);
        ck_assert_uint_eq(buffer_pool_bytes(pool), part->capacity);
        for (size_t i = 0; i < 1000; i++) {
            ck_assert(part->bytes[i] == (uint8_t)i);
        }
    }
    uint32_t capacity = part->capacity;
    ck_assert(!buffer_grow(&part, 4 * BUFFER_BYTES + 1, false));
    ck_assert_uint_eq(part->capacity, capacity);
    ck_assert(buffer_grow(&part, 4 * BUFFER_BYTES + 1, true));
    buffer_unref(part);
}
END_TEST

START_TEST(the_last_reference_gives_a_buffer_back)
{
    struct buffer *buffer = buffer_take(pool, 1);
    buffer_ref(buffer);
    buffer_ref(buffer);
    buffer_unref(buffer);
    buffer_unref(buffer);
    ck_assert_uint_eq(buffer_pool_bytes(pool), BUFFER_BYTES);

    buffer_unref(buffer);
    ck_assert_uint_eq(buffer_pool_bytes(pool), 0);
    buffer_unref(NULL);
}
END_TEST

START_TEST(all_that_hold_a_buffer_count_as_one_reference)
{
    struct buffer *buffer = buffer_take(pool, 1);
    buffer_hold(buffer);
    buffer_hold(buffer);
    ck_assert_uint_eq(atomic_load(&buffer->references), 2);
    buffer_unref(buffer);
    buffer_release(buffer);
    ck_assert_uint_eq(buffer_pool_bytes(pool), BUFFER_BYTES);
    buffer_hold(buffer);
    buffer_release(buffer);
    ck_assert_uint_eq(buffer_pool_bytes(pool), BUFFER_BYTES);

    buffer_release(buffer);
    ck_assert_uint_eq(buffer_pool_bytes(pool), 0);
}
END_TEST

START_TEST(the_owner_is_told_of_a_return_only_after_a_refusal_and_only_once)
{
    struct buffer *buffers[COMMON_BUFFERS];
    for (int i = 0; i < COMMON_BUFFERS; i++) {
        buffers[i] = buffer_take(pool, 1);
    }
    buffer_unref(buffers[0]);
    ck_assert_int_eq(atomic_load(&starved_calls), 0);
    buffers[0] = buffer_take(pool, 1);
    ck_assert_ptr_null(buffer_take(pool, 1));

    for (int i = 0; i < COMMON_BUFFERS; i++) {
        buffer_unref(buffers[i]);
    }

    ck_assert_int_eq(atomic_load(&starved_calls), 1);
}
END_TEST

START_TEST(destroying_a_pool_with_a_buffer_out_aborts)
{
    (void)buffer_take(pool, 1);
    buffer_pool_destroy(pool);
}
END_TEST

START_TEST(a_killed_process_leaves_nothing_behind)
{
    (void)buffer_take(pool, 1);
    (void)buffer_take_part(pool, 100, false);
    buffer_unref(buffer_take(pool, 1));
    buffer_pool_destroy_killed(pool);
    set_up();
}
END_TEST

/* ----------------------------------------------------------------- threads */

struct hand_over {
    _Atomic(struct buffer *) slots[4];
    atomic_bool ends;
};

static void *give_back(void *context)
{
    struct hand_over *hand_over = context;
    for (size_t i = 0;; i++) {
        struct buffer *buffer = atomic_exchange(&hand_over->slots[i % 4], NULL);
        if (buffer != NULL) {
            ASSERT(buffer->bytes[0] == 0x5a);
            buffer_unref(buffer);
        } else if (atomic_load(&hand_over->ends)) {
            return NULL;
        }
    }
}

/* Two threads drop what the home takes; the bound is never passed, and all come home. */
START_TEST(buffers_come_home_from_other_threads)
{
    struct hand_over hand_overs[2];
    memset(hand_overs, 0, sizeof(hand_overs));
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, give_back, &hand_overs[i]), 0);
    }
    for (size_t i = 0; i < ROUNDS; i++) {
        struct buffer *buffer = buffer_take(pool, 1);
        if (buffer == NULL) {
            continue;
        }
        ASSERT(buffer_pool_bytes(pool) <= POOL_BYTES);
        buffer->bytes[0] = 0x5a;
        struct buffer *old = atomic_exchange(&hand_overs[i % 2].slots[i / 2 % 4], buffer);
        buffer_unref(old);
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&hand_overs[i].ends, true);
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        for (int j = 0; j < 4; j++) {
            buffer_unref(atomic_load(&hand_overs[i].slots[j]));
        }
    }

    /* At the next take the home sees what came back by other ways. */
    buffer_unref(buffer_take(pool, 1));
    ck_assert_uint_eq(buffer_pool_bytes(pool), 0);
}
END_TEST

static Suite *buffer_suite(void)
{
    Suite *suite = suite_create("net/buffer");
    TCase *bounds = tcase_create("bounds");
    TCase *threads = tcase_create("threads");

    tcase_add_checked_fixture(bounds, set_up, tear_down);
    tcase_add_test(bounds, a_buffer_has_the_room_that_was_asked_for);
    tcase_add_test(bounds, a_pool_gives_no_more_than_its_bound_less_the_urgent_quarter);
    tcase_add_test(bounds, large_parts_leave_half_of_the_pool_to_others);
    tcase_add_test(bounds, a_small_part_costs_little_of_the_bound);
    tcase_add_test(bounds, a_part_grows_and_keeps_its_bytes);
    tcase_add_test(bounds, the_last_reference_gives_a_buffer_back);
    tcase_add_test(bounds, all_that_hold_a_buffer_count_as_one_reference);
    tcase_add_test(bounds, the_owner_is_told_of_a_return_only_after_a_refusal_and_only_once);
    tcase_add_test(bounds, a_killed_process_leaves_nothing_behind);
    tcase_add_test_raise_signal(bounds, destroying_a_pool_with_a_buffer_out_aborts, SIGABRT);
    tcase_add_checked_fixture(threads, set_up, tear_down);
    tcase_add_test(threads, buffers_come_home_from_other_threads);
    suite_add_tcase(suite, bounds);
    suite_add_tcase(suite, threads);
    return suite;
}

TEST_MAIN(buffer_suite)
