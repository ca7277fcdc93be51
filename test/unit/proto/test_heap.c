/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_heap.c - the least key comes first, whatever was inserted, moved and removed before.
 */
#include "proto/base/heap.h"
#include "proto/base/random.h"
#include "test/lib/check_main.h"

#define NODES 300

static struct heap heap;
static struct heap_node nodes[NODES];

static void set_up(void)
{
    heap_init(&heap);
    for (int i = 0; i < NODES; i++) {
        heap_node_init(&nodes[i]);
    }
}

static void tear_down(void)
{
    heap_deinit(&heap);
}

/* The least key by looking at all nodes; UINT64_MAX of none. */
static uint64_t least_by_search(void)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < NODES; i++) {
        if (heap_node_is_in(&nodes[i]) && nodes[i].key < least) {
            least = nodes[i].key;
        }
    }
    return least;
}

/* Every node knows its place, and none stands below a greater one. */
static bool is_a_heap(void)
{
    for (uint32_t i = 0; i < heap.count; i++) {
        const struct heap_node *parent = heap.nodes[i == 0 ? 0 : (i - 1) / 2];
        if (heap.nodes[i]->index != i || parent->key > heap.nodes[i]->key) {
            return false;
        }
    }
    return true;
}

START_TEST(an_empty_heap_has_no_least)
{
    ck_assert_ptr_null(heap_least(&heap));
}
END_TEST

START_TEST(nodes_come_out_in_the_order_of_their_keys)
{
    struct random random;
    random_init(&random, 1);
    for (int i = 0; i < NODES; i++) {
        ck_assert(heap_insert(&heap, &nodes[i], random_below(&random, 500)));
    }
    uint64_t last = 0;
    for (int i = 0; i < NODES; i++) {
        struct heap_node *node = heap_least(&heap);
        ck_assert_ptr_nonnull(node);
        ck_assert_uint_ge(node->key, last);
        last = node->key;
        heap_remove(&heap, node);
        ck_assert(!heap_node_is_in(node));
    }
    ck_assert_ptr_null(heap_least(&heap));
}
END_TEST

START_TEST(the_least_is_right_after_any_insert_move_and_remove)
{
    struct random random;
    random_init(&random, 2);
    for (int step = 0; step < 5000; step++) {
        struct heap_node *node = &nodes[random_below(&random, NODES)];
        uint64_t key = random_below(&random, 100000);
        if (!heap_node_is_in(node)) {
            ck_assert(heap_insert(&heap, node, key));
        } else if (random_below(&random, 2) == 0) {
            heap_move(&heap, node, key);
        } else {
            heap_remove(&heap, node);
        }
        ck_assert(is_a_heap());
        struct heap_node *least = heap_least(&heap);
        ck_assert_uint_eq(least == NULL ? UINT64_MAX : least->key, least_by_search());
    }
}
END_TEST

static Suite *heap_suite(void)
{
    Suite *suite = suite_create("heap");
    TCase *cases = tcase_create("heap");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, an_empty_heap_has_no_least);
    tcase_add_test(cases, nodes_come_out_in_the_order_of_their_keys);
    tcase_add_test(cases, the_least_is_right_after_any_insert_move_and_remove);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(heap_suite)
