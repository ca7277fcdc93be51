/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_parse.c - from SQL to steps: what is between the conditions.
 *
 * What waits for its right side - AND, OR, NOT, an open parenthesis - lies on a stack of FILTER_DEPTH_MAX,
 * weaker below stronger, so nothing recurses and no text can make it deep.
 */
#include "proto/filter_parser.h"

void filter_parser_advance(struct filter_parser *parser)
{
    parser->next = filter_lexer_take(&parser->lexer);
}

bool filter_parser_refuse(struct filter_parser *parser, const char *expected)
{
    const struct filter_token *next = &parser->next;
    return filter_build_refuse(parser->build, next->column,
                               next->kind == FILTER_TOKEN_BAD ? next->expected : expected);
}

bool filter_parser_emit(struct filter_parser *parser, struct filter_step step, size_t column)
{
    struct filter_build *build = parser->build;
    if (build->step_count == FILTER_STEPS_MAX) {
        return filter_build_refuse_many(build, column, FILTER_STEPS_MAX,
                                        "conditions, AND, OR and NOT");
    }
    build->steps[build->step_count++] = step;
    return true;
}

bool filter_parser_emit_action(struct filter_parser *parser, enum filter_action action,
                               size_t column)
{
    return filter_parser_emit(parser, (struct filter_step){.action = (uint8_t)action}, column);
}

/* How strong something that waits is; an open parenthesis gives way to nothing but its end. */
static int strength(enum filter_token_kind kind)
{
    switch (kind) {
    case FILTER_TOKEN_NOT:
        return 3;
    case FILTER_TOKEN_AND:
        return 2;
    case FILTER_TOKEN_OR:
        return 1;
    default:
        return 0;
    }
}

static bool let_wait(struct filter_parser *parser)
{
    if (parser->depth == FILTER_DEPTH_MAX) {
        return filter_build_refuse_many(parser->build, parser->next.column, FILTER_DEPTH_MAX,
                                        "levels");
    }
    parser->waiting[parser->depth++] = parser->next.kind;
    filter_parser_advance(parser);
    return true;
}

/* Emits what waits and is at least so strong. */
static bool settle(struct filter_parser *parser, int least)
{
    while (parser->depth > 0 && strength(parser->waiting[parser->depth - 1]) >= least) {
        enum filter_token_kind kind = parser->waiting[--parser->depth];
        enum filter_action action = kind == FILTER_TOKEN_NOT   ? FILTER_ACTION_NOT
                                    : kind == FILTER_TOKEN_AND ? FILTER_ACTION_AND
                                                               : FILTER_ACTION_OR;
        if (!filter_parser_emit_action(parser, action, parser->next.column)) {
            return false;
        }
    }
    return true;
}

/* Behind a condition: closes parentheses. */
static bool close_all(struct filter_parser *parser)
{
    while (parser->next.kind == FILTER_TOKEN_CLOSE) {
        if (!settle(parser, strength(FILTER_TOKEN_OR))) {
            return false;
        }
        if (parser->depth == 0) {
            return filter_parser_refuse(parser, "AND, OR or the end");
        }
        parser->depth--;
        filter_parser_advance(parser);
        if (!settle(parser, strength(FILTER_TOKEN_NOT))) {
            return false;
        }
    }
    return true;
}

/* A condition with what stands before it and the parentheses behind it. */
static bool parse_operand(struct filter_parser *parser)
{
    while (parser->next.kind == FILTER_TOKEN_NOT || parser->next.kind == FILTER_TOKEN_OPEN) {
        if (!let_wait(parser)) {
            return false;
        }
    }
    return filter_parse_condition(parser) && settle(parser, strength(FILTER_TOKEN_NOT)) &&
           close_all(parser);
}

bool filter_parse(struct filter_build *build)
{
    struct filter_parser parser = {.build = build, .lexer = {.source = build->source}};
    filter_parser_advance(&parser);
    for (;;) {
        if (!parse_operand(&parser)) {
            return false;
        }
        enum filter_token_kind kind = parser.next.kind;
        if (kind != FILTER_TOKEN_AND && kind != FILTER_TOKEN_OR) {
            break;
        }
        if (!settle(&parser, strength(kind)) || !let_wait(&parser)) {
            return false;
        }
    }
    if (!settle(&parser, strength(FILTER_TOKEN_OR))) {
        return false;
    }
    if (parser.next.kind != FILTER_TOKEN_END || parser.depth > 0) {
        return filter_parser_refuse(&parser,
                                    parser.depth > 0 ? "AND, OR or )" : "AND, OR or the end");
    }
    return true;
}
