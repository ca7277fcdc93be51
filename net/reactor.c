/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reactor.c - the turn of the loop, and all of it that does not depend on a backend.
 *
 * Sleeping: before it sleeps a reactor says so (ATTENTION_SLEEPING) and only then looks once more
 * at everything that others may have given it. Who gives publishes first and looks at `attention`
 * afterwards. Both sides use sequentially consistent operations, so that at least one of them sees
 * the other: a wake-up cannot be lost, and costs a system call only where somebody sleeps.
 */

#include "net/reactor.h"

#include "net/buffer.h"
#include "net/reactor_backend.h"
#include "proto/base/contract.h"

#include <sys/prctl.h>

#define STALL_NS (5 * 1000 * 1000ULL) /* a turn that others feel as latency */

enum {
    BUFFERS_IDLE_SHARE = 4 /* a quarter of the bound is kept for reuse */
};

/* ------------------------------------------------------------------ life */

static void buffer_came_home(void *owner)
{
    struct reactor *reactor = owner;
    atomic_store(&reactor->buffer_came_home, true);
    reactor_rouse_sleeper(reactor);
}

void reactor_init(struct reactor *reactor, const struct reactor_backend *backend,
                  enum reactor_kind kind, size_t buffers_bytes_max, uint64_t seed)
{
    reactor->backend = backend;
    reactor->kind = kind;
    heap_init(&reactor->timers);
    for (int phase = 0; phase < TURN_PHASES; phase++) {
        list_init(&reactor->hooks[phase]);
    }
    list_init(&reactor->finished);
    list_init(&reactor->delivering);
    random_init(&reactor->random, seed);
    reactor->buffers = buffer_pool_create(buffers_bytes_max, buffers_bytes_max / BUFFERS_IDLE_SHARE,
                                          buffer_came_home, reactor);
}

void reactor_deinit(struct reactor *reactor)
{
    if (reactor->connections != NULL) {
        reactor->connections_destroy(reactor->connections);
    }
    heap_deinit(&reactor->timers);
    if (reactor->killed) {
        buffer_pool_destroy_killed(reactor->buffers);
        return;
    }
    buffer_unref(reactor->lent);
    buffer_pool_destroy(reactor->buffers);
}

void reactor_destroy(struct reactor *reactor)
{
    if (reactor == NULL) {
        return;
    }
    if (!reactor->killed) {
        ASSERT(list_is_empty(&reactor->finished));
        ASSERT(list_is_empty(&reactor->delivering));
        ASSERT(atomic_load(&reactor->posted) == NULL);
    }
    reactor->backend->destroy(reactor);
}

enum reactor_kind reactor_kind(const struct reactor *reactor)
{
    return reactor->kind;
}

const char *reactor_kind_name(enum reactor_kind kind)
{
    switch (kind) {
    case REACTOR_EPOLL:
        return "epoll";
    case REACTOR_URING:
        return "io_uring";
    case REACTOR_SIMULATED:
        break;
    }
    return "simulated";
}

/* ------------------------------------------------------------- operations */

void reactor_start(struct op *op, enum op_kind kind)
{
    ASSERT(op->done != NULL);
    ASSERT(!op->in_flight);
    op->kind = kind;
    op->in_flight = true;
    op->result = 0;
    list_init(&op->link);
}

void reactor_finish(struct reactor *reactor, struct op *op, int64_t result)
{
    ASSERT(op->in_flight);
    op->result = result;
    list_append(&reactor->finished, &op->link);
}

static void deliver(struct reactor *reactor)
{
    struct list *link;
    while (!reactor->killed && (link = list_take_first(&reactor->delivering)) != NULL) {
        struct op *op = op_of_link(link);
        op->in_flight = false;
        if (op->kind != OP_POST) {
            reactor->backend->operation_home(reactor, op);
        }
        op->done(op, op->result);
    }
}

/* Posts come down from a stack, so the oldest is last: turned round on the way. */
static void take_posts(struct reactor *reactor)
{
    if (atomic_load_explicit(&reactor->posted, memory_order_relaxed) == NULL) {
        return;
    }
    struct op *op = atomic_exchange_explicit(&reactor->posted, NULL, memory_order_acquire);
    while (op != NULL) {
        struct list *below = op->link.next;
        list_prepend(&reactor->delivering, &op->link);
        op = below == NULL ? NULL : op_of_link(below);
    }
}

