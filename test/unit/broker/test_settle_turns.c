/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_settle_turns.c - calls that settle much do it over turns of the loop, which has others to serve: how many
 * turns it takes at least, and that what they say is so in the end.
 */
#include "broker/settle.h"
#include "net/reactor.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/group_world.h"

enum { ROUNDS = 6, ROUND = 3400, MANY = ROUNDS * ROUND, LATER_MS = 600000, RECEIPTS = 100 };

static struct world world;

/* Turns of the core of the shard. */
static struct turn_hook hook;
static uint32_t turns;

static void count_turn(struct turn_hook *one)
{
    (void)one;
    turns++;
}

static struct client_simulated *begin(int index, const char *order)
{
    world = world_open();
    world_start(&world, index + 1);
    struct client_simulated *client = world.client[index];
    make_topic(client, "t", 1, strcmp(order, "key") == 0 ? "key" : "any", "memory");
    struct writer request = ask_group("g", NULL, 3);
    writer_put_key_string(&request, "order", order);
    writer_put_key_uint(&request, "lease_ms", 2 * LATER_MS);
    put_backoff(&request, SOON_MS);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    hook = (struct turn_hook){.run = count_turn};
    reactor_hook_add(world.broker.reactors[0], TURN_WRITE, &hook);
    return client;
}

static void end(void)
{
    reactor_hook_remove(world.broker.reactors[0], &hook);
    world_end(&world);
}

/* A call, and how many turns it took. */
static struct answer call_in_turns(struct client_simulated *client, const struct writer *request,
                                   uint32_t *turns_out)
{
    turns = 0;
    struct answer answer = call(client, request);
    ck_answered(answer);
    *turns_out = turns;
    return answer;
}

static void put_parts(struct writer *request, const struct given *given, uint32_t step)
{
    writer_put_string(request, "receipts");
    writer_put_array(request, (uint32_t)given->span / step);
    for (uint64_t i = 0; i < given->span / step; i++) {
        struct given part = part_of(given, given->first + i * step, 1);
        put_receipt(request, &part);
    }
}

/* MANY messages, given out, of which every other one has failed: as many ranges. The last that was given. */
static struct given open_many(struct client_simulated *client)
{
    struct given given = {.span = 0};
    fill(client, MANY);
    for (int i = 0; i < ROUNDS; i++) {
        struct answer answer = receive_most(client, "g", ROUND);
        given = only_range(&answer);
        ck_assert_uint_eq(given.span, ROUND);
        struct writer request = ask("nack", 3);
        writer_put_key_string(&request, "group", "g");
        writer_put_key_uint(&request, "delay_ms", LATER_MS);
        put_parts(&request, &given, 2);
        ck_assert_int_eq(settle(client, &request), OK);
    }
    return given;
}

/* A number that group.show tells of the group's queue. */
static uint64_t shown(struct client_simulated *client, const char *key)
{
    struct writer request = ask("group.show", 1);
    writer_put_key_string(&request, "name", "g");
    struct answer answer = call(client, &request);
    ck_answered(answer);
    struct cursor rows = value_of(answer.result, "queues");
    struct bytes row = {NULL, 0};
    uint32_t count = 0;
    uint64_t number = 0;
    ck_assert(cursor_take_array(&rows, &count) && count == 1 && cursor_take_span(&rows, &row));
    struct cursor value = value_of(row, key);
    ck_assert(cursor_take_uint(&value, &number));
    return number;
}

/* ------------------------------------------------------------------------ cases */

START_TEST(a_cursor_over_many_ranges_moves_on_over_turns)
{
    struct client_simulated *client = begin(_i, "none");
    uint32_t few = 0;
    uint32_t many = 0;
    (void)open_many(client);
    for (int i = 0; i < 2; i++) {
        struct writer request = ask("ack", 2);
        writer_put_key_string(&request, "group", "g");
        writer_put_string(&request, "receipts");
        writer_put_array(&request, 1);
        writer_put_array(&request, 5);
        writer_put_string(&request, "t");
        writer_put_uint(&request, 0);
        writer_put_uint(&request, 0);
        writer_put_uint(&request, i == 0 ? 1 : MANY - 1);
        writer_put_nil(&request);
        struct answer answer = call_in_turns(client, &request, i == 0 ? &few : &many);
        ck_assert_int_eq(failed_of(&answer, "failed"), OK);
        ck_assert_uint_eq(shown(client, "lag"), i == 0 ? MANY - 1 : 1);
    }
    ck_assert_uint_ge(many + 2,
                      few + MANY / SETTLE_STEPS_A_TURN); /* the first and the last count in both */
    ck_assert_int_eq(commit(client, "g", MANY), OK);
    ck_assert_uint_eq(shown(client, "lag"), 0);
    end();
}
END_TEST

