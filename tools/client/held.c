/* SPDX-License-Identifier: Apache-2.0 */
/*
 * held.c - messages in hand, and the leases that they lie under.
 */
#include "tools/client/held.h"

#include "net/buffer.h"
#include "proto/base/crc32c.h"
#include "proto/record.h"
#include "tools/client/client.h"
#include "tools/client/consumer.h"
#include "tools/client/delivery.h"
#include "tools/client/member_source.h"

#include <stdlib.h>

enum { RECEIPT_PLACE_BITS = 17 }; /* 2 * CREDIT_MAX places */

/* The bytes of an answer. */
struct kept_answer {
    struct ternmq_member *member;
    uint32_t references;
    struct buffer *buffer; /* that they lie in, or NULL: in `copy` */
    size_t pinned_bytes;
    size_t held_bytes;
    uint8_t copy[];
};

/* -------------------------------------------------------------------------- bytes */

/* Keeps `*records`, in their buffer if they are many; `*records` is where they lie then. */
static struct kept_answer *answer_keep(struct ternmq_member *member, struct bytes *records,
                                       struct buffer *buffer)
{
    struct ternmq *client = member->client;
    bool pins = buffer != NULL && records->length >= PIN_BYTES_LEAST &&
                client->pinned_bytes + buffer->capacity <= client->pinned_bytes_max;
    struct kept_answer *answer = malloc(sizeof(*answer) + (pins ? 0 : records->length));
    if (answer == NULL) {
        return NULL;
    }
    *answer = (struct kept_answer){
        .member = member,
        .references = 1,
        .held_bytes = sizeof(*answer) + records->length,
    };
    if (pins) {
        answer->buffer = buffer;
        answer->pinned_bytes = buffer->capacity;
        client->pinned_bytes += answer->pinned_bytes;
        buffer_ref(buffer);
    } else if (records->length > 0) {
        memcpy(answer->copy, records->data, records->length);
        records->data = answer->copy;
    }
    member->held_bytes += answer->held_bytes;
    return answer;
}

static void answer_unref(struct kept_answer *answer)
{
    if (answer == NULL || --answer->references > 0) {
        return;
    }
    answer->member->held_bytes -= answer->held_bytes;
    if (answer->buffer != NULL) {
        answer->member->client->pinned_bytes -= answer->pinned_bytes;
        buffer_unref(answer->buffer);
    }
    free(answer);
}

/* -------------------------------------------------------------------------- grants */

/* The lease's time from now on: at most what was asked for, or what a broker gives; and nothing where it is over
 * already. */
static uint64_t lease_left_ms(const struct member_source *source, uint64_t until_ms)
{
    int64_t now_ms = (int64_t)reactor_now_ms(source->member->client->reactor) + source->ahead_ms;
    int64_t left_ms = (int64_t)until_ms - now_ms;
    int64_t most_ms =
        source->member->lease_ms != 0 ? source->member->lease_ms : GROUP_LEASE_MS_MOST;
    if (left_ms < 0) {
        return 0;
    }
    return left_ms > most_ms ? (uint64_t)most_ms : (uint64_t)left_ms;
}

static struct grant *grant_create(struct member_source *source, enum group_order order,
                                  const struct receive_range *range)
{
    struct ternmq_member *member = source->member;
    struct grant *grant = calloc(1, sizeof(*grant));
    if (grant == NULL) {
        return NULL;
    }
    grant->source = source;
    grant->references = 1;
    grant->number = member->grant_number++;
    grant->queue = range->queue;
    grant->order = order;
    grant->attempt = range->attempt;
    grant->until_ms = range->until_ms;
    grant->left_ms = lease_left_ms(source, range->until_ms);
    if (grant->left_ms == 0) {
        source->is_clock_known = false; /* or its answer lay here for long */
    }
    grant->lease_ns = grant->left_ms * 1000000U;
    grant_begin(grant, reactor_now_ns(member->client->reactor));
    if (grant_ends_ns(grant) < member->expiry_ns) {
        member->expiry_ns = grant_ends_ns(grant);
    }
    grant->lease_bytes = (uint32_t)range->lease.length;
    if (range->lease.length > 0) {
        memcpy(grant->lease, range->lease.data, range->lease.length);
    }
    memcpy(grant->topic, range->topic.data, range->topic.length);
    grant->has_reason = range->reason.data != NULL;
    grant->reason_bytes = (uint32_t)range->reason.length;
    if (range->reason.length > 0) {
        memcpy(grant->reason, range->reason.data, range->reason.length);
    }
    list_init(&grant->held);
    list_init(&grant->link);
    list_append(&member->grants, &grant->link);
    return grant;
}

