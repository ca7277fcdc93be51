/* SPDX-License-Identifier: Apache-2.0 */
/* test_pull_filter.c - a pull with a filter: what it delivers, how far it looks, how it waits. */
#include "proto/base/random.h"
#include "storage/commit_log.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/broker_world.h"

#include <stdio.h>

static struct world world;

static struct client_simulated *begin(int index)
{
    return world_begin(&world, index, 1);
}

static void end(void)
{
    world_end(&world);
}

/* One message [tag, nil, {n: number}, body]. */
static void put_message(struct writer *writer, const char *tag, uint64_t number, size_t body_bytes)
{
    static const uint8_t body[32 * 1024];
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    writer_put_array(writer, 4);
    if (tag == NULL) {
        writer_put_nil(writer);
    } else {
        writer_put_string(writer, tag);
    }
    writer_put_nil(writer);
    writer_put_map(writer, 1);
    writer_put_string(writer, "n");
    writer_put_string(writer, text);
    writer_put_bin(writer, bytes_make(body, body_bytes));
}

/* Produces messages whose `n` counts from `from`; the tag of number i is tags[i % tag_count]. */
static void fill(struct client_simulated *client, uint64_t from, uint32_t count,
                 const char *const *tags, uint32_t tag_count)
{
    enum { BATCH = 1000 };
    while (count > 0) {
        uint32_t batch = count < BATCH ? count : BATCH;
        struct writer request = ask_produce("t", 0, batch);
        for (uint32_t i = 0; i < batch; i++, from++) {
            put_message(&request, tags[from % tag_count], from, 4);
        }
        struct answer answer = call(client, &request);
        ck_answered(answer);
        count -= batch;
    }
}

static struct writer ask_filtered(uint64_t offset, const char *filter, uint32_t more)
{
    struct writer request = ask_pull("t", 2 + more);
    writer_put_key_uint(&request, "offset", offset);
    writer_put_key_string(&request, "filter", filter);
    return request;
}

static struct answer pull_filtered(struct client_simulated *client, uint64_t offset,
                                   const char *filter)
{
    struct writer request = ask_filtered(offset, filter, 0);
    return call(client, &request);
}

/* The offsets of all records of an answer. */
static uint32_t offsets_of(const struct answer *answer, uint64_t *offsets, uint32_t most)
{
    struct cursor cursor = value_of(answer->result, "messages");
    uint32_t count = 0;
    ck_assert(cursor_take_array(&cursor, &count));
    ck_assert_uint_le(count, most);
    for (uint32_t i = 0; i < count; i++) {
        struct bytes span;
        struct record_view record;
        ck_assert(cursor_take_span(&cursor, &span));
        ck_assert_int_eq(record_read_anywhere(span, &record), RECORD_WHOLE);
        offsets[i] = record.fields.offset;
    }
    return count;
}

static uint64_t offset_of(const struct answer *answer, uint32_t number)
{
    return record_of(answer, number).fields.offset;
}

static const char *const colours[] = {"red", "green", NULL, "blue"};

START_TEST(delivers_what_is_wanted_and_goes_on_behind_what_was_looked_at)
{
    struct client_simulated *client = begin(_i);
    fill(client, 0, 10, colours, 4);
    struct answer answer = pull_filtered(client, 0, "red || blue");
    static const uint64_t wanted[] = {0, 3, 4, 7, 8};
    ck_assert_uint_eq(count_of(&answer), 5);
    for (uint32_t i = 0; i < 5; i++) {
        ck_assert_uint_eq(offset_of(&answer, i), wanted[i]);
    }
    ck_assert_uint_eq(number_of(answer.result, "first"), 0);
    ck_assert_uint_eq(number_of(answer.result, "next"), 10);
    ck_assert_uint_eq(core_counter(client, "filtered_messages"), 5);

    answer = pull_filtered(client, 1, "n > 5 AND TAGS IS NOT NULL");
    ck_assert_uint_eq(count_of(&answer), 3);
    ck_assert_uint_eq(offset_of(&answer, 0), 7);
    ck_assert_uint_eq(number_of(answer.result, "first"), 1);
    ck_assert_uint_eq(number_of(answer.result, "next"), 10);

    answer = pull_filtered(client, 0, "grey");
    ck_assert_uint_eq(count_of(&answer), 0);
    ck_assert_uint_eq(number_of(answer.result, "first"), 0);
    ck_assert_uint_eq(number_of(answer.result, "next"), 10);
    ck_assert_uint_eq(number_of(answer.result, "end"), 10);

    answer = pull_filtered(client, 0, " * ");
    ck_assert_uint_eq(count_of(&answer), 10);
    end();
}
END_TEST

