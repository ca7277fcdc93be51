/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_nameserver.c - any bytes at all on a connection to a live nameserver.
 *
 * The input is the connection's whole stream, cut into pieces by the simulation. It must hold:
 *
 *   - what comes back is answers and nothing else, and no more of them than there were bytes for
 *   - somebody else is served, and sees the lease that it holds, all the while
 *   - when all connections are gone and two leases have passed nothing of them is left
 *   - the nameserver ends in order (the sanitizers see to its memory)
 */
#include "nameserver/nameserver.h"
#include "net/reactor.h"
#include "net/simulation.h"
#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "test/fuzz/fuzz.h"
#include "test/lib/broker_simulated.h"

enum {
    REQUEST_BYTES_LEAST = 4, /* three bytes of envelope and one of method at the least */
    ROOM_BYTES = 512,
    SETTLE_MS = 100,
    STOP_MS = 60000
};

static void drop_line(void *context, struct bytes line)
{
    (void)context;
    (void)line;
}

/* Somebody who holds a lease, and renews it. */
static void renew(struct client_simulated *client, bool with_topics)
{
    uint8_t room[ROOM_BYTES];
    struct writer writer = writer_over(room, sizeof(room));
    request_begin(&writer, 1, "lease.renew", with_topics ? 6 : 5);
    writer_put_key_string(&writer, "broker", "other");
    writer_put_key_string(&writer, "address", "10.0.0.9:10911");
    writer_put_key_string(&writer, "role", "master");
    /* The highest there is: the input cannot fence it. */
    writer_put_key_uint(&writer, "epoch", UINT32_MAX);
    writer_put_key_uint(&writer, "digest", 1);
    if (with_topics) {
        writer_put_string(&writer, "topics");
        writer_put_array(&writer, 1);
        writer_put_array(&writer, 4);
        writer_put_string(&writer, "others");
        writer_put_uint(&writer, 1);
        writer_put_uint(&writer, 1);
        writer_put_array(&writer, 1);
        writer_put_array(&writer, 3);
        writer_put_string(&writer, "other");
        writer_put_uint(&writer, 0);
        writer_put_uint(&writer, 4);
    }
    struct answer answer;
    bool answered = client_simulated_call(client, &writer, &answer);
    ASSERT(answered);
    /* One of the same name and epoch from elsewhere may have come first. */
    ASSERT(!answer.failed || answer.error.length > 0);
}

static void route_must_be_there(struct client_simulated *client)
{
    uint8_t room[ROOM_BYTES];
    struct writer writer = writer_over(room, sizeof(room));
    request_begin(&writer, 2, "route.get", 1);
    writer_put_key_string(&writer, "topic", "others");
    struct answer answer;
    bool answered = client_simulated_call(client, &writer, &answer);
    ASSERT(answered);
}

static void run_stream(struct simulation *world, const struct address *address, struct bytes stream)
{
    struct client_simulated *client = client_simulated_open(world, "stream", address);
    client_simulated_send(client, stream);
    struct answer answer;
    uint64_t answers = 0;
    while (client_simulated_take(client, SETTLE_MS, &answer)) {
        answers++;
    }
    ASSERT(client_simulated_nonsense(client) == 0);
    ASSERT(answers <= stream.length / REQUEST_BYTES_LEAST + 1);
    client_simulated_close(client);
}

static void note_stopped(void *owner)
{
    *(bool *)owner = true;
}

static bool is_true(void *context)
{
    return *(const bool *)context;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    log_set_sink(drop_line, NULL);
    const struct simulation_options options = {.seed = length,
                                               .wall_ms = UINT64_C(1700000000000),
                                               .delay_ns_least = 1000,
                                               .delay_ns_most = 100000,
                                               .window_bytes = 64 * 1024};
    struct simulation *world = simulation_create(&options);
    struct reactor *reactor = reactor_create_simulated(world, "ns");
    const struct nameserver_options nameserver_options = {.lease_ms = LEASE_MS,
                                                          .idle_ms = IDLE_CLOSE_MS};
    struct nameserver *nameserver = nameserver_create(reactor, &nameserver_options);
    struct address address;
    char error[ROOM_BYTES];
    bool listens = address_parse("10.0.1.1:9876", 0, &address, error, sizeof(error)) &&
                   nameserver_listen(nameserver, &address, NULL, error, sizeof(error));
    ASSERT(listens);

    struct client_simulated *other = client_simulated_open(world, "other", &address);
    renew(other, true);
    uint8_t *stream = fuzz_copy(data, length);
    run_stream(world, &address, bytes_make(stream, length));
    free(stream);
    renew(other, false);
    route_must_be_there(other);
    client_simulated_close(other);

    (void)simulation_run(world, 2 * LEASE_MS + 1, NULL, NULL);
    struct nameserver_counters counters = nameserver_counters(nameserver);
    ASSERT(counters.brokers == 0 && counters.topics == 0);
    ASSERT(counters.sessions == 0 && counters.polls == 0);
    bool stopped = false;
    nameserver_stop(nameserver, note_stopped, &stopped);
    reactor_wake(reactor);
    bool ended = simulation_run(world, STOP_MS, is_true, &stopped);
    ASSERT(ended);
    nameserver_destroy(nameserver);
    reactor_destroy(reactor);
    simulation_destroy(world);
    return 0;
}
