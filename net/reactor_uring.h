/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_uring.h - what the files of the io_uring backend share. Private to net/.
 *
 * Each operation is at most one request in the kernel at a time, and each request comes home with
 * exactly one completion:
 *
 *     receive   RECV into a buffer that the kernel picks from those it was lent;
 *               into memory that the receiver prefers by recv(2), once a poll says there is something,
 *               because a request of the kernel's could not be called back from memory that goes
 *     send      SENDMSG; a part of a file, and what goes before one, by system calls and a poll
 *     accept, connect    by system calls and a poll: neither is frequent
 *
 * Requests are queued in memory and go with the next wait, all in one system call. Where the queue
 * has no room, or something else has to be tried again, the socket is in `again`.
 *
 * A socket may be closed while a poll of it is in the kernel, which keeps it open until the poll has
 * ended: that it is to end goes to the kernel at once. Its entry leaves the table, and its memory lives
 * until the last completion has come.
 */
#ifndef NET_REACTOR_URING_H
#define NET_REACTOR_URING_H

#include "net/reactor_backend.h"
#include "net/socket.h"

#include <liburing.h>

enum {
    /* Requests queued between two waits; more are submitted in between. A quarter of a core's
     * connections, and together with the completions small enough that 32 rings fit the 8 MiB that a
     * user may lock (since 6.14 the kernel counts them). */
    URING_REQUESTS = 512,
    URING_COMPLETIONS = 4096, /* the kernel keeps what exceeds it, at more cost */
    URING_COMPLETIONS_A_TURN = 256,
    URING_BUFFERS_MAX = 4 /* lent to the kernel: 1 MiB, what one wait brings and a cache holds */
};

/* What of a socket can be in the kernel. */
enum uring_request {
    URING_RECEIVE,
    URING_SEND,
    URING_POLL_IN,  /* for accept and preferred receives */
    URING_POLL_OUT, /* for connect and for sends by system call */
    URING_REQUEST_KINDS
};

struct uring_socket {
    struct list link;         /* in `again` or `working`, or in none */
    struct list starved_link; /* in `starved`, or in none: its send goes on meanwhile */
    struct list all;
    struct accept_op *accept;
    struct receive_op *receive;
    struct send_op *send;
    struct connect_op *connect;
    int socket;
    uint32_t homeless;    /* operations whose `done` has not run */
    uint8_t in_kernel;    /* a bit a request: its completion has not come */
    uint8_t to_cancel;    /* of these: the kernel is to be asked for them */
    uint8_t cancelled;    /* of these: whatever the kernel says, the operation was cancelled */
    bool shut;            /* reactor_shutdown() */
    bool closed;          /* not in the table any more: goes with its last completion */
    bool more_waits;      /* the last receive left something behind */
    struct msghdr header; /* of the send in the kernel */
    /* What came while the receive was paused: bytes, or its end. */
    struct buffer *kept;
    uint8_t *kept_at;
    uint32_t kept_bytes;
    bool has_ended;
    int64_t end;
};

struct uring_buffers {
    struct io_uring_buf_ring *ring;         /* shared with the kernel */
    struct buffer *lent[URING_BUFFERS_MAX]; /* by number; NULL: not lent */
    uint32_t count;                         /* a power of two */
    uint32_t lent_count;
};

struct uring_reactor {
    struct reactor common;
    struct io_uring ring;
    bool has_ring;
    bool has_sends; /* among the requests that are queued */
    bool enabled;   /* by the thread that runs it, which nobody else may be from then on */
    int wake;       /* an eventfd, read by the kernel while it waits */
    bool wake_is_read;
    uint64_t wakes; /* what it reads */
    struct descriptor_reserve descriptors;
    struct timer accept_retry;
    struct uring_buffers buffers;
    struct uring_socket **sockets; /* by descriptor */
    int sockets_max;
    struct list all;       /* struct uring_socket, the closed ones too */
    struct list again;     /* those that have something to do in the next turn */
    struct list working;   /* those of them that this turn works on */
    struct list starved;   /* receivers that lack a buffer */
    bool completions_wait; /* longer than the sockets of `again`: they are next */
};

static inline struct uring_reactor *uring_reactor_of(struct reactor *reactor)
{
    return CONTAINER_OF(reactor, struct uring_reactor, common);
}

static inline bool uring_is_in_kernel(const struct uring_socket *socket, enum uring_request request)
{
    return (socket->in_kernel & 1U << request) != 0;
}

/* ------------------------------------------------------- reactor_uring.c */

/* Has the socket worked on in the next turn (or in this one, if it is not over yet). */
void uring_socket_again(struct uring_reactor *reactor, struct uring_socket *socket);

/* Works on whatever of the socket is not in the kernel. Callbacks run: from complete() only. */
void uring_socket_work(struct uring_reactor *reactor, struct uring_socket *socket);

/* The socket's entry, made if there is none; NULL where there is no memory. */
struct uring_socket *uring_socket_open(struct uring_reactor *reactor, int socket);

