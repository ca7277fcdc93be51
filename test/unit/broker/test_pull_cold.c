/* SPDX-License-Identifier: Apache-2.0 */
/* test_pull_cold.c - pulls of what has left the page cache: served, cancelled, drained, unreadable. */
#include "test/lib/check_main.h"
#include "test/unit/broker/broker_world.h"

enum {
    BODY_BYTES = 8000,
    MESSAGES = 500 /* 4 MB: several segments of 1 MiB */
};

static struct world world;

static struct client_simulated *begin(int index)
{
    static char body[BODY_BYTES + 1];
    memset(body, 'x', BODY_BYTES);
    struct client_simulated *client = world_begin(&world, index, 1);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct answer answer = produce(client, "t", body);
        ck_answered(answer);
    }
    world_cool(&world);
    return client;
}

static void end(void)
{
    world_end(&world);
}

static uint64_t cold_reads(struct client_simulated *client)
{
    struct writer request = ask("stats", 0);
    struct answer answer = call(client, &request);
    struct cursor shards = value_of(answer.result, "shards");
    struct bytes shard;
    uint32_t count = 0;
    ck_assert(cursor_take_array(&shards, &count) && cursor_take_span(&shards, &shard));
    return number_of(shard, "cold_reads");
}

static struct answer get(struct client_simulated *client, uint64_t offset)
{
    struct writer request = ask("message.get", 3);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 0);
    writer_put_key_uint(&request, "offset", offset);
    return call(client, &request);
}

START_TEST(everything_cold_is_delivered_in_order)
{
    struct client_simulated *client = begin(_i);
    uint64_t offset = 0;
    while (offset < MESSAGES) {
        struct answer answer = pull(client, "t", offset);
        ck_answered(answer);
        ck_assert_uint_eq(number_of(answer.result, "first"), offset);
        ck_assert_uint_gt(count_of(&answer), 0);
        offset = number_of(answer.result, "next");
    }
    ck_assert_uint_gt(cold_reads(client), 0);
    ck_assert_uint_eq(disk_simulated_waits(world.disk), 0);
    end();
}
END_TEST

START_TEST(a_cold_message_is_found_by_its_offset)
{
    struct client_simulated *client = begin(_i);
    struct answer answer = get(client, 3);
    ck_answered(answer);
    ck_assert_uint_gt(cold_reads(client), 0);
    end();
}
END_TEST

/* A poll and its cancel, in one piece; what the poll is answered: no message. */
static struct answer poll_and_cancel(struct client_simulated *client, struct writer *poll)
{
    writer_put_key_uint(poll, "wait_ms", WAIT_MS_MAX);
    one_way_begin(poll, "cancel", 1);
    writer_put_key_uint(poll, "msgid", request_msgid);
    struct answer answer = call(client, poll);
    ck_answered(answer);
    ck_assert_uint_eq(count_of(&answer), 0);
    return answer;
}

START_TEST(a_cancel_ends_a_poll_that_waits_for_the_disk)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_pull("t", 2);
    writer_put_key_uint(&request, "offset", 0);
    (void)poll_and_cancel(client, &request);
    ck_assert_uint_eq(core_counter(client, "parked"), 0);
    end();
}
END_TEST

START_TEST(the_end_of_the_broker_ends_what_waits_for_the_disk)
{
    struct client_simulated *client = begin(_i);
    for (uint64_t offset = 0; offset < MESSAGES; offset += 10) {
        struct writer request = ask_pull("t", 1);
        writer_put_key_uint(&request, "offset", offset);
        (void)tell(client, &request);
    }
    end();
}
END_TEST

START_TEST(what_cannot_be_read_is_one_message_and_the_next_is_named)
{
    struct client_simulated *client = begin(_i);
    reads_fail = true;
    struct answer answer = pull(client, "t", 100);
    ck_refused(answer, "IO_FAILED");
    ck_assert_uint_eq(number_of(answer.error, "next"), 101);
    reads_fail = false;
    answer = pull(client, "t", 100);
    ck_answered(answer);
    ck_assert_uint_gt(count_of(&answer), 1);
    end();
}
END_TEST

