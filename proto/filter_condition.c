/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_condition.c - one condition of SQL: two or three values and what is between them.
 */
#include "proto/filter_parser.h"

/* A value of a condition, and where it stands. */
struct operand {
    struct filter_value value;
    size_t column;
};

/* The types of the literals that a condition has had so far. */
struct typing {
    enum filter_type type;
    bool known;
};

static bool take_if(struct filter_parser *parser, enum filter_token_kind kind)
{
    if (parser->next.kind != kind) {
        return false;
    }
    filter_parser_advance(parser);
    return true;
}

static bool expect(struct filter_parser *parser, enum filter_token_kind kind, const char *expected)
{
    return take_if(parser, kind) || filter_parser_refuse(parser, expected);
}

static bool emit_not_if(struct filter_parser *parser, bool negated, size_t column)
{
    return !negated || filter_parser_emit_action(parser, FILTER_ACTION_NOT, column);
}

/* ------------------------------------------------------------------ values */

/* Adds the text between quotes, in which two are one. */
static struct filter_text add_unquoted(struct filter_build *build, struct bytes text, uint8_t quote)
{
    struct filter_text made = filter_build_text(build, text);
    uint8_t *at = build->texts + made.begin;
    size_t length = 0;
    for (size_t i = 0; i < text.length; i++) {
        at[length++] = text.data[i];
        i += text.data[i] == quote; /* the second of a pair */
    }
    build->text_bytes -= (uint32_t)(text.length - length);
    made.length = (uint16_t)length;
    return made;
}

static bool add_name(struct filter_parser *parser, uint16_t *number_out)
{
    struct filter_build *build = parser->build;
    uint32_t text_bytes = build->text_bytes;
    struct filter_text name =
        add_unquoted(build, parser->next.text, parser->next.kind == FILTER_TOKEN_QUOTED ? '"' : 0);
    for (uint32_t i = 0; i < build->name_count; i++) {
        if (bytes_equal(filter_text_bytes(build->texts, build->names[i]),
                        filter_text_bytes(build->texts, name))) {
            build->text_bytes = text_bytes;
            *number_out = (uint16_t)i;
            return true;
        }
    }
    if (build->name_count == FILTER_NAMES_MAX) {
        return filter_build_refuse_many(build, parser->next.column, FILTER_NAMES_MAX,
                                        "different properties");
    }
    *number_out = (uint16_t)build->name_count;
    build->names[build->name_count++] = name;
    return true;
}

static const char *const type_names[] = {
    [FILTER_TEXT] = "a text in single quotes, as the one before",
    [FILTER_NUMBER] = "a number, as the one before",
    [FILTER_BOOLEAN] = "TRUE or FALSE, as the one before",
};

static bool is_literal(enum filter_token_kind kind)
{
    return kind == FILTER_TOKEN_STRING || kind == FILTER_TOKEN_NUMBER ||
           kind == FILTER_TOKEN_TRUE || kind == FILTER_TOKEN_FALSE;
}

static enum filter_type type_of(enum filter_token_kind kind)
{
    return kind == FILTER_TOKEN_STRING   ? FILTER_TEXT
           : kind == FILTER_TOKEN_NUMBER ? FILTER_NUMBER
                                         : FILTER_BOOLEAN;
}

/* Takes a literal, of the condition's type. */
static bool take_literal(struct filter_parser *parser, struct typing *typing)
{
    const struct filter_token token = parser->next;
    if (!is_literal(token.kind)) {
        return filter_parser_refuse(parser, "a literal");
    }
    enum filter_type type = type_of(token.kind);
    if (typing->known && typing->type != type) {
        return filter_parser_refuse(parser, type_names[typing->type]);
    }
    *typing = (struct typing){type, true};
    struct filter_literal *literal = filter_build_literal(parser->build, token.column);
    if (literal == NULL) {
        return false;
    }
    literal->type = type;
    if (type == FILTER_TEXT) {
        literal->text = add_unquoted(parser->build, token.text, '\'');
    } else if (type == FILTER_BOOLEAN) {
        literal->boolean = token.kind == FILTER_TOKEN_TRUE;
    } else if (!filter_number_read(token.text, &literal->number) ||
               !filter_number_is_exact(&literal->number)) {
        return filter_parser_refuse(parser,
                                    "a number of at most 19 digits and 18 behind the point");
    }
    filter_parser_advance(parser);
    return true;
}

