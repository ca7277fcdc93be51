/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker_simulated.h - a whole broker in a simulation, and the smallest client to talk to it.
 *
 * The broker is the real one: its cores are simulated reactors, its store a simulated disk, all in
 * the one thread of the simulation. The client speaks raw frames and keeps the answers that came,
 * so that tests and fuzz targets can send what no library would.
 *
 *     struct simulation *world = simulation_create(&options);
 *     struct disk *disk = disk_simulated_open(image, &disk_options);
 *     struct broker_simulated broker;
 *     broker_simulated_start(&broker, world, disk, &(struct broker_simulated_options){.cores = 2});
 *     struct client_simulated *client = client_simulated_open(world, "client", &broker.address);
 *     ... client_simulated_call(client, request, &answer) ...
 *     client_simulated_close(client);
 *     broker_simulated_stop(&broker);
 *
 * Whatever fails that must not fail aborts with the reason: a test that cannot be set up is red.
 *
 * Threads: the simulation's.
 */
#ifndef TEST_LIB_BROKER_SIMULATED_H
#define TEST_LIB_BROKER_SIMULATED_H

#include "net/address.h"
#include "net/core_ring.h"
#include "proto/arguments.h"
#include "proto/base/bytes.h"
#include "proto/request.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

struct broker;
struct client_simulated;
struct disk;
struct reactor;
struct simulation;

/* Zero of a member stands for its default. */
struct broker_simulated_options {
    const char *name;           /* "broker-a" */
    const char *listen;         /* "10.0.0.1:10911" */
    const char *nameserver;     /* none */
    uint32_t cores;             /* 1 */
    uint32_t shards;            /* as many as cores */
    enum durability durability; /* memory */
    uint64_t segment_bytes;     /* 1 MiB */
    uint64_t retain_bytes;      /* without end */
};

struct broker_simulated {
    struct simulation *simulation;
    struct broker *broker;
    struct reactor *reactors[CORES_MAX];
    uint32_t cores;
    struct address address;
    bool stopped;
    const char *failed; /* the line that it ended with; NULL while it is well */
    char failure[256];
};

/* Recovers what is on `disk`, which is open, and starts to listen. */
void broker_simulated_start(struct broker_simulated *broker, struct simulation *simulation,
                            struct disk *disk, const struct broker_simulated_options *options);

/* Ends it in order. The disk stays as it is then. */
void broker_simulated_stop(struct broker_simulated *broker);

/*
 * SIGKILL, in the middle of whatever it does: nobody is told, its connections reset, the disk of
 * its own is gone with it and the image keeps what was written. Its memory is nobody's any more, as
 * under a real kernel, and is never given back: a program that kills must turn its leak checker off.
 */
void broker_simulated_kill(struct broker_simulated *broker, struct disk *disk);

/* ------------------------------------------------------------------ client */

/* Connects from a reactor of its own, named `name`. Lets the simulation run until it is there. */
struct client_simulated *client_simulated_open(struct simulation *simulation, const char *name,
                                               const struct address *address);

/* Closes what is open and frees everything. */
void client_simulated_close(struct client_simulated *client);

/* Sends bytes as they are. */
void client_simulated_send(struct client_simulated *client, struct bytes bytes);

/* Stops and goes on reading what the server sends. */
void client_simulated_pause(struct client_simulated *client);
void client_simulated_resume(struct client_simulated *client);

/* True once the server has closed the connection. */
bool client_simulated_is_closed(const struct client_simulated *client);

/* How many answers have come that nobody took yet. */
uint32_t client_simulated_answers(const struct client_simulated *client);

/* Bytes that came and were no answer: 0, always, or the server is wrong. */
uint64_t client_simulated_nonsense(const struct client_simulated *client);

/*
 * The next answer, in the order in which they came, after letting the simulation run for at most
 * `most_ms`. False: none came. Spans are good until the next take.
 */
bool client_simulated_take(struct client_simulated *client, uint64_t most_ms,
                           struct answer *answer_out);

/* Sends one request that `request` holds and takes the next answer, within 60 simulated seconds;
 * false where there is none. */
bool client_simulated_call(struct client_simulated *client, const struct writer *request,
                           struct answer *answer_out);

#endif
