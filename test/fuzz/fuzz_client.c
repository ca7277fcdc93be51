/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_client.c - a client whose server answers anything.
 *
 * The properties: a call, a message and a batch are told their end exactly once; what a consumer or a
 * member gives can be read to its last byte, and a member never has more in hand than its credit; nothing
 * is left when the client is gone.
 *
 * The lowest three bits of an input's first byte choose what the client does; with the highest bit the
 * rest is sent as it is, else as the result of an answer to whatever was asked.
 */
#include "net/address.h"
#include "net/connection.h"
#include "net/reactor.h"
#include "net/simulation.h"
#include "proto/base/contract.h"
#include "proto/limits.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "test/fuzz/fuzz.h"
#include "tools/client/attach.h"
#include "tools/client/ternmq.h"
#include "tools/client/ternmq_groups.h"

#include <string.h>

#define SERVER_ADDRESS "10.0.0.1:9876"

enum { SESSIONS_MAX = 64, WORLD_MS = 4000, RECEIVE_CREDIT = 8 };

enum action {
    ACTION_PRODUCE,
    ACTION_PULL,
    ACTION_SHOW,   /* which queues a topic of the one broker has */
    ACTION_ROUTE,  /* the same of the nameserver */
    ACTION_KEYED,  /* and produces by key */
    ACTION_BROKER, /* which brokers there are */
    ACTION_CALL,
    ACTION_RECEIVE, /* and settles */
    ACTION_COUNT
};

struct session {
    struct connection connection;
    bool open;
};

struct world {
    struct simulation *simulation;
    struct reactor *server;
    struct reactor *reactor;
    struct accept_op accept;
    int listener;
    struct session sessions[SESSIONS_MAX];
    struct bytes input;
    bool raw;
    struct ternmq *client;
    struct ternmq_consumer *consumer;
    struct ternmq_member *member;
    uint32_t told;
    uint64_t sum; /* of everything that was delivered, so that all of it is read */
    bool detached;
};

static struct world world;

/* -------------------------------------------------------------------------- the server */

static void frame_came(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    (void)buffer;
    struct request request;
    ASSERT(request_read(frame, &request) == OK);
    if (request.type != ENVELOPE_REQUEST) {
        return;
    }
    if (!world.raw) {
        uint8_t room[ANSWER_BEGIN_BYTES_MAX];
        struct writer writer = writer_over(room, sizeof(room));
        answer_begin(&writer, request.msgid);
        connection_write(connection, room, writer_length(&writer));
    }
    connection_write(connection, world.input.data, world.input.length);
}

static void malformed_came(struct connection *connection, struct bytes seen, const char *why)
{
    (void)connection;
    (void)seen;
    (void)why;
}

static void session_closed(struct connection *connection, enum connection_end end, int error)
{
    (void)end;
    (void)error;
    CONTAINER_OF(connection, struct session, connection)->open = false;
}

static const struct connection_events session_events = {.frame = frame_came,
                                                        .malformed = malformed_came,
                                                        .closed = session_closed};

static void accepted(struct accept_op *accept, int socket)
{
    (void)accept;
    for (int i = 0; i < SESSIONS_MAX; i++) {
        struct session *session = &world.sessions[i];
        if (!session->open) {
            memset(session, 0, sizeof(*session));
            session->open = true;
            session->connection.events = &session_events;
            session->connection.frame_bytes_max = FRAME_BYTES_MAX;
            connection_open(&session->connection, world.server, socket);
            return;
        }
    }
    reactor_close(world.server, socket);
}

static void accept_over(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
    reactor_close(world.server, world.listener);
    world.listener = -1;
}

static void server_start(void)
{
    struct address address;
    char error[256];
    ASSERT(address_parse(SERVER_ADDRESS, 0, &address, error, sizeof(error)));
    world.listener = reactor_listen(world.server, &address, NULL);
    ASSERT(world.listener >= 0);
    world.accept = (struct accept_op){.op.done = accept_over, .accepted = accepted};
    reactor_accept(world.server, &world.accept, world.listener);
}

