/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_member_end.c - how members end, and what ends around them: connections, leases, brokers, one of two; against
 * fake servers in a simulated world.
 */
#include "test/lib/check_main.h"
#include "test/unit/client/member_world.h"
#include "tools/client/client.h"
#include "tools/client/member_source.h"

static bool is_home(void *context)
{
    return member_is_home(context);
}

static bool has_code(void *context)
{
    work_on();
    return worker.code == *(const int *)context;
}

static void run_until_code(int code)
{
    world_run(&world, has_code, &code);
}

/* -------------------------------------------------------------------------- ends */

START_TEST(who_leaves_gives_back_what_was_not_given_uncounted)
{
    fill(&world.server, 1, 20);
    struct ternmq_member *member = open_member((struct ternmq_member_options){.credit = 10});
    world_pass(&world, 100);
    ck_assert_uint_eq(group.leased, 10);
    member_leave(member);
    world_run(&world, is_home, member);
    ck_assert_uint_eq(group.released, 10);
    ck_assert_uint_eq(group.leased, 0);
    ck_assert_uint_eq(fake_group_at(&group, 0, 0)->attempt, 0);
    world_pass(&world, 1000);
    ck_assert_uint_eq(group.leased, 0); /* and asks for nothing more */
}
END_TEST

START_TEST(who_leaves_ends_its_poll_and_gives_back_what_that_still_brings)
{
    struct ternmq_member *member = open_member((struct ternmq_member_options){.credit = 10});
    world_pass(&world, 100);
    ck_assert_uint_eq(group.parked, 1);
    fill(&world.server, 1, 1); /* the answer is on its way */
    member_leave(member);
    world_run(&world, is_home, member);
    ck_assert_uint_eq(group.parked, 0);
    ck_assert_uint_eq(group.released, 1);
    ck_assert_uint_eq(group.leased, 0);
}
END_TEST

START_TEST(who_leaves_still_settles_what_was_given)
{
    fill(&world.server, 1, 10);
    worker.keeps = true;
    struct ternmq_member *member = open_member((struct ternmq_member_options){.credit = 10});
    run_until_received(4);
    member_leave(member);
    world_pass(&world, 100);
    ck_assert(!member_is_home(member));
    settle_kept(TERNMQ_ACK);
    world_run(&world, is_home, member);
    ck_assert_uint_eq(group.acked, 10);
}
END_TEST

START_TEST(a_closed_client_takes_its_members_along)
{
    fill(&world.server, 1, 10);
    worker.keeps = true;
    open_member((struct ternmq_member_options){.credit = 5});
    run_until_received(5);
    /* The teardown closes the client; leaks and use after free are the sanitizer's to find. */
    ck_assert_int_eq(ternmq_settle(worker.member, worker.receipts, 2, NULL, NULL), TERNMQ_OK);
}
END_TEST

/* -------------------------------------------------------------------------- failures */

START_TEST(lost_connections_cost_no_message)
{
    fill(&world.server, 4, 100);
    group.lease_ms = 2000;
    open_member((struct ternmq_member_options){.credit = 20});
    for (uint32_t i = 1; i <= 20; i++) {
        run_until_acked(i * 15);
        fake_server_drop_all(&world.server);
    }
    run_until_acked(400);
    world_pass(&world, 5000);
    work_on();
    check_all_are_done_once(&group, 4, 100);
    ck_assert_uint_gt(world.server.accepted, 10);
}
END_TEST

START_TEST(broken_connections_at_any_moment_cost_no_message)
{
    world_init_options(&world, (uint64_t)_i + 100, 10000,
                       (struct ternmq_options){.nameservers = FAKE_ADDRESS});
    group_begin();
    group.lease_ms = 2000;
    fill(&world.server, 3, 200);
    open_member((struct ternmq_member_options){.credit = 10});
    run_until_acked(600);
    check_all_are_done_once(&group, 3, 200);
    teardown();
}
END_TEST

