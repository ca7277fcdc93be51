/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_push.c - what ternmq_groups.h promises of push consumers: threads, sockets and time are real, the
 * server is the fake one, on a thread of its own.
 */
#include "net/reactor.h"
#include "test/lib/check_main.h"
#include "test/unit/client/fake_group.h"
#include "test/unit/client/fake_server.h"
#include "tools/client/ternmq_groups.h"

#include <check.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RECEIVE_BYTES = 8 << 20, PATIENCE_MS = 60000 };

static char folder[] = "/tmp/ternmq-push-XXXXXX";
static char address[64];
static struct reactor *reactor;
static pthread_t server_thread;
static struct fake_server server;
static struct fake_group group;
static struct ternmq_error error;

/* What the callbacks see and do. */
static _Atomic uint32_t running;
static _Atomic uint32_t running_most;
static _Atomic uint32_t called;
static _Atomic uint32_t failures;
static _Atomic int failing_code;
static uint32_t work_ms;
static struct ternmq_settlement settlement;

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

static void pass(uint32_t ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

static void *serve(void *context)
{
    (void)context;
    reactor_run(reactor);
    return NULL;
}

/* On the server's thread. */
static void drop_all(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
    fake_server_drop_all(&server);
}

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(address, sizeof(address), "unix:%s/server", folder);
    reactor = reactor_create_epoll(RECEIVE_BYTES);
    ck_assert_ptr_nonnull(reactor);
    memset(&server, 0, sizeof(server));
    memset(&group, 0, sizeof(group));
    settlement = (struct ternmq_settlement){.verdict = TERNMQ_ACK};
    work_ms = 0;
    fake_server_start(&server, reactor, address);
    fake_group_init(&group, &server);
    server.group = &group;
}

static void start(uint32_t messages)
{
    for (uint32_t i = 0; i < messages; i++) {
        fake_server_append_number(&server, i % server.queue_count, i);
    }
    ck_assert_int_eq(pthread_create(&server_thread, NULL, serve, NULL), 0);
}

static void stop(void)
{
    reactor_stop(reactor);
    pthread_join(server_thread, NULL);
}

static void teardown(void)
{
    fake_server_stop(&server);
    while (!fake_server_is_stopped(&server)) {
        reactor_run_once(reactor, 100);
    }
    ck_assert_uint_eq(group.parked, 0);
    fake_group_free(&group);
    server.group = NULL;
    fake_server_free(&server);
    reactor_destroy(reactor);
    unlink(address + strlen("unix:"));
    rmdir(folder);
}

static struct ternmq_settlement on_message(void *context, const struct ternmq_received *received)
{
    (void)context;
    uint32_t now = ++running;
    uint32_t most = running_most;
    while (now > most && !atomic_compare_exchange_weak(&running_most, &most, now)) {
    }
    ck_assert_str_eq(received->message.topic, "t");
    ck_assert_uint_gt(received->message.body.length, 0);
    pass(work_ms);
    running--;
    called++;
    return settlement;
}

static void on_failing(void *context, const struct ternmq_error *why)
{
    (void)context;
    failures++;
    failing_code = why->code;
}

static struct ternmq_push_consumer *open_push(struct ternmq_push_options options)
{
    options.member.group = "g";
    options.message = options.message == NULL ? on_message : options.message;
    options.failing = on_failing;
    struct ternmq_push_consumer *consumer = ternmq_push_consumer_open(
        &(struct ternmq_options){.broker = address, .unreachable_ms = 100}, &options, &error);
    ck_assert_msg(consumer != NULL, "%s", error.message);
    return consumer;
}

static void wait_for(const _Atomic uint32_t *count, uint32_t wanted)
{
    uint64_t began = now_ms();
    while (*count < wanted) {
        ck_assert_uint_lt(now_ms() - began, PATIENCE_MS);
        pass(2);
    }
}

static void close_push(struct ternmq_push_consumer *consumer)
{
    ck_assert_int_eq(ternmq_push_consumer_close(consumer, PATIENCE_MS, &error), TERNMQ_OK);
}

