/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups_ready.c - which queues have something to give out, and what becomes due.
 */
#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/dead_letter.h"
#include "broker/directory.h"
#include "broker/group_retention.h"
#include "broker/groups.h"
#include "broker/home.h"
#include "broker/limits.h"
#include "broker/member.h"
#include "broker/shard.h"
#include "proto/names.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    /* What becomes due in one turn: the next is asked for at once. */
    DUE_MAX = 4096,
    /* After the log refused to record that something expired, or was given back. */
    REFUSED_RETRY_MS = 1000,
    TIMER_MS_MAX = 24 * 60 * 60 * 1000
};

#define EXPIRED_REASON "lease expired"

/* ---------------------------------------------------------------- what is ready */

/* Its home is told at the turn's end. */
static void note_news(struct shard_group *group)
{
    struct core *core = group->groups->shard->core;
    if (list_is_empty(&group->woken)) {
        list_append(&core->woken_groups, &group->woken);
        core_hook_woken(core);
    }
}

void groups_wake(struct shard_group *group)
{
    if (!group->told) {
        note_news(group);
    }
}

/* Has a queue that has nothing left tell of what comes. */
static void watch(struct group_queue *queue, struct queue *log_queue)
{
    if (queue->next >= queue_state(log_queue).visible && list_is_empty(&queue->waiter.link)) {
        queue->waiter.offset = queue->next;
        queue_wait(log_queue, &queue->waiter);
    }
}

/* Whether a bound keeps back what was never given out, and there is nothing else. */
static bool keeps_new_back(const struct group_queue *queue, uint64_t visible)
{
    struct group_bound bound;
    return queue->next < visible && list_is_empty(&queue->ready) &&
           list_is_empty(&queue->unknown) && group_queue_is_full(queue, &bound);
}

/* Notes whether a bound keeps back what is there. */
static void note_full(struct group_queue *queue, bool is_full)
{
    if (is_full != queue->is_full) {
        queue->is_full = is_full;
        queue->group->full += is_full ? 1 : UINT32_MAX;
    }
    if (queue->group->told_full != (queue->group->full > 0)) {
        note_news(queue->group); /* who waits hears of it when he has waited long enough */
    }
    /* Of its own bounds it hears itself; what others have open may go without a word to it. */
    list_remove(&queue->in_crowded);
    if (is_full && queue->groups->range_count >= GROUP_RANGES_MAX) {
        list_append(&queue->groups->crowded, &queue->in_crowded);
    }
}

bool groups_may_uncrowd(const struct groups *groups)
{
    return !list_is_empty(&groups->crowded) && groups->range_count < GROUP_RANGES_MAX;
}

void groups_uncrowd(struct groups *groups)
{
    while (groups_may_uncrowd(groups)) {
        struct list *link = list_take_first(&groups->crowded);
        groups_changed(CONTAINER_OF(link, struct group_queue, in_crowded));
    }
}

bool groups_find_full(const struct shard_group *group, struct group_bound *bound_out)
{
    if (group->full == 0) {
        return false;
    }
    LIST_FOREACH (link, &group->queues) {
        const struct group_queue *queue = CONTAINER_OF(link, struct group_queue, of_group);
        if (queue->is_full) {
            return group_queue_is_full(queue, bound_out);
        }
    }
    return false;
}

void groups_changed(struct group_queue *queue)
{
    struct groups *groups = queue->groups;
    if (!groups->is_live) {
        return;
    }
    groups_set_timer(groups);
    struct queue *log_queue =
        commit_log_queue_find(groups->shard->log, queue->place.topic, queue->place.queue);
    if (log_queue == NULL) {
        return; /* its topic is being deleted */
    }
    uint64_t visible = queue_state(log_queue).visible;
    note_full(queue, keeps_new_back(queue, visible));
    if (group_queue_has_work(queue, visible)) {
        queue_waiter_cancel(&queue->waiter);
        if (list_is_empty(&queue->in_ready)) {
            list_append(&queue->group->ready, &queue->in_ready);
            groups_wake(queue->group);
        }
        return;
    }
    list_remove(&queue->in_ready);
    watch(queue, log_queue);
}

void groups_watch(struct group_queue *queue, bool is_kept_back)
{
    struct commit_log *log = queue->groups->shard->log;
    struct queue *log_queue = commit_log_queue_find(log, queue->place.topic, queue->place.queue);
    if (log_queue != NULL) {
        note_full(queue, is_kept_back || keeps_new_back(queue, queue_state(log_queue).visible));
        watch(queue, log_queue);
    }
}

static bool is_stale(const struct shard_group *group, const struct core *core)
{
    return group->opened_version != 0 && group->opened_version != core->directory->changes;
}

