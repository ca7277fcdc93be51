/* SPDX-License-Identifier: Apache-2.0 */
/* produce.c - a produce call from its arguments to its answer. */
#include "broker/produce.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/produce_messages.h"
#include "broker/queue_choice.h"
#include "broker/session.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_MS UINT64_C(1000000)

/* How soon a time-out is looked at again whose append is not even written: the log waits for its
 * next segment, which is made in some milliseconds. */
#define UNWRITTEN_RETRY_NS (10 * NS_PER_MS)

static struct call *call_of_append(struct append *append)
{
    return CONTAINER_OF(append, struct call, produce.append);
}

/* ------------------------------------------------------------------ answer */

/*
 * [1, msgid, nil, {queue, offset, count, epoch, reached}] in fixed widths, so that answering is a
 * copy and five stores.
 */
static const uint8_t answer_template[] = "\x94\x01\xce\0\0\0\0\xc0\x85"
                                         "\xa5queue\xcd\0\0"
                                         "\xa6offset\xcf\0\0\0\0\0\0\0\0"
                                         "\xa5"
                                         "count\xce\0\0\0\0"
                                         "\xa5"
                                         "epoch\xce\0\0\0\0"
                                         "\xa7reached";

enum {
    ANSWER_MSGID = 3,
    ANSWER_QUEUE = ANSWER_MSGID + 4 + 2 + 6 + 1,
    ANSWER_OFFSET = ANSWER_QUEUE + 2 + 7 + 1,
    ANSWER_COUNT = ANSWER_OFFSET + 8 + 6 + 1,
    ANSWER_EPOCH = ANSWER_COUNT + 4 + 6 + 1,
    ANSWER_REACHED = ANSWER_EPOCH + 4 + 8,
    ANSWER_BYTES_MAX = ANSWER_REACHED + 1 + 6
};

_Static_assert(sizeof(answer_template) - 1 == ANSWER_REACHED, "the places are the template's");

static void answer_ok(struct call *call)
{
    const struct produce_call *produce = &call->produce;
    struct core_counters *counters = &call->home->counters;
    counters->produced_calls++;
    counters->produced_messages += produce->append.count;
    counters->produced_bytes += produce->bytes;
    uint8_t *to = call_answer_reserve(call, ANSWER_BYTES_MAX);
    if (to != NULL) {
        memcpy(to, answer_template, ANSWER_REACHED);
        store_u32(to + ANSWER_MSGID, call->msgid);
        store_u16(to + ANSWER_QUEUE, produce->queue);
        store_u64(to + ANSWER_OFFSET, produce->append.offset);
        store_u32(to + ANSWER_COUNT, produce->append.count);
        store_u32(to + ANSWER_EPOCH, call->home->cores->epoch);
        bool disk = produce->durability == DURABILITY_DISK;
        memcpy(to + ANSWER_REACHED,
               disk ? "\xa4"
                      "disk"
                    : "\xa6memory",
               disk ? 5 : 7);
        call_answer_commit(call, ANSWER_REACHED + (disk ? 5U : 7U));
    }
    call_end(call);
}

static void answer(struct call *call)
{
    struct produce_call *produce = &call->produce;
    if (produce->refusal != NULL) {
        call_refuse(call, produce->refusal);
    } else if (produce->error == OK) {
        answer_ok(call);
    } else if (produce->error == ERROR_NOT_YET_DURABLE) {
        call->home->counters.not_yet_durable++;
        struct refusal refusal;
        refusal_set(&refusal, ERROR_NOT_YET_DURABLE, "%s", error_text(ERROR_NOT_YET_DURABLE));
        refusal_add(&refusal, REFUSAL_QUEUE, produce->queue);
        refusal_add(&refusal, REFUSAL_OFFSET, produce->append.offset);
        call_refuse(call, &refusal);
    } else {
        call_fail(call, produce->error);
    }
}

static struct call *call_of_ordered(struct list *link)
{
    return CONTAINER_OF(link, struct call, produce.ordered);
}

static bool is_of_queue(const struct call *call, uint32_t topic_id, uint16_t queue)
{
    return call->produce.queue == queue && call->produce.topic_id == topic_id;
}

/*
 * The call is home and over. Answers it if it is the oldest of its queue, and then those behind it
 * that were only waiting for that. Nearly always it is the very first of the list.
 */
