/* SPDX-License-Identifier: Apache-2.0 */
/* receive_take.c - reading what may be given out, and leasing what was read. */
#include "broker/receive_take.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/delivery.h"
#include "broker/group.h"
#include "broker/groups.h"
#include "broker/limits.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "storage/segment.h"

#define UNREADABLE_REASON "cannot be read"

/* ------------------------------------------------------------------ reading */

static uint32_t messages_left(const struct receive_call *receive)
{
    uint32_t taken = receive->runs == NULL ? 0 : receive->runs->messages;
    return receive->messages_max - taken;
}

void take_init_reader(const struct take *take, uint64_t from)
{
    struct receive_call *receive = &take->call->receive;
    struct queue_reader *reader = &receive->reader;
    const struct queue_reader before = *reader;
    uint64_t taken_bytes = receive->runs == NULL ? 0 : receive->runs->bytes;
    queue_reader_init(reader, receive->shard, take->queue->place.topic, take->queue->place.queue,
                      receive->bytes_max - taken_bytes);
    /* What it waited for in vain is not waited for again and again, whatever queue it is of. */
    reader->cold_rounds = before.cold_rounds;
    reader->cold_tries = before.cold_tries;
    reader->cold = before.cold;
    const struct group_place *place = &take->queue->place;
    bool is_same = place->topic == receive->read_place.topic &&
                   place->queue == receive->read_place.queue && from == receive->read_from;
    reader->unreadable = is_same && before.unreadable;
    reader->one_by_one = is_same && before.one_by_one;
    receive->read_place = *place;
    receive->read_from = from;
    reader->from = from;
    reader->again = receive_serve_again;
    reader->filter = take->filter;
    reader->messages_max = messages_left(receive);
    reader->at_hand_only = receive->ranges != NULL; /* what was taken does not wait */
}

bool take_is_enough(const struct take *take)
{
    const struct receive_call *receive = &take->call->receive;
    return receive->runs != NULL &&
           (receive->runs->bytes >= receive->bytes_max || messages_left(receive) == 0 ||
            receive->runs->count == LOG_RUNS_MAX || receive->ranges->count == RECEIVE_RANGES_MAX);
}

/* Retention took what lies before `kept`. */
static enum take_result pass_removed(const struct take *take, uint64_t first, uint64_t until)
{
    uint64_t kept = take->call->receive.reader.detail;
    uint64_t end = kept < until ? kept : until;
    ASSERT(end > first);
    const struct offset_range range = {first, end - first};
    take->call->receive.error = groups_skip(take->queue, &range, range.count);
    return take->call->receive.error == OK ? TAKE_SOME : TAKE_FAILED;
}

static enum take_result pass_unwanted(const struct take *take, uint64_t first)
{
    struct queue_reader *reader = &take->call->receive.reader;
    if (reader->from > first) {
        const struct offset_range range = {first, reader->from - first};
        take->call->receive.error = groups_settle(take->queue, &range);
        if (take->call->receive.error != OK) {
            return TAKE_FAILED;
        }
        take->queue->group->filtered += range.count;
        return TAKE_SOME;
    }
    return reader->put_off ? TAKE_LATER : TAKE_NOTHING;
}

/* One message cannot be read: an attempt at it has failed, so that it does not hold up all others. */
static enum take_result pass_unreadable(const struct take *take, uint64_t first)
{
    struct receive_call *receive = &take->call->receive;
    struct group_queue *queue = take->queue;
    if (receive->reader.from > first) {
        return pass_unwanted(take, first); /* what lies before it goes first */
    }
    const struct offset_range one = {first, 1};
    if (!group_queue_has_room(queue, &one, false)) {
        return TAKE_FULL;
    }
    const struct open_range *range = open_ranges_find(&queue->open, first);
    bool is_open = range != NULL && range->first <= first;
    uint16_t attempts = attempts_after(is_open ? range->attempts : 0);
    uint64_t now_ms = reactor_wall_ms(take->at->reactor);
    uint64_t backoff_ms = group_settings_backoff_ms(&receive->group->settings, attempts + 1U);
    const struct event_retry retry = {
        .place = queue->place,
        .range = one,
        .attempt = attempts,
        .due_ms = groups_due_ms(receive->group, attempts, now_ms + backoff_ms, now_ms),
        .reason = BYTES_OF(UNREADABLE_REASON),
        .key = take->keys == NULL ? 0 : take->keys[0],
    };
    receive->error = groups_retry(queue, &retry);
    return receive->error == OK ? TAKE_SOME : TAKE_FAILED;
}

