/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reason.h - why an attempt at a message failed, counted, because many messages fail alike.
 *
 * Memory:  one block a text; whoever gives the last reference back frees it.
 * Threads: any; nothing but the count changes.
 */
#ifndef BROKER_REASON_H
#define BROKER_REASON_H

#include "proto/base/bytes.h"
#include "proto/events_groups.h"

#include <stdatomic.h>
#include <stdint.h>

struct reason {
    _Atomic uint32_t references;
    uint8_t length; /* 1 to REASON_BYTES_MAX */
    uint8_t text[];
};

static_assert(REASON_BYTES_MAX <= UINT8_MAX, "its length is a byte");

/* A reference to a reason of this text; `like`, which may be NULL, is taken where it says the same.
 * NULL of an empty text. */
struct reason *reason_make(struct bytes text, struct reason *like);

struct reason *reason_ref(struct reason *reason); /* NULL is allowed */
void reason_unref(struct reason *reason);         /* NULL is allowed */

/* Its text; empty of NULL. */
struct bytes reason_text(const struct reason *reason);

#endif
