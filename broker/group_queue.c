/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_queue.c - what becomes of a queue's offsets in a group.
 */
#include "broker/group_queue.h"

#include "broker/group_key.h"
#include "broker/group_ranges.h"
#include "broker/groups.h"
#include "broker/limits.h"
#include "broker/member.h"
#include "broker/reason.h"

#include <stdlib.h>

static uint64_t end_of(const struct offset_range *range)
{
    return range->first + range->count;
}

static void reach(struct group_queue *queue, uint64_t end)
{
    queue->next = end > queue->next ? end : queue->next;
}

void group_queue_note_logged(struct group_queue *queue, const struct offset_range *range)
{
    queue->logged = end_of(range) > queue->logged ? end_of(range) : queue->logged;
}

/* -------------------------------------------------------------------- life */

struct group_queue *group_queue_create(struct groups *groups, const struct group_place *place,
                                       enum group_order order)
{
    struct group_queue *queue = calloc(1, sizeof(*queue));
    ASSERT(queue != NULL);
    queue->groups = groups;
    queue->place = *place;
    queue->order = order;
    list_init(&queue->all);
    list_init(&queue->of_group);
    list_init(&queue->dirty);
    list_init(&queue->in_ready);
    list_init(&queue->in_crowded);
    list_init(&queue->in_retention);
    list_init(&queue->waiter.link);
    list_init(&queue->ready);
    list_init(&queue->unknown);
    number_map_init(&queue->keys, groups->seed);
    return queue;
}

void group_queue_drop(struct open_range *range)
{
    ASSERT(range->queue->is_retired);
    group_range_remove(range->queue, range);
}

uint32_t group_queue_dismantle(struct group_queue *queue, uint32_t most)
{
    uint32_t count = 0;
    struct open_range *range;
    while (count < most && (range = open_ranges_first(&queue->open)) != NULL) {
        group_range_remove(queue, range);
        count++;
    }
    return count;
}

void group_queue_detach(struct group_queue *queue)
{
    if (queue->groups->walk == &queue->all) {
        queue->groups->walk = queue->all.next;
    }
    list_remove(&queue->all);
    list_remove(&queue->of_group);
    list_remove(&queue->dirty);
    list_remove(&queue->in_ready);
    list_remove(&queue->in_crowded);
    list_remove(&queue->in_retention);
    queue_waiter_cancel(&queue->waiter);
    queue->settled_count = 0;
}

void group_queue_destroy(struct group_queue *queue)
{
    group_queue_detach(queue);
    (void)group_queue_dismantle(queue, UINT32_MAX);
    open_ranges_deinit(&queue->open);
    number_map_deinit(&queue->keys);
    free(queue->settled);
    free(queue);
}

/* -------------------------------------------------------------- operations */

void group_queue_seek(struct group_queue *queue, uint32_t generation, uint64_t offset)
{
    (void)group_queue_dismantle(queue, UINT32_MAX);
    queue->settled_count = 0;
    queue->generation = generation;
    queue->next = offset;
    queue->logged = offset;
}

void group_queue_settle(struct group_queue *queue, const struct offset_range *range)
{
    group_queue_begin_to(queue, range->first);
    group_queue_cut(queue, range->first, end_of(range));
    reach(queue, end_of(range));
}

void group_queue_progress(struct group_queue *queue, const struct offset_range *range)
{
    group_queue_settle(queue, range);
    group_queue_note_logged(queue, range);
}

/* A range that is in no state is what `retry` tells; takes the reference to its reason over. */
static void fail_range(struct group_queue *queue, struct open_range *range,
                       const struct event_retry *retry, struct reason *reason)
{
    range->reason = reason;
    open_ranges_set_attempts(&queue->open, range, retry->attempt);
    range->due_ms = retry->due_ms;
    group_range_enter(queue, range, retry->due_ms == DUE_NEVER ? OPEN_DYING : OPEN_WAITING);
    if (range->state == OPEN_WAITING) {
        group_queue_set_moment(range, retry->due_ms);
    }
}

/* The same of one range that is open as it is told: it keeps its place. */
static void retry_in_place(struct group_queue *queue, struct open_range *range,
                           const struct event_retry *retry, struct reason *reason)
{
    bool was_leased = range->state == OPEN_LEASED;
    group_range_leave(queue, range);
    reason_unref(range->reason);
    fail_range(queue, range, retry, reason);
    if (was_leased) {
        group_range_free_key(queue, range);
    }
}