/* -------------------------------------------------------------------------- the client */

static void on_produced(void *context, const struct ternmq_produced *produced,
                        const struct ternmq_error *error)
{
    (void)context;
    ASSERT((produced == NULL) != (error == NULL));
    world.told++;
}

static void on_answered(void *context, const struct ternmq_answer *answer,
                        const struct ternmq_error *error)
{
    (void)context;
    ASSERT((answer == NULL) != (error == NULL));
    world.told++;
}

static void read_bytes(struct ternmq_bytes bytes)
{
    const uint8_t *at = bytes.data;
    for (size_t i = 0; i < bytes.length; i++) {
        world.sum += at[i];
    }
}

static void read_delivery(const struct ternmq_delivery *delivery)
{
    struct ternmq_bytes key;
    struct ternmq_property property;
    read_bytes(delivery->body);
    read_bytes(delivery->tag);
    for (uint32_t i = 0; ternmq_delivery_key(delivery, i, &key); i++) {
        read_bytes(key);
    }
    for (uint32_t i = 0; ternmq_delivery_property_at(delivery, i, &property); i++) {
        read_bytes(property.name);
        read_bytes(property.value);
    }
}

static void on_ready(void *context)
{
    (void)context;
    struct ternmq_delivery deliveries[8];
    size_t count;
    int code = TERNMQ_OK;
    /* A server may repeat itself for ever; a few rounds show all. */
    for (int round = 0; round < 64 && code != TERNMQ_NOTHING && code != TERNMQ_END; round++) {
        code = ternmq_consume(world.consumer, 0, deliveries, 8, &count, NULL);
        for (size_t i = 0; code == TERNMQ_OK && i < count; i++) {
            read_delivery(&deliveries[i]);
        }
    }
}

static void begin_produce(enum ternmq_choose choose)
{
    struct ternmq_producer *producer = ternmq_producer_open(
        world.client,
        &(struct ternmq_producer_options){.topic = "t", .choose = choose, .timeout_ms = 2000},
        NULL);
    struct ternmq_bytes key = ternmq_text("k");
    struct ternmq_message message = {.body = ternmq_text("b"), .keys = &key, .key_count = 1};
    ASSERT(producer != NULL);
    for (int i = 0; i < 2; i++) {
        int code = ternmq_produce_async(producer, &message, on_produced, NULL, NULL);
        if (code != TERNMQ_OK) {
            world.told++;
        }
    }
}

static void begin_consume(bool one_queue)
{
    world.consumer = ternmq_consumer_open(
        world.client,
        &(struct ternmq_consumer_options){
            .topic = "t", .one_queue = one_queue, .until_end = true, .ready = on_ready},
        NULL);
    ASSERT(world.consumer != NULL);
}

/* Takes what a member has and settles it, in all ways in turn. */
static void on_received(void *context)
{
    (void)context;
    struct ternmq_received received[4];
    size_t count;
    int code = TERNMQ_OK;
    for (int round = 0; round < 64 && code != TERNMQ_NOTHING; round++) {
        code = ternmq_receive(world.member, 0, received, 4, &count, NULL);
        for (size_t i = 0; code == TERNMQ_OK && i < count; i++) {
            struct ternmq_settlement settlement = {
                .verdict = (enum ternmq_verdict)(received[i].message.offset % 6), .reason = "no"};
            ASSERT(count <= RECEIVE_CREDIT);
            read_delivery(&received[i].message);
            read_bytes(received[i].reason);
            if (settlement.verdict <= TERNMQ_RELEASE) { /* the sixth is kept */
                ASSERT(ternmq_settle(world.member, &received[i].receipt, 1, &settlement, NULL) ==
                       TERNMQ_OK);
            }
        }
        size_t ahead;
        size_t given;
        size_t settling;
        ternmq_member_in_hand(world.member, &ahead, &given, &settling);
        ASSERT(ahead + given <= RECEIVE_CREDIT && settling <= 2 * RECEIVE_CREDIT);
    }
}

