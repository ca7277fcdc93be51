/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_epoll.c - the epoll backend: its life, waiting, and what is ready.
 *
 * All events of a wait are turned into ready bits before any callback runs, so no event can meet
 * a socket that a callback has closed. No turn changes a registration.
 */

#include "net/reactor_epoll.h"

#include "net/buffer.h"
#include "net/reactor.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 256, /* a wait: more are taken by the next turn */
    SOCKETS_LEAST = 64
};

/* ---------------------------------------------------------------- sockets */

struct epoll_socket *epoll_socket_find(struct epoll_reactor *reactor, int socket)
{
    return socket < reactor->sockets_max ? reactor->sockets[socket] : NULL;
}

static bool sockets_reserve(struct epoll_reactor *reactor, int socket)
{
    int count = reactor->sockets_max == 0 ? SOCKETS_LEAST : reactor->sockets_max;
    while (count <= socket) {
        count *= 2;
    }
    if (count == reactor->sockets_max) {
        return true;
    }
    struct epoll_socket **sockets =
        realloc(reactor->sockets, (size_t)count * sizeof(struct epoll_socket *));
    if (sockets == NULL) {
        return false;
    }
    for (int i = reactor->sockets_max; i < count; i++) {
        sockets[i] = NULL;
    }
    reactor->sockets = sockets;
    reactor->sockets_max = count;
    return true;
}

struct epoll_socket *epoll_socket_open(struct epoll_reactor *reactor, int socket)
{
    ASSERT(socket >= 0);
    struct epoll_socket *entry = epoll_socket_find(reactor, socket);
    if (entry != NULL) {
        return entry;
    }
    if (!sockets_reserve(reactor, socket)) {
        return NULL;
    }
    entry = calloc(1, sizeof(*entry));
    if (entry == NULL) {
        return NULL;
    }
    list_init(&entry->link);
    list_init(&entry->starved_link);
    entry->socket = socket;
    entry->ready = READY_IN | READY_OUT; /* whatever came before the registration */
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data = {.ptr = entry}};
    if (epoll_ctl(reactor->epoll, EPOLL_CTL_ADD, socket, &event) != 0) {
        free(entry);
        return NULL;
    }
    reactor->sockets[socket] = entry;
    return entry;
}

void epoll_socket_again(struct epoll_reactor *reactor, struct epoll_socket *socket)
{
    if (list_is_empty(&socket->link)) {
        list_append(&reactor->ready, &socket->link);
    }
}

static void epoll_close(struct reactor *common, int socket)
{
    struct epoll_reactor *reactor = epoll_reactor_of(common);
    struct epoll_socket *entry = epoll_socket_find(reactor, socket);
    if (entry != NULL) {
        ASSERT(entry->homeless == 0);
        list_remove(&entry->link);
        list_remove(&entry->starved_link);
        reactor->sockets[socket] = NULL;
        free(entry);
    }
    /* Closing unregisters. An interrupted close has closed all the same. */
    (void)close(socket);
}

static void epoll_shutdown(struct reactor *common, int socket, bool send_only)
{
    struct epoll_reactor *reactor = epoll_reactor_of(common);
    /* It fails where the peer has ended both directions already: what was wanted. */
    (void)shutdown(socket, send_only ? SHUT_WR : SHUT_RDWR);
    struct epoll_socket *entry = epoll_socket_find(reactor, socket);
    if (entry != NULL && !send_only) {
        entry->shut = true;
        entry->ready |= READY_IN | READY_OUT | READY_END;
        epoll_socket_again(reactor, entry);
    }
}

/* ------------------------------------------------------------------- wait */

static void mark_ready(struct epoll_reactor *reactor, const struct epoll_event *event)
{
    struct epoll_socket *entry = event->data.ptr;
    if (entry == NULL) {
        return; /* the wake-up: that the wait has ended is all of it */
    }
    uint32_t events = event->events;
    if ((events & EPOLLIN) != 0) {
        entry->ready |= READY_IN;
    }
    if ((events & EPOLLOUT) != 0) {
        entry->ready |= READY_OUT;
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        entry->ready |= READY_IN | READY_END;
    }
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
        entry->ready |= READY_OUT;
    }
    epoll_socket_again(reactor, entry);
}

static int wait_for_events(struct epoll_reactor *reactor, struct epoll_event *events,
                           int64_t wait_ns)
{
    if (!reactor->coarse_wait && wait_ns > 0) {
        struct timespec limit = {.tv_sec = wait_ns / 1000000000, .tv_nsec = wait_ns % 1000000000};
        int count = epoll_pwait2(reactor->epoll, events, EVENTS_MAX, &limit, NULL);
        if (count >= 0 || (errno != ENOSYS && errno != EPERM)) {
            return count;
        }
        reactor->coarse_wait = true;
    }
    int64_t wait_ms = wait_ns <= 0 ? wait_ns : (wait_ns + 999999) / 1000000;
    return epoll_wait(reactor->epoll, events, EVENTS_MAX,
                      wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms);
}

