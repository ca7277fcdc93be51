/* SPDX-License-Identifier: Apache-2.0 */
/* group_ranges.c - an open range from state to state, and how ranges come, are cut, joined, and go. */
#include "broker/group_ranges.h"

#include "broker/group_key.h"
#include "broker/groups.h"
#include "broker/member.h"
#include "broker/reason.h"

#include <stdlib.h>

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

void group_range_leave(struct group_queue *queue, struct open_range *range)
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

void group_range_enter(struct group_queue *queue, struct open_range *range, enum open_state state)
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

void group_range_enter_open(struct group_queue *queue, struct open_range *range)
{
    bool is_blocked = range->key != 0 && !group_key_is_free(range);
    group_range_enter(queue, range, is_blocked ? OPEN_BLOCKED : OPEN_READY);
}

/* `first` may be given out now, what became the second of its key may not. */
static void order_key(struct group_queue *queue, struct open_range *first,
                      struct open_range *second)
{
    if (first != NULL && first->state == OPEN_BLOCKED) {
        group_range_leave(queue, first);
        group_range_enter(queue, first, OPEN_READY);
    }
    if (second != NULL && second->state == OPEN_READY) {
        group_range_leave(queue, second);
        group_range_enter(queue, second, OPEN_BLOCKED);
    }
}

void group_range_free_key(struct group_queue *queue, const struct open_range *range)
{
    if (range->key != 0) {
        order_key(queue, group_key_freed(range), NULL);
    }
}

void group_range_remove(struct group_queue *queue, struct open_range *range)
{
    bool was_leased = range->state == OPEN_LEASED;
    group_range_leave(queue, range);
    open_ranges_remove(&queue->open, range);
    if (was_leased && range->key != 0 && !group_key_is_first(range)) {
        group_range_free_key(queue, range);
    }
    if (range->key != 0) {
        order_key(queue, group_key_leave(queue, range), NULL);
    }
    range_destroy(queue, range);
}

struct open_range *group_range_add(struct group_queue *queue, uint64_t first, uint32_t count,
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
    group_range_remove(queue, next);
    range_resize(queue, range, range->first, count);
}

struct open_range *group_range_join(struct group_queue *queue, struct open_range *range)
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

struct open_range *group_range_open_again(struct group_queue *queue, struct open_range *range)
{
    group_range_leave(queue, range);
    group_range_enter_open(queue, range);
    return group_range_join(queue, range);
}

void group_queue_cut(struct group_queue *queue, uint64_t first, uint64_t end)
{
    struct open_range *range;
    while ((range = open_ranges_find(&queue->open, first)) != NULL && range->first < end) {
        uint64_t from = first > range->first ? first : range->first;
        uint64_t to = end < open_range_end(range) ? end : open_range_end(range);
        if (from > range->first && to < open_range_end(range)) {
            range = group_queue_split(queue, range, (uint32_t)(from - range->first));
        }
        if (from == range->first && to == open_range_end(range)) {
            group_range_remove(queue, range);
        } else if (from == range->first) {
            range_resize(queue, range, to, (uint32_t)(open_range_end(range) - to));
        } else {
            range_resize(queue, range, range->first, (uint32_t)(from - range->first));
        }
        first = to;
    }
}

void group_queue_begin_to(struct group_queue *queue, uint64_t first)
{
    if (queue->next < first) {
        ASSERT(first - queue->next <= UINT32_MAX); /* whoever goes so far was refused */
        uint32_t count = (uint32_t)(first - queue->next);
        group_range_enter(queue, group_range_add(queue, queue->next, count, 0), OPEN_READY);
        queue->next = first;
    }
}
