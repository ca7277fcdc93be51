/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_uring.c - the io_uring backend: its life, its sockets, and what it works on in a turn.
 */

#include "net/reactor_uring.h"

#include "net/buffer.h"
#include "net/reactor.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKETS_LEAST = 64 };

/* ---------------------------------------------------------------- sockets */

struct uring_socket *uring_socket_find(struct uring_reactor *reactor, int socket)
{
    return socket < reactor->sockets_max ? reactor->sockets[socket] : NULL;
}

static bool sockets_reserve(struct uring_reactor *reactor, int socket)
{
    int count = reactor->sockets_max == 0 ? SOCKETS_LEAST : reactor->sockets_max;
    while (count <= socket) {
        count *= 2;
    }
    if (count == reactor->sockets_max) {
        return true;
    }
    struct uring_socket **sockets =
        realloc(reactor->sockets, (size_t)count * sizeof(struct uring_socket *));
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

struct uring_socket *uring_socket_open(struct uring_reactor *reactor, int socket)
{
    ASSERT(socket >= 0);
    struct uring_socket *entry = uring_socket_find(reactor, socket);
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
    list_init(&entry->all);
    list_append(&reactor->all, &entry->all);
    entry->socket = socket;
    reactor->sockets[socket] = entry;
    return entry;
}

void uring_socket_again(struct uring_reactor *reactor, struct uring_socket *socket)
{
    if (list_is_empty(&socket->link)) {
        list_append(&reactor->again, &socket->link);
    }
}

void uring_socket_free(struct uring_socket *entry)
{
    list_remove(&entry->link);
    list_remove(&entry->starved_link);
    list_remove(&entry->all);
    buffer_unref(entry->kept);
    free(entry);
}

static void uring_close(struct reactor *common, int socket)
{
    struct uring_reactor *reactor = uring_reactor_of(common);
    struct uring_socket *entry = uring_socket_find(reactor, socket);
    if (entry != NULL) {
        ASSERT(entry->homeless == 0);
        reactor->sockets[socket] = NULL;
        entry->closed = true;
        if (entry->in_kernel == 0) {
            uring_socket_free(entry);
        } else {
            /* The kernel keeps the socket open for its requests until they end, which is now. */
            uring_cancel_request(reactor, entry, URING_POLL_IN);
            uring_cancel_request(reactor, entry, URING_POLL_OUT);
            uring_submit(reactor);
        }
    }
    /* An interrupted close has closed all the same. */
    (void)close(socket);
}

static void uring_shutdown(struct reactor *common, int socket, bool send_only)
{
    struct uring_reactor *reactor = uring_reactor_of(common);
    /* It fails where the peer has ended both directions already: what was wanted. Requests in the
     * kernel come home by it. */
    (void)shutdown(socket, send_only ? SHUT_WR : SHUT_RDWR);
    struct uring_socket *entry = uring_socket_find(reactor, socket);
    if (entry != NULL && !send_only) {
        entry->shut = true;
        uring_socket_again(reactor, entry);
    }
}

/* --------------------------------------------------------------- the turn */

/* Operations go on in the order in which a socket has them: what connects has no others yet. */
void uring_socket_work(struct uring_reactor *reactor, struct uring_socket *socket)
{
    if (socket->to_cancel != 0) {
        uring_cancel_due(reactor, socket);
    }
    if (socket->closed) {
        return;
    }
    if (socket->connect != NULL) {
        uring_connect_some(reactor, socket);
        return;
    }
    if (socket->accept != NULL) {
        uring_accept_some(reactor, socket);
        return;
    }
    if (socket->send != NULL) {
        uring_send_some(reactor, socket);
    }
    if (socket->receive != NULL) {
        uring_receive_some(reactor, socket);
    }
}

static void work_again(struct uring_reactor *reactor)
{
    list_move_all(&reactor->working, &reactor->again);
    struct list *link;
    while (!reactor_turn_is_full(&reactor->common) &&
           (link = list_take_first(&reactor->working)) != NULL) {
        uring_socket_work(reactor, CONTAINER_OF(link, struct uring_socket, link));
    }
    /* What is left goes before what became ready meanwhile. */
    list_move_all(&reactor->working, &reactor->again);
    list_move_all(&reactor->again, &reactor->working);
}

/* Whichever comes first may fill the turn: where it left completions unread, they come first in the
 * next one, and the sockets in the one after. */
static void uring_complete(struct reactor *common)
{
    struct uring_reactor *reactor = uring_reactor_of(common);
    if (reactor->completions_wait) {
        uring_take_completions(reactor);
        work_again(reactor);
        reactor->completions_wait = false;
    } else {
        work_again(reactor);
        uring_take_completions(reactor);
        reactor->completions_wait = io_uring_cq_ready(&reactor->ring) > 0;
    }
}

static bool uring_is_busy(const struct reactor *common)
{
    const struct uring_reactor *reactor = CONTAINER_OF(common, const struct uring_reactor, common);
    return !list_is_empty(&reactor->again) || io_uring_cq_ready(&reactor->ring) > 0;
}

static void uring_buffers_home(struct reactor *common)
{
    struct uring_reactor *reactor = uring_reactor_of(common);
    uring_buffers_lend(reactor);
    struct list *link;
    while ((link = list_take_first(&reactor->starved)) != NULL) {
        uring_socket_again(reactor, CONTAINER_OF(link, struct uring_socket, starved_link));
    }
}

/* ------------------------------------------------------------------- wait */

static void uring_rouse(struct reactor *common)
{
    struct uring_reactor *reactor = uring_reactor_of(common);
    uint64_t one = 1;
    int saved = errno; /* signal handlers come here */
    /* It could fail only when 2^64 - 1 wake-ups were written. */
    ssize_t written = write(reactor->wake, &one, sizeof(one));
    (void)written;
    errno = saved;
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

static void uring_operation_home(struct reactor *common, struct op *op)
{
    int socket = socket_of(op);
    if (socket < 0) {
        return;
    }
    struct uring_socket *entry = uring_socket_find(uring_reactor_of(common), socket);
    if (entry != NULL && entry->homeless > 0) {
        entry->homeless--;
    }
}

/* The entry of a socket on which `op` starts, or NULL where it has failed already. */
static struct uring_socket *begin(struct reactor *common, struct op *op, int socket)
{
    struct uring_socket *entry = uring_socket_open(uring_reactor_of(common), socket);
    if (entry == NULL) {
        reactor_finish(common, op, -ENOMEM);
        return NULL;
    }
    entry->homeless++;
    return entry;
}

static int uring_listen(struct reactor *common, const struct address *address,
                        struct address *bound_out)
{
    (void)common;
    return socket_listen(address, bound_out);
}

static void uring_accept(struct reactor *common, struct accept_op *accept)
{
    struct uring_socket *entry = begin(common, &accept->op, accept->listener);
    if (entry != NULL) {
        ASSERT(entry->accept == NULL);
        entry->accept = accept;
        uring_socket_again(uring_reactor_of(common), entry);
    }
}

static void uring_receive(struct reactor *common, struct receive_op *receive)
{
    struct uring_socket *entry = begin(common, &receive->op, receive->socket);
    if (entry != NULL) {
        ASSERT(entry->receive == NULL);
        entry->receive = receive;
        uring_receive_start(uring_reactor_of(common), entry);
    }
}

static void uring_receive_resume(struct reactor *common, struct receive_op *receive)
{
    struct uring_reactor *reactor = uring_reactor_of(common);
    struct uring_socket *entry = uring_socket_find(reactor, receive->socket);
    if (entry != NULL && entry->receive == receive) {
        uring_receive_start(reactor, entry);
    }
}

static void uring_send(struct reactor *common, struct send_op *send)
{
    struct uring_socket *entry = begin(common, &send->op, send->socket);
    if (entry != NULL) {
        ASSERT(entry->send == NULL);
        entry->send = send;
        uring_send_some(uring_reactor_of(common), entry);
    }
}

static void uring_cancel(struct reactor *common, struct op *op)
{
    struct uring_reactor *reactor = uring_reactor_of(common);
    if (op->kind == OP_CONNECT) {
        uring_connect_cancel(reactor, CONTAINER_OF(op, struct connect_op, op));
        return;
    }
    struct uring_socket *entry = uring_socket_find(reactor, socket_of(op));
    ASSERT(entry != NULL);
    if (op->kind == OP_RECEIVE) {
        uring_receive_cancel(reactor, entry);
    } else if (op->kind == OP_SEND) {
        uring_send_cancel(reactor, entry);
    } else {
        ASSERT(op->kind == OP_ACCEPT);
        entry->accept = NULL;
        uring_cancel_request(reactor, entry, URING_POLL_IN);
        reactor_finish(common, op, -ECANCELED);
    }
}

/* ------------------------------------------------------------------- life */

static void uring_free(struct uring_reactor *reactor)
{
    if (reactor->has_ring) {
        io_uring_queue_exit(&reactor->ring);
    }
    if (reactor->wake >= 0) {
        (void)close(reactor->wake);
    }
    descriptor_reserve_close(&reactor->descriptors);
    free(reactor->sockets);
    free(reactor);
}

static void uring_destroy(struct reactor *common)
{
    struct uring_reactor *reactor = uring_reactor_of(common);
    /* The kernel lets go of everything first. */
    io_uring_queue_exit(&reactor->ring);
    reactor->has_ring = false;
    LIST_FOREACH (link, &reactor->all) {
        struct uring_socket *entry = CONTAINER_OF(link, struct uring_socket, all);
        /* Entries without operations may be left: sockets that went elsewhere. */
        ASSERT(entry->homeless == 0);
        uring_socket_free(entry);
    }
    uring_buffers_close(reactor);
    reactor_deinit(common);
    uring_free(reactor);
}

static const struct reactor_backend uring_backend = {
    .destroy = uring_destroy,
    .clock_ns = kernel_clock_ns,
    .wall_ms = kernel_wall_ms,
    .wait = uring_wait,
    .rouse = uring_rouse,
    .complete = uring_complete,
    .is_busy = uring_is_busy,
    .buffers_home = uring_buffers_home,
    .operation_home = uring_operation_home,
    .listen = uring_listen,
    .accept = uring_accept,
    .receive = uring_receive,
    .receive_resume = uring_receive_resume,
    .send = uring_send,
    .connect = uring_connect,
    .cancel = uring_cancel,
    .shutdown = uring_shutdown,
    .close = uring_close,
};

struct reactor *reactor_create_uring(size_t buffers_bytes_max)
{
    struct uring_reactor *reactor = aligned_alloc(alignof(struct uring_reactor), sizeof(*reactor));
    if (reactor == NULL) {
        return NULL;
    }
    *reactor = (struct uring_reactor){.wake = -1, .descriptors = {.spare = -1}};
    /* Blocking: a read by the ring of one that is not would fail instead of waiting. */
    reactor->wake = eventfd(0, EFD_CLOEXEC);
    if (reactor->wake < 0 || !descriptor_reserve_open(&reactor->descriptors) ||
        !uring_ring_open(reactor)) {
        int error = errno;
        uring_free(reactor);
        errno = error;
        return NULL;
    }
    reactor->accept_retry.fired = uring_accept_retry;
    list_init(&reactor->all);
    list_init(&reactor->again);
    list_init(&reactor->working);
    list_init(&reactor->starved);
    reactor_init(&reactor->common, &uring_backend, REACTOR_URING, buffers_bytes_max, kernel_seed());
    if (!uring_buffers_open(reactor)) {
        int error = errno;
        uring_destroy(&reactor->common);
        errno = error;
        return NULL;
    }
    reactor->common.now_ns = kernel_clock_ns(&reactor->common);
    reactor->common.wall_ms = kernel_wall_ms(&reactor->common);
    return &reactor->common;
}
