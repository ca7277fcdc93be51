/* SPDX-License-Identifier: Apache-2.0 */
/* topic_delete.c - the command `topic delete`. */
#include "tools/cli/change.h"
#include "tools/cli/topic.h"

static int run_delete(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    const char *name = invocation->words[0];
    if (!topic_check_any_name(invocation, name, &status)) {
        return status;
    }
    status = change_confirm_delete(invocation, "topic", name, "and all its messages");
    struct ternmq *client = status == EXIT_DONE ? invocation_client(invocation, &status) : NULL;
    if (client == NULL) {
        return status;
    }
    struct ternmq_error error;
    if (ternmq_topic_delete(client, name, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", name);
    }
    return change_say_done(invocation, "topic", name, "deleted");
}

const struct command TOPIC_DELETE_COMMAND = {
    .group = "topic",
    .name = "delete",
    .arguments = "NAME [--yes]",
    .summary = "Delete a topic and all its messages",
    .help =
        "  ternmq topic delete orders                      asks first\n"
        "  ternmq topic delete orders --yes                for scripts\n\n"
        "Its messages can be read no more. Their room on the disk becomes free only when the broker's\n"
        "--retain-bytes removes the segments they lie in; that is 0 unless set: never.\n",
    .rows = DELETE_ROWS,
    .row_count = 1,
    .words_least = 1,
    .words_most = 1,
    .run = run_delete,
};
