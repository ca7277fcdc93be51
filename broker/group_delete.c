/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_delete.c - the method group.delete: its arguments, and the decision.
 */
#include "broker/call.h"
#include "broker/catalogue_change.h"
#include "broker/decision.h"
#include "broker/group_decision.h"
#include "broker/group_methods.h"

void group_delete_run(struct call *call, const struct arguments *arguments)
{
    const struct group_delete delete = {
        .name = arguments_bytes(arguments, ARGUMENT_NAME),
        .has_version = arguments_has(arguments, ARGUMENT_VERSION),
        .version = arguments_number(arguments, ARGUMENT_VERSION),
    };
    catalogue_change_delete_group(call, &delete);
}

enum error group_delete_decide(const struct catalogue *catalogue,
                               const struct catalogue_rules *rules,
                               const struct group_delete *delete, struct group **group_out,
                               struct catalogue_deleted *deleted_out, struct refusal *refusal)
{
    struct group *group = catalogue_find_group(catalogue, delete->name);
    if (group == NULL) {
        return group_refuse_missing(delete->name, refusal);
    }
    enum error error = decision_check_version("group", group->version, delete->has_version,
                                              delete->version, refusal);
    if (error == OK) {
        error = decision_check_writable(rules, DECISION_ALL_SHARDS, refusal);
    }
    if (error != OK) {
        return error;
    }
    *group_out = group;
    *deleted_out = (struct catalogue_deleted){group->id, catalogue->version + 1};
    return OK;
}
