/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue_rows.h - what the files of the catalogue know of each other; for them alone.
 *
 * Threads: the shard's core.
 */
#ifndef BROKER_CATALOGUE_ROWS_H
#define BROKER_CATALOGUE_ROWS_H

#include "broker/catalogue.h"

extern const struct view_operations catalogue_view_operations;

/* Of both maps of names. */
extern const struct map_seed catalogue_seed;

/* Back to the state of an empty log; the log must not be attached. */
void catalogue_clear(struct catalogue *catalogue);

/* The order in which deletions are kept: negative, 0 or positive. By version, which is theirs alone
 * in logs of ours; by id where it is not. */
int catalogue_compare_deleted(const struct catalogue_deleted *a, const struct catalogue_deleted *b);

/* Apply an entity's whole value, unless a newer one is there. */
void catalogue_put_topic(struct catalogue *catalogue, const struct topic_parts *parts);
void catalogue_put_group(struct catalogue *catalogue, struct group *group); /* takes a reference */
void catalogue_delete(struct catalogue *catalogue, const struct catalogue_deleted *deleted);

/* Takes the group of `id` out, if there is one. */
void catalogue_drop_group(struct catalogue *catalogue, uint32_t id);

/* Back to no groups. */
void catalogue_clear_groups(struct catalogue *catalogue);

/* Notes a version and an id that exist or existed. */
void catalogue_note(struct catalogue *catalogue, uint32_t id, uint64_t version);

/* False: the name or value is too long or no text, or there are too many settings. */
NODISCARD bool catalogue_put_setting(struct catalogue *catalogue, struct bytes name,
                                     struct bytes value, uint64_t version);

#endif