static bool take_value(struct filter_parser *parser, struct typing *typing,
                       struct operand *operand_out)
{
    const struct filter_token token = parser->next;
    struct filter_value value = {.source = FILTER_SOURCE_NAME};
    if (is_literal(token.kind)) {
        value.source = FILTER_SOURCE_LITERAL;
        value.number = (uint16_t)parser->build->literal_count;
        if (!take_literal(parser, typing)) {
            return false;
        }
    } else if (token.kind == FILTER_TOKEN_NAME && bytes_equal(token.text, BYTES_OF("TAGS"))) {
        value.source = FILTER_SOURCE_TAG;
        filter_parser_advance(parser);
    } else if (token.kind == FILTER_TOKEN_NAME || token.kind == FILTER_TOKEN_QUOTED) {
        if (!add_name(parser, &value.number)) {
            return false;
        }
        filter_parser_advance(parser);
    } else {
        return filter_parser_refuse(parser, "a property, TAGS or a literal");
    }
    *operand_out = (struct operand){value, token.column};
    return true;
}

/* -------------------------------------------------------------- conditions */

static bool parse_comparison(struct filter_parser *parser, const struct operand *left,
                             struct typing *typing)
{
    struct operand right;
    size_t column = parser->next.column;
    uint8_t relation = (uint8_t)(parser->next.kind - FILTER_TOKEN_EQUAL);
    filter_parser_advance(parser);
    if (!take_value(parser, typing, &right)) {
        return false;
    }
    if (typing->known && typing->type == FILTER_BOOLEAN && relation > FILTER_NOT_EQUAL) {
        return filter_build_refuse(parser->build, column, "= or <> beside TRUE and FALSE");
    }
    return filter_parser_emit(
        parser,
        (struct filter_step){.action = FILTER_ACTION_COMPARE,
                             .relation = relation,
                             .type = (uint8_t)(typing->known ? typing->type : FILTER_TEXT),
                             .left = left->value,
                             .right = right.value},
        column);
}

/* Two comparisons and an AND. */
static bool parse_between(struct filter_parser *parser, const struct operand *left,
                          struct typing *typing, bool negated)
{
    struct operand least;
    struct operand most;
    size_t column = parser->next.column;
    filter_parser_advance(parser);
    if (!take_value(parser, typing, &least) ||
        !expect(parser, FILTER_TOKEN_AND, "AND of BETWEEN") || !take_value(parser, typing, &most)) {
        return false;
    }
    if (typing->known && typing->type == FILTER_BOOLEAN) {
        return filter_build_refuse(parser->build, column, "= or <> beside TRUE and FALSE");
    }
    struct filter_step step = {.action = FILTER_ACTION_COMPARE,
                               .relation = FILTER_GREATER_OR_EQUAL,
                               .type = (uint8_t)(typing->known ? typing->type : FILTER_TEXT),
                               .left = left->value,
                               .right = least.value};
    if (!filter_parser_emit(parser, step, column)) {
        return false;
    }
    step.relation = FILTER_LESS_OR_EQUAL;
    step.right = most.value;
    return filter_parser_emit(parser, step, column) &&
           filter_parser_emit_action(parser, FILTER_ACTION_AND, column) &&
           emit_not_if(parser, negated, column);
}

static bool parse_in(struct filter_parser *parser, const struct operand *left,
                     struct typing *typing, bool negated)
{
    struct filter_step step = {.action = FILTER_ACTION_IN,
                               .left = left->value,
                               .literal = (uint16_t)parser->build->literal_count};
    size_t column = parser->next.column;
    filter_parser_advance(parser);
    if (!expect(parser, FILTER_TOKEN_OPEN, "( of IN")) {
        return false;
    }
    do {
        if (step.count == FILTER_LIST_MAX) {
            return filter_build_refuse_many(parser->build, parser->next.column, FILTER_LIST_MAX,
                                            "literals of IN");
        }
        if (!take_literal(parser, typing)) {
            return false;
        }
        step.count++;
    } while (take_if(parser, FILTER_TOKEN_COMMA));
    step.type = (uint8_t)typing->type;
    return expect(parser, FILTER_TOKEN_CLOSE, ", or ) of IN") &&
           filter_parser_emit(parser, step, column) && emit_not_if(parser, negated, column);
}

/* Every escape stands before what it takes the meaning of. */
static bool escapes_are_right(struct bytes pattern, uint8_t escape)
{
    for (size_t i = 0; i < pattern.length; i++) {
        if (pattern.data[i] != escape) {
            continue;
        }
        i++;
        if (i == pattern.length ||
            (pattern.data[i] != '%' && pattern.data[i] != '_' && pattern.data[i] != escape)) {
            return false;
        }
    }
    return true;
}

