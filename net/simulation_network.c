/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simulation_network.c - simulated connections: bytes under way, windows, ends, resets, cuts.
 *
 * A connection is two channels. Bytes that were sent are under way until a delivery, an event of
 * its own, moves a random number of them to where they can be received; order is kept because a
 * channel has one delivery at a time.
 */

#include "net/simulation_world.h"
#include "proto/base/contract.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum {
    SHORT_SENDS_IN_8 = 2, /* sends that take less than there is room for */
    SPLIT_DELIVERIES_IN_8 = 5,
    CHANNEL_BYTES_LEAST = 4096
};

/* A partition is noticed by TCP_USER_TIMEOUT or keepalive: after 30 to 60 s. */
#define CUT_NOTICED_NS UINT64_C(30000000000)

/* ---------------------------------------------------------------- sockets */

struct simulated_socket *network_socket(struct simulation *simulation, int number)
{
    return number >= 0 && number < simulation->sockets_count ? simulation->sockets[number] : NULL;
}

struct simulated_socket *network_socket_make(struct simulated_reactor *owner)
{
    struct simulation *simulation = owner->simulation;
    if (simulation->sockets_count == simulation->sockets_room) {
        simulation->sockets_room =
            simulation->sockets_room == 0 ? 64 : simulation->sockets_room * 2;
        simulation->sockets = realloc(simulation->sockets, (size_t)simulation->sockets_room *
                                                               sizeof(struct simulated_socket *));
        ASSERT(simulation->sockets != NULL);
    }
    struct simulated_socket *socket = calloc(1, sizeof(*socket));
    ASSERT(socket != NULL);
    list_init(&socket->link);
    list_init(&socket->backlog);
    list_init(&socket->in_backlog);
    heap_node_init(&socket->connecting.node);
    socket->owner = owner;
    socket->number = simulation->sockets_count++;
    simulation->sockets[socket->number] = socket;
    return socket;
}

void network_socket_ready(struct simulated_socket *socket)
{
    if (list_is_empty(&socket->link)) {
        list_append(&socket->owner->ready, &socket->link);
    }
}

/* --------------------------------------------------------------- channels */

static struct channel *channel_out(const struct simulated_socket *socket)
{
    return &socket->pair->channels[socket->side];
}

static struct channel *channel_in(const struct simulated_socket *socket)
{
    return &socket->pair->channels[1 - socket->side];
}

static void drop_under_way(struct channel *channel)
{
    channel->end = channel->arrived;
}

static void schedule_delivery(struct channel *channel)
{
    struct simulation *simulation = channel->pair->simulation;
    if (!heap_node_is_in(&channel->delivery.node)) {
        world_schedule(simulation, &channel->delivery, world_arrival_ns(simulation));
    }
}

/* End `side` learns of `error` after a while; what is on its way to it is lost. */
static void schedule_reset(struct pair *pair, int side, int error, uint64_t at_ns)
{
    if (pair->ends[side] != NULL && pair->reset_errors[side] == 0) {
        pair->reset_errors[side] = error;
        world_schedule(pair->simulation, &pair->resets[side], at_ns);
    }
}

static void reset_arrives(struct simulation *simulation, struct world_event *event)
{
    int side = (int)(event->number & 1);
    struct pair *pair = CONTAINER_OF(event - side, struct pair, resets[0]);
    struct simulated_socket *socket = pair->ends[side];
    if (socket == NULL) {
        return;
    }
    socket->error = pair->reset_errors[side];
    struct channel *in = channel_in(socket);
    drop_under_way(in);
    if (world_chance(simulation, 1, 2)) {
        in->arrived = in->begin; /* what was not read yet may be lost as well */
        in->end = in->begin;
    }
    network_socket_ready(socket);
}