void reactor_post(struct reactor *reactor, struct op *op, int64_t result)
{
    reactor_start(op, OP_POST);
    op->result = result;
    struct op *top = atomic_load_explicit(&reactor->posted, memory_order_relaxed);
    do {
        op->link.next = top == NULL ? NULL : &top->link;
    } while (!atomic_compare_exchange_weak(&reactor->posted, &top, op));
    reactor_rouse_sleeper(reactor);
}

/* ----------------------------------------------------------------- timers */

void timer_start(struct reactor *reactor, struct timer *timer, uint64_t at_ns)
{
    ASSERT(timer->fired != NULL);
    /* Never in the turn that starts it: a timer that restarts itself would hold the loop. */
    uint64_t key = at_ns > reactor->now_ns ? at_ns : reactor->now_ns + 1;
    if (timer->started) {
        heap_move(&reactor->timers, &timer->node, key);
        return;
    }
    heap_node_init(&timer->node);
    bool there_is_memory = heap_insert(&reactor->timers, &timer->node, key);
    ASSERT(there_is_memory); /* eight bytes a timer: who lacks those cannot go on */
    timer->started = true;
}

void timer_stop(struct reactor *reactor, struct timer *timer)
{
    if (timer->started) {
        heap_remove(&reactor->timers, &timer->node);
        timer->started = false;
    }
}

uint64_t reactor_next_timer_ns(const struct reactor *reactor)
{
    const struct heap_node *least = heap_least(&reactor->timers);
    return least == NULL ? UINT64_MAX : least->key;
}

static void fire_timers(struct reactor *reactor)
{
    while (!reactor->killed && reactor_next_timer_ns(reactor) <= reactor->now_ns) {
        struct heap_node *least = heap_least(&reactor->timers);
        struct timer *timer = CONTAINER_OF(least, struct timer, node);
        heap_remove(&reactor->timers, least);
        timer->started = false;
        timer->fired(timer);
    }
}

/* ------------------------------------------------------------------ hooks */

void reactor_hook_add(struct reactor *reactor, enum turn_phase phase, struct turn_hook *hook)
{
    ASSERT(hook->run != NULL);
    list_init(&hook->link);
    list_append(&reactor->hooks[phase], &hook->link);
}

void reactor_hook_remove(struct reactor *reactor, struct turn_hook *hook)
{
    (void)reactor;
    list_remove(&hook->link);
}

void reactor_again(struct reactor *reactor)
{
    reactor->again = true;
}

static void run_hooks(struct reactor *reactor, enum turn_phase phase)
{
    LIST_FOREACH (link, &reactor->hooks[phase]) {
        if (reactor->killed) {
            return;
        }
        struct turn_hook *hook = CONTAINER_OF(link, struct turn_hook, link);
        hook->run(hook);
    }
}

static bool hooks_have_work(struct reactor *reactor)
{
    for (int phase = 0; phase < TURN_PHASES; phase++) {
        LIST_FOREACH (link, &reactor->hooks[phase]) {
            struct turn_hook *hook = CONTAINER_OF(link, struct turn_hook, link);
            if (hook->pending != NULL && hook->pending(hook)) {
                return true;
            }
        }
    }
    return reactor->last_hook != NULL && reactor->last_hook->pending(reactor->last_hook);
}

/* --------------------------------------------------------------- the turn */

bool reactor_has_work(struct reactor *reactor)
{
    return reactor->again || !list_is_empty(&reactor->finished) ||
           reactor->backend->is_busy(reactor) || atomic_load(&reactor->posted) != NULL ||
           atomic_load(&reactor->buffer_came_home) || hooks_have_work(reactor);
}

void reactor_turn(struct reactor *reactor)
{
    reactor->counters.turns++;
    reactor->in_turn = true;
    reactor->again = false;
    reactor->turn_bytes = 0;
    if (atomic_load_explicit(&reactor->buffer_came_home, memory_order_relaxed)) {
        atomic_store(&reactor->buffer_came_home, false);
        reactor->homecomings++;
        reactor->backend->buffers_home(reactor);
    }
    run_hooks(reactor, TURN_BEGIN);
    if (!reactor->killed) {
        reactor->backend->complete(reactor);
    }
    if (!reactor->killed) {
        list_move_all(&reactor->delivering, &reactor->finished);
    }
    deliver(reactor);
    fire_timers(reactor);
    if (!reactor->killed) {
        take_posts(reactor);
    }
    deliver(reactor);
    run_hooks(reactor, TURN_WRITE);
    run_hooks(reactor, TURN_SEND);
    if (!reactor->killed && reactor->last_hook != NULL) {
        reactor->last_hook->run(reactor->last_hook);
    }
    reactor->in_turn = false;
}

