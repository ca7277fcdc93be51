/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_queue_world.h - one queue of a group by itself: begun, changed by short words, and checked for what must
 * hold of it always.
 */
#ifndef TEST_UNIT_BROKER_GROUP_QUEUE_WORLD_H
#define TEST_UNIT_BROKER_GROUP_QUEUE_WORLD_H

#include "broker/group_queue.h"
#include "broker/groups.h"
#include "broker/member.h"

#include <check.h>

#include <string.h>

static struct groups groups;
static struct group_queue *queue;
static struct group_member *member;

static const struct group_place place = {.group = 3, .topic = 4, .queue = 5};

static inline void begin(enum group_order order)
{
    memset(&groups, 0, sizeof(groups));
    groups.seed = (struct map_seed){1, 2};
    heap_init(&groups.moments);
    list_init(&groups.dying);
    queue = group_queue_create(&groups, &place, order);
    member = group_member_create(bytes_from_string("member"));
    group_queue_seek(queue, 1, 0);
}

static inline void end(void)
{
    group_queue_destroy(queue);
    ck_assert_uint_eq(groups.range_count, 0);
    ck_assert_uint_eq(atomic_load(&member->leased), 0);
    ck_assert_uint_eq(atomic_load(&member->references), 1);
    ck_assert_uint_eq(groups.moments.count, 0);
    ck_assert(list_is_empty(&groups.dying));
    group_member_unref(member);
    heap_deinit(&groups.moments);
}

/* ------------------------------------------------------------------ checks */

static inline uint32_t length_of(const struct list *head)
{
    uint32_t length = 0;
    LIST_FOREACH (link, head) {
        length++;
    }
    return length;
}

/* What must hold of a range by itself; counts it. */
static inline void check_range(const struct open_range *range, uint64_t counted[5],
                               uint64_t *retrying)
{
    bool has_moment = range->state == OPEN_LEASED || range->state == OPEN_WAITING;
    ck_assert_uint_gt(range->count, 0);
    ck_assert_ptr_eq(range->queue, queue);
    ck_assert_int_eq(heap_node_is_in(&range->moment), has_moment);
    ck_assert(range->member == NULL || range->state == OPEN_LEASED);
    ck_assert(range->key == 0 || (range->count == 1 && range->is_looked_at));
    ck_assert(range->state != OPEN_BLOCKED || range->key != 0);
    counted[range->state] += range->count;
    bool is_retrying =
        range->attempts > 0 && range->state != OPEN_LEASED && range->state != OPEN_DYING;
    *retrying += is_retrying ? range->count : 0;
}

/* What may be given out of a key is the first of it, as long as nobody has another of it. */
static inline void check_key(const struct open_range *range)
{
    bool has_before = false;
    bool is_held = false;
    bool is_before = true;
    const struct open_range *other = open_ranges_first(&queue->open);
    for (; other != NULL; other = open_ranges_next(&queue->open, other)) {
        is_before = is_before && other != range;
        if (other != range && other->key == range->key) {
            has_before = has_before || is_before;
            is_held = is_held || other->state == OPEN_LEASED;
        }
    }
    if (range->state == OPEN_READY) {
        ck_assert(!has_before && !is_held);
    } else if (range->state == OPEN_BLOCKED) {
        ck_assert(has_before || is_held);
    }
}

static inline void check_queue(void)
{
    uint64_t counted[5] = {0};
    uint64_t retrying = 0;
    uint64_t at = 0;
    uint64_t offsets = 0;
    uint32_t ranges = 0;
    uint32_t in_lists = 0;
    const struct open_range *range = open_ranges_first(&queue->open);
    for (; range != NULL; range = open_ranges_next(&queue->open, range)) {
        check_range(range, counted, &retrying);
        ck_assert_uint_ge(range->first, at);
        at = open_range_end(range);
        offsets += range->count;
        ranges++;
        in_lists += range->state == OPEN_READY;
        if (range->key != 0) {
            check_key(range);
        }
    }
    ck_assert_uint_le(at, queue->next);
    ck_assert_uint_le(queue->logged, queue->next);
    ck_assert_uint_eq(queue->open.offsets, offsets);
    ck_assert_uint_eq(queue->open.count, ranges);
    ck_assert_uint_eq(groups.range_count, ranges);
    ck_assert_uint_eq(queue->retrying, retrying);
    ck_assert_mem_eq(queue->in_state, counted, sizeof(counted));
    ck_assert_uint_eq(length_of(&queue->ready) + length_of(&queue->unknown), in_lists);
    ck_assert(queue->order == GROUP_ORDER_KEY || list_is_empty(&queue->unknown));
    ck_assert_uint_le(atomic_load(&member->leased), counted[OPEN_LEASED]);
}

/* ------------------------------------------------------------- short words */

static inline void settle(uint64_t first, uint64_t count)
{
    const struct offset_range range = {first, count};
    group_queue_settle(queue, &range);
    check_queue();
}

static inline void progress(uint64_t first, uint64_t count)
{
    const struct offset_range range = {first, count};
    group_queue_progress(queue, &range);
    check_queue();
}

static inline void lease_key(uint64_t first, uint64_t count, uint64_t serial, uint32_t key)
{
    const struct event_lease lease = {
        .place = place, .range = {first, count}, .until_ms = 500, .serial = serial, .key = key};
    group_queue_lease(queue, &lease, member);
    if (queue->order != GROUP_ORDER_NONE) {
        group_queue_note_logged(queue, &lease.range);
    }
    check_queue();
}

static inline void lease(uint64_t first, uint64_t count, uint64_t serial)
{
    lease_key(first, count, serial, 0);
}

static inline void retry_key(uint64_t first, uint64_t count, uint16_t attempt, uint64_t due_ms,
                             uint32_t key)
{
    const struct event_retry retry = {.place = place,
                                      .range = {first, count},
                                      .attempt = attempt,
                                      .due_ms = due_ms,
                                      .reason = bytes_from_string("why"),
                                      .key = key};
    group_queue_retry(queue, &retry);
    check_queue();
}

static inline void retry(uint64_t first, uint64_t count, uint16_t attempt, uint64_t due_ms)
{
    retry_key(first, count, attempt, due_ms, 0);
}

static inline struct open_range *at(uint64_t offset)
{
    struct open_range *range = open_ranges_find(&queue->open, offset);
    return range != NULL && range->first <= offset ? range : NULL;
}

#define ck_state(offset, expected)                     \
    do {                                               \
        ck_assert_ptr_nonnull(at(offset));             \
        ck_assert_int_eq(at(offset)->state, expected); \
    } while (0)

#define ck_range(offset, from, to)                                     \
    do {                                                               \
        ck_assert_ptr_nonnull(at(offset));                             \
        ck_assert_uint_eq(at(offset)->first, (uint64_t)(from));        \
        ck_assert_uint_eq(open_range_end(at(offset)), (uint64_t)(to)); \
    } while (0)

#endif