void group_queue_retry(struct group_queue *queue, const struct event_retry *retry)
{
    const struct offset_range *told = &retry->range;
    group_queue_begin_to(queue, told->first);
    struct open_range *range = open_ranges_find(&queue->open, told->first);
    struct reason *reason = reason_make(retry->reason, range == NULL ? NULL : range->reason);
    if (range != NULL && range->first == told->first && range->count == told->count &&
        range->key == retry->key) {
        retry_in_place(queue, range, retry, reason);
    } else {
        ASSERT(told->count <= UINT32_MAX);
        group_queue_cut(queue, told->first, end_of(told));
        range = group_range_add(queue, told->first, (uint32_t)told->count, retry->key);
        fail_range(queue, range, retry, reason);
        reach(queue, end_of(told));
    }
    (void)group_range_join(queue, range);
    group_queue_note_logged(queue, told);
}

struct open_range *group_queue_carve(struct group_queue *queue, struct open_range *range,
                                     const struct offset_range *offsets)
{
    ASSERT(range->first <= offsets->first && open_range_end(range) >= end_of(offsets));
    if (range->first < offsets->first) {
        range = group_queue_split(queue, range, (uint32_t)(offsets->first - range->first));
    }
    if (range->count > offsets->count) {
        (void)group_queue_split(queue, range, (uint32_t)offsets->count);
    }
    return range;
}

/* The offsets as one range of their own; what is open of them keeps what it was. */
static struct open_range *isolate(struct group_queue *queue, const struct offset_range *told,
                                  uint32_t key)
{
    group_queue_begin_to(queue, told->first);
    if (key != 0 && told->first == queue->next) {
        return group_queue_meet_key(queue, told->first, key);
    }
    struct open_range *range = open_ranges_find(&queue->open, told->first);
    if (range != NULL && range->first <= told->first && open_range_end(range) >= end_of(told)) {
        bool is_met = key == 0 || range->is_looked_at;
        range = group_queue_carve(queue, range, told);
        return is_met ? range : group_queue_meet_key(queue, told->first, key);
    }
    ASSERT(told->count <= UINT32_MAX);
    group_queue_cut(queue, told->first, end_of(told));
    range = group_range_add(queue, told->first, (uint32_t)told->count, key);
    group_range_enter_open(queue, range);
    reach(queue, end_of(told));
    return range;
}

void group_queue_lease(struct group_queue *queue, const struct event_lease *lease,
                       struct group_member *member)
{
    struct open_range *range = isolate(queue, &lease->range, lease->key);
    range->is_looked_at = true; /* who leases it has looked for its key: 0 is none */
    if (range->state == OPEN_LEASED && range->serial == lease->serial) {
        if (range->member == NULL) {
            range->member = group_member_ref(member);
            group_member_take(member, range->count);
        }
    } else {
        group_range_leave(queue, range);
        range->serial = lease->serial;
        range->member = group_member_ref(member);
        group_range_enter(queue, range, OPEN_LEASED);
    }
    group_queue_set_moment(range, lease->until_ms);
}

/* -------------------------------------------------------------------- live */

void group_queue_give_back(struct group_queue *queue, struct open_range *range)
{
    ASSERT(range->state == OPEN_LEASED);
    group_range_free_key(queue, group_range_open_again(queue, range));
}

void group_queue_due(struct group_queue *queue, struct open_range *range)
{
    ASSERT(range->state == OPEN_WAITING);
    (void)group_range_open_again(queue, range);
}

void group_queue_replayed(struct group_queue *queue)
{
    struct open_range *range = open_ranges_first(&queue->open);
    for (; range != NULL; range = open_ranges_next(&queue->open, range)) {
        /* What a replay has opened late may lie before what a snapshot has. */
        if (range->state == OPEN_READY || (range->state == OPEN_WAITING && range->due_ms == 0)) {
            range = group_range_open_again(queue, range);
        }
    }
}

struct open_range *group_queue_meet_key(struct group_queue *queue, uint64_t offset, uint32_t key)
{
    ASSERT(queue->order == GROUP_ORDER_KEY);
    struct open_range *unknown = open_ranges_find(&queue->open, offset);
    struct open_range known = {.attempts = 0};
    if (unknown != NULL && unknown->first == offset) {
        ASSERT(!unknown->is_looked_at);
        known = *unknown;
        (void)reason_ref(known.reason);
        group_queue_cut(queue, offset, offset + 1);
    }
    struct open_range *range = group_range_add(queue, offset, 1, key);
    range->is_looked_at = true;
    open_ranges_set_attempts(&queue->open, range, known.attempts);
    range->due_ms = known.due_ms;
    range->reason = known.reason;
    group_range_enter_open(queue, range);
    reach(queue, offset + 1);
    return range;
}

