/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_decision.h - what becomes of a wish to make, change or delete a group: pure functions of the
 * catalogue and the request. What was decided is then done (broker/catalogue_change.h).
 *
 * Threads: core 0's, on the catalogue of shard 0.
 */
#ifndef BROKER_GROUP_DECISION_H
#define BROKER_GROUP_DECISION_H

#include "broker/catalogue.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/error.h"
#include "proto/group_settings.h"

#include <stdbool.h>
#include <stdint.h>

/* What group.put asks for. */
struct group_put {
    struct bytes name;
    struct group_settings settings; /* absent ones keep their value, or are the default */
    bool has_version;
    uint64_t version; /* 0: the group must not be there yet */
};

/*
 * Decides on a group.put. `*group_out` is the group as it shall be, with a reference for the caller; it is
 * the catalogue's own where nothing changes.
 *
 *   ERROR_CONFLICT         {version}              it is another than the one last seen
 *   ERROR_BAD_ARGUMENT     {key, limit}           a new group without topics; another order or broadcast
 *                                                 than it was made with; order by key of a topic that is
 *                                                 not routed by key; a broadcast that does not
 *                                                 begin at last; messages that stay in a group
 *                                                 without order; GROUP@MEMBER; %DLQ%GROUP with other
 *                                                 topics than itself, or as a broadcast; a group that
 *                                                 reads its own dead letters
 *   ERROR_TOPIC_NOT_FOUND  {key}                  one of the topics that were given
 *   ERROR_BAD_FILTER       {key: topic, column}
 *   ERROR_READ_ONLY                               a shard takes no writes: all must record it
 *   ERROR_OVERLOADED       {limit, value, usage}  GROUPS_MAX, GROUPS_BYTES_MAX
 */
NODISCARD enum error group_put_decide(const struct catalogue *catalogue,
                                      const struct catalogue_rules *rules,
                                      const struct group_put *put, struct group **group_out,
                                      struct refusal *refusal);

/*
 * Decides on GROUP@MEMBER, `name`: it gets the settings of its broadcast group, begins where queues end,
 * and expires when it is idle for BROADCAST_IDLE_EXPIRE_MS unless the group says otherwise. `*group_out` as
 * above; the catalogue's own if its version is above the group's. Errors: broker/catalogue_change.h.
 */
NODISCARD enum error group_member_decide(const struct catalogue *catalogue,
                                         const struct catalogue_rules *rules, struct bytes name,
                                         struct group **group_out, struct refusal *refusal);

/* Whether GROUP@MEMBER is of this broadcast group, and has its settings: nothing is to be decided on it. */
bool group_member_is_current(const struct group *member, const struct group *broadcast);

/* What group.delete asks for. */
struct group_delete {
    struct bytes name;
    bool has_version;
    uint64_t version;
};

/*
 * Decides on a group.delete: `*group_out` is the catalogue's, borrowed, `*deleted_out` what becomes of it.
 *
 *   ERROR_GROUP_NOT_FOUND
 *   ERROR_CONFLICT   {version}
 *   ERROR_READ_ONLY
 */
NODISCARD enum error group_delete_decide(const struct catalogue *catalogue,
                                         const struct catalogue_rules *rules,
                                         const struct group_delete *delete,
                                         struct group **group_out,
                                         struct catalogue_deleted *deleted_out,
                                         struct refusal *refusal);

/* The group may be put in the place of `old` (NULL: of none), or ERROR_OVERLOADED. */
NODISCARD enum error group_check_room(const struct catalogue *catalogue, const struct group *old,
                                      const struct group *group, struct refusal *refusal);

#endif