void groups_refresh(struct core *core)
{
    struct cores *cores = core->cores;
    for (uint32_t i = 0; i < cores->shard_count; i++) {
        struct shard *shard = cores->shard[i];
        uint32_t slot = 0;
        struct shard_group *group;
        while (shard->core == core && shard->groups != NULL &&
               (group = number_map_next(&shard->groups->by_id, &slot)) != NULL) {
            if (is_stale(group, core)) {
                groups_wake(group);
            }
        }
    }
}

void groups_tell_homes(struct core *core)
{
    struct list *link;
    while ((link = list_take_first(&core->woken_groups)) != NULL) {
        struct shard_group *group = CONTAINER_OF(link, struct shard_group, woken);
        uint32_t shard = group->groups->shard->number;
        bool has_some = !list_is_empty(&group->ready) || is_stale(group, core);
        if (!group->told && has_some) {
            group->told = true;
            home_tell_ready(core, group->id, shard);
        }
        if (group->told_full != (group->full > 0)) {
            group->told_full = group->full > 0;
            home_tell_full(core, group->id, shard, group->told_full);
        }
    }
}

/* ---------------------------------------------------------------------- due */

/* A lease has expired: an attempt has failed. */
static void expire(struct groups *groups, struct open_range *range, uint64_t now_ms)
{
    struct group_queue *queue = range->queue;
    const struct group *settings = catalogue_find_group_id(groups->catalogue, queue->place.group);
    struct event_retry retry = {
        .place = queue->place,
        .range = {range->first, range->count},
        .attempt = attempts_after(range->attempts),
        .due_ms = now_ms,
        .reason = BYTES_OF(EXPIRED_REASON),
        .key = range->key,
    };
    if (settings != NULL) {
        retry.due_ms = groups_due_ms(settings, retry.attempt, now_ms, now_ms);
    }
    const struct trace_event event = groups_trace_of(queue, TRACE_EXPIRED, range);
    enum error error = groups_retry(queue, &retry);
    groups_trace_note(queue, &event, &retry.range, error);
    if (error != OK) {
        group_queue_set_moment(range, now_ms + REFUSED_RETRY_MS);
        return;
    }
    queue->group->expired += retry.range.count;
}

uint64_t groups_due_ms(const struct group *group, uint32_t attempts, uint64_t due_ms,
                       uint64_t now_ms)
{
    bool is_exhausted = attempts >= group->settings.attempts;
    bool stays = (group->settings.exhausted == GROUP_EXHAUSTED_STAY &&
                  group->settings.order != GROUP_ORDER_NONE) ||
                 name_is_dead_letters(group->name);
    if (!is_exhausted) {
        return due_ms;
    }
    return stays ? now_ms + group_settings_backoff_ms(&group->settings, UINT16_MAX) : DUE_NEVER;
}

static void become_due(struct groups *groups, struct open_range *range, uint64_t now_ms)
{
    struct group_queue *queue = range->queue;
    if (queue->is_retired) {
        group_queue_drop(range);
        return;
    }
    if (range->state == OPEN_LEASED && range->is_given_back) {
        if (!groups_give_back(range)) {
            group_queue_set_moment(range, now_ms + REFUSED_RETRY_MS);
        }
    } else if (range->state == OPEN_LEASED) {
        expire(groups, range, now_ms);
    } else {
        group_queue_due(queue, range);
    }
    groups_changed(queue);
}

void groups_due(struct timer *timer)
{
    struct groups *groups = CONTAINER_OF(timer, struct groups, timer);
    uint64_t now_ms = reactor_wall_ms(groups->shard->core->reactor);
    uint32_t count = 0;
    struct heap_node *node;
    while (groups->is_live && (node = heap_least(&groups->moments)) != NULL &&
           node->key <= now_ms && count++ < DUE_MAX) {
        become_due(groups, CONTAINER_OF(node, struct open_range, moment), now_ms);
    }
    groups_set_timer(groups);
    dead_letters_go_on(groups);
}

void groups_set_timer(struct groups *groups)
{
    struct reactor *reactor = groups->shard->core->reactor;
    const struct heap_node *node = heap_least(&groups->moments);
    if (!groups->is_live || node == NULL) {
        timer_stop(reactor, &groups->timer);
        return;
    }
    if (groups->timer.started && groups->timer_ms == node->key) {
        return;
    }
    uint64_t now_ms = reactor_wall_ms(reactor);
    uint64_t wait_ms = node->key > now_ms ? node->key - now_ms : 0;
    wait_ms = wait_ms < TIMER_MS_MAX ? wait_ms : TIMER_MS_MAX; /* set again then */
    groups->timer_ms = node->key;
    timer_start(reactor, &groups->timer, reactor_now_ns(reactor) + wait_ms * NS_PER_MS);
}
