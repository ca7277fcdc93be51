/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_echo.c - what a connection costs: frames echoed over loopback by one reactor.
 *
 *     bench_echo [CONNECTIONS [WINDOW [BODY_BYTES [SECONDS]]]]
 *
 * A thread of its own keeps WINDOW frames in flight on each connection and counts what comes back.
 * One line: frames a second, and the CPU time of the echoing reactor for each frame.
 */

#include "net/address.h"
#include "net/connection.h"
#include "net/reactor.h"
#include "proto/base/contract.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 1024,
    FRAME_HEAD_BYTES = 12, /* [2, "echo", [bin32]] */
    FRAMES_BYTES_MAX = 8 << 20,
    BUFFERS_BYTES = 64 << 20
};

static struct reactor *reactor;
static struct connection *connections;
static size_t frame_bytes;

static void echo(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    (void)buffer;
    memcpy(connection_reserve(connection, frame.length), frame.data, frame.length);
    connection_commit(connection, frame.length);
}

static void closed(struct connection *connection, enum connection_end end, int error)
{
    (void)connection;
    (void)end;
    (void)error;
}

static const struct connection_events events = {.frame = echo, .closed = closed};

static void accepted(struct accept_op *accept, int socket)
{
    (void)accept;
    static int count;
    struct connection *connection = &connections[count++];
    connection->events = &events;
    connection->frame_bytes_max = 1 << 20;
    connection_open(connection, reactor, socket);
}

static void accept_done(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
}

static double cpu_seconds;

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *serve(void *unused)
{
    (void)unused;
    reactor_run(reactor);
    cpu_seconds = seconds_of(CLOCK_THREAD_CPUTIME_ID);
    return NULL;
}

/* `count` frames, one after the other. */
static uint8_t *make_frames(size_t count, size_t body_bytes)
{
    uint8_t head[] = {0x93,
                      0x02,
                      0xa4,
                      'e',
                      'c',
                      'h',
                      'o',
                      0x91,
                      0xc5,
                      (uint8_t)(body_bytes >> 8),
                      (uint8_t)body_bytes};
    frame_bytes = sizeof(head) + body_bytes;
    uint8_t *frames = calloc(count, frame_bytes);
    ASSERT(frames != NULL);
    for (size_t i = 0; i < count; i++) {
        memcpy(frames + i * frame_bytes, head, sizeof(head));
    }
    return frames;
}

static int connect_to(const struct address *address)
{
    int made = socket(address->socket.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT(made >= 0);
    int result = connect(made, (const struct sockaddr *)&address->socket, address->length);
    ASSERT(result == 0);
    return made;
}

/* Whole frames that came are sent again, until the time is over. The count of them. */
static uint64_t load(struct pollfd *sockets, int count, const uint8_t *frames, size_t window,
                     double until)
{
    static uint8_t sink[1 << 20];
    size_t *rest = calloc((size_t)count, sizeof(*rest));
    ASSERT(rest != NULL);
    uint64_t frames_count = 0;
    for (int i = 0; i < count; i++) {
        ssize_t sent = send(sockets[i].fd, frames, window * frame_bytes, 0);
        ASSERT(sent == (ssize_t)(window * frame_bytes));
    }
    while (seconds_of(CLOCK_MONOTONIC) < until) {
        (void)poll(sockets, (nfds_t)count, 100);
        for (int i = 0; i < count; i++) {
            if (sockets[i].revents == 0) {
                continue;
            }
            ssize_t got = recv(sockets[i].fd, sink, sizeof(sink), 0);
            ASSERT(got > 0);
            size_t whole = (rest[i] + (size_t)got) / frame_bytes;
            rest[i] = (rest[i] + (size_t)got) % frame_bytes;
            frames_count += whole;
            if (whole > 0) {
                ssize_t sent = send(sockets[i].fd, frames, whole * frame_bytes, 0);
                ASSERT(sent == (ssize_t)(whole * frame_bytes));
            }
        }
    }
    free(rest);
    return frames_count;
}

static int argument(int count, char **arguments, int place, int otherwise)
{
    return place < count ? atoi(arguments[place]) : otherwise;
}

int main(int count, char **arguments)
{
    int connections_count = argument(count, arguments, 1, 8);
    size_t window = (size_t)argument(count, arguments, 2, 64);
    size_t body_bytes = (size_t)argument(count, arguments, 3, 100);
    int seconds = argument(count, arguments, 4, 2);
    if (connections_count < 1 || connections_count > CONNECTIONS_MAX || window < 1 ||
        body_bytes > UINT16_MAX || seconds < 1 ||
        window * (body_bytes + FRAME_HEAD_BYTES) > FRAMES_BYTES_MAX) {
        fprintf(stderr, "usage: bench_echo [CONNECTIONS [WINDOW [BODY_BYTES [SECONDS]]]]\n");
        return 2;
    }
    uint8_t *frames = make_frames(window, body_bytes);
    connections = calloc((size_t)connections_count, sizeof(*connections));
    reactor = reactor_create_epoll(BUFFERS_BYTES);
    ASSERT(connections != NULL && reactor != NULL);
    struct address address;
    char error[200];
    bool parsed = address_parse("127.0.0.1:0", 0, &address, error, sizeof(error));
    ASSERT(parsed);
    int listener = reactor_listen(reactor, &address, &address);
    ASSERT(listener >= 0);
    struct accept_op accept = {.op.done = accept_done, .accepted = accepted};
    reactor_accept(reactor, &accept, listener);
    pthread_t thread;
    int created = pthread_create(&thread, NULL, serve, NULL);
    ASSERT(created == 0);
    struct pollfd *sockets = calloc((size_t)connections_count, sizeof(*sockets));
    ASSERT(sockets != NULL);
    for (int i = 0; i < connections_count; i++) {
        sockets[i] = (struct pollfd){.fd = connect_to(&address), .events = POLLIN};
    }
    double begun = seconds_of(CLOCK_MONOTONIC);
    uint64_t frames_count = load(sockets, connections_count, frames, window, begun + seconds);
    double took = seconds_of(CLOCK_MONOTONIC) - begun;
    reactor_stop(reactor);
    (void)pthread_join(thread, NULL);
    const struct reactor_counters *counters = reactor_counters(reactor);
    printf("echo %d connections, window %zu, body %zu: %.0f frames/s, %.0f ns CPU a frame, "
           "%.2f receives, %.2f sends, %.2f turns, %.2f sleeps a 100 frames\n",
           connections_count, window, body_bytes, (double)frames_count / took,
           cpu_seconds * 1e9 / (double)frames_count,
           100.0 * (double)counters->receives / (double)frames_count,
           100.0 * (double)counters->sends / (double)frames_count,
           100.0 * (double)counters->turns / (double)frames_count,
           100.0 * (double)counters->waits / (double)frames_count);
    return 0;
}
