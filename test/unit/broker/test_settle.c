/* SPDX-License-Identifier: Apache-2.0 */
/* test_settle.c - ack, nack, extend, cursors and orders: which receipts count, and what becomes of messages. */
#include "broker/limits.h"
#include "broker/receive_take.h"
#include "broker/settle.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/group_world.h"

#include <stdio.h>

enum { LONG_MS = 50000, SOON = 1000 };

static struct world world;

/* A topic `t`, and a group `g` of it with this order and a backoff of 1 s. */
static struct client_simulated *begin_ordered(int index, const char *order)
{
    struct client_simulated *client = NULL;
    world = world_open();
    world_start(&world, index + 1);
    client = world.client[index];
    make_topic(client, "t", 1, strcmp(order, "key") == 0 ? "key" : "any", "memory");
    struct writer request = ask_group("g", NULL, 2);
    writer_put_key_string(&request, "order", order);
    put_backoff(&request, SOON);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    return client;
}

static struct client_simulated *begin(int index)
{
    return begin_ordered(index, "none");
}

static void end(void)
{
    world_end(&world);
}

/* --------------------------------------------------------------------- ack */

START_TEST(any_part_of_a_range_is_settled_once)
{
    struct client_simulated *client = begin(_i);
    fill(client, 10);
    struct given given = give(client);
    struct given middle = part_of(&given, 3, 4);
    ck_assert_int_eq(ack(client, "g", &middle), OK);
    ck_assert_int_eq(ack(client, "g", &middle), ERROR_LEASE_LOST);
    struct given part = part_of(&given, 2, 1);
    ck_assert_int_eq(ack(client, "g", &part), OK);
    /* Of the whole not every offset counts, but those that do are settled. */
    ck_assert_int_eq(ack(client, "g", &given), ERROR_LEASE_LOST);
    run_ms(&world, 2 * GROUP_LEASE_MS_DEFAULT);
    ck_nothing(client, "g");
    end();
}
END_TEST

START_TEST(an_expired_lease_counts_until_another_has_it)
{
    struct client_simulated *client = begin(_i);
    fill(client, 2);
    struct given first = receive_one(client, "g");
    struct given second = receive_one(client, "g");
    run_ms(&world, GROUP_LEASE_MS_DEFAULT + SOON);
    ck_assert_int_eq(ack(client, "g", &first), OK);
    struct given again = give(client);
    ck_assert_uint_eq(again.first, 1);
    ck_assert_uint_eq(again.attempt, 2);
    ck_assert_int_eq(ack(client, "g", &second), ERROR_LEASE_LOST);
    ck_assert_int_eq(nack(client, "g", &second, 0), ERROR_LEASE_LOST);
    ck_assert_int_eq(ack(client, "g", &again), OK);
    end();
}
END_TEST

/* The lease says the group's id, a generation and a serial: whatever is not of this one is lost. */
START_TEST(a_receipt_of_another_generation_does_not_count)
{
    struct client_simulated *client = begin(_i);
    fill(client, 3);
    struct given given = give(client);
    static const char *const methods[] = {"ack", "nack", "extend"};
    for (int delta = -1; delta <= 1; delta += 2) {
        struct given forged = given;
        store_u32(forged.lease + 4, (uint32_t)((int)load_u32(given.lease + 4) + delta));
        for (int i = 0; i < 3; i++) {
            struct writer request = ask_settle(methods[i], "g", &forged, 0);
            ck_assert_int_eq(settle(client, &request), ERROR_LEASE_LOST);
        }
    }
    struct given forged = given;
    store_u32(forged.lease, 4711); /* another group */
    ck_assert_int_eq(ack(client, "g", &forged), ERROR_LEASE_LOST);
    ck_assert_int_eq(ack(client, "g", &given), OK);
    end();
}
END_TEST

START_TEST(a_receipt_that_is_none_is_refused)
{
    struct client_simulated *client = begin(_i);
    fill(client, 3);
    struct given given = give(client);
    for (int i = 0; i < 6; i++) {
        struct writer request = ask("ack", 2);
        writer_put_key_string(&request, "group", "g");
        writer_put_string(&request, "receipts");
        writer_put_array(&request, 1);
        writer_put_array(&request, i == 0 ? 4 : 5);
        writer_put_string(&request, "t");
        writer_put_uint(&request, i == 1 ? 65536 : 0);
        writer_put_uint(&request, i == 2 ? INTEGER_LIMIT - 1 : 0);
        writer_put_uint(&request, i == 3 ? 0 : 1);
        if (i > 0) {
            writer_put_bin(&request,
                           bytes_make(given.lease, i == 4 ? LEASE_BYTES - 1 : LEASE_BYTES));
        }
        struct answer answer = call(client, &request);
        if (i < 5) {
            ck_refused(answer, "BAD_ARGUMENT");
        } else {
            ck_answered(answer);
        }
    }
    end();
}
END_TEST

