/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of net/connection.h, each on both backends. A client and a server connection live on one
 * reactor; the client writes whatever bytes a test wants, the server's events are looked at.
 */

#include "net/buffer.h"
#include "net/connection.h"
#include "net/reactor.h"
#include "proto/limits.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

static void on_frame(struct connection *connection, struct bytes frame, struct buffer *buffer)
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

static void on_malformed(struct connection *connection, struct bytes seen, const char *why)
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

static void on_drained(struct connection *connection)
{
    ck_assert(!inside_call);
    ck_assert_uint_lt(connection_unsent_bytes(connection), connection->unsent_high / 2);
    CONTAINER_OF(connection, struct end, connection)->drained++;
}

static void on_closed(struct connection *connection, enum connection_end how, int error)
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

static void accepted(struct accept_op *accept, int socket)
{
    (void)accept;
    server_socket = socket;
    is_accepted = true;
}

static void accept_done(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
    is_accept_done = true;
}

static void connect_done(struct op *op, int64_t result)
{
    (void)op;
    ck_assert_int_ge(result, 0);
    client_socket = (int)result;
    is_connected = true;
}

static void end_init(struct end *end)
{
    memset(end, 0, sizeof(*end));
    end->frames = malloc(FRAMES_ROOM);
    ck_assert_ptr_nonnull(end->frames);
    end->connection.events = &events;
    end->connection.frame_bytes_max = FRAME_BYTES_MAX;
}

/* Connects two sockets; the ends are opened by the test, after it has set them up. */
static void prepare(int kind, size_t buffers_bytes)
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

static void open_ends(void)
{
    connection_open(&server.connection, world.reactor, server_socket);
    connection_open(&client.connection, world.reactor, client_socket);
}

static void begin(int kind)
{
    prepare(kind, NET_WORLD_BUFFERS_BYTES);
    open_ends();
}

static void finish(void)
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

static bool server_has_frames(void *context)
{
    (void)context;
    return server.frames_count >= server.frames_awaited;
}

static bool client_has_frames(void *context)
{
    (void)context;
    return client.frames_count >= client.frames_awaited;
}

static void await_server_frames(size_t count)
{
    server.frames_awaited = count;
    ck_assert(net_world_run(&world, server_has_frames, NULL, NET_WORLD_PATIENCE_MS));
}

static void await_client_frames(size_t count)
{
    client.frames_awaited = count;
    ck_assert(net_world_run(&world, client_has_frames, NULL, NET_WORLD_PATIENCE_MS));
}

static bool server_has_all_bytes(void *context)
{
    (void)context;
    return server.connection.bytes_in == client.connection.bytes_out &&
           connection_unsent_bytes(&client.connection) == 0;
}

static void await_server_bytes(void)
{
    ck_assert(net_world_run(&world, server_has_all_bytes, NULL, NET_WORLD_PATIENCE_MS));
}

/* A one-way call whose body is `body_bytes` long: [2, "echo", [bin32]]. Its length. */
static size_t frame_make(uint8_t *to, size_t body_bytes, uint8_t fill)
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

static uint8_t *frames_make(size_t count, size_t body_bytes, size_t *length_out)
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

static void client_writes(const uint8_t *bytes, size_t length)
{
    connection_write(&client.connection, bytes, length);
}

/* ---------------------------------------------------------------- frames in */

START_TEST(a_frame_comes_whole_wherever_its_bytes_were_cut)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);

    for (size_t cut = 1; cut < length; cut++) {
        client_writes(frame, cut);
        await_server_bytes();
        ck_assert_uint_eq(server.frames_count, cut - 1);
        client_writes(frame + cut, length - cut);
        await_server_frames(cut);
        ck_assert_mem_eq(server.frames + (cut - 1) * length, frame, length);
    }

    ck_assert_int_eq(server.malformed, 0);
    finish();
}
END_TEST

START_TEST(a_frame_that_comes_byte_by_byte_is_one_frame)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);

    for (size_t i = 0; i < length; i++) {
        ck_assert_uint_eq(server.frames_count, 0);
        client_writes(frame + i, 1);
        await_server_bytes();
    }

    ck_assert_uint_eq(server.frames_count, 1);
    ck_assert_mem_eq(server.frames, frame, length);
    finish();
}
END_TEST

