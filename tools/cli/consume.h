/* SPDX-License-Identifier: Apache-2.0 */
/*
 * consume.h - the options of `consume`, which reads alone or as a member of a group.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_CONSUME_H
#define TOOLS_CLI_CONSUME_H

#include "tools/cli/command.h"

/* How often one who waits for messages looks whether its reader has gone. */
enum { CONSUME_WAIT_MS = 500 };

/* From CONSUME_MEMBER on they are of members alone. */
enum {
    CONSUME_FROM,
    CONSUME_QUEUE,
    CONSUME_COUNT,
    CONSUME_FILTER,
    CONSUME_FOLLOW,
    CONSUME_FORMAT,
    CONSUME_GROUP,
    CONSUME_MEMBER,
    CONSUME_LEASE,
    CONSUME_ACK,
    CONSUME_CREDIT,
    CONSUME_IDLE,
    CONSUME_ROW_COUNT,
};

/* Consumes as a member of --group. The exit status. */
int consume_group_run(struct invocation *invocation);

#endif
