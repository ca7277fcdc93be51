/* SPDX-License-Identifier: Apache-2.0 */
/* table.c - a table for people. */
#include "tools/cli/table.h"

#include "proto/base/contract.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *table, const char *const *headings)
{
    *table = (struct table){0};
    while (headings[table->column_count] != NULL) {
        table->column_count++;
    }
    ASSERT(table->column_count <= TABLE_COLUMNS_MAX);
    for (size_t column = 0; column < table->column_count; column++) {
        const char *heading = headings[column];
        if (heading[0] == '>') {
            table->right |= 1U << column;
            heading++;
        }
        table_add(table, "%s", heading);
    }
}

void table_add(struct table *table, const char *format, ...)
{
    if (table->cell_count == table->capacity) {
        table->capacity = table->capacity == 0 ? 64 : table->capacity * 2;
        table->cells = reallocarray(table->cells, table->capacity, sizeof(*table->cells));
        ASSERT(table->cells != NULL);
    }
    char *cell = NULL;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&cell, format, arguments);
    va_end(arguments);
    ASSERT(length >= 0);
    size_t *width = &table->widths[table->cell_count % table->column_count];
    *width = (size_t)length > *width ? (size_t)length : *width;
    table->cells[table->cell_count++] = cell;
}

void table_print(struct table *table, FILE *to)
{
    for (size_t i = 0; i < table->cell_count; i++) {
        size_t column = i % table->column_count;
        bool is_last = column + 1 == table->column_count;
        bool right = (table->right >> column & 1) != 0;
        int width = is_last && !right ? 0 : (int)table->widths[column];
        (void)fprintf(to, right ? "%*s%s" : "%-*s%s", width, table->cells[i],
                      is_last ? "\n" : "  ");
        free(table->cells[i]);
    }
    free(table->cells);
    *table = (struct table){0};
}