void grant_begin(struct grant *grant, uint64_t begun_ns)
{
    uint64_t third_ns = grant->lease_ns / 3;
    uint64_t least_ns = (uint64_t)RENEWAL_MS_LEAST * 1000000U;
    grant->begun_ns = begun_ns;
    grant->due_ns = begun_ns + (third_ns < least_ns ? least_ns : third_ns);
}

void grant_ref(struct grant *grant)
{
    grant->references++;
}

void grant_unref(struct grant *grant)
{
    if (--grant->references == 0) {
        ASSERT(list_is_empty(&grant->held));
        list_remove(&grant->link);
        free(grant);
    }
}

/* -------------------------------------------------------------------------- places */

bool held_init(struct ternmq_member *member)
{
    list_init(&member->free);
    list_init(&member->ready);
    list_init(&member->grants);
    for (uint32_t i = 0; i < WORKING_LISTS; i++) {
        list_init(&member->working[i]);
    }
    member->given_ends_ns = UINT64_MAX;
    member->held_max = 2 * member->credit;
    member->held = calloc(member->held_max, sizeof(*member->held));
    if (member->held == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < member->held_max; i++) {
        list_init(&member->held[i].link);
        list_init(&member->held[i].beside);
        list_append(&member->free, &member->held[i].link);
    }
    return true;
}

void held_deinit(struct ternmq_member *member)
{
    for (uint32_t i = 0; i < member->held_max; i++) {
        if (member->held[i].state != HELD_FREE) {
            held_free(member, &member->held[i]);
        }
    }
    ASSERT(list_is_empty(&member->grants) && member->held_bytes == 0);
    free(member->held);
}

static struct held *held_take(struct ternmq_member *member, struct grant *grant,
                              struct kept_answer *answer)
{
    struct list *link = list_take_first(&member->free);
    ASSERT(link != NULL); /* what rides is at most `credit`, and so is the rest */
    struct held *held = CONTAINER_OF(link, struct held, link);
    held->grant = grant;
    held->answer = answer;
    held->generation++;
    held->state = HELD_READY;
    grant_ref(grant);
    answer->references++;
    list_append(&grant->held, &held->beside);
    list_append(&member->ready, &held->link);
    member->held_count++;
    return held;
}

/* As the broker has it in its index. What cannot be read is told when it is its turn. */
static uint32_t key_hash_of(const struct held *held)
{
    const struct delivery_place place = {held->grant->topic, held->grant->queue, held->offset};
    struct ternmq_delivery delivery;
    struct ternmq_bytes key;
    bool has_key = delivery_read(bytes_make(held->record, held->record_bytes), &place, &delivery) &&
                   ternmq_delivery_key(&delivery, 0, &key);
    return has_key ? crc32c(key.data, key.length) : 0;
}

/* Takes the messages of one range, whose records lie in `answer`. */
static void take_range(struct grant *grant, const struct receive_range *range,
                       struct kept_answer *answer, const uint8_t *at)
{
    struct ternmq_member *member = grant->source->member;
    uint64_t next = range->first;
    struct held *held = NULL;
    for (uint32_t i = 0; i < range->message_count; i++) {
        held = held_take(member, grant, answer);
        held->record = at;
        held->record_bytes = record_size(at);
        held->offset = record_offset(at);
        held->before = held->offset - next;
        held->behind = 0;
        held->key_hash = grant->order == GROUP_ORDER_KEY ? key_hash_of(held) : 0;
        next = held->offset + 1;
        at += held->record_bytes;
    }
    held->behind = range->first + range->span - next;
}

