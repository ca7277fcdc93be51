/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle_riding.c - the acks that ride on a poll: which may, and what becomes of them with it.
 */
#include "proto/cursor.h"
#include "tools/client/fault.h"
#include "tools/client/member_source.h"
#include "tools/client/settle.h"

static struct settle_batch *find_rideable(const struct member_source *source)
{
    /* A poll has no word for durable. And where it will wait for messages the word on acks does too. */
    if (source->member->durable || !source->was_full) {
        return NULL;
    }
    LIST_FOREACH (link, &source->open) {
        struct settle_batch *batch = CONTAINER_OF(link, struct settle_batch, link);
        if (batch->terms.kind == SETTLE_ACK && !batch->is_waited_for) {
            return batch;
        }
    }
    return NULL;
}

static uint32_t places_of(const struct settle_batch *batch)
{
    uint32_t places = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        places += batch->entries[i].held != NULL;
    }
    return places;
}

uint32_t settle_rideable(const struct member_source *source)
{
    const struct settle_batch *batch = find_rideable(source);
    return batch == NULL ? 0 : places_of(batch);
}

struct settle_batch *settle_ride(struct member_source *source)
{
    struct settle_batch *batch = find_rideable(source);
    if (batch == NULL || !settle_encode(batch)) {
        return NULL;
    }
    list_remove(&batch->link);
    source->member->riding += places_of(batch);
    return batch;
}

void settle_rode(struct settle_batch *batch, struct cursor failed, uint32_t count)
{
    batch->source->member->riding -= places_of(batch);
    if (settle_batch_mark(batch, failed, count)) {
        settle_batch_end(batch, NULL);
        return;
    }
    struct ternmq_error error;
    fault_set(&error, TERNMQ_PROTOCOL, TERNMQ_STORED_MAYBE, "no list of failed receipts");
    settle_batch_end(batch, &error);
}

void settle_fell(struct settle_batch *batch)
{
    struct member_source *source = batch->source;
    source->member->riding -= places_of(batch);
    list_append(&source->open, &batch->link);
}