START_TEST(a_filter_that_is_none_is_refused_with_its_column)
{
    struct client_simulated *client = begin(_i);
    struct answer answer = pull_filtered(client, 0, "n > ");
    ck_refused(answer, "BAD_FILTER");
    ck_assert_uint_eq(number_of(answer.error, "column"), 5);
    ck_assert(text_is(answer.error, "key", "filter"));
    end();
}
END_TEST

START_TEST(answers_as_much_as_is_asked)
{
    struct client_simulated *client = begin(_i);
    fill(client, 0, 40, colours, 4);
    struct writer request = ask_filtered(0, "red", 1);
    writer_put_key_uint(&request, "max", 3);
    struct answer answer = call(client, &request);
    ck_assert_uint_eq(count_of(&answer), 3);
    ck_assert_uint_eq(offset_of(&answer, 2), 8);
    uint64_t next = number_of(answer.result, "next");
    ck_assert_uint_gt(next, 8);
    ck_assert_uint_le(next, 12);

    request = ask_filtered(1, "n >= 5", 1);
    writer_put_key_uint(&request, "max_bytes", 0);
    answer = call(client, &request);
    ck_assert_uint_eq(count_of(&answer), 1);
    ck_assert_uint_eq(offset_of(&answer, 0), 5);
    ck_assert_uint_eq(number_of(answer.result, "next"), 6);
    end();
}
END_TEST

/* Every second one is wanted, so each is a run of its own. */
START_TEST(what_is_wanted_in_more_runs_than_an_answer_takes_comes_in_the_next)
{
    enum { MESSAGES = 2 * LOG_RUNS_MAX + 200 };
    static const char *const tags[] = {"odd", "even"};
    static const char *const filters[] = {"even", "TAGS = 'even'"};
    struct client_simulated *client = begin(_i);
    fill(client, 0, MESSAGES, tags, 2);
    for (size_t i = 0; i < 2; i++) {
        uint64_t next = 0;
        uint64_t wanted = 1;
        while (next < MESSAGES) {
            struct answer answer = pull_filtered(client, next, filters[i]);
            uint32_t count = count_of(&answer);
            ck_assert_uint_gt(count, 0);
            ck_assert_uint_le(count, LOG_RUNS_MAX);
            ck_assert_uint_eq(offset_of(&answer, 0), wanted);
            ck_assert_uint_eq(offset_of(&answer, count - 1), wanted + 2 * (count - 1));
            wanted += 2 * (uint64_t)count;
            next = number_of(answer.result, "next");
        }
        ck_assert_uint_eq(wanted, MESSAGES + 1);
    }
    end();
}
END_TEST

START_TEST(looks_on_in_the_next_turn_until_something_is_wanted)
{
    enum { MESSAGES = 9500 };
    static const char *const tags[] = {"x"};
    struct client_simulated *client = begin(_i);
    fill(client, 0, MESSAGES, tags, 1);
    uint64_t turns = core_counter(client, "turns");
    struct answer answer = pull_filtered(client, 0, "n = 9400");
    ck_assert_uint_eq(count_of(&answer), 1);
    ck_assert_uint_eq(offset_of(&answer, 0), 9400);
    ck_assert_uint_ge(core_counter(client, "turns") - turns, MESSAGES / 2000);
    uint64_t looked_at = core_counter(client, "filtered_messages");
    ck_assert_uint_ge(looked_at, 9400);
    ck_assert_uint_lt(looked_at, MESSAGES);
    answer = pull_filtered(client, 0, "y");
    ck_assert_uint_eq(count_of(&answer), 0);
    ck_assert_uint_eq(number_of(answer.result, "next"), MESSAGES);
    end();
}
END_TEST

