/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings_print.c - the pages that a table of settings makes: --help and a README's table.
 */
#include "proto/base/settings.h"

#include <string.h>

/* Where the second column of --help begins; a longer flag has its help on the next line. */
#define HELP_COLUMN 32

/* Room for a size or duration with its unit. */
#define NUMBER_BYTES 32

static const char *metavar_of(const struct setting *row)
{
    if (row->metavar != NULL) {
        return row->metavar;
    }
    switch (row->type) {
    case SETTING_TEXT:
    case SETTING_LIST:
        return "TEXT";
    case SETTING_INTEGER:
        return "N";
    case SETTING_BYTES:
        return "BYTES";
    case SETTING_DURATION:
        return "DURATION";
    case SETTING_CHOICE:
        return row->choices;
    case SETTING_FLAG:
        return "";
    }
    UNREACHABLE("a type that the enum does not have");
}

/* The largest unit that divides the number evenly: what a person would have written. */
static void format_number(enum setting_type type, uint64_t number, char *to)
{
    static const struct {
        enum setting_type type;
        uint64_t factor;
        const char *unit;
    } units[] = {
        {SETTING_BYTES, UINT64_C(1) << 30, "G"}, {SETTING_BYTES, UINT64_C(1) << 20, "M"},
        {SETTING_BYTES, UINT64_C(1) << 10, "K"}, {SETTING_DURATION, 86400000, "d"},
        {SETTING_DURATION, 3600000, "h"},        {SETTING_DURATION, 60000, "m"},
        {SETTING_DURATION, 1000, "s"},           {SETTING_DURATION, 1, "ms"},
    };
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].type == type && number != 0 && number % units[i].factor == 0) {
            (void)snprintf(to, NUMBER_BYTES, "%llu%s",
                           (unsigned long long)(number / units[i].factor), units[i].unit);
            return;
        }
    }
    (void)snprintf(to, NUMBER_BYTES, "%llu", (unsigned long long)number);
}

static bool is_number(const struct setting *row)
{
    return row->type == SETTING_INTEGER || row->type == SETTING_BYTES ||
           row->type == SETTING_DURATION;
}

/* "from 1 to 64", "at least 1M", "" */
static void format_range(const struct setting *row, char *to, size_t to_bytes)
{
    char least[NUMBER_BYTES];
    char most[NUMBER_BYTES];

    to[0] = '\0';
    if (!is_number(row)) {
        return;
    }
    format_number(row->type, row->least, least);
    format_number(row->type, row->most, most);
    if (row->most != 0) {
        (void)snprintf(to, to_bytes, "%s to %s", least, most);
    } else if (row->least != 0) {
        (void)snprintf(to, to_bytes, "at least %s", least);
    }
}

/* The end of a line of help: "(default 4; 1 to 1024)". */
static void print_facts(const struct setting *row, FILE *to)
{
    char range[3 * NUMBER_BYTES];
    bool has_default = row->fallback != NULL && row->fallback[0] != '\0';

    format_range(row, range, sizeof(range));
    if (row->type == SETTING_LIST) {
        fputs(" (may be repeated)", to);
    } else if (has_default && range[0] != '\0') {
        fprintf(to, " (default %s; %s)", row->fallback, range);
    } else if (has_default) {
        fprintf(to, " (default %s)", row->fallback);
    } else if (range[0] != '\0') {
        fprintf(to, " (%s)", range);
    }
}

void settings_print_help(const struct setting *rows, uint32_t row_count, FILE *to)
{
    for (uint32_t i = 0; i < row_count; i++) {
        const struct setting *row = &rows[i];
        char flag[SETTINGS_ERROR_BYTES_MAX];
        const char *metavar = metavar_of(row);
        char alias[] = {'-', row->alias, ',', ' ', '\0'};

        int length = snprintf(flag, sizeof(flag), "  %s--%s%s%s", row->alias != 0 ? alias : "",
                              row->name, metavar[0] != '\0' ? " " : "", metavar);
        if (length > HELP_COLUMN - 2) {
            fprintf(to, "%s\n%*s%s", flag, HELP_COLUMN, "", row->help);
        } else {
            fprintf(to, "%-*s%s", HELP_COLUMN, flag, row->help);
        }
        print_facts(row, to);
        fputc('\n', to);
    }
}

/* A pipe would end the cell. */
static void print_cell(const char *text, FILE *to)
{
    for (; *text != '\0'; text++) {
        fputs(*text == '|' ? "\\|" : (char[]){*text, '\0'}, to);
    }
}

void settings_print_markdown(const struct setting *rows, uint32_t row_count, FILE *to)
{
    fputs("| option | default | range | what it does |\n|---|---|---|---|\n", to);
    for (uint32_t i = 0; i < row_count; i++) {
        const struct setting *row = &rows[i];
        char range[3 * NUMBER_BYTES];
        const char *metavar = metavar_of(row);

        fputs("| `", to);
        if (row->alias != 0) {
            fprintf(to, "-%c`, `", row->alias);
        }
        fprintf(to, "--%s%s", row->name, metavar[0] != '\0' ? " " : "");
        print_cell(metavar, to);
        fputs("` | ", to);
        if (row->fallback != NULL && row->fallback[0] != '\0') {
            fputc('`', to);
            print_cell(row->fallback, to);
            fputc('`', to);
        }
        format_range(row, range, sizeof(range));
        fprintf(to, " | %s | ", range);
        print_cell(row->help, to);
        fputs(row->type == SETTING_LIST ? " (may be repeated) |\n" : " |\n", to);
    }
}
