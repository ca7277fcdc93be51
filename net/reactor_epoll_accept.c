/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_epoll_accept.c - accepting on the epoll backend.
 */

#include "net/reactor.h"
#include "net/reactor_epoll.h"
#include "net/socket.h"
#include "proto/base/contract.h"

#include <errno.h>

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

static void accept_finish(struct epoll_reactor *reactor, struct epoll_socket *listener,
                          int64_t result)
{
    struct accept_op *accept = listener->accept;
    listener->accept = NULL;
    reactor_finish(&reactor->common, &accept->op, result);
}

/* Accepts one. False: no more can be accepted now. */
static bool accept_one(struct epoll_reactor *reactor, struct epoll_socket *listener)
{
    switch (socket_accept(listener->accept, &reactor->descriptors)) {
    case ACCEPT_GOES_ON:
        return listener->accept != NULL;
    case ACCEPT_EMPTY:
        listener->ready &= (uint8_t)~READY_IN;
        return false;
    case ACCEPT_STARVED:
        listener->ready &= (uint8_t)~READY_IN;
        timer_start(&reactor->common, &reactor->accept_retry,
                    reactor_now_ns(&reactor->common) + ACCEPT_RETRY_NS);
        return false;
    case ACCEPT_FAILED:
        break;
    }
    accept_finish(reactor, listener, -errno);
    return false;
}

void epoll_accept_some(struct epoll_reactor *reactor, struct epoll_socket *listener)
{
    if (listener->shut) {
        accept_finish(reactor, listener, 0);
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (!accept_one(reactor, listener)) {
            return;
        }
    }
    epoll_socket_again(reactor, listener);
}
