/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - formats a line on the stack and writes it at once.
 */
#include "proto/base/log.h"

#include "proto/base/utf8.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_NS UINT64_C(1000000000)

static atomic_int level_max = LOG_LEVEL_INFO;
static log_sink_fn *sink_function;
static void *sink_context;

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&level_max, (int)level, memory_order_relaxed);
}

enum log_level log_level_from_choice(uint64_t choice)
{
    static const enum log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO,
                                            LOG_LEVEL_DEBUG};
    return choice < sizeof(levels) / sizeof(levels[0]) ? levels[choice] : LOG_LEVEL_INFO;
}

bool log_is_on(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&level_max, memory_order_relaxed);
}

void log_set_sink(log_sink_fn *sink, void *context)
{
    sink_function = sink;
    sink_context = context;
}

/* A line under construction: "<6>", text, and room for the newline. */
struct line {
    char text[LOG_LINE_BYTES_MAX + 1];
    size_t length;
};

/* Adds what the format gives, cut where the line is full. */
static void line_add(struct line *line, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void line_add(struct line *line, const char *format, va_list arguments)
{
    size_t left = LOG_LINE_BYTES_MAX - line->length;
    int count = vsnprintf(line->text + line->length, left + 1, format, arguments);
    if (count > 0) {
        line->length += (size_t)count < left ? (size_t)count : left;
    }
}

static void line_addf(struct line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void line_addf(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    line_add(line, format, arguments);
    va_end(arguments);
}

/* UTF-8 passes; what could break the line or steer a terminal does not. */
static void line_clean(struct line *line)
{
    line->length = utf8_replace_controls(bytes_make(line->text, line->length), line->text);
}

static void line_write(struct line *line)
{
    line_clean(line);
    if (sink_function != NULL) {
        sink_function(sink_context, bytes_make(line->text, line->length));
        return;
    }
    line->text[line->length] = '\n';
    /* Nobody is left to tell when standard error takes no more. */
    ssize_t ignored = write(STDERR_FILENO, line->text, line->length + 1);
    (void)ignored;
}

void log_write(enum log_level level, const char *format, ...)
{
    if (!log_is_on(level)) {
        return;
    }
    struct line line = {.length = 0};
    line_addf(&line, "<%d>", (int)level);
    va_list arguments;
    va_start(arguments, format);
    line_add(&line, format, arguments);
    va_end(arguments);
    line_write(&line);
}

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * LIMIT_NS + (uint64_t)now.tv_nsec;
}

void log_limited(struct log_limit *limit, uint64_t now_ns, enum log_level level, const char *format,
                 ...)
{
    if (!log_is_on(level)) {
        return;
    }
    /* Several reactors may share a kind: who moves the moment on writes the line. */
    uint64_t now = now_ns != 0 ? now_ns : monotonic_ns();
    uint64_t open_at = __atomic_load_n(&limit->open_at_ns, __ATOMIC_RELAXED);
    if (now < open_at || !__atomic_compare_exchange_n(&limit->open_at_ns, &open_at, now + LIMIT_NS,
                                                      false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_fetch_add(&limit->left_out, 1, __ATOMIC_RELAXED);
        return;
    }
    uint32_t left_out = __atomic_exchange_n(&limit->left_out, 0, __ATOMIC_RELAXED);

    struct line line = {.length = 0};
    line_addf(&line, "<%d>", (int)level);
    va_list arguments;
    va_start(arguments, format);
    line_add(&line, format, arguments);
    va_end(arguments);
    if (left_out > 0) {
        line_addf(&line, " (%u more were left out)", left_out);
    }
    line_write(&line);
}
