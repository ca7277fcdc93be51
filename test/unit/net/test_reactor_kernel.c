/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of what only a real kernel shows, on both of its backends: options of sockets, descriptors that run out, stale unix
 * paths, sendfile, sleeping and waking, what an idle reactor costs.
 */

#include "net/buffer.h"
#include "net/reactor.h"
#include "proto/base/contract.h"
#include "test/lib/check_main.h"
#include "test/unit/net/net_world.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTED_MAX = 300, FILE_BYTES = 3 * 1024 * 1024 + 777 };

static struct net_world world;
static struct accept_op accept_op;
static struct address address;
static int listener;
static int accepted_sockets[ACCEPTED_MAX];
static int accepted_count;
static bool accept_is_done;

static void accepted(struct accept_op *accept, int socket)
{
    (void)accept;
    ck_assert_int_lt(accepted_count, ACCEPTED_MAX);
    accepted_sockets[accepted_count++] = socket;
}

static void accept_done(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
    accept_is_done = true;
}

static void listen_at(int kind, const char *text)
{
    net_world_init(&world, kind);
    accepted_count = 0;
    accept_is_done = false;
    memset(&accept_op, 0, sizeof(accept_op));
    accept_op.accepted = accepted;
    accept_op.op.done = accept_done;
    address = net_world_address(text);
    listener = reactor_listen(world.reactor, &address, &address);
    ck_assert_int_ge(listener, 0);
    reactor_accept(world.reactor, &accept_op, listener);
}

static void end_listening(void)
{
    reactor_cancel(world.reactor, &accept_op.op);
    net_world_await(&world, &accept_is_done);
    for (int i = 0; i < accepted_count; i++) {
        reactor_close(world.reactor, accepted_sockets[i]);
    }
    reactor_close(world.reactor, listener);
    net_world_deinit(&world);
}

