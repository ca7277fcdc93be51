/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue_change.h - how topics and groups are made, changed and deleted: core 0 decides, every shard
 * records.
 *
 *     begin ---> WAITING (another change of this name is under way)
 *        |          |
 *        `----------+--> decide: a pure function of the catalogue and the request
 *                          |    \
 *                          |     `--> refused, or nothing changes: answered
 *                          v
 *                       APPENDING   to shard 0, then to every other shard concerned: of a topic those
 *                          |        that have a queue of it, of a group all
 *                          |        (one of them is full: OWING, tried again every second)
 *                          v        all durable
 *                       PUBLISHING  to the directory of every core
 *                          |        all have it; the next change of this name may begin
 *                          v
 *                       RENEWING    a topic that nameservers are told of: every connected one
 *                          |        acknowledges, or RENEWAL_WAIT_MS
 *                          v
 *                       answered
 *
 * Once shard 0 has accepted the operation the change is decided and only goes forward: what a
 * crash leaves undone in other shards is done at the next start (broker/repair.h).
 *
 * Most changes are a caller's; some the broker makes for itself: topics of dead letters, and members of
 * broadcast groups.
 *
 * Memory:  at most CATALOGUE_CHANGES_MAX changes of about 32 KiB, with a placement 8 KiB more. Owner: core 0.
 * Threads: core 0's; parts of a change visit other cores.
 */
#ifndef BROKER_CATALOGUE_CHANGE_H
#define BROKER_CATALOGUE_CHANGE_H

#include "proto/base/bytes.h"
#include "proto/error.h"

struct call;
struct catalogue_changes;
struct catalogue_rules;
struct core;
struct group;
struct group_delete;
struct group_put;
struct leases;
struct topic_delete;
struct topic_put;

struct catalogue_changes *catalogue_changes_create(struct core *core0, struct leases *leases,
                                                   const struct catalogue_rules *rules);

/* None is under way: asserted. */
void catalogue_changes_destroy(struct catalogue_changes *changes);

/* Every call has been answered. Changes that wait for a full shard are given up, and done at the next
 * start; `stopped` runs once, perhaps at once, when what else is still under way has ended. */
void catalogue_changes_stop(struct catalogue_changes *changes, void (*stopped)(void *owner),
                            void *owner);

/* Begin a change, on the home core of `call`, which is answered when it has ended; the request is
 * copied. */
void catalogue_change_put_topic(struct call *call, const struct topic_put *put);
void catalogue_change_delete_topic(struct call *call, const struct topic_delete *delete);
void catalogue_change_put_group(struct call *call, const struct group_put *put);
void catalogue_change_delete_group(struct call *call, const struct group_delete *delete);

/* ---------------------------------------------------------- the broker's own */

/* Makes the topic of dead letters of `group` (a group's name of any form), with a queue for each shard,
 * or gives it the queues that it lacks. On core 0; nobody waits: who needs the topic looks for it in the
 * directory, and asks again when it is not there after a while. */
void catalogue_change_dead_letters(struct core *core0, struct bytes group);

/* Deletes a group that is idle, or a member of a broadcast group that is gone, unless it changes before. On
 * core 0; nobody waits: with too much under way nothing happens, and who looks for idle groups finds it
 * again. */
void catalogue_change_expire_group(struct core *core0, const struct group *group);

/* Somebody who waits for a change; in its owner's memory until `done`. */
struct change_waiter {
    /* On core 0, once; perhaps before the change's begin has returned. NULL: it is in every directory. */
    void (*done)(struct change_waiter *waiter, const struct refusal *refusal);
};

/*
 * Makes the group GROUP@MEMBER of the broadcast group `group`, a plain name, and `member`, which
 * name_is_member_part() (both are copied), or gives it the settings that the group has by now. Nothing happens where its version is above the group's. On core 0, while a
 * call is unanswered.
 *
 *   ERROR_GROUP_NOT_FOUND                       there is no such group, or it is no broadcast
 *   ERROR_OVERLOADED     {limit, value, usage}  GROUPS_MAX, GROUP_MEMBERS_MAX, changes under way; it is
 *                                               still there from a group of that name before
 *   ERROR_READ_ONLY, ERROR_DISK_FULL            a shard cannot record it
 */
void catalogue_change_member(struct core *core0, struct bytes group, struct bytes member,
                             struct change_waiter *waiter);

#endif
