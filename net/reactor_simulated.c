/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_simulated.c - the simulated backend: the reactor's contract over a simulated network.
 *
 * It uses the freedom that the contract leaves: `prefer` is honored or not, sends and receives
 * come in random parts, a turn begins a random moment after there is something to do.
 */

#include "net/address.h"
#include "net/buffer.h"
#include "net/reactor.h"
#include "net/simulation.h"
#include "net/simulation_world.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUFFERS_BYTES_MAX = 64 * 1024 * 1024,
    TURN_DELAY_NS_MOST = 20 * 1000, /* what waking up and the turns of others may cost */
    PREFER_IGNORED_IN_8 = 3
};

/* ------------------------------------------------------------------ turns */

static void run_turn(struct simulation *simulation, struct world_event *event)
{
    struct simulated_reactor *reactor = CONTAINER_OF(event, struct simulated_reactor, turn);
    struct reactor *common = &reactor->common;
    common->now_ns = simulation->now_ns;
    common->wall_ms = common->backend->wall_ms(common);
    atomic_store(&common->attention, ATTENTION_AWAKE);
    reactor_turn(common);
    int awake = ATTENTION_AWAKE;
    /* Poked in its turn, it stays so: that asks for the next one. */
    atomic_compare_exchange_strong(&common->attention, &awake, ATTENTION_SLEEPING);
}

static void schedule_turn(struct simulated_reactor *reactor)
{
    struct simulation *simulation = reactor->simulation;
    struct reactor *common = &reactor->common;
    uint64_t at_ns = reactor_next_timer_ns(common);
    bool now = atomic_load(&common->attention) == ATTENTION_POKED || reactor_has_work(common);
    if (now) {
        at_ns = simulation->now_ns + random_below(&simulation->random, TURN_DELAY_NS_MOST);
    }
    if (at_ns == UINT64_MAX) {
        world_unschedule(simulation, &reactor->turn);
    } else if (!heap_node_is_in(&reactor->turn.node) || reactor->turn_at_ns > at_ns ||
               (!now && reactor->turn_at_ns != at_ns)) {
        world_schedule(simulation, &reactor->turn, at_ns);
        reactor->turn_at_ns = at_ns;
    }
}

void simulated_reactors_schedule(struct simulation *simulation)
{
    LIST_FOREACH (link, &simulation->reactors) {
        struct simulated_reactor *reactor = CONTAINER_OF(link, struct simulated_reactor, link);
        if (!reactor->common.killed) {
            schedule_turn(reactor);
        }
    }
}

/* A simulated reactor never waits and is never roused: its simulation looks at all of them. */
static void simulated_wait(struct reactor *reactor, int64_t wait_ns)
{
    (void)reactor;
    (void)wait_ns;
    UNREACHABLE("a simulated reactor is run by its simulation");
}

static void simulated_rouse(struct reactor *reactor)
{
    (void)reactor;
}

static const struct simulation *simulation_of(const struct reactor *common)
{
    return CONTAINER_OF(common, const struct simulated_reactor, common)->simulation;
}

static uint64_t simulated_clock_ns(const struct reactor *common)
{
    return simulation_of(common)->now_ns;
}

static uint64_t simulated_wall_ms(const struct reactor *common)
{
    const struct simulation *simulation = simulation_of(common);
    return simulation->options.wall_ms + simulation->now_ns / 1000000;
}

/* -------------------------------------------------------------- operations */

static struct simulated_socket *socket_at(struct reactor *common, int number)
{
    struct simulated_socket *socket =
        network_socket(simulated_reactor_of(common)->simulation, number);
    ASSERT(socket != NULL);
    return socket;
}

/* A socket belongs to the reactor that last started something on it. */
static struct simulated_socket *begin(struct reactor *common, int number)
{
    struct simulated_socket *socket = socket_at(common, number);
    if (socket->owner != simulated_reactor_of(common)) {
        ASSERT(socket->homeless == 0);
        list_remove(&socket->link);
        socket->owner = simulated_reactor_of(common);
    }
    socket->homeless++;
    network_socket_ready(socket);
    return socket;
}

static void accept_some(struct simulated_reactor *reactor, struct simulated_socket *listener)
{
    struct list *link;
    while (listener->accept != NULL && (link = list_take_first(&listener->backlog)) != NULL) {
        struct simulated_socket *socket = CONTAINER_OF(link, struct simulated_socket, in_backlog);
        listener->accept->accepted(listener->accept, socket->number);
        if (reactor->common.killed) {
            return;
        }
    }
}

static void send_finish(struct simulated_socket *socket, int64_t result)
{
    struct send_op *send = socket->send;
    socket->send = NULL;
    reactor_finish(&socket->owner->common, &send->op, result);
}