static int connect_blocking(void)
{
    int made = socket(address.socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(made, 0);
    ck_assert_int_eq(connect(made, (struct sockaddr *)&address.socket, address.length), 0);
    return made;
}

static int wanted_count;

static bool enough_accepted(void *context)
{
    (void)context;
    return accepted_count >= wanted_count;
}

static void await_accepted(int count)
{
    wanted_count = count;
    ck_assert(net_world_run(&world, enough_accepted, NULL, NET_WORLD_PATIENCE_MS));
}

static int option_of(int socket, int level, int option)
{
    int value = -1;
    socklen_t length = sizeof(value);
    ck_assert_int_eq(getsockopt(socket, level, option, &value, &length), 0);
    return value;
}

START_TEST(accepted_sockets_are_set_up_as_promised)
{
    listen_at(_i, "127.0.0.1:0");
    int client = connect_blocking();
    await_accepted(1);
    int socket = accepted_sockets[0];

    ck_assert_int_eq(option_of(socket, IPPROTO_TCP, TCP_NODELAY), 1);
    ck_assert_int_eq(option_of(socket, SOL_SOCKET, SO_KEEPALIVE), 1);
    ck_assert_int_eq(option_of(socket, IPPROTO_TCP, TCP_KEEPIDLE), 30);
    ck_assert_int_eq(option_of(socket, IPPROTO_TCP, TCP_KEEPINTVL), 10);
    ck_assert_int_eq(option_of(socket, IPPROTO_TCP, TCP_KEEPCNT), 3);
    ck_assert_int_eq(option_of(socket, IPPROTO_TCP, TCP_USER_TIMEOUT), 30000);
    ck_assert_int_ne(fcntl(socket, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(socket, F_GETFD) & FD_CLOEXEC, 0);

    (void)close(client);
    end_listening();
}
END_TEST

START_TEST(many_connections_at_once_are_all_accepted)
{
    listen_at(_i, "127.0.0.1:0");
    int clients[200];
    for (int i = 0; i < 200; i++) {
        clients[i] = connect_blocking();
    }
    await_accepted(200);
    for (int i = 0; i < 200; i++) {
        (void)close(clients[i]);
    }
    end_listening();
}
END_TEST

static size_t received_bytes;
static bool receive_is_done;

static void count_received(struct receive_op *receive, struct buffer *buffer, uint8_t *at,
                           size_t length)
{
    (void)receive;
    (void)buffer;
    (void)at;
    received_bytes += length;
}

static size_t bytes_awaited;

static bool enough_received(void *context)
{
    (void)context;
    return received_bytes >= bytes_awaited;
}

static void receive_done(struct op *op, int64_t result)
{
    (void)op;
    ck_assert_int_eq(result, 0);
    receive_is_done = true;
}

/* One edge tells of both: after the read that was shorter than its room there will be no other. */
START_TEST(bytes_and_the_end_that_come_together_are_both_seen)
{
    listen_at(_i, "127.0.0.1:0");
    int client = connect_blocking();
    await_accepted(1);
    received_bytes = 0;
    receive_is_done = false;
    struct receive_op receive = {.op = {.done = receive_done}, .received = count_received};
    reactor_receive(world.reactor, &receive, accepted_sockets[0]);
    net_world_pass(&world, 5);

    ck_assert_int_eq(send(client, "the end", 7, 0), 7);
    (void)close(client);
    net_world_await(&world, &receive_is_done);

    ck_assert_uint_eq(received_bytes, 7);
    end_listening();
}
END_TEST

START_TEST(a_read_that_drained_a_socket_is_not_followed_by_another)
{
    listen_at(_i, "127.0.0.1:0");
    int client = connect_blocking();
    await_accepted(1);
    received_bytes = 0;
    receive_is_done = false;
    struct receive_op receive = {.op = {.done = receive_done}, .received = count_received};
    reactor_receive(world.reactor, &receive, accepted_sockets[0]);
    net_world_pass(&world, 5);
    uint64_t receives = reactor_counters(world.reactor)->receives;

    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(send(client, "again", 5, 0), 5);
        bytes_awaited = received_bytes + 5;
        ck_assert(net_world_run(&world, enough_received, NULL, NET_WORLD_PATIENCE_MS));
    }

    ck_assert_uint_eq(received_bytes, 50);
    ck_assert_uint_eq(reactor_counters(world.reactor)->receives - receives, 10);
    (void)close(client);
    net_world_await(&world, &receive_is_done);
    end_listening();
}
END_TEST

/* The peer has to see a close, not silence. */
static void expect_end(int socket)
{
    struct timeval patience = {.tv_sec = 5};
    (void)setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    char byte;
    ssize_t count = recv(socket, &byte, 1, 0);
    ck_assert(count == 0 || (count < 0 && errno == ECONNRESET));
}

/* Descriptors of the test's own stand for those of a process's files. */
START_TEST(descriptors_are_kept_back_for_files)
{
    struct rlimit limit = {.rlim_cur = 120, .rlim_max = 120};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    listen_at(_i, "127.0.0.1:0");
    int clients[25];
    int count = 0;
    while (accept_op.refused == 0 && accepted_count < 90) {
        if (count < 25) {
            clients[count++] = connect_blocking();
        } else {
            /* The other half of the descriptors is somebody's: closed at the end of the process. */
            ck_assert_int_ge(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
            int last = connect_blocking();
            net_world_pass(&world, 2);
            if (accept_op.refused > 0) {
                expect_end(last);
            }
            (void)close(last);
        }
        net_world_pass(&world, 1);
    }

    ck_assert_uint_eq(accept_op.refused, 1);
    /* A quarter of the limit is kept back: files can still be opened. */
    for (int i = 0; i < 25; i++) {
        ck_assert_int_ge(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    }
    for (int i = 0; i < count; i++) {
        (void)close(clients[i]);
    }
    end_listening();
}
END_TEST

static bool one_is_refused(void *context)
{
    (void)context;
    return accept_op.refused > 0;
}

START_TEST(without_any_descriptor_a_peer_is_turned_away_and_later_ones_are_accepted)
{
    struct rlimit limit = {.rlim_cur = 100, .rlim_max = 100};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    listen_at(_i, "127.0.0.1:0");
    int client = socket(AF_INET, SOCK_STREAM, 0);
    int opened[100];
    int count = 0;
    while ((opened[count] = open("/dev/null", O_RDONLY)) >= 0) {
        count++;
    }
    ck_assert_int_eq(errno, EMFILE);

    ck_assert_int_eq(connect(client, (struct sockaddr *)&address.socket, address.length), 0);
    ck_assert(net_world_run(&world, one_is_refused, NULL, NET_WORLD_PATIENCE_MS));
    ck_assert_uint_eq(accept_op.refused, 1);
    ck_assert_int_eq(accepted_count, 0);
    expect_end(client);

    for (int i = 0; i < count; i++) {
        (void)close(opened[i]);
    }
    int again = connect_blocking();
    await_accepted(1);
    (void)close(again);
    (void)close(client);
    end_listening();
}
END_TEST

START_TEST(a_stale_unix_path_is_replaced_and_one_in_use_is_not)
{
    char path[100];
    (void)snprintf(path, sizeof(path), "unix:/tmp/ternmq-test-kernel-%d", (int)getpid());
    listen_at(_i, path);
    end_listening();
    ck_assert_int_eq(access(path + 5, F_OK), 0);

    listen_at(_i, path);
    ck_assert_int_eq(reactor_listen(world.reactor, &address, NULL), -EADDRINUSE);
    int client = connect_blocking();
    await_accepted(1);

    (void)close(client);
    end_listening();
    (void)unlink(path + 5);
}
END_TEST

START_TEST(a_file_that_is_no_socket_is_not_removed)
{
    char path[] = "/tmp/ternmq-test-kernel-XXXXXX";
    int file = mkstemp(path);
    (void)close(file);
    char text[100];
    (void)snprintf(text, sizeof(text), "unix:%s", path);
    net_world_init(&world, _i);
    address = net_world_address(text);

    ck_assert_int_eq(reactor_listen(world.reactor, &address, NULL), -EADDRINUSE);

    ck_assert_int_eq(access(path, F_OK), 0);
    (void)unlink(path);
    net_world_deinit(&world);
}
END_TEST

START_TEST(an_address_of_another_machine_cannot_be_listened_at)
{
    net_world_init(&world, _i);
    address = net_world_address("192.0.2.1:9");
    ck_assert_int_eq(reactor_listen(world.reactor, &address, NULL), -EADDRNOTAVAIL);
    net_world_deinit(&world);
}
END_TEST

/* ----------------------------------------------------------------- sendfile */

static bool send_is_done;
static int64_t send_result;

static void send_done(struct op *op, int64_t result)
{
    (void)op;
    send_is_done = true;
    send_result = result;
}

struct sink {
    int socket;
    size_t length;
    uint8_t *bytes;
};

static void *drain(void *context)
{
    struct sink *sink = context;
    ssize_t count;
    while ((count = recv(sink->socket, sink->bytes + sink->length, FILE_BYTES + 1 - sink->length,
                         0)) > 0) {
        sink->length += (size_t)count;
    }
    return NULL;
}

START_TEST(a_part_of_a_file_is_sent_whole_however_small_the_sockets_buffer_is)
{
    listen_at(_i, "127.0.0.1:0");
    struct sink sink = {.socket = connect_blocking(), .bytes = malloc(FILE_BYTES + 1)};
    await_accepted(1);
    int small = 8192;
    (void)setsockopt(accepted_sockets[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    char path[] = "/tmp/ternmq-test-kernel-XXXXXX";
    int file = mkstemp(path);
    (void)unlink(path);
    uint8_t *bytes = malloc(FILE_BYTES);
    for (size_t i = 0; i < FILE_BYTES; i++) {
        bytes[i] = (uint8_t)(i * 2654435761U >> 11);
    }
    ck_assert_int_eq(pwrite(file, bytes, FILE_BYTES, 100), FILE_BYTES);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, drain, &sink), 0);

    send_is_done = false;
    struct send_op send = {
        .op = {.done = send_done}, .file = file, .file_offset = 100, .file_bytes = FILE_BYTES};
    reactor_send(world.reactor, &send, accepted_sockets[0]);
    net_world_await(&world, &send_is_done);
    reactor_shutdown_send(world.reactor, accepted_sockets[0]);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);

    ck_assert_int_eq(send_result, FILE_BYTES);
    ck_assert_uint_eq(sink.length, FILE_BYTES);
    ck_assert_mem_eq(sink.bytes, bytes, FILE_BYTES);
    (void)close(file);
    (void)close(sink.socket);
    free(sink.bytes);
    free(bytes);
    end_listening();
}
END_TEST

/* ------------------------------------------------------- sleeping and waking */

static void *run_reactor(void *context)
{
    reactor_run(context);
    struct timespec used;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (void *)(intptr_t)(used.tv_sec * 1000000 + used.tv_nsec / 1000);
}

START_TEST(an_idle_reactor_sleeps_and_costs_nothing)
{
    net_world_init(&world, _i);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, run_reactor, world.reactor), 0);
    (void)usleep(500 * 1000);

    reactor_stop(world.reactor);
    void *used_us;
    ck_assert_int_eq(pthread_join(thread, &used_us), 0);

    ck_assert_uint_le(reactor_counters(world.reactor)->turns, 4);
    ck_assert_int_le((intptr_t)used_us, 50000);
    net_world_deinit(&world);
}
END_TEST

