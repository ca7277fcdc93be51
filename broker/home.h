/* SPDX-License-Identifier: Apache-2.0 */
/*
 * home.h - where a group's calls wait: one core a group, that knows which shards have something for it.
 *
 *                    receive                    a shard that is ready         messages
 *     session's core ---------> group's home -----------------------> shard ----------> session's core
 *                                 |  ^    ^                             |
 *                           none  v  |    `--------- nothing ----------'|
 *                               WAITING <----- ready: once, until asked -'
 *
 * A shard says once that it has something and is quiet until a call has come from here. A call that waited
 * goes to it alone; if there is more behind what it takes the shard says so again, and the next one goes. So a
 * message wakes one call, however many wait, in the order in which they came; who was woken for what he did not
 * ask for (another topic) passes it on to the next.
 *
 * A shard says too when a bound keeps something back, and when it does no more. Calls are not woken for that: whoever
 * has waited as long as he may then is sent there once more, and brings what the bound is, or messages.
 *
 * The home is core (id of the group) modulo the number of cores.
 *
 * Memory:  about 150 bytes a group that was received from, or expires, 200 a member; the calls are their sessions'.
 * Threads: the home's core; home_tell_ready(), home_tell_full(), home_tell_used() and home_return() on any.
 */
#ifndef BROKER_HOME_H
#define BROKER_HOME_H

#include "broker/member.h"
#include "proto/base/list.h"
#include "proto/base/map.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct core;

/* What a group's home knows of it. */
struct home {
    uint32_t group;
    uint64_t ready;      /* bit 1 << shard */
    uint64_t full;       /* bit 1 << shard: keeps messages back for a bound */
    uint64_t round;      /* how often something became ready */
    uint32_t next_shard; /* where to look for one first */
    struct list waiting; /* struct call.receive.waiting */
    struct map members;  /* struct group_member by name */
    struct list by_seen; /* struct group_member.link */
    uint64_t used_ns;    /* monotonic: when somebody asked or settled last, or it was made */
};

/* How often a shard tells that something of a group is settled there: ten messages a second at most, and a group
 * that expires lives so much longer. */
#define HOME_TOLD_USED_EVERY_MS 100

/* How long a member that holds nothing is remembered. */
#define MEMBER_FORGOTTEN_MS 120000

/* The core that is the home of a group. */
struct core *home_core(const struct core *any, uint32_t group);

/* The home of a group on its core, or NULL: nobody has received since the start, nor does it expire. */
struct home *home_find(const struct core *core, uint32_t group);

/* The same, made where it is not there yet. */
struct home *home_make(struct core *core, uint32_t group);

/* Whether a call waits there, or a member holds a lease. */
bool home_is_in_use(const struct home *home);

/* A receive has come to the home core of its group. */
void home_receive(struct call *call, struct core *at);

/* It comes back from a shard that had nothing for it. */
void home_return(struct call *call, struct core *at);

/* A shard has something for a group, on the shard's core. */
void home_tell_ready(struct core *from, uint32_t group, uint32_t shard);

/* A bound keeps something of a group back in a shard, or does no more. On the shard's core. */
void home_tell_full(struct core *from, uint32_t group, uint32_t shard, bool is_full);

/* Something of a group is settled in a shard, on the shard's core. */
void home_tell_used(struct core *from, uint32_t group);

/* A waiting call is answered, with nothing. On the home core. */
void home_cancel(struct call *call, struct core *at);

/* A group is gone: who waits for it is told. On every core. */
void home_drop(struct core *core, uint32_t group);

/* All are forgotten; nobody waits. */
void homes_deinit(struct core *core);

#endif
