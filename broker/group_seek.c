/* SPDX-License-Identifier: Apache-2.0 */
/* group_seek.c - a group.seek from queue to queue, and its answer. */
#include "broker/group_seek.h"

#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/group_methods.h"
#include "broker/group_start.h"
#include "broker/groups.h"
#include "broker/queue_tour.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "proto/names.h"

#include <stdlib.h>

enum {
    /* A topic's name, five numbers, their keys. */
    ROW_BYTES = TOPIC_NAME_BYTES_MAX + 96,
    HEAD_BYTES = 32
};

static_assert((size_t)TOUR_QUEUES_MAX * ROW_BYTES < FRAME_BYTES_MAX / 2, "an answer is a frame");

struct sought_queue {
    bool is_there;
    struct seek_row row;
};

struct group_seek {
    struct queue_tour tour;
    struct group *group;  /* a reference */
    struct group *cloned; /* likewise; NULL: of no other group */
    struct seek_target target;
    bool is_dry;
    enum error error;       /* the first; nothing is changed from there on */
    struct refusal refusal; /* of it */
    struct sought_queue *queues;
};

/* -------------------------------------------------------------------- place */

/* A queue that is looked at. */
struct look {
    struct group_seek *seek;
    struct shard *shard;
    struct queue *log_queue;
    struct group_place place;
};

/* Where a group has what is not settled. False: cold. */
static bool find_position(const struct look *look, const struct group *group,
                          struct cold_range *cold, const struct group_queue **queue_out,
                          uint64_t *offset_out)
{
    const struct group_place place = {group->id, look->place.topic, look->place.queue};
    *queue_out = groups_find(look->shard->groups, &place);
    if (*queue_out != NULL) {
        *offset_out = group_queue_first_open(*queue_out);
        return true;
    }
    return group_find_start(group, look->shard->log, look->log_queue, cold, offset_out);
}

/* What `to` is in this queue. False: cold. */
static bool find_target(const struct look *look, struct cold_range *cold, uint64_t *offset_out)
{
    const struct seek_target *target = &look->seek->target;
    const struct queue_state state = queue_state(look->log_queue);
    const struct group_queue *cloned;
    switch (target->kind) {
    case SEEK_FIRST:
        *offset_out = state.first;
        return true;
    case SEEK_LAST:
        *offset_out = state.visible;
        return true;
    case SEEK_OFFSET:
        *offset_out = target->number;
        return true;
    case SEEK_TIME:
        return commit_log_find_time(look->shard->log, look->log_queue, target->number, cold,
                                    offset_out);
    case SEEK_GROUP:
        return find_position(look, look->seek->cloned, cold, &cloned, offset_out);
    }
    UNREACHABLE("a kind that the enum does not have");
}

/* ------------------------------------------------------------------- looking */

/* Decides on one queue, and has it done. */
static void move(const struct look *look, const struct seek_place *place, uint64_t target,
                 struct sought_queue *sought)
{
    struct group_seek *seek = look->seek;
    bool is_exact = seek->target.kind == SEEK_OFFSET;
    enum error error = seek_decide(place, target, is_exact, &sought->row, &seek->refusal);
    if (error != OK) {
        seek->error = error;
        return;
    }
    if (seek->is_dry) {
        return;
    }
    error = groups_seek(look->shard->groups, &look->place, sought->row.now);
    if (error != OK) {
        refusal_set(&seek->refusal, error, "%s", error_text(error));
        seek->error = error;
        return;
    }
    seek->tour.changed = true;
}

static bool is_gone(const struct look *look)
{
    return look->log_queue == NULL ||
           catalogue_find_group_id(look->shard->catalogue, look->place.group) == NULL;
}

static enum tour_look look_at_queue(struct queue_tour *tour, struct core *at, uint32_t place)
{
    struct group_seek *seek = CONTAINER_OF(tour, struct group_seek, tour);
    const struct toured_queue *toured = &tour->queues[place];
    struct look look = {
        .seek = seek,
        .shard = at->cores->shard[toured->shard],
        .place = {seek->group->id, toured->topic->id, toured->queue},
    };
    look.log_queue = commit_log_queue_find(look.shard->log, toured->topic->id, toured->queue);
    bool is_cloned =
        seek->cloned == NULL || group_find_topic(seek->cloned, toured->topic->name) != NULL;
    if (seek->error != OK || !is_cloned || is_gone(&look)) {
        return TOUR_NEXT;
    }
    struct cold_range range;
    struct cold_range *cold = queue_tour_cold(tour, &range);
    struct seek_place sought = {.state = queue_state(look.log_queue)};
    uint64_t target;
    if (!find_position(&look, seek->group, cold, &sought.queue, &sought.start) ||
        !find_target(&look, cold, &target)) {
        queue_tour_warm(tour, at, &range);
        return TOUR_COLD;
    }
    seek->queues[place].is_there = true;
    move(&look, &sought, target, &seek->queues[place]);
    return TOUR_NEXT;
}

/* -------------------------------------------------------------------- answer */

static void write_row(struct writer *writer, const struct toured_queue *toured,
                      const struct seek_row *row)
{
    writer_put_map(writer, 6);
    writer_put_key_str(writer, "topic", toured->topic->name);
    writer_put_key_uint(writer, "queue", toured->queue);
    writer_put_key_uint(writer, "was", row->was);
    writer_put_key_uint(writer, "now", row->now);
    writer_put_key_uint(writer, "again", row->again);
    writer_put_key_uint(writer, "skipped", row->skipped);
}

