/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of net/reactor.h, sockets, each on all backends: operations end exactly once and never
 * inside the call that caused it; streams carry all bytes, in order, to where they shall go.
 */

#include "net/buffer.h"
#include "net/reactor.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STREAM_BYTES = 3 * 1024 * 1024 };

static struct net_world world;

static void start(int kind)
{
    net_world_init(&world, kind);
}

/* ------------------------------------------------------------- operations */

/* True while a test is inside a call that must not run callbacks. */
static bool inside_call;

/* ------------------------------------------------------------------ a pair */

struct receiver {
    struct receive_op op;
    bool is_done;
    int done;
    int64_t result;
    uint8_t *bytes; /* everything that came */
    size_t length;
    size_t room;
    size_t pause_at; /* 0: never */
    size_t reports;
    size_t preferred;
    size_t awaited;
    bool is_enough;
    uint8_t preference[64 * 1024];
    bool prefers;
};

struct sender {
    struct send_op op;
    struct iovec ranges[64];
    bool is_done;
    int done;
    int64_t result;
};

struct pair {
    struct accept_op accept;
    struct connect_op connect;
    int listener;
    int client;
    int server;
    bool is_connected;
    bool is_accepted;
    bool accept_is_done;
    int64_t accept_result;
    int64_t connect_result;
    bool connect_is_done;
    struct receiver receiver; /* of the server's socket */
    struct sender sender;     /* on the client's */
};

static struct pair pair;

static void receiver_received(struct receive_op *op, struct buffer *buffer, uint8_t *at,
                              size_t length)
{
    struct receiver *receiver = (struct receiver *)(void *)op;
    ck_assert(!inside_call);
    ck_assert_int_eq(receiver->done, 0);
    ck_assert(!op->paused);
    ck_assert_uint_gt(length, 0);
    ck_assert_uint_le(receiver->length + length, receiver->room);
    if (buffer == NULL) {
        ck_assert(receiver->prefers);
        ck_assert_ptr_eq(at, receiver->preference);
        ck_assert_uint_le(length, sizeof(receiver->preference));
        receiver->preferred++;
    } else {
        ck_assert(at >= buffer->bytes && at + length <= buffer->bytes + buffer->used);
    }
    memcpy(receiver->bytes + receiver->length, at, length);
    receiver->length += length;
    receiver->reports++;
    receiver->is_enough = receiver->length >= receiver->awaited;
    if (receiver->pause_at != 0 && receiver->length >= receiver->pause_at) {
        receiver->pause_at = 0;
        reactor_receive_pause(world.reactor, op);
    }
}

static void receiver_done(struct op *op, int64_t result)
{
    struct receiver *receiver = (struct receiver *)(void *)op;
    ck_assert(!inside_call);
    receiver->done++;
    receiver->result = result;
    receiver->is_done = true;
}

static void sender_done(struct op *op, int64_t result)
{
    struct sender *sender = (struct sender *)(void *)op;
    ck_assert(!inside_call);
    sender->done++;
    sender->result = result;
    sender->is_done = true;
}

static void pair_accepted(struct accept_op *accept, int socket)
{
    ck_assert(!inside_call);
    (void)accept;
    pair.server = socket;
    pair.is_accepted = true;
}

static void pair_accept_done(struct op *op, int64_t result)
{
    (void)op;
    ck_assert(!inside_call);
    ck_assert(!pair.accept_is_done);
    pair.accept_is_done = true;
    pair.accept_result = result;
}

static void pair_connect_done(struct op *op, int64_t result)
{
    (void)op;
    ck_assert(!inside_call);
    ck_assert(!pair.connect_is_done);
    pair.connect_is_done = true;
    pair.connect_result = result;
    pair.client = (int)result;
    pair.is_connected = result >= 0;
}

