/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain_call.h - the calls of ternmq_call() and ternmq_call_async().
 *
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_PLAIN_CALL_H
#define TOOLS_CLIENT_PLAIN_CALL_H

#include "tools/client/ternmq.h"

/* Ends all that are under way: their callbacks are told CLOSED. */
void plain_calls_drop(struct ternmq *client);

#endif
