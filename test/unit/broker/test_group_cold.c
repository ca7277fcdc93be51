/* SPDX-License-Identifier: Apache-2.0 */
/* test_group_cold.c - where a group stands, a seek and a trace, of messages that have left the page cache: the
 * call waits for the disk, the loop does not. */
#include "test/lib/check_main.h"
#include "test/unit/broker/group_world.h"

enum {
    BODY_BYTES = 8000,
    MESSAGES = 500, /* 4 MB: several segments of 1 MiB */
    MIDDLE = 250
};

static struct world world;

/* A broker whose topic `t` is cold, and a group that has begun nowhere. */
static struct client_simulated *begin(int index)
{
    static char body[BODY_BYTES + 1];
    memset(body, 'x', BODY_BYTES);
    struct client_simulated *client = world_begin(&world, index, 1);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct answer answer = produce(client, "t", body);
        ck_answered(answer);
        run_ms(&world, 2);
    }
    make_group(client, "g");
    world_cool(&world);
    return client;
}

static void end(void)
{
    world_end(&world);
}

static struct writer ask_trace(uint64_t offset)
{
    struct writer request = ask("message.trace", 3);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 0);
    writer_put_key_uint(&request, "offset", offset);
    return request;
}

static uint64_t stored_at(struct client_simulated *client, uint64_t offset)
{
    struct writer request = ask_trace(offset);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    return number_of(answer.result, "stored_at");
}

static struct writer ask_show(void)
{
    struct writer request = ask("group.show", 1);
    writer_put_key_string(&request, "name", "g");
    return request;
}

static bool has_key(struct bytes map, const char *key)
{
    struct cursor cursor = cursor_over(map);
    uint32_t pairs = 0;
    bool is_found = false;
    ck_assert(cursor_take_map(&cursor, &pairs));
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes name;
        ck_assert(cursor_take_text(&cursor, &name) && cursor_skip(&cursor));
        is_found = is_found || bytes_equal(name, bytes_from_string(key));
    }
    return is_found;
}

/* Of the queue 0 in an answer, whose rows are under `key`. */
static struct bytes row_of(const struct answer *answer, const char *key)
{
    struct cursor rows = value_of(answer->result, key);
    struct bytes row;
    uint32_t count = 0;
    ck_assert(cursor_take_array(&rows, &count) && count > 0 && cursor_take_span(&rows, &row));
    return row;
}

static struct writer ask_seek(uint64_t at_ms)
{
    struct writer request = ask("group.seek", 2);
    writer_put_key_string(&request, "group", "g");
    writer_put_string(&request, "to");
    writer_put_map(&request, 1);
    writer_put_key_uint(&request, "at_time", at_ms);
    return request;
}

START_TEST(the_oldest_is_told_though_its_record_is_cold)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_show();
    struct answer answer = call(client, &request);
    ck_answered(answer);
    struct bytes row = row_of(&answer, "queues");
    ck_assert_uint_eq(number_of(row, "lag"), MESSAGES);
    uint64_t oldest_ms = number_of(row, "oldest");
    ck_assert_uint_eq(oldest_ms, stored_at(client, 0));
    ck_assert_uint_eq(disk_simulated_waits(world.disk), 0);
    end();
}
END_TEST

START_TEST(a_seek_to_a_time_looks_through_what_is_cold)
{
    struct client_simulated *client = begin(_i);
    uint64_t middle_ms = stored_at(client, MIDDLE);
    ck_assert_uint_lt(stored_at(client, MIDDLE - 1), middle_ms);
    world_cool(&world);
    struct writer request = ask_seek(middle_ms);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    struct bytes row = row_of(&answer, "rows");
    ck_assert_uint_eq(number_of(row, "was"), 0);
    ck_assert_uint_eq(number_of(row, "now"), MIDDLE);
    ck_assert_uint_eq(number_of(row, "skipped"), MIDDLE);
    request = ask_show();
    answer = call(client, &request);
    ck_answered(answer);
    row = row_of(&answer, "queues");
    ck_assert_uint_eq(number_of(row, "cursor"), MIDDLE);
    ck_assert_uint_eq(number_of(row, "oldest"), middle_ms);
    ck_assert_uint_eq(disk_simulated_waits(world.disk), 0);
    end();
}
END_TEST

START_TEST(what_cannot_be_read_is_left_out)
{
    struct client_simulated *client = begin(_i);
    reads_fail = true;
    struct writer request = ask_trace(3);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    ck_assert(!has_key(answer.result, "stored_at"));
    request = ask_show();
    answer = call(client, &request);
    ck_answered(answer);
    struct bytes row = row_of(&answer, "queues");
    ck_assert(!has_key(row, "oldest"));
    ck_assert_uint_eq(number_of(row, "lag"), MESSAGES);
    reads_fail = false;
    ck_assert_uint_gt(stored_at(client, 3), 0);
    end();
}
END_TEST

START_TEST(the_end_of_the_broker_ends_what_waits_for_the_disk)
{
    struct client_simulated *client = begin(_i);
    for (uint32_t i = 0; i < 20; i++) {
        struct writer request = ask_show();
        (void)tell(client, &request);
        request = ask_seek(i);
        (void)tell(client, &request);
        request = ask_trace(i);
        (void)tell(client, &request);
    }
    end();
}
END_TEST

static Suite *group_cold_suite(void)
{
    Suite *suite = suite_create("group_cold");
    TCase *tests = tcase_create("group_cold");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, the_oldest_is_told_though_its_record_is_cold, 0, 2);
    tcase_add_loop_test(tests, a_seek_to_a_time_looks_through_what_is_cold, 0, 2);
    tcase_add_loop_test(tests, what_cannot_be_read_is_left_out, 0, 2);
    tcase_add_loop_test(tests, the_end_of_the_broker_ends_what_waits_for_the_disk, 0, 2);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(group_cold_suite)
