/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_epoll_accept.c - listening and accepting on the epoll backend.
 *
 * Descriptors are kept back for the process's own files: the kernel hands out the lowest free
 * number, so an accepted socket with a number at the limit says that the rest is in use. It is
 * closed at once, which tells the peer, instead of leaving it in the backlog without an answer.
 */

#include "net/address.h"
#include "net/reactor.h"
#include "net/reactor_epoll.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    ACCEPTS_PER_TURN = 64,
    BACKLOG = 4096, /* the kernel lowers it to net.core.somaxconn */
    BIND_TRIES = 40,
    BIND_PAUSE_MS = 50, /* 40 of them: 2 s, as long as a killed predecessor's sockets live on */
    KEEPALIVE_IDLE_S = 30,
    KEEPALIVE_INTERVAL_S = 10,
    KEEPALIVE_COUNT = 3,
    USER_TIMEOUT_MS = 30 * 1000
};

#define ACCEPT_RETRY_NS (100 * 1000 * 1000ULL)

static void set_option(int socket, int level, int option, int value)
{
    /* A kernel that lacks one of these serves worse, but serves. */
    (void)setsockopt(socket, level, option, &value, sizeof(value));
}

void epoll_socket_set_up(int socket, int family)
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

/* ----------------------------------------------------------------- listen */

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

int epoll_listen(struct reactor *common, const struct address *address, struct address *bound_out)
{
    (void)common;
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
    epoll_socket_set_up(listener, family);
    int error = bind_and_listen(listener, address, bound_out);
    if (error != 0) {
        (void)close(listener);
        return error;
    }
    return listener;
}

/* ----------------------------------------------------------------- accept */

void epoll_accept_retry(struct timer *timer)
{
    struct epoll_reactor *reactor = CONTAINER_OF(timer, struct epoll_reactor, accept_retry);
    for (int i = 0; i < reactor->sockets_max; i++) {
        struct epoll_socket *entry = reactor->sockets[i];
        if (entry != NULL && entry->accept != NULL) {
            entry->ready |= READY_IN;
            epoll_socket_again(reactor, entry);
        }
    }
}

/* There was no descriptor to accept with: gives up the spare one to turn a peer away. */
static bool refuse_one(struct epoll_reactor *reactor, struct accept_op *accept)
{
    if (reactor->spare >= 0) {
        (void)close(reactor->spare);
        reactor->spare = -1;
    }
    int socket = accept4(accept->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket >= 0) {
        (void)close(socket);
        accept->refused++;
    }
    reactor->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return socket >= 0;
}

/* Errors of the connection that was to be accepted, not of the listener: the next one may do. */
static bool is_peers_error(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN ||
           error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH ||
           error == EOPNOTSUPP || error == ENETUNREACH || error == ETIMEDOUT || error == EPERM;
}

/* Accepts one. False: no more can be accepted now. */
static bool accept_one(struct epoll_reactor *reactor, struct epoll_socket *listener)
{
    struct accept_op *accept = listener->accept;
    int socket = accept4(listener->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket >= reactor->descriptors_max) {
        (void)close(socket);
        accept->refused++;
        return true;
    }
    if (socket >= 0) {
        accept->accepted(accept, socket);
        return true;
    }
    if (errno == EAGAIN) {
        listener->ready &= (uint8_t)~READY_IN;
        return false;
    }
    if (is_peers_error(errno)) {
        return true;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        if (refuse_one(reactor, accept)) {
            return true;
        }
        /* Not even that: the whole machine is at its limit. */
        listener->ready &= (uint8_t)~READY_IN;
        timer_start(&reactor->common, &reactor->accept_retry,
                    reactor_now_ns(&reactor->common) + ACCEPT_RETRY_NS);
        return false;
    }
    listener->accept = NULL;
    reactor_finish(&reactor->common, &accept->op, -errno);
    return false;
}

void epoll_accept_some(struct epoll_reactor *reactor, struct epoll_socket *listener)
{
    if (listener->shut) {
        struct accept_op *accept = listener->accept;
        listener->accept = NULL;
        reactor_finish(&reactor->common, &accept->op, 0);
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (!accept_one(reactor, listener) || listener->accept == NULL) {
            return;
        }
    }
    epoll_socket_again(reactor, listener);
}
