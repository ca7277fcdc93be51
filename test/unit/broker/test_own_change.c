/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_own_change.c - the changes that a broker makes for itself: topics of dead letters, members of
 * broadcast groups. On cores made from their parts, for nothing on the wire asks for them by name.
 */
#include "broker/broker.h"
#include "broker/catalogue_change.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/group_decision.h"
#include "broker/lease.h"
#include "broker/recovery.h"
#include "broker/shard.h"
#include "net/simulation.h"
#include "storage/commit_log.h"
#include "storage/disk_simulated.h"
#include "test/lib/check_main.h"
#include "test/lib/group_of_topic.h"

#include <errno.h>
#include <stdio.h>

enum { SHARDS = 3, CORES = 2, SOON_MS = 1000 };

/* The parts of a broker that changes go through, without sessions. */
struct store {
    struct simulation *simulation;
    struct disk_image *image;
    struct disk *disk;
    struct reactor *reactors[CORES];
    struct directory directories[CORES];
    struct cores *cores;
    struct leases *leases;
    bool is_full;
    bool stopped;
};

static struct store store;

static int fault(void *context, enum disk_call what)
{
    (void)context;
    return store.is_full && what == DISK_CALL_ALLOCATE ? -ENOSPC : 0;
}

static void failed(void *owner, const char *what)
{
    (void)owner;
    ck_abort_msg("%s", what);
}

static void found_topic(void *context, struct topic *topic)
{
    (void)context;
    for (uint32_t i = 0; i < CORES; i++) {
        directory_put(&store.directories[i], topic);
    }
}

static void found_group(void *context, struct group *group)
{
    (void)context;
    for (uint32_t i = 0; i < CORES; i++) {
        directory_put_group(&store.directories[i], group);
    }
}

static void recover(uint32_t shards)
{
    const struct broker_options broker = {
        .name = "broker-a",
        .disk = store.disk,
        .reactors = store.reactors,
        .core_count = CORES,
        .shard_count = shards,
        .durability = DURABILITY_DISK,
        .segment_bytes = 64 * 1024,
    };
    const struct recovery_options options = {
        .broker = &broker,
        .cores = store.cores,
        .log_failed = failed,
        .topic = found_topic,
        .group = found_group,
    };
    struct recovery_result result;
    char error[256];
    ck_assert_msg(recovery_run(&options, &result, error, sizeof(error)), "%s", error);
}

static void start(uint32_t shards)
{
    log_set_level(LOG_LEVEL_ERROR);
    const struct simulation_options options = {
        .seed = shards,
        .wall_ms = UINT64_C(1700000000000),
        .delay_ns_least = 10000,
        .delay_ns_most = 200000,
        .window_bytes = 256 * 1024,
    };
    store.simulation = simulation_create(&options);
    store.is_full = false;
    store.stopped = false;
    const struct disk_simulated_options disk = {
        .simulation = store.simulation,
        .job_ns_least = 100000,
        .job_ns_most = 2000000,
        .fault = fault,
    };
    store.disk = disk_simulated_open(store.image, &disk);
    for (uint32_t i = 0; i < CORES; i++) {
        char label[8];
        (void)snprintf(label, sizeof(label), "core-%u", i);
        store.reactors[i] = reactor_create_simulated(store.simulation, label);
        directory_init(&store.directories[i], (struct map_seed){.low = i, .high = 1});
    }
    store.cores = cores_create(store.reactors, CORES, shards);
    for (uint32_t i = 0; i < CORES; i++) {
        store.cores->core[i]->directory = &store.directories[i];
    }
    recover(shards);
    const struct leases_options leases = {
        .reactor = store.reactors[0],
        .directory = &store.directories[0],
        .name = "broker-a",
        .epoch = 1,
    };
    store.leases = leases_create(&leases);
    const struct catalogue_rules rules = {.shard_count = shards};
    store.cores->changes = catalogue_changes_create(store.cores->core[0], store.leases, &rules);
}

