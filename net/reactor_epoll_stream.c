/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_epoll_stream.c - receiving and sending on the epoll backend.
 *
 * A receive goes on until the socket is drained or the turn's share is used up. A read that is
 * shorter than the room has drained the socket unless its end is known to be near: the call that
 * would say EAGAIN is left out, because whatever comes later makes a new edge.
 */

#include "net/buffer.h"
#include "net/reactor.h"
#include "net/reactor_epoll.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

enum {
    SENDFILE_BYTES_MAX = 256 * 1024,     /* a call: longer ones hold the loop */
    SENDFILE_TURN_BYTES_MAX = 512 * 1024 /* a socket and a turn */
};

/* ---------------------------------------------------------------- receive */

static void receive_finish(struct epoll_reactor *reactor, struct epoll_socket *socket,
                           int64_t result)
{
    struct receive_op *receive = socket->receive;
    socket->receive = NULL;
    reactor_finish(&reactor->common, &receive->op, result);
}

/* Where the next bytes go. False: there is no buffer, and the socket waits for one. */
static bool receive_room(struct epoll_reactor *reactor, struct epoll_socket *socket,
                         struct buffer **buffer_out, struct iovec *room_out)
{
    struct receive_op *receive = socket->receive;
    if (receive->prefer != NULL) {
        ASSERT(receive->prefer_bytes > 0);
        *buffer_out = NULL;
        *room_out = (struct iovec){receive->prefer, receive->prefer_bytes};
        return true;
    }
    struct buffer *buffer = reactor_lend(&reactor->common);
    if (buffer == NULL) {
        list_remove(&socket->link);
        list_append(&reactor->starved, &socket->link);
        return false;
    }
    *buffer_out = buffer;
    *room_out = (struct iovec){buffer->bytes + buffer->used, buffer->capacity - buffer->used};
    return true;
}

/* One receive. The count of bytes that came, or 0 where it cannot go on now. */
static size_t receive_once(struct epoll_reactor *reactor, struct epoll_socket *socket,
                           size_t bytes_max)
{
    struct buffer *buffer = NULL;
    struct iovec room = {0};
    if (!receive_room(reactor, socket, &buffer, &room)) {
        return 0;
    }
    size_t wanted = room.iov_len < bytes_max ? room.iov_len : bytes_max;
    ssize_t count = recv(socket->socket, room.iov_base, wanted, MSG_DONTWAIT);
    reactor->common.counters.receives++;
    if (count < 0) {
        if (errno == EAGAIN) {
            socket->ready &= (uint8_t)~READY_IN;
        } else if (errno != EINTR) {
            receive_finish(reactor, socket, -errno);
        } else {
            epoll_socket_again(reactor, socket);
        }
        return 0;
    }
    if (count == 0) {
        receive_finish(reactor, socket, 0);
        return 0;
    }
    if ((size_t)count < wanted && (socket->ready & READY_END) == 0) {
        socket->ready &= (uint8_t)~READY_IN;
    }
    if (buffer != NULL) {
        buffer->used += (uint32_t)count;
    }
    struct receive_op *receive = socket->receive;
    receive->received(receive, buffer, room.iov_base, (size_t)count);
    return (size_t)count;
}

void epoll_receive_some(struct epoll_reactor *reactor, struct epoll_socket *socket)
{
    if (socket->shut) {
        receive_finish(reactor, socket, 0);
        return;
    }
    size_t left = TURN_BYTES_MAX;
    /* The callback may have paused or cancelled it; it cannot have closed the socket. */
    while (socket->receive != NULL && !socket->receive->paused && !socket->shut &&
           (socket->ready & READY_IN) != 0) {
        if (left == 0) {
            epoll_socket_again(reactor, socket);
            return;
        }
        size_t count = receive_once(reactor, socket, left);
        if (count == 0) {
            return;
        }
        left -= count;
    }
}

/* ------------------------------------------------------------------- send */

/* sendfile() has no MSG_NOSIGNAL: a process that sends files ignores SIGPIPE, unless it has a
 * handler of its own. */
static void ignore_broken_pipes(void)
{
    static atomic_bool ignored;
    if (!atomic_load_explicit(&ignored, memory_order_relaxed)) {
        struct sigaction now;
        if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL) {
            (void)signal(SIGPIPE, SIG_IGN);
        }
        atomic_store_explicit(&ignored, true, memory_order_relaxed);
    }
}

/* Takes `count` bytes off the front of the ranges. */
static void ranges_advance(struct send_op *send, size_t count)
{
    send->sent += count;
    while (send->count > 0 && count >= send->iov->iov_len) {
        count -= send->iov->iov_len;
        send->iov++;
        send->count--;
    }
    if (send->count > 0) {
        send->iov->iov_base = (char *)send->iov->iov_base + count;
        send->iov->iov_len -= count;
    }
}

/* One system call. The bytes that went, or -1 with errno. */
static ssize_t send_once(struct epoll_socket *socket, struct send_op *send)
{
    if (send->file >= 0) {
        size_t left = send->file_bytes - send->sent;
        off_t offset = (off_t)(send->file_offset + send->sent);
        ssize_t count = sendfile(socket->socket, send->file, &offset,
                                 left < SENDFILE_BYTES_MAX ? left : SENDFILE_BYTES_MAX);
        if (count == 0) {
            errno = EIO; /* the file is shorter than what was named */
            return -1;
        }
        send->sent += count > 0 ? (size_t)count : 0;
        return count;
    }
    ssize_t count;
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (send->more ? MSG_MORE : 0);
    if (send->count == 1) {
        count = sendto(socket->socket, send->iov->iov_base, send->iov->iov_len, flags, NULL, 0);
    } else {
        struct msghdr header = {.msg_iov = send->iov, .msg_iovlen = (size_t)send->count};
        count = sendmsg(socket->socket, &header, flags);
    }
    if (count >= 0) {
        ranges_advance(send, (size_t)count);
    }
    return count;
}

static bool send_is_complete(const struct send_op *send)
{
    return send->file >= 0 ? send->sent == send->file_bytes : send->count == 0;
}

void epoll_send_some(struct epoll_reactor *reactor, struct epoll_socket *socket)
{
    struct send_op *send = socket->send;
    if (send->file >= 0) {
        ignore_broken_pipes();
    }
    size_t begun_at = send->sent;
    while (!send_is_complete(send)) {
        if (send->file >= 0 && send->sent - begun_at >= SENDFILE_TURN_BYTES_MAX) {
            epoll_socket_again(reactor, socket);
            return;
        }
        if (send_once(socket, send) >= 0 || errno == EINTR) {
            continue;
        }
        if (errno == EAGAIN) {
            socket->ready &= (uint8_t)~READY_OUT;
            return;
        }
        socket->send = NULL;
        reactor_finish(&reactor->common, &send->op, -errno);
        return;
    }
    socket->send = NULL;
    reactor_finish(&reactor->common, &send->op, (int64_t)send->sent);
}