static void produce_ended(struct call *call, struct core *at)
{
    (void)at;
    struct list *link = &call->produce.ordered;
    uint32_t topic_id = call->produce.topic_id;
    uint16_t queue = call->produce.queue;
    call->produce.ended = true;
    if (list_is_empty(link)) {
        answer(call); /* one-way, or refused before it had a queue */
        return;
    }
    struct list *head = &call->session->produces;
    for (struct list *before = head->next; before != link; before = before->next) {
        if (is_of_queue(call_of_ordered(before), topic_id, queue)) {
            return;
        }
    }
    while (link != head) {
        struct list *next = link->next;
        struct call *candidate = call_of_ordered(link);
        if (is_of_queue(candidate, topic_id, queue)) {
            if (!candidate->produce.ended) {
                return;
            }
            list_remove(link);
            answer(candidate); /* may end the session, if it was its last call: `next` is `head` */
        }
        link = next;
    }
}

void produce_release(struct call *call)
{
    ASSERT(list_is_empty(&call->produce.waiting));
    list_remove(&call->produce.ordered);
    produce_messages_release(call);
    free(call->produce.refusal);
}

/* ------------------------------------------------------- at the shard's core */

static void waiting_end(struct produce_call *produce)
{
    list_remove(&produce->waiting);
    if (produce->timer.started) {
        timer_stop(produce->shard->core->reactor, &produce->timer);
    }
}

/* The append is written, or durable where it waits for that. */
static void produce_done(struct append *append)
{
    struct call *call = call_of_append(append);
    waiting_end(&call->produce);
    call_return(call, call->produce.shard->core, produce_ended);
}

/* The time is over. False: the append is not even written, so it cannot be left alone yet. */
static bool produce_time_out(struct call *call)
{
    struct produce_call *produce = &call->produce;
    if (!append_is_written(&produce->append)) {
        return false;
    }
    commit_log_append_abandon(produce->shard->log, &produce->append);
    waiting_end(produce);
    produce->error = ERROR_NOT_YET_DURABLE;
    call_return(call, produce->shard->core, produce_ended);
    return true;
}

static void own_timer_fired(struct timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, produce.timer);
    struct reactor *reactor = call->produce.shard->core->reactor;
    if (!produce_time_out(call)) {
        timer_start(reactor, timer, reactor_now_ns(reactor) + UNWRITTEN_RETRY_NS);
    }
}

/* Those with the default time-out become due in the order in which they came. */
void produce_waiting_fired(struct timer *timer)
{
    struct shard *shard = CONTAINER_OF(timer, struct shard, waiting_timer);
    struct reactor *reactor = shard->core->reactor;
    uint64_t now_ns = reactor_now_ns(reactor);
    struct list *link;
    while ((link = list_first(&shard->waiting_durable)) != NULL) {
        struct call *call = CONTAINER_OF(link, struct call, produce.waiting);
        if (call->produce.due_ns > now_ns) {
            timer_start(reactor, timer, call->produce.due_ns);
            return;
        }
        if (!produce_time_out(call)) {
            timer_start(reactor, timer, now_ns + UNWRITTEN_RETRY_NS);
            return;
        }
    }
}

static void waiting_begin(struct call *call, struct reactor *reactor)
{
    struct produce_call *produce = &call->produce;
    struct shard *shard = produce->shard;
    if (!produce->default_timeout) {
        timer_start(reactor, &produce->timer, produce->due_ns);
        return;
    }
    list_append(&shard->waiting_durable, &produce->waiting);
    if (!shard->waiting_timer.started) {
        timer_start(reactor, &shard->waiting_timer, produce->due_ns);
    }
}

static void produce_append(struct call *call, struct core *at)
{
    struct produce_call *produce = &call->produce;
    struct append *append = &produce->append;
    struct commit_log *log = produce->shard->log;
    append->queue = commit_log_queue_find(log, produce->topic_id, produce->queue);
    if (call_is_late(call, at)) {
        produce->error = ERROR_DEADLINE;
    } else if (append->queue == NULL) {
        produce->error = ERROR_TOPIC_NOT_FOUND; /* deleted while the call was on its way */
    } else {
        produce->error = commit_log_append(log, append);
    }
    if (produce->error != OK) {
        call_return(call, at, produce_ended);
    } else if (append->wait_durable) {
        waiting_begin(call, at->reactor);
    }
}

