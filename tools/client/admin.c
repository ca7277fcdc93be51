/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.c - topics, routes and single messages: the calls that ternmq.h has types for.
 */
#include "proto/arguments.h"
#include "proto/cursor.h"
#include "proto/limits.h"
#include "proto/names.h"
#include "proto/writer.h"
#include "tools/client/answer_map.h"
#include "tools/client/client.h"
#include "tools/client/client_route.h"
#include "tools/client/delivery.h"
#include "tools/client/fault.h"

#include <stdlib.h>

enum { ARGUMENTS_ROOM = 512 };

static int refuse_name(const char *what, const char *name, struct ternmq_error *error_out)
{
    return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                     "'%s' is no %s: 1 to %d of A-Z a-z 0-9 . _ -", name == NULL ? "" : name, what,
                     TOPIC_NAME_BYTES_MAX);
}

static bool name_is_bad(const char *name)
{
    return name == NULL || !name_is_topic(bytes_from_string(name));
}

static struct ternmq_bytes written(const struct writer *writer)
{
    return ternmq_bytes(writer->start, writer_length(writer));
}

/* -------------------------------------------------------------------------- routes */

TERNMQ_API int ternmq_route(struct ternmq *client, const char *topic,
                            struct ternmq_route *route_out, struct ternmq_error *error_out)
{
    if (client_must_not_block(client, error_out)) {
        return TERNMQ_USAGE;
    }
    if (name_is_bad(topic)) {
        return refuse_name("topic", topic, error_out);
    }
    client_enter(client);
    struct client_route *route = client_route_take(client, ROUTE_TOPIC, topic);
    if (route == NULL) {
        return fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a route");
    }
    int code = client_route_await(client, route, error_out);
    if (code == TERNMQ_OK) {
        *route_out = (struct ternmq_route){
            .version = route->version,
            .queue_count = route->queue_count,
            .span_count = route->span_count,
            .spans = route->spans,
        };
    }
    client_route_give(route);
    return code;
}

/* -------------------------------------------------------------------------- topics */

static void write_settings(struct writer *writer, const struct ternmq_topic_options *options)
{
    const struct topic_settings settings = {
        .has_route = options->route != TERNMQ_ROUTE_DEFAULT,
        .has_durability = options->durability != TERNMQ_DURABILITY_DEFAULT,
        .route = options->route == TERNMQ_ROUTE_KEY ? TOPIC_ROUTE_KEY : TOPIC_ROUTE_ANY,
        .durability =
            options->durability == TERNMQ_DURABILITY_MEMORY ? DURABILITY_MEMORY : DURABILITY_DISK,
    };
    writer_put_string(writer, "settings");
    topic_settings_write(&settings, writer);
}

static void write_topic_put(struct writer *writer, const struct ternmq_topic_options *options)
{
    bool has_settings =
        options->route != TERNMQ_ROUTE_DEFAULT || options->durability != TERNMQ_DURABILITY_DEFAULT;
    writer_put_map(writer, 1U + (options->queues != 0) + has_settings + options->rehash +
                               (options->version != 0));
    writer_put_key_string(writer, "name", options->name);
    if (options->queues != 0) {
        writer_put_key_uint(writer, "queues", options->queues);
    }
    if (has_settings) {
        write_settings(writer, options);
    }
    if (options->rehash) {
        writer_put_key_bool(writer, "rehash", true);
    }
    if (options->version != 0) {
        writer_put_key_uint(writer, "version", options->version);
    }
}

/* What this client knew of a topic that it has changed, or deleted: then no broker is waited for that
 * may still have it. */
static void forget_topic(struct ternmq *client, const char *name, bool is_deleted)
{
    struct client_route *route = client_route_take(client, ROUTE_TOPIC, name);
    if (route != NULL) {
        client_route_forget(route);
        route->denied = route->denied || is_deleted;
    }
    client_route_give(route);
}

/* Where to send what changes a topic: to the broker that has it, else to the one that shall have it. */
static int choose_broker(struct ternmq *client, const struct ternmq_topic_options *options,
                         struct ternmq_call *call, struct ternmq_error *error_out)
{
    if (options->broker != NULL) {
        call->to = TERNMQ_TO_BROKER;
        call->to_name = options->broker;
        return TERNMQ_OK;
    }
    if (client->direct) {
        call->to = TERNMQ_TO_ANY_BROKER;
        return TERNMQ_OK;
    }
    struct ternmq_error error;
    struct ternmq_route route;
    int code = ternmq_route(client, options->name, &route, &error);
    if (code == TERNMQ_OK) {
        call->to = TERNMQ_TO_TOPIC;
        call->to_name = options->name;
        return TERNMQ_OK;
    }
    if (code == TERNMQ_TOPIC_NOT_FOUND) {
        call->to = TERNMQ_TO_ANY_BROKER;
        return TERNMQ_OK;
    }
    return fault_give(&error, error_out);
}