/* The socket's entry, or NULL. */
struct uring_socket *uring_socket_find(struct uring_reactor *reactor, int socket);

/* Nothing of it is in the kernel. */
void uring_socket_free(struct uring_socket *socket);

/* -------------------------------------------------- reactor_uring_ring.c */

/* False, with errno: refused. */
bool uring_ring_open(struct uring_reactor *reactor);

/*
 * A request of `socket`, which has none of that kind in the kernel, to be prepared at once; NULL
 * where the queue has no room: the socket is in `again` then.
 */
struct io_uring_sqe *uring_request(struct uring_reactor *reactor, struct uring_socket *socket,
                                   enum uring_request request);

/* Has the socket worked on when it is readable (URING_POLL_IN) or writable (URING_POLL_OUT). */
void uring_poll(struct uring_reactor *reactor, struct uring_socket *socket,
                enum uring_request request);

/* Asks the kernel for an early end of a request, if it is there. */
void uring_cancel_request(struct uring_reactor *reactor, struct uring_socket *socket,
                          enum uring_request request);

/* The same for those of `to_cancel`, which the queue had no room for. */
void uring_cancel_due(struct uring_reactor *reactor, struct uring_socket *socket);

/* For the backend's table: hands everything queued to the kernel, and waits. */
void uring_wait(struct reactor *reactor, int64_t wait_ns);

/* Hands everything queued to the kernel now, if it can. Where it cannot (it lacks memory; another
 * thread ran the reactor, and has ended) the next wait, or the end of the ring, does it. */
void uring_submit(struct uring_reactor *reactor);

/* Works on what has completed, as much as a turn may. */
void uring_take_completions(struct uring_reactor *reactor);

/* ------------------------------------------------ reactor_uring_stream.c */

/* Each does what its operation can do now: goes on, asks the kernel, or finishes it. Callbacks
 * run: from complete() only. */
void uring_receive_some(struct uring_reactor *reactor, struct uring_socket *socket);

/* Gives the receive to the kernel. No callback runs. */
void uring_receive_start(struct uring_reactor *reactor, struct uring_socket *socket);

/* No callback runs. */
void uring_send_some(struct uring_reactor *reactor, struct uring_socket *socket);

/* A completion of URING_RECEIVE, or URING_SEND, has come. `socket` is not closed. */
void uring_received(struct uring_reactor *reactor, struct uring_socket *socket, int result,
                    uint32_t flags);
void uring_sent(struct uring_reactor *reactor, struct uring_socket *socket, int result);

/* Ends an operation early. */
void uring_receive_cancel(struct uring_reactor *reactor, struct uring_socket *socket);
void uring_send_cancel(struct uring_reactor *reactor, struct uring_socket *socket);

/* ------------------------------------------------ reactor_uring_accept.c */

void uring_accept_some(struct uring_reactor *reactor, struct uring_socket *socket);
void uring_connect_some(struct uring_reactor *reactor, struct uring_socket *socket);
void uring_connect(struct reactor *reactor, struct connect_op *connect,
                   const struct address *address, uint32_t timeout_ms);
void uring_connect_cancel(struct uring_reactor *reactor, struct connect_op *connect);

/* Looks again at listeners that had no descriptor at all to accept with. */
void uring_accept_retry(struct timer *timer);

/* ----------------------------------------------- reactor_uring_buffers.c */

/* The group that requests with IOSQE_BUFFER_SELECT name. */
enum { URING_BUFFER_GROUP = 1 };

/* Registers a ring for at most a quarter of the pool. False, with errno: refused. */
bool uring_buffers_open(struct uring_reactor *reactor);

/* Gives the lent buffers back to the pool. The kernel's ring is gone. */
void uring_buffers_close(struct uring_reactor *reactor);

/* Lends what is missing, as far as the pool has it. False: the kernel has none, and the pool will
 * tell when one has come home. */
bool uring_buffers_lend(struct uring_reactor *reactor);

/* What a completion of a receive brought. */
struct uring_received {
    struct buffer *buffer; /* stays until uring_buffers_give() */
    uint8_t *at;
    uint32_t bytes;
    bool is_last; /* of the buffer */
};

/* Where the `bytes` lie of a completion with these flags, IORING_CQE_F_BUFFER among them. Once for
 * each such completion, in their order. */
struct uring_received uring_buffers_take(struct uring_reactor *reactor, uint32_t flags,
                                         uint32_t bytes);

/* After the bytes were used or referenced. A buffer that is full and that nobody kept is lent again
 * at once: the next bytes find it in the cache. */
void uring_buffers_give(struct uring_reactor *reactor, const struct uring_received *received);

/* For AddressSanitizer, which does not see what the kernel does with memory: fails where memory that
 * the kernel is to read or write, or has, is no one's. Nothing in other builds. */
void uring_memory_check(const void *bytes, size_t length);

#endif
