/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor_backend.h - what reactor.c and its backends share. Private to net/.
 *
 * reactor.c owns the turn: clocks, hooks, timers, finished operations, posts, and when to sleep.
 * A backend owns sockets: it starts operations, waits for the world, and finishes operations with
 * reactor_finish(), which delivers `done` from the loop, never at once.
 *
 * Threads: the reactor's, except where said.
 */
#ifndef NET_REACTOR_BACKEND_H
#define NET_REACTOR_BACKEND_H

#include "net/reactor.h"
#include "proto/base/heap.h"
#include "proto/base/random.h"

#include <stdalign.h>
#include <stdatomic.h>

struct connection_turn;

enum {
    TURN_PHASES = 3,
    /* One peer's bytes in one turn: a burst, then the others have theirs. */
    TURN_BYTES_MAX = 256 * 1024,
    /* All peers' bytes in one turn, within one peer's: what is ready beyond waits for the next turn,
     * in its order. Received, checked and written they take about a millisecond, five where each
     * page of the log has to come from a host first. */
    TURN_BYTES_ALL_MAX = 1024 * 1024,
    /* Less room than this in a lent buffer is not worth a system call: the next one is lent. */
    LEND_BYTES_LEAST = 64 * 1024
};

/* Whether another thread has to do something to make this reactor look at its work. */
enum attention {
    ATTENTION_AWAKE,    /* it runs, and will look before it sleeps */
    ATTENTION_SLEEPING, /* it sleeps: rouse it */
    ATTENTION_POKED     /* somebody has asked for one more turn */
};

struct reactor_backend {
    void (*destroy)(struct reactor *reactor);
    uint64_t (*clock_ns)(const struct reactor *reactor); /* now, not of this turn */
    uint64_t (*wall_ms)(const struct reactor *reactor);

    /* Sleeps at most `wait_ns` (0: only looks; -1: for ever) and marks what became ready. What does
     * work before it sleeps says in `asleep_ns` when that was over. */
    void (*wait)(struct reactor *reactor, int64_t wait_ns);
    void (*rouse)(struct reactor *reactor); /* ends the wait; any thread */

    void (*complete)(struct reactor *reactor);      /* works on what is ready */
    bool (*is_busy)(const struct reactor *reactor); /* something is ready and not worked on */
    void (*buffers_home)(struct reactor *reactor);  /* receivers that lacked a buffer go on */
    void (*operation_home)(struct reactor *reactor, struct op *op); /* `done` is about to run */

    int (*listen)(struct reactor *reactor, const struct address *address,
                  struct address *bound_out);
    void (*accept)(struct reactor *reactor, struct accept_op *accept);
    void (*receive)(struct reactor *reactor, struct receive_op *receive);
    void (*receive_resume)(struct reactor *reactor, struct receive_op *receive);
    void (*send)(struct reactor *reactor, struct send_op *send);
    void (*connect)(struct reactor *reactor, struct connect_op *connect,
                    const struct address *address, uint32_t timeout_ms);
    void (*cancel)(struct reactor *reactor, struct op *op);
    void (*shutdown)(struct reactor *reactor, int socket, bool send_only);
    void (*close)(struct reactor *reactor, int socket);
};

struct reactor {
    const struct reactor_backend *backend;
    enum reactor_kind kind;
    bool killed; /* simulated: nothing of it runs any more */
    bool in_turn;
    bool again;             /* one more turn without sleeping */
    uint64_t turn_ended_ns; /* when the last turn of this run ended; 0: this is the first */
    uint64_t asleep_ns;     /* when the last sleep began */
    bool polled;            /* the last turn asked the backend what is ready */
    uint64_t now_ns;
    uint64_t wall_ms;
    struct heap timers;
    struct list hooks[TURN_PHASES];
    struct turn_hook *last_hook; /* after those of TURN_SEND: the connections' */
    struct list finished;        /* struct op: `done` is due in the next turn */
    struct list delivering;      /* struct op: `done` runs in this turn */
    struct random random;
    struct buffer_pool *buffers;
    uint64_t homecomings; /* turns that were told of buffers that came home */
    size_t turn_bytes;    /* received and sent in this turn */
    struct buffer *lent;  /* what is received into now, shared by all sockets */
    struct connection_turn *connections;
    void (*connections_destroy)(struct connection_turn *connections);
    struct reactor_counters counters;

    /* From here on other threads write. */
    alignas(64) _Atomic(struct op *) posted; /* a stack, linked by op.link.next */
    _Atomic int attention;                   /* enum attention */
    atomic_bool stopping;
    atomic_bool buffer_came_home;
};

/* Fills in what all backends have in common. `reactor` is zeroed. */
void reactor_init(struct reactor *reactor, const struct reactor_backend *backend,
                  enum reactor_kind kind, size_t buffers_bytes_max, uint64_t seed);

/* Undoes it, freeing what it owns; the struct itself is the backend's. */
void reactor_deinit(struct reactor *reactor);

/* Runs steps 2 to 5 of a turn: for a simulation, which does the waiting itself. */
void reactor_turn(struct reactor *reactor);

/* True if the next turn has something to do at once; asks hooks and posts. */
bool reactor_has_work(struct reactor *reactor);

/* The moment of the next timer, or UINT64_MAX. */
uint64_t reactor_next_timer_ns(const struct reactor *reactor);

/* Marks an operation as started. */
void reactor_start(struct op *op, enum op_kind kind);

/* Bytes went in or out. */
static inline void reactor_note_bytes(struct reactor *reactor, size_t bytes)
{
    reactor->turn_bytes += bytes;
}

/* No more is begun in this turn. */
static inline bool reactor_turn_is_full(const struct reactor *reactor)
{
    return reactor->turn_bytes >= TURN_BYTES_ALL_MAX;
}

/* Ends `op`: its `done` runs in the next turn, or in this one if called from complete(). */
void reactor_finish(struct reactor *reactor, struct op *op, int64_t result);

/* The buffer to receive into, with at least LEND_BYTES_LEAST of room after `used`, or NULL. */
struct buffer *reactor_lend(struct reactor *reactor);

/* Like reactor_wake(), but cheaper: for callers that have published their work with
 * memory_order_seq_cst in a place that `pending` hooks or the reactor look at. */
void reactor_rouse_sleeper(struct reactor *reactor);

static inline struct op *op_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct op, link);
}

#endif
