/* SPDX-License-Identifier: Apache-2.0 */
/* pull_read.c - what a pull reads of its queue, at the core of the shard, and how it waits for the disk. */
#include "broker/call.h"
#include "broker/core.h"
#include "broker/pull.h"
#include "broker/pull_filter.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

enum {
    /* The same that was warmed so often in a row and is gone again each time: memory is so short that
     * waiting for the disk is all that is left. */
    COLD_TRIES_MAX = 3,
    /* The same of whatever it was: a search of ten thousand segments needs no more. */
    COLD_ROUNDS_MAX = 256
};

bool pull_may_wait(const struct pull_call *pull)
{
    return pull->cold_tries >= COLD_TRIES_MAX || pull->cold_rounds >= COLD_ROUNDS_MAX;
}

/* Where the pull begins, by what it asked for. With something in `cold` it is not known yet. */
static enum error resolve(struct pull_call *pull, struct queue *queue,
                          const struct queue_state *state, struct cold_range *cold)
{
    struct commit_log *log = pull->shard->log;
    struct cold_range *cold_or_wait = pull_may_wait(pull) ? NULL : cold;
    switch (pull->place) {
    case PULL_FIRST:
        pull->at = state->first; /* Until it is read: retention may come before. */
        break;
    case PULL_LAST:
        pull->at = state->visible;
        pull->place = PULL_OFFSET;
        break;
    case PULL_TIME:
        /* Nothing stored so late yet: what comes may still be too early, so it asks again then. */
        if (!commit_log_find_time(log, queue, pull->at, cold_or_wait, &pull->first) ||
            pull->first == state->visible) {
            return OK;
        }
        pull->at = pull->first;
        pull->place = PULL_OFFSET;
        break;
    case PULL_OFFSET:
        break;
    }
    pull->first = pull->at;
    if (pull->has_epoch && pull->first > state->first) {
        const struct last_seen last_seen = {pull->first, pull->epoch};
        if (!commit_log_find_epoch(log, queue, &last_seen, cold_or_wait, &pull->detail)) {
            return OK;
        }
        if (pull->detail != pull->first) {
            return ERROR_TRUNCATED;
        }
    }
    pull->has_epoch = false;
    return OK;
}

/* What a program needs to know to go on after `error`. */
static uint64_t error_detail(const struct pull_call *pull, enum error error,
                             const struct queue_state *state)
{
    switch (error) {
    case ERROR_OFFSET_TOO_SMALL:
        return state->first;
    case ERROR_TRUNCATED:
        return state->visible;
    default:
        return pull->from + 1;
    }
}

static void warmed(struct warm_waiter *waiter, int error)
{
    struct call *call = CONTAINER_OF(waiter, struct call, pull.warm);
    call->pull.is_cold = false;
    call->pull.unreadable = error != 0;
    call->pull.again(call, call->pull.shard->core);
}

static void have_warmed(struct pull_call *pull, const struct cold_range *cold)
{
    struct cold_range *last = &pull->cold;
    bool is_same = last->segment == cold->segment && last->of_index == cold->of_index &&
                   last->offset == cold->offset;
    pull->cold_tries = is_same ? pull->cold_tries + 1 : 1;
    pull->cold_rounds++;
    pull->cold = *cold;
    pull->warm.warmed = warmed;
    pull->is_cold = true;
    commit_log_warm(pull->shard->log, cold, &pull->warm);
}

/* Runs of what may be sent now. OK without runs: nothing is there yet, or `cold_out` says what is to be
 * warmed first. */
static enum error read_runs(struct call *call, struct core *at, struct queue *queue,
                            struct cold_range *cold_out)
{
    struct pull_call *pull = &call->pull;
    const struct read_limits limits = {.offset = pull->from,
                                       .messages_max = pull->one_by_one ? 1 : pull->messages_max,
                                       .bytes_max = pull->bytes_max,
                                       .may_wait = pull_may_wait(pull)};
    struct run_list *runs = pool_take(&at->run_lists);
    enum error error = commit_log_read(pull->shard->log, queue, &limits, runs);
    if (error == OK && runs->messages > 0) {
        pull->runs = runs;
        pull->next = runs->next;
        return OK;
    }
    if (error == OK) {
        *cold_out = runs->cold;
    }
    pool_give(&at->run_lists, runs);
    return error;
}

/* It goes on where it has come to, which is behind where it begins. */
static void stand(struct pull_call *pull)
{
    pull->from = pull->from > pull->first ? pull->from : pull->first;
    pull->next = pull->from;
}

/* Whether what it tries to read is one message. */
static bool reads_one(const struct pull_call *pull)
{
    return pull->one_by_one || (pull->messages_max == 1 && pull->filter == NULL);
}

bool pull_read(struct call *call, struct core *at,
               void (*again)(struct call *call, struct core *at))
{
    struct pull_call *pull = &call->pull;
    struct queue *queue = commit_log_queue_find(pull->shard->log, pull->topic_id, pull->queue);
    if (queue == NULL) {
        pull->error = ERROR_TOPIC_NOT_FOUND; /* deleted while the call was on its way or waited */
        return true;
    }
    if (pull->cold_rounds > 0 && (pull->cancelled || at->draining)) {
        pull->error = pull->cancelled ? OK : ERROR_STOPPING;
        stand(pull);
        return true;
    }
    if (pull->unreadable && reads_one(pull)) {
        stand(pull);
        pull->error = ERROR_IO_FAILED;
        pull->detail = pull->from + 1;
        return true;
    }
    /* One bad page must not hide the messages before it. */
    pull->one_by_one = pull->one_by_one || pull->unreadable;
    pull->unreadable = false;
    struct queue_state state = queue_state(queue);
    struct cold_range cold = {.segment = NULL};
    pull->end = state.visible;
    pull->error = resolve(pull, queue, &state, &cold);
    if (pull->error == OK && cold.segment == NULL) {
        stand(pull);
        pull->error = pull->filter == NULL ? read_runs(call, at, queue, &cold)
                                           : pull_filter_scan(call, at, queue, &cold);
        pull->detail = pull->error == OK ? 0 : error_detail(pull, pull->error, &state);
    }
    if (cold.segment == NULL) {
        pull->place = pull->place == PULL_FIRST && !pull->put_off ? PULL_OFFSET : pull->place;
        pull->cold_tries = 0;
        pull->cold_rounds = 0;
        return true;
    }
    pull->again = again;
    have_warmed(pull, &cold);
    return false;
}