START_TEST(a_stop_before_the_run_is_not_forgotten)
{
    net_world_init(&world, _i);
    reactor_stop(world.reactor);
    reactor_run(world.reactor);
    net_world_deinit(&world);
}
END_TEST

static void stop_from_signal(int signal)
{
    (void)signal;
    reactor_stop(world.reactor);
}

START_TEST(a_signal_handler_stops_a_sleeping_reactor)
{
    net_world_init(&world, _i);
    (void)signal(SIGALRM, stop_from_signal);
    (void)ualarm(50 * 1000, 0);
    reactor_run(world.reactor);
    net_world_deinit(&world);
}
END_TEST

static void fired(struct timer *timer)
{
    (void)timer;
}

static bool timer_is_over(void *context)
{
    return !((const struct timer *)context)->started;
}

/* The kernel's default slack alone would be 50 us. */
START_TEST(a_short_timer_is_not_rounded_up_to_a_millisecond)
{
    net_world_init(&world, _i);
    uint64_t least_ns = UINT64_MAX;
    for (int i = 0; i < 20; i++) {
        struct timer timer = {.fired = fired};
        reactor_run_once(world.reactor, 0);
        uint64_t begun_ns = reactor_now_ns(world.reactor);
        timer_start(world.reactor, &timer, begun_ns + 200000);
        ck_assert(net_world_run(&world, timer_is_over, &timer, 1000));
        uint64_t took_ns = reactor_now_ns(world.reactor) - begun_ns;
        ck_assert_uint_ge(took_ns, 200000);
        least_ns = took_ns < least_ns ? took_ns : least_ns;
    }
    ck_assert_uint_lt(least_ns, 900000);
    net_world_deinit(&world);
}
END_TEST

