/* SPDX-License-Identifier: Apache-2.0 */
/* group_show_queue.c - what group.show says of one queue: numbers, what waits for what, the oldest. */
#include "broker/core.h"
#include "broker/group_key.h"
#include "broker/group_show.h"
#include "broker/group_start.h"
#include "broker/groups.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

#include <stdlib.h>

/* A queue that is looked at, in one of the groups. */
struct look {
    struct group_show *show;
    struct shown_queue *shown;
    struct shard *shard;
    struct queue *log_queue;
    struct queue_state state;
    const struct group *group;
    const struct group_queue *queue; /* NULL: not begun */
};

static uint64_t least_but_0(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* --------------------------------------------------------------- open ranges */

static void add_block(const struct look *look, const struct open_range *range)
{
    struct group_show *show = look->show;
    if (show->block_count == SHOWN_BLOCKS_MAX) {
        return;
    }
    if (show->blocks == NULL) {
        show->blocks = calloc(SHOWN_BLOCKS_MAX, sizeof(*show->blocks));
        ASSERT(show->blocks != NULL);
    }
    show->blocks[show->block_count++] = (struct shown_block){
        .offset = range->first,
        .until_ms = range->state == OPEN_DYING ? 0 : range->moment.key,
        .key = range->key,
        .attempt = (uint16_t)(range->attempts + (range->attempts < UINT16_MAX ? 1 : 0)),
        .is_leased = range->state == OPEN_LEASED,
    };
    look->shown->block_count++;
}

/* Whether others wait for it, or it has failed and they would have to. */
static bool is_block(const struct look *look, const struct open_range *range)
{
    bool has_failed = range->state == OPEN_WAITING || range->state == OPEN_DYING;
    if (look->shown->block_count == SHOWN_BLOCKS_OF_QUEUE) {
        return false;
    }
    switch (look->queue->order) {
    case GROUP_ORDER_NONE:
        return false;
    case GROUP_ORDER_QUEUE:
        return look->shown->block_count == 0 &&
               (range->state == OPEN_LEASED ||
                (has_failed && range == open_ranges_first(&look->queue->open)));
    case GROUP_ORDER_KEY:
        return has_failed ||
               (range->state == OPEN_LEASED && range->key != 0 && group_key_is_first(range) &&
                group_queue_next_of_key(look->queue, range->key, range->serial) != NULL);
    }
    UNREACHABLE("an order that the enum does not have");
}

static void look_at_range(const struct look *look, const struct open_range *range)
{
    struct shown_queue *shown = look->shown;
    if (range->state == OPEN_WAITING) {
        shown->next_retry_ms = least_but_0(shown->next_retry_ms, range->moment.key);
    } else if (range->state == OPEN_LEASED) {
        shown->lease_until_ms = least_but_0(shown->lease_until_ms, range->moment.key);
    }
    if (is_block(look, range)) {
        add_block(look, range);
    }
}

/* False: there is more, in a coming turn. */
static bool walk(const struct look *look)
{
    struct group_show *show = look->show;
    const struct open_ranges *open = &look->queue->open;
    const struct open_range *range = open_ranges_find(open, show->next_range);
    for (uint32_t i = 0; range != NULL; range = open_ranges_next(open, range)) {
        if (i++ == SHOWN_A_TURN) {
            show->next_range = range->first;
            return false;
        }
        look_at_range(look, range);
    }
    return true;
}

/* -------------------------------------------------------------------- numbers */

static enum shown_state judge(const struct look *look, uint64_t lag, struct group_bound *bound)
{
    const struct group_queue *queue = look->queue;
    if (lag == 0) {
        return SHOWN_IDLE;
    }
    if (queue == NULL || group_queue_has_work(queue, look->state.visible)) {
        return SHOWN_READY;
    }
    uint64_t leased = queue->in_state[OPEN_LEASED];
    uint64_t failed = queue->in_state[OPEN_WAITING] + queue->in_state[OPEN_DYING];
    if (queue->order != GROUP_ORDER_NONE && failed > 0 && lag > leased + failed) {
        return SHOWN_BLOCKED;
    }
    if (queue->next < look->state.visible && queue->order != GROUP_ORDER_QUEUE &&
        group_queue_is_full(queue, bound)) {
        return SHOWN_FULL;
    }
    return leased > 0                          ? SHOWN_LEASED
           : queue->in_state[OPEN_WAITING] > 0 ? SHOWN_WAITING
                                               : SHOWN_DEAD_LETTERS;
}

static void add_state(const struct look *look, uint64_t lag)
{
    struct shown_queue *shown = look->shown;
    struct group_bound bound = {.what = NULL};
    enum shown_state state = judge(look, lag, &bound);
    if (state >= shown->state) {
        shown->state = state;
        shown->bound = bound;
    }
}

uint64_t group_show_undone(const struct group_queue *queue, uint64_t start,
                           const struct queue_state *state)
{
    uint64_t next = queue == NULL ? start : queue->next;
    next = next > state->first ? next : state->first;
    uint64_t unread = state->visible > next ? state->visible - next : 0;
    return unread + (queue == NULL ? 0 : queue->open.offsets);
}

static void add_numbers(const struct look *look, uint64_t start, uint64_t oldest_ms)
{
    const struct group_queue *queue = look->queue;
    struct shown_queue *shown = look->shown;
    uint64_t first = look->state.first;
    uint64_t next = queue == NULL ? start : queue->next;
    uint64_t cursor = queue == NULL ? start : group_queue_cursor(queue);
    uint64_t gone = first > next ? first - next : 0; /* it will be noticed by who receives next */
    uint64_t lag = group_show_undone(queue, start, &look->state);
    shown->cursor = !shown->has_part || cursor < shown->cursor ? cursor : shown->cursor;
    shown->end = look->state.visible;
    shown->lag += lag;
    shown->skipped += gone;
    if (queue != NULL) {
        shown->leased += queue->in_state[OPEN_LEASED];
        shown->retrying += queue->retrying;
        shown->dying += queue->in_state[OPEN_DYING];
        shown->skipped += queue->skipped;
    }
    shown->oldest_ms = lag == 0 ? shown->oldest_ms : least_but_0(shown->oldest_ms, oldest_ms);
    add_state(look, lag);
    shown->has_part = true;
}

/* --------------------------------------------------------------------- looking */

/* The first offset that is not settled, where the group has not begun the start; when it was stored, 0 if it is
 * not there. False: cold. */
static bool find_oldest(const struct look *look, struct cold_range *cold, uint64_t *start_out,
                        uint64_t *oldest_ms_out)
{
    struct commit_log *log = look->shard->log;
    struct stored stored;
    *oldest_ms_out = 0;
    if (look->queue != NULL) {
        *start_out = group_queue_first_open(look->queue);
    } else if (!group_find_start(look->group, log, look->log_queue, cold, start_out)) {
        return false;
    }
    uint64_t first = look->state.first;
    uint64_t oldest = *start_out > first ? *start_out : first;
    if (oldest >= look->state.visible) {
        return true;
    }
    if (!commit_log_find_stored(log, look->log_queue, oldest, cold, &stored)) {
        return false;
    }
    *oldest_ms_out = stored.is_whole ? stored.stored_ms : 0;
    return true;
}

static enum tour_look look_at_part(const struct look *look, struct core *at)
{
    struct group_show *show = look->show;
    if (look->queue != NULL && !show->is_walked && !walk(look)) {
        return TOUR_AGAIN;
    }
    show->is_walked = true;
    struct cold_range range;
    uint64_t start;
    uint64_t oldest_ms;
    if (!find_oldest(look, queue_tour_cold(&show->tour, &range), &start, &oldest_ms)) {
        queue_tour_warm(&show->tour, at, &range);
        return TOUR_COLD;
    }
    add_numbers(look, start, oldest_ms);
    return TOUR_NEXT;
}

enum tour_look group_show_look(struct queue_tour *tour, struct core *at, uint32_t place)
{
    enum { PARTS_A_TURN = 128 };
    struct group_show *show = CONTAINER_OF(tour, struct group_show, tour);
    const struct toured_queue *toured = &tour->queues[place];
    struct look look = {
        .show = show,
        .shown = &show->queues[place],
        .shard = at->cores->shard[toured->shard],
    };
    look.log_queue = commit_log_queue_find(look.shard->log, toured->topic->id, toured->queue);
    look.shown->is_there = look.log_queue != NULL;
    if (show->part == 0 && show->next_range == 0 && !show->is_walked) {
        look.shown->block_first = show->block_count;
    }
    for (uint32_t i = 0; look.log_queue != NULL && show->part < show->part_count; i++) {
        if (i == PARTS_A_TURN) {
            return TOUR_AGAIN;
        }
        look.group = show->parts[show->part];
        look.state = queue_state(look.log_queue);
        const struct group_place of = {look.group->id, toured->topic->id, toured->queue};
        look.queue = groups_find(look.shard->groups, &of);
        enum tour_look result = look_at_part(&look, at);
        if (result != TOUR_NEXT) {
            return result;
        }
        show->part++;
        show->next_range = 0;
        show->is_walked = false;
    }
    look.shown->end = look.shown->has_part ? look.shown->end : look.state.visible;
    show->part = 0;
    show->next_range = 0;
    show->is_walked = false;
    return TOUR_NEXT;
}
