/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dispatch.h - from a frame to the method that runs it.
 *
 * One row a method: the function that runs it, and nothing else; what its arguments may be stands
 * in proto/methods.def. A frame that is no request is answered with MALFORMED where it has a
 * msgid, and is counted.
 *
 * Threads: the session's core.
 */
#ifndef BROKER_DISPATCH_H
#define BROKER_DISPATCH_H

#include "proto/arguments.h"
#include "proto/base/bytes.h"

struct buffer;
struct call;
struct session;

/*
 * A method, on the call's home core. `arguments` have passed the rules of methods.def and point
 * into the call's buffer; they are gone on return, what is needed later is kept in the call. It
 * ends the call, or sends it on its way.
 */
typedef void method_run_fn(struct call *call, const struct arguments *arguments);

/* Runs the request in `frame`, which lies in `buffer`. The connection may be closing on return. */
void dispatch_frame(struct session *session, struct bytes frame, struct buffer *buffer);

#endif
