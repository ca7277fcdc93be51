/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain_call.c - any method, with arguments and answer as msgpack: ternmq_call().
 */
#include "tools/client/plain_call.h"

#include "net/connection.h"
#include "proto/cursor.h"
#include "proto/limits.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "tools/client/client.h"
#include "tools/client/client_call.h"
#include "tools/client/fault.h"

#include <stdlib.h>

enum { METHOD_BYTES_MAX = 64, HEAD_ROOM = 256 };

struct plain_call {
    struct client_call call;
    struct list link; /* client->calls */
    ternmq_answered_fn *answered;
    void *context;
    struct bytes pairs; /* of the argument map, after its header; in `text` */
    uint32_t pair_count;
    const char *method;
    char text[]; /* method, to_name, pairs */
};

static void plain_write(struct client_call *call, struct connection *connection, uint32_t id,
                        uint32_t left_ms)
{
    const struct plain_call *plain = CONTAINER_OF(call, struct plain_call, call);
    struct writer writer = writer_over(connection_reserve(connection, HEAD_ROOM), HEAD_ROOM);
    request_begin(&writer, id, plain->method, plain->pair_count + 1);
    writer_put_key_uint(&writer, "deadline_ms", left_ms);
    connection_commit(connection, writer_length(&writer));
    connection_write(connection, plain->pairs.data, plain->pairs.length);
}

static void plain_tell(struct plain_call *plain, const struct ternmq_answer *answer,
                       const struct ternmq_error *error)
{
    struct ternmq *client = plain->call.client;
    if (plain->answered != NULL) {
        client_callback_begin(client);
        plain->answered(plain->context, answer, error);
        client_callback_end(client);
    }
    list_remove(&plain->link);
    free(plain);
}

static void plain_ended(struct client_call *call, const struct client_call_end *end)
{
    struct plain_call *plain = CONTAINER_OF(call, struct plain_call, call);
    if (end->error != NULL) {
        plain_tell(plain, NULL, end->error);
        return;
    }
    struct ternmq_answer answer = {
        .result = ternmq_bytes(end->result.data, end->result.length),
        .address = end->address,
        .round_trip_us = end->round_trip_ns / 1000,
    };
    plain_tell(plain, &answer, NULL);
}

static const struct client_call_kind plain_kind = {.write = plain_write, .ended = plain_ended};

void plain_calls_drop(struct ternmq *client)
{
    for (struct list *link = list_first(&client->calls); link != NULL;
         link = list_first(&client->calls)) {
        struct plain_call *plain = CONTAINER_OF(link, struct plain_call, link);
        struct ternmq_error error;
        fault_set(&error, TERNMQ_CLOSED,
                  client_call_was_sent(&plain->call) && plain->call.changes ? TERNMQ_STORED_MAYBE
                                                                            : TERNMQ_STORED_NO,
                  "the client was closed");
        client_call_drop(&plain->call);
        plain_tell(plain, NULL, &error);
    }
}

/* Checks the wish; `*pairs_out` is the content of its argument map. */
static bool read_wish(const struct ternmq *client, const struct ternmq_call *wish,
                      struct bytes *pairs_out, uint32_t *count_out, struct ternmq_error *error_out)
{
    const char *wrong = NULL;
    bool needs_name = wish->to == TERNMQ_TO_BROKER || wish->to == TERNMQ_TO_TOPIC ||
                      wish->to == TERNMQ_TO_ADDRESS;
    struct cursor cursor = cursor_over(bytes_make(wish->arguments.data, wish->arguments.length));
    struct cursor whole = cursor;
    uint32_t count = 0;
    if (wish->method == NULL || strlen(wish->method) > METHOD_BYTES_MAX) {
        wrong = "method: 1 to 64 bytes";
    } else if (needs_name && (wish->to_name == NULL || *wish->to_name == '\0' ||
                              strlen(wish->to_name) >= ADDRESS_TEXT_BYTES)) {
        wrong = "to_name is missing, or too long";
    } else if (client->direct && wish->to == TERNMQ_TO_NAMESERVER) {
        wrong = "this client talks to a broker alone and knows no nameserver";
    } else if (wish->arguments.data != NULL && (!cursor_skip(&whole) || !cursor_is_done(&whole) ||
                                                !cursor_take_map(&cursor, &count))) {
        wrong = "arguments: not one msgpack map";
    } else if (wish->arguments.length > FRAME_BYTES_MAX - HEAD_ROOM) {
        wrong = "arguments: at most 8 MiB";
    }
    if (wrong != NULL) {
        fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO, "%s", wrong);
        return false;
    }
    *pairs_out = bytes_make(cursor.at, cursor_left(&cursor));
    *count_out = count;
    return true;
}