START_TEST(a_group_that_is_not_there_is_told_and_waited_for)
{
    group.is_there = false;
    fill(&world.server, 1, 1);
    open_member((struct ternmq_member_options){.topic = "t"});
    run_until_code(TERNMQ_GROUP_NOT_FOUND);
    worker.code = TERNMQ_OK;
    group.is_there = true;
    run_until_acked(1);
    ck_assert_int_eq(worker.code, TERNMQ_OK);
}
END_TEST

START_TEST(what_a_broker_refuses_for_good_is_the_last_word)
{
    world.server.refuse_method = "receive";
    world.server.refuse_times = 1;
    world.server.refuse_with = ERROR_FORBIDDEN;
    open_member((struct ternmq_member_options){.topic = "t"});
    run_until_code(TERNMQ_FORBIDDEN);
    worker.code = TERNMQ_OK;
    world_pass(&world, 10000);
    work_on();
    ck_assert_int_eq(worker.code, TERNMQ_FORBIDDEN);
}
END_TEST

START_TEST(an_overloaded_broker_is_asked_again)
{
    world.server.refuse_method = "receive";
    world.server.refuse_times = 3;
    world.server.refuse_with = ERROR_TOO_MANY_WAITING;
    world.server.refuse_detail = 200;
    fill(&world.server, 1, 1);
    open_member((struct ternmq_member_options){.topic = "t"});
    run_until_acked(1);
    ck_assert_uint_ge(world_now_ms(&world), 3 * 150);
    ck_assert_int_eq(worker.code, TERNMQ_OK);
}
END_TEST

START_TEST(a_message_changed_on_its_way_is_told_and_comes_again)
{
    fill(&world.server, 1, 3);
    world.server.corrupt_next = true;
    open_member((struct ternmq_member_options){.credit = 3});
    run_until_code(TERNMQ_CORRUPT);
    ck_assert_int_eq(worker.why.offset, 0);
    run_until_acked(3);
    ck_assert_uint_eq(group.retried, 1);
    ck_assert_str_eq(worker.reason, "its checksum failed on arrival");
}
END_TEST

START_TEST(a_topic_that_is_not_there_is_told)
{
    world.server.refuse_method = "route.get";
    world.server.refuse_times = 1000;
    world.server.refuse_with = ERROR_TOPIC_NOT_FOUND;
    open_member((struct ternmq_member_options){.topic = "t"});
    run_until_code(TERNMQ_TOPIC_NOT_FOUND);
}
END_TEST

START_TEST(wrong_options_are_refused)
{
    const struct ternmq_member_options wrong[] = {
        {.group = NULL},
        {.group = ""},
        {.group = "g", .credit = 65536},
        {.group = "g", .lease_ms = 99},
        {.group = "g", .receive_bytes = 5 << 20},
        {.group = "g", .settle_count = 1001},
        {.group = "g", .name = ""},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_ptr_null(ternmq_member_open(world.client, &wrong[i], &error));
        ck_assert_int_eq(error.code, TERNMQ_USAGE);
    }
}
END_TEST

/* -------------------------------------------------------------------------- two brokers */

static bool server_is_stopped(void *context)
{
    return fake_server_is_stopped(context);
}

#define OTHER_ADDRESS "10.0.0.2:10911"

static struct fake_server other;
static struct fake_group other_group;
static struct reactor *other_reactor;

static void setup_two(void)
{
    setup();
    memset(&other, 0, sizeof(other));
    memset(&other_group, 0, sizeof(other_group));
    other_reactor = reactor_create_simulated(world.simulation, "other");
    other.name = "other";
    fake_server_start(&other, other_reactor, OTHER_ADDRESS);
    fake_group_init(&other_group, &other);
    other.group = &other_group;
    world.server.beside = &other;
}

static void teardown_two(void)
{
    client_detach(world.client, NULL, NULL);
    world.client = NULL;
    fake_server_stop(&other);
    fake_server_drop_all(&world.server);
    world_run(&world, server_is_stopped, &other);
    world_pass(&world, 1000);
    group_end(&other_group, &other);
    group_end(&group, &world.server);
    fake_server_free(&other);
    reactor_destroy(other_reactor);
    world_deinit(&world);
}

