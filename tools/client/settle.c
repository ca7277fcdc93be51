/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle.c - verdicts on their way: batches of receipts that are acked, nacked or extended by one call.
 */
#include "tools/client/settle.h"

#include "net/connection.h"
#include "proto/limits.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "tools/client/answer_map.h"
#include "tools/client/client.h"
#include "tools/client/fault.h"
#include "tools/client/member_source.h"

#include <stdlib.h>

enum {
    ENTRIES_LEAST = 16,
    HEAD_ROOM = 768 /* group, reason, a few words */
};

/* -------------------------------------------------------------------------- terms */

struct settle_terms settle_terms_of(const struct ternmq_settlement *settlement)
{
    struct settle_terms terms = {.kind = SETTLE_ACK};
    if (settlement == NULL || settlement->verdict == TERNMQ_ACK) {
        return terms;
    }
    terms.kind = SETTLE_NACK;
    terms.has_delay = settlement->verdict == TERNMQ_RETRY_LATER;
    terms.delay_ms = terms.has_delay ? settlement->delay_ms : 0;
    terms.dead = settlement->verdict == TERNMQ_DEAD;
    terms.uncounted = settlement->verdict == TERNMQ_RELEASE;
    if (settlement->reason != NULL) {
        size_t length = strnlen(settlement->reason, REASON_BYTES_MAX);
        terms.reason_bytes = (uint32_t)length;
        memcpy(terms.reason, settlement->reason, length);
    }
    return terms;
}

static bool terms_are_equal(const struct settle_terms *a, const struct settle_terms *b)
{
    return a->kind == b->kind && a->has_delay == b->has_delay && a->uncounted == b->uncounted &&
           a->dead == b->dead && a->is_unheard == b->is_unheard && a->delay_ms == b->delay_ms &&
           a->lease_ms == b->lease_ms && a->reason_bytes == b->reason_bytes &&
           memcmp(a->reason, b->reason, a->reason_bytes) == 0;
}

/* -------------------------------------------------------------------------- batches */

/* The open batch of these terms that has room for one more entry. NULL: no memory. */
static struct settle_batch *batch_with_room(struct member_source *source,
                                            const struct settle_terms *terms)
{
    struct settle_batch *batch = NULL;
    LIST_FOREACH (link, &source->open) {
        struct settle_batch *one = CONTAINER_OF(link, struct settle_batch, link);
        if (one->count < SETTLE_COUNT_MAX && terms_are_equal(&one->terms, terms)) {
            batch = one;
        }
    }
    if (batch != NULL && batch->count < batch->capacity) {
        return batch;
    }
    bool is_new = batch == NULL;
    if (is_new) {
        batch = calloc(1, sizeof(*batch));
        if (batch == NULL) {
            return NULL;
        }
    }
    uint32_t capacity = is_new ? ENTRIES_LEAST : batch->capacity * 2;
    struct settle_entry *entries = realloc(batch->entries, capacity * sizeof(*entries));
    if (entries == NULL) {
        if (is_new) {
            free(batch);
        }
        return NULL;
    }
    batch->entries = entries;
    batch->capacity = capacity;
    if (is_new) {
        batch->source = source;
        batch->terms = *terms;
        list_init(&batch->link);
        list_append(&source->open, &batch->link);
    }
    return batch;
}

void settle_batch_free(struct settle_batch *batch)
{
    list_remove(&batch->link);
    for (uint32_t i = 0; i < batch->count; i++) {
        grant_unref(batch->entries[i].grant);
    }
    free(batch->entries);
    free(batch->receipts);
    free(batch);
}

static void batch_add(struct settle_batch *batch, struct grant *grant, uint64_t first,
                      uint64_t span, struct held *held, struct settle_wait *wait)
{
    struct settle_entry *entry = &batch->entries[batch->count++];
    *entry = (struct settle_entry){
        .grant = grant, .first = first, .span = span, .held = held, .wait = wait};
    batch->runs += batch->count == 1 || !settle_is_next_to(entry - 1, entry);
    grant_ref(grant);
    if (wait != NULL) {
        wait->pending++;
        batch->is_waited_for = true;
    }
    struct ternmq_member *member = batch->source->member;
    if (!member->linger.started) {
        timer_start(member->client->reactor, &member->linger,
                    reactor_now_ns(member->client->reactor) +
                        (uint64_t)member->settle_linger_ms * 1000000U);
    }
}

