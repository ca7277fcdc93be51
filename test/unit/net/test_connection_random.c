/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random lives of connections in simulated worlds: both ends write frames in random ways, pause,
 * resume, finish and close at random, while bytes are cut, delayed and connections reset. For
 * every seed: what an end receives is a prefix of what its peer wrote, all of it where both ended
 * in order; every borrowed range is released once; every connection is closed once.
 */

#include "net/buffer.h"
#include "net/connection.h"
#include "net/reactor.h"
#include "net/simulation.h"
#include "proto/base/contract.h"
#include "proto/base/random.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 6, ENDS = 2 * PAIRS, SEEDS = 150, ACTIONS = 120, BODY_BYTES_MAX = 300000 };

struct chaos_end {
    struct connection connection;
    struct connect_op connect;
    struct timer timer;
    struct chaos_end *peer;
    uint32_t number;
    uint32_t written;  /* frames */
    uint32_t received; /* frames */
    int actions_left;
    int closed;
    bool is_open;
    bool finished; /* in order, by itself */
    bool aborted;
    enum connection_end how;
};

static struct simulation *simulation;
static struct reactor *reactors[2];
static struct chaos_end ends[ENDS];
static struct accept_op accept_op;
static struct random chance;
static uint8_t *pattern; /* what bodies are cut from */
static int holds_given;
static int holds_released;
static uint32_t closed_count;

/* A frame of an end is known by its number: size and bytes follow from it. */
static size_t body_bytes_of(uint32_t end, uint32_t frame)
{
    struct random random;
    random_init(&random, (uint64_t)end << 32 | frame);
    switch (random_below(&random, 8)) {
    case 0:
        return (size_t)random_below(&random, BODY_BYTES_MAX);
    case 1:
        return (size_t)random_below(&random, 40000);
    default:
        return (size_t)random_below(&random, 2000);
    }
}

static const uint8_t *body_of(uint32_t end, uint32_t frame)
{
    return pattern + (end * 7919 + frame * 104729) % BODY_BYTES_MAX;
}

enum { HEAD_BYTES = 15 };

/* [0, frame, "c", [bin32]] */
static void write_head(uint8_t *to, uint32_t frame, size_t body_bytes)
{
    const uint8_t fixed[] = {0x94, 0x00, 0xce, 0, 0, 0, 0, 0xa1, 'c', 0x91, 0xc6};
    memcpy(to, fixed, sizeof(fixed));
    store_u32(to + 3, frame);
    store_u32(to + sizeof(fixed), (uint32_t)body_bytes);
}

static void hold_released(void *owner)
{
    ASSERT(owner == &holds_released);
    holds_released++;
}

static void write_frame(struct chaos_end *end)
{
    uint32_t frame = end->written++;
    size_t body_bytes = body_bytes_of(end->number, frame);
    const uint8_t *body = body_of(end->number, frame);
    struct connection *connection = &end->connection;
    uint8_t *head = connection_reserve(connection, HEAD_BYTES);
    write_head(head, frame, body_bytes);
    connection_commit(connection, HEAD_BYTES);
    if (random_below(&chance, 2) == 0) {
        struct output_hold hold = {hold_released, &holds_released};
        holds_given++;
        connection_write_range(connection, body, body_bytes, hold);
    } else {
        connection_write(connection, body, body_bytes);
    }
}

static void chaos_frame(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    (void)buffer;
    struct chaos_end *end = CONTAINER_OF(connection, struct chaos_end, connection);
    const struct chaos_end *peer = end->peer;
    ASSERT(!connection->paused && connection_is_open(connection));
    uint32_t number = end->received++;
    size_t body_bytes = body_bytes_of(peer->number, number);
    ASSERT(number < peer->written);
    ASSERT(frame.length == HEAD_BYTES + body_bytes);
    ASSERT(load_u32(frame.data + 3) == number);
    ASSERT(memcmp(frame.data + HEAD_BYTES, body_of(peer->number, number), body_bytes) == 0);
    if (random_below(&chance, 10) == 0) {
        connection_pause(connection);
    }
    if (random_below(&chance, 10) == 0) {
        write_frame(end);
    }
}

