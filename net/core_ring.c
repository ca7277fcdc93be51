/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_ring.c - the rings between cores.
 *
 * Each side keeps what it knows of the other's index, and reads the shared one only when that
 * knowledge says full or empty. A turn's messages are published once, at its end or when a ring
 * is full; publishing and the look at whether the receiver sleeps are both sequentially
 * consistent, as are the receiver's going to sleep and its last look at the rings, so that one of
 * the two sees the other.
 */

#include "net/core_ring.h"

#include "net/reactor_backend.h"
#include "proto/base/contract.h"

#include <stdlib.h>
#include <string.h>

enum { CACHE_LINE_BYTES = 64, OVERFLOW_SLOTS_LEAST = 64 };

struct ring {
    alignas(CACHE_LINE_BYTES) _Atomic uint32_t published; /* the sender's */
    atomic_bool full; /* the sender's: it has an overflow, and is to be told of room */
    alignas(CACHE_LINE_BYTES) _Atomic uint32_t taken;  /* the receiver's */
    alignas(CACHE_LINE_BYTES) uint32_t published_seen; /* the receiver's knowledge */
    alignas(CACHE_LINE_BYTES) uint32_t written;        /* the sender's, not yet published */
    uint32_t taken_seen;                               /* the sender's knowledge */
    uint32_t overflow_begin;                           /* the sender's, as are these: */
    uint32_t overflow_count;
    uint32_t overflow_slots; /* a power of two, or 0 */
    struct core_message *overflow;
    alignas(CACHE_LINE_BYTES) struct core_message slots[CORE_RING_SLOTS];
};

_Static_assert(sizeof(struct core_message) == CACHE_LINE_BYTES, "a message is a cache line");
_Static_assert((CORE_RING_SLOTS & (CORE_RING_SLOTS - 1)) == 0, "places are found by a mask");

struct core {
    struct core_mesh *mesh;
    struct reactor *reactor;
    void *core;
    uint32_t number;
    struct turn_hook begin;
    struct turn_hook send;
    uint64_t unpublished; /* a bit a receiver: CORES_MAX is 64 */
};

struct core_mesh {
    uint32_t count;
    struct core *cores;
    struct ring *rings; /* [from * count + to] */
};

static struct ring *ring_of(struct core_mesh *mesh, uint32_t from, uint32_t to)
{
    return &mesh->rings[from * mesh->count + to];
}

/* ---------------------------------------------------------------- sending */

static bool ring_has_room(struct ring *ring)
{
    if (ring->written - ring->taken_seen < CORE_RING_SLOTS) {
        return true;
    }
    ring->taken_seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
    return ring->written - ring->taken_seen < CORE_RING_SLOTS;
}

static void ring_put(struct ring *ring, const struct core_message *message)
{
    ring->slots[ring->written & (CORE_RING_SLOTS - 1)] = *message;
    ring->written++;
}

static void overflow_grow(struct ring *ring)
{
    uint32_t slots = ring->overflow_slots == 0 ? OVERFLOW_SLOTS_LEAST : 2 * ring->overflow_slots;
    struct core_message *grown = malloc(slots * sizeof(*grown));
    ASSERT(grown != NULL); /* bounded by the calls in flight: this is the machine's end */
    for (uint32_t i = 0; i < ring->overflow_count; i++) {
        grown[i] = ring->overflow[(ring->overflow_begin + i) & (ring->overflow_slots - 1)];
    }
    free(ring->overflow);
    ring->overflow = grown;
    ring->overflow_slots = slots;
    ring->overflow_begin = 0;
}

static void overflow_put(struct ring *ring, const struct core_message *message)
{
    if (ring->overflow_count == ring->overflow_slots) {
        overflow_grow(ring);
    }
    uint32_t place = (ring->overflow_begin + ring->overflow_count) & (ring->overflow_slots - 1);
    ring->overflow[place] = *message;
    ring->overflow_count++;
}

static void overflow_drain(struct ring *ring)
{
    while (ring->overflow_count > 0 && ring_has_room(ring)) {
        ring_put(ring, &ring->overflow[ring->overflow_begin]);
        ring->overflow_begin = (ring->overflow_begin + 1) & (ring->overflow_slots - 1);
        ring->overflow_count--;
    }
    if (ring->overflow_count == 0 && ring->overflow != NULL) {
        atomic_store_explicit(&ring->full, false, memory_order_relaxed);
        free(ring->overflow);
        ring->overflow = NULL;
        ring->overflow_slots = 0;
    }
}

/* Makes what was written visible, and wakes the receiver if it sleeps. */
static void publish(struct core_mesh *mesh, struct ring *ring, uint32_t to)
{
    if (atomic_load_explicit(&ring->published, memory_order_relaxed) != ring->written) {
        atomic_store(&ring->published, ring->written);
        reactor_rouse_sleeper(mesh->cores[to].reactor);
    }
}