START_TEST(frames_that_come_together_are_handed_over_one_by_one)
{
    begin(_i);
    size_t length;
    uint8_t *frames = frames_make(1000, 33, &length);

    client_writes(frames, length);
    await_server_frames(1000);

    ck_assert_uint_eq(server.frames_count, 1000);
    ck_assert_uint_eq(server.frames_bytes, length);
    ck_assert_mem_eq(server.frames, frames, length);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_frame_and_a_half_are_one_frame_now_and_one_later)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    client_writes(frame, length);
    client_writes(frame, length / 2);
    await_server_bytes();
    ck_assert_uint_eq(server.frames_count, 1);

    client_writes(frame + length / 2, length - length / 2);
    client_writes(frame, length);
    await_server_frames(3);

    for (size_t i = 0; i < 3; i++) {
        ck_assert_mem_eq(server.frames + i * length, frame, length);
    }
    finish();
}
END_TEST

/* Sizes around those at which buffers, parts and preferred receives change their ways. */
static const size_t BODY_BYTES[] = {0,      1,      1000,   1024,   4096,    32768,   65500,  65536,
                                    100000, 262100, 262144, 300000, 1048576, 4194304, 8388594};

START_TEST(frames_of_all_sizes_come_whole)
{
    size_t body_bytes = BODY_BYTES[_i / NET_WORLD_KINDS];
    begin(_i % NET_WORLD_KINDS);
    size_t count = body_bytes < 1000000 ? 7 : 2;
    size_t length;
    uint8_t *frames = frames_make(count, body_bytes, &length);

    client_writes(frames, length);
    await_server_frames(count);

    ck_assert_uint_eq(server.frames_bytes, length);
    ck_assert_mem_eq(server.frames, frames, length);
    ck_assert_int_eq(server.malformed, 0);
    free(frames);
    finish();
    /* Nothing is kept of it: asserted when the pool was destroyed. */
}
END_TEST

START_TEST(a_frame_above_the_limit_is_malformed_when_its_header_is_there)
{
    begin(_i);
    server.connection.frame_bytes_max = 1000;
    uint8_t frame[2000];
    (void)frame_make(frame, 1000, 0);

    client_writes(frame, 20);
    net_world_await(&world, &server.is_closed);

    ck_assert_int_eq(server.malformed, 1);
    ck_assert_str_eq(server.why, "the frame is too long");
    ck_assert_int_eq(server.how, CONNECTION_END_MALFORMED);
    ck_assert_uint_eq(server.frames_count, 0);
    finish();
}
END_TEST

START_TEST(malformed_bytes_are_told_once_and_the_last_answer_reaches_the_peer)
{
    begin(_i);
    server.says_bye = true;
    uint8_t bytes[3000];
    size_t length = frame_make(bytes, 100, 0);
    memset(bytes + length, 0xc1, sizeof(bytes) - length);

    client_writes(bytes, sizeof(bytes));
    net_world_await(&world, &client.is_closed);
    net_world_await(&world, &server.is_closed);

    ck_assert_uint_eq(server.frames_count, 1);
    ck_assert_int_eq(server.malformed, 1);
    ck_assert_int_eq(server.how, CONNECTION_END_MALFORMED);
    ck_assert_uint_eq(client.frames_count, 1);
    ck_assert_mem_eq(client.frames, BYE, sizeof(BYE));
    ck_assert_int_eq(client.how, CONNECTION_END_PEER);
    finish();
}
END_TEST

START_TEST(a_kept_buffer_keeps_its_frame)
{
    begin(_i);
    server.keeps = true;
    uint8_t frame[2000];
    for (size_t i = 0; i < 60; i++) {
        size_t length = frame_make(frame, 100 + i * 20, (uint8_t)i);
        client_writes(frame, length);
        await_server_frames(i + 1);
    }

    for (size_t i = 0; i < 60; i++) {
        size_t length = frame_make(frame, 100 + i * 20, (uint8_t)i);
        ck_assert_uint_eq(server.kept_frames[i].length, length);
        ck_assert_mem_eq(server.kept_frames[i].data, frame, length);
        buffer_unref(server.kept[i]);
    }
    finish();
}
END_TEST

