/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_delete.c - the method group.delete: its arguments, and the decision.
 */
#include "broker/call.h"
#include "broker/catalogue_change.h"
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
        return refusal_set(refusal, ERROR_GROUP_NOT_FOUND, "there is no group '%.*s'",
                           (int)delete->name.length, (const char *)delete->name.data);
    }
    if (delete->has_version && delete->version != group->version) {
        refusal_set(refusal, ERROR_CONFLICT, "the group is at version %llu, not %llu",
                    (unsigned long long)group->version, (unsigned long long)delete->version);
        refusal_add(refusal, REFUSAL_VERSION, group->version);
        return ERROR_CONFLICT;
    }
    enum error error = group_check_writable(rules, refusal);
    if (error != OK) {
        return error;
    }
    *group_out = group;
    *deleted_out = (struct catalogue_deleted){group->id, catalogue->version + 1};
    return OK;
}
