/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_server.h - nameserver and broker in one, small and obedient, for tests of the client.
 *
 * It has one topic, "t", whose queues are arrays of records in memory, and answers hello, route.get,
 * broker.list, topic.show, topic.put, topic.delete, message.get, produce and pull as the protocol says;
 * fake_group.h has its consumer group, where a test made one.
 * A test tells it what to do wrong by setting its fields.
 *
 * Threads: the reactor's.
 */
#ifndef TEST_UNIT_CLIENT_FAKE_SERVER_H
#define TEST_UNIT_CLIENT_FAKE_SERVER_H

#include "net/connection.h"
#include "net/reactor.h"
#include "proto/base/bytes.h"
#include "proto/base/list.h"
#include "proto/request.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    FAKE_QUEUES_MAX = 128,
    FAKE_TOPIC_ID = 7,
    FAKE_METHODS = 16,
    FAKE_PARTS_MAX = 4,
};

struct fake_queue {
    uint8_t *records;
    size_t bytes;
    size_t capacity;
    uint64_t first; /* kept */
    uint64_t next;
    size_t *places; /* of each record from offset 0 on */
};

struct fake_group;
/* A part of the topic's queues, and the broker that has it, as a nameserver's route says it. */
struct fake_part {
    const char *broker;
    uint32_t first;
    uint32_t count;
    const char *address; /* NULL: the broker holds no lease */
    uint32_t known;      /* so many queues the broker knows; 0: all */
};

struct fake_session;

struct fake_server {
    struct reactor *reactor;
    const char *address;   /* where it listens */
    const char *advertise; /* what its routes say: its own address, or another's */
    struct accept_op accept;
    int listener;
    struct list sessions;

    struct fake_queue queues[FAKE_QUEUES_MAX];
    uint32_t queue_count;

    /* A topic on several brokers: the parts of all, the same for all, of different brokers; `name` is this
     * one's. Without parts all is here, at the broker "fake". */
    const struct fake_part *parts;
    uint32_t part_count;
    const char *name;
    uint32_t epoch;
    uint32_t topic_id;
    uint32_t turn;              /* which queue takes what names none */
    struct fake_server *beside; /* another broker that its routes name, behind itself; or NULL */
    struct fake_group *group;   /* or NULL */
    int64_t clock_ahead_ms;     /* what hello says beyond the wall clock */

    /* What it does wrong, and how often. */
    const char *refuse_method; /* refuses it `refuse_times` */
    uint32_t refuse_times;
    enum error refuse_with;
    uint64_t refuse_detail;    /* retry_after_ms of overload, `resume` of TRUNCATED */
    const char *ignore_method; /* never answers it */
    uint32_t drop_produces;    /* stores, and closes the connection instead of answering */
    bool corrupt_next;         /* the next record it serves has a bit flipped */
    uint32_t misplaces;        /* pulls that are answered from one offset further on */
    bool babbles;              /* answers everything with what is no answer */

    /* What it has seen. */
    uint32_t accepted;
    uint32_t produces;
    uint32_t one_ways;
    uint32_t pulls;
    uint32_t parked;
    uint32_t parked_most;
    uint32_t cancels;
    uint32_t routes;
    uint32_t refused;     /* by `refuse_method` */
    uint64_t pulled;      /* bytes of records */
    uint32_t misdirected; /* produces and pulls of queues that are elsewhere */
    char client[64];      /* of the last hello */
};

void fake_server_start(struct fake_server *server, struct reactor *reactor, const char *address);

/* Closes the listener and every connection; reactor turns bring them home. */
void fake_server_stop(struct fake_server *server);
bool fake_server_is_stopped(const struct fake_server *server);

/* Frees what it stored. */
void fake_server_free(struct fake_server *server);

/* Appends a message, an element as it is produced, as if somebody had produced it. */
void fake_server_append(struct fake_server *server, uint32_t queue, struct bytes element,
                        uint64_t born_ms);

/* Appends a message whose body is the number's decimal digits. */
void fake_server_append_number(struct fake_server *server, uint32_t queue, uint64_t number);

/* Answers of a session, for fake_group.c: raw bytes, one stored record, a refusal. */
void fake_session_send(struct fake_session *session, struct bytes bytes);
void fake_session_send_record(struct fake_session *session, uint32_t queue, uint64_t offset);
void fake_session_refuse(struct fake_session *session, uint32_t msgid, enum error error);

/* Closes all connections now; new ones are accepted. */
void fake_server_drop_all(struct fake_server *server);

#endif
