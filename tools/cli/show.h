/* SPDX-License-Identifier: Apache-2.0 */
/*
 * show.h - answers of servers for people: maps as lines of names and values, rows as tables.
 *
 * What is shown follows the answer, not a list of known keys, so that an older command line shows
 * what a newer server says.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_SHOW_H
#define TOOLS_CLI_SHOW_H

#include "proto/base/bytes.h"
#include "proto/cursor.h"
#include "tools/cli/table.h"

#include <stdbool.h>
#include <stdio.h>

/* The value of a key of a map. False: it is no map, or has no such key. */
bool result_find(struct bytes map, const char *key, struct cursor *value_out);

/* The same of a number, of a text. */
bool result_find_number(struct bytes map, const char *key, uint64_t *number_out);
bool result_find_text(struct bytes map, const char *key, struct bytes *text_out);

/* Prints a map: `name  value` lines, inner maps as name.name, arrays of maps as tables after them,
 * a column a map where the maps have many keys. False: it is no map. */
bool show_map(FILE *to, struct bytes map);

/* Rows of an array of maps, page by page, as one table: the columns are the keys of the first row. */
struct show_rows {
    struct table table;
    struct bytes keys[TABLE_COLUMNS_MAX];
    char key_room[TABLE_COLUMNS_MAX * 32];
    size_t count;
};

/* Adds one row, a map. False: it is none. */
bool show_rows_add(struct show_rows *rows, struct bytes row);

/* Prints and frees; nothing where there was no row. */
void show_rows_print(struct show_rows *rows, FILE *to);

#endif
