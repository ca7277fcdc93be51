/* SPDX-License-Identifier: Apache-2.0 */
/* queue_reader.c - one read after the other, and how they wait for the disk. */
#include "broker/queue_reader.h"

#include "broker/core.h"
#include "broker/delivery.h"
#include "broker/filter_scan.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

enum {
    /* The same that was warmed so often in a row and is gone again each time: memory is so short that
     * waiting for the disk is all that is left. */
    COLD_TRIES_MAX = 3,
    /* The same of whatever it was: a search of ten thousand segments needs no more. */
    COLD_ROUNDS_MAX = 256
};

void queue_reader_init(struct queue_reader *reader, struct shard *shard, uint32_t topic_id,
                       uint16_t queue, uint64_t bytes_max)
{
    *reader = (struct queue_reader){.shard = shard,
                                    .until = QUEUE_READER_NO_END,
                                    .bytes_max = bytes_max,
                                    .messages_max = MESSAGES_PER_CALL_MAX,
                                    .topic_id = topic_id,
                                    .queue = queue};
}

/* ------------------------------------------------------------------- cold */

bool queue_reader_may_wait(const struct queue_reader *reader)
{
    return reader->cold_tries >= COLD_TRIES_MAX || reader->cold_rounds >= COLD_ROUNDS_MAX;
}

static void warmed(struct warm_waiter *waiter, int error)
{
    struct queue_reader *reader = CONTAINER_OF(waiter, struct queue_reader, warm);
    reader->is_cold = false;
    reader->unreadable = error != 0;
    reader->again(reader, reader->shard->core);
}

void queue_reader_warm(struct queue_reader *reader, const struct cold_range *cold)
{
    struct cold_range *last = &reader->cold;
    bool is_same = last->segment == cold->segment && last->of_index == cold->of_index &&
                   last->offset == cold->offset;
    reader->cold_tries = is_same ? reader->cold_tries + 1 : 1;
    reader->cold_rounds++;
    reader->cold = *cold;
    reader->warm.warmed = warmed;
    reader->is_cold = true;
    commit_log_warm(reader->shard->log, cold, &reader->warm);
}

/* ---------------------------------------------------------------- reading */

/* Whether what it tries to read is one message. */
static bool reads_one(const struct queue_reader *reader)
{
    return reader->one_by_one || (reader->messages_max == 1 && reader->filter == NULL);
}

bool queue_reader_goes_on(struct queue_reader *reader, const struct core *at)
{
    reader->next = reader->from;
    if (reader->cold_rounds > 0 && (reader->cancelled || at->draining)) {
        reader->error = reader->cancelled ? OK : ERROR_STOPPING;
        return false;
    }
    if (reader->unreadable && reads_one(reader)) {
        reader->error = ERROR_IO_FAILED;
        reader->detail = reader->from + 1;
        return false;
    }
    /* One bad page must not hide the messages before it. */
    reader->one_by_one = reader->one_by_one || reader->unreadable;
    reader->unreadable = false;
    return true;
}

/* What a program needs to know to go on after `error`. */
static uint64_t error_detail(const struct queue_reader *reader, const struct queue_state *state)
{
    switch (reader->error) {
    case OK:
        return 0;
    case ERROR_OFFSET_TOO_SMALL:
        return state->first;
    case ERROR_TRUNCATED:
        return state->visible;
    default:
        return reader->from + 1;
    }
}

/* Runs of what may be sent now. OK without runs: nothing is there yet, or `cold_out` says what is to be
 * warmed first. */
static enum error read_runs(struct queue_reader *reader, struct core *at, struct queue *queue,
                            struct cold_range *cold_out)
{
    uint64_t left = reader->until - reader->from;
    uint32_t most = reader->one_by_one ? 1 : reader->messages_max;
    const struct read_limits limits = {.offset = reader->from,
                                       .messages_max = left < most ? (uint32_t)left : most,
                                       .bytes_max = reader->bytes_max,
                                       .may_wait = queue_reader_may_wait(reader)};
    struct run_list *runs = pool_take(&at->run_lists);
    enum error error = commit_log_read(reader->shard->log, queue, &limits, runs);
    if (error == OK && runs->messages > 0) {
        reader->runs = runs;
        reader->next = runs->next;
        return OK;
    }
    if (error == OK) {
        *cold_out = runs->cold;
    }
    pool_give(&at->run_lists, runs);
    return error;
}

static enum error read_part(struct queue_reader *reader, struct core *at, struct queue *queue,
                            struct cold_range *cold_out)
{
    if (reader->from >= reader->until) {
        return OK;
    }
    return reader->filter == NULL ? read_runs(reader, at, queue, cold_out)
                                  : filter_scan(reader, at, queue, cold_out);
}

bool queue_reader_read(struct queue_reader *reader, struct core *at)
{
    struct queue *queue =
        commit_log_queue_find(reader->shard->log, reader->topic_id, reader->queue);
    ASSERT(!reader->is_cold && reader->runs == NULL);
    reader->put_off = false;
    if (queue == NULL) {
        reader->error = ERROR_TOPIC_NOT_FOUND;
        return true;
    }
    if (!queue_reader_goes_on(reader, at)) {
        return true;
    }
    struct queue_state state = queue_state(queue);
    struct cold_range cold = {.segment = NULL};
    reader->end = state.visible;
    reader->error = read_part(reader, at, queue, &cold);
    reader->detail = error_detail(reader, &state);
    if (cold.segment != NULL && reader->at_hand_only) {
        reader->put_off = true;
        return true;
    }
    if (cold.segment != NULL) {
        queue_reader_warm(reader, &cold);
        return false;
    }
    reader->cold_tries = 0;
    reader->cold_rounds = 0;
    return true;
}

void queue_reader_drop_runs(struct queue_reader *reader, struct core *at)
{
    struct run_list *runs = reader->runs;
    if (runs == NULL) {
        return;
    }
    struct core *owner = reader->shard->core; /* where it was taken */
    delivery_drop(runs);
    pool_return(&owner->run_lists, runs, owner == at);
    reader->runs = NULL;
}