static void epoll_backend_wait(struct reactor *common, int64_t wait_ns)
{
    struct epoll_reactor *reactor = epoll_reactor_of(common);
    struct epoll_event events[EVENTS_MAX];
    int count = wait_for_events(reactor, events, wait_ns);
    ASSERT(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; i++) {
        mark_ready(reactor, &events[i]);
    }
}

static void epoll_rouse(struct reactor *common)
{
    struct epoll_reactor *reactor = epoll_reactor_of(common);
    uint64_t one = 1;
    int saved = errno; /* signal handlers come here */
    /* It could fail only when 2^64 - 1 wake-ups were written. */
    ssize_t written = write(reactor->wake, &one, sizeof(one));
    (void)written;
    errno = saved;
}

static void work_on(struct epoll_reactor *reactor, struct epoll_socket *socket)
{
    if (socket->connect != NULL) {
        epoll_connect_some(reactor, socket);
        return;
    }
    if (socket->accept != NULL && (socket->ready & READY_IN) != 0) {
        epoll_accept_some(reactor, socket);
        return;
    }
    if (socket->send != NULL && (socket->ready & READY_OUT) != 0) {
        epoll_send_some(reactor, socket);
    }
    if (socket->receive != NULL && (socket->ready & READY_IN) != 0) {
        epoll_receive_some(reactor, socket);
    }
}

static void epoll_complete(struct reactor *common)
{
    struct epoll_reactor *reactor = epoll_reactor_of(common);
    list_move_all(&reactor->working, &reactor->ready);
    struct list *link;
    while (!reactor_turn_is_full(common) && (link = list_take_first(&reactor->working)) != NULL) {
        work_on(reactor, CONTAINER_OF(link, struct epoll_socket, link));
    }
    /* What is left goes before what became ready meanwhile. */
    list_move_all(&reactor->working, &reactor->ready);
    list_move_all(&reactor->ready, &reactor->working);
}

static bool epoll_is_busy(const struct reactor *common)
{
    const struct epoll_reactor *reactor = CONTAINER_OF(common, const struct epoll_reactor, common);
    return !list_is_empty(&reactor->ready);
}

static void epoll_buffers_home(struct reactor *common)
{
    struct epoll_reactor *reactor = epoll_reactor_of(common);
    struct list *link;
    while ((link = list_take_first(&reactor->starved)) != NULL) {
        epoll_socket_again(reactor, CONTAINER_OF(link, struct epoll_socket, starved_link));
    }
}

/* ------------------------------------------------------------- operations */

static int socket_of(const struct op *op)
{
    switch (op->kind) {
    case OP_ACCEPT:
        return CONTAINER_OF(op, const struct accept_op, op)->listener;
    case OP_RECEIVE:
        return CONTAINER_OF(op, const struct receive_op, op)->socket;
    case OP_SEND:
        return CONTAINER_OF(op, const struct send_op, op)->socket;
    case OP_CONNECT:
    case OP_POST:
    case OP_NONE:
        break;
    }
    return -1;
}

static void epoll_operation_home(struct reactor *common, struct op *op)
{
    int socket = socket_of(op);
    if (socket < 0) {
        return;
    }
    struct epoll_socket *entry = epoll_socket_find(epoll_reactor_of(common), socket);
    if (entry != NULL && entry->homeless > 0) {
        entry->homeless--;
    }
}

/* The entry of a socket on which `op` starts, or NULL where it has failed already. */
static struct epoll_socket *begin(struct reactor *common, struct op *op, int socket)
{
    struct epoll_socket *entry = epoll_socket_open(epoll_reactor_of(common), socket);
    if (entry == NULL) {
        reactor_finish(common, op, errno == 0 ? -ENOMEM : -errno);
        return NULL;
    }
    entry->homeless++;
    return entry;
}

static void epoll_accept(struct reactor *common, struct accept_op *accept)
{
    struct epoll_socket *entry = begin(common, &accept->op, accept->listener);
    if (entry != NULL) {
        ASSERT(entry->accept == NULL);
        entry->accept = accept;
        epoll_socket_again(epoll_reactor_of(common), entry);
    }
}

static void epoll_receive(struct reactor *common, struct receive_op *receive)
{
    struct epoll_socket *entry = begin(common, &receive->op, receive->socket);
    if (entry != NULL) {
        ASSERT(entry->receive == NULL);
        entry->receive = receive;
        epoll_socket_again(epoll_reactor_of(common), entry);
    }
}

