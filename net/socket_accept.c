/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket_accept.c - accepting one connection, and what to do where descriptors run out.
 */

#include "net/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    DESCRIPTORS_KEPT = 64 /* for the process's own files: segments, indexes, snapshots, logs */
};

/* Accepted sockets may use all descriptors but DESCRIPTORS_KEPT, or but a quarter of a few. */
static int descriptors_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT32_MAX) {
        return INT32_MAX;
    }
    int most = (int)limit.rlim_cur;
    int kept = most / 4 < DESCRIPTORS_KEPT ? most / 4 : DESCRIPTORS_KEPT;
    return most - kept;
}

static int open_spare(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

bool descriptor_reserve_open(struct descriptor_reserve *reserve)
{
    reserve->most = descriptors_limit();
    reserve->spare = open_spare();
    return reserve->spare >= 0;
}

void descriptor_reserve_close(struct descriptor_reserve *reserve)
{
    if (reserve->spare >= 0) {
        (void)close(reserve->spare);
        reserve->spare = -1;
    }
}

static int accept_one(const struct accept_op *accept)
{
    return accept4(accept->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

/* There was no descriptor to accept with: gives up the spare one to turn a peer away. */
static bool refuse_one(struct accept_op *accept, struct descriptor_reserve *reserve)
{
    descriptor_reserve_close(reserve);
    int socket = accept_one(accept);
    if (socket >= 0) {
        (void)close(socket);
        accept->refused++;
    }
    reserve->spare = open_spare();
    return socket >= 0;
}

/* Errors of the connection that was to be accepted, not of the listener: the next one may do. */
static bool is_peers_error(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == ENETDOWN ||
           error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET || error == EHOSTUNREACH ||
           error == EOPNOTSUPP || error == ENETUNREACH || error == ETIMEDOUT || error == EPERM;
}

enum accept_outcome socket_accept(struct accept_op *accept, struct descriptor_reserve *reserve)
{
    int socket = accept_one(accept);
    if (socket >= reserve->most) {
        (void)close(socket);
        accept->refused++;
        return ACCEPT_GOES_ON;
    }
    if (socket >= 0) {
        accept->accepted(accept, socket);
        return ACCEPT_GOES_ON;
    }
    if (errno == EAGAIN) {
        return ACCEPT_EMPTY;
    }
    if (is_peers_error(errno)) {
        return ACCEPT_GOES_ON;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        return refuse_one(accept, reserve) ? ACCEPT_GOES_ON : ACCEPT_STARVED;
    }
    return ACCEPT_FAILED;
}
