/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments.c - one pass over the argument map, driven by the method's rules.
 */
#include "proto/arguments.h"

#include "proto/base/utf8.h"
#include "proto/limits.h"
#include "proto/names.h"
#include "proto/writer.h"

/* ---- refusals ---- */

static enum error refuse_form(const struct argument_rule *rule, const char *form,
                              struct refusal *refusal)
{
    (void)refusal_set(refusal, ERROR_BAD_ARGUMENT, "%s has to be %s", rule->name, form);
    refusal_add_key(refusal, bytes_from_string(rule->name));
    refusal_add_limit_text(refusal, form);
    return refusal->code;
}

static enum error refuse_type(const struct argument_rule *rule, const struct cursor *cursor,
                              struct refusal *refusal)
{
    const char *wanted = argument_type_name(rule->type);
    enum cursor_type found = cursor_peek(cursor);
    if (wanted[0] == 'i' && (found == CURSOR_INTEGER || found == CURSOR_FLOAT)) {
        return refuse_form(rule, "an integer from 0 to 2^53 - 1", refusal);
    }
    (void)refusal_set(refusal, ERROR_BAD_ARGUMENT, "%s is not %s %s (found %s)", rule->name,
                      wanted[0] == 'i' || wanted[0] == 'a' ? "an" : "a", wanted,
                      cursor_type_name(found));
    refusal_add_key(refusal, bytes_from_string(rule->name));
    refusal_add_limit_text(refusal, wanted);
    return refusal->code;
}

/* `value` lies outside of the rule's range; `of` is what it counts: "", " bytes", " elements". */
static enum error refuse_range(const struct argument_rule *rule, uint64_t value, const char *of,
                               struct refusal *refusal)
{
    (void)refusal_set(refusal, ERROR_BAD_ARGUMENT, "%s has to be %llu to %llu%s, not %llu",
                      rule->name, (unsigned long long)rule->least, (unsigned long long)rule->most,
                      of, (unsigned long long)value);
    refusal_add_key(refusal, bytes_from_string(rule->name));
    refusal_add(refusal, REFUSAL_LIMIT, value < rule->least ? rule->least : rule->most);
    refusal_add(refusal, REFUSAL_VALUE, value);
    return refusal->code;
}

static enum error refuse_unknown(const struct method *method, struct bytes key,
                                 struct refusal *refusal)
{
    int shown = key.length > REFUSAL_KEY_BYTES ? REFUSAL_KEY_BYTES : (int)key.length;
    (void)refusal_set(refusal, ERROR_UNKNOWN_ARGUMENT, "%s takes no argument %.*s", method->name,
                      shown, (const char *)key.data);
    refusal_add_key(refusal, key);
    return refusal->code;
}

static enum error refuse_shape(struct refusal *refusal)
{
    return refusal_set(refusal, ERROR_MALFORMED, "the arguments are not one map with text keys");
}

enum error arguments_refuse(struct refusal *refusal, enum argument_id id, const char *limit)
{
    (void)refusal_set(refusal, ERROR_BAD_ARGUMENT, "%s has to be %s", argument_name(id), limit);
    refusal_add_key(refusal, bytes_from_string(argument_name(id)));
    refusal_add_limit_text(refusal, limit);
    return refusal->code;
}

/* ---- one value ---- */

static enum error read_number(const struct argument_rule *rule, struct cursor *cursor,
                              struct argument *argument, struct refusal *refusal)
{
    struct cursor before = *cursor;
    uint64_t value;
    if (!cursor_take_uint(cursor, &value)) {
        return refuse_type(rule, &before, refusal);
    }
    if (value > rule->most && rule->type == ARGUMENT_TYPE_CAPPED) {
        value = rule->most;
    }
    if (value < rule->least || value > rule->most) {
        return refuse_range(rule, value, "", refusal);
    }
    argument->number = value;
    return OK;
}

static enum error read_bool(const struct argument_rule *rule, struct cursor *cursor,
                            struct argument *argument, struct refusal *refusal)
{
    struct cursor before = *cursor;
    bool value;
    if (!cursor_take_bool(cursor, &value)) {
        return refuse_type(rule, &before, refusal);
    }
    argument->number = value;
    return OK;
}

