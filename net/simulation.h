/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_SIMULATION_H
#define NET_SIMULATION_H

/*
 * simulation.h - a world in one thread: one clock, one network, one seed.
 *
 * Reactors made by reactor_create_simulated() live in it. Nothing happens by itself: the
 * simulation picks the next event (bytes arriving, a timer, a wake-up, a job of a simulated disk)
 * by simulated time, and by chance among equals, and runs the turn of the reactor concerned.
 * Real time does not pass inside. The same seed and the same program give the same history: every
 * event is folded into a hash.
 *
 * Network: connections between addresses that reactors listen on; bytes arrive in order, cut at
 * random places, after a random delay; sends take random parts, so short sends and full windows
 * happen. Links between named reactors can be cut.
 *
 * Memory:  the simulation owns all simulated sockets. Threads: one.
 */

#include <stdbool.h>
#include <stdint.h>

struct reactor;
struct simulation;

struct simulation_options {
    uint64_t seed;
    uint64_t wall_ms;        /* what the wall clock says at the start */
    uint64_t delay_ns_least; /* of bytes on a link */
    uint64_t delay_ns_most;
    uint32_t window_bytes;      /* a socket's buffer: sends beyond it wait */
    uint32_t reset_per_million; /* chance that a delivery resets its connection instead */
};

struct simulation *simulation_create(const struct simulation_options *options);

/* All reactors must be destroyed. */
void simulation_destroy(struct simulation *simulation);

/* Runs the next event. False where there is none: the world has come to rest. */
bool simulation_step(struct simulation *simulation);

/* Runs events until `until` answers true (asked after each) or simulated time has passed by
 * `most_ms`. True if `until` was met. `until` NULL: just lets the time pass. */
bool simulation_run(struct simulation *simulation, uint64_t most_ms, bool (*until)(void *context),
                    void *context);

uint64_t simulation_now_ns(const struct simulation *simulation);
uint64_t simulation_random(struct simulation *simulation);

/* The history so far, as one number. simulation_note() folds in what the test thinks matters. */
uint64_t simulation_hash(const struct simulation *simulation);
void simulation_note(struct simulation *simulation, uint64_t fact);

/* Runs `run(context)` at a later moment, as an event of its own (simulated disks use it). */
void simulation_at(struct simulation *simulation, uint64_t at_ns, void (*run)(void *context),
                   void *context);

/*
 * Cuts or heals the link between two processes, by name (a core of a process is a reactor named
 * PROCESS/NUMBER); bytes under way are lost at a cut, and connections over it end with a time-out,
 * as a real partition's would.
 */
void simulation_link(struct simulation *simulation, const char *a, const char *b, bool up);

/*
 * Kills the process that `reactor` stands for: its sockets reset, its timers, hooks and
 * operations are forgotten without any callback. Of a process of several reactors each is killed.
 * Afterwards only buffer_unref(), reactor_hook_remove() and reactor_destroy() are allowed.
 */
void simulation_kill(struct simulation *simulation, struct reactor *reactor);

#endif
