/* SPDX-License-Identifier: Apache-2.0 */
/* settle_receipt.c - a receipt's offsets, range by range. */
#include "broker/settle_receipt.h"

#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/group_key.h"
#include "broker/limits.h"
#include "broker/shard.h"
#include "proto/names.h"

/* A receipt under work. */
struct judging {
    struct group_queue *queue;
    const struct settling *settling;
    struct receipt *receipt;
    const struct group *group;
    uint64_t now_ms;
    enum error refused; /* why the log took nothing */
    bool all_count;
};

/* ------------------------------------------------------------------- counts */

static bool is_held(const struct judging *judging, const struct open_range *range)
{
    return range->state == OPEN_LEASED && range->serial == judging->receipt->serial;
}

/* Whether nothing before it, of its key, is open, and nothing of the key is somebody's. */
static bool is_first_of_key(const struct open_range *range, uint64_t first)
{
    return range->key == 0 ||
           (range->state != OPEN_BLOCKED && range->first == first && group_key_is_first(range));
}

/* Whether what is open from `first` on counts; NULL: it was never given out in this life. */
static bool counts(const struct judging *judging, const struct open_range *range, uint64_t first)
{
    if (range != NULL && is_held(judging, range)) {
        return true;
    }
    bool is_ack = judging->settling->verb == SETTLE_ACK;
    bool is_others = range != NULL && (range->state == OPEN_LEASED || range->state == OPEN_DYING);
    if (!is_ack || is_others) {
        return false;
    }
    /* Behind something open it is not known that the order was kept. */
    bool is_of_keys =
        judging->queue->order == GROUP_ORDER_KEY && range != NULL && range->is_looked_at;
    return judging->queue->order == GROUP_ORDER_NONE ||
           (is_of_keys ? is_first_of_key(range, first)
                       : first == group_queue_first_open(judging->queue));
}

/* -------------------------------------------------------------- what is done */

static void note(struct judging *judging, enum error error)
{
    judging->refused = error == OK ? judging->refused : error;
}

static uint64_t jitter(struct judging *judging, uint64_t delay_ms)
{
    uint64_t percent = judging->group->settings.jitter_percent;
    uint64_t most = delay_ms * percent / 100;
    if (most == 0) {
        return delay_ms;
    }
    struct reactor *reactor = judging->queue->groups->shard->core->reactor;
    return delay_ms - most + reactor_random(reactor) % (2 * most + 1);
}

/* When messages are tried again that have failed `attempts` times now. */
static uint64_t due_ms(struct judging *judging, uint32_t attempts)
{
    const struct settling *settling = judging->settling;
    uint64_t delay_ms = 0;
    if (settling->dead && !name_is_dead_letters(judging->group->name)) {
        return DUE_NEVER; /* also where what has failed too often stays */
    }
    if (settling->dead) {
        return groups_due_ms(judging->group, UINT16_MAX, DUE_NEVER, judging->now_ms);
    }
    if (settling->has_delay) {
        delay_ms = settling->delay_ms;
    } else if (settling->counts) {
        delay_ms =
            jitter(judging, group_settings_backoff_ms(&judging->group->settings, attempts + 1));
    }
    uint64_t due = judging->now_ms + delay_ms;
    return settling->counts ? groups_due_ms(judging->group, attempts, due, judging->now_ms) : due;
}

static void fail(struct judging *judging, struct open_range *range,
                 const struct offset_range *offsets)
{
    struct group_queue *queue = judging->queue;
    const struct settling *settling = judging->settling;
    uint32_t attempts = settling->counts ? attempts_after(range->attempts) : range->attempts;
    struct bytes reason = bytes_make(settling->reason, settling->reason_length);
    const struct event_retry retry = {
        .place = queue->place,
        .range = *offsets,
        .attempt = (uint16_t)attempts,
        .due_ms = due_ms(judging, attempts),
        .reason = settling->counts || settling->dead ? reason : reason_text(range->reason),
        .key = range->key,
    };
    const struct trace_event event = groups_trace_of(queue, TRACE_NACKED, range);
    enum error error = groups_retry(queue, &retry);
    groups_trace_note(queue, &event, offsets, error);
    note(judging, error);
    if (error != OK) {
        return;
    }
    queue->group->nacked += offsets->count;
    judging->receipt->has_failed = true;
    if (retry.due_ms <= judging->now_ms) {
        struct open_range *open = open_ranges_find(&queue->open, offsets->first);
        group_queue_due(queue, open);
    }
}