START_TEST(workers_work_side_by_side_within_the_credit)
{
    work_ms = 20;
    start(200);
    struct ternmq_push_consumer *consumer =
        open_push((struct ternmq_push_options){.workers = 4, .member.credit = 6});
    wait_for(&called, 200);
    uint64_t lost = 1;
    ternmq_push_consumer_counts(consumer, NULL, NULL, &lost);
    ck_assert_uint_eq(lost, 0);
    close_push(consumer);
    stop();
    ck_assert_uint_eq(group.acked, 200);
    ck_assert_uint_eq(called, 200);
    ck_assert_uint_eq(running_most, 4);
    ck_assert_uint_eq(group.leased_most, 6);
    ck_assert_uint_eq(failures, 0);
}
END_TEST

START_TEST(a_lease_is_kept_while_a_callback_runs)
{
    group.lease_ms = 600;
    work_ms = 2400;
    start(2);
    struct ternmq_push_consumer *consumer = open_push((struct ternmq_push_options){.workers = 2});
    wait_for(&called, 2);
    close_push(consumer);
    stop();
    ck_assert_uint_eq(group.acked, 2);
    ck_assert_uint_eq(group.expired, 0);
    ck_assert_uint_ge(group.extended, 8); /* of each message every 200 ms, but for a busy machine */
}
END_TEST

START_TEST(close_waits_for_what_runs_and_gives_back_what_was_not_begun)
{
    group.lease_ms = 600; /* which the callback outlives, while it is being closed */
    work_ms = 1500;
    start(10);
    struct ternmq_push_consumer *consumer =
        open_push((struct ternmq_push_options){.workers = 2, .member.credit = 8});
    wait_for(&running, 2);
    pass(100);
    close_push(consumer);
    ck_assert_uint_eq(called, 2);
    stop();
    ck_assert_uint_eq(group.acked, 2);
    ck_assert_uint_eq(group.released, 6);
    ck_assert_uint_eq(group.leased, 0);
    ck_assert_uint_eq(group.expired, 0);
    for (uint32_t i = 0; i < 10; i++) {
        ck_assert_uint_eq(fake_group_at(&group, i % 4, i / 4)->attempt, 0);
    }
}
END_TEST

START_TEST(lost_connections_cost_no_message)
{
    group.lease_ms = 1000;
    work_ms = 1;
    start(1000);
    struct ternmq_push_consumer *consumer =
        open_push((struct ternmq_push_options){.workers = 4, .member.credit = 20});
    struct op drops[10] = {{.done = NULL}};
    for (uint32_t i = 0; i < 10; i++) {
        wait_for(&called, i * 80 + 40);
        drops[i].done = drop_all;
        reactor_post(reactor, &drops[i], 0);
    }
    wait_for(&called, 1000);
    pass(1500); /* what was lost with an answer comes again */
    close_push(consumer);
    stop();
    for (uint32_t i = 0; i < 1000; i++) {
        ck_assert_int_eq(fake_group_at(&group, i % 4, i / 4)->stage, FAKE_DONE);
    }
}
END_TEST

START_TEST(what_a_callback_says_is_settled_so)
{
    settlement = (struct ternmq_settlement){.verdict = TERNMQ_DEAD, .reason = "no customer"};
    start(8);
    struct ternmq_push_consumer *consumer = open_push((struct ternmq_push_options){.workers = 3});
    wait_for(&called, 8);
    close_push(consumer);
    stop();
    ck_assert_uint_eq(group.dead, 8);
    ck_assert_str_eq(fake_group_at(&group, 0, 0)->reason, "no customer");
}
END_TEST

START_TEST(what_is_no_settlement_is_a_retry)
{
    settlement = (struct ternmq_settlement){.verdict = TERNMQ_DEAD, .reason = "\xff\xfe"};
    start(1);
    struct ternmq_push_consumer *consumer = open_push((struct ternmq_push_options){.workers = 1});
    wait_for(&called, 1);
    close_push(consumer);
    stop();
    ck_assert_uint_eq(group.dead, 0);
    ck_assert_uint_eq(group.retried, 1);
    ck_assert_int_eq(failing_code, TERNMQ_USAGE);
}
END_TEST

