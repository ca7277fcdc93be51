/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker.h - the life of one broker: recover, listen, serve, stop.
 *
 * A broker is a set of cores (a reactor each), the shards on them, a catalogue, and leases with
 * nameservers. It owns neither its reactors nor its disk: the process gives it real ones
 * and a thread each, a simulation gives it simulated ones and no threads.
 *
 *     create   every shard's log is opened and replayed, the epoch is taken and on disk, the
 *              catalogue repaired, the directories of the cores filled. Blocks.
 *     start    listens, begins to renew leases; the reactors may run from here
 *     stop     stops accepting, finishes what was accepted, releases the leases, closes the logs
 *     destroy  gives all memory back
 *
 * A broker listens only after `create`, so an answered `hello` means ready.
 *
 * Failure: a log that was fenced, and a nameserver that knows a newer broker of this name, end the
 * broker: `failed` runs once, with one line for the operator, and the process must end.
 *
 * Threads: create, start and destroy while no reactor runs; stop on the thread of reactors[0] or
 *          while none runs.
 */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include "net/address.h"
#include "proto/arguments.h"
#include "proto/base/contract.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct broker;
struct disk;
struct reactor;

struct broker_options {
    const char *name;                /* name_is_broker(); the store belongs to it */
    const char *advertise;           /* HOST:PORT told to others; NULL: the first listener's */
    const struct address *listeners; /* 1 to LISTENERS_MAX */
    uint32_t listener_count;
    const struct address *nameservers; /* 0 to NAMESERVERS_MAX */
    uint32_t nameserver_count;
    struct disk *disk;               /* open and locked; outlives the broker */
    struct reactor *const *reactors; /* one a core, 1 to CORES_MAX; they outlive the broker */
    uint32_t core_count;
    uint32_t shard_count;       /* at least core_count, from broker_count_shards() */
    enum durability durability; /* of topics that name none */
    uint64_t retain_bytes;      /* per shard; 0: unlimited */
    uint64_t segment_bytes;     /* of the largest segment */
    uint32_t connections_max;
    uint8_t boot_id[16];      /* of the machine; kept with the epoch */
    bool recover_in_parallel; /* a thread a core; false where the disk is simulated */

    /* Runs once, on any core's thread: `what` is one line, the process must end. */
    void (*failed)(void *owner, const char *what);
    void *owner;
};

/*
 * How many shards the store will have: those it has already, or `wanted` if that is more. False and
 * one line in `error`: a shard's directory is missing, or the store cannot be read.
 */
NODISCARD bool broker_count_shards(struct disk *disk, uint32_t wanted, uint32_t *count_out,
                                   char *error, size_t error_bytes);

/* Recovers. `options` and what they point to, except for texts and arrays, outlive the broker. On
 * failure one line is in `error` and nothing is held. */
NODISCARD bool broker_create(struct broker **broker_out, const struct broker_options *options,
                             char *error, size_t error_bytes);

/* The line about an address that cannot be listened on, for the `failure` (an errno) that it met. */
void broker_say_cannot_listen(const struct address *address, int failure, char *error,
                              size_t error_bytes);

/* Listens, and logs the line that says so. On failure one line is in `error`; destroy it then. */
NODISCARD bool broker_start(struct broker *broker, char *error, size_t error_bytes);

/* Ends in order; `stopped` runs once, on the thread of reactors[0], when nothing is left to do but
 * broker_destroy(). A second call changes nothing. */
void broker_stop(struct broker *broker, void (*stopped)(void *owner), void *owner);

void broker_destroy(struct broker *broker);

/* What a broker says of itself. */
const char *broker_name(const struct broker *broker);
const char *broker_address(const struct broker *broker); /* what it advertises; "" before start */
uint32_t broker_epoch(const struct broker *broker);

#endif
