/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups.c - the groups of a shard: made, found, begun where they are put, dropped.
 */
#include "broker/groups.h"

#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/dead_letter.h"
#include "broker/directory.h"
#include "broker/group_retention.h"
#include "broker/limits.h"
#include "broker/member.h"
#include "broker/shard.h"

#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------- life */

static void flush_hook_run(struct turn_hook *hook)
{
    struct groups *groups = CONTAINER_OF(hook, struct groups, flush_hook);
    if (groups->is_live) {
        groups->flush_refused = !groups_flush(groups);
        groups_uncrowd(groups);
    }
}

/* What was settled behind the log's turn is written in the next one; refused, with whichever comes. */
static bool flush_hook_pending(struct turn_hook *hook)
{
    const struct groups *groups = CONTAINER_OF(hook, struct groups, flush_hook);
    bool has_settled = !list_is_empty(&groups->dirty) && !groups->flush_refused;
    return groups->is_live && (has_settled || groups_may_uncrowd(groups));
}

struct groups *groups_create(struct shard *shard)
{
    struct groups *groups = calloc(1, sizeof(*groups));
    ASSERT(groups != NULL);
    groups->view = (struct view){"groups", &groups_view_operations};
    groups->shard = shard;
    groups->catalogue = shard->catalogue;
    struct reactor *reactor = shard->core->reactor;
    groups->seed = (struct map_seed){reactor_random(reactor), reactor_random(reactor)};
    number_map_init(&groups->by_id, groups->seed);
    number_map_init(&groups->sessions, groups->seed);
    list_init(&groups->queues);
    list_init(&groups->retired);
    groups->retired_timer.fired = groups_dismantle;
    list_init(&groups->released);
    groups->release_timer.fired = groups_release_more;
    groups->release_left = GROUPS_RELEASED_A_TURN;
    list_init(&groups->dying);
    list_init(&groups->dying_later);
    list_init(&groups->dirty);
    list_init(&groups->crowded);
    heap_init(&groups->moments);
    groups->timer.fired = groups_due;
    groups->flush_hook = (struct turn_hook){.run = flush_hook_run, .pending = flush_hook_pending};
    reactor_hook_add(reactor, TURN_WRITE, &groups->flush_hook);
    return groups;
}

static void group_destroy(struct shard_group *group)
{
    LIST_FOREACH (link, &group->queues) {
        struct group_queue *queue = CONTAINER_OF(link, struct group_queue, of_group);
        groups_retire(queue);
    }
    list_remove(&group->woken);
    list_remove(&group->dying_later); /* what is retired stays in a list without a head */
    list_remove(&group->in_dying_later);
    number_map_deinit(&group->places);
    free(group);
}

static void drop_everything(struct groups *groups)
{
    uint32_t slot = 0;
    struct shard_group *group;
    while ((group = number_map_next(&groups->by_id, &slot)) != NULL) {
        group_destroy(group);
    }
    number_map_deinit(&groups->by_id);
    number_map_init(&groups->by_id, groups->seed);
}

void groups_destroy(struct groups *groups)
{
    if (groups == NULL) {
        return;
    }
    groups->is_live = false;
    drop_everything(groups);
    groups_drop_retired(groups);
    uint32_t slot = 0;
    struct session_leases *leases;
    while ((leases = number_map_next(&groups->sessions, &slot)) != NULL) {
        free(leases);
    }
    number_map_deinit(&groups->sessions);
    number_map_deinit(&groups->by_id);
    heap_deinit(&groups->moments);
    delivery_trace_deinit(&groups->trace);
    timer_stop(groups->shard->core->reactor, &groups->timer);
    timer_stop(groups->shard->core->reactor, &groups->retired_timer);
    timer_stop(groups->shard->core->reactor, &groups->release_timer);
    reactor_hook_remove(groups->shard->core->reactor, &groups->flush_hook);
    free(groups);
}

void groups_stop(struct groups *groups)
{
    /* The log takes nothing from here on, and writes what it has. */
    groups_release_rest(groups);
    (void)groups_flush(groups);
    groups->is_live = false;
    timer_stop(groups->shard->core->reactor, &groups->timer);
    timer_stop(groups->shard->core->reactor, &groups->retired_timer);
    timer_stop(groups->shard->core->reactor, &groups->release_timer);
    LIST_FOREACH (link, &groups->queues) {
        queue_waiter_cancel(&CONTAINER_OF(link, struct group_queue, all)->waiter);
    }
}

/* ----------------------------------------------------------------- finding */

struct shard_group *groups_find_group(const struct groups *groups, uint32_t id)
{
    return number_map_find(&groups->by_id, id);
}

struct shard_group *groups_group(struct groups *groups, uint32_t id)
{
    struct shard_group *group = groups_find_group(groups, id);
    if (group != NULL) {
        return group;
    }
    group = calloc(1, sizeof(*group));
    ASSERT(group != NULL);
    group->groups = groups;
    group->id = id;
    number_map_init(&group->places, groups->seed);
    list_init(&group->queues);
    list_init(&group->ready);
    list_init(&group->woken);
    list_init(&group->dying_later);
    list_init(&group->in_dying_later);
    ASSERT(number_map_put(&groups->by_id, id, group));
    return group;
}

static uint64_t place_key(const struct group_place *place)
{
    return (uint64_t)place->topic << 16 | place->queue;
}

