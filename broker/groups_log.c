/* SPDX-License-Identifier: Apache-2.0 */
/*
 * groups_log.c - what of groups goes through the log: seeks, failures, leases, and what is settled in a turn, merged.
 */
#include "broker/group_retention.h"
#include "broker/groups.h"
#include "broker/limits.h"
#include "broker/shard.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------- for the log */

/* `waiting` is told when it is durable; NULL: nobody is. */
static enum error operate(struct groups *groups, const struct writer *writer,
                          struct log_operation *waiting)
{
    struct log_operation waits_for_nothing = {.done = NULL};
    ASSERT(!writer->overflowed);
    return commit_log_operate(groups->shard->log, writer_bytes(writer),
                              waiting == NULL ? &waits_for_nothing : waiting);
}

enum error groups_seek(struct groups *groups, const struct group_place *place, uint64_t offset)
{
    struct group_queue *queue = groups_find(groups, place);
    uint8_t bytes[EVENT_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    const struct event_seek seek = {
        .place = *place,
        .generation = queue == NULL ? 1 : queue->generation + 1,
        .offset = offset,
    };
    /* What was settled before belongs to the generation that ends. */
    if (!groups_flush(groups)) {
        return ERROR_DISK_FULL;
    }
    event_put_seek(&writer, &seek);
    enum error error = operate(groups, &writer, NULL);
    queue = groups_find(groups, place);
    if (error == OK && queue != NULL) {
        group_retention_note_seek(queue);
        groups_changed(queue);
    }
    return error;
}

enum error groups_retry(struct group_queue *queue, const struct event_retry *retry)
{
    uint8_t bytes[EVENT_RETRY_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    event_put_retry(&writer, EVENT_RETRY, retry);
    return operate(queue->groups, &writer, NULL);
}

enum error groups_lease(struct group_queue *queue, const struct event_lease *lease,
                        struct group_member *member)
{
    if (queue->order != GROUP_ORDER_NONE) {
        uint8_t bytes[EVENT_LEASE_BYTES_MAX];
        struct writer writer = writer_over(bytes, sizeof(bytes));
        event_put_lease(&writer, EVENT_LEASE, lease);
        enum error error = operate(queue->groups, &writer, NULL);
        if (error != OK) {
            return error;
        }
    }
    /* Once more in ordered groups, for the member, whom the log does not know. */
    group_queue_lease(queue, lease, member);
    return OK;
}

enum error groups_extend(struct group_queue *queue, struct open_range *range,
                         const struct event_lease *lease)
{
    if (queue->order != GROUP_ORDER_NONE) {
        return groups_lease(queue, lease, NULL);
    }
    range = group_queue_carve(queue, range, &lease->range);
    group_queue_set_moment(range, lease->until_ms);
    return OK;
}

/* ----------------------------------------------------------------- settling */

/* The place of the first settled range that ends at or behind `offset`. */
static uint32_t settled_place(const struct group_queue *queue, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = queue->settled_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct offset_range *range = &queue->settled[middle];
        if (range->first + range->count >= offset) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* Adds to what the turn's end appends, joined with what it touches. */
static void note_settled(struct group_queue *queue, const struct offset_range *range)
{
    uint32_t place = settled_place(queue, range->first);
    uint32_t end = place;
    struct offset_range joined = *range;
    while (end < queue->settled_count && queue->settled[end].first <= joined.first + joined.count) {
        const struct offset_range *other = &queue->settled[end];
        uint64_t behind = other->first + other->count;
        uint64_t joined_end = joined.first + joined.count;
        joined.first = other->first < joined.first ? other->first : joined.first;
        joined.count = (behind > joined_end ? behind : joined_end) - joined.first;
        end++;
    }
    if (end == place && queue->settled_count == queue->settled_capacity) {
        queue->settled_capacity = queue->settled_capacity == 0 ? 4 : 2 * queue->settled_capacity;
        queue->settled =
            realloc(queue->settled, queue->settled_capacity * sizeof(queue->settled[0]));
        ASSERT(queue->settled != NULL);
    }
    uint32_t removed = end - place;
    memmove(queue->settled + place + 1, queue->settled + end,
            (queue->settled_count - end) * sizeof(queue->settled[0]));
    queue->settled[place] = joined;
    queue->settled_count = queue->settled_count + 1 - removed;
}

/* One range at once. */
static enum error append_progress(struct group_queue *queue, const struct offset_range *range,
                                  uint64_t skipped, struct log_operation *waiting)
{
    uint8_t bytes[EVENT_PROGRESS_BYTES];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    const struct event_progress progress = {
        .place = queue->place, .range = *range, .skipped = skipped};
    event_put_progress(&writer, &progress, NULL, 0);
    return operate(queue->groups, &writer, waiting);
}

enum error groups_say_again(struct group_queue *queue, uint64_t offset,
                            struct log_operation *waiting)
{
    return append_progress(queue, &(struct offset_range){offset, 1}, 0, waiting);
}

static bool flush_queue(struct group_queue *queue, struct log_operation *waiting)
{
    struct groups *groups = queue->groups;
    struct writer writer = writer_over(groups->flush_room, sizeof(groups->flush_room));
    const struct event_progress progress = {.place = queue->place, .range = queue->settled[0]};
    event_put_progress(&writer, &progress, queue->settled + 1, queue->settled_count - 1);
    bool is_accepted = operate(groups, &writer, waiting) == OK;
    if (is_accepted) {
        queue->settled_count = 0;
        list_remove(&queue->dirty);
    }
    return is_accepted;
}

bool groups_flush(struct groups *groups)
{
    bool is_flushed = true;
    LIST_FOREACH (link, &groups->dirty) {
        struct group_queue *queue = CONTAINER_OF(link, struct group_queue, dirty);
        is_flushed &= flush_queue(queue, NULL);
    }
    return is_flushed;
}

bool groups_flush_waiting(struct groups *groups, struct log_operation *waiting)
{
    LIST_FOREACH (link, &groups->dirty) {
        struct group_queue *queue = CONTAINER_OF(link, struct group_queue, dirty);
        bool is_last = link->next == &groups->dirty;
        if (!flush_queue(queue, is_last ? waiting : NULL)) {
            return false;
        }
    }
    return true;
}

enum error groups_settle(struct group_queue *queue, const struct offset_range *range)
{
    struct groups *groups = queue->groups;
    uint32_t bytes = EVENT_PROGRESS_BYTES + (queue->settled_count + 1) * EVENT_PROGRESS_MORE_BYTES;
    enum error error = commit_log_may_operate(groups->shard->log, bytes);
    if (error != OK) {
        return error;
    }
    if (queue->settled_count >= GROUPS_SETTLED_MAX && !flush_queue(queue, NULL)) {
        return ERROR_DISK_FULL;
    }
    group_queue_settle(queue, range);
    note_settled(queue, range);
    if (list_is_empty(&queue->dirty)) {
        list_append(&groups->dirty, &queue->dirty);
    }
    /* A replay believes nothing that begins far behind what the log has told it: what is given out or fails
     * behind this is told at once, so this is told before. */
    if (range->first + range->count > queue->logged + GROUP_OPEN_MAX) {
        (void)flush_queue(queue, NULL);
    }
    return OK;
}

enum error groups_skip(struct group_queue *queue, const struct offset_range *range, uint64_t undone)
{
    enum error error = append_progress(queue, range, undone, NULL);
    if (undone > 0) {
        const struct trace_event event = groups_trace_of(queue, TRACE_SKIPPED, NULL);
        groups_trace_note(queue, &event, range, error);
    }
    return error;
}