START_TEST(an_idle_connection_holds_no_buffer_and_little_memory)
{
    begin(_i);
    server.echoes = true;
    size_t length;
    uint8_t *frames = frames_make(50, 3000, &length);
    client_writes(frames, length);
    await_client_frames(50);
    net_world_pass(&world, 10);

    ck_assert_ptr_null(server.connection.part);
    ck_assert_ptr_null(server.connection.held);
    ck_assert_ptr_null(server.connection.block);
    ck_assert_uint_le(sizeof(struct connection), 1024);
    /* One buffer at the most: the one that the reactor receives into. */
    ck_assert_uint_le(buffer_pool_bytes(reactor_buffers(world.reactor)), BUFFER_BYTES);
    free(frames);
    finish();
}
END_TEST

/* Nine frames of 1.5 MiB want more memory than the pool has, on their own connection. */
START_TEST(a_large_frame_waits_for_memory_and_goes_on)
{
    prepare(REACTOR_EPOLL, 12 * 256 * 1024);
    open_ends();
    server.keeps = true;
    size_t length;
    uint8_t *frames = frames_make(9, 1200000, &length);

    client_writes(frames, length);
    size_t given = 0;
    for (int i = 0; i < 2000 && server.frames_count < 9; i++) {
        net_world_pass(&world, 2);
        if (given < server.kept_count) {
            buffer_unref(server.kept[given++]);
        }
    }

    ck_assert_uint_eq(server.frames_count, 9);
    ck_assert_mem_eq(server.frames, frames, length);
    ck_assert_uint_le(buffer_pool_bytes_peak(reactor_buffers(world.reactor)), 12 * 256 * 1024);
    while (given < server.kept_count) {
        buffer_unref(server.kept[given++]);
    }
    free(frames);
    finish();
}
END_TEST

enum { CROWD = 12 };

static struct end crowd[2 * CROWD];

static bool crowd_has_frames(void *context)
{
    (void)context;
    for (int i = 0; i < CROWD; i++) {
        if (crowd[2 * i].frames_count < 1) {
            return false;
        }
    }
    return true;
}

static bool crowd_is_closed(void *context)
{
    (void)context;
    for (int i = 0; i < 2 * CROWD; i++) {
        if (!crowd[i].is_closed) {
            return false;
        }
    }
    return true;
}

/* Each has begun before the first one can end: without a rule they would wait for each other. */
START_TEST(large_frames_on_many_connections_all_end_in_little_memory)
{
    net_world_init_sized(&world, REACTOR_EPOLL, 24 * 256 * 1024);
    size_t length;
    uint8_t *frame = frames_make(1, 1300000, &length);
    for (int i = 0; i < 2 * CROWD; i++) {
        memset(&crowd[i], 0, sizeof(crowd[i]));
        crowd[i].connection.events = &events;
        crowd[i].connection.frame_bytes_max = FRAME_BYTES_MAX;
        crowd[i].frames = malloc(length);
    }
    for (int i = 0; i < CROWD; i++) {
        int sockets[2];
        int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
        ck_assert_int_eq(socketpair(AF_UNIX, type, 0, sockets), 0);
        connection_open(&crowd[2 * i].connection, world.reactor, sockets[0]);
        connection_open(&crowd[2 * i + 1].connection, world.reactor, sockets[1]);
        connection_write(&crowd[2 * i + 1].connection, frame, 300000);
    }
    net_world_pass(&world, 100);

    for (int i = 0; i < CROWD; i++) {
        connection_write(&crowd[2 * i + 1].connection, frame + 300000, length - 300000);
    }
    ck_assert(net_world_run(&world, crowd_has_frames, NULL, NET_WORLD_PATIENCE_MS));

    for (int i = 0; i < CROWD; i++) {
        ck_assert_mem_eq(crowd[2 * i].frames, frame, length);
    }
    ck_assert_uint_le(buffer_pool_bytes_peak(reactor_buffers(world.reactor)), 24 * 256 * 1024);
    for (int i = 0; i < 2 * CROWD; i++) {
        connection_close(&crowd[i].connection);
    }
    ck_assert(net_world_run(&world, crowd_is_closed, NULL, NET_WORLD_PATIENCE_MS));
    for (int i = 0; i < 2 * CROWD; i++) {
        free(crowd[i].frames);
    }
    free(frame);
    net_world_deinit(&world);
}
END_TEST