bool settle_add_part(struct grant *grant, uint64_t first, uint64_t span,
                     const struct settle_terms *terms, struct settle_wait *wait)
{
    struct settle_batch *batch = batch_with_room(grant->source, terms);
    if (batch == NULL) {
        return false;
    }
    batch_add(batch, grant, first, span, NULL, wait);
    return true;
}

static void batch_send(struct settle_batch *batch);

static bool add_message(struct ternmq_member *member, struct held *held,
                        const struct settle_terms *terms, struct settle_wait *wait)
{
    struct grant *grant = held->grant;
    struct settle_batch *batch = batch_with_room(grant->source, terms);
    if (batch == NULL) {
        return false;
    }
    bool is_ack = terms->kind == SETTLE_ACK;
    uint64_t first = is_ack ? held->offset - held->before : held->offset;
    batch_add(batch, grant, first, is_ack ? held->before + 1 + held->behind : 1, held, wait);
    if (!is_ack) {
        /* What a filter left out beside it is no matter of the message: it is done. Without memory
         * for that it is looked at again when the lease is over. */
        const struct settle_terms done = {.kind = SETTLE_ACK};
        bool told = held->before == 0 ||
                    settle_add_part(grant, held->offset - held->before, held->before, &done, NULL);
        told = (held->behind == 0 ||
                settle_add_part(grant, held->offset + 1, held->behind, &done, NULL)) &&
               told;
        (void)told;
    }
    held_settle(member, held);
    if (batch->runs >= member->settle_count || batch->count == SETTLE_COUNT_MAX) {
        batch_send(batch);
    }
    return true;
}

static bool has_same_lease(const struct grant *a, const struct grant *b)
{
    return a->lease_bytes == b->lease_bytes && memcmp(a->lease, b->lease, a->lease_bytes) == 0;
}

void settle_release_behind(struct ternmq_member *member, const struct held *failed)
{
    const struct settle_terms release = {
        .kind = SETTLE_NACK, .uncounted = true, .is_unheard = true};
    if (failed->grant->order == GROUP_ORDER_NONE) {
        return;
    }
    LIST_FOREACH (link, &member->ready) {
        struct held *held = CONTAINER_OF(link, struct held, link);
        bool is_behind = held->offset > failed->offset && held_are_ordered(failed, held) &&
                         has_same_lease(failed->grant, held->grant);
        if (is_behind && !add_message(member, held, &release, NULL)) {
            held_free(member, held);
        }
    }
}

bool settle_add(struct ternmq_member *member, struct held *held, const struct settle_terms *terms,
                struct settle_wait *wait)
{
    member_end_leases(member);
    if (terms->kind == SETTLE_NACK) {
        settle_release_behind(member, held);
    }
    return add_message(member, held, terms, wait);
}

bool settle_extend(const struct held *held, uint32_t lease_ms, struct settle_wait *wait)
{
    const struct settle_terms terms = {.kind = SETTLE_EXTEND, .lease_ms = lease_ms};
    return settle_add_part(held->grant, held->offset - held->before,
                           held->before + 1 + held->behind, &terms, wait);
}

/* -------------------------------------------------------------------------- writing */

const char *settle_method(enum settle_kind kind)
{
    static const char *const methods[] = {
        [SETTLE_ACK] = "ack", [SETTLE_NACK] = "nack", [SETTLE_EXTEND] = "extend"};
    return methods[kind];
}

