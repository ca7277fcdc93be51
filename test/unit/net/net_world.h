/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_world.h - a reactor of any backend for a test, and a way to let time pass in it: what a
 * header of net/ promises is tested once and holds for all.
 */
#ifndef TEST_UNIT_NET_NET_WORLD_H
#define TEST_UNIT_NET_NET_WORLD_H

#include "net/address.h"
#include "net/reactor.h"
#include "net/simulation.h"

#include <check.h>

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum {
    NET_WORLD_KERNEL_KINDS = 2, /* the `_i` of a loop test is an enum reactor_kind */
    NET_WORLD_KINDS = 3,        /* the simulated one is the last */
    NET_WORLD_BUFFERS_BYTES = 32 * 1024 * 1024,
    NET_WORLD_PATIENCE_MS = 10000
};

/* Of the simulated worlds: a test may choose another one before it begins. */
static uint64_t net_world_seed = 42;

struct net_world {
    enum reactor_kind kind;
    struct simulation *simulation;
    struct reactor *reactor;
};

/* A reactor on the kernel, of a kind below NET_WORLD_KERNEL_KINDS. */
static inline struct reactor *net_world_reactor(int kind, size_t buffers_bytes)
{
    struct reactor *reactor = kind == REACTOR_URING ? reactor_create_uring(buffers_bytes)
                                                    : reactor_create_epoll(buffers_bytes);
    ck_assert_ptr_nonnull(reactor);
    return reactor;
}

static inline void net_world_init_sized(struct net_world *world, int kind, size_t buffers_bytes)
{
    world->kind = (enum reactor_kind)kind;
    world->simulation = NULL;
    if (world->kind == REACTOR_SIMULATED) {
        const struct simulation_options options = {.seed = net_world_seed,
                                                   .wall_ms = 1700000000000,
                                                   .delay_ns_least = 1000,
                                                   .delay_ns_most = 200000,
                                                   .window_bytes = 64 * 1024};
        world->simulation = simulation_create(&options);
        world->reactor = reactor_create_simulated(world->simulation, "one");
    } else {
        world->reactor = net_world_reactor(kind, buffers_bytes);
    }
    ck_assert_ptr_nonnull(world->reactor);
}

static inline void net_world_init(struct net_world *world, int kind)
{
    net_world_init_sized(world, kind, NET_WORLD_BUFFERS_BYTES);
}

static inline void net_world_deinit(struct net_world *world)
{
    reactor_destroy(world->reactor);
    if (world->simulation != NULL) {
        simulation_destroy(world->simulation);
    }
}

static inline uint64_t net_world_clock_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Runs until `until` is true or `most_ms` have passed; whether it was met. */
static inline bool net_world_run(struct net_world *world, bool (*until)(void *context),
                                 void *context, uint64_t most_ms)
{
    if (world->simulation != NULL) {
        return simulation_run(world->simulation, most_ms, until, context);
    }
    uint64_t end_ms = net_world_clock_ms() + most_ms;
    while (!until(context)) {
        uint64_t now_ms = net_world_clock_ms();
        if (now_ms >= end_ms) {
            return false;
        }
        reactor_run_once(world->reactor, (int64_t)(end_ms - now_ms));
    }
    return true;
}

static inline bool net_world_never(void *context)
{
    (void)context;
    return false;
}

/* Lets `ms` pass. */
static inline void net_world_pass(struct net_world *world, uint64_t ms)
{
    (void)net_world_run(world, net_world_never, NULL, ms);
}

static inline bool net_world_flag_is_set(void *context)
{
    return *(const bool *)context;
}

/* Runs until `*flag`, and fails the test if that takes too long. */
static inline void net_world_await(struct net_world *world, bool *flag)
{
    ck_assert(net_world_run(world, net_world_flag_is_set, flag, NET_WORLD_PATIENCE_MS));
}

/* One turn, without waiting for anything. */
static inline void net_world_turn(struct net_world *world)
{
    if (world->simulation != NULL) {
        (void)simulation_step(world->simulation);
    } else {
        reactor_run_once(world->reactor, 0);
    }
}

static inline struct address net_world_address(const char *text)
{
    struct address address;
    char error[200];
    ck_assert_msg(address_parse(text, 0, &address, error, sizeof(error)), "%s", error);
    return address;
}

#endif
