/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of net/core_ring.h with a thread a core: every message is delivered once and in the order
 * of its pair, whatever the load, and no wake-up is lost. Run under ThreadSanitizer, too.
 *
 * What runs on the cores uses ASSERT: Check's own assertions write to its pipe at every call.
 */

#include "net/core_ring.h"
#include "net/reactor.h"
#include "proto/base/contract.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define LOAD_DIVISOR 20 /* each access is watched: the schedule matters, not the number */
#else
#define LOAD_DIVISOR 1
#endif

enum {
    CORES = 3,
    BUFFERS_BYTES = 1024 * 1024,
    PING_PONGS = 200000 / LOAD_DIVISOR,
    FLOOD = 1000000 / LOAD_DIVISOR,
    BURSTS = 2000 / LOAD_DIVISOR,
    BURST = 500 /* several times a ring */
};

struct test_core {
    struct reactor *reactor;
    pthread_t thread;
    uint32_t number;
    uint64_t expected[CORES]; /* the next word from each sender */
    uint64_t delivered;
    uint64_t target; /* stops everything when so many were delivered here */
    uint64_t left;   /* to be sent by the hook */
    uint32_t send_to;
    uint64_t sent;
    struct turn_hook hook;
};

static struct test_core cores[CORES];
static struct core_mesh *mesh;

static void *run_core(void *context)
{
    struct test_core *core = context;
    reactor_run(core->reactor);
    return NULL;
}

static void make_cores(int kind, uint32_t count)
{
    struct reactor *reactors[CORES];
    void *contexts[CORES];
    memset(cores, 0, sizeof(cores));
    for (uint32_t i = 0; i < count; i++) {
        cores[i].number = i;
        cores[i].target = UINT64_MAX;
        cores[i].reactor = net_world_reactor(kind, BUFFERS_BYTES);
        ck_assert_ptr_nonnull(cores[i].reactor);
        reactors[i] = cores[i].reactor;
        contexts[i] = &cores[i];
    }
    mesh = core_mesh_create(reactors, contexts, count);
}

static void start_cores(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(pthread_create(&cores[i].thread, NULL, run_core, &cores[i]), 0);
    }
}

static void join_cores(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_int_eq(pthread_join(cores[i].thread, NULL), 0);
    }
    core_mesh_destroy(mesh);
    for (uint32_t i = 0; i < count; i++) {
        reactor_destroy(cores[i].reactor);
    }
}

static void stop_all(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        reactor_stop(cores[i].reactor);
    }
}

/* ---------------------------------------------------------------- ping-pong */

static void ping(const struct core_message *message, void *context)
{
    struct test_core *core = context;
    ASSERT(message->words[0] == core->delivered * 2 + core->number);
    core->delivered++;
    if (core->delivered == PING_PONGS && core->number == 1) {
        stop_all(2);
        return;
    }
    struct core_message answer = {.deliver = ping, .words = {message->words[0] + 1}};
    core_send(mesh, core->number, 1 - core->number, &answer);
}

/* Both sleep after nearly every message: a wake-up that is lost would end it here. */
START_TEST(a_message_to_and_fro_wakes_whoever_sleeps_every_time)
{
    make_cores(_i, 2);
    struct core_message first = {.deliver = ping};
    core_send(mesh, 1, 0, &first);
    start_cores(2);
    join_cores(2);

    ck_assert_uint_eq(cores[1].delivered, PING_PONGS);
}
END_TEST

/* -------------------------------------------------------------------- flood */

static void take_numbered(const struct core_message *message, void *context)
{
    struct test_core *core = context;
    uint32_t from = (uint32_t)message->words[1];
    ASSERT(message->words[0] == core->expected[from]);
    core->expected[from]++;
    core->delivered++;
    if (core->delivered == core->target) {
        stop_all((uint32_t)message->words[2]);
    }
}

static void send_numbered(struct test_core *core, uint32_t count, uint32_t cores_count)
{
    for (uint32_t i = 0; i < count && core->sent < core->left; i++) {
        struct core_message message = {.deliver = take_numbered,
                                       .object = core,
                                       .words = {core->sent, core->number, cores_count}};
        core_send(mesh, core->number, core->send_to, &message);
        core->sent++;
    }
}

static void flood(struct turn_hook *hook)
{
    struct test_core *core = CONTAINER_OF(hook, struct test_core, hook);
    send_numbered(core, 200, 2);
    if (core->sent < core->left) {
        reactor_again(core->reactor);
    }
}

