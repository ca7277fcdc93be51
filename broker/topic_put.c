/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_put.c - the method topic.put: its arguments, and the decision.
 */
#include "broker/call.h"
#include "broker/catalogue_change.h"
#include "broker/decision.h"
#include "broker/placement.h"
#include "broker/topic_decision.h"
#include "broker/topic_methods.h"

#include <stdio.h>

void topic_put_run(struct call *call, const struct arguments *arguments)
{
    struct topic_put put = {
        .name = arguments_bytes(arguments, ARGUMENT_NAME),
        .has_queues = arguments_has(arguments, ARGUMENT_QUEUES),
        .queues = (uint32_t)arguments_number(arguments, ARGUMENT_QUEUES),
        .has_version = arguments_has(arguments, ARGUMENT_VERSION),
        .version = arguments_number(arguments, ARGUMENT_VERSION),
        .rehash = arguments_number(arguments, ARGUMENT_REHASH) != 0,
    };
    if (arguments_has(arguments, ARGUMENT_SETTINGS)) {
        struct refusal refusal;
        uint32_t pairs = (uint32_t)arguments_number(arguments, ARGUMENT_SETTINGS);
        if (topic_settings_read(arguments_cursor(arguments, ARGUMENT_SETTINGS), pairs,
                                &put.settings, &refusal) != OK) {
            call_refuse(call, &refusal);
            return;
        }
    }
    struct placement placement;
    if (arguments_has(arguments, ARGUMENT_PLACEMENT)) {
        struct refusal refusal;
        uint32_t parts = (uint32_t)arguments_number(arguments, ARGUMENT_PLACEMENT);
        if (placement_read(arguments_cursor(arguments, ARGUMENT_PLACEMENT), parts, &placement,
                           &refusal) != OK) {
            call_refuse(call, &refusal);
            return;
        }
        put.placement = &placement;
    }
    catalogue_change_put_topic(call, &put);
}

/* -------------------------------------------------------------- decision */

/* Refuses the argument `key`, of which `limit` says what it must be. */
static enum error refuse_argument(struct refusal *refusal, struct bytes key, const char *limit)
{
    refusal_set(refusal, ERROR_BAD_ARGUMENT, "%.*s: %s", (int)key.length, (const char *)key.data,
                limit);
    refusal_add_key(refusal, key);
    refusal_add_limit_text(refusal, limit);
    return ERROR_BAD_ARGUMENT;
}

/* Where the topic's queues are now; one that is whole here has one part. */
static void old_placement(const struct catalogue_rules *rules, const struct topic *topic,
                          struct placement *placement_out)
{
    placement_out->part_count = 0;
    placement_out->queue_count = 0;
    bool fits = true;
    if (topic->part_count == 0) {
        fits = placement_append(placement_out, rules->broker, topic->queue_count);
    }
    for (uint32_t i = 0; i < topic->part_count && fits; i++) {
        fits = placement_append(placement_out, topic->parts[i].broker, topic->parts[i].count);
    }
    ASSERT(fits); /* as it was once read */
}

static enum error check_placement(const struct catalogue_rules *rules, const struct topic *topic,
                                  const struct topic_put *put, struct refusal *refusal)
{
    const struct placement *placement = put->placement;
    if (placement == NULL) {
        bool is_elsewhere_too = topic != NULL && topic->part_count > 0;
        return is_elsewhere_too && put->has_queues && put->queues > topic->queue_count
                   ? refuse_argument(refusal, BYTES_OF("queues"),
                                     "with a placement, as the topic is on several brokers")
                   : OK;
    }
    if (put->has_queues && put->queues != placement->queue_count) {
        return refuse_argument(refusal, BYTES_OF("queues"), "as many as the placement has");
    }
    if (!placement_names(placement, rules->broker)) {
        return refuse_argument(refusal, BYTES_OF("placement"), "a part of this broker among them");
    }
    if (topic != NULL) {
        struct placement old;
        old_placement(rules, topic, &old);
        if (!placement_extends(placement, &old)) {
            return refuse_argument(refusal, BYTES_OF("placement"),
                                   "the topic's placement, and more behind it");
        }
    }
    return OK;
}

/* How many queues the topic shall have, on all brokers. */
static uint32_t queues_wanted(const struct topic *topic, const struct topic_put *put)
{
    if (put->placement != NULL) {
        return put->placement->queue_count;
    }
    return topic == NULL || put->has_queues ? put->queues : topic->queue_count;
}

