/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments.h - reads a method's argument map by the rules of methods.def.
 *
 * One pass, no allocation. Afterwards every argument that was given has the type and range of its
 * rule, so that methods look at values only; what only the method can judge (the elements of
 * `messages`, the pairs of `settings`) is handed over as a span. nil is absent. Keys and texts may
 * be str or bin, integers of any width.
 *
 * Threads: any; spans point into the frame.
 */
#ifndef PROTO_ARGUMENTS_H
#define PROTO_ARGUMENTS_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/error.h"
#include "proto/method.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

/* One value. What is set depends on its rule's type. */
struct argument {
    uint64_t number;    /* UINT, CAPPED; BOOL 0 or 1; CHOICE its index; ARRAY and MAP the count */
    struct bytes bytes; /* TEXT, NAME, ADDRESS, CHOICE the content; ARRAY and MAP what follows
                           the header, all of it; VALUE the whole value */
};

/* Not cleared before use: look at a value only where its bit in `present` is set, or through the
 * accessors. Numbers of absent arguments read as the rule's default. */
struct arguments {
    const struct method *method;
    uint64_t present; /* bit 1 << argument_id */
    struct argument values[ARGUMENT_COUNT];
};

/*
 * Reads `map` (header included; empty means no arguments). On failure `refusal` is set.
 *
 *   ERROR_UNKNOWN_ARGUMENT  {key}         the method takes no such argument
 *   ERROR_BAD_ARGUMENT      {key, limit}  missing, twice, of another type, out of range, no UTF-8
 *   ERROR_MALFORMED                       it is no map
 */
NODISCARD enum error arguments_read(const struct method *method, struct bytes map,
                                    struct arguments *arguments, struct refusal *refusal);

static inline bool arguments_has(const struct arguments *arguments, enum argument_id id)
{
    return (arguments->present >> id & 1) != 0;
}

/* The number of an argument that the method's table lists, or its default. */
static inline uint64_t arguments_number(const struct arguments *arguments, enum argument_id id)
{
    return arguments->values[id].number;
}

/* The content of a given text, or empty. */
static inline struct bytes arguments_bytes(const struct arguments *arguments, enum argument_id id)
{
    return arguments_has(arguments, id) ? arguments->values[id].bytes : (struct bytes){NULL, 0};
}

/* A cursor over the elements or pairs of a given ARRAY or MAP, of which arguments_number() is the count, or
 * before a given VALUE. */
static inline struct cursor arguments_cursor(const struct arguments *arguments, enum argument_id id)
{
    return cursor_over(arguments_bytes(arguments, id));
}

/* Refuses argument `id` for a reason that only the method can see; gives ERROR_BAD_ARGUMENT. */
enum error arguments_refuse(struct refusal *refusal, enum argument_id id, const char *limit);

/* The settings of a topic. */
enum topic_route {
    TOPIC_ROUTE_ANY,
    TOPIC_ROUTE_KEY,
};
#define TOPIC_ROUTE_CHOICES "any|key"

/* Ordered: a higher one survives more. */
enum durability {
    DURABILITY_MEMORY,
    DURABILITY_DISK,
};
#define DURABILITY_CHOICES "memory|disk"

const char *topic_route_name(enum topic_route route);
const char *durability_name(enum durability durability);

struct topic_settings {
    bool has_route;
    bool has_durability;
    enum topic_route route;
    enum durability durability;
};

/*
 * Reads the `settings` of topic.put: {route: any|key, durability: memory|disk}, each optional,
 * nil absent. ERROR_BAD_ARGUMENT: another key, another value, or one twice.
 */
NODISCARD enum error topic_settings_read(struct cursor pairs, uint32_t pair_count,
                                         struct topic_settings *settings_out,
                                         struct refusal *refusal);

/* Writes {route, durability} as one map, those that are there. */
void topic_settings_write(const struct topic_settings *settings, struct writer *writer);

#endif
