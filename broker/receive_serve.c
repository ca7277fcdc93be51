/* SPDX-License-Identifier: Apache-2.0 */
/* receive_serve.c - a receive in a shard: which queues it looks at, and where it goes then. */
#include "broker/call.h"
#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/dead_letter.h"
#include "broker/delivery.h"
#include "broker/directory.h"
#include "broker/group_start.h"
#include "broker/groups.h"
#include "broker/home.h"
#include "broker/receive.h"
#include "broker/receive_answer.h"
#include "broker/receive_take.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

#define NS_PER_MS UINT64_C(1000000)

/* How long a receive that may not wait looks through messages that its filter does not want. */
enum { SCAN_MS_MAX = 100 };

/* ------------------------------------------------------------------- begin */

void receive_serve_again(struct queue_reader *reader, struct core *at)
{
    receive_serve(CONTAINER_OF(reader, struct call, receive.reader), at);
}

/* Where the group begins in a queue that it has not begun. False: that is cold. */
static bool find_start(struct call *call, const struct group *group, struct queue *queue,
                       uint64_t *offset_out)
{
    struct receive_call *receive = &call->receive;
    struct cold_range cold = {.segment = NULL};
    bool may_wait = queue_reader_may_wait(&receive->reader);
    if (group_find_start(group, receive->shard->log, queue, may_wait ? NULL : &cold, offset_out)) {
        return true;
    }
    receive->reader.shard = receive->shard;
    receive->reader.again = receive_serve_again;
    queue_reader_warm(&receive->reader, &cold);
    return false;
}

/* Begins the queues of a topic that lie in the shard and are new to the group. */
static enum take_result begin_topic(struct call *call, const struct group *group,
                                    const struct topic *topic)
{
    struct receive_call *receive = &call->receive;
    struct shard *shard = receive->shard;
    for (uint32_t i = 0; i < topic->queue_count; i++) {
        const struct group_place place = {group->id, topic->id, (uint16_t)i};
        struct queue *queue = topic_is_in(topic, i, shard->number)
                                  ? commit_log_queue_find(shard->log, topic->id, place.queue)
                                  : NULL;
        struct group_queue *begun = groups_find(shard->groups, &place);
        if (begun != NULL) {
            groups_changed(begun); /* the group may have left the topic out for a while */
        }
        if (queue == NULL || begun != NULL) {
            continue;
        }
        uint64_t offset;
        if (!find_start(call, group, queue, &offset)) {
            return TAKE_COLD;
        }
        receive->error = groups_seek(shard->groups, &place, offset);
        if (receive->error != OK) {
            return TAKE_FAILED;
        }
    }
    return TAKE_SOME;
}

/* Begins what is new since the directory was looked at last. */
static enum take_result begin_queues(struct call *call, struct core *at, struct shard_group *here,
                                     const struct group *group)
{
    if (here->opened_version == at->directory->changes) {
        return TAKE_SOME;
    }
    for (uint32_t i = 0; i < group->topic_count; i++) {
        const struct topic *topic = directory_find(at->directory, group->topics[i].name);
        enum take_result result = topic == NULL ? TAKE_SOME : begin_topic(call, group, topic);
        if (result != TAKE_SOME) {
            return result;
        }
    }
    here->opened_version = at->directory->changes;
    return TAKE_SOME;
}

/* -------------------------------------------------------------------- queues */

/* Takes of one queue as long as there is something. */
static enum take_result take_queue(struct call *call, struct core *at, struct group_queue *queue)
{
    struct receive_call *receive = &call->receive;
    const struct topic *topic = directory_find_id(at->directory, queue->place.topic);
    const struct group_topic *read =
        topic == NULL ? NULL : group_find_topic(receive->group, topic->name);
    struct queue *log_queue =
        commit_log_queue_find(receive->shard->log, queue->place.topic, queue->place.queue);
    if (read == NULL || log_queue == NULL) {
        return TAKE_NOTHING; /* the group reads it no more, or it is being deleted */
    }
    const struct take take = {
        .call = call,
        .at = at,
        .queue = queue,
        .topic = read->name,
        .filter = read->filter,
        .visible = queue_state(log_queue).visible,
    };
    enum take_result result = TAKE_SOME;
    if (queue->order != GROUP_ORDER_KEY) {
        while (result == TAKE_SOME) {
            result = take_next(&take);
        }
        return result;
    }
    for (uint32_t i = 0; i < TAKE_KEYS_TIMES_MAX && result == TAKE_SOME; i++) {
        result = take_keyed(&take);
    }
    return result != TAKE_SOME ? result : receive->ranges != NULL ? TAKE_ENOUGH : TAKE_LATER;
}

/* The first queue that may have something for the call, or NULL. */
static struct group_queue *next_ready(const struct receive_call *receive,
                                      const struct shard_group *here)
{
    LIST_FOREACH (link, &here->ready) {
        struct group_queue *queue = CONTAINER_OF(link, struct group_queue, in_ready);
        if (!receive->is_of_topic || queue->place.topic == receive->topic_id) {
            return queue;
        }
    }
    return NULL;
}

