/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_placement.c - a topic of which another broker has queues, too: what is served here, and what is
 * refused with the name of who has it. Its queues 0 and 1 are here, 2 and 3 are broker-b's, 4 is here.
 */
#include "broker/placement.h"
#include "proto/base/crc32c.h"
#include "proto/message.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/broker_world.h"

#include <stdio.h>
#include <stdlib.h>

enum { QUEUES = 5 };

static bool is_here(uint32_t queue)
{
    return queue != 2 && queue != 3;
}

static void put_part(struct writer *request, const char *broker, uint32_t first, uint32_t count)
{
    writer_put_array(request, 3);
    writer_put_string(request, broker);
    writer_put_uint(request, first);
    writer_put_uint(request, count);
}

static void make_shared_topic(struct client_simulated *client, const char *name, const char *route)
{
    struct writer request = ask("topic.put", 3);
    writer_put_key_string(&request, "name", name);
    writer_put_string(&request, "settings");
    writer_put_map(&request, 1);
    writer_put_key_string(&request, "route", route);
    writer_put_string(&request, "placement");
    writer_put_array(&request, 3);
    put_part(&request, "broker-a", 0, 2);
    put_part(&request, "broker-b", 2, 2);
    put_part(&request, "broker-a", 4, 1);
    struct answer answer = call(client, &request);
    ck_answered(answer);
}

static void ck_is_elsewhere(const struct answer *answer, uint32_t queue)
{
    struct cursor cursor = cursor_over(answer->error);
    struct refusal refusal;
    uint64_t value = UINT64_MAX;
    ck_refused(*answer, "WRONG_BROKER");
    ck_assert(refusal_read(&cursor, &refusal));
    ck_assert_str_eq(refusal.broker, "broker-b");
    ck_assert(refusal_get(&refusal, REFUSAL_QUEUE, &value));
    ck_assert_uint_eq(value, queue);
}

static struct answer produce_to(struct client_simulated *client, uint32_t queue)
{
    struct writer request = ask("produce", 3);
    writer_put_key_string(&request, "topic", "shared");
    writer_put_key_uint(&request, "queue", queue);
    writer_put_string(&request, "messages");
    writer_put_array(&request, 1);
    writer_put_bin(&request, BYTES_OF("body"));
    return call(client, &request);
}

START_TEST(a_queue_of_another_broker_is_refused_by_its_name_and_an_own_one_served)
{
    struct world world;
    struct client_simulated *client = world_begin(&world, _i, 1);
    make_shared_topic(client, "shared", "any");
    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        struct answer answer = produce_to(client, queue);
        if (is_here(queue)) {
            ck_answered(answer);
        } else {
            ck_is_elsewhere(&answer, queue);
        }
        struct writer request = ask("pull", 3);
        writer_put_key_string(&request, "topic", "shared");
        writer_put_key_uint(&request, "queue", queue);
        writer_put_key_uint(&request, "offset", 0);
        answer = call(client, &request);
        if (is_here(queue)) {
            ck_answered(answer);
            ck_assert_uint_eq(count_of(&answer), 1);
        } else {
            ck_is_elsewhere(&answer, queue);
        }
        request = ask("message.get", 3);
        writer_put_key_string(&request, "topic", "shared");
        writer_put_key_uint(&request, "queue", queue);
        writer_put_key_uint(&request, "offset", 0);
        answer = call(client, &request);
        if (is_here(queue)) {
            ck_answered(answer);
        } else {
            ck_is_elsewhere(&answer, queue);
        }
    }
    struct answer beyond = produce_to(client, QUEUES);
    ck_refused(beyond, "BAD_ARGUMENT");
    world_end(&world);
}
END_TEST

START_TEST(without_a_queue_only_own_ones_are_taken)
{
    struct world world;
    struct client_simulated *client = world_begin(&world, _i, 1);
    make_shared_topic(client, "shared", "any");
    uint32_t seen = 0;
    for (int i = 0; i < 30; i++) {
        struct writer request = ask("produce", 2);
        writer_put_key_string(&request, "topic", "shared");
        writer_put_string(&request, "messages");
        writer_put_array(&request, 1);
        writer_put_bin(&request, BYTES_OF("body"));
        struct answer answer = call(client, &request);
        ck_answered(answer);
        seen |= 1U << number_of(answer.result, "queue");
        (void)simulation_run(world.simulation, 20, NULL, NULL);
    }
    ck_assert_uint_eq(seen, 1U << 0 | 1U << 1 | 1U << 4);
    world_end(&world);
}
END_TEST

