/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests that reactor_close() closes before it returns, on both kernel backends: its port is free, and
 * its peer is told. In `done`, where nothing has gone to the kernel since the operation was cancelled.
 */

#include "net/reactor.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a second listen at a port in use would take is 2,000. */
enum { RELISTEN_MS_MAX = 1000, ROOM_BYTES = 100 };

static struct net_world world;
static struct address address;
static bool is_done;

static void accepted(struct accept_op *accept, int socket)
{
    (void)accept;
    reactor_close(world.reactor, socket);
}

static void close_and_listen_again(struct op *op, int64_t result)
{
    ck_assert_int_eq(result, -ECANCELED);
    struct accept_op *accept = CONTAINER_OF(op, struct accept_op, op);
    uint64_t begun_ms = net_world_clock_ms();
    reactor_close(world.reactor, accept->listener);

    int listener = reactor_listen(world.reactor, &address, NULL);

    ck_assert_int_ge(listener, 0);
    ck_assert_uint_lt(net_world_clock_ms() - begun_ms, RELISTEN_MS_MAX);
    reactor_close(world.reactor, listener);
    is_done = true;
}

START_TEST(the_port_of_a_closed_listener_can_be_listened_at_at_once)
{
    net_world_init(&world, _i);
    is_done = false;
    address = net_world_address("127.0.0.1:0");
    struct accept_op accept = {.op = {.done = close_and_listen_again}, .accepted = accepted};
    int listener = reactor_listen(world.reactor, &address, &address);
    reactor_accept(world.reactor, &accept, listener);
    net_world_pass(&world, 5);

    reactor_cancel(world.reactor, &accept.op);
    net_world_await(&world, &is_done);

    net_world_deinit(&world);
}
END_TEST

struct pair {
    struct receive_op receive;
    int sockets[2];
    size_t received;
    uint8_t room[ROOM_BYTES];
};

/* The next bytes have a place of their own. */
static void received(struct receive_op *receive, struct buffer *buffer, uint8_t *at, size_t length)
{
    (void)buffer;
    (void)at;
    struct pair *pair = CONTAINER_OF(receive, struct pair, receive);
    pair->received += length;
    receive->prefer = pair->room;
    receive->prefer_bytes = sizeof(pair->room);
}

static void close_and_look(struct op *op, int64_t result)
{
    ck_assert_int_eq(result, -ECANCELED);
    struct pair *pair = CONTAINER_OF(CONTAINER_OF(op, struct receive_op, op), struct pair, receive);
    uint8_t byte;

    reactor_close(world.reactor, pair->sockets[0]);

    ck_assert_int_eq(recv(pair->sockets[1], &byte, 1, MSG_DONTWAIT), 0);
    is_done = true;
}

START_TEST(the_peer_of_a_closed_socket_is_told_at_once)
{
    net_world_init(&world, _i);
    is_done = false;
    struct pair pair = {.receive = {.op = {.done = close_and_look}, .received = received}};
    ck_assert_int_eq(
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.sockets), 0);
    reactor_receive(world.reactor, &pair.receive, pair.sockets[0]);
    ck_assert_int_eq(write(pair.sockets[1], "x", 1), 1);
    net_world_pass(&world, 5);
    ck_assert_uint_eq(pair.received, 1);

    reactor_cancel(world.reactor, &pair.receive.op);
    net_world_await(&world, &is_done);

    (void)close(pair.sockets[1]);
    net_world_deinit(&world);
}
END_TEST

static Suite *reactor_close_suite(void)
{
    Suite *suite = suite_create("net/reactor_close");
    TCase *at_once = tcase_create("at_once");

    tcase_add_loop_test(at_once, the_port_of_a_closed_listener_can_be_listened_at_at_once, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(at_once, the_peer_of_a_closed_socket_is_told_at_once, 0,
                        NET_WORLD_KERNEL_KINDS);
    suite_add_tcase(suite, at_once);
    return suite;
}

TEST_MAIN(reactor_close_suite)
