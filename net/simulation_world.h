/* SPDX-License-Identifier: Apache-2.0 */
/*
 * simulation_world.h - what the files of the simulation share. Private to net/.
 *
 * simulation.c has time, events, chance and the history; simulation_network.c the connections and
 * what happens to bytes on their way; reactor_simulated.c the backend that reactors use.
 *
 * Threads: one.
 */
#ifndef NET_SIMULATION_WORLD_H
#define NET_SIMULATION_WORLD_H

#include "net/address.h"
#include "net/reactor_backend.h"
#include "net/simulation.h"

enum { NAME_BYTES = 64 };

/* What happened, for the history. */
enum world_fact {
    FACT_TURN = 1,
    FACT_DELIVERY,
    FACT_ROOM,
    FACT_CONNECT,
    FACT_RESET,
    FACT_AT,
    FACT_NOTE,
    FACT_KILL,
    FACT_LINK
};

/* Something that happens at a moment. Embedded; world_event_init() before its first use. */
struct world_event {
    struct heap_node node;
    void (*run)(struct simulation *simulation, struct world_event *event);
    enum world_fact fact;
    uint32_t number; /* of what it happens to */
};

struct simulation {
    struct simulation_options options;
    struct random random;
    struct heap events; /* by time and, among equals, by chance */
    uint64_t now_ns;
    uint64_t hash;
    struct list reactors; /* struct simulated_reactor */
    uint32_t reactors_count;
    struct list pairs;                 /* struct pair */
    struct list listeners;             /* struct simulated_socket */
    struct simulated_socket **sockets; /* by number, which is never used again */
    int sockets_count;
    int sockets_room;
    uint16_t port_next;
    struct list cuts;  /* struct cut */
    struct list later; /* struct later: simulation_at() */
};

struct simulated_reactor {
    struct reactor common;
    struct simulation *simulation;
    struct list link;
    struct world_event turn;
    uint64_t turn_at_ns;
    struct list ready;   /* struct simulated_socket: to be worked on */
    struct list starved; /* those that lack a buffer */
    char name[NAME_BYTES];
};

/* One direction of a connection. */
struct channel {
    struct pair *pair;
    int from;
    uint8_t *bytes;
    size_t room;
    size_t begin;     /* bytes before it were received */
    size_t arrived;   /* up to here they may be received */
    size_t end;       /* up to here they are under way */
    bool fin;         /* the sender has ended it */
    bool fin_arrived; /* behind the last byte */
    struct world_event delivery;
    struct world_event window; /* the sender learns of room */
};

/* A connection. */
struct pair {
    struct list link;
    struct simulation *simulation;
    struct channel channels[2];
    struct simulated_socket *ends[2]; /* NULL once closed */
    struct world_event resets[2];     /* end i learns of an error */
    int reset_errors[2];
    bool cut; /* its link was cut: nothing arrives any more */
};

struct simulated_socket {
    struct list link; /* in its owner's `ready` or `starved`, or in none */
    struct simulated_reactor *owner;
    int number;
    uint32_t homeless; /* operations whose `done` has not run */
    bool listening;
    struct address address; /* listening: where; connecting: where to */
    struct list backlog;    /* listening: sockets to be accepted */
    struct list in_backlog; /* the link of such a socket, or of a listening one */
    struct accept_op *accept;
    struct connect_op *connect;
    struct world_event connecting;
    bool answered; /* connecting: the next event is the answer */
    struct receive_op *receive;
    struct send_op *send;
    struct pair *pair;
    int side;
    int error; /* the connection has ended badly */
    bool shut;
    bool send_ended;
};

static inline struct simulated_reactor *simulated_reactor_of(struct reactor *reactor)
{
    return CONTAINER_OF(reactor, struct simulated_reactor, common);
}

/* simulation.c */

void world_event_init(struct world_event *event, enum world_fact fact, uint32_t number,
                      void (*run)(struct simulation *simulation, struct world_event *event));
void world_schedule(struct simulation *simulation, struct world_event *event, uint64_t at_ns);
void world_unschedule(struct simulation *simulation, struct world_event *event);
void world_fold(struct simulation *simulation, uint64_t fact);

/* True in `in` of `of` cases. */
bool world_chance(struct simulation *simulation, uint32_t in, uint32_t of);

/* When what is sent now over a link arrives. */
uint64_t world_arrival_ns(struct simulation *simulation);

/* Whether the link between two reactors is up. */
bool world_link_is_up(struct simulation *simulation, const struct simulated_reactor *a,
                      const struct simulated_reactor *b);

/* simulation_network.c */

struct simulated_socket *network_socket_make(struct simulated_reactor *owner);
struct simulated_socket *network_socket(struct simulation *simulation, int number);

/* Has it worked on in its owner's next turn. */
void network_socket_ready(struct simulated_socket *socket);

/* Ends a socket as close() does, or, with `killed`, as the end of its process does. */
void network_socket_close(struct simulated_socket *socket, bool killed);

/* Takes a random part of `bytes`, as far as the window has room. How many were taken. */
size_t network_send(struct simulated_socket *socket, const uint8_t *bytes, size_t length);

/* Bytes that may be received; `end_out`: nothing will follow them. */
size_t network_available(const struct simulated_socket *socket, bool *end_out);
void network_receive(struct simulated_socket *socket, uint8_t *to, size_t length);

/* The socket sends no more: its peer reads the end behind the last byte. */
void network_end_sending(struct simulated_socket *socket);

/* 0, or -EADDRINUSE. */
int network_listen(struct simulated_socket *socket, const struct address *address);
void network_connect(struct simulated_socket *socket, const struct address *address);

/* Ends all connections between processes whose link is down now. */
void network_cut(struct simulation *simulation);
void network_kill(struct simulated_reactor *reactor);
void network_destroy(struct simulation *simulation);

/* reactor_simulated.c */

/* Schedules the turns of reactors that have something to do. */
void simulated_reactors_schedule(struct simulation *simulation);

#endif
