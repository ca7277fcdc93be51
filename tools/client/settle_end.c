/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle_end.c - the end of a batch: what of it the broker took, who is told, which leases go on.
 */
#include "net/reactor.h"
#include "tools/client/client.h"
#include "tools/client/fault.h"
#include "tools/client/member_source.h"
#include "tools/client/settle.h"

bool settle_batch_mark(struct settle_batch *batch, struct cursor failed, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index;
        uint32_t code;
        if (!cursor_take_array_of(&failed, 2) || !cursor_take_u32(&failed, &index) ||
            !cursor_take_u32(&failed, &code) || index >= batch->receipt_count || code == 0) {
            return false;
        }
        for (uint32_t j = 0; j < batch->count; j++) {
            if (batch->entries[j].receipt == index) {
                batch->entries[j].code = code;
            }
        }
    }
    return true;
}

/* What is told of an entry: the broker's code, or why nobody answered. */
static struct ternmq_error fault_of(const struct settle_entry *entry, const char *did,
                                    const struct ternmq_error *why)
{
    struct ternmq_error error;
    if (why != NULL) {
        error = *why;
    } else {
        fault_set(&error, (int)entry->code, TERNMQ_STORED_NO,
                  "%s of topic %s, queue %u, offset %llu was not taken", did, entry->grant->topic,
                  entry->grant->queue, (unsigned long long)entry->first);
    }
    error.queue = entry->grant->queue;
    error.offset = (int64_t)(entry->held == NULL ? entry->first : entry->held->offset);
    return error;
}

static void tell_lost(struct ternmq_member *member, const struct settle_entry *entry,
                      const struct ternmq_error *error)
{
    struct settle_wait *wait = entry->wait;
    if (wait != NULL) {
        wait->why = wait->lost == 0 ? *error : wait->why;
        wait->lost++;
    } else if (entry->held != NULL && member->lost_fn != NULL) {
        client_callback_begin(member->client);
        member->lost_fn(member->context, entry->grant->topic, entry->grant->queue,
                        (uint64_t)error->offset, error);
        client_callback_end(member->client);
    }
}

/* What was given of an entry is its holder's for longer. */
static void move_ends(struct settle_batch *batch, const struct settle_entry *entry)
{
    uint64_t asked_ns = (uint64_t)batch->terms.lease_ms * 1000000U;
    uint64_t lease_ns = asked_ns != 0 ? asked_ns : entry->grant->lease_ns;
    LIST_FOREACH (link, &entry->grant->held) {
        struct held *held = CONTAINER_OF(link, struct held, beside);
        if (held->state == HELD_GIVEN && held->offset >= entry->first &&
            held->offset - entry->first < entry->span) {
            held_set_end(batch->source->member, held, batch->sent_ns + lease_ns);
        }
    }
}

/* A lease lasts from when it was asked for; one that was lost, or is over, is not asked for any more. */
static void extended(struct settle_batch *batch, struct settle_entry *entry, bool failed)
{
    struct ternmq_member *member = batch->source->member;
    uint64_t now_ns = reactor_now_ns(member->client->reactor);
    struct grant *grant = entry->grant;
    if (!failed && entry->code == 0) {
        move_ends(batch, entry);
    }
    if (batch->is_waited_for) {
        return; /* that was the user's own, who knows until when */
    }
    grant->extending = false;
    if (failed) {
        grant->due_ns = now_ns + grant->lease_ns / 10;
        grant->lost = grant->lost || now_ns >= grant_ends_ns(grant);
        return;
    }
    if (entry->code == 0) {
        if (member->lease_ms != 0) {
            grant->lease_ns = (uint64_t)member->lease_ms * 1000000U;
        }
        grant_begin(grant, batch->sent_ns);
        return;
    }
    if (grant->verdicts != grant->verdicts_extended) {
        /* One that went another way may have been there first: then that is all that was lost. */
        grant->due_ns = now_ns;
        return;
    }
    grant->lost = true;
    /* What was not given yet is somebody else's now. */
    LIST_FOREACH (link, &grant->held) {
        struct held *held = CONTAINER_OF(link, struct held, beside);
        if (held->state == HELD_READY && held->offset >= entry->first &&
            held->offset - entry->first < entry->span) {
            held_free(member, held);
        }
    }
}

void settle_batch_end(struct settle_batch *batch, const struct ternmq_error *why)
{
    struct ternmq_member *member = batch->source->member;
    list_remove(&batch->link);
    for (uint32_t i = 0; i < batch->count; i++) {
        struct settle_entry *entry = &batch->entries[i];
        bool is_lost = why != NULL || entry->code != 0;
        struct ternmq_error error;
        if (is_lost) {
            error = fault_of(entry, settle_method(batch->terms.kind), why);
        }
        if (batch->terms.kind == SETTLE_EXTEND) {
            extended(batch, entry, why != NULL);
        } else if (entry->held != NULL) {
            if (is_lost && !batch->terms.is_unheard) {
                settle_release_behind(member, entry->held);
            }
            held_free(member, entry->held);
        }
        if (entry->wait != NULL) {
            entry->wait->pending--;
        }
        if (is_lost && !batch->terms.is_unheard) {
            tell_lost(member, entry, &error);
        }
    }
    bool was_extended = batch->terms.kind == SETTLE_EXTEND;
    settle_batch_free(batch);
    if (was_extended) {
        member_watch_leases(member);
    }
    member_ask(member);
}
