/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.c - one connection to one server, and the exchanges that are under way on it.
 */
#include "tools/client/channel.h"

#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/limits.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "tools/client/client.h"
#include "tools/client/fault.h"

#include <stdio.h>
#include <stdlib.h>

/* A request's head with the longest name in it, with room to spare. */
enum { HEAD_BYTES_MAX = 1024 };

static void channel_begin_connect(struct channel *channel);

/* -------------------------------------------------------------------------- exchanges */

static void bucket_put(struct channel *channel, struct exchange *exchange)
{
    struct exchange **bucket = &channel->buckets[exchange->id % CHANNEL_BUCKETS];
    exchange->chain = *bucket;
    *bucket = exchange;
}

static struct exchange *bucket_take(struct channel *channel, uint32_t id)
{
    struct exchange **place = &channel->buckets[id % CHANNEL_BUCKETS];
    while (*place != NULL && (*place)->id != id) {
        place = &(*place)->chain;
    }
    struct exchange *found = *place;
    if (found != NULL) {
        *place = found->chain;
    }
    return found;
}

static void exchange_write(struct channel *channel, struct exchange *exchange)
{
    if (exchange->one_way) {
        exchange->channel = NULL;
        exchange->write(exchange, &channel->connection, 0);
        return;
    }
    exchange->id = channel->id_next++;
    exchange->sent = true;
    exchange->sent_ns = reactor_now_ns(channel->client->reactor);
    bucket_put(channel, exchange);
    list_append(&channel->sent, &exchange->link);
    channel->sent_count++;
    channel->connection.idle_exempt = true;
    exchange->write(exchange, &channel->connection, exchange->id);
}

/* Takes an exchange out of all lists: it is not under way any more. */
static void exchange_take(struct exchange *exchange)
{
    struct channel *channel = exchange->channel;
    list_remove(&exchange->link);
    if (exchange->sent) {
        bucket_take(channel, exchange->id);
        channel->sent_count--;
        channel->connection.idle_exempt = channel->sent_count > 0;
    } else {
        channel->waiting_count--;
    }
    exchange->channel = NULL;
}

static void exchange_finish(struct exchange *exchange, const struct exchange_end *end)
{
    exchange_take(exchange);
    exchange->ended(exchange, end);
}

static void write_cancel(struct channel *channel, uint32_t id)
{
    struct writer writer =
        writer_over(connection_reserve(&channel->connection, HEAD_BYTES_MAX), HEAD_BYTES_MAX);
    one_way_begin(&writer, "cancel", 1);
    writer_put_key_uint(&writer, "msgid", id);
    connection_commit(&channel->connection, writer_length(&writer));
}

void exchange_cancel(struct exchange *exchange)
{
    ASSERT(exchange->channel != NULL && exchange->sent && exchange->parks);
    if (channel_is_open(exchange->channel)) {
        write_cancel(exchange->channel, exchange->id);
    }
}

void exchange_forget(struct exchange *exchange)
{
    struct channel *channel = exchange->channel;
    if (channel == NULL) {
        return;
    }
    bool cancels = exchange->sent && exchange->parks && channel_is_open(channel);
    exchange_take(exchange);
    if (cancels) {
        write_cancel(channel, exchange->id);
    }
}

/* -------------------------------------------------------------------------- the ends */

static void channel_free(struct channel *channel)
{
    ASSERT(channel->sent_count == 0 && channel->waiting_count == 0);
    struct ternmq *client = channel->client;
    list_remove(&channel->link);
    free(channel);
    client_channel_freed(client);
}

/* Ends all exchanges of `list` (waiting or sent), also those that are added meanwhile to another. */
static void end_all(struct channel *channel, struct list *list, enum exchange_outcome outcome,
                    const struct ternmq_error *why)
{
    struct list ending;
    list_init(&ending);
    list_move_all(&ending, list);
    for (struct list *link = list_first(&ending); link != NULL; link = list_first(&ending)) {
        struct ternmq_error error = *why;
        struct exchange_end end = {.outcome = outcome, .address = channel->name, .error = &error};
        exchange_finish(CONTAINER_OF(link, struct exchange, link), &end);
    }
}

/* The connection or the attempt at one is over, and everything that it owed has ended. */
static void channel_rest(struct channel *channel)
{
    if (channel->state != CHANNEL_IDLE) {
        return;
    }
    if (channel->waiting_count > 0 && !channel->client->closing) {
        channel_begin_connect(channel);
    } else {
        channel_free(channel);
    }
}

