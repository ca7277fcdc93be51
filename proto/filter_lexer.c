/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_lexer.c - cuts SQL into words.
 */
#include "proto/filter_lexer.h"

#include <strings.h>

static const struct {
    const char *word;
    enum filter_token_kind kind;
} keywords[] = {
    {"AND", FILTER_TOKEN_AND},       {"BETWEEN", FILTER_TOKEN_BETWEEN},
    {"ESCAPE", FILTER_TOKEN_ESCAPE}, {"FALSE", FILTER_TOKEN_FALSE},
    {"IN", FILTER_TOKEN_IN},         {"IS", FILTER_TOKEN_IS},
    {"LIKE", FILTER_TOKEN_LIKE},     {"NOT", FILTER_TOKEN_NOT},
    {"NULL", FILTER_TOKEN_NULL},     {"OR", FILTER_TOKEN_OR},
    {"TRUE", FILTER_TOKEN_TRUE},
};

static uint8_t byte_at(const struct filter_lexer *lexer, size_t at)
{
    return at < lexer->source.length ? lexer->source.data[at] : 0;
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool begins_name(uint8_t byte)
{
    return filter_is_name_byte(byte) && !is_digit(byte) && byte != '.';
}

static struct filter_token bad(size_t column, const char *expected)
{
    return (struct filter_token){.kind = FILTER_TOKEN_BAD, .column = column, .expected = expected};
}

/* A token of the next `length` bytes. */
static struct filter_token cut(struct filter_lexer *lexer, enum filter_token_kind kind,
                               size_t length)
{
    struct filter_token token = {
        .kind = kind, .text = {lexer->source.data + lexer->at, length}, .column = lexer->at};
    lexer->at += length;
    return token;
}

static struct filter_token take_word(struct filter_lexer *lexer)
{
    size_t end = lexer->at;
    while (filter_is_name_byte(byte_at(lexer, end))) {
        end++;
    }
    struct filter_token token = cut(lexer, FILTER_TOKEN_NAME, end - lexer->at);
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
        size_t length = strlen(keywords[i].word);
        if (token.text.length == length &&
            strncasecmp((const char *)token.text.data, keywords[i].word, length) == 0) {
            token.kind = keywords[i].kind;
        }
    }
    return token;
}

/* Everything that may belong to a number, its shape is looked at by who reads it. */
static struct filter_token take_number(struct filter_lexer *lexer)
{
    size_t end = lexer->at + 1;
    while (filter_is_name_byte(byte_at(lexer, end)) ||
           ((byte_at(lexer, end) == '-' || byte_at(lexer, end) == '+') &&
            (byte_at(lexer, end - 1) | 0x20) == 'e')) {
        end++;
    }
    return cut(lexer, FILTER_TOKEN_NUMBER, end - lexer->at);
}

/* Text between quotes; two of them are one in it. */
static struct filter_token take_quoted(struct filter_lexer *lexer, uint8_t quote)
{
    size_t begin = lexer->at;
    size_t end = begin + 1;
    while (end < lexer->source.length) {
        if (lexer->source.data[end] != quote) {
            end++;
        } else if (byte_at(lexer, end + 1) == quote) {
            end += 2;
        } else {
            break;
        }
    }
    if (end >= lexer->source.length) {
        return bad(lexer->source.length, quote == '\''
                                             ? "' at the end of the text that began with '"
                                             : "\" at the end of the name");
    }
    struct filter_token token =
        cut(lexer, quote == '\'' ? FILTER_TOKEN_STRING : FILTER_TOKEN_QUOTED, end + 1 - begin);
    token.text = (struct bytes){token.text.data + 1, token.text.length - 2};
    return token;
}

static struct filter_token take_sign(struct filter_lexer *lexer)
{
    uint8_t byte = byte_at(lexer, lexer->at);
    uint8_t next = byte_at(lexer, lexer->at + 1);
    switch (byte) {
    case '(':
        return cut(lexer, FILTER_TOKEN_OPEN, 1);
    case ')':
        return cut(lexer, FILTER_TOKEN_CLOSE, 1);
    case ',':
        return cut(lexer, FILTER_TOKEN_COMMA, 1);
    case '=':
        return cut(lexer, FILTER_TOKEN_EQUAL, 1);
    case '<':
        return next == '>'   ? cut(lexer, FILTER_TOKEN_NOT_EQUAL, 2)
               : next == '=' ? cut(lexer, FILTER_TOKEN_LESS_OR_EQUAL, 2)
                             : cut(lexer, FILTER_TOKEN_LESS, 1);
    case '>':
        return next == '=' ? cut(lexer, FILTER_TOKEN_GREATER_OR_EQUAL, 2)
                           : cut(lexer, FILTER_TOKEN_GREATER, 1);
    case '!':
        return bad(lexer->at, "<> for unequal");
    case '|':
        return bad(lexer->at, "OR between conditions (|| is between tags)");
    default:
        return bad(lexer->at, "a name, a literal or a comparison");
    }
}

struct filter_token filter_lexer_take(struct filter_lexer *lexer)
{
    while (lexer->at < lexer->source.length && filter_is_blank(lexer->source.data[lexer->at])) {
        lexer->at++;
    }
    if (lexer->at == lexer->source.length) {
        return (struct filter_token){.kind = FILTER_TOKEN_END, .column = lexer->at};
    }
    uint8_t byte = byte_at(lexer, lexer->at);
    uint8_t next = byte_at(lexer, lexer->at + 1);
    if (begins_name(byte)) {
        return take_word(lexer);
    }
    if (byte == '\'' || byte == '"') {
        return take_quoted(lexer, byte);
    }
    if (is_digit(byte) || byte == '.' ||
        ((byte == '-' || byte == '+') && (is_digit(next) || next == '.'))) {
        return take_number(lexer);
    }
    return take_sign(lexer);
}
