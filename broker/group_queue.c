/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_queue.c - what becomes of a queue's offsets in a group.
 */
#include "broker/group_queue.h"

#include "broker/group_key.h"
#include "broker/groups.h"
#include "broker/limits.h"
#include "broker/member.h"
#include "broker/reason.h"

#include <stdlib.h>

/* ------------------------------------------------------------------ ranges */

static uint64_t end_of(const struct offset_range *range)
{
    return range->first + range->count;
}

static struct open_range *range_create(struct group_queue *queue, uint64_t first, uint32_t count)
{
    struct open_range *range = group_range_allocate(queue);
    heap_node_init(&range->moment);
    list_init(&range->link);
    range->queue = queue;
    range->first = first;
    range->count = count;
    queue->groups->range_count++;
    return range;
}

static void range_destroy(struct group_queue *queue, struct open_range *range)
{
    reason_unref(range->reason);
    queue->groups->range_count--;
    free(range);
}

static bool is_retrying(const struct open_range *range)
{
    return range->attempts > 0 && range->state != OPEN_LEASED && range->state != OPEN_DYING;
}

/* Counts `range` in what it is now, `by` 1, or out of it, -1. */
static void count_in(struct group_queue *queue, const struct open_range *range, int by)
{
    uint64_t offsets = by > 0 ? range->count : 0 - (uint64_t)range->count;
    queue->in_state[range->state] += offsets;
    queue->retrying += is_retrying(range) ? offsets : 0;
    if (range->state == OPEN_LEASED && by > 0) {
        group_member_take(range->member, range->count);
    } else if (range->state == OPEN_LEASED) {
        group_member_give(range->member, range->count);
    }
}

/* Ends what the range is in: the state that it is to have comes next. */
static void leave_state(struct group_queue *queue, struct open_range *range)
{
    count_in(queue, range, -1);
    list_remove(&range->link);
    if (heap_node_is_in(&range->moment)) {
        heap_remove(&queue->groups->moments, &range->moment);
    }
    if (range->state == OPEN_LEASED) {
        group_member_unref(range->member);
        range->member = NULL;
        range->is_given_back = false;
        if (range->key != 0) {
            group_key_count_leased(range, false);
        }
    }
}

/* In the order of offsets, since what comes first of a key must be met first. */
static void add_unknown(struct group_queue *queue, struct open_range *range)
{
    struct list *place = &queue->unknown;
    while (place->previous != &queue->unknown &&
           CONTAINER_OF(place->previous, struct open_range, link)->first > range->first) {
        place = place->previous;
    }
    list_insert_before(place, &range->link);
}

static void enter_state(struct group_queue *queue, struct open_range *range, enum open_state state)
{
    range->state = (uint8_t)state;
    count_in(queue, range, 1);
    bool is_unknown = queue->order == GROUP_ORDER_KEY && !range->is_looked_at;
    if (state == OPEN_LEASED && range->key != 0) {
        group_key_count_leased(range, true);
    }
    if (state == OPEN_READY && is_unknown) {
        add_unknown(queue, range);
    } else if (state == OPEN_READY) {
        list_append(&queue->ready, &range->link);
    } else if (state == OPEN_DYING) {
        list_append(&queue->groups->dying, &range->link);
    }
}

void group_queue_set_moment(struct open_range *range, uint64_t at_ms)
{
    struct heap *moments = &range->queue->groups->moments;
    if (heap_node_is_in(&range->moment)) {
        heap_move(moments, &range->moment, at_ms);
    } else {
        ASSERT(heap_insert(moments, &range->moment, at_ms));
    }
}

/* READY, or BLOCKED where an earlier message of its key is open, or a later one somebody's. */
static void enter_open(struct group_queue *queue, struct open_range *range)
{
    bool is_blocked = range->key != 0 && !group_key_is_free(range);
    enter_state(queue, range, is_blocked ? OPEN_BLOCKED : OPEN_READY);
}

/* `first` may be given out now, what became the second of its key may not. */
static void order_key(struct group_queue *queue, struct open_range *first,
                      struct open_range *second)
{
    if (first != NULL && first->state == OPEN_BLOCKED) {
        leave_state(queue, first);
        enter_state(queue, first, OPEN_READY);
    }
    if (second != NULL && second->state == OPEN_READY) {
        leave_state(queue, second);
        enter_state(queue, second, OPEN_BLOCKED);
    }
}

