/* SPDX-License-Identifier: Apache-2.0 */
/* test_explain.c - sentences from answers that a broker gives, and from those that it should not. */
#include "proto/writer.h"
#include "test/lib/check_main.h"
#include "tools/client/explain.h"

#include <string.h>

#define NOW_MS UINT64_C(1767225600000)

static uint8_t room[8192];
static struct writer writer;
static struct explained explained;

static bool has(const char *part)
{
    for (uint32_t i = 0; i < explained.count; i++) {
        if (strstr(explained.sentences[i], part) != NULL) {
            return true;
        }
    }
    return false;
}

/* A group's answer as far as its queues: `pairs` more follow them. */
static void begin_group(uint32_t queues, uint32_t pairs)
{
    writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 2 + pairs);
    writer_put_key_uint(&writer, "now", NOW_MS);
    writer_put_string(&writer, "queues");
    writer_put_array(&writer, queues);
}

/* The first five pairs of a queue's row. */
static void put_queue(const char *state, uint64_t lag, uint32_t more)
{
    writer_put_map(&writer, 4 + more);
    writer_put_key_string(&writer, "topic", "orders");
    writer_put_key_uint(&writer, "queue", 2);
    writer_put_key_uint(&writer, "lag", lag);
    writer_put_key_string(&writer, "state", state);
}

static bool explain(void)
{
    ck_assert(!writer.overflowed);
    return explain_group(writer_bytes(&writer), &explained);
}

START_TEST(a_bound_that_is_reached_is_named)
{
    begin_group(1, 0);
    put_queue("full", 70000, 2);
    writer_put_key_uint(&writer, "retrying", 65536);
    writer_put_string(&writer, "bound");
    writer_put_map(&writer, 3);
    writer_put_key_string(&writer, "what", "messages of a group that have failed in a queue");
    writer_put_key_uint(&writer, "limit", 65536);
    writer_put_key_uint(&writer, "usage", 65537);
    ck_assert(explain());
    ck_assert(!explained.is_well);
    ck_assert(
        has("Queue 2 of topic orders has reached a bound, messages of a group that have failed "
            "in a queue: 65537 of 65536"));
}
END_TEST

START_TEST(dead_letters_that_wait_are_named)
{
    begin_group(1, 0);
    put_queue("dead letters wait", 4, 1);
    writer_put_key_uint(&writer, "dead", 4);
    ck_assert(explain());
    ck_assert(!explained.is_well);
    ck_assert(has("4 messages are to become dead letters"));
}
END_TEST

START_TEST(what_retention_took_is_named)
{
    begin_group(1, 0);
    put_queue("idle", 0, 1);
    writer_put_key_uint(&writer, "skipped", 9);
    ck_assert(explain());
    ck_assert(!explained.is_well);
    ck_assert(has("9 messages went with the retention"));
}
END_TEST

START_TEST(the_earliest_of_all_queues_counts)
{
    begin_group(2, 0);
    put_queue("waiting", 1, 2);
    writer_put_key_uint(&writer, "retrying", 1);
    writer_put_key_uint(&writer, "next_retry", NOW_MS + 9000);
    put_queue("waiting", 1, 2);
    writer_put_key_uint(&writer, "retrying", 1);
    writer_put_key_uint(&writer, "next_retry", NOW_MS + 1500);
    ck_assert(explain());
    ck_assert(has("2 messages failed and will be tried again; the next attempt is due in 1.5 s"));
}
END_TEST

START_TEST(what_is_due_is_due_now)
{
    begin_group(1, 0);
    put_queue("leased", 1, 2);
    writer_put_key_uint(&writer, "leased", 1);
    writer_put_key_uint(&writer, "lease_until", NOW_MS - 300);
    ck_assert(explain());
    ck_assert(has("1 message with members; the first lease ends now."));
}
END_TEST

START_TEST(what_failed_and_is_due_may_be_given_out)
{
    begin_group(1, 0);
    put_queue("ready", 2, 2);
    writer_put_key_uint(&writer, "retrying", 2);
    writer_put_key_uint(&writer, "next_retry", NOW_MS + 9000);
    ck_assert(explain());
    ck_assert(has("At least 1 message may be given out, and no member asks"));
    ck_assert(has("2 messages failed and will be tried again; the next of those that wait for it "
                  "is due in 9.0 s"));
}
END_TEST

