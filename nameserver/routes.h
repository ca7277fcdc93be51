/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes.h - leases of brokers, and the routes of topics that follow from them: pure state.
 *
 * A broker that holds a lease has a list of topics; the route of a topic is what the brokers that
 * have it say. Nothing here has a clock or a socket: time is an argument, in ms of a clock that
 * does not go back, and whoever waits for a change leaves a watch.
 *
 *     absent --renew--> LIVE --connection lost--> LIVE, for a second at most
 *        ^               ^  |
 *        |         renew |  | expiry
 *        |               |  v
 *        `-a lease later- PAST      only the epoch is remembered, so that a late predecessor of
 *                                   the last holder stays fenced
 *     LIVE --release--> absent
 *
 * Versions are digests of content: equal content has equal versions on every nameserver, and a
 * client only compares them for equality.
 *
 * Memory:  bounded by the limits below; the owner is the routes.
 * Threads: one.
 */
#ifndef NAMESERVER_ROUTES_H
#define NAMESERVER_ROUTES_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/base/list.h"
#include "proto/cursor.h"
#include "proto/error.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

struct route_topic;
struct routes;

/* A cluster's topics: eight brokers that are full. */
#define ROUTES_TOPICS_MAX 131072

/* Topics counted once a broker: twice as many, for topics on several brokers. */
#define ROUTES_ENTRIES_MAX 262144

/* All memory of brokers, topics and placements: the two above at their usual size. */
#define ROUTES_BYTES_MAX (128U << 20)

/* One answer of a list stops after the row that crosses this. */
#define ROUTES_LIST_BYTES_MAX (1U << 20)

/* Room that every answer below fits into: a list whose last row names 1,024 brokers, or a route of
 * 1,024 of them with its placement. */
#define ROUTES_ANSWER_BYTES_MAX (2U << 20)

struct routes_options {
    uint64_t now_ms;
    uint32_t lease_ms; /* of every broker, and for how long a new nameserver is warming */
    uint64_t seed;     /* that peers do not know */
};

/* Never fails: it is made at start. */
struct routes *routes_create(const struct routes_options *options);

/* No watch may be left: asserted. */
void routes_destroy(struct routes *routes);

/* ---------------------------------------------------------------- leases */

/* What lease.renew says; the spans are copied where they are kept. */
struct lease {
    struct bytes broker;
    struct bytes address;
    uint32_t epoch;
    uint64_t digest;
    bool has_topics;
    struct cursor topics; /* over the elements of the array */
    uint32_t topic_count;
    uint64_t session; /* the connection it came over, any number but 0 */
};

struct lease_answer {
    bool want_topics; /* the list that is here has another digest, or there is none */
    bool arrived;     /* the broker held no lease before */
    bool replaced;    /* it held one with a lower epoch */
    uint32_t topic_count;
    struct bytes disputed; /* a topic of which two brokers give placements that are not
                               one the beginning of the other; or empty */
};

/*
 * Renews, or begins, a lease. Watches of what changed run before it returns. On failure nothing
 * has changed and `refusal` is set:
 *
 *   ERROR_FENCED        a higher epoch is known, or the same from another address
 *   ERROR_BAD_ARGUMENT  {key: topics}  an element is not [name, id, version, placement]
 *   ERROR_OVERLOADED    {limit, value, usage}  a limit above, or BROKERS_MAX
 */
NODISCARD enum error routes_renew(struct routes *routes, uint64_t now_ms, const struct lease *lease,
                                  struct lease_answer *answer_out, struct refusal *refusal);

/* Ends a lease at once, and forgets the epoch. ERROR_FENCED: another epoch is known. A broker that
 * holds none is not an error: released is released. */
NODISCARD enum error routes_release(struct routes *routes, uint64_t now_ms, struct bytes broker,
                                    uint32_t epoch, struct refusal *refusal);

/* The connection `session` is gone: leases that were last renewed over it end LEASE_LOST_MS later,
 * or at their expiry if that is sooner. Gives how many. */
uint32_t routes_lose(struct routes *routes, uint64_t now_ms, uint64_t session);

/* Ends what is over. `ended` (may be NULL) is called with the name of each broker whose lease is. */
void routes_advance(struct routes *routes, uint64_t now_ms,
                    void (*ended)(void *context, struct bytes broker), void *context);

/* When routes_advance() has something to do next; UINT64_MAX: nothing does. */
uint64_t routes_next_ms(const struct routes *routes);

/* --------------------------------------------------------------- answers */

/*
 * The route of a topic, as of the last routes_advance(); good until the routes are changed.
 *
 *   ERROR_TOPIC_NOT_FOUND
 *   ERROR_WARMING  {retry_after_ms}  not there, but brokers may not have come yet
 */
NODISCARD enum error routes_find(const struct routes *routes, uint64_t now_ms, struct bytes topic,
                                 struct route_topic **topic_out, struct refusal *refusal);

uint64_t route_version(const struct route_topic *topic);

/* Writes the result of route.get, one map. */
void route_write(const struct route_topic *topic, struct writer *writer);

enum routes_list { ROUTES_BROKERS, ROUTES_TOPICS };

struct routes_page {
    enum routes_list list;
    struct bytes prefix;
    struct bytes after;
    uint32_t limit;
};

uint64_t routes_list_version(const struct routes *routes, enum routes_list list);

/* Writes the result of broker.list or topic.list, one map. While brokers may not have come yet it has
 * `warming_ms`: for how long. */
void routes_list_write(const struct routes *routes, uint64_t now_ms, const struct routes_page *page,
                       struct writer *writer);

/* --------------------------------------------------------------- watches */

/* Somebody who waits for a change: `changed` runs once, and the watch is no longer there. It must
 * not call what changes the routes. */
struct route_watch {
    void (*changed)(struct route_watch *watch);
    struct list link; /* the routes' */
};

void route_watch_topic(struct route_topic *topic, struct route_watch *watch);
void route_watch_list(struct routes *routes, enum routes_list list, struct route_watch *watch);

/* Does nothing if it ran already. */
void route_watch_cancel(struct route_watch *watch);

/* --------------------------------------------------------------- numbers */

struct routes_usage {
    uint32_t brokers; /* that hold a lease */
    uint32_t topics;
    uint32_t entries;
    uint64_t bytes;
};
struct routes_usage routes_usage(const struct routes *routes);

#endif