/* More than a ring a turn: most of it goes through the overflow list. */
START_TEST(a_flood_arrives_whole_and_in_order)
{
    make_cores(_i, 2);
    cores[0].left = FLOOD;
    cores[0].send_to = 1;
    cores[0].hook.run = flood;
    cores[1].target = FLOOD;
    reactor_hook_add(cores[0].reactor, TURN_WRITE, &cores[0].hook);
    reactor_again(cores[0].reactor);
    start_cores(2);
    join_cores(2);

    ck_assert_uint_eq(cores[1].delivered, FLOOD);
}
END_TEST

/* ------------------------------------------------------------------- bursts */

static void burst_answer(const struct core_message *message, void *context);

static void burst_send(struct test_core *core)
{
    core->left += BURST;
    core->send_to = 1;
    send_numbered(core, BURST, 2);
    struct core_message end = {.deliver = burst_answer};
    core_send(mesh, 0, 1, &end);
}

/* On core 1 it is the burst's end, on core 0 the answer to it. */
static void burst_answer(const struct core_message *message, void *context)
{
    struct test_core *core = context;
    if (core->number == 1) {
        struct core_message answer = {.deliver = burst_answer};
        core_send(mesh, 1, 0, &answer);
        return;
    }
    (void)message;
    core->delivered++;
    if (core->delivered == BURSTS) {
        stop_all(2);
    } else {
        burst_send(core);
    }
}

/* The sender sleeps on a full ring between bursts: the receiver has to tell it of room. */
START_TEST(bursts_longer_than_a_ring_go_on_when_the_receiver_has_made_room)
{
    make_cores(_i, 2);
    burst_send(&cores[0]);
    start_cores(2);
    join_cores(2);

    ck_assert_uint_eq(cores[0].delivered, BURSTS);
    ck_assert_uint_eq(cores[1].expected[0], (uint64_t)BURST * BURSTS);
}
END_TEST

/* ---------------------------------------------------------------- all to all */

static atomic_uint cores_done;

static void take_from_all(const struct core_message *message, void *context)
{
    struct test_core *core = context;
    uint32_t from = (uint32_t)message->words[1];
    ASSERT(message->words[0] == core->expected[from]);
    core->expected[from]++;
    core->delivered++;
    if (core->delivered == (uint64_t)CORES * (FLOOD / 10) &&
        atomic_fetch_add(&cores_done, 1) == CORES - 1) {
        stop_all(CORES);
    }
}

static void send_to_all(struct turn_hook *hook)
{
    struct test_core *core = CONTAINER_OF(hook, struct test_core, hook);
    for (int i = 0; i < 50 && core->sent < FLOOD / 10; i++) {
        for (uint32_t to = 0; to < CORES; to++) {
            struct core_message message = {.deliver = take_from_all,
                                           .words = {core->sent, core->number}};
            core_send(mesh, core->number, to, &message);
        }
        core->sent++;
    }
    if (core->sent < FLOOD / 10) {
        reactor_again(core->reactor);
    }
}

START_TEST(all_cores_send_to_all_themselves_included)
{
    make_cores(_i, CORES);
    atomic_store(&cores_done, 0);
    for (uint32_t i = 0; i < CORES; i++) {
        cores[i].hook.run = send_to_all;
        reactor_hook_add(cores[i].reactor, TURN_WRITE, &cores[i].hook);
        reactor_again(cores[i].reactor);
    }
    start_cores(CORES);
    join_cores(CORES);

    for (uint32_t i = 0; i < CORES; i++) {
        for (uint32_t from = 0; from < CORES; from++) {
            ck_assert_uint_eq(cores[i].expected[from], FLOOD / 10);
        }
    }
}
END_TEST

/* ----------------------------------------------------------- posts and wakes */

enum { POSTERS = 3, POSTS = 30000 / LOAD_DIVISOR };

struct numbered_op {
    struct op op;
    uint32_t poster;
    uint64_t number;
};

static struct numbered_op posted[POSTERS][POSTS];
static uint64_t posts_expected[POSTERS];
static uint64_t posts_taken;

static void take_post(struct op *op, int64_t result)
{
    struct numbered_op *numbered = CONTAINER_OF(op, struct numbered_op, op);
    ASSERT(result == (int64_t)numbered->number);
    ASSERT(numbered->number == posts_expected[numbered->poster]);
    posts_expected[numbered->poster]++;
    posts_taken++;
    if (posts_taken == (uint64_t)POSTERS * POSTS) {
        reactor_stop(cores[0].reactor);
    }
}

