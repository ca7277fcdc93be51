/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of what is counted as a stall, on both kernel backends: what keeps others waiting, and no sleep.
 */

#include "net/reactor.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct net_world world;

static void dawdle(struct turn_hook *hook)
{
    (void)hook;
    (void)usleep(7000);
}

START_TEST(a_turn_that_takes_long_is_counted_as_a_stall)
{
    net_world_init(&world, _i);
    struct turn_hook hook = {.run = dawdle};
    reactor_hook_add(world.reactor, TURN_WRITE, &hook);

    reactor_run_once(world.reactor, 0);

    ck_assert_uint_eq(reactor_counters(world.reactor)->stalls, 1);
    ck_assert_uint_ge(reactor_counters(world.reactor)->stall_ns_max, 7000000);
    net_world_deinit(&world);
}
END_TEST

enum { SLEPT_MS = 200, NOT_SLEPT_MS = 150 };

static int dawdled_turns;

static void count_turn(struct turn_hook *hook)
{
    (void)hook;
    dawdled_turns++;
}

static bool dawdle_once(struct turn_hook *hook)
{
    (void)hook;
    if (dawdled_turns == 1) {
        (void)usleep(7000);
    }
    return dawdled_turns < 2;
}

static void stop_running(struct timer *timer)
{
    (void)timer;
    reactor_stop(world.reactor);
}

START_TEST(what_is_done_between_two_turns_counts_but_for_sleep)
{
    net_world_init(&world, _i);
    dawdled_turns = 0;
    struct turn_hook hook = {.run = count_turn, .pending = dawdle_once};
    struct timer timer = {.fired = stop_running};
    reactor_hook_add(world.reactor, TURN_WRITE, &hook);
    timer_start(world.reactor, &timer, reactor_now_ns(world.reactor) + SLEPT_MS * 1000000ULL);
    reactor_run(world.reactor);

    const struct reactor_counters *counters = reactor_counters(world.reactor);
    ck_assert_uint_ge(counters->stall_ns_max, 7 * 1000000ULL);
    ck_assert_uint_lt(counters->stall_ns_max, NOT_SLEPT_MS * 1000000ULL);
    net_world_deinit(&world);
}
END_TEST

/* More than any kernel copies in 5 ms. */
enum { LONG_BYTES = 192 * 1024 * 1024 };

struct long_send {
    struct timer timer;
    struct send_op send;
    struct iovec range;
    int sockets[2];
};

static void begin_long_send(struct timer *timer)
{
    struct long_send *long_send = CONTAINER_OF(timer, struct long_send, timer);
    reactor_send(world.reactor, &long_send->send, long_send->sockets[0]);
}

static void long_send_done(struct op *op, int64_t result)
{
    (void)op;
    ck_assert_int_eq(result, LONG_BYTES);
    reactor_stop(world.reactor);
}

/* Whether the backend calls the kernel within the turn, or hands everything over before it sleeps. */
START_TEST(what_the_kernel_takes_long_to_send_is_counted_as_a_stall)
{
    net_world_init(&world, _i);
    uint8_t *bytes = malloc(LONG_BYTES);
    memset(bytes, 1, LONG_BYTES);
    struct long_send long_send = {
        .timer = {.fired = begin_long_send},
        .send = {.op = {.done = long_send_done}, .iov = &long_send.range, .count = 1, .file = -1},
        .range = {bytes, LONG_BYTES}};
    ck_assert_int_eq(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, long_send.sockets), 0);
    int room = 1024 * 1024 * 1024 - 1;
    /* Not allowed to everybody: a socket that is full soon stalls nobody. */
    if (setsockopt(long_send.sockets[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) == 0) {
        timer_start(world.reactor, &long_send.timer,
                    reactor_now_ns(world.reactor) + SLEPT_MS * 1000000ULL);
        reactor_run(world.reactor);

        ck_assert_uint_ge(reactor_counters(world.reactor)->stalls, 1);
    }
    reactor_close(world.reactor, long_send.sockets[0]);
    (void)close(long_send.sockets[1]);
    free(bytes);
    net_world_deinit(&world);
}
END_TEST

static Suite *reactor_stall_suite(void)
{
    Suite *suite = suite_create("net/reactor_stall");
    TCase *stalls = tcase_create("stalls");

    tcase_add_loop_test(stalls, a_turn_that_takes_long_is_counted_as_a_stall, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(stalls, what_is_done_between_two_turns_counts_but_for_sleep, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(stalls, what_the_kernel_takes_long_to_send_is_counted_as_a_stall, 0,
                        NET_WORLD_KERNEL_KINDS);
    suite_add_tcase(suite, stalls);
    return suite;
}

TEST_MAIN(reactor_stall_suite)
