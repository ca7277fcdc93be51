/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests that a turn is short and that nobody waits for long, on both kernel backends: what many peers
 * send or are sent is spread over turns, and one peer's byte is not held up by a flood of others'.
 */

#include "net/reactor.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static struct net_world world;

/* ---------------------------------------------------------- bytes of a turn */

enum { BUSY_PEERS = 20, BUSY_BYTES = 100 * 1024, TURN_BYTES_BOUND = (1024 + 256) * 1024 };

struct busy_peer {
    struct receive_op receive;
    int sockets[2];
    bool is_done;
};

static struct busy_peer busy_peers[BUSY_PEERS];
static size_t busy_received;

static void busy_bytes(struct receive_op *receive, struct buffer *buffer, uint8_t *bytes,
                       size_t length)
{
    (void)receive;
    (void)buffer;
    (void)bytes;
    busy_received += length;
}

static void busy_done(struct op *op, int64_t result)
{
    (void)result;
    CONTAINER_OF(CONTAINER_OF(op, struct receive_op, op), struct busy_peer, receive)->is_done =
        true;
}

START_TEST(what_many_peers_send_at_once_is_spread_over_turns)
{
    static const uint8_t bytes[BUSY_BYTES];
    net_world_init(&world, _i);
    busy_received = 0;
    for (int i = 0; i < BUSY_PEERS; i++) {
        struct busy_peer *peer = &busy_peers[i];
        *peer = (struct busy_peer){.receive = {.op = {.done = busy_done}, .received = busy_bytes}};
        ck_assert_int_eq(
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, peer->sockets), 0);
        ck_assert_int_eq(write(peer->sockets[1], bytes, sizeof(bytes)), sizeof(bytes));
        reactor_receive(world.reactor, &peer->receive, peer->sockets[0]);
    }
    size_t most = 0;
    uint64_t begun_ms = net_world_clock_ms();
    while (busy_received < (size_t)BUSY_PEERS * BUSY_BYTES &&
           net_world_clock_ms() - begun_ms < NET_WORLD_PATIENCE_MS) {
        size_t before = busy_received;
        reactor_run_once(world.reactor, 10);
        most = busy_received - before > most ? busy_received - before : most;
    }
    ck_assert_uint_eq(busy_received, (size_t)BUSY_PEERS * BUSY_BYTES);
    ck_assert_uint_le(most, TURN_BYTES_BOUND);
    for (int i = 0; i < BUSY_PEERS; i++) {
        struct busy_peer *peer = &busy_peers[i];
        reactor_cancel(world.reactor, &peer->receive.op);
        net_world_await(&world, &peer->is_done);
        reactor_close(world.reactor, peer->sockets[0]);
        (void)close(peer->sockets[1]);
    }
    net_world_deinit(&world);
}
END_TEST

enum {
    FILE_PEERS = 16,
    FILE_BYTES = 2 * 1024 * 1024,
    SENT_BYTES_BOUND = (1024 + 512) * 1024, /* all peers' share, within one peer's */
    SINK_BYTES = 64 * 1024
};

struct file_peer {
    struct send_op send;
    int sockets[2];
};

static int files_sent;

static void file_sent(struct op *op, int64_t result)
{
    (void)op;
    ck_assert_int_eq(result, FILE_BYTES);
    files_sent++;
}

static size_t bytes_sent(const struct file_peer *peers)
{
    size_t bytes = 0;
    for (int i = 0; i < FILE_PEERS; i++) {
        bytes += peers[i].send.sent;
    }
    return bytes;
}

static void drain_peers(const struct file_peer *peers)
{
    static uint8_t sink[SINK_BYTES];
    for (int i = 0; i < FILE_PEERS; i++) {
        while (recv(peers[i].sockets[1], sink, sizeof(sink), MSG_DONTWAIT) > 0) {
        }
    }
}

