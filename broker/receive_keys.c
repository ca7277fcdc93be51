/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive_keys.c - what a receive takes of a queue that is kept in the order of keys.
 *
 * What failed before and is due comes first, with what waited behind it for the same key. Then the index is
 * looked through, of which 16 bytes a message say its key: a message whose key is somebody else's is noted as
 * BLOCKED and passed, what lies between two of them is read and leased.
 */
#include "broker/call.h"
#include "broker/core.h"
#include "broker/groups.h"
#include "broker/limits.h"
#include "broker/receive_take.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "storage/index.h"

/* Offsets in a row whose keys are free. */
struct free_keys {
    uint64_t first;
    uint32_t count;
    uint32_t most; /* to be collected */
    uint32_t keys[TAKE_KEYS_MAX];
};

/* Reads and leases one open range whose turn has come. */
static enum take_result take_range(struct take *take, struct open_range *range)
{
    struct receive_call *receive = &take->call->receive;
    uint64_t first = range->first;
    uint64_t end = open_range_end(range);
    uint32_t key = range->key;
    take->keys = &key;
    enum take_result result = take_read(take, first, end);
    if (result != TAKE_SOME || receive->reader.runs == NULL) {
        return result;
    }
    if (take_fit(take) == first) {
        queue_reader_drop_runs(&receive->reader, take->at);
        return TAKE_ENOUGH;
    }
    const struct attempt_like like = {range->attempts, reason_ref(range->reason)};
    receive->error = take_lease(take, first, end, key);
    if (receive->error == OK) {
        take_add(take, first, end, &like);
    } else {
        queue_reader_drop_runs(&receive->reader, take->at);
    }
    reason_unref(like.reason);
    return receive->error == OK ? TAKE_SOME : TAKE_FAILED;
}

/* The first range that is ready, and what waits behind it for the same key. */
static enum take_result take_ready(struct take *take, struct open_range *range)
{
    uint32_t key = range->key;
    uint64_t serial = take->call->receive.serial;
    enum take_result result = TAKE_SOME;
    for (uint32_t i = 0; i < TAKE_KEYS_MAX && range != NULL; i++) {
        result = take_range(take, range);
        range = result == TAKE_SOME ? group_queue_next_of_key(take->queue, key, serial) : NULL;
    }
    return result;
}

/* ---------------------------------------------------------------- new messages */

/* Where unknown keys begin, and how far they go without a known one; how often they were tried. */
static struct offset_range find_unknown(const struct take *take, struct attempt_like *like)
{
    const struct group_queue *queue = take->queue;
    struct list *link = list_first(&queue->unknown);
    *like = (struct attempt_like){0, NULL};
    if (link != NULL) {
        const struct open_range *range = CONTAINER_OF(link, struct open_range, link);
        *like = (struct attempt_like){range->attempts, range->reason};
        return (struct offset_range){range->first, range->count};
    }
    return (struct offset_range){queue->next,
                                 take->visible > queue->next ? take->visible - queue->next : 0};
}

/* Notes messages whose key is another's, then collects those that are free, up to the next that is not. */
static void collect(const struct take *take, const struct index_span *span, uint64_t first,
                    uint64_t most, struct free_keys *free_keys)
{
    struct group_queue *queue = take->queue;
    uint64_t serial = take->call->receive.serial;
    free_keys->first = first;
    free_keys->count = 0;
    for (uint32_t i = 0; i < span->count && i < most && free_keys->count < free_keys->most; i++) {
        uint32_t key = span->entries[i].key_hash;
        bool is_free = group_queue_key_is_free(queue, key, serial);
        if (is_free) {
            free_keys->keys[free_keys->count++] = key;
        } else if (free_keys->count > 0 || queue->in_state[OPEN_BLOCKED] >= GROUP_BLOCKED_MAX) {
            return;
        } else {
            (void)group_queue_meet_key(queue, first + i, key);
            free_keys->first = first + i + 1;
        }
    }
}