static void chaos_malformed(struct connection *connection, struct bytes seen, const char *why)
{
    (void)connection;
    (void)seen;
    (void)why;
    UNREACHABLE("only whole frames are written");
}

static void chaos_closed(struct connection *connection, enum connection_end how, int error)
{
    (void)error;
    struct chaos_end *end = CONTAINER_OF(connection, struct chaos_end, connection);
    end->closed++;
    end->is_open = false;
    end->how = how;
    closed_count++;
    ASSERT(connection_unsent_bytes(connection) == 0);
}

static const struct connection_events chaos_events = {.frame = chaos_frame,
                                                      .malformed = chaos_malformed,
                                                      .closed = chaos_closed};

static void act(struct timer *timer)
{
    struct chaos_end *end = CONTAINER_OF(timer, struct chaos_end, timer);
    if (!end->is_open) {
        return;
    }
    struct connection *connection = &end->connection;
    uint64_t what = random_below(&chance, 100);
    end->actions_left--;
    if (end->actions_left == 0) {
        connection_resume(connection);
        end->finished = connection_is_open(connection);
        connection_finish(connection);
    } else if (what < 50) {
        write_frame(end);
    } else if (what < 60) {
        connection_pause(connection);
    } else if (what < 85) {
        connection_resume(connection);
    } else if (what < 95) {
        connection_flush(connection);
    } else if (what == 99 && random_below(&chance, 4) == 0) {
        end->aborted = true;
        connection_close(connection);
    }
    struct reactor *reactor = connection->reactor;
    timer_start(reactor, timer, reactor_now_ns(reactor) + random_below(&chance, 3000000));
}

static void chaos_open(struct chaos_end *end, struct reactor *reactor, int socket)
{
    end->connection.events = &chaos_events;
    end->connection.frame_bytes_max = 1 << 20;
    end->is_open = true;
    end->timer.fired = act;
    connection_open(&end->connection, reactor, socket);
    timer_start(reactor, &end->timer, reactor_now_ns(reactor));
}

static void chaos_connected(struct op *op, int64_t result)
{
    ASSERT(result >= 0);
    chaos_open(CONTAINER_OF(op, struct chaos_end, connect.op), reactors[0], (int)result);
}

/* Connections may be accepted in another order than they were begun: peers find each other by
 * the order only because one is begun after the other was accepted. */
static uint32_t accepted_count;

static void chaos_begin_one(uint32_t pair);

static void chaos_accepted(struct accept_op *accept, int socket)
{
    (void)accept;
    chaos_open(&ends[2 * accepted_count + 1], reactors[1], socket);
    accepted_count++;
    if (accepted_count < PAIRS) {
        chaos_begin_one(accepted_count);
    }
}

static void accept_done(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
}

static struct address address;

static void chaos_begin_one(uint32_t pair)
{
    struct chaos_end *end = &ends[2 * pair];
    end->connect.op.done = chaos_connected;
    reactor_connect(reactors[0], &end->connect, &address, 60000);
}

static void begin(uint64_t seed)
{
    struct simulation_options options = {.seed = seed,
                                         .delay_ns_least = 1000,
                                         .delay_ns_most = 500000,
                                         .window_bytes = seed % 3 == 0 ? 3000 : 200000,
                                         .reset_per_million = seed % 2 == 0 ? 0 : 500};
    simulation = simulation_create(&options);
    reactors[0] = reactor_create_simulated(simulation, "left");
    reactors[1] = reactor_create_simulated(simulation, "right");
    random_init(&chance, seed ^ 0x5eed);
    memset(ends, 0, sizeof(ends));
    memset(&accept_op, 0, sizeof(accept_op));
    accepted_count = closed_count = 0;
    holds_given = holds_released = 0;
    for (uint32_t i = 0; i < ENDS; i++) {
        ends[i].number = i;
        ends[i].peer = &ends[i ^ 1];
        ends[i].actions_left = 1 + (int)random_below(&chance, ACTIONS);
    }
    address = net_world_address("10.0.0.1:1000");
    accept_op.accepted = chaos_accepted;
    accept_op.op.done = accept_done;
    int listener = reactor_listen(reactors[1], &address, &address);
    reactor_accept(reactors[1], &accept_op, listener);
    chaos_begin_one(0);
}