START_TEST(what_the_queue_does_not_have_is_lost_or_not_found)
{
    struct client_simulated *client = begin(_i);
    fill(client, 3);
    struct given given = give(client);
    struct given beyond = part_of(&given, 1, 3);
    ck_assert_int_eq(ack(client, "g", &beyond), ERROR_LEASE_LOST);
    struct given elsewhere = given;
    elsewhere.queue = 1;
    ck_assert_int_eq(ack(client, "g", &elsewhere), ERROR_TOPIC_NOT_FOUND);
    (void)snprintf(elsewhere.topic, sizeof(elsewhere.topic), "x");
    ck_assert_int_eq(ack(client, "g", &elsewhere), ERROR_TOPIC_NOT_FOUND);
    struct writer request = ask_settle("ack", "nobody", &given, 0);
    struct answer answer = call(client, &request);
    ck_refused(answer, "GROUP_NOT_FOUND");
    ck_assert_int_eq(ack(client, "g", &given), OK);
    end();
}
END_TEST

START_TEST(of_many_receipts_those_that_failed_are_named)
{
    struct client_simulated *client = begin(_i);
    fill(client, 10);
    struct given given = give(client);
    struct given third = part_of(&given, 2, 1);
    ck_assert_int_eq(ack(client, "g", &third), OK);
    struct writer request = ask("ack", 2);
    writer_put_key_string(&request, "group", "g");
    writer_put_string(&request, "receipts");
    writer_put_array(&request, 10);
    for (uint64_t i = 0; i < 10; i++) {
        struct given one = part_of(&given, i, 1);
        put_receipt(&request, &one);
    }
    struct answer answer = call(client, &request);
    ck_answered(answer);
    struct cursor cursor = value_of(answer.result, "failed");
    uint32_t count = 0;
    uint64_t index = 0;
    uint64_t code = 0;
    ck_assert(cursor_take_array(&cursor, &count) && count == 1);
    ck_assert(cursor_take_array_of(&cursor, 2) && cursor_take_uint(&cursor, &index) &&
              cursor_take_uint(&cursor, &code));
    ck_assert_uint_eq(index, 2);
    ck_assert_uint_eq(code, ERROR_LEASE_LOST);
    end();
}
END_TEST

START_TEST(a_receive_settles_first_what_came_before)
{
    struct client_simulated *client = begin_ordered(_i, "queue");
    fill(client, 4);
    struct answer answer = receive_most(client, "g", 2);
    struct given given = only_range(&answer);
    for (int i = 0; i < 2; i++) {
        struct writer request = ask_receive("g", 1);
        writer_put_string(&request, "ack");
        writer_put_array(&request, 1);
        put_receipt(&request, &given);
        answer = call(client, &request);
        ck_answered(answer);
        ck_assert_int_eq(failed_of(&answer, "acked"), i == 0 ? OK : ERROR_LEASE_LOST);
        if (i == 0) {
            ck_assert_uint_eq(only_range(&answer).first, 2); /* free since it was settled */
        } else {
            ck_assert(is_nothing(&answer));
        }
    }
    end();
}
END_TEST

START_TEST(a_durable_ack_is_answered_when_the_disk_has_it)
{
    struct client_simulated *client = begin(_i);
    fill(client, 4);
    struct given given = give(client);
    for (uint64_t i = 0; i < 3; i++) {
        struct given one = part_of(&given, i, 1);
        struct writer request = ask_settle("ack", "g", &one, 1);
        writer_put_string(&request, "durable");
        writer_put_bool(&request, true);
        ck_assert_int_eq(settle(client, &request), OK);
        uint64_t events = disk_image_unsynced(world.image, disk_image_events(world.image));
        ck_assert_uint_eq(events, 0);
    }
    end();
}
END_TEST

START_TEST(a_late_call_settles_nothing)
{
    struct client_simulated *client = begin(_i);
    fill(client, 1);
    struct given given = give(client);
    struct writer request = ask_settle("ack", "g", &given, 1);
    writer_put_key_uint(&request, "deadline_ms", 0);
    struct answer answer = call(client, &request);
    ck_refused(answer, "DEADLINE");
    ck_assert_int_eq(ack(client, "g", &given), OK);
    end();
}
END_TEST

