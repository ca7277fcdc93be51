/* SPDX-License-Identifier: Apache-2.0 */
/* test_receive.c - what a receive gives, how it waits, and what becomes of leases when sessions end. */
#include "test/lib/check_main.h"
#include "test/unit/broker/group_world.h"

enum { LONG_MS = 50000 };

static struct world world;

/* A topic `t` of `queues` queues, and a group `g` of it. */
static struct client_simulated *begin_with(int index, uint32_t queues)
{
    struct client_simulated *client = world_begin(&world, index, queues);
    make_group(client, "g");
    return client;
}

static struct client_simulated *begin(int index)
{
    return begin_with(index, 1);
}

static void end(void)
{
    world_end(&world);
}

static struct client_simulated *other(int index)
{
    return world.client[1 - index];
}

/* Another client; it must be closed. */
static struct client_simulated *third(void)
{
    return client_simulated_open(world.simulation, "third", &world.broker.address);
}

/* ------------------------------------------------------------------- given */

/* In one read come a poll, a nack that makes a message ready, and a receive that takes it: on two cores the shard
 * has nothing for the poll, something a moment later, and nothing again, before the home hears of any of it. */
START_TEST(who_waits_is_told_after_others_took_what_came_between)
{
    enum { ROUNDS = 100, PIPELINE_BYTES = 4096 };
    static uint8_t pipeline[PIPELINE_BYTES];
    struct client_simulated *client = begin(1);
    make_group(client, "h"); /* of two groups each has another core as its home */
    make_group(client, "i");
    const char *name = _i == 0 ? "h" : "i";
    for (int round = 0; round < ROUNDS; round++) {
        fill(client, 1);
        struct given given = receive_one(client, name);
        size_t bytes = 0;
        struct writer request = ask_receive(name, 2);
        writer_put_key_uint(&request, "wait_ms", 20000);
        writer_put_key_uint(&request, "max", 1);
        uint32_t poll = request_msgid;
        memcpy(pipeline, request.start, writer_length(&request));
        bytes += writer_length(&request);
        request = ask_settle("nack", name, &given, 1);
        writer_put_key_uint(&request, "delay_ms", 0);
        memcpy(pipeline + bytes, request.start, writer_length(&request));
        bytes += writer_length(&request);
        request = ask_receive(name, 1);
        writer_put_key_uint(&request, "max", 1);
        memcpy(pipeline + bytes, request.start, writer_length(&request));
        bytes += writer_length(&request);
        ck_assert_uint_le(bytes, sizeof(pipeline));
        client_simulated_send(client, bytes_make(pipeline, bytes));
        bool is_waiting = true;
        struct answer answer;
        while (client_simulated_take(client, 300, &answer)) {
            struct given ranges[2];
            bool is_nack = answer.msgid != poll && answer.msgid != request_msgid;
            is_waiting = is_waiting && answer.msgid != poll;
            if (!is_nack && ranges_of(&answer, ranges, 2) == 1) {
                given = ranges[0];
            }
        }
        ck_assert_int_eq(ack(client, name, &given), OK);
        if (is_waiting) {
            fill(other(1), 1);
            ck_assert_msg(client_simulated_take(client, SOON_MS, &answer), "round %d", round);
            given = only_range(&answer);
            ck_assert_int_eq(ack(client, name, &given), OK);
        }
    }
    end();
}
END_TEST

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
    struct client_simulated *client = begin_with(_i, 3);
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

/* ------------------------------------------------------------------ waiting */

START_TEST(a_message_wakes_one_call_in_the_order_in_which_they_came)
{
    enum { CALLS = 5 };
    struct client_simulated *client = begin(_i);
    uint32_t msgids[CALLS];
    for (int i = 0; i < CALLS; i++) {
        msgids[i] = poll_group(client, "g", NULL, LONG_MS);
        run_ms(&world, 50);
    }
    for (int i = 0; i < CALLS; i++) {
        fill(other(_i), 1);
        struct answer answer = take(client);
        ck_assert_uint_eq(answer.msgid, msgids[i]);
        ck_assert_uint_eq(only_range(&answer).first, (uint64_t)i);
        run_ms(&world, 100);
        ck_assert_uint_eq(client_simulated_answers(client), 0);
        ck_assert_uint_eq(core_counter(other(_i), "parked"), (uint64_t)(CALLS - 1 - i));
    }
    end();
}
END_TEST