static enum error check_change(const struct topic *topic, const struct topic_put *put,
                               struct refusal *refusal)
{
    if (put->has_queues && put->queues < topic->queue_count) {
        char limit[32];
        (void)snprintf(limit, sizeof(limit), ">= %u", topic->queue_count);
        refusal_set(refusal, ERROR_BAD_ARGUMENT,
                    "the topic has %u queues and never gets fewer; not %u", topic->queue_count,
                    put->queues);
        refusal_add_key(refusal, BYTES_OF("queues"));
        refusal_add_limit_text(refusal, limit);
        return ERROR_BAD_ARGUMENT;
    }
    /* Where a key lies follows from the route and the number of queues, so a change of either
     * puts later messages of a key beside earlier ones that were not consumed yet. */
    bool moves_keys =
        queues_wanted(topic, put) > topic->queue_count && topic->route == TOPIC_ROUTE_KEY;
    bool other_route = put->settings.has_route && put->settings.route != topic->route;
    if ((moves_keys || other_route) && !put->rehash) {
        return refusal_set(refusal, ERROR_WOULD_REORDER,
                           "%s would send later messages of a key to another queue than earlier "
                           "ones; ask with rehash: true",
                           other_route ? "another route" : "more queues");
    }
    return OK;
}

/* What the topic's settings become: what is not given keeps. */
static struct topic_settings merge(const struct topic *topic, const struct topic_put *put)
{
    struct topic_settings settings = put->settings;
    if (topic != NULL && !settings.has_route) {
        settings.has_route = topic->settings.has_route;
        settings.route = topic->settings.route;
    }
    if (topic != NULL && !settings.has_durability) {
        settings.has_durability = topic->settings.has_durability;
        settings.durability = topic->settings.durability;
    }
    return settings;
}

static bool settings_equal(const struct topic_settings *a, const struct topic_settings *b)
{
    return a->has_route == b->has_route && a->has_durability == b->has_durability &&
           (!a->has_route || a->route == b->route) &&
           (!a->has_durability || a->durability == b->durability);
}

/* The placement that the topic shall have; without parts where all of it is here. */
static void set_placement(const struct catalogue_rules *rules, const struct topic *old,
                          const struct topic_put *put, struct topic_parts *parts)
{
    if (put->placement != NULL) {
        bool is_whole = put->placement->part_count == 1 &&
                        bytes_equal(put->placement->parts[0].broker, rules->broker);
        parts->parts = put->placement->parts;
        parts->part_count = is_whole ? 0 : put->placement->part_count;
    } else if (old != NULL) {
        parts->parts = old->parts;
        parts->part_count = old->part_count;
    }
}

static bool is_here(const struct catalogue_rules *rules, const struct topic_parts *parts,
                    uint32_t queue)
{
    return parts->part_count == 0 ||
           bytes_equal(placement_part_of(parts->parts, parts->part_count, queue)->broker,
                       rules->broker);
}

/* Gives queues from `first` to `count` a shard each, those that are here: round robin among shards that
 * take writes, from a start of the topic's own, so that topics of one queue spread too. */
static enum error place_queues(const struct catalogue *catalogue,
                               const struct catalogue_rules *rules, struct topic_parts *parts,
                               uint32_t first, uint16_t *shards, struct refusal *refusal)
{
    uint32_t added[SHARDS_MAX] = {0};
    uint32_t shard = (parts->id + first) % rules->shard_count;
    for (uint32_t queue = first; queue < parts->queue_count; queue++) {
        if (!is_here(rules, parts, queue)) {
            shards[queue] = TOPIC_ELSEWHERE;
            continue;
        }
        uint32_t tried = 0;
        while ((rules->read_only >> shard & 1) != 0 && tried < rules->shard_count) {
            shard = (shard + 1) % rules->shard_count;
            tried++;
        }
        if (tried == rules->shard_count) {
            return refusal_set(refusal, ERROR_READ_ONLY, "no shard of this broker takes writes");
        }
        enum error error = topic_check_shard(catalogue, shard, added[shard], refusal);
        if (error != OK) {
            return error;
        }
        added[shard]++;
        shards[queue] = (uint16_t)shard;
        shard = (shard + 1) % rules->shard_count;
    }
    return OK;
}

