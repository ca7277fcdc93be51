/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simulation.c - time, events, chance and history of a simulated world.
 *
 * The next event is the one of the earliest moment; the low bits of a key are random, so that
 * chance decides among events of one moment.
 */

#include "net/simulation.h"

#include "net/simulation_world.h"
#include "proto/base/contract.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHANCE_BITS = 8, /* of a key; 2^56 ns are more than two years of simulated time */
    PORT_FIRST = 20000
};

#define BOOT_NS UINT64_C(1000000000) /* the world's clock starts at one second: 0 is no moment */

struct cut {
    struct list link;
    char a[NAME_BYTES];
    char b[NAME_BYTES];
};

struct later {
    struct list link;
    struct world_event event;
    void (*run)(void *context);
    void *context;
};

/* ----------------------------------------------------------------- events */

void world_event_init(struct world_event *event, enum world_fact fact, uint32_t number,
                      void (*run)(struct simulation *simulation, struct world_event *event))
{
    heap_node_init(&event->node);
    event->fact = fact;
    event->number = number;
    event->run = run;
}

void world_schedule(struct simulation *simulation, struct world_event *event, uint64_t at_ns)
{
    uint64_t at = at_ns > simulation->now_ns ? at_ns : simulation->now_ns;
    ASSERT(at < UINT64_MAX >> CHANCE_BITS);
    uint64_t chance = random_below(&simulation->random, 1U << CHANCE_BITS);
    uint64_t key = at << CHANCE_BITS | chance;
    if (heap_node_is_in(&event->node)) {
        heap_move(&simulation->events, &event->node, key);
        return;
    }
    bool there_is_memory = heap_insert(&simulation->events, &event->node, key);
    ASSERT(there_is_memory);
}

void world_unschedule(struct simulation *simulation, struct world_event *event)
{
    if (heap_node_is_in(&event->node)) {
        heap_remove(&simulation->events, &event->node);
    }
}

/* A multiplication and a shift a fact: splitmix64's finish. */
void world_fold(struct simulation *simulation, uint64_t fact)
{
    uint64_t mixed = (simulation->hash ^ fact) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    simulation->hash = mixed ^ mixed >> 27;
}

bool world_chance(struct simulation *simulation, uint32_t in, uint32_t of)
{
    return in > 0 && random_below(&simulation->random, of) < in;
}

uint64_t world_arrival_ns(struct simulation *simulation)
{
    const struct simulation_options *options = &simulation->options;
    uint64_t spread_ns = options->delay_ns_most - options->delay_ns_least;
    return simulation->now_ns + options->delay_ns_least +
           random_below(&simulation->random, spread_ns + 1);
}

/* The moment of the next event, or UINT64_MAX. */
static uint64_t next_ns(struct simulation *simulation)
{
    simulated_reactors_schedule(simulation);
    const struct heap_node *least = heap_least(&simulation->events);
    return least == NULL ? UINT64_MAX : least->key >> CHANCE_BITS;
}

bool simulation_step(struct simulation *simulation)
{
    if (next_ns(simulation) == UINT64_MAX) {
        return false;
    }
    struct heap_node *least = heap_least(&simulation->events);
    struct world_event *event = CONTAINER_OF(least, struct world_event, node);
    simulation->now_ns = least->key >> CHANCE_BITS;
    heap_remove(&simulation->events, least);
    world_fold(simulation, simulation->now_ns);
    world_fold(simulation, (uint64_t)event->fact << 32 | event->number);
    event->run(simulation, event);
    return true;
}

bool simulation_run(struct simulation *simulation, uint64_t most_ms, bool (*until)(void *context),
                    void *context)
{
    uint64_t end_ns = simulation->now_ns + most_ms * 1000000;
    if (until != NULL && until(context)) {
        return true;
    }
    while (next_ns(simulation) <= end_ns) {
        (void)simulation_step(simulation); /* there is an event: asked just now */
        if (until != NULL && until(context)) {
            return true;
        }
    }
    simulation->now_ns = end_ns;
    return until == NULL;
}

static void run_later(struct simulation *simulation, struct world_event *event)
{
    (void)simulation;
    struct later *later = CONTAINER_OF(event, struct later, event);
    void (*run)(void *context) = later->run;
    void *context = later->context;
    list_remove(&later->link);
    free(later);
    run(context);
}