START_TEST(many_messages_wake_as_many_calls_as_there_are_for_them)
{
    enum { CALLS = 4 };
    struct client_simulated *client = begin(_i);
    for (int i = 0; i < CALLS; i++) {
        struct writer request = ask_receive("g", 2);
        writer_put_key_uint(&request, "max", 1);
        writer_put_key_uint(&request, "wait_ms", LONG_MS);
        (void)tell(client, &request);
    }
    run_ms(&world, 50);
    fill(other(_i), 3);
    for (uint64_t i = 0; i < 3; i++) {
        struct answer answer = take(client);
        ck_assert_uint_eq(only_range(&answer).first, i);
    }
    run_ms(&world, 100);
    ck_assert_uint_eq(client_simulated_answers(client), 0);
    fill(other(_i), 1);
    struct answer answer = take(client);
    ck_assert_uint_eq(only_range(&answer).first, 3);
    end();
}
END_TEST

START_TEST(a_call_that_nothing_came_for_is_answered_with_nothing)
{
    struct client_simulated *client = begin(_i);
    uint32_t msgid = poll_group(client, "g", NULL, 500);
    run_ms(&world, 400);
    ck_assert_uint_eq(client_simulated_answers(client), 0);
    struct answer answer = take(client);
    ck_answered(answer);
    ck_assert_uint_eq(answer.msgid, msgid);
    ck_assert(is_nothing(&answer));
    ck_assert_uint_eq(core_counter(client, "parked"), 0);
    end();
}
END_TEST

START_TEST(a_call_waits_no_longer_than_its_deadline)
{
    struct client_simulated *client = begin(_i);
    struct writer request = ask_receive("g", 2);
    writer_put_key_uint(&request, "wait_ms", LONG_MS);
    writer_put_key_uint(&request, "deadline_ms", 300);
    (void)tell(client, &request);
    run_ms(&world, 200);
    ck_assert_uint_eq(client_simulated_answers(client), 0);
    run_ms(&world, 200);
    ck_assert_uint_eq(client_simulated_answers(client), 1);
    end();
}
END_TEST

static void cancel(struct client_simulated *client, uint32_t msgid)
{
    struct writer request = writer_over(request_room, sizeof(request_room));
    one_way_begin(&request, "cancel", 1);
    writer_put_key_uint(&request, "msgid", msgid);
    client_simulated_send(client, writer_bytes(&request));
}

START_TEST(a_cancelled_call_is_answered_at_once_and_takes_nothing_with_it)
{
    struct client_simulated *client = begin(_i);
    uint32_t first = poll_group(client, "g", NULL, LONG_MS);
    uint32_t second = poll_group(client, "g", NULL, LONG_MS);
    run_ms(&world, 50);
    cancel(client, first);
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, first);
    ck_assert(is_nothing(&answer));
    fill(other(_i), 1);
    answer = take(client);
    ck_assert_uint_eq(answer.msgid, second);
    ck_assert_uint_eq(only_range(&answer).attempt, 1);
    cancel(client, second); /* too late: nobody minds */
    run_ms(&world, 50);
    end();
}
END_TEST

START_TEST(too_many_calls_that_wait_are_refused)
{
    struct client_simulated *client = begin(_i);
    for (uint32_t i = 0; i < PARKED_MAX; i++) {
        (void)poll_group(client, "g", NULL, LONG_MS);
    }
    run_ms(&world, 50);
    (void)poll_group(client, "g", NULL, LONG_MS);
    struct answer answer = take(client);
    ck_refused(answer, "TOO_MANY_WAITING");
    /* One that does not wait is none of them. */
    ck_nothing(client, "g");
    end();
}
END_TEST