static uint32_t most_leased;

static bool both_have_acked(void *context)
{
    uint32_t leased = group.leased + other_group.leased;
    most_leased = leased > most_leased ? leased : most_leased;
    work_on();
    leased = group.leased + other_group.leased;
    most_leased = leased > most_leased ? leased : most_leased;
    return group.acked + other_group.acked >= *(const uint32_t *)context;
}

START_TEST(one_credit_is_over_all_brokers)
{
    uint32_t credit = (uint32_t)_i + 1;
    uint32_t all = 1200;
    most_leased = 0;
    fill(&world.server, 4, 200);
    fill(&other, 4, 100);
    open_member((struct ternmq_member_options){.credit = credit, .topic = "t"});
    world_run(&world, both_have_acked, &all);
    ck_assert_uint_le(most_leased, credit);
    check_all_are_done_once(&group, 4, 200);
    check_all_are_done_once(&other_group, 4, 100);
}
END_TEST

static void on_ready(void *context)
{
    (void)context;
    work_on();
}

static struct member_source *source_at(const char *broker)
{
    LIST_FOREACH (link, &worker.member->sources) {
        struct member_source *source = CONTAINER_OF(link, struct member_source, link);
        if (strcmp(source->broker, broker) == 0) {
            return source;
        }
    }
    return NULL;
}

/* Acks ride on a poll at one broker, and all the credit is there. */
static bool rides_while_the_other_is_idle(void *context)
{
    const struct member_source *one = source_at("fake");
    const struct member_source *idle = source_at("other");
    (void)both_have_acked(context);
    return one != NULL && one->riding != NULL && idle != NULL && idle->state == SOURCE_IDLE;
}

static bool have_acked_within_the_credit(void *context)
{
    const struct ternmq_member *member = worker.member;
    ck_assert_uint_le(member->held_count - member->riding + member->asked, member->credit);
    return both_have_acked(context);
}

START_TEST(the_credit_of_a_failed_poll_is_not_taken_before_what_rode_on_it)
{
    uint32_t all = 2000;
    most_leased = 0;
    fill(&world.server, 4, 400);
    fill(&other, 4, 100);
    world.server.refuse_method = other.refuse_method = "receive";
    world.server.refuse_with = ERROR_GROUP_NOT_FOUND; /* which is told at once */
    other.refuse_with = ERROR_TOO_MANY_WAITING;
    other.refuse_times = 1;
    open_member((struct ternmq_member_options){.credit = 2, .topic = "t", .ready = on_ready});
    world_run(&world, rides_while_the_other_is_idle, &all);
    world.server.refuse_times = 1;
    world_run(&world, have_acked_within_the_credit, &all);
    ck_assert_uint_eq(world.server.refused, 1);
}
END_TEST

START_TEST(with_little_credit_no_broker_waits_until_another_has_nothing_more)
{
    static const uint32_t credits[] = {1, 2, 3, 10, 100};
    uint32_t credit = credits[_i];
    uint32_t some = 1000;
    fill(&world.server, 4, 500);
    fill(&other, 4, 500);
    open_member((struct ternmq_member_options){.credit = credit, .topic = "t"});
    world_run(&world, both_have_acked, &some);
    ck_assert_uint_gt(group.acked, 250);
    ck_assert_uint_gt(other_group.acked, 250);
    some = 4000; /* in the end one has nothing more: that costs little */
    uint64_t before_ms = world_now_ms(&world);
    world_run(&world, both_have_acked, &some);
    ck_assert_uint_lt(world_now_ms(&world) - before_ms, 6000);
}
END_TEST

