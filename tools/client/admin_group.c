/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin_group.c - consumer groups: put on every broker of their topics, deleted wherever they are.
 *
 * Nameservers know topics and brokers, not groups: where a group is, the brokers are asked.
 */
#include "proto/cursor.h"
#include "proto/group_settings.h"
#include "proto/limits.h"
#include "proto/method.h"
#include "proto/names.h"
#include "proto/writer.h"
#include "tools/client/answer_map.h"
#include "tools/client/client.h"
#include "tools/client/client_route.h"
#include "tools/client/fault.h"

#include <stdio.h>
#include <stdlib.h>

/* A broker, and which of the group's topics it has: bit 1 << place in the options. */
struct place {
    char broker[BROKER_NAME_BYTES_MAX + 1];
    uint64_t topics;
};

struct places {
    struct place *at;
    size_t count;
};

static_assert(GROUP_TOPICS_MAX <= 64, "sets of topics are 64 bits");

/* --------------------------------------------------------------- where it is */

/* The place of a broker, made if need be; NULL: no memory. */
static struct place *place_of(struct places *places, const char *broker)
{
    for (size_t i = 0; i < places->count; i++) {
        if (strcmp(places->at[i].broker, broker) == 0) {
            return &places->at[i];
        }
    }
    struct place *grown = realloc(places->at, (places->count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return NULL;
    }
    places->at = grown;
    struct place *place = &places->at[places->count++];
    memset(place, 0, sizeof(*place));
    strncpy(place->broker, broker, BROKER_NAME_BYTES_MAX);
    return place;
}

/* Notes the brokers of what the route is about; `topics` are the bits that they get. */
static int note_route(struct ternmq *client, struct places *places, enum route_kind kind,
                      const char *name, uint64_t topics, struct ternmq_error *error_out)
{
    client_enter(client);
    struct client_route *route = client_route_take(client, kind, name);
    if (route == NULL) {
        return fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a route");
    }
    int code = client_route_await(client, route, error_out);
    for (uint32_t i = 0; code == TERNMQ_OK && i < route->span_count; i++) {
        struct place *place = place_of(places, route->spans[i].broker);
        if (place == NULL) {
            code = fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO,
                             "no memory for the names of brokers");
            break;
        }
        place->topics |= topics;
    }
    client_route_give(route);
    return code;
}

static int ask(struct ternmq *client, const char *broker, struct ternmq_call *call,
               struct ternmq_answer *answer_out, struct ternmq_error *error_out)
{
    call->to = client->direct ? TERNMQ_TO_ANY_BROKER : TERNMQ_TO_BROKER;
    call->to_name = client->direct ? NULL : broker;
    return ternmq_call(client, call, answer_out, error_out);
}

/* Whether the first row of a page of group.list is this group. */
static bool page_has(struct bytes page, const char *name)
{
    struct cursor cursor;
    struct bytes row;
    struct bytes text;
    uint32_t count;
    return answer_find(page, "rows", &cursor) && cursor_take_array(&cursor, &count) && count > 0 &&
           cursor_take_span(&cursor, &row) && answer_find(row, "name", &cursor) &&
           cursor_take_text(&cursor, &text) && bytes_equal(text, bytes_from_string(name));
}

/* Whether a broker has the group: of all that begin so its name comes first. */
static int broker_has(struct ternmq *client, const char *broker, const char *name, bool *has_out,
                      struct ternmq_error *error_out)
{
    uint8_t room[GROUP_ANY_NAME_BYTES_MAX + 32];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 2);
    writer_put_key_string(&writer, "prefix", name);
    writer_put_key_uint(&writer, "limit", 1);
    struct ternmq_call call = {
        .method = "group.list",
        .arguments = ternmq_bytes(room, writer_length(&writer)),
    };
    struct ternmq_answer answer;
    int code = ask(client, broker, &call, &answer, error_out);
    *has_out =
        code == TERNMQ_OK && page_has(bytes_make(answer.result.data, answer.result.length), name);
    return code;
}

/* Leaves the brokers that have the group. */
static int keep_places(struct ternmq *client, const char *name, struct places *places,
                       struct ternmq_error *error_out)
{
    size_t kept = 0;
    int code = TERNMQ_OK;
    for (size_t i = 0; code == TERNMQ_OK && i < places->count; i++) {
        bool has;
        code = broker_has(client, places->at[i].broker, name, &has, error_out);
        if (has) {
            places->at[kept++] = places->at[i];
        }
    }
    places->count = kept;
    return code;
}