/* Connects two sockets of `world`, which has been started. */
static void pair_connect(const char *text)
{
    memset(&pair, 0, sizeof(pair));
    struct address address = net_world_address(text);
    pair.listener = reactor_listen(world.reactor, &address, &address);
    ck_assert_int_ge(pair.listener, 0);
    pair.accept.accepted = pair_accepted;
    pair.accept.op.done = pair_accept_done;
    pair.connect.op.done = pair_connect_done;
    inside_call = true;
    reactor_accept(world.reactor, &pair.accept, pair.listener);
    reactor_connect(world.reactor, &pair.connect, &address, 5000);
    inside_call = false;
    ck_assert(pair.connect.op.in_flight);
    net_world_await(&world, &pair.is_connected);
    net_world_await(&world, &pair.is_accepted);
    pair.receiver.room = 2 * STREAM_BYTES;
    pair.receiver.awaited = SIZE_MAX;
    pair.receiver.bytes = malloc(pair.receiver.room);
    pair.receiver.op.received = receiver_received;
    pair.receiver.op.op.done = receiver_done;
    pair.sender.op.op.done = sender_done;
    pair.sender.op.file = -1;
}

static void pair_open(int kind)
{
    start(kind);
    pair_connect("127.0.0.1:0");
}

static void receive_start(void)
{
    inside_call = true;
    reactor_receive(world.reactor, &pair.receiver.op, pair.server);
    inside_call = false;
}

static void send_start(const void *bytes, size_t length)
{
    pair.sender.ranges[0] = (struct iovec){(void *)(uintptr_t)bytes, length};
    pair.sender.op.iov = pair.sender.ranges;
    pair.sender.op.count = 1;
    pair.sender.is_done = false;
    inside_call = true;
    reactor_send(world.reactor, &pair.sender.op, pair.client);
    inside_call = false;
    ck_assert(pair.sender.op.op.in_flight);
}

static void pair_close(void)
{
    reactor_cancel(world.reactor, &pair.accept.op);
    if (pair.receiver.op.op.in_flight) {
        reactor_cancel(world.reactor, &pair.receiver.op.op);
    }
    if (pair.sender.op.op.in_flight) {
        reactor_cancel(world.reactor, &pair.sender.op.op);
    }
    while (!pair.accept_is_done || pair.receiver.op.op.in_flight || pair.sender.op.op.in_flight) {
        net_world_turn(&world);
    }
    if (pair.client >= 0) {
        reactor_close(world.reactor, pair.client);
    }
    reactor_close(world.reactor, pair.server);
    reactor_close(world.reactor, pair.listener);
    free(pair.receiver.bytes);
    net_world_deinit(&world);
}

static uint8_t *numbered_bytes(size_t length)
{
    uint8_t *bytes = malloc(length);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < length; i++) {
        bytes[i] = (uint8_t)(i * 2654435761U >> 13);
    }
    return bytes;
}

/* ----------------------------------------------------------------- streams */

START_TEST(bytes_sent_arrive_in_order_and_the_send_completes_with_their_count)
{
    pair_open(_i);
    uint8_t *bytes = numbered_bytes(STREAM_BYTES);
    pair.receiver.awaited = STREAM_BYTES;
    receive_start();

    send_start(bytes, STREAM_BYTES);
    net_world_await(&world, &pair.receiver.is_enough);
    net_world_await(&world, &pair.sender.is_done);

    ck_assert_int_eq(pair.sender.done, 1);
    ck_assert_int_eq(pair.sender.result, STREAM_BYTES);
    ck_assert_uint_eq(pair.receiver.length, STREAM_BYTES);
    ck_assert_mem_eq(pair.receiver.bytes, bytes, STREAM_BYTES);
    ck_assert_int_eq(pair.receiver.done, 0);
    free(bytes);
    pair_close();
}
END_TEST

