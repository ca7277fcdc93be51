/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name_index.h - an intrusive ordered index of names: lookup, and walks in the order of the bytes.
 *
 * A treap: a binary tree by name that is also a heap by a priority hashed from the name under a seed
 * that peers do not know, so that no order of insertions makes it deep. The members embed a
 * `struct name_node` and own the bytes of their name; the index owns nothing.
 *
 * Threads: whoever owns the index.
 */
#ifndef NAMESERVER_NAME_INDEX_H
#define NAMESERVER_NAME_INDEX_H

#include "proto/base/bytes.h"
#include "proto/base/map.h"

#include <stdint.h>

struct name_node {
    struct bytes name; /* set by the member before it is inserted, and still until it is removed */
    struct name_node *left;
    struct name_node *right;
    uint64_t priority;
};

struct name_index {
    struct name_node *root;
    uint32_t count;
    struct map_seed seed;
};

void name_index_init(struct name_index *index, struct map_seed seed);

/* The member of that name, or NULL. */
struct name_node *name_index_find(const struct name_index *index, struct bytes name);

/* The first member whose name is not below `name`, or NULL. */
struct name_node *name_index_from(const struct name_index *index, struct bytes name);

/* The first member whose name is above `name`, or NULL. */
struct name_node *name_index_after(const struct name_index *index, struct bytes name);

/* Puts in a node whose name is not there yet (asserted). */
void name_index_insert(struct name_index *index, struct name_node *node);

/* Takes out a node that is there (asserted). */
void name_index_remove(struct name_index *index, struct name_node *node);

#endif