static bool all_are_closed(void *context)
{
    (void)context;
    return closed_count == ENDS;
}

static uint64_t bytes_written(const struct chaos_end *end)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < end->written; i++) {
        bytes += HEAD_BYTES + body_bytes_of(end->number, i);
    }
    return bytes;
}

static int whole_lives;
static int reset_lives;

/* It finished within its five seconds, and its peer was there until it saw that. */
static void check_whole_life(const struct chaos_end *end)
{
    reset_lives += end->how == CONNECTION_END_ERROR;
    if (end->finished && end->peer->how == CONNECTION_END_PEER &&
        end->connection.bytes_out == bytes_written(end)) {
        ck_assert_uint_eq(end->peer->received, end->written);
        whole_lives++;
    }
}

static void check_ends(bool with_resets)
{
    ck_assert_int_eq(holds_released, holds_given);
    for (int i = 0; i < ENDS; i++) {
        const struct chaos_end *end = &ends[i];
        ck_assert_int_eq(end->closed, 1);
        ck_assert_uint_le(end->received, end->peer->written);
        check_whole_life(end);
        ck_assert_ptr_null(end->connection.part);
        ck_assert_ptr_null(end->connection.held);
        ck_assert_ptr_null(end->connection.block);
        if (!with_resets && end->how == CONNECTION_END_ERROR) {
            ck_assert(end->peer->aborted || end->peer->finished);
        }
    }
    for (int i = 0; i < 2; i++) {
        /* At the most the one that is received into. */
        ck_assert_uint_le(buffer_pool_bytes(reactor_buffers(reactors[i])), BUFFER_BYTES);
    }
}

static uint64_t live(uint64_t seed)
{
    begin(seed);
    ck_assert_msg(simulation_run(simulation, 600000, all_are_closed, NULL), "seed %d", (int)seed);
    check_ends(seed % 2 != 0);
    uint64_t hash = simulation_hash(simulation);
    for (int i = 0; i < 2; i++) {
        simulation_kill(simulation, reactors[i]);
        reactor_destroy(reactors[i]);
    }
    simulation_destroy(simulation);
    return hash;
}

static void set_up(void)
{
    pattern = malloc(2 * BODY_BYTES_MAX);
    ck_assert_ptr_nonnull(pattern);
    struct random random;
    random_init(&random, 1);
    random_fill(&random, pattern, 2 * BODY_BYTES_MAX);
}

static void tear_down(void)
{
    free(pattern);
}

START_TEST(whatever_happens_frames_are_whole_and_in_order_and_nothing_is_left_behind)
{
    whole_lives = reset_lives = 0;
    for (uint64_t seed = (uint64_t)_i; seed < SEEDS; seed += 5) {
        (void)live(seed);
    }
    /* The mixture is what it should be. */
    ck_assert_int_gt(whole_lives, 10);
    ck_assert_int_gt(reset_lives, 10);
}
END_TEST

START_TEST(a_life_can_be_repeated_from_its_seed)
{
    ck_assert_uint_eq(live(4711), live(4711));
    ck_assert_uint_ne(live(4711), live(4712));
}
END_TEST

static Suite *connection_random_suite(void)
{
    Suite *suite = suite_create("net/connection_random");
    TCase *lives = tcase_create("lives");

    tcase_add_checked_fixture(lives, set_up, tear_down);
    tcase_add_loop_test(
        lives, whatever_happens_frames_are_whole_and_in_order_and_nothing_is_left_behind, 0, 5);
    tcase_add_test(lives, a_life_can_be_repeated_from_its_seed);
    suite_add_tcase(suite, lives);
    return suite;
}

TEST_MAIN(connection_random_suite)
