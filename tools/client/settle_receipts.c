/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settle_receipts.c - what a batch of verdicts is about, as a call says it.
 */
#include "proto/writer.h"
#include "tools/client/settle.h"

#include <stdlib.h>

enum {
    /* A receipt: topic and lease with their headers, three numbers, the array's header. */
    RECEIPT_ROOM = TOPIC_NAME_BYTES_MAX + LEASE_BYTES_MAX + 32
};

bool settle_is_next_to(const struct settle_entry *before, const struct settle_entry *entry)
{
    return before->grant == entry->grant && before->first + before->span == entry->first;
}

static int compare_entries(const void *left, const void *right)
{
    const struct settle_entry *a = left;
    const struct settle_entry *b = right;
    if (a->grant->number != b->grant->number) {
        return a->grant->number < b->grant->number ? -1 : 1;
    }
    return a->first < b->first ? -1 : a->first > b->first;
}

static void put_receipt(struct writer *writer, const struct settle_entry *first,
                        const struct settle_entry *last)
{
    const struct grant *grant = first->grant;
    writer_put_array(writer, 5);
    writer_put_string(writer, grant->topic);
    writer_put_uint(writer, grant->queue);
    writer_put_uint(writer, first->first);
    writer_put_uint(writer, last->first + last->span - first->first);
    writer_put_bin(writer, bytes_make(grant->lease, grant->lease_bytes));
}

/* Puts the entries in order and writes their receipts. False: no memory. */
bool settle_encode(struct settle_batch *batch)
{
    qsort(batch->entries, batch->count, sizeof(*batch->entries), compare_entries);
    uint32_t receipts = 0;
    for (uint32_t i = 0; i < batch->count; i++) {
        receipts += i == 0 || !settle_is_next_to(&batch->entries[i - 1], &batch->entries[i]);
        batch->entries[i].receipt = receipts - 1;
        batch->entries[i].code = 0;
    }
    size_t room = (size_t)receipts * RECEIPT_ROOM + 8;
    free(batch->receipts);
    batch->receipts = malloc(room);
    if (batch->receipts == NULL) {
        return false;
    }
    struct writer writer = writer_over(batch->receipts, room);
    writer_put_array(&writer, receipts);
    for (uint32_t i = 0; i < batch->count;) {
        uint32_t last = i;
        while (last + 1 < batch->count &&
               batch->entries[last + 1].receipt == batch->entries[i].receipt) {
            last++;
        }
        put_receipt(&writer, &batch->entries[i], &batch->entries[last]);
        i = last + 1;
    }
    ASSERT(!writer.overflowed);
    batch->receipt_count = receipts;
    batch->receipts_bytes = writer_length(&writer);
    return true;
}
