/* SPDX-License-Identifier: Apache-2.0 */
/* test_dead_letter.c - what a group gives up: exactly one dead letter, or it stays until there can be one. */
#include "broker/dead_letter.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/group_world.h"

enum { SOON = 1000, LATER_MS = 3000 };

static struct world world;

/* A topic `t` and a group `g` of it, with this filter (NULL: none), of two attempts without a pause. */
static struct client_simulated *begin_filtered(int index, const char *filter)
{
    world = world_open();
    world_start_keeping(&world, index + 1, 64 << 20); /* segments of 64 KiB */
    struct client_simulated *client = world.client[index];
    make_topic(client, "t", 1, "any", "memory");
    struct writer request = ask_group_of("g", "t", filter, 3);
    writer_put_key_string(&request, "from", "first");
    writer_put_key_uint(&request, "attempts", 2);
    put_backoff(&request, 0);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    return client;
}

static struct client_simulated *begin(int index)
{
    return begin_filtered(index, NULL);
}

static void end(void)
{
    world_end(&world);
}

/* Gives a range up at once. */
static void give_up(struct client_simulated *client, const struct given *given)
{
    struct writer request = ask_settle("nack", "g", given, 2);
    writer_put_string(&request, "dead");
    writer_put_bool(&request, true);
    writer_put_key_string(&request, "reason", "bad");
    ck_assert_int_eq(settle(client, &request), OK);
}

/* How many dead letters there are. */
static uint64_t count_letters(struct client_simulated *client)
{
    struct answer answer = pull(client, "%DLQ%g", 0);
    return answer.failed ? 0 : count_of(&answer);
}

/* Letter `number` says that it was this offset of queue 0 of `t`. */
static void check_letter(struct client_simulated *client, uint32_t number, uint64_t offset,
                         uint64_t attempts, const char *reason)
{
    struct answer answer = pull(client, "%DLQ%g", 0);
    ck_answered(answer);
    struct record_view record = record_of(&answer, number);
    struct cursor cursor = value_of(record.extra, "dead");
    struct bytes text = {NULL, 0};
    uint64_t value = 0;
    ck_assert(cursor_take_array_of(&cursor, 6));
    ck_assert(cursor_take_text(&cursor, &text) && bytes_equal(text, bytes_from_string("g")));
    ck_assert(cursor_take_text(&cursor, &text) && bytes_equal(text, bytes_from_string("t")));
    ck_assert(cursor_take_uint(&cursor, &value) && value == 0);
    ck_assert(cursor_take_uint(&cursor, &value));
    ck_assert_uint_eq(value, offset);
    ck_assert(cursor_take_uint(&cursor, &value));
    ck_assert_uint_eq(value, attempts);
    ck_assert(cursor_take_text(&cursor, &text));
    ck_assert(bytes_equal(text, bytes_from_string(reason)));
}

START_TEST(after_its_last_attempt_a_message_is_one_dead_letter)
{
    struct client_simulated *client = begin(_i);
    produce_labelled(client, "tag", "key");
    for (uint64_t attempt = 1; attempt <= 2; attempt++) {
        struct given given = give(client);
        ck_assert_uint_eq(given.attempt, attempt);
        struct writer request = ask_settle("nack", "g", &given, 1);
        writer_put_key_string(&request, "reason", attempt == 1 ? "first" : "last");
        ck_assert_int_eq(settle(client, &request), OK);
    }
    run_ms(&world, SOON);
    ck_nothing(client, "g");
    ck_assert_uint_eq(count_letters(client), 1);
    check_letter(client, 0, 0, 2, "last");
    /* It is the message that it was. */
    struct answer answer = pull(client, "t", 0);
    uint8_t message[256];
    struct record_view record = record_of(&answer, 0);
    size_t length = record.message.length;
    ck_assert_uint_le(length, sizeof(message));
    memcpy(message, record.message.data, length);
    answer = pull(client, "%DLQ%g", 0);
    record = record_of(&answer, 0);
    ck_assert(bytes_equal(record.message, bytes_make(message, length)));
    end();
}
END_TEST

