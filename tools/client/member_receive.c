/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member_receive.c - what ternmq_receive() gives of what a member has.
 */
#include "proto/base/contract.h"
#include "tools/client/client.h"
#include "tools/client/delivery.h"
#include "tools/client/fault.h"
#include "tools/client/held.h"
#include "tools/client/member.h"
#include "tools/client/settle.h"

/* Lets go of what waited beyond its lease: it is somebody else's, or will be. */
static void drop_expired(struct ternmq_member *member)
{
    uint64_t now_ns = reactor_now_ns(member->client->reactor);
    bool dropped = false;
    member_end_leases(member);
    if (now_ns < member->expiry_ns) {
        return; /* nearly always, for many may be ready */
    }
    member->expiry_ns = UINT64_MAX;
    LIST_FOREACH (link, &member->ready) {
        struct held *held = CONTAINER_OF(link, struct held, link);
        uint64_t ends_ns = grant_ends_ns(held->grant);
        if (ends_ns <= now_ns) {
            held_free(member, held);
            dropped = true;
        } else if (ends_ns < member->expiry_ns) {
            member->expiry_ns = ends_ns;
        }
    }
    if (dropped) {
        member_ask(member);
    }
}

/* Whether what was given takes all the credit, with what must wait for it, so that nothing can come. */
static bool is_exhausted(const struct ternmq_member *member)
{
    return member->settling == 0 && member->given > 0 && member->asked == 0 &&
           (member->held_count >= member->credit || member->held_bytes >= member->hold_bytes);
}

/* What is over by now is not something. */
static bool has_something(void *context)
{
    struct ternmq_member *member = context;
    drop_expired(member);
    return held_next(member) != NULL || member->notice.code != TERNMQ_OK ||
           member->last_word.code != TERNMQ_OK || is_exhausted(member);
}

/* A message as the user sees it. False: it cannot be read. */
static bool describe(const struct ternmq_member *member, const struct held *held,
                     struct ternmq_received *received_out)
{
    const struct grant *grant = held->grant;
    struct delivery_place place = {
        .topic = grant->topic, .queue = grant->queue, .offset = held->offset};
    if (!delivery_read(bytes_make(held->record, held->record_bytes), &place,
                       &received_out->message)) {
        return false;
    }
    received_out->receipt = held_receipt(member, held);
    received_out->attempt = grant->attempt;
    received_out->reason =
        ternmq_bytes(grant->has_reason ? grant->reason : NULL, grant->reason_bytes);
    received_out->lease_until_ms = grant->until_ms;
    received_out->lease_left_ms = grant->left_ms;
    return true;
}

/* What arrived broken may be whole the next time; if it is not, the dead letters take it in the end. */
static int refuse_corrupt(struct ternmq_member *member, struct held *held,
                          struct ternmq_error *error_out)
{
    const struct ternmq_settlement retry = {.verdict = TERNMQ_RETRY,
                                            .reason = "its checksum failed on arrival"};
    struct ternmq_error error;
    fault_set(&error, TERNMQ_CORRUPT, TERNMQ_STORED_NO,
              "the message of topic %s at queue %u offset %llu fails its checksum",
              held->grant->topic, held->grant->queue, (unsigned long long)held->offset);
    error.queue = held->grant->queue;
    error.offset = (int64_t)held->offset;
    member_settle(member, held, &retry);
    return fault_give(&error, error_out);
}

static int take_notice(struct ternmq_member *member, struct ternmq_error *error_out)
{
    if (member->notice.code != TERNMQ_OK) {
        struct ternmq_error notice = member->notice;
        member->notice.code = TERNMQ_OK;
        return fault_give(&notice, error_out);
    }
    if (member->last_word.code != TERNMQ_OK) {
        return fault_give(&member->last_word, error_out);
    }
    member->ready_owed = true;
    return fault_set(error_out, TERNMQ_NOTHING, TERNMQ_STORED_NO, "no message yet");
}

static int take_ready(struct ternmq_member *member, struct ternmq_received *received_out,
                      size_t max, size_t *count_out, struct ternmq_error *error_out)
{
    size_t count = 0;
    struct held *held;
    while (count < max && (held = held_next(member)) != NULL) {
        if (!describe(member, held, &received_out[count])) {
            if (count > 0) {
                break;
            }
            return refuse_corrupt(member, held, error_out);
        }
        held_give(member, held);
        count++;
    }
    if (count == 0) {
        return take_notice(member, error_out);
    }
    *count_out = count;
    return TERNMQ_OK;
}

TERNMQ_API int ternmq_receive(struct ternmq_member *member, int64_t wait_ms,
                              struct ternmq_received *received_out, size_t max, size_t *count_out,
                              struct ternmq_error *error_out)
{
    struct ternmq *client = member->client;
    bool may_run = !client->attached && client->callbacks == 0;
    if (max == 0 || (wait_ms != 0 && !may_run)) {
        return fault_set(error_out, TERNMQ_USAGE, TERNMQ_STORED_NO,
                         max == 0 ? "max: at least 1" : "this place must not block");
    }
    member_ask(member);
    if (may_run) {
        client_enter(client);
        bool interrupted = client_take_interrupt(client);
        if (has_something(member)) {
            client_run_beside(client); /* what is under way goes on */
        }
        if (!interrupted && !has_something(member)) {
            interrupted =
                client_run_until(client, wait_ms, has_something, member) == TERNMQ_INTERRUPTED;
        }
        if (interrupted) {
            return fault_set(error_out, TERNMQ_INTERRUPTED, TERNMQ_STORED_NO, "interrupted");
        }
    } else {
        drop_expired(member);
    }
    return take_ready(member, received_out, max, count_out, error_out);
}

TERNMQ_API void ternmq_member_in_hand(const struct ternmq_member *member, size_t *ahead_out,
                                      size_t *given_out, size_t *settling_out)
{
    if (ahead_out != NULL) {
        *ahead_out = member->held_count - member->given - member->settling;
    }
    if (given_out != NULL) {
        *given_out = member->given;
    }
    if (settling_out != NULL) {
        *settling_out = member->settling;
    }
}