START_TEST(a_frame_that_no_memory_could_ever_hold_is_malformed)
{
    prepare(REACTOR_EPOLL, 12 * 256 * 1024);
    open_ends();
    uint8_t frame[32];
    (void)frame_make(frame, 0, 0);
    frame[10] = 0x60; /* bin32 of 6 MiB, twice what there is */

    client_writes(frame, 13);
    net_world_await(&world, &server.is_closed);

    ck_assert_int_eq(server.malformed, 1);
    finish();
}
END_TEST

/* ------------------------------------------------------------ pause, resume */

START_TEST(a_paused_connection_hands_over_nothing_and_loses_nothing)
{
    begin(_i);
    server.pauses = true;
    size_t length;
    uint8_t *frames = frames_make(300, 1000, &length);
    client_writes(frames, length);

    for (size_t i = 1; i <= 300; i++) {
        await_server_frames(i);
        ck_assert_uint_eq(server.frames_count, i);
        if (i % 50 == 0) {
            net_world_pass(&world, 2);
            ck_assert_uint_eq(server.frames_count, i);
        }
        inside_call = true;
        connection_resume(&server.connection);
        inside_call = false;
    }

    ck_assert_mem_eq(server.frames, frames, length);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_connection_can_be_closed_while_paused_with_frames_waiting)
{
    begin(_i);
    server.pauses = true;
    size_t length;
    uint8_t *frames = frames_make(300, 1000, &length);
    client_writes(frames, length);
    await_server_frames(1);

    inside_call = true;
    connection_close(&server.connection);
    connection_close(&server.connection);
    inside_call = false;
    net_world_await(&world, &server.is_closed);

    ck_assert_uint_eq(server.frames_count, 1);
    ck_assert_int_eq(server.how, CONNECTION_END_OWNER);
    free(frames);
    finish();
}
END_TEST

START_TEST(no_frame_follows_a_close_from_within_a_frame)
{
    begin(_i);
    server.closes = true;
    size_t length;
    uint8_t *frames = frames_make(300, 10, &length);

    client_writes(frames, length);
    net_world_await(&world, &server.is_closed);

    ck_assert_uint_eq(server.frames_count, 1);
    ck_assert_int_eq(server.closed, 1);
    free(frames);
    finish();
}
END_TEST

/* --------------------------------------------------------------------- out */

static int released;

static void count_release(void *owner)
{
    ck_assert_ptr_eq(owner, &released);
    released++;
}

static const struct output_hold HOLD = {count_release, &released};

START_TEST(bytes_and_ranges_leave_in_the_order_in_which_they_were_queued)
{
    begin(_i);
    released = 0;
    size_t length;
    uint8_t *frames = frames_make(400, 2000, &length);
    size_t one = length / 400;
    for (size_t i = 0; i < 400; i++) {
        if (i % 3 == 0) {
            connection_write_range(&client.connection, frames + i * one, one, HOLD);
        } else if (i % 3 == 1) {
            uint8_t *room = connection_reserve(&client.connection, one + 100);
            memcpy(room, frames + i * one, one);
            connection_commit(&client.connection, one);
        } else {
            connection_write(&client.connection, frames + i * one, 100);
            connection_write_range(&client.connection, frames + i * one + 100, one - 100, HOLD);
        }
    }
    ck_assert_uint_eq(connection_unsent_bytes(&client.connection), length);
    ck_assert_int_eq(released, 0);

    await_server_frames(400);
    net_world_pass(&world, 10);

    ck_assert_mem_eq(server.frames, frames, length);
    ck_assert_int_eq(released, 134 + 133);
    ck_assert_uint_eq(connection_unsent_bytes(&client.connection), 0);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_range_so_short_that_it_is_copied_is_released_at_once)
{
    begin(_i);
    released = 0;
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);

    connection_write_range(&client.connection, frame, length, HOLD);
    ck_assert_int_eq(released, 1);
    memset(frame, 0, sizeof(frame));
    await_server_frames(1);

    (void)frame_make(frame, 40, 1);
    ck_assert_mem_eq(server.frames, frame, length);
    finish();
}
END_TEST

