/* SPDX-License-Identifier: Apache-2.0 */
/*
 * push_consumer.c - a member of a group whose messages are worked on by threads.
 *
 *     loop's thread: ternmq_receive() ---> todo ---> workers: message() ---> done ---> ternmq_settle()
 *
 * The client and the member are the loop's thread's alone. What both sides touch - todo, done and the
 * counts - lies under one lock, which nobody holds while he works or waits for the network. A worker that
 * adds the first verdict wakes the loop.
 *
 * Memory:  todo, what is worked on, and done are together at most the member's credit.
 * Threads: see ternmq_groups.h.
 */
#include "proto/base/contract.h"
#include "tools/client/client.h"
#include "tools/client/fault.h"
#include "tools/client/member.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum {
    WORKERS_MAX = 256,
    /* Handed to the workers at a time. */
    HAND_OUT_MAX = 64
};

struct done_message {
    uint64_t receipt;
    struct ternmq_settlement settlement; /* its reason is `reason`, or NULL */
    char reason[REASON_BYTES_MAX + 1];
};

struct ternmq_push_consumer {
    struct ternmq *client;
    struct ternmq_member *member;
    ternmq_message_fn *message;
    void (*failing)(void *context, const struct ternmq_error *error);
    void *context;

    pthread_t loop;
    pthread_t workers[WORKERS_MAX];
    uint32_t worker_count;

    pthread_mutex_t lock; /* from here on */
    pthread_cond_t came;  /* to the workers: todo has grown, or they shall end */
    struct ternmq_received *todo;
    uint32_t capacity; /* of todo and of done: the credit */
    uint32_t todo_first;
    uint32_t todo_count;
    struct done_message *done;
    uint32_t done_count;
    uint32_t running;
    bool closing;
    bool ending; /* the workers shall end */
    uint64_t called;
    uint64_t acked;
    uint64_t lost;

    struct done_message *taken; /* the loop's: what it settles now */
    int64_t close_wait_ms;
    int close_code;
    struct ternmq_error close_error;
};

/* -------------------------------------------------------------------------- workers */

/* Keeps what a callback gave. A reason that is too long is cut between two characters. */
static void keep_settlement(struct done_message *done, const struct ternmq_settlement *settlement)
{
    done->settlement = *settlement;
    done->settlement.reason = NULL;
    if (settlement->reason != NULL) {
        size_t length = strnlen(settlement->reason, REASON_BYTES_MAX + 1);
        if (length > REASON_BYTES_MAX) {
            length = REASON_BYTES_MAX;
            while (length > 0 && ((uint8_t)settlement->reason[length] & 0xc0) == 0x80) {
                length--;
            }
        }
        memcpy(done->reason, settlement->reason, length);
        done->settlement.reason = done->reason;
    }
}

/* Works on the first of todo. The lock is held, but for the time of the callback. */
static void work_on_one(struct ternmq_push_consumer *consumer)
{
    struct ternmq_received received = consumer->todo[consumer->todo_first];
    consumer->todo_first = (consumer->todo_first + 1) % consumer->capacity;
    consumer->todo_count--;
    consumer->running++;
    pthread_mutex_unlock(&consumer->lock);

    struct ternmq_settlement settlement = consumer->message(consumer->context, &received);
    struct done_message done = {.receipt = received.receipt};
    keep_settlement(&done, &settlement);

    pthread_mutex_lock(&consumer->lock);
    ASSERT(consumer->done_count < consumer->capacity);
    struct done_message *place = &consumer->done[consumer->done_count++];
    *place = done;
    consumer->running--;
    consumer->called++;
    consumer->acked += settlement.verdict == TERNMQ_ACK;
    if (consumer->done_count == 1 || consumer->closing) {
        /* Under the lock: a loop that sees that nobody is running may be gone right after. */
        ternmq_interrupt(consumer->client);
    }
}

static void *worker_run(void *context)
{
    struct ternmq_push_consumer *consumer = context;
    pthread_mutex_lock(&consumer->lock);
    while (!consumer->ending) {
        if (consumer->todo_count > 0 && !consumer->closing) {
            work_on_one(consumer);
        } else {
            pthread_cond_wait(&consumer->came, &consumer->lock);
        }
    }
    pthread_mutex_unlock(&consumer->lock);
    return NULL;
}

/* -------------------------------------------------------------------------- the loop */

static void tell_failing(struct ternmq_push_consumer *consumer, const struct ternmq_error *error)
{
    if (consumer->failing != NULL) {
        consumer->failing(consumer->context, error);
    }
}

/* A verdict was not taken. */
static void on_lost(void *context, const char *topic, uint32_t queue, uint64_t offset,
                    const struct ternmq_error *why)
{
    (void)topic;
    (void)queue;
    (void)offset;
    struct ternmq_push_consumer *consumer = context;
    pthread_mutex_lock(&consumer->lock);
    consumer->lost++;
    pthread_mutex_unlock(&consumer->lock);
    tell_failing(consumer, why);
}

