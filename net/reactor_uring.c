/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_uring.c - the io_uring backend: its life, waiting, requests and their completions.
 *
 * The ring is made by whoever makes the reactor and belongs, from the first wait on, to the thread
 * that runs it: the kernel then works on completions only while that thread waits
 * (IORING_SETUP_DEFER_TASKRUN), which interrupts nobody.
 *
 * A wait takes at most 20 completions with it, whatever is there (since 6.13); the flag
 * IORING_SQ_TASKRUN says that there are more, and a second look takes them.
 */

#include "net/reactor_uring.h"

#include "net/buffer.h"
#include "net/reactor.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SOCKETS_LEAST = 64,
    SECOND_LOOK = 64 /* completions: with a wait for so many the kernel hands out as many at once */
};

/* What a completion belongs to stands in its user data: a socket's entry, whose lowest bits are free
 * for the kind of the request, or one of these. */
enum { USER_DATA_NOTHING = 0, USER_DATA_WAKE = 1, USER_DATA_KINDS = URING_REQUEST_KINDS - 1 };

_Static_assert((URING_REQUEST_KINDS & USER_DATA_KINDS) == 0,
               "the kind is a mask of the lowest bits");

/* Newer than Debian 12's liburing knows; the numbers are the kernel's interface. */
#define ENTER_NO_IOWAIT       (1U << 7)  /* since 6.15: a sleep is not counted as one for a disk */
#define FEATURE_NO_IOWAIT     (1U << 17) /* the kernel has it */
#define REGISTER_ENABLE_RINGS 12U

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
    ASSERT(((uintptr_t)entry & USER_DATA_KINDS) == 0);
    list_init(&entry->link);
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

static void socket_free(struct uring_socket *entry)
{
    list_remove(&entry->link);
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
            socket_free(entry);
        } else {
            /* The kernel keeps the socket open for its requests until they end. */
            uring_cancel_request(reactor, entry, URING_POLL_IN);
            uring_cancel_request(reactor, entry, URING_POLL_OUT);
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
        list_remove(&entry->link);
        uring_socket_again(reactor, entry);
    }
}

/* --------------------------------------------------------------- requests */

/* What was queued becomes visible to the kernel; how much that is. */
static uint32_t publish_requests(struct uring_reactor *reactor)
{
    struct io_uring_sq *queue = &reactor->ring.sq;
    uint32_t mask = *queue->kring_mask;
    uint32_t tail = *queue->ktail;
    while (queue->sqe_head != queue->sqe_tail) {
        queue->array[tail & mask] = queue->sqe_head & mask;
        tail++;
        queue->sqe_head++;
    }
    io_uring_smp_store_release(queue->ktail, tail);
    return tail - io_uring_smp_load_acquire(queue->khead);
}

/*
 * Gives what was queued to the kernel and waits for `count` completions at most for `limit`
 * (NULL: for ever). Not from liburing, whose calls cannot say ENTER_NO_IOWAIT: without it an idle
 * reactor looks like one that waits for a disk.
 */
static void enter(struct uring_reactor *reactor, uint32_t count,
                  const struct __kernel_timespec *limit)
{
    uint32_t flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if ((reactor->ring.features & FEATURE_NO_IOWAIT) != 0) {
        flags |= ENTER_NO_IOWAIT;
    }
    struct io_uring_getevents_arg argument = {.ts = (uint64_t)(uintptr_t)limit};
    int result = io_uring_enter2((unsigned)reactor->ring.ring_fd, publish_requests(reactor), count,
                                 flags, (sigset_t *)(void *)&argument, sizeof(argument));
    /* Of these the kernel has taken nothing, or not all: what is left goes with the next one. */
    ASSERT(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
           result == -EBUSY || result == -ENOMEM);
}

static struct io_uring_sqe *take_request(struct uring_reactor *reactor)
{
    struct io_uring_sqe *request = io_uring_get_sqe(&reactor->ring);
    if (request == NULL && reactor->enabled) {
        static const struct __kernel_timespec at_once;
        enter(reactor, 0, &at_once);
        request = io_uring_get_sqe(&reactor->ring);
    }
    return request;
}

struct io_uring_sqe *uring_request(struct uring_reactor *reactor, struct uring_socket *socket,
                                   enum uring_request request)
{
    ASSERT(!uring_is_in_kernel(socket, request));
    struct io_uring_sqe *queued = take_request(reactor);
    if (queued == NULL) {
        uring_socket_again(reactor, socket);
        return NULL;
    }
    socket->in_kernel |= (uint8_t)(1U << request);
    io_uring_sqe_set_data64(queued, (uint64_t)(uintptr_t)socket | request);
    return queued;
}

void uring_poll(struct uring_reactor *reactor, struct uring_socket *socket,
                enum uring_request request)
{
    if (uring_is_in_kernel(socket, request)) {
        return;
    }
    struct io_uring_sqe *queued = uring_request(reactor, socket, request);
    if (queued != NULL) {
        io_uring_prep_poll_add(queued, socket->socket, request == URING_POLL_IN ? POLLIN : POLLOUT);
    }
}