static void fold_bytes(struct simulation *simulation, const uint8_t *bytes, size_t length)
{
    uint64_t sum = length;
    size_t at = 0;
    for (; at + sizeof(uint64_t) <= length; at += sizeof(uint64_t)) {
        sum = (sum ^ load_u64(bytes + at)) * UINT64_C(0x9e3779b97f4a7c15);
        sum ^= sum >> 32;
    }
    for (; at < length; at++) {
        sum = (sum ^ bytes[at]) * 31;
    }
    world_fold(simulation, sum);
}

/* How many of the bytes under way arrive now. */
static size_t delivery_length(struct simulation *simulation, size_t under_way)
{
    if (under_way > 1 && world_chance(simulation, SPLIT_DELIVERIES_IN_8, 8)) {
        return 1 + (size_t)random_below(&simulation->random, under_way - 1);
    }
    return under_way;
}

static void delivery_arrives(struct simulation *simulation, struct world_event *event)
{
    struct channel *channel = CONTAINER_OF(event, struct channel, delivery);
    struct pair *pair = channel->pair;
    struct simulated_socket *to = pair->ends[1 - channel->from];
    if (pair->cut) {
        drop_under_way(channel);
        return;
    }
    if (world_chance(simulation, simulation->options.reset_per_million, 1000000)) {
        schedule_reset(pair, 0, ECONNRESET, simulation->now_ns);
        schedule_reset(pair, 1, ECONNRESET, simulation->now_ns);
    }
    size_t length = delivery_length(simulation, channel->end - channel->arrived);
    /* A channel that never carried a byte has none to point into. */
    const uint8_t *bytes = length > 0 ? channel->bytes + channel->arrived : NULL;
    fold_bytes(simulation, bytes, length);
    if (to == NULL || to->shut) {
        /* Nobody reads there any more: the sender is told so. */
        bool was_anything = length > 0;
        drop_under_way(channel);
        if (was_anything) {
            schedule_reset(pair, channel->from, ECONNRESET, world_arrival_ns(simulation));
        }
        return;
    }
    channel->arrived += length;
    if (channel->arrived < channel->end) {
        schedule_delivery(channel);
    } else {
        channel->fin_arrived = channel->fin;
    }
    network_socket_ready(to);
}

static void window_opens(struct simulation *simulation, struct world_event *event)
{
    (void)simulation;
    struct channel *channel = CONTAINER_OF(event, struct channel, window);
    struct simulated_socket *sender = channel->pair->ends[channel->from];
    if (sender != NULL && sender->send != NULL) {
        network_socket_ready(sender);
    }
}

static void channel_reserve(struct channel *channel, size_t length)
{
    if (channel->room - channel->end >= length) {
        return;
    }
    size_t kept = channel->end - channel->begin;
    if (channel->begin > 0) {
        memmove(channel->bytes, channel->bytes + channel->begin, kept);
        channel->arrived -= channel->begin;
        channel->end = kept;
        channel->begin = 0;
    }
    while (channel->room - channel->end < length) {
        channel->room = channel->room == 0 ? CHANNEL_BYTES_LEAST : channel->room * 2;
        channel->bytes = realloc(channel->bytes, channel->room);
        ASSERT(channel->bytes != NULL);
    }
}

size_t network_send(struct simulated_socket *socket, const uint8_t *bytes, size_t length)
{
    struct channel *channel = channel_out(socket);
    struct simulation *simulation = channel->pair->simulation;
    size_t used = channel->end - channel->begin;
    size_t window = simulation->options.window_bytes;
    size_t taken = used >= window ? 0 : window - used;
    taken = taken < length ? taken : length;
    if (taken > 1 && world_chance(simulation, SHORT_SENDS_IN_8, 8)) {
        taken = 1 + (size_t)random_below(&simulation->random, taken - 1);
        world_schedule(simulation, &channel->window, world_arrival_ns(simulation));
    }
    if (taken > 0) {
        channel_reserve(channel, taken);
        memcpy(channel->bytes + channel->end, bytes, taken);
        channel->end += taken;
        schedule_delivery(channel);
    }
    return taken;
}

size_t network_available(const struct simulated_socket *socket, bool *end_out)
{
    const struct channel *channel = channel_in(socket);
    *end_out = channel->fin_arrived;
    return channel->arrived - channel->begin;
}