static void seek_destroy(struct group_seek *seek)
{
    group_unref(seek->group);
    group_unref(seek->cloned);
    queue_tour_deinit(&seek->tour);
    free(seek->queues);
    free(seek);
}

static void answer_rows(struct call *call, struct group_seek *seek)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < seek->tour.count; i++) {
        count += seek->queues[i].is_there;
    }
    size_t bytes = HEAD_BYTES + count * (size_t)ROW_BYTES;
    uint8_t *room = malloc(bytes);
    ASSERT(room != NULL);
    struct writer writer = writer_over(room, bytes);
    writer_put_map(&writer, 1);
    writer_put_string(&writer, "rows");
    writer_put_array(&writer, count);
    for (uint32_t i = 0; i < seek->tour.count; i++) {
        if (seek->queues[i].is_there) {
            write_row(&writer, &seek->tour.queues[i], &seek->queues[i].row);
        }
    }
    ASSERT(!writer.overflowed);
    seek_destroy(seek);
    call_answer(call, writer_bytes(&writer));
    free(room);
}

static void answer(struct call *call, struct core *at)
{
    (void)at;
    struct group_seek *seek = CONTAINER_OF((struct queue_tour *)call->own, struct group_seek, tour);
    if (seek->error == OK) {
        answer_rows(call, seek);
        return;
    }
    const struct refusal refusal = seek->refusal;
    seek_destroy(seek);
    call_refuse(call, &refusal);
}

/* -------------------------------------------------------------------- begin */

static struct group *find_group(struct core *home, struct bytes name, struct refusal *refusal)
{
    struct group *group = directory_find_group(home->directory, name);
    if (group == NULL) {
        (void)group_refuse_missing(name, refusal);
        refusal_add_key(refusal, name);
    }
    return group;
}

static bool shares_topic(const struct group *group, const struct group *other)
{
    for (uint32_t i = 0; i < group->topic_count; i++) {
        if (group_find_topic(other, group->topics[i].name) != NULL) {
            return true;
        }
    }
    return false;
}

/* What only all arguments together can say. */
static enum error check(const struct group_seek *seek, const struct arguments *arguments,
                        struct refusal *refusal)
{
    bool has_topic = arguments_has(arguments, ARGUMENT_TOPIC);
    bool has_queue = arguments_has(arguments, ARGUMENT_QUEUE);
    if (seek->group->settings.broadcast) {
        return arguments_refuse(refusal, ARGUMENT_GROUP,
                                "GROUP@MEMBER: each member of a broadcast group stands elsewhere");
    }
    if (has_queue && !has_topic) {
        return arguments_refuse(refusal, ARGUMENT_TOPIC, "given with a queue");
    }
    if (seek->target.kind == SEEK_OFFSET && !has_queue) {
        return arguments_refuse(refusal, ARGUMENT_QUEUE, "given with an offset, and topic with it");
    }
    if (seek->cloned != NULL && !shares_topic(seek->group, seek->cloned)) {
        return arguments_refuse(refusal, ARGUMENT_TO, "a group that reads one of the topics");
    }
    return OK;
}

static enum error begin(struct call *call, struct group_seek *seek,
                        const struct arguments *arguments, struct refusal *refusal)
{
    struct core *home = call->home;
    struct group *group = find_group(home, arguments_bytes(arguments, ARGUMENT_GROUP), refusal);
    if (group == NULL) {
        return ERROR_GROUP_NOT_FOUND;
    }
    seek->group = group_ref(group);
    struct cursor to = arguments_cursor(arguments, ARGUMENT_TO);
    enum error error = seek_target_read(to, &seek->target, refusal);
    if (error != OK) {
        return error;
    }
    if (seek->target.kind == SEEK_GROUP) {
        group = find_group(home, seek->target.group, refusal);
        if (group == NULL) {
            return ERROR_GROUP_NOT_FOUND;
        }
        seek->cloned = group_ref(group);
    }
    error = check(seek, arguments, refusal);
    if (error != OK) {
        return error;
    }
    bool has_queue = arguments_has(arguments, ARGUMENT_QUEUE);
    return queue_tour_init(
        &seek->tour, call, seek->group, arguments_bytes(arguments, ARGUMENT_TOPIC),
        has_queue ? (uint32_t)arguments_number(arguments, ARGUMENT_QUEUE) : UINT32_MAX, refusal);
}

void group_seek_run(struct call *call, const struct arguments *arguments)
{
    struct refusal refusal;
    struct group_seek *seek = calloc(1, sizeof(*seek));
    ASSERT(seek != NULL);
    if (begin(call, seek, arguments, &refusal) != OK) {
        seek_destroy(seek);
        call_refuse(call, &refusal);
        return;
    }
    seek->is_dry = arguments_number(arguments, ARGUMENT_DRY_RUN) != 0;
    seek->queues = calloc(seek->tour.count == 0 ? 1 : seek->tour.count, sizeof(*seek->queues));
    ASSERT(seek->queues != NULL);
    call_charge(call, seek->tour.count * sizeof(*seek->queues));
    seek->tour.look = look_at_queue;
    seek->tour.last = answer;
    call->own = &seek->tour;
    call_drop_buffer(call);
    queue_tour_begin(&seek->tour, call->home);
}
