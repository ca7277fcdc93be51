/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_parser.h - a parser of SQL under way; for the files of proto/filter.h alone.
 *
 * filter_parse.c knows AND, OR, NOT and parentheses, filter_condition.c what stands between them.
 */
#ifndef PROTO_FILTER_PARSER_H
#define PROTO_FILTER_PARSER_H

#include "proto/filter_lexer.h"
#include "proto/filter_program.h"

struct filter_parser {
    struct filter_build *build;
    struct filter_lexer lexer;
    struct filter_token next; /* not taken yet */
    enum filter_token_kind waiting[FILTER_DEPTH_MAX];
    uint32_t depth; /* of `waiting` */
};

/* Takes `next`. */
void filter_parser_advance(struct filter_parser *parser);

/* Refuses the source where `next` begins; gives false. A token that is none says itself what it should be. */
bool filter_parser_refuse(struct filter_parser *parser, const char *expected);

/* Adds a step. False: there are too many, refused at `column`. */
bool filter_parser_emit(struct filter_parser *parser, struct filter_step step, size_t column);
bool filter_parser_emit_action(struct filter_parser *parser, enum filter_action action,
                               size_t column);

/* Takes one condition and adds its steps. False: refused. */
NODISCARD bool filter_parse_condition(struct filter_parser *parser);

#endif