/* ------------------------------------------------------------------- cursor */

START_TEST(a_receipt_without_a_lease_moves_the_cursor_forward_alone)
{
    struct client_simulated *client = begin(_i);
    fill(client, 10);
    ck_assert_int_eq(commit(client, "g", 4), OK);
    ck_assert_int_eq(commit(client, "g", 2), OK); /* changes nothing */
    ck_assert_int_eq(commit(client, "g", 11), ERROR_TRUNCATED);
    struct given given = give(client);
    ck_assert_uint_eq(given.first, 4);
    ck_assert_uint_eq(given.span, 6);
    ck_assert_int_eq(commit(client, "g", 6), OK);
    ck_assert_int_eq(ack(client, "g", &given), ERROR_LEASE_LOST); /* 4 and 5 are settled */
    run_ms(&world, 2 * GROUP_LEASE_MS_DEFAULT);
    ck_nothing(client, "g");
    end();
}
END_TEST

START_TEST(a_receipt_without_a_lease_cannot_fail_or_be_extended)
{
    struct client_simulated *client = begin(_i);
    fill(client, 3);
    static const char *const methods[] = {"nack", "extend"};
    for (int i = 0; i < 2; i++) {
        struct writer request = ask(methods[i], 2);
        writer_put_key_string(&request, "group", "g");
        writer_put_string(&request, "receipts");
        writer_put_array(&request, 1);
        writer_put_array(&request, 5);
        writer_put_string(&request, "t");
        writer_put_uint(&request, 0);
        writer_put_uint(&request, 0);
        writer_put_uint(&request, 1);
        writer_put_nil(&request);
        ck_assert_int_eq(settle(client, &request), ERROR_LEASE_LOST);
    }
    ck_assert_uint_eq(give(client).span, 3);
    end();
}
END_TEST

START_TEST(the_cursor_never_passes_what_nobody_settled)
{
    struct client_simulated *client = begin(_i);
    fill(client, 6);
    struct given given = give(client);
    struct given later = part_of(&given, 3, 3);
    ck_assert_int_eq(ack(client, "g", &later), OK);
    world_stop(&world);
    world_start(&world, _i + 1);
    client = world.client[_i];
    given = give(client);
    ck_assert_uint_eq(given.first, 0);
    ck_assert_uint_eq(given.span, 3);
    ck_assert_uint_eq(given.attempt, 1); /* a restart is no failure of a message */
    ck_nothing(client, "g");
    end();
}
END_TEST

/* --------------------------------------------------------------------- nack */

START_TEST(a_failed_message_comes_again_after_the_backoff_with_its_reason)
{
    struct client_simulated *client = begin(_i);
    fill(client, 3);
    struct given given = give(client);
    struct given failed = part_of(&given, 1, 1);
    struct writer request = ask_settle("nack", "g", &failed, 1);
    writer_put_key_string(&request, "reason", "no stock");
    ck_assert_int_eq(settle(client, &request), OK);
    ck_nothing(client, "g");
    run_ms(&world, SOON / 2);
    ck_nothing(client, "g");
    run_ms(&world, SOON);
    given = give(client);
    ck_assert_uint_eq(given.first, 1);
    ck_assert_uint_eq(given.span, 1);
    ck_assert_uint_eq(given.attempt, 2);
    ck_assert_str_eq(given.reason, "no stock");
    end();
}
END_TEST

START_TEST(a_delay_of_its_own_wakes_who_waits_when_it_is_over)
{
    struct client_simulated *client = begin(_i);
    fill(client, 1);
    struct given given = give(client);
    ck_assert_int_eq(nack(client, "g", &given, 300), OK);
    (void)poll_group(client, "g", NULL, LONG_MS);
    run_ms(&world, 200);
    ck_assert_uint_eq(client_simulated_answers(client), 0);
    struct answer answer = take(client);
    ck_assert_uint_eq(only_range(&answer).attempt, 2);
    end();
}
END_TEST

START_TEST(what_is_given_back_uncounted_is_there_at_once_as_it_was)
{
    struct client_simulated *client = begin(_i);
    fill(client, 1);
    for (int i = 0; i < 3; i++) {
        struct given given = give(client);
        ck_assert_uint_eq(given.attempt, 1);
        ck_assert_str_eq(given.reason, "");
        struct writer request = ask_settle("nack", "g", &given, 2);
        writer_put_string(&request, "count");
        writer_put_bool(&request, false);
        writer_put_key_string(&request, "reason", "not mine");
        ck_assert_int_eq(settle(client, &request), OK);
    }
    end();
}
END_TEST