static struct writer ask_filtered(uint64_t offset, const char *filter, uint32_t more)
{
    struct writer request = ask_pull("t", 2 + more);
    writer_put_key_uint(&request, "offset", offset);
    writer_put_key_string(&request, "filter", filter);
    return request;
}

/* Reads it all with a filter; how many were wanted. */
static uint64_t read_filtered(struct client_simulated *client, const char *filter)
{
    uint64_t offset = 0;
    uint64_t wanted = 0;
    while (offset < MESSAGES) {
        struct writer request = ask_filtered(offset, filter, 0);
        struct answer answer = call(client, &request);
        ck_answered(answer);
        ck_assert_uint_gt(number_of(answer.result, "next"), offset);
        offset = number_of(answer.result, "next");
        wanted += count_of(&answer);
    }
    return wanted;
}

START_TEST(a_filter_looks_at_what_is_cold_and_the_loop_waits_for_nothing)
{
    struct client_simulated *client = begin(_i);
    ck_assert_uint_eq(read_filtered(client, "paid"), 0);
    ck_assert_uint_eq(core_counter(client, "filtered_messages"), MESSAGES);
    disk_image_cool(world.image);
    uint64_t before = cold_reads(client);
    ck_assert_uint_eq(read_filtered(client, "n = 1"), 0);
    ck_assert_uint_gt(cold_reads(client), before);
    disk_image_cool(world.image);
    ck_assert_uint_eq(read_filtered(client, "n IS NULL"), MESSAGES);
    ck_assert_uint_eq(disk_simulated_waits(world.disk), 0);
    end();
}
END_TEST

START_TEST(a_filtered_poll_that_is_cancelled_while_it_is_cold_says_where_it_is)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_filtered(7, "n = 1", 1);
    struct answer answer = poll_and_cancel(client, &request);
    ck_assert_uint_eq(number_of(answer.result, "first"), 7);
    ck_assert_uint_ge(number_of(answer.result, "next"), 7);
    end();
}
END_TEST

START_TEST(what_a_filter_cannot_read_is_one_message_and_the_next_is_named)
{
    struct client_simulated *client = begin(_i);
    reads_fail = true;
    struct writer request = ask_filtered(100, "n IS NULL", 0);
    struct answer answer = call(client, &request);
    ck_refused(answer, "IO_FAILED");
    ck_assert_uint_eq(number_of(answer.error, "next"), 101);
    reads_fail = false;
    request = ask_filtered(101, "n IS NULL", 0);
    answer = call(client, &request);
    ck_answered(answer);
    ck_assert_uint_gt(count_of(&answer), 1);
    end();
}
END_TEST

static Suite *pull_cold_suite(void)
{
    Suite *suite = suite_create("pull_cold");
    TCase *tests = tcase_create("pull_cold");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, everything_cold_is_delivered_in_order, 0, 2);
    tcase_add_loop_test(tests, a_cold_message_is_found_by_its_offset, 0, 2);
    tcase_add_loop_test(tests, a_cancel_ends_a_poll_that_waits_for_the_disk, 0, 2);
    tcase_add_loop_test(tests, the_end_of_the_broker_ends_what_waits_for_the_disk, 0, 2);
    tcase_add_loop_test(tests, what_cannot_be_read_is_one_message_and_the_next_is_named, 0, 2);
    tcase_add_loop_test(tests, a_filter_looks_at_what_is_cold_and_the_loop_waits_for_nothing, 0, 2);
    tcase_add_loop_test(tests, a_filtered_poll_that_is_cancelled_while_it_is_cold_says_where_it_is,
                        0, 2);
    tcase_add_loop_test(tests, what_a_filter_cannot_read_is_one_message_and_the_next_is_named, 0,
                        2);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(pull_cold_suite)
