/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle_lost.h - what of a lease was lost with an epoch that is over.
 *
 * A power cut takes messages that were not durable, and others get their offsets in the next epoch, while the
 * generation of a group stays. So an ack with a lease of an older epoch counts for what is of that epoch or of one
 * before: the records say so (storage/commit_log.h). What is not in the page cache is brought first; the call
 * goes on in a turn after that.
 *
 * Memory:  about 250 bytes while a call waits for the disk.
 * Threads: the shard's core.
 */
#ifndef BROKER_SETTLE_LOST_H
#define BROKER_SETTLE_LOST_H

#include "broker/settle.h"

#include <stdbool.h>

struct core;

/* Before a receipt is begun, in settling->shard: cuts off what does not certainly lie there as it was given out, notes it as
 * missed. False: that is cold; the call is put to core->settling when it is not. */
bool settle_cut_lost(struct settling *settling, struct receipt *receipt, struct core *at);

/* Whether the call waits for the disk. */
bool settle_is_cold(const struct settling *settling);

#endif
