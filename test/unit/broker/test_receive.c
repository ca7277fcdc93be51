/* SPDX-License-Identifier: Apache-2.0 */
/* test_receive.c - what a receive gives, of which topics, and where a group begins. */
#include "test/lib/check_main.h"
#include "test/unit/broker/receive_world.h"

/* ------------------------------------------------------------------- given */

START_TEST(what_is_there_is_given_once_with_all_that_is_known_of_it)
{
    struct client_simulated *client = begin(_i);
    fill(client, 5);
    struct answer answer = receive(client, "g");
    struct given given = only_range(&answer);
    ck_assert_str_eq(given.topic, "t");
    ck_assert_str_eq(given.reason, "");
    ck_assert_uint_eq(given.queue, 0);
    ck_assert_uint_eq(given.first, 0);
    ck_assert_uint_eq(given.span, 5);
    ck_assert_uint_eq(given.messages, 5);
    ck_assert_uint_eq(given.attempt, 1);
    ck_assert_uint_eq(record_of(&answer, 4).fields.offset, 4);
    ck_assert_uint_ge(given.until, UINT64_C(1700000000000) + GROUP_LEASE_MS_DEFAULT);
    ck_nothing(client, "g");
    ck_nothing(other(_i), "g");
    ck_assert_int_eq(ack(other(_i), "g", &given), OK);
    ck_nothing(client, "g");
    end();
}
END_TEST

START_TEST(an_answer_is_as_large_as_it_may_be)
{
    struct client_simulated *client = begin(_i);
    fill(client, 10);
    struct answer answer = receive_most(client, "g", 4);
    struct given given = only_range(&answer);
    ck_assert_uint_eq(given.first, 0);
    ck_assert_uint_eq(given.span, 4);
    struct writer request = ask_receive("g", 1);
    writer_put_key_uint(&request, "max_bytes", 0); /* always at least one */
    answer = call(client, &request);
    given = only_range(&answer);
    ck_assert_uint_eq(given.first, 4);
    ck_assert_uint_eq(given.span, 1);
    answer = receive(client, "g");
    given = only_range(&answer);
    ck_assert_uint_eq(given.first, 5);
    ck_assert_uint_eq(given.span, 5);
    end();
}
END_TEST

START_TEST(queues_are_looked_at_in_turn)
{
    struct client_simulated *client = world_begin_group(&world, _i, 3);
    bool seen[3] = {false};
    for (uint64_t queue = 0; queue < 3; queue++) {
        fill_queue(client, "t", queue, 10);
    }
    for (int i = 0; i < 3; i++) {
        struct answer answer = receive_most(client, "g", 2);
        struct given given = only_range(&answer);
        ck_assert(!seen[given.queue]);
        seen[given.queue] = true;
    }
    /* And what is left comes in one answer. */
    struct answer answer = receive(client, "g");
    struct given given[3];
    ck_assert_uint_eq(ranges_of(&answer, given, 3), 3);
    ck_assert_uint_eq(count_of(&answer), 24);
    end();
}
END_TEST

START_TEST(a_lease_that_ends_is_a_failed_attempt)
{
    struct client_simulated *client = begin(_i);
    fill(client, 3);
    struct given given = receive_one(client, "g");
    run_ms(&world, GROUP_LEASE_MS_DEFAULT - 1000);
    struct answer answer = receive(client, "g");
    ck_assert_uint_eq(only_range(&answer).first, 1);
    run_ms(&world, 2000);
    given = receive_one(client, "g");
    ck_assert_uint_eq(given.first, 0);
    ck_assert_uint_eq(given.attempt, 2);
    ck_assert_str_eq(given.reason, "lease expired");
    end();
}
END_TEST

