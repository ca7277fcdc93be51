/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_delete.c - the method topic.delete: its arguments, and the decision.
 */
#include "broker/call.h"
#include "broker/catalogue_change.h"
#include "broker/topic_decision.h"
#include "broker/topic_methods.h"

void topic_delete_run(struct call *call, const struct arguments *arguments)
{
    struct topic_delete delete = {
        .name = arguments_bytes(arguments, ARGUMENT_NAME),
        .has_version = arguments_has(arguments, ARGUMENT_VERSION),
        .version = arguments_number(arguments, ARGUMENT_VERSION),
    };
    catalogue_change_delete_topic(call, &delete);
}

enum error topic_delete_decide(const struct catalogue *catalogue,
                               const struct catalogue_rules *rules,
                               const struct topic_delete *delete, struct topic **topic_out,
                               struct catalogue_deleted *deleted_out, struct refusal *refusal)
{
    struct topic *topic = catalogue_find(catalogue, delete->name);
    if (topic == NULL) {
        return refusal_set(refusal, ERROR_TOPIC_NOT_FOUND, "there is no topic '%.*s'",
                           (int)delete->name.length, (const char *)delete->name.data);
    }
    if (delete->has_version && delete->version != topic->version) {
        refusal_set(refusal, ERROR_CONFLICT, "the topic is at version %llu, not %llu",
                    (unsigned long long)topic->version, (unsigned long long)delete->version);
        refusal_add(refusal, REFUSAL_VERSION, topic->version);
        return ERROR_CONFLICT;
    }
    enum error error = topic_check_writable(topic, rules, refusal);
    if (error != OK) {
        return error;
    }
    *topic_out = topic;
    *deleted_out = (struct catalogue_deleted){topic->id, catalogue->version + 1};
    return OK;
}

enum error topic_check_writable(const struct topic *topic, const struct catalogue_rules *rules,
                                struct refusal *refusal)
{
    uint64_t blocked = topic_shards(topic) & rules->read_only;
    if (blocked == 0) {
        return OK;
    }
    return refusal_set(refusal, ERROR_READ_ONLY,
                       "shard %d takes no writes and must record the change",
                       __builtin_ctzll(blocked));
}
