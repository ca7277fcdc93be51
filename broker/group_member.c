/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_member.c - the decision on a member of a broadcast group.
 */
#include "broker/decision.h"
#include "broker/group_decision.h"
#include "proto/names.h"

/* Who meets a member of a group that was deleted comes again after this. */
#define ORPHAN_RETRY_MS 1000

/* How many members the group has. */
static uint32_t count_members(const struct catalogue *catalogue, struct bytes group)
{
    char text[GROUP_NAME_BYTES_MAX + 1];
    struct bytes members = name_of_members(group, text);
    uint32_t count = 0;
    for (uint32_t i = 0; i < catalogue->group_count; i++) {
        count += bytes_starts_with(catalogue->groups[i]->name, members);
    }
    return count;
}

static enum error check_members(const struct catalogue *catalogue, const struct group *broadcast,
                                struct refusal *refusal)
{
    uint32_t count = count_members(catalogue, broadcast->name);
    if (count < GROUP_MEMBERS_MAX) {
        return OK;
    }
    const struct refusal_overload overload = {
        .what = "members of the broadcast group",
        .limit = GROUP_MEMBERS_MAX,
        .value = 1,
        .usage = count,
    };
    return refusal_set_overload(refusal, ERROR_OVERLOADED, &overload);
}

/* It is of a broadcast group that was deleted, and goes within a second or so. */
static enum error refuse_orphan(const struct group *old, struct refusal *refusal)
{
    refusal_set(refusal, ERROR_OVERLOADED, "'%.*s' of a group before this one is being deleted",
                (int)old->name.length, (const char *)old->name.data);
    refusal_add(refusal, REFUSAL_RETRY_AFTER_MS, ORPHAN_RETRY_MS);
    return ERROR_OVERLOADED;
}

static struct group_settings member_settings(const struct group *broadcast)
{
    struct group_settings settings = broadcast->settings;
    settings.from = GROUP_FROM_LAST;
    settings.from_ms = 0;
    settings.broadcast = false;
    settings.given &= ~(1U << GROUP_SETTING_FROM | 1U << GROUP_SETTING_BROADCAST);
    if (settings.idle_expire_ms == 0) {
        settings.idle_expire_ms = BROADCAST_IDLE_EXPIRE_MS;
        settings.given |= 1U << GROUP_SETTING_IDLE_EXPIRE_MS;
    }
    return settings;
}

bool group_member_is_current(const struct group *member, const struct group *broadcast)
{
    return member->id > broadcast->id && member->version > broadcast->version;
}

enum error group_member_decide(const struct catalogue *catalogue,
                               const struct catalogue_rules *rules, struct bytes name,
                               struct group **group_out, struct refusal *refusal)
{
    struct bytes broadcast_name = name_group_of(name);
    const struct group *broadcast = catalogue_find_group(catalogue, broadcast_name);
    struct group *old = catalogue_find_group(catalogue, name);
    if (broadcast == NULL || !broadcast->settings.broadcast) {
        return refusal_set(refusal, ERROR_GROUP_NOT_FOUND, "there is no broadcast group '%.*s'",
                           (int)broadcast_name.length, (const char *)broadcast_name.data);
    }
    if (old != NULL && old->id < broadcast->id) {
        return refuse_orphan(old, refusal);
    }
    if (old != NULL && group_member_is_current(old, broadcast)) {
        *group_out = group_ref(old);
        return OK;
    }
    enum error error = old == NULL ? check_members(catalogue, broadcast, refusal) : OK;
    if (error == OK) {
        error = decision_check_writable(rules, DECISION_ALL_SHARDS, refusal);
    }
    if (error != OK) {
        return error;
    }
    struct group_settings settings = member_settings(broadcast);
    const struct group_parts parts = {
        .id = old == NULL ? catalogue->next_id : old->id,
        .version = catalogue->version + 1,
        .name = name,
        .settings = &settings,
    };
    struct group *group;
    error = group_create(&parts, &group, refusal);
    ASSERT(error == OK); /* its filters were compiled before */
    error = group_check_room(catalogue, old, group, refusal);
    if (error != OK) {
        group_unref(group);
        return error;
    }
    *group_out = group;
    return OK;
}