static void on_lost(void *context, const char *topic, uint32_t queue, uint64_t offset,
                    const struct ternmq_error *why)
{
    (void)context;
    (void)queue;
    (void)offset;
    ASSERT(why->code != TERNMQ_OK);
    world.sum += strlen(topic);
}

static void begin_receive(void)
{
    world.member = ternmq_member_open(world.client,
                                      &(struct ternmq_member_options){.group = "g",
                                                                      .credit = RECEIVE_CREDIT,
                                                                      .keep_leases = true,
                                                                      .ready = on_received,
                                                                      .lost = on_lost},
                                      NULL);
    ASSERT(world.member != NULL);
}

static void begin_call(enum ternmq_to to)
{
    ASSERT(ternmq_call_async(world.client,
                             &(struct ternmq_call){
                                 .to = to, .to_name = "t", .method = "stats", .timeout_ms = 2000},
                             on_answered, NULL, NULL) == TERNMQ_OK);
}

/* Gives how many ends are to be told. */
static uint32_t client_start(enum action action)
{
    bool direct = action == ACTION_PRODUCE || action == ACTION_PULL || action == ACTION_SHOW ||
                  action == ACTION_RECEIVE;
    world.client = client_attach(world.reactor,
                                 &(struct ternmq_options){.nameservers = SERVER_ADDRESS,
                                                          .broker = direct ? SERVER_ADDRESS : NULL,
                                                          .timeout_ms = 2000,
                                                          .receive_bytes_max = 1 << 20},
                                 NULL);
    ASSERT(world.client != NULL);
    switch (action) {
    case ACTION_PRODUCE:
        begin_produce(TERNMQ_CHOOSE_ANY);
        return 2;
    case ACTION_KEYED:
        begin_produce(TERNMQ_CHOOSE_BY_KEY);
        return 2;
    case ACTION_PULL:
    case ACTION_SHOW:
        begin_consume(action == ACTION_PULL);
        return 0;
    case ACTION_RECEIVE:
        begin_receive();
        return 0;
    case ACTION_BROKER:
        begin_call(TERNMQ_TO_BROKER);
        return 1;
    case ACTION_CALL:
        begin_call(TERNMQ_TO_NAMESERVER);
        return 1;
    case ACTION_ROUTE:
    default:
        begin_call(TERNMQ_TO_TOPIC);
        return 1;
    }
}

static void on_detached(void *context)
{
    (void)context;
    world.detached = true;
}

static bool is_over(void *context)
{
    (void)context;
    for (int i = 0; i < SESSIONS_MAX; i++) {
        if (world.sessions[i].open) {
            return false;
        }
    }
    return world.detached && world.listener < 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) {
        return 0;
    }
    memset(&world, 0, sizeof(world));
    world.raw = (data[0] & 0x80) != 0;
    world.input = bytes_make(data + 1, size - 1);
    world.simulation = simulation_create(&(struct simulation_options){
        .seed = 1, .delay_ns_least = 1000, .delay_ns_most = 50000, .window_bytes = 64 * 1024});
    world.server = reactor_create_simulated(world.simulation, "server");
    world.reactor = reactor_create_simulated(world.simulation, "client");
    server_start();

    uint32_t owed = client_start((enum action)(data[0] & 7));
    simulation_run(world.simulation, WORLD_MS, NULL, NULL);
    client_detach(world.client, on_detached, NULL);
    ASSERT(world.told == owed);

    reactor_cancel(world.server, &world.accept.op);
    for (int i = 0; i < SESSIONS_MAX; i++) {
        if (world.sessions[i].open) {
            connection_close(&world.sessions[i].connection);
        }
    }
    ASSERT(simulation_run(world.simulation, 100000, is_over, NULL));
    reactor_destroy(world.reactor);
    reactor_destroy(world.server);
    simulation_destroy(world.simulation);
    return 0;
}
