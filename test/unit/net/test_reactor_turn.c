/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of net/reactor.h, turns, each on both backends: timers, hooks and posts come in their
 * order, and the clocks do as they promise.
 */

#include "net/reactor.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <string.h>
#include <unistd.h>

static struct net_world world;

/* True while a test is inside a call that must not run callbacks. */
static bool inside_call;

static void start(int kind)
{
    net_world_init(&world, kind);
}

/* ------------------------------------------------------------------ timers */

static char timer_log[64];

struct named_timer {
    struct timer timer;
    char name;
};

static void note_timer(struct timer *timer)
{
    ck_assert(!inside_call);
    ck_assert(!timer->started);
    size_t length = strlen(timer_log);
    timer_log[length] = ((struct named_timer *)(void *)timer)->name;
    timer_log[length + 1] = '\0';
}

static bool timer_log_has_three(void *context)
{
    (void)context;
    return strlen(timer_log) >= 3;
}

#define NAMED_TIMER(letter)                              \
    {                                                    \
        .timer = {.fired = note_timer}, .name = (letter) \
    }

START_TEST(timers_fire_in_the_order_of_their_moments)
{
    start(_i);
    timer_log[0] = '\0';
    struct named_timer timers[] = {NAMED_TIMER('c'), NAMED_TIMER('a'), NAMED_TIMER('b')};
    uint64_t now_ns = reactor_now_ns(world.reactor);

    timer_start(world.reactor, &timers[0].timer, now_ns + 30000000);
    timer_start(world.reactor, &timers[1].timer, now_ns + 10000000);
    timer_start(world.reactor, &timers[2].timer, now_ns + 20000000);
    ck_assert(net_world_run(&world, timer_log_has_three, NULL, 5000));

    ck_assert_str_eq(timer_log, "abc");
    ck_assert_uint_ge(reactor_now_ns(world.reactor), now_ns + 30000000);
    net_world_deinit(&world);
}
END_TEST

START_TEST(a_stopped_timer_does_not_fire_and_a_restarted_one_fires_once_at_its_new_moment)
{
    start(_i);
    timer_log[0] = '\0';
    struct named_timer timers[] = {NAMED_TIMER('x'), NAMED_TIMER('b'), NAMED_TIMER('a'),
                                   NAMED_TIMER('c')};
    uint64_t now_ns = reactor_now_ns(world.reactor);
    timer_start(world.reactor, &timers[0].timer, now_ns + 5000000);
    timer_start(world.reactor, &timers[1].timer, now_ns + 1000000);
    timer_start(world.reactor, &timers[2].timer, now_ns + 10000000);
    timer_start(world.reactor, &timers[3].timer, now_ns + 30000000);

    timer_stop(world.reactor, &timers[0].timer);
    timer_stop(world.reactor, &timers[0].timer);
    timer_start(world.reactor, &timers[1].timer, now_ns + 20000000);
    ck_assert(net_world_run(&world, timer_log_has_three, NULL, 5000));

    ck_assert_str_eq(timer_log, "abc");
    net_world_deinit(&world);
}
END_TEST

START_TEST(a_moment_that_has_passed_fires_in_the_next_turn)
{
    start(_i);
    timer_log[0] = '\0';
    struct named_timer timer = NAMED_TIMER('a');

    inside_call = true;
    timer_start(world.reactor, &timer.timer, 0);
    inside_call = false;
    ck_assert_str_eq(timer_log, "");
    net_world_turn(&world);

    ck_assert_str_eq(timer_log, "a");
    net_world_deinit(&world);
}
END_TEST

struct endless_timer {
    struct timer timer;
    int fired;
};

static void start_again(struct timer *timer)
{
    struct endless_timer *endless = (struct endless_timer *)(void *)timer;
    endless->fired++;
    timer_start(world.reactor, timer, 0);
}

START_TEST(a_timer_that_restarts_itself_fires_once_a_turn)
{
    start(_i);
    struct endless_timer timer = {.timer = {.fired = start_again}};
    timer_start(world.reactor, &timer.timer, 0);

    net_world_turn(&world);
    int after_one = timer.fired;
    net_world_turn(&world);

    ck_assert_int_eq(after_one, 1);
    ck_assert_int_eq(timer.fired, 2);
    timer_stop(world.reactor, &timer.timer);
    net_world_deinit(&world);
}
END_TEST

