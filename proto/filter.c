/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.c - tells tags from SQL, compiles tags, and makes the block that is kept.
 */
#include "proto/base/crc32c.h"
#include "proto/base/utf8.h"
#include "proto/filter_lexer.h"
#include "proto/filter_program.h"

#include <stdlib.h>

/* ------------------------------------------------------------------- build */

static bool refuse_at(struct filter_build *build, size_t column)
{
    refusal_add_key(build->refusal, BYTES_OF("filter"));
    refusal_add(build->refusal, REFUSAL_COLUMN, column + 1);
    return false;
}

/* What stands at a column, for a person: a word, or one character. */
static struct bytes word_at(struct bytes source, size_t column)
{
    enum { SHOWN_BYTES_MAX = 24 };
    size_t end = column + (column < source.length);
    while (end < source.length && end - column < SHOWN_BYTES_MAX &&
           (source.data[end] & 0xc0) == 0x80) {
        end++;
    }
    if (end > column && filter_is_name_byte(source.data[column])) {
        while (end < source.length && end - column < SHOWN_BYTES_MAX &&
               filter_is_name_byte(source.data[end])) {
            end++;
        }
    }
    return (struct bytes){source.data + column, end - column};
}

bool filter_build_refuse(struct filter_build *build, size_t column, const char *expected)
{
    struct bytes found = word_at(build->source, column);
    if (found.length == 0) {
        (void)refusal_set(build->refusal, ERROR_BAD_FILTER, "column %zu: expected %s, not the end",
                          column + 1, expected);
    } else {
        (void)refusal_set(build->refusal, ERROR_BAD_FILTER, "column %zu: expected %s, not '%.*s'",
                          column + 1, expected, (int)found.length, (const char *)found.data);
    }
    return refuse_at(build, column);
}

bool filter_build_refuse_many(struct filter_build *build, size_t column, uint32_t limit,
                              const char *what)
{
    (void)refusal_set(build->refusal, ERROR_BAD_FILTER, "column %zu: more than %u %s", column + 1,
                      limit, what);
    refusal_add(build->refusal, REFUSAL_LIMIT, limit);
    return refuse_at(build, column);
}

struct filter_text filter_build_text(struct filter_build *build, struct bytes text)
{
    ASSERT(text.length <= sizeof(build->texts) - build->text_bytes);
    struct filter_text made = {(uint16_t)build->text_bytes, (uint16_t)text.length};
    if (text.length > 0) {
        memcpy(build->texts + build->text_bytes, text.data, text.length);
    }
    build->text_bytes += (uint32_t)text.length;
    return made;
}

struct filter_literal *filter_build_literal(struct filter_build *build, size_t column)
{
    if (build->literal_count == FILTER_LITERALS_MAX) {
        (void)filter_build_refuse_many(build, column, FILTER_LITERALS_MAX, "literals");
        return NULL;
    }
    return &build->literals[build->literal_count++];
}

/* -------------------------------------------------------------------- tags */

static bool is_of_sql(uint8_t byte)
{
    return byte == '\'' || byte == '"' || byte == '=' || byte == '<' || byte == '>' ||
           byte == '(' || byte == ')' || byte == ',';
}

/* Whether a text is words with bars between them. Two words with a blank between them are SQL. */
static bool is_tags(struct bytes source)
{
    bool after_word = false;
    for (size_t i = 0; i < source.length; i++) {
        uint8_t byte = source.data[i];
        bool begins = i == 0 || filter_is_blank(source.data[i - 1]) || source.data[i - 1] == '|';
        if (is_of_sql(byte)) {
            return false;
        }
        if (byte == '|') {
            after_word = false;
        } else if (!filter_is_blank(byte)) {
            if (begins && after_word) {
                return false;
            }
            after_word = true;
        }
    }
    return true;
}

static size_t skip_blanks(struct bytes source, size_t at)
{
    while (at < source.length && filter_is_blank(source.data[at])) {
        at++;
    }
    return at;
}

/* Takes one word from `*at` on. */
static bool add_tag(struct filter_build *build, size_t *at)
{
    const struct bytes source = build->source;
    size_t begin = *at;
    while (*at < source.length && !filter_is_blank(source.data[*at]) && source.data[*at] != '|') {
        (*at)++;
    }
    struct bytes word = {source.data + begin, *at - begin};
    if (word.length == 0 || (word.length == 1 && word.data[0] == '*')) {
        return filter_build_refuse(build, begin, "a tag");
    }
    if (word.length > TAG_BYTES_MAX) {
        return filter_build_refuse_many(build, begin, TAG_BYTES_MAX, "bytes of a tag");
    }
    if (build->literal_count == FILTER_LIST_MAX) {
        return filter_build_refuse_many(build, begin, FILTER_LIST_MAX, "tags");
    }
    build->literals[build->literal_count++] =
        (struct filter_literal){.type = FILTER_TEXT, .text = filter_build_text(build, word)};
    return true;
}

