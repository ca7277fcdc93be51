/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_group.h - the consumer group of a fake server: "g", over all queues of its topic "t".
 *
 * Small and obedient: leases what is free in runs, parks polls, takes ack, nack and extend, lets leases
 * end. It keeps count of what is leased, so that a test can say how much a client ever had.
 *
 * Threads: the reactor's.
 */
#ifndef TEST_UNIT_CLIENT_FAKE_GROUP_H
#define TEST_UNIT_CLIENT_FAKE_GROUP_H

#include "net/reactor.h"
#include "proto/base/bytes.h"
#include "proto/base/list.h"

#include <stdbool.h>
#include <stdint.h>

struct fake_server;
struct fake_session;
struct request;

enum { FAKE_GROUP_QUEUES = 8 };

enum fake_stage { FAKE_FREE, FAKE_LEASED, FAKE_DONE };

/* What the group knows of one offset. */
struct fake_offset {
    enum fake_stage stage;
    uint32_t lease;
    uint64_t until_ms; /* of the lease, or, FREE, before when it is not given */
    uint32_t attempt;  /* deliveries that were counted */
    uint32_t deliveries;
    uint32_t settled; /* how often it was acked */
    char reason[121];
};

struct fake_group {
    struct fake_server *server;
    bool is_there;
    uint32_t lease_ms;
    const char *order;    /* "queue": its answers say so, and it keeps it; NULL: none */
    uint64_t skip_modulo; /* a filter leaves out the offsets that are 0 modulo it; 0: none */
    uint32_t lease_count;
    struct fake_offset *offsets[FAKE_GROUP_QUEUES];
    uint64_t capacity[FAKE_GROUP_QUEUES];
    struct list polls;
    struct timer timer; /* leases end, retries are due */

    bool loses_leases; /* refuses every receipt with LEASE_LOST */
    uint32_t too_many; /* answers so many receives with a message more than was asked for */
    uint32_t parked;
    uint32_t leased;      /* now */
    uint32_t leased_most; /* ever at a time */
    uint32_t receives;
    uint32_t ack_calls;
    uint32_t rides; /* receives with acks */
    uint32_t receipts;
    uint32_t acked;    /* messages */
    uint32_t retried;  /* nacked and counted */
    uint32_t released; /* nacked and not counted */
    uint32_t dead;
    uint32_t extended; /* receipts */
    uint32_t expired;  /* messages */
    uint32_t durable;  /* acks that were to be */
    uint64_t delay_ms; /* of the last nack */
    char member[128];  /* of the last receive */
};

void fake_group_init(struct fake_group *group, struct fake_server *server);
void fake_group_free(struct fake_group *group);

/* Runs receive, ack, nack or extend. False: it is another method. */
bool fake_group_run(struct fake_group *group, struct fake_session *session,
                    const struct request *request);

/* A queue has grown. */
void fake_group_wake(struct fake_group *group);

/* The polls of a session end without an answer; the one with `msgid` with what there is. */
void fake_group_forget(struct fake_group *group, const struct fake_session *session);
void fake_group_cancel(struct fake_group *group, const struct fake_session *session,
                       uint64_t msgid);

/* What is known of one offset. */
struct fake_offset *fake_group_at(struct fake_group *group, uint32_t queue, uint64_t offset);

#endif