static enum error judge_text(const struct argument_rule *rule, struct bytes text,
                             struct argument *argument, struct refusal *refusal)
{
    if (rule->type == ARGUMENT_TYPE_CHOICE) {
        int choice = choice_find(rule->choices, text);
        argument->number = (uint64_t)choice;
        return choice >= 0 ? OK : refuse_form(rule, rule->choices, refusal);
    }
    if (text.length < rule->least || text.length > rule->most) {
        return refuse_range(rule, text.length, " bytes", refusal);
    }
    if (rule->type == ARGUMENT_TYPE_NAME && !name_is_valid(text, (size_t)rule->most)) {
        return refuse_form(rule, "made of letters, digits, '.', '_' and '-'", refusal);
    }
    if (rule->type == ARGUMENT_TYPE_ANY_TOPIC && !name_is_any_topic(text)) {
        return refuse_form(rule, "made of letters, digits, '.', '_' and '-', or %DLQ%GROUP",
                           refusal);
    }
    if (rule->type == ARGUMENT_TYPE_ANY_GROUP && !name_is_any_group(text)) {
        return refuse_form(rule, "a group's name, %DLQ%GROUP or GROUP@MEMBER", refusal);
    }
    if (rule->type == ARGUMENT_TYPE_ADDRESS && !name_is_address(text)) {
        return refuse_form(rule, "HOST:PORT", refusal);
    }
    if (rule->type == ARGUMENT_TYPE_TEXT && !utf8_is_valid(text)) {
        return refuse_form(rule, "UTF-8", refusal);
    }
    return OK;
}

static enum error read_text(const struct argument_rule *rule, struct cursor *cursor,
                            struct argument *argument, struct refusal *refusal)
{
    struct cursor before = *cursor;
    if (!cursor_take_text(cursor, &argument->bytes)) {
        return refuse_type(rule, &before, refusal);
    }
    return judge_text(rule, argument->bytes, argument, refusal);
}

/* Languages that have one kind of table send an empty map as an empty array. */
static bool take_pairs(struct cursor *cursor, uint32_t *count_out)
{
    if (cursor_peek(cursor) == CURSOR_ARRAY) {
        *count_out = 0;
        return cursor_take_array_of(cursor, 0);
    }
    return cursor_take_map(cursor, count_out);
}

static enum error read_container(const struct argument_rule *rule, struct cursor *cursor,
                                 struct argument *argument, struct refusal *refusal)
{
    struct cursor head = *cursor;
    uint32_t count;
    bool is_taken = rule->type == ARGUMENT_TYPE_ARRAY ? cursor_take_array(&head, &count)
                                                      : take_pairs(&head, &count);
    if (!is_taken) {
        return refuse_type(rule, cursor, refusal);
    }
    if (count < rule->least || count > rule->most) {
        return refuse_range(rule, count, " elements", refusal);
    }
    if (!cursor_skip(cursor)) {
        return refuse_shape(refusal);
    }
    argument->number = count;
    argument->bytes = (struct bytes){head.at, (size_t)(cursor->at - head.at)};
    return OK;
}

/* A whole value, for the method to look into. */
static enum error read_any(const struct argument_rule *rule, struct cursor *cursor,
                           struct argument *argument, struct refusal *refusal)
{
    if (!cursor_take_span(cursor, &argument->bytes)) {
        return refuse_shape(refusal);
    }
    if (argument->bytes.length < rule->least || argument->bytes.length > rule->most) {
        return refuse_range(rule, argument->bytes.length, " bytes", refusal);
    }
    return OK;
}

static enum error read_value(const struct argument_rule *rule, struct cursor *cursor,
                             struct argument *argument, struct refusal *refusal)
{
    switch (rule->type) {
    case ARGUMENT_TYPE_UINT:
    case ARGUMENT_TYPE_CAPPED:
        return read_number(rule, cursor, argument, refusal);
    case ARGUMENT_TYPE_BOOL:
        return read_bool(rule, cursor, argument, refusal);
    case ARGUMENT_TYPE_TEXT:
    case ARGUMENT_TYPE_NAME:
    case ARGUMENT_TYPE_ANY_TOPIC:
    case ARGUMENT_TYPE_ANY_GROUP:
    case ARGUMENT_TYPE_ADDRESS:
    case ARGUMENT_TYPE_CHOICE:
        return read_text(rule, cursor, argument, refusal);
    case ARGUMENT_TYPE_ARRAY:
    case ARGUMENT_TYPE_MAP:
        return read_container(rule, cursor, argument, refusal);
    case ARGUMENT_TYPE_VALUE:
        return read_any(rule, cursor, argument, refusal);
    }
    UNREACHABLE("a type that the enum does not have");
}

/* ---- the map ---- */

static bool is_rule_of(const struct argument_rule *rule, struct bytes key)
{
    return bytes_equal(bytes_make(rule->name, rule->name_bytes), key);
}

/* The rule of `key`, looked for from `likely` on: callers send arguments in a habitual order. */
static const struct argument_rule *find_rule(const struct method *method,
                                             const struct argument_rule *likely, struct bytes key)
{
    for (const struct argument_rule *rule = likely; rule < method->rules_end; rule++) {
        if (is_rule_of(rule, key)) {
            return rule;
        }
    }
    for (const struct argument_rule *rule = method->rules; rule < likely; rule++) {
        if (is_rule_of(rule, key)) {
            return rule;
        }
    }
    return NULL;
}

