/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_methods.h - the methods topic.put, topic.delete, topic.show and topic.list.
 *
 * Put and delete travel to core 0, which decides (broker/catalogue_change.h); show asks the cores of the
 * topic's shards where its queues stand; list reads the home core's directory.
 *
 * Threads: as the call.
 */
#ifndef BROKER_TOPIC_METHODS_H
#define BROKER_TOPIC_METHODS_H

#include "proto/arguments.h"

struct call;

/* `topic.put`: makes a topic, or changes its settings or gives it more queues. */
void topic_put_run(struct call *call, const struct arguments *arguments);

/* `topic.delete`: the topic, its queues and their messages. */
void topic_delete_run(struct call *call, const struct arguments *arguments);

/* `topic.show`: its settings, and per queue where it lies and stands. */
void topic_show_run(struct call *call, const struct arguments *arguments);

/* `topic.list`: names and settings, in the order of the names, a page at a time. */
void topic_list_run(struct call *call, const struct arguments *arguments);

#endif