static void stopped(void *owner)
{
    (void)owner;
    store.stopped = true;
}

static bool is_stopped(void *context)
{
    (void)context;
    return store.stopped;
}

static void log_closed(void *owner)
{
    ((struct shard *)owner)->log = NULL;
}

static void close_logs(void)
{
    for (uint32_t i = 0; i < store.cores->shard_count; i++) {
        commit_log_close(store.cores->shard[i]->log, log_closed, store.cores->shard[i]);
    }
    (void)simulation_run(store.simulation, 10 * SOON_MS, NULL, NULL);
}

static void drained(struct core *core, void *owner)
{
    (void)core;
    (void)owner;
}

static void stop(void)
{
    catalogue_changes_stop(store.cores->changes, stopped, NULL);
    ck_assert(simulation_run(store.simulation, 60000, is_stopped, NULL));
    /* From here nothing is begun. */
    catalogue_change_dead_letters(store.cores->core[0], BYTES_OF("too-late"));
    for (uint32_t i = 0; i < CORES; i++) {
        core_drain(store.cores->core[i], drained, NULL);
    }
    (void)simulation_run(store.simulation, SOON_MS, NULL, NULL);
    ck_assert_ptr_null(directory_find(&store.directories[0], BYTES_OF("%DLQ%too-late")));
    close_logs();
    catalogue_changes_destroy(store.cores->changes);
    leases_destroy(store.leases);
    recovery_close(store.cores);
    cores_destroy(store.cores);
    for (uint32_t i = 0; i < CORES; i++) {
        directory_deinit(&store.directories[i]);
        reactor_destroy(store.reactors[i]);
    }
    disk_close(store.disk);
    simulation_destroy(store.simulation);
}

static void set_up(void)
{
    store.image = disk_image_create(false);
    start(SHARDS);
}

static void tear_down(void)
{
    stop();
    disk_image_destroy(store.image);
}

static void run(uint64_t ms)
{
    (void)simulation_run(store.simulation, ms, NULL, NULL);
}

/* ------------------------------------------------------------ dead letters */

static void make_dead_letters(const char *group)
{
    catalogue_change_dead_letters(store.cores->core[0], bytes_from_string(group));
}

/* On every core, with a queue that can be written in every shard. */
static void check_dead_letters(struct bytes name, uint32_t shards)
{
    for (uint32_t i = 0; i < CORES; i++) {
        const struct topic *topic = directory_find(&store.directories[i], name);
        ck_assert_ptr_nonnull(topic);
        ck_assert_uint_eq(topic->queue_count, shards);
        for (uint32_t queue = 0; queue < shards; queue++) {
            ck_assert_uint_eq(topic_shard(topic, queue), queue);
            ck_assert_ptr_nonnull(
                commit_log_queue_find(store.cores->shard[queue]->log, topic->id, (uint16_t)queue));
        }
    }
}

START_TEST(dead_letters_have_a_topic_soon_however_often_it_is_asked_for)
{
    make_dead_letters("billing");
    make_dead_letters("billing@one");
    make_dead_letters("%DLQ%billing");
    run(SOON_MS);
    check_dead_letters(BYTES_OF("%DLQ%billing"), SHARDS);
    uint64_t version = store.cores->shard[0]->catalogue->version;
    make_dead_letters("billing");
    run(SOON_MS);
    ck_assert_uint_eq(store.cores->shard[0]->catalogue->version, version);
    ck_assert_uint_eq(store.directories[0].count, 1);
}
END_TEST

START_TEST(dead_letters_get_a_queue_in_each_shard_that_comes)
{
    make_dead_letters("billing");
    run(SOON_MS);
    stop();
    start(SHARDS + 2);
    check_dead_letters(BYTES_OF("%DLQ%billing"), SHARDS);
    make_dead_letters("billing");
    run(SOON_MS);
    check_dead_letters(BYTES_OF("%DLQ%billing"), SHARDS + 2);
}
END_TEST

