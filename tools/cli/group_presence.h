/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_presence.h - makes sure that a group is on every broker of a topic, for who consumes by it.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_GROUP_PRESENCE_H
#define TOOLS_CLI_GROUP_PRESENCE_H

#include "tools/cli/command.h"

/* What is asked of the group. */
struct group_need {
    const char *group;
    const char *topic;
    const char *filter; /* NULL: nothing is said of it */
    enum ternmq_from from;
    uint64_t from_ms; /* with TERNMQ_FROM_TIME */
    bool from_given;  /* by the user: a group that is there already does not do that */
    bool
        was_there; /* a moment ago: where nobody has it any more it was deleted, and is not made again */
    bool
        has_member; /* the user named the member: one of a broadcast has to have a name of its own */
};

/*
 * Makes the group where it is missing, which is said, and refuses one that does not read the topic, or
 * not so, and a broadcast without a member's name. The exit status.
 */
int group_presence_ensure(struct invocation *invocation, const struct group_need *need);

#endif