START_TEST(the_end_of_the_broker_answers_who_waits)
{
    struct client_simulated *client = begin(_i);
    for (int i = 0; i < 3; i++) {
        (void)poll_group(client, "g", NULL, LONG_MS);
        (void)poll_group(other(_i), "g", NULL, LONG_MS);
    }
    run_ms(&world, 50);
    broker_simulated_stop(&world.broker);
    for (int i = 0; i < 3; i++) {
        struct answer answer = take(client);
        ck_answered(answer);
        ck_assert(is_nothing(&answer));
    }
    client_simulated_close(world.client[0]);
    client_simulated_close(world.client[1]);
    world_close(&world);
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
    ck_assert_int_eq(ack(client, "g", &before), ERROR_LEASE_LOST); /* its offsets are others now */
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

/* ------------------------------------------------------------------ sessions */

static void hello(struct client_simulated *client, bool release_on_close)
{
    struct writer request = ask("hello", 1);
    writer_put_string(&request, "release_on_close");
    writer_put_bool(&request, release_on_close);
    struct answer answer = call(client, &request);
    ck_answered(answer);
}

START_TEST(what_a_session_has_not_settled_comes_back_when_it_closes_if_it_asked_for_that)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *closing = third();
    fill(client, 5);
    hello(closing, true);
    struct answer answer = receive_most(closing, "g", 4);
    struct given given = only_range(&answer);
    struct given settled = part_of(&given, 1, 2);
    ck_assert_int_eq(ack(closing, "g", &settled), OK);
    client_simulated_close(closing);
    run_ms(&world, 50);
    answer = receive(client, "g");
    struct given back[3];
    ck_assert_uint_ge(ranges_of(&answer, back, 3), 2);
    ck_assert_uint_eq(count_of(&answer), 3); /* 0, 3 and 4 */
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(back[i].attempt, 1);
        ck_assert_str_eq(back[i].reason, "");
    }
    end();
}
END_TEST

START_TEST(what_a_session_has_not_settled_stays_until_its_lease_ends)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *closing = third();
    fill(client, 2);
    (void)receive_one(closing, "g");
    client_simulated_close(closing);
    run_ms(&world, 50);
    struct answer answer = receive(client, "g");
    ck_assert_uint_eq(only_range(&answer).first, 1);
    run_ms(&world, GROUP_LEASE_MS_DEFAULT);
    ck_assert_uint_eq(receive_one(client, "g").attempt, 2);
    end();
}
END_TEST

static void ask_large(struct client_simulated *client, uint64_t wait_ms)
{
    struct writer request = ask_receive("g", 2);
    writer_put_key_uint(&request, "max_bytes", 2 << 20);
    writer_put_key_uint(&request, "wait_ms", wait_ms);
    (void)tell(client, &request);
}

/* Everything that the group has now: how many messages; each must come for the first time. */
static uint32_t take_everything(struct client_simulated *client)
{
    uint32_t count = 0;
    for (;;) {
        struct answer answer = receive(client, "g");
        struct given given[8];
        uint32_t ranges = ranges_of(&answer, given, 8);
        if (ranges == 0) {
            return count;
        }
        for (uint32_t i = 0; i < ranges; i++) {
            ck_assert_uint_eq(given[i].attempt, 1);
        }
        count += count_of(&answer);
    }
}

START_TEST(an_answer_that_was_not_sent_when_its_session_closed_is_given_to_others)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *closing = third();
    fill_large(client);
    client_simulated_pause(closing);
    ask_large(closing, 0);
    run_ms(&world, 100);
    ck_assert_uint_lt(take_everything(client), LARGE);
    client_simulated_close(closing);
    run_ms(&world, 100);
    ck_assert_uint_gt(take_everything(client), LARGE_BYTES / LARGE_BYTES);
    /* All have been given to the one that is left. */
    run_ms(&world, 100);
    ck_nothing(client, "g");
    end();
}
END_TEST

START_TEST(a_session_that_takes_nothing_is_given_nothing_until_it_does)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *slow = other(_i);
    fill_large(client);
    client_simulated_pause(slow);
    ask_large(slow, 0);
    run_ms(&world, 100);
    ask_large(slow, LONG_MS); /* its session is full: it must not keep messages from others */
    run_ms(&world, 100);
    uint32_t count = take_everything(client);
    ck_assert_uint_gt(count, LARGE / 4);
    ck_assert_uint_lt(count, LARGE);
    client_simulated_resume(slow);
    struct answer answer = take(slow);
    ck_assert_uint_eq(count_of(&answer), LARGE - count);
    run_ms(&world, 100);
    ck_assert_uint_eq(client_simulated_answers(slow), 0);
    fill(client, 1);
    answer = take(slow);
    ck_assert_uint_eq(count_of(&answer), 1);
    end();
}
END_TEST

