/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_server.c - nameserver and broker in one, for tests of the client.
 */
#include "test/unit/client/fake_server.h"

#include "net/address.h"
#include "proto/arguments.h"
#include "proto/base/contract.h"
#include "proto/base/crc32c.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "proto/method.h"
#include "proto/record.h"
#include "proto/writer.h"
#include "test/unit/client/fake_group.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ANSWER_ROOM = 16 << 10 };

struct fake_session {
    struct list link;
    struct fake_server *server;
    struct connection connection;
    struct list polls;
};

/* A parked pull. */
struct fake_poll {
    struct list link;
    struct fake_session *session;
    uint32_t msgid;
    uint32_t queue;
    uint64_t offset;
    uint64_t max_bytes;
    struct timer timer;
};

/* -------------------------------------------------------------------------- storage */

void fake_server_append(struct fake_server *server, uint32_t queue_number, struct bytes element,
                        uint64_t born_ms)
{
    struct fake_queue *queue = &server->queues[queue_number];
    size_t size = RECORD_HEAD_BYTES + element.length;
    if (queue->bytes + size > queue->capacity) {
        queue->capacity = (queue->bytes + size) * 2;
        queue->records = realloc(queue->records, queue->capacity);
    }
    if ((queue->next & (queue->next - 1)) == 0) {
        size_t room = queue->next == 0 ? 1 : queue->next * 2;
        queue->places = realloc(queue->places, room * sizeof(*queue->places));
    }
    struct record_fields fields = {
        .message_crc = crc32c(element.data, element.length),
        .kind = RECORD_MESSAGE,
        .epoch = server->epoch,
        .position = queue->bytes,
        .topic = server->topic_id,
        .queue = (uint16_t)queue_number,
        .offset = queue->next,
        .stored_at_ms = reactor_wall_ms(server->reactor),
        .born_at_ms = born_ms,
    };
    uint8_t *at = queue->records + queue->bytes;
    uint32_t head = record_build_head(at, &fields, bytes_make(NULL, 0), (uint32_t)element.length);
    memcpy(at + head, element.data, element.length);
    queue->places[queue->next++] = queue->bytes;
    queue->bytes += size;
    if (server->group != NULL) {
        fake_group_wake(server->group);
    }
}

void fake_server_append_number(struct fake_server *server, uint32_t queue, uint64_t number)
{
    uint8_t element[32];
    struct writer writer = writer_over(element, sizeof(element));
    char digits[24];
    (void)snprintf(digits, sizeof(digits), "%" PRIu64, number);
    writer_put_bin(&writer, bytes_from_string(digits));
    fake_server_append(server, queue, writer_bytes(&writer), 1);
}

static bool is_here(const struct fake_server *server, uint32_t queue)
{
    for (uint32_t i = 0; i < server->part_count; i++) {
        const struct fake_part *part = &server->parts[i];
        if (queue >= part->first && queue - part->first < part->count) {
            return strcmp(part->broker, server->name) == 0;
        }
    }
    return true;
}

/* -------------------------------------------------------------------------- answers */

static void answer_send(struct fake_session *session, struct writer *writer)
{
    ASSERT(!writer->overflowed);
    connection_write(&session->connection, writer->start, writer_length(writer));
}

static void refuse(struct fake_session *session, uint32_t msgid, enum error error, uint64_t detail)
{
    uint8_t room[2048];
    struct writer writer = writer_over(room, sizeof(room));
    struct refusal refusal;
    refusal_set(&refusal, error, "%s", "");
    refusal_set(&refusal, error, "refused by the fake server");
    if (error_is_overload(error) || error == ERROR_WARMING) {
        refusal_add(&refusal, REFUSAL_RETRY_AFTER_MS, detail);
    } else if (error == ERROR_TRUNCATED) {
        refusal_add(&refusal, REFUSAL_RESUME, detail);
    } else if (error == ERROR_OFFSET_TOO_SMALL) {
        refusal_add(&refusal, REFUSAL_FIRST, detail);
    }
    answer_write_refusal(&writer, msgid, &refusal, ERROR_FORM_MAP);
    answer_send(session, &writer);
}