START_TEST(gathered_ranges_arrive_as_one_run)
{
    pair_open(_i);
    uint8_t *bytes = numbered_bytes(STREAM_BYTES);
    pair.receiver.awaited = STREAM_BYTES;
    receive_start();
    size_t step = STREAM_BYTES / 64;
    for (size_t i = 0; i < 64; i++) {
        size_t begin = i * step;
        size_t end = i == 63 ? STREAM_BYTES : begin + step;
        pair.sender.ranges[i] = (struct iovec){bytes + begin, end - begin};
    }
    pair.sender.op.iov = pair.sender.ranges;
    pair.sender.op.count = 64;

    reactor_send(world.reactor, &pair.sender.op, pair.client);
    net_world_await(&world, &pair.receiver.is_enough);
    net_world_await(&world, &pair.sender.is_done);

    ck_assert_int_eq(pair.sender.result, STREAM_BYTES);
    ck_assert_mem_eq(pair.receiver.bytes, bytes, STREAM_BYTES);
    free(bytes);
    pair_close();
}
END_TEST

START_TEST(a_unix_path_carries_bytes_too)
{
    char text[100];
    (void)snprintf(text, sizeof(text), "unix:/tmp/ternmq-test-reactor-%d", (int)getpid());
    start(_i);
    pair_connect(text);
    pair.receiver.awaited = 5;
    receive_start();

    send_start("hello", 5);
    net_world_await(&world, &pair.receiver.is_enough);

    ck_assert_mem_eq(pair.receiver.bytes, "hello", 5);
    net_world_await(&world, &pair.sender.is_done);
    pair_close();
    (void)unlink(text + strlen("unix:"));
}
END_TEST

