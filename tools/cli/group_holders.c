/* SPDX-License-Identifier: Apache-2.0 */
/* group_holders.c - the brokers that have a group. */
#include "tools/cli/group_holders.h"

#include "proto/base/contract.h"
#include "tools/cli/group.h"
#include "tools/cli/show.h"

#include <stdio.h>
#include <stdlib.h>

static bool note_holder(void *context, const char *broker, struct bytes row)
{
    struct group_holders *holders = context;
    struct bytes name;
    if (!result_find_text(row, "name", &name)) {
        return false;
    }
    if (!bytes_equal(name, bytes_from_string(holders->group))) {
        return true;
    }
    void *grown = realloc(holders->brokers, (holders->count + 1) * sizeof(holders->brokers[0]));
    if (grown == NULL) {
        return false;
    }
    holders->brokers = grown;
    (void)snprintf(holders->brokers[holders->count++], sizeof(holders->brokers[0]), "%s", broker);
    return true;
}

int group_holders_find(struct invocation *invocation, const char *group,
                       struct group_holders *holders_out)
{
    *holders_out = (struct group_holders){.group = group};
    int status = group_each(invocation, group, note_holder, holders_out);
    if (status == EXIT_DONE && holders_out->count == 0) {
        status =
            invocation_fail(invocation, EXIT_FAILED,
                            "there is no group %s (GROUP_NOT_FOUND); 'ternmq group list' shows "
                            "what there is",
                            group);
    }
    return status;
}

void group_holders_free(struct group_holders *holders)
{
    free(holders->brokers);
    holders->brokers = NULL;
    holders->count = 0;
}

int group_holders_call(struct invocation *invocation, const struct group_holders *holders,
                       size_t index, const char *method, struct ternmq_bytes arguments,
                       struct ternmq_answer *answer_out)
{
    const char *broker = holders->brokers[index];
    char what[GROUP_ANY_NAME_BYTES_MAX + BROKER_NAME_BYTES_MAX + 32];
    (void)snprintf(what, sizeof(what), "group %s%s%s", holders->group,
                   broker[0] == '\0' ? "" : " on broker ", broker);
    const struct ternmq_call call = {
        .to = broker[0] == '\0' ? TERNMQ_TO_ANY_BROKER : TERNMQ_TO_BROKER,
        .to_name = broker[0] == '\0' ? NULL : broker,
        .method = method,
        .arguments = arguments,
    };
    return invocation_call(invocation, &call, answer_out, what);
}

bool group_rows_begin(struct group_rows *rows, struct bytes answer, const char *key)
{
    rows->left = 0;
    return result_find(answer, key, &rows->cursor) && cursor_take_array(&rows->cursor, &rows->left);
}

bool group_rows_next(struct group_rows *rows, struct bytes *row_out)
{
    if (rows->left == 0) {
        return false;
    }
    rows->left--;
    return cursor_take_span(&rows->cursor, row_out);
}
