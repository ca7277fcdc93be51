/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.c - reads a command line by a table; the pages from the same table are in
 * settings_print.c.
 */
#include "proto/base/settings.h"

#include "proto/base/bytes.h"

#include <stdarg.h>
#include <string.h>

/* A unit after a number. */
struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit units_of_bytes[] = {
    {"", 1}, {"K", UINT64_C(1) << 10}, {"M", UINT64_C(1) << 20}, {"G", UINT64_C(1) << 30}, {0},
};

static const struct unit units_of_duration[] = {
    {"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {0},
};

static const struct unit units_of_integer[] = {{"", 1}, {0}};

static const struct unit *units_of(enum setting_type type)
{
    switch (type) {
    case SETTING_BYTES:
        return units_of_bytes;
    case SETTING_DURATION:
        return units_of_duration;
    default:
        return units_of_integer;
    }
}

static const char *form_of(enum setting_type type)
{
    switch (type) {
    case SETTING_BYTES:
        return "a number of bytes such as 65536, 64K, 16M or 1G";
    case SETTING_DURATION:
        return "a duration such as 500ms, 30s, 5m, 2h or 1d";
    default:
        return "a whole number";
    }
}

static bool fail(char *error, size_t error_bytes, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(char *error, size_t error_bytes, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(error, error_bytes, format, arguments); /* a cut line is still a line */
    va_end(arguments);
    return false;
}

/* ---- values ---- */

/* Whether digits alone are meant as a duration: who writes 30 may mean seconds. Nothing is 0 in every unit. */
static bool lacks_unit(const struct setting *row, const char *text)
{
    return row->type == SETTING_DURATION && text[strspn(text, "0123456789")] == '\0' &&
           text[strspn(text, "0")] != '\0';
}

/* Reads decimal digits and a unit. False: it is no such number, or beyond 64 bits. */
static bool read_number(const char *text, const struct unit *units, uint64_t *number_out)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number)) {
            return false;
        }
    }
    if (at == text) {
        return false;
    }
    for (; units->name != NULL; units++) {
        if (strcmp(at, units->name) == 0) {
            return !__builtin_mul_overflow(number, units->factor, number_out);
        }
    }
    return false;
}

static bool read_choice(const struct setting *row, const char *text, uint64_t *number_out,
                        char *error, size_t error_bytes)
{
    const char *at = row->choices;
    size_t length = strlen(text);
    for (uint64_t index = 0;; index++) {
        size_t choice_bytes = strcspn(at, "|");
        if (choice_bytes == length && strncmp(at, text, length) == 0) {
            *number_out = index;
            return true;
        }
        if (at[choice_bytes] == '\0') {
            return fail(error, error_bytes, "--%s '%s': not one of %s", row->name, text,
                        row->choices);
        }
        at += choice_bytes + 1;
    }
}

static bool check_text(const struct setting *row, const char *text, char *error, size_t error_bytes)
{
    size_t length = strlen(text);
    if (length < row->least) {
        return fail(error, error_bytes, "--%s '%s': is %zu bytes long, at least %llu are needed",
                    row->name, text, length, (unsigned long long)row->least);
    }
    if (row->most != 0 && length > row->most) {
        return fail(error, error_bytes, "--%s: is %zu bytes long, at most %llu are allowed",
                    row->name, length, (unsigned long long)row->most);
    }
    return true;
}

bool settings_read_value(const struct setting *row, const char *text, uint64_t *number_out,
                         char *error, size_t error_bytes)
{
    uint64_t number = 0;
    switch (row->type) {
    case SETTING_TEXT:
    case SETTING_LIST:
        if (!check_text(row, text, error, error_bytes)) {
            return false;
        }
        break;
    case SETTING_CHOICE:
        return read_choice(row, text, number_out, error, error_bytes);
    case SETTING_FLAG:
        return fail(error, error_bytes, "--%s takes no value, but '%s' was given", row->name, text);
    case SETTING_INTEGER:
    case SETTING_BYTES:
    case SETTING_DURATION:
        if (lacks_unit(row, text)) {
            return fail(error, error_bytes, "--%s %s needs a unit, as in %ss or %sms", row->name,
                        text, text, text);
        }
        if (!read_number(text, units_of(row->type), &number)) {
            return fail(error, error_bytes, "--%s '%s': is not %s", row->name, text,
                        form_of(row->type));
        }
        if (number < row->least) {
            return fail(error, error_bytes, "--%s %s: is below the least, %llu%s", row->name, text,
                        (unsigned long long)row->least, row->type == SETTING_DURATION ? " ms" : "");
        }
        if (row->most != 0 && number > row->most) {
            return fail(error, error_bytes, "--%s %s: is above the most, %llu%s", row->name, text,
                        (unsigned long long)row->most, row->type == SETTING_DURATION ? " ms" : "");
        }
        break;
    }
    *number_out = number;
    return true;
}

/* ---- the command line ---- */

/* What settings_parse() has in hand. */
struct parser {
    struct settings *settings;
    int argc;
    char **argv;
    int at; /* the argument being looked at */
};

