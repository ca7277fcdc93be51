/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delivery.h - a stored record as what the user gets.
 *
 * Threads: any; what a delivery points to lies in the record.
 */
#ifndef TOOLS_CLIENT_DELIVERY_H
#define TOOLS_CLIENT_DELIVERY_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>
#include <stdint.h>

/* Where a record must come from: what it says itself is compared. */
struct delivery_place {
    const char *topic; /* becomes the delivery's */
    uint32_t queue;
    uint64_t offset;
};

/*
 * Reads the record at the beginning of `available`, both its checksums included. False: it is none, or
 * another one, or changed on its way. `*delivery_out` is touched on success only.
 */
NODISCARD bool delivery_read(struct bytes available, const struct delivery_place *place,
                             struct ternmq_delivery *delivery_out);

#endif