struct checked_timer {
    struct timer timer;
    uint64_t at_ns;
    bool has_fired;
};

static size_t checked_fired;

static void check_moment(struct timer *timer)
{
    struct checked_timer *checked = (struct checked_timer *)(void *)timer;
    ck_assert(!checked->has_fired);
    ck_assert_uint_ge(reactor_now_ns(world.reactor), checked->at_ns);
    checked->has_fired = true;
    checked_fired++;
}

static bool five_hundred_have_fired(void *context)
{
    (void)context;
    return checked_fired >= 500;
}

START_TEST(of_a_thousand_timers_those_that_were_not_stopped_fire_and_none_early)
{
    start(_i);
    static struct checked_timer timers[1000];
    memset(timers, 0, sizeof(timers));
    checked_fired = 0;
    uint64_t now_ns = reactor_now_ns(world.reactor);
    for (size_t i = 0; i < 1000; i++) {
        timers[i].timer.fired = check_moment;
        timers[i].at_ns = now_ns + (i * 7919 % 1000) * 20000;
        timer_start(world.reactor, &timers[i].timer, timers[i].at_ns);
    }
    for (size_t i = 0; i < 1000; i += 2) {
        timer_stop(world.reactor, &timers[i].timer);
    }

    ck_assert(net_world_run(&world, five_hundred_have_fired, NULL, 5000));
    net_world_pass(&world, 30);

    ck_assert_uint_eq(checked_fired, 500);
    for (size_t i = 0; i < 1000; i++) {
        ck_assert_int_eq(timers[i].has_fired, i % 2 == 1);
    }
    net_world_deinit(&world);
}
END_TEST

/* ------------------------------------------------------------- turns, hooks */

static char turn_log[64];

static void note_turn(char letter)
{
    size_t length = strlen(turn_log);
    ck_assert_uint_lt(length, sizeof(turn_log) - 1);
    turn_log[length] = letter;
    turn_log[length + 1] = '\0';
}

struct named_hook {
    struct turn_hook hook;
    char name;
};

static void note_hook(struct turn_hook *hook)
{
    note_turn(((struct named_hook *)(void *)hook)->name);
}

static void note_post(struct op *op, int64_t result)
{
    (void)op;
    ck_assert(!inside_call);
    note_turn((char)result);
}

START_TEST(hooks_run_by_phase_and_in_the_order_in_which_they_were_added)
{
    start(_i);
    turn_log[0] = '\0';
    struct named_hook hooks[] = {{{.run = note_hook}, 'e'},
                                 {{.run = note_hook}, 'c'},
                                 {{.run = note_hook}, 'a'},
                                 {{.run = note_hook}, 'd'}};
    reactor_hook_add(world.reactor, TURN_SEND, &hooks[0].hook);
    reactor_hook_add(world.reactor, TURN_WRITE, &hooks[1].hook);
    reactor_hook_add(world.reactor, TURN_BEGIN, &hooks[2].hook);
    reactor_hook_add(world.reactor, TURN_WRITE, &hooks[3].hook);
    struct op op = {.done = note_post};

    reactor_post(world.reactor, &op, 'b');
    net_world_turn(&world);

    ck_assert_str_eq(turn_log, "abcde");
    for (size_t i = 0; i < 4; i++) {
        reactor_hook_remove(world.reactor, &hooks[i].hook);
    }
    reactor_again(world.reactor);
    net_world_turn(&world);
    ck_assert_str_eq(turn_log, "abcde");
    net_world_deinit(&world);
}
END_TEST

START_TEST(posts_of_one_thread_keep_their_order)
{
    start(_i);
    turn_log[0] = '\0';
    struct op ops[8] = {{.done = note_post}, {.done = note_post}, {.done = note_post},
                        {.done = note_post}, {.done = note_post}, {.done = note_post},
                        {.done = note_post}, {.done = note_post}};

    inside_call = true;
    for (int i = 0; i < 8; i++) {
        reactor_post(world.reactor, &ops[i], 'a' + i);
    }
    inside_call = false;
    net_world_turn(&world);

    ck_assert_str_eq(turn_log, "abcdefgh");
    net_world_deinit(&world);
}
END_TEST

static bool work_is_pending;

