/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_uring_stream.c - receiving and sending on the io_uring backend.
 *
 * A receive is asked for once at a time, so that a pause, or a wish where the next bytes should go,
 * holds from the next one on. What completes all the same while it is paused is kept until it goes
 * on.
 */

#include "net/buffer.h"
#include "net/reactor.h"
#include "net/reactor_uring.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* ---------------------------------------------------------------- receive */

static void receive_finish(struct uring_reactor *reactor, struct uring_socket *socket,
                           int64_t result)
{
    struct receive_op *receive = socket->receive;
    socket->receive = NULL;
    socket->has_ended = false;
    socket->cancelled &= (uint8_t) ~(1U << URING_RECEIVE);
    buffer_unref(socket->kept);
    socket->kept = NULL;
    reactor_finish(&reactor->common, &receive->op, result);
}

/* Keeps what came while the receive is paused: in no more memory than it needs, if there is some. */
static void keep(struct uring_reactor *reactor, struct uring_socket *socket,
                 const struct uring_received *received)
{
    ASSERT(socket->kept == NULL);
    struct buffer *part = buffer_take_part(reactor->common.buffers, received->bytes, false);
    if (part != NULL) {
        memcpy(part->bytes, received->at, received->bytes);
        part->used = received->bytes;
        socket->kept = part;
        socket->kept_at = part->bytes;
    } else {
        buffer_ref(received->buffer);
        socket->kept = received->buffer;
        socket->kept_at = received->at;
    }
    socket->kept_bytes = received->bytes;
}

static void hand_over_kept(struct uring_socket *socket)
{
    struct receive_op *receive = socket->receive;
    struct buffer *buffer = socket->kept;
    socket->kept = NULL;
    receive->received(receive, buffer, socket->kept_at, socket->kept_bytes);
    buffer_unref(buffer);
}

/* Receives into the memory that is preferred. False: it cannot go on now. */
static bool receive_preferred(struct uring_reactor *reactor, struct uring_socket *socket,
                              size_t *left)
{
    struct receive_op *receive = socket->receive;
    ASSERT(receive->prefer_bytes > 0);
    if (*left == 0) {
        uring_socket_again(reactor, socket);
        return false;
    }
    uint8_t *at = receive->prefer;
    size_t wanted = receive->prefer_bytes < *left ? receive->prefer_bytes : *left;
    ssize_t count = recv(socket->socket, at, wanted, MSG_DONTWAIT);
    reactor->common.counters.receives++;
    if (count > 0) {
        *left -= (size_t)count;
        reactor_note_bytes(&reactor->common, (size_t)count);
        receive->received(receive, NULL, at, (size_t)count);
    } else if (count == 0) {
        receive_finish(reactor, socket, 0);
    } else if (errno == EAGAIN) {
        uring_poll(reactor, socket, URING_POLL_IN);
        return false;
    } else if (errno != EINTR) {
        receive_finish(reactor, socket, -errno);
    }
    return true;
}

/* Asks the kernel for the next bytes, in a buffer of its choice. */
static void ask(struct uring_reactor *reactor, struct uring_socket *socket)
{
    if (!uring_buffers_lend(reactor)) {
        if (list_is_empty(&socket->starved_link)) {
            list_append(&reactor->starved, &socket->starved_link);
        }
        return;
    }
    struct io_uring_sqe *request = uring_request(reactor, socket, URING_RECEIVE);
    if (request == NULL) {
        return;
    }
    io_uring_prep_recv(request, socket->socket, NULL, 0, 0);
    request->flags |= IOSQE_BUFFER_SELECT;
    request->buf_group = URING_BUFFER_GROUP;
    /* Nearly always the socket is empty when it was read, so that the kernel need not look. */
    request->ioprio = (uint16_t)(socket->more_waits ? 0U : IORING_RECVSEND_POLL_FIRST);
}

void uring_receive_start(struct uring_reactor *reactor, struct uring_socket *socket)
{
    if (socket->kept != NULL || socket->has_ended || socket->receive->prefer != NULL ||
        socket->shut) {
        uring_socket_again(reactor, socket);
    } else if (!uring_is_in_kernel(socket, URING_RECEIVE) && !socket->receive->paused) {
        ask(reactor, socket);
    }
}

void uring_receive_some(struct uring_reactor *reactor, struct uring_socket *socket)
{
    size_t left = TURN_BYTES_MAX;
    if (uring_is_in_kernel(socket, URING_RECEIVE)) {
        return;
    }
    if (socket->shut) {
        receive_finish(reactor, socket, 0);
        return;
    }
    /* The callback may have paused or cancelled it; it cannot have closed the socket. */
    while (socket->receive != NULL && !socket->receive->paused && !socket->shut) {
        if (socket->kept != NULL) {
            hand_over_kept(socket);
        } else if (socket->has_ended) {
            receive_finish(reactor, socket, socket->end);
        } else if (socket->receive->prefer == NULL) {
            ask(reactor, socket);
            return;
        } else if (!receive_preferred(reactor, socket, &left)) {
            return;
        }
    }
}

/* A receive that brought no bytes: it has ended, or goes on later. */
static void received_nothing(struct uring_reactor *reactor, struct uring_socket *socket, int result)
{
    if (result == -ENOBUFS || result == -EINTR || result == -EAGAIN) {
        /* The buffers that were lent are full: there may be others. */
        socket->more_waits = true;
        uring_socket_again(reactor, socket);
    } else if (socket->receive->paused) {
        socket->has_ended = true;
        socket->end = result;
    } else {
        receive_finish(reactor, socket, result);
    }
}

