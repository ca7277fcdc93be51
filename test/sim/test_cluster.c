/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster.c - faults from a seed against a whole simulated cluster under load; the promises hold,
 * and the same seed is the same history.
 */
#include "net/simulation.h"
#include "proto/base/log.h"
#include "proto/base/random.h"
#include "test/lib/check_main.h"
#include "test/sim/sim_cluster.h"
#include "test/sim/sim_load.h"

#include <stdio.h>

enum {
    SEEDS_DEFAULT = 8,
    FAULT_EVERY_MS_MOST = 2500,
    /* Simulated: with faults it takes some minutes until everything was sent. */
    LOAD_MS_MOST = 600000,
    FAULTY_MS = 40000,
    CASE_S_MAX = 120 /* of real time, under a sanitizer on a busy machine */
};

struct world {
    uint64_t seed;
    bool tells; /* a line a fault */
    struct simulation *simulation;
    struct sim_cluster cluster;
    struct load load;
    struct random random;
    uint64_t broker_back_ns[SIM_BROKERS]; /* when it starts again; 0: it runs */
    uint64_t nameserver_back_ns[SIM_NAMESERVERS];
    char cut_a[16]; /* the link that is down, if any */
    char cut_b[16];
    uint64_t link_back_ns;
    uint32_t kills;
    uint32_t cuts;
};

/* What a run came to, to be compared. */
struct outcome {
    uint64_t hash;
    uint64_t acknowledged;
    uint64_t refused;
    uint64_t unknown;
    uint32_t kills;
    uint32_t cuts;
};

static uint64_t pick(struct world *world, uint64_t from, uint64_t to)
{
    return from + random_below(&world->random, to - from + 1);
}

static void tell(const struct world *world, const char *what, const char *whom)
{
    if (world->tells) {
        (void)printf("# %9.3f s: %s %s\n", (double)simulation_now_ns(world->simulation) / 1e9, what,
                     whom);
    }
}

/* ----------------------------------------------------------------- faults */

static void hurt_broker(struct world *world)
{
    uint32_t number = (uint32_t)pick(world, 0, SIM_BROKERS - 1);
    const char *name = world->cluster.brokers[number].name;
    if (world->broker_back_ns[number] != 0 || !sim_broker_is_up(&world->cluster, number)) {
        return;
    }
    world->broker_back_ns[number] =
        simulation_now_ns(world->simulation) + pick(world, 50, 4000) * 1000000;
    world->kills++;
    switch (pick(world, 0, 4)) {
    case 0:
        tell(world, "stop", name);
        sim_broker_stop(&world->cluster, number);
        break;
    case 1:
    case 2:
        tell(world, "kill", name);
        sim_broker_kill(&world->cluster, number);
        break;
    default:
        tell(world, "power cut", name);
        sim_broker_cut_power(&world->cluster, number, random_next(&world->random));
        world->cuts++;
        break;
    }
}

static void hurt_nameserver(struct world *world)
{
    uint32_t number = (uint32_t)pick(world, 0, SIM_NAMESERVERS - 1);
    if (!sim_nameserver_is_up(&world->cluster, number)) {
        return;
    }
    tell(world, "kill", world->cluster.nameservers[number].name);
    sim_nameserver_kill(&world->cluster, number);
    world->nameserver_back_ns[number] =
        simulation_now_ns(world->simulation) + pick(world, 50, 6000) * 1000000;
}

static void hurt_link(struct world *world)
{
    static const char *const ENDS[] = {"producer-0", "producer-1", "consumer-0",
                                       "consumer-1", "broker-0",   "broker-1"};
    static const char *const SERVERS[] = {"broker-0", "broker-1", "ns-0", "ns-1"};
    const char *a = ENDS[pick(world, 0, 5)];
    const char *b = SERVERS[pick(world, 0, 3)];
    if (world->link_back_ns != 0 || strcmp(a, b) == 0) {
        return;
    }
    (void)snprintf(world->cut_a, sizeof(world->cut_a), "%s", a);
    (void)snprintf(world->cut_b, sizeof(world->cut_b), "%s", b);
    tell(world, "cut a link of", a);
    simulation_link(world->simulation, a, b, false);
    world->link_back_ns = simulation_now_ns(world->simulation) + pick(world, 100, 5000) * 1000000;
}

/* Brings back what has been away long enough; with `now` everything. */
static void heal(struct world *world, bool now)
{
    uint64_t now_ns = simulation_now_ns(world->simulation);
    for (uint32_t i = 0; i < SIM_BROKERS; i++) {
        uint64_t *back_ns = &world->broker_back_ns[i];
        if (*back_ns != 0 && (now || *back_ns <= now_ns) && !sim_broker_is_up(&world->cluster, i)) {
            tell(world, "start", world->cluster.brokers[i].name);
            sim_broker_start(&world->cluster, i);
            *back_ns = 0;
        }
    }
    for (uint32_t i = 0; i < SIM_NAMESERVERS; i++) {
        uint64_t *back_ns = &world->nameserver_back_ns[i];
        if (*back_ns != 0 && (now || *back_ns <= now_ns)) {
            tell(world, "start", world->cluster.nameservers[i].name);
            sim_nameserver_start(&world->cluster, i);
            *back_ns = 0;
        }
    }
    if (world->link_back_ns != 0 && (now || world->link_back_ns <= now_ns)) {
        tell(world, "heal the link of", world->cut_a);
        simulation_link(world->simulation, world->cut_a, world->cut_b, true);
        world->link_back_ns = 0;
    }
}

