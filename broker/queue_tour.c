/* SPDX-License-Identifier: Apache-2.0 */
/* queue_tour.c - from shard to shard, with waits for the disk, the log and other calls. */
#include "broker/queue_tour.h"

#include "broker/core.h"
#include "broker/directory.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

#include <stdlib.h>

/* Looks in one turn: about 100 us. */
enum { LOOKS_A_TURN = 128 };

/* ------------------------------------------------------------------ queues */

static enum error refuse_topic(struct refusal *refusal, struct bytes topic, const char *why)
{
    refusal_set(refusal, ERROR_TOPIC_NOT_FOUND, "topic '%.*s' %s", (int)topic.length,
                (const char *)topic.data, why);
    refusal_add_key(refusal, topic);
    return ERROR_TOPIC_NOT_FOUND;
}

static enum error refuse_many(struct refusal *refusal, uint32_t count)
{
    const struct refusal_overload overload = {
        .what = "queues of the group's topics in one call, which takes a topic, too",
        .limit = TOUR_QUEUES_MAX,
        .value = count,
        .usage = count,
    };
    return refusal_set_overload(refusal, ERROR_TOO_LARGE, &overload);
}

static void add_queue(struct queue_tour *tour, struct topic *topic, uint32_t queue)
{
    tour->queues[tour->count++] = (struct toured_queue){
        .topic = topic, .queue = (uint16_t)queue, .shard = (uint16_t)topic_shard(topic, queue)};
}

enum error queue_tour_init(struct queue_tour *tour, struct call *call, const struct group *group,
                           struct bytes topic, uint32_t queue, struct refusal *refusal)
{
    uint32_t count = 0;
    *tour = (struct queue_tour){.call = call, .of_all_topics = topic.length == 0};
    list_init(&tour->written);
    if (topic.length > 0 && group_find_topic(group, topic) == NULL) {
        return refuse_topic(refusal, topic, "is not of the group");
    }
    for (uint32_t i = 0; i < group->topic_count; i++) {
        struct topic *found = directory_find(call->home->directory, group->topics[i].name);
        if (found != NULL && (topic.length == 0 || bytes_equal(topic, found->name))) {
            tour->topics[tour->topic_count++] = topic_ref(found);
            count += topic_queues_here(found);
        }
    }
    bool is_one = queue != UINT32_MAX;
    if (topic.length > 0 && tour->topic_count == 0) {
        return refuse_topic(refusal, topic, "is not there");
    }
    if (is_one && queue >= tour->topics[0]->queue_count) {
        return refuse_topic(refusal, topic, "has no such queue");
    }
    enum error error = is_one ? topic_check_queue(tour->topics[0], queue, refusal) : OK;
    if (error != OK) {
        return error;
    }
    if (count > TOUR_QUEUES_MAX) {
        return refuse_many(refusal, count);
    }
    tour->queues = calloc(count == 0 ? 1 : count, sizeof(*tour->queues));
    ASSERT(tour->queues != NULL);
    call_charge(call, count * sizeof(*tour->queues));
    for (uint32_t i = 0; i < tour->topic_count; i++) {
        for (uint32_t number = 0; number < tour->topics[i]->queue_count; number++) {
            if (topic_has(tour->topics[i], number) && (!is_one || number == queue)) {
                add_queue(tour, tour->topics[i], number);
            }
        }
    }
    return OK;
}

void queue_tour_deinit(struct queue_tour *tour)
{
    for (uint32_t i = 0; i < tour->topic_count; i++) {
        topic_unref(tour->topics[i]);
    }
    free(tour->queues);
    tour->topic_count = 0;
    tour->queues = NULL;
}

/* ------------------------------------------------------------------- steps */

static void go_on(struct queue_tour *tour, struct core *at);

static void step(struct call *call, struct core *at)
{
    go_on(call->own, at);
}

static void deliver_step(const struct core_message *message, void *core)
{
    go_on(message->object, core);
}

static void go_on_later(struct queue_tour *tour, struct core *at)
{
    struct core_message message = {.deliver = deliver_step, .object = tour};
    core_send_to(at, at, &message);
}

/* The first place from `place` on that is of a shard, or `count`. */
static uint32_t next_of_shard(const struct queue_tour *tour, uint32_t shard, uint32_t place)
{
    while (place < tour->count && tour->queues[place].shard != shard) {
        place++;
    }
    return place;
}

/* All that is left of the shard that it is in. False: it goes on by itself. */
static bool look_at_shard(struct queue_tour *tour, struct core *at)
{
    for (uint32_t looks = 0;;) {
        tour->place = next_of_shard(tour, tour->shard, tour->place);
        if (tour->place == tour->count) {
            return true;
        }
        if (looks++ == LOOKS_A_TURN) {
            go_on_later(tour, at);
            return false;
        }
        switch (tour->look(tour, at, tour->place)) {
        case TOUR_NEXT:
            tour->reader.cold_tries = 0;
            tour->reader.cold_rounds = 0;
            tour->place++;
            break;
        case TOUR_AGAIN:
            go_on_later(tour, at);
            return false;
        case TOUR_COLD:
            return false;
        }
    }
}

static void go_on(struct queue_tour *tour, struct core *at)
{
    const struct cores *cores = at->cores;
    for (; tour->shard < cores->shard_count; tour->shard++, tour->place = 0) {
        struct core *core = cores->shard[tour->shard]->core;
        if (next_of_shard(tour, tour->shard, tour->place) == tour->count) {
            continue;
        }
        if (core != at) {
            call_forward(tour->call, at, core, step);
            return;
        }
        if (!look_at_shard(tour, at)) {
            return;
        }
        if (tour->changed) {
            tour->changed = false;
            tour->place = tour->count;
            list_append(&at->toured, &tour->written);
            core_hook_woken(at);
            return;
        }
    }
    call_return(tour->call, at, tour->last);
}

/* What it has changed in the shard that it is in. */
static bool is_written(const struct queue_tour *tour, const struct core *core)
{
    return commit_log_has_written(core->cores->shard[tour->shard]->log);
}

bool queue_tours_are_written(const struct core *core)
{
    LIST_FOREACH (link, &core->toured) {
        if (is_written(CONTAINER_OF(link, struct queue_tour, written), core)) {
            return true;
        }
    }
    return false;
}

void queue_tours_written(struct core *core)
{
    struct list toured;
    list_init(&toured);
    list_move_all(&toured, &core->toured);
    struct list *link;
    while ((link = list_take_first(&toured)) != NULL) {
        struct queue_tour *tour = CONTAINER_OF(link, struct queue_tour, written);
        if (is_written(tour, core)) {
            go_on(tour, core);
        } else {
            list_append(&core->toured, link);
        }
    }
}

void queue_tour_begin(struct queue_tour *tour, struct core *from)
{
    tour->shard = 0;
    tour->place = 0;
    tour->changed = false;
    go_on(tour, from);
}

/* -------------------------------------------------------------------- cold */

static void warmed(struct queue_reader *reader, struct core *at)
{
    go_on(CONTAINER_OF(reader, struct queue_tour, reader), at);
}

struct cold_range *queue_tour_cold(const struct queue_tour *tour, struct cold_range *cold)
{
    cold->segment = NULL;
    return queue_reader_may_wait(&tour->reader) ? NULL : cold;
}

void queue_tour_warm(struct queue_tour *tour, struct core *at, const struct cold_range *cold)
{
    tour->reader.shard = at->cores->shard[tour->shard];
    tour->reader.again = warmed;
    queue_reader_warm(&tour->reader, cold);
}
