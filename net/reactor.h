/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_REACTOR_H
#define NET_REACTOR_H

/*
 * reactor.h - one thread, one loop: sockets, timers, clocks, wake-ups, chance.
 *
 * This is the seam through which every process of TernMQ meets the network and time; the other
 * one is storage/disk.h. Behind it are backends with one behavior: epoll, and a simulated one in
 * which a whole cluster runs in one thread from a seed. The contract is completions, not
 * readiness:
 *
 *   - A caller embeds an operation in its own object, fills in the callbacks and starts it. From
 *     then until `done` has run the reactor (or the kernel) may touch the operation and its
 *     buffers, so they stay where they are.
 *   - `done` runs exactly once for each start, always from the loop, never inside the call that
 *     started, cancelled or closed something. Streams (accept, receive) report many times
 *     through their own callback and then once, finally, through `done`.
 *   - Results are byte counts or descriptors, or a negative errno.
 *   - Ending is a join: reactor_shutdown() makes operations come home early; a socket is closed
 *     when its operations are home.
 *
 * A turn of the loop:
 *
 *   1. wait        until there is something to do, or the next timer
 *   2. begin       hooks of TURN_BEGIN (rings between cores are drained here)
 *   3. complete    accepted, received, done callbacks; timers that are due; posted operations
 *   4. write       hooks of TURN_WRITE (logs write what the turn appended)
 *   5. send        hooks of TURN_SEND (connections send what the turn answered)
 *
 * Completions that steps 4 and 5 cause at once are delivered in the next turn, which then does
 * not wait. The clock is read once a turn.
 *
 * Threads: everything here is for the thread that runs the reactor, except reactor_post(),
 *          reactor_wake() and reactor_stop(). No callback may block.
 */

#include "proto/base/heap.h"
#include "proto/base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct address;
struct buffer;
struct buffer_pool;
struct op;
struct reactor;
struct simulation;

typedef void op_done_fn(struct op *op, int64_t result);

/* What the backend calls an operation; callers do not look. */
enum op_kind { OP_NONE, OP_ACCEPT, OP_RECEIVE, OP_SEND, OP_CONNECT, OP_POST };

/* Embedded in everything that can be in flight. Zero-initialize, set `done`. */
struct op {
    op_done_fn *done;
    struct list link;  /* reactor */
    int64_t result;    /* reactor */
    enum op_kind kind; /* reactor */
    bool in_flight;    /* reactor; read it, do not set it */
};

/* ------------------------------------------------------------------ life */

enum reactor_kind { REACTOR_EPOLL, REACTOR_URING, REACTOR_SIMULATED };

/*
 * Makes an epoll reactor. `buffers_bytes_max` bounds its receive buffers. Returns NULL with
 * errno set where the kernel refuses (descriptors, memory).
 */
struct reactor *reactor_create_epoll(size_t buffers_bytes_max);

/*
 * The same on io_uring (Linux 6.12 on). The first thread that waits in it, by reactor_run() or
 * reactor_run_once(), is the only one that may from then on. A kernel, a container or a limit may
 * refuse it: net/reactor_choice.h falls back to epoll.
 */
struct reactor *reactor_create_uring(size_t buffers_bytes_max);

/* Makes a reactor of a simulated world (net/simulation.h). Never fails. */
struct reactor *reactor_create_simulated(struct simulation *simulation, const char *name);

/* Nothing may be in flight: asserted. */
void reactor_destroy(struct reactor *reactor);

enum reactor_kind reactor_kind(const struct reactor *reactor);

/* "epoll", "io_uring" or "simulated", for people and stats. */
const char *reactor_kind_name(enum reactor_kind kind);

/* Runs turns until reactor_stop(). A simulated reactor is run by its simulation instead. */
void reactor_run(struct reactor *reactor);

/* Runs one turn, waiting at most `wait_ms` for something to do (0: not at all, -1: for ever).
 * For programs that own their thread's time, such as the client library. */
void reactor_run_once(struct reactor *reactor, int64_t wait_ms);

/* Makes reactor_run() return after its turn. Any thread, and signal handlers. */
void reactor_stop(struct reactor *reactor);

/* ---------------------------------------------------------- time, chance */

/* Within a turn the moment at which it began; outside of one, now. */
uint64_t reactor_now_ns(const struct reactor *reactor);  /* monotonic */
uint64_t reactor_now_ms(const struct reactor *reactor);  /* the same, in ms */
uint64_t reactor_wall_ms(const struct reactor *reactor); /* since 1970 */

/* The monotonic clock itself, which goes on within a turn: for who bounds what he does in one. */
uint64_t reactor_clock_ns(const struct reactor *reactor);

uint64_t reactor_random(struct reactor *reactor); /* 64 bits; from the seed if simulated */

/* A moment at which something runs once. Zero-initialize, set `fired`. */
struct timer {
    void (*fired)(struct timer *timer);
    struct heap_node node; /* reactor: its place among all timers, by moment */
    bool started;          /* reactor; read it, do not set it */
};

/* (Re)starts `timer` for the monotonic moment `at_ns`; a moment that has passed fires in the
 * next turn. */
void timer_start(struct reactor *reactor, struct timer *timer, uint64_t at_ns);

/* Stops it, if it was started: `fired` does not run any more. */
void timer_stop(struct reactor *reactor, struct timer *timer);

/* ----------------------------------------------------------------- hooks */

enum turn_phase { TURN_BEGIN, TURN_WRITE, TURN_SEND };

/*
 * Something done once every turn. Hooks of a phase run in the order in which they were added; what
 * connections queued is sent after the last of TURN_SEND. A running hook may remove itself only.
 * `pending`, where not NULL, is asked before the reactor sleeps, after other threads can see that
 * it is about to: true means there is work, do not sleep.
 */