START_TEST(leases_that_end_are_attempts_too)
{
    struct client_simulated *client = begin(_i);
    fill(client, 1);
    for (int i = 0; i < 2; i++) {
        (void)give(client);
        run_ms(&world, GROUP_LEASE_MS_DEFAULT + SOON);
    }
    ck_nothing(client, "g");
    ck_assert_uint_eq(count_letters(client), 1);
    check_letter(client, 0, 0, 2, "lease expired");
    end();
}
END_TEST

START_TEST(a_range_that_is_given_up_is_a_letter_for_each_message)
{
    struct client_simulated *client = begin(_i);
    fill(client, 20);
    struct given given = give(client);
    struct given part = part_of(&given, 5, 10);
    give_up(client, &part);
    run_ms(&world, SOON);
    ck_assert_uint_eq(count_letters(client), 10);
    for (uint32_t i = 0; i < 10; i++) {
        check_letter(client, i, 5 + i, 1, "bad");
    }
    end();
}
END_TEST

START_TEST(what_the_filter_does_not_want_of_a_range_is_no_letter)
{
    static const char *const tags[] = {"yes", "no", "no", "yes", "no"};
    struct client_simulated *client = begin_filtered(_i, "yes");
    for (int i = 0; i < 5; i++) {
        produce_labelled(client, tags[i], NULL);
    }
    struct given given = give(client);
    ck_assert_uint_eq(given.span, 5);
    give_up(client, &given);
    run_ms(&world, LATER_MS);
    ck_assert_uint_eq(count_letters(client), 2);
    check_letter(client, 0, 0, 1, "bad");
    check_letter(client, 1, 3, 1, "bad");
    ck_nothing(client, "g");
    /* All of it is settled. */
    ck_assert_int_eq(ack(client, "g", &given), ERROR_LEASE_LOST);
    end();
}
END_TEST

/* Three messages are given up when they have left the page cache. */
static void give_up_cold(struct client_simulated *client)
{
    static char body[30000];
    memset(body, 'x', sizeof(body) - 1);
    for (int i = 0; i < 20; i++) {
        struct answer answer = produce(client, "t", body);
        ck_answered(answer);
    }
    struct answer answer = receive_most(client, "g", 3);
    struct given given = only_range(&answer);
    world_cool(&world);
    give_up(client, &given);
}

START_TEST(what_is_cold_becomes_a_letter_when_the_disk_has_given_it)
{
    struct client_simulated *client = begin(_i);
    give_up_cold(client);
    run_ms(&world, SOON);
    ck_assert_uint_eq(count_letters(client), 3);
    ck_assert_uint_eq(disk_simulated_waits(world.disk), 0);
    end();
}
END_TEST

/* The group changes, and goes, while its filter is used to read what is cold. */
START_TEST(a_group_may_change_while_its_letter_is_read)
{
    struct client_simulated *client = begin_filtered(_i, "TAGS = 'yes'");
    for (int i = 0; i < 300; i++) {
        struct writer request = ask_produce("t", 0, 1);
        static uint8_t body[3000];
        writer_put_array(&request, 4);
        writer_put_string(&request, "yes");
        writer_put_nil(&request);
        writer_put_nil(&request);
        writer_put_bin(&request, bytes_make(body, sizeof(body)));
        struct answer answer = call(client, &request);
        ck_answered(answer);
    }
    struct answer answer = receive_most(client, "g", 3);
    struct given given = only_range(&answer);
    world_cool(&world);
    struct writer request = ask_settle("nack", "g", &given, 1);
    writer_put_string(&request, "dead");
    writer_put_bool(&request, true);
    (void)tell(client, &request);
    request = ask("group.delete", 1);
    writer_put_key_string(&request, "name", "g");
    (void)tell(client, &request);
    (void)take(client);
    (void)take(client);
    run_ms(&world, LATER_MS);
    end();
}
END_TEST