static void put_missing(uint32_t count)
{
    static const char *const names[] = {"one", "two", "three", "four", "five"};
    writer_put_string(&writer, "missing");
    writer_put_array(&writer, count);
    for (uint32_t i = 0; i < count; i++) {
        writer_put_string(&writer, names[i]);
    }
}

START_TEST(a_group_whose_topics_are_gone_is_not_called_done)
{
    begin_group(0, 1);
    put_missing(5);
    ck_assert(explain());
    ck_assert(!explained.is_well);
    ck_assert(has("Topic three is not there: it was deleted"));
    ck_assert(has("2 topics more are gone."));
    ck_assert(has("All its topics are gone: there is nothing that it could read."));
    ck_assert(!has("Nothing is undone"));
    begin_group(0, 0);
    ck_assert(explain());
    ck_assert(has("It has no queue here"));
    begin_group(1, 1);
    put_queue("idle", 0, 0);
    put_missing(1);
    ck_assert(explain());
    ck_assert(has("Nothing is undone in its 1 queue"));
    ck_assert(!has("All its topics"));
}
END_TEST

START_TEST(topics_that_nobody_works_on_are_named_and_counted)
{
    char name[] = "topic-0";
    begin_group(6, 0);
    for (int i = 0; i < 6; i++) {
        name[6] = (char)('0' + i);
        writer_put_map(&writer, 4);
        writer_put_key_string(&writer, "topic", name);
        writer_put_key_uint(&writer, "lag", 5);
        writer_put_key_string(&writer, "state", "ready");
        writer_put_key_uint(&writer, "leased", i == 0 ? 1 : 0);
    }
    ck_assert(explain());
    ck_assert(!explained.is_well);
    ck_assert(!has("Topic topic-0"));
    ck_assert(has("Topic topic-3: 5 messages may be given out, and no member has anything of it"));
    ck_assert(!has("Topic topic-4"));
    ck_assert(has("So it is with 2 topics more."));
    ck_assert(has("1 message is leased to members."));
    ck_assert(has("4 messages besides may be given out to who asks next."));
}
END_TEST

START_TEST(names_cannot_steer_a_terminal)
{
    begin_group(0, 1);
    writer_put_string(&writer, "missing");
    writer_put_array(&writer, 1);
    writer_put_string(&writer, "a\x1b[2J\n\xc2\x9b"
                               "1m\xc2\xa0");
    ck_assert(explain());
    ck_assert(has("Topic a?[2J??1m\xc2\xa0 is not there"));
}
END_TEST

START_TEST(no_more_is_said_than_there_is_room_for)
{
    begin_group(100, 1);
    for (int i = 0; i < 100; i++) {
        put_queue("blocked", 1, 0);
    }
    writer_put_string(&writer, "missing");
    writer_put_array(&writer, 100);
    for (int i = 0; i < 100; i++) {
        writer_put_string(&writer, "t");
    }
    ck_assert(explain());
    ck_assert_uint_le(explained.count, EXPLAINED_SENTENCES_MAX);
    for (int i = 0; i < 100; i++) {
        explained_say(&explained, "more");
    }
    ck_assert_uint_eq(explained.count, EXPLAINED_SENTENCES_MAX);
}
END_TEST

START_TEST(what_is_no_answer_is_not_explained)
{
    writer = writer_over(room, sizeof(room));
    writer_put_nil(&writer);
    ck_assert(!explain());
    ck_assert(!explain_message(writer_bytes(&writer), 0, &explained));
    writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_uint(&writer, "queues", 1);
    ck_assert(!explain());
    begin_group(3, 0);
    put_queue("idle", 0, 0); /* two are missing */
    ck_assert(!explain());
}
END_TEST

static void put_event(const char *group, const char *member, uint64_t attempt, const char *outcome)
{
    writer_put_array(&writer, 5);
    writer_put_string(&writer, group);
    if (member == NULL) {
        writer_put_nil(&writer);
    } else {
        writer_put_string(&writer, member);
    }
    writer_put_uint(&writer, attempt);
    writer_put_uint(&writer, NOW_MS - 2000);
    writer_put_string(&writer, outcome);
}

static void put_group(const char *name, const char *state)
{
    writer_put_map(&writer, 2);
    writer_put_key_string(&writer, "group", name);
    writer_put_key_string(&writer, "state", state);
}