START_TEST(an_extended_lease_lasts_longer_and_the_others_do_not)
{
    struct client_simulated *client = begin(_i);
    fill(client, 4);
    struct given given = give(client);
    struct given longer = part_of(&given, 1, 2);
    run_ms(&world, GROUP_LEASE_MS_DEFAULT / 2);
    struct writer request = ask_settle("extend", "g", &longer, 1);
    writer_put_key_uint(&request, "lease_ms", 2 * GROUP_LEASE_MS_DEFAULT);
    ck_assert_int_eq(settle(client, &request), OK);
    run_ms(&world, GROUP_LEASE_MS_DEFAULT);
    struct answer answer = receive(client, "g");
    ck_assert_uint_eq(count_of(&answer), 2); /* 0 and 3 */
    ck_assert_int_eq(ack(client, "g", &longer), OK);
    request = ask_settle("extend", "g", &longer, 0);
    ck_assert_int_eq(settle(client, &request), ERROR_LEASE_LOST);
    end();
}
END_TEST

/* -------------------------------------------------------------------- order */

START_TEST(a_queue_in_order_is_one_member_s_at_a_time)
{
    struct client_simulated *client = begin_ordered(_i, "queue");
    fill(client, 5);
    struct answer answer = receive_most(client, "g", 3);
    struct given given = only_range(&answer);
    ck_nothing(world.client[1 - _i], "g");
    struct given failed = part_of(&given, 1, 1);
    struct given before = part_of(&given, 0, 1);
    ck_assert_int_eq(nack(client, "g", &failed, 500), OK);
    ck_assert_int_eq(ack(client, "g", &before), OK);
    ck_nothing(client, "g"); /* what failed holds up the queue */
    run_ms(&world, 600);
    answer = receive(client, "g");
    struct given ranges[4];
    uint32_t count = ranges_of(&answer, ranges, 4);
    ck_assert_uint_ge(count, 1);
    ck_assert_uint_eq(ranges[0].first, 1);
    ck_assert_uint_eq(ranges[0].attempt, 2);
    end();
}
END_TEST

START_TEST(what_was_behind_a_failed_message_comes_again_without_an_attempt)
{
    struct client_simulated *client = begin_ordered(_i, "queue");
    fill(client, 3);
    struct given given = give(client);
    struct given failed = part_of(&given, 0, 1);
    ck_assert_int_eq(nack(client, "g", &failed, 0), OK);
    given = receive_one(client, "g");
    ck_assert_uint_eq(given.first, 0);
    ck_assert_uint_eq(given.attempt, 2);
    ck_assert_int_eq(ack(client, "g", &given), OK);
    given = give(client);
    ck_assert_uint_eq(given.first, 1);
    ck_assert_uint_eq(given.span, 2);
    ck_assert_uint_eq(given.attempt, 1);
    end();
}
END_TEST

START_TEST(an_ordered_lease_outlives_a_restart)
{
    struct client_simulated *client = begin_ordered(_i, "queue");
    fill(client, 4);
    struct answer answer = receive_most(client, "g", 2);
    struct given given = only_range(&answer);
    world_stop(&world);
    world_start(&world, _i + 1);
    client = world.client[_i];
    ck_nothing(client, "g"); /* it is still somebody's */
    ck_assert_int_eq(ack(client, "g", &given), OK);
    given = give(client);
    ck_assert_uint_eq(given.first, 2);
    ck_assert_uint_eq(given.attempt, 1);
    end();
}
END_TEST

/* Keys of the topic's messages, in order of their offsets. */
static void produce_keys(struct client_simulated *client, const char *keys)
{
    for (; *keys != '\0'; keys++) {
        const char key[] = {*keys, '\0'};
        produce_labelled(client, NULL, *keys == '-' ? NULL : key);
    }
}