START_TEST(a_long_reason_is_cut_between_two_characters)
{
    char reason[201];
    for (int i = 0; i < 200; i += 2) {
        memcpy(reason + i, "\xc3\xa4", 2);
    }
    memmove(reason + 1, reason, 199);
    reason[0] = 'x';
    reason[200] = '\0';
    settlement = (struct ternmq_settlement){.verdict = TERNMQ_RETRY, .reason = reason};
    start(1);
    struct ternmq_push_consumer *consumer = open_push((struct ternmq_push_options){.workers = 1});
    wait_for(&called, 1);
    close_push(consumer);
    stop();
    ck_assert_uint_eq(strlen(fake_group_at(&group, 0, 0)->reason), 119);
    ck_assert_uint_eq(failures, 0);
}
END_TEST

START_TEST(verdicts_that_were_lost_are_told)
{
    group.loses_leases = true;
    start(4);
    struct ternmq_push_consumer *consumer = open_push((struct ternmq_push_options){.workers = 4});
    wait_for(&failures, 4);
    uint64_t lost = 0;
    uint64_t acked = 0;
    ternmq_push_consumer_counts(consumer, NULL, &acked, &lost);
    ck_assert_uint_eq(lost, 4);
    ck_assert_uint_eq(acked, 4);
    ck_assert_int_eq(failing_code, TERNMQ_LEASE_LOST);
    close_push(consumer);
    stop();
}
END_TEST

static struct ternmq_push_consumer *_Atomic to_close;
static _Atomic int closed_code;

static struct ternmq_settlement close_from_inside(void *context,
                                                  const struct ternmq_received *received)
{
    (void)context;
    (void)received;
    while (to_close == NULL) {
        pass(1);
    }
    closed_code = ternmq_push_consumer_close(to_close, 0, NULL);
    called++;
    return (struct ternmq_settlement){.verdict = TERNMQ_ACK};
}

START_TEST(a_callback_must_not_close)
{
    start(1);
    struct ternmq_push_consumer *consumer =
        open_push((struct ternmq_push_options){.workers = 1, .message = close_from_inside});
    to_close = consumer;
    wait_for(&called, 1);
    ck_assert_int_eq(closed_code, TERNMQ_USAGE);
    close_push(consumer);
    stop();
}
END_TEST

START_TEST(a_server_that_is_not_there_is_told_and_close_does_not_wait_for_it)
{
    fake_server_stop(&server);
    while (!fake_server_is_stopped(&server)) {
        reactor_run_once(reactor, 100);
    }
    unlink(address + strlen("unix:"));
    struct ternmq_push_consumer *consumer = open_push((struct ternmq_push_options){.workers = 1});
    wait_for(&failures, 1);
    ck_assert_int_eq(failing_code, TERNMQ_UNREACHABLE);
    uint64_t began = now_ms();
    close_push(consumer);
    ck_assert_uint_lt(now_ms() - began, 5000);
    fake_server_start(&server, reactor, address); /* for the teardown */
}
END_TEST

START_TEST(wrong_options_are_refused)
{
    const struct ternmq_push_options wrong[] = {
        {.member.group = "g"},
        {.member.group = "g", .message = on_message, .workers = 257},
        {.member.group = "g", .message = on_message, .member.credit = 65536},
        {.member.group = NULL, .message = on_message},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_ptr_null(ternmq_push_consumer_open(&(struct ternmq_options){.broker = address},
                                                     &wrong[i], &error));
        ck_assert_int_eq(error.code, TERNMQ_USAGE);
    }
}
END_TEST

static Suite *push_suite(void)
{
    Suite *suite = suite_create("client push");
    TCase *tests = tcase_create("push");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, workers_work_side_by_side_within_the_credit);
    tcase_add_test(tests, a_lease_is_kept_while_a_callback_runs);
    tcase_add_test(tests, close_waits_for_what_runs_and_gives_back_what_was_not_begun);
    tcase_add_test(tests, lost_connections_cost_no_message);
    tcase_add_test(tests, what_a_callback_says_is_settled_so);
    tcase_add_test(tests, what_is_no_settlement_is_a_retry);
    tcase_add_test(tests, a_long_reason_is_cut_between_two_characters);
    tcase_add_test(tests, verdicts_that_were_lost_are_told);
    tcase_add_test(tests, a_callback_must_not_close);
    tcase_add_test(tests, a_server_that_is_not_there_is_told_and_close_does_not_wait_for_it);
    tcase_add_test(tests, wrong_options_are_refused);
    suite_add_tcase(suite, tests);
    return suite;
}

TEST_MAIN(push_suite)