static void write_records(struct fake_session *session, uint32_t msgid, uint32_t queue_number,
                          uint64_t offset, uint64_t max_bytes)
{
    struct fake_server *server = session->server;
    struct fake_queue *queue = &server->queues[queue_number];
    uint64_t next = offset;
    size_t bytes = 0;
    while (next < queue->next) {
        size_t size = record_size(queue->records + queue->places[next]);
        if (bytes > 0 && bytes + size > max_bytes) {
            break;
        }
        bytes += size;
        next++;
    }
    uint8_t room[512];
    struct writer writer = writer_over(room, sizeof(room));
    answer_begin(&writer, msgid);
    writer_put_map(&writer, 5);
    writer_put_key_uint(&writer, "topic_id", server->topic_id);
    writer_put_key_uint(&writer, "first", offset);
    writer_put_key_uint(&writer, "next", next);
    writer_put_key_uint(&writer, "end", queue->next);
    writer_put_string(&writer, "messages");
    writer_put_array32(&writer, (uint32_t)(next - offset));
    answer_send(session, &writer);
    server->pulled += bytes;
    if (bytes > 0) {
        uint8_t *run = malloc(bytes);
        memcpy(run, queue->records + queue->places[offset], bytes);
        if (server->corrupt_next) {
            server->corrupt_next = false;
            run[RECORD_HEAD_BYTES + 2] ^= 1; /* the first byte of a short body */
        }
        connection_write(&session->connection, run, bytes);
        free(run);
    }
}

void fake_session_send(struct fake_session *session, struct bytes bytes)
{
    connection_write(&session->connection, bytes.data, bytes.length);
}

void fake_session_send_record(struct fake_session *session, uint32_t queue_number, uint64_t offset)
{
    struct fake_server *server = session->server;
    const struct fake_queue *queue = &server->queues[queue_number];
    uint8_t *record = queue->records + queue->places[offset];
    size_t size = record_size(record);
    if (server->corrupt_next) {
        server->corrupt_next = false;
        record[RECORD_HEAD_BYTES + 2] ^= 1;
        connection_write(&session->connection, record, size);
        record[RECORD_HEAD_BYTES + 2] ^= 1;
        return;
    }
    connection_write(&session->connection, record, size);
}

void fake_session_refuse(struct fake_session *session, uint32_t msgid, enum error error)
{
    refuse(session, msgid, error, 0);
}

/* -------------------------------------------------------------------------- polls */

static void poll_end(struct fake_poll *poll)
{
    timer_stop(poll->session->server->reactor, &poll->timer);
    list_remove(&poll->link);
    poll->session->server->parked--;
    free(poll);
}

static void poll_answer(struct fake_poll *poll)
{
    write_records(poll->session, poll->msgid, poll->queue, poll->offset, poll->max_bytes);
    poll_end(poll);
}

static void poll_timed_out(struct timer *timer)
{
    poll_answer(CONTAINER_OF(timer, struct fake_poll, timer));
}

static void wake_polls(struct fake_server *server, uint32_t queue)
{
    LIST_FOREACH (session_link, &server->sessions) {
        struct fake_session *session = CONTAINER_OF(session_link, struct fake_session, link);
        LIST_FOREACH (link, &session->polls) {
            struct fake_poll *poll = CONTAINER_OF(link, struct fake_poll, link);
            if (poll->queue == queue) {
                poll_answer(poll);
            }
        }
    }
}

/* -------------------------------------------------------------------------- methods */

static void run_pull(struct fake_session *session, uint32_t msgid,
                     const struct arguments *arguments)
{
    struct fake_server *server = session->server;
    uint32_t number = (uint32_t)arguments_number(arguments, ARGUMENT_QUEUE);
    server->pulls++;
    if (number >= server->queue_count) {
        refuse(session, msgid, ERROR_BAD_ARGUMENT, 0);
        return;
    }
    if (!is_here(server, number)) {
        server->misdirected++;
        refuse(session, msgid, ERROR_WRONG_BROKER, 0);
        return;
    }
    const struct fake_queue *queue = &server->queues[number];
    uint64_t offset = queue->first;
    if (arguments_has(arguments, ARGUMENT_OFFSET)) {
        offset = arguments_number(arguments, ARGUMENT_OFFSET);
    } else if (arguments_has(arguments, ARGUMENT_LAST)) {
        offset = queue->next;
    } else if (arguments_has(arguments, ARGUMENT_AT_TIME)) {
        offset = queue->next / 2;
    }
    if (server->misplaces > 0 && offset < queue->next) {
        server->misplaces--;
        offset++;
    }
    if (arguments_has(arguments, ARGUMENT_TOPIC_ID) &&
        arguments_number(arguments, ARGUMENT_TOPIC_ID) != server->topic_id) {
        refuse(session, msgid, ERROR_TOPIC_CHANGED, 0);
    } else if (offset < queue->first) {
        refuse(session, msgid, ERROR_OFFSET_TOO_SMALL, queue->first);
    } else if (offset > queue->next) {
        refuse(session, msgid, ERROR_TRUNCATED, queue->next);
    } else if (offset == queue->next && arguments_number(arguments, ARGUMENT_WAIT_MS) > 0) {
        struct fake_poll *poll = calloc(1, sizeof(*poll));
        poll->session = session;
        poll->msgid = msgid;
        poll->queue = number;
        poll->offset = offset;
        poll->max_bytes = arguments_number(arguments, ARGUMENT_MAX_BYTES);
        poll->timer.fired = poll_timed_out;
        list_init(&poll->link);
        list_append(&session->polls, &poll->link);
        timer_start(server->reactor, &poll->timer,
                    reactor_now_ns(server->reactor) +
                        arguments_number(arguments, ARGUMENT_WAIT_MS) * 1000000U);
        server->parked++;
        server->parked_most =
            server->parked > server->parked_most ? server->parked : server->parked_most;
    } else {
        write_records(session, msgid, number, offset,
                      arguments_number(arguments, ARGUMENT_MAX_BYTES));
    }
}

