/* SPDX-License-Identifier: Apache-2.0 */
/*
 * output.h - whether standard output still goes somewhere, for commands that stream.
 *
 * A reader that closes its pipe is a clean end; a full disk is not.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_OUTPUT_H
#define TOOLS_CLI_OUTPUT_H

#include "tools/cli/command.h"

#include <stdbool.h>

enum { OUTPUT_BYTES = 256 * 1024 };

/* Zeroed: all is well. */
struct output {
    bool pipe_closed;
    bool write_failed;
    int write_error;
};

/* Standard output gets a buffer, unless it is a terminal. */
void output_open(void);

/* Writes bytes, such as a body, and the end of a line. */
void output_put_line(struct ternmq_bytes bytes);

/* Whether what was written so far was taken, by the stream; errors are kept. */
bool output_is_open(struct output *output);

/* The same of everything, which is given to the kernel first. */
bool output_flush(struct output *output);

/* Whether the reader of a pipe has gone, while there is nothing to write that would tell. */
bool output_reader_has_gone(struct output *output);

/* Says that writing failed, if it did; `status` else. */
int output_status(struct invocation *invocation, const struct output *output, int status);

#endif
