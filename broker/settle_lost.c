/* SPDX-License-Identifier: Apache-2.0 */
/* settle_lost.c - a look at the records of a receipt of an older epoch, and its wait for the disk. */
#include "broker/settle_lost.h"

#include "broker/core.h"
#include "broker/groups.h"
#include "broker/queue_reader.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

#include <stdlib.h>

enum {
    /* Of a look: the last record, and those that a search among GROUP_OPEN_MAX and more halves its way to. */
    LOOK_STEPS = 32
};

/* A call that waits for the disk. */
struct settle_disk {
    struct queue_reader reader; /* to wait with */
    struct settling *settling;
};

bool settle_is_cold(const struct settling *settling)
{
    return settling->disk != NULL && settling->disk->reader.is_cold;
}

static void warmed(struct queue_reader *reader, struct core *at)
{
    struct settling *settling = CONTAINER_OF(reader, struct settle_disk, reader)->settling;
    list_append(&at->settling, &settling->written);
    core_hook_woken(at);
}

static void wait_for_disk(struct settling *settling, const struct cold_range *cold)
{
    if (settling->disk == NULL) {
        settling->disk = calloc(1, sizeof(*settling->disk));
        ASSERT(settling->disk != NULL);
        settling->disk->settling = settling;
        settling->disk->reader.shard = settling->shard;
        settling->disk->reader.again = warmed;
    }
    queue_reader_warm(&settling->disk->reader, cold);
}

bool settle_cut_lost(struct settling *settling, struct receipt *receipt, struct core *at)
{
    uint32_t epoch = (uint32_t)(receipt->serial >> GROUPS_SERIAL_BITS);
    if (settling->verb != SETTLE_ACK || !receipt->has_lease || epoch == at->cores->epoch) {
        return true; /* nack and extend: what is held with it is what was given out */
    }
    struct commit_log *log = settling->shard->log;
    struct queue *queue = commit_log_queue_find(log, receipt->topic, receipt->queue);
    const struct had_range had = {receipt->first, receipt->first + receipt->span, epoch};
    if (queue == NULL || had.end > queue_state(queue).visible) {
        return true; /* it is refused as a whole */
    }
    at->settle_left -= at->settle_left < LOOK_STEPS ? at->settle_left : LOOK_STEPS;
    bool may_wait = settling->disk != NULL && queue_reader_may_wait(&settling->disk->reader);
    struct cold_range cold = {.segment = NULL};
    uint64_t other;
    if (!commit_log_find_other(log, queue, &had, may_wait ? NULL : &cold, &other)) {
        wait_for_disk(settling, &cold);
        return false;
    }
    free(settling->disk);
    settling->disk = NULL;
    receipt->has_missed = other < had.end;
    receipt->span = other > had.first ? other - had.first : 0;
    return true;
}
