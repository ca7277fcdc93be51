/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer_map.h - finds values in the map that an answer's result is.
 *
 * Threads: any; spans point into the answer.
 */
#ifndef TOOLS_CLIENT_ANSWER_MAP_H
#define TOOLS_CLIENT_ANSWER_MAP_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"

#include <stdbool.h>
#include <stdint.h>

/* Finds `key` in the map at `result`: `*value_out` stands before its value. False: it is not there. */
NODISCARD bool answer_find(struct bytes result, const char *key, struct cursor *value_out);

/* The same of an integer. */
NODISCARD bool answer_find_uint(struct bytes result, const char *key, uint64_t *value_out);

#endif
