/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rewrite.c - reads msgpack values from standard input with the cursor and writes them to standard
 * output with the writer: what another library sends and receives to be compared.
 *
 * Exit status 1, and nothing more is written, at the first byte that the cursor refuses.
 */
#include "proto/cursor.h"
#include "proto/writer.h"

#include <stdio.h>
#include <stdlib.h>

#define INPUT_BYTES_MAX (64U << 20)

/* Containers are counted down on a stack of our own; deep enough for what the tests send. */
#define DEPTH_MAX 8

static bool rewrite_integer(struct cursor *cursor, struct writer *writer)
{
    struct cursor before = *cursor;
    uint64_t positive;
    int64_t negative;
    if (cursor_take_uint(cursor, &positive)) {
        writer_put_uint(writer, positive);
        return true;
    }
    *cursor = before;
    if (!cursor_take_int(cursor, &negative)) {
        return false;
    }
    writer_put_int(writer, negative);
    return true;
}

/* Rewrites one value, or the head of a container; `*children_out` is what has to follow. */
static bool rewrite_head(struct cursor *cursor, struct writer *writer, uint64_t *children_out)
{
    struct bytes content;
    bool truth;
    uint32_t count;

    *children_out = 0;
    switch (cursor_peek(cursor)) {
    case CURSOR_NIL:
        writer_put_nil(writer);
        return cursor_take_nil(cursor);
    case CURSOR_BOOL:
        if (!cursor_take_bool(cursor, &truth)) {
            return false;
        }
        writer_put_bool(writer, truth);
        return true;
    case CURSOR_INTEGER:
    case CURSOR_FLOAT:
        return rewrite_integer(cursor, writer);
    case CURSOR_STR:
        if (!cursor_take_str(cursor, &content)) {
            return false;
        }
        writer_put_str(writer, content);
        return true;
    case CURSOR_BIN:
        if (!cursor_take_bin(cursor, &content)) {
            return false;
        }
        writer_put_bin(writer, content);
        return true;
    case CURSOR_ARRAY:
        if (!cursor_take_array(cursor, &count)) {
            return false;
        }
        writer_put_array(writer, count);
        *children_out = count;
        return true;
    case CURSOR_MAP:
        if (!cursor_take_map(cursor, &count)) {
            return false;
        }
        writer_put_map(writer, count);
        *children_out = (uint64_t)count * 2;
        return true;
    case CURSOR_NONE:
    case CURSOR_INVALID:
        break;
    }
    return false;
}

/* Rewrites one value with all that is in it. */
static bool rewrite(struct cursor *cursor, struct writer *writer)
{
    uint64_t missing[DEPTH_MAX];
    uint32_t depth = 0;
    do {
        uint64_t children;
        if (!rewrite_head(cursor, writer, &children)) {
            return false;
        }
        if (depth > 0) {
            missing[depth - 1]--;
        }
        if (children > 0) {
            if (depth == DEPTH_MAX) {
                return false;
            }
            missing[depth++] = children;
        }
        while (depth > 0 && missing[depth - 1] == 0) {
            depth--;
        }
    } while (depth > 0);
    return true;
}

int main(void)
{
    uint8_t *input = malloc(INPUT_BYTES_MAX);
    uint8_t *output = malloc(INPUT_BYTES_MAX);
    if (input == NULL || output == NULL) {
        fprintf(stderr, "rewrite: no memory\n");
        return EXIT_FAILURE;
    }
    size_t length = fread(input, 1, INPUT_BYTES_MAX, stdin);
    struct cursor cursor = cursor_over(bytes_make(input, length));
    struct writer writer = writer_over(output, INPUT_BYTES_MAX);
    bool is_good = true;
    while (is_good && !cursor_is_done(&cursor)) {
        is_good = rewrite(&cursor, &writer);
    }
    is_good = is_good && !writer.overflowed &&
              fwrite(output, 1, writer_length(&writer), stdout) == writer_length(&writer);
    free(input);
    free(output);
    return is_good ? EXIT_SUCCESS : EXIT_FAILURE;
}
