/* SPDX-License-Identifier: Apache-2.0 */
/* dead_letter_extra.c - the extra of a dead letter's record, written and read. */
#include "proto/dead_letter_extra.h"

#include "proto/cursor.h"
#include "proto/limits.h"

enum { DEAD_ELEMENTS = 6, PLACE_ELEMENTS = 3 };

void dead_letter_extra_write(struct writer *writer, const struct dead_letter_extra *extra)
{
    writer_put_map(writer, 2);
    writer_put_string(writer, "dead");
    writer_put_array(writer, DEAD_ELEMENTS);
    writer_put_str(writer, extra->group);
    writer_put_str(writer, extra->topic);
    writer_put_uint(writer, extra->queue);
    writer_put_uint(writer, extra->offset);
    writer_put_uint(writer, extra->attempts);
    writer_put_str(writer, extra->reason);
    writer_put_string(writer, "place");
    writer_put_array(writer, PLACE_ELEMENTS);
    writer_put_uint(writer, extra->group_id);
    writer_put_uint(writer, extra->topic_id);
    writer_put_uint(writer, extra->generation);
}

static bool take_dead(struct cursor cursor, struct dead_letter_extra *extra)
{
    uint32_t count;
    return cursor_take_array(&cursor, &count) && count >= DEAD_ELEMENTS &&
           cursor_take_text(&cursor, &extra->group) && cursor_take_text(&cursor, &extra->topic) &&
           cursor_take_u16(&cursor, &extra->queue) &&
           cursor_take_uint_max(&cursor, INTEGER_LIMIT - 2, &extra->offset) &&
           cursor_take_u32(&cursor, &extra->attempts) && cursor_take_text(&cursor, &extra->reason);
}

static bool take_place(struct cursor cursor, struct dead_letter_extra *extra)
{
    uint32_t count;
    return cursor_take_array(&cursor, &count) && count >= PLACE_ELEMENTS &&
           cursor_take_u32(&cursor, &extra->group_id) &&
           cursor_take_u32(&cursor, &extra->topic_id) &&
           cursor_take_u32(&cursor, &extra->generation);
}

bool dead_letter_extra_read(struct bytes bytes, struct dead_letter_extra *extra_out)
{
    struct cursor cursor = cursor_over(bytes);
    uint32_t pairs;
    bool has_dead = false;
    bool has_place = false;
    if (!cursor_take_map(&cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes key;
        struct bytes value;
        if (!cursor_take_text(&cursor, &key) || !cursor_take_span(&cursor, &value)) {
            return false;
        }
        if (bytes_equal(key, BYTES_OF("dead"))) {
            has_dead = take_dead(cursor_over(value), extra_out);
        } else if (bytes_equal(key, BYTES_OF("place"))) {
            has_place = take_place(cursor_over(value), extra_out);
        }
    }
    return has_dead && has_place;
}