/* ------------------------------------------------------------------ at home */

static void produce_init(struct call *call)
{
    struct produce_call *produce = &call->produce;
    produce->append.done = produce_done;
    produce->append.messages = NULL;
    produce->append.count = 0;
    produce->append.extra = bytes_make(NULL, 0);
    produce->append.relocates = false;
    list_init(&produce->append.link);
    produce->rewritten = NULL;
    produce->refusal = NULL;
    produce->bytes = 0;
    list_init(&produce->ordered);
    list_init(&produce->waiting);
    produce->timer = (struct timer){.fired = own_timer_fired};
    produce->span_class = SPAN_CLASSES;
    produce->error = OK;
    produce->ended = false;
}

/* Ends a call at home with a refusal, which waits with it for its turn. */
static void produce_refuse(struct call *call, const struct refusal *refusal)
{
    if (list_is_empty(&call->produce.ordered)) {
        call_refuse(call, refusal);
        return;
    }
    call->produce.refusal = malloc(sizeof(*refusal));
    ASSERT(call->produce.refusal != NULL);
    *call->produce.refusal = *refusal;
    produce_ended(call, call->home);
}

/* The call's queue is decided: from here it is answered in its turn. */
static void set_queue(struct call *call, uint16_t queue)
{
    call->produce.queue = queue;
    if (!call->one_way) {
        list_append(&call->session->produces, &call->produce.ordered);
    }
}

static void set_waiting(struct call *call, const struct topic *topic,
                        const struct arguments *arguments)
{
    struct produce_call *produce = &call->produce;
    uint64_t asked = arguments_has(arguments, ARGUMENT_DURABILITY)
                         ? arguments_number(arguments, ARGUMENT_DURABILITY)
                         : DURABILITY_MEMORY;
    produce->durability =
        (enum durability)asked > topic->durability ? (enum durability)asked : topic->durability;
    produce->append.wait_durable = produce->durability == DURABILITY_DISK;
    uint64_t timeout_ms = arguments_number(arguments, ARGUMENT_TIMEOUT_MS);
    produce->due_ns = call->arrived_ns + timeout_ms * NS_PER_MS;
    produce->default_timeout = timeout_ms == TIMEOUT_MS_DEFAULT;
}

void produce_run(struct call *call, const struct arguments *arguments)
{
    produce_init(call);
    struct core *home = call->home;
    struct produce_call *produce = &call->produce;
    struct topic *topic =
        directory_find(home->directory, arguments_bytes(arguments, ARGUMENT_TOPIC));
    if (topic == NULL) {
        call_fail(call, ERROR_TOPIC_NOT_FOUND);
        return;
    }
    produce->topic_id = topic->id;
    struct refusal refusal;
    bool named = arguments_has(arguments, ARGUMENT_QUEUE);
    if (named) {
        uint64_t queue = arguments_number(arguments, ARGUMENT_QUEUE);
        if (topic_check_queue(topic, queue, &refusal) != OK) {
            call_refuse(call, &refusal); /* it has no queue here to be answered in turn of */
            return;
        }
        set_queue(call, (uint16_t)queue);
    }
    struct produce_route route;
    if (produce_messages_read(call, topic, arguments, &route, &refusal) != OK) {
        produce_refuse(call, &refusal);
        return;
    }
    if (named && route.keyed && route.queue != produce->queue) {
        refusal_set(&refusal, ERROR_MIXED_QUEUES, "the keys belong to another queue");
        refusal_add_queue(&refusal, route.queue);
        produce_refuse(call, &refusal);
        return;
    }
    if (!named && route.keyed && topic_check_queue(topic, route.queue, &refusal) != OK) {
        call_refuse(call, &refusal);
        return;
    }
    if (!named) {
        set_queue(call,
                  route.keyed ? route.queue : queue_choices_take(home, topic, produce->bytes));
    }
    set_waiting(call, topic, arguments);
    produce->append.born_ms = arguments_number(arguments, ARGUMENT_BORN);
    produce->shard = home->cores->shard[topic_shard(topic, produce->queue)];
    call_forward(call, home, produce->shard->core, produce_append);
}