START_TEST(a_lease_is_as_long_as_was_asked)
{
    struct client_simulated *client = begin(_i);
    fill(client, 1);
    struct writer request = ask_receive("g", 1);
    writer_put_key_uint(&request, "lease_ms", 500);
    struct answer answer = call(client, &request);
    ck_assert_uint_eq(only_range(&answer).attempt, 1);
    run_ms(&world, 400);
    ck_nothing(client, "g");
    run_ms(&world, 200);
    ck_assert_uint_eq(receive_one(client, "g").attempt, 2);
    end();
}
END_TEST

START_TEST(groups_do_not_know_of_each_other)
{
    struct client_simulated *client = begin(_i);
    make_group(client, "h");
    fill(client, 2);
    struct given given = receive_one(client, "g");
    ck_assert_int_eq(ack(client, "g", &given), OK);
    ck_assert_uint_eq(receive_one(client, "h").first, 0);
    ck_assert_int_eq(ack(client, "h", &given), ERROR_LEASE_LOST); /* of another group */
    end();
}
END_TEST

/* ------------------------------------------------------------------- begin */

START_TEST(a_group_begins_where_it_was_told_and_new_queues_at_their_first)
{
    struct client_simulated *client = begin(_i);
    fill(client, 3);
    struct writer request = ask_group_of("last", "t", NULL, 0);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    fill(client, 2);
    answer = receive(client, "last");
    struct given given = only_range(&answer);
    ck_assert_uint_eq(given.first, 3);
    ck_assert_uint_eq(given.span, 2);
    request = ask("topic.put", 2);
    writer_put_key_string(&request, "name", "t");
    writer_put_key_uint(&request, "queues", 2);
    answer = call(client, &request);
    ck_answered(answer);
    fill_queue(client, "t", 1, 4);
    answer = receive(client, "last");
    given = only_range(&answer);
    ck_assert_uint_eq(given.queue, 1);
    ck_assert_uint_eq(given.first, 0);
    end();
}
END_TEST

START_TEST(a_group_begins_at_a_moment)
{
    struct client_simulated *client = begin(_i);
    fill(client, 3);
    run_ms(&world, 10000);
    fill(client, 2);
    struct writer request = ask_group_of("later", "t", NULL, 1);
    writer_put_key_uint(&request, "from", UINT64_C(1700000000000) + 5000);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    answer = receive(client, "later");
    struct given given = only_range(&answer);
    ck_assert_uint_eq(given.first, 3);
    ck_assert_uint_eq(given.span, 2);
    end();
}
END_TEST

/* ------------------------------------------------------------------- topics */

static struct client_simulated *begin_two_topics(int index)
{
    struct client_simulated *client = world_begin(&world, index, 1);
    make_topic(client, "u", 1, "any", "memory");
    struct writer request = ask_group("g", "u", 0);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    return client;
}

START_TEST(a_call_for_one_topic_leaves_the_other_to_others)
{
    struct client_simulated *client = begin_two_topics(_i);
    uint32_t of_u = poll_group(client, "g", "u", LONG_MS);
    run_ms(&world, 50);
    uint32_t of_any = poll_group(client, "g", NULL, LONG_MS);
    run_ms(&world, 50);
    fill_queue(other(_i), "t", 0, 1);
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, of_any);
    ck_assert_str_eq(only_range(&answer).topic, "t");
    fill_queue(other(_i), "u", 0, 1);
    answer = take(client);
    ck_assert_uint_eq(answer.msgid, of_u);
    ck_assert_str_eq(only_range(&answer).topic, "u");
    end();
}
END_TEST

START_TEST(a_topic_that_nobody_waits_for_is_there_for_who_comes)
{
    struct client_simulated *client = begin_two_topics(_i);
    (void)poll_group(client, "g", "u", LONG_MS);
    run_ms(&world, 50);
    fill_queue(other(_i), "t", 0, 1);
    run_ms(&world, 50);
    struct answer answer = receive(other(_i), "g");
    ck_assert_str_eq(only_range(&answer).topic, "t");
    end();
}
END_TEST

