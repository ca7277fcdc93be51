/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups.c - the groups of a shard: found, made, written to the log, ready, due.
 */
#include "broker/groups.h"

#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/dead_letter.h"
#include "broker/directory.h"
#include "broker/group_retention.h"
#include "broker/home.h"
#include "broker/limits.h"
#include "broker/member.h"
#include "broker/shard.h"
#include "proto/names.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_MS UINT64_C(1000000)

enum {
    /* What becomes due in one turn: the next is asked for at once. */
    DUE_MAX = 4096,
    /* After the log refused to record that something expired. */
    REFUSED_RETRY_MS = 1000,
    TIMER_MS_MAX = 24 * 60 * 60 * 1000
};

#define EXPIRED_REASON "lease expired"

/* -------------------------------------------------------------------- life */

static void flush_hook_run(struct turn_hook *hook)
{
    struct groups *groups = CONTAINER_OF(hook, struct groups, flush_hook);
    groups->flush_refused = !groups_flush(groups);
}

/* What was settled behind the log's turn is written in the next one; refused, with whichever comes. */
static bool flush_hook_pending(struct turn_hook *hook)
{
    const struct groups *groups = CONTAINER_OF(hook, struct groups, flush_hook);
    return !list_is_empty(&groups->dirty) && !groups->flush_refused;
}

static void timer_fired(struct timer *timer);

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
    list_init(&groups->dying);
    list_init(&groups->dying_later);
    list_init(&groups->dirty);
    heap_init(&groups->moments);
    groups->timer.fired = timer_fired;
    groups->flush_hook = (struct turn_hook){.run = flush_hook_run, .pending = flush_hook_pending};
    reactor_hook_add(reactor, TURN_WRITE, &groups->flush_hook);
    return groups;
}

static void group_destroy(struct shard_group *group)
{
    LIST_FOREACH (link, &group->queues) {
        struct group_queue *queue = CONTAINER_OF(link, struct group_queue, of_group);
        group_queue_destroy(queue);
    }
    list_remove(&group->woken);
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
    drop_everything(groups);
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
    reactor_hook_remove(groups->shard->core->reactor, &groups->flush_hook);
    free(groups);
}