/* How long the world can do without us: 0, -1 for ever, or until the next timer. */
static int64_t sleep_ns(struct reactor *reactor, int64_t wait_ns)
{
    uint64_t timer_ns = reactor_next_timer_ns(reactor);
    if (timer_ns == UINT64_MAX) {
        return wait_ns;
    }
    uint64_t now_ns = reactor->backend->clock_ns(reactor);
    int64_t until_ns = timer_ns > now_ns ? (int64_t)(timer_ns - now_ns) : 0;
    return wait_ns < 0 || until_ns < wait_ns ? until_ns : wait_ns;
}

/* Says that it is about to sleep, then looks once more: see the head of this file. */
static bool may_sleep(struct reactor *reactor)
{
    int awake = ATTENTION_AWAKE;
    return !reactor_has_work(reactor) &&
           atomic_compare_exchange_strong(&reactor->attention, &awake, ATTENTION_SLEEPING) &&
           !reactor_has_work(reactor);
}

/* True if it may have slept: from `asleep_ns` on. */
static bool wait_for_work(struct reactor *reactor, int64_t wait_ns)
{
    bool sleeps = wait_ns != 0 && may_sleep(reactor);
    reactor->asleep_ns = reactor->turn_ended_ns;
    int64_t most_ns = sleeps ? sleep_ns(reactor, wait_ns) : 0;
    reactor->backend->wait(reactor, most_ns);
    /* An exchange, not a store: what a waker published before is seen in this turn. */
    int attention = atomic_exchange(&reactor->attention, ATTENTION_AWAKE);
    reactor->counters.waits += sleeps;
    reactor->counters.wakes += sleeps && attention == ATTENTION_POKED;
    return most_ns != 0;
}

/* What was between two turns is a part of the second, but for a sleep: on io_uring the kernel sends and
 * receives there. (What it still does when the sleep ends is not known apart from it.) */
static void note_turn(struct reactor *reactor, bool slept)
{
    uint64_t ended_ns = reactor->backend->clock_ns(reactor);
    uint64_t took_ns = ended_ns - reactor->now_ns;
    if (reactor->turn_ended_ns != 0) {
        uint64_t until_ns = slept ? reactor->asleep_ns : reactor->now_ns;
        took_ns += until_ns - reactor->turn_ended_ns;
    }
    reactor->turn_ended_ns = ended_ns;
    if (took_ns > STALL_NS) {
        reactor->counters.stalls++;
        if (took_ns > reactor->counters.stall_ns_max) {
            reactor->counters.stall_ns_max = took_ns;
        }
    }
}

static void turn(struct reactor *reactor, int64_t wait_ns)
{
    bool slept = false;
    /* What steps 4 and 5 finished needs no look at the world, which had its look just now. */
    if (reactor->polled && !list_is_empty(&reactor->finished)) {
        reactor->polled = false;
    } else {
        slept = wait_for_work(reactor, wait_ns);
        reactor->polled = true;
    }
    reactor->now_ns = reactor->backend->clock_ns(reactor);
    reactor->wall_ms = reactor->backend->wall_ms(reactor);
    reactor_turn(reactor);
    note_turn(reactor, slept);
}

void reactor_run(struct reactor *reactor)
{
    ASSERT(reactor->kind != REACTOR_SIMULATED);
    /* The kernel may end a sleep 50 us late by default, to save power; timers are finer here.
     * Where it refuses, sleeps are coarser and nothing else changes. */
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    reactor->turn_ended_ns = 0;
    while (!atomic_load_explicit(&reactor->stopping, memory_order_relaxed)) {
        turn(reactor, -1);
    }
    atomic_store(&reactor->stopping, false);
}

void reactor_run_once(struct reactor *reactor, int64_t wait_ms)
{
    ASSERT(reactor->kind != REACTOR_SIMULATED);
    ASSERT(wait_ms <= INT64_MAX / 1000000);
    reactor->turn_ended_ns = 0;
    turn(reactor, wait_ms < 0 ? -1 : wait_ms * 1000000);
}

/* ----------------------------------------------------------- other threads */

void reactor_rouse_sleeper(struct reactor *reactor)
{
    if (atomic_load(&reactor->attention) == ATTENTION_SLEEPING) {
        reactor_wake(reactor);
    }
}

