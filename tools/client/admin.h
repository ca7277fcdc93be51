/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.h - what calls of the library that have types in ternmq.h have in common.
 *
 * Threads: the caller's.
 */
#ifndef TOOLS_CLIENT_ADMIN_H
#define TOOLS_CLIENT_ADMIN_H

#include "proto/writer.h"
#include "tools/client/ternmq.h"

#include <stdbool.h>

/* Arguments of the calls but for lists: names, numbers and a few settings. */
enum { ARGUMENTS_ROOM = 512 };

/* Whether no topic can be called so, %DLQ%GROUP neither; NULL is no name. */
bool admin_is_no_topic(const char *name);

/* TERNMQ_BAD_ARGUMENT: `name` is no `what`. */
int admin_refuse_name(const char *what, const char *name, struct ternmq_error *error_out);

/* The bytes that were written, as arguments of a call. */
struct ternmq_bytes admin_written(const struct writer *writer);

#endif
