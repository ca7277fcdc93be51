/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups_sessions.c - what sessions hold in a shard, and how it is given back.
 */
#include "broker/core.h"
#include "broker/groups.h"
#include "broker/shard.h"

#include <stdlib.h>

/* ----------------------------------------------------------------- sessions */

void groups_hold(struct groups *groups, uint64_t session, struct open_range *range)
{
    struct session_leases *leases = number_map_find(&groups->sessions, session);
    if (leases == NULL) {
        leases = malloc(sizeof(*leases));
        ASSERT(leases != NULL);
        list_init(&leases->ranges);
        ASSERT(number_map_put(&groups->sessions, session, leases));
    }
    list_append(&leases->ranges, &range->link);
}

static void release_some(struct groups *groups)
{
    struct list *link;
    while (groups->release_left > 0 && (link = list_take_first(&groups->released)) != NULL) {
        struct open_range *range = CONTAINER_OF(link, struct open_range, link);
        groups->release_left--;
        if (!range->queue->is_retired) {
            (void)groups_give_back(range);
        }
    }
}

/* As many as the turn has left; then a timer begins the next. */
static void release_in_turn(struct groups *groups)
{
    struct reactor *reactor = groups->shard->core->reactor;
    if (!list_is_empty(&groups->released)) {
        release_some(groups);
        timer_start(reactor, &groups->release_timer, reactor_now_ns(reactor));
    }
}

void groups_release_more(struct timer *timer)
{
    struct groups *groups = CONTAINER_OF(timer, struct groups, release_timer);
    groups->release_left = GROUPS_RELEASED_A_TURN;
    release_in_turn(groups);
}

void groups_release_rest(struct groups *groups)
{
    groups->release_left = UINT32_MAX;
    release_some(groups);
}

/* Moves what was given out with these serials, which are in order: the newest are the last, and mostly what is
 * meant. */
static void move_serials(struct list *to, struct list *leases, uint64_t first, uint64_t last)
{
    struct list *place = to;
    struct list *link = leases->previous;
    while (link != leases) {
        const struct open_range *range = CONTAINER_OF(link, struct open_range, link);
        struct list *moved = link;
        link = link->previous;
        if (range->serial < first) {
            return;
        }
        if (range->serial <= last) {
            list_remove(moved);
            list_insert_before(place, moved);
            place = moved;
        }
    }
}

void groups_release(struct groups *groups, uint64_t session, uint64_t first_serial,
                    uint64_t last_serial)
{
    struct session_leases *leases = number_map_find(&groups->sessions, session);
    if (leases == NULL || last_serial == 0) {
        return;
    }
    if (first_serial == 0 && last_serial == UINT64_MAX) {
        list_move_all(&groups->released, &leases->ranges);
    } else {
        move_serials(&groups->released, &leases->ranges, first_serial, last_serial);
    }
    if (list_is_empty(&leases->ranges)) {
        groups_forget_session(groups, session); /* it may be gone, and nobody say so again */
    }
    release_in_turn(groups);
}

void groups_forget_session(struct groups *groups, uint64_t session)
{
    struct session_leases *leases = number_map_remove(&groups->sessions, session);
    if (leases != NULL) {
        list_remove(&leases->ranges); /* they stay in a list without a head */
        free(leases);
    }
}

bool groups_give_back(struct open_range *range)
{
    struct group_queue *queue = range->queue;
    const struct offset_range offsets = {range->first, range->count};
    const struct trace_event event = groups_trace_of(queue, TRACE_GIVEN_BACK, range);
    if (queue->order == GROUP_ORDER_NONE) {
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
        range->is_given_back = true;
        return false;
    }
    struct open_range *open = open_ranges_find(&queue->open, retry.range.first);
    group_queue_due(queue, open);
    groups_changed(queue);
    return true;
}
