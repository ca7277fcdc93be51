/* SPDX-License-Identifier: Apache-2.0 */
/* group_seek_decide.c - what `to` means, and what a seek does to one queue. */
#include "broker/group_seek.h"
#include "proto/arguments.h"
#include "proto/names.h"

#define TO_CHOICES "first, last, {at_time}, {offset} or {group}"

/* ------------------------------------------------------------------ target */

static bool read_text(struct cursor *cursor, struct seek_target *target)
{
    struct bytes text;
    if (!cursor_take_text(cursor, &text)) {
        return false;
    }
    target->kind = bytes_equal(text, BYTES_OF("first")) ? SEEK_FIRST : SEEK_LAST;
    return target->kind == SEEK_FIRST || bytes_equal(text, BYTES_OF("last"));
}

static bool read_map(struct cursor *cursor, struct seek_target *target)
{
    uint32_t pairs;
    struct bytes key;
    if (!cursor_take_map(cursor, &pairs) || pairs != 1 || !cursor_take_text(cursor, &key)) {
        return false;
    }
    if (bytes_equal(key, BYTES_OF("group"))) {
        target->kind = SEEK_GROUP;
        return cursor_take_text(cursor, &target->group) && name_is_any_group(target->group);
    }
    target->kind = bytes_equal(key, BYTES_OF("offset")) ? SEEK_OFFSET : SEEK_TIME;
    bool is_known = target->kind == SEEK_OFFSET || bytes_equal(key, BYTES_OF("at_time"));
    return is_known && cursor_take_uint_max(cursor, INTEGER_LIMIT - 1, &target->number);
}

enum error seek_target_read(struct cursor cursor, struct seek_target *target_out,
                            struct refusal *refusal)
{
    *target_out = (struct seek_target){.kind = SEEK_FIRST};
    bool is_read = cursor_peek(&cursor) == CURSOR_MAP ? read_map(&cursor, target_out)
                                                      : read_text(&cursor, target_out);
    return is_read && cursor_is_done(&cursor) ? OK
                                              : arguments_refuse(refusal, ARGUMENT_TO, TO_CHOICES);
}

/* ---------------------------------------------------------------- decision */

/* How many offsets of [first, end) are open, or were never given out. */
static uint64_t count_undone(const struct seek_place *place, uint64_t first, uint64_t end)
{
    const struct group_queue *queue = place->queue;
    uint64_t next = queue == NULL ? place->start : queue->next;
    uint64_t from = next > first ? next : first;
    uint64_t count = end > from ? end - from : 0;
    return count + (queue == NULL ? 0 : open_ranges_count(&queue->open, first, end));
}

enum error seek_decide(const struct seek_place *place, uint64_t offset, bool is_exact,
                       struct seek_row *row_out, struct refusal *refusal)
{
    uint64_t first = place->state.first;
    uint64_t end = place->state.visible;
    if (offset > end && is_exact) {
        refusal_set(refusal, ERROR_TRUNCATED, "the queue ends at %llu", (unsigned long long)end);
        refusal_add(refusal, REFUSAL_RESUME, end);
        return ERROR_TRUNCATED;
    }
    if (offset < first && is_exact) {
        refusal_set(refusal, ERROR_OFFSET_TOO_SMALL, "the first that is kept is %llu",
                    (unsigned long long)first);
        refusal_add(refusal, REFUSAL_FIRST, first);
        return ERROR_OFFSET_TOO_SMALL;
    }
    offset = offset < first ? first : offset;
    uint64_t behind = end > offset ? end - offset : 0;
    *row_out = (struct seek_row){
        .was = place->queue == NULL ? place->start : group_queue_cursor(place->queue),
        .now = offset,
        .again = behind - count_undone(place, offset, offset + behind),
        .skipped = count_undone(place, first, offset < first ? first : offset),
    };
    return OK;
}