static void run_produce(struct fake_session *session, const struct request *request,
                        const struct arguments *arguments)
{
    struct fake_server *server = session->server;
    uint32_t queue = server->turn % server->queue_count;
    if (arguments_has(arguments, ARGUMENT_QUEUE)) {
        queue = (uint32_t)arguments_number(arguments, ARGUMENT_QUEUE);
    } else {
        while (!is_here(server, queue)) {
            queue = ++server->turn % server->queue_count;
        }
        server->turn++;
    }
    if (!is_here(server, queue)) {
        server->misdirected++;
        refuse(session, request->msgid, ERROR_WRONG_BROKER, 0);
        return;
    }
    struct cursor messages = arguments_cursor(arguments, ARGUMENT_MESSAGES);
    uint32_t count = (uint32_t)arguments_number(arguments, ARGUMENT_MESSAGES);
    uint64_t offset = server->queues[queue].next;
    for (uint32_t i = 0; i < count; i++) {
        struct message_view view;
        struct refusal refusal;
        if (message_read(&messages, &view, &refusal) != OK) {
            refuse(session, request->msgid, refusal.code, 0);
            return;
        }
        fake_server_append(server, queue, view.element, arguments_number(arguments, ARGUMENT_BORN));
    }
    wake_polls(server, queue);
    if (request->type == ENVELOPE_ONE_WAY) {
        server->one_ways++;
        return;
    }
    server->produces++;
    if (server->drop_produces > 0) {
        server->drop_produces--;
        connection_close(&session->connection);
        return;
    }
    uint8_t room[512];
    struct writer writer = writer_over(room, sizeof(room));
    answer_begin(&writer, request->msgid);
    writer_put_map(&writer, 5);
    writer_put_key_uint(&writer, "queue", queue);
    writer_put_key_uint(&writer, "offset", offset);
    writer_put_key_uint(&writer, "count", count);
    writer_put_key_uint(&writer, "epoch", server->epoch);
    writer_put_key_string(&writer, "reached",
                          arguments_has(arguments, ARGUMENT_DURABILITY) &&
                                  arguments_number(arguments, ARGUMENT_DURABILITY) ==
                                      DURABILITY_MEMORY
                              ? "memory"
                              : "disk");
    answer_send(session, &writer);
}

static const char *server_name(const struct fake_server *server)
{
    return server->name == NULL ? "fake" : server->name;
}

static void put_span(struct writer *writer, const struct fake_server *server, uint32_t first)
{
    writer_put_array(writer, 3);
    writer_put_string(writer, server_name(server));
    writer_put_uint(writer, first);
    writer_put_uint(writer, server->queue_count);
}

static void write_broker(struct fake_server *server, struct writer *writer, const char *address_key)
{
    writer_put_map(writer, 3);
    writer_put_key_string(writer, "name", server_name(server));
    writer_put_key_string(writer, address_key, server->advertise);
    writer_put_key_uint(writer, "epoch", server->epoch);
}

static void write_placement(const struct fake_server *server, struct writer *writer)
{
    writer_put_string(writer, "placement");
    writer_put_array(writer, server->part_count);
    for (uint32_t i = 0; i < server->part_count; i++) {
        writer_put_array(writer, 3);
        writer_put_string(writer, server->parts[i].broker);
        writer_put_uint(writer, server->parts[i].first);
        writer_put_uint(writer, server->parts[i].count);
    }
}