void network_receive(struct simulated_socket *socket, uint8_t *to, size_t length)
{
    struct channel *channel = channel_in(socket);
    memcpy(to, channel->bytes + channel->begin, length);
    channel->begin += length;
    struct simulation *simulation = channel->pair->simulation;
    if (!heap_node_is_in(&channel->window.node)) {
        world_schedule(simulation, &channel->window, world_arrival_ns(simulation));
    }
}

void network_end_sending(struct simulated_socket *socket)
{
    if (!socket->send_ended && socket->pair != NULL) {
        socket->send_ended = true;
        channel_out(socket)->fin = true;
        schedule_delivery(channel_out(socket));
    }
}

/* ------------------------------------------------------------------ pairs */

static struct pair *pair_make(struct simulated_socket *client, struct simulated_socket *server)
{
    struct simulation *simulation = client->owner->simulation;
    struct pair *pair = calloc(1, sizeof(*pair));
    ASSERT(pair != NULL);
    pair->simulation = simulation;
    list_init(&pair->link);
    list_append(&simulation->pairs, &pair->link);
    pair->ends[0] = client;
    pair->ends[1] = server;
    for (int side = 0; side < 2; side++) {
        struct channel *channel = &pair->channels[side];
        uint32_t number = (uint32_t)pair->ends[side]->number;
        channel->pair = pair;
        channel->from = side;
        world_event_init(&channel->delivery, FACT_DELIVERY, number, delivery_arrives);
        world_event_init(&channel->window, FACT_ROOM, number, window_opens);
        world_event_init(&pair->resets[side], FACT_RESET, number << 1 | (uint32_t)side,
                         reset_arrives);
        pair->ends[side]->pair = pair;
        pair->ends[side]->side = side;
    }
    return pair;
}

static void pair_free(struct pair *pair)
{
    for (int side = 0; side < 2; side++) {
        world_unschedule(pair->simulation, &pair->channels[side].delivery);
        world_unschedule(pair->simulation, &pair->channels[side].window);
        world_unschedule(pair->simulation, &pair->resets[side]);
        free(pair->channels[side].bytes);
    }
    list_remove(&pair->link);
    free(pair);
}

/* Socket `side` is gone. */
static void pair_leave(struct pair *pair, int side, bool killed)
{
    struct simulation *simulation = pair->simulation;
    struct simulated_socket *socket = pair->ends[side];
    const struct channel *in = &pair->channels[1 - side];
    struct channel *out = &pair->channels[side];
    bool unread = in->arrived > in->begin;
    if (killed || unread) {
        /* A reset: what is still under way may or may not come before it. */
        if (world_chance(simulation, 1, 2)) {
            drop_under_way(out);
        }
        schedule_reset(pair, 1 - side, ECONNRESET, world_arrival_ns(simulation));
    } else {
        network_end_sending(socket);
    }
    pair->ends[side] = NULL;
    if (pair->ends[1 - side] == NULL) {
        pair_free(pair);
    }
}

void network_socket_close(struct simulated_socket *socket, bool killed)
{
    struct simulation *simulation = socket->owner->simulation;
    struct list *link;
    while ((link = list_take_first(&socket->backlog)) != NULL) {
        network_socket_close(CONTAINER_OF(link, struct simulated_socket, in_backlog), true);
    }
    world_unschedule(simulation, &socket->connecting);
    if (socket->pair != NULL) {
        pair_leave(socket->pair, socket->side, killed);
    }
    list_remove(&socket->link);
    list_remove(&socket->in_backlog);
    simulation->sockets[socket->number] = NULL;
    free(socket);
}

/* ------------------------------------------------------- listen and connect */

/* Whether who listens on `listening` is reached at `wanted`. */
static bool address_answers(const struct address *listening, const struct address *wanted)
{
    if (strcmp(listening->text, wanted->text) == 0) {
        return true;
    }
    return address_is_wildcard(listening) && address_port(listening) != 0 &&
           address_port(listening) == address_port(wanted);
}

