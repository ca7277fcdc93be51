/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.h - what commands about one topic have in common.
 *
 * Threads: one.
 */
#ifndef TOOLS_CLI_TOPIC_H
#define TOOLS_CLI_TOPIC_H

#include "proto/base/bytes.h"
#include "proto/limits.h"
#include "tools/cli/change.h"
#include "tools/cli/command.h"

/* Whether a topic that is made, changed or produced to may be called so. False: it was said, and `*status_out` is the
 * exit status. */
bool topic_check_name(struct invocation *invocation, const char *name, int *status_out);

/*
 * The same of one that is read, shown or deleted, which %DLQ%GROUP may be, too. Each broker has its own of that
 * name, and no nameserver knows it: all brokers are asked, and where one alone has it, the invocation goes on as if
 * -b named that one.
 */
bool topic_check_any_name(struct invocation *invocation, const char *name, int *status_out);

/* Asks one of the topic's brokers for it (topic.show). The code that the client gives. */
int topic_ask(struct ternmq *client, const char *name, struct ternmq_answer *answer_out,
              struct ternmq_error *error_out);

/*
 * Asks all of the topic's brokers: `*topic_out` is one map. Of a topic on one broker it is what topic.show
 * answers; else `name`, `settings`, `placement`, `brokers`, a map each with what it says of itself, and
 * `queues`, a map for every queue in order, with its `broker`, and where it stands if that is alive. The
 * caller frees topic_out->data. The code that the client gives.
 */
int topic_gather(struct ternmq *client, const char *name, struct bytes *topic_out,
                 struct ternmq_error *error_out);

/* The names of an option --brokers. */
struct broker_names {
    uint32_t count;
    const char *names[PLACEMENT_PARTS_MAX];
    char text[PLACEMENT_PARTS_MAX * (BROKER_NAME_BYTES_MAX + 1) + 1];
};

/* What `topic create` asks for; an option that was not given is as it may be. */
struct topic_wish {
    const struct setting_value *queues;
    const struct setting_value *route;
    const struct setting_value *durability;
    const struct broker_names *brokers; /* none: wherever it is */
};

/* Compares it with the topic of an answer of topic.show. */
void topic_compare(const struct topic_wish *wish, struct bytes topic,
                   struct differences *differences);

#endif