START_TEST(a_key_is_one_member_s_at_a_time_and_the_others_go_on)
{
    struct client_simulated *client = begin_ordered(_i, "key");
    struct client_simulated *other = world.client[1 - _i];
    produce_keys(client, "abab");
    struct given first = receive_one(client, "g"); /* a */
    ck_assert_uint_eq(first.first, 0);
    struct answer answer = receive(other, "g");
    struct given given[4];
    ck_assert_uint_gt(ranges_of(&answer, given, 4), 0);
    ck_assert_uint_eq(count_of(&answer), 2); /* both of b */
    ck_assert_uint_eq(record_of(&answer, 0).fields.offset, 1);
    ck_assert_uint_eq(record_of(&answer, 1).fields.offset, 3);
    ck_nothing(client, "g"); /* the other a waits */
    ck_assert_int_eq(ack(client, "g", &first), OK);
    first = give(client);
    ck_assert_uint_eq(first.first, 2);
    end();
}
END_TEST

/* Messages of a key each, or all of one. */
static void produce_many(struct client_simulated *client, uint32_t count, const char *key)
{
    struct writer request = ask_produce("t", 0, count);
    for (uint32_t i = 0; i < count; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%u", i);
        writer_put_array(&request, 4);
        writer_put_nil(&request);
        writer_put_array(&request, 1);
        writer_put_string(&request, key == NULL ? text : key);
        writer_put_nil(&request);
        writer_put_bin(&request, bytes_from_string("b"));
    }
    struct answer answer = call(client, &request);
    ck_answered(answer);
}

/* What a turn looks at is bounded, and whoever asked for more asks again. */
START_TEST(many_keys_are_given_out_in_several_answers)
{
    enum { COUNT = 5000, TURN = TAKE_KEYS_MAX * TAKE_KEYS_TIMES_MAX };
    struct client_simulated *client = begin_ordered(_i, "key");
    produce_many(client, COUNT, NULL);
    for (uint64_t first = 0; first < COUNT;) {
        struct writer request = ask_receive("g", 1);
        writer_put_key_uint(&request, "max_bytes", PULL_BYTES_MAX);
        struct answer answer = call(client, &request);
        ck_answered(answer);
        struct given given = only_range(&answer);
        ck_assert_uint_eq(given.first, first);
        ck_assert_uint_eq(given.span, COUNT - first < TURN ? COUNT - first : TURN);
        ck_assert_int_eq(ack(client, "g", &given), OK);
        first += given.span;
    }
    end();
}
END_TEST

START_TEST(behind_many_messages_of_a_key_that_is_held_others_are_found)
{
    enum { COUNT = 5000 };
    struct client_simulated *client = begin_ordered(_i, "key");
    produce_many(client, COUNT, "a");
    struct given held = receive_one(client, "g");
    ck_nothing(client, "g");
    produce_many(client, 1, "b");
    struct given given = give(client);
    ck_assert_uint_eq(given.first, COUNT);
    ck_assert_int_eq(ack(client, "g", &held), OK);
    given = receive_one(client, "g");
    ck_assert_uint_eq(given.first, 1);
    end();
}
END_TEST

START_TEST(a_key_that_failed_is_not_given_out_beside_what_is_held_of_it)
{
    struct client_simulated *client = begin_ordered(_i, "key");
    produce_keys(client, "aa");
    struct answer answer = receive(client, "g");
    struct given given[2];
    ck_assert_uint_gt(ranges_of(&answer, given, 2), 0);
    ck_assert_uint_eq(count_of(&answer), 2);
    struct given second = part_of(&given[0], 1, 1);
    struct writer request = ask_settle("extend", "g", &second, 1);
    writer_put_key_uint(&request, "lease_ms", 4 * GROUP_LEASE_MS_DEFAULT);
    ck_assert_int_eq(settle(client, &request), OK);
    run_ms(&world, GROUP_LEASE_MS_DEFAULT + SOON);
    ck_nothing(world.client[1 - _i], "g"); /* the first has expired, the second is held */
    ck_assert_int_eq(ack(client, "g", &second), OK);
    struct given again = give(client);
    ck_assert_uint_eq(again.first, 0);
    ck_assert_uint_eq(again.attempt, 2);
    end();
}
END_TEST

START_TEST(a_message_without_a_key_keeps_its_attempts_in_an_order_of_keys)
{
    struct client_simulated *client = begin_ordered(_i, "key");
    produce_keys(client, "-");
    for (uint64_t attempt = 1; attempt <= 3; attempt++) {
        struct given given = give(client);
        ck_assert_uint_eq(given.attempt, attempt);
        ck_assert_str_eq(given.reason, attempt == 1 ? "" : "again");
        struct writer request = ask_settle("nack", "g", &given, 2);
        writer_put_key_uint(&request, "delay_ms", 0);
        writer_put_key_string(&request, "reason", "again");
        ck_assert_int_eq(settle(client, &request), OK);
    }
    end();
}
END_TEST

