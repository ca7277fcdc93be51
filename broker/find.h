/* SPDX-License-Identifier: Apache-2.0 */
/*
 * find.h - the method `message.get`: one message by its topic, queue and offset.
 *
 * Travels and is answered as a pull of one record that never waits.
 *
 * Threads: as the call.
 */
#ifndef BROKER_FIND_H
#define BROKER_FIND_H

#include "proto/arguments.h"

struct call;

/* `message.get`. */
void message_get_run(struct call *call, const struct arguments *arguments);

#endif