static enum take_result lease_keys(struct take *take, const struct free_keys *free_keys,
                                   uint64_t end, const struct attempt_like *like)
{
    struct receive_call *receive = &take->call->receive;
    for (uint64_t offset = free_keys->first; offset < end; offset++) {
        uint32_t key = free_keys->keys[offset - free_keys->first];
        receive->error = take_lease(take, offset, offset + 1, key);
        if (receive->error != OK) {
            queue_reader_drop_runs(&receive->reader, take->at);
            return TAKE_FAILED;
        }
    }
    take_add(take, free_keys->first, end, like);
    return TAKE_SOME;
}

/* How many messages are worth a look: no more than the answer takes, but where a filter may leave some out. */
static uint32_t most_keys(const struct take *take)
{
    uint32_t left = take->call->receive.reader.messages_max;
    return take->filter == NULL && left < TAKE_KEYS_MAX ? left : TAKE_KEYS_MAX;
}

/* How many of them may become ranges of their own; the last of an open range takes its place. */
static uint64_t room_for_keys(const struct group_queue *queue, const struct offset_range *unknown)
{
    const struct offset_range one = {unknown->first, 1};
    uint64_t ranges = queue->groups->range_count;
    uint64_t room = ranges < GROUP_RANGES_MAX ? GROUP_RANGES_MAX - ranges
                                              : group_queue_has_room(queue, &one, false);
    return room < unknown->count ? room : unknown->count;
}

static enum take_result take_new(struct take *take)
{
    struct receive_call *receive = &take->call->receive;
    const struct group_place *place = &take->queue->place;
    struct attempt_like like;
    struct offset_range unknown = find_unknown(take, &like);
    if (unknown.count == 0) {
        return TAKE_NOTHING;
    }
    uint64_t room = room_for_keys(take->queue, &unknown);
    if (room == 0 || take->queue->in_state[OPEN_BLOCKED] >= GROUP_BLOCKED_MAX) {
        return TAKE_FULL;
    }
    if (take_is_enough(take)) {
        return TAKE_ENOUGH;
    }
    take_init_reader(take, unknown.first);
    struct commit_log *log = receive->shard->log;
    struct queue *queue = commit_log_queue_find(log, place->topic, place->queue);
    struct cold_range cold = {.segment = NULL};
    struct index_span span = {.count = 0};
    bool may_wait = queue_reader_may_wait(&receive->reader);
    ASSERT(queue != NULL);
    enum error error = commit_log_entries(log, queue, unknown.first, TAKE_KEYS_MAX,
                                          may_wait ? NULL : &cold, &span);
    if (error == OK && span.count == 0 && cold.segment != NULL) {
        if (receive->ranges != NULL) {
            return TAKE_LATER; /* what was taken does not wait */
        }
        queue_reader_warm(&receive->reader, &cold);
        return TAKE_COLD;
    }
    struct free_keys free_keys;
    free_keys.most = most_keys(take);
    if (error == OK && span.count > 0) {
        collect(take, &span, unknown.first, room, &free_keys);
        if (free_keys.count == 0) {
            return free_keys.first > unknown.first ? TAKE_SOME : TAKE_NOTHING;
        }
    } else {
        /* What the index cannot say the log may say better: that it is gone, or broken. */
        free_keys.first = unknown.first;
        free_keys.count = 1;
        free_keys.keys[0] = 0;
    }
    take->keys = free_keys.keys;
    enum take_result result = take_read(take, free_keys.first, free_keys.first + free_keys.count);
    if (result != TAKE_SOME || receive->reader.runs == NULL) {
        return result;
    }
    (void)reason_ref(like.reason); /* the range that it is of is cut into others */
    result = lease_keys(take, &free_keys, take_fit(take), &like);
    reason_unref(like.reason);
    return result;
}

enum take_result take_keyed(const struct take *take)
{
    struct take copy = *take;
    struct list *link = list_first(&take->queue->ready);
    if (link != NULL) {
        return take_ready(&copy, CONTAINER_OF(link, struct open_range, link));
    }
    struct group_bound bound;
    bool is_full = group_queue_is_full(take->queue, &bound);
    if (is_full && list_is_empty(&take->queue->unknown)) {
        return TAKE_NOTHING;
    }
    return take_new(&copy);
}