START_TEST(files_to_many_peers_at_once_are_spread_over_turns)
{
    static struct file_peer peers[FILE_PEERS];
    net_world_init(&world, _i);
    files_sent = 0;
    int file = memfd_create("file", MFD_CLOEXEC);
    ck_assert_int_eq(ftruncate(file, FILE_BYTES), 0);
    for (int i = 0; i < FILE_PEERS; i++) {
        struct file_peer *peer = &peers[i];
        peer->send =
            (struct send_op){.op = {.done = file_sent}, .file = file, .file_bytes = FILE_BYTES};
        ck_assert_int_eq(
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, peer->sockets), 0);
        reactor_send(world.reactor, &peer->send, peer->sockets[0]);
    }
    size_t most = 0;
    uint64_t begun_ms = net_world_clock_ms();
    while (files_sent < FILE_PEERS && net_world_clock_ms() - begun_ms < NET_WORLD_PATIENCE_MS) {
        drain_peers(peers);
        size_t before = bytes_sent(peers);
        reactor_run_once(world.reactor, 10);
        size_t sent = bytes_sent(peers) - before;
        most = sent > most ? sent : most;
    }
    ck_assert_int_eq(files_sent, FILE_PEERS);
    ck_assert_uint_le(most, SENT_BYTES_BOUND);
    for (int i = 0; i < FILE_PEERS; i++) {
        reactor_close(world.reactor, peers[i].sockets[0]);
        (void)close(peers[i].sockets[1]);
    }
    (void)close(file);
    net_world_deinit(&world);
}
END_TEST

/* ------------------------------------------------------------------ fairness */

enum {
    FLOOD_PEERS = 8, /* twice what a turn takes */
    FLOOD_BYTES = 64 * 1024,
    PREFER_BYTES = 1024 * 1024,
    PATIENT_TURNS = 20 /* what waits for its turn among nine has it long before */
};

struct flood_peer {
    struct receive_op receive;
    int sockets[2];
    bool is_done;
};

/* Where all of them go on with what they have begun. */
static uint8_t preferred[PREFER_BYTES];

static void flood(const struct flood_peer *peer)
{
    static const uint8_t bytes[FLOOD_BYTES];
    while (send(peer->sockets[1], bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
}

/* Whatever is read is there again at once: the socket is never empty. */
static void flood_received(struct receive_op *receive, struct buffer *buffer, uint8_t *bytes,
                           size_t length)
{
    (void)buffer;
    (void)bytes;
    (void)length;
    receive->prefer = preferred;
    receive->prefer_bytes = PREFER_BYTES;
    flood(CONTAINER_OF(receive, struct flood_peer, receive));
}

static void byte_received(struct receive_op *receive, struct buffer *buffer, uint8_t *bytes,
                          size_t length)
{
    (void)receive;
    (void)buffer;
    (void)bytes;
    busy_received += length;
}

static void flood_done(struct op *op, int64_t result)
{
    (void)result;
    CONTAINER_OF(CONTAINER_OF(op, struct receive_op, op), struct flood_peer, receive)->is_done =
        true;
}

START_TEST(a_byte_is_seen_however_much_others_send_into_memory_that_they_prefer)
{
    static struct flood_peer peers[FLOOD_PEERS + 1];
    struct flood_peer *single = &peers[FLOOD_PEERS];
    net_world_init(&world, _i);
    busy_received = 0;
    for (int i = 0; i <= FLOOD_PEERS; i++) {
        struct flood_peer *peer = &peers[i];
        *peer = (struct flood_peer){
            .receive = {.op = {.done = flood_done},
                        .received = peer == single ? byte_received : flood_received}};
        ck_assert_int_eq(
            socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, peer->sockets), 0);
        reactor_receive(world.reactor, &peer->receive, peer->sockets[0]);
    }
    net_world_pass(&world, 5);
    for (int i = 0; i < FLOOD_PEERS; i++) {
        flood(&peers[i]);
    }
    for (int i = 0; i < PATIENT_TURNS; i++) {
        reactor_run_once(world.reactor, 10);
    }

    ck_assert_int_eq(write(single->sockets[1], "x", 1), 1);
    int turns = 0;
    while (busy_received == 0 && turns < PATIENT_TURNS) {
        reactor_run_once(world.reactor, 10);
        turns++;
    }
    ck_assert_uint_eq(busy_received, 1);
    for (int i = 0; i <= FLOOD_PEERS; i++) {
        reactor_cancel(world.reactor, &peers[i].receive.op);
        net_world_await(&world, &peers[i].is_done);
        reactor_close(world.reactor, peers[i].sockets[0]);
        (void)close(peers[i].sockets[1]);
    }
    net_world_deinit(&world);
}
END_TEST

static Suite *reactor_bounds_suite(void)
{
    Suite *suite = suite_create("net/reactor_bounds");
    TCase *bounds = tcase_create("bounds");

    tcase_add_loop_test(bounds, what_many_peers_send_at_once_is_spread_over_turns, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(bounds, files_to_many_peers_at_once_are_spread_over_turns, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(bounds,
                        a_byte_is_seen_however_much_others_send_into_memory_that_they_prefer, 0,
                        NET_WORLD_KERNEL_KINDS);
    suite_add_tcase(suite, bounds);
    return suite;
}

TEST_MAIN(reactor_bounds_suite)
