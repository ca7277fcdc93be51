/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connection.c - the life of a connection: how it opens, falls silent, finishes and closes.
 *
 * Closing is a join: the socket is shut down, the operations in flight come home, and then, from
 * the loop, the socket is closed and the owner is told.
 */

#include "net/connection.h"

#include "net/connection_turn.h"
#include "proto/base/contract.h"

enum { FINISH_MS = 5000, LINGER_MS = 200 };

#define NS_PER_MS 1000000ULL

/* ------------------------------------------------------------------ ending */

void connection_know_end(struct connection *connection, enum connection_end end, int error)
{
    if (!connection->end_known) {
        connection->end_known = true;
        connection->end = end;
        connection->error = error;
    }
}

static void end_of_life(struct connection *connection)
{
    timer_stop(connection->reactor, &connection->timer);
    connection_input_drop(connection);
    connection_output_drop(connection);
    list_remove(&connection->wanted);
    reactor_close(connection->reactor, connection->socket);
    connection->socket = -1;
    connection->state = CONNECTION_CLOSED;
    connection->events->closed(connection, connection->end, connection->error);
}

/* The join: a closing connection is closed when its operations are home. From the loop only. */
static void join(struct connection *connection)
{
    if (connection->state == CONNECTION_CLOSING && !connection->receive.op.in_flight &&
        !connection->send.op.in_flight) {
        end_of_life(connection);
    }
}

static void start_closing(struct connection *connection)
{
    connection->state = CONNECTION_CLOSING;
    connection->receive.prefer = NULL;
    list_remove(&connection->dirty);
    if (connection->receive.op.in_flight || connection->send.op.in_flight) {
        reactor_shutdown(connection->reactor, connection->socket);
    }
    /* Asks for a turn in any case: where nothing is in flight nobody else would end it. */
    list_remove(&connection->wanted);
    list_append(&connection->turn->wanted, &connection->wanted);
}

void connection_close(struct connection *connection)
{
    ASSERT(connection->state != CONNECTION_NEW);
    if (connection->state == CONNECTION_CLOSING || connection->state == CONNECTION_CLOSED) {
        return;
    }
    connection_know_end(connection, CONNECTION_END_OWNER, 0);
    start_closing(connection);
}

static void restart_timer(struct connection *connection, uint64_t from_ns, uint64_t wait_ms)
{
    timer_start(connection->reactor, &connection->timer, from_ns + wait_ms * NS_PER_MS);
}

/* All is sent: the peer is told, and has a moment to end its side, too. Closing at once while its
 * bytes are still coming in would reset the connection, and the reset could destroy what was sent
 * and not yet read. */
static void linger(struct connection *connection)
{
    if (!connection->receive.op.in_flight) {
        start_closing(connection);
        return;
    }
    reactor_shutdown_send(connection->reactor, connection->socket);
    restart_timer(connection, reactor_now_ns(connection->reactor), LINGER_MS);
}

void connection_finish(struct connection *connection)
{
    if (connection->state != CONNECTION_OPEN) {
        return;
    }
    connection_know_end(connection, CONNECTION_END_OWNER, 0);
    connection->state = CONNECTION_ENDING;
    list_remove(&connection->wanted);
    connection_input_drop(connection);
    /* What still comes in is read and dropped, so that the peer's end is seen. */
    if (connection->receive.op.in_flight) {
        reactor_receive_resume(connection->reactor, &connection->receive);
    }
    if (connection->unsent_bytes == 0) {
        linger(connection);
    } else {
        restart_timer(connection, reactor_now_ns(connection->reactor), FINISH_MS);
    }
}

static void timer_fired(struct timer *timer)
{
    struct connection *connection = CONTAINER_OF(timer, struct connection, timer);
    if (connection->state == CONNECTION_ENDING) {
        start_closing(connection);
        return;
    }
    if (connection->state != CONNECTION_OPEN) {
        return;
    }
    uint64_t now_ns = reactor_now_ns(connection->reactor);
    /* A connection that the owner paused is not silent; one that takes no answers is. */
    bool exempt = connection->idle_exempt || (connection->paused && connection->unsent_bytes == 0);
    /* A frame that never ends, however many bytes of it come, is silence, too. */
    uint64_t since_ns = connection->part != NULL ? connection->part_ns : connection->active_ns;
    if (exempt) {
        restart_timer(connection, now_ns, connection->idle_ms);
    } else if (now_ns - since_ns < connection->idle_ms * NS_PER_MS) {
        restart_timer(connection, since_ns, connection->idle_ms);
    } else {
        connection_know_end(connection, CONNECTION_END_IDLE, 0);
        start_closing(connection);
    }
}

void connection_go_on(struct connection *connection)
{
    if (connection->state == CONNECTION_CLOSING) {
        join(connection);
    } else {
        connection_input_go_on(connection);
    }
}

/* -------------------------------------------------------------------- life */

static void receive_done(struct op *op, int64_t result)
{
    struct connection *connection = CONTAINER_OF(op, struct connection, receive.op);
    if (connection->state == CONNECTION_ENDING && result == 0 && connection->unsent_bytes > 0) {
        return; /* the peer may still read what it has asked for; it has 5 s */
    }
    if (connection->state == CONNECTION_OPEN || connection->state == CONNECTION_ENDING) {
        connection_know_end(connection, result == 0 ? CONNECTION_END_PEER : CONNECTION_END_ERROR,
                            (int)-result);
        start_closing(connection);
    }
    join(connection);
}

static void send_done(struct op *op, int64_t result)
{
    struct connection *connection = CONTAINER_OF(op, struct connection, send.op);
    connection_output_count(connection);
    if (connection->state == CONNECTION_CLOSING) {
        join(connection);
        return;
    }
    if (result < 0) {
        connection_know_end(connection, CONNECTION_END_ERROR, (int)-result);
        start_closing(connection);
        join(connection);
        return;
    }
    connection->active_ns = reactor_now_ns(connection->reactor);
    connection_output_sent(connection, (size_t)result);
    if (connection->state == CONNECTION_ENDING && connection->unsent_bytes == 0) {
        linger(connection);
    }
}

void connection_open(struct connection *connection, struct reactor *reactor, int socket)
{
    ASSERT(connection->state == CONNECTION_NEW);
    ASSERT(connection->events != NULL && connection->frame_bytes_max > 0);
    connection->reactor = reactor;
    connection->turn = connection_turn_of(reactor);
    connection->socket = socket;
    connection->state = CONNECTION_OPEN;
    connection->end_known = false;
    connection->active_ns = reactor_now_ns(reactor);
    list_init(&connection->dirty);
    list_init(&connection->wanted);
    list_init(&connection->parts);
    framer_init(&connection->framer);
    connection->timer.fired = timer_fired;
    connection->receive.received = connection_input_received;
    connection->receive.op.done = receive_done;
    connection->send.op.done = send_done;
    if (connection->idle_ms > 0) {
        restart_timer(connection, connection->active_ns, connection->idle_ms);
    }
    reactor_receive(reactor, &connection->receive, socket);
}
