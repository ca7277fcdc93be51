/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests that the two directions of a socket do not hold up each other, on both kernel backends: a
 * send goes on while the receive waits for a buffer, or when it is cancelled.
 */

#include "net/buffer.h"
#include "net/reactor.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    POOL_BYTES = 1024 * 1024, /* a few buffers */
    KEPT_MAX = 16,
    SENT_BYTES = 4 * 1024 * 1024, /* many times what a turn sends, or a socket holds */
    SINK_BYTES = 64 * 1024
};

static struct net_world world;

/* A socket of the reactor's, its peer, and what both of its directions have done. */
struct stream {
    struct receive_op receive;
    struct send_op send;
    int sockets[2];
    size_t received;
    bool receive_is_done;
    bool send_is_done;
    int64_t send_result;
};

static struct buffer *kept[KEPT_MAX];
static int kept_count;

static void keep_buffer(struct receive_op *receive, struct buffer *buffer, uint8_t *at,
                        size_t length)
{
    (void)at;
    CONTAINER_OF(receive, struct stream, receive)->received += length;
    if (kept_count == 0 || kept[kept_count - 1] != buffer) {
        ck_assert_int_lt(kept_count, KEPT_MAX);
        buffer_ref(buffer);
        kept[kept_count++] = buffer;
    }
}

static void count_bytes(struct receive_op *receive, struct buffer *buffer, uint8_t *at,
                        size_t length)
{
    (void)buffer;
    (void)at;
    CONTAINER_OF(receive, struct stream, receive)->received += length;
}

static void receive_done(struct op *op, int64_t result)
{
    (void)result;
    struct receive_op *receive = CONTAINER_OF(op, struct receive_op, op);
    CONTAINER_OF(receive, struct stream, receive)->receive_is_done = true;
}

static void send_done(struct op *op, int64_t result)
{
    struct stream *stream = CONTAINER_OF(CONTAINER_OF(op, struct send_op, op), struct stream, send);
    stream->send_is_done = true;
    stream->send_result = result;
}

/* Opens a pair of sockets and receives from it; what is sent may stay in the kernel for long. */
static void stream_open(struct stream *stream,
                        void (*received)(struct receive_op *, struct buffer *, uint8_t *, size_t))
{
    int kept_by_kernel = 2 * SENT_BYTES;
    *stream = (struct stream){.receive = {.op = {.done = receive_done}, .received = received}};
    ck_assert_int_eq(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, stream->sockets), 0);
    /* Not allowed to everybody: without it sends end in a full socket before their turn's bound. */
    (void)setsockopt(stream->sockets[0], SOL_SOCKET, SO_SNDBUFFORCE, &kept_by_kernel,
                     sizeof(kept_by_kernel));
    reactor_receive(world.reactor, &stream->receive, stream->sockets[0]);
}

static void stream_close(struct stream *stream)
{
    reactor_cancel(world.reactor, &stream->receive.op);
    net_world_await(&world, &stream->receive_is_done);
    reactor_close(world.reactor, stream->sockets[0]);
    (void)close(stream->sockets[1]);
}

/* Receives until no buffer is left, and keeps them all. */
static void use_up_buffers(struct stream *filler)
{
    static const uint8_t bytes[SINK_BYTES];
    size_t before;
    kept_count = 0;
    stream_open(filler, keep_buffer);
    do {
        before = filler->received;
        while (write(filler->sockets[1], bytes, sizeof(bytes)) > 0) {
        }
        net_world_pass(&world, 5);
    } while (filler->received > before);
    ck_assert_ptr_null(buffer_take(reactor_buffers(world.reactor), BUFFER_BYTES));
}

static void give_buffers_back(void)
{
    while (kept_count > 0) {
        buffer_unref(kept[--kept_count]);
    }
}

/* A file of nothing but zeros. */
static int file_of(size_t bytes)
{
    int file = memfd_create("file", MFD_CLOEXEC);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(ftruncate(file, (off_t)bytes), 0);
    return file;
}

static void send_file(struct stream *stream, int file)
{
    stream->send =
        (struct send_op){.op = {.done = send_done}, .file = file, .file_bytes = SENT_BYTES};
    reactor_send(world.reactor, &stream->send, stream->sockets[0]);
}