START_TEST(calls_for_different_topics_wait_beside_each_other)
{
    struct client_simulated *client = begin_two_topics(_i);
    uint32_t of_u = poll_group(client, "g", "u", LONG_MS);
    run_ms(&world, 50);
    uint32_t of_t = poll_group(client, "g", "t", LONG_MS);
    run_ms(&world, 50);
    fill_queue(other(_i), "t", 0, 1);
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, of_t);
    fill_queue(other(_i), "u", 0, 1);
    answer = take(client);
    ck_assert_uint_eq(answer.msgid, of_u);
    end();
}
END_TEST

START_TEST(what_nobody_waits_for_hides_nothing_from_who_waits)
{
    struct client_simulated *client = begin_two_topics(_i);
    fill_queue(other(_i), "t", 0, 1);
    for (int i = 0; i < 3; i++) {
        uint32_t of_u = poll_group(client, "g", "u", LONG_MS);
        run_ms(&world, 50);
        fill_queue(other(_i), "t", 0, 1);
        fill_queue(other(_i), "u", 0, 1);
        struct answer answer;
        ck_assert(client_simulated_take(client, SOON_MS, &answer));
        ck_assert_uint_eq(answer.msgid, of_u);
        ck_assert_str_eq(only_range(&answer).topic, "u");
    }
    struct answer answer = receive(client, "g");
    ck_assert_uint_eq(only_range(&answer).messages, 4);
    end();
}
END_TEST

START_TEST(a_topic_that_is_none_of_the_group_s_is_refused)
{
    struct client_simulated *client = begin(_i);
    make_topic(client, "u", 1, "any", "memory");
    static const char *const topics[] = {"u", "v"};
    static const char *const errors[] = {"BAD_ARGUMENT", "TOPIC_NOT_FOUND"};
    for (int i = 0; i < 2; i++) {
        struct writer request = ask_receive("g", 1);
        writer_put_key_string(&request, "topic", topics[i]);
        struct answer answer = call(client, &request);
        ck_refused(answer, errors[i]);
    }
    end();
}
END_TEST

START_TEST(a_topic_that_comes_back_to_the_group_is_read_on)
{
    struct client_simulated *client = begin_two_topics(_i);
    ck_nothing(client, "g");
    struct writer request = ask_group("g", NULL, 0);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    fill_queue(client, "u", 0, 3);
    ck_nothing(client, "g");
    request = ask_group("g", "u", 0);
    answer = call(client, &request);
    ck_answered(answer);
    answer = receive(client, "g");
    struct given given = only_range(&answer);
    ck_assert_str_eq(given.topic, "u");
    ck_assert_uint_eq(given.first, 0);
    ck_assert_uint_eq(given.span, 3);
    end();
}
END_TEST

START_TEST(new_queues_of_a_topic_wake_who_waits)
{
    struct client_simulated *client = begin(_i);
    (void)poll_group(client, "g", NULL, LONG_MS);
    run_ms(&world, 50);
    struct writer request = ask("topic.put", 2);
    writer_put_key_string(&request, "name", "t");
    writer_put_key_uint(&request, "queues", 2);
    struct answer answer = call(other(_i), &request);
    ck_answered(answer);
    fill_queue(other(_i), "t", 1, 1);
    answer = take(client);
    ck_assert_uint_eq(only_range(&answer).queue, 1);
    end();
}
END_TEST

static void delete_it(struct client_simulated *client, const char *method, const char *name)
{
    struct writer request = ask(method, 1);
    writer_put_key_string(&request, "name", name);
    struct answer answer = call(client, &request);
    ck_answered(answer);
}

