/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consume_exec.h - runs a command on a message: its body on standard input, the rest in the environment.
 *
 * The body lies in memory that the command reads as a file, so nobody waits for a command that does not
 * read. While it runs the client's loop does too, which keeps the message's lease.
 *
 * A command is a process group of its own: Ctrl-C of a terminal is for `ternmq` alone, which tells all of
 * the command to end, with what it has begun, and knows so that it did not fail by itself. Such a group may write
 * to the terminal, and not read from it.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_CONSUME_EXEC_H
#define TOOLS_CLI_CONSUME_EXEC_H

#include "tools/cli/command.h"
#include "tools/client/ternmq_groups.h"

enum { EXEC_REASON_BYTES = 64 };

/* How a command ended. */
struct exec_end {
    bool was_interrupted; /* it was told to end: what it did is not known to be done */
    bool succeeded;
    char reason[EXEC_REASON_BYTES]; /* else why not: "exit status 3" */
};

/*
 * Runs `words` (one: by the shell) and waits for its end. After SIGINT, SIGTERM or SIGHUP its process group gets
 * SIGTERM, what is left of that after 5 s SIGKILL, and the end of all of it is waited for. What a command leaves
 * running by itself is not touched. False: it could not be begun, and that was said.
 */
bool exec_run(struct invocation *invocation, char **words, int word_count,
              const struct ternmq_received *received, struct exec_end *end_out);

#endif
