/* SPDX-License-Identifier: Apache-2.0 */
/* production_source.c - where the bodies of `produce` come from: words of the command line, or lines. */
#include "tools/cli/production.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int production_open_source(struct production *production)
{
    struct invocation *invocation = production->invocation;
    const char *path = invocation_option(invocation, PRODUCE_FILE)->text;
    production->words = invocation->words + 1;
    production->word_count = invocation->word_count - 1;
    production->from_lines = production->word_count == 0;
    if (!production->from_lines) {
        return path == NULL ? EXIT_DONE
                            : invocation_fail(invocation, EXIT_WRONG_USAGE,
                                              "give messages as arguments or by --file, not both");
    }
    int file = STDIN_FILENO;
    production->source = "standard input";
    if (path != NULL && strcmp(path, "-") != 0) {
        production->source = path;
        file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            return invocation_fail(invocation, EXIT_FAILED, "--file %s: %s", path, strerror(errno));
        }
        struct stat status;
        if (fstat(file, &status) == 0 && S_ISDIR(status.st_mode)) {
            (void)close(file);
            return invocation_fail(
                invocation, EXIT_FAILED,
                "--file %s: is a directory; give one file, or - and pipe several "
                "into it",
                path);
        }
        (void)posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    if (!lines_open(&production->lines, file)) {
        return invocation_fail(invocation, EXIT_FAILED, "no memory to read %s", production->source);
    }
    if (isatty(file) == 1) {
        invocation_say(invocation, "reading messages from the terminal, one a line; Ctrl-D ends");
    }
    return EXIT_DONE;
}

static void stop_with(struct production *production, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The source cannot go on: what was taken before is still sent. */
static void stop_with(struct production *production, int code, const char *format, ...)
{
    production->ended = true;
    production->source_failed = true;
    production->error = (struct ternmq_error){.code = code, .name = ternmq_code_name(code)};
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(production->error.message, sizeof(production->error.message), format,
                    arguments);
    va_end(arguments);
}

static void stop_too_large(struct production *production)
{
    stop_with(production, TERNMQ_TOO_LARGE,
              "message %llu is larger than a message may be, %d bytes with its tag, keys and "
              "properties",
              (unsigned long long)production->taken + 1, MESSAGE_BYTES_MAX);
}

/* The next body, if it is there without waiting for the source. */
static bool take_body(struct production *production, struct bytes *body_out)
{
    if (production->from_lines) {
        bool taken = lines_next(&production->lines, body_out);
        production->ended = !taken && production->lines.at_end;
        return taken;
    }
    production->ended = production->next_word == production->word_count;
    if (!production->ended) {
        *body_out = bytes_from_string(production->words[production->next_word++]);
    }
    return !production->ended;
}

void production_fill_batch(struct production *production)
{
    struct bytes body;
    while (!production->ended && production->batch_count < BATCH_MESSAGES &&
           production->batch_bytes < BATCH_BYTES && take_body(production, &body)) {
        size_t bytes = body.length + production->extra_bytes + MESSAGE_OVERHEAD_BYTES;
        if (bytes > MESSAGE_BYTES_MAX) {
            stop_too_large(production);
            return;
        }
        production->batch[production->batch_count++] = (struct ternmq_message){
            .body = ternmq_bytes(body.data == NULL ? (const void *)"" : body.data, body.length),
            .tag = production->tag,
            .keys = production->keys,
            .key_count = production->key_count,
            .properties = production->properties,
            .property_count = production->property_count,
        };
        production->batch_bytes += bytes;
        production->body_bytes += body.length;
        production->taken++;
    }
}

/* Reads more lines; called only when none is left in the buffer, as the batch points into it. */
static void read_lines(struct production *production)
{
    int error = lines_read(&production->lines);
    if (error == -EMSGSIZE) {
        stop_too_large(production);
    } else if (error == -EINTR || error == -EAGAIN) {
        return;
    } else if (error != 0) {
        stop_with(production, TERNMQ_IO_FAILED, "reading %s failed: %s", production->source,
                  strerror(-error));
    }
}

void production_read_ahead(struct production *production)
{
    struct lines *lines = &production->lines;
    while (!lines->at_end && !production->ended && !interrupted &&
           lines->end - lines->begin < LINES_BYTES / 2 && lines_is_readable(lines, 0)) {
        read_lines(production);
    }
}

bool production_wait_for_lines(struct production *production, int wait_ms)
{
    if (!lines_is_readable(&production->lines, wait_ms)) {
        return false;
    }
    read_lines(production);
    return true;
}

void production_close_source(struct production *production)
{
    lines_close(&production->lines);
    if (production->lines.file > STDIN_FILENO) {
        (void)close(production->lines.file);
    }
}