static void cancel_due(struct uring_reactor *reactor, struct uring_socket *socket)
{
    for (unsigned request = 0; request < URING_REQUEST_KINDS; request++) {
        if ((socket->to_cancel & 1U << request) == 0) {
            continue;
        }
        struct io_uring_sqe *queued = take_request(reactor);
        if (queued == NULL) {
            uring_socket_again(reactor, socket);
            return;
        }
        io_uring_prep_cancel64(queued, (uint64_t)(uintptr_t)socket | request, 0);
        io_uring_sqe_set_data64(queued, USER_DATA_NOTHING);
        socket->to_cancel &= (uint8_t) ~(1U << request);
    }
}

void uring_cancel_request(struct uring_reactor *reactor, struct uring_socket *socket,
                          enum uring_request request)
{
    if (uring_is_in_kernel(socket, request)) {
        socket->to_cancel |= (uint8_t)(1U << request);
        cancel_due(reactor, socket);
    }
}

/* ------------------------------------------------------------ completions */

/* Operations go on in the order in which a socket has them: what connects has no others yet. */
static void work_on(struct uring_reactor *reactor, struct uring_socket *socket)
{
    if (socket->to_cancel != 0) {
        cancel_due(reactor, socket);
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

static void socket_completed(struct uring_reactor *reactor, uint64_t user_data, int result,
                             uint32_t flags)
{
    enum uring_request request = (enum uring_request)(user_data & USER_DATA_KINDS);
    uintptr_t place = (uintptr_t)(user_data & ~(uint64_t)USER_DATA_KINDS);
    struct uring_socket *socket = (struct uring_socket *)place;
    ASSERT(uring_is_in_kernel(socket, request));
    uint8_t bit = (uint8_t)(1U << request);
    socket->in_kernel &= (uint8_t)~bit;
    socket->to_cancel &= (uint8_t)~bit;
    if (socket->closed) {
        if (socket->in_kernel == 0) {
            socket_free(socket);
        }
    } else if (request == URING_RECEIVE) {
        uring_received(reactor, socket, result, flags);
    } else if (request == URING_SEND) {
        uring_sent(reactor, socket, result);
    } else {
        work_on(reactor, socket);
    }
}

static void take_completions(struct uring_reactor *reactor)
{
    struct io_uring_cqe *completion;
    for (int i = 0; i < URING_COMPLETIONS_A_TURN; i++) {
        if (io_uring_peek_cqe(&reactor->ring, &completion) != 0) {
            return;
        }
        uint64_t user_data = completion->user_data;
        int result = completion->res;
        uint32_t flags = completion->flags;
        io_uring_cqe_seen(&reactor->ring, completion);
        if (user_data == USER_DATA_WAKE) {
            reactor->wake_is_read = false;
        } else if (user_data != USER_DATA_NOTHING) {
            socket_completed(reactor, user_data, result, flags);
        }
    }
}

static void uring_complete(struct reactor *common)
{
    struct uring_reactor *reactor = uring_reactor_of(common);
    list_move_all(&reactor->working, &reactor->again);
    struct list *link;
    while ((link = list_take_first(&reactor->working)) != NULL) {
        work_on(reactor, CONTAINER_OF(link, struct uring_socket, link));
    }
    take_completions(reactor);
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
    list_move_all(&reactor->again, &reactor->starved);
}

/* ------------------------------------------------------------------- wait */

/* By the thread that runs the reactor: the ring is that thread's from here. */
static void enable(struct uring_reactor *reactor)
{
    long result =
        syscall(SYS_io_uring_register, reactor->ring.ring_fd, REGISTER_ENABLE_RINGS, NULL, 0);
    ASSERT(result == 0);
    reactor->enabled = true;
}

/* One read of the wake-up is always in the kernel while it waits. */
static void read_wake(struct uring_reactor *reactor)
{
    struct io_uring_sqe *request = reactor->wake_is_read ? NULL : take_request(reactor);
    if (request != NULL) {
        io_uring_prep_read(request, reactor->wake, &reactor->wakes, sizeof(reactor->wakes), 0);
        io_uring_sqe_set_data64(request, USER_DATA_WAKE);
        reactor->wake_is_read = true;
    }
}

static bool has_more(const struct uring_reactor *reactor)
{
    uint32_t flags = IO_URING_READ_ONCE(*reactor->ring.sq.kflags);
    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

static void uring_wait(struct reactor *common, int64_t wait_ns)
{
    static const struct __kernel_timespec at_once;
    struct uring_reactor *reactor = uring_reactor_of(common);
    if (!reactor->enabled) {
        enable(reactor);
    }
    read_wake(reactor);
    uring_buffers_lend(reactor);
    if (wait_ns != 0) {
        struct __kernel_timespec limit = {.tv_sec = wait_ns / 1000000000,
                                          .tv_nsec = wait_ns % 1000000000};
        enter(reactor, 1, wait_ns > 0 ? &limit : NULL);
    } else if (io_uring_sq_ready(&reactor->ring) > 0 || has_more(reactor)) {
        enter(reactor, SECOND_LOOK, &at_once);
        return;
    }
    if (has_more(reactor)) {
        enter(reactor, SECOND_LOOK, &at_once);
    }
}

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
        socket_free(entry);
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

static bool open_ring(struct uring_reactor *reactor)
{
    struct io_uring_params parameters = {
        .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = URING_COMPLETIONS,
    };
    int result = io_uring_queue_init_params(URING_REQUESTS, &reactor->ring, &parameters);
    if (result < 0) {
        errno = -result;
        return false;
    }
    reactor->has_ring = true;
    return true;
}

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
        !open_ring(reactor)) {
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
