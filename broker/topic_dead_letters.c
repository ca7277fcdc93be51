/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_dead_letters.c - the decision on a topic of dead letters.
 */
#include "broker/topic_decision.h"
#include "proto/names.h"

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
    for (uint32_t shard = kept; error == OK && shard < rules->shard_count; shard++) {
        error = topic_check_shard(catalogue, shard, 0, refusal);
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
    return topic_make(rules, &parts, topic_out, refusal);
}
