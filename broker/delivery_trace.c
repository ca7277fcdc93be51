/* SPDX-License-Identifier: Apache-2.0 */
/* delivery_trace.c - events noted, joined, found again. */
#include "broker/delivery_trace.h"

#include "broker/member.h"
#include "proto/base/contract.h"

#include <stdlib.h>

static_assert((TRACE_EVENTS & (TRACE_EVENTS - 1)) == 0, "places are found by a mask");
static_assert(sizeof(struct trace_event) == 40, "65,536 of them are 2.5 MiB");

const char *trace_outcome_name(enum trace_outcome outcome)
{
    static const char *const names[] = {
        [TRACE_LEASED] = "leased",   [TRACE_ACKED] = "acked", [TRACE_NACKED] = "nacked",
        [TRACE_EXPIRED] = "expired", [TRACE_DEAD] = "dead",   [TRACE_GIVEN_BACK] = "given back",
        [TRACE_SKIPPED] = "skipped",
    };
    return names[outcome];
}

static struct trace_event *event_of(const struct delivery_trace *trace, uint64_t number)
{
    return &trace->events[number & (TRACE_EVENTS - 1)];
}

void delivery_trace_deinit(struct delivery_trace *trace)
{
    for (uint64_t i = 0; i < trace->count && i < TRACE_EVENTS; i++) {
        group_member_unref(trace->events[i].member);
    }
    free(trace->events);
    *trace = (struct delivery_trace){.events = NULL};
}

/* Whether `event` goes on where `last` ends, and says the same. Milliseconds apart do not matter in an
 * answer that was given out, or settled, in one turn. */
static bool joins(const struct trace_event *last, const struct trace_event *event)
{
    return last->first + last->count == event->first && last->group == event->group &&
           last->topic == event->topic && last->queue == event->queue &&
           last->outcome == event->outcome && last->attempt == event->attempt &&
           last->at_ms == event->at_ms && last->member == event->member &&
           last->count <= UINT32_MAX - event->count;
}

void delivery_trace_note(struct delivery_trace *trace, const struct trace_event *event)
{
    if (trace->events == NULL) {
        trace->events = calloc(TRACE_EVENTS, sizeof(*trace->events));
        ASSERT(trace->events != NULL);
    }
    if (trace->count > 0) {
        struct trace_event *last = event_of(trace, trace->count - 1);
        if (joins(last, event)) {
            last->count += event->count;
            group_member_unref(event->member);
            return;
        }
    }
    struct trace_event *place = event_of(trace, trace->count++);
    group_member_unref(place->member);
    *place = *event;
}

void delivery_trace_note_range(struct delivery_trace *trace, const struct trace_event *like,
                               const struct offset_range *range)
{
    struct trace_event event = *like;
    uint64_t end = range->first + range->count;
    for (event.first = range->first; event.first < end; event.first += event.count) {
        uint64_t left = end - event.first;
        event.count = left < UINT32_MAX ? (uint32_t)left : UINT32_MAX;
        if (event.count < left) {
            (void)group_member_ref(event.member); /* of the next one */
        }
        delivery_trace_note(trace, &event);
    }
}

uint64_t delivery_trace_since(const struct delivery_trace *trace)
{
    return trace->count > TRACE_EVENTS ? event_of(trace, trace->count)->at_ms : 0;
}

const struct trace_event *delivery_trace_find(const struct delivery_trace *trace,
                                              const struct trace_place *place, uint64_t *before)
{
    uint64_t oldest = trace->count > TRACE_EVENTS ? trace->count - TRACE_EVENTS : 0;
    while (*before > oldest) {
        const struct trace_event *event = event_of(trace, --*before);
        if (event->topic == place->topic && event->queue == place->queue &&
            event->first <= place->offset && place->offset - event->first < event->count) {
            return event;
        }
    }
    return NULL;
}