static void settle_one(struct ternmq_push_consumer *consumer, struct done_message *done)
{
    struct ternmq_error error;
    if (done->settlement.reason != NULL) {
        done->settlement.reason = done->reason; /* it was copied */
    }
    int code = ternmq_settle(consumer->member, &done->receipt, 1, &done->settlement, &error);
    if (code == TERNMQ_OK) {
        return;
    }
    /* A settlement that is none, such as a reason that is no text: the message is tried again. */
    tell_failing(consumer, &error);
    const struct ternmq_settlement retry = {.verdict = TERNMQ_RETRY,
                                            .reason = "its worker gave no valid settlement"};
    if (code == TERNMQ_USAGE) {
        (void)ternmq_settle(consumer->member, &done->receipt, 1, &retry, NULL);
    } /* else: no memory; it comes again when its lease is over */
}

/* Settles what the workers have done. True while one of them is running. */
static bool settle_done(struct ternmq_push_consumer *consumer)
{
    pthread_mutex_lock(&consumer->lock);
    struct done_message *done = consumer->done;
    uint32_t count = consumer->done_count;
    bool is_running = consumer->running > 0;
    consumer->done = consumer->taken;
    consumer->done_count = 0;
    pthread_mutex_unlock(&consumer->lock);
    consumer->taken = done;
    for (uint32_t i = 0; i < count; i++) {
        settle_one(consumer, &done[i]);
    }
    return is_running;
}

static void hand_out(struct ternmq_push_consumer *consumer, const struct ternmq_received *received,
                     size_t count)
{
    pthread_mutex_lock(&consumer->lock);
    for (size_t i = 0; i < count; i++) {
        ASSERT(consumer->todo_count < consumer->capacity);
        uint32_t place = (consumer->todo_first + consumer->todo_count) % consumer->capacity;
        consumer->todo[place] = received[i];
        consumer->todo_count++;
    }
    if (count == 1) {
        pthread_cond_signal(&consumer->came);
    } else {
        pthread_cond_broadcast(&consumer->came);
    }
    pthread_mutex_unlock(&consumer->lock);
}

static void receive_some(struct ternmq_push_consumer *consumer)
{
    struct ternmq_received received[HAND_OUT_MAX];
    struct ternmq_error error;
    size_t count = 0;
    int code = ternmq_receive(consumer->member, -1, received, HAND_OUT_MAX, &count, &error);
    switch (code) {
    case TERNMQ_OK:
        hand_out(consumer, received, count);
        break;
    case TERNMQ_INTERRUPTED:
        break;
    case TERNMQ_NOTHING: /* all the credit is with the workers */
        (void)ternmq_poll(consumer->client, -1);
        break;
    default:
        tell_failing(consumer, &error);
        if (consumer->member->last_word.code != TERNMQ_OK) {
            (void)ternmq_poll(consumer->client, -1); /* what is in hand is worked on to the end */
        }
        break;
    }
}

static bool is_closing(struct ternmq_push_consumer *consumer)
{
    pthread_mutex_lock(&consumer->lock);
    bool closing = consumer->closing;
    pthread_mutex_unlock(&consumer->lock);
    return closing;
}

/* Gives back what no worker has begun. */
static void release_todo(struct ternmq_push_consumer *consumer)
{
    const struct ternmq_settlement release = {.verdict = TERNMQ_RELEASE};
    pthread_mutex_lock(&consumer->lock);
    while (consumer->todo_count > 0) {
        uint64_t receipt = consumer->todo[consumer->todo_first].receipt;
        consumer->todo_first = (consumer->todo_first + 1) % consumer->capacity;
        consumer->todo_count--;
        (void)ternmq_settle(consumer->member, &receipt, 1, &release, NULL);
    }
    pthread_mutex_unlock(&consumer->lock);
}

static void *loop_run(void *context)
{
    struct ternmq_push_consumer *consumer = context;
    while (!is_closing(consumer)) {
        (void)settle_done(consumer);
        receive_some(consumer);
    }
    release_todo(consumer);
    member_leave(consumer->member);
    /* Verdicts are settled, and leases kept, until the last callback has returned. */
    while (settle_done(consumer)) {
        (void)ternmq_poll(consumer->client, -1);
    }
    (void)client_take_interrupt(consumer->client); /* of the workers */
    consumer->close_code =
        ternmq_member_close(consumer->member, consumer->close_wait_ms, &consumer->close_error);
    ternmq_close(consumer->client);
    return NULL;
}

/* -------------------------------------------------------------------------- life */

static bool check_options(const struct ternmq_push_options *options, struct ternmq_error *error_out)
{
    const char *wrong = options->message == NULL              ? "message: is needed"
                        : options->workers > WORKERS_MAX      ? "workers: at most 256"
                        : options->member.credit > CREDIT_MAX ? "credit: at most 65,535"
                                                              : NULL;
    if (wrong != NULL) {
        fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO, "%s", wrong);
    }
    return wrong == NULL;
}

static void push_free(struct ternmq_push_consumer *consumer)
{
    pthread_mutex_destroy(&consumer->lock);
    pthread_cond_destroy(&consumer->came);
    free(consumer->todo);
    free(consumer->done);
    free(consumer->taken);
    free(consumer);
}