/* -------------------------------------------------------------------- bounds */

START_TEST(too_many_that_fail_keep_new_ones_back_and_say_so)
{
    enum { AT_ONCE = 16384 };
    struct client_simulated *client = begin(_i);
    for (uint32_t count = 0; count <= 2 * GROUP_RETRIES_MAX; count += AT_ONCE) {
        fill(client, AT_ONCE);
    }
    uint64_t failed = 0;
    struct answer answer;
    for (;;) {
        struct writer request = ask_receive("g", 1);
        writer_put_key_uint(&request, "max_bytes", 4 << 20);
        answer = call(client, &request);
        if (answer.failed || count_of(&answer) == 0) {
            break;
        }
        struct given given = only_range(&answer);
        failed += given.span;
        ck_assert_int_eq(nack(client, "g", &given, DURATION_MS_MAX), OK);
    }
    ck_refused(answer, "GROUP_FULL");
    ck_assert_uint_ge(failed, GROUP_RETRIES_MAX);
    struct writer request = ask_receive("g", 0);
    answer = call(client, &request);
    ck_refused(answer, "GROUP_FULL"); /* each time */
    ck_assert_int_eq(commit(client, "g", failed - 10), OK);
    answer = receive(client, "g");
    ck_assert_uint_gt(count_of(&answer), 0);
    end();
}
END_TEST

static Suite *settle_suite(void)
{
    Suite *suite = suite_create("settle");
    TCase *tests = tcase_create("settle");
    tcase_add_loop_test(tests, any_part_of_a_range_is_settled_once, 0, 2);
    tcase_add_loop_test(tests, an_expired_lease_counts_until_another_has_it, 0, 2);
    tcase_add_loop_test(tests, a_receipt_of_another_generation_does_not_count, 0, 2);
    tcase_add_loop_test(tests, a_receipt_that_is_none_is_refused, 0, 2);
    tcase_add_loop_test(tests, what_the_queue_does_not_have_is_lost_or_not_found, 0, 2);
    tcase_add_loop_test(tests, of_many_receipts_those_that_failed_are_named, 0, 2);
    tcase_add_loop_test(tests, a_receive_settles_first_what_came_before, 0, 2);
    tcase_add_loop_test(tests, a_durable_ack_is_answered_when_the_disk_has_it, 0, 2);
    tcase_add_loop_test(tests, a_late_call_settles_nothing, 0, 2);
    tcase_add_loop_test(tests, a_receipt_without_a_lease_moves_the_cursor_forward_alone, 0, 2);
    tcase_add_loop_test(tests, a_receipt_without_a_lease_cannot_fail_or_be_extended, 0, 2);
    tcase_add_loop_test(tests, the_cursor_never_passes_what_nobody_settled, 0, 2);
    tcase_add_loop_test(tests, a_failed_message_comes_again_after_the_backoff_with_its_reason, 0,
                        2);
    tcase_add_loop_test(tests, a_delay_of_its_own_wakes_who_waits_when_it_is_over, 0, 2);
    tcase_add_loop_test(tests, what_is_given_back_uncounted_is_there_at_once_as_it_was, 0, 2);
    tcase_add_loop_test(tests, an_extended_lease_lasts_longer_and_the_others_do_not, 0, 2);
    tcase_add_loop_test(tests, a_queue_in_order_is_one_member_s_at_a_time, 0, 2);
    tcase_add_loop_test(tests, what_was_behind_a_failed_message_comes_again_without_an_attempt, 0,
                        2);
    tcase_add_loop_test(tests, an_ordered_lease_outlives_a_restart, 0, 2);
    tcase_add_loop_test(tests, a_key_is_one_member_s_at_a_time_and_the_others_go_on, 0, 2);
    tcase_add_loop_test(tests, many_keys_are_given_out_in_several_answers, 0, 2);
    tcase_add_loop_test(tests, behind_many_messages_of_a_key_that_is_held_others_are_found, 0, 2);
    tcase_add_loop_test(tests, a_key_that_failed_is_not_given_out_beside_what_is_held_of_it, 0, 2);
    tcase_add_loop_test(tests, a_message_without_a_key_keeps_its_attempts_in_an_order_of_keys, 0,
                        2);
    tcase_add_loop_test(tests, too_many_that_fail_keep_new_ones_back_and_say_so, 0, 2);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(settle_suite)
