/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle_receipt.h - one receipt in the shard of its queue: which of its offsets count, and what becomes of
 * them.
 *
 * Threads: the shard's core.
 */
#ifndef BROKER_SETTLE_RECEIPT_H
#define BROKER_SETTLE_RECEIPT_H

#include "broker/groups.h"
#include "broker/settle.h"

/* Settles what counts, a range a step of the `steps` that are left. False: there is more, for another call of
 * this. Else receipt->error is OK: every offset did. ERROR_LEASE_LOST: one did not; ERROR_TRUNCATED: a cursor
 * beyond the queue's end; or why the log takes nothing. */
bool settle_receipt(struct groups *groups, const struct settling *settling, struct receipt *receipt,
                    uint32_t *steps);

/* In an ordered group, behind what a nack's receipt has failed: what was given out with it and is later, of
 * the same keys where keys are ordered, is given back. For when all of the call's receipts are settled. False: as
 * above. */
bool settle_give_back_behind(struct groups *groups, struct receipt *receipt, uint32_t *steps);

#endif
