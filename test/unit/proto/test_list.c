/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_list.c - the intrusive list keeps its order and forgets what was removed.
 */
#include "proto/base/list.h"
#include "test/lib/check_main.h"

struct member {
    int number;
    struct list link;
};

static struct list head;
static struct member members[4];

static void set_up(void)
{
    list_init(&head);
    for (int i = 0; i < 4; i++) {
        members[i].number = i;
        list_init(&members[i].link);
    }
}

/* The numbers of the list as decimal digits, first to last. */
static int digits(struct list *list)
{
    int result = 0;
    LIST_FOREACH (link, list) {
        result = result * 10 + CONTAINER_OF(link, struct member, link)->number + 1;
    }
    return result;
}

START_TEST(appended_members_come_in_order_and_prepended_ones_before)
{
    list_append(&head, &members[1].link);
    list_append(&head, &members[2].link);
    list_prepend(&head, &members[0].link);
    ck_assert_int_eq(digits(&head), 123);
    ck_assert_ptr_eq(list_first(&head), &members[0].link);
    ck_assert_ptr_eq(list_last(&head), &members[2].link);
}
END_TEST

START_TEST(a_removed_member_is_in_no_list_and_may_be_removed_again)
{
    for (int i = 0; i < 3; i++) {
        list_append(&head, &members[i].link);
    }
    list_remove(&members[1].link);
    ck_assert_int_eq(digits(&head), 13);
    ck_assert(list_is_empty(&members[1].link));
    list_remove(&members[1].link);
    ck_assert_int_eq(digits(&head), 13);
}
END_TEST

START_TEST(a_loop_may_remove_the_member_it_stands_at)
{
    for (int i = 0; i < 4; i++) {
        list_append(&head, &members[i].link);
    }
    LIST_FOREACH (link, &head) {
        if (CONTAINER_OF(link, struct member, link)->number % 2 == 0) {
            list_remove(link);
        }
    }
    ck_assert_int_eq(digits(&head), 24);
}
END_TEST

START_TEST(an_empty_list_gives_nothing)
{
    ck_assert(list_is_empty(&head));
    ck_assert_ptr_null(list_first(&head));
    ck_assert_ptr_null(list_last(&head));
    ck_assert_ptr_null(list_take_first(&head));
}
END_TEST

START_TEST(moving_all_keeps_the_order_and_empties_the_source)
{
    struct list other;
    list_init(&other);
    list_append(&head, &members[0].link);
    list_append(&other, &members[1].link);
    list_append(&other, &members[2].link);
    list_move_all(&head, &other);
    ck_assert_int_eq(digits(&head), 123);
    ck_assert(list_is_empty(&other));
    list_move_all(&head, &other);
    ck_assert_int_eq(digits(&head), 123);
    ck_assert_ptr_eq(list_take_first(&head), &members[0].link);
    ck_assert_int_eq(digits(&head), 23);
}
END_TEST

static Suite *list_suite(void)
{
    Suite *suite = suite_create("list");
    TCase *cases = tcase_create("list");
    tcase_add_checked_fixture(cases, set_up, NULL);
    tcase_add_test(cases, appended_members_come_in_order_and_prepended_ones_before);
    tcase_add_test(cases, a_removed_member_is_in_no_list_and_may_be_removed_again);
    tcase_add_test(cases, a_loop_may_remove_the_member_it_stands_at);
    tcase_add_test(cases, an_empty_list_gives_nothing);
    tcase_add_test(cases, moving_all_keeps_the_order_and_empties_the_source);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(list_suite)
