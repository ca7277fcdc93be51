/* SPDX-License-Identifier: Apache-2.0 */
/* test_receive_member.c - members of a broadcast group: when they are made, and what a receive costs that has one. */
#include "test/lib/check_main.h"
#include "test/unit/broker/group_world.h"

static struct world world;

/* A topic `t` and a broadcast group `all` of it. */
static struct client_simulated *begin(int index)
{
    struct client_simulated *client = world_begin(&world, index, 1);
    struct writer request = ask_group_of("all", "t", NULL, 1);
    writer_put_string(&request, "broadcast");
    writer_put_bool(&request, true);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    return client;
}

static void end(void)
{
    world_end(&world);
}

static struct writer ask_member(void)
{
    struct writer request = ask_receive("all", 1);
    writer_put_key_string(&request, "member", "m");
    return request;
}

static struct answer receive_member(struct client_simulated *client)
{
    struct writer request = ask_member();
    struct answer answer = call(client, &request);
    ck_answered(answer);
    return answer;
}

START_TEST(a_member_that_is_there_is_known_at_home)
{
    struct client_simulated *client = begin(_i);
    (void)receive_member(client); /* begins at the end */
    fill(client, 3);
    uint64_t before = core_counter(client, "forwarded");
    struct answer answer = receive(client, "all@m");
    ck_assert_uint_eq(count_of(&answer), 3);
    uint64_t of_group = core_counter(client, "forwarded") - before;
    fill(client, 2);
    before = core_counter(client, "forwarded");
    answer = receive_member(client);
    ck_assert_uint_eq(count_of(&answer), 2);
    ck_assert_uint_eq(core_counter(client, "forwarded") - before, of_group);
    end();
}
END_TEST

START_TEST(a_member_follows_the_settings_of_its_group)
{
    struct client_simulated *client = begin(_i);
    (void)receive_member(client);
    struct writer request = ask_group_of("all", "t", NULL, 1);
    writer_put_key_uint(&request, "lease_ms", 1000);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    fill(client, 1);
    answer = receive_member(client);
    ck_assert_uint_eq(only_range(&answer).attempt, 1);
    run_ms(&world, 1500);
    answer = receive_member(client);
    ck_assert_uint_eq(only_range(&answer).attempt, 2); /* its lease is over */
    end();
}
END_TEST

/* The call is on its way to the member's group when that goes. */
START_TEST(a_member_that_is_deleted_meanwhile_is_made_anew)
{
    struct client_simulated *client = begin(_i);
    (void)receive_member(client);
    fill(client, 3);
    struct writer request = ask("group.delete", 1);
    writer_put_key_string(&request, "name", "all@m");
    (void)tell(client, &request);
    request = ask_member();
    (void)tell(client, &request);
    for (int i = 0; i < 2; i++) {
        struct answer answer = take(client);
        ck_answered(answer);
    }
    fill(client, 2);
    struct answer answer = receive_member(client);
    ck_assert_uint_eq(count_of(&answer), 2);
    end();
}
END_TEST

/* Who waits is told, as of any other group. */
START_TEST(a_member_that_is_deleted_while_it_waits_is_gone)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_receive("all", 2);
    writer_put_key_string(&request, "member", "m");
    writer_put_key_uint(&request, "wait_ms", 20000);
    (void)tell(client, &request);
    run_ms(&world, SOON_MS);
    struct client_simulated *other = world.client[1 - _i];
    request = ask("group.delete", 1);
    writer_put_key_string(&request, "name", "all@m");
    struct answer answer = call(other, &request);
    ck_answered(answer);
    answer = take(client);
    ck_refused(answer, "GROUP_NOT_FOUND");
    end();
}
END_TEST

static Suite *receive_member_suite(void)
{
    Suite *suite = suite_create("receive_member");
    TCase *tests = tcase_create("receive_member");
    tcase_add_loop_test(tests, a_member_that_is_there_is_known_at_home, 0, 2);
    tcase_add_loop_test(tests, a_member_follows_the_settings_of_its_group, 0, 2);
    tcase_add_loop_test(tests, a_member_that_is_deleted_meanwhile_is_made_anew, 0, 2);
    tcase_add_loop_test(tests, a_member_that_is_deleted_while_it_waits_is_gone, 0, 2);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(receive_member_suite)
