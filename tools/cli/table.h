/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table.h - a table for people: columns as wide as their widest cell, headings in capitals.
 *
 * Memory:  all cells are copied and kept until table_print(), which frees them.
 * Threads: one.
 */
#ifndef TOOLS_CLI_TABLE_H
#define TOOLS_CLI_TABLE_H

#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 32

struct table {
    size_t column_count;
    size_t cell_count;
    size_t capacity;
    char **cells; /* row after row, the headings first */
    size_t widths[TABLE_COLUMNS_MAX];
    unsigned right; /* bit of each column that is aligned right */
};

/* `headings` ends with NULL; one that begins with '>' is aligned right, without the '>'. */
void table_init(struct table *table, const char *const *headings);

/* The next cell, row by row. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints and frees it. */
void table_print(struct table *table, FILE *to);

#endif
