/* SPDX-License-Identifier: Apache-2.0 */
/* lines.c - reads lines. */
#include "tools/cli/lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool lines_open(struct lines *lines, int file)
{
    *lines = (struct lines){.file = file, .capacity = LINES_BYTES, .buffer = malloc(LINES_BYTES)};
    return lines->buffer != NULL;
}

void lines_close(struct lines *lines)
{
    free(lines->buffer);
    lines->buffer = NULL;
}

/* Makes room behind `end`: by moving what is left to the front, or by a larger buffer. */
static int make_room(struct lines *lines)
{
    if (lines->begin > 0) {
        memmove(lines->buffer, lines->buffer + lines->begin, lines->end - lines->begin);
        lines->scanned = lines->scanned > lines->begin ? lines->scanned - lines->begin : 0;
        lines->end -= lines->begin;
        lines->begin = 0;
    }
    if (lines->end < lines->capacity) {
        return 0;
    }
    if (lines->capacity >= LINES_BYTES_MAX) {
        return -EMSGSIZE;
    }
    size_t capacity = lines->capacity * 2 < LINES_BYTES_MAX ? lines->capacity * 2 : LINES_BYTES_MAX;
    uint8_t *buffer = realloc(lines->buffer, capacity);
    if (buffer == NULL) {
        return -ENOMEM;
    }
    lines->buffer = buffer;
    lines->capacity = capacity;
    return 0;
}

int lines_read(struct lines *lines)
{
    int error = make_room(lines);
    if (error != 0) {
        return error;
    }
    ssize_t length = read(lines->file, lines->buffer + lines->end, lines->capacity - lines->end);
    if (length < 0) {
        return -errno;
    }
    lines->end += (size_t)length;
    lines->at_end = length == 0;
    return 0;
}

bool lines_next(struct lines *lines, struct bytes *line_out)
{
    if (lines->scanned < lines->begin) {
        lines->scanned = lines->begin;
    }
    const uint8_t *newline =
        memchr(lines->buffer + lines->scanned, '\n', lines->end - lines->scanned);
    if (newline == NULL) {
        lines->scanned = lines->end;
        if (!lines->at_end || lines->begin == lines->end) {
            return false;
        }
        newline = lines->buffer + lines->end;
        *line_out = bytes_make(lines->buffer + lines->begin, lines->end - lines->begin);
        lines->begin = lines->end;
    } else {
        size_t at = (size_t)(newline - lines->buffer);
        *line_out = bytes_make(lines->buffer + lines->begin, at - lines->begin);
        lines->begin = at + 1;
    }
    lines->number++;
    return true;
}

bool lines_is_readable(const struct lines *lines, int wait_ms)
{
    struct pollfd wish = {.fd = lines->file, .events = POLLIN};
    return poll(&wish, 1, wait_ms) > 0;
}
