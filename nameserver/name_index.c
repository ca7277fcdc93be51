/* SPDX-License-Identifier: Apache-2.0 */
/* name_index.c - the treap, without recursion: depth is the stack's business only in theory. */
#include "nameserver/name_index.h"

#include "proto/base/contract.h"

void name_index_init(struct name_index *index, struct map_seed seed)
{
    *index = (struct name_index){.root = NULL, .count = 0, .seed = seed};
}

struct name_node *name_index_find(const struct name_index *index, struct bytes name)
{
    struct name_node *node = index->root;
    while (node != NULL) {
        int order = bytes_compare(name, node->name);
        if (order == 0) {
            return node;
        }
        node = order < 0 ? node->left : node->right;
    }
    return NULL;
}

/* The least member whose name compares above `least` - 1: >= name for 0, > name for 1. */
static struct name_node *first_with_order(const struct name_index *index, struct bytes name,
                                          int least)
{
    struct name_node *best = NULL;
    struct name_node *node = index->root;
    while (node != NULL) {
        int order = bytes_compare(node->name, name);
        order = (order > 0) - (order < 0);
        if (order >= least) {
            best = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return best;
}

struct name_node *name_index_from(const struct name_index *index, struct bytes name)
{
    return first_with_order(index, name, 0);
}

struct name_node *name_index_after(const struct name_index *index, struct bytes name)
{
    return first_with_order(index, name, 1);
}

/* Cuts a tree in two: names below `name`, and those above it. */
static void split(struct name_node *tree, struct bytes name, struct name_node **below_out,
                  struct name_node **above_out)
{
    struct name_node **below = below_out;
    struct name_node **above = above_out;
    while (tree != NULL) {
        if (bytes_compare(tree->name, name) < 0) {
            *below = tree;
            below = &tree->right;
            tree = tree->right;
        } else {
            *above = tree;
            above = &tree->left;
            tree = tree->left;
        }
    }
    *below = NULL;
    *above = NULL;
}

/* Joins two trees of which all names of the first are below all of the second. */
static struct name_node *join(struct name_node *below, struct name_node *above)
{
    struct name_node *root = NULL;
    struct name_node **place = &root;
    while (below != NULL && above != NULL) {
        if (below->priority > above->priority) {
            *place = below;
            place = &below->right;
            below = below->right;
        } else {
            *place = above;
            place = &above->left;
            above = above->left;
        }
    }
    *place = below != NULL ? below : above;
    return root;
}

void name_index_insert(struct name_index *index, struct name_node *node)
{
    node->priority = map_hash(index->seed, node->name);
    struct name_node **place = &index->root;
    while (*place != NULL && (*place)->priority >= node->priority) {
        int order = bytes_compare(node->name, (*place)->name);
        ASSERT(order != 0);
        place = order < 0 ? &(*place)->left : &(*place)->right;
    }
    split(*place, node->name, &node->left, &node->right);
    *place = node;
    index->count++;
}

void name_index_remove(struct name_index *index, struct name_node *node)
{
    struct name_node **place = &index->root;
    while (*place != NULL && *place != node) {
        bool below = bytes_compare(node->name, (*place)->name) < 0;
        place = below ? &(*place)->left : &(*place)->right;
    }
    ASSERT(*place == node);
    *place = join(node->left, node->right);
    node->left = NULL;
    node->right = NULL;
    index->count--;
}
