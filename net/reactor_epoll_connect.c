/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_epoll_connect.c - connecting on the epoll backend. Until it completes, the socket is the
 * operation's: whatever ends it early closes it.
 */

#include "net/address.h"
#include "net/reactor.h"
#include "net/reactor_epoll.h"
#include "net/socket.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static void connect_ended(struct epoll_reactor *reactor, struct connect_op *connect, int64_t result)
{
    timer_stop(&reactor->common, &connect->timer);
    if (connect->socket >= 0) {
        struct epoll_socket *entry = epoll_socket_find(reactor, connect->socket);
        if (entry != NULL) {
            entry->connect = NULL;
        }
        if (result < 0) {
            reactor_close(&reactor->common, connect->socket);
            connect->socket = -1;
        }
    }
    reactor_finish(&reactor->common, &connect->op, result);
}

void epoll_connect_cancel(struct epoll_reactor *reactor, struct connect_op *connect, int64_t result)
{
    connect_ended(reactor, connect, result);
}

static void connect_timed_out(struct timer *timer)
{
    struct connect_op *connect = CONTAINER_OF(timer, struct connect_op, timer);
    connect_ended(epoll_reactor_of(connect->reactor), connect, -ETIMEDOUT);
}

void epoll_connect_some(struct epoll_reactor *reactor, struct epoll_socket *socket)
{
    struct connect_op *connect = socket->connect;
    int outcome = socket_connect_outcome(socket->socket);
    if (outcome == -EINPROGRESS) {
        socket->ready = 0; /* an edge will tell */
        return;
    }
    connect_ended(reactor, connect, outcome == 0 ? connect->socket : outcome);
}

void epoll_connect(struct reactor *common, struct connect_op *connect,
                   const struct address *address, uint32_t timeout_ms)
{
    struct epoll_reactor *reactor = epoll_reactor_of(common);
    int family = address->socket.ss_family;
    int made = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0) {
        reactor_finish(common, &connect->op, -errno);
        return;
    }
    connect->socket = made;
    connect->reactor = common;
    socket_set_up(made, family);
    int result = socket_connect(made, address);
    if (result == 0) {
        reactor_finish(common, &connect->op, made);
        return;
    }
    struct epoll_socket *entry = result == -EINPROGRESS ? epoll_socket_open(reactor, made) : NULL;
    if (entry == NULL) {
        connect_ended(reactor, connect, result == -EINPROGRESS ? -ENOMEM : result);
        return;
    }
    entry->connect = connect;
    connect->timer.fired = connect_timed_out;
    timer_start(common, &connect->timer,
                common->backend->clock_ns(common) + timeout_ms * 1000000ULL);
}