/* `range` may be NULL. */
static enum error acknowledge(struct judging *judging, const struct open_range *range,
                              const struct offset_range *offsets)
{
    struct group_queue *queue = judging->queue;
    const struct trace_event event = groups_trace_of(queue, TRACE_ACKED, range);
    enum error error = groups_settle(queue, offsets);
    groups_trace_note(queue, &event, offsets, error);
    queue->group->acked += error == OK ? offsets->count : 0;
    return error;
}

static void extend(struct judging *judging, struct open_range *range,
                   const struct offset_range *offsets)
{
    const struct event_lease lease = {
        .place = judging->queue->place,
        .range = *offsets,
        .until_ms = judging->now_ms + judging->settling->lease_ms,
        .serial = range->serial,
        .key = range->key,
    };
    note(judging, groups_extend(judging->queue, range, &lease));
}

/* One piece that lies within one range, or where nothing was given out. */
static void settle_piece(struct judging *judging, struct open_range *range,
                         const struct offset_range *piece)
{
    if (!counts(judging, range, piece->first)) {
        judging->all_count = false;
        return;
    }
    bool is_within = range != NULL && (piece->first > range->first ||
                                       piece->first + piece->count < open_range_end(range));
    if (is_within && judging->queue->groups->range_count >= GROUP_RANGES_MAX) {
        note(judging, ERROR_GROUP_FULL); /* it would become two or three */
        return;
    }
    switch (judging->settling->verb) {
    case SETTLE_ACK:
        note(judging, acknowledge(judging, range, piece));
        break;
    case SETTLE_NACK:
        fail(judging, range, piece);
        break;
    case SETTLE_EXTEND:
        extend(judging, range, piece);
        break;
    }
}

/* ------------------------------------------------------------------- receipts */

/* The next piece from `first` on: of one range; NULL: of none. What was settled before `next` and is not
 * open does not count. */
static struct offset_range next_piece(struct judging *judging, uint64_t first, uint64_t end,
                                      struct open_range **range_out)
{
    struct open_range *range = open_ranges_find(&judging->queue->open, first);
    uint64_t next = judging->queue->next;
    if (range != NULL && range->first <= first) {
        uint64_t behind = open_range_end(range);
        *range_out = range;
        return (struct offset_range){first, (behind < end ? behind : end) - first};
    }
    *range_out = NULL;
    uint64_t until = range != NULL ? range->first : first < next ? next : end;
    return (struct offset_range){first, (until < end ? until : end) - first};
}

static enum error settle_leased(struct judging *judging)
{
    const struct receipt *receipt = judging->receipt;
    struct group_queue *queue = judging->queue;
    uint64_t first = receipt->first;
    uint64_t end = first + receipt->span;
    if (first > queue->next + GROUP_OPEN_MAX) {
        return ERROR_LEASE_LOST; /* so far nobody has come */
    }
    while (first < end && judging->refused == OK) {
        struct open_range *range;
        struct offset_range piece = next_piece(judging, first, end, &range);
        if (range == NULL && first < queue->next) {
            judging->all_count = false; /* settled before */
        } else {
            settle_piece(judging, range, &piece);
        }
        first += piece.count;
    }
    return judging->refused != OK ? judging->refused : judging->all_count ? OK : ERROR_LEASE_LOST;
}

