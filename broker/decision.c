/* SPDX-License-Identifier: Apache-2.0 */
/* decision.c - versions that were seen, shards that must record. */
#include "broker/decision.h"

enum error decision_check_version(const char *what, uint64_t current, bool has_seen, uint64_t seen,
                                  struct refusal *refusal)
{
    if (!has_seen || seen == current) {
        return OK;
    }
    refusal_set(refusal, ERROR_CONFLICT, "the %s is at version %llu, not %llu", what,
                (unsigned long long)current, (unsigned long long)seen);
    refusal_add(refusal, REFUSAL_VERSION, current);
    return ERROR_CONFLICT;
}

enum error decision_check_writable(const struct catalogue_rules *rules, uint64_t shards,
                                   struct refusal *refusal)
{
    uint64_t blocked = shards & rules->read_only;
    if (blocked == 0) {
        return OK;
    }
    return refusal_set(refusal, ERROR_READ_ONLY,
                       "shard %d takes no writes and must record the change",
                       __builtin_ctzll(blocked));
}