/* What was LEASED of a key is it no more: the first of the key may have waited for that. */
static void free_key(struct group_queue *queue, const struct open_range *range)
{
    if (range->key != 0) {
        order_key(queue, group_key_freed(range), NULL);
    }
}

static void range_remove(struct group_queue *queue, struct open_range *range)
{
    bool was_leased = range->state == OPEN_LEASED;
    leave_state(queue, range);
    open_ranges_remove(&queue->open, range);
    if (was_leased && range->key != 0 && !group_key_is_first(range)) {
        free_key(queue, range);
    }
    if (range->key != 0) {
        order_key(queue, group_key_leave(queue, range), NULL);
    }
    range_destroy(queue, range);
}

/* Adds a range in no state yet: enter_state() follows. */
static struct open_range *range_add(struct group_queue *queue, uint64_t first, uint32_t count,
                                    uint32_t key)
{
    struct open_range *range = range_create(queue, first, count);
    open_ranges_add(&queue->open, range);
    if (key != 0) {
        range->key = key;
        range->is_looked_at = true;
        order_key(queue, NULL, group_key_enter(queue, range));
    }
    return range;
}

static void range_resize(struct group_queue *queue, struct open_range *range, uint64_t first,
                         uint32_t count)
{
    count_in(queue, range, -1);
    open_ranges_resize(&queue->open, range, first, count);
    count_in(queue, range, 1);
}

struct open_range *group_queue_split(struct group_queue *queue, struct open_range *range,
                                     uint32_t count)
{
    ASSERT(count > 0 && count < range->count && range->key == 0);
    struct open_range *second = range_create(queue, range->first + count, range->count - count);
    range_resize(queue, range, range->first, count);
    second->reason = reason_ref(range->reason);
    second->serial = range->serial;
    second->due_ms = range->due_ms;
    second->attempts = range->attempts;
    second->is_looked_at = range->is_looked_at;
    second->is_given_back = range->is_given_back;
    second->member = range->state == OPEN_LEASED ? group_member_ref(range->member) : NULL;
    open_ranges_add(&queue->open, second);
    second->state = range->state;
    count_in(queue, second, 1);
    if (!list_is_empty(&range->link)) {
        list_insert_before(range->link.next, &second->link); /* right behind it */
    }
    if (heap_node_is_in(&range->moment)) {
        group_queue_set_moment(second, range->moment.key);
    }
    return second;
}

/* Whether a range goes on where the one before ends, and is alike: not in the order of keys, where each offset is one. */
static bool goes_on(const struct open_range *range, const struct open_range *next)
{
    bool is_nobodys = range->state == OPEN_READY || range->state == OPEN_WAITING;
    return is_nobodys && range->queue->order != GROUP_ORDER_KEY &&
           open_range_end(range) == next->first && range->count <= UINT32_MAX - next->count &&
           range->state == next->state && range->attempts == next->attempts &&
           range->due_ms == next->due_ms &&
           bytes_equal(reason_text(range->reason), reason_text(next->reason));
}

static void absorb(struct group_queue *queue, struct open_range *range, struct open_range *next)
{
    uint32_t count = range->count + next->count;
    range_remove(queue, next);
    range_resize(queue, range, range->first, count);
}

/* Makes a range and its neighbors one where they are alike; gives that. */
static struct open_range *join(struct group_queue *queue, struct open_range *range)
{
    struct open_range *next = open_ranges_next(&queue->open, range);
    if (next != NULL && goes_on(range, next)) {
        absorb(queue, range, next);
    }
    struct open_range *before =
        range->first == 0 ? NULL : open_ranges_find(&queue->open, range->first - 1);
    if (before != NULL && goes_on(before, range)) {
        absorb(queue, before, range);
        range = before;
    }
    return range;
}

/* It is nobody's any more, or its due has come. */
static struct open_range *open_again(struct group_queue *queue, struct open_range *range)
{
    leave_state(queue, range);
    enter_open(queue, range);
    return join(queue, range);
}