/* Each receipt covers everything, and nothing of it is its holder's. */
START_TEST(receipts_that_cover_much_are_judged_over_turns)
{
    struct client_simulated *client = begin(_i, "none");
    uint32_t judged = 0;
    struct given given = open_many(client);
    struct given forged = part_of(&given, 0, MANY);
    memset(forged.lease + 8, 0xff, 8);
    struct writer request = ask("nack", 2);
    writer_put_key_string(&request, "group", "g");
    writer_put_string(&request, "receipts");
    writer_put_array(&request, RECEIPTS + 1);
    for (int i = 0; i < RECEIPTS; i++) {
        put_receipt(&request, &forged);
    }
    put_receipt(&request, &given);
    struct answer answer = call_in_turns(client, &request, &judged);
    ck_assert_int_eq(failed_of(&answer, "failed"), ERROR_LEASE_LOST);
    ck_assert_uint_ge(judged, RECEIPTS * (MANY / SETTLE_STEPS_A_TURN));
    ck_assert_uint_eq(shown(client, "retrying"),
                      (MANY + ROUND) / 2); /* the last, as far as it was held */
    end();
}
END_TEST

/* An ack that comes behind one that has much to do is answered before it. */
START_TEST(who_has_little_to_settle_does_not_wait_for_who_has_much)
{
    struct client_simulated *client = begin(0, "none");
    struct client_simulated *other = world.client[1];
    uint32_t waited = 0;
    struct given given = open_many(client);
    struct given forged = part_of(&given, 0, MANY);
    memset(forged.lease + 8, 0xff, 8);
    struct writer request = ask("ack", 2);
    writer_put_key_string(&request, "group", "g");
    writer_put_string(&request, "receipts");
    writer_put_array(&request, RECEIPTS);
    for (int i = 0; i < RECEIPTS; i++) {
        put_receipt(&request, &forged);
    }
    (void)tell(client, &request);
    struct given last = part_of(&given, MANY - 1, 1);
    request = ask_settle("ack", "g", &last, 0);
    struct answer answer = call_in_turns(other, &request, &waited);
    ck_assert_int_eq(failed_of(&answer, "failed"), OK);
    ck_assert_uint_lt(waited, RECEIPTS);
    answer = take(client);
    ck_assert_int_eq(failed_of(&answer, "failed"), ERROR_LEASE_LOST);
    ck_assert_uint_ge(turns, RECEIPTS * (MANY / SETTLE_STEPS_A_TURN));
    end();
}
END_TEST

/* Of one queue, each a range; what comes behind the first is given back when that fails. */
START_TEST(what_is_behind_a_failure_is_given_back_over_turns)
{
    enum { HELD = 5 * SETTLE_STEPS_A_TURN };
    struct client_simulated *client = begin(_i, "queue");
    uint32_t given_back = 0;
    fill(client, HELD);
    struct writer request = ask_receive("g", 1);
    writer_put_key_uint(&request, "max_bytes", 4 << 20);
    struct answer answer = call(client, &request);
    ck_answered(answer);
    struct given given = only_range(&answer);
    ck_assert_uint_eq(given.span, HELD);
    /* They are one range, unless some are held longer. */
    for (uint64_t from = 0; from < HELD; from += 2048) {
        struct given some = part_of(&given, from, 2048);
        request = ask("extend", 3);
        writer_put_key_string(&request, "group", "g");
        writer_put_key_uint(&request, "lease_ms", LATER_MS);
        put_parts(&request, &some, 2);
        ck_assert_int_eq(settle(client, &request), OK);
    }
    struct given first = part_of(&given, 0, 1);
    request = ask_settle("nack", "g", &first, 0);
    answer = call_in_turns(client, &request, &given_back);
    ck_assert_int_eq(failed_of(&answer, "failed"), OK);
    ck_assert_uint_ge(given_back, HELD / SETTLE_STEPS_A_TURN);
    ck_assert_uint_eq(shown(client, "leased"), 0);
    ck_assert_uint_eq(shown(client, "retrying"), 1);
    end();
}
END_TEST

static Suite *settle_turns_suite(void)
{
    Suite *suite = suite_create("settle_turns");
    TCase *tests = tcase_create("settle_turns");
    tcase_add_loop_test(tests, a_cursor_over_many_ranges_moves_on_over_turns, 0, 2);
    tcase_add_loop_test(tests, receipts_that_cover_much_are_judged_over_turns, 0, 2);
    tcase_add_test(tests, who_has_little_to_settle_does_not_wait_for_who_has_much);
    tcase_add_loop_test(tests, what_is_behind_a_failure_is_given_back_over_turns, 0, 2);
    tcase_set_timeout(tests, 60);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(settle_turns_suite)
