/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delivery_trace.h - what happened lately to messages that a shard's groups were given: a ring of events.
 *
 * One event is about a range of offsets of one group in one queue, so that it costs the same for one message
 * and for a thousand. What follows on the event before it, alike, makes that one longer. The newest
 * TRACE_EVENTS are kept: what is older, or of before a start, is gone. Nothing depends on an event.
 *
 * Memory:  2.5 MiB from the first event on, and a reference to the member of each event. Owner: the shard's
 *          groups.
 * Threads: the shard's core.
 */
#ifndef BROKER_DELIVERY_TRACE_H
#define BROKER_DELIVERY_TRACE_H

#include "proto/events_groups.h"

#include <stdint.h>

struct group_member;

/* Half a second at 100,000 receives a second of one message each, acknowledged; hours of most systems. */
#define TRACE_EVENTS 65536U

/* The latest moment of an event: 2.3 million years. */
#define TRACE_AT_MAX ((UINT64_C(1) << 56) - 1)

enum trace_outcome {
    TRACE_LEASED,     /* given out */
    TRACE_ACKED,      /* settled by its holder, or by a plain cursor */
    TRACE_NACKED,     /* its holder said that it failed */
    TRACE_EXPIRED,    /* its lease ran out */
    TRACE_GIVEN_BACK, /* its lease ended, and does not count */
    TRACE_DEAD,       /* became a dead letter */
    TRACE_SKIPPED,    /* retention took it, or nobody could read it */
};

/* "leased" */
const char *trace_outcome_name(enum trace_outcome outcome);

struct trace_event {
    struct group_member *member; /* of LEASED, a reference; NULL: none, or of before a start */
    uint64_t first;
    uint64_t at_ms : 56; /* since 1970 */
    uint64_t outcome : 8;
    uint32_t count;
    uint32_t group;
    uint32_t topic;
    uint16_t queue;
    uint16_t attempt; /* the delivery that it is about, from 1; 0: none */
};

/* A zeroed one is empty. */
struct delivery_trace {
    struct trace_event *events; /* TRACE_EVENTS; NULL: none yet */
    uint64_t count;             /* that there ever were: the next one's number */
};

void delivery_trace_deinit(struct delivery_trace *trace);

/* Notes an event; the reference to its member is the trace's from here. */
void delivery_trace_note(struct delivery_trace *trace, const struct trace_event *event);

/* The same of a range of any length; what is in `like` but `first` and `count`. */
void delivery_trace_note_range(struct delivery_trace *trace, const struct trace_event *like,
                               const struct offset_range *range);

/* When the oldest event was, where older ones are gone; 0: none is. */
uint64_t delivery_trace_since(const struct delivery_trace *trace);

/* A message of a queue. */
struct trace_place {
    uint32_t topic;
    uint16_t queue;
    uint64_t offset;
};

/* The newest event about it that comes before the one with the number `*before`, which is set to its own;
 * from `count` on back all are found, newest first. NULL: there is none. */
const struct trace_event *delivery_trace_find(const struct delivery_trace *trace,
                                              const struct trace_place *place, uint64_t *before);

#endif
