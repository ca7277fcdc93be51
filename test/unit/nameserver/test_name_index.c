/* SPDX-License-Identifier: Apache-2.0 */
/* test_name_index.c - the ordered index agrees with a sorted array, whatever is done to it. */
#include "nameserver/name_index.h"
#include "proto/base/random.h"
#include "test/lib/check_main.h"

#include <stdio.h>
#include <string.h>

enum { NAMES = 500 };

struct named {
    struct name_node node;
    char text[16];
    bool in;
};

static struct named members[NAMES];

static void make_members(void)
{
    for (int i = 0; i < NAMES; i++) {
        (void)snprintf(members[i].text, sizeof(members[i].text), "n%04d", i);
        members[i].node.name = bytes_from_string(members[i].text);
        members[i].in = false;
    }
}

/* Walks the index and the array side by side; the array is sorted as the names are. */
static void expect_same(const struct name_index *index)
{
    struct name_node *node = name_index_from(index, BYTES_OF(""));
    uint32_t count = 0;
    for (int i = 0; i < NAMES; i++) {
        struct name_node *found = name_index_find(index, members[i].node.name);
        ck_assert_ptr_eq(found, members[i].in ? &members[i].node : NULL);
        if (members[i].in) {
            ck_assert_ptr_eq(node, &members[i].node);
            node = name_index_after(index, node->name);
            count++;
        }
    }
    ck_assert_ptr_null(node);
    ck_assert_uint_eq(index->count, count);
}

START_TEST(random_insertions_and_removals_keep_the_order)
{
    make_members();
    struct random random;
    random_init(&random, 7);
    struct name_index index;
    name_index_init(&index, (struct map_seed){1, 2});
    for (int round = 0; round < 4000; round++) {
        struct named *member = &members[random_below(&random, NAMES)];
        if (member->in) {
            name_index_remove(&index, &member->node);
        } else {
            name_index_insert(&index, &member->node);
        }
        member->in = !member->in;
        if (round % 100 == 0) {
            expect_same(&index);
        }
    }
    expect_same(&index);
}
END_TEST

static unsigned depth_of(const struct name_node *node)
{
    if (node == NULL) {
        return 0;
    }
    unsigned left = depth_of(node->left);
    unsigned right = depth_of(node->right);
    return 1 + (left > right ? left : right);
}

START_TEST(sorted_insertions_stay_shallow)
{
    make_members();
    struct name_index index;
    name_index_init(&index, (struct map_seed){3, 4});
    for (int i = 0; i < NAMES; i++) {
        name_index_insert(&index, &members[i].node);
        members[i].in = true;
    }
    expect_same(&index);
    ck_assert_uint_lt(depth_of(index.root), 40);
}
END_TEST

START_TEST(from_and_after_differ_by_the_name_itself)
{
    make_members();
    struct name_index index;
    name_index_init(&index, (struct map_seed){5, 6});
    name_index_insert(&index, &members[10].node);
    name_index_insert(&index, &members[20].node);
    ck_assert_ptr_eq(name_index_from(&index, BYTES_OF("n0010")), &members[10].node);
    ck_assert_ptr_eq(name_index_after(&index, BYTES_OF("n0010")), &members[20].node);
    ck_assert_ptr_eq(name_index_from(&index, BYTES_OF("n0011")), &members[20].node);
    ck_assert_ptr_null(name_index_after(&index, BYTES_OF("n0020")));
}
END_TEST

static Suite *suite(void)
{
    Suite *made = suite_create("name_index");
    TCase *order = tcase_create("order");
    tcase_add_test(order, random_insertions_and_removals_keep_the_order);
    tcase_add_test(order, sorted_insertions_stay_shallow);
    tcase_add_test(order, from_and_after_differ_by_the_name_itself);
    suite_add_tcase(made, order);
    return made;
}

TEST_MAIN(suite)