START_TEST(an_orderly_end_loses_no_letter_that_waits_for_the_disk)
{
    struct client_simulated *client = begin(_i);
    give_up_cold(client);
    world_stop(&world); /* with a letter under way */
    world_start_keeping(&world, _i + 1, 64 << 20);
    client = world.client[_i];
    run_ms(&world, LATER_MS);
    ck_assert_uint_eq(count_letters(client), 3);
    end();
}
END_TEST

/* Fills the log until messages are refused, as a disk without room has it. */
static void fill_disk(struct client_simulated *client)
{
    static char body[10000];
    memset(body, 'x', sizeof(body) - 1);
    disk_is_full = true;
    for (int i = 0; i < 100; i++) {
        struct answer answer = produce(client, "t", body);
        if (answer.failed) {
            ck_refused(answer, "DISK_FULL");
            return;
        }
    }
    ck_abort_msg("the disk has not become full");
}

START_TEST(on_a_full_disk_a_message_dies_later)
{
    static const char *const tags[] = {"yes", "no", "yes"};
    struct client_simulated *client = begin_filtered(_i, "yes");
    for (int i = 0; i < 3; i++) {
        produce_labelled(client, tags[i], NULL);
    }
    struct given given = give(client);
    fill_disk(client);
    /* Operations have what is left to them: fill that, too. */
    for (int i = 0; i < 3000; i++) {
        struct given part = part_of(&given, 0, 1);
        struct writer request = ask_settle("nack", "g", &part, 2);
        writer_put_key_uint(&request, "delay_ms", 0);
        writer_put_string(&request, "count");
        writer_put_bool(&request, false);
        struct answer answer = call(client, &request);
        ck_answered(answer);
        if (failed_of(&answer, "failed") != OK) {
            break;
        }
        answer = receive_most(client, "g", 1);
        given = only_range(&answer);
    }
    run_ms(&world, GROUP_LEASE_MS_DEFAULT + LATER_MS);
    disk_is_full = false;
    run_ms(&world, GROUP_LEASE_MS_DEFAULT + LATER_MS);
    struct answer answer = receive(client, "g");
    struct given all[3];
    uint32_t ranges = ranges_of(&answer, all, 3);
    ck_assert_uint_ge(ranges, 1);
    for (uint32_t i = 0; i < ranges; i++) {
        give_up(client, &all[i]);
    }
    run_ms(&world, LATER_MS);
    ck_assert_uint_eq(count_letters(client), 2);
    end();
}
END_TEST

/* What is in the log of a message that is dying. */
START_TEST(what_was_dying_goes_on_after_a_start)
{
    struct client_simulated *client = begin(_i);
    fill(client, 4);
    struct given given = give(client);
    fill_disk(client);
    give_up(client, &given);
    run_ms(&world, LATER_MS);
    world_stop(&world);
    disk_is_full = false;
    world_start_keeping(&world, _i + 1, 64 << 20);
    client = world.client[_i];
    run_ms(&world, LATER_MS);
    ck_assert_uint_eq(count_letters(client), 4);
    end();
}
END_TEST

START_TEST(dead_letters_are_received_by_a_group_of_their_own)
{
    struct client_simulated *client = begin(_i);
    fill(client, 2);
    struct given given = give(client);
    give_up(client, &given);
    run_ms(&world, SOON);
    struct writer request = ask_group_of("%DLQ%g", "%DLQ%g", NULL, 1);
    writer_put_key_string(&request, "from", "first");
    struct answer answer = call(client, &request);
    ck_answered(answer);
    answer = receive(client, "%DLQ%g");
    struct given letter = only_range(&answer);
    ck_assert_str_eq(letter.topic, "%DLQ%g");
    ck_assert_uint_eq(letter.messages, 2);
    ck_assert_int_eq(ack(client, "%DLQ%g", &letter), OK);
    end();
}
END_TEST

