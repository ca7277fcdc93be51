/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer_map.c - finds values in the map that an answer's result is.
 */
#include "tools/client/answer_map.h"

bool answer_find(struct bytes result, const char *key, struct cursor *value_out)
{
    struct cursor cursor = cursor_over(result);
    uint32_t pairs;
    if (!cursor_take_map(&cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes name;
        if (!cursor_take_text(&cursor, &name)) {
            return false;
        }
        if (bytes_equal(name, bytes_from_string(key))) {
            *value_out = cursor;
            return true;
        }
        if (!cursor_skip(&cursor)) {
            return false;
        }
    }
    return false;
}

bool answer_find_uint(struct bytes result, const char *key, uint64_t *value_out)
{
    struct cursor cursor;
    return answer_find(result, key, &cursor) && cursor_take_uint(&cursor, value_out);
}
