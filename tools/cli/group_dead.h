/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_dead.h - the options of `group dead`, and its two verbs that settle.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_GROUP_DEAD_H
#define TOOLS_CLI_GROUP_DEAD_H

#include "tools/cli/command.h"

#include <stdbool.h>

enum { DEAD_FILTER, DEAD_RATE, DEAD_DRY_RUN, DEAD_LIMIT, DEAD_ROW_COUNT };

/* `redrive`: dead letters go back to where they were, and `discard`: they are settled. The exit status. */
int group_redrive_run(struct invocation *invocation, const char *group, bool discards);

/* For who found no dead letters at all: an error that is said where there is no such group either, or a broker is
 * away that would know. The exit status. */
int group_dead_check_group(struct invocation *invocation, const char *group);

#endif
