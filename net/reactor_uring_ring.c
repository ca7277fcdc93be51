/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_uring_ring.c - the ring of the io_uring backend: requests, waiting, completions.
 *
 * The ring is made by whoever makes the reactor and belongs, from the first wait on, to the thread
 * that runs it: the kernel then works on completions only while that thread waits
 * (IORING_SETUP_DEFER_TASKRUN), which interrupts nobody.
 *
 * A wait takes at most 20 completions with it, whatever is there (since 6.13); the flag
 * IORING_SQ_TASKRUN says that there are more, and a second look takes them.
 */

#include "net/reactor_uring.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
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

/* ------------------------------------------------------------------- life */

bool uring_ring_open(struct uring_reactor *reactor)
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
static int try_enter(struct uring_reactor *reactor, uint32_t count,
                     const struct __kernel_timespec *limit)
{
    uint32_t flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    if ((reactor->ring.features & FEATURE_NO_IOWAIT) != 0) {
        flags |= ENTER_NO_IOWAIT;
    }
    struct io_uring_getevents_arg argument = {.ts = (uint64_t)(uintptr_t)limit};
    reactor->has_sends = false;
    return io_uring_enter2((unsigned)reactor->ring.ring_fd, publish_requests(reactor), count, flags,
                           (sigset_t *)(void *)&argument, sizeof(argument));
}

static void enter(struct uring_reactor *reactor, uint32_t count,
                  const struct __kernel_timespec *limit)
{
    int result = try_enter(reactor, count, limit);
    /* Of these the kernel has taken nothing, or not all: what is left goes with the next one. After
     * -EBADR nobody can go on: it has lost a completion, for want of memory. */
    ASSERT(result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
           result == -EBUSY || result == -ENOMEM);
}

void uring_submit(struct uring_reactor *reactor)
{
    static const struct __kernel_timespec at_once;
    if (reactor->enabled) {
        (void)try_enter(reactor, 0, &at_once);
    }
}

static struct io_uring_sqe *take_request(struct uring_reactor *reactor)
{
    struct io_uring_sqe *request = io_uring_get_sqe(&reactor->ring);
    if (request == NULL) {
        uring_submit(reactor);
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

void uring_cancel_due(struct uring_reactor *reactor, struct uring_socket *socket)
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
        uring_cancel_due(reactor, socket);
    }
}

/* ------------------------------------------------------------ completions */

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
            uring_socket_free(socket);
        }
    } else if (request == URING_RECEIVE) {
        uring_received(reactor, socket, result, flags);
    } else if (request == URING_SEND) {
        uring_sent(reactor, socket, result);
    } else {
        uring_socket_work(reactor, socket);
    }
}

void uring_take_completions(struct uring_reactor *reactor)
{
    struct io_uring_cqe *completion;
    for (int i = 0; i < URING_COMPLETIONS_A_TURN && !reactor_turn_is_full(&reactor->common); i++) {
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

/* The kernel sends within the call that brings it the requests: apart from the sleep, it is known
 * how long that took. Nearly always a send has completed then: no sleep, and no second call. */
static void send_and_sleep(struct uring_reactor *reactor, int64_t wait_ns)
{
    struct __kernel_timespec limit = {.tv_sec = wait_ns / 1000000000,
                                      .tv_nsec = wait_ns % 1000000000};
    if (reactor->has_sends) {
        uring_submit(reactor);
    }
    reactor->common.asleep_ns = kernel_clock_ns(&reactor->common);
    if (io_uring_cq_ready(&reactor->ring) == 0) {
        enter(reactor, 1, wait_ns > 0 ? &limit : NULL);
    }
}

void uring_wait(struct reactor *common, int64_t wait_ns)
{
    static const struct __kernel_timespec at_once;
    struct uring_reactor *reactor = uring_reactor_of(common);
    if (!reactor->enabled) {
        enable(reactor);
    }
    read_wake(reactor);
    if (!reactor->wake_is_read) {
        wait_ns = 0; /* there was no room: nobody could end the sleep */
    }
    uring_buffers_lend(reactor);
    if (wait_ns != 0) {
        send_and_sleep(reactor, wait_ns);
    } else if (io_uring_sq_ready(&reactor->ring) > 0 || has_more(reactor)) {
        enter(reactor, SECOND_LOOK, &at_once);
        return;
    }
    if (has_more(reactor)) {
        enter(reactor, SECOND_LOOK, &at_once);
    }
}