static struct ternmq_push_consumer *push_make(const struct ternmq_push_options *options,
                                              uint32_t credit)
{
    struct ternmq_push_consumer *consumer = calloc(1, sizeof(*consumer));
    if (consumer == NULL) {
        return NULL;
    }
    pthread_mutex_init(&consumer->lock, NULL);
    pthread_cond_init(&consumer->came, NULL);
    consumer->message = options->message;
    consumer->failing = options->failing;
    consumer->context = options->context;
    consumer->capacity = credit;
    consumer->todo = calloc(credit, sizeof(*consumer->todo));
    consumer->done = calloc(credit, sizeof(*consumer->done));
    consumer->taken = calloc(credit, sizeof(*consumer->taken));
    if (consumer->todo == NULL || consumer->done == NULL || consumer->taken == NULL) {
        push_free(consumer);
        return NULL;
    }
    return consumer;
}

static void end_workers(struct ternmq_push_consumer *consumer)
{
    pthread_mutex_lock(&consumer->lock);
    consumer->ending = true;
    pthread_cond_broadcast(&consumer->came);
    pthread_mutex_unlock(&consumer->lock);
    for (uint32_t i = 0; i < consumer->worker_count; i++) {
        pthread_join(consumer->workers[i], NULL);
    }
}

/* Starts the threads, deaf to signals: those are for the program. False: none of them runs. */
static bool start_threads(struct ternmq_push_consumer *consumer, uint32_t workers)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    bool started = true;
    while (started && consumer->worker_count < workers) {
        started = pthread_create(&consumer->workers[consumer->worker_count], NULL, worker_run,
                                 consumer) == 0;
        consumer->worker_count += started;
    }
    started = started && pthread_create(&consumer->loop, NULL, loop_run, consumer) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!started) {
        end_workers(consumer);
    }
    return started;
}

static struct ternmq_member *open_member(struct ternmq_push_consumer *consumer,
                                         struct ternmq_member_options options,
                                         struct ternmq_error *error_out)
{
    options.credit = consumer->capacity;
    options.keep_leases = true;
    options.ready = NULL;
    options.lost = on_lost;
    options.context = consumer;
    return ternmq_member_open(consumer->client, &options, error_out);
}

TERNMQ_API struct ternmq_push_consumer *ternmq_push_consumer_open(
    const struct ternmq_options *client_options, const struct ternmq_push_options *options,
    struct ternmq_error *error_out)
{
    if (!check_options(options, error_out)) {
        return NULL;
    }
    uint32_t workers = options->workers == 0 ? 1 : options->workers;
    uint32_t credit = options->member.credit == 0 ? 2 * workers : options->member.credit;
    struct ternmq_push_consumer *consumer = push_make(options, credit);
    if (consumer == NULL) {
        fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a push consumer");
        return NULL;
    }
    consumer->client = ternmq_open(client_options, error_out);
    consumer->member =
        consumer->client == NULL ? NULL : open_member(consumer, options->member, error_out);
    if (consumer->member == NULL) {
        ternmq_close(consumer->client);
        push_free(consumer);
        return NULL;
    }
    if (!start_threads(consumer, workers)) {
        fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "the system gives no threads");
        ternmq_close(consumer->client);
        push_free(consumer);
        return NULL;
    }
    return consumer;
}

static bool is_own_thread(const struct ternmq_push_consumer *consumer)
{
    bool is_own = pthread_equal(pthread_self(), consumer->loop) != 0;
    for (uint32_t i = 0; i < consumer->worker_count; i++) {
        is_own = is_own || pthread_equal(pthread_self(), consumer->workers[i]) != 0;
    }
    return is_own;
}

TERNMQ_API int ternmq_push_consumer_close(struct ternmq_push_consumer *consumer, int64_t wait_ms,
                                          struct ternmq_error *error_out)
{
    if (consumer == NULL) {
        return TERNMQ_OK;
    }
    if (is_own_thread(consumer)) {
        return fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO,
                         "a callback must not close its push consumer");
    }
    pthread_mutex_lock(&consumer->lock);
    consumer->close_wait_ms = wait_ms;
    consumer->closing = true;
    ternmq_interrupt(consumer->client);
    pthread_mutex_unlock(&consumer->lock);
    pthread_join(consumer->loop, NULL);
    end_workers(consumer);
    int code = consumer->close_code;
    if (code != TERNMQ_OK) {
        fault_give(&consumer->close_error, error_out);
    }
    push_free(consumer);
    return code;
}

TERNMQ_API void ternmq_push_consumer_counts(struct ternmq_push_consumer *consumer,
                                            uint64_t *called_out, uint64_t *acked_out,
                                            uint64_t *lost_out)
{
    pthread_mutex_lock(&consumer->lock);
    if (called_out != NULL) {
        *called_out = consumer->called;
    }
    if (acked_out != NULL) {
        *acked_out = consumer->acked;
    }
    if (lost_out != NULL) {
        *lost_out = consumer->lost;
    }
    pthread_mutex_unlock(&consumer->lock);
}
