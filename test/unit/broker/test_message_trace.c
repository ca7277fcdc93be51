/* SPDX-License-Identifier: Apache-2.0 */
/* test_message_trace.c - what message.trace tells where more groups read the topic than an answer has room for. */
#include "broker/message_trace.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/group_world.h"

#include <stdio.h>

enum { MORE = 3, GROUPS = TRACED_GROUPS_MAX + MORE };

static struct world world;

static void name_group(uint32_t number, char text[TEXT_MAX])
{
    (void)snprintf(text, TEXT_MAX, "g%04u", number);
}

/* GROUPS groups that read `t`, and before, between and behind them others that do not. */
static struct client_simulated *begin(int index)
{
    struct client_simulated *client = world_begin(&world, index, 1);
    char name[TEXT_MAX];
    make_topic(client, "other", 1, "any", "memory");
    for (uint32_t i = 0; i < GROUPS; i++) {
        name_group(i, name);
        make_group(client, name);
    }
    static const char *const others[] = {"a", "g0500b", "z"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct writer request = ask_group_of(others[i], "other", NULL, 0);
        struct answer answer = call(client, &request);
        ck_answered(answer);
    }
    fill(client, 1);
    return client;
}

/* The groups behind `after` (NULL: all) are `first` and those that follow it, `count` of them. Whether there are
 * more: then where to go on. */
static bool check_page(struct client_simulated *client, const char *after, uint32_t first,
                       uint32_t count, char next[TEXT_MAX])
{
    struct writer request = ask("message.trace", after == NULL ? 3 : 4);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 0);
    writer_put_key_uint(&request, "offset", 0);
    if (after != NULL) {
        writer_put_key_string(&request, "after", after);
    }
    struct answer answer = call(client, &request);
    ck_answered(answer);
    struct cursor groups = value_of(answer.result, "groups");
    uint32_t told = 0;
    ck_assert(cursor_take_array(&groups, &told));
    ck_assert_uint_eq(told, count);
    for (uint32_t i = 0; i < count; i++) {
        struct bytes row = {NULL, 0};
        char name[TEXT_MAX];
        char expected[TEXT_MAX];
        ck_assert(cursor_take_span(&groups, &row));
        struct cursor value = value_of(row, "group");
        copy_text(&value, name);
        name_group(first + i, expected);
        ck_assert_str_eq(name, expected);
    }
    struct bytes rest = {NULL, 0};
    struct cursor map = cursor_over(answer.result);
    uint32_t pairs = 0;
    ck_assert(cursor_take_map(&map, &pairs));
    for (uint32_t i = 0; i < pairs; i++) {
        ck_assert(cursor_take_text(&map, &rest));
        if (bytes_equal(rest, bytes_from_string("next"))) {
            copy_text(&map, next);
            return true;
        }
        ck_assert(cursor_skip(&map));
    }
    return false;
}

START_TEST(groups_are_told_by_name_as_many_as_fit_and_where_to_go_on)
{
    struct client_simulated *client = begin(_i);
    char next[TEXT_MAX];
    char last[TEXT_MAX];
    ck_assert(check_page(client, NULL, 0, TRACED_GROUPS_MAX, next));
    name_group(TRACED_GROUPS_MAX - 1, last);
    ck_assert_str_eq(next, last);
    ck_assert(!check_page(client, last, TRACED_GROUPS_MAX, MORE, next));
    name_group(MORE - 1, last);
    ck_assert(!check_page(client, last, MORE, TRACED_GROUPS_MAX, next)); /* just all of them */
    ck_assert(!check_page(client, "zz", 0, 0, next));
    ck_assert(check_page(client, "", 0, TRACED_GROUPS_MAX, next));
    world_end(&world);
}
END_TEST

static Suite *message_trace_suite(void)
{
    Suite *suite = suite_create("message_trace");
    TCase *tests = tcase_create("message_trace");
    tcase_add_loop_test(tests, groups_are_told_by_name_as_many_as_fit_and_where_to_go_on, 0, 2);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(message_trace_suite)
