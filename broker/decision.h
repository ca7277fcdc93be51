/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decision.h - what decisions on topics (broker/topic_decision.h) and on groups (broker/group_decision.h) have
 * in common.
 *
 * Threads: core 0's, on the catalogue of shard 0.
 */
#ifndef BROKER_DECISION_H
#define BROKER_DECISION_H

#include "broker/catalogue.h"
#include "proto/base/contract.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Every shard that there is, and may be. */
#define DECISION_ALL_SHARDS UINT64_MAX

/* The `what`, "topic" or "group", is at the version that was last seen, if one was given; 0: it is not there.
 * Or ERROR_CONFLICT {version}. */
NODISCARD enum error decision_check_version(const char *what, uint64_t current, bool has_seen,
                                            uint64_t seen, struct refusal *refusal);

/* A change is recorded in all of `shards`, bit 1 << shard, or begun in none: ERROR_READ_ONLY where one of them
 * takes no writes. */
NODISCARD enum error decision_check_writable(const struct catalogue_rules *rules, uint64_t shards,
                                             struct refusal *refusal);

#endif