static struct plain_call *plain_make(struct ternmq *client, const struct ternmq_call *wish,
                                     struct bytes pairs)
{
    const char *name = wish->to_name == NULL ? "" : wish->to_name;
    size_t method_bytes = strlen(wish->method) + 1;
    size_t name_bytes = strlen(name) + 1;
    struct plain_call *plain = calloc(1, sizeof(*plain) + method_bytes + name_bytes + pairs.length);
    if (plain == NULL) {
        return NULL;
    }
    char *name_copy = plain->text + method_bytes;
    char *pairs_copy = name_copy + name_bytes;
    memcpy(plain->text, wish->method, method_bytes);
    memcpy(name_copy, name, name_bytes);
    if (pairs.length > 0) {
        memcpy(pairs_copy, pairs.data, pairs.length);
    }
    plain->method = plain->text;
    plain->pairs = bytes_make(pairs_copy, pairs.length);
    plain->call = (struct client_call){
        .client = client,
        .kind = &plain_kind,
        .to = wish->to,
        .to_name = name_copy,
        .queue = wish->queue,
        .any_queue = wish->queue == TERNMQ_QUEUE_ANY,
        .timeout_ms = wish->timeout_ms == 0 ? client->timeout_ms : wish->timeout_ms,
        .changes = wish->once,
    };
    return plain;
}

TERNMQ_API int ternmq_call_async(struct ternmq *client, const struct ternmq_call *call,
                                 ternmq_answered_fn *answered, void *context,
                                 struct ternmq_error *error_out)
{
    struct bytes pairs;
    uint32_t count;
    if (!read_wish(client, call, &pairs, &count, error_out)) {
        return TERNMQ_USAGE;
    }
    client_enter(client);
    struct plain_call *plain = plain_make(client, call, pairs);
    if (plain == NULL) {
        return fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a call");
    }
    plain->pair_count = count;
    plain->answered = answered;
    plain->context = context;
    list_init(&plain->link);
    list_append(&client->calls, &plain->link);
    client_call_start(&plain->call);
    return TERNMQ_OK;
}

/* -------------------------------------------------------------------------- blocking */

struct waited_call {
    struct ternmq *client;
    struct ternmq_answer *answer_out;
    struct ternmq_error error; /* code 0: none */
    bool ended;
};

static void waited_ended(void *context, const struct ternmq_answer *answer,
                         const struct ternmq_error *error)
{
    struct waited_call *waited = context;
    waited->ended = true;
    waited->error.code = TERNMQ_OK;
    if (error != NULL) {
        waited->error = *error;
        return;
    }
    size_t address_bytes = strlen(answer->address) + 1;
    char *kept = client_keep(waited->client, answer->result.length + address_bytes);
    if (kept == NULL) {
        fault_set(&waited->error, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for an answer");
        return;
    }
    memcpy(kept, answer->result.data, answer->result.length);
    memcpy(kept + answer->result.length, answer->address, address_bytes);
    *waited->answer_out = (struct ternmq_answer){
        .result = ternmq_bytes(kept, answer->result.length),
        .address = kept + answer->result.length,
        .round_trip_us = answer->round_trip_us,
    };
}

static bool waited_is_over(void *context)
{
    const struct waited_call *waited = context;
    return waited->ended;
}

TERNMQ_API int ternmq_call(struct ternmq *client, const struct ternmq_call *call,
                           struct ternmq_answer *answer_out, struct ternmq_error *error_out)
{
    if (client_must_not_block(client, error_out)) {
        return TERNMQ_USAGE;
    }
    struct waited_call waited = {.client = client, .answer_out = answer_out};
    int code = ternmq_call_async(client, call, waited_ended, &waited, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct plain_call *plain = CONTAINER_OF(list_last(&client->calls), struct plain_call, link);
    if (client_run_until(client, -1, waited_is_over, &waited) != TERNMQ_OK) {
        plain->answered = NULL; /* it goes on, and nobody listens */
        return fault_set(error_out, TERNMQ_INTERRUPTED, TERNMQ_STORED_NO, "interrupted");
    }
    return waited.error.code == TERNMQ_OK ? TERNMQ_OK : fault_give(&waited.error, error_out);
}