struct group_queue *groups_find(const struct groups *groups, const struct group_place *place)
{
    const struct shard_group *group = groups_find_group(groups, place->group);
    return group == NULL ? NULL : number_map_find(&group->places, place_key(place));
}

static void queue_woken(struct queue_waiter *waiter)
{
    groups_changed(CONTAINER_OF(waiter, struct group_queue, waiter));
}

static struct group_queue *queue_create(struct shard_group *group, const struct group_place *place,
                                        enum group_order order)
{
    struct group_queue *queue = group_queue_create(group->groups, place, order);
    queue->group = group;
    queue->waiter.woken = queue_woken;
    ASSERT(number_map_put(&group->places, place_key(place), queue));
    return queue;
}

struct group_queue *groups_begin(struct groups *groups, const struct group_place *place)
{
    struct group_queue *queue = groups_find(groups, place);
    const struct group *settings = catalogue_find_group_id(groups->catalogue, place->group);
    if (queue != NULL || settings == NULL) {
        return queue;
    }
    struct shard_group *group = groups_group(groups, place->group);
    queue = queue_create(group, place, settings->settings.order);
    queue->serial = ++groups->queue_serial;
    list_append(&groups->queues, &queue->all);
    list_append(&group->queues, &queue->of_group);
    return queue;
}

/* Out of its group: its place is free. */
static void leave_group(struct group_queue *queue)
{
    queue->group->full -= queue->is_full ? 1 : 0;
    (void)number_map_remove(&queue->group->places, place_key(&queue->place));
}

/* Another queue takes the place of `old`, with the serial that snapshots know it by. */
static struct group_queue *replace(struct group_queue *old)
{
    struct groups *groups = old->groups;
    leave_group(old);
    struct group_queue *queue = queue_create(old->group, &old->place, old->order);
    queue->serial = old->serial;
    queue->skipped = old->skipped;
    list_insert_before(&old->all, &queue->all);
    list_insert_before(&old->of_group, &queue->of_group);
    if (groups->walk == &old->all) {
        groups->walk = &queue->all;
    }
    groups_retire(old);
    return queue;
}

void groups_restart(struct group_queue *queue, uint32_t generation, uint64_t offset)
{
    /* What a tour seeks in one turn, 128 queues, takes so at most 6 ms; and a queue that is retired has more
     * ranges than this, so that GROUP_RANGES_MAX bounds how many there are: 13 MiB of them. */
    enum { AT_ONCE_MAX = 64 };
    if (queue->open.count > AT_ONCE_MAX) {
        queue = replace(queue);
    }
    group_queue_seek(queue, generation, offset);
}

void groups_drop_group(struct groups *groups, uint32_t id)
{
    struct shard_group *group = number_map_remove(&groups->by_id, id);
    if (group != NULL) {
        group_destroy(group);
    }
}

static void drop_queue(struct group_queue *queue)
{
    leave_group(queue);
    groups_retire(queue);
}

void groups_drop_topic(struct groups *groups, uint32_t topic)
{
    LIST_FOREACH (link, &groups->queues) {
        struct group_queue *queue = CONTAINER_OF(link, struct group_queue, all);
        if (queue->place.topic == topic) {
            drop_queue(queue);
        }
    }
}

void groups_reset(struct groups *groups)
{
    ASSERT(!groups->is_live);
    drop_everything(groups);
}

void groups_attach(struct groups *groups)
{
    struct shard *shard = groups->shard;
    groups->is_live = true;
    LIST_FOREACH (link, &groups->queues) {
        struct group_queue *queue = CONTAINER_OF(link, struct group_queue, all);
        bool is_there = catalogue_find_group_id(groups->catalogue, queue->place.group) != NULL &&
                        catalogue_find_id(groups->catalogue, queue->place.topic) != NULL;
        if (is_there) {
            group_queue_replayed(queue);
            groups_changed(queue);
        } else {
            drop_queue(queue);
        }
    }
    /* A serial never comes again: what was given out before this start is nobody's of this one. */
    groups->lease_serial = (uint64_t)shard->core->cores->epoch << GROUPS_SERIAL_BITS;
    groups_set_timer(groups);
    dead_letters_go_on(groups);
}

/* ---------------------------------------------------------------- catalogue */

void groups_put(struct shard *shard, const struct group *group, const struct group *old)
{
    struct groups *groups = shard->groups;
    if (group->settings.from != GROUP_FROM_LAST || group->settings.broadcast) {
        return;
    }
    for (uint32_t i = 0; i < group->topic_count; i++) {
        const struct topic *topic = catalogue_find(groups->catalogue, group->topics[i].name);
        if (topic == NULL || (old != NULL && group_find_topic(old, topic->name) != NULL)) {
            continue;
        }
        for (uint32_t number = 0; number < topic->queue_count; number++) {
            const struct group_place place = {group->id, topic->id, (uint16_t)number};
            struct queue *queue = topic_is_in(topic, number, shard->number)
                                      ? commit_log_queue_find(shard->log, topic->id, place.queue)
                                      : NULL;
            if (queue != NULL && groups_find(groups, &place) == NULL) {
                /* Refused, it begins at the first: nothing is lost, and the disk is full. */
                (void)groups_seek(groups, &place, queue_state(queue).next);
            }
        }
    }
}
