/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_holders.h - the brokers that have a group, calls to each of them, and what they answer.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_GROUP_HOLDERS_H
#define TOOLS_CLI_GROUP_HOLDERS_H

#include "proto/base/bytes.h"
#include "proto/cursor.h"
#include "proto/limits.h"
#include "tools/cli/command.h"

#include <stdbool.h>
#include <stddef.h>

/* How many brokers were asked, and how many of them answered: who did not may have what was not found. */
struct group_reach {
    size_t brokers;
    size_t away; /* which was said of each */
};

/* What is known after all were asked: EXIT_DONE where one answered at least, else it was said of `what` that
 * none did. */
int group_reach_check(struct invocation *invocation, const struct group_reach *reach,
                      const char *what);

/* The exit status of what was done at those that answered: not EXIT_DONE where one did not. */
int group_reach_status(const struct group_reach *reach, int status);

/* A broker that has queues of a group's topics, and not the group as far as is known. */
enum group_gap_kind {
    GROUP_GAP_AWAY,   /* it holds no lease */
    GROUP_GAP_SILENT, /* it was asked, and did not answer */
    GROUP_GAP_LACKING /* it answered that it does not have it */
};
struct group_gap {
    enum group_gap_kind kind;
    char broker[BROKER_NAME_BYTES_MAX + 1];
};

/* What a group reads, at all brokers together. */
struct group_topics {
    uint32_t count;
    char names[GROUP_TOPICS_MAX][TOPIC_NAME_BYTES_MAX + 1];
};

struct group_holders {
    const char *group;
    char (*brokers)[BROKER_NAME_BYTES_MAX + 1]; /* their names; "" with -b */
    size_t count;
    struct group_reach reach; /* of the search */
    /* What group_holders_find() adds. */
    bool has_filter;   /* of one of its topics at least */
    bool is_key_order; /* the messages of a key come in order */
    struct group_topics *topics;
    struct group_gap *gaps; /* each broker once */
    size_t gap_count;
};

/* Finds them; a bad name, none, or nobody to ask, is an error that was said. So is a broker that did not answer. A gap is only
 * noted, and one that is away counted as asked. The exit status; the rest to be freed in any case. */
int group_holders_find(struct invocation *invocation, const char *group,
                       struct group_holders *holders_out);

/* Says which brokers are away, and group_holders_say_gaps() which lack the group, too. Of silent ones it was said. For
 * who changes the group it stays there as it was; for others it is not known what is there. */
void group_holders_say_away(struct invocation *invocation, const struct group_holders *holders,
                            bool changes);
void group_holders_say_gaps(struct invocation *invocation, const struct group_holders *holders,
                            bool changes);

/* Finds all brokers that there are, whatever groups they have and whether they answer. */
int group_holders_all(struct invocation *invocation, struct group_holders *holders_out);
void group_holders_free(struct group_holders *holders);

/* Adds a broker. False: no memory. */
bool group_holders_add(struct group_holders *holders, struct bytes broker);

/* Whether a broker is among them. */
bool group_holders_has(const struct group_holders *holders, const char *broker);

/* Sends a call to the broker of that name; "": to the one of -b. */
void group_holders_address(const char *broker, struct ternmq_call *call);

/* Calls `method` at one of them. As invocation_call(). */
int group_holders_call(struct invocation *invocation, const struct group_holders *holders,
                       size_t index, const char *method, struct ternmq_bytes arguments,
                       struct ternmq_answer *answer_out);

/* Whether a broker is gone while all are asked: then it is passed over, which is said. */
bool group_holders_pass_over(struct invocation *invocation, const char *broker,
                             const struct ternmq_error *error);

/* The array of maps that is the value of `key` in an answer: its rows, one by one. */
struct group_rows {
    struct cursor cursor;
    uint32_t left;
};
bool group_rows_begin(struct group_rows *rows, struct bytes answer, const char *key);
bool group_rows_next(struct group_rows *rows, struct bytes *row_out);

/* Prints a map as the broker answered it, behind the broker's name where there is one, as a JSON object. False:
 * it could not be read. */
bool group_print_json(const char *broker, struct bytes map);

#endif
