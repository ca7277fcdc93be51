/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change.h - what commands that make or change something ask before, find there, and say afterwards.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_CHANGE_H
#define TOOLS_CLI_CHANGE_H

#include "tools/cli/command.h"

/* The one option of a command that deletes. */
extern const struct setting DELETE_ROWS[1];

/* Unless --yes is given, asks for the name of the `noun` (a topic, a group) that would go with `all_that`, as in
 * "and all its messages". EXIT_DONE: go on; else it was said why not. */
int change_confirm_delete(struct invocation *invocation, const char *noun, const char *name,
                          const char *all_that);

/* Says that it is done, as in "topic orders deleted": what is as asked now, whether it was so before or not. Gives
 * EXIT_DONE. */
int change_say_done(const struct invocation *invocation, const char *noun, const char *name,
                    const char *done);

/* How what is there already differs from what was asked for: "--queues is 4, --route is any"; what does not fit is
 * cut. All 0 at first. */
struct differences {
    char text[512];
    size_t used; /* 0: it does not differ */
};

void differences_add(struct differences *differences, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