START_TEST(a_topic_that_is_made_again_is_read_from_its_first)
{
    struct client_simulated *client = begin(_i);
    fill(client, 5);
    struct answer answer = receive_most(client, "g", 3);
    struct given before = only_range(&answer);
    (void)poll_group(client, "g", NULL, LONG_MS);
    answer = take(client); /* the other two */
    (void)poll_group(client, "g", NULL, LONG_MS);
    run_ms(&world, 50);
    delete_it(other(_i), "topic.delete", "t");
    ck_assert_int_eq(ack(other(_i), "g", &before), ERROR_TOPIC_NOT_FOUND);
    make_topic(other(_i), "t", 1, "any", "memory");
    ck_assert_int_eq(ack(other(_i), "g", &before), ERROR_LEASE_LOST);
    fill(other(_i), 1);
    answer = take(client);
    struct given given = only_range(&answer);
    ck_assert_uint_eq(given.first, 0);
    ck_assert_uint_eq(given.attempt, 1);
    /* Its offsets are others now: nobody has had those. */
    fill(other(_i), 4);
    ck_assert_int_eq(ack(client, "g", &before), ERROR_LEASE_LOST);
    answer = receive(client, "g");
    ck_assert_uint_eq(only_range(&answer).messages, 4);
    ck_assert_int_eq(ack(client, "g", &given), OK);
    end();
}
END_TEST

START_TEST(a_group_that_is_deleted_tells_who_waits_for_it)
{
    struct client_simulated *client = begin(_i);
    fill(client, 1);
    struct given given = receive_one(client, "g");
    (void)poll_group(client, "g", NULL, LONG_MS);
    run_ms(&world, 50);
    delete_it(other(_i), "group.delete", "g");
    struct answer answer = take(client);
    ck_refused(answer, "GROUP_NOT_FOUND");
    struct writer request = ask_receive("g", 0);
    answer = call(client, &request);
    ck_refused(answer, "GROUP_NOT_FOUND");
    /* Another one of its name knows nothing of it. */
    make_group(client, "g");
    ck_assert_int_eq(ack(client, "g", &given), ERROR_LEASE_LOST);
    given = receive_one(client, "g");
    ck_assert_uint_eq(given.first, 0);
    ck_assert_uint_eq(given.attempt, 1);
    end();
}
END_TEST

static Suite *receive_suite(void)
{
    Suite *suite = suite_create("receive");
    TCase *tests = tcase_create("receive");
    tcase_add_loop_test(tests, what_is_there_is_given_once_with_all_that_is_known_of_it, 0, 2);
    tcase_add_loop_test(tests, an_answer_is_as_large_as_it_may_be, 0, 2);
    tcase_add_loop_test(tests, queues_are_looked_at_in_turn, 0, 2);
    tcase_add_loop_test(tests, a_lease_that_ends_is_a_failed_attempt, 0, 2);
    tcase_add_loop_test(tests, a_lease_is_as_long_as_was_asked, 0, 2);
    tcase_add_loop_test(tests, groups_do_not_know_of_each_other, 0, 2);
    tcase_add_loop_test(tests, a_group_begins_where_it_was_told_and_new_queues_at_their_first, 0,
                        2);
    tcase_add_loop_test(tests, a_group_begins_at_a_moment, 0, 2);
    tcase_add_loop_test(tests, a_call_for_one_topic_leaves_the_other_to_others, 0, 2);
    tcase_add_loop_test(tests, a_topic_that_nobody_waits_for_is_there_for_who_comes, 0, 2);
    tcase_add_loop_test(tests, calls_for_different_topics_wait_beside_each_other, 0, 2);
    tcase_add_loop_test(tests, what_nobody_waits_for_hides_nothing_from_who_waits, 0, 2);
    tcase_add_loop_test(tests, a_topic_that_is_none_of_the_group_s_is_refused, 0, 2);
    tcase_add_loop_test(tests, a_topic_that_comes_back_to_the_group_is_read_on, 0, 2);
    tcase_add_loop_test(tests, new_queues_of_a_topic_wake_who_waits, 0, 2);
    tcase_add_loop_test(tests, a_topic_that_is_made_again_is_read_from_its_first, 0, 2);
    tcase_add_loop_test(tests, a_group_that_is_deleted_tells_who_waits_for_it, 0, 2);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(receive_suite)