/* The peer reads until the send has ended. */
static void expect_sent(struct stream *stream)
{
    static uint8_t sink[SINK_BYTES];
    size_t peer_has = 0;
    uint64_t end_ms = net_world_clock_ms() + NET_WORLD_PATIENCE_MS;
    while (peer_has < SENT_BYTES && net_world_clock_ms() < end_ms) {
        ssize_t count;
        while ((count = recv(stream->sockets[1], sink, sizeof(sink), MSG_DONTWAIT)) > 0) {
            peer_has += (size_t)count;
        }
        reactor_run_once(world.reactor, 5);
    }
    ck_assert_uint_eq(peer_has, SENT_BYTES);
    net_world_await(&world, &stream->send_is_done);
    ck_assert_int_eq(stream->send_result, SENT_BYTES);
}

static void await_received(struct stream *stream, size_t bytes)
{
    uint64_t end_ms = net_world_clock_ms() + NET_WORLD_PATIENCE_MS;
    while (stream->received < bytes && net_world_clock_ms() < end_ms) {
        reactor_run_once(world.reactor, 5);
    }
    ck_assert_uint_eq(stream->received, bytes);
}

/* A stream whose receive has something to read and no buffer for it. */
static void begin_starved(int kind, struct stream *filler, struct stream *starved)
{
    net_world_init_sized(&world, kind, POOL_BYTES);
    use_up_buffers(filler);
    stream_open(starved, count_bytes);
    ck_assert_int_eq(write(starved->sockets[1], "hello", 5), 5);
    net_world_pass(&world, 5);
    ck_assert_uint_eq(starved->received, 0);
}

/* It goes on once there are buffers again. */
static void end_starved(struct stream *filler, struct stream *starved)
{
    ck_assert_uint_eq(starved->received, 0);
    filler->receive.received = count_bytes;
    give_buffers_back();
    await_received(starved, 5);
    stream_close(starved);
    stream_close(filler);
    net_world_deinit(&world);
}

START_TEST(bytes_are_sent_while_the_receive_waits_for_a_buffer)
{
    struct stream filler;
    struct stream starved;
    begin_starved(_i, &filler, &starved);
    uint8_t *bytes = calloc(1, SENT_BYTES);
    struct iovec range = {bytes, SENT_BYTES};
    int small = 64 * 1024; /* the socket is full many times */
    ck_assert_int_eq(setsockopt(starved.sockets[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)),
                     0);

    starved.send =
        (struct send_op){.op = {.done = send_done}, .iov = &range, .count = 1, .file = -1};
    reactor_send(world.reactor, &starved.send, starved.sockets[0]);
    expect_sent(&starved);

    free(bytes);
    end_starved(&filler, &starved);
}
END_TEST

START_TEST(a_file_is_sent_while_the_receive_waits_for_a_buffer)
{
    struct stream filler;
    struct stream starved;
    begin_starved(_i, &filler, &starved);
    int file = file_of(SENT_BYTES);

    send_file(&starved, file);
    expect_sent(&starved);

    (void)close(file);
    end_starved(&filler, &starved);
}
END_TEST

/* The send has had its share of a turn, and waits for the next one. */
START_TEST(a_send_goes_on_when_the_receive_of_its_socket_is_cancelled)
{
    net_world_init(&world, _i);
    struct stream stream;
    stream_open(&stream, count_bytes);
    reactor_receive_pause(world.reactor, &stream.receive);
    ck_assert_int_eq(write(stream.sockets[1], "x", 1), 1);
    net_world_pass(&world, 5); /* nothing of the receive is in the kernel any more */
    int file = file_of(SENT_BYTES);

    send_file(&stream, file);
    ck_assert_uint_lt(stream.send.sent, SENT_BYTES);
    reactor_cancel(world.reactor, &stream.receive.op);
    expect_sent(&stream);

    (void)close(file);
    stream_close(&stream);
    net_world_deinit(&world);
}
END_TEST

static Suite *reactor_starved_suite(void)
{
    Suite *suite = suite_create("net/reactor_starved");
    TCase *starved = tcase_create("starved");
    TCase *cancelled = tcase_create("cancelled");

    tcase_add_loop_test(starved, bytes_are_sent_while_the_receive_waits_for_a_buffer, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(starved, a_file_is_sent_while_the_receive_waits_for_a_buffer, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(cancelled, a_send_goes_on_when_the_receive_of_its_socket_is_cancelled, 0,
                        NET_WORLD_KERNEL_KINDS);
    suite_add_tcase(suite, starved);
    suite_add_tcase(suite, cancelled);
    return suite;
}

TEST_MAIN(reactor_starved_suite)
