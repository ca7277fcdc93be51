/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.c - listening, connecting and sending by system calls.
 */

#include "net/socket.h"

#include "net/address.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 4096, /* the kernel lowers it to net.core.somaxconn */
    BIND_TRIES = 40,
    BIND_PAUSE_MS = 50, /* 40 of them: 2 s, as long as a killed predecessor's sockets live on */
    KEEPALIVE_IDLE_S = 30,
    KEEPALIVE_INTERVAL_S = 10,
    KEEPALIVE_COUNT = 3,
    USER_TIMEOUT_MS = 30 * 1000,
    SENDFILE_BYTES_MAX = 256 * 1024 /* a call: longer ones hold the loop */
};

/* ----------------------------------------------------------------- listen */

static void set_option(int socket, int level, int option, int value)
{
    /* A kernel that lacks one of these serves worse, but serves. */
    (void)setsockopt(socket, level, option, &value, sizeof(value));
}

void socket_set_up(int socket, int family)
{
    if (family == AF_UNIX) {
        return;
    }
    set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

/* Removes a unix socket's path that a dead process has left; one that is in use stays. */
static void remove_stale_path(const struct address *address)
{
    const struct sockaddr_un *path = (const struct sockaddr_un *)&address->socket;
    struct stat found;
    if (lstat(path->sun_path, &found) != 0 || !S_ISSOCK(found.st_mode)) {
        return;
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0) {
        return;
    }
    const struct sockaddr *at = (const struct sockaddr *)&address->socket;
    if (connect(probe, at, address->length) != 0 && errno == ECONNREFUSED) {
        (void)unlink(path->sun_path); /* if it fails, so does the bind, with a better reason */
    }
    (void)close(probe);
}

static int bind_patiently(int socket, const struct address *address)
{
    const struct timespec pause = {.tv_nsec = BIND_PAUSE_MS * 1000000L};
    for (int tries = 0;; tries++) {
        if (bind(socket, (const struct sockaddr *)&address->socket, address->length) == 0) {
            return 0;
        }
        if (errno != EADDRINUSE || tries == BIND_TRIES) {
            return -errno;
        }
        (void)nanosleep(&pause, NULL); /* cut short by a signal: tries sooner */
    }
}

static int bind_and_listen(int socket, const struct address *address, struct address *bound_out)
{
    int error = bind_patiently(socket, address);
    if (error != 0) {
        return error;
    }
    if (listen(socket, BACKLOG) != 0) {
        return -errno;
    }
    struct address bound = *address;
    if (address->socket.ss_family != AF_UNIX) {
        socklen_t length = sizeof(bound.socket);
        if (getsockname(socket, (struct sockaddr *)&bound.socket, &length) != 0) {
            return -errno;
        }
        address_set_port(&bound, address_port(&bound));
    }
    if (bound_out != NULL) {
        *bound_out = bound;
    }
    return 0;
}

int socket_listen(const struct address *address, struct address *bound_out)
{
    int family = address->socket.ss_family;
    if (family == AF_UNIX) {
        remove_stale_path(address);
    }
    int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) {
        return -errno;
    }
    set_option(listener, SOL_SOCKET, SO_REUSEADDR, 1);
    if (family == AF_INET6) {
        set_option(listener, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    }
    /* Accepted sockets inherit these: no system calls for each of them. */
    socket_set_up(listener, family);
    int error = bind_and_listen(listener, address, bound_out);
    if (error != 0) {
        (void)close(listener);
        return error;
    }
    return listener;
}

/* ---------------------------------------------------------------- connect */

int socket_connect(int socket, const struct address *address)
{
    if (connect(socket, (const struct sockaddr *)&address->socket, address->length) == 0) {
        return 0;
    }
    /* Interrupted, a connect goes on by itself. */
    return errno == EINTR ? -EINPROGRESS : -errno;
}

int socket_connect_outcome(int socket)
{
    struct pollfd state = {.fd = socket, .events = POLLOUT};
    if (poll(&state, 1, 0) == 0) {
        return -EINPROGRESS;
    }
    int error = 0;
    socklen_t length = sizeof(error);
    if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &length) != 0) {
        error = errno;
    }
    return -error;
}

/* ------------------------------------------------------------------- send */

/* sendfile() has no MSG_NOSIGNAL: a process that sends files ignores SIGPIPE, unless it has a
 * handler of its own. */
static void ignore_broken_pipes(void)
{
    static atomic_bool ignored;
    if (!atomic_load_explicit(&ignored, memory_order_relaxed)) {
        struct sigaction now;
        if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
            (void)signal(SIGPIPE, SIG_IGN);
        }
        atomic_store_explicit(&ignored, true, memory_order_relaxed);
    }
}

void send_advance(struct send_op *send, size_t count)
{
    send->sent += count;
    while (send->count > 0 && count >= send->iov->iov_len) {
        count -= send->iov->iov_len;
        send->iov++;
        send->count--;
    }
    if (send->count > 0) {
        send->iov->iov_base = (char *)send->iov->iov_base + count;
        send->iov->iov_len -= count;
    }
}

ssize_t socket_send(struct send_op *send)
{
    if (send->file >= 0) {
        ignore_broken_pipes();
        size_t left = send->file_bytes - send->sent;
        off_t offset = (off_t)(send->file_offset + send->sent);
        ssize_t count = sendfile(send->socket, send->file, &offset,
                                 left < SENDFILE_BYTES_MAX ? left : SENDFILE_BYTES_MAX);
        if (count == 0) {
            errno = EIO; /* the file is shorter than what was named */
            return -1;
        }
        send->sent += count > 0 ? (size_t)count : 0;
        return count;
    }
    ssize_t count;
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (send->more ? MSG_MORE : 0);
    if (send->count == 1) {
        count = sendto(send->socket, send->iov->iov_base, send->iov->iov_len, flags, NULL, 0);
    } else {
        struct msghdr header = {.msg_iov = send->iov, .msg_iovlen = (size_t)send->count};
        count = sendmsg(send->socket, &header, flags);
    }
    if (count >= 0) {
        send_advance(send, (size_t)count);
    }
    return count;
}

/* ------------------------------------------------------------------ clocks */

static uint64_t read_clock(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* it cannot fail for these clocks */
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t kernel_clock_ns(const struct reactor *reactor)
{
    (void)reactor;
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t kernel_wall_ms(const struct reactor *reactor)
{
    (void)reactor;
    return read_clock(CLOCK_REALTIME) / 1000000;
}

uint64_t kernel_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        seed = read_clock(CLOCK_MONOTONIC) ^ (uint64_t)getpid() << 32;
    }
    return seed;
}
