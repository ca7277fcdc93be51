/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_pair.h - what the tests of net/connection.h stand on: a client and a server
 * connection on one reactor of either backend. The client writes whatever bytes a test wants, the
 * server's events are looked at. Include it once, in the file of the suite.
 */
#ifndef TEST_UNIT_NET_CONNECTION_PAIR_H
#define TEST_UNIT_NET_CONNECTION_PAIR_H

#include "net/buffer.h"
#include "net/connection.h"
#include "net/reactor.h"
#include "proto/limits.h"
#include "test/unit/net/net_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct net_world world;

/* What one end has seen. */
struct end {
    struct connection connection;
    uint8_t *frames; /* all of them, one after the other */
    size_t frames_bytes;
    size_t frames_count;
    size_t frames_awaited;
    size_t longest;
    int malformed;
    char why[100];
    int drained;
    int closed;
    bool is_closed;
    enum connection_end how;
    int error;
    /* What it does with a frame. */
    bool pauses; /* after each */
    bool echoes;
    bool closes;
    bool keeps;
    bool says_bye; /* when malformed */
    struct buffer *kept[64];
    struct bytes kept_frames[64];
    size_t kept_count;
};

enum { FRAMES_ROOM = 64 * 1024 * 1024 };

static struct end server;
static struct end client;
static struct accept_op accept_op;
static struct connect_op connect_op;
static int listener;
static bool is_connected;
static bool is_accepted;
static bool is_accept_done;
static bool inside_call;
static int server_socket;
static int client_socket;

static const uint8_t BYE[] = {0x93, 0x02, 0xa3, 'b', 'y', 'e', 0x90};

static inline void on_frame(struct connection *connection, struct bytes frame,
                            struct buffer *buffer)
{
    struct end *end = CONTAINER_OF(connection, struct end, connection);
    ck_assert(!inside_call);
    ck_assert(!connection->paused);
    ck_assert(connection_is_open(connection));
    ck_assert(frame.data >= buffer->bytes &&
              frame.data + frame.length <= buffer->bytes + buffer->used);
    ck_assert_uint_le(end->frames_bytes + frame.length, FRAMES_ROOM);
    memcpy(end->frames + end->frames_bytes, frame.data, frame.length);
    end->frames_bytes += frame.length;
    end->frames_count++;
    end->longest = frame.length > end->longest ? frame.length : end->longest;
    if (end->pauses) {
        connection_pause(connection);
    }
    if (end->echoes) {
        connection_write(connection, frame.data, frame.length);
    }
    if (end->closes) {
        connection_close(connection);
        ck_assert(!end->is_closed);
    }
    if (end->keeps) {
        buffer_ref(buffer);
        end->kept[end->kept_count] = buffer;
        end->kept_frames[end->kept_count] = frame;
        end->kept_count++;
    }
}

static inline void on_malformed(struct connection *connection, struct bytes seen, const char *why)
{
    struct end *end = CONTAINER_OF(connection, struct end, connection);
    ck_assert(!inside_call);
    ck_assert_uint_ge(seen.length, 1);
    end->malformed++;
    (void)snprintf(end->why, sizeof(end->why), "%s", why);
    if (end->says_bye) {
        connection_write(connection, BYE, sizeof(BYE));
    }
}

static inline void on_drained(struct connection *connection)
{
    ck_assert(!inside_call);
    ck_assert_uint_lt(connection_unsent_bytes(connection), connection->unsent_high / 2);
    CONTAINER_OF(connection, struct end, connection)->drained++;
}

static inline void on_closed(struct connection *connection, enum connection_end how, int error)
{
    struct end *end = CONTAINER_OF(connection, struct end, connection);
    ck_assert(!inside_call);
    end->closed++;
    end->is_closed = true;
    end->how = how;
    end->error = error;
}

static const struct connection_events events = {.frame = on_frame,
                                                .malformed = on_malformed,
                                                .drained = on_drained,
                                                .closed = on_closed};

static inline void accepted(struct accept_op *accept, int socket)
{
    (void)accept;
    server_socket = socket;
    is_accepted = true;
}

static inline void accept_done(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
    is_accept_done = true;
}

static inline void connect_done(struct op *op, int64_t result)
{
    (void)op;
    ck_assert_int_ge(result, 0);
    client_socket = (int)result;
    is_connected = true;
}