START_TEST(a_poll_waits_for_what_is_wanted_and_looks_at_nothing_twice)
{
    enum { BEFORE = 100, LATER = 7 };
    static const char *const no[] = {"no"};
    static const char *const yes[] = {"yes"};
    static const char *const filters[] = {"yes", "TAGS = 'yes'"};
    struct client_simulated *client = begin(_i);
    struct client_simulated *other = world.client[1 - _i];
    uint64_t offset = 0;
    for (size_t i = 0; i < 2; i++) {
        uint64_t filtered = core_counter(other, "filtered_messages");
        fill(other, offset, BEFORE, no, 1);
        struct writer request = ask_filtered(offset, filters[i], 1);
        writer_put_key_uint(&request, "wait_ms", 60000);
        uint32_t msgid = tell(client, &request);
        for (uint64_t j = 0; j < LATER; j++) {
            (void)simulation_run(world.simulation, 100, NULL, NULL);
            fill(other, offset + BEFORE + j, 1, no, 1);
        }
        ck_assert_uint_eq(client_simulated_answers(client), 0);
        ck_assert_uint_eq(core_counter(other, "parked"), 1);
        fill(other, offset + BEFORE + LATER, 1, yes, 1);
        struct answer answer = take(client);
        ck_assert_uint_eq(answer.msgid, msgid);
        ck_assert_uint_eq(count_of(&answer), 1);
        ck_assert_uint_eq(number_of(answer.result, "first"), offset);
        ck_assert_uint_eq(offset_of(&answer, 0), offset + BEFORE + LATER);
        offset += BEFORE + LATER + 1;
        ck_assert_uint_eq(number_of(answer.result, "next"), offset);
        ck_assert_uint_eq(core_counter(other, "filtered_messages") - filtered, BEFORE + LATER);
    }
    ck_assert_uint_eq(core_counter(other, "parked"), 0);
    end();
}
END_TEST

START_TEST(a_poll_that_nothing_came_for_says_how_far_it_looked)
{
    static const char *const no[] = {"no"};
    struct client_simulated *client = begin(_i);
    fill(client, 0, 50, no, 1);
    struct writer request = ask_filtered(0, "yes", 1);
    writer_put_key_uint(&request, "wait_ms", 500);
    struct answer answer = call(client, &request);
    ck_assert_uint_eq(count_of(&answer), 0);
    ck_assert_uint_eq(number_of(answer.result, "first"), 0);
    ck_assert_uint_eq(number_of(answer.result, "next"), 50);

    request = ask_filtered(0, "yes", 1);
    writer_put_key_uint(&request, "wait_ms", 60000);
    uint32_t cancelled = tell(client, &request);
    (void)simulation_run(world.simulation, 100, NULL, NULL);
    request = writer_over(request_room, sizeof(request_room));
    one_way_begin(&request, "cancel", 1);
    writer_put_key_uint(&request, "msgid", cancelled);
    client_simulated_send(client, writer_bytes(&request));
    answer = take(client);
    ck_assert_uint_eq(answer.msgid, cancelled);
    ck_assert_uint_eq(count_of(&answer), 0);
    ck_assert_uint_eq(number_of(answer.result, "next"), 50);
    end();
}
END_TEST

/* Of large messages only the beginning is read; labels may be as large as they may. */
START_TEST(large_messages_and_large_labels)
{
    enum { MESSAGES = 60, BODY_BYTES = 20000 };
    struct client_simulated *client = begin(_i);
    static char value[PROPERTIES_BYTES_MAX - 100];
    memset(value, 'v', sizeof(value));
    for (uint64_t i = 0; i < MESSAGES; i++) {
        struct writer request = ask_produce("t", 0, 1);
        if (i % 3 == 2) {
            writer_put_array(&request, 4);
            writer_put_nil(&request);
            writer_put_array(&request, KEYS_MAX);
            for (int j = 0; j < KEYS_MAX; j++) {
                writer_put_str(&request, bytes_make(value, KEY_BYTES_MAX));
            }
            writer_put_map(&request, 2);
            writer_put_string(&request, "v");
            writer_put_str(&request, bytes_make(value, sizeof(value)));
            writer_put_string(&request, "n");
            writer_put_string(&request, i % 2 == 0 ? "even" : "odd");
            writer_put_bin(&request, bytes_make(value, 1000));
        } else {
            put_message(&request, "big", i, i % 5 == 0 ? 10 : BODY_BYTES);
        }
        struct answer answer = call(client, &request);
        ck_answered(answer);
    }
    uint64_t next = 0;
    uint64_t wanted = 0;
    while (next < MESSAGES) {
        struct answer answer =
            pull_filtered(client, next, "n = 'odd' AND v LIKE 'vv%' OR n BETWEEN 10 AND 29");
        ck_answered(answer);
        uint32_t count = count_of(&answer);
        for (uint32_t i = 0; i < count; i++) {
            while (!(wanted % 3 == 2 ? wanted % 2 == 1 : wanted >= 10 && wanted <= 29)) {
                wanted++;
            }
            ck_assert_uint_eq(offset_of(&answer, i), wanted);
            wanted++;
        }
        next = number_of(answer.result, "next");
    }
    ck_assert_uint_eq(wanted, 60);
    end();
}
END_TEST