static bool parse_escape(struct filter_parser *parser, const struct filter_token *pattern,
                         struct filter_step *step)
{
    const struct filter_build *build = parser->build;
    const struct filter_token token = parser->next;
    uint8_t escape =
        token.kind == FILTER_TOKEN_STRING && token.text.length > 0 ? token.text.data[0] : 0;
    bool is_quote = escape == '\'' && token.text.length == 2;
    if ((token.text.length != 1 && !is_quote) || escape == 0 || escape >= 0x80 || escape == '%' ||
        escape == '_') {
        return filter_parser_refuse(parser, "one character in single quotes, no % and no _");
    }
    filter_parser_advance(parser);
    step->escape = escape;
    struct bytes text = filter_text_bytes(build->texts, build->literals[step->literal].text);
    return escapes_are_right(text, escape) ||
           filter_build_refuse(parser->build, pattern->column,
                               "%, _ or itself behind each escape of the text");
}

static bool parse_like(struct filter_parser *parser, const struct operand *left,
                       struct typing *typing, bool negated)
{
    struct filter_step step = {.action = FILTER_ACTION_LIKE,
                               .left = left->value,
                               .literal = (uint16_t)parser->build->literal_count};
    size_t column = parser->next.column;
    filter_parser_advance(parser);
    const struct filter_token pattern = parser->next;
    if (pattern.kind != FILTER_TOKEN_STRING) {
        return filter_parser_refuse(parser, "a text in single quotes");
    }
    if (!take_literal(parser, typing)) {
        return false;
    }
    if (take_if(parser, FILTER_TOKEN_ESCAPE) && !parse_escape(parser, &pattern, &step)) {
        return false;
    }
    return filter_parser_emit(parser, step, column) && emit_not_if(parser, negated, column);
}

static bool parse_null(struct filter_parser *parser, const struct operand *left)
{
    size_t column = parser->next.column;
    filter_parser_advance(parser);
    bool negated = take_if(parser, FILTER_TOKEN_NOT);
    if (!expect(parser, FILTER_TOKEN_NULL, negated ? "NULL" : "NULL or NOT NULL")) {
        return false;
    }
    if (left->value.source == FILTER_SOURCE_LITERAL) {
        return filter_build_refuse(parser->build, left->column,
                                   "a property or TAGS before IS NULL");
    }
    return filter_parser_emit(
               parser, (struct filter_step){.action = FILTER_ACTION_IS_NULL, .left = left->value},
               column) &&
           emit_not_if(parser, negated, column);
}

/* A value alone: a property that is to be true, or a constant. */
static bool parse_alone(struct filter_parser *parser, const struct operand *left,
                        const struct typing *typing)
{
    if (!typing->known) {
        return filter_parser_emit(
            parser, (struct filter_step){.action = FILTER_ACTION_TRUTH, .left = left->value},
            left->column);
    }
    if (typing->type != FILTER_BOOLEAN) {
        return filter_parser_refuse(parser, "a comparison");
    }
    return filter_parser_emit(
        parser,
        (struct filter_step){.action = FILTER_ACTION_CONSTANT, .literal = left->value.number},
        left->column);
}

bool filter_parse_condition(struct filter_parser *parser)
{
    struct operand left;
    struct typing typing = {.known = false};
    if (!take_value(parser, &typing, &left)) {
        return false;
    }
    bool negated = take_if(parser, FILTER_TOKEN_NOT);
    switch (parser->next.kind) {
    case FILTER_TOKEN_BETWEEN:
        return parse_between(parser, &left, &typing, negated);
    case FILTER_TOKEN_IN:
        return parse_in(parser, &left, &typing, negated);
    case FILTER_TOKEN_LIKE:
        return parse_like(parser, &left, &typing, negated);
    case FILTER_TOKEN_EQUAL:
    case FILTER_TOKEN_NOT_EQUAL:
    case FILTER_TOKEN_LESS:
    case FILTER_TOKEN_LESS_OR_EQUAL:
    case FILTER_TOKEN_GREATER:
    case FILTER_TOKEN_GREATER_OR_EQUAL:
        return negated ? filter_parser_refuse(parser, "BETWEEN, IN or LIKE")
                       : parse_comparison(parser, &left, &typing);
    case FILTER_TOKEN_IS:
        return negated ? filter_parser_refuse(parser, "BETWEEN, IN or LIKE")
                       : parse_null(parser, &left);
    default:
        return negated ? filter_parser_refuse(parser, "BETWEEN, IN or LIKE")
                       : parse_alone(parser, &left, &typing);
    }
}
