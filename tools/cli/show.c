/* SPDX-License-Identifier: Apache-2.0 */
/* show.c - answers of servers for people. */
#include "tools/cli/show.h"

#include "tools/cli/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <string.h>

enum {
    NAME_BYTES = 128,
    TEXT_BYTES = 1024,
    DEPTH_MOST = 4,
    /* More keys than fit a terminal beside each other ... */
    COLUMNS_WIDE = 8,
    /* ... are shown below each other, where so many maps do fit. */
    MAPS_BESIDE = 8
};

bool result_find(struct bytes map, const char *key, struct cursor *value_out)
{
    struct cursor cursor = cursor_over(map);
    uint32_t pairs;
    if (!cursor_take_map(&cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes name;
        if (!cursor_take_text(&cursor, &name)) {
            return false;
        }
        if (bytes_equal(name, bytes_from_string(key))) {
            *value_out = cursor;
            return true;
        }
        if (!cursor_skip(&cursor)) {
            return false;
        }
    }
    return false;
}

bool result_find_number(struct bytes map, const char *key, uint64_t *number_out)
{
    struct cursor cursor;
    return result_find(map, key, &cursor) && cursor_take_uint(&cursor, number_out);
}

bool result_find_text(struct bytes map, const char *key, struct bytes *text_out)
{
    struct cursor cursor;
    return result_find(map, key, &cursor) && cursor_take_text(&cursor, text_out);
}

/* Whether a key names a moment, by the habit of the protocol. */
static bool is_time(struct bytes key)
{
    return (key.length > 3 && memcmp(key.data + key.length - 3, "_at", 3) == 0) ||
           bytes_equal(key, BYTES_OF("now")) || bytes_equal(key, BYTES_OF("born"));
}

static void append(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append(char *text, const char *format, ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text + used, TEXT_BYTES - used, format, arguments);
    va_end(arguments);
}

/* Text of a peer, with what could steer a terminal replaced. */
static void append_text(char *text, struct bytes bytes)
{
    char clean[256 + 1];
    append(text, "%s%s", text_clean(bytes, clean, sizeof(clean)),
           bytes.length < sizeof(clean) ? "" : "..");
}

/* Appends a value in one line; arrays as `[a, b]`, deeper ones too. */
static bool append_value(char *text, struct bytes key, struct cursor *cursor, int depth)
{
    uint32_t count;
    int64_t number;
    struct bytes bytes;
    bool truth;
    switch (cursor_peek(cursor)) {
    case CURSOR_NIL:
        append(text, "-");
        return cursor_take_nil(cursor);
    case CURSOR_BOOL:
        if (cursor_take_bool(cursor, &truth)) {
            append(text, "%s", truth ? "yes" : "no");
        }
        return !cursor->failed;
    case CURSOR_STR:
    case CURSOR_BIN:
        if (cursor_take_text(cursor, &bytes)) {
            append_text(text, bytes);
        }
        return !cursor->failed;
    case CURSOR_ARRAY:
        if (depth == 0 || !cursor_take_array(cursor, &count)) {
            return cursor_skip(cursor);
        }
        for (uint32_t i = 0; i < count; i++) {
            append(text, "%s", i > 0 ? "," : "");
            if (!append_value(text, key, cursor, depth - 1)) {
                return false;
            }
        }
        return true;
    case CURSOR_MAP:
        append(text, "{..}");
        return cursor_skip(cursor);
    default:
        if (cursor_take_int(cursor, &number)) {
            if (is_time(key) && number > 0) {
                append(text, "%s", text_of_time((uint64_t)number));
            } else {
                append(text, "%lld", (long long)number);
            }
        }
        return !cursor->failed;
    }
}

/* ------------------------------------------------------------------ rows */

static bool rows_begin(struct show_rows *rows, struct bytes row)
{
    *rows = (struct show_rows){0};
    const char *headings[TABLE_COLUMNS_MAX + 1] = {NULL};
    char heading_room[TABLE_COLUMNS_MAX][34];
    struct cursor cursor = cursor_over(row);
    uint32_t pairs;
    if (!cursor_take_map(&cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs && i < TABLE_COLUMNS_MAX; i++) {
        struct bytes key;
        if (!cursor_take_text(&cursor, &key) || key.length > 32) {
            return false;
        }
        char *kept = rows->key_room + (size_t)i * 32;
        memcpy(kept, key.data, key.length);
        rows->keys[i] = bytes_make(kept, key.length);
        enum cursor_type type = cursor_peek(&cursor);
        char *heading = heading_room[i];
        bool right = (type == CURSOR_INTEGER && !is_time(key));
        size_t at = 0;
        if (right) {
            heading[at++] = '>';
        }
        for (size_t c = 0; c < key.length; c++) {
            heading[at++] = (char)toupper(key.data[c]);
        }
        heading[at] = '\0';
        headings[i] = heading;
        if (!cursor_skip(&cursor)) {
            return false;
        }
    }
    table_init(&rows->table, headings);
    return true;
}

bool show_rows_add(struct show_rows *rows, struct bytes row)
{
    if (rows->count == 0 && !rows_begin(rows, row)) {
        return false;
    }
    rows->count++;
    for (size_t column = 0; column < rows->table.column_count; column++) {
        char key[40];
        (void)snprintf(key, sizeof(key), "%.*s", (int)rows->keys[column].length,
                       (const char *)rows->keys[column].data);
        char text[TEXT_BYTES] = "";
        struct cursor value;
        if (result_find(row, key, &value)) {
            (void)append_value(text, rows->keys[column], &value, DEPTH_MOST);
        }
        table_add(&rows->table, "%s", text);
    }
    return true;
}

void show_rows_print(struct show_rows *rows, FILE *to)
{
    if (rows->count > 0) {
        table_print(&rows->table, to);
        rows->count = 0;
    }
}

/* ------------------------------------------------------------------ maps */

static bool is_array_of_maps(struct cursor cursor)
{
    uint32_t count;
    return cursor_peek(&cursor) == CURSOR_ARRAY && cursor_take_array(&cursor, &count) &&
           count > 0 && cursor_peek(&cursor) == CURSOR_MAP;
}

/* Whether maps of an array are wide and few, so that they stand better side by side. */
static bool is_wide(struct cursor rows, uint32_t count)
{
    uint32_t keys = 0;
    return count <= MAPS_BESIDE && cursor_take_map(&rows, &keys) && keys > COLUMNS_WIDE;
}

/* A line for each key of the first map, a column for each map. */
static void print_beside(FILE *to, const char *name, struct cursor *cursor, uint32_t count)
{
    struct bytes maps[MAPS_BESIDE];
    for (uint32_t i = 0; i < count; i++) {
        if (!cursor_take_span(cursor, &maps[i])) {
            return;
        }
    }
    struct cursor keys = cursor_over(maps[0]);
    uint32_t key_count = 0;
    (void)cursor_take_map(&keys, &key_count);
    (void)fprintf(to, "\n%s\n", name);
    for (uint32_t k = 0; k < key_count; k++) {
        struct bytes key;
        char key_text[NAME_BYTES];
        if (!cursor_take_text(&keys, &key) || !cursor_skip(&keys)) {
            return;
        }
        (void)snprintf(key_text, sizeof(key_text), "%.*s", (int)key.length, (const char *)key.data);
        (void)fprintf(to, "  %-26s", key_text);
        for (uint32_t i = 0; i < count; i++) {
            char text[TEXT_BYTES] = "";
            struct cursor value;
            if (result_find(maps[i], key_text, &value)) {
                (void)append_value(text, key, &value, DEPTH_MOST);
            }
            (void)fprintf(to, " %14s", text);
        }
        (void)fputc('\n', to);
    }
}

static void print_table(FILE *to, const char *name, struct cursor *cursor)
{
    struct show_rows rows = {.count = 0};
    uint32_t count = 0;
    (void)cursor_take_array(cursor, &count);
    if (is_wide(*cursor, count)) {
        print_beside(to, name, cursor, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes row;
        if (!cursor_take_span(cursor, &row) || !show_rows_add(&rows, row)) {
            break;
        }
    }
    (void)fprintf(to, "\n%s\n", name);
    show_rows_print(&rows, to);
}

/* Prints the scalars of a map, or its tables; `prefix` is the name of the map, with a dot. */
static bool print_pairs(FILE *to, const char *prefix, struct cursor *cursor, bool tables, int depth)
{
    uint32_t pairs;
    if (!cursor_take_map(cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes key;
        char name[NAME_BYTES];
        if (!cursor_take_text(cursor, &key)) {
            return false;
        }
        int length =
            snprintf(name, sizeof(name), "%s%.*s", prefix, (int)key.length, (const char *)key.data);
        if (length < 0) {
            return false; /* a longer one is cut */
        }
        if (cursor_peek(cursor) == CURSOR_MAP && depth > 0) {
            char inner[NAME_BYTES + 2];
            (void)snprintf(inner, sizeof(inner), "%s.", name);
            if (!print_pairs(to, inner, cursor, tables, depth - 1)) {
                return false;
            }
        } else if (is_array_of_maps(*cursor)) {
            if (tables) {
                print_table(to, name, cursor);
            } else if (!cursor_skip(cursor)) {
                return false;
            }
        } else {
            char text[TEXT_BYTES] = "";
            if (!append_value(text, key, cursor, DEPTH_MOST)) {
                return false;
            }
            if (!tables) {
                (void)fprintf(to, "%-28s %s\n", name, text);
            }
        }
    }
    return !cursor->failed;
}

bool show_map(FILE *to, struct bytes map)
{
    struct cursor scalars = cursor_over(map);
    struct cursor tables = cursor_over(map);
    return print_pairs(to, "", &scalars, false, DEPTH_MOST) &&
           print_pairs(to, "", &tables, true, DEPTH_MOST);
}
