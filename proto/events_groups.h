/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events_groups.h - the entries of events and snapshot records that say where groups stand.
 *
 * Of a queue a group has settled every offset below `next` but those that are open: an open range has
 * been tried `attempt` times without success (0: never) and is not given out again before `due`.
 *
 *     progress   [7, group, topic, queue, first, count, [skip, count ..], skipped]
 *                these offsets are settled; the first range, and further ones, each `skip` behind the end
 *                of the one before. What lies between `next` and them becomes open. `skipped` of them
 *                were never delivered: retention took them
 *     retry      [8, group, topic, queue, first, count, attempt, due, reason, key]
 *     lease      [9, group, topic, queue, first, count, until, serial, key]
 *                in ordered groups alone: an open range that is somebody's until then
 *     seek       [10, group, topic, queue, generation, offset]
 *                the group begins here, with nothing open: `next` is the offset
 *     rows       cursor [40, group, topic, queue, generation, next, skipped]; retry 41 (also of attempt 0)
 *                and lease 42 as the operations, behind the cursor
 *
 * Times are ms since 1970. `key` is the hash of the messages' key in groups that keep the order of keys,
 * and 0 in others; such a range is one message.
 *
 * Threads: any; spans point into the record.
 */
#ifndef PROTO_EVENTS_GROUPS_H
#define PROTO_EVENTS_GROUPS_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/events.h"
#include "proto/limits.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

/* One group in one queue. */
struct group_place {
    uint32_t group;
    uint32_t topic;
    uint16_t queue;
};

struct offset_range {
    uint64_t first;
    uint64_t count; /* at least 1 */
};

struct event_progress {
    struct group_place place;
    struct offset_range range; /* the first */
    uint32_t more_count;       /* read: of further ranges */
    struct cursor more;        /* read: over them, for event_take_progress() */
    uint64_t skipped;
};

/* `more` are `more_count` ranges behind `range`, in order, disjoint. */
void event_put_progress(struct writer *writer, const struct event_progress *progress,
                        const struct offset_range *more, uint32_t more_count);

/* Checks all of it, so that the take below cannot fail more_count times. */
NODISCARD bool event_read_progress(struct cursor fields, struct event_progress *progress_out);

/* The next further range behind `range`, which it replaces. */
NODISCARD bool event_take_progress(struct cursor *more, struct offset_range *range);

/* An upper bound of a progress of one range, and of each further one. */
#define EVENT_PROGRESS_BYTES      64U
#define EVENT_PROGRESS_MORE_BYTES 18U

/* retry, and the row retry. */
struct event_retry {
    struct group_place place;
    struct offset_range range;
    uint16_t attempt;
    uint64_t due_ms;
    struct bytes reason; /* empty: none */
    uint32_t key;
};
void event_put_retry(struct writer *writer, enum event_number number,
                     const struct event_retry *retry);
NODISCARD bool event_read_retry(struct cursor fields, struct event_retry *retry_out);
#define EVENT_RETRY_BYTES_MAX (80U + REASON_BYTES_MAX)

/* lease, and the row lease. */
struct event_lease {
    struct group_place place;
    struct offset_range range;
    uint64_t until_ms;
    uint64_t serial;
    uint32_t key;
};
void event_put_lease(struct writer *writer, enum event_number number,
                     const struct event_lease *lease);
NODISCARD bool event_read_lease(struct cursor fields, struct event_lease *lease_out);
#define EVENT_LEASE_BYTES_MAX 80U

struct event_seek {
    struct group_place place;
    uint32_t generation;
    uint64_t offset;
};
void event_put_seek(struct writer *writer, const struct event_seek *seek);
NODISCARD bool event_read_seek(struct cursor fields, struct event_seek *seek_out);

/* The row cursor. */
struct event_cursor {
    struct group_place place;
    uint32_t generation;
    uint64_t next;
    uint64_t skipped;
};
void event_put_cursor(struct writer *writer, const struct event_cursor *cursor);
NODISCARD bool event_read_cursor(struct cursor fields, struct event_cursor *cursor_out);

#endif
