/* SPDX-License-Identifier: Apache-2.0 */
/*
 * puppet_nameserver.h - a nameserver of a simulated world that keeps what it was asked, and answers as
 * the test says.
 *
 * Threads: the simulation's.
 */
#ifndef TEST_UNIT_BROKER_PUPPET_NAMESERVER_H
#define TEST_UNIT_BROKER_PUPPET_NAMESERVER_H

#include "net/address.h"
#include "net/connection.h"
#include "net/simulation.h"
#include "proto/cursor.h"
#include "proto/error.h"
#include "proto/limits.h"
#include "proto/request.h"

#include <check.h>

#include <string.h>

enum { ANSWER_BYTES = 2048 };

enum manner { MANNER_HOLD, MANNER_WANT_ALWAYS, MANNER_SILENT, MANNER_FENCE, MANNER_NONSENSE };

/* A nameserver of one connection at a time. */
struct puppet {
    struct reactor *reactor;
    struct address address;
    int listener;
    struct accept_op accept;
    struct connection connection;
    bool is_open;
    enum manner manner;
    uint32_t connections;
    uint32_t renewals;
    uint32_t with_topics;
    uint32_t topics; /* of the last list */
    uint32_t releases;
    uint64_t digest;
    uint32_t epoch;
};

static inline void note_arguments(struct puppet *puppet, struct bytes arguments)
{
    struct cursor cursor = cursor_over(arguments);
    uint32_t pairs = 0;
    ck_assert(cursor_take_map(&cursor, &pairs));
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes key;
        uint64_t epoch = 0;
        ck_assert(cursor_take_text(&cursor, &key));
        if (bytes_equal(key, BYTES_OF("digest"))) {
            ck_assert(cursor_take_uint(&cursor, &puppet->digest));
        } else if (bytes_equal(key, BYTES_OF("epoch"))) {
            ck_assert(cursor_take_uint(&cursor, &epoch));
            puppet->epoch = (uint32_t)epoch;
        } else if (bytes_equal(key, BYTES_OF("topics"))) {
            struct cursor topics = cursor;
            ck_assert(cursor_take_array(&topics, &puppet->topics));
            ck_assert(cursor_skip(&cursor));
            puppet->with_topics++;
        } else {
            ck_assert(cursor_skip(&cursor));
        }
    }
}

static inline void puppet_answer(struct puppet *puppet, uint32_t msgid, bool wants)
{
    uint8_t bytes[ANSWER_BYTES];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    struct refusal refusal;
    switch (puppet->manner) {
    case MANNER_SILENT:
        return;
    case MANNER_NONSENSE:
        writer_put_raw(&writer, BYTES_OF("\x94\x01\x05\xc0\xc0"));
        break;
    case MANNER_FENCE:
        refusal_set(&refusal, ERROR_FENCED, "epoch 9 is known");
        answer_write_refusal(&writer, msgid, &refusal, ERROR_FORM_MAP);
        break;
    case MANNER_HOLD:
    case MANNER_WANT_ALWAYS:
        answer_begin(&writer, msgid);
        writer_put_map(&writer, 2);
        writer_put_key_uint(&writer, "lease_ms", 10000);
        writer_put_key_bool(&writer, "want_topics", wants);
        break;
    }
    connection_write(&puppet->connection, bytes, writer_length(&writer));
}

static inline void puppet_frame(struct connection *connection, struct bytes frame,
                                struct buffer *buffer)
{
    (void)buffer;
    struct puppet *puppet = CONTAINER_OF(connection, struct puppet, connection);
    struct request request;
    ck_assert_int_eq(request_read(frame, &request), OK);
    uint32_t lists = puppet->with_topics;
    note_arguments(puppet, request.arguments);
    if (bytes_equal(request.method, BYTES_OF("lease.release"))) {
        puppet->releases++;
        uint8_t bytes[ANSWER_BYTES];
        struct writer writer = writer_over(bytes, sizeof(bytes));
        answer_write_nil(&writer, request.msgid);
        connection_write(connection, bytes, writer_length(&writer));
        return;
    }
    ck_assert(bytes_equal(request.method, BYTES_OF("lease.renew")));
    puppet->renewals++;
    bool is_first = puppet->with_topics == 0;
    bool told = puppet->with_topics > lists;
    puppet_answer(puppet, request.msgid,
                  puppet->manner == MANNER_WANT_ALWAYS || (is_first && !told));
}

static inline void puppet_closed(struct connection *connection, enum connection_end end, int error)
{
    (void)end;
    (void)error;
    CONTAINER_OF(connection, struct puppet, connection)->is_open = false;
}

static const struct connection_events puppet_events = {
    .frame = puppet_frame,
    .closed = puppet_closed,
};

static inline void puppet_accepted(struct accept_op *accept, int socket)
{
    struct puppet *puppet = CONTAINER_OF(accept, struct puppet, accept);
    ck_assert(!puppet->is_open);
    puppet->is_open = true;
    puppet->connections++;
    memset(&puppet->connection, 0, sizeof(puppet->connection));
    puppet->connection.events = &puppet_events;
    puppet->connection.frame_bytes_max = FRAME_BYTES_MAX;
    connection_open(&puppet->connection, puppet->reactor, socket);
}

static inline void puppet_accept_done(struct op *op, int64_t result)
{
    (void)op;
    (void)result;
}

static inline void puppet_address(struct puppet *puppet, const char *text)
{
    char error[256];
    *puppet = (struct puppet){.manner = MANNER_HOLD};
    ck_assert(address_parse(text, NAMESERVER_PORT, &puppet->address, error, sizeof(error)));
}

static inline void puppet_start(struct puppet *puppet, struct simulation *simulation,
                                const char *name)
{
    puppet->reactor = reactor_create_simulated(simulation, name);
    puppet->listener = reactor_listen(puppet->reactor, &puppet->address, NULL);
    ck_assert_int_ge(puppet->listener, 0);
    puppet->accept = (struct accept_op){
        .op = {.done = puppet_accept_done},
        .accepted = puppet_accepted,
    };
    reactor_accept(puppet->reactor, &puppet->accept, puppet->listener);
}

static inline void puppet_kill(struct puppet *puppet, struct simulation *simulation)
{
    simulation_kill(simulation, puppet->reactor);
    reactor_destroy(puppet->reactor);
    puppet->is_open = false;
}

#endif
