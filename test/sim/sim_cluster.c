/* SPDX-License-Identifier: Apache-2.0 */
/* sim_cluster.c - the processes of a simulated cluster. */
#include "test/sim/sim_cluster.h"

#include "broker/broker.h"
#include "nameserver/nameserver.h"
#include "net/address.h"
#include "net/reactor.h"
#include "net/simulation.h"
#include "proto/base/contract.h"
#include "storage/disk.h"
#include "storage/disk_simulated.h"

#include <check.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char SIM_NAMESERVER_LIST[] = "10.0.1.1:9876;10.0.1.2:9876";

enum {
    /* Small, so that logs roll and take snapshots while faults happen. */
    SEGMENT_BYTES = 64 * 1024,
    SETTLE_MS = 60000,
    ERROR_BYTES = 512
};

static struct address address_of(const char *text)
{
    struct address address;
    char error[ERROR_BYTES];
    ck_assert_msg(address_parse(text, 0, &address, error, sizeof(error)), "%s", error);
    return address;
}

/* ------------------------------------------------------------- nameservers */

void sim_nameserver_start(struct sim_cluster *cluster, uint32_t number)
{
    struct sim_nameserver *process = &cluster->nameservers[number];
    const struct nameserver_options options = {.lease_ms = LEASE_MS, .idle_ms = IDLE_CLOSE_MS};
    char error[ERROR_BYTES];
    ck_assert_ptr_null(process->reactor);
    process->reactor = reactor_create_simulated(cluster->simulation, process->name);
    process->nameserver = nameserver_create(process->reactor, &options);
    process->stopped = false;
    struct address address = address_of(process->address);
    ck_assert_msg(nameserver_listen(process->nameserver, &address, NULL, error, sizeof(error)),
                  "%s", error);
}

void sim_nameserver_kill(struct sim_cluster *cluster, uint32_t number)
{
    struct sim_nameserver *process = &cluster->nameservers[number];
    simulation_kill(cluster->simulation, process->reactor);
    reactor_destroy(process->reactor);
    process->reactor = NULL;
    process->nameserver = NULL;
}

bool sim_nameserver_is_up(const struct sim_cluster *cluster, uint32_t number)
{
    return cluster->nameservers[number].reactor != NULL;
}

static void note_stopped(void *owner)
{
    *(bool *)owner = true;
}

static bool is_true(void *context)
{
    return *(const bool *)context;
}

static void nameserver_end(struct sim_cluster *cluster, uint32_t number)
{
    struct sim_nameserver *process = &cluster->nameservers[number];
    if (process->reactor == NULL) {
        return;
    }
    nameserver_stop(process->nameserver, note_stopped, &process->stopped);
    ck_assert(simulation_run(cluster->simulation, SETTLE_MS, is_true, &process->stopped));
    nameserver_destroy(process->nameserver);
    reactor_destroy(process->reactor);
    process->reactor = NULL;
}

/* ----------------------------------------------------------------- brokers */

static void broker_failed(void *owner, const char *what)
{
    const struct sim_broker *process = owner;
    ck_abort_msg("%s failed: %s", process->name, what);
}

static void open_disk(struct sim_cluster *cluster, struct sim_broker *process)
{
    /* A sync takes from 0.2 to 30 ms: a slow disk, so that much is under way when power fails. And
     * memory is short, so that readers behind find their bytes gone. */
    const struct disk_simulated_options options = {.simulation = cluster->simulation,
                                                   .job_ns_least = 200000,
                                                   .job_ns_most = 30000000,
                                                   .forgets_one_in = 10};
    process->disk = disk_simulated_open(process->image, &options);
}

void sim_broker_start(struct sim_cluster *cluster, uint32_t number)
{
    struct sim_broker *process = &cluster->brokers[number];
    char error[ERROR_BYTES];
    ck_assert_ptr_null(process->disk);
    open_disk(cluster, process);
    for (uint32_t i = 0; i < SIM_CORES; i++) {
        char label[32];
        (void)snprintf(label, sizeof(label), "%s/%u", process->name, i);
        process->reactors[i] = reactor_create_simulated(cluster->simulation, label);
    }
    struct address listener = address_of(process->address);
    struct address nameservers[SIM_NAMESERVERS];
    for (uint32_t i = 0; i < SIM_NAMESERVERS; i++) {
        nameservers[i] = address_of(cluster->nameservers[i].address);
    }
    uint32_t shards = 0;
    ck_assert_msg(broker_count_shards(process->disk, SIM_CORES, &shards, error, sizeof(error)),
                  "%s", error);
    struct broker_options options = {
        .name = process->name,
        .listeners = &listener,
        .listener_count = 1,
        .nameservers = nameservers,
        .nameserver_count = SIM_NAMESERVERS,
        .disk = process->disk,
        .reactors = process->reactors,
        .core_count = SIM_CORES,
        .shard_count = shards,
        .durability = DURABILITY_DISK,
        .segment_bytes = SEGMENT_BYTES,
        .connections_max = 1000,
        .failed = broker_failed,
        .owner = process,
    };
    process->stopping = false;
    process->stopped = false;
    process->starts++;
    ck_assert_msg(broker_create(&process->broker, &options, error, sizeof(error)), "%s", error);
    ck_assert_msg(broker_start(process->broker, error, sizeof(error)), "%s", error);
}

