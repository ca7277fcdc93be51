/* SPDX-License-Identifier: Apache-2.0 */
/*
 * produce_messages.h - the messages of a produce call: checked, measured and made ready to append.
 *
 * All of them are checked before any is appended. Those whose encoder knows no difference between
 * str and bin are rewritten as they are stored; all others stay where they were received.
 *
 * Memory:  as said in broker/produce.h.
 * Threads: the call's home core.
 */
#ifndef BROKER_PRODUCE_MESSAGES_H
#define BROKER_PRODUCE_MESSAGES_H

#include "proto/arguments.h"
#include "proto/base/contract.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>

struct call;
struct topic;

/* Where the keys of a call's messages want to go. */
struct produce_route {
    bool keyed;     /* some message has a key; only looked at where the topic routes by key */
    uint16_t queue; /* where `keyed`: the one queue of all of them */
};

/*
 * Reads `messages` (and `crcs`, if given) into call->produce.append. On failure `refusal` is set
 * and what was taken is left to produce_release().
 *
 *   what message_read() refuses
 *   ERROR_BAD_ARGUMENT  {key: crcs}  not one checksum a message
 *   ERROR_CRC_MISMATCH
 *   ERROR_MIXED_QUEUES  {queues}     the keys belong to several queues
 */
NODISCARD enum error produce_messages_read(struct call *call, const struct topic *topic,
                                           const struct arguments *arguments,
                                           struct produce_route *route_out,
                                           struct refusal *refusal);

/* Gives back the list and the rewritten messages. */
void produce_messages_release(struct call *call);

#endif