static void batch_write(struct client_call *call, struct connection *connection, uint32_t id,
                        uint32_t left_ms)
{
    const struct settle_batch *batch = CONTAINER_OF(call, struct settle_batch, call);
    const struct ternmq_member *member = batch->source->member;
    const struct settle_terms *terms = &batch->terms;
    bool durable = terms->kind == SETTLE_ACK && member->durable;
    struct writer writer = writer_over(connection_reserve(connection, HEAD_ROOM), HEAD_ROOM);
    request_begin(&writer, id, settle_method(terms->kind),
                  3U + durable + terms->has_delay + terms->uncounted + terms->dead +
                      (terms->reason_bytes != 0) + (terms->lease_ms != 0));
    writer_put_key_string(&writer, "group", member->group);
    writer_put_key_uint(&writer, "deadline_ms", left_ms);
    if (durable) {
        writer_put_key_bool(&writer, "durable", true);
    }
    if (terms->has_delay) {
        writer_put_key_uint(&writer, "delay_ms", terms->delay_ms);
    }
    if (terms->uncounted) {
        writer_put_key_bool(&writer, "count", false);
    }
    if (terms->dead) {
        writer_put_key_bool(&writer, "dead", true);
    }
    if (terms->reason_bytes != 0) {
        writer_put_key_str(&writer, "reason", bytes_make(terms->reason, terms->reason_bytes));
    }
    if (terms->lease_ms != 0) {
        writer_put_key_uint(&writer, "lease_ms", terms->lease_ms);
    }
    writer_put_string(&writer, "receipts");
    ASSERT(!writer.overflowed);
    connection_commit(connection, writer_length(&writer));
    connection_write(connection, batch->receipts, batch->receipts_bytes);
}

/* -------------------------------------------------------------------------- sending */

static void batch_ended(struct client_call *call, const struct client_call_end *end)
{
    struct settle_batch *batch = CONTAINER_OF(call, struct settle_batch, call);
    if (end->error != NULL) {
        settle_batch_end(batch, end->error);
        return;
    }
    struct cursor failed;
    uint32_t count;
    if (!answer_find(end->result, "failed", &failed) || !cursor_take_array(&failed, &count) ||
        !settle_batch_mark(batch, failed, count)) {
        struct ternmq_error error;
        fault_set(&error, TERNMQ_PROTOCOL, TERNMQ_STORED_MAYBE,
                  "%s answered no list of failed receipts", end->address);
        settle_batch_end(batch, &error);
        return;
    }
    settle_batch_end(batch, NULL);
}

static const struct client_call_kind batch_kind = {.write = batch_write, .ended = batch_ended};

static void batch_send(struct settle_batch *batch)
{
    struct member_source *source = batch->source;
    struct ternmq *client = source->member->client;
    if (!settle_encode(batch)) {
        struct ternmq_error error;
        fault_set(&error, TERNMQ_NO_MEMORY, TERNMQ_STORED_NO, "no memory for receipts");
        settle_batch_end(batch, &error);
        return;
    }
    list_remove(&batch->link);
    list_append(&source->sent, &batch->link);
    batch->sent_ns = reactor_now_ns(client->reactor);
    batch->call = (struct client_call){
        .client = client, .kind = &batch_kind, .timeout_ms = client->timeout_ms};
    member_source_address(source, &batch->call);
    client_call_start(&batch->call);
}

void settle_send(struct member_source *source)
{
    for (struct list *link = list_first(&source->open); link != NULL;
         link = list_first(&source->open)) {
        batch_send(CONTAINER_OF(link, struct settle_batch, link));
    }
}

void settle_send_all(struct ternmq_member *member)
{
    LIST_FOREACH (link, &member->sources) {
        settle_send(CONTAINER_OF(link, struct member_source, link));
    }
}

static void unwait_in(struct list *batches, const struct settle_wait *wait)
{
    LIST_FOREACH (link, batches) {
        struct settle_batch *batch = CONTAINER_OF(link, struct settle_batch, link);
        for (uint32_t i = 0; i < batch->count; i++) {
            if (batch->entries[i].wait == wait) {
                batch->entries[i].wait = NULL;
            }
        }
    }
}

void settle_unwait(struct ternmq_member *member, const struct settle_wait *wait)
{
    LIST_FOREACH (link, &member->sources) {
        struct member_source *source = CONTAINER_OF(link, struct member_source, link);
        unwait_in(&source->open, wait);
        unwait_in(&source->sent, wait);
    }
}

static void drop_in(struct list *batches)
{
    for (struct list *link = list_first(batches); link != NULL; link = list_first(batches)) {
        struct settle_batch *batch = CONTAINER_OF(link, struct settle_batch, link);
        client_call_drop(&batch->call);
        settle_batch_free(batch);
    }
}

void settle_drop(struct member_source *source)
{
    if (source->riding != NULL) {
        struct settle_batch *batch = source->riding;
        source->riding = NULL;
        settle_fell(batch);
    }
    drop_in(&source->open);
    drop_in(&source->sent);
}