/* Bytes have come, and are wanted. */
static void received_bytes(struct uring_reactor *reactor, struct uring_socket *socket,
                           const struct uring_received *received)
{
    reactor->common.counters.receives++;
    reactor_note_bytes(&reactor->common, received->bytes);
    if (socket->receive->paused) {
        keep(reactor, socket, received);
        return;
    }
    struct receive_op *receive = socket->receive;
    receive->received(receive, received->buffer, received->at, received->bytes);
}

void uring_received(struct uring_reactor *reactor, struct uring_socket *socket, int result,
                    uint32_t flags)
{
    struct uring_received received = {.buffer = NULL};
    if ((flags & IORING_CQE_F_BUFFER) != 0) {
        received = uring_buffers_take(reactor, flags, result > 0 ? (uint32_t)result : 0);
    }
    socket->more_waits = (flags & IORING_CQE_F_SOCK_NONEMPTY) != 0;
    if ((socket->cancelled & 1U << URING_RECEIVE) != 0) {
        receive_finish(reactor, socket, -ECANCELED);
    } else if (socket->shut) {
        receive_finish(reactor, socket, 0);
    } else if (result > 0) {
        received_bytes(reactor, socket, &received);
    } else {
        received_nothing(reactor, socket, result);
    }
    if (received.buffer != NULL) {
        uring_buffers_give(reactor, &received);
    }
    if (socket->receive != NULL && result > 0) {
        uring_receive_some(reactor, socket);
    }
}

void uring_receive_cancel(struct uring_reactor *reactor, struct uring_socket *socket)
{
    if (!uring_is_in_kernel(socket, URING_RECEIVE)) {
        list_remove(&socket->starved_link);
        uring_cancel_request(reactor, socket, URING_POLL_IN);
        receive_finish(reactor, socket, -ECANCELED);
    } else if ((socket->cancelled & 1U << URING_RECEIVE) == 0) {
        socket->cancelled |= 1U << URING_RECEIVE;
        uring_cancel_request(reactor, socket, URING_RECEIVE);
    }
}

/* ------------------------------------------------------------------- send */

static void send_finish(struct uring_reactor *reactor, struct uring_socket *socket, int64_t result)
{
    struct send_op *send = socket->send;
    socket->send = NULL;
    socket->cancelled &= (uint8_t) ~(1U << URING_SEND);
    reactor_finish(&reactor->common, &send->op, result);
}

/* By system calls, as much as one socket may in a turn. */
static void send_directly(struct uring_reactor *reactor, struct uring_socket *socket)
{
    struct send_op *send = socket->send;
    size_t begun_at = send->sent;
    while (!send_is_complete(send)) {
        if (send->sent - begun_at >= SENDFILE_TURN_BYTES_MAX) {
            uring_socket_again(reactor, socket);
            return;
        }
        if (socket_send(send) >= 0 || errno == EINTR) {
            continue;
        }
        if (errno == EAGAIN) {
            uring_poll(reactor, socket, URING_POLL_OUT);
        } else {
            send_finish(reactor, socket, -errno);
        }
        return;
    }
    send_finish(reactor, socket, (int64_t)send->sent);
}

static void check_ranges(const struct send_op *send)
{
    for (int i = 0; i < send->count; i++) {
        uring_memory_check(send->iov[i].iov_base, send->iov[i].iov_len);
    }
}

/* By the kernel, all of it: MSG_WAITALL has it go on where the socket's buffer is full. */
static void send_by_request(struct uring_reactor *reactor, struct uring_socket *socket)
{
    struct send_op *send = socket->send;
    struct io_uring_sqe *request = uring_request(reactor, socket, URING_SEND);
    if (request == NULL) {
        return;
    }
    check_ranges(send);
    reactor->has_sends = true;
    socket->header = (struct msghdr){.msg_iov = send->iov, .msg_iovlen = (size_t)send->count};
    io_uring_prep_sendmsg(request, socket->socket, &socket->header, MSG_NOSIGNAL | MSG_WAITALL);
}

void uring_send_some(struct uring_reactor *reactor, struct uring_socket *socket)
{
    if (uring_is_in_kernel(socket, URING_SEND) || uring_is_in_kernel(socket, URING_POLL_OUT)) {
        return;
    }
    const struct send_op *send = socket->send;
    if (send->file >= 0 || send->more) {
        /* A part of a file, or what goes right before one. */
        size_t begun_at = send->sent;
        send_directly(reactor, socket);
        reactor_note_bytes(&reactor->common, send->sent - begun_at);
    } else {
        send_by_request(reactor, socket);
    }
}

void uring_sent(struct uring_reactor *reactor, struct uring_socket *socket, int result)
{
    struct send_op *send = socket->send;
    check_ranges(send);
    send_advance(send, result > 0 ? (size_t)result : 0);
    if ((socket->cancelled & 1U << URING_SEND) != 0) {
        send_finish(reactor, socket, -ECANCELED);
    } else if (result < 0 && result != -EINTR && result != -EAGAIN) {
        send_finish(reactor, socket, result);
    } else if (send_is_complete(send)) {
        send_finish(reactor, socket, (int64_t)send->sent);
    } else {
        send_by_request(reactor, socket);
    }
}

void uring_send_cancel(struct uring_reactor *reactor, struct uring_socket *socket)
{
    if (!uring_is_in_kernel(socket, URING_SEND)) {
        uring_cancel_request(reactor, socket, URING_POLL_OUT);
        send_finish(reactor, socket, -ECANCELED);
    } else if ((socket->cancelled & 1U << URING_SEND) == 0) {
        socket->cancelled |= 1U << URING_SEND;
        uring_cancel_request(reactor, socket, URING_SEND);
    }
}