static struct simulated_socket *find_listener(struct simulation *simulation,
                                              const struct address *address)
{
    LIST_FOREACH (link, &simulation->listeners) {
        struct simulated_socket *socket = CONTAINER_OF(link, struct simulated_socket, in_backlog);
        if (address_answers(&socket->address, address)) {
            return socket;
        }
    }
    return NULL;
}

int network_listen(struct simulated_socket *socket, const struct address *address)
{
    struct simulation *simulation = socket->owner->simulation;
    socket->address = *address;
    if (address->socket.ss_family != AF_UNIX && address_port(address) == 0) {
        address_set_port(&socket->address, simulation->port_next++);
    }
    if (find_listener(simulation, &socket->address) != NULL) {
        return -EADDRINUSE;
    }
    socket->listening = true;
    list_append(&simulation->listeners, &socket->in_backlog);
    return 0;
}

/* The first event of a connect finds the listener, the second brings its answer back. */
static void connect_arrives(struct simulation *simulation, struct world_event *event)
{
    struct simulated_socket *client = CONTAINER_OF(event, struct simulated_socket, connecting);
    if (client->answered) {
        struct connect_op *connect = client->connect;
        struct reactor *reactor = &client->owner->common;
        client->connect = NULL;
        timer_stop(reactor, &connect->timer);
        if (client->pair == NULL) {
            connect->socket = -1;
            network_socket_close(client, false);
            reactor_finish(reactor, &connect->op, -ECONNREFUSED);
            return;
        }
        reactor_finish(reactor, &connect->op, client->number);
        return;
    }
    struct simulated_socket *listener = find_listener(simulation, &client->address);
    if (listener != NULL && !world_link_is_up(simulation, client->owner, listener->owner)) {
        return; /* nobody answers: the time-out ends it */
    }
    client->answered = true;
    world_schedule(simulation, &client->connecting, world_arrival_ns(simulation));
    if (listener != NULL) {
        struct simulated_socket *server = network_socket_make(listener->owner);
        (void)pair_make(client, server);
        list_append(&listener->backlog, &server->in_backlog);
        network_socket_ready(listener);
    }
}

void network_connect(struct simulated_socket *socket, const struct address *address)
{
    struct simulation *simulation = socket->owner->simulation;
    socket->address = *address;
    world_event_init(&socket->connecting, FACT_CONNECT, (uint32_t)socket->number, connect_arrives);
    world_schedule(simulation, &socket->connecting, world_arrival_ns(simulation));
}

/* ------------------------------------------------------------ cuts and kills */

void network_cut(struct simulation *simulation)
{
    LIST_FOREACH (link, &simulation->pairs) {
        struct pair *pair = CONTAINER_OF(link, struct pair, link);
        if (pair->cut || pair->ends[0] == NULL || pair->ends[1] == NULL ||
            world_link_is_up(simulation, pair->ends[0]->owner, pair->ends[1]->owner)) {
            continue;
        }
        pair->cut = true;
        for (int side = 0; side < 2; side++) {
            drop_under_way(&pair->channels[side]);
            uint64_t noticed_ns = CUT_NOTICED_NS;
            noticed_ns += random_below(&simulation->random, CUT_NOTICED_NS);
            schedule_reset(pair, side, ETIMEDOUT, simulation->now_ns + noticed_ns);
        }
    }
}

void network_kill(struct simulated_reactor *reactor)
{
    struct simulation *simulation = reactor->simulation;
    for (int i = 0; i < simulation->sockets_count; i++) {
        struct simulated_socket *socket = simulation->sockets[i];
        if (socket != NULL && socket->owner == reactor) {
            network_socket_close(socket, true);
        }
    }
}

void network_destroy(struct simulation *simulation)
{
    for (int i = 0; i < simulation->sockets_count; i++) {
        ASSERT(simulation->sockets[i] == NULL);
    }
    ASSERT(list_is_empty(&simulation->pairs));
    free(simulation->sockets);
}
