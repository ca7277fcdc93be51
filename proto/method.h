/* SPDX-License-Identifier: Apache-2.0 */
/*
 * method.h - the methods of both servers and the rules of their arguments, made from methods.def.
 *
 * Threads: any; the tables are constant.
 */
#ifndef PROTO_METHOD_H
#define PROTO_METHOD_H

#include "proto/base/bytes.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

/* One number for every argument name, whichever methods have it. */
enum argument_id {
#define ARGUMENT_NAME(id, name) ARGUMENT_##id,
#define METHOD(side, id, name, help)
#define ARGUMENT(method, id, type, need, least, most, fallback, choices)
#include "proto/methods.def"
#undef ARGUMENT_NAME
#undef METHOD
#undef ARGUMENT
    ARGUMENT_COUNT,
};

static_assert(ARGUMENT_COUNT <= 64, "sets of arguments are 64 bits");

enum method_id {
#define ARGUMENT_NAME(id, name)
#define METHOD(side, id, name, help) METHOD_##id,
#define ARGUMENT(method, id, type, need, least, most, fallback, choices)
#include "proto/methods.def"
#undef ARGUMENT_NAME
#undef METHOD
#undef ARGUMENT
    METHOD_COUNT,
};

enum method_side {
    METHOD_SIDE_NAMESERVER,
    METHOD_SIDE_BROKER,
};

enum argument_type {
    ARGUMENT_TYPE_UINT,
    ARGUMENT_TYPE_CAPPED,
    ARGUMENT_TYPE_BOOL,
    ARGUMENT_TYPE_TEXT,
    ARGUMENT_TYPE_NAME,
    ARGUMENT_TYPE_ANY_TOPIC,
    ARGUMENT_TYPE_ANY_GROUP,
    ARGUMENT_TYPE_ADDRESS,
    ARGUMENT_TYPE_CHOICE,
    ARGUMENT_TYPE_ARRAY,
    ARGUMENT_TYPE_MAP,
    ARGUMENT_TYPE_VALUE,
};

/* One ARGUMENT row. */
struct argument_rule {
    enum argument_id id;
    enum argument_type type;
    bool required;
    uint8_t name_bytes;
    const char *name;
    uint64_t least;
    uint64_t most;
    uint64_t fallback; /* what an absent one reads as */
    const char *choices;
};

/* One METHOD row. */
struct method {
    enum method_id id;
    enum method_side side;
    const char *name;
    size_t name_bytes;
    const char *help;
    const struct argument_rule *rules; /* its arguments: deadline_ms, then in the table's order */
    const struct argument_rule *rules_end;
};

/* The row of a number. */
const struct method *method_get(enum method_id id);

/* The method that a request to `side` names, or NULL: UNKNOWN_METHOD. */
const struct method *method_find(enum method_side side, struct bytes name);

/* "topic" */
const char *argument_name(enum argument_id id);

/* "integer", "text", ... for refusals and tables. */
const char *argument_type_name(enum argument_type type);

/*
 * The index of `text` among choices in the form "map|text|pair", or -1. Also for choices that
 * stand elsewhere than in methods.def.
 */
int choice_find(const char *choices, struct bytes text);

/* The text of choice `index`; empty when there are fewer. */
struct bytes choice_text(const char *choices, uint64_t index);

#endif