static void send_some(struct simulated_socket *socket)
{
    struct send_op *send = socket->send;
    if (socket->error != 0 || socket->shut || socket->send_ended) {
        send_finish(socket, socket->error != 0 ? -socket->error : -EPIPE);
        return;
    }
    while (send->count > 0) {
        struct iovec *range = send->iov;
        size_t taken = network_send(socket, range->iov_base, range->iov_len);
        send->sent += taken;
        if (taken < range->iov_len) {
            range->iov_base = (char *)range->iov_base + taken;
            range->iov_len -= taken;
            return; /* the channel's window opens again by an event */
        }
        send->iov++;
        send->count--;
    }
    send_finish(socket, (int64_t)send->sent);
}

static void receive_finish(struct simulated_socket *socket, int64_t result)
{
    struct receive_op *receive = socket->receive;
    socket->receive = NULL;
    reactor_finish(&socket->owner->common, &receive->op, result);
}

/* Receives `length` bytes at the most. False where the reactor was killed or has no buffer. */
static bool receive_once(struct simulated_reactor *reactor, struct simulated_socket *socket,
                         size_t *length)
{
    struct receive_op *receive = socket->receive;
    struct buffer *buffer = NULL;
    uint8_t *at = receive->prefer;
    size_t room = receive->prefer_bytes;
    if (at == NULL || world_chance(reactor->simulation, PREFER_IGNORED_IN_8, 8)) {
        buffer = reactor_lend(&reactor->common);
        if (buffer != NULL) {
            at = buffer->bytes + buffer->used;
            room = buffer->capacity - buffer->used;
        }
    }
    if (at == NULL) {
        list_append(&reactor->starved, &socket->link);
        return false;
    }
    *length = *length < room ? *length : room;
    network_receive(socket, at, *length);
    reactor->common.counters.receives++;
    if (buffer != NULL) {
        buffer->used += (uint32_t)*length;
    }
    receive->received(receive, buffer, at, *length);
    return !reactor->common.killed;
}

static void receive_some(struct simulated_reactor *reactor, struct simulated_socket *socket)
{
    size_t left = TURN_BYTES_MAX;
    while (socket->receive != NULL) {
        if (socket->shut) {
            receive_finish(socket, 0);
            return;
        }
        if (socket->receive->paused) {
            return;
        }
        bool ended = false;
        size_t length = network_available(socket, &ended);
        if (length == 0) {
            if (socket->error != 0) {
                receive_finish(socket, -socket->error);
            } else if (ended) {
                receive_finish(socket, 0);
            }
            return;
        }
        if (left == 0) {
            network_socket_ready(socket);
            return;
        }
        length = length < left ? length : left;
        if (!receive_once(reactor, socket, &length)) {
            return;
        }
        left -= length;
    }
}

static void simulated_complete(struct reactor *common)
{
    struct simulated_reactor *reactor = simulated_reactor_of(common);
    struct list working;
    list_init(&working);
    list_move_all(&working, &reactor->ready);
    struct list *link;
    while ((link = list_take_first(&working)) != NULL) {
        struct simulated_socket *socket = CONTAINER_OF(link, struct simulated_socket, link);
        accept_some(reactor, socket);
        if (!common->killed && socket->send != NULL) {
            send_some(socket);
        }
        if (!common->killed && socket->receive != NULL) {
            receive_some(reactor, socket);
        }
        if (common->killed) {
            return; /* all its sockets are gone, those in `working` too */
        }
    }
}

static bool simulated_is_busy(const struct reactor *common)
{
    const struct simulated_reactor *reactor =
        CONTAINER_OF(common, const struct simulated_reactor, common);
    return !list_is_empty(&reactor->ready);
}

static void simulated_buffers_home(struct reactor *common)
{
    struct simulated_reactor *reactor = simulated_reactor_of(common);
    list_move_all(&reactor->ready, &reactor->starved);
}

static void simulated_operation_home(struct reactor *common, struct op *op)
{
    int number = -1;
    if (op->kind == OP_ACCEPT) {
        number = CONTAINER_OF(op, struct accept_op, op)->listener;
    } else if (op->kind == OP_RECEIVE) {
        number = CONTAINER_OF(op, struct receive_op, op)->socket;
    } else if (op->kind == OP_SEND) {
        number = CONTAINER_OF(op, struct send_op, op)->socket;
    } else {
        return;
    }
    struct simulated_socket *socket = socket_at(common, number);
    ASSERT(socket->homeless > 0);
    socket->homeless--;
}

static int simulated_listen(struct reactor *common, const struct address *address,
                            struct address *bound_out)
{
    struct simulated_socket *socket = network_socket_make(simulated_reactor_of(common));
    int error = network_listen(socket, address);
    if (error != 0) {
        network_socket_close(socket, false);
        return error;
    }
    if (bound_out != NULL) {
        *bound_out = socket->address;
    }
    return socket->number;
}

static void simulated_accept(struct reactor *common, struct accept_op *accept)
{
    struct simulated_socket *socket = begin(common, accept->listener);
    ASSERT(socket->listening && socket->accept == NULL);
    socket->accept = accept;
}

static void simulated_receive(struct reactor *common, struct receive_op *receive)
{
    struct simulated_socket *socket = begin(common, receive->socket);
    ASSERT(socket->pair != NULL && socket->receive == NULL);
    socket->receive = receive;
}

