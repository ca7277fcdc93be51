/* SPDX-License-Identifier: Apache-2.0 */
/* settle_receipt.c - a receipt's offsets, range by range. */
#include "broker/settle_receipt.h"

#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/group_key.h"
#include "broker/home.h"
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
    uint32_t *steps;    /* that are left to this turn */
    enum error refused; /* why the log took nothing */
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
        judging->receipt->has_missed = true;
        return;
    }
    bool are_settled = judging->settling->verb == SETTLE_ACK;
    if (!group_queue_has_room(judging->queue, piece, are_settled)) {
        note(judging, ERROR_GROUP_FULL);
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

/* Both give false where the steps are used up before the end. */
static bool settle_leased(struct judging *judging)
{
    struct receipt *receipt = judging->receipt;
    const struct group_queue *queue = judging->queue;
    uint64_t end = receipt->first + receipt->span;
    if (receipt->first > queue->next + GROUP_OPEN_MAX) {
        receipt->has_missed = true; /* so far nobody has come */
        return true;
    }
    while (receipt->from < end && judging->refused == OK) {
        if (*judging->steps == 0) {
            return false;
        }
        (*judging->steps)--;
        struct open_range *range;
        struct offset_range piece = next_piece(judging, receipt->from, end, &range);
        if (range == NULL && receipt->from < queue->next) {
            receipt->has_missed = true; /* settled before */
        } else {
            settle_piece(judging, range, &piece);
        }
        receipt->from += piece.count;
    }
    return true;
}

/* How far a cursor comes with the steps that are left, on its way to `end`. */
static uint64_t reach_of_cursor(struct judging *judging, uint64_t end)
{
    const struct open_ranges *open = &judging->queue->open;
    const struct open_range *range = open_ranges_first(open);
    uint32_t *steps = judging->steps;
    while (range != NULL && *steps > 0 && range->first < end) {
        (*steps)--;
        range = open_ranges_next(open, range);
    }
    return range != NULL && range->first < end ? range->first : end;
}

static bool settle_cursor(struct judging *judging)
{
    struct group_queue *queue = judging->queue;
    uint64_t first = group_queue_first_open(queue);
    uint64_t end = judging->receipt->first + judging->receipt->span;
    uint64_t reach = reach_of_cursor(judging, end);
    if (reach <= first) {
        return end <= first;
    }
    const struct offset_range range = {first, reach - first};
    uint64_t open = queue->open.offsets;
    uint64_t next = queue->next;
    const struct trace_event event = groups_trace_of(queue, TRACE_ACKED, NULL);
    enum error error = groups_settle(queue, &range);
    groups_trace_note(queue, &event, &range, error);
    note(judging, error);
    if (error == OK) {
        queue->group->acked += open - queue->open.offsets + (queue->next - next);
    }
    return error != OK || reach == end;
}

/* Whether a receipt is of what is there: finds its queue, which a cursor may begin. */
static enum error find_queue(struct groups *groups, enum settle_verb verb,
                             const struct receipt *receipt, struct group_queue **queue_out)
{
    const struct group_place place = {receipt->group, receipt->topic, receipt->queue};
    struct queue *log_queue = commit_log_queue_find(groups->shard->log, place.topic, place.queue);
    if (log_queue == NULL) {
        return ERROR_TOPIC_NOT_FOUND;
    }
    if (catalogue_find_group_id(groups->catalogue, place.group) == NULL) {
        return ERROR_GROUP_NOT_FOUND;
    }
    const struct queue_state state = queue_state(log_queue);
    bool is_visible = receipt->first + receipt->span <= state.visible;
    *queue_out = groups_find(groups, &place);
    if (receipt->has_lease) {
        bool is_known = *queue_out != NULL && receipt->generation == (*queue_out)->generation;
        return is_known && is_visible ? OK : ERROR_LEASE_LOST;
    }
    if (verb != SETTLE_ACK || !is_visible) {
        return verb != SETTLE_ACK ? ERROR_LEASE_LOST : ERROR_TRUNCATED;
    }
    if (*queue_out != NULL) {
        return OK;
    }
    enum error error = groups_seek(groups, &place, state.first);
    *queue_out = groups_find(groups, &place);
    return error;
}

/* A group that expires is in use; its home hears of it. */
static void note_use(struct group_queue *queue, const struct group *group)
{
    struct core *at = queue->groups->shard->core;
    uint64_t now_ns = reactor_now_ns(at->reactor);
    uint64_t since_ns = now_ns - queue->group->used_told_ns;
    if (group->settings.idle_expire_ms != 0 &&
        since_ns >= HOME_TOLD_USED_EVERY_MS * UINT64_C(1000000)) {
        queue->group->used_told_ns = now_ns;
        home_tell_used(at, group->id);
    }
}

bool settle_receipt(struct groups *groups, const struct settling *settling, struct receipt *receipt,
                    uint32_t *steps)
{
    struct group_queue *queue = NULL;
    enum error error = find_queue(groups, settling->verb, receipt, &queue);
    if (error != OK) {
        receipt->error = error;
        return true;
    }
    struct judging judging = {
        .queue = queue,
        .settling = settling,
        .receipt = receipt,
        .group = catalogue_find_group_id(groups->catalogue, receipt->group),
        .now_ms = reactor_wall_ms(groups->shard->core->reactor),
        .steps = steps,
    };
    note_use(queue, judging.group);
    bool is_done = receipt->has_lease ? settle_leased(&judging) : settle_cursor(&judging);
    if (is_done) {
        error = receipt->has_missed ? ERROR_LEASE_LOST : OK;
        receipt->error = judging.refused != OK ? judging.refused : error;
    }
    groups_changed(queue);
    return is_done;
}

/* ------------------------------------------------------------ behind a failure */

/* What is held of a key behind a range that has failed. False: the steps are used up. */
static bool give_back_key(struct open_range *range, uint64_t serial, uint32_t *steps)
{
    while ((range = group_queue_held_behind(range, serial)) != NULL) {
        if (*steps == 0) {
            return false;
        }
        (*steps)--;
        if (!groups_give_back(range)) {
            return true;
        }
    }
    return true;
}

/* The keys of what has failed, each once. False: likewise. */
static bool give_back_keys(struct group_queue *queue, struct receipt *receipt, uint32_t *steps)
{
    uint64_t end = receipt->first + receipt->span;
    struct open_range *range = open_ranges_find(&queue->open, receipt->from);
    while (range != NULL && range->first < end) {
        if (*steps == 0) {
            return false;
        }
        (*steps)--;
        bool has_failed = range->key != 0 && range->state != OPEN_LEASED;
        const struct open_range *before = has_failed ? group_key_before(range) : NULL;
        bool is_done = before != NULL && before->first >= receipt->first &&
                       before->state != OPEN_LEASED; /* with that one */
        if (has_failed && !is_done && !give_back_key(range, receipt->serial, steps)) {
            return false; /* this key goes on from its beginning */
        }
        receipt->from = open_range_end(range);
        range = open_ranges_find(&queue->open, receipt->from);
    }
    return true;
}

/* All that was given out with it and lies behind. False: likewise. */
static bool give_back_rest(struct group_queue *queue, struct receipt *receipt, uint32_t *steps)
{
    uint64_t end = receipt->first + receipt->span;
    receipt->from = receipt->from > end ? receipt->from : end;
    struct open_range *range = open_ranges_find(&queue->open, receipt->from);
    while (range != NULL && queue->in_state[OPEN_LEASED] > 0) {
        if (*steps == 0) {
            return false;
        }
        (*steps)--;
        receipt->from = open_range_end(range);
        if (range->state == OPEN_LEASED && range->serial == receipt->serial &&
            !groups_give_back(range)) {
            break;
        }
        range = open_ranges_find(&queue->open, receipt->from);
    }
    return true;
}

bool settle_give_back_behind(struct groups *groups, struct receipt *receipt, uint32_t *steps)
{
    const struct group_place place = {receipt->group, receipt->topic, receipt->queue};
    struct group_queue *queue = groups_find(groups, &place);
    if (queue == NULL || queue->order == GROUP_ORDER_NONE ||
        receipt->generation != queue->generation) {
        return true;
    }
    bool is_done = queue->order == GROUP_ORDER_KEY ? give_back_keys(queue, receipt, steps)
                                                   : give_back_rest(queue, receipt, steps);
    groups_changed(queue);
    return is_done;
}
