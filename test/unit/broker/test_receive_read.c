/* SPDX-License-Identifier: Apache-2.0 */
/* test_receive_read.c - what a receive reads: what is cold, what cannot be read, what a filter wants. */
#include "test/lib/check_main.h"
#include "test/unit/broker/receive_world.h"

/* -------------------------------------------------------------------- cold */

START_TEST(what_is_cold_is_given_out_in_order_without_waiting_in_the_loop)
{
    struct client_simulated *client = begin(_i);
    fill_large(client);
    world_cool(&world);
    uint64_t next = 0;
    while (next < LARGE) {
        struct answer answer = receive(client, "g");
        struct given given = only_range(&answer);
        ck_assert_uint_eq(given.first, next);
        next += given.span;
    }
    ck_assert_uint_eq(disk_simulated_waits(world.disk), 0);
    end();
}
END_TEST

static void begin_cold(struct client_simulated *client)
{
    struct writer request = ask_group("g", NULL, 1);
    put_backoff(&request, 1000);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    fill_large(client);
    world_cool(&world);
}

/* Takes everything that is there: how many messages come again, which must be for this reason. */
static uint32_t take_failed(struct client_simulated *client, uint32_t *count_out)
{
    uint32_t failed = 0;
    *count_out = 0;
    for (;;) {
        struct answer answer = receive(client, "g");
        struct given given[LARGE];
        uint32_t ranges = ranges_of(&answer, given, LARGE);
        if (ranges == 0) {
            return failed;
        }
        *count_out += count_of(&answer);
        for (uint32_t i = 0; i < ranges; i++) {
            failed += given[i].attempt > 1 ? (uint32_t)given[i].messages : 0;
            ck_assert_str_eq(given[i].reason, given[i].attempt > 1 ? "cannot be read" : "");
        }
    }
}

START_TEST(what_cannot_be_read_is_tried_again_later)
{
    struct client_simulated *client = world_begin(&world, _i, 1);
    begin_cold(client);
    reads_fail = true;
    struct answer answer = receive(client, "g"); /* at most what is at hand */
    uint32_t given = count_of(&answer);
    ck_assert_uint_lt(given, LARGE / 2);
    reads_fail = false;
    run_ms(&world, 2000);
    uint32_t count = 0;
    ck_assert_uint_gt(take_failed(client, &count), 0);
    ck_assert_uint_eq(given + count, LARGE);
    end();
}
END_TEST

/* The disk fails twice: for what is read ahead, and then for the first message alone. */
START_TEST(a_message_that_cannot_be_read_fails_alone)
{
    enum { FAILING_READS = 2 };
    struct client_simulated *client = world_begin(&world, _i, 1);
    begin_cold(client);
    reads_to_fail = FAILING_READS;
    uint32_t count = 0;
    ck_assert_uint_eq(take_failed(client, &count), 0);
    ck_assert_uint_eq(reads_to_fail, 0);
    ck_assert_uint_eq(count, LARGE - 1);
    run_ms(&world, 2000);
    ck_assert_uint_eq(take_failed(client, &count), 1);
    ck_assert_uint_eq(count, 1);
    end();
}
END_TEST

/* ----------------------------------------------------------------- filters */

static struct client_simulated *begin_filtered(int index, const char *filter)
{
    struct client_simulated *client = world_begin(&world, index, 1);
    struct writer request = ask_group_of("g", "t", filter, 1);
    writer_put_key_string(&request, "from", "first");
    struct answer answer = call(client, &request);
    ck_answered(answer);
    return client;
}

START_TEST(a_range_spans_what_its_filter_does_not_want)
{
    static const char *const tags[] = {"no", "yes", "no", "yes", "no"};
    struct client_simulated *client = begin_filtered(_i, "yes");
    for (int i = 0; i < 5; i++) {
        produce_labelled(client, tags[i], NULL);
    }
    struct answer answer = receive(client, "g");
    struct given given = only_range(&answer);
    ck_assert_uint_eq(given.messages, 2);
    ck_assert_uint_eq(record_of(&answer, 0).fields.offset, 1);
    ck_assert_uint_eq(record_of(&answer, 1).fields.offset, 3);
    ck_assert_uint_eq(given.first + given.span, 5);
    ck_assert_int_eq(ack(client, "g", &given), OK);
    ck_nothing(client, "g");
    end();
}
END_TEST

START_TEST(what_is_not_wanted_is_looked_at_once)
{
    struct client_simulated *client = begin_filtered(_i, "yes");
    for (int i = 0; i < 50; i++) {
        produce_labelled(client, "no", NULL);
    }
    ck_nothing(client, "g");
    uint64_t looked_at = core_counter(client, "filtered_messages");
    ck_nothing(client, "g");
    ck_assert_uint_eq(core_counter(client, "filtered_messages"), looked_at);
    produce_labelled(client, "yes", NULL);
    struct answer answer = receive(client, "g");
    ck_assert_uint_eq(count_of(&answer), 1);
    ck_assert_uint_eq(only_range(&answer).first, 50);
    end();
}
END_TEST

START_TEST(a_call_whose_time_is_over_while_its_filter_looks_leaves_the_rest_to_others)
{
    enum { CALLS = 20, AT_ONCE = 20000 }; /* a turn looks at 2,000 in about 10 us */
    struct client_simulated *client = begin_filtered(_i, "yes");
    for (int i = 0; i < CALLS; i++) {
        fill(client, AT_ONCE);
    }
    produce_labelled(client, "yes", NULL);
    struct writer request = ask_receive("g", 1);
    writer_put_key_uint(&request, "deadline_ms", 1);
    struct answer answer = call(client, &request);
    ck_assert(answer.failed || is_nothing(&answer)); /* or the test looks at too little */
    uint32_t count = 0;
    for (int i = 0; i < 100 && count == 0; i++) {
        answer = receive(client, "g");
        count = count_of(&answer);
    }
    ck_assert_uint_eq(count, 1);
    end();
}
END_TEST

START_TEST(a_message_that_failed_and_is_not_wanted_any_more_is_settled)
{
    struct client_simulated *client = begin(_i);
    produce_labelled(client, "old", NULL);
    struct given given = receive_one(client, "g");
    struct writer request = ask_group_of("g", "t", "new", 0);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    ck_assert_int_eq(nack(client, "g", &given, 0), OK);
    ck_nothing(client, "g");
    ck_assert_int_eq(ack(client, "g", &given), ERROR_LEASE_LOST);
    produce_labelled(client, "new", NULL);
    ck_assert_uint_eq(receive_one(client, "g").first, 1);
    end();
}
END_TEST

static Suite *receive_read_suite(void)
{
    Suite *suite = suite_create("receive_read");
    TCase *tests = tcase_create("receive_read");
    tcase_add_loop_test(tests, what_is_cold_is_given_out_in_order_without_waiting_in_the_loop, 0,
                        2);
    tcase_add_loop_test(tests, what_cannot_be_read_is_tried_again_later, 0, 2);
    tcase_add_loop_test(tests, a_message_that_cannot_be_read_fails_alone, 0, 2);
    tcase_add_loop_test(tests, a_range_spans_what_its_filter_does_not_want, 0, 2);
    tcase_add_loop_test(tests, what_is_not_wanted_is_looked_at_once, 0, 2);
    tcase_add_loop_test(
        tests, a_call_whose_time_is_over_while_its_filter_looks_leaves_the_rest_to_others, 0, 2);
    tcase_add_loop_test(tests, a_message_that_failed_and_is_not_wanted_any_more_is_settled, 0, 2);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(receive_read_suite)