START_TEST(a_group_is_told_by_its_own_last_event)
{
    writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 4);
    writer_put_key_uint(&writer, "now", NOW_MS);
    writer_put_key_uint(&writer, "since", NOW_MS - 60000);
    writer_put_string(&writer, "groups");
    writer_put_array(&writer, 3);
    put_group("a", "settled");
    put_group("b", "settled");
    put_group("c", "settled");
    writer_put_string(&writer, "deliveries");
    writer_put_array(&writer, 3);
    put_event("a", "one", 1, "leased");
    put_event("b", NULL, 17, "dead");
    put_event("a", "two", 2, "acked");
    ck_assert(explain_message(writer_bytes(&writer), 0, &explained));
    ck_assert(has("Group a is done with it: acked 2.0 s ago by member two."));
    ck_assert(has("Group b: it became a dead letter 2.0 s ago, after 17 attempts."));
    ck_assert(
        has("Group c goes on behind it, and no event says why: it began or was set behind it, "
            "or that was before the first event that is known, 60.0 s ago."));
    ck_assert(!explained.is_well);
}
END_TEST

/* The answer of message.trace about a message that was stored a second ago, as far as its groups. */
static void begin_message(uint32_t groups)
{
    writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 5);
    writer_put_key_uint(&writer, "now", NOW_MS);
    writer_put_key_uint(&writer, "since", NOW_MS - 60000);
    writer_put_key_uint(&writer, "stored_at", NOW_MS - 1000);
    writer_put_string(&writer, "groups");
    writer_put_array(&writer, groups);
}

static void put_events(uint32_t count)
{
    writer_put_string(&writer, "deliveries");
    writer_put_array(&writer, count);
}

START_TEST(what_became_of_a_dead_letter_is_said_without_a_member)
{
    static const char *const names[] = {"a", "b", "c", "d"};
    begin_message(4);
    for (size_t i = 0; i < 4; i++) {
        put_group(names[i], "settled");
    }
    put_events(4);
    put_event("a", "ternmq group dead redrive", 1, "acked");
    put_event("b", "ternmq group dead discard", 1, "acked");
    put_event("c", "ternmq group dead", 1, "acked");
    put_event("d", "ternmq group deadly", 1, "acked");
    ck_assert(explain_message(writer_bytes(&writer), 0, &explained));
    ck_assert(has("Group a is done with it: redriven 2.0 s ago by ternmq group dead."));
    ck_assert(has("Group b is done with it: discarded 2.0 s ago by ternmq group dead."));
    ck_assert(has("Group c is done with it: acked 2.0 s ago by ternmq group dead."));
    ck_assert(has("Group d is done with it: acked 2.0 s ago by member ternmq group deadly."));
}
END_TEST

START_TEST(what_cannot_be_is_not_said_of_a_settled_message)
{
    begin_message(2);
    put_group("plain", "settled");
    writer_put_map(&writer, 3);
    writer_put_key_string(&writer, "group", "picky");
    writer_put_key_string(&writer, "state", "settled");
    writer_put_key_bool(&writer, "filter", true);
    put_events(0);
    ck_assert(explain_message(writer_bytes(&writer), 0, &explained));
    ck_assert(has("Group plain goes on behind it, and no event says why: it began or was set "
                  "behind it."));
    ck_assert(has("Group picky goes on behind it, and no event says why: its filter did not want "
                  "it, or it began or was set behind it."));
    ck_assert(explained.is_well);
}
END_TEST

START_TEST(what_was_leased_last_is_not_called_done)
{
    begin_message(1);
    put_group("a", "settled");
    put_events(1);
    put_event("a", "one", 1, "leased");
    ck_assert(explain_message(writer_bytes(&writer), 0, &explained));
    ck_assert(has("Group a goes on behind it, without an ack: the last that is known of it is that "
                  "attempt 1 was leased, 2.0 s ago."));
}
END_TEST

START_TEST(a_lease_that_expired_is_told_in_every_state)
{
    static const char *const states[] = {"settled", "leased", "waiting", "dying", "ready"};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
        begin_message(1);
        writer_put_map(&writer, 4);
        writer_put_key_string(&writer, "group", "a");
        writer_put_key_string(&writer, "state", states[i]);
        writer_put_key_uint(&writer, "failed", 1);
        writer_put_key_uint(&writer, "until", NOW_MS + 9000);
        put_events(i == 0 ? 3 : 2);
        put_event("a", "slow", 1, "leased");
        put_event("a", "slow", 1, "expired");
        if (i == 0) {
            put_event("a", "quick", 2, "acked");
        }
        ck_assert(explain_message(writer_bytes(&writer), 0, &explained));
        ck_assert_msg(has("; the lease of attempt 1, with member slow, expired 2.0 s ago."), "%s",
                      states[i]);
    }
}
END_TEST

