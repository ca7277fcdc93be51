/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection_input.c - the frames that come in over a connection.
 *
 * Received bytes are cut into frames where they lie. What is left over at the end, the beginning
 * of a frame, is copied to a buffer of its own (`part`), so that the large buffer it came in is
 * free for the next bytes, of any connection. The rest of that frame is appended, no more than the
 * framer says is missing; a long rest is received straight into the part (`prefer`).
 *
 * Bytes that cannot be worked on now, because the owner paused or because there is no buffer for a
 * part, stay in the buffer that they came in (`held`), and receiving is paused.
 */

#include "net/buffer.h"
#include "net/connection.h"
#include "net/connection_turn.h"
#include "proto/base/contract.h"

#include <string.h>

enum {
    PREFER_BYTES_LEAST = 32 * 1024, /* a shorter rest is not worth a system call of its own */
    PART_GULP_BYTES = 2048, /* appended at a time where the framer knows only the next header */
    PART_GROWTH = 4         /* a part is at most so many times as large as what has come of it */
};

static const char FRAME_TOO_LONG[] = "the frame is too long";

/* The part goes elsewhere; the next one may be urgent. */
static struct buffer *part_take_away(struct connection *connection)
{
    struct buffer *part = connection->part;
    connection->part = NULL;
    connection->part_bytes = 0;
    connection->receive.prefer = NULL;
    if (connection->turn->urgent == connection) {
        connection->turn->urgent = NULL;
    }
    return part;
}

void connection_input_drop(struct connection *connection)
{
    buffer_unref(part_take_away(connection));
    buffer_unref(connection->held);
    connection->held = NULL;
}

static void refuse(struct connection *connection, struct bytes seen, const char *why)
{
    connection_know_end(connection, CONNECTION_END_MALFORMED, 0);
    if (connection->events->malformed != NULL) {
        connection->events->malformed(connection, seen, why);
    }
    connection_finish(connection);
}

/* Refuses a frame that is, or must become, longer than this connection takes. */
static bool is_too_long(struct connection *connection, size_t frame_length, struct bytes seen)
{
    if (frame_length <= connection->frame_bytes_max &&
        frame_length <= buffer_pool_part_bytes_max(reactor_buffers(connection->reactor))) {
        return false;
    }
    refuse(connection, seen, FRAME_TOO_LONG);
    return true;
}

/* How much room a part is to have of which `have` bytes are there and `more` are to come now. */
static size_t part_room(const struct connection *connection, size_t have, size_t more)
{
    size_t most = have * PART_GROWTH;
    most = most > BUFFER_PART_BYTES_FREE ? most : BUFFER_PART_BYTES_FREE;
    size_t wanted = framer_need(&connection->framer);
    wanted = wanted < most ? wanted : most;
    wanted = wanted > 2 * have ? wanted : 2 * have;
    size_t limit = buffer_pool_part_bytes_max(reactor_buffers(connection->reactor));
    wanted = wanted < limit ? wanted : limit;
    return wanted > have + more ? wanted : have + more;
}

static bool may_be_urgent(const struct connection *connection)
{
    return connection->turn->urgent == NULL || connection->turn->urgent == connection;
}

/* Makes room for `more` bytes behind the part. False: there is no buffer for it now. */
static bool part_reserve(struct connection *connection, size_t more)
{
    size_t have = connection->part_bytes;
    if (connection->part->capacity - have >= more) {
        return true;
    }
    size_t wanted = part_room(connection, have, more);
    if (buffer_grow(&connection->part, wanted, false)) {
        return true;
    }
    if (!may_be_urgent(connection) || !buffer_grow(&connection->part, have + more, true)) {
        return false;
    }
    connection->turn->urgent = connection;
    return true;
}

static void part_deliver(struct connection *connection, size_t frame_length)
{
    struct buffer *part = part_take_away(connection);
    part->used = (uint32_t)frame_length;
    connection->events->frame(connection, bytes_make(part->bytes, frame_length), part);
    buffer_unref(part);
}

/*
 * Looks at the part's first `available` bytes. The length of the frame if it is whole (it was
 * delivered), else 0.
 */
static size_t part_look(struct connection *connection, size_t available)
{
    struct bytes seen = bytes_make(connection->part->bytes, available);
    size_t frame_length = 0;
    switch (framer_feed(&connection->framer, seen.data, available, &frame_length)) {
    case FRAMER_WHOLE:
        if (is_too_long(connection, frame_length, seen)) {
            return 0;
        }
        part_deliver(connection, frame_length);
        return frame_length;
    case FRAMER_MORE:
        connection->part_bytes = (uint32_t)available;
        (void)is_too_long(connection, framer_need(&connection->framer), seen);
        return 0;
    case FRAMER_BAD:
        refuse(connection, seen, framer_reason_text(connection->framer.reason));
        return 0;
    }
    return 0;
}

/* Appends to the part. How many of the bytes were used; 0: there is no buffer for them now. */
static size_t part_append(struct connection *connection, const uint8_t *at, size_t length)
{
    size_t before = connection->part_bytes;
    size_t step = framer_need(&connection->framer) - before;
    step = step > PART_GULP_BYTES ? step : PART_GULP_BYTES;
    step = step < length ? step : length;
    if (!part_reserve(connection, step)) {
        return 0;
    }
    memcpy(connection->part->bytes + before, at, step);
    size_t frame_length = part_look(connection, before + step);
    return frame_length == 0 ? step : frame_length - before;
}