START_TEST(what_is_queued_in_a_turn_leaves_in_one_send)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    uint64_t sends = reactor_counters(world.reactor)->sends;
    for (int i = 0; i < 100; i++) {
        client_writes(frame, length);
    }

    await_server_frames(100);

    ck_assert_uint_eq(reactor_counters(world.reactor)->sends, sends + 1);
    finish();
}
END_TEST

START_TEST(a_flush_sends_at_once)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    client_writes(frame, length);
    uint64_t sends = reactor_counters(world.reactor)->sends;

    inside_call = true;
    connection_flush(&client.connection);
    inside_call = false;

    ck_assert_uint_eq(reactor_counters(world.reactor)->sends, sends + 1);
    await_server_frames(1);
    finish();
}
END_TEST

START_TEST(borrowed_ranges_are_released_once_when_the_connection_is_closed_over_them)
{
    begin(_i);
    released = 0;
    connection_pause(&server.connection);
    size_t length;
    uint8_t *frames = frames_make(40, 500000, &length);
    for (size_t i = 0; i < 40; i++) {
        connection_write_range(&client.connection, frames + i * (length / 40), length / 40, HOLD);
    }
    net_world_pass(&world, 20);
    ck_assert_int_lt(released, 40);

    connection_close(&client.connection);
    connection_write_range(&client.connection, frames, length / 40, HOLD);
    net_world_await(&world, &client.is_closed);

    ck_assert_int_eq(released, 41);
    free(frames);
    finish();
}
END_TEST

START_TEST(drained_is_told_once_after_the_mark_was_passed)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    client.connection.unsent_high = 1 << 20;
    open_ends();
    size_t length;
    uint8_t *frames = frames_make(400, 10000, &length);
    client_writes(frames, length);
    ck_assert_int_eq(client.drained, 0);

    await_server_frames(400);
    net_world_pass(&world, 10);
    ck_assert_int_eq(client.drained, 1);

    client_writes(frames, length / 400);
    await_server_frames(401);
    net_world_pass(&world, 10);
    ck_assert_int_eq(client.drained, 1);
    free(frames);
    finish();
}
END_TEST

START_TEST(what_is_written_to_a_closed_connection_is_dropped)
{
    begin(_i);
    connection_close(&client.connection);

    uint8_t *room = connection_reserve(&client.connection, CONNECTION_RESERVE_MAX);
    memset(room, 0x93, CONNECTION_RESERVE_MAX);
    connection_commit(&client.connection, CONNECTION_RESERVE_MAX);
    connection_flush(&client.connection);
    connection_finish(&client.connection);
    connection_pause(&client.connection);
    connection_resume(&client.connection);

    ck_assert_uint_eq(connection_unsent_bytes(&client.connection), 0);
    net_world_await(&world, &client.is_closed);
    ck_assert_uint_eq(server.connection.bytes_in, 0);
    finish();
}
END_TEST