/* --------------------------------------------------------------- questions */

uint64_t group_queue_cursor(const struct group_queue *queue)
{
    const struct open_range *range = open_ranges_first_untried(&queue->open);
    return range == NULL ? queue->next : range->first;
}

uint64_t group_queue_first_open(const struct group_queue *queue)
{
    const struct open_range *range = open_ranges_first(&queue->open);
    return range == NULL ? queue->next : range->first;
}

bool group_queue_is_full(const struct group_queue *queue, struct group_bound *bound_out)
{
    const struct group_bound bounds[] = {
        {"messages of a group that are open in a queue", GROUP_OPEN_MAX, queue->open.offsets},
        {"messages of a group that have failed in a queue", GROUP_RETRIES_MAX, queue->retrying},
        {"messages of a group that wait for their keys in a queue", GROUP_BLOCKED_MAX,
         queue->in_state[OPEN_BLOCKED]},
        {"open ranges of all groups in a shard", GROUP_RANGES_MAX, queue->groups->range_count},
    };
    for (uint32_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
        if (bounds[i].usage >= bounds[i].limit) {
            *bound_out = bounds[i];
            return true;
        }
    }
    return false;
}

bool group_queue_has_room(const struct group_queue *queue, const struct offset_range *offsets,
                          bool are_settled)
{
    const struct open_range *range = open_ranges_find(&queue->open, offsets->first);
    bool is_open = range != NULL && range->first <= offsets->first;
    bool has_before = (is_open ? range->first : queue->next) < offsets->first;
    bool has_behind = is_open && open_range_end(range) > end_of(offsets);
    uint64_t pieces = (uint64_t)has_before + has_behind + !are_settled;
    uint64_t more = pieces > is_open ? pieces - is_open : 0;
    return more == 0 || queue->groups->range_count + more <= GROUP_RANGES_MAX;
}

bool group_queue_has_work(const struct group_queue *queue, uint64_t visible)
{
    struct group_bound bound;
    if (queue->order == GROUP_ORDER_QUEUE) {
        const struct open_range *first = open_ranges_first(&queue->open);
        return queue->in_state[OPEN_LEASED] == 0 &&
               (first == NULL ? queue->next < visible : first->state == OPEN_READY);
    }
    return !list_is_empty(&queue->ready) || !list_is_empty(&queue->unknown) ||
           (queue->next < visible && !group_queue_is_full(queue, &bound));
}

/* -------------------------------------------------------------------- hash */

/* What the log knows of a range, besides its offsets. */
static uint64_t hash_range(const struct group_queue *queue, const struct open_range *range)
{
    static const struct map_seed seed = {.low = 5, .high = 6};
    uint64_t hash = map_mix(map_mix(1, range->attempts), range->due_ms);
    hash = map_mix(hash, map_hash(seed, reason_text(range->reason)));
    if (queue->order != GROUP_ORDER_NONE && range->state == OPEN_LEASED) {
        hash = map_mix(map_mix(hash, range->serial), range->moment.key);
    }
    return hash;
}

uint64_t group_queue_hash(const struct group_queue *queue)
{
    uint64_t hash =
        map_mix(queue->generation, (uint64_t)queue->place.group << 32 | queue->place.topic);
    hash = map_mix(map_mix(hash, queue->place.queue), queue->logged);
    hash = map_mix(hash, queue->skipped);
    /* Neighbors that are alike count as one: how they were cut is nobody's concern. */
    uint64_t first = 0;
    uint64_t end = 0;
    uint64_t last = 0;
    struct open_range *range = open_ranges_first(&queue->open);
    for (; range != NULL && range->first < queue->logged;
         range = open_ranges_next(&queue->open, range)) {
        uint64_t what = hash_range(queue, range);
        if (range->first != end || what != last) {
            hash = end == 0 ? hash : map_mix(map_mix(map_mix(hash, first), end), last);
            first = range->first;
            last = what;
        }
        end = open_range_end(range) < queue->logged ? open_range_end(range) : queue->logged;
    }
    return end == 0 ? hash : map_mix(map_mix(map_mix(hash, first), end), last);
}
