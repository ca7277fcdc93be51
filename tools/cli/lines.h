/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lines.h - reads a file, a pipe or a terminal as lines, without ever holding more than it must.
 *
 * A line is the bytes before a newline; what follows the last newline is a line too if it is not
 * empty. Lines lie in the buffer and are good until the next lines_read().
 *
 * Memory:  a buffer of LINES_BYTES, or of the longest line up to LINES_BYTES_MAX.
 * Threads: one. lines_read() blocks on its file.
 */
#ifndef TOOLS_CLI_LINES_H
#define TOOLS_CLI_LINES_H

#include "proto/base/bytes.h"
#include "proto/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    LINES_BYTES = 1 << 20,
    /* A longer line cannot be a message, and is not looked for the end of. */
    LINES_BYTES_MAX = MESSAGE_BYTES_MAX + 2
};

struct lines {
    int file;
    uint8_t *buffer;
    size_t capacity;
    size_t begin;   /* of what was not taken yet */
    size_t scanned; /* from `begin` on there is no newline before it */
    size_t end;
    uint64_t number; /* of lines taken */
    bool at_end;     /* of the file */
};

/* False: no memory. */
bool lines_open(struct lines *lines, int file);
void lines_close(struct lines *lines);

/* Reads what there is, at least a byte; 0, or a negative errno (-EINTR: a signal came; -EMSGSIZE: the
 * line that begins here is longer than LINES_BYTES_MAX). At the end of the file `at_end` is set. */
int lines_read(struct lines *lines);

/* Takes the next whole line. False: more must be read, or nothing is left. */
bool lines_next(struct lines *lines, struct bytes *line_out);

/* Whether a read would not block. */
bool lines_is_readable(const struct lines *lines, int wait_ms);

#endif