START_TEST(with_a_credit_of_one_idle_brokers_take_turns)
{
    uint32_t all = 1;
    open_member((struct ternmq_member_options){.credit = 1, .topic = "t"});
    world_pass(&world, 10000);
    ck_assert_uint_ge(group.receives, 8);
    ck_assert_uint_ge(other_group.receives, 8);
    ck_assert_uint_le(group.receives, 12);
    ck_assert_uint_le(group.parked + other_group.parked, 1);
    uint64_t before_ms = world_now_ms(&world);
    fill(&other, 1, 1);
    world_run(&world, both_have_acked, &all);
    ck_assert_uint_lt(world_now_ms(&world) - before_ms, 600);
}
END_TEST

START_TEST(a_broker_that_is_away_stops_no_other)
{
    uint32_t all = 400;
    fill(&world.server, 4, 100);
    fill(&other, 4, 100);
    fake_server_stop(&other);
    open_member((struct ternmq_member_options){.credit = 10, .topic = "t"});
    world_run(&world, both_have_acked, &all);
    ck_assert_uint_eq(group.acked, 400);
    ck_assert_uint_lt(world_now_ms(&world), 5000);
    world_run(&world, server_is_stopped, &other);
    fake_server_start(&other, other_reactor, OTHER_ADDRESS);
    all = 800;
    world_run(&world, both_have_acked, &all);
    ck_assert_int_eq(worker.code, TERNMQ_OK);
}
END_TEST

START_TEST(a_broker_without_the_group_is_no_error_where_another_has_it)
{
    uint32_t all = 100;
    other_group.is_there = false;
    fill(&world.server, 1, 100);
    open_member((struct ternmq_member_options){.credit = 10});
    world_run(&world, both_have_acked, &all);
    world_pass(&world, 5000);
    work_on();
    ck_assert_int_eq(worker.code, TERNMQ_OK);
    other_group.is_there = true;
    fill(&other, 1, 10);
    all = 110;
    world_run(&world, both_have_acked, &all);
}
END_TEST

static void add_ends_and_failures(Suite *suite)
{
    TCase *tests = tcase_create("ends and failures");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, who_leaves_gives_back_what_was_not_given_uncounted);
    tcase_add_test(tests, who_leaves_ends_its_poll_and_gives_back_what_that_still_brings);
    tcase_add_test(tests, who_leaves_still_settles_what_was_given);
    tcase_add_test(tests, a_closed_client_takes_its_members_along);
    tcase_add_test(tests, lost_connections_cost_no_message);
    tcase_add_test(tests, a_group_that_is_not_there_is_told_and_waited_for);
    tcase_add_test(tests, what_a_broker_refuses_for_good_is_the_last_word);
    tcase_add_test(tests, an_overloaded_broker_is_asked_again);
    tcase_add_test(tests, a_message_changed_on_its_way_is_told_and_comes_again);
    tcase_add_test(tests, a_topic_that_is_not_there_is_told);
    tcase_add_test(tests, wrong_options_are_refused);
    suite_add_tcase(suite, tests);
    TCase *broken = tcase_create("broken");
    tcase_add_loop_test(broken, broken_connections_at_any_moment_cost_no_message, 0, 30);
    suite_add_tcase(suite, broken);
}

static Suite *member_end_suite(void)
{
    Suite *suite = suite_create("client member end");
    add_ends_and_failures(suite);
    TCase *two = tcase_create("two brokers");
    tcase_add_checked_fixture(two, setup_two, teardown_two);
    tcase_add_loop_test(two, one_credit_is_over_all_brokers, 0, 10);
    tcase_add_test(two, the_credit_of_a_failed_poll_is_not_taken_before_what_rode_on_it);
    tcase_add_loop_test(two, with_little_credit_no_broker_waits_until_another_has_nothing_more, 0,
                        5);
    tcase_add_test(two, with_a_credit_of_one_idle_brokers_take_turns);
    tcase_add_test(two, a_broker_that_is_away_stops_no_other);
    tcase_add_test(two, a_broker_without_the_group_is_no_error_where_another_has_it);
    suite_add_tcase(suite, two);
    return suite;
}

TEST_MAIN(member_end_suite)