static void simulated_receive_resume(struct reactor *common, struct receive_op *receive)
{
    network_socket_ready(socket_at(common, receive->socket));
}

static void simulated_send(struct reactor *common, struct send_op *send)
{
    ASSERT(send->file < 0); /* a simulated disk has no files that a kernel could send */
    struct simulated_socket *socket = begin(common, send->socket);
    ASSERT(socket->pair != NULL && socket->send == NULL);
    socket->send = send;
}

static void connect_timed_out(struct timer *timer)
{
    struct connect_op *connect = CONTAINER_OF(timer, struct connect_op, timer);
    network_socket_close(socket_at(connect->reactor, connect->socket), false);
    connect->socket = -1;
    reactor_finish(connect->reactor, &connect->op, -ETIMEDOUT);
}

static void simulated_connect(struct reactor *common, struct connect_op *connect,
                              const struct address *address, uint32_t timeout_ms)
{
    struct simulated_socket *socket = network_socket_make(simulated_reactor_of(common));
    socket->connect = connect;
    connect->socket = socket->number;
    connect->reactor = common;
    connect->timer.fired = connect_timed_out;
    timer_start(common, &connect->timer,
                simulated_clock_ns(common) + timeout_ms * UINT64_C(1000000));
    network_connect(socket, address);
}

static void simulated_cancel(struct reactor *common, struct op *op)
{
    if (op->kind == OP_CONNECT) {
        struct connect_op *connect = CONTAINER_OF(op, struct connect_op, op);
        timer_stop(common, &connect->timer);
        network_socket_close(socket_at(common, connect->socket), false);
        connect->socket = -1;
    } else if (op->kind == OP_ACCEPT) {
        socket_at(common, CONTAINER_OF(op, struct accept_op, op)->listener)->accept = NULL;
    } else if (op->kind == OP_RECEIVE) {
        socket_at(common, CONTAINER_OF(op, struct receive_op, op)->socket)->receive = NULL;
    } else {
        ASSERT(op->kind == OP_SEND);
        socket_at(common, CONTAINER_OF(op, struct send_op, op)->socket)->send = NULL;
    }
    reactor_finish(common, op, -ECANCELED);
}

static void simulated_shutdown(struct reactor *common, int number, bool send_only)
{
    struct simulated_socket *socket = socket_at(common, number);
    network_end_sending(socket);
    if (!send_only) {
        socket->shut = true;
    }
    network_socket_ready(socket);
}

static void simulated_close(struct reactor *common, int number)
{
    struct simulated_socket *socket = socket_at(common, number);
    ASSERT(socket->homeless == 0);
    network_socket_close(socket, false);
}

/* -------------------------------------------------------------------- life */

static void simulated_destroy(struct reactor *common)
{
    struct simulated_reactor *reactor = simulated_reactor_of(common);
    struct simulation *simulation = reactor->simulation;
    if (!common->killed) {
        world_unschedule(simulation, &reactor->turn);
        network_kill(reactor); /* sockets that nobody closed: the process has ended */
    }
    list_remove(&reactor->link);
    reactor_deinit(common);
    free(reactor);
}

static const struct reactor_backend simulated_backend = {
    .destroy = simulated_destroy,
    .clock_ns = simulated_clock_ns,
    .wall_ms = simulated_wall_ms,
    .wait = simulated_wait,
    .rouse = simulated_rouse,
    .complete = simulated_complete,
    .is_busy = simulated_is_busy,
    .buffers_home = simulated_buffers_home,
    .operation_home = simulated_operation_home,
    .listen = simulated_listen,
    .accept = simulated_accept,
    .receive = simulated_receive,
    .receive_resume = simulated_receive_resume,
    .send = simulated_send,
    .connect = simulated_connect,
    .cancel = simulated_cancel,
    .shutdown = simulated_shutdown,
    .close = simulated_close,
};

struct reactor *reactor_create_simulated(struct simulation *simulation, const char *name)
{
    ASSERT(strlen(name) < NAME_BYTES);
    struct simulated_reactor *reactor =
        aligned_alloc(alignof(struct simulated_reactor), sizeof(*reactor));
    ASSERT(reactor != NULL);
    memset(reactor, 0, sizeof(*reactor));
    reactor->simulation = simulation;
    memcpy(reactor->name, name, strlen(name));
    list_init(&reactor->link);
    list_init(&reactor->ready);
    list_init(&reactor->starved);
    world_event_init(&reactor->turn, FACT_TURN, simulation->reactors_count++, run_turn);
    list_append(&simulation->reactors, &reactor->link);
    reactor_init(&reactor->common, &simulated_backend, REACTOR_SIMULATED, BUFFERS_BYTES_MAX,
                 random_next(&simulation->random));
    atomic_store(&reactor->common.attention, ATTENTION_SLEEPING);
    reactor->common.now_ns = simulation->now_ns;
    reactor->common.wall_ms = simulated_wall_ms(&reactor->common);
    return &reactor->common;
}
