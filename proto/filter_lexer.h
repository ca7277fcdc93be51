/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_lexer.h - the words of a filter that is SQL; for the files of proto/filter.h alone.
 *
 * Threads: whoever owns the lexer; its tokens point into the source.
 */
#ifndef PROTO_FILTER_LEXER_H
#define PROTO_FILTER_LEXER_H

#include "proto/base/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum filter_token_kind {
    FILTER_TOKEN_END,
    FILTER_TOKEN_BAD,    /* `expected` says what would have been right */
    FILTER_TOKEN_NAME,   /* without quotes */
    FILTER_TOKEN_QUOTED, /* a name in double quotes */
    FILTER_TOKEN_STRING,
    FILTER_TOKEN_NUMBER,
    FILTER_TOKEN_OPEN,
    FILTER_TOKEN_CLOSE,
    FILTER_TOKEN_COMMA,
    FILTER_TOKEN_EQUAL, /* in the order of enum filter_relation */
    FILTER_TOKEN_NOT_EQUAL,
    FILTER_TOKEN_LESS,
    FILTER_TOKEN_LESS_OR_EQUAL,
    FILTER_TOKEN_GREATER,
    FILTER_TOKEN_GREATER_OR_EQUAL,
    FILTER_TOKEN_AND,
    FILTER_TOKEN_BETWEEN,
    FILTER_TOKEN_ESCAPE,
    FILTER_TOKEN_FALSE,
    FILTER_TOKEN_IN,
    FILTER_TOKEN_IS,
    FILTER_TOKEN_LIKE,
    FILTER_TOKEN_NOT,
    FILTER_TOKEN_NULL,
    FILTER_TOKEN_OR,
    FILTER_TOKEN_TRUE,
};

struct filter_token {
    enum filter_token_kind kind;
    struct bytes text; /* of STRING and QUOTED what stands between the quotes, pairs still double */
    size_t column;     /* its first byte in the source, from 0 */
    const char *expected; /* of BAD */
};

struct filter_lexer {
    struct bytes source;
    size_t at;
};

/* Takes the next token: END for ever at the end, BAD where there is none. */
struct filter_token filter_lexer_take(struct filter_lexer *lexer);

static inline bool filter_is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

/* What a name may go on with; it does not begin with a digit or a point. */
static inline bool filter_is_name_byte(uint8_t byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '_' || byte == '$' || byte == '.';
}

#endif