/* Looks at queues in turn until the answer is full or no more may be given out. */
static enum take_result take_queues(struct call *call, struct core *at, struct shard_group *here)
{
    struct receive_call *receive = &call->receive;
    struct group_queue *queue;
    while ((queue = next_ready(receive, here)) != NULL) {
        list_remove(&queue->in_ready);
        enum take_result result = take_queue(call, at, queue);
        if (result == TAKE_NOTHING || result == TAKE_FULL) {
            list_remove(&queue->in_ready);
            groups_watch(queue, result == TAKE_FULL);
            continue;
        }
        /* Behind the others, for the next one to look at; a queue that waits keeps its place. */
        if (result == TAKE_ENOUGH) {
            groups_changed(queue);
        } else if (list_is_empty(&queue->in_ready)) {
            list_prepend(&here->ready, &queue->in_ready);
        }
        return result;
    }
    return TAKE_NOTHING;
}

/* -------------------------------------------------------------------- where to */

static void drop_taken(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    groups_release(receive->shard->groups, receive->session, receive->serial, receive->serial);
    receive_drop(call, at);
}

/* With messages home; in an ordered group when the log has their leases. */
static void leave(struct call *call, struct core *at, struct shard_group *here)
{
    struct receive_call *receive = &call->receive;
    if (!list_is_empty(&here->ready)) {
        groups_wake(here);
    }
    if (receive->group->settings.order == GROUP_ORDER_NONE) {
        call_return(call, at, receive_home);
        return;
    }
    list_append(&at->leased, &receive->woken);
    core_hook_woken(at);
}

/* Whether it goes on looking in the next turn. */
static bool has_time(const struct call *call, const struct core *at)
{
    const struct receive_call *receive = &call->receive;
    uint64_t until_ns = call->arrived_ns + SCAN_MS_MAX * NS_PER_MS;
    until_ns = until_ns > receive->wait_until_ns ? until_ns : receive->wait_until_ns;
    until_ns = until_ns < call->deadline_ns ? until_ns : call->deadline_ns;
    return reactor_now_ns(at->reactor) < until_ns && !at->draining && !receive->cancelled;
}

/* For its home: whether the shard has something else, or keeps something back. */
static void note_left(struct call *call, struct shard_group *here, enum take_result result)
{
    struct receive_call *receive = &call->receive;
    receive->leaves_some = !list_is_empty(&here->ready);
    receive->was_put_off = result == TAKE_LATER;
    /* Who did not want what is left waits on: of what becomes ready beside it the home must hear. */
    here->told = false;
    receive->is_full_here = groups_find_full(here, &receive->bound);
    receive->is_full |= receive->is_full_here;
    here->told_full = receive->is_full_here;
}

static void go_on(struct call *call, struct core *at, struct shard_group *here,
                  enum take_result result)
{
    struct receive_call *receive = &call->receive;
    if (receive->error != OK) {
        drop_taken(call, at);
        groups_wake(here);
        call_return(call, at, receive_home);
    } else if (receive->ranges != NULL) {
        leave(call, at, here);
    } else if (result == TAKE_LATER && has_time(call, at)) {
        core_hook_woken(at);
        list_append(&at->receives, &receive->woken);
    } else {
        note_left(call, here, result);
        call_forward(call, at, receive->group_home, home_return);
    }
}

void receive_serve(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    struct groups *groups = receive->shard->groups;
    struct group *group = catalogue_find_group_id(groups->catalogue, receive->group_id);
    if (group == NULL) {
        receive->error = ERROR_GROUP_NOT_FOUND; /* deleted while the call was on its way */
        call_return(call, at, receive_home);
        return;
    }
    struct shard_group *here = groups_group(groups, receive->group_id);
    if (group != receive->group) {
        group_unref(receive->group);
        receive->group = group_ref(group);
    }
    /* Who did not wait finds the home's bit set; for who did it must be told again if there is more. */
    here->told = here->told && !receive->has_waited;
    receive->serial = ++groups->lease_serial;
    uint64_t lease_ms = receive->lease_ms != 0 ? receive->lease_ms : group->settings.lease_ms;
    receive->until_ms = reactor_wall_ms(at->reactor) + lease_ms;
    enum take_result result = begin_queues(call, at, here, group);
    if (result == TAKE_SOME) {
        result = take_queues(call, at, here);
    }
    groups_set_timer(groups);
    dead_letters_go_on(groups);
    if (result == TAKE_COLD) {
        ASSERT(receive->ranges == NULL);
        return; /* it begins again when the disk has given what it lacks */
    }
    go_on(call, at, here, result);
}

void receive_serve_woken(struct core *core)
{
    struct list receives;
    list_init(&receives);
    list_move_all(&receives, &core->receives);
    struct list *link;
    while ((link = list_take_first(&receives)) != NULL) {
        receive_serve(CONTAINER_OF(link, struct call, receive.woken), core);
    }
}

static bool is_written(const struct call *call)
{
    return commit_log_has_written(call->receive.shard->log);
}

bool receive_is_written(const struct core *core)
{
    LIST_FOREACH (link, &core->leased) {
        if (is_written(CONTAINER_OF(link, struct call, receive.woken))) {
            return true;
        }
    }
    return false;
}

void receive_written(struct core *core)
{
    struct list leased;
    list_init(&leased);
    list_move_all(&leased, &core->leased);
    struct list *link;
    while ((link = list_take_first(&leased)) != NULL) {
        struct call *call = CONTAINER_OF(link, struct call, receive.woken);
        if (is_written(call)) {
            call_return(call, core, receive_home);
        } else {
            list_append(&core->leased, link);
        }
    }
}