enum error topic_check_count(const struct catalogue *catalogue, struct refusal *refusal)
{
    if (catalogue->topic_count < TOPICS_MAX) {
        return OK;
    }
    struct refusal_overload overload = {
        .what = "topics of this broker",
        .limit = TOPICS_MAX,
        .value = 1,
        .usage = catalogue->topic_count,
    };
    return refusal_set_overload(refusal, ERROR_OVERLOADED, &overload);
}

enum error topic_check_shard(const struct catalogue *catalogue, uint32_t shard, uint32_t added,
                             struct refusal *refusal)
{
    uint32_t usage = catalogue->queue_count[shard] + added;
    if (usage < QUEUES_PER_SHARD_MAX) {
        return OK;
    }
    const struct refusal_overload overload = {
        .what = "queues of a shard",
        .limit = QUEUES_PER_SHARD_MAX,
        .value = 1,
        .usage = usage,
    };
    return refusal_set_overload(refusal, ERROR_OVERLOADED, &overload);
}

enum error topic_make(const struct catalogue_rules *rules, const struct topic_parts *parts,
                      struct topic **topic_out, struct refusal *refusal)
{
    struct topic *topic = topic_create(parts);
    enum error error = decision_check_writable(rules, topic_shards(topic), refusal);
    if (error != OK) {
        topic_unref(topic);
        return error;
    }
    *topic_out = topic;
    return OK;
}

/* Whether there is room for the parts of a placement; `old` may have some of them already. */
static enum error check_part_count(const struct catalogue *catalogue, const struct topic *old,
                                   uint32_t part_count, struct refusal *refusal)
{
    uint32_t usage = catalogue->part_count - (old == NULL ? 0 : old->part_count);
    if (usage + part_count <= PLACEMENT_PARTS_IN_ALL_MAX) {
        return OK;
    }
    struct refusal_overload overload = {
        .what = "parts of the placements of this broker's topics",
        .limit = PLACEMENT_PARTS_IN_ALL_MAX,
        .value = part_count,
        .usage = usage,
    };
    return refusal_set_overload(refusal, ERROR_OVERLOADED, &overload);
}

static enum error make_topic(const struct catalogue *catalogue, const struct catalogue_rules *rules,
                             const struct topic *old, const struct topic_put *put,
                             struct topic **topic_out, struct refusal *refusal)
{
    uint16_t shards[QUEUES_PER_TOPIC_MAX];
    struct topic_parts parts = {
        .id = old == NULL ? catalogue->next_id : old->id,
        .version = catalogue->version + 1,
        .name = put->name,
        .settings = merge(old, put),
        .durability = catalogue->durability,
        .queue_count = queues_wanted(old, put),
        .shards = shards,
    };
    set_placement(rules, old, put, &parts);
    uint32_t kept = old == NULL ? 0 : old->queue_count;
    for (uint32_t queue = 0; queue < kept; queue++) {
        shards[queue] = old->shards[queue];
    }
    enum error error = check_part_count(catalogue, old, parts.part_count, refusal);
    if (error == OK) {
        error = place_queues(catalogue, rules, &parts, kept, shards, refusal);
    }
    if (error != OK) {
        return error;
    }
    return topic_make(rules, &parts, topic_out, refusal);
}

enum error topic_put_decide(const struct catalogue *catalogue, const struct catalogue_rules *rules,
                            const struct topic_put *put, struct topic **topic_out,
                            struct refusal *refusal)
{
    struct topic *old = catalogue_find(catalogue, put->name);
    enum error error = decision_check_version("topic", old == NULL ? 0 : old->version,
                                              put->has_version, put->version, refusal);
    if (error == OK) {
        error = check_placement(rules, old, put, refusal);
    }
    if (error == OK) {
        error =
            old == NULL ? topic_check_count(catalogue, refusal) : check_change(old, put, refusal);
    }
    if (error != OK) {
        return error;
    }
    if (old != NULL) {
        struct topic_settings settings = merge(old, put);
        bool same_queues = queues_wanted(old, put) == old->queue_count;
        if (same_queues && settings_equal(&settings, &old->settings)) {
            *topic_out = topic_ref(old);
            return OK;
        }
    }
    return make_topic(catalogue, rules, old, put, topic_out, refusal);
}
