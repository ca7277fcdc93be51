/* SPDX-License-Identifier: Apache-2.0 */
/*
 * contract.h - say what must be true, and stop when it is not.
 *
 * An assertion states a fact about our own code. It is never the answer to a bad peer, a full
 * disk or a torn write: those are `enum error` values, and the caller handles them. Assertions
 * stay on in release builds; a broker that no longer understands its own memory must not go on
 * writing to disk.
 *
 * Threads: any.
 */
#ifndef PROTO_BASE_CONTRACT_H
#define PROTO_BASE_CONTRACT_H

#include <assert.h>
#include <stdbool.h>

/* A result that may not be dropped: handle it, or write `(void)` and say why. */
#define NODISCARD __attribute__((warn_unused_result))

/* Prints the failed fact with its place as one line on standard error, and aborts. */
_Noreturn void contract_failed(const char *fact, const char *file, int line);

#define ASSERT(fact) \
    (__builtin_expect(!!(fact), 1) ? (void)0 : contract_failed(#fact, __FILE__, __LINE__))

/* `when` need not hold; where it does, `then` must. */
#define ASSERT_IF(when, then) ASSERT(!(when) || (then))

/* A place that no input reaches; `why` is a string literal. */
#define UNREACHABLE(why) contract_failed("unreachable: " why, __FILE__, __LINE__)

/* Facts that cost more than O(1): checked in builds with a sanitizer and in those that fuzz. */
#ifdef VERIFY
#define ASSERT_SLOW(fact) ASSERT(fact)
#else
#define ASSERT_SLOW(fact) ((void)sizeof(fact))
#endif

#endif