static bool build_tags(struct filter_build *build)
{
    const struct bytes source = build->source;
    size_t at = skip_blanks(source, 0);
    build->kind = FILTER_KIND_TAGS;
    for (;;) {
        if (!add_tag(build, &at)) {
            return false;
        }
        at = skip_blanks(source, at);
        if (at == source.length) {
            return true;
        }
        if (source.length - at < 2 || source.data[at + 1] != '|') {
            return filter_build_refuse(build, at, "|| between tags");
        }
        at = skip_blanks(source, at + 2);
    }
}

static bool is_everything(struct bytes source)
{
    size_t at = skip_blanks(source, 0);
    return at == source.length ||
           (source.data[at] == '*' && skip_blanks(source, at + 1) == source.length);
}

static bool build_any(struct filter_build *build)
{
    if (build->source.length > FILTER_BYTES_MAX) {
        return filter_build_refuse_many(build, FILTER_BYTES_MAX, FILTER_BYTES_MAX, "bytes");
    }
    if (!utf8_is_valid(build->source)) {
        (void)refusal_set(build->refusal, ERROR_BAD_FILTER, "a filter has to be UTF-8");
        return refuse_at(build, 0);
    }
    if (is_everything(build->source)) {
        build->kind = FILTER_KIND_ALL;
        return true;
    }
    if (is_tags(build->source)) {
        return build_tags(build);
    }
    build->kind = FILTER_KIND_SQL;
    return filter_parse(build);
}

/* -------------------------------------------------------------------- life */

static void *take(uint8_t **room, const void *from, size_t bytes)
{
    uint8_t *to = *room;
    if (bytes > 0) {
        memcpy(to, from, bytes);
    }
    *room += (bytes + 7) / 8 * 8;
    return to;
}

/* The build in one block: the tables, each from a multiple of 8 on, behind the head. */
static struct filter *keep(const struct filter_build *build)
{
    bool is_tags_kind = build->kind == FILTER_KIND_TAGS;
    uint32_t hashes[FILTER_LIST_MAX];
    uint32_t hash_count = is_tags_kind ? build->literal_count : 0;
    for (uint32_t i = 0; i < hash_count; i++) {
        struct bytes word = filter_text_bytes(build->texts, build->literals[i].text);
        hashes[i] = crc32c(word.data, word.length);
    }
    size_t step_bytes = build->step_count * sizeof(build->steps[0]);
    size_t literal_bytes = build->literal_count * sizeof(build->literals[0]);
    size_t name_bytes = build->name_count * sizeof(build->names[0]);
    size_t hash_bytes = hash_count * sizeof(hashes[0]);
    size_t bytes = sizeof(struct filter) + step_bytes + literal_bytes + name_bytes + hash_bytes +
                   build->text_bytes + 5 * 8;
    struct filter *filter = malloc(bytes);
    ASSERT(filter != NULL);
    uint8_t *room = (uint8_t *)filter + (sizeof(*filter) + 7) / 8 * 8;
    *filter = (struct filter){.kind = build->kind,
                              .step_count = build->step_count,
                              .literal_count = build->literal_count,
                              .name_count = build->name_count,
                              .text_bytes = build->text_bytes};
    filter->steps = take(&room, build->steps, step_bytes);
    filter->literals = take(&room, build->literals, literal_bytes);
    filter->names = take(&room, build->names, name_bytes);
    filter->hashes = take(&room, hashes, hash_bytes);
    filter->texts = take(&room, build->texts, build->text_bytes);
    for (uint32_t i = 0; i < build->name_count; i++) {
        filter->name_lengths |= UINT64_C(1) << build->names[i].length % 64;
    }
    return filter;
}

enum error filter_create(struct bytes text, struct filter **filter_out, struct refusal *refusal)
{
    struct filter_build build;
    build.source = text;
    build.refusal = refusal;
    build.step_count = 0;
    build.literal_count = 0;
    build.name_count = 0;
    build.text_bytes = 0;
    if (!build_any(&build)) {
        return refusal->code;
    }
    *filter_out = keep(&build);
    return OK;
}

void filter_destroy(struct filter *filter)
{
    free(filter);
}
