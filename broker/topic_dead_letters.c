/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_dead_letters.c - the decision on a topic of dead letters.
 */
#include "broker/topic_decision.h"
#include "proto/names.h"

/* A shard has room for the queues that it does not have yet. */
static enum error check_queues(const struct catalogue *catalogue, uint32_t first, uint32_t count,
                               struct refusal *refusal)
{
    for (uint32_t shard = first; shard < count; shard++) {
        if (catalogue->queue_count[shard] >= QUEUES_PER_SHARD_MAX) {
            const struct refusal_overload overload = {
                .what = "queues of a shard",
                .limit = QUEUES_PER_SHARD_MAX,
                .value = 1,
                .usage = catalogue->queue_count[shard],
            };
            return refusal_set_overload(refusal, ERROR_OVERLOADED, &overload);
        }
    }
    return OK;
}

enum error topic_dead_letters_decide(const struct catalogue *catalogue,
                                     const struct catalogue_rules *rules, struct bytes name,
                                     struct topic **topic_out, struct refusal *refusal)
{
    ASSERT(name_is_dead_letters(name));
    struct topic *old = catalogue_find(catalogue, name);
    uint32_t kept = old == NULL ? 0 : old->queue_count;
    if (kept >= rules->shard_count) {
        *topic_out = topic_ref(old);
        return OK;
    }
    enum error error = old == NULL ? topic_check_count(catalogue, refusal) : OK;
    if (error == OK) {
        error = check_queues(catalogue, kept, rules->shard_count, refusal);
    }
    if (error != OK) {
        return error;
    }
    uint16_t shards[SHARDS_MAX];
    for (uint32_t queue = 0; queue < rules->shard_count; queue++) {
        shards[queue] = queue < kept ? old->shards[queue] : (uint16_t)queue;
    }
    const struct topic_parts parts = {
        .id = old == NULL ? catalogue->next_id : old->id,
        .version = catalogue->version + 1,
        .name = name,
        .durability = catalogue->durability,
        .queue_count = rules->shard_count,
        .shards = shards,
    };
    struct topic *topic = topic_create(&parts);
    error = topic_check_writable(topic, rules, refusal);
    if (error != OK) {
        topic_unref(topic);
        return error;
    }
    *topic_out = topic;
    return OK;
}