static void do_work(struct turn_hook *hook)
{
    (void)hook;
    work_is_pending = false;
}

static bool is_work_pending(struct turn_hook *hook)
{
    (void)hook;
    return work_is_pending;
}

static bool work_is_done(void *context)
{
    (void)context;
    return !work_is_pending;
}

START_TEST(a_reactor_does_not_sleep_while_a_hook_has_work)
{
    start(_i);
    struct turn_hook hook = {.run = do_work, .pending = is_work_pending};
    reactor_hook_add(world.reactor, TURN_BEGIN, &hook);
    work_is_pending = true;

    uint64_t begun_ms = net_world_clock_ms();
    ck_assert(net_world_run(&world, work_is_done, NULL, 5000));

    ck_assert_uint_lt(net_world_clock_ms() - begun_ms, 2000);
    reactor_hook_remove(world.reactor, &hook);
    net_world_deinit(&world);
}
END_TEST

static void watch_clock(struct turn_hook *hook)
{
    (void)hook;
    uint64_t now_ns = reactor_now_ns(world.reactor);
    for (volatile int i = 0; i < 100000; i++) {
    }
    ck_assert_uint_eq(reactor_now_ns(world.reactor), now_ns);
}

/* A program that owns its thread's time may have spent a while since the last turn. */
START_TEST(outside_of_a_turn_the_clock_is_not_that_of_the_last_one)
{
    start(_i);
    net_world_turn(&world);
    uint64_t now_ns = reactor_now_ns(world.reactor);
    uint64_t wall_ms = reactor_wall_ms(world.reactor);
    (void)usleep(20000);
    ck_assert_uint_ge(reactor_now_ns(world.reactor), now_ns + 20000000);
    ck_assert_uint_ge(reactor_wall_ms(world.reactor), wall_ms + 15);
    net_world_deinit(&world);
}
END_TEST

START_TEST(the_clocks_stand_still_within_a_turn_and_never_go_back)
{
    start(_i);
    struct turn_hook hook = {.run = watch_clock};
    reactor_hook_add(world.reactor, TURN_WRITE, &hook);
    uint64_t last_ns = reactor_now_ns(world.reactor);
    for (int i = 0; i < 100; i++) {
        reactor_again(world.reactor);
        net_world_turn(&world);
        uint64_t now_ns = reactor_now_ns(world.reactor);
        ck_assert_uint_ge(now_ns, last_ns);
        last_ns = now_ns;
    }
    reactor_hook_remove(world.reactor, &hook);
    ck_assert_uint_gt(reactor_wall_ms(world.reactor), UINT64_C(1600000000000));
    net_world_deinit(&world);
}
END_TEST

static Suite *reactor_turn_suite(void)
{
    Suite *suite = suite_create("net/reactor_turn");
    TCase *timers = tcase_create("timers");
    TCase *turns = tcase_create("turns");
    const int kinds = NET_WORLD_KINDS;

    tcase_add_loop_test(timers, timers_fire_in_the_order_of_their_moments, 0, kinds);
    tcase_add_loop_test(
        timers, a_stopped_timer_does_not_fire_and_a_restarted_one_fires_once_at_its_new_moment, 0,
        kinds);
    tcase_add_loop_test(timers, a_moment_that_has_passed_fires_in_the_next_turn, 0, kinds);
    tcase_add_loop_test(timers, a_timer_that_restarts_itself_fires_once_a_turn, 0, kinds);
    tcase_add_loop_test(
        timers, of_a_thousand_timers_those_that_were_not_stopped_fire_and_none_early, 0, kinds);
    tcase_add_loop_test(turns, hooks_run_by_phase_and_in_the_order_in_which_they_were_added, 0,
                        kinds);
    tcase_add_loop_test(turns, posts_of_one_thread_keep_their_order, 0, kinds);
    tcase_add_loop_test(turns, a_reactor_does_not_sleep_while_a_hook_has_work, 0, kinds);
    tcase_add_loop_test(turns, outside_of_a_turn_the_clock_is_not_that_of_the_last_one, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(turns, the_clocks_stand_still_within_a_turn_and_never_go_back, 0, kinds);
    suite_add_tcase(suite, timers);
    suite_add_tcase(suite, turns);
    return suite;
}

TEST_MAIN(reactor_turn_suite)