START_TEST(keys_hash_over_queues_of_all_brokers)
{
    struct world world;
    struct client_simulated *client = world_begin(&world, _i, 1);
    make_shared_topic(client, "shared", "key");
    uint32_t refused = 0;
    for (int i = 0; i < 30; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "key-%d", i);
        struct bytes name = bytes_from_string(key);
        uint32_t queue = message_key_queue(crc32c(name.data, name.length), QUEUES);
        struct writer request = ask("produce", 2);
        writer_put_key_string(&request, "topic", "shared");
        writer_put_string(&request, "messages");
        writer_put_array(&request, 1);
        writer_put_array(&request, 4);
        writer_put_nil(&request);
        writer_put_array(&request, 1);
        writer_put_str(&request, name);
        writer_put_nil(&request);
        writer_put_bin(&request, BYTES_OF("body"));
        struct answer answer = call(client, &request);
        if (is_here(queue)) {
            ck_answered(answer);
            ck_assert_uint_eq(number_of(answer.result, "queue"), queue);
        } else {
            ck_is_elsewhere(&answer, queue);
            refused++;
        }
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_lt(refused, 30);
    world_end(&world);
}
END_TEST

/* Whether `placement` of a map is the one that was put. */
static bool has_placement(struct bytes map)
{
    uint8_t room[64];
    struct writer expected = writer_over(room, sizeof(room));
    writer_put_array(&expected, 3);
    put_part(&expected, "broker-a", 0, 2);
    put_part(&expected, "broker-b", 2, 2);
    put_part(&expected, "broker-a", 4, 1);
    struct cursor cursor = value_of(map, "placement");
    struct bytes span;
    return cursor_take_span(&cursor, &span) && bytes_equal(span, writer_bytes(&expected));
}

START_TEST(show_and_list_say_where_all_queues_are_also_after_a_restart)
{
    struct world world;
    struct client_simulated *client = world_begin(&world, _i, 1);
    make_shared_topic(client, "shared", "any");
    for (int round = 0; round < 2; round++) {
        struct writer request = ask("topic.show", 1);
        writer_put_key_string(&request, "name", "shared");
        struct answer answer = call(client, &request);
        ck_answered(answer);
        ck_assert(has_placement(answer.result));
        ck_assert(text_is(answer.result, "broker", "broker-a"));
        struct cursor queues = value_of(answer.result, "queues");
        uint32_t count = 0;
        ck_assert(cursor_take_array(&queues, &count));
        ck_assert_uint_eq(count, 3);
        for (uint32_t queue = 0; queue < QUEUES; queue++) {
            struct bytes row;
            if (is_here(queue)) {
                ck_assert(cursor_take_span(&queues, &row));
                ck_assert_uint_eq(number_of(row, "queue"), queue);
            }
        }
        request = ask("topic.list", 1);
        writer_put_key_string(&request, "prefix", "shared");
        answer = call(client, &request);
        ck_answered(answer);
        struct cursor rows = value_of(answer.result, "rows");
        struct bytes row;
        ck_assert(cursor_take_array_of(&rows, 1) && cursor_take_span(&rows, &row));
        ck_assert(has_placement(row));
        ck_assert_uint_eq(number_of(row, "queues"), QUEUES);
        if (round == 0) {
            world_stop(&world);
            world_start(&world, _i + 1);
            client = world.client[_i];
        }
    }
    world_end(&world);
}
END_TEST

START_TEST(a_topic_of_this_broker_alone_shows_itself_as_one_part)
{
    struct world world;
    struct client_simulated *client = world_begin(&world, _i, 3);
    struct writer request = ask("topic.show", 1);
    writer_put_key_string(&request, "name", "t");
    struct answer answer = call(client, &request);
    ck_answered(answer);
    struct cursor parts = value_of(answer.result, "placement");
    struct bytes broker;
    uint32_t first = 9;
    uint32_t count = 9;
    ck_assert(cursor_take_array_of(&parts, 1) && cursor_take_array_of(&parts, 3));
    ck_assert(cursor_take_text(&parts, &broker) && cursor_take_u32(&parts, &first) &&
              cursor_take_u32(&parts, &count));
    ck_assert(bytes_equal(broker, BYTES_OF("broker-a")));
    ck_assert_uint_eq(first, 0);
    ck_assert_uint_eq(count, 3);
    world_end(&world);
}
END_TEST

