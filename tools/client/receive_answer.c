/* SPDX-License-Identifier: Apache-2.0 */
/*
 * receive_answer.c - what a broker answers to `receive`.
 */
#include "tools/client/receive_answer.h"

#include "proto/limits.h"
#include "proto/record.h"

/* What a range has before what newer brokers may add. */
enum { RANGE_ELEMENTS = 9 };

static bool take_reason(struct cursor *ranges, struct bytes *reason_out)
{
    if (cursor_try_nil(ranges)) {
        *reason_out = bytes_make(NULL, 0);
        return true;
    }
    return cursor_take_text(ranges, reason_out) && reason_out->length <= REASON_BYTES_MAX;
}

static bool take_range(struct cursor *ranges, struct receive_range *range)
{
    uint32_t count;
    if (!cursor_take_array(ranges, &count) || count < RANGE_ELEMENTS ||
        !cursor_take_text(ranges, &range->topic) || !cursor_take_u32(ranges, &range->queue) ||
        !cursor_take_uint(ranges, &range->first) || !cursor_take_uint(ranges, &range->span) ||
        !cursor_take_u32(ranges, &range->message_count) ||
        !cursor_take_u32(ranges, &range->attempt) || !cursor_take_text(ranges, &range->lease) ||
        !cursor_take_uint(ranges, &range->until_ms) || !take_reason(ranges, &range->reason)) {
        return false;
    }
    for (uint32_t i = RANGE_ELEMENTS; i < count; i++) {
        if (!cursor_skip(ranges)) {
            return false;
        }
    }
    return range->topic.length > 0 && range->topic.length <= TOPIC_NAME_BYTES_MAX &&
           range->queue < QUEUES_PER_TOPIC_MAX && range->lease.length <= LEASE_BYTES_MAX &&
           range->attempt > 0 && range->message_count > 0 &&
           range->span < INTEGER_LIMIT - range->first && range->message_count <= range->span;
}

/* Takes a range's records off the front of `records`. False: they are not where they should be. */
static bool take_records(struct bytes *records, struct receive_range *range)
{
    const uint8_t *at = records->data;
    size_t left = records->length;
    uint64_t least = range->first;
    for (uint32_t i = 0; i < range->message_count; i++) {
        if (left < RECORD_BYTES_MIN || record_size(at) > left ||
            record_size(at) < RECORD_BYTES_MIN || record_offset(at) < least ||
            record_offset(at) - range->first >= range->span) {
            return false;
        }
        least = record_offset(at) + 1;
        left -= record_size(at);
        at += record_size(at);
    }
    range->records = bytes_make(records->data, records->length - left);
    *records = bytes_make(at, left);
    return true;
}

bool receive_answer_next(struct receive_answer *answer, struct receive_range *range_out)
{
    struct receive_range range;
    if (answer->range_count == 0 || !take_range(&answer->ranges, &range) ||
        !take_records(&answer->records, &range)) {
        return false;
    }
    answer->range_count--;
    *range_out = range;
    return true;
}

/* An order that is not known is the strictest that is. */
static enum group_order take_order(struct cursor *value)
{
    struct bytes order;
    if (!cursor_take_text(value, &order) || bytes_equal(order, BYTES_OF("none"))) {
        return GROUP_ORDER_NONE;
    }
    return bytes_equal(order, BYTES_OF("key")) ? GROUP_ORDER_KEY : GROUP_ORDER_QUEUE;
}

static bool read_map(struct bytes result, struct receive_answer *answer)
{
    struct cursor cursor = cursor_over(result);
    uint32_t pairs;
    bool has_ranges = false;
    bool has_messages = false;
    if (!cursor_take_map(&cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs && !cursor.failed && !has_messages; i++) {
        struct bytes key;
        if (!cursor_take_text(&cursor, &key)) {
            return false;
        }
        if (bytes_equal(key, BYTES_OF("messages"))) {
            has_messages = cursor_take_array(&cursor, &answer->message_count);
            answer->records = bytes_make(cursor.at, cursor_left(&cursor));
            continue; /* they are the last, and many */
        }
        struct cursor value = cursor;
        if (bytes_equal(key, BYTES_OF("ranges"))) {
            has_ranges = cursor_take_array(&value, &answer->range_count);
            answer->ranges = value;
        } else if (bytes_equal(key, BYTES_OF("order"))) {
            answer->order = take_order(&value);
        } else if (bytes_equal(key, BYTES_OF("acked"))) {
            if (!cursor_take_array(&value, &answer->acked_count)) {
                return false;
            }
            answer->acked = value;
        }
        cursor_skip(&cursor);
    }
    return !cursor.failed && has_ranges && has_messages;
}

bool receive_answer_read(struct bytes result, uint32_t most, struct receive_answer *answer_out)
{
    struct receive_answer answer = {.range_count = 0};
    if (!read_map(result, &answer) || answer.message_count > most) {
        return false;
    }
    struct receive_answer walk = answer;
    struct receive_range range;
    uint64_t messages = 0;
    while (walk.range_count > 0) {
        if (!receive_answer_next(&walk, &range)) {
            return false;
        }
        messages += range.message_count;
    }
    if (messages != answer.message_count) {
        return false;
    }
    answer.records.length -= walk.records.length; /* what lies behind the last is not theirs */
    *answer_out = answer;
    return true;
}