/* The row of a long name of `length` bytes, or of an alias; row_count: none. */
static uint32_t find_row(const struct settings *settings, const char *name, size_t length)
{
    uint32_t row = 0;
    while (row < settings->row_count && (strlen(settings->rows[row].name) != length ||
                                         memcmp(settings->rows[row].name, name, length) != 0)) {
        row++;
    }
    return row;
}

static uint32_t find_alias(const struct settings *settings, char alias)
{
    uint32_t row = 0;
    while (row < settings->row_count && settings->rows[row].alias != alias) {
        row++;
    }
    return row;
}

/* Puts the value that the command line gives to `row` in its place. */
static bool store(struct settings *settings, uint32_t row, const char *text)
{
    const struct setting *setting = &settings->rows[row];
    struct setting_value *value = &settings->values[row];
    uint64_t number;

    if (!settings_read_value(setting, text, &number, settings->error, sizeof(settings->error))) {
        return false;
    }
    if (setting->type == SETTING_LIST) {
        if (settings->list_count == SETTINGS_LIST_MAX) {
            return fail(settings->error, sizeof(settings->error),
                        "--%s '%s': more than %d repeated options", setting->name, text,
                        SETTINGS_LIST_MAX);
        }
        settings->list[settings->list_count].row = row;
        settings->list[settings->list_count].text = text;
        settings->list_count++;
        number = value->number + 1;
    } else if (value->given) {
        return fail(settings->error, sizeof(settings->error), "--%s is given twice, '%s' and '%s'",
                    setting->name, value->text, text);
    }
    *value = (struct setting_value){.text = text, .number = number, .given = true};
    return true;
}

/* Takes the value of `row`: `attached` after '=' if there is one, else the next argument. */
static bool take_value(struct parser *parser, uint32_t row, const char *attached)
{
    struct settings *settings = parser->settings;
    const struct setting *setting = &settings->rows[row];

    if (setting->type == SETTING_FLAG) {
        if (attached != NULL) {
            return fail(settings->error, sizeof(settings->error),
                        "--%s takes no value, but '%s' was given", setting->name, attached);
        }
        settings->values[row] = (struct setting_value){.text = "", .number = 1, .given = true};
        return true;
    }
    if (attached == NULL) {
        if (parser->at + 1 >= parser->argc) {
            return fail(settings->error, sizeof(settings->error), "--%s needs a value",
                        setting->name);
        }
        attached = parser->argv[++parser->at];
    }
    return store(settings, row, attached);
}

static bool take_long(struct parser *parser, const char *name)
{
    struct settings *settings = parser->settings;
    size_t length = strcspn(name, "=");
    uint32_t row = find_row(settings, name, length);

    if (row == settings->row_count) {
        return fail(settings->error, sizeof(settings->error), "unknown option --%.*s (see --help)",
                    (int)(length < 100 ? length : 100), name);
    }
    return take_value(parser, row, name[length] == '=' ? name + length + 1 : NULL);
}

/* -x value, -xvalue */
static bool take_short(struct parser *parser, const char *letters)
{
    struct settings *settings = parser->settings;
    uint32_t row = find_alias(settings, letters[0]);

    if (row == settings->row_count) {
        return fail(settings->error, sizeof(settings->error), "unknown option -%c (see --help)",
                    letters[0]);
    }
    return take_value(parser, row, letters[1] != '\0' ? letters + 1 : NULL);
}

static bool take_argument(struct parser *parser, bool *flags_ended)
{
    struct settings *settings = parser->settings;
    char *argument = parser->argv[parser->at];

    if (*flags_ended || argument[0] != '-' || argument[1] == '\0') {
        settings->positional[settings->positional_count++] = argument;
        return true;
    }
    if (argument[1] != '-') {
        return take_short(parser, argument + 1);
    }
    if (argument[2] == '\0') {
        *flags_ended = true;
        return true;
    }
    return take_long(parser, argument + 2);
}

/* Gives every row that was not on the command line its default. */
static void apply_fallbacks(struct settings *settings)
{
    for (uint32_t row = 0; row < settings->row_count; row++) {
        const struct setting *setting = &settings->rows[row];
        struct setting_value *value = &settings->values[row];
        if (value->given || setting->fallback == NULL) {
            continue;
        }
        bool is_good = settings_read_value(setting, setting->fallback, &value->number,
                                           settings->error, sizeof(settings->error));
        ASSERT(is_good);
        value->text = setting->fallback;
    }
}

bool settings_parse(struct settings *settings, const struct setting *rows, uint32_t row_count,
                    int argc, char **argv)
{
    struct parser parser = {.settings = settings, .argc = argc, .argv = argv, .at = 1};
    bool flags_ended = false;

    ASSERT(row_count <= SETTINGS_ROWS_MAX);
    memset(settings, 0, sizeof(*settings));
    settings->rows = rows;
    settings->row_count = row_count;
    settings->positional = argc > 0 ? argv + 1 : argv;

    for (; parser.at < argc; parser.at++) {
        if (!take_argument(&parser, &flags_ended)) {
            return false;
        }
    }
    apply_fallbacks(settings);
    return true;
}

const char *settings_list_next(const struct settings *settings, uint32_t row, uint32_t *index)
{
    while (*index < settings->list_count) {
        uint32_t at = (*index)++;
        if (settings->list[at].row == row) {
            return settings->list[at].text;
        }
    }
    return NULL;
}
