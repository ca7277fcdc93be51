/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member.h - who receives for a group, by name.
 *
 * Made by the group's home (broker/home.h), which knows when a member was last seen; held by every range
 * that is leased to it, in whichever shard.
 *
 * Memory:  one block; whoever gives the last reference back frees it. A home keeps HOME_MEMBERS_MAX.
 * Threads: any; nothing but the counts changes.
 */
#ifndef BROKER_MEMBER_H
#define BROKER_MEMBER_H

#include "proto/base/bytes.h"
#include "proto/base/list.h"

#include <stdatomic.h>
#include <stdint.h>

struct group_member {
    _Atomic uint32_t references;
    _Atomic uint64_t leased; /* offsets, now */
    /* The home's alone. */
    struct list link;  /* home->by_seen: who was seen longest ago is first */
    uint32_t waiting;  /* its calls that wait */
    uint64_t seen_ms;  /* wall clock */
    struct bytes name; /* in this block */
};

/* A member with one reference. */
struct group_member *group_member_create(struct bytes name);

struct group_member *group_member_ref(struct group_member *member); /* NULL is allowed */
void group_member_unref(struct group_member *member);               /* NULL is allowed */

/* It has so many offsets more, or fewer. NULL is allowed. */
void group_member_take(struct group_member *member, uint64_t offsets);
void group_member_give(struct group_member *member, uint64_t offsets);

#endif
