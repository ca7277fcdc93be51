/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.h - a program's settings, from one table.
 *
 * One row a setting makes its flag, its checks, its line of --help and its row in a README. A
 * program writes `static const struct setting rows[]` and an enum of their indexes; after
 * settings_parse() `values[INDEX]` holds what was given, or what the default text means (it goes
 * through the same checks, and a default that fails them asserts).
 *
 * Flags are `--name value`, `--name=value`, or `-x value` for a row with an alias, and stand
 * anywhere among the positional arguments; `--` ends them, and a lone `-` is positional. A flag
 * given twice is an error unless its row is a list.
 *
 * Memory: the caller's; texts point into argv.
 * Threads: the main thread, at start.
 */
#ifndef PROTO_BASE_SETTINGS_H
#define PROTO_BASE_SETTINGS_H

#include "proto/base/contract.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Most rows of one table, and most values of all lists of one command line together. */
#define SETTINGS_ROWS_MAX 64
#define SETTINGS_LIST_MAX 256

/* Longest error line, and longest line of help, that this file makes. */
#define SETTINGS_ERROR_BYTES_MAX 512

enum setting_type {
    SETTING_TEXT,     /* any text; `least` and `most` bound its bytes, 0 and 0: unbounded */
    SETTING_INTEGER,  /* decimal */
    SETTING_BYTES,    /* decimal, with K, M or G: powers of 1024 */
    SETTING_DURATION, /* decimal with ms, s, m, h or d; only 0 needs none; in ms */
    SETTING_CHOICE,   /* one of `choices`; the number is its index */
    SETTING_LIST,     /* any text, may be repeated */
    SETTING_FLAG,     /* takes no value; the number is 1 where given */
};

struct setting {
    const char *name;    /* without the dashes */
    char alias;          /* 'n' for -n, or 0 */
    const char *metavar; /* "HOST:PORT", as help shows it; NULL: from the type */
    enum setting_type type;
    const char *fallback; /* the default as text; NULL: none, the value is absent unless given */
    uint64_t least;       /* of numbers, both inclusive; `most` 0: unbounded */
    uint64_t most;
    const char *choices; /* "memory|disk" */
    const char *help;    /* one sentence, without a full stop */
};

struct setting_value {
    const char *text; /* as given or as the default; NULL when absent */
    uint64_t number;  /* what the text means; of a list: how often it was given */
    bool given;       /* on the command line */
};

struct settings {
    const struct setting *rows;
    uint32_t row_count;
    struct setting_value values[SETTINGS_ROWS_MAX];
    struct {
        uint32_t row;
        const char *text;
    } list[SETTINGS_LIST_MAX];
    uint32_t list_count;
    char **positional; /* argv[1..], compacted in place */
    int positional_count;
    char error[SETTINGS_ERROR_BYTES_MAX]; /* set when settings_parse() gives false */
};

/*
 * Reads the command line. Moves the positional arguments to the front of argv[1..]. False: wrong
 * usage, and `settings->error` is one line that names the flag, the value and the limit.
 */
NODISCARD bool settings_parse(struct settings *settings, const struct setting *rows,
                              uint32_t row_count, int argc, char **argv);

/* The next value of list row `row` from `*index` (0 at first) on, which moves past it; or NULL. */
const char *settings_list_next(const struct settings *settings, uint32_t row, uint32_t *index);

/* Reads one text as `row` would. False: `error` (of `error_bytes`) says why, in one line. */
NODISCARD bool settings_read_value(const struct setting *row, const char *text,
                                   uint64_t *number_out, char *error, size_t error_bytes);

/* Writes the option part of --help: two columns, defaults and ranges included. */
void settings_print_help(const struct setting *rows, uint32_t row_count, FILE *to);

/* Writes the table for a README, in Markdown. */
void settings_print_markdown(const struct setting *rows, uint32_t row_count, FILE *to);

#endif