enum take_result take_read(const struct take *take, uint64_t first, uint64_t until)
{
    struct receive_call *receive = &take->call->receive;
    struct queue_reader *reader = &receive->reader;
    if (take_is_enough(take)) {
        return TAKE_ENOUGH;
    }
    take_init_reader(take, first);
    reader->until = until;
    if (!queue_reader_read(reader, take->at)) {
        return TAKE_COLD;
    }
    switch (reader->error) {
    case OK:
        return reader->runs != NULL ? TAKE_SOME : pass_unwanted(take, first);
    case ERROR_OFFSET_TOO_SMALL:
        return pass_removed(take, first, until);
    case ERROR_CORRUPT:
    case ERROR_IO_FAILED:
        return pass_unreadable(take, first);
    case ERROR_TRUNCATED:
        return TAKE_NOTHING;
    default:
        receive->error = reader->error;
        return TAKE_FAILED;
    }
}

uint64_t take_fit(const struct take *take)
{
    struct receive_call *receive = &take->call->receive;
    struct run_list *runs = receive->reader.runs;
    uint32_t room = LOG_RUNS_MAX - (receive->runs == NULL ? 0 : receive->runs->count);
    if (runs->count <= room) {
        return receive->reader.next;
    }
    for (uint32_t i = room; i < runs->count; i++) {
        runs->messages -= runs->runs[i].messages;
        runs->bytes -= runs->runs[i].bytes;
        segment_unref(runs->runs[i].segment);
    }
    uint64_t end = runs->runs[room].offset;
    runs->count = room;
    return end;
}

/* ------------------------------------------------------------------ leasing */

enum error take_lease(const struct take *take, uint64_t first, uint64_t end, uint32_t key)
{
    struct receive_call *receive = &take->call->receive;
    struct group_queue *queue = take->queue;
    ASSERT(end > first && end - first <= UINT32_MAX);
    const struct event_lease lease = {
        .place = queue->place,
        .range = {first, end - first},
        .until_ms = receive->until_ms,
        .serial = receive->serial,
        .key = key,
    };
    enum error error = groups_lease(queue, &lease, receive->member);
    if (error == OK) {
        struct open_range *range = open_ranges_find(&queue->open, first);
        list_remove(&range->link);
        groups_hold(queue->groups, receive->session, range);
        const struct trace_event event = groups_trace_of(queue, TRACE_LEASED, range);
        groups_trace_note(queue, &event, &lease.range, OK);
    }
    return error;
}

/* Whether a range goes on where the one before ends, alike, so that one receipt is enough. */
static bool joins(const struct receive_range *last, const struct receive_range *range)
{
    return last->first + last->span == range->first && last->queue == range->queue &&
           last->attempt == range->attempt && last->generation == range->generation &&
           last->reason == range->reason && last->topic_id == range->topic_id;
}

static void add_range(const struct take *take, const struct receive_range *range)
{
    struct receive_ranges *ranges = take->call->receive.ranges;
    struct receive_range *last = ranges->count == 0 ? NULL : &ranges->at[ranges->count - 1];
    if (last != NULL && joins(last, range)) {
        last->span += range->span;
        last->messages += range->messages;
        reason_unref(range->reason);
        return;
    }
    ASSERT(ranges->count < RECEIVE_RANGES_MAX);
    ranges->at[ranges->count++] = *range;
}

static void add_runs(const struct take *take)
{
    struct receive_call *receive = &take->call->receive;
    struct run_list *runs = receive->reader.runs;
    receive->reader.runs = NULL;
    if (receive->runs == NULL) {
        receive->runs = runs;
        return;
    }
    struct run_list *all = receive->runs;
    for (uint32_t i = 0; i < runs->count; i++) {
        all->runs[all->count++] = runs->runs[i];
    }
    all->messages += runs->messages;
    all->bytes += runs->bytes;
    runs->count = 0;
    pool_give(&take->at->run_lists, runs);
}