START_TEST(a_part_of_a_file_leaves_in_its_place)
{
    begin(REACTOR_EPOLL);
    released = 0;
    char path[] = "/tmp/ternmq-test-connection-XXXXXX";
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    (void)unlink(path);
    size_t length;
    uint8_t *frames = frames_make(9, 700000, &length);
    size_t one = length / 9;
    ck_assert_int_eq(pwrite(file, frames, length, 4096), (ssize_t)length);

    for (size_t i = 0; i < 9; i += 3) {
        client_writes(frames + i * one, one);
        connection_write_file(&client.connection, file, 4096 + (i + 1) * one, one, HOLD);
        connection_write_range(&client.connection, frames + (i + 2) * one, one, HOLD);
    }
    await_server_frames(9);
    net_world_pass(&world, 10);

    ck_assert_mem_eq(server.frames, frames, length);
    ck_assert_int_eq(released, 6);
    ck_assert_uint_eq(reactor_counters(world.reactor)->sendfiles, 3);
    (void)close(file);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_file_that_is_too_short_ends_the_connection_with_EIO)
{
    begin(REACTOR_EPOLL);
    released = 0;
    char path[] = "/tmp/ternmq-test-connection-XXXXXX";
    int file = mkstemp(path);
    (void)unlink(path);
    ck_assert_int_eq(write(file, "short", 5), 5);

    connection_write_file(&client.connection, file, 0, 5000, HOLD);
    net_world_await(&world, &client.is_closed);

    ck_assert_int_eq(client.how, CONNECTION_END_ERROR);
    ck_assert_int_eq(client.error, EIO);
    ck_assert_int_eq(released, 1);
    (void)close(file);
    finish();
}
END_TEST

/* The peer has gone, and sendfile has no way to leave the signal out. */
START_TEST(sending_to_a_peer_that_has_gone_is_an_error_and_no_signal)
{
    begin(REACTOR_EPOLL);
    char path[] = "/tmp/ternmq-test-connection-XXXXXX";
    int file = mkstemp(path);
    (void)unlink(path);
    ck_assert_int_eq(ftruncate(file, 1 << 22), 0);
    reactor_receive_pause(world.reactor, &client.connection.receive);
    connection_close(&server.connection);
    net_world_await(&world, &server.is_closed);

    for (int i = 0; i < 20 && !client.is_closed; i++) {
        connection_write_file(&client.connection, file, 0, 1 << 22, (struct output_hold){0});
        net_world_pass(&world, 10);
    }

    ck_assert(client.is_closed);
    ck_assert_int_eq(client.how, CONNECTION_END_ERROR);
    (void)close(file);
    finish();
}
END_TEST

/* --------------------------------------------------------------------- ends */

START_TEST(a_finished_connection_sends_what_is_queued_before_it_closes)
{
    begin(_i);
    size_t length;
    uint8_t *frames = frames_make(400, 10000, &length);
    client_writes(frames, length);

    inside_call = true;
    connection_finish(&client.connection);
    inside_call = false;
    client_writes(frames, length);
    await_server_frames(400);
    net_world_await(&world, &server.is_closed);
    net_world_await(&world, &client.is_closed);

    ck_assert_uint_eq(server.frames_bytes, length);
    ck_assert_int_eq(server.how, CONNECTION_END_PEER);
    ck_assert_int_eq(client.how, CONNECTION_END_OWNER);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_finish_does_not_wait_for_ever_for_a_peer_that_does_not_read)
{
    begin(REACTOR_SIMULATED);
    connection_pause(&server.connection);
    size_t length;
    uint8_t *frames = frames_make(400, 10000, &length);
    client_writes(frames, length);
    uint64_t begun_ms = reactor_now_ms(world.reactor);

    connection_finish(&client.connection);
    net_world_await(&world, &client.is_closed);

    ck_assert_uint_ge(reactor_now_ms(world.reactor) - begun_ms, 5000);
    ck_assert_uint_le(reactor_now_ms(world.reactor) - begun_ms, 5100);
    free(frames);
    finish();
}
END_TEST

START_TEST(a_finish_with_nothing_queued_closes_soon_even_if_the_peer_stays)
{
    begin(REACTOR_SIMULATED);
    uint64_t begun_ms = reactor_now_ms(world.reactor);
    connection_pause(&server.connection); /* it does not see the end */

    connection_finish(&client.connection);
    net_world_await(&world, &client.is_closed);

    ck_assert_uint_le(reactor_now_ms(world.reactor) - begun_ms, 300);
    finish();
}
END_TEST

START_TEST(the_peers_close_is_told_as_such_after_its_last_frame)
{
    begin(_i);
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    client_writes(frame, length);
    connection_finish(&client.connection);

    net_world_await(&world, &server.is_closed);

    ck_assert_uint_eq(server.frames_count, 1);
    ck_assert_int_eq(server.how, CONNECTION_END_PEER);
    ck_assert_int_eq(server.error, 0);
    finish();
}
END_TEST