static enum error settle_cursor(struct judging *judging)
{
    const struct receipt *receipt = judging->receipt;
    uint64_t end = receipt->first + receipt->span;
    uint64_t first = group_queue_first_open(judging->queue);
    if (end <= first) {
        return OK;
    }
    const struct offset_range range = {first, end - first};
    uint64_t open = judging->queue->open.offsets;
    uint64_t next = judging->queue->next;
    const struct trace_event event = groups_trace_of(judging->queue, TRACE_ACKED, NULL);
    enum error error = groups_settle(judging->queue, &range);
    groups_trace_note(judging->queue, &event, &range, error);
    if (error == OK) {
        judging->queue->group->acked +=
            open - judging->queue->open.offsets + (judging->queue->next - next);
    }
    return error;
}

enum error settle_receipt(struct groups *groups, const struct settling *settling,
                          struct receipt *receipt)
{
    const struct group_place place = {receipt->group, receipt->topic, receipt->queue};
    struct queue *log_queue = commit_log_queue_find(groups->shard->log, place.topic, place.queue);
    if (log_queue == NULL) {
        return ERROR_TOPIC_NOT_FOUND;
    }
    const struct queue_state state = queue_state(log_queue);
    const struct group *group = catalogue_find_group_id(groups->catalogue, place.group);
    if (group == NULL) {
        return ERROR_GROUP_NOT_FOUND;
    }
    if (!receipt->has_lease && settling->verb != SETTLE_ACK) {
        return ERROR_LEASE_LOST;
    }
    if (!receipt->has_lease && receipt->first + receipt->span > state.visible) {
        return ERROR_TRUNCATED;
    }
    struct group_queue *queue = groups_find(groups, &place);
    if (queue == NULL && !receipt->has_lease) {
        enum error error = groups_seek(groups, &place, state.first);
        queue = groups_find(groups, &place);
        if (error != OK) {
            return error;
        }
    }
    if (queue == NULL) {
        return ERROR_LEASE_LOST;
    }
    struct judging judging = {
        .queue = queue,
        .settling = settling,
        .receipt = receipt,
        .group = group,
        .now_ms = reactor_wall_ms(groups->shard->core->reactor),
        .all_count = true,
    };
    bool is_known =
        receipt->generation == queue->generation && receipt->first + receipt->span <= state.visible;
    enum error error = !receipt->has_lease ? settle_cursor(&judging)
                       : is_known          ? settle_leased(&judging)
                                           : ERROR_LEASE_LOST;
    groups_changed(queue);
    return error;
}

/* ------------------------------------------------------------ behind a failure */

/* The keys of what has failed, one after the other. */
static void give_back_keys(struct group_queue *queue, const struct receipt *receipt)
{
    uint64_t end = receipt->first + receipt->span;
    struct open_range *range = open_ranges_find(&queue->open, receipt->first);
    while (range != NULL && range->first < end) {
        uint64_t behind = open_range_end(range);
        struct open_range *held;
        while (range->key != 0 && range->state != OPEN_LEASED &&
               (held = group_queue_held_behind(range, receipt->serial)) != NULL &&
               groups_give_back(held)) {
        }
        range = open_ranges_find(&queue->open, behind);
    }
}

void settle_give_back_behind(struct groups *groups, const struct receipt *receipt)
{
    const struct group_place place = {receipt->group, receipt->topic, receipt->queue};
    struct group_queue *queue = groups_find(groups, &place);
    if (queue == NULL || queue->order == GROUP_ORDER_NONE ||
        receipt->generation != queue->generation) {
        return;
    }
    if (queue->order == GROUP_ORDER_KEY) {
        give_back_keys(queue, receipt);
    } else {
        struct open_range *range = open_ranges_find(&queue->open, receipt->first + receipt->span);
        while (range != NULL) {
            uint64_t behind = open_range_end(range);
            if (range->state == OPEN_LEASED && range->serial == receipt->serial &&
                !groups_give_back(range)) {
                break;
            }
            range = open_ranges_find(&queue->open, behind);
        }
    }
    groups_changed(queue);
}
