/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broker_counters.c - what a broker says of itself by `stats`.
 */
#include "tools/bench/broker_counters.h"

#include "proto/cursor.h"

/* Adds up one counter of all the maps of an array. */
static uint64_t take_sum(struct cursor *rows, struct bytes name)
{
    uint64_t sum = 0;
    uint32_t count = 0;
    (void)cursor_take_array(rows, &count);
    for (uint32_t row = 0; row < count && !rows->failed; row++) {
        uint32_t pairs = 0;
        (void)cursor_take_map(rows, &pairs);
        for (uint32_t i = 0; i < pairs && !rows->failed; i++) {
            struct bytes key = {.length = 0};
            uint64_t value = 0;
            (void)cursor_take_text(rows, &key);
            if (bytes_equal(key, name)) {
                (void)cursor_take_uint(rows, &value);
                sum += value;
            } else {
                (void)cursor_skip(rows);
            }
        }
    }
    return sum;
}

static bool read_stats(struct ternmq_bytes result, struct broker_counters *counters)
{
    struct cursor cursor = cursor_over(bytes_make(result.data, result.length));
    uint32_t pairs = 0;
    (void)cursor_take_map(&cursor, &pairs);
    for (uint32_t i = 0; i < pairs && !cursor.failed; i++) {
        struct bytes key = {.length = 0};
        (void)cursor_take_text(&cursor, &key);
        if (bytes_equal(key, BYTES_OF("cores"))) {
            counters->core_messages = take_sum(&cursor, BYTES_OF("core_messages"));
        } else if (bytes_equal(key, BYTES_OF("shards"))) {
            counters->log_bytes = take_sum(&cursor, BYTES_OF("position_written"));
        } else {
            (void)cursor_skip(&cursor);
        }
    }
    return cursor_is_done(&cursor);
}

int broker_counters_read(const struct ternmq_options *client, struct broker_counters *counters_out,
                         struct ternmq_error *error)
{
    const struct ternmq_call stats = {.to = TERNMQ_TO_ANY_BROKER, .method = "stats"};
    struct ternmq_answer answer;
    struct ternmq *own = ternmq_open(client, error);
    int code = own == NULL ? error->code : ternmq_call(own, &stats, &answer, error);
    *counters_out = (struct broker_counters){.log_bytes = 0};
    if (code == TERNMQ_OK && !read_stats(answer.result, counters_out)) {
        *error = (struct ternmq_error){.code = TERNMQ_CORRUPT,
                                       .name = "CORRUPT",
                                       .message = "what came is no answer to stats"};
        code = TERNMQ_CORRUPT;
    }
    ternmq_close(own);
    return code;
}