START_TEST(a_silent_connection_is_closed_after_its_idle_time_and_not_before)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    server.connection.idle_ms = 60;
    open_ends();
    uint8_t frame[100];
    size_t length = frame_make(frame, 40, 1);
    for (int i = 0; i < 5; i++) {
        net_world_pass(&world, 25);
        ck_assert(!server.is_closed);
        client_writes(frame, length);
    }
    uint64_t last_ms = reactor_now_ms(world.reactor);

    net_world_await(&world, &server.is_closed);

    ck_assert_int_eq(server.how, CONNECTION_END_IDLE);
    ck_assert_uint_ge(reactor_now_ms(world.reactor) - last_ms, 50);
    finish();
}
END_TEST

START_TEST(a_frame_that_never_ends_is_silence_though_bytes_of_it_come)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    server.connection.idle_ms = 60;
    open_ends();
    uint8_t frame[1000];
    size_t length = frame_make(frame, 900, 1);
    ck_assert_uint_gt(length, 100);

    for (size_t i = 0; i < 100 && !server.is_closed; i++) {
        client_writes(frame + i, 1);
        net_world_pass(&world, 5);
    }

    ck_assert(server.is_closed);
    ck_assert_int_eq(server.how, CONNECTION_END_IDLE);
    finish();
}
END_TEST

START_TEST(an_exempt_connection_may_be_silent)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    server.connection.idle_ms = 20;
    server.connection.idle_exempt = true;
    open_ends();

    net_world_pass(&world, 100);
    ck_assert(!server.is_closed);

    server.connection.idle_exempt = false;
    net_world_await(&world, &server.is_closed);
    ck_assert_int_eq(server.how, CONNECTION_END_IDLE);
    finish();
}
END_TEST

START_TEST(a_peer_that_takes_no_answers_is_silent_though_its_requests_wait)
{
    prepare(_i, NET_WORLD_BUFFERS_BYTES);
    server.connection.idle_ms = 50;
    open_ends();
    connection_pause(&client.connection);
    connection_pause(&server.connection);
    net_world_pass(&world, 120);
    ck_assert(!server.is_closed); /* it is us who do not listen */

    size_t length;
    uint8_t *frames = frames_make(40, 500000, &length);
    connection_write(&server.connection, frames, length);
    net_world_await(&world, &server.is_closed);

    ck_assert_int_eq(server.how, CONNECTION_END_IDLE);
    free(frames);
    finish();
}
END_TEST

START_TEST(echoes_of_random_sizes_come_back_byte_for_byte)
{
    begin(_i);
    server.echoes = true;
    uint8_t *sent = malloc(8 << 20);
    size_t length = 0;
    size_t count = 0;
    while (length < (4 << 20)) {
        uint64_t chance = reactor_random(world.reactor);
        size_t body_bytes = chance % 16 == 0 ? chance % 200000 : chance % 2000;
        length += frame_make(sent + length, body_bytes, (uint8_t)count);
        count++;
    }

    for (size_t at = 0; at < length;) {
        size_t step = 1 + reactor_random(world.reactor) % 300000;
        step = step < length - at ? step : length - at;
        client_writes(sent + at, step);
        net_world_turn(&world);
        at += step;
    }
    await_client_frames(count);

    ck_assert_uint_eq(client.frames_bytes, length);
    ck_assert_mem_eq(client.frames, sent, length);
    free(sent);
    finish();
}
END_TEST

