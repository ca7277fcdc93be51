/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_world.h - a client and a fake server in one simulated world, and ways to let time pass in it.
 */
#ifndef TEST_UNIT_CLIENT_CLIENT_WORLD_H
#define TEST_UNIT_CLIENT_CLIENT_WORLD_H

#include "net/reactor.h"
#include "net/simulation.h"
#include "test/unit/client/fake_server.h"
#include "tools/client/attach.h"
#include "tools/client/ternmq.h"

#include <check.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define FAKE_ADDRESS "10.0.0.1:9876"
#define DEAD_ADDRESS "10.0.0.9:9876" /* nobody listens there */

enum { WORLD_PATIENCE_MS = 120000 };

struct client_world {
    struct simulation *simulation;
    struct reactor *server_reactor;
    struct reactor *client_reactor;
    struct fake_server server;
    struct ternmq *client;
    bool detached;
    uint32_t waits;          /* times that the client said it waits */
    struct ternmq_error why; /* the last reason */
    uint64_t began_ms;
};

static inline void world_waiting(void *context, const struct ternmq_error *why, uint64_t waited_ms)
{
    (void)waited_ms;
    struct client_world *world = context;
    world->waits++;
    world->why = *why;
}

static inline void world_init_options(struct client_world *world, uint64_t seed,
                                      uint32_t reset_per_million, struct ternmq_options options)
{
    memset(world, 0, sizeof(*world));
    world->simulation = simulation_create(&(struct simulation_options){
        .seed = seed,
        .wall_ms = 1700000000000,
        .delay_ns_least = 1000,
        .delay_ns_most = 200000,
        .window_bytes = 64 * 1024,
        .reset_per_million = reset_per_million,
    });
    world->began_ms = simulation_now_ns(world->simulation) / 1000000U;
    world->server_reactor = reactor_create_simulated(world->simulation, "server");
    world->client_reactor = reactor_create_simulated(world->simulation, "client");
    fake_server_start(&world->server, world->server_reactor, FAKE_ADDRESS);
    options.waiting = world_waiting;
    options.context = world;
    struct ternmq_error error;
    world->client = client_attach(world->client_reactor, &options, &error);
    ck_assert_msg(world->client != NULL, "%s", error.message);
}

static inline void world_init(struct client_world *world, uint64_t seed)
{
    world_init_options(world, seed, 0, (struct ternmq_options){.nameservers = FAKE_ADDRESS});
}

static inline void world_detached(void *context)
{
    ((struct client_world *)context)->detached = true;
}

static inline bool world_is_empty(void *context)
{
    const struct client_world *world = context;
    return world->detached && fake_server_is_stopped(&world->server);
}

static inline void world_deinit(struct client_world *world)
{
    if (world->client != NULL) {
        client_detach(world->client, world_detached, world);
    } else {
        world->detached = true;
    }
    fake_server_stop(&world->server);
    ck_assert(simulation_run(world->simulation, WORLD_PATIENCE_MS, world_is_empty, world));
    ck_assert_uint_eq(world->server.parked, 0);
    fake_server_free(&world->server);
    reactor_destroy(world->client_reactor);
    reactor_destroy(world->server_reactor);
    simulation_destroy(world->simulation);
}

/* Lets time pass until `met`; fails the test if it never is. */
static inline void world_run(struct client_world *world, bool (*met)(void *context), void *context)
{
    ck_assert(simulation_run(world->simulation, WORLD_PATIENCE_MS, met, context));
}

static inline void world_pass(struct client_world *world, uint64_t ms)
{
    simulation_run(world->simulation, ms, NULL, NULL);
}

/* Simulated time since the world began. */
static inline uint64_t world_now_ms(const struct client_world *world)
{
    return simulation_now_ns(world->simulation) / 1000000U - world->began_ms;
}

/* Stores a body of decimal digits in a queue of the server. */
static inline void world_append(struct client_world *world, uint32_t queue, uint64_t number)
{
    fake_server_append_number(&world->server, queue, number);
}

/* What became of something that was produced or called. */
struct outcome {
    uint32_t calls; /* of the callback */
    bool failed;
    struct ternmq_produced produced;
    struct ternmq_error error;
};

static inline void outcome_produced(void *context, const struct ternmq_produced *produced,
                                    const struct ternmq_error *error)
{
    struct outcome *outcome = context;
    outcome->calls++;
    outcome->failed = error != NULL;
    if (error != NULL) {
        outcome->error = *error;
    } else {
        outcome->produced = *produced;
    }
}

static inline bool outcome_is_there(void *context)
{
    return ((struct outcome *)context)->calls > 0;
}

#endif