void groups_stop(struct groups *groups)
{
    groups->is_live = false;
    timer_stop(groups->shard->core->reactor, &groups->timer);
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

static enum group_queue_order order_of(const struct group *group)
{
    switch (group->settings.order) {
    case GROUP_ORDER_QUEUE:
        return IN_QUEUE_ORDER;
    case GROUP_ORDER_KEY:
        return IN_KEY_ORDER;
    default:
        return IN_NO_ORDER;
    }
}

static void queue_woken(struct queue_waiter *waiter)
{
    groups_changed(CONTAINER_OF(waiter, struct group_queue, waiter));
}

struct group_queue *groups_begin(struct groups *groups, const struct group_place *place)
{
    struct group_queue *queue = groups_find(groups, place);
    const struct group *settings = catalogue_find_group_id(groups->catalogue, place->group);
    if (queue != NULL || settings == NULL) {
        return queue;
    }
    struct shard_group *group = groups_group(groups, place->group);
    queue = group_queue_create(groups, place, order_of(settings));
    queue->group = group;
    queue->serial = ++groups->queue_serial;
    queue->waiter.woken = queue_woken;
    list_append(&groups->queues, &queue->all);
    list_append(&group->queues, &queue->of_group);
    ASSERT(number_map_put(&group->places, place_key(place), queue));
    return queue;
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
    queue->group->full -= queue->is_full ? 1 : 0;
    (void)number_map_remove(&queue->group->places, place_key(&queue->place));
    group_queue_destroy(queue);
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
    groups->lease_serial = (uint64_t)shard->core->cores->epoch << 40;
    groups_set_timer(groups);
    dead_letters_go_on(groups);
}

/* ------------------------------------------------------------- for the log */

static enum error operate(struct groups *groups, const struct writer *writer)
{
    struct log_operation waits_for_nothing = {.done = NULL};
    ASSERT(!writer->overflowed);
    return commit_log_operate(groups->shard->log, writer_bytes(writer), &waits_for_nothing);
}

enum error groups_seek(struct groups *groups, const struct group_place *place, uint64_t offset)
{
    struct group_queue *queue = groups_find(groups, place);
    uint8_t bytes[EVENT_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    const struct event_seek seek = {
        .place = *place,
        .generation = queue == NULL ? 1 : queue->generation + 1,
        .offset = offset,
    };
    /* What was settled before belongs to the generation that ends. */
    if (!groups_flush(groups)) {
        return ERROR_DISK_FULL;
    }
    event_put_seek(&writer, &seek);
    enum error error = operate(groups, &writer);
    queue = groups_find(groups, place);
    if (error == OK && queue != NULL) {
        group_retention_note_seek(queue);
        groups_changed(queue);
    }
    return error;
}

enum error groups_retry(struct group_queue *queue, const struct event_retry *retry)
{
    uint8_t bytes[EVENT_RETRY_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    event_put_retry(&writer, EVENT_RETRY, retry);
    return operate(queue->groups, &writer);
}

enum error groups_lease(struct group_queue *queue, const struct event_lease *lease,
                        struct group_member *member)
{
    if (queue->order != IN_NO_ORDER) {
        uint8_t bytes[EVENT_LEASE_BYTES_MAX];
        struct writer writer = writer_over(bytes, sizeof(bytes));
        event_put_lease(&writer, EVENT_LEASE, lease);
        enum error error = operate(queue->groups, &writer);
        if (error != OK) {
            return error;
        }
    }
    /* Once more in ordered groups, for the member, whom the log does not know. */
    group_queue_lease(queue, lease, member);
    return OK;
}

enum error groups_extend(struct group_queue *queue, struct open_range *range,
                         const struct event_lease *lease)
{
    if (queue->order != IN_NO_ORDER) {
        return groups_lease(queue, lease, NULL);
    }
    range = group_queue_carve(queue, range, &lease->range);
    group_queue_set_moment(range, lease->until_ms);
    return OK;
}

/* ----------------------------------------------------------------- settling */

/* The place of the first settled range that ends at or behind `offset`. */
static uint32_t settled_place(const struct group_queue *queue, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = queue->settled_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct offset_range *range = &queue->settled[middle];
        if (range->first + range->count >= offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* Adds to what the turn's end appends, joined with what it touches. */
static void note_settled(struct group_queue *queue, const struct offset_range *range)
{
    uint32_t place = settled_place(queue, range->first);
    uint32_t end = place;
    struct offset_range joined = *range;
    while (end < queue->settled_count && queue->settled[end].first <= joined.first + joined.count) {
        const struct offset_range *other = &queue->settled[end];
        uint64_t behind = other->first + other->count;
        uint64_t joined_end = joined.first + joined.count;
        joined.first = other->first < joined.first ? other->first : joined.first;
        joined.count = (behind > joined_end ? behind : joined_end) - joined.first;
        end++;
    }
    if (end == place && queue->settled_count == queue->settled_capacity) {
        queue->settled_capacity = queue->settled_capacity == 0 ? 4 : 2 * queue->settled_capacity;
        queue->settled =
            realloc(queue->settled, queue->settled_capacity * sizeof(queue->settled[0]));
        ASSERT(queue->settled != NULL);
    }
    uint32_t removed = end - place;
    memmove(queue->settled + place + 1, queue->settled + end,
            (queue->settled_count - end) * sizeof(queue->settled[0]));
    queue->settled[place] = joined;
    queue->settled_count = queue->settled_count + 1 - removed;
}

bool groups_say_again(struct group_queue *queue, struct log_operation *waiting)
{
    uint64_t first = group_queue_first_open(queue);
    if (first == 0) {
        return false; /* nothing was ever settled */
    }
    uint8_t bytes[EVENT_PROGRESS_BYTES];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    const struct event_progress progress = {.place = queue->place, .range = {first - 1, 1}};
    event_put_progress(&writer, &progress, NULL, 0);
    return commit_log_operate(queue->groups->shard->log, writer_bytes(&writer), waiting) == OK;
}

static bool flush_queue(struct group_queue *queue, struct log_operation *waiting)
{
    struct groups *groups = queue->groups;
    struct writer writer = writer_over(groups->flush_room, sizeof(groups->flush_room));
    const struct event_progress progress = {.place = queue->place, .range = queue->settled[0]};
    event_put_progress(&writer, &progress, queue->settled + 1, queue->settled_count - 1);
    ASSERT(!writer.overflowed);
    bool is_accepted = commit_log_operate(groups->shard->log, writer_bytes(&writer), waiting) == OK;
    if (is_accepted) {
        queue->settled_count = 0;
        list_remove(&queue->dirty);
    }
    return is_accepted;
}

bool groups_flush(struct groups *groups)
{
    struct log_operation waits_for_nothing = {.done = NULL};
    bool is_flushed = true;
    LIST_FOREACH (link, &groups->dirty) {
        struct group_queue *queue = CONTAINER_OF(link, struct group_queue, dirty);
        is_flushed &= flush_queue(queue, &waits_for_nothing);
    }
    return is_flushed;
}

bool groups_flush_waiting(struct groups *groups, struct log_operation *waiting)
{
    struct log_operation waits_for_nothing = {.done = NULL};
    LIST_FOREACH (link, &groups->dirty) {
        struct group_queue *queue = CONTAINER_OF(link, struct group_queue, dirty);
        bool is_last = link->next == &groups->dirty;
        if (!flush_queue(queue, is_last ? waiting : &waits_for_nothing)) {
            return false;
        }
    }
    return true;
}

enum error groups_settle(struct group_queue *queue, const struct offset_range *range)
{
    struct groups *groups = queue->groups;
    uint32_t bytes = EVENT_PROGRESS_BYTES + (queue->settled_count + 1) * EVENT_PROGRESS_MORE_BYTES;
    enum error error = commit_log_may_operate(groups->shard->log, bytes);
    if (error != OK) {
        return error;
    }
    struct log_operation waits_for_nothing = {.done = NULL};
    if (queue->settled_count >= GROUPS_SETTLED_MAX && !flush_queue(queue, &waits_for_nothing)) {
        return ERROR_DISK_FULL;
    }
    group_queue_settle(queue, range);
    note_settled(queue, range);
    if (list_is_empty(&queue->dirty)) {
        list_append(&groups->dirty, &queue->dirty);
    }
    /* A replay believes nothing that begins far behind what the log has told it: what is given out or fails
     * behind this is told at once, so this is told before. */
    if (range->first + range->count > queue->logged + GROUP_OPEN_MAX) {
        (void)flush_queue(queue, &waits_for_nothing);
    }
    return OK;
}

enum error groups_skip(struct group_queue *queue, const struct offset_range *range, uint64_t undone)
{
    uint8_t bytes[EVENT_PROGRESS_BYTES];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    const struct event_progress progress = {
        .place = queue->place, .range = *range, .skipped = undone};
    event_put_progress(&writer, &progress, NULL, 0);
    enum error error = operate(queue->groups, &writer);
    if (undone > 0) {
        const struct trace_event event = groups_trace_of(queue, TRACE_SKIPPED, NULL);
        groups_trace_note(queue, &event, range, error);
    }
    return error;
}

/* ---------------------------------------------------------------- what is ready */

void groups_wake(struct shard_group *group)
{
    struct core *core = group->groups->shard->core;
    if (!group->told && list_is_empty(&group->woken)) {
        list_append(&core->woken_groups, &group->woken);
        core_hook_woken(core);
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

/* Notes whether a bound keeps back what is there. */
static void note_full(struct group_queue *queue, uint64_t visible)
{
    struct group_bound bound;
    bool is_full = queue->next < visible && list_is_empty(&queue->ready) &&
                   list_is_empty(&queue->unknown) && group_queue_is_full(queue, &bound);
    if (is_full != queue->is_full) {
        queue->is_full = is_full;
        queue->group->full += is_full ? 1 : UINT32_MAX;
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
    note_full(queue, visible);
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

void groups_watch(struct group_queue *queue)
{
    struct commit_log *log = queue->groups->shard->log;
    struct queue *log_queue = commit_log_queue_find(log, queue->place.topic, queue->place.queue);
    if (log_queue != NULL) {
        note_full(queue, queue_state(log_queue).visible);
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
        if (!list_is_empty(&group->ready) || is_stale(group, core)) {
            group->told = true;
            home_tell_ready(core, group->id, group->groups->shard->number);
        }
    }
}

/* ---------------------------------------------------------------------- due */

/* A lease has expired: an attempt has failed. */
static bool expire(struct groups *groups, struct open_range *range, uint64_t now_ms)
{
    struct group_queue *queue = range->queue;
    struct shard_group *group = queue->group;
    uint64_t offsets = range->count;
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
        return false;
    }
    group->expired += offsets;
    return true;
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
    if (range->state == OPEN_LEASED) {
        (void)expire(groups, range, now_ms);
    } else {
        group_queue_due(queue, range);
    }
    groups_changed(queue);
}

static void fire(struct groups *groups)
{
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

static void timer_fired(struct timer *timer)
{
    fire(CONTAINER_OF(timer, struct groups, timer));
}

void groups_set_timer(struct groups *groups)
{
    struct reactor *reactor = groups->shard->core->reactor;
    const struct heap_node *node = heap_least(&groups->moments);
    if (!groups->is_live || node == NULL) {
        timer_stop(reactor, &groups->timer);
        return;
    }
    uint64_t now_ms = reactor_wall_ms(reactor);
    uint64_t wait_ms = node->key > now_ms ? node->key - now_ms : 0;
    wait_ms = wait_ms < TIMER_MS_MAX ? wait_ms : TIMER_MS_MAX; /* set again then */
    uint64_t at_ns = reactor_now_ns(reactor) + wait_ms * NS_PER_MS;
    if (groups->timer.started && groups->timer_ms == node->key) {
        return;
    }
    groups->timer_ms = node->key;
    timer_start(reactor, &groups->timer, at_ns);
}

/* ----------------------------------------------------------------- sessions */

void groups_hold(struct groups *groups, uint64_t session, struct open_range *range)
{
    struct session_leases *leases = number_map_find(&groups->sessions, session);
    if (leases == NULL) {
        leases = malloc(sizeof(*leases));
        ASSERT(leases != NULL);
        leases->session = session;
        list_init(&leases->ranges);
        ASSERT(number_map_put(&groups->sessions, session, leases));
    }
    list_append(&leases->ranges, &range->link);
}

void groups_release(struct groups *groups, uint64_t session, uint64_t first_serial,
                    uint64_t last_serial)
{
    struct session_leases *leases = number_map_find(&groups->sessions, session);
    if (leases == NULL) {
        return;
    }
    /* The newest are the last, and mostly what is meant. */
    struct list *link = leases->ranges.previous;
    while (link != &leases->ranges) {
        struct open_range *range = CONTAINER_OF(link, struct open_range, link);
        link = link->previous;
        if (range->serial < first_serial) {
            return;
        }
        if (range->serial <= last_serial) {
            (void)groups_give_back(range);
        }
    }
}

void groups_forget_session(struct groups *groups, uint64_t session)
{
    struct session_leases *leases = number_map_remove(&groups->sessions, session);
    if (leases != NULL) {
        while (list_take_first(&leases->ranges) != NULL) {
        }
        free(leases);
    }
}

bool groups_give_back(struct open_range *range)
{
    struct group_queue *queue = range->queue;
    const struct offset_range offsets = {range->first, range->count};
    const struct trace_event event = groups_trace_of(queue, TRACE_GIVEN_BACK, range);
    if (queue->order == IN_NO_ORDER) {
        group_queue_give_back(queue, range);
        groups_trace_note(queue, &event, &offsets, OK);
        groups_changed(queue);
        return true;
    }
    /* The log says that it is leased; it must say that it is not any more. */
    const struct event_retry retry = {
        .place = queue->place,
        .range = offsets,
        .attempt = range->attempts,
        .due_ms = range->due_ms,
        .reason = reason_text(range->reason),
        .key = range->key,
    };
    enum error error = groups_retry(queue, &retry);
    groups_trace_note(queue, &event, &offsets, error);
    if (error != OK) {
        return false;
    }
    struct open_range *open = open_ranges_find(&queue->open, retry.range.first);
    group_queue_due(queue, open);
    groups_changed(queue);
    return true;
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
