/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_program.h - what a filter's text is compiled to; for the files of proto/filter.h alone.
 *
 * A program is a list of steps for a machine with a stack of truths: a condition pushes one, NOT changes
 * the top, AND and OR make one of two. Names, literals and texts lie in tables beside it and are
 * referred to by number, so that a program can be copied as it is.
 */
#ifndef PROTO_FILTER_PROGRAM_H
#define PROTO_FILTER_PROGRAM_H

#include "proto/filter.h"
#include "proto/limits.h"

/* In this order AND is the least and OR the greatest of two. */
enum filter_truth { FILTER_FALSE, FILTER_UNKNOWN, FILTER_TRUE };

/* How the values of a condition are read. */
enum filter_type { FILTER_TEXT, FILTER_NUMBER, FILTER_BOOLEAN };

/* In units of 10^-18, doubled, and 1 more if there is something below: so two numbers of which one is a
 * literal, where nothing is below, compare exactly. Zero is never negative. */
struct filter_number {
    uint64_t whole; /* UINT64_MAX: more than any literal */
    uint64_t fraction;
    bool negative;
};

/* Reads a number in all of `text`. False: it is none. */
NODISCARD bool filter_number_read(struct bytes text, struct filter_number *number_out);

/* Whether a literal may be this number: nothing is cut off. */
bool filter_number_is_exact(const struct filter_number *number);

/* Negative, 0 or positive. */
int filter_number_compare(const struct filter_number *a, const struct filter_number *b);

/* Whether `text` is `pattern`, with `escape` (0: none) before a `%` or `_` that is meant. Takes what it
 * needs from `*steps_left`; where that is not enough it is UNKNOWN. */
enum filter_truth filter_like(struct bytes text, struct bytes pattern, uint8_t escape,
                              uint32_t *steps_left);

/* A run of filter_program.texts. */
struct filter_text {
    uint16_t begin;
    uint16_t length;
};

struct filter_literal {
    enum filter_type type;
    union {
        struct filter_text text;
        struct filter_number number;
        bool boolean;
    };
};

enum filter_action {
    FILTER_ACTION_CONSTANT, /* literal */
    FILTER_ACTION_TRUTH,    /* left: whether it is true */
    FILTER_ACTION_COMPARE,  /* left, right */
    FILTER_ACTION_IN,       /* left, `count` literals from `literal` on */
    FILTER_ACTION_LIKE,     /* left, literal, escape */
    FILTER_ACTION_IS_NULL,  /* left */
    FILTER_ACTION_NOT,
    FILTER_ACTION_AND,
    FILTER_ACTION_OR,
};

enum filter_relation {
    FILTER_EQUAL,
    FILTER_NOT_EQUAL,
    FILTER_LESS,
    FILTER_LESS_OR_EQUAL,
    FILTER_GREATER,
    FILTER_GREATER_OR_EQUAL,
};

/* A value: the number of a name or of a literal, or the tag. */
enum filter_source { FILTER_SOURCE_NAME, FILTER_SOURCE_TAG, FILTER_SOURCE_LITERAL };

struct filter_value {
    uint16_t number;
    uint8_t source; /* enum filter_source */
};

struct filter_step {
    uint8_t action;   /* enum filter_action */
    uint8_t relation; /* enum filter_relation */
    uint8_t type;     /* enum filter_type */
    uint8_t escape;
    struct filter_value left;
    struct filter_value right;
    uint16_t literal;
    uint16_t count;
};

enum filter_kind { FILTER_KIND_ALL, FILTER_KIND_TAGS, FILTER_KIND_SQL };

struct filter {
    enum filter_kind kind;
    uint32_t step_count;
    uint32_t literal_count;
    uint32_t name_count;
    uint32_t text_bytes;
    uint64_t name_lengths; /* bit `length % 64` of every name: most properties are told by it */
    const struct filter_step *steps;
    const struct filter_literal *literals; /* of tags: the words */
    const struct filter_text *names;
    const uint32_t *hashes; /* of tags: of the words */
    const uint8_t *texts;
};

/* A program that is being made, in tables of the largest size. */
struct filter_build {
    enum filter_kind kind;
    struct bytes source;
    struct refusal *refusal;
    uint32_t step_count;
    uint32_t literal_count;
    uint32_t name_count;
    uint32_t text_bytes;
    struct filter_step steps[FILTER_STEPS_MAX];
    struct filter_literal literals[FILTER_LITERALS_MAX];
    struct filter_text names[FILTER_NAMES_MAX];
    uint8_t texts[FILTER_BYTES_MAX]; /* never longer than their source */
};

/* Refuses the source: `column` is its byte, from 0. Gives false. */
bool filter_build_refuse(struct filter_build *build, size_t column, const char *expected);

/* The same where one of at most `limit` things is too much. */
bool filter_build_refuse_many(struct filter_build *build, size_t column, uint32_t limit,
                              const char *what);

/* A new text or literal of the build; NULL: too many, refused at `column`. */
struct filter_text filter_build_text(struct filter_build *build, struct bytes text);
struct filter_literal *filter_build_literal(struct filter_build *build, size_t column);

static inline struct bytes filter_text_bytes(const uint8_t *texts, struct filter_text text)
{
    return (struct bytes){texts + text.begin, text.length};
}

/* Compiles a source that is SQL. False: refused. */
NODISCARD bool filter_parse(struct filter_build *build);

#endif