/* Takes offsets out of what is open. */
static void cut(struct group_queue *queue, uint64_t first, uint64_t end)
{
    struct open_range *range;
    while ((range = open_ranges_find(&queue->open, first)) != NULL && range->first < end) {
        uint64_t from = first > range->first ? first : range->first;
        uint64_t to = end < open_range_end(range) ? end : open_range_end(range);
        if (from > range->first && to < open_range_end(range)) {
            range = group_queue_split(queue, range, (uint32_t)(from - range->first));
        }
        if (from == range->first && to == open_range_end(range)) {
            range_remove(queue, range);
        } else if (from == range->first) {
            range_resize(queue, range, to, (uint32_t)(open_range_end(range) - to));
        } else {
            range_resize(queue, range, range->first, (uint32_t)(from - range->first));
        }
        first = to;
    }
}

/* What lies between `next` and `first` is open from here. */
static void begin_to(struct group_queue *queue, uint64_t first)
{
    if (queue->next < first) {
        ASSERT(first - queue->next <= UINT32_MAX); /* whoever goes so far was refused */
        uint32_t count = (uint32_t)(first - queue->next);
        enter_state(queue, range_add(queue, queue->next, count, 0), OPEN_READY);
        queue->next = first;
    }
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
    range_remove(range->queue, range);
}

uint32_t group_queue_dismantle(struct group_queue *queue, uint32_t most)
{
    uint32_t count = 0;
    struct open_range *range;
    while (count < most && (range = open_ranges_first(&queue->open)) != NULL) {
        range_remove(queue, range);
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
    begin_to(queue, range->first);
    cut(queue, range->first, end_of(range));
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
    enter_state(queue, range, retry->due_ms == DUE_NEVER ? OPEN_DYING : OPEN_WAITING);
    if (range->state == OPEN_WAITING) {
        group_queue_set_moment(range, retry->due_ms);
    }
}

/* The same of one range that is open as it is told: it keeps its place. */
static void retry_in_place(struct group_queue *queue, struct open_range *range,
                           const struct event_retry *retry, struct reason *reason)
{
    bool was_leased = range->state == OPEN_LEASED;
    leave_state(queue, range);
    reason_unref(range->reason);
    fail_range(queue, range, retry, reason);
    if (was_leased) {
        free_key(queue, range);
    }
}

void group_queue_retry(struct group_queue *queue, const struct event_retry *retry)
{
    const struct offset_range *told = &retry->range;
    begin_to(queue, told->first);
    struct open_range *range = open_ranges_find(&queue->open, told->first);
    struct reason *reason = reason_make(retry->reason, range == NULL ? NULL : range->reason);
    if (range != NULL && range->first == told->first && range->count == told->count &&
        range->key == retry->key) {
        retry_in_place(queue, range, retry, reason);
    } else {
        ASSERT(told->count <= UINT32_MAX);
        cut(queue, told->first, end_of(told));
        range = range_add(queue, told->first, (uint32_t)told->count, retry->key);
        fail_range(queue, range, retry, reason);
        reach(queue, end_of(told));
    }
    (void)join(queue, range);
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
    begin_to(queue, told->first);
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
    cut(queue, told->first, end_of(told));
    range = range_add(queue, told->first, (uint32_t)told->count, key);
    enter_open(queue, range);
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
        leave_state(queue, range);
        range->serial = lease->serial;
        range->member = group_member_ref(member);
        enter_state(queue, range, OPEN_LEASED);
    }
    group_queue_set_moment(range, lease->until_ms);
}

/* -------------------------------------------------------------------- live */

void group_queue_give_back(struct group_queue *queue, struct open_range *range)
{
    ASSERT(range->state == OPEN_LEASED);
    free_key(queue, open_again(queue, range));
}

void group_queue_due(struct group_queue *queue, struct open_range *range)
{
    ASSERT(range->state == OPEN_WAITING);
    (void)open_again(queue, range);
}

void group_queue_replayed(struct group_queue *queue)
{
    struct open_range *range = open_ranges_first(&queue->open);
    for (; range != NULL; range = open_ranges_next(&queue->open, range)) {
        /* What a replay has opened late may lie before what a snapshot has. */
        if (range->state == OPEN_READY || (range->state == OPEN_WAITING && range->due_ms == 0)) {
            range = open_again(queue, range);
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
        cut(queue, offset, offset + 1);
    }
    struct open_range *range = range_add(queue, offset, 1, key);
    range->is_looked_at = true;
    open_ranges_set_attempts(&queue->open, range, known.attempts);
    range->due_ms = known.due_ms;
    range->reason = known.reason;
    enter_open(queue, range);
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