static void *post_all(void *context)
{
    struct numbered_op *ops = context;
    for (uint64_t i = 0; i < POSTS; i++) {
        ops[i].op.done = take_post;
        ops[i].number = i;
        reactor_post(cores[0].reactor, &ops[i].op, (int64_t)i);
        if (i % 100 == 0) {
            (void)usleep(50); /* so that it sleeps in between */
        }
    }
    return NULL;
}

START_TEST(posts_of_several_threads_all_arrive_each_threads_in_order)
{
    make_cores(_i, 1);
    memset(posted, 0, sizeof(posted));
    memset(posts_expected, 0, sizeof(posts_expected));
    posts_taken = 0;
    pthread_t posters[POSTERS];
    start_cores(1);
    for (uint32_t i = 0; i < POSTERS; i++) {
        for (int j = 0; j < POSTS; j++) {
            posted[i][j].poster = i;
        }
        ck_assert_int_eq(pthread_create(&posters[i], NULL, post_all, posted[i]), 0);
    }
    for (uint32_t i = 0; i < POSTERS; i++) {
        ck_assert_int_eq(pthread_join(posters[i], NULL), 0);
    }
    join_cores(1);

    ck_assert_uint_eq(posts_taken, (uint64_t)POSTERS * POSTS);
}
END_TEST

/* ------------------------------------------------------ falling asleep */

enum { RACES = 300000 / LOAD_DIVISOR };

#define LOOKS_MAX UINT64_C(4000000000) /* some seconds: the wake-up was lost */

static atomic_int race_taken;

static void take_race(struct op *op, int64_t result)
{
    (void)op;
    atomic_store(&race_taken, (int)result);
}

/* The next post comes after a pause that is a little longer each time: sooner or later at every
 * step of falling asleep. */
START_TEST(a_post_while_the_reactor_falls_asleep_is_seen)
{
    make_cores(_i, 1);
    atomic_store(&race_taken, 0);
    struct op op = {.done = take_race};
    start_cores(1);
    for (int i = 1; i <= RACES; i++) {
        reactor_post(cores[0].reactor, &op, i);
        uint64_t looks = 0;
        while (atomic_load(&race_taken) != i) {
            ASSERT(++looks < LOOKS_MAX);
        }
        for (volatile int pause = i % 2000; pause > 0; pause--) {
        }
    }
    reactor_stop(cores[0].reactor);
    join_cores(1);
}
END_TEST

static atomic_int flag;
static atomic_int flag_seen;

static void look_at_flag(struct turn_hook *hook)
{
    (void)hook;
    atomic_store_explicit(&flag_seen, atomic_load_explicit(&flag, memory_order_relaxed),
                          memory_order_relaxed);
}

/* reactor_wake() alone must make the next turn see what was written before it. */
START_TEST(a_wake_is_followed_by_a_turn_that_sees_what_came_before_it)
{
    make_cores(_i, 1);
    atomic_store(&flag, 0);
    atomic_store(&flag_seen, 0);
    cores[0].hook.run = look_at_flag;
    reactor_hook_add(cores[0].reactor, TURN_BEGIN, &cores[0].hook);
    start_cores(1);
    for (int i = 1; i <= 20000 / LOAD_DIVISOR; i++) {
        atomic_store_explicit(&flag, i, memory_order_relaxed);
        reactor_wake(cores[0].reactor);
        uint64_t begun_ms = net_world_clock_ms();
        while (atomic_load(&flag_seen) != i) {
            ck_assert_uint_lt(net_world_clock_ms() - begun_ms, 10000);
        }
    }
    reactor_stop(cores[0].reactor);
    join_cores(1);
}
END_TEST

static Suite *core_ring_suite(void)
{
    Suite *suite = suite_create("net/core_ring");
    TCase *rings = tcase_create("rings");
    TCase *threads = tcase_create("threads");

    tcase_add_loop_test(rings, a_message_to_and_fro_wakes_whoever_sleeps_every_time, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(rings, a_flood_arrives_whole_and_in_order, 0, NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(rings, bursts_longer_than_a_ring_go_on_when_the_receiver_has_made_room, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(rings, all_cores_send_to_all_themselves_included, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(threads, posts_of_several_threads_all_arrive_each_threads_in_order, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(threads, a_post_while_the_reactor_falls_asleep_is_seen, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(threads, a_wake_is_followed_by_a_turn_that_sees_what_came_before_it, 0,
                        NET_WORLD_KERNEL_KINDS);
    suite_add_tcase(suite, rings);
    suite_add_tcase(suite, threads);
    return suite;
}

TEST_MAIN(core_ring_suite)
