/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member.h - a member of a consumer group: a poll at each broker that has the group, and what is in
 * hand, under one credit.
 *
 *     sources --- answers ---> ready ---ternmq_receive()---> given ---a verdict---> settling
 *        ^                       |                                                     |
 *        |                       `--- its lease ended, or the member leaves ---.       |
 *        |                                                                     v       v
 *        `---------------------------- credit is free again <--------------- the broker's word
 *
 * The credit: `held_count` messages that are in hand, without those whose acks ride on a poll, and
 * `asked` that polls under way may bring are together never more than `credit`. What rides is settled
 * by the broker before it answers the poll that it rides on, so that poll may bring as much instead.
 *
 * Memory:  2 * `credit` places for messages, `hold_bytes`, and an answer a broker beyond it.
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_MEMBER_H
#define TOOLS_CLIENT_MEMBER_H

#include "net/reactor.h"
#include "proto/base/list.h"
#include "proto/limits.h"
#include "tools/client/client_route.h"
#include "tools/client/receive_answer.h"
#include "tools/client/ternmq.h"
#include "tools/client/ternmq_groups.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct held;
struct member_source;

enum {
    CREDIT_DEFAULT = 100,
    CREDIT_MAX = MESSAGES_PER_CALL_MAX, /* one poll may ask for all of it */
    HOLD_BYTES_DEFAULT = 8 << 20,
    SETTLE_COUNT_DEFAULT = 100,
    SETTLE_COUNT_MAX = 1000,
    SETTLE_LINGER_MS_DEFAULT = 5,
    SETTLE_LINGER_MS_MAX = 1000,
    /* Callbacks that run at once are at most 256. */
    WORKING_LISTS = 64,
    /* The brokers of a topic may become more: looked for so often. */
    SOURCES_MS = 10000
};

struct ternmq_member {
    struct ternmq *client;
    struct list link; /* client->members */
    char group[GROUP_ANY_NAME_BYTES_MAX + 1];
    char topic[TOPIC_NAME_BYTES_MAX + 1]; /* "": all */
    char name[MEMBER_NAME_BYTES_MAX + 1]; /* "": the connection */
    uint32_t credit;
    size_t hold_bytes;
    uint32_t receive_bytes;
    uint32_t lease_ms;
    bool keep_leases;
    bool durable;
    uint32_t settle_count;
    uint32_t settle_linger_ms;
    void (*ready_fn)(void *context);
    void (*lost_fn)(void *context, const char *topic, uint32_t queue, uint64_t offset,
                    const struct ternmq_error *why);
    void *context;

    struct client_route *route; /* NULL: the one broker */
    struct route_waiter route_waiter;
    struct timer route_timer;
    uint32_t route_tries;
    uint64_t failing_ns; /* since when the route cannot be had; 0: it can */
    struct list sources; /* whose turn it is first */

    struct held *held; /* every place */
    uint32_t held_max;
    struct list free;
    struct list ready;                  /* in the order in which they came */
    struct list working[WORKING_LISTS]; /* those given in ordered groups, by queue and key */
    uint32_t held_count;
    uint32_t given;
    uint32_t settling;
    uint32_t riding;
    uint32_t asked;
    size_t held_bytes;
    struct list grants; /* those that lie under something in hand */
    uint64_t grant_number;
    uint64_t expiry_ns;     /* what is ready is leased until then at least */
    uint64_t given_ends_ns; /* and what was given in order, that something may wait behind */

    struct timer linger;      /* verdicts that wait are sent */
    struct timer lease_timer; /* leases are to be extended */
    bool leaving;
    bool ready_owed;               /* ternmq_receive() had nothing to say */
    struct ternmq_error notice;    /* code 0: none; else to be told next */
    struct ternmq_error last_word; /* code 0: none; else nothing will come */
};

static inline struct ternmq_member *member_of_link(struct list *link)
{
    return CONTAINER_OF(link, struct ternmq_member, link);
}

/* How many messages may be asked for now. */
static inline uint32_t member_credit_left(const struct ternmq_member *member)
{
    ASSERT(member->held_count - member->riding + member->asked <= member->credit);
    return member->credit - (member->held_count - member->riding) - member->asked;
}

/* Sends a poll wherever one may be sent; verdicts that wait ride on them. */
void member_ask(struct ternmq_member *member);

/* Messages came in hand: they are told, or, of a member that leaves, given back. */
void member_took(struct ternmq_member *member);

/* Settles a message by the member's own will: without memory for the verdict it is let go, and comes again when its
 * lease is over. */
void member_settle(struct ternmq_member *member, struct held *held,
                   const struct ternmq_settlement *settlement);

/* (Re)starts the timer that extends leases, for the first that is due. */
void member_watch_leases(struct ternmq_member *member);
void member_lease_timer_over(struct timer *timer);

/* In ordered groups: gives back what waits behind messages that were given and whose lease is over. */
void member_end_leases(struct ternmq_member *member);

/* What ternmq_receive() must say next; with `is_last_word`, for ever. */
void member_notice(struct ternmq_member *member, const struct ternmq_error *error,
                   bool is_last_word);

/* Asks for nothing more, ends the waiting polls, and gives back what was not given yet. */
void member_leave(struct ternmq_member *member);

/* Whether nothing is in hand or under way. */
bool member_is_home(const struct ternmq_member *member);

/* Ends it at once. */
void member_drop(struct ternmq_member *member);

#endif
