/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive_world.h - the one world of a test of receives: group "g" on a topic of one queue, and who asks.
 */
#ifndef TEST_UNIT_BROKER_RECEIVE_WORLD_H
#define TEST_UNIT_BROKER_RECEIVE_WORLD_H

#include "test/unit/broker/group_world.h"

enum { LONG_MS = 50000 };

static struct world world;

/* A world with one core (`index` 0) or two (1); the client of that number. */
static inline struct client_simulated *begin(int index)
{
    return world_begin_group(&world, index, 1);
}

static inline void end(void)
{
    world_end(&world);
}

static inline struct client_simulated *other(int index)
{
    return world.client[1 - index];
}

#endif
