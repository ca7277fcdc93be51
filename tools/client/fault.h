/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.h - fills `struct ternmq_error`, from the server's words or the library's own.
 *
 * Threads: any; nothing here has state.
 */
#ifndef TOOLS_CLIENT_FAULT_H
#define TOOLS_CLIENT_FAULT_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "tools/client/ternmq.h"

/* Fills `*error` (NULL is allowed), all details absent, and gives `code` back. */
int fault_set(struct ternmq_error *error, int code, enum ternmq_stored stored, const char *format,
              ...) __attribute__((format(printf, 4, 5)));

/*
 * Fills `*error` from the `error` element of an answer that came from `address`. What is no error of
 * the protocol becomes TERNMQ_PROTOCOL.
 */
void fault_read(struct ternmq_error *error, struct bytes element, const char *address);

/* Copies to `*error_out`, if that is not NULL, and gives the code. */
int fault_give(const struct ternmq_error *error, struct ternmq_error *error_out);

/* True where trying again may help and nothing was stored: what the library does by itself. */
bool fault_can_retry(const struct ternmq_error *error);

#endif
