/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_delete.c - the method topic.delete: its arguments, and the decision.
 */
#include "broker/call.h"
#include "broker/catalogue_change.h"
#include "broker/decision.h"
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
    enum error error = decision_check_version("topic", topic->version, delete->has_version,
                                              delete->version, refusal);
    if (error == OK) {
        error = decision_check_writable(rules, topic_shards(topic), refusal);
    }
    if (error != OK) {
        return error;
    }
    *topic_out = topic;
    *deleted_out = (struct catalogue_deleted){topic->id, catalogue->version + 1};
    return OK;
}
