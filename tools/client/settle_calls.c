/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle_calls.c - the functions of ternmq_groups.h that settle, extend and flush.
 */
#include "proto/base/contract.h"
#include "proto/base/utf8.h"
#include "proto/limits.h"
#include "tools/client/client.h"
#include "tools/client/fault.h"
#include "tools/client/held.h"
#include "tools/client/member.h"
#include "tools/client/member_source.h"
#include "tools/client/settle.h"

/* False with TERNMQ_USAGE in `*error_out`: a receipt names nothing that was given and is not settled. */
static bool check_receipts(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                           struct ternmq_error *error_out)
{
    for (size_t i = 0; i < count; i++) {
        if (held_of_receipt(member, receipts[i]) == NULL) {
            fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO,
                      "receipt %zu of %zu names no message in hand", i + 1, count);
            return false;
        }
    }
    return true;
}

static bool check_settlement(const struct ternmq_settlement *settlement,
                             struct ternmq_error *error_out)
{
    const char *wrong = NULL;
    if (settlement == NULL) {
        return true;
    }
    if (settlement->verdict > TERNMQ_RELEASE) {
        wrong = "verdict: none of enum ternmq_verdict";
    } else if (settlement->delay_ms > DURATION_MS_MAX) {
        wrong = "delay_ms: at most one day";
    } else if (settlement->reason != NULL &&
               (strlen(settlement->reason) > REASON_BYTES_MAX ||
                !utf8_is_valid(bytes_from_string(settlement->reason)))) {
        wrong = "reason: at most 120 bytes of UTF-8";
    }
    if (wrong != NULL) {
        fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO, "%s", wrong);
    }
    return wrong == NULL;
}

/* Takes verdicts on messages that were looked at. */
static int take_all(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                    const struct settle_terms *terms, struct settle_wait *wait,
                    struct ternmq_error *error_out)
{
    for (size_t i = 0; i < count; i++) {
        struct held *held = held_of_receipt(member, receipts[i]);
        if (held == NULL) {
            continue; /* it is there twice */
        }
        if (!settle_add(member, held, terms, wait)) {
            fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for a verdict");
            if (error_out != NULL) {
                error_out->value = (int64_t)i;
            }
            return TERNMQ_NO_MEMORY;
        }
    }
    return TERNMQ_OK;
}

TERNMQ_API int ternmq_settle(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                             const struct ternmq_settlement *settlement,
                             struct ternmq_error *error_out)
{
    if (!check_settlement(settlement, error_out) ||
        !check_receipts(member, receipts, count, error_out)) {
        return TERNMQ_USAGE;
    }
    const struct settle_terms terms = settle_terms_of(settlement);
    return take_all(member, receipts, count, &terms, NULL, error_out);
}

/* -------------------------------------------------------------------------- blocking */

static bool is_told(void *context)
{
    const struct settle_wait *wait = context;
    return wait->pending == 0;
}

/* Sends what is open and waits for the fate of what counted `wait` up. */
static int await(struct ternmq_member *member, struct settle_wait *wait,
                 struct ternmq_error *error_out)
{
    settle_send_all(member);
    if (client_run_until(member->client, -1, is_told, wait) != TERNMQ_OK) {
        settle_unwait(member, wait);
        return fault_set(error_out, TERNMQ_INTERRUPTED, TERNMQ_STORED_MAYBE, "interrupted");
    }
    if (wait->lost == 0) {
        return TERNMQ_OK;
    }
    wait->why.value = wait->lost;
    return fault_give(&wait->why, error_out);
}

static int settle_now(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                      const struct ternmq_settlement *settlement, struct ternmq_error *error_out)
{
    if (client_must_not_block(member->client, error_out) ||
        !check_settlement(settlement, error_out) ||
        !check_receipts(member, receipts, count, error_out)) {
        return TERNMQ_USAGE;
    }
    client_enter(member->client);
    const struct settle_terms terms = settle_terms_of(settlement);
    struct settle_wait wait = {.pending = 0};
    int code = take_all(member, receipts, count, &terms, &wait, error_out);
    int awaited = await(member, &wait, code == TERNMQ_OK ? error_out : NULL);
    return code == TERNMQ_OK ? awaited : code;
}

TERNMQ_API int ternmq_ack(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                          struct ternmq_error *error_out)
{
    return settle_now(member, receipts, count, NULL, error_out);
}

TERNMQ_API int ternmq_nack(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                           const struct ternmq_settlement *settlement,
                           struct ternmq_error *error_out)
{
    const struct ternmq_settlement retry = {.verdict = TERNMQ_RETRY};
    return settle_now(member, receipts, count, settlement == NULL ? &retry : settlement, error_out);
}

TERNMQ_API int ternmq_extend(struct ternmq_member *member, const uint64_t *receipts, size_t count,
                             uint32_t lease_ms, struct ternmq_error *error_out)
{
    if (client_must_not_block(member->client, error_out) ||
        !check_receipts(member, receipts, count, error_out)) {
        return TERNMQ_USAGE;
    }
    if (member->keep_leases ||
        (lease_ms != 0 && (lease_ms < GROUP_LEASE_MS_LEAST || lease_ms > GROUP_LEASE_MS_MOST))) {
        return fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO,
                         member->keep_leases ? "keep_leases extends by itself"
                                             : "lease_ms: 100 to 43,200,000");
    }
    client_enter(member->client);
    struct settle_wait wait = {.pending = 0};
    int code = TERNMQ_OK;
    for (size_t i = 0; i < count && code == TERNMQ_OK; i++) {
        const struct held *held = held_of_receipt(member, receipts[i]);
        if (held == NULL) {
            continue; /* the loop ran, and it is not in hand any more */
        }
        if (!settle_extend(held, lease_ms, &wait)) {
            code = fault_set(error_out, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory");
        }
    }
    int awaited = await(member, &wait, code == TERNMQ_OK ? error_out : NULL);
    return code == TERNMQ_OK ? awaited : code;
}

static bool is_settled(void *context)
{
    const struct ternmq_member *member = context;
    return member->settling == 0;
}

TERNMQ_API int ternmq_member_flush(struct ternmq_member *member, int64_t wait_ms,
                                   struct ternmq_error *error_out)
{
    if (client_must_not_block(member->client, error_out)) {
        return TERNMQ_USAGE;
    }
    client_enter(member->client);
    settle_send_all(member);
    /* The word on what rides comes with the answer to its poll. */
    LIST_FOREACH (link, &member->sources) {
        struct member_source *source = CONTAINER_OF(link, struct member_source, link);
        if (source->riding != NULL) {
            member_source_cancel(source);
        }
    }
    int code = client_run_until(member->client, wait_ms, is_settled, member);
    if (code != TERNMQ_OK) {
        fault_set(error_out, code, TERNMQ_STORED_MAYBE, "%u verdicts have no answer yet",
                  member->settling);
    }
    return code;
}
