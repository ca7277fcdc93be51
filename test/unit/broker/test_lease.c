/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_lease.c - the broker's place at nameservers: renewals, losses, fencing, in a simulated world.
 */
#include "broker/directory.h"
#include "broker/lease.h"
#include "broker/lease_call.h"
#include "net/simulation.h"
#include "proto/base/log.h"
#include "proto/limits.h"
#include "test/lib/check_main.h"
#include "test/unit/broker/puppet_nameserver.h"

#include <string.h>

static struct simulation *simulation;
static struct reactor *reactor; /* the broker's */
static struct directory directory;
static struct leases *leases;
static bool waiter_done;
static bool stopped;
static uint32_t fenced_count;

/* ----------------------------------------------------------------- world */

static void put_topic(uint32_t id, const char *name)
{
    static const uint16_t shards[] = {0, 0};
    const struct topic_parts parts = {
        .id = id,
        .version = id,
        .name = bytes_from_string(name),
        .queue_count = 2,
        .shards = shards,
    };
    struct topic *topic = topic_create(&parts);
    directory_put(&directory, topic);
    topic_unref(topic);
}

static void note_fenced(void *owner, const char *what)
{
    (void)owner;
    ck_assert_ptr_nonnull(strstr(what, "broker-a"));
    fenced_count++;
}

static void open_world(void)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct simulation_options options = {
        .seed = 11,
        .wall_ms = UINT64_C(1700000000000),
        .delay_ns_least = 10000,
        .delay_ns_most = 200000,
        .window_bytes = 64 * 1024,
    };
    simulation = simulation_create(&options);
    reactor = reactor_create_simulated(simulation, "broker");
    directory_init(&directory, (struct map_seed){.low = 1, .high = 2});
    put_topic(1, "orders");
    put_topic(2, "payments");
    waiter_done = false;
    stopped = false;
    fenced_count = 0;
}

static void start_leases(const struct puppet *puppets, uint32_t count)
{
    struct address addresses[4];
    for (uint32_t i = 0; i < count; i++) {
        addresses[i] = puppets[i].address;
    }
    const struct leases_options options = {
        .reactor = reactor,
        .directory = &directory,
        .name = "broker-a",
        .epoch = 4,
        .nameservers = addresses,
        .nameserver_count = count,
        .fenced = note_fenced,
    };
    leases = leases_create(&options);
    leases_start(leases, "10.0.0.1:10911");
}

static void run(uint64_t most_ms)
{
    (void)simulation_run(simulation, most_ms, NULL, NULL);
}

static void note_stopped(void *owner)
{
    (void)owner;
    stopped = true;
}

static bool is_true(void *context)
{
    return *(const bool *)context;
}

/* How many simulated ms it took until `fact`. */
static uint64_t run_until(bool *fact, uint64_t most_ms)
{
    uint64_t began_ns = simulation_now_ns(simulation);
    ck_assert(simulation_run(simulation, most_ms, is_true, fact));
    return (simulation_now_ns(simulation) - began_ns) / 1000000;
}

static void close_world(void)
{
    leases_stop(leases, note_stopped, NULL);
    reactor_wake(reactor);
    (void)run_until(&stopped, 5000);
    leases_destroy(leases);
    reactor_destroy(reactor);
    directory_deinit(&directory);
}

static void note_done(struct lease_waiter *waiter)
{
    (void)waiter;
    ck_assert(!waiter_done);
    waiter_done = true;
}

/* Announces a change; how many ms it took until whoever made it was told. */
static uint64_t announce(void)
{
    static struct lease_waiter waiter;
    waiter_done = false;
    waiter = (struct lease_waiter){.done = note_done};
    leases_announce(leases, &waiter);
    ck_assert(!waiter_done);
    reactor_wake(reactor);
    return run_until(&waiter_done, 5000);
}

/* ----------------------------------------------------------------- tests */

