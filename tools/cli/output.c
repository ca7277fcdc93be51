/* SPDX-License-Identifier: Apache-2.0 */
/* output.c - whether standard output still goes somewhere. */
#include "tools/cli/output.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void output_open(void)
{
    if (isatty(STDOUT_FILENO) == 0) {
        (void)setvbuf(stdout, NULL, _IOFBF, OUTPUT_BYTES);
    }
}

void output_put_line(struct ternmq_bytes bytes)
{
    if (bytes.length > 0) {
        (void)fwrite_unlocked(bytes.data, 1, bytes.length, stdout);
    }
    (void)putc_unlocked('\n', stdout);
}

bool output_is_open(struct output *output)
{
    if (output->pipe_closed || output->write_failed) {
        return false;
    }
    if (ferror(stdout) == 0) {
        return true;
    }
    output->write_error = errno;
    output->pipe_closed = errno == EPIPE;
    output->write_failed = !output->pipe_closed;
    return false;
}

bool output_flush(struct output *output)
{
    (void)fflush(stdout); /* what goes wrong stays with the stream */
    return output_is_open(output);
}

bool output_reader_has_gone(struct output *output)
{
    struct pollfd descriptor = {.fd = STDOUT_FILENO, .events = 0};
    if (poll(&descriptor, 1, 0) > 0 && (descriptor.revents & POLLERR) != 0) {
        output->pipe_closed = true;
    }
    return output->pipe_closed;
}

int output_status(struct invocation *invocation, const struct output *output, int status)
{
    if (!output->write_failed) {
        return status;
    }
    return invocation_fail(invocation, EXIT_FAILED, "writing to standard output failed: %s",
                           strerror(output->write_error));
}