/* The brokers that have one of the topics, or, without topics, all that have the group. */
static int find_places(struct ternmq *client, const struct ternmq_group_options *options,
                       struct places *places, struct ternmq_error *error_out)
{
    int code = TERNMQ_OK;
    if (client->direct) {
        struct place *place = place_of(places, "");
        if (place == NULL) {
            return fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO,
                             "no memory for the name of a broker");
        }
        place->topics = UINT64_MAX;
    } else if (options->topic_count == 0) {
        code = note_route(client, places, ROUTE_ANY_BROKER, "", 0, error_out);
    } else {
        for (size_t i = 0; code == TERNMQ_OK && i < options->topic_count; i++) {
            code = note_route(client, places, ROUTE_TOPIC, options->topics[i].name,
                              UINT64_C(1) << i, error_out);
        }
    }
    if (code == TERNMQ_OK && options->topic_count == 0) {
        code = keep_places(client, options->name, places, error_out);
    }
    return code;
}

/* ----------------------------------------------------------------------- put */

static const char *order_name(enum ternmq_order order)
{
    return order == TERNMQ_ORDER_KEY ? "key" : order == TERNMQ_ORDER_QUEUE ? "queue" : "none";
}

static uint32_t count_settings(const struct ternmq_group_options *options)
{
    return 0U + (options->topic_count > 0) + (options->from != TERNMQ_FROM_DEFAULT) +
           (options->order != TERNMQ_ORDER_DEFAULT) + options->broadcast +
           (options->lease_ms != 0) + (options->attempts != 0) + (options->backoff_count != 0) +
           options->has_jitter + (options->exhausted != TERNMQ_EXHAUSTED_DEFAULT) +
           options->has_idle_expire;
}

static void write_topics(struct writer *writer, const struct ternmq_group_options *options,
                         uint64_t topics)
{
    uint32_t count = 0;
    for (size_t i = 0; i < options->topic_count; i++) {
        count += (topics >> i & 1) != 0;
    }
    writer_put_string(writer, "topics");
    writer_put_map(writer, count);
    for (size_t i = 0; i < options->topic_count; i++) {
        if ((topics >> i & 1) == 0) {
            continue;
        }
        writer_put_string(writer, options->topics[i].name);
        if (options->topics[i].filter == NULL) {
            writer_put_nil(writer);
        } else {
            writer_put_string(writer, options->topics[i].filter);
        }
    }
}

static void write_retries(struct writer *writer, const struct ternmq_group_options *options)
{
    if (options->attempts != 0) {
        writer_put_key_uint(writer, "attempts", options->attempts);
    }
    if (options->backoff_count != 0) {
        writer_put_string(writer, "backoff");
        writer_put_array(writer, (uint32_t)options->backoff_count);
        for (size_t i = 0; i < options->backoff_count; i++) {
            writer_put_uint(writer, options->backoff_ms[i]);
        }
    }
    if (options->has_jitter) {
        writer_put_key_uint(writer, "jitter", options->jitter_percent);
    }
    if (options->exhausted != TERNMQ_EXHAUSTED_DEFAULT) {
        writer_put_key_string(writer, "exhausted",
                              options->exhausted == TERNMQ_EXHAUSTED_STAY ? "stay" : "dead");
    }
}

static void write_put(struct writer *writer, const struct ternmq_group_options *options,
                      uint64_t topics)
{
    writer_put_map(writer, 2);
    writer_put_key_string(writer, "name", options->name);
    writer_put_string(writer, "settings");
    writer_put_map(writer, count_settings(options));
    if (options->topic_count > 0) {
        write_topics(writer, options, topics);
    }
    if (options->from == TERNMQ_FROM_TIME) {
        writer_put_key_uint(writer, "from", options->from_ms);
    } else if (options->from != TERNMQ_FROM_DEFAULT) {
        writer_put_key_string(writer, "from",
                              options->from == TERNMQ_FROM_FIRST ? "first" : "last");
    }
    if (options->order != TERNMQ_ORDER_DEFAULT) {
        writer_put_key_string(writer, "order", order_name(options->order));
    }
    if (options->broadcast) {
        writer_put_key_bool(writer, "broadcast", true);
    }
    if (options->lease_ms != 0) {
        writer_put_key_uint(writer, "lease_ms", options->lease_ms);
    }
    write_retries(writer, options);
    if (options->has_idle_expire) {
        writer_put_key_uint(writer, "idle_expire_ms", options->idle_expire_ms);
    }
}

static int check_name(const char *name, struct ternmq_error *error_out)
{
    if (name != NULL && name_is_group(bytes_from_string(name))) {
        return TERNMQ_OK;
    }
    return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                     "'%s' is no name of a group: 1 to %d of A-Z a-z 0-9 . _ -",
                     name == NULL ? "" : name, GROUP_NAME_BYTES_MAX);
}

