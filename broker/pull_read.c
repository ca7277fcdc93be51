/* SPDX-License-Identifier: Apache-2.0 */
/* pull_read.c - what a pull reads: its filter, where it begins, and on from there. */
#include "broker/call.h"
#include "broker/core.h"
#include "broker/pull.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "proto/filter.h"

#define NS_PER_MS UINT64_C(1000000)

enum error pull_read_filter(struct call *call, const struct arguments *arguments,
                            struct refusal *refusal)
{
    if (!arguments_has(arguments, ARGUMENT_FILTER)) {
        return OK;
    }
    struct filter *filter = NULL;
    enum error error = filter_create(arguments_bytes(arguments, ARGUMENT_FILTER), &filter, refusal);
    if (error == OK && filter_wants_all(filter)) {
        filter_destroy(filter);
        filter = NULL;
    }
    call->pull.reader.filter = filter;
    return error;
}

uint64_t pull_scan_until_ns(const struct call *call)
{
    uint64_t until_ns = call->arrived_ns + PULL_SCAN_MS_MAX * NS_PER_MS;
    until_ns = until_ns > call->pull.wait_until_ns ? until_ns : call->pull.wait_until_ns;
    return until_ns < call->deadline_ns ? until_ns : call->deadline_ns;
}

/* Where the pull begins, by what it asked for. With something in `cold` it is not known yet. */
static enum error resolve(struct pull_call *pull, struct queue *queue,
                          const struct queue_state *state, struct cold_range *cold)
{
    struct queue_reader *reader = &pull->reader;
    struct commit_log *log = reader->shard->log;
    struct cold_range *cold_or_wait = queue_reader_may_wait(reader) ? NULL : cold;
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
        if (!commit_log_find_epoch(log, queue, &last_seen, cold_or_wait, &reader->detail)) {
            return OK;
        }
        if (reader->detail != pull->first) {
            return ERROR_TRUNCATED;
        }
    }
    pull->has_epoch = false;
    return OK;
}

/* It goes on where it has come to, which is behind where it begins. */
static void stand(struct pull_call *pull)
{
    struct queue_reader *reader = &pull->reader;
    reader->from = reader->from > pull->first ? reader->from : pull->first;
    reader->next = reader->from;
}

static void read_again(struct queue_reader *reader, struct core *at)
{
    struct call *call = CONTAINER_OF(reader, struct call, pull.reader);
    call->pull.again(call, at);
}

bool pull_read(struct call *call, struct core *at,
               void (*again)(struct call *call, struct core *at))
{
    struct pull_call *pull = &call->pull;
    struct queue_reader *reader = &pull->reader;
    struct queue *queue =
        commit_log_queue_find(reader->shard->log, reader->topic_id, reader->queue);
    pull->again = again;
    reader->again = read_again;
    if (queue == NULL) {
        reader->error = ERROR_TOPIC_NOT_FOUND; /* deleted while the call was on its way or waited */
        return true;
    }
    if (!queue_reader_goes_on(reader, at)) {
        stand(pull);
        reader->detail = reader->from + 1;
        return true;
    }
    struct queue_state state = queue_state(queue);
    struct cold_range cold = {.segment = NULL};
    reader->end = state.visible;
    reader->error = resolve(pull, queue, &state, &cold);
    if (cold.segment != NULL) {
        queue_reader_warm(reader, &cold);
        return false;
    }
    if (reader->error == OK) {
        stand(pull);
        if (!queue_reader_read(reader, at)) {
            return false;
        }
    }
    pull->place = pull->place == PULL_FIRST && !reader->put_off ? PULL_OFFSET : pull->place;
    return true;
}
