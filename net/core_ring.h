/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_CORE_RING_H
#define NET_CORE_RING_H

/*
 * core_ring.h - how cores talk: one bounded single-producer single-consumer ring a pair.
 *
 * A message is 64 bytes: a function, what it works on, and up to five words. Bytes never cross
 * in a ring; what a message points to belongs to the receiver from the moment it is sent until
 * it is sent back. A receiver that sleeps is woken by one system call; one that runs by none.
 *
 * A full ring does not refuse: messages wait, in order, in the sender's overflow list, which is
 * bounded because every message belongs to a call, and calls a connection are. A message sent by
 * a core to itself is delivered in the next turn, like all others.
 *
 * Threads: core_mesh_create() before the cores run; core_send() on the thread of `from`.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core_mesh;
struct reactor;

enum {
    CORE_RING_SLOTS =
        128, /* a pair; 8 KiB. Enough to batch a turn, small enough to stay in L1/L2 */
    CORES_MAX = 64
};

struct core_message {
    /* Runs on the receiving core, inside its turn's begin. `message` is valid until return. */
    void (*deliver)(const struct core_message *message, void *core);
    void *object;
    uint64_t words[6];
};

/*
 * Makes the rings between `count` (1 to CORES_MAX) reactors and hooks them into their turns.
 * `cores[i]` is given to `deliver` as `core`. All arrays are copied.
 */
struct core_mesh *core_mesh_create(struct reactor *const *reactors, void *const *cores,
                                   uint32_t count);

/* No core may be running. */
void core_mesh_destroy(struct core_mesh *mesh);

void core_send(struct core_mesh *mesh, uint32_t from, uint32_t to,
               const struct core_message *message);

#endif
