/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes_state.h - what the routes are made of; for routes*.c alone.
 *
 *     broker  <--- entry --->  topic        an entry: this broker has this topic
 *
 * A topic lives while it has an entry. Whatever changes a topic's entries, or a field of their
 * brokers that a route shows, marks it dirty; routes_settle() then computes the versions again, wakes
 * the watches and drops topics without entries. Every public call that changes something settles before it returns.
 */
#ifndef NAMESERVER_ROUTES_STATE_H
#define NAMESERVER_ROUTES_STATE_H

#include "nameserver/name_index.h"
#include "nameserver/routes.h"
#include "proto/base/heap.h"
#include "proto/limits.h"

struct route_broker {
    struct name_node node;
    struct heap_node deadline; /* the end of the lease; of a past broker, of its memory */
    struct list entries;
    uint32_t entry_count;
    uint32_t epoch;
    uint64_t digest;
    uint64_t session;
    uint32_t round; /* of the list that is being taken over */
    bool live;
    bool has_topics; /* `digest` is that of `entries` */
    uint64_t row_hash;
    uint16_t address_length;
    char address[ADDRESS_BYTES_MAX];
    char name[BROKER_NAME_BYTES_MAX];
};

struct route_topic {
    struct name_node node;
    struct list entries; /* by broker name */
    struct list watches;
    struct list dirty; /* in routes->dirty */
    uint64_t version;  /* 0: not computed yet */
    uint64_t row_hash; /* what it adds to the version of the list */
    char name[];
};

struct route_entry {
    struct list of_broker;
    struct list of_topic;
    struct route_broker *broker;
    struct route_topic *topic;
    uint64_t version; /* the catalogue's */
    uint32_t topic_id;
    uint32_t queue_count; /* of the placement that this broker knows */
    uint32_t round;
    uint32_t placement_bytes;
    uint8_t placement[]; /* msgpack, as it is answered */
};

struct routes {
    struct routes_options options;
    struct name_index brokers; /* live and past */
    struct name_index topics;
    struct heap deadlines;
    struct list dirty;
    struct list list_watches[2]; /* by enum routes_list */
    uint64_t list_hash[2];
    uint64_t list_hash_told[2]; /* as of the last settle */
    uint32_t live_count;
    uint32_t entry_count;
    uint64_t bytes;
    uint32_t round;
};

/*
 * The entry whose placement is the route's. Queues are only ever appended to a topic, so of placements
 * that agree the one of most queues is the newest; among as many the first broker by name counts. The
 * versions of the brokers' catalogues are each one's own and cannot be compared.
 */
const struct route_entry *route_leading_entry(const struct route_topic *topic);

/* The topic's versions are computed again, and its watches looked at, when the change is settled. */
void route_topic_mark(struct routes *routes, struct route_topic *topic);

/* A broker no longer has a topic. */
void route_entry_remove(struct routes *routes, struct route_entry *entry);

/*
 * Reads a lease's whole list before anything of it is taken over: its shape, and whether it fits,
 * counting what would come and not what would go, so that a list that is refused changes nothing.
 * `broker` is NULL where it is new.
 */
NODISCARD enum error routes_check_rows(const struct routes *routes, const struct lease *lease,
                                       const struct route_broker *broker, struct refusal *refusal);

/* Takes over a list that routes_check_rows() has accepted. False: no memory, it is not whole. */
NODISCARD bool routes_apply_rows(struct routes *routes, const struct lease *lease,
                                 struct route_broker *broker, struct lease_answer *answer);

/* ERROR_OVERLOADED with its numbers. */
enum error routes_refuse_full(struct refusal *refusal, const char *what, uint64_t limit,
                              uint64_t value, uint64_t usage);

/* Recomputes what a broker adds to the version of the list of brokers. */
void route_broker_rehash(struct routes *routes, struct route_broker *broker);

/* Recomputes versions of dirty topics, wakes watches, drops topics that nobody has. */
void routes_settle(struct routes *routes);

static inline struct bytes route_broker_name(const struct route_broker *broker)
{
    return broker->node.name;
}

static inline struct bytes route_broker_address(const struct route_broker *broker)
{
    return bytes_make(broker->address, broker->address_length);
}

#endif