/* More than what is put off in a turn, while there is no topic for the letters. */
START_TEST(what_is_dying_when_its_group_is_sought_becomes_no_letter)
{
    enum { DYING = 1750 };
    struct client_simulated *client = begin(_i);
    fill(client, 2 * DYING);
    struct given given = give(client);
    ck_assert_uint_eq(given.span, 2 * DYING);
    struct writer request = ask("nack", 3);
    writer_put_key_string(&request, "group", "g");
    writer_put_string(&request, "dead");
    writer_put_bool(&request, true);
    writer_put_string(&request, "receipts");
    writer_put_array(&request, DYING);
    for (uint64_t i = 0; i < DYING; i++) {
        struct given part = part_of(&given, 2 * i, 1);
        put_receipt(&request, &part);
    }
    (void)tell(client, &request);
    request = ask("group.seek", 2);
    writer_put_key_string(&request, "group", "g");
    writer_put_key_string(&request, "to", "first");
    (void)tell(client, &request);
    for (int i = 0; i < 2; i++) {
        struct answer answer = take(client);
        ck_answered(answer);
    }
    given = give(client);
    ck_assert_uint_eq(given.first, 0);
    ck_assert_uint_eq(given.span, 2 * DYING);
    ck_assert_uint_eq(given.attempt, 1);
    run_ms(&world, SOON);
    ck_assert_uint_eq(count_letters(client), 0);
    struct given last = part_of(&given, 2 * DYING - 1, 1);
    give_up(client, &last);
    run_ms(&world, SOON);
    ck_assert_uint_eq(count_letters(client), 1);
    check_letter(client, 0, 2 * DYING - 1, 1, "bad");
    end();
}
END_TEST

/* While there is no topic for the letters. */
START_TEST(what_is_dying_when_its_group_is_deleted_becomes_no_letter)
{
    struct client_simulated *client = begin(_i);
    fill(client, 3);
    struct given given = give(client);
    give_up(client, &given);
    struct writer request = ask("group.delete", 1);
    writer_put_key_string(&request, "name", "g");
    struct answer answer = call(client, &request);
    ck_answered(answer);
    run_ms(&world, LATER_MS);
    ck_assert_uint_eq(count_letters(client), 0);
    end();
}
END_TEST

static Suite *dead_letter_suite(void)
{
    Suite *suite = suite_create("dead_letter");
    TCase *tests = tcase_create("dead_letter");
    tcase_add_loop_test(tests, after_its_last_attempt_a_message_is_one_dead_letter, 0, 2);
    tcase_add_loop_test(tests, leases_that_end_are_attempts_too, 0, 2);
    tcase_add_loop_test(tests, a_range_that_is_given_up_is_a_letter_for_each_message, 0, 2);
    tcase_add_loop_test(tests, what_the_filter_does_not_want_of_a_range_is_no_letter, 0, 2);
    tcase_add_loop_test(tests, what_is_cold_becomes_a_letter_when_the_disk_has_given_it, 0, 2);
    tcase_add_loop_test(tests, a_group_may_change_while_its_letter_is_read, 0, 2);
    tcase_add_loop_test(tests, an_orderly_end_loses_no_letter_that_waits_for_the_disk, 0, 2);
    tcase_add_loop_test(tests, on_a_full_disk_a_message_dies_later, 0, 2);
    tcase_add_loop_test(tests, what_was_dying_goes_on_after_a_start, 0, 2);
    tcase_add_loop_test(tests, dead_letters_are_received_by_a_group_of_their_own, 0, 2);
    tcase_add_loop_test(tests, what_is_dying_when_its_group_is_sought_becomes_no_letter, 0, 2);
    tcase_add_loop_test(tests, what_is_dying_when_its_group_is_deleted_becomes_no_letter, 0, 2);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(dead_letter_suite)