void simulation_at(struct simulation *simulation, uint64_t at_ns, void (*run)(void *context),
                   void *context)
{
    struct later *later = malloc(sizeof(*later));
    ASSERT(later != NULL);
    later->run = run;
    later->context = context;
    list_init(&later->link);
    list_append(&simulation->later, &later->link);
    world_event_init(&later->event, FACT_AT, 0, run_later);
    world_schedule(simulation, &later->event, at_ns);
}

/* ------------------------------------------------------------------ links */

/* A core of a process is named PROCESS/NUMBER; links and kills mean the process. */
static bool is_of_process(const char *reactor, const char *process)
{
    size_t length = strlen(process);
    return strncmp(reactor, process, length) == 0 &&
           (reactor[length] == '\0' || reactor[length] == '/');
}

static bool cut_is_between(const struct cut *cut, const char *a, const char *b)
{
    return (is_of_process(a, cut->a) && is_of_process(b, cut->b)) ||
           (is_of_process(a, cut->b) && is_of_process(b, cut->a));
}

bool world_link_is_up(struct simulation *simulation, const struct simulated_reactor *a,
                      const struct simulated_reactor *b)
{
    LIST_FOREACH (link, &simulation->cuts) {
        if (cut_is_between(CONTAINER_OF(link, struct cut, link), a->name, b->name)) {
            return false;
        }
    }
    return true;
}

void simulation_link(struct simulation *simulation, const char *a, const char *b, bool up)
{
    ASSERT(strlen(a) < NAME_BYTES && strlen(b) < NAME_BYTES);
    world_fold(simulation, FACT_LINK);
    LIST_FOREACH (link, &simulation->cuts) {
        struct cut *cut = CONTAINER_OF(link, struct cut, link);
        if (cut_is_between(cut, a, b)) {
            list_remove(&cut->link);
            free(cut);
        }
    }
    if (up) {
        return;
    }
    struct cut *cut = calloc(1, sizeof(*cut));
    ASSERT(cut != NULL);
    memcpy(cut->a, a, strlen(a));
    memcpy(cut->b, b, strlen(b));
    list_append(&simulation->cuts, &cut->link);
    network_cut(simulation);
}

void simulation_kill(struct simulation *simulation, struct reactor *reactor)
{
    struct simulated_reactor *victim = simulated_reactor_of(reactor);
    ASSERT(victim->simulation == simulation);
    if (reactor->killed) {
        return;
    }
    world_fold(simulation, FACT_KILL);
    reactor->killed = true;
    world_unschedule(simulation, &victim->turn);
    network_kill(victim);
    list_init(&reactor->finished);
    list_init(&reactor->delivering);
    atomic_store(&reactor->posted, NULL);
}

/* ------------------------------------------------------------------- life */

struct simulation *simulation_create(const struct simulation_options *options)
{
    ASSERT(options->delay_ns_most >= options->delay_ns_least);
    ASSERT(options->window_bytes > 0);
    struct simulation *simulation = calloc(1, sizeof(*simulation));
    ASSERT(simulation != NULL);
    simulation->options = *options;
    simulation->now_ns = BOOT_NS;
    simulation->port_next = PORT_FIRST;
    random_init(&simulation->random, options->seed);
    heap_init(&simulation->events);
    list_init(&simulation->reactors);
    list_init(&simulation->pairs);
    list_init(&simulation->listeners);
    list_init(&simulation->cuts);
    list_init(&simulation->later);
    world_fold(simulation, options->seed);
    return simulation;
}

void simulation_destroy(struct simulation *simulation)
{
    ASSERT(list_is_empty(&simulation->reactors));
    network_destroy(simulation);
    LIST_FOREACH (link, &simulation->cuts) {
        free(CONTAINER_OF(link, struct cut, link));
    }
    LIST_FOREACH (link, &simulation->later) {
        free(CONTAINER_OF(link, struct later, link));
    }
    heap_deinit(&simulation->events);
    free(simulation);
}

uint64_t simulation_now_ns(const struct simulation *simulation)
{
    return simulation->now_ns;
}

uint64_t simulation_random(struct simulation *simulation)
{
    return random_next(&simulation->random);
}

uint64_t simulation_hash(const struct simulation *simulation)
{
    return simulation->hash;
}

void simulation_note(struct simulation *simulation, uint64_t fact)
{
    world_fold(simulation, FACT_NOTE);
    world_fold(simulation, fact);
}
