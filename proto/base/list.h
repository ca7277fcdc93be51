/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.h - an intrusive, circular, doubly linked list.
 *
 * A `struct list` is either the head of a list or the link inside a member. A member that is in
 * no list links to itself, so that list_remove() may be called on it again. Members are found
 * back with CONTAINER_OF. The list owns nothing.
 *
 * Threads: whoever owns the members.
 */
#ifndef PROTO_BASE_LIST_H
#define PROTO_BASE_LIST_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *previous;
};

/* Makes a head empty, or a member's link belong to no list. */
static inline void list_init(struct list *list)
{
    list->next = list;
    list->previous = list;
}

/* True of a head without members, and of a link that is in no list. */
static inline bool list_is_empty(const struct list *list)
{
    return list->next == list;
}

/* Puts `link`, which is in no list, before `place`; before the head is the end of the list. */
static inline void list_insert_before(struct list *place, struct list *link)
{
    link->next = place;
    link->previous = place->previous;
    place->previous->next = link;
    place->previous = link;
}

static inline void list_append(struct list *head, struct list *link)
{
    list_insert_before(head, link);
}

static inline void list_prepend(struct list *head, struct list *link)
{
    list_insert_before(head->next, link);
}

/* Takes `link` out of the list it is in, if any; afterwards it is in none. */
static inline void list_remove(struct list *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    list_init(link);
}

/* The first link, or NULL when the list is empty. */
static inline struct list *list_first(const struct list *head)
{
    return head->next == head ? NULL : head->next;
}

/* The last link, or NULL when the list is empty. */
static inline struct list *list_last(const struct list *head)
{
    return head->previous == head ? NULL : head->previous;
}

/* Removes and gives the first link, or NULL when the list is empty. */
static inline struct list *list_take_first(struct list *head)
{
    struct list *link = list_first(head);
    if (link != NULL) {
        list_remove(link);
    }
    return link;
}

/* Moves all members of `from` to the end of `to`, in order; `from` is empty afterwards. */
static inline void list_move_all(struct list *to, struct list *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}

/* Walks the links; the body may remove `link`, because the next one is read before it runs. */
#define LIST_FOREACH(link, head)                                                             \
    for (struct list * (link) = (head)->next, *link##_next = (link)->next; (link) != (head); \
         (link) = link##_next, link##_next = (link)->next)

#endif