static void write_parts_route(const struct fake_server *server, struct writer *writer)
{
    uint32_t alive = 0;
    for (uint32_t i = 0; i < server->part_count; i++) {
        alive += server->parts[i].address == NULL ? 0 : 1;
    }
    writer_put_map(writer, 3);
    writer_put_key_uint(writer, "version", 1);
    write_placement(server, writer);
    writer_put_string(writer, "brokers");
    writer_put_array(writer, alive);
    for (uint32_t i = 0; i < server->part_count; i++) {
        const struct fake_part *part = &server->parts[i];
        if (part->address == NULL) {
            continue;
        }
        writer_put_map(writer, 5);
        writer_put_key_string(writer, "name", part->broker);
        writer_put_key_string(writer, "master", part->address);
        writer_put_key_uint(writer, "epoch", server->epoch);
        writer_put_key_bool(writer, "writable", true);
        writer_put_key_uint(writer, "queues", part->known == 0 ? server->queue_count : part->known);
    }
}

static void run_lookup(struct fake_session *session, uint32_t msgid, struct bytes method)
{
    struct fake_server *server = session->server;
    uint8_t room[ANSWER_ROOM];
    struct writer writer = writer_over(room, sizeof(room));
    answer_begin(&writer, msgid);
    if (bytes_equal(method, BYTES_OF("topic.show"))) {
        writer_put_map(&writer, server->part_count == 0 ? 1 : 3);
        writer_put_key_uint(&writer, "queues", server->queue_count);
        if (server->part_count != 0) {
            writer_put_key_string(&writer, "broker", server->name);
            write_placement(server, &writer);
        }
    } else if (bytes_equal(method, BYTES_OF("broker.list"))) {
        writer_put_map(&writer, 2);
        writer_put_key_uint(&writer, "version", 1);
        writer_put_string(&writer, "rows");
        writer_put_array(&writer, server->beside == NULL ? 1 : 2);
        write_broker(server, &writer, "address");
        if (server->beside != NULL) {
            write_broker(server->beside, &writer, "address");
        }
    } else if (server->part_count != 0) {
        server->routes++;
        write_parts_route(server, &writer);
    } else {
        server->routes++;
        writer_put_map(&writer, 3);
        writer_put_key_uint(&writer, "version", 1);
        writer_put_string(&writer, "placement");
        uint32_t beside = server->beside != NULL;
        writer_put_array(&writer, 1 + beside);
        put_span(&writer, server, 0);
        if (server->beside != NULL) {
            put_span(&writer, server->beside, server->queue_count);
        }
        writer_put_string(&writer, "brokers");
        writer_put_array(&writer, (server->advertise != NULL) + beside);
        if (server->advertise != NULL) {
            write_broker(server, &writer, "master");
        }
        if (server->beside != NULL) {
            write_broker(server->beside, &writer, "master");
        }
    }
    answer_send(session, &writer);
}

static void run_cancel(struct fake_session *session, const struct arguments *arguments)
{
    session->server->cancels++;
    LIST_FOREACH (link, &session->polls) {
        struct fake_poll *poll = CONTAINER_OF(link, struct fake_poll, link);
        if (poll->msgid == arguments_number(arguments, ARGUMENT_MSGID)) {
            poll_answer(poll);
        }
    }
    if (session->server->group != NULL) {
        fake_group_cancel(session->server->group, session,
                          arguments_number(arguments, ARGUMENT_MSGID));
    }
}

static void run_method(struct fake_session *session, const struct request *request,
                       const struct arguments *arguments)
{
    struct fake_server *server = session->server;
    if (bytes_equal(request->method, BYTES_OF("produce"))) {
        run_produce(session, request, arguments);
    } else if (bytes_equal(request->method, BYTES_OF("pull"))) {
        run_pull(session, request->msgid, arguments);
    } else if (bytes_equal(request->method, BYTES_OF("cancel"))) {
        run_cancel(session, arguments);
    } else if (bytes_equal(request->method, BYTES_OF("hello"))) {
        struct bytes name = arguments_bytes(arguments, ARGUMENT_CLIENT);
        snprintf(server->client, sizeof(server->client), "%.*s", (int)name.length,
                 (const char *)name.data);
        uint8_t room[64];
        struct writer writer = writer_over(room, sizeof(room));
        answer_begin(&writer, request->msgid);
        writer_put_map(&writer, 2);
        writer_put_key_uint(&writer, "protocol", 1);
        writer_put_key_uint(
            &writer, "now",
            (uint64_t)((int64_t)reactor_wall_ms(server->reactor) + server->clock_ahead_ms));
        answer_send(session, &writer);
    } else {
        run_lookup(session, request->msgid, request->method);
    }
}