void core_send(struct core_mesh *mesh, uint32_t from, uint32_t to,
               const struct core_message *message)
{
    ASSERT(from < mesh->count && to < mesh->count && message->deliver != NULL);
    struct ring *ring = ring_of(mesh, from, to);
    mesh->cores[from].unpublished |= UINT64_C(1) << to;
    if (ring->overflow_count == 0 && ring_has_room(ring)) {
        ring_put(ring, message);
        return;
    }
    /* What is there goes on its way now, the rest keeps its order. */
    if (ring->overflow_count == 0) {
        atomic_store(&ring->full, true);
    }
    overflow_put(ring, message);
    publish(mesh, ring, to);
}

static void send_run(struct turn_hook *hook)
{
    struct core *core = CONTAINER_OF(hook, struct core, send);
    struct core_mesh *mesh = core->mesh;
    uint64_t left = core->unpublished;
    while (left != 0) {
        uint32_t to = (uint32_t)__builtin_ctzll(left);
        left &= left - 1;
        struct ring *ring = ring_of(mesh, core->number, to);
        overflow_drain(ring);
        publish(mesh, ring, to);
        if (ring->overflow_count == 0) {
            core->unpublished &= ~(UINT64_C(1) << to);
        }
    }
}

/* Something is to be published, or an overflow can go on. A full ring whose receiver is busy is
 * no work: the receiver wakes us when it has made room. */
static bool send_is_pending(struct turn_hook *hook)
{
    struct core *core = CONTAINER_OF(hook, struct core, send);
    uint64_t left = core->unpublished;
    while (left != 0) {
        uint32_t to = (uint32_t)__builtin_ctzll(left);
        left &= left - 1;
        struct ring *ring = ring_of(core->mesh, core->number, to);
        if (ring->overflow_count == 0 ||
            ring->written - atomic_load(&ring->taken) < CORE_RING_SLOTS) {
            return true;
        }
    }
    return false;
}

/* -------------------------------------------------------------- receiving */

static void ring_deliver(struct core *core, struct ring *ring, struct reactor *sender)
{
    uint32_t taken = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    if (ring->published_seen == taken) {
        ring->published_seen = atomic_load_explicit(&ring->published, memory_order_acquire);
        if (ring->published_seen == taken) {
            return;
        }
    }
    uint32_t end = ring->published_seen;
    for (uint32_t i = taken; i != end; i++) {
        __builtin_prefetch(&ring->slots[(i + 2) & (CORE_RING_SLOTS - 1)]);
        const struct core_message *message = &ring->slots[i & (CORE_RING_SLOTS - 1)];
        message->deliver(message, core->core);
    }
    atomic_store(&ring->taken, end);
    if (atomic_load(&ring->full)) {
        reactor_rouse_sleeper(sender);
    }
}

static void begin_run(struct turn_hook *hook)
{
    struct core *core = CONTAINER_OF(hook, struct core, begin);
    struct core_mesh *mesh = core->mesh;
    for (uint32_t from = 0; from < mesh->count; from++) {
        ring_deliver(core, ring_of(mesh, from, core->number), mesh->cores[from].reactor);
    }
}

static bool begin_is_pending(struct turn_hook *hook)
{
    struct core *core = CONTAINER_OF(hook, struct core, begin);
    struct core_mesh *mesh = core->mesh;
    for (uint32_t from = 0; from < mesh->count; from++) {
        struct ring *ring = ring_of(mesh, from, core->number);
        if (atomic_load(&ring->published) !=
            atomic_load_explicit(&ring->taken, memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------- life */

struct core_mesh *core_mesh_create(struct reactor *const *reactors, void *const *cores,
                                   uint32_t count)
{
    ASSERT(count >= 1 && count <= CORES_MAX);
    struct core_mesh *mesh = calloc(1, sizeof(*mesh));
    ASSERT(mesh != NULL);
    mesh->count = count;
    mesh->cores = calloc(count, sizeof(*mesh->cores));
    size_t rings_bytes = (size_t)count * count * sizeof(struct ring);
    mesh->rings = aligned_alloc(CACHE_LINE_BYTES, rings_bytes);
    ASSERT(mesh->cores != NULL && mesh->rings != NULL);
    memset(mesh->rings, 0, rings_bytes);
    for (uint32_t i = 0; i < count; i++) {
        struct core *core = &mesh->cores[i];
        core->mesh = mesh;
        core->reactor = reactors[i];
        core->core = cores[i];
        core->number = i;
        core->begin = (struct turn_hook){.run = begin_run, .pending = begin_is_pending};
        core->send = (struct turn_hook){.run = send_run, .pending = send_is_pending};
        reactor_hook_add(core->reactor, TURN_BEGIN, &core->begin);
        reactor_hook_add(core->reactor, TURN_SEND, &core->send);
    }
    return mesh;
}

void core_mesh_destroy(struct core_mesh *mesh)
{
    if (mesh == NULL) {
        return;
    }
    for (uint32_t i = 0; i < mesh->count; i++) {
        reactor_hook_remove(mesh->cores[i].reactor, &mesh->cores[i].begin);
        reactor_hook_remove(mesh->cores[i].reactor, &mesh->cores[i].send);
    }
    for (uint32_t i = 0; i < mesh->count * mesh->count; i++) {
        free(mesh->rings[i].overflow);
    }
    free(mesh->rings);
    free(mesh->cores);
    free(mesh);
}