static void connection_ended(struct connection *connection, enum connection_end end, int error)
{
    struct channel *channel = CONTAINER_OF(connection, struct channel, connection);
    struct ternmq_error why;
    if (end == CONNECTION_END_MALFORMED || channel->broken != NULL) {
        fault_set(&why, TERNMQ_PROTOCOL, TERNMQ_STORED_MAYBE, "%s sent what is no answer: %s",
                  channel->name, channel->broken != NULL ? channel->broken : "bad frame");
    } else {
        fault_set(&why, TERNMQ_LOST, TERNMQ_STORED_MAYBE,
                  "the connection to %s was lost before the answer came (%s)", channel->name,
                  error != 0 ? strerror(error) : "closed by the server");
    }
    channel->state = CHANNEL_IDLE;
    end_all(channel, &channel->sent, EXCHANGE_LOST, &why);
    channel_rest(channel);
}

/* -------------------------------------------------------------------------- answers */

/* Reads an answer up to its error and result. The framer has walked the whole frame and found its
 * end, so the result, which may be megabytes of records, is not walked a second time. */
static bool read_answer(struct bytes frame, struct answer *answer_out)
{
    struct cursor cursor = cursor_over(frame);
    struct answer answer = {.failed = false};
    uint64_t type;
    if (!cursor_take_array_of(&cursor, 4) || !cursor_take_uint(&cursor, &type) ||
        type != ENVELOPE_ANSWER || !cursor_take_u32(&cursor, &answer.msgid)) {
        return false;
    }
    answer.failed = cursor_peek(&cursor) != CURSOR_NIL;
    if (!cursor_take_span(&cursor, &answer.error)) {
        return false;
    }
    answer.result = bytes_make(cursor.at, cursor_left(&cursor));
    *answer_out = answer;
    return true;
}

static struct exchange *bucket_find(const struct channel *channel, uint32_t id)
{
    struct exchange *exchange = channel->buckets[id % CHANNEL_BUCKETS];
    while (exchange != NULL && exchange->id != id) {
        exchange = exchange->chain;
    }
    return exchange;
}

static void frame_came(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    struct channel *channel = CONTAINER_OF(connection, struct channel, connection);
    struct answer answer;
    if (!read_answer(frame, &answer)) {
        channel->broken = "neither request id nor result";
        connection_close(connection);
        return;
    }
    struct exchange *exchange = bucket_find(channel, answer.msgid);
    if (exchange == NULL) {
        return; /* it was forgotten */
    }

    struct ternmq_error error;
    struct exchange_end end = {
        .outcome = EXCHANGE_ANSWERED,
        .address = channel->name,
        .result = answer.result,
        .buffer = buffer,
        .round_trip_ns = reactor_now_ns(channel->client->reactor) - exchange->sent_ns,
    };
    if (answer.failed) {
        fault_read(&error, answer.error, channel->name);
        end.error = &error;
    }
    exchange_finish(exchange, &end);
}

static void malformed_came(struct connection *connection, struct bytes seen, const char *why)
{
    (void)seen;
    CONTAINER_OF(connection, struct channel, connection)->broken = why;
}

static const struct connection_events channel_events = {
    .frame = frame_came,
    .malformed = malformed_came,
    .closed = connection_ended,
};

/* -------------------------------------------------------------------------- connecting */

static void hello_write(struct exchange *exchange, struct connection *connection, uint32_t id)
{
    struct ternmq *client = exchange->channel->client;
    struct writer writer =
        writer_over(connection_reserve(connection, HEAD_BYTES_MAX), HEAD_BYTES_MAX);
    request_begin(&writer, id, "hello", 2);
    writer_put_key_string(&writer, "client", client->name);
    writer_put_key_string(&writer, "version", TERNMQ_VERSION);
    connection_commit(connection, writer_length(&writer));
}

/* The name is for the server's log; what it answers changes nothing here. */
static void hello_ended(struct exchange *exchange, const struct exchange_end *end)
{
    (void)exchange;
    (void)end;
}