START_TEST(more_dead_letters_than_changes_may_be_under_way_are_asked_for_again)
{
    enum { GROUPS = CATALOGUE_CHANGES_MAX + 50 };
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < GROUPS; i++) {
            char name[16];
            (void)snprintf(name, sizeof(name), "g%u", i);
            make_dead_letters(name);
        }
        run(SOON_MS);
        ck_assert_uint_eq(store.directories[1].count, round == 0 ? CATALOGUE_CHANGES_MAX : GROUPS);
    }
}
END_TEST

/* ----------------------------------------------------------------- members */

struct wait {
    struct change_waiter waiter;
    uint32_t done;
    enum error error;
    bool was_there; /* on every core, when it was told */
    const char *name;
};

static void told(struct change_waiter *waiter, const struct refusal *refusal)
{
    struct wait *wait = CONTAINER_OF(waiter, struct wait, waiter);
    wait->done++;
    wait->error = refusal == NULL ? OK : refusal->code;
    wait->was_there = true;
    for (uint32_t i = 0; i < CORES; i++) {
        wait->was_there =
            wait->was_there &&
            directory_find_group(&store.directories[i], bytes_from_string(wait->name)) != NULL;
    }
}

static void ask_member(struct wait *wait, const char *name)
{
    *wait = (struct wait){.waiter = {.done = told}, .name = name};
    struct bytes text = bytes_from_string(name);
    size_t length = strcspn(name, "@");
    catalogue_change_member(store.cores->core[0], bytes_make(text.data, length),
                            bytes_make(text.data + length + 1, text.length - length - 1),
                            &wait->waiter);
}

/* Records a broadcast group in every shard, as a repair does, and tells the directories. */
static void make_broadcast(const char *name)
{
    struct group_settings settings;
    group_settings_init(&settings);
    settings.given = 1U << GROUP_SETTING_BROADCAST;
    settings.broadcast = true;
    const struct catalogue *catalogue = store.cores->shard[0]->catalogue;
    const struct group_parts parts = {
        .id = catalogue->next_id,
        .version = catalogue->version + 1,
        .name = bytes_from_string(name),
        .settings = &settings,
    };
    struct group *group = group_of_topic(&parts, "t", NULL);
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    catalogue_write_put_group(&writer, group);
    for (uint32_t i = 0; i < SHARDS; i++) {
        struct log_operation operation = {.done = NULL};
        ck_assert_int_eq(
            commit_log_operate(store.cores->shard[i]->log, writer_bytes(&writer), &operation), OK);
    }
    found_group(NULL, group);
    group_unref(group);
}

START_TEST(a_member_is_everywhere_when_its_waiter_is_told)
{
    make_broadcast("caches");
    struct wait waits[3];
    ask_member(&waits[0], "caches@one");
    ask_member(&waits[1], "caches@one");
    ask_member(&waits[2], "caches@two");
    ck_assert_uint_eq(waits[0].done + waits[1].done + waits[2].done, 0);
    run(SOON_MS);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(waits[i].done, 1);
        ck_assert_int_eq(waits[i].error, OK);
        ck_assert(waits[i].was_there);
    }
    for (uint32_t i = 0; i < SHARDS; i++) {
        const struct catalogue *catalogue = store.cores->shard[i]->catalogue;
        ck_assert_ptr_nonnull(catalogue_find_group(catalogue, BYTES_OF("caches@one")));
        ck_assert_ptr_nonnull(catalogue_find_group(catalogue, BYTES_OF("caches@two")));
        ck_assert_uint_eq(catalogue->group_count, 3);
    }
    /* It is there: told at once. */
    ask_member(&waits[0], "caches@one");
    ck_assert_uint_eq(waits[0].done, 1);
    ck_assert_int_eq(waits[0].error, OK);
}
END_TEST

