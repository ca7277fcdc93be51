/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter_run.c - a compiled filter and one message.
 *
 * The properties are walked once, for those that the filter names; then the steps run over a stack that
 * is never deeper than what could wait while they were compiled.
 */
#include "proto/filter_program.h"

#include <strings.h>

/* One message while it is looked at. */
struct matching {
    const struct filter *filter;
    const struct message_labels *labels;
    uint64_t present; /* bit i: values[i] is there */
    uint32_t steps_left;
    struct bytes values[FILTER_NAMES_MAX];
};

static void note_property(struct matching *matching, struct bytes name, struct bytes value)
{
    const struct filter *filter = matching->filter;
    if ((filter->name_lengths >> name.length % 64 & 1) == 0) {
        return;
    }
    for (uint32_t i = 0; i < filter->name_count; i++) {
        if (bytes_equal(filter_text_bytes(filter->texts, filter->names[i]), name)) {
            matching->values[i] = value;
            matching->present |= UINT64_C(1) << i;
            return;
        }
    }
}

static void note_properties(struct matching *matching)
{
    struct cursor cursor = cursor_over(matching->labels->properties);
    for (uint32_t i = 0; i < matching->labels->property_count; i++) {
        struct bytes name;
        struct bytes value;
        if (!cursor_take_text(&cursor, &name) || !cursor_take_text(&cursor, &value)) {
            return;
        }
        note_property(matching, name, value);
    }
}

/* The text of a name or of the tag. False: it is not there. */
static bool find_text(const struct matching *matching, struct filter_value value,
                      struct bytes *text_out)
{
    if (value.source == FILTER_SOURCE_TAG) {
        *text_out = matching->labels->tag;
        return matching->labels->has_tag;
    }
    *text_out = matching->values[value.number];
    return (matching->present >> value.number & 1) != 0;
}

static bool equals_word(struct bytes text, struct bytes word)
{
    return text.length == word.length &&
           strncasecmp((const char *)text.data, (const char *)word.data, word.length) == 0;
}

/* A value as one of its condition's type. */
struct typed {
    struct bytes text;
    struct filter_number number;
    bool boolean;
};

/* False: it is UNKNOWN. */
static bool find_typed(const struct matching *matching, struct filter_value value,
                       enum filter_type type, struct typed *typed_out)
{
    const struct filter *filter = matching->filter;
    if (value.source == FILTER_SOURCE_LITERAL) {
        const struct filter_literal *literal = &filter->literals[value.number];
        ASSERT(literal->type == type);
        if (type == FILTER_NUMBER) {
            typed_out->number = literal->number;
        } else if (type == FILTER_BOOLEAN) {
            typed_out->boolean = literal->boolean;
        } else {
            typed_out->text = filter_text_bytes(filter->texts, literal->text);
        }
        return true;
    }
    if (!find_text(matching, value, &typed_out->text)) {
        return false;
    }
    if (type == FILTER_NUMBER) {
        return filter_number_read(typed_out->text, &typed_out->number);
    }
    if (type == FILTER_BOOLEAN) {
        typed_out->boolean = equals_word(typed_out->text, BYTES_OF("true"));
        return typed_out->boolean || equals_word(typed_out->text, BYTES_OF("false"));
    }
    return true;
}

static int compare_typed(enum filter_type type, const struct typed *a, const struct typed *b)
{
    switch (type) {
    case FILTER_NUMBER:
        return filter_number_compare(&a->number, &b->number);
    case FILTER_BOOLEAN:
        return a->boolean - b->boolean;
    case FILTER_TEXT:
        return bytes_compare(a->text, b->text);
    }
    UNREACHABLE("a type that the enum does not have");
}

static bool holds(enum filter_relation relation, int order)
{
    switch (relation) {
    case FILTER_EQUAL:
        return order == 0;
    case FILTER_NOT_EQUAL:
        return order != 0;
    case FILTER_LESS:
        return order < 0;
    case FILTER_LESS_OR_EQUAL:
        return order <= 0;
    case FILTER_GREATER:
        return order > 0;
    case FILTER_GREATER_OR_EQUAL:
        return order >= 0;
    }
    UNREACHABLE("a relation that the enum does not have");
}

static enum filter_truth truth_of(bool truth)
{
    return truth ? FILTER_TRUE : FILTER_FALSE;
}

static enum filter_truth run_compare(const struct matching *matching,
                                     const struct filter_step *step)
{
    enum filter_type type = (enum filter_type)step->type;
    struct typed left;
    struct typed right;
    if (!find_typed(matching, step->left, type, &left) ||
        !find_typed(matching, step->right, type, &right)) {
        return FILTER_UNKNOWN;
    }
    return truth_of(
        holds((enum filter_relation)step->relation, compare_typed(type, &left, &right)));
}