static void epoll_receive_resume(struct reactor *common, struct receive_op *receive)
{
    struct epoll_reactor *reactor = epoll_reactor_of(common);
    struct epoll_socket *entry = epoll_socket_find(reactor, receive->socket);
    if (entry != NULL && entry->receive == receive && (entry->ready & READY_IN) != 0) {
        epoll_socket_again(reactor, entry);
    }
}

static void epoll_send(struct reactor *common, struct send_op *send)
{
    struct epoll_socket *entry = begin(common, &send->op, send->socket);
    if (entry != NULL) {
        ASSERT(entry->send == NULL);
        entry->send = send;
        if ((entry->ready & READY_OUT) != 0) {
            epoll_send_some(epoll_reactor_of(common), entry);
        }
    }
}

static void epoll_cancel(struct reactor *common, struct op *op)
{
    struct epoll_reactor *reactor = epoll_reactor_of(common);
    if (op->kind == OP_CONNECT) {
        epoll_connect_cancel(reactor, CONTAINER_OF(op, struct connect_op, op), -ECANCELED);
        return;
    }
    struct epoll_socket *entry = epoll_socket_find(reactor, socket_of(op));
    ASSERT(entry != NULL);
    if (op->kind == OP_ACCEPT) {
        entry->accept = NULL;
    } else if (op->kind == OP_RECEIVE) {
        entry->receive = NULL;
    } else {
        ASSERT(op->kind == OP_SEND);
        entry->send = NULL;
    }
    reactor_finish(common, op, -ECANCELED);
}

/* ------------------------------------------------------------------- life */

static int epoll_listen(struct reactor *reactor, const struct address *address,
                        struct address *bound_out)
{
    (void)reactor;
    return socket_listen(address, bound_out);
}

static void epoll_free(struct epoll_reactor *reactor)
{
    int descriptors[] = {reactor->epoll, reactor->wake};
    for (size_t i = 0; i < sizeof(descriptors) / sizeof(descriptors[0]); i++) {
        if (descriptors[i] >= 0) {
            (void)close(descriptors[i]);
        }
    }
    descriptor_reserve_close(&reactor->descriptors);
    free(reactor->sockets);
    free(reactor);
}

static void epoll_destroy(struct reactor *common)
{
    struct epoll_reactor *reactor = epoll_reactor_of(common);
    for (int i = 0; i < reactor->sockets_max; i++) {
        /* Entries without operations may be left: sockets that went elsewhere. */
        ASSERT(reactor->sockets[i] == NULL || reactor->sockets[i]->homeless == 0);
        free(reactor->sockets[i]);
    }
    reactor_deinit(common);
    epoll_free(reactor);
}

static const struct reactor_backend epoll_backend = {
    .destroy = epoll_destroy,
    .clock_ns = kernel_clock_ns,
    .wall_ms = kernel_wall_ms,
    .wait = epoll_backend_wait,
    .rouse = epoll_rouse,
    .complete = epoll_complete,
    .is_busy = epoll_is_busy,
    .buffers_home = epoll_buffers_home,
    .operation_home = epoll_operation_home,
    .listen = epoll_listen,
    .accept = epoll_accept,
    .receive = epoll_receive,
    .receive_resume = epoll_receive_resume,
    .send = epoll_send,
    .connect = epoll_connect,
    .cancel = epoll_cancel,
    .shutdown = epoll_shutdown,
    .close = epoll_close,
};

struct reactor *reactor_create_epoll(size_t buffers_bytes_max)
{
    struct epoll_reactor *reactor = aligned_alloc(alignof(struct epoll_reactor), sizeof(*reactor));
    if (reactor == NULL) {
        return NULL;
    }
    *reactor = (struct epoll_reactor){.epoll = -1, .wake = -1, .descriptors = {.spare = -1}};
    reactor->epoll = epoll_create1(EPOLL_CLOEXEC);
    reactor->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.ptr = NULL}};
    if (reactor->epoll < 0 || reactor->wake < 0 ||
        !descriptor_reserve_open(&reactor->descriptors) ||
        epoll_ctl(reactor->epoll, EPOLL_CTL_ADD, reactor->wake, &event) != 0) {
        int error = errno;
        epoll_free(reactor);
        errno = error;
        return NULL;
    }
    reactor->accept_retry.fired = epoll_accept_retry;
    list_init(&reactor->ready);
    list_init(&reactor->working);
    list_init(&reactor->starved);
    reactor_init(&reactor->common, &epoll_backend, REACTOR_EPOLL, buffers_bytes_max, kernel_seed());
    reactor->common.now_ns = kernel_clock_ns(&reactor->common);
    reactor->common.wall_ms = kernel_wall_ms(&reactor->common);
    return &reactor->common;
}