static inline void end_init(struct end *end)
{
    memset(end, 0, sizeof(*end));
    end->frames = malloc(FRAMES_ROOM);
    ck_assert_ptr_nonnull(end->frames);
    end->connection.events = &events;
    end->connection.frame_bytes_max = FRAME_BYTES_MAX;
}

/* Connects two sockets; the ends are opened by the test, after it has set them up. */
static inline void prepare(int kind, size_t buffers_bytes)
{
    net_world_init_sized(&world, kind, buffers_bytes);
    end_init(&server);
    end_init(&client);
    memset(&accept_op, 0, sizeof(accept_op));
    memset(&connect_op, 0, sizeof(connect_op));
    is_connected = is_accepted = is_accept_done = false;
    accept_op.accepted = accepted;
    accept_op.op.done = accept_done;
    connect_op.op.done = connect_done;
    struct address address = net_world_address("127.0.0.1:0");
    listener = reactor_listen(world.reactor, &address, &address);
    reactor_accept(world.reactor, &accept_op, listener);
    reactor_connect(world.reactor, &connect_op, &address, 5000);
    net_world_await(&world, &is_connected);
    net_world_await(&world, &is_accepted);
}

static inline void open_ends(void)
{
    connection_open(&server.connection, world.reactor, server_socket);
    connection_open(&client.connection, world.reactor, client_socket);
}

static inline void begin(int kind)
{
    prepare(kind, NET_WORLD_BUFFERS_BYTES);
    open_ends();
}

static inline void finish(void)
{
    connection_close(&client.connection);
    connection_close(&server.connection);
    net_world_await(&world, &client.is_closed);
    net_world_await(&world, &server.is_closed);
    ck_assert_int_eq(client.closed, 1);
    ck_assert_int_eq(server.closed, 1);
    reactor_cancel(world.reactor, &accept_op.op);
    net_world_await(&world, &is_accept_done);
    reactor_close(world.reactor, listener);
    free(server.frames);
    free(client.frames);
    net_world_deinit(&world);
}

static inline bool server_has_frames(void *context)
{
    (void)context;
    return server.frames_count >= server.frames_awaited;
}

static inline bool client_has_frames(void *context)
{
    (void)context;
    return client.frames_count >= client.frames_awaited;
}

static inline void await_server_frames(size_t count)
{
    server.frames_awaited = count;
    ck_assert(net_world_run(&world, server_has_frames, NULL, NET_WORLD_PATIENCE_MS));
}

static inline void await_client_frames(size_t count)
{
    client.frames_awaited = count;
    ck_assert(net_world_run(&world, client_has_frames, NULL, NET_WORLD_PATIENCE_MS));
}

static inline bool server_has_all_bytes(void *context)
{
    (void)context;
    return server.connection.bytes_in == client.connection.bytes_out &&
           connection_unsent_bytes(&client.connection) == 0;
}

static inline void await_server_bytes(void)
{
    ck_assert(net_world_run(&world, server_has_all_bytes, NULL, NET_WORLD_PATIENCE_MS));
}

/* A one-way call whose body is `body_bytes` long: [2, "echo", [bin32]]. Its length. */
static inline size_t frame_make(uint8_t *to, size_t body_bytes, uint8_t fill)
{
    const uint8_t head[] = {0x93,
                            0x02,
                            0xa4,
                            'e',
                            'c',
                            'h',
                            'o',
                            0x91,
                            0xc6,
                            (uint8_t)(body_bytes >> 24),
                            (uint8_t)(body_bytes >> 16),
                            (uint8_t)(body_bytes >> 8),
                            (uint8_t)body_bytes};
    memcpy(to, head, sizeof(head));
    for (size_t i = 0; i < body_bytes; i++) {
        to[sizeof(head) + i] = (uint8_t)(fill + i * 31);
    }
    return sizeof(head) + body_bytes;
}

static inline uint8_t *frames_make(size_t count, size_t body_bytes, size_t *length_out)
{
    uint8_t *frames = malloc(count * (body_bytes + 16));
    ck_assert_ptr_nonnull(frames);
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        length += frame_make(frames + length, body_bytes, (uint8_t)i);
    }
    *length_out = length;
    return frames;
}

static inline void client_writes(const uint8_t *bytes, size_t length)
{
    connection_write(&client.connection, bytes, length);
}

#endif
