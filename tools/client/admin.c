/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.c - routes and single messages: calls that ternmq.h has types for.
 */
#include "tools/client/admin.h"

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

int admin_refuse_name(const char *what, const char *name, struct ternmq_error *error_out)
{
    return fault_set(error_out, TERNMQ_BAD_ARGUMENT, TERNMQ_STORED_NO,
                     "'%s' is no %s: 1 to %d of A-Z a-z 0-9 . _ -", name == NULL ? "" : name, what,
                     TOPIC_NAME_BYTES_MAX);
}

bool admin_is_no_topic(const char *name)
{
    return name == NULL || !name_is_any_topic(bytes_from_string(name));
}

struct ternmq_bytes admin_written(const struct writer *writer)
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
    if (admin_is_no_topic(topic)) {
        return admin_refuse_name("topic", topic, error_out);
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

/* -------------------------------------------------------------------------- one message */

TERNMQ_API int ternmq_message_get(struct ternmq *client, const char *topic, uint32_t queue,
                                  uint64_t offset, struct ternmq_delivery *delivery_out,
                                  struct ternmq_error *error_out)
{
    if (admin_is_no_topic(topic)) {
        return admin_refuse_name("topic", topic, error_out);
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
        .arguments = admin_written(&writer),
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