/* The shorter way ends first, though it began second. */
START_TEST(those_who_look_take_turns)
{
    enum { MESSAGES = 30000 };
    static const char *const tags[] = {"x"};
    struct client_simulated *client = begin(_i);
    fill(client, 0, MESSAGES, tags, 1);
    struct writer request = ask_filtered(0, "n = -1", 0);
    uint32_t longer = tell(client, &request);
    request = ask_filtered(MESSAGES - 3000, "n = -1", 0);
    uint32_t shorter = tell(client, &request);
    ck_assert_uint_eq(take(client).msgid, shorter);
    ck_assert_uint_eq(take(client).msgid, longer);
    end();
}
END_TEST

/* Against looking at each message by itself, with limits that cut anywhere. */
START_TEST(agrees_with_who_looks_at_each)
{
    enum { MESSAGES = 3000, PULLS = 300 };
    struct random random;
    struct client_simulated *client = begin(_i % 2);
    random_init(&random, (uint64_t)_i);
    fill(client, 0, MESSAGES, colours, 4);
    for (int i = 0; i < PULLS; i++) {
        uint64_t least = random_below(&random, MESSAGES);
        bool blue = random_below(&random, 2) == 0;
        char filter[64];
        snprintf(filter, sizeof(filter), blue ? "TAGS = 'blue' AND n >= %u" : "n >= %u",
                 (unsigned)least);
        uint64_t from = random_below(&random, MESSAGES);
        struct writer request = ask_filtered(from, filter, 2);
        writer_put_key_uint(&request, "max", 1 + random_below(&random, 300));
        writer_put_key_uint(&request, "max_bytes", random_below(&random, 30000));
        struct answer answer = call(client, &request);
        uint64_t offsets[MESSAGES];
        uint32_t count = offsets_of(&answer, offsets, MESSAGES);
        uint64_t next = number_of(answer.result, "next");
        ck_assert(next > from);
        uint32_t found = 0;
        for (uint64_t j = from; j < next; j++) {
            if (j >= least && (!blue || j % 4 == 3)) {
                ck_assert_uint_lt(found, count);
                ck_assert_uint_eq(offsets[found], j);
                found++;
            }
        }
        ck_assert_uint_eq(found, count);
    }
    end();
}
END_TEST

static Suite *pull_filter_suite(void)
{
    Suite *suite = suite_create("pull_filter");
    TCase *tests = tcase_create("pull_filter");
    tcase_add_loop_test(tests, delivers_what_is_wanted_and_goes_on_behind_what_was_looked_at, 0, 2);
    tcase_add_loop_test(tests, a_filter_that_is_none_is_refused_with_its_column, 0, 2);
    tcase_add_loop_test(tests, answers_as_much_as_is_asked, 0, 2);
    tcase_add_loop_test(tests, what_is_wanted_in_more_runs_than_an_answer_takes_comes_in_the_next,
                        0, 2);
    tcase_add_loop_test(tests, looks_on_in_the_next_turn_until_something_is_wanted, 0, 2);
    tcase_add_loop_test(tests, a_poll_waits_for_what_is_wanted_and_looks_at_nothing_twice, 0, 2);
    tcase_add_loop_test(tests, a_poll_that_nothing_came_for_says_how_far_it_looked, 0, 2);
    tcase_add_loop_test(tests, large_messages_and_large_labels, 0, 2);
    tcase_add_loop_test(tests, those_who_look_take_turns, 0, 2);
    tcase_add_loop_test(tests, agrees_with_who_looks_at_each, 0, 4);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(pull_filter_suite)