/* Keeps the beginning of a frame. False: there is no buffer for it now. */
static bool part_begin(struct connection *connection, const uint8_t *at, size_t length)
{
    struct buffer_pool *pool = reactor_buffers(connection->reactor);
    struct buffer *part = buffer_take_part(pool, part_room(connection, length, 1), false);
    if (part == NULL && may_be_urgent(connection)) {
        part = buffer_take_part(pool, length + 1, true);
        connection->turn->urgent = part == NULL ? NULL : connection;
    }
    if (part == NULL) {
        return false;
    }
    memcpy(part->bytes, at, length);
    connection->part = part;
    connection->part_bytes = (uint32_t)length;
    connection->part_ns = reactor_now_ns(connection->reactor);
    return true;
}

/* Cuts one frame off bytes that begin with one. How many were used; 0: no buffer now. */
static size_t cut(struct connection *connection, struct buffer *buffer, const uint8_t *at,
                  size_t length)
{
    size_t frame_length = 0;
    switch (framer_feed(&connection->framer, at, length, &frame_length)) {
    case FRAMER_WHOLE:
        if (frame_length > connection->frame_bytes_max) {
            refuse(connection, bytes_make(at, length), FRAME_TOO_LONG);
            return length;
        }
        connection->events->frame(connection, bytes_make(at, frame_length), buffer);
        return frame_length;
    case FRAMER_MORE:
        if (is_too_long(connection, framer_need(&connection->framer), bytes_make(at, length))) {
            return length;
        }
        return part_begin(connection, at, length) ? length : 0;
    case FRAMER_BAD:
        refuse(connection, bytes_make(at, length), framer_reason_text(connection->framer.reason));
        return length;
    }
    return length;
}

/* Works on received bytes as far as the owner and the memory allow. How many were used. */
static size_t digest(struct connection *connection, struct buffer *buffer, const uint8_t *at,
                     size_t length)
{
    size_t used = 0;
    while (used < length && connection->state == CONNECTION_OPEN && !connection->paused) {
        size_t step = connection->part == NULL ? cut(connection, buffer, at + used, length - used)
                                               : part_append(connection, at + used, length - used);
        if (step == 0) {
            break;
        }
        used += step;
    }
    return used;
}

/* Lets bytes wait where they lie, and stops receiving: without `paused`, for a buffer. */
static void hold(struct connection *connection, struct buffer *buffer, const uint8_t *at,
                 size_t length)
{
    ASSERT(connection->held == NULL);
    buffer_ref(buffer);
    connection->held = buffer;
    connection->held_begin = (uint32_t)(at - buffer->bytes);
    connection->held_end = connection->held_begin + (uint32_t)length;
    if (connection->receive.op.in_flight) {
        reactor_receive_pause(connection->reactor, &connection->receive);
    }
    if (!connection->paused) {
        list_remove(&connection->wanted);
        list_append(&connection->turn->starved, &connection->wanted);
    }
}

/* Where the next bytes had best go. */
static void set_prefer(struct connection *connection)
{
    struct receive_op *receive = &connection->receive;
    receive->prefer = NULL;
    if (connection->part == NULL || connection->state != CONNECTION_OPEN) {
        return;
    }
    size_t have = connection->part_bytes;
    size_t missing = framer_need(&connection->framer) - have;
    /* An urgent frame must end even if there is no buffer left to be lent. */
    bool is_urgent = connection->turn->urgent == connection;
    size_t least = is_urgent && missing < PREFER_BYTES_LEAST ? missing : PREFER_BYTES_LEAST;
    if (missing < least || !part_reserve(connection, least)) {
        return;
    }
    size_t room = connection->part->capacity - have;
    receive->prefer = connection->part->bytes + have;
    receive->prefer_bytes = missing < room ? missing : room;
}

void connection_input_received(struct receive_op *receive, struct buffer *buffer, uint8_t *at,
                               size_t length)
{
    struct connection *connection = CONTAINER_OF(receive, struct connection, receive);
    connection->active_ns = reactor_now_ns(connection->reactor);
    connection->bytes_in += length;
    if (connection->state != CONNECTION_OPEN) {
        return;
    }
    if (buffer == NULL) {
        /* Never beyond the frame's end: no more was asked for than is missing. */
        (void)part_look(connection, connection->part_bytes + length);
    } else {
        size_t used = digest(connection, buffer, at, length);
        if (used < length && connection->state == CONNECTION_OPEN) {
            hold(connection, buffer, at + used, length - used);
        }
    }
    set_prefer(connection);
}

void connection_input_go_on(struct connection *connection)
{
    struct buffer *buffer = connection->held;
    if (connection->state != CONNECTION_OPEN || connection->paused || buffer == NULL) {
        return;
    }
    const uint8_t *at = buffer->bytes + connection->held_begin;
    size_t length = connection->held_end - connection->held_begin;
    connection->held = NULL;
    size_t used = digest(connection, buffer, at, length);
    if (connection->state == CONNECTION_OPEN) {
        if (used < length) {
            hold(connection, buffer, at + used, length - used);
        } else if (!connection->paused && connection->receive.op.in_flight) {
            set_prefer(connection);
            reactor_receive_resume(connection->reactor, &connection->receive);
        }
    }
    buffer_unref(buffer);
}

void connection_pause(struct connection *connection)
{
    if (connection->state != CONNECTION_OPEN || connection->paused) {
        return;
    }
    connection->paused = true;
    list_remove(&connection->wanted);
    if (connection->receive.op.in_flight) {
        reactor_receive_pause(connection->reactor, &connection->receive);
    }
}

void connection_resume(struct connection *connection)
{
    if (connection->state != CONNECTION_OPEN || !connection->paused) {
        return;
    }
    connection->paused = false;
    connection->active_ns = reactor_now_ns(connection->reactor);
    connection->part_ns = connection->active_ns;
    if (connection->held != NULL) {
        list_append(&connection->turn->wanted, &connection->wanted);
    } else if (connection->receive.op.in_flight) {
        reactor_receive_resume(connection->reactor, &connection->receive);
    }
}
