/* SPDX-License-Identifier: Apache-2.0 */
/*
 * method.c - the tables of methods.def as arrays.
 */
#include "proto/method.h"

#include "proto/base/contract.h"
#include "proto/limits.h"

#include <stddef.h>

static const struct {
    const char *text;
    uint8_t length;
} argument_names[ARGUMENT_COUNT] = {
#define ARGUMENT_NAME(id, name) [ARGUMENT_##id] = {name, sizeof(name) - 1},
#define METHOD(side, id, name, help)
#define ARGUMENT(method, id, type, need, least, most, fallback, choices)
#include "proto/methods.def"
#undef ARGUMENT_NAME
#undef METHOD
#undef ARGUMENT
};

/* The same as constants, for the rows below. */
enum {
#define ARGUMENT_NAME(id, name) NAME_BYTES_OF_##id = sizeof(name) - 1,
#define METHOD(side, id, name, help)
#define ARGUMENT(method, id, type, need, least, most, fallback, choices)
#include "proto/methods.def"
#undef ARGUMENT_NAME
#undef METHOD
#undef ARGUMENT
};

/* The rules of all methods stand in one array; a METHOD contributes the rule of its deadline_ms. */
enum {
#define ARGUMENT_NAME(id, name)
#define METHOD(side, id, name, help)                                     RULE_OF_##id,
#define ARGUMENT(method, id, type, need, least, most, fallback, choices) RULE_OF_##method##_##id,
#include "proto/methods.def"
#undef ARGUMENT_NAME
#undef METHOD
#undef ARGUMENT
    RULE_COUNT,
};

enum need {
    OPTIONAL = 0,
    REQUIRED = 1,
};

/* clang-format off */
#define ARGUMENT_NAME(id, spelling) static const char NAME_OF_##id[] = spelling;
#define METHOD(side, id, name, help)
#define ARGUMENT(method, id, type, need, least, most, fallback, choices)
#include "proto/methods.def"
#undef ARGUMENT_NAME
#undef METHOD
#undef ARGUMENT
/* clang-format on */

#define RULE(argument, kind, need, lower, upper, absent, texts)                                  \
    {                                                                                            \
        .id = ARGUMENT_##argument, .type = ARGUMENT_TYPE_##kind, .required = (need) == REQUIRED, \
        .name = NAME_OF_##argument, .name_bytes = NAME_BYTES_OF_##argument, .least = (lower),    \
        .most = (upper), .fallback = (absent), .choices = (texts),                               \
    }

static const struct argument_rule rules[RULE_COUNT] = {
#define ARGUMENT_NAME(id, name)
#define METHOD(side, id, name, help) \
    [RULE_OF_##id] = RULE(DEADLINE_MS, UINT, OPTIONAL, 0, DURATION_MS_MAX, 0, NULL),
#define ARGUMENT(method, id, type, need, least, most, fallback, choices) \
    [RULE_OF_##method##_##id] = RULE(id, type, need, least, most, fallback, choices),
#include "proto/methods.def"
#undef ARGUMENT_NAME
#undef METHOD
#undef ARGUMENT
};

/*
 * Method `id` is at index id + 1, so that each row can also close the one before it: its rules end
 * where the next one's begin. Index 0 is nobody's.
 */
static const struct method methods[METHOD_COUNT + 1] = {
#define ARGUMENT_NAME(id, name)
#define METHOD(method_side, method_id, method_name, method_help)                         \
    [METHOD_##method_id + 1].id = METHOD_##method_id,                                    \
                          [METHOD_##method_id + 1].side = METHOD_SIDE_##method_side,     \
                          [METHOD_##method_id + 1].name = (method_name),                 \
                          [METHOD_##method_id + 1].name_bytes = sizeof(method_name) - 1, \
                          [METHOD_##method_id + 1].help = (method_help),                 \
                          [METHOD_##method_id + 1].rules = &rules[RULE_OF_##method_id],  \
                          [METHOD_##method_id + 0].rules_end = &rules[RULE_OF_##method_id],
#define ARGUMENT(method, id, type, need, least, most, fallback, choices)
#include "proto/methods.def"
#undef ARGUMENT_NAME
#undef METHOD
#undef ARGUMENT
    [METHOD_COUNT].rules_end = &rules[RULE_COUNT],
};

const struct method *method_get(enum method_id id)
{
    ASSERT((unsigned)id < METHOD_COUNT);
    return &methods[id + 1];
}

const struct method *method_find(enum method_side side, struct bytes name)
{
    for (unsigned i = 1; i <= METHOD_COUNT; i++) {
        if (methods[i].side == side &&
            bytes_equal(name, bytes_make(methods[i].name, methods[i].name_bytes))) {
            return &methods[i];
        }
    }
    return NULL;
}

const char *argument_name(enum argument_id id)
{
    ASSERT((unsigned)id < ARGUMENT_COUNT);
    return argument_names[id].text;
}

const char *argument_type_name(enum argument_type type)
{
    switch (type) {
    case ARGUMENT_TYPE_UINT:
    case ARGUMENT_TYPE_CAPPED:
        return "integer";
    case ARGUMENT_TYPE_BOOL:
        return "bool";
    case ARGUMENT_TYPE_TEXT:
        return "text";
    case ARGUMENT_TYPE_NAME:
    case ARGUMENT_TYPE_ANY_TOPIC:
    case ARGUMENT_TYPE_ANY_GROUP:
        return "name";
    case ARGUMENT_TYPE_ADDRESS:
        return "HOST:PORT";
    case ARGUMENT_TYPE_CHOICE:
        return "choice";
    case ARGUMENT_TYPE_ARRAY:
        return "array";
    case ARGUMENT_TYPE_MAP:
        return "map";
    case ARGUMENT_TYPE_VALUE:
        return "value";
    }
    UNREACHABLE("a type that the enum does not have");
}

/* The choice at `*rest`, which is moved past it; empty at the end. */
static struct bytes next_choice(const char **rest)
{
    const char *start = *rest;
    size_t length = strcspn(start, "|");
    *rest = start + length + (start[length] == '|');
    return bytes_make(start, length);
}

int choice_find(const char *choices, struct bytes text)
{
    const char *rest = choices;
    for (int index = 0; *rest != '\0'; index++) {
        if (bytes_equal(text, next_choice(&rest))) {
            return index;
        }
    }
    return -1;
}

struct bytes choice_text(const char *choices, uint64_t index)
{
    const char *rest = choices;
    struct bytes choice = next_choice(&rest);
    while (index-- > 0) {
        choice = next_choice(&rest);
    }
    return choice;
}