/* What would not fit a request is refused here; everything else is the broker's to judge. */
static int check_options(const struct ternmq_group_options *options, struct ternmq_error *error_out)
{
    int code = check_name(options->name, error_out);
    size_t bytes = 0;
    for (size_t i = 0; code == TERNMQ_OK && i < options->topic_count; i++) {
        const struct ternmq_group_topic *topic = &options->topics[i];
        if (topic->name == NULL || !name_is_topic(bytes_from_string(topic->name))) {
            return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                             "'%s' is no name of a topic", topic->name == NULL ? "" : topic->name);
        }
        bytes += strlen(topic->name) + (topic->filter == NULL ? 0 : strlen(topic->filter)) +
                 GROUP_TOPIC_HEADER_BYTES;
    }
    if (code == TERNMQ_OK &&
        (options->topic_count > GROUP_TOPICS_MAX || bytes > GROUP_TOPICS_BYTES_MAX ||
         options->backoff_count > GROUP_BACKOFF_MAX)) {
        return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                         "a group has at most %d topics, %u bytes of their names and filters, and "
                         "%d steps of backoff",
                         GROUP_TOPICS_MAX, GROUP_TOPICS_BYTES_MAX, GROUP_BACKOFF_MAX);
    }
    return code;
}

static int put_at(struct ternmq *client, const struct ternmq_group_options *options,
                  const struct place *place, struct ternmq_error *error_out)
{
    uint8_t room[GROUP_SETTINGS_BYTES_MAX + GROUP_NAME_BYTES_MAX + 64];
    struct writer writer = writer_over(room, sizeof(room));
    write_put(&writer, options, place->topics);
    ASSERT(!writer.overflowed);
    struct ternmq_call call = {
        .method = "group.put",
        .arguments = ternmq_bytes(room, writer_length(&writer)),
    };
    struct ternmq_answer answer;
    return ask(client, place->broker, &call, &answer, error_out);
}

/* Says of a failure which brokers have done it before: whoever asks again finds them so. */
static void say_done(const struct places *places, size_t done, struct ternmq_error *error)
{
    char message[sizeof(error->message)];
    char more[32] = "";
    if (done > 1) {
        (void)snprintf(more, sizeof(more), " and %zu more", done - 1);
    }
    (void)snprintf(message, sizeof(message),
                   "broker %.64s: %.100s; done at %.64s%s, and asking again completes it",
                   places->at[done].broker, error->message, places->at[0].broker, more);
    memcpy(error->message, message, sizeof(message));
}

static int fail_not_found(const char *name, struct ternmq_error *error_out)
{
    return fault_set(error_out, TERNMQ_GROUP_NOT_FOUND, TERNMQ_STORED_NO, "there is no group '%s'",
                     name);
}

TERNMQ_API int ternmq_group_put(struct ternmq *client, const struct ternmq_group_options *options,
                                struct ternmq_error *error_out)
{
    if (client_must_not_block(client, error_out)) {
        return TERNMQ_USAGE;
    }
    int code = check_options(options, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct places places = {.count = 0};
    code = find_places(client, options, &places, error_out);
    if (code == TERNMQ_OK && places.count == 0) {
        code = fail_not_found(options->name, error_out);
    }
    for (size_t i = 0; code == TERNMQ_OK && i < places.count; i++) {
        code = put_at(client, options, &places.at[i], error_out);
        if (code != TERNMQ_OK && i > 0 && error_out != NULL) {
            say_done(&places, i, error_out);
        }
    }
    free(places.at);
    return code;
}

/* -------------------------------------------------------------------- delete */

TERNMQ_API int ternmq_group_delete(struct ternmq *client, const char *name,
                                   struct ternmq_error *error_out)
{
    if (client_must_not_block(client, error_out)) {
        return TERNMQ_USAGE;
    }
    /* Those that brokers make can be deleted, too: GROUP@MEMBER, %DLQ%GROUP. */
    if (name == NULL || !name_is_any_group(bytes_from_string(name))) {
        return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                         "'%s' is no name of a group", name == NULL ? "" : name);
    }
    struct places places = {.count = 0};
    const struct ternmq_group_options options = {.name = name};
    int code = find_places(client, &options, &places, error_out);
    if (code == TERNMQ_OK && places.count == 0) {
        code = fail_not_found(name, error_out);
    }
    uint8_t room[GROUP_ANY_NAME_BYTES_MAX + 16];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "name", name);
    for (size_t i = 0; code == TERNMQ_OK && i < places.count; i++) {
        /* Deleted twice, the second one finds nothing: that would be no honest answer. */
        struct ternmq_call call = {
            .method = "group.delete",
            .arguments = ternmq_bytes(room, writer_length(&writer)),
            .once = true,
        };
        struct ternmq_answer answer;
        code = ask(client, places.at[i].broker, &call, &answer, error_out);
    }
    free(places.at);
    return code;
}
