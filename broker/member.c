/* SPDX-License-Identifier: Apache-2.0 */
/* member.c - counted members. */
#include "broker/member.h"

#include "proto/base/contract.h"

#include <stdlib.h>
#include <string.h>

struct group_member *group_member_create(struct bytes name)
{
    struct group_member *member = calloc(1, sizeof(*member) + name.length);
    ASSERT(member != NULL);
    atomic_init(&member->references, 1);
    atomic_init(&member->leased, 0);
    list_init(&member->link);
    uint8_t *text = (uint8_t *)(member + 1);
    memcpy(text, name.data, name.length);
    member->name = bytes_make(text, name.length);
    return member;
}

struct group_member *group_member_ref(struct group_member *member)
{
    if (member != NULL) {
        atomic_fetch_add_explicit(&member->references, 1, memory_order_relaxed);
    }
    return member;
}

void group_member_unref(struct group_member *member)
{
    if (member != NULL &&
        atomic_fetch_sub_explicit(&member->references, 1, memory_order_acq_rel) == 1) {
        free(member);
    }
}

void group_member_take(struct group_member *member, uint64_t offsets)
{
    if (member != NULL) {
        atomic_fetch_add_explicit(&member->leased, offsets, memory_order_relaxed);
    }
}

void group_member_give(struct group_member *member, uint64_t offsets)
{
    if (member != NULL) {
        atomic_fetch_sub_explicit(&member->leased, offsets, memory_order_relaxed);
    }
}
