/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.h - what the backends that meet the kernel do to its sockets alike: setting up,
 * listening, accepting, connecting, sending. Private to net/.
 *
 * Each call here is one system call or a few, and none of them waits (but socket_listen(), which is
 * for the start): when to call, and what to do about EAGAIN, is the backend's.
 *
 * Threads: the reactor's.
 */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include "net/reactor.h"

#include <sys/types.h>

/* ----------------------------------------------------------------- accept */

/*
 * Keeps descriptors back for the process's own files: the kernel hands out the lowest free number,
 * so an accepted socket with a number at the limit says that the rest is in use. It is closed at
 * once, which tells the peer, instead of leaving it in the backlog without an answer.
 */
struct descriptor_reserve {
    int spare; /* a descriptor to give up when there is none left to accept with; -1: none */
    int most;  /* accepted sockets lie below this number */
};

/* False, with errno: there is no descriptor at all. */
bool descriptor_reserve_open(struct descriptor_reserve *reserve);
void descriptor_reserve_close(struct descriptor_reserve *reserve);

enum accept_outcome {
    ACCEPT_GOES_ON, /* taken, or turned away: there may be more */
    ACCEPT_EMPTY,   /* nobody waits */
    ACCEPT_STARVED, /* not even one to turn away: the whole machine is at its limit */
    ACCEPT_FAILED   /* the listener is of no use any more: errno */
};

enum {
    ACCEPTS_PER_TURN = 64 /* then others have their turn */
};

/* After this pause a listener that was ACCEPT_STARVED is looked at again. */
#define ACCEPT_RETRY_NS (100 * 1000 * 1000ULL)

/* Accepts one, and tells `accept` of it. */
enum accept_outcome socket_accept(struct accept_op *accept, struct descriptor_reserve *reserve);

/* ------------------------------------------------------- listen, connect */

/* TCP_NODELAY, keepalive 30/10/3, TCP_USER_TIMEOUT 30 s; nothing on a unix socket. */
void socket_set_up(int socket, int family);

/* As reactor_listen(). */
int socket_listen(const struct address *address, struct address *bound_out);

/* 0: connected at once; -EINPROGRESS: writability will tell; else it has failed. */
int socket_connect(int socket, const struct address *address);

/* What has become of a connect that was in progress: 0, -EINPROGRESS, or what it failed with. */
int socket_connect_outcome(int socket);

/* ------------------------------------------------------------------- send */

/* Sends as much of what is left of `send` as the socket takes in one call, and notes it there. The
 * byte count, or -1 with errno. */
ssize_t socket_send(struct send_op *send);

/* Takes `count` bytes, which were sent, off the front of the ranges. */
void send_advance(struct send_op *send, size_t count);

static inline bool send_is_complete(const struct send_op *send)
{
    return send->file >= 0 ? send->sent == send->file_bytes : send->count == 0;
}

/* What of a file one socket is sent in one turn: longer ones hold the loop. */
enum { SENDFILE_TURN_BYTES_MAX = 512 * 1024 };

/* ------------------------------------------------------------------ clocks */

/* Now by CLOCK_MONOTONIC, and ms since 1970: for a backend's table. */
uint64_t kernel_clock_ns(const struct reactor *reactor);
uint64_t kernel_wall_ms(const struct reactor *reactor);

/* 64 bits that nobody can guess, or at least that differ. */
uint64_t kernel_seed(void);

#endif
