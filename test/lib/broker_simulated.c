/* SPDX-License-Identifier: Apache-2.0 */
/* broker_simulated.c - starting and stopping a simulated broker; the raw client. */
#include "test/lib/broker_simulated.h"

#include "broker/broker.h"
#include "net/connection.h"
#include "net/reactor.h"
#include "net/simulation.h"
#include "proto/base/contract.h"
#include "proto/limits.h"
#include "storage/disk_simulated.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_MS = 60000, ERROR_BYTES = 256 };

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "the simulated broker: %s: %s\n", what, why);
    abort();
}

/* ------------------------------------------------------------------ broker */

static void broker_failed(void *owner, const char *what)
{
    struct broker_simulated *broker = owner;
    snprintf(broker->failure, sizeof(broker->failure), "%s", what);
    broker->failed = broker->failure;
}

static struct address address_of(const char *text, uint16_t port)
{
    struct address address;
    char error[ERROR_BYTES];
    if (!address_parse(text, port, &address, error, sizeof(error))) {
        give_up(text, error);
    }
    return address;
}

void broker_simulated_start(struct broker_simulated *broker, struct simulation *simulation,
                            struct disk *disk, const struct broker_simulated_options *options)
{
    const char *name = options->name == NULL ? "broker-a" : options->name;
    *broker = (struct broker_simulated){.simulation = simulation,
                                        .cores = options->cores == 0 ? 1 : options->cores};
    broker->address =
        address_of(options->listen == NULL ? "10.0.0.1:10911" : options->listen, BROKER_PORT);
    for (uint32_t i = 0; i < broker->cores; i++) {
        char label[BROKER_NAME_BYTES_MAX + 16];
        snprintf(label, sizeof(label), "%s/%u", name, i);
        broker->reactors[i] = reactor_create_simulated(simulation, label);
    }
    char error[ERROR_BYTES];
    uint32_t shards = 0;
    if (!broker_count_shards(disk, options->shards == 0 ? broker->cores : options->shards, &shards,
                             error, sizeof(error))) {
        give_up("its shards", error);
    }
    struct address nameserver;
    if (options->nameserver != NULL) {
        nameserver = address_of(options->nameserver, NAMESERVER_PORT);
    }
    struct broker_options broker_options = {
        .name = name,
        .listeners = &broker->address,
        .listener_count = 1,
        .nameservers = &nameserver,
        .nameserver_count = options->nameserver == NULL ? 0 : 1,
        .disk = disk,
        .reactors = broker->reactors,
        .core_count = broker->cores,
        .shard_count = shards,
        .durability = options->durability,
        .retain_bytes = options->retain_bytes,
        .segment_bytes = options->segment_bytes == 0 ? 1U << 20 : options->segment_bytes,
        .connections_max = 1000,
        .failed = broker_failed,
        .owner = broker};
    if (!broker_create(&broker->broker, &broker_options, error, sizeof(error))) {
        give_up("its recovery", error);
    }
    if (!broker_start(broker->broker, error, sizeof(error))) {
        give_up("its start", error);
    }
}

static void broker_stopped(void *owner)
{
    ((struct broker_simulated *)owner)->stopped = true;
}

static bool is_stopped(void *context)
{
    return ((const struct broker_simulated *)context)->stopped;
}

void broker_simulated_stop(struct broker_simulated *broker)
{
    broker_stop(broker->broker, broker_stopped, broker);
    if (!simulation_run(broker->simulation, SETTLE_MS, is_stopped, broker)) {
        give_up("its end", "it did not end in a minute");
    }
    broker_destroy(broker->broker);
    for (uint32_t i = 0; i < broker->cores; i++) {
        reactor_destroy(broker->reactors[i]);
    }
}

void broker_simulated_kill(struct broker_simulated *broker, struct disk *disk)
{
    for (uint32_t i = 0; i < broker->cores; i++) {
        simulation_kill(broker->simulation, broker->reactors[i]);
    }
    disk_simulated_kill(disk);
    for (uint32_t i = 0; i < broker->cores; i++) {
        reactor_destroy(broker->reactors[i]);
    }
    broker->broker = NULL;
}

/* ------------------------------------------------------------------ client */

struct answer_kept {
    struct answer_kept *next;
    size_t length;
    uint8_t bytes[];
};

struct client_simulated {
    struct simulation *simulation;
    struct reactor *reactor;
    struct connect_op connect;
    struct connection connection;
    bool connected;
    bool closed;
    uint64_t nonsense;
    uint32_t count;
    struct answer_kept *first;
    struct answer_kept **last;
    struct answer_kept *taken; /* what the last answer points into */
};

