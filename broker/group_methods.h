/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_methods.h - the methods group.put, group.delete and group.list.
 *
 * Put and delete travel to core 0, which decides (broker/catalogue_change.h); list reads the home core's
 * directory.
 *
 * Threads: as the call.
 */
#ifndef BROKER_GROUP_METHODS_H
#define BROKER_GROUP_METHODS_H

#include "proto/arguments.h"

struct call;

/* `group.put`: makes a group, or changes its settings. */
void group_put_run(struct call *call, const struct arguments *arguments);

/* `group.delete`: the group, and where it stands in its queues. */
void group_delete_run(struct call *call, const struct arguments *arguments);

/* `group.list`: names and settings, in the order of the names, a page at a time. */
void group_list_run(struct call *call, const struct arguments *arguments);

#endif