void take_add(const struct take *take, uint64_t first, uint64_t end,
              const struct attempt_like *like)
{
    struct receive_call *receive = &take->call->receive;
    if (receive->ranges == NULL) {
        receive->ranges = pool_take(&take->at->receive_ranges);
        receive->ranges->count = 0;
    }
    const struct receive_range range = {
        .topic = take->topic,
        .first = first,
        .span = end - first,
        .topic_id = take->queue->place.topic,
        .generation = take->queue->generation,
        .messages = receive->reader.runs->messages,
        .queue = take->queue->place.queue,
        .attempt = attempts_after(like->attempts),
        .reason = reason_ref(like->reason),
    };
    take->queue->group->delivered += range.messages;
    take->queue->group->filtered += range.span - range.messages;
    add_range(take, &range);
    add_runs(take);
}

/* ------------------------------------------------------------------- taking */

/* The first READY range; where none may be cut, the first that is small enough. NULL: there is none. */
static struct open_range *find_ready(const struct take *take)
{
    struct group_queue *queue = take->queue;
    uint32_t looks = 0;
    LIST_FOREACH (link, &queue->ready) {
        struct open_range *range = CONTAINER_OF(link, struct open_range, link);
        uint32_t most = messages_left(&take->call->receive);
        const struct offset_range part = {range->first, most < range->count ? most : range->count};
        if (group_queue_has_room(queue, &part, false)) {
            return range;
        }
        if (++looks == TAKE_LOOKS_MAX) {
            return NULL;
        }
    }
    return NULL;
}

/* What of a queue is next: an open range, or NULL, what was never given out. TAKE_SOME: it may be given out. */
static enum take_result find_next(const struct take *take, struct open_range **range_out)
{
    struct group_queue *queue = take->queue;
    if (!group_queue_has_work(queue, take->visible)) {
        return TAKE_NOTHING;
    }
    bool is_ready = !list_is_empty(&queue->ready);
    if (queue->order == GROUP_ORDER_QUEUE) {
        *range_out = open_ranges_first(&queue->open);
    } else if (is_ready) {
        *range_out = find_ready(take);
    }
    return is_ready && *range_out == NULL ? TAKE_FULL : TAKE_SOME;
}

/* Leases what was read of `range`, or of what was never given out, from `first` on. */
static enum take_result lease_read(const struct take *take, const struct open_range *range,
                                   uint64_t first)
{
    struct receive_call *receive = &take->call->receive;
    uint64_t end = take_fit(take);
    const struct offset_range offsets = {first, end - first};
    const struct attempt_like like = {
        .attempts = range == NULL ? 0 : range->attempts,
        .reason = range == NULL ? NULL : reason_ref(range->reason),
    };
    enum take_result result = TAKE_FULL;
    if (group_queue_has_room(take->queue, &offsets, false)) {
        receive->error = take_lease(take, first, end, 0);
        result = receive->error == OK ? TAKE_SOME : TAKE_FAILED;
    }
    if (result == TAKE_SOME) {
        take_add(take, first, end, &like);
    } else {
        queue_reader_drop_runs(&receive->reader, take->at);
    }
    reason_unref(like.reason);
    return result;
}

enum take_result take_next(const struct take *take)
{
    struct group_queue *queue = take->queue;
    if (take_is_enough(take)) {
        return TAKE_ENOUGH;
    }
    struct open_range *range = NULL;
    enum take_result result = find_next(take, &range);
    if (result != TAKE_SOME) {
        return result;
    }
    uint64_t first = range == NULL ? queue->next : range->first;
    uint64_t until = range == NULL ? take->visible : open_range_end(range);
    uint64_t room = GROUP_OPEN_MAX - queue->open.offsets;
    if (range == NULL && until - first > room) {
        until = first + room;
    }
    result = take_read(take, first, until);
    if (result != TAKE_SOME || take->call->receive.reader.runs == NULL) {
        return result;
    }
    return lease_read(take, range, first);
}