static enum filter_truth run_in(const struct matching *matching, const struct filter_step *step)
{
    enum filter_type type = (enum filter_type)step->type;
    struct typed left;
    if (!find_typed(matching, step->left, type, &left)) {
        return FILTER_UNKNOWN;
    }
    for (uint32_t i = 0; i < step->count; i++) {
        struct typed one;
        struct filter_value value = {(uint16_t)(step->literal + i), FILTER_SOURCE_LITERAL};
        if (find_typed(matching, value, type, &one) && compare_typed(type, &left, &one) == 0) {
            return FILTER_TRUE;
        }
    }
    return FILTER_FALSE;
}

static enum filter_truth run_condition(struct matching *matching, const struct filter_step *step)
{
    const struct filter *filter = matching->filter;
    const struct filter_literal *literal = &filter->literals[step->literal];
    struct typed left;
    switch ((enum filter_action)step->action) {
    case FILTER_ACTION_CONSTANT:
        return truth_of(literal->boolean);
    case FILTER_ACTION_TRUTH:
        return find_typed(matching, step->left, FILTER_BOOLEAN, &left) ? truth_of(left.boolean)
                                                                       : FILTER_UNKNOWN;
    case FILTER_ACTION_COMPARE:
        return run_compare(matching, step);
    case FILTER_ACTION_IN:
        return run_in(matching, step);
    case FILTER_ACTION_LIKE:
        return find_typed(matching, step->left, FILTER_TEXT, &left)
                   ? filter_like(left.text, filter_text_bytes(filter->texts, literal->text),
                                 step->escape, &matching->steps_left)
                   : FILTER_UNKNOWN;
    case FILTER_ACTION_IS_NULL:
        return truth_of(!find_text(matching, step->left, &left.text));
    default:
        UNREACHABLE("an action that is no condition");
    }
}

static enum filter_truth run(struct matching *matching)
{
    const struct filter *filter = matching->filter;
    enum filter_truth stack[FILTER_DEPTH_MAX + 2];
    uint32_t depth = 0;
    for (uint32_t i = 0; i < filter->step_count; i++) {
        const struct filter_step *step = &filter->steps[i];
        enum filter_truth *top = &stack[depth - (depth > 0)];
        switch ((enum filter_action)step->action) {
        case FILTER_ACTION_NOT:
            *top = (enum filter_truth)(FILTER_TRUE - *top);
            break;
        case FILTER_ACTION_AND:
            top[-1] = top[-1] < *top ? top[-1] : *top;
            depth--;
            break;
        case FILTER_ACTION_OR:
            top[-1] = top[-1] > *top ? top[-1] : *top;
            depth--;
            break;
        default:
            ASSERT(depth < sizeof(stack) / sizeof(stack[0]));
            stack[depth++] = run_condition(matching, step);
            break;
        }
    }
    ASSERT(depth == 1);
    return stack[0];
}

/* --------------------------------------------------------------- questions */

bool filter_wants_all(const struct filter *filter)
{
    return filter->kind == FILTER_KIND_ALL;
}

bool filter_knows_hashes(const struct filter *filter)
{
    return filter->kind == FILTER_KIND_TAGS;
}

bool filter_may_want(const struct filter *filter, uint32_t tag_hash)
{
    if (filter->kind != FILTER_KIND_TAGS) {
        return true;
    }
    for (uint32_t i = 0; i < filter->literal_count; i++) {
        if (filter->hashes[i] == tag_hash) {
            return true;
        }
    }
    return false;
}

static bool has_tag(const struct filter *filter, const struct message_labels *labels)
{
    for (uint32_t i = 0; labels->has_tag && i < filter->literal_count; i++) {
        if (bytes_equal(filter_text_bytes(filter->texts, filter->literals[i].text), labels->tag)) {
            return true;
        }
    }
    return false;
}

bool filter_wants(const struct filter *filter, const struct message_labels *labels)
{
    if (filter->kind != FILTER_KIND_SQL) {
        return filter->kind == FILTER_KIND_ALL || has_tag(filter, labels);
    }
    struct matching matching; /* values only where `present` says so */
    matching.filter = filter;
    matching.labels = labels;
    matching.present = 0;
    matching.steps_left = FILTER_LIKE_STEPS_MAX;
    note_properties(&matching);
    return run(&matching) == FILTER_TRUE;
}