void sim_broker_kill(struct sim_cluster *cluster, uint32_t number)
{
    struct sim_broker *process = &cluster->brokers[number];
    for (uint32_t i = 0; i < SIM_CORES; i++) {
        simulation_kill(cluster->simulation, process->reactors[i]);
    }
    disk_simulated_kill(process->disk);
    for (uint32_t i = 0; i < SIM_CORES; i++) {
        reactor_destroy(process->reactors[i]);
    }
    process->disk = NULL;
    process->broker = NULL;
}

void sim_broker_cut_power(struct sim_cluster *cluster, uint32_t number, uint64_t chance)
{
    struct sim_broker *process = &cluster->brokers[number];
    uint64_t events = disk_image_events(process->image);
    uint64_t unsynced = disk_image_unsynced(process->image, events);
    struct disk_cut cut = {
        .events = events,
        .keep = (enum disk_keep)(chance % 4),
        .number = chance >> 2,
    };
    if (cut.keep == DISK_KEEP_PREFIX) {
        cut.number %= unsynced + 1;
    }
    sim_broker_kill(cluster, number);
    struct disk_image *left = disk_image_cut(process->image, &cut, true);
    disk_image_destroy(process->image);
    process->image = left;
}

void sim_broker_stop(struct sim_cluster *cluster, uint32_t number)
{
    (void)cluster;
    struct sim_broker *process = &cluster->brokers[number];
    process->stopping = true;
    broker_stop(process->broker, note_stopped, &process->stopped);
    reactor_wake(process->reactors[0]);
}

bool sim_broker_is_up(struct sim_cluster *cluster, uint32_t number)
{
    struct sim_broker *process = &cluster->brokers[number];
    if (process->disk != NULL && process->stopped) {
        broker_destroy(process->broker);
        for (uint32_t i = 0; i < SIM_CORES; i++) {
            reactor_destroy(process->reactors[i]);
        }
        disk_close(process->disk);
        process->disk = NULL;
        process->broker = NULL;
    }
    return process->disk != NULL;
}

/* ----------------------------------------------------------------- cluster */

void sim_cluster_start(struct sim_cluster *cluster, struct simulation *simulation)
{
    memset(cluster, 0, sizeof(*cluster));
    cluster->simulation = simulation;
    for (uint32_t i = 0; i < SIM_NAMESERVERS; i++) {
        struct sim_nameserver *process = &cluster->nameservers[i];
        (void)snprintf(process->name, sizeof(process->name), "ns-%u", i);
        (void)snprintf(process->address, sizeof(process->address), "10.0.1.%u:9876", i + 1);
        sim_nameserver_start(cluster, i);
    }
    for (uint32_t i = 0; i < SIM_BROKERS; i++) {
        struct sim_broker *process = &cluster->brokers[i];
        (void)snprintf(process->name, sizeof(process->name), "broker-%u", i);
        (void)snprintf(process->address, sizeof(process->address), "10.0.2.%u:10911", i + 1);
        process->image = disk_image_create(true);
        sim_broker_start(cluster, i);
    }
}

void sim_cluster_end(struct sim_cluster *cluster)
{
    for (uint32_t i = 0; i < SIM_BROKERS; i++) {
        struct sim_broker *process = &cluster->brokers[i];
        if (sim_broker_is_up(cluster, i)) {
            if (!process->stopping) {
                sim_broker_stop(cluster, i);
            }
            ck_assert(simulation_run(cluster->simulation, SETTLE_MS, is_true, &process->stopped));
            ck_assert(!sim_broker_is_up(cluster, i));
        }
        disk_image_destroy(process->image);
    }
    for (uint32_t i = 0; i < SIM_NAMESERVERS; i++) {
        nameserver_end(cluster, i);
    }
}