START_TEST(a_member_of_no_broadcast_is_refused)
{
    struct wait wait;
    ask_member(&wait, "caches@one");
    ck_assert_uint_eq(wait.done, 1);
    ck_assert_int_eq(wait.error, ERROR_GROUP_NOT_FOUND);
}
END_TEST

/* Nothing more fits in the logs from `first` on, until there is room on the disk again. */
static void fill_logs(uint32_t first)
{
    static uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    store.is_full = true;
    for (uint32_t shard = first; shard < SHARDS; shard++) {
        enum error error = OK;
        size_t length = 200;
        for (uint32_t i = 0; error == OK || length > 0; i++) {
            char value[256];
            memset(value, 'v', length);
            value[length] = '\0';
            struct writer writer = writer_over(bytes, sizeof(bytes));
            catalogue_write_setting(&writer, "filler", value, 1);
            struct log_operation operation = {.done = NULL};
            error = commit_log_operate(store.cores->shard[shard]->log, writer_bytes(&writer),
                                       &operation);
            length = error == OK ? length : length / 2;
            if (i % 100 == 99) {
                run(50);
            }
            ck_assert_uint_lt(i, 100000);
        }
    }
}

START_TEST(a_waiter_hears_that_nothing_can_be_recorded)
{
    make_broadcast("caches");
    fill_logs(0);
    struct wait wait;
    ask_member(&wait, "caches@one");
    ck_assert_uint_eq(wait.done, 1);
    ck_assert_int_eq(wait.error, ERROR_DISK_FULL);
    store.is_full = false;
    run(5 * SOON_MS);
    ck_assert_uint_eq(wait.done, 1);
    ck_assert_ptr_null(directory_find_group(&store.directories[0], BYTES_OF("caches@one")));
    ask_member(&wait, "caches@one");
    run(SOON_MS);
    ck_assert_uint_eq(wait.done, 1);
    ck_assert_int_eq(wait.error, OK);
    ck_assert(wait.was_there);
}
END_TEST

START_TEST(a_waiter_hears_of_a_shard_without_room_and_the_member_comes_later)
{
    make_broadcast("caches");
    fill_logs(1);
    struct wait wait;
    struct wait behind;
    ask_member(&wait, "caches@one");
    ask_member(&behind, "caches@one");
    run(SOON_MS);
    ck_assert_uint_eq(wait.done, 1);
    ck_assert_int_eq(wait.error, ERROR_DISK_FULL);
    ck_assert_uint_eq(behind.done, 1);
    ck_assert_int_eq(behind.error, ERROR_DISK_FULL);
    ck_assert(!wait.was_there);
    /* Shard 0 has accepted it: it is decided. */
    store.is_full = false;
    run(5 * SOON_MS);
    ck_assert_uint_eq(wait.done, 1);
    ask_member(&wait, "caches@one");
    ck_assert_uint_eq(wait.done, 1);
    ck_assert_int_eq(wait.error, OK);
    ck_assert(wait.was_there);
}
END_TEST

static Suite *own_change_suite(void)
{
    Suite *suite = suite_create("own_change");
    TCase *cases = tcase_create("own_change");
    tcase_add_checked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, dead_letters_have_a_topic_soon_however_often_it_is_asked_for);
    tcase_add_test(cases, dead_letters_get_a_queue_in_each_shard_that_comes);
    tcase_add_test(cases, more_dead_letters_than_changes_may_be_under_way_are_asked_for_again);
    tcase_add_test(cases, a_member_is_everywhere_when_its_waiter_is_told);
    tcase_add_test(cases, a_member_of_no_broadcast_is_refused);
    tcase_add_test(cases, a_waiter_hears_that_nothing_can_be_recorded);
    tcase_add_test(cases, a_waiter_hears_of_a_shard_without_room_and_the_member_comes_later);
    suite_add_tcase(suite, cases);
    return suite;
}

TEST_MAIN(own_change_suite)