static void hurt_something(struct world *world)
{
    switch (pick(world, 0, 5)) {
    case 0:
    case 1:
    case 2:
        hurt_broker(world);
        break;
    case 3:
        hurt_nameserver(world);
        break;
    default:
        hurt_link(world);
        break;
    }
}

/* -------------------------------------------------------------- one history */

static bool is_healed(struct world *world)
{
    for (uint32_t i = 0; i < SIM_BROKERS; i++) {
        if (world->broker_back_ns[i] != 0) {
            return false;
        }
    }
    return true;
}

static void run_faults(struct world *world)
{
    uint64_t end_ns = simulation_now_ns(world->simulation) + (uint64_t)FAULTY_MS * 1000000;
    uint64_t next_ns = simulation_now_ns(world->simulation) + UINT64_C(2000000000);
    while (simulation_now_ns(world->simulation) < end_ns) {
        /* Never in step with the load: power must fail in the middle of everything. */
        (void)simulation_run(world->simulation, pick(world, 1, 40), NULL, NULL);
        heal(world, false);
        if (simulation_now_ns(world->simulation) >= next_ns) {
            hurt_something(world);
            next_ns = simulation_now_ns(world->simulation) +
                      pick(world, 100, FAULT_EVERY_MS_MOST) * 1000000;
        }
    }
    while (!is_healed(world)) {
        (void)simulation_run(world->simulation, 50, NULL, NULL);
        heal(world, true);
    }
    heal(world, true);
}

static struct outcome run_history(uint64_t seed, bool tells)
{
    static struct world world;
    memset(&world, 0, sizeof(world));
    world.seed = seed;
    world.tells = tells;
    random_init(&world.random, seed);
    world.simulation = simulation_create(&(struct simulation_options){
        .seed = seed,
        .wall_ms = 1700000000000,
        .delay_ns_least = 20000,
        .delay_ns_most = 3000000,
        .window_bytes = 64 * 1024,
        .reset_per_million = 300,
    });
    sim_cluster_start(&world.cluster, world.simulation);
    load_start(&world.load, world.simulation);
    run_faults(&world);
    ck_assert_msg(simulation_run(world.simulation, LOAD_MS_MOST, load_is_done, &world.load),
                  "seed %llu: after all has healed messages are still not answered",
                  (unsigned long long)seed);
    load_judge(&world.load);
    load_end(&world.load);
    sim_cluster_end(&world.cluster);
    struct outcome outcome = {
        .hash = simulation_hash(world.simulation),
        .acknowledged = world.load.acknowledged,
        .refused = world.load.refused,
        .unknown = world.load.unknown,
        .kills = world.kills,
        .cuts = world.cuts,
    };
    simulation_destroy(world.simulation);
    if (tells) {
        (void)printf("# seed %llu: %llu acknowledged, %llu refused, %llu unknown; %u kills, %u of "
                     "them power cuts; history %016llx\n",
                     (unsigned long long)seed, (unsigned long long)outcome.acknowledged,
                     (unsigned long long)outcome.refused, (unsigned long long)outcome.unknown,
                     outcome.kills, outcome.cuts, (unsigned long long)outcome.hash);
    }
    return outcome;
}

/* ------------------------------------------------------------------ tests */

/* What a killed process had in flight is nobody's any more, as it would be under a real kernel: no
 * leak checker can tell that from a leak. Orderly ends are checked for leaks by the other tests. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
    return 1;
}

static void drop_line(void *context, struct bytes line)
{
    (void)context;
    (void)line;
}

static void set_up(void)
{
    if (getenv("TERNMQ_LOG") == NULL) {
        log_set_sink(drop_line, NULL);
    }
}

static uint64_t number_from(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text == NULL ? fallback : strtoull(text, NULL, 10);
}

START_TEST(nothing_acknowledged_is_lost_nothing_is_invented_and_order_holds)
{
    const char *only = getenv("TERNMQ_SEED");
    uint64_t seed = only != NULL ? strtoull(only, NULL, 10) : (uint64_t)_i + 1;
    struct outcome outcome = run_history(seed, true);
    /* The faults must not be all that happens, and must happen. */
    ck_assert_uint_gt(outcome.acknowledged, LOAD_MESSAGES / 2);
    ck_assert_uint_gt(outcome.kills, 2);
}
END_TEST

START_TEST(the_same_seed_is_the_same_history)
{
    uint64_t seed = number_from("TERNMQ_SEED", 42);
    struct outcome first = run_history(seed, false);
    struct outcome second = run_history(seed, false);
    ck_assert_uint_eq(first.hash, second.hash);
    ck_assert_uint_eq(first.acknowledged, second.acknowledged);
    ck_assert_uint_ne(first.hash, run_history(seed + 1, false).hash);
}
END_TEST

static Suite *suite(void)
{
    Suite *made = suite_create("sim_cluster");
    TCase *cluster = tcase_create("cluster");
    int seeds = getenv("TERNMQ_SEED") != NULL ? 1 : (int)number_from("TERNMQ_SEEDS", SEEDS_DEFAULT);
    tcase_set_timeout(cluster, CASE_S_MAX);
    tcase_add_checked_fixture(cluster, set_up, NULL);
    tcase_add_loop_test(cluster, nothing_acknowledged_is_lost_nothing_is_invented_and_order_holds,
                        0, seeds);
    tcase_add_test(cluster, the_same_seed_is_the_same_history);
    suite_add_tcase(made, cluster);
    return made;
}

TEST_MAIN(suite)
