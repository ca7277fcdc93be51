/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_put.c - the method group.put: its arguments, and the decision.
 */
#include "broker/call.h"
#include "broker/catalogue_change.h"
#include "broker/decision.h"
#include "broker/group_decision.h"
#include "broker/group_methods.h"
#include "proto/names.h"

void group_put_run(struct call *call, const struct arguments *arguments)
{
    struct group_put put = {
        .name = arguments_bytes(arguments, ARGUMENT_NAME),
        .has_version = arguments_has(arguments, ARGUMENT_VERSION),
        .version = arguments_number(arguments, ARGUMENT_VERSION),
    };
    struct refusal refusal;
    uint32_t pairs = arguments_has(arguments, ARGUMENT_SETTINGS)
                         ? (uint32_t)arguments_number(arguments, ARGUMENT_SETTINGS)
                         : 0;
    if (group_settings_read(arguments_cursor(arguments, ARGUMENT_SETTINGS), pairs,
                            GROUP_SETTINGS_REFUSE, &put.settings, &refusal) != OK) {
        call_refuse(call, &refusal);
        return;
    }
    catalogue_change_put_group(call, &put);
}

/* -------------------------------------------------------------- decision */

static enum error refuse(struct refusal *refusal, const char *key, const char *limit)
{
    refusal_set(refusal, ERROR_BAD_ARGUMENT, "%s has to be %s", key, limit);
    refusal_add_key(refusal, bytes_from_string(key));
    refusal_add_limit_text(refusal, limit);
    return ERROR_BAD_ARGUMENT;
}

static bool gives(const struct group_put *put, enum group_setting setting)
{
    return (put->settings.given >> setting & 1) != 0;
}

/* What can be said of the request without looking at topics. */
static enum error check_change(const struct group *group, const struct group_put *put,
                               struct refusal *refusal)
{
    if (name_is_member(put->name)) {
        return refuse(refusal, "name", "that of the group: members come when they receive");
    }
    if (put->settings.broadcast && name_is_dead_letters(put->name)) {
        return refuse(refusal, "broadcast", "false in a group that redrives dead letters");
    }
    if (group == NULL) {
        return gives(put, GROUP_SETTING_TOPICS)
                   ? OK
                   : refuse(refusal, "topics", "given for a new group");
    }
    if (gives(put, GROUP_SETTING_ORDER) && put->settings.order != group->settings.order) {
        return refuse(refusal, "order", "as the group was made");
    }
    if (gives(put, GROUP_SETTING_BROADCAST) &&
        put->settings.broadcast != group->settings.broadcast) {
        return refuse(refusal, "broadcast", "as the group was made");
    }
    return OK;
}

static enum error check_topic(const struct catalogue *catalogue, struct bytes name,
                              enum group_order order, struct refusal *refusal)
{
    const struct topic *topic = catalogue_find(catalogue, name);
    if (topic == NULL) {
        refusal_set(refusal, ERROR_TOPIC_NOT_FOUND, "there is no topic '%.*s'", (int)name.length,
                    (const char *)name.data);
        refusal_add_key(refusal, name);
        return ERROR_TOPIC_NOT_FOUND;
    }
    if (order == GROUP_ORDER_KEY && topic->route != TOPIC_ROUTE_KEY) {
        return refuse(refusal, "order", "none or queue where a topic is not routed by key");
    }
    return OK;
}

/* The topics that were given: are they there, and may this group read them? */
static enum error check_topics(const struct catalogue *catalogue, struct bytes name,
                               const struct group_settings *settings, struct refusal *refusal)
{
    char text[TOPIC_NAME_BYTES_MAX];
    struct bytes dead_letters = name_of_dead_letters(name, text);
    bool redrives = name_is_dead_letters(name);
    struct cursor topics = settings->topics;
    for (uint32_t i = 0; i < settings->topic_count; i++) {
        struct group_topic_setting topic = group_settings_take_topic(&topics);
        bool is_own = bytes_equal(topic.name, dead_letters);
        if (redrives && !(is_own && settings->topic_count == 1)) {
            return refuse(refusal, "topics", "the topic of the same name alone");
        }
        if (!redrives && is_own) {
            return refuse(refusal, "topics", "others than the group's own dead letters");
        }
        enum error error = check_topic(catalogue, topic.name, settings->order, refusal);
        if (error != OK) {
            return error;
        }
    }
    return OK;
}

enum error group_check_room(const struct catalogue *catalogue, const struct group *old,
                            const struct group *group, struct refusal *refusal)
{
    if (old == NULL && catalogue->group_count >= GROUPS_MAX) {
        const struct refusal_overload overload = {
            .what = "groups of this broker",
            .limit = GROUPS_MAX,
            .value = 1,
            .usage = catalogue->group_count,
        };
        return refusal_set_overload(refusal, ERROR_OVERLOADED, &overload);
    }
    uint64_t others = catalogue->group_bytes - (old == NULL ? 0 : old->topics_bytes);
    if (others + group->topics_bytes > GROUPS_BYTES_MAX) {
        const struct refusal_overload overload = {
            .what = "bytes of the topics and filters of all groups",
            .limit = GROUPS_BYTES_MAX,
            .value = group->topics_bytes,
            .usage = others,
        };
        return refusal_set_overload(refusal, ERROR_OVERLOADED, &overload);
    }
    return OK;
}

static enum error make_group(const struct catalogue *catalogue, const struct group *old,
                             const struct group_put *put, struct group **group_out,
                             struct refusal *refusal)
{
    struct group_settings settings =
        old == NULL ? put->settings : group_settings_merge(&old->settings, &put->settings);
    if (settings.broadcast && settings.from != GROUP_FROM_LAST) {
        return refuse(refusal, "from", "last in a broadcast group: members begin where queues end");
    }
    if (settings.exhausted == GROUP_EXHAUSTED_STAY && settings.order == GROUP_ORDER_NONE) {
        return refuse(refusal, "exhausted", "dead, unless the order is queue or key");
    }
    bool looks_at_topics = gives(put, GROUP_SETTING_TOPICS) || gives(put, GROUP_SETTING_ORDER);
    enum error error =
        looks_at_topics ? check_topics(catalogue, put->name, &settings, refusal) : OK;
    if (error != OK) {
        return error;
    }
    const struct group_parts parts = {
        .id = old == NULL ? catalogue->next_id : old->id,
        .version = catalogue->version + 1,
        .name = put->name,
        .settings = &settings,
    };
    return group_create(&parts, group_out, refusal);
}

enum error group_put_decide(const struct catalogue *catalogue, const struct catalogue_rules *rules,
                            const struct group_put *put, struct group **group_out,
                            struct refusal *refusal)
{
    struct group *old = catalogue_find_group(catalogue, put->name);
    struct group *group = NULL;
    enum error error = decision_check_version("group", old == NULL ? 0 : old->version,
                                              put->has_version, put->version, refusal);
    if (error == OK) {
        error = check_change(old, put, refusal);
    }
    if (error == OK) {
        error = make_group(catalogue, old, put, &group, refusal);
    }
    if (error != OK) {
        return error;
    }
    if (old != NULL && group_settings_equal(&old->settings, &group->settings)) {
        group_unref(group);
        *group_out = group_ref(old);
        return OK;
    }
    error = decision_check_writable(rules, DECISION_ALL_SHARDS, refusal);
    if (error == OK) {
        error = group_check_room(catalogue, old, group, refusal);
    }
    if (error != OK) {
        group_unref(group);
        return error;
    }
    *group_out = group;
    return OK;
}