void reactor_wake(struct reactor *reactor)
{
    if (atomic_exchange(&reactor->attention, ATTENTION_POKED) == ATTENTION_SLEEPING) {
        reactor->backend->rouse(reactor);
    }
}

void reactor_stop(struct reactor *reactor)
{
    atomic_store(&reactor->stopping, true);
    reactor_wake(reactor);
}

/* ------------------------------------------------------------ time, chance */

uint64_t reactor_now_ns(const struct reactor *reactor)
{
    return reactor->in_turn ? reactor->now_ns : reactor->backend->clock_ns(reactor);
}

uint64_t reactor_clock_ns(const struct reactor *reactor)
{
    return reactor->backend->clock_ns(reactor);
}

uint64_t reactor_now_ms(const struct reactor *reactor)
{
    return reactor_now_ns(reactor) / 1000000;
}

uint64_t reactor_wall_ms(const struct reactor *reactor)
{
    return reactor->in_turn ? reactor->wall_ms : reactor->backend->wall_ms(reactor);
}

uint64_t reactor_random(struct reactor *reactor)
{
    return random_next(&reactor->random);
}

/* ----------------------------------------------------------------- sockets */

int reactor_listen(struct reactor *reactor, const struct address *address,
                   struct address *bound_out)
{
    return reactor->backend->listen(reactor, address, bound_out);
}

void reactor_accept(struct reactor *reactor, struct accept_op *accept, int listener)
{
    ASSERT(accept->accepted != NULL);
    reactor_start(&accept->op, OP_ACCEPT);
    accept->listener = listener;
    reactor->backend->accept(reactor, accept);
}

void reactor_receive(struct reactor *reactor, struct receive_op *receive, int socket)
{
    ASSERT(receive->received != NULL);
    reactor_start(&receive->op, OP_RECEIVE);
    receive->socket = socket;
    receive->paused = false;
    reactor->backend->receive(reactor, receive);
}

void reactor_receive_pause(struct reactor *reactor, struct receive_op *receive)
{
    (void)reactor; /* backends look at the flag whenever they are about to receive */
    ASSERT(receive->op.in_flight);
    receive->paused = true;
}

void reactor_receive_resume(struct reactor *reactor, struct receive_op *receive)
{
    ASSERT(receive->op.in_flight);
    if (receive->paused) {
        receive->paused = false;
        reactor->backend->receive_resume(reactor, receive);
    }
}

void reactor_send(struct reactor *reactor, struct send_op *send, int socket)
{
    ASSERT(send->file >= 0 || send->count > 0);
    reactor_start(&send->op, OP_SEND);
    send->socket = socket;
    send->sent = 0;
    reactor->counters.sends += send->file < 0;
    reactor->counters.sendfiles += send->file >= 0;
    reactor->backend->send(reactor, send);
}

void reactor_connect(struct reactor *reactor, struct connect_op *connect,
                     const struct address *address, uint32_t timeout_ms)
{
    reactor_start(&connect->op, OP_CONNECT);
    connect->socket = -1;
    reactor->backend->connect(reactor, connect, address, timeout_ms);
}

void reactor_cancel(struct reactor *reactor, struct op *op)
{
    /* In a list it is finished already: its result is on its way. */
    if (op->in_flight && op->kind != OP_POST && list_is_empty(&op->link)) {
        reactor->backend->cancel(reactor, op);
    }
}

void reactor_shutdown(struct reactor *reactor, int socket)
{
    reactor->backend->shutdown(reactor, socket, false);
}

void reactor_shutdown_send(struct reactor *reactor, int socket)
{
    reactor->backend->shutdown(reactor, socket, true);
}

void reactor_close(struct reactor *reactor, int socket)
{
    reactor->backend->close(reactor, socket);
}

struct buffer_pool *reactor_buffers(struct reactor *reactor)
{
    return reactor->buffers;
}

const struct reactor_counters *reactor_counters(const struct reactor *reactor)
{
    return &reactor->counters;
}

struct buffer *reactor_lend(struct reactor *reactor)
{
    struct buffer *buffer = reactor->lent;
    if (buffer != NULL) {
        /* Nobody else has kept anything of it: the same memory again, while it is in the cache. */
        if (atomic_load_explicit(&buffer->references, memory_order_acquire) == 1) {
            buffer->used = 0;
        }
        if (buffer->capacity - buffer->used >= LEND_BYTES_LEAST) {
            return buffer;
        }
        buffer_unref(buffer);
    }
    reactor->lent = buffer_take(reactor->buffers, BUFFER_BYTES);
    return reactor->lent;
}
