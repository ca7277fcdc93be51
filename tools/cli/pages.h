/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages.h - rows that a server answers page by page (topic.list, broker.list, group.list), to their end.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_PAGES_H
#define TOOLS_CLI_PAGES_H

#include "proto/base/bytes.h"
#include "tools/cli/command.h"

#include <stdbool.h>
#include <stdint.h>

struct pages {
    enum ternmq_to to;
    const char *broker; /* with TERNMQ_TO_BROKER; else "" */
    const char *method;
    const char *prefix; /* of the names; "": all */
    bool
        is_away; /* out: the broker does not answer, which was said: there are no more rows of it */
    uint64_t warming_ms; /* out: for so long a nameserver may not know every broker; 0: it does */
};

/*
 * Calls `row` for every row, which is good until it returns; `broker` is that of `pages`. False from it ends with
 * EXIT_FAILED: the row could not be read. The exit status; a named broker that does not answer is passed over, which
 * is said and EXIT_DONE. Refuses a broker where a nameserver is meant, and pages that do not go on.
 */
int pages_each(struct invocation *invocation, struct pages *pages,
               bool (*row)(void *context, const char *broker, struct bytes row), void *context);

/* Says that there is no `what` (a topic, a group) whose name begins with `prefix`: an empty table looks like a failure. */
void pages_say_none(struct invocation *invocation, const char *what, const char *prefix);

#endif