START_TEST(a_lease_is_renewed_every_third_of_it)
{
    struct puppet puppet;
    open_world();
    puppet_address(&puppet, "10.0.0.9:9876");
    puppet_start(&puppet, simulation, "nameserver");
    start_leases(&puppet, 1);
    run(100);
    /* One with the digest alone, and, as that was not known, one with the list. */
    ck_assert_uint_eq(puppet.renewals, 2);
    ck_assert_uint_eq(puppet.with_topics, 1);
    ck_assert_uint_eq(puppet.topics, 2);
    ck_assert_uint_eq(puppet.epoch, 4);
    ck_assert_uint_eq(puppet.digest, directory_digest(&directory));
    ck_assert_uint_eq(leases_held(leases), 1);
    run(60000);
    ck_assert_uint_ge(puppet.renewals, 2 + 17);
    ck_assert_uint_le(puppet.renewals, 2 + 19);
    ck_assert_uint_eq(puppet.with_topics, 1);
    close_world();
    ck_assert_uint_eq(puppet.releases, 1);
    puppet_kill(&puppet, simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(a_change_is_told_at_once_with_the_list)
{
    struct puppet puppets[2];
    open_world();
    puppet_address(&puppets[0], "10.0.0.8:9876");
    puppet_address(&puppets[1], "10.0.0.9:9876");
    puppet_start(&puppets[0], simulation, "one");
    puppet_start(&puppets[1], simulation, "other");
    start_leases(puppets, 2);
    run(1000);
    put_topic(3, "more");
    ck_assert_uint_lt(announce(), 10);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(puppets[i].topics, 3);
        ck_assert_uint_eq(puppets[i].with_topics, 2);
        ck_assert_uint_eq(puppets[i].digest, directory_digest(&directory));
    }
    close_world();
    puppet_kill(&puppets[0], simulation);
    puppet_kill(&puppets[1], simulation);
    simulation_destroy(simulation);
}
END_TEST

static uint32_t told_count;

static void count_told(struct lease_waiter *waiter)
{
    (void)waiter;
    told_count++;
}

START_TEST(many_changes_at_once_share_their_renewals)
{
    enum { CHANGES = 100 };
    static struct lease_waiter waiters[CHANGES];
    struct puppet puppet;
    open_world();
    puppet_address(&puppet, "10.0.0.9:9876");
    puppet_start(&puppet, simulation, "nameserver");
    start_leases(&puppet, 1);
    run(1000);
    uint32_t before = puppet.renewals;
    told_count = 0;
    for (uint32_t i = 0; i < CHANGES; i++) {
        waiters[i] = (struct lease_waiter){.done = count_told};
        leases_announce(leases, &waiters[i]);
    }
    ck_assert_uint_eq(told_count, 0);
    reactor_wake(reactor);
    run(100);
    ck_assert_uint_eq(told_count, CHANGES);
    ck_assert_uint_le(puppet.renewals - before, 2);
    close_world();
    puppet_kill(&puppet, simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(without_a_nameserver_nobody_waits)
{
    struct puppet puppet;
    open_world();
    puppet_address(&puppet, "10.0.0.9:9876");
    start_leases(&puppet, 1);
    run(3000);
    ck_assert_uint_eq(leases_held(leases), 0);
    ck_assert_uint_lt(announce(), 10);
    /* It comes at last, and is told everything within the longest back-off. */
    puppet_start(&puppet, simulation, "nameserver");
    run(3000);
    ck_assert_uint_eq(leases_held(leases), 1);
    ck_assert_uint_eq(puppet.topics, 2);
    close_world();
    puppet_kill(&puppet, simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(a_broker_without_nameservers_is_content)
{
    open_world();
    start_leases(NULL, 0);
    ck_assert_uint_lt(announce(), 10);
    close_world();
    simulation_destroy(simulation);
}
END_TEST

START_TEST(a_silent_nameserver_holds_a_change_up_for_half_a_second_only)
{
    struct puppet puppets[2];
    open_world();
    puppet_address(&puppets[0], "10.0.0.8:9876");
    puppet_address(&puppets[1], "10.0.0.9:9876");
    puppet_start(&puppets[0], simulation, "one");
    puppet_start(&puppets[1], simulation, "other");
    start_leases(puppets, 2);
    run(1000);
    puppets[1].manner = MANNER_SILENT;
    put_topic(3, "more");
    uint64_t took_ms = announce();
    ck_assert_uint_ge(took_ms, 490);
    ck_assert_uint_le(took_ms, 510);
    ck_assert_uint_eq(puppets[0].topics, 3);
    /* Its connection is given up, so that the next change does not wait for it for ever. */
    run(6000);
    ck_assert_uint_ge(puppets[1].connections, 2);
    puppets[1].manner = MANNER_HOLD;
    run(12000);
    ck_assert_uint_eq(leases_held(leases), 2);
    ck_assert_uint_eq(puppets[1].topics, 3);
    close_world();
    puppet_kill(&puppets[0], simulation);
    puppet_kill(&puppets[1], simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(a_nameserver_that_died_is_told_everything_when_it_is_back)
{
    struct puppet puppet;
    open_world();
    puppet_address(&puppet, "10.0.0.9:9876");
    puppet_start(&puppet, simulation, "nameserver");
    start_leases(&puppet, 1);
    run(1000);
    puppet_kill(&puppet, simulation);
    run(2000);
    ck_assert_uint_eq(leases_held(leases), 0);
    puppet.with_topics = 0;
    puppet.topics = 0;
    puppet_start(&puppet, simulation, "nameserver-again");
    run(LEASE_MS / 3);
    ck_assert_uint_eq(leases_held(leases), 1);
    ck_assert_uint_eq(puppet.topics, 2);
    close_world();
    puppet_kill(&puppet, simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(a_nameserver_that_always_wants_the_list_gets_it_at_the_pace_of_renewals)
{
    struct puppet puppet;
    open_world();
    puppet_address(&puppet, "10.0.0.9:9876");
    puppet.manner = MANNER_WANT_ALWAYS;
    puppet_start(&puppet, simulation, "nameserver");
    start_leases(&puppet, 1);
    run(30000);
    ck_assert_uint_le(puppet.renewals, 12);
    ck_assert_uint_ge(puppet.renewals, 9);
    ck_assert_uint_lt(announce(), 10);
    close_world();
    puppet_kill(&puppet, simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(a_namesake_that_came_later_ends_who_held_the_lease)
{
    struct puppet puppet;
    open_world();
    puppet_address(&puppet, "10.0.0.9:9876");
    puppet_start(&puppet, simulation, "nameserver");
    start_leases(&puppet, 1);
    run(1000);
    ck_assert_uint_eq(leases_held(leases), 1);
    puppet.manner = MANNER_FENCE;
    run(4000);
    ck_assert_uint_eq(fenced_count, 1);
    close_world();
    puppet_kill(&puppet, simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(a_new_store_under_an_old_name_waits_until_it_is_forgotten)
{
    struct puppet puppet;
    open_world();
    puppet_address(&puppet, "10.0.0.9:9876");
    puppet.manner = MANNER_FENCE;
    puppet_start(&puppet, simulation, "nameserver");
    start_leases(&puppet, 1);
    run(20000);
    ck_assert_uint_eq(fenced_count, 0);
    ck_assert_uint_lt(announce(), 10);
    puppet.manner = MANNER_HOLD;
    run(2000);
    ck_assert_uint_eq(leases_held(leases), 1);
    ck_assert_uint_eq(puppet.topics, 2);
    close_world();
    puppet_kill(&puppet, simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(who_is_fenced_for_good_ends)
{
    struct puppet puppet;
    open_world();
    puppet_address(&puppet, "10.0.0.9:9876");
    puppet.manner = MANNER_FENCE;
    puppet_start(&puppet, simulation, "nameserver");
    start_leases(&puppet, 1);
    run(LEASES_FENCED_MAX * LEASE_MS + 2000);
    ck_assert_uint_eq(fenced_count, 1);
    close_world();
    puppet_kill(&puppet, simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(nonsense_ends_the_connection_and_not_the_broker)
{
    struct puppet puppet;
    open_world();
    puppet_address(&puppet, "10.0.0.9:9876");
    puppet.manner = MANNER_NONSENSE;
    puppet_start(&puppet, simulation, "nameserver");
    start_leases(&puppet, 1);
    run(20000);
    ck_assert_uint_ge(puppet.connections, 5);
    /* It backs off: a nameserver gone mad is not called in a circle. */
    ck_assert_uint_le(puppet.connections, 20);
    ck_assert_uint_eq(fenced_count, 0);
    close_world();
    puppet_kill(&puppet, simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(stopping_does_not_wait_for_a_silent_nameserver)
{
    struct puppet puppet;
    open_world();
    puppet_address(&puppet, "10.0.0.9:9876");
    puppet_start(&puppet, simulation, "nameserver");
    start_leases(&puppet, 1);
    run(1000);
    simulation_link(simulation, "broker", "nameserver", false);
    uint64_t began_ns = simulation_now_ns(simulation);
    close_world();
    ck_assert_uint_le(simulation_now_ns(simulation) - began_ns, UINT64_C(1500000000));
    puppet_kill(&puppet, simulation);
    simulation_destroy(simulation);
}
END_TEST

START_TEST(answers_to_a_renewal_are_read_or_refused)
{
    struct lease_renewed renewed = {.lease_ms = 1};
    ck_assert(
        lease_read_renewed(BYTES_OF("\x82\xa8lease_ms\xcd\x27\x10\xabwant_topics\xc3"), &renewed));
    ck_assert_uint_eq(renewed.lease_ms, 10000);
    ck_assert(renewed.want_topics);
    /* Keys that are not known are skipped. */
    ck_assert(lease_read_renewed(BYTES_OF("\x82\xa1x\x93\x01\x02\x03\xa8lease_ms\xcd\x27\x10"),
                                 &renewed));
    ck_assert(!renewed.want_topics);
    ck_assert(!lease_read_renewed(BYTES_OF("\x81\xa8lease_ms\x00"), &renewed));
    ck_assert(!lease_read_renewed(BYTES_OF("\x80"), &renewed));
    ck_assert(!lease_read_renewed(BYTES_OF("\xc0"), &renewed));
    ck_assert(!lease_read_renewed(BYTES_OF("\x81\xa8lease_ms\xa1y"), &renewed));
    ck_assert(!lease_read_renewed(BYTES_OF(""), &renewed));
}
END_TEST

static Suite *lease_suite(void)
{
    Suite *suite = suite_create("lease");
    TCase *cases = tcase_create("lease");
    tcase_add_test(cases, a_lease_is_renewed_every_third_of_it);
    tcase_add_test(cases, a_change_is_told_at_once_with_the_list);
    tcase_add_test(cases, many_changes_at_once_share_their_renewals);
    tcase_add_test(cases, without_a_nameserver_nobody_waits);
    tcase_add_test(cases, a_broker_without_nameservers_is_content);
    tcase_add_test(cases, a_silent_nameserver_holds_a_change_up_for_half_a_second_only);
    tcase_add_test(cases, a_nameserver_that_died_is_told_everything_when_it_is_back);
    tcase_add_test(cases, a_nameserver_that_always_wants_the_list_gets_it_at_the_pace_of_renewals);
    tcase_add_test(cases, a_namesake_that_came_later_ends_who_held_the_lease);
    tcase_add_test(cases, a_new_store_under_an_old_name_waits_until_it_is_forgotten);
    tcase_add_test(cases, who_is_fenced_for_good_ends);
    tcase_add_test(cases, nonsense_ends_the_connection_and_not_the_broker);
    tcase_add_test(cases, stopping_does_not_wait_for_a_silent_nameserver);
    tcase_add_test(cases, answers_to_a_renewal_are_read_or_refused);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(lease_suite)