START_TEST(a_placement_that_is_none_is_refused)
{
    static const struct {
        const char *broker;
        uint32_t first;
        uint32_t count;
    } rows[] = {{"broker-a", 1, 2},
                {"broker-a", 0, 0},
                {"broker a", 0, 1},
                {"", 0, 1},
                {"broker-a", 0, QUEUES_PER_TOPIC_MAX + 1},
                {"broker-b", 0, 4}};
    struct world world;
    struct client_simulated *client = world_begin(&world, _i, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct writer request = ask("topic.put", 2);
        writer_put_key_string(&request, "name", "bad");
        writer_put_string(&request, "placement");
        writer_put_array(&request, 1);
        put_part(&request, rows[i].broker, rows[i].first, rows[i].count);
        struct answer answer = call(client, &request);
        ck_refused(answer, "BAD_ARGUMENT");
        struct cursor cursor = cursor_over(answer.error);
        struct refusal refusal;
        ck_assert(refusal_read(&cursor, &refusal));
        ck_assert_str_eq(refusal.key, "placement");
    }
    world_end(&world);
}
END_TEST

/* -------------------------------------------------------------- pure */

static struct placement placement_of(const char *letters)
{
    struct placement placement = {.part_count = 0, .queue_count = 0};
    for (const char *letter = letters; *letter != '\0'; letter++) {
        ck_assert(placement_append(&placement, bytes_make(letter, 1), 1));
    }
    return placement;
}

START_TEST(of_two_placements_the_longer_one_is_newer_if_it_begins_with_the_other)
{
    static const struct {
        const char *longer;
        const char *shorter;
        bool extends;
    } rows[] = {{"ab", "ab", true},      {"aabb", "aab", true},  {"aabba", "aabb", true},
                {"aab", "aabb", false},  {"abb", "aab", false},  {"aaab", "aab", false},
                {"bbaa", "aabb", false}, {"aabbcc", "aab", true}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct placement longer = placement_of(rows[i].longer);
        struct placement shorter = placement_of(rows[i].shorter);
        ck_assert_msg(placement_extends(&longer, &shorter) == rows[i].extends, "row %zu", i);
    }
}
END_TEST

START_TEST(a_copy_stands_on_its_own)
{
    char letters[] = "aabbb";
    struct placement placement = placement_of(letters);
    struct placement *copy = placement_copy(&placement);
    memset(letters, 'x', sizeof(letters));
    ck_assert_uint_eq(copy->part_count, 2);
    ck_assert_uint_eq(copy->queue_count, 5);
    ck_assert(placement_names(copy, BYTES_OF("b")) && !placement_names(copy, BYTES_OF("x")));
    ck_assert_uint_eq(placement_part_of(copy->parts, copy->part_count, 4)->first, 2);
    free(copy);
}
END_TEST

static Suite *placement_suite(void)
{
    Suite *suite = suite_create("placement");
    TCase *tests = tcase_create("placement");
    tcase_add_loop_test(
        tests, a_queue_of_another_broker_is_refused_by_its_name_and_an_own_one_served, 0, 2);
    tcase_add_loop_test(tests, without_a_queue_only_own_ones_are_taken, 0, 2);
    tcase_add_loop_test(tests, keys_hash_over_queues_of_all_brokers, 0, 2);
    tcase_add_loop_test(tests, show_and_list_say_where_all_queues_are_also_after_a_restart, 0, 2);
    tcase_add_loop_test(tests, a_topic_of_this_broker_alone_shows_itself_as_one_part, 0, 2);
    tcase_add_loop_test(tests, a_placement_that_is_none_is_refused, 0, 2);
    tcase_add_test(tests, of_two_placements_the_longer_one_is_newer_if_it_begins_with_the_other);
    tcase_add_test(tests, a_copy_stands_on_its_own);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(placement_suite)
