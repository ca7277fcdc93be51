/* SPDX-License-Identifier: Apache-2.0 */
/* test_group_expiry.c - groups that go when nobody uses them: what is a use. */
#include "test/lib/check_main.h"
#include "test/unit/broker/group_world.h"

enum { IDLE_MS = 2000, LEASE_LEAST_MS = 1000, TIMES = 8 };

static struct world world;

/* A group `g` of `t` that goes after IDLE_MS, and so many messages. */
static struct client_simulated *begin(int index)
{
    struct client_simulated *client = world_begin(&world, index, 1);
    struct writer request = ask_group("g", NULL, 2);
    writer_put_key_uint(&request, "idle_expire_ms", IDLE_MS);
    writer_put_key_uint(&request, "lease_ms", LEASE_LEAST_MS);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    fill(client, TIMES);
    return client;
}

static void end(void)
{
    world_end(&world);
}

static bool is_there(struct client_simulated *client)
{
    struct writer request = ask("group.list", 0);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    struct cursor rows = value_of(answer.result, "rows");
    uint32_t count = 0;
    ck_assert(cursor_take_array(&rows, &count));
    return count > 0;
}

/* It goes when it is used no more, but not before its time. */
static void ck_goes(struct client_simulated *client)
{
    run_ms(&world, IDLE_MS - 200);
    ck_assert(is_there(client));
    run_ms(&world, 2000);
    ck_assert(!is_there(client));
}

START_TEST(who_pulls_and_sets_a_cursor_uses_it)
{
    struct client_simulated *client = begin(_i);
    for (uint64_t i = 1; i <= TIMES; i++) {
        run_ms(&world, IDLE_MS * 3 / 4);
        ck_assert_int_eq(commit(client, "g", i), OK);
    }
    ck_goes(client);
    end();
}
END_TEST

START_TEST(who_settles_what_he_was_given_long_ago_uses_it)
{
    struct client_simulated *client = begin(_i);
    struct given given = give(client);
    ck_assert_uint_eq(given.span, TIMES);
    for (uint64_t i = 0; i < TIMES; i++) {
        run_ms(&world, IDLE_MS * 3 / 4); /* from the first on the lease is over */
        struct given one = part_of(&given, i, 1);
        ck_assert_int_eq(ack(client, "g", &one), OK);
    }
    ck_goes(client);
    end();
}
END_TEST

START_TEST(a_use_right_behind_another_counts)
{
    struct client_simulated *client = begin(_i);
    run_ms(&world, IDLE_MS / 2);
    ck_assert_int_eq(commit(client, "g", 1), OK);
    run_ms(&world, 50); /* sooner than its home is told again */
    ck_assert_int_eq(commit(client, "g", 2), OK);
    ck_goes(client);
    end();
}
END_TEST

START_TEST(nobody_uses_it)
{
    struct client_simulated *client = begin(_i);
    ck_goes(client);
    end();
}
END_TEST

static Suite *group_expiry_suite(void)
{
    Suite *suite = suite_create("broker/group_expiry");
    TCase *tests = tcase_create("uses");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, who_pulls_and_sets_a_cursor_uses_it, 0, 2);
    tcase_add_loop_test(tests, who_settles_what_he_was_given_long_ago_uses_it, 0, 2);
    tcase_add_loop_test(tests, a_use_right_behind_another_counts, 0, 2);
    tcase_add_loop_test(tests, nobody_uses_it, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(group_expiry_suite)