/* Gives absent arguments their defaults. */
static enum error complete(struct arguments *arguments, struct refusal *refusal)
{
    const struct method *method = arguments->method;
    for (const struct argument_rule *rule = method->rules; rule < method->rules_end; rule++) {
        if (arguments_has(arguments, rule->id)) {
            continue;
        }
        if (rule->required) {
            return refuse_form(rule, "given", refusal);
        }
        arguments->values[rule->id].number = rule->fallback;
    }
    return OK;
}

enum error arguments_read(const struct method *method, struct bytes map,
                          struct arguments *arguments, struct refusal *refusal)
{
    struct cursor cursor = cursor_over(map);
    const struct argument_rule *likely = method->rules;
    uint32_t count = 0;

    arguments->method = method;
    arguments->present = 0;
    if (map.length > 0 && !cursor_take_map(&cursor, &count)) {
        return refuse_shape(refusal);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes key;
        if (!cursor_take_text(&cursor, &key)) {
            return refuse_shape(refusal);
        }
        const struct argument_rule *rule = find_rule(method, likely, key);
        if (rule == NULL) {
            return refuse_unknown(method, key, refusal);
        }
        if (cursor_try_nil(&cursor)) {
            continue;
        }
        if (arguments_has(arguments, rule->id)) {
            return refuse_form(rule, "given once", refusal);
        }
        enum error error = read_value(rule, &cursor, &arguments->values[rule->id], refusal);
        if (error != OK) {
            return error;
        }
        arguments->present |= UINT64_C(1) << rule->id;
        likely = rule + 1;
    }
    if (!cursor_is_done(&cursor)) {
        return refuse_shape(refusal);
    }
    return complete(arguments, refusal);
}

/* ---- settings of a topic ---- */

const char *topic_route_name(enum topic_route route)
{
    return route == TOPIC_ROUTE_KEY ? "key" : "any";
}

const char *durability_name(enum durability durability)
{
    return durability == DURABILITY_DISK ? "disk" : "memory";
}

/* Refuses `key` of `settings`; `limit` says what was expected. */
static enum error refuse_setting(struct refusal *refusal, struct bytes key, const char *limit)
{
    int shown = key.length > REFUSAL_KEY_BYTES ? REFUSAL_KEY_BYTES : (int)key.length;
    (void)refusal_set(refusal, ERROR_BAD_ARGUMENT, "setting %.*s has to be %s", shown,
                      (const char *)key.data, limit);
    refusal_add_key(refusal, key);
    refusal_add_limit_text(refusal, limit);
    return refusal->code;
}

/* Takes one of `choices` as the value of setting `key`. */
static enum error take_choice(struct cursor *pairs, struct bytes key, const char *choices,
                              int *choice_out, struct refusal *refusal)
{
    struct bytes text;
    if (!cursor_take_text(pairs, &text)) {
        return refuse_setting(refusal, key, choices);
    }
    *choice_out = choice_find(choices, text);
    return *choice_out >= 0 ? OK : refuse_setting(refusal, key, choices);
}

static enum error read_setting(struct cursor *pairs, struct topic_settings *settings,
                               struct refusal *refusal)
{
    struct bytes key;
    int choice = 0;
    enum error error = OK;

    if (!cursor_take_text(pairs, &key)) {
        return arguments_refuse(refusal, ARGUMENT_SETTINGS, "a map with text keys");
    }
    bool is_route = bytes_equal(key, BYTES_OF("route"));
    if (!is_route && !bytes_equal(key, BYTES_OF("durability"))) {
        return refuse_setting(refusal, key, "route or durability: there is no other");
    }
    if (cursor_try_nil(pairs)) {
        return OK;
    }
    if (is_route ? settings->has_route : settings->has_durability) {
        return refuse_setting(refusal, key, "given once");
    }
    if (is_route) {
        error = take_choice(pairs, key, TOPIC_ROUTE_CHOICES, &choice, refusal);
        settings->has_route = true;
        settings->route = (enum topic_route)choice;
    } else {
        error = take_choice(pairs, key, DURABILITY_CHOICES, &choice, refusal);
        settings->has_durability = true;
        settings->durability = (enum durability)choice;
    }
    return error;
}

enum error topic_settings_read(struct cursor pairs, uint32_t pair_count,
                               struct topic_settings *settings_out, struct refusal *refusal)
{
    struct topic_settings settings = {.has_route = false};
    for (uint32_t i = 0; i < pair_count; i++) {
        enum error error = read_setting(&pairs, &settings, refusal);
        if (error != OK) {
            return error;
        }
    }
    *settings_out = settings;
    return OK;
}

void topic_settings_write(const struct topic_settings *settings, struct writer *writer)
{
    writer_put_map(writer, (uint32_t)settings->has_route + settings->has_durability);
    if (settings->has_route) {
        writer_put_key_string(writer, "route", topic_route_name(settings->route));
    }
    if (settings->has_durability) {
        writer_put_key_string(writer, "durability", durability_name(settings->durability));
    }
}