START_TEST(a_wait_for_nothing_ends_after_its_time)
{
    net_world_init(&world, _i);
    uint64_t begun_ms = net_world_clock_ms();
    reactor_run_once(world.reactor, 30);
    ck_assert_uint_ge(net_world_clock_ms() - begun_ms, 29);
    ck_assert_uint_le(net_world_clock_ms() - begun_ms, 2000);
    net_world_deinit(&world);
}
END_TEST

static Suite *reactor_kernel_suite(void)
{
    Suite *suite = suite_create("net/reactor_kernel");
    TCase *sockets = tcase_create("sockets");
    TCase *files = tcase_create("files");
    TCase *sleep = tcase_create("sleep");

    tcase_add_loop_test(sockets, accepted_sockets_are_set_up_as_promised, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sockets, many_connections_at_once_are_all_accepted, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sockets, bytes_and_the_end_that_come_together_are_both_seen, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sockets, a_read_that_drained_a_socket_is_not_followed_by_another, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sockets, descriptors_are_kept_back_for_files, 0, NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sockets,
                        without_any_descriptor_a_peer_is_turned_away_and_later_ones_are_accepted, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sockets, a_stale_unix_path_is_replaced_and_one_in_use_is_not, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sockets, a_file_that_is_no_socket_is_not_removed, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sockets, an_address_of_another_machine_cannot_be_listened_at, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(files, a_part_of_a_file_is_sent_whole_however_small_the_sockets_buffer_is,
                        0, NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sleep, an_idle_reactor_sleeps_and_costs_nothing, 0, NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sleep, a_stop_before_the_run_is_not_forgotten, 0, NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sleep, a_signal_handler_stops_a_sleeping_reactor, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sleep, a_short_timer_is_not_rounded_up_to_a_millisecond, 0,
                        NET_WORLD_KERNEL_KINDS);
    tcase_add_loop_test(sleep, a_wait_for_nothing_ends_after_its_time, 0, NET_WORLD_KERNEL_KINDS);
    suite_add_tcase(suite, sockets);
    suite_add_tcase(suite, files);
    suite_add_tcase(suite, sleep);
    return suite;
}

TEST_MAIN(reactor_kernel_suite)
