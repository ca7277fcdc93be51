/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.h - what commands about one topic have in common.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_TOPIC_H
#define TOOLS_CLI_TOPIC_H

#include "tools/cli/command.h"

/* Whether a topic may be called so. False: it was said, and `*status_out` is the exit status. */
bool topic_check_name(struct invocation *invocation, const char *name, int *status_out);

/* Asks the topic's broker for it (topic.show). The code that the client gives. */
int topic_ask(struct ternmq *client, const char *name, struct ternmq_answer *answer_out,
              struct ternmq_error *error_out);

#endif
