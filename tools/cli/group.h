/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group.h - what commands about one consumer group have in common.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_GROUP_H
#define TOOLS_CLI_GROUP_H

#include "proto/base/bytes.h"
#include "proto/group_settings.h"
#include "proto/limits.h"
#include "tools/cli/change.h"
#include "tools/cli/command.h"
#include "tools/cli/group_holders.h"

#include <stdbool.h>
#include <stdint.h>

/* The options of `group create` and `group set`, which refuses the last two by name. */
enum {
    GROUP_TOPIC,
    GROUP_FROM,
    GROUP_ATTEMPTS,
    GROUP_BACKOFF,
    GROUP_JITTER,
    GROUP_EXHAUSTED,
    GROUP_LEASE,
    GROUP_IDLE_EXPIRE,
    GROUP_ORDER,
    GROUP_BROADCAST,
    GROUP_ROW_COUNT,
};
extern const struct setting GROUP_ROWS[GROUP_ROW_COUNT];

/* The options as the library takes them, with the memory for it. */
struct group_wish {
    struct ternmq_group_options options;
    struct ternmq_group_topic topics[GROUP_TOPICS_MAX];
    char names[GROUP_TOPICS_MAX][TOPIC_NAME_BYTES_MAX + 1];
    uint32_t backoff_ms[GROUP_BACKOFF_MAX];
};

/* Reads what the command line says of the group `name`. False: it was said what is wrong, and
 * `*status_out` is the exit status. */
bool group_wish_read(struct invocation *invocation, const char *name, struct group_wish *wish_out,
                     int *status_out);

/* Says that it is no name of a group. Gives EXIT_WRONG_USAGE. */
int group_refuse_name(struct invocation *invocation, const char *name);

/* Reads where a new group begins: first, last, or a time, which `*from_ms_out` is then. False: it is none of these. */
bool group_from_read(const char *text, enum ternmq_from *from_out, uint64_t *from_ms_out);

/* How groups of a name differ from what was asked for; all 0 at first. */
struct group_comparison {
    struct differences differences;   /* empty: they are as asked */
    bool is_of_kind;                  /* a difference that no change takes away */
    bool has_topic[GROUP_TOPICS_MAX]; /* of those that were asked for: one of them reads it */
};

/* Compares the group of a row of group.list with all that was said. False: the row could not be read. */
bool group_compare(const struct group_wish *wish, struct bytes row,
                   struct group_comparison *comparison);

/* Settings as the command line has them: "queue"; "first" or a time; "orders=paid, refunds", cut where it is
 * longer than `bytes`. */
const char *group_order_name(enum group_order order);
const char *group_from_text(const struct group_settings *settings);
void group_topics_write(const struct group_settings *settings, char *text, size_t bytes);

/* The settings in a group's row of group.list, into which they point. False: it has none that can be read. */
bool group_settings_of_row(struct bytes row, struct group_settings *settings_out);

/*
 * Calls `row` for every group of every broker (one, with -b) whose name begins with `prefix`; `broker` is
 * "" with -b. False from it ends with EXIT_FAILED: the answer could not be read. The exit status. A broker
 * that does not answer any more is passed over, which is said and counted, and added to `silent_out` unless that is
 * NULL: EXIT_DONE says nothing of those.
 */
int group_each(struct invocation *invocation, const char *prefix,
               bool (*row)(void *context, const char *broker, struct bytes row), void *context,
               struct group_reach *reach_out, struct group_holders *silent_out);

#endif
