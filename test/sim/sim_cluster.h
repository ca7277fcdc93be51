/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_cluster.h - nameservers and brokers in one simulated world, and ways to be rough with them.
 *
 * Every process has a name, an address of its own and reactors named after it. What is killed is
 * forgotten as its operating system would: its memory is never touched again nor given back, its
 * reactors go, its disk image stays.
 *
 * Whatever fails that must not fail ends the test.
 *
 * Threads: the simulation's.
 */
#ifndef TEST_SIM_SIM_CLUSTER_H
#define TEST_SIM_SIM_CLUSTER_H

#include "proto/limits.h"

#include <stdbool.h>
#include <stdint.h>

struct broker;
struct disk;
struct disk_image;
struct nameserver;
struct reactor;
struct simulation;

enum { SIM_NAMESERVERS = 2, SIM_BROKERS = 2, SIM_CORES = 2 };

struct sim_nameserver {
    char name[16];
    char address[32];
    struct reactor *reactor; /* NULL: not running */
    struct nameserver *nameserver;
    bool stopped;
};

struct sim_broker {
    char name[16];
    char address[32];
    struct disk_image *image;
    struct disk *disk; /* NULL: not running */
    struct broker *broker;
    struct reactor *reactors[SIM_CORES];
    bool stopping;
    bool stopped;
    uint32_t starts;
};

struct sim_cluster {
    struct simulation *simulation;
    struct sim_nameserver nameservers[SIM_NAMESERVERS];
    struct sim_broker brokers[SIM_BROKERS];
};

/* Both nameservers' addresses, as clients are given them. */
extern const char SIM_NAMESERVER_LIST[];

/* Makes the images and starts everything. */
void sim_cluster_start(struct sim_cluster *cluster, struct simulation *simulation);

/* Stops everything in order, letting time pass, and gives all back. */
void sim_cluster_end(struct sim_cluster *cluster);

void sim_nameserver_start(struct sim_cluster *cluster, uint32_t number);
void sim_nameserver_kill(struct sim_cluster *cluster, uint32_t number);

void sim_broker_start(struct sim_cluster *cluster, uint32_t number);

/* SIGKILL: files keep what was written. */
void sim_broker_kill(struct sim_cluster *cluster, uint32_t number);

/* A power cut: of what was not synced, `chance` decides what is left. */
void sim_broker_cut_power(struct sim_cluster *cluster, uint32_t number, uint64_t chance);

/* SIGTERM: begins to stop in order; sim_broker_is_up() turns false when it is done. */
void sim_broker_stop(struct sim_cluster *cluster, uint32_t number);

/* Whether it runs; one that has just stopped in order is given back here. */
bool sim_broker_is_up(struct sim_cluster *cluster, uint32_t number);
bool sim_nameserver_is_up(const struct sim_cluster *cluster, uint32_t number);

#endif
