/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h - what a process tells its operator: one line an event, on standard error.
 *
 * A line is `<6>text\n` with journald's priority digits (3 error, 4 warning, 6 information, 7
 * debug), whether or not a journal reads it. Control characters of the text become `?`, so that a
 * peer's bytes can neither break a line nor reach a terminal; a line longer than LOG_LINE_BYTES_MAX
 * is cut. Whoever decides what to do about an error logs it; whoever passes it on does not.
 *
 * Threads: any; a line is one write(2). log_set_level() and log_set_sink() are called before
 * threads exist.
 * Blocks: when standard error does.
 */
#ifndef PROTO_BASE_LOG_H
#define PROTO_BASE_LOG_H

#include "proto/base/bytes.h"

#include <stdbool.h>
#include <stdint.h>

/* Long enough for a path and a sentence, short enough for a line of a terminal or three. */
#define LOG_LINE_BYTES_MAX 1024

enum log_level {
    LOG_LEVEL_ERROR = 3,
    LOG_LEVEL_WARN = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7,
};

/* One kind of event that a peer can cause at will: at most one line a second. Zeroed at first. */
struct log_limit {
    uint64_t open_at_ns; /* no line of this kind before this moment; the module's */
    uint32_t left_out;   /* events since the last line; the module's */
};

/* The values that `--log-level` takes, in the form of a setting's choices. */
#define LOG_LEVEL_CHOICES "error|warn|info|debug"

/* Lines above `level` are dropped; LOG_LEVEL_INFO at first. */
void log_set_level(enum log_level level);

/* The level that one of LOG_LEVEL_CHOICES names, by its number there (0 is error). */
enum log_level log_level_from_choice(uint64_t choice);

/* True where a line of `level` is written at all; for arguments that cost something to make. */
bool log_is_on(enum log_level level);

/* Lines go to `sink(context, line)`, without newline, instead of standard error; NULL undoes it. */
typedef void log_sink_fn(void *context, struct bytes line);
void log_set_sink(log_sink_fn *sink, void *context);

/* Writes one line. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Writes one line, unless one of the same kind was written within the last second before `now_ns`
 * (of any clock that does not go back; 0 means CLOCK_MONOTONIC). The count of those left out since
 * is appended to the next line that is written.
 */
void log_limited(struct log_limit *limit, uint64_t now_ns, enum log_level level, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