static void channel_opened(struct channel *channel, int socket)
{
    struct ternmq *client = channel->client;
    channel->connection = (struct connection){
        .events = &channel_events,
        .frame_bytes_max = FRAME_BYTES_MAX,
        .idle_ms = CHANNEL_IDLE_MS,
    };
    channel->broken = NULL;
    channel->state = CHANNEL_OPEN;
    connection_open(&channel->connection, client->reactor, socket);

    if (client->name[0] != '\0') {
        channel->hello =
            (struct exchange){.write = hello_write, .ended = hello_ended, .channel = channel};
        list_init(&channel->hello.link);
        exchange_write(channel, &channel->hello);
    }
    for (struct list *link = list_take_first(&channel->waiting); link != NULL;
         link = list_take_first(&channel->waiting)) {
        channel->waiting_count--;
        exchange_write(channel, CONTAINER_OF(link, struct exchange, link));
    }
}

static void connect_done(struct op *op, int64_t result)
{
    struct channel *channel = CONTAINER_OF(op, struct channel, connect.op);
    channel->state = CHANNEL_IDLE;
    if (result >= 0 && channel->waiting_count > 0) {
        channel_opened(channel, (int)result);
        return;
    }
    if (result >= 0) { /* everybody who waited has gone */
        reactor_close(channel->client->reactor, (int)result);
    }
    struct ternmq_error why;
    fault_set(&why, TERNMQ_UNREACHABLE, TERNMQ_STORED_NO, "cannot connect to %s: %s", channel->name,
              result < 0 ? strerror((int)-result) : "not needed");
    end_all(channel, &channel->waiting, EXCHANGE_UNREACHABLE, &why);
    channel_rest(channel);
}

static void channel_begin_connect(struct channel *channel)
{
    channel->state = CHANNEL_CONNECTING;
    channel->connect = (struct connect_op){.op.done = connect_done};
    reactor_connect(channel->client->reactor, &channel->connect, &channel->address,
                    channel->client->connect_timeout_ms);
}

/* -------------------------------------------------------------------------- for others */

static struct channel *channel_make(struct ternmq *client, const char *address, bool receives,
                                    struct ternmq_error *error)
{
    struct channel *channel = calloc(1, sizeof(*channel));
    if (channel == NULL) {
        fault_set(error, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a connection");
        return NULL;
    }
    char why[256];
    if (!address_parse(address, BROKER_PORT, &channel->address, why, sizeof(why))) {
        fault_set(error, TERNMQ_UNREACHABLE, TERNMQ_STORED_NO, "%s", why);
        free(channel);
        return NULL;
    }
    snprintf(channel->name, sizeof(channel->name), "%s", address);
    channel->client = client;
    channel->receives = receives;
    channel->id_next = 1;
    list_init(&channel->waiting);
    list_init(&channel->sent);
    list_init(&channel->link);
    list_append(&client->channels, &channel->link);
    return channel;
}

struct channel *channel_get(struct ternmq *client, const char *address, bool receives,
                            struct ternmq_error *error)
{
    LIST_FOREACH (link, &client->channels) {
        struct channel *channel = CONTAINER_OF(link, struct channel, link);
        bool has_room =
            !receives || channel->sent_count + channel->waiting_count < CHANNEL_PULLS_MAX;
        if (channel->receives == receives && has_room && strcmp(channel->name, address) == 0) {
            return channel;
        }
    }
    return channel_make(client, address, receives, error);
}

bool channel_is_open(const struct channel *channel)
{
    return channel->state == CHANNEL_OPEN && connection_is_open(&channel->connection);
}

void channel_send(struct channel *channel, struct exchange *exchange)
{
    ASSERT(exchange->channel == NULL);
    exchange->channel = channel;
    exchange->sent = false;
    list_init(&exchange->link);
    if (channel_is_open(channel)) {
        exchange_write(channel, exchange);
        return;
    }
    list_append(&channel->waiting, &exchange->link);
    channel->waiting_count++;
    if (channel->state == CHANNEL_IDLE) {
        channel_begin_connect(channel);
    }
}

void channels_close(struct ternmq *client)
{
    LIST_FOREACH (link, &client->channels) {
        struct channel *channel = CONTAINER_OF(link, struct channel, link);
        exchange_forget(&channel->hello);
        if (channel->state == CHANNEL_OPEN) {
            channel->state = CHANNEL_CLOSING;
            connection_close(&channel->connection);
        } else if (channel->state == CHANNEL_CONNECTING) {
            reactor_cancel(client->reactor, &channel->connect.op);
        } else if (channel->state == CHANNEL_IDLE) {
            channel_free(channel);
        }
    }
}
