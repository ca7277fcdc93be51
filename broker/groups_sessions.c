/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups_sessions.c - what sessions hold in a shard, and how it is given back.
 */
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
        if (range->serial <= last_serial && !range->queue->is_retired) {
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
        return false;
    }
    struct open_range *open = open_ranges_find(&queue->open, retry.range.first);
    group_queue_due(queue, open);
    groups_changed(queue);
    return true;
}
