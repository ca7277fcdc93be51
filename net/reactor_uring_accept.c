/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_uring_accept.c - accepting and connecting on the io_uring backend: by system calls, once a
 * poll says that they can succeed. Until a connect completes, the socket is the operation's: whatever
 * ends it early closes it.
 */

#include "net/address.h"
#include "net/reactor.h"
#include "net/reactor_uring.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <sys/socket.h>

/* ----------------------------------------------------------------- accept */

void uring_accept_retry(struct timer *timer)
{
    struct uring_reactor *reactor = CONTAINER_OF(timer, struct uring_reactor, accept_retry);
    LIST_FOREACH (link, &reactor->all) {
        struct uring_socket *entry = CONTAINER_OF(link, struct uring_socket, all);
        if (entry->accept != NULL) {
            uring_socket_again(reactor, entry);
        }
    }
}

static void accept_finish(struct uring_reactor *reactor, struct uring_socket *listener,
                          int64_t result)
{
    struct accept_op *accept = listener->accept;
    listener->accept = NULL;
    reactor_finish(&reactor->common, &accept->op, result);
}

/* Accepts one. False: no more can be accepted now. */
static bool accept_one(struct uring_reactor *reactor, struct uring_socket *listener)
{
    switch (socket_accept(listener->accept, &reactor->descriptors)) {
    case ACCEPT_GOES_ON:
        return listener->accept != NULL;
    case ACCEPT_EMPTY:
        uring_poll(reactor, listener, URING_POLL_IN);
        return false;
    case ACCEPT_STARVED:
        timer_start(&reactor->common, &reactor->accept_retry,
                    reactor_now_ns(&reactor->common) + ACCEPT_RETRY_NS);
        return false;
    case ACCEPT_FAILED:
        break;
    }
    accept_finish(reactor, listener, -errno);
    return false;
}

void uring_accept_some(struct uring_reactor *reactor, struct uring_socket *listener)
{
    if (listener->shut) {
        uring_cancel_request(reactor, listener, URING_POLL_IN);
        accept_finish(reactor, listener, 0);
        return;
    }
    if (uring_is_in_kernel(listener, URING_POLL_IN)) {
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (!accept_one(reactor, listener)) {
            return;
        }
    }
    uring_socket_again(reactor, listener);
}

/* ---------------------------------------------------------------- connect */

static void connect_ended(struct uring_reactor *reactor, struct connect_op *connect, int64_t result)
{
    timer_stop(&reactor->common, &connect->timer);
    if (connect->socket >= 0) {
        struct uring_socket *entry = uring_socket_find(reactor, connect->socket);
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

void uring_connect_cancel(struct uring_reactor *reactor, struct connect_op *connect)
{
    connect_ended(reactor, connect, -ECANCELED);
}

static void connect_timed_out(struct timer *timer)
{
    struct connect_op *connect = CONTAINER_OF(timer, struct connect_op, timer);
    connect_ended(uring_reactor_of(connect->reactor), connect, -ETIMEDOUT);
}

void uring_connect_some(struct uring_reactor *reactor, struct uring_socket *socket)
{
    struct connect_op *connect = socket->connect;
    int outcome = socket_connect_outcome(socket->socket);
    if (outcome == -EINPROGRESS) {
        uring_poll(reactor, socket, URING_POLL_OUT);
        return;
    }
    connect_ended(reactor, connect, outcome == 0 ? connect->socket : outcome);
}

void uring_connect(struct reactor *common, struct connect_op *connect,
                   const struct address *address, uint32_t timeout_ms)
{
    struct uring_reactor *reactor = uring_reactor_of(common);
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
    struct uring_socket *entry = result == -EINPROGRESS ? uring_socket_open(reactor, made) : NULL;
    if (entry == NULL) {
        connect_ended(reactor, connect, result == -EINPROGRESS ? -ENOMEM : result);
        return;
    }
    entry->connect = connect;
    uring_poll(reactor, entry, URING_POLL_OUT);
    connect->timer.fired = connect_timed_out;
    timer_start(common, &connect->timer,
                common->backend->clock_ns(common) + timeout_ms * 1000000ULL);
}