struct turn_hook {
    void (*run)(struct turn_hook *hook);
    bool (*pending)(struct turn_hook *hook);
    struct list link; /* reactor */
};

void reactor_hook_add(struct reactor *reactor, enum turn_phase phase, struct turn_hook *hook);
void reactor_hook_remove(struct reactor *reactor, struct turn_hook *hook);

/* Asks for one more turn without waiting (a hook left work behind on purpose, to be fair). */
void reactor_again(struct reactor *reactor);

/* ---------------------------------------------------------- other threads */

/* Gives `op` to the loop of `reactor`: op->done(op, result) runs there in a coming turn. Any
 * thread. The order of one thread's posts is kept. Bounded by the number of ops that exist. */
void reactor_post(struct reactor *reactor, struct op *op, int64_t result);

/* Ends a wait, costing a system call only if `reactor` sleeps. Any thread. */
void reactor_wake(struct reactor *reactor);

/* --------------------------------------------------------------- sockets */

/* Sockets are named by the backend's descriptor: a file descriptor, or a number in a simulation. */

/*
 * Binds and listens, at once. On success `*bound_out` (may be NULL) is the address with the real
 * port (port 0 lets the kernel choose) and the result is a socket; else a negative errno, after
 * retries for 2 s on EADDRINUSE (a killed predecessor's sockets live on for a moment).
 * A stale unix socket path that nobody listens on is removed first.
 */
int reactor_listen(struct reactor *reactor, const struct address *address,
                   struct address *bound_out);

/* Accepts connections as they come, until cancelled. Sockets are non-blocking, TCP_NODELAY, with
 * keepalive 30/10/3 and TCP_USER_TIMEOUT 30 s. Descriptors are kept back for the process's own
 * files: at their limit a connection is accepted and closed at once and `refused` counted. */
struct accept_op {
    struct op op;
    void (*accepted)(struct accept_op *accept, int socket);
    int listener;     /* reactor */
    uint64_t refused; /* out: connections turned away for want of descriptors */
};
void reactor_accept(struct reactor *reactor, struct accept_op *accept, int listener);

/*
 * Receives bytes as they come, until the peer ends (done(0)), an error or a cancel.
 *
 * `received` gets bytes that lie in a lent `buffer`: they stay while the receiver holds a
 * reference to it (buffer_ref()). `prefer` is a wish: where it is not NULL the backend may put
 * the next bytes there (at most `prefer_bytes`), and reports them with `buffer` NULL and `at` ==
 * prefer: that lets a frame which began in one read go on in place. A backend is free to ignore
 * it, so a receiver handles both. The wish holds until it is changed; it is read at each receive.
 *
 * Paused, nothing is reported and, soon, nothing is read: the peer's window closes.
 */
struct receive_op {
    struct op op;
    void (*received)(struct receive_op *receive, struct buffer *buffer, uint8_t *at, size_t length);
    uint8_t *prefer;
    size_t prefer_bytes;
    int socket;  /* reactor */
    bool paused; /* reactor; read it, do not set it */
};
void reactor_receive(struct reactor *reactor, struct receive_op *receive, int socket);
void reactor_receive_pause(struct reactor *reactor, struct receive_op *receive);
void reactor_receive_resume(struct reactor *reactor, struct receive_op *receive);

/*
 * Sends everything named, then completes with the byte count: either the `count` ranges at `iov`
 * (the array is the reactor's to change until done), or, where `file` >= 0, `file_bytes` bytes of
 * that file from `file_offset`, by sendfile. `more` says that more follows at once (MSG_MORE).
 * One send a socket at a time: asserted.
 */
struct send_op {
    struct op op;
    struct iovec *iov;
    int count;
    bool more;
    int file;
    uint64_t file_offset;
    size_t file_bytes;
    int socket;  /* reactor */
    size_t sent; /* reactor; when done: what was given to the kernel, also where it failed */
};
void reactor_send(struct reactor *reactor, struct send_op *send, int socket);

/* Connects to `address` (copied); completes with a socket set up as for accept, or -errno;
 * gives up with -ETIMEDOUT after `timeout_ms`. */
struct connect_op {
    struct op op;
    int socket;              /* reactor */
    struct timer timer;      /* reactor */
    struct reactor *reactor; /* reactor */
};
void reactor_connect(struct reactor *reactor, struct connect_op *connect,
                     const struct address *address, uint32_t timeout_ms);

/* Asks for an early end: `done` runs with -ECANCELED, unless a result was already on its way. */
void reactor_cancel(struct reactor *reactor, struct op *op);

/* Ends both directions: receives and sends in flight come home soon. */
void reactor_shutdown(struct reactor *reactor, int socket);

/* Ends the sending direction only: the peer reads what was sent, then the end. */
void reactor_shutdown_send(struct reactor *reactor, int socket);

/* Closes a socket that has no operation in flight: asserted. At once, cannot fail. */
void reactor_close(struct reactor *reactor, int socket);

/* The pool that this reactor receives into. */
struct buffer_pool *reactor_buffers(struct reactor *reactor);

/* What the loop has done so far: for stats. */
struct reactor_counters {
    uint64_t turns;
    uint64_t waits;    /* turns that slept */
    uint64_t receives; /* system calls, or their like */
    uint64_t sends;
    uint64_t sendfiles;
    uint64_t wakes;  /* times another thread had to wake it */
    uint64_t stalls; /* turns longer than 5 ms */
    uint64_t stall_ns_max;
};
const struct reactor_counters *reactor_counters(const struct reactor *reactor);

#endif
