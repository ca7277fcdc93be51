/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.h - a client on a reactor that somebody else runs: many clients in one thread, as the load
 * generator has them, or clients in a simulated cluster. Not installed.
 *
 * An attached client is asynchronous only: functions that block, ternmq_poll() and ternmq_close()
 * are not for it (TERNMQ_USAGE, or asserted where there is no answer); ternmq_consume() works with
 * `wait_ms` 0.
 *
 * Threads: the reactor's.
 */
#ifndef TOOLS_CLIENT_ATTACH_H
#define TOOLS_CLIENT_ATTACH_H

#include "tools/client/ternmq.h"

struct reactor;

/* As ternmq_open(), on `reactor`, which outlives it. `receive_bytes_max` is the client's share of the
 * reactor's receive buffers: with 0 its consumers hold none of them and copy what comes. */
struct ternmq *client_attach(struct reactor *reactor, const struct ternmq_options *options,
                             struct ternmq_error *error_out);

/*
 * Ends it as ternmq_close() does. Its connections come home in later turns; `detached(context)`
 * runs then, once (at once if there is none; NULL: nobody is told), and nothing of it is left. Not
 * from a callback of this client.
 */
void client_detach(struct ternmq *client, void (*detached)(void *context), void *context);

#endif