static void frame_came(struct connection *connection, struct bytes frame, struct buffer *buffer)
{
    (void)buffer;
    struct fake_session *session = CONTAINER_OF(connection, struct fake_session, connection);
    struct fake_server *server = session->server;
    struct request request;
    ASSERT(request_read(frame, &request) == OK);
    if (server->babbles) {
        connection_write(connection, "\x93\x02\xa1x\x90", 5);
        return;
    }
    if (server->ignore_method != NULL &&
        bytes_equal(request.method, bytes_from_string(server->ignore_method))) {
        return;
    }
    if (server->refuse_times > 0 &&
        bytes_equal(request.method, bytes_from_string(server->refuse_method))) {
        server->refuse_times--;
        server->refused++;
        refuse(session, request.msgid, server->refuse_with, server->refuse_detail);
        return;
    }
    const struct method *method = method_find(METHOD_SIDE_BROKER, request.method);
    if (method == NULL) {
        method = method_find(METHOD_SIDE_NAMESERVER, request.method);
    }
    ASSERT(method != NULL);
    struct arguments arguments;
    struct refusal refusal;
    if (arguments_read(method, request.arguments, &arguments, &refusal) != OK) {
        fprintf(stderr, "fake server: %s\n", refusal.message);
        abort(); /* the client has sent what a broker refuses */
    }
    if (server->group == NULL || !fake_group_run(server->group, session, &request)) {
        run_method(session, &request, &arguments);
    }
}

/* -------------------------------------------------------------------------- connections */

static void malformed_came(struct connection *connection, struct bytes seen, const char *why)
{
    (void)connection;
    (void)seen;
    (void)why;
}

static void session_closed(struct connection *connection, enum connection_end end, int error)
{
    (void)end;
    (void)error;
    struct fake_session *session = CONTAINER_OF(connection, struct fake_session, connection);
    for (struct list *link = list_first(&session->polls); link != NULL;
         link = list_first(&session->polls)) {
        poll_end(CONTAINER_OF(link, struct fake_poll, link));
    }
    if (session->server->group != NULL) {
        fake_group_forget(session->server->group, session);
    }
    list_remove(&session->link);
    free(session);
}

static const struct connection_events events = {.frame = frame_came,
                                                .malformed = malformed_came,
                                                .closed = session_closed};

static void accepted(struct accept_op *accept, int socket)
{
    struct fake_server *server = CONTAINER_OF(accept, struct fake_server, accept);
    struct fake_session *session = calloc(1, sizeof(*session));
    server->accepted++;
    session->server = server;
    session->connection.events = &events;
    session->connection.frame_bytes_max = FRAME_BYTES_MAX;
    list_init(&session->link);
    list_init(&session->polls);
    list_append(&server->sessions, &session->link);
    connection_open(&session->connection, server->reactor, socket);
}

static void accept_over(struct op *op, int64_t result)
{
    (void)result;
    struct fake_server *server = CONTAINER_OF(op, struct fake_server, accept.op);
    reactor_close(server->reactor, server->listener);
    server->listener = -1;
}

void fake_server_start(struct fake_server *server, struct reactor *reactor, const char *address)
{
    if (server->epoch == 0) {
        server->epoch = 1;
        server->topic_id = FAKE_TOPIC_ID;
        server->queue_count = 4;
        server->advertise = address;
    }
    server->reactor = reactor;
    server->address = address;
    list_init(&server->sessions);
    struct address parsed;
    char error[256];
    ASSERT(address_parse(address, 0, &parsed, error, sizeof(error)));
    server->listener = reactor_listen(reactor, &parsed, NULL);
    ASSERT(server->listener >= 0);
    server->accept = (struct accept_op){.op.done = accept_over, .accepted = accepted};
    reactor_accept(reactor, &server->accept, server->listener);
}

void fake_server_drop_all(struct fake_server *server)
{
    LIST_FOREACH (link, &server->sessions) {
        connection_close(&CONTAINER_OF(link, struct fake_session, link)->connection);
    }
}

void fake_server_stop(struct fake_server *server)
{
    reactor_cancel(server->reactor, &server->accept.op);
    fake_server_drop_all(server);
}

bool fake_server_is_stopped(const struct fake_server *server)
{
    return server->listener < 0 && list_is_empty(&server->sessions);
}

void fake_server_free(struct fake_server *server)
{
    for (uint32_t i = 0; i < FAKE_QUEUES_MAX; i++) {
        free(server->queues[i].records);
        free(server->queues[i].places);
    }
}
