/* SPDX-License-Identifier: Apache-2.0 */
/* groups_trace.c - what happens to ranges, told to the shard's trace. */
#include "broker/core.h"
#include "broker/groups.h"
#include "broker/member.h"
#include "broker/shard.h"

struct trace_event groups_trace_of(const struct group_queue *queue, enum trace_outcome outcome,
                                   const struct open_range *range)
{
    uint64_t now_ms = reactor_wall_ms(queue->groups->shard->core->reactor);
    struct trace_event event = {
        .at_ms = now_ms & TRACE_AT_MAX,
        .outcome = outcome & UINT8_MAX,
        .group = queue->place.group,
        .topic = queue->place.topic,
        .queue = queue->place.queue,
    };
    if (range != NULL) {
        event.attempt = attempts_after(range->attempts);
        /* How it ends is told of whom it was given to: counting references twice costs time. */
        event.member = outcome == TRACE_LEASED ? group_member_ref(range->member) : NULL;
    }
    return event;
}

void groups_trace_note(struct group_queue *queue, const struct trace_event *event,
                       const struct offset_range *offsets, enum error error)
{
    if (error == OK) {
        delivery_trace_note_range(&queue->groups->trace, event, offsets);
    } else {
        group_member_unref(event->member);
    }
}
