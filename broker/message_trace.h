/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_trace.h - the method message.trace: what became of one message in each group.
 *
 *     home --> the message's shard: its record's head, groups' state, events (broker/delivery_trace.h) --> home
 *
 * State says where the message is in every group that reads its topic, TRACED_GROUPS_MAX of them in one answer,
 * which says where to go on; events say how it came there, as far as they are still kept: the newest
 * TRACED_EVENTS_MAX about it. A head that is cold is brought from the disk first.
 *
 * Memory:  of the call: the answer, below 1 MiB.
 * Threads: as the call.
 */
#ifndef BROKER_MESSAGE_TRACE_H
#define BROKER_MESSAGE_TRACE_H

#include "proto/arguments.h"

struct call;

/* Deliveries of one message that are told: more than ten groups' worth of all default attempts. */
#define TRACED_EVENTS_MAX 256

/* Groups that are told of in one answer: a person reads fewer, and they take 600 KiB at the most. */
#define TRACED_GROUPS_MAX 1024

/* `message.trace`. */
void message_trace_run(struct call *call, const struct arguments *arguments);

#endif