START_TEST(a_send_that_finds_no_room_waits_until_the_peer_reads)
{
    pair_open(_i);
    size_t length = STREAM_BYTES;
    if (world.kind != REACTOR_SIMULATED) {
        int small = 4096;
        (void)setsockopt(pair.client, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    }
    uint8_t *bytes = numbered_bytes(length);
    pair.receiver.awaited = length;

    send_start(bytes, length);
    net_world_pass(&world, 50);
    ck_assert_int_eq(pair.sender.done, 0);

    receive_start();
    net_world_await(&world, &pair.receiver.is_enough);
    net_world_await(&world, &pair.sender.is_done);
    ck_assert_int_eq(pair.sender.result, (int64_t)length);
    ck_assert_mem_eq(pair.receiver.bytes, bytes, length);
    free(bytes);
    pair_close();
}
END_TEST

START_TEST(the_peers_end_completes_a_receive_with_0_after_the_last_byte)
{
    pair_open(_i);
    receive_start();

    send_start("last words", 10);
    net_world_await(&world, &pair.sender.is_done);
    reactor_close(world.reactor, pair.client);
    pair.client = -1;
    net_world_await(&world, &pair.receiver.is_done);

    ck_assert_int_eq(pair.receiver.done, 1);
    ck_assert_int_eq(pair.receiver.result, 0);
    ck_assert_uint_eq(pair.receiver.length, 10);
    pair_close();
}
END_TEST

START_TEST(a_cancelled_receive_is_done_once_with_ECANCELED)
{
    pair_open(_i);
    receive_start();
    net_world_pass(&world, 5);

    inside_call = true;
    reactor_cancel(world.reactor, &pair.receiver.op.op);
    reactor_cancel(world.reactor, &pair.receiver.op.op);
    inside_call = false;
    ck_assert(pair.receiver.op.op.in_flight);
    net_world_await(&world, &pair.receiver.is_done);
    net_world_pass(&world, 5);

    ck_assert_int_eq(pair.receiver.done, 1);
    ck_assert_int_eq(pair.receiver.result, -ECANCELED);
    pair_close();
}
END_TEST

START_TEST(a_cancelled_send_is_done_once_with_ECANCELED)
{
    pair_open(_i);
    uint8_t *bytes = numbered_bytes(2 * STREAM_BYTES);
    if (world.kind != REACTOR_SIMULATED) {
        int small = 4096;
        (void)setsockopt(pair.client, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    }
    send_start(bytes, 2 * STREAM_BYTES);
    net_world_pass(&world, 20);
    ck_assert(!pair.sender.is_done);

    reactor_cancel(world.reactor, &pair.sender.op.op);
    net_world_await(&world, &pair.sender.is_done);

    ck_assert_int_eq(pair.sender.done, 1);
    ck_assert_int_eq(pair.sender.result, -ECANCELED);
    free(bytes);
    pair_close();
}
END_TEST

START_TEST(cancelling_what_has_ended_changes_nothing)
{
    pair_open(_i);
    receive_start();
    reactor_shutdown(world.reactor, pair.server);
    net_world_await(&world, &pair.receiver.is_done);

    reactor_cancel(world.reactor, &pair.receiver.op.op);
    net_world_pass(&world, 5);

    ck_assert_int_eq(pair.receiver.done, 1);
    ck_assert_int_eq(pair.receiver.result, 0);
    pair_close();
}
END_TEST

/* A parked send and a paused receive are the ones that no event would bring home. */
START_TEST(a_shutdown_brings_everything_in_flight_home)
{
    pair_open(_i);
    uint8_t *bytes = numbered_bytes(2 * STREAM_BYTES);
    if (world.kind != REACTOR_SIMULATED) {
        int small = 4096;
        (void)setsockopt(pair.client, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    }
    send_start(bytes, 2 * STREAM_BYTES);
    receive_start();
    reactor_receive_pause(world.reactor, &pair.receiver.op);
    net_world_pass(&world, 20);
    ck_assert(!pair.sender.is_done);
    ck_assert(!pair.receiver.is_done);

    inside_call = true;
    reactor_shutdown(world.reactor, pair.client);
    reactor_shutdown(world.reactor, pair.server);
    inside_call = false;
    net_world_await(&world, &pair.sender.is_done);
    net_world_await(&world, &pair.receiver.is_done);

    ck_assert_int_lt(pair.sender.result, 0);
    ck_assert_int_eq(pair.receiver.done, 1);
    free(bytes);
    pair_close();
}
END_TEST

START_TEST(an_end_of_sending_only_lets_answers_come_back)
{
    pair_open(_i);
    receive_start();

    reactor_shutdown_send(world.reactor, pair.client);
    net_world_await(&world, &pair.receiver.is_done);
    ck_assert_int_eq(pair.receiver.result, 0);

    /* The other direction is whole: the roles change. */
    int server = pair.server;
    pair.server = pair.client;
    pair.client = server;
    pair.receiver.is_done = false;
    pair.receiver.done = 0;
    pair.receiver.awaited = 6;
    receive_start();
    send_start("answer", 6);
    net_world_await(&world, &pair.receiver.is_enough);
    ck_assert_mem_eq(pair.receiver.bytes, "answer", 6);
    net_world_await(&world, &pair.sender.is_done);
    pair_close();
}
END_TEST

START_TEST(nothing_is_reported_while_a_receive_is_paused)
{
    pair_open(_i);
    uint8_t *bytes = numbered_bytes(STREAM_BYTES);
    pair.receiver.awaited = STREAM_BYTES;
    pair.receiver.pause_at = 100 * 1024;
    receive_start();
    send_start(bytes, STREAM_BYTES);
    net_world_pass(&world, 50);
    size_t paused_with = pair.receiver.length;
    ck_assert_uint_ge(paused_with, 100 * 1024);
    ck_assert_uint_lt(paused_with, STREAM_BYTES);

    net_world_pass(&world, 50);
    ck_assert_uint_eq(pair.receiver.length, paused_with);

    inside_call = true;
    reactor_receive_resume(world.reactor, &pair.receiver.op);
    inside_call = false;
    net_world_await(&world, &pair.receiver.is_enough);
    ck_assert_mem_eq(pair.receiver.bytes, bytes, STREAM_BYTES);
    net_world_await(&world, &pair.sender.is_done);
    free(bytes);
    pair_close();
}
END_TEST

/* What was on its way when the pause came: nothing of it is lost, or told too soon. */
START_TEST(what_comes_during_a_pause_is_reported_after_it)
{
    pair_open(_i);
    receive_start();
    net_world_pass(&world, 5);
    pair.receiver.awaited = 10;

    reactor_receive_pause(world.reactor, &pair.receiver.op);
    send_start("first", 5);
    net_world_await(&world, &pair.sender.is_done);
    net_world_pass(&world, 20);
    ck_assert_uint_eq(pair.receiver.length, 0);
    send_start("later", 5);
    net_world_await(&world, &pair.sender.is_done);
    reactor_shutdown_send(world.reactor, pair.client);
    net_world_pass(&world, 20);
    ck_assert_uint_eq(pair.receiver.length, 0);
    ck_assert_int_eq(pair.receiver.done, 0);

    inside_call = true;
    reactor_receive_resume(world.reactor, &pair.receiver.op);
    inside_call = false;
    net_world_await(&world, &pair.receiver.is_done);
    ck_assert_uint_eq(pair.receiver.length, 10);
    ck_assert_mem_eq(pair.receiver.bytes, "firstlater", 10);
    ck_assert_int_eq(pair.receiver.result, 0);
    pair_close();
}
END_TEST

START_TEST(an_end_that_comes_during_a_pause_is_told_after_it)
{
    pair_open(_i);
    receive_start();
    net_world_pass(&world, 5);

    reactor_receive_pause(world.reactor, &pair.receiver.op);
    reactor_shutdown_send(world.reactor, pair.client);
    net_world_pass(&world, 20);
    ck_assert_int_eq(pair.receiver.done, 0);

    reactor_receive_resume(world.reactor, &pair.receiver.op);
    net_world_await(&world, &pair.receiver.is_done);
    ck_assert_int_eq(pair.receiver.done, 1);
    ck_assert_int_eq(pair.receiver.result, 0);
    pair_close();
}
END_TEST

START_TEST(bytes_go_where_the_receiver_prefers_or_into_a_lent_buffer)
{
    pair_open(_i);
    uint8_t *bytes = numbered_bytes(STREAM_BYTES);
    pair.receiver.awaited = STREAM_BYTES;
    pair.receiver.prefers = true;
    pair.receiver.op.prefer = pair.receiver.preference;
    pair.receiver.op.prefer_bytes = sizeof(pair.receiver.preference);
    receive_start();

    send_start(bytes, STREAM_BYTES);
    net_world_await(&world, &pair.receiver.is_enough);

    ck_assert_mem_eq(pair.receiver.bytes, bytes, STREAM_BYTES);
    ck_assert_uint_gt(pair.receiver.preferred, 0);
    net_world_await(&world, &pair.sender.is_done);
    free(bytes);
    pair_close();
}
END_TEST

/* The receiver keeps every buffer it is lent until the pool has none left. */
static struct buffer *kept[64];
static size_t kept_count;

static void keeping_received(struct receive_op *op, struct buffer *buffer, uint8_t *at,
                             size_t length)
{
    receiver_received(op, buffer, at, length);
    if (kept_count == 0 || kept[kept_count - 1] != buffer) {
        ck_assert_uint_lt(kept_count, 64);
        buffer_ref(buffer);
        kept[kept_count++] = buffer;
    }
}

/* Of four buffers the last one is for urgent frames. */
static bool all_are_kept(void *context)
{
    (void)context;
    return kept_count == 3 &&
           pair.receiver.length >= 3 * (size_t)BUFFER_BYTES - 3 * (size_t)(64 * 1024);
}

START_TEST(a_receiver_without_a_buffer_goes_on_when_one_comes_home)
{
    net_world_init_sized(&world, _i, 4 * BUFFER_BYTES);
    pair_connect("127.0.0.1:0");
    pair.receiver.op.received = keeping_received;
    pair.receiver.awaited = STREAM_BYTES;
    uint8_t *bytes = numbered_bytes(STREAM_BYTES);
    kept_count = 0;

    receive_start();
    send_start(bytes, STREAM_BYTES);
    ck_assert(net_world_run(&world, all_are_kept, NULL, NET_WORLD_PATIENCE_MS));
    net_world_pass(&world, 20);
    ck_assert_uint_eq(kept_count, 3);
    ck_assert_uint_le(pair.receiver.length, 3 * BUFFER_BYTES);

    size_t given = 0;
    for (int i = 0; i < 1000 && !pair.receiver.is_enough; i++) {
        if (given < kept_count) {
            buffer_unref(kept[given++]);
        }
        net_world_pass(&world, 5);
    }
    ck_assert(pair.receiver.is_enough);
    while (given < kept_count) {
        buffer_unref(kept[given++]);
    }
    ck_assert_mem_eq(pair.receiver.bytes, bytes, STREAM_BYTES);
    net_world_await(&world, &pair.sender.is_done);
    ck_assert_uint_le(buffer_pool_bytes_peak(reactor_buffers(world.reactor)), 4 * BUFFER_BYTES);
    free(bytes);
    pair_close();
}
END_TEST

/* ----------------------------------------------------------------- connect */

START_TEST(a_connect_that_is_refused_says_so)
{
    start(_i);
    struct address address = net_world_address("127.0.0.1:0");
    int listener = reactor_listen(world.reactor, &address, &address);
    reactor_close(world.reactor, listener);
    struct connect_op connect = {.op = {.done = pair_connect_done}};
    memset(&pair, 0, sizeof(pair));

    inside_call = true;
    reactor_connect(world.reactor, &connect, &address, 1000);
    inside_call = false;
    net_world_await(&world, &pair.connect_is_done);

    ck_assert_int_eq(pair.connect_result, -ECONNREFUSED);
    net_world_deinit(&world);
}
END_TEST

/*
 * An address at which nobody answers. On a real kernel that is a listener whose backlog is full; in
 * the simulation, one behind a link that is cut.
 */
enum { FILLERS = 4 };

struct silence {
    struct address address;
    int listener;
    int fillers[FILLERS];
    struct reactor *other;
};

static void silence_begin(struct silence *silence)
{
    silence->address = net_world_address("127.0.0.1:0");
    silence->other = NULL;
    if (world.simulation != NULL) {
        silence->other = reactor_create_simulated(world.simulation, "two");
        silence->listener = reactor_listen(silence->other, &silence->address, &silence->address);
        simulation_link(world.simulation, "one", "two", false);
        return;
    }
    struct sockaddr *at = (struct sockaddr *)&silence->address.socket;
    silence->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(silence->listener, at, silence->address.length), 0);
    ck_assert_int_eq(listen(silence->listener, 0), 0);
    ck_assert_int_eq(getsockname(silence->listener, at, &silence->address.length), 0);
    for (int i = 0; i < FILLERS; i++) {
        silence->fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(silence->fillers[i], at, silence->address.length);
    }
}

static void silence_end(struct silence *silence)
{
    if (world.simulation != NULL) {
        reactor_destroy(silence->other);
        return;
    }
    (void)close(silence->listener);
    for (int i = 0; i < FILLERS; i++) {
        (void)close(silence->fillers[i]);
    }
}

START_TEST(a_connect_that_nobody_answers_times_out)
{
    start(_i);
    memset(&pair, 0, sizeof(pair));
    struct connect_op connect = {.op = {.done = pair_connect_done}};
    struct silence silence;
    silence_begin(&silence);
    uint64_t begun_ns = reactor_now_ns(world.reactor);

    reactor_connect(world.reactor, &connect, &silence.address, 60);
    net_world_await(&world, &pair.connect_is_done);

    ck_assert_int_eq(pair.connect_result, -ETIMEDOUT);
    ck_assert_uint_ge(reactor_now_ns(world.reactor) - begun_ns, 60000000);
    silence_end(&silence);
    net_world_deinit(&world);
}
END_TEST

START_TEST(a_cancelled_connect_is_done_once_with_ECANCELED)
{
    start(_i);
    memset(&pair, 0, sizeof(pair));
    struct connect_op connect = {.op = {.done = pair_connect_done}};
    struct silence silence;
    silence_begin(&silence);

    reactor_connect(world.reactor, &connect, &silence.address, 60);
    inside_call = true;
    reactor_cancel(world.reactor, &connect.op);
    reactor_cancel(world.reactor, &connect.op);
    inside_call = false;
    net_world_await(&world, &pair.connect_is_done);
    net_world_pass(&world, 100);

    ck_assert_int_eq(pair.connect_result, -ECANCELED);
    silence_end(&silence);
    net_world_deinit(&world);
}
END_TEST

START_TEST(listening_twice_at_one_address_is_refused)
{
    start(_i);
    struct address address = net_world_address("127.0.0.1:0");
    int first = reactor_listen(world.reactor, &address, &address);
    ck_assert_int_ge(first, 0);
    ck_assert_uint_ne(address_port(&address), 0);

    ck_assert_int_eq(reactor_listen(world.reactor, &address, NULL), -EADDRINUSE);

    reactor_close(world.reactor, first);
    int second = reactor_listen(world.reactor, &address, NULL);
    ck_assert_int_ge(second, 0);
    reactor_close(world.reactor, second);
    net_world_deinit(&world);
}
END_TEST

START_TEST(destroying_a_reactor_with_an_operation_in_flight_aborts)
{
    pair_open(_i);
    reactor_destroy(world.reactor);
}
END_TEST

START_TEST(closing_a_socket_with_an_operation_in_flight_aborts)
{
    pair_open(_i);
    receive_start();
    reactor_close(world.reactor, pair.server);
}
END_TEST

static Suite *reactor_suite(void)
{
    Suite *suite = suite_create("net/reactor");
    TCase *streams = tcase_create("streams");
    TCase *connects = tcase_create("connect");
    const int kinds = NET_WORLD_KINDS;

    tcase_add_loop_test(streams, bytes_sent_arrive_in_order_and_the_send_completes_with_their_count,
                        0, kinds);
    tcase_add_loop_test(streams, gathered_ranges_arrive_as_one_run, 0, kinds);
    tcase_add_loop_test(streams, a_unix_path_carries_bytes_too, 0, kinds);
    tcase_add_loop_test(streams, a_send_that_finds_no_room_waits_until_the_peer_reads, 0, kinds);
    tcase_add_loop_test(streams, the_peers_end_completes_a_receive_with_0_after_the_last_byte, 0,
                        kinds);
    tcase_add_loop_test(streams, a_cancelled_receive_is_done_once_with_ECANCELED, 0, kinds);
    tcase_add_loop_test(streams, a_cancelled_send_is_done_once_with_ECANCELED, 0, kinds);
    tcase_add_loop_test(streams, cancelling_what_has_ended_changes_nothing, 0, kinds);
    tcase_add_loop_test(streams, a_shutdown_brings_everything_in_flight_home, 0, kinds);
    tcase_add_loop_test(streams, an_end_of_sending_only_lets_answers_come_back, 0, kinds);
    tcase_add_loop_test(streams, nothing_is_reported_while_a_receive_is_paused, 0, kinds);
    tcase_add_loop_test(streams, what_comes_during_a_pause_is_reported_after_it, 0, kinds);
    tcase_add_loop_test(streams, an_end_that_comes_during_a_pause_is_told_after_it, 0, kinds);
    tcase_add_loop_test(streams, bytes_go_where_the_receiver_prefers_or_into_a_lent_buffer, 0,
                        kinds);
    tcase_add_loop_test(streams, a_receiver_without_a_buffer_goes_on_when_one_comes_home, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test_raise_signal(streams, closing_a_socket_with_an_operation_in_flight_aborts,
                                     SIGABRT, 0, kinds);
    tcase_add_loop_test_raise_signal(streams,
                                     destroying_a_reactor_with_an_operation_in_flight_aborts,
                                     SIGABRT, 0, NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(connects, a_connect_that_is_refused_says_so, 0, kinds);
    tcase_add_loop_test(connects, a_connect_that_nobody_answers_times_out, 0, kinds);
    tcase_add_loop_test(connects, a_cancelled_connect_is_done_once_with_ECANCELED, 0, kinds);
    tcase_add_loop_test(connects, listening_twice_at_one_address_is_refused, 0, kinds);
    suite_add_tcase(suite, streams);
    suite_add_tcase(suite, connects);
    return suite;
}

TEST_MAIN(reactor_suite)