bool held_grant(struct member_source *source, struct receive_answer *answer, struct buffer *buffer)
{
    const uint8_t *begin = answer->records.data;
    struct bytes records = answer->records;
    struct kept_answer *kept = answer_keep(source->member, &records, buffer);
    if (kept == NULL) {
        return false;
    }
    struct receive_range range;
    bool taken = true;
    while (taken && receive_answer_next(answer, &range)) {
        struct grant *grant = grant_create(source, answer->order, &range);
        taken = grant != NULL;
        if (taken) {
            take_range(grant, &range, kept, records.data + (range.records.data - begin));
            grant_unref(grant);
        }
    }
    answer_unref(kept);
    return taken;
}

/* -------------------------------------------------------------------------- states */

uint64_t held_receipt(const struct ternmq_member *member, const struct held *held)
{
    return held->generation << RECEIPT_PLACE_BITS | (uint64_t)(held - member->held);
}

struct held *held_of_receipt(struct ternmq_member *member, uint64_t receipt)
{
    uint64_t place = receipt & ((UINT64_C(1) << RECEIPT_PLACE_BITS) - 1);
    if (place >= member->held_max) {
        return NULL;
    }
    struct held *held = &member->held[place];
    bool is_it = held->state == HELD_GIVEN && held->generation == receipt >> RECEIPT_PLACE_BITS;
    return is_it ? held : NULL;
}

bool held_are_ordered(const struct held *one, const struct held *other)
{
    const struct grant *a = one->grant;
    const struct grant *b = other->grant;
    return a->order != GROUP_ORDER_NONE && a->source == b->source && a->queue == b->queue &&
           one->key_hash == other->key_hash && strcmp(a->topic, b->topic) == 0;
}

/* Those that are given and might have to be done before. */
static struct list *working_list(const struct ternmq_member *member, const struct held *held)
{
    uint32_t number = held->grant->queue ^ held->key_hash;
    return (struct list *)(uintptr_t)&member->working[number % WORKING_LISTS];
}

static bool is_kept_back(const struct ternmq_member *member, const struct held *held)
{
    if (held->grant->order != GROUP_ORDER_NONE) {
        LIST_FOREACH (link, working_list(member, held)) {
            if (held_are_ordered(held, CONTAINER_OF(link, struct held, link))) {
                return true;
            }
        }
    }
    return false;
}

struct held *held_next(const struct ternmq_member *member)
{
    LIST_FOREACH (link, &member->ready) {
        struct held *held = CONTAINER_OF(link, struct held, link);
        if (!is_kept_back(member, held)) {
            return held;
        }
    }
    return NULL;
}

void held_set_end(struct ternmq_member *member, struct held *held, uint64_t ends_ns)
{
    held->ends_ns = ends_ns;
    bool is_ordered = held->grant->order != GROUP_ORDER_NONE;
    if (is_ordered && ends_ns < member->given_ends_ns) {
        member->given_ends_ns = ends_ns;
    }
}

void held_give(struct ternmq_member *member, struct held *held)
{
    ASSERT(held->state == HELD_READY);
    list_remove(&held->link);
    if (held->grant->order != GROUP_ORDER_NONE) {
        list_append(working_list(member, held), &held->link);
    }
    held_set_end(member, held, grant_ends_ns(held->grant));
    held->state = HELD_GIVEN;
    member->given++;
}

/* Out of the counts of its state. */
static void held_leave_state(struct ternmq_member *member, struct held *held)
{
    list_remove(&held->link);
    member->given -= held->state == HELD_GIVEN;
    member->settling -= held->state == HELD_SETTLING;
}

void held_settle(struct ternmq_member *member, struct held *held)
{
    held_leave_state(member, held);
    held->state = HELD_SETTLING;
    held->grant->verdicts++;
    member->settling++;
    /* Nobody looks at it any more. */
    answer_unref(held->answer);
    held->answer = NULL;
}

void held_free(struct ternmq_member *member, struct held *held)
{
    held_leave_state(member, held);
    answer_unref(held->answer);
    held->answer = NULL;
    list_remove(&held->beside);
    grant_unref(held->grant);
    held->grant = NULL;
    held->state = HELD_FREE;
    member->held_count--;
    list_append(&member->free, &held->link);
}
