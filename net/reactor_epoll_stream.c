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
#include "net/socket.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <sys/socket.h>

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
        if (list_is_empty(&socket->starved_link)) {
            list_append(&reactor->starved, &socket->starved_link);
        }
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
    reactor_note_bytes(&reactor->common, (size_t)count);
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

static void send_some(struct epoll_reactor *reactor, struct epoll_socket *socket)
{
    struct send_op *send = socket->send;
    size_t begun_at = send->sent;
    while (!send_is_complete(send)) {
        if (send->file >= 0 && send->sent - begun_at >= SENDFILE_TURN_BYTES_MAX) {
            epoll_socket_again(reactor, socket);
            return;
        }
        if (socket_send(send) >= 0 || errno == EINTR) {
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

void epoll_send_some(struct epoll_reactor *reactor, struct epoll_socket *socket)
{
    const struct send_op *send = socket->send;
    size_t begun_at = send->sent;
    send_some(reactor, socket);
    reactor_note_bytes(&reactor->common, send->sent - begun_at);
}