TERNMQ_API int ternmq_topic_put(struct ternmq *client, const struct ternmq_topic_options *options,
                                uint64_t *id_out, uint64_t *version_out,
                                struct ternmq_error *error_out)
{
    if (client_must_not_block(client, error_out)) {
        return TERNMQ_USAGE;
    }
    if (name_is_bad(options->name)) {
        return refuse_name("topic", options->name, error_out);
    }
    /* With a version a second try would find its own change in the way. */
    struct ternmq_call call = {.method = "topic.put", .once = options->version != 0};
    int code = choose_broker(client, options, &call, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    uint8_t room[ARGUMENTS_ROOM];
    struct writer writer = writer_over(room, sizeof(room));
    write_topic_put(&writer, options);
    call.arguments = written(&writer);

    struct ternmq_answer answer;
    code = ternmq_call(client, &call, &answer, error_out);
    forget_topic(client, options->name, false);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct bytes result = bytes_make(answer.result.data, answer.result.length);
    uint64_t id;
    uint64_t version;
    if (!answer_find_uint(result, "id", &id) || !answer_find_uint(result, "version", &version)) {
        return fault_set(error_out, TERNMQ_PROTOCOL, TERNMQ_STORED_MAYBE,
                         "%s answered no topic's id and version", answer.address);
    }
    if (id_out != NULL) {
        *id_out = id;
    }
    if (version_out != NULL) {
        *version_out = version;
    }
    return TERNMQ_OK;
}

TERNMQ_API int ternmq_topic_delete(struct ternmq *client, const char *name,
                                   struct ternmq_error *error_out)
{
    if (name_is_bad(name)) {
        return refuse_name("topic", name, error_out);
    }
    uint8_t room[ARGUMENTS_ROOM];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "name", name);
    /* Deleted twice, the second one finds nothing: that would be no honest answer to the first. */
    struct ternmq_call call = {
        .to = TERNMQ_TO_TOPIC,
        .to_name = name,
        .method = "topic.delete",
        .arguments = written(&writer),
        .once = true,
    };
    struct ternmq_answer answer;
    int code = ternmq_call(client, &call, &answer, error_out);
    forget_topic(client, name, code == TERNMQ_OK);
    return code;
}

/* -------------------------------------------------------------------------- one message */

TERNMQ_API int ternmq_message_get(struct ternmq *client, const char *topic, uint32_t queue,
                                  uint64_t offset, struct ternmq_delivery *delivery_out,
                                  struct ternmq_error *error_out)
{
    if (name_is_bad(topic)) {
        return refuse_name("topic", topic, error_out);
    }
    uint8_t room[ARGUMENTS_ROOM];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 3);
    writer_put_key_string(&writer, "topic", topic);
    writer_put_key_uint(&writer, "queue", queue);
    writer_put_key_uint(&writer, "offset", offset);
    struct ternmq_call call = {
        .to = TERNMQ_TO_TOPIC,
        .to_name = topic,
        .queue = queue,
        .method = "message.get",
        .arguments = written(&writer),
    };
    struct ternmq_answer answer;
    int code = ternmq_call(client, &call, &answer, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }

    struct cursor messages;
    uint32_t count;
    struct bytes result = bytes_make(answer.result.data, answer.result.length);
    struct delivery_place place = {.topic = topic, .queue = queue, .offset = offset};
    if (!answer_find(result, "messages", &messages) || !cursor_take_array(&messages, &count) ||
        count != 1) {
        return fault_set(error_out, TERNMQ_PROTOCOL, TERNMQ_STORED_NO, "%s answered no message",
                         answer.address);
    }
    struct bytes record = bytes_make(messages.at, cursor_left(&messages));
    if (!delivery_read(record, &place, delivery_out)) {
        return fault_set(error_out, TERNMQ_CORRUPT, TERNMQ_STORED_NO,
                         "the message at queue %u offset %llu fails its checksum", queue,
                         (unsigned long long)offset);
    }
    return TERNMQ_OK;
}
