/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect.h - the two verbs of `ternmq inspect`.
 *
 * Threads: one.
 */
#ifndef TOOLS_INSPECT_INSPECT_H
#define TOOLS_INSPECT_INSPECT_H

struct invocation;
struct store;

/* The command's own options. */
enum { INSPECT_SHARD, INSPECT_FROM, INSPECT_COUNT };

/* Each gives the exit status. */
int inspect_verify(struct invocation *invocation, const struct store *store);
int inspect_records(struct invocation *invocation, const struct store *store);

#endif
