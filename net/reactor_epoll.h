/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_epoll.h - what the files of the epoll backend share. Private to net/.
 *
 * A socket is registered once, edge-triggered for both directions, when its first operation
 * starts; ready bits remember the edges. Operations are tried at once in the submitting call
 * where that can end them; what would block waits for an edge.
 */
#ifndef NET_REACTOR_EPOLL_H
#define NET_REACTOR_EPOLL_H

#include "net/reactor_backend.h"
#include "net/socket.h"

enum {
    READY_IN = 1,  /* a receive or an accept may succeed */
    READY_OUT = 2, /* a send may succeed */
    READY_END = 4  /* the peer has sent its last byte, or an error waits: a read will tell */
};

struct epoll_socket {
    struct list link;         /* in `ready` or `working`, or in none */
    struct list starved_link; /* in `starved`, or in none: its send goes on meanwhile */
    struct accept_op *accept;
    struct receive_op *receive;
    struct send_op *send;
    struct connect_op *connect;
    int socket;
    uint32_t homeless; /* operations whose `done` has not run */
    uint8_t ready;
    bool shut; /* reactor_shutdown() */
};

struct epoll_reactor {
    struct reactor common;
    int epoll;
    int wake; /* an eventfd, edge-triggered: it need never be read */
    struct descriptor_reserve descriptors;
    int sockets_max;
    struct timer accept_retry;
    bool coarse_wait;              /* the kernel refuses epoll_pwait2 */
    struct epoll_socket **sockets; /* by descriptor */
    struct list ready;             /* struct epoll_socket: to be worked on */
    struct list working;           /* those of them that this turn works on */
    struct list starved;           /* receivers that lack a buffer */
};

static inline struct epoll_reactor *epoll_reactor_of(struct reactor *reactor)
{
    return CONTAINER_OF(reactor, struct epoll_reactor, common);
}

/* The socket's entry, made and registered if there is none; NULL with errno if that fails. */
struct epoll_socket *epoll_socket_open(struct epoll_reactor *reactor, int socket);

/* The socket's entry, or NULL. */
struct epoll_socket *epoll_socket_find(struct epoll_reactor *reactor, int socket);

/* Has the socket worked on in the next turn (or in this one, if it is not over yet). */
void epoll_socket_again(struct epoll_reactor *reactor, struct epoll_socket *socket);

/* Each tries what its operation can do now, and finishes it where it ends. */
void epoll_accept_some(struct epoll_reactor *reactor, struct epoll_socket *socket);
void epoll_receive_some(struct epoll_reactor *reactor, struct epoll_socket *socket);
void epoll_send_some(struct epoll_reactor *reactor, struct epoll_socket *socket);
void epoll_connect_some(struct epoll_reactor *reactor, struct epoll_socket *socket);

/* Looks again at listeners that had no descriptor at all to accept with. */
void epoll_accept_retry(struct timer *timer);

/* Operations of the backend's table that have a file of their own. */
void epoll_connect(struct reactor *reactor, struct connect_op *connect,
                   const struct address *address, uint32_t timeout_ms);
void epoll_connect_cancel(struct epoll_reactor *reactor, struct connect_op *connect,
                          int64_t result);

#endif