static Suite *connection_suite(void)
{
    Suite *suite = suite_create("net/connection");
    TCase *frames = tcase_create("frames");
    TCase *pause = tcase_create("pause");
    TCase *out = tcase_create("out");
    TCase *ends = tcase_create("ends");
    const int kinds = NET_WORLD_KINDS;
    const int sizes = kinds * (int)(sizeof(BODY_BYTES) / sizeof(BODY_BYTES[0]));

    tcase_add_loop_test(frames, a_frame_comes_whole_wherever_its_bytes_were_cut, 0, kinds);
    tcase_add_loop_test(frames, a_frame_that_comes_byte_by_byte_is_one_frame, 0, kinds);
    tcase_add_loop_test(frames, frames_that_come_together_are_handed_over_one_by_one, 0, kinds);
    tcase_add_loop_test(frames, a_frame_and_a_half_are_one_frame_now_and_one_later, 0, kinds);
    tcase_add_loop_test(frames, frames_of_all_sizes_come_whole, 0, sizes);
    tcase_add_loop_test(frames, a_frame_above_the_limit_is_malformed_when_its_header_is_there, 0,
                        kinds);
    tcase_add_loop_test(frames, malformed_bytes_are_told_once_and_the_last_answer_reaches_the_peer,
                        0, kinds);
    tcase_add_loop_test(frames, a_kept_buffer_keeps_its_frame, 0, kinds);
    tcase_add_loop_test(frames, an_idle_connection_holds_no_buffer_and_little_memory, 0, kinds);
    tcase_add_test(frames, a_large_frame_waits_for_memory_and_goes_on);
    tcase_add_test(frames, large_frames_on_many_connections_all_end_in_little_memory);
    tcase_add_test(frames, a_frame_that_no_memory_could_ever_hold_is_malformed);
    tcase_add_loop_test(frames, echoes_of_random_sizes_come_back_byte_for_byte, 0, kinds);
    tcase_add_loop_test(pause, a_paused_connection_hands_over_nothing_and_loses_nothing, 0, kinds);
    tcase_add_loop_test(pause, a_connection_can_be_closed_while_paused_with_frames_waiting, 0,
                        kinds);
    tcase_add_loop_test(pause, no_frame_follows_a_close_from_within_a_frame, 0, kinds);
    tcase_add_loop_test(out, bytes_and_ranges_leave_in_the_order_in_which_they_were_queued, 0,
                        kinds);
    tcase_add_loop_test(out, a_range_so_short_that_it_is_copied_is_released_at_once, 0, kinds);
    tcase_add_loop_test(out, what_is_queued_in_a_turn_leaves_in_one_send, 0, kinds);
    tcase_add_loop_test(out, a_flush_sends_at_once, 0, kinds);
    tcase_add_loop_test(
        out, borrowed_ranges_are_released_once_when_the_connection_is_closed_over_them, 0, kinds);
    tcase_add_loop_test(out, drained_is_told_once_after_the_mark_was_passed, 0, kinds);
    tcase_add_loop_test(out, what_is_written_to_a_closed_connection_is_dropped, 0, kinds);
    tcase_add_test(out, a_part_of_a_file_leaves_in_its_place);
    tcase_add_test(out, a_file_that_is_too_short_ends_the_connection_with_EIO);
    tcase_add_test(out, sending_to_a_peer_that_has_gone_is_an_error_and_no_signal);
    tcase_add_loop_test(ends, a_finished_connection_sends_what_is_queued_before_it_closes, 0,
                        kinds);
    tcase_add_test(ends, a_finish_does_not_wait_for_ever_for_a_peer_that_does_not_read);
    tcase_add_test(ends, a_finish_with_nothing_queued_closes_soon_even_if_the_peer_stays);
    tcase_add_loop_test(ends, the_peers_close_is_told_as_such_after_its_last_frame, 0, kinds);
    tcase_add_loop_test(ends, a_silent_connection_is_closed_after_its_idle_time_and_not_before, 0,
                        kinds);
    tcase_add_loop_test(ends, a_frame_that_never_ends_is_silence_though_bytes_of_it_come, 0, kinds);
    tcase_add_loop_test(ends, an_exempt_connection_may_be_silent, 0, kinds);
    tcase_add_loop_test(ends, a_peer_that_takes_no_answers_is_silent_though_its_requests_wait, 0,
                        kinds);
    suite_add_tcase(suite, frames);
    suite_add_tcase(suite, pause);
    suite_add_tcase(suite, out);
    suite_add_tcase(suite, ends);
    return suite;
}

TEST_MAIN(connection_suite)