START_TEST(a_call_whose_session_closes_while_it_waits_takes_nothing)
{
    struct client_simulated *client = begin(_i);
    struct client_simulated *closing = third();
    (void)poll_group(closing, "g", NULL, LONG_MS);
    run_ms(&world, 50);
    uint32_t msgid = poll_group(client, "g", NULL, LONG_MS);
    run_ms(&world, 50);
    client_simulated_close(closing);
    run_ms(&world, 50);
    fill(other(_i), 1);
    struct answer answer = take(client);
    ck_assert_uint_eq(answer.msgid, msgid);
    ck_assert_uint_eq(only_range(&answer).attempt, 1);
    end();
}
END_TEST

static Suite *receive_suite(void)
{
    Suite *suite = suite_create("receive");
    TCase *tests = tcase_create("receive");
    tcase_add_loop_test(tests, who_waits_is_told_after_others_took_what_came_between, 0, 2);
    tcase_add_loop_test(tests, what_is_there_is_given_once_with_all_that_is_known_of_it, 0, 2);
    tcase_add_loop_test(tests, an_answer_is_as_large_as_it_may_be, 0, 2);
    tcase_add_loop_test(tests, queues_are_looked_at_in_turn, 0, 2);
    tcase_add_loop_test(tests, a_lease_that_ends_is_a_failed_attempt, 0, 2);
    tcase_add_loop_test(tests, a_lease_is_as_long_as_was_asked, 0, 2);
    tcase_add_loop_test(tests, groups_do_not_know_of_each_other, 0, 2);
    tcase_add_loop_test(tests, a_group_begins_where_it_was_told_and_new_queues_at_their_first, 0,
                        2);
    tcase_add_loop_test(tests, a_group_begins_at_a_moment, 0, 2);
    tcase_add_loop_test(tests, a_message_wakes_one_call_in_the_order_in_which_they_came, 0, 2);
    tcase_add_loop_test(tests, many_messages_wake_as_many_calls_as_there_are_for_them, 0, 2);
    tcase_add_loop_test(tests, a_call_that_nothing_came_for_is_answered_with_nothing, 0, 2);
    tcase_add_loop_test(tests, a_call_waits_no_longer_than_its_deadline, 0, 2);
    tcase_add_loop_test(tests, a_cancelled_call_is_answered_at_once_and_takes_nothing_with_it, 0,
                        2);
    tcase_add_loop_test(tests, too_many_calls_that_wait_are_refused, 0, 2);
    tcase_add_loop_test(tests, the_end_of_the_broker_answers_who_waits, 0, 2);
    tcase_add_loop_test(tests, a_call_for_one_topic_leaves_the_other_to_others, 0, 2);
    tcase_add_loop_test(tests, a_topic_that_nobody_waits_for_is_there_for_who_comes, 0, 2);
    tcase_add_loop_test(tests, calls_for_different_topics_wait_beside_each_other, 0, 2);
    tcase_add_loop_test(tests, a_topic_that_is_none_of_the_group_s_is_refused, 0, 2);
    tcase_add_loop_test(tests, a_topic_that_comes_back_to_the_group_is_read_on, 0, 2);
    tcase_add_loop_test(tests, new_queues_of_a_topic_wake_who_waits, 0, 2);
    tcase_add_loop_test(tests, a_topic_that_is_made_again_is_read_from_its_first, 0, 2);
    tcase_add_loop_test(tests, a_group_that_is_deleted_tells_who_waits_for_it, 0, 2);
    tcase_add_loop_test(
        tests, what_a_session_has_not_settled_comes_back_when_it_closes_if_it_asked_for_that, 0, 2);
    tcase_add_loop_test(tests, what_a_session_has_not_settled_stays_until_its_lease_ends, 0, 2);
    tcase_add_loop_test(
        tests, an_answer_that_was_not_sent_when_its_session_closed_is_given_to_others, 0, 2);
    tcase_add_loop_test(tests, a_session_that_takes_nothing_is_given_nothing_until_it_does, 0, 2);
    tcase_add_loop_test(tests, a_call_whose_session_closes_while_it_waits_takes_nothing, 0, 2);
    tcase_set_timeout(tests, 120);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(receive_suite)
