/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_methods.h - the methods group.put, group.delete, group.list, group.show and group.seek.
 *
 * Put and delete travel to core 0, which decides (broker/catalogue_change.h); list reads the home core's
 * directory; show (broker/group_show.h) and seek (broker/group_seek.h) visit the queues.
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

/* `group.show`: where a group stands, and who is in it. */
void group_show_run(struct call *call, const struct arguments *arguments);

/* `group.seek`: a group goes on somewhere else. */
void group_seek_run(struct call *call, const struct arguments *arguments);

#endif