START_TEST(of_many_leases_that_expired_the_last_is_told)
{
    begin_message(1);
    put_group("a", "ready");
    put_events(2);
    put_event("a", "one", 1, "expired");
    put_event("a", "two", 2, "expired");
    ck_assert(explain_message(writer_bytes(&writer), 0, &explained));
    ck_assert_uint_eq(explained.count, 2);
    begin_message(1);
    writer_put_map(&writer, 3);
    writer_put_key_string(&writer, "group", "a");
    writer_put_key_string(&writer, "state", "ready");
    writer_put_key_uint(&writer, "failed", 2);
    put_events(2);
    put_event("a", "one", 1, "expired");
    put_event("a", "two", 2, "expired");
    ck_assert(explain_message(writer_bytes(&writer), 0, &explained));
    ck_assert(has("it can be given out again now, attempt 3; leases expired, the last, of attempt "
                  "2 with member two, 2.0 s ago."));
}
END_TEST

START_TEST(what_was_set_back_was_given_out_before)
{
    begin_message(1);
    put_group("a", "ahead");
    put_events(1);
    put_event("a", "one", 1, "acked");
    ck_assert(explain_message(writer_bytes(&writer), 0, &explained));
    ck_assert(has("Group a was set back, and has not come to it again: it was acked 2.0 s ago."));
}
END_TEST

START_TEST(groups_that_are_not_named_are_counted)
{
    for (int has_next = 0; has_next <= 1; has_next++) {
        writer = writer_over(room, sizeof(room));
        writer_put_map(&writer, has_next ? 2 : 1);
        writer_put_string(&writer, "groups");
        writer_put_array(&writer, 21);
        for (int i = 0; i < 21; i++) {
            put_group("g", "ready");
        }
        if (has_next) {
            writer_put_key_string(&writer, "next", "g");
        }
        ck_assert(explain_message(writer_bytes(&writer), 0, &explained));
        ck_assert(has(has_next ? "There are at least 5 groups more that read its topic."
                               : "There are 5 groups more that read its topic."));
    }
}
END_TEST

START_TEST(what_was_removed_says_so)
{
    writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 2);
    writer_put_key_bool(&writer, "removed", true);
    writer_put_string(&writer, "groups");
    writer_put_array(&writer, 0);
    ck_assert(explain_message(writer_bytes(&writer), 0, &explained));
    ck_assert(has("Retention has removed it."));
    ck_assert(has("No group reads its topic on this broker, or only broadcast groups"));
}
END_TEST

static Suite *explain_suite(void)
{
    Suite *suite = suite_create("explain");
    TCase *tests = tcase_create("explain");
    tcase_add_test(tests, a_bound_that_is_reached_is_named);
    tcase_add_test(tests, dead_letters_that_wait_are_named);
    tcase_add_test(tests, what_retention_took_is_named);
    tcase_add_test(tests, the_earliest_of_all_queues_counts);
    tcase_add_test(tests, what_is_due_is_due_now);
    tcase_add_test(tests, what_failed_and_is_due_may_be_given_out);
    tcase_add_test(tests, a_group_whose_topics_are_gone_is_not_called_done);
    tcase_add_test(tests, topics_that_nobody_works_on_are_named_and_counted);
    tcase_add_test(tests, names_cannot_steer_a_terminal);
    tcase_add_test(tests, no_more_is_said_than_there_is_room_for);
    tcase_add_test(tests, what_is_no_answer_is_not_explained);
    tcase_add_test(tests, a_group_is_told_by_its_own_last_event);
    tcase_add_test(tests, what_became_of_a_dead_letter_is_said_without_a_member);
    tcase_add_test(tests, what_cannot_be_is_not_said_of_a_settled_message);
    tcase_add_test(tests, what_was_leased_last_is_not_called_done);
    tcase_add_test(tests, a_lease_that_expired_is_told_in_every_state);
    tcase_add_test(tests, of_many_leases_that_expired_the_last_is_told);
    tcase_add_test(tests, what_was_set_back_was_given_out_before);
    tcase_add_test(tests, groups_that_are_not_named_are_counted);
    tcase_add_test(tests, what_was_removed_says_so);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(explain_suite)
