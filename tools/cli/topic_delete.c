/* SPDX-License-Identifier: Apache-2.0 */
/* topic_delete.c - the command `topic delete`. */
#include "proto/limits.h"
#include "tools/cli/json.h"
#include "tools/cli/topic.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct setting DELETE_ROWS[] = {
    {.name = "yes", .alias = 'y', .type = SETTING_FLAG, .help = "Do not ask"},
};

/* Whether whoever sits there types the topic's name. */
static bool is_confirmed(const char *name)
{
    char line[TOPIC_NAME_BYTES_MAX + 2];
    (void)fprintf(stderr,
                  "This deletes topic %s and all its messages. Type its name to go on: ", name);
    if (fgets(line, sizeof(line), stdin) == NULL) {
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, name) == 0;
}

static int run_delete(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    const char *name = invocation->words[0];
    if (!topic_check_name(invocation, name, &status)) {
        return status;
    }
    if (!invocation_option(invocation, 0)->given) {
        if (isatty(STDIN_FILENO) == 0) {
            return invocation_fail(invocation, EXIT_WRONG_USAGE,
                                   "topic %s and all its messages would be deleted: add --yes",
                                   name);
        }
        if (!is_confirmed(name)) {
            return invocation_fail(invocation, EXIT_FAILED, "topic %s was not deleted", name);
        }
    }
    struct ternmq *client = invocation_client(invocation, &status);
    if (client == NULL) {
        return status;
    }
    struct ternmq_error error;
    if (ternmq_topic_delete(client, name, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", name);
    }
    if (invocation->json) {
        struct json_object object = json_open(stdout);
        json_pair_text(&object, "name", name);
        json_key(&object, "deleted");
        (void)fputs("true", stdout);
        json_close(&object);
    } else {
        (void)printf("topic %s deleted\n", name);
    }
    return EXIT_DONE;
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