static struct client_simulated *client_of(struct connection *connection)
{
    return CONTAINER_OF(connection, struct client_simulated, connection);
}

static void client_frame(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    (void)buffer;
    struct client_simulated *client = client_of(connection);
    struct answer answer;
    if (answer_read(frame, &answer) != OK) {
        client->nonsense += frame.length;
        return;
    }
    struct answer_kept *kept = malloc(sizeof(*kept) + frame.length);
    ASSERT(kept != NULL);
    kept->next = NULL;
    kept->length = frame.length;
    memcpy(kept->bytes, frame.data, frame.length);
    *client->last = kept;
    client->last = &kept->next;
    client->count++;
}

static void client_malformed(struct connection *connection, struct bytes seen, const char *why)
{
    (void)why;
    client_of(connection)->nonsense += seen.length;
}

static void client_closed(struct connection *connection, enum connection_end end, int error)
{
    (void)end;
    (void)error;
    client_of(connection)->closed = true;
}

static const struct connection_events client_events = {.frame = client_frame,
                                                       .malformed = client_malformed,
                                                       .closed = client_closed};

static void client_connected(struct op *op, int64_t result)
{
    struct client_simulated *client = CONTAINER_OF(op, struct client_simulated, connect.op);
    if (result < 0) {
        give_up("connecting to it", strerror((int)-result));
    }
    client->connection.events = &client_events;
    client->connection.frame_bytes_max = FRAME_BYTES_MAX;
    connection_open(&client->connection, client->reactor, (int)result);
    client->connected = true;
}

static bool is_connected(void *context)
{
    return ((const struct client_simulated *)context)->connected;
}

struct client_simulated *client_simulated_open(struct simulation *simulation, const char *name,
                                               const struct address *address)
{
    struct client_simulated *client = calloc(1, sizeof(*client));
    ASSERT(client != NULL);
    client->simulation = simulation;
    client->last = &client->first;
    client->reactor = reactor_create_simulated(simulation, name);
    client->connect.op.done = client_connected;
    reactor_connect(client->reactor, &client->connect, address, SETTLE_MS);
    if (!simulation_run(simulation, SETTLE_MS, is_connected, client)) {
        give_up("connecting to it", "nothing happened for a minute");
    }
    return client;
}

static bool is_closed(void *context)
{
    return ((const struct client_simulated *)context)->closed;
}

void client_simulated_close(struct client_simulated *client)
{
    if (!client->closed) {
        connection_close(&client->connection);
        reactor_wake(client->reactor);
        if (!simulation_run(client->simulation, SETTLE_MS, is_closed, client)) {
            give_up("closing a connection to it", "nothing happened for a minute");
        }
    }
    reactor_destroy(client->reactor);
    while (client->first != NULL) {
        struct answer_kept *next = client->first->next;
        free(client->first);
        client->first = next;
    }
    free(client->taken);
    free(client);
}

void client_simulated_send(struct client_simulated *client, struct bytes bytes)
{
    if (!client->closed) {
        connection_write(&client->connection, bytes.data, bytes.length);
        reactor_wake(client->reactor); /* nothing else may be there to give it a turn */
    }
}

void client_simulated_pause(struct client_simulated *client)
{
    connection_pause(&client->connection);
}

void client_simulated_resume(struct client_simulated *client)
{
    connection_resume(&client->connection);
    reactor_wake(client->reactor);
}

bool client_simulated_is_closed(const struct client_simulated *client)
{
    return client->closed;
}

uint32_t client_simulated_answers(const struct client_simulated *client)
{
    return client->count;
}

uint64_t client_simulated_nonsense(const struct client_simulated *client)
{
    return client->nonsense;
}

static bool has_answer_or_end(void *context)
{
    const struct client_simulated *client = context;
    return client->count > 0 || client->closed;
}

bool client_simulated_take(struct client_simulated *client, uint64_t most_ms,
                           struct answer *answer_out)
{
    if (client->count == 0) {
        (void)simulation_run(client->simulation, most_ms, has_answer_or_end, client);
    }
    if (client->count == 0) {
        return false;
    }
    free(client->taken);
    client->taken = client->first;
    client->first = client->taken->next;
    if (client->first == NULL) {
        client->last = &client->first;
    }
    client->count--;
    return answer_read(bytes_make(client->taken->bytes, client->taken->length), answer_out) == OK;
}

bool client_simulated_call(struct client_simulated *client, const struct writer *request,
                           struct answer *answer_out)
{
    ASSERT(!request->overflowed);
    client_simulated_send(client, writer_bytes(request));
    return client_simulated_take(client, SETTLE_MS, answer_out);
}
