/* SPDX-License-Identifier: Apache-2.0 */
/* group_show.c - a group.show from core to core, and its answer. */
#include "broker/group_show.h"

#include "broker/core.h"
#include "broker/directory.h"
#include "broker/group_methods.h"
#include "broker/groups.h"
#include "broker/home.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "proto/names.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    /* A name, three numbers, their keys. */
    MEMBER_BYTES = MEMBER_NAME_BYTES_MAX + 72,
    /* A topic's name, fourteen numbers, a state and a bound, their keys. */
    QUEUE_BYTES = TOPIC_NAME_BYTES_MAX + 420,
    BLOCK_BYTES = 80,
    /* Name, id, version, counters, keys; topics that are missing are as long as those of the settings. */
    HEAD_BYTES = GROUP_ANY_NAME_BYTES_MAX + 256
};

static_assert((size_t)TOUR_QUEUES_MAX * QUEUE_BYTES + (size_t)HOME_MEMBERS_MAX * MEMBER_BYTES <
                  FRAME_BYTES_MAX - (1U << 20),
              "an answer is a frame");

/* ------------------------------------------------------------ on every core */

static void write_member(struct writer *writer, const struct group_member *member)
{
    writer_put_map(writer, 4);
    writer_put_key_str(writer, "member", member->name);
    writer_put_key_uint(writer, "waiting", member->waiting);
    writer_put_key_uint(writer, "leased",
                        atomic_load_explicit(&member->leased, memory_order_relaxed));
    writer_put_key_uint(writer, "seen_ms", member->seen_ms);
}

/* Adds the members that a home on this core knows, as long as there is room for them. */
static void add_members(struct group_show *show, struct core *at, uint32_t group)
{
    const struct home *home = home_find(at, group);
    if (home == NULL || home->members.count == 0) {
        return;
    }
    uint32_t room = HOME_MEMBERS_MAX - show->member_count;
    uint32_t count = home->members.count < room ? home->members.count : room;
    size_t bytes = show->members_bytes + count * (size_t)MEMBER_BYTES;
    show->members = realloc(show->members, bytes == 0 ? 1 : bytes);
    ASSERT(show->members != NULL);
    struct writer writer =
        writer_over(show->members + show->members_bytes, count * (size_t)MEMBER_BYTES);
    LIST_FOREACH (link, &home->by_seen) {
        if (count == 0) {
            break;
        }
        write_member(&writer, CONTAINER_OF(link, struct group_member, link));
        show->member_count++;
        count--;
    }
    ASSERT(!writer.overflowed);
    show->members_bytes += writer_length(&writer);
}

static void add_counters(struct group_show *show, const struct shard *shard, uint32_t id)
{
    const struct shard_group *group = groups_find_group(shard->groups, id);
    if (group != NULL) {
        show->delivered += group->delivered;
        show->acked += group->acked;
        show->nacked += group->nacked;
        show->expired += group->expired;
        show->filtered += group->filtered;
    }
}

/* What of the dead letters of this shard the group that redrives them has not settled. */
static void add_dead(struct group_show *show, const struct shard *shard)
{
    const struct topic *topic = show->dead_topic;
    for (uint32_t i = 0; topic != NULL && i < topic->queue_count; i++) {
        struct queue *log_queue = topic_is_in(topic, i, shard->number)
                                      ? commit_log_queue_find(shard->log, topic->id, (uint16_t)i)
                                      : NULL;
        if (log_queue == NULL) {
            continue;
        }
        const struct queue_state state = queue_state(log_queue);
        const struct group_place place = {show->dead_group == NULL ? 0 : show->dead_group->id,
                                          topic->id, (uint16_t)i};
        const struct group_queue *queue =
            show->dead_group == NULL ? NULL : groups_find(shard->groups, &place);
        show->dead += group_show_undone(queue, state.first, &state);
    }
}

static void look_at_core(struct call *call, struct core *at)
{
    struct group_show *show = CONTAINER_OF((struct queue_tour *)call->own, struct group_show, tour);
    for (uint32_t i = 0; i < show->part_count; i++) {
        uint32_t id = show->parts[i]->id;
        if (home_core(at, id) == at) {
            add_members(show, at, id);
        }
        for (uint32_t s = at->number; s < at->cores->shard_count; s += at->cores->count) {
            add_counters(show, at->cores->shard[s], id);
        }
    }
    for (uint32_t s = at->number; s < at->cores->shard_count; s += at->cores->count) {
        add_dead(show, at->cores->shard[s]);
    }
}

/* ------------------------------------------------------------------- answer */

static const char *state_name(enum shown_state state)
{
    static const char *const names[] = {
        [SHOWN_IDLE] = "idle",       [SHOWN_DEAD_LETTERS] = "dead letters wait",
        [SHOWN_WAITING] = "waiting", [SHOWN_LEASED] = "leased",
        [SHOWN_BLOCKED] = "blocked", [SHOWN_FULL] = "full",
        [SHOWN_READY] = "ready",
    };
    return names[state];
}

static void write_block(struct writer *writer, const struct shown_block *block)
{
    writer_put_map(writer, 3U + (block->key != 0) + (block->until_ms != 0));
    if (block->key != 0) {
        char text[16];
        (void)snprintf(text, sizeof(text), "%08x", block->key);
        writer_put_key_string(writer, "key", text);
    }
    writer_put_key_uint(writer, "offset", block->offset);
    writer_put_key_uint(writer, "attempt", block->attempt);
    writer_put_key_string(writer, "state",
                          block->is_leased       ? "leased"
                          : block->until_ms != 0 ? "waiting"
                                                 : "dead");
    if (block->until_ms != 0) {
        writer_put_key_uint(writer, "until", block->until_ms);
    }
}

static void write_bound(struct writer *writer, const struct group_bound *bound)
{
    writer_put_string(writer, "bound");
    writer_put_map(writer, 3);
    writer_put_key_string(writer, "what", bound->what);
    writer_put_key_uint(writer, "limit", bound->limit);
    writer_put_key_uint(writer, "usage", bound->usage);
}

static void put_unless_0(struct writer *writer, const char *key, uint64_t value)
{
    if (value != 0) {
        writer_put_key_uint(writer, key, value);
    }
}

static void write_queue(struct writer *writer, const struct group_show *show, uint32_t place)
{
    const struct shown_queue *shown = &show->queues[place];
    const struct toured_queue *toured = &show->tour.queues[place];
    writer_put_map(writer, 10U + (shown->oldest_ms != 0) + (shown->next_retry_ms != 0) +
                               (shown->lease_until_ms != 0) + (shown->bound.what != NULL) +
                               (shown->block_count != 0));
    writer_put_key_str(writer, "topic", toured->topic->name);
    writer_put_key_uint(writer, "queue", toured->queue);
    writer_put_key_uint(writer, "cursor", shown->cursor);
    writer_put_key_uint(writer, "end", shown->end);
    writer_put_key_uint(writer, "lag", shown->lag);
    writer_put_key_uint(writer, "leased", shown->leased);
    writer_put_key_uint(writer, "retrying", shown->retrying);
    writer_put_key_uint(writer, "dead", shown->dying);
    writer_put_key_uint(writer, "skipped", shown->skipped);
    writer_put_key_string(writer, "state", state_name(shown->state));
    put_unless_0(writer, "oldest", shown->oldest_ms);
    put_unless_0(writer, "next_retry", shown->next_retry_ms);
    put_unless_0(writer, "lease_until", shown->lease_until_ms);
    if (shown->bound.what != NULL) {
        write_bound(writer, &shown->bound);
    }
    if (shown->block_count != 0) {
        writer_put_string(writer, "blocked_by");
        writer_put_array(writer, shown->block_count);
        for (uint32_t i = 0; i < shown->block_count; i++) {
            write_block(writer, &show->blocks[shown->block_first + i]);
        }
    }
}

static void write_queues(struct writer *writer, const struct group_show *show)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < show->tour.count; i++) {
        count += show->queues[i].is_there;
    }
    writer_put_string(writer, "queues");
    writer_put_array(writer, count);
    for (uint32_t i = 0; i < show->tour.count; i++) {
        if (show->queues[i].is_there) {
            write_queue(writer, show, i);
        }
    }
}

static bool is_missing(const struct group_show *show, const struct group_topic *topic)
{
    for (uint32_t i = 0; i < show->tour.topic_count; i++) {
        if (bytes_equal(show->tour.topics[i]->name, topic->name)) {
            return false;
        }
    }
    return true;
}

/* The topics that the group would read, and that are not there. */
static void write_missing(struct writer *writer, const struct group_show *show)
{
    const struct group *group = show->group;
    writer_put_string(writer, "missing");
    writer_put_array(writer, group->topic_count - show->tour.topic_count);
    for (uint32_t i = 0; i < group->topic_count; i++) {
        if (is_missing(show, &group->topics[i])) {
            writer_put_str(writer, group->topics[i].name);
        }
    }
}

static struct writer write_answer(const struct group_show *show, uint64_t now_ms)
{
    const struct group *group = show->group;
    size_t bytes = HEAD_BYTES + 2 * GROUP_SETTINGS_BYTES_MAX + show->members_bytes +
                   show->tour.count * (size_t)QUEUE_BYTES + show->block_count * (size_t)BLOCK_BYTES;
    uint8_t *room = malloc(bytes);
    ASSERT(room != NULL);
    struct writer writer = writer_over(room, bytes);
    bool is_all = show->tour.of_all_topics;
    writer_put_map(&writer, is_all && group->topic_count > show->tour.topic_count ? 14 : 13);
    writer_put_key_uint(&writer, "now", now_ms);
    writer_put_key_str(&writer, "name", group->name);
    writer_put_key_uint(&writer, "id", group->id);
    writer_put_key_uint(&writer, "version", group->version);
    group_write_settings(group, &writer);
    writer_put_string(&writer, "members");
    writer_put_array(&writer, show->member_count);
    writer_put_raw(&writer, bytes_make(show->members, show->members_bytes));
    write_queues(&writer, show);
    writer_put_key_uint(&writer, "delivered", show->delivered);
    writer_put_key_uint(&writer, "acked", show->acked);
    writer_put_key_uint(&writer, "nacked", show->nacked);
    writer_put_key_uint(&writer, "expired", show->expired);
    writer_put_key_uint(&writer, "filtered", show->filtered);
    writer_put_key_uint(&writer, "dead", show->dead);
    if (is_all && group->topic_count > show->tour.topic_count) {
        write_missing(&writer, show);
    }
    ASSERT(!writer.overflowed);
    return writer;
}

/* --------------------------------------------------------------------- life */

static void show_destroy(struct group_show *show)
{
    for (uint32_t i = 0; i < show->part_count; i++) {
        group_unref(show->parts[i]);
    }
    free(show->parts);
    group_unref(show->group);
    group_unref(show->dead_group);
    topic_unref(show->dead_topic);
    queue_tour_deinit(&show->tour);
    free(show->queues);
    free(show->blocks);
    free(show->members);
    free(show);
}

static void answer(struct call *call, struct core *at)
{
    struct group_show *show = CONTAINER_OF((struct queue_tour *)call->own, struct group_show, tour);
    struct writer writer = write_answer(show, reactor_wall_ms(at->reactor));
    show_destroy(show);
    struct bytes bytes = writer_bytes(&writer);
    call_answer(call, bytes);
    free((uint8_t *)(uintptr_t)bytes.data);
}

static void look_at_queues(struct call *call, struct core *at)
{
    queue_tour_begin(call->own, at);
}

/* The groups whose state it is. */
static void find_parts(struct group_show *show, struct directory *directory)
{
    struct group *group = show->group;
    uint32_t first = 0;
    uint32_t count = 1;
    if (group->settings.broadcast) {
        char text[GROUP_NAME_BYTES_MAX + 1];
        struct bytes members = name_of_members(group->name, text);
        first = directory_group_place(directory, members);
        for (count = 0; first + count < directory->group_count &&
                        bytes_starts_with(directory->groups[first + count]->name, members);
             count++) {
        }
    }
    show->parts = calloc(count == 0 ? 1 : count, sizeof(struct group *));
    ASSERT(show->parts != NULL);
    show->part_count = count;
    for (uint32_t i = 0; i < count; i++) {
        show->parts[i] =
            group_ref(group->settings.broadcast ? directory->groups[first + i] : group);
    }
}

/* Its topic of dead letters, and who redrives them. */
static void find_dead(struct group_show *show, struct directory *directory)
{
    char text[TOPIC_NAME_BYTES_MAX];
    struct bytes name = name_of_dead_letters(show->group->name, text);
    struct topic *topic = directory_find(directory, name);
    struct group *group = directory_find_group(directory, name);
    bool is_own =
        name_is_dead_letters(show->group->name); /* these have no dead letters of theirs */
    show->dead_topic = topic == NULL || is_own ? NULL : topic_ref(topic);
    show->dead_group = group == NULL || is_own ? NULL : group_ref(group);
}

void group_show_run(struct call *call, const struct arguments *arguments)
{
    struct directory *directory = call->home->directory;
    struct bytes name = arguments_bytes(arguments, ARGUMENT_NAME);
    struct group *group = directory_find_group(directory, name);
    struct refusal refusal;
    if (group == NULL) {
        (void)group_refuse_missing(name, &refusal);
        call_refuse(call, &refusal);
        return;
    }
    struct group_show *show = calloc(1, sizeof(*show));
    ASSERT(show != NULL);
    show->group = group_ref(group);
    struct bytes topic = arguments_bytes(arguments, ARGUMENT_TOPIC);
    if (queue_tour_init(&show->tour, call, group, topic, UINT32_MAX, &refusal) != OK) {
        show_destroy(show);
        call_refuse(call, &refusal);
        return;
    }
    find_parts(show, directory);
    find_dead(show, directory);
    show->queues = calloc(show->tour.count == 0 ? 1 : show->tour.count, sizeof(*show->queues));
    ASSERT(show->queues != NULL);
    call_charge(call, show->tour.count * sizeof(*show->queues));
    show->tour.look = group_show_look;
    show->tour.last = answer;
    call->own = &show->tour;
    call_drop_buffer(call);
    call_tour(call, call->home, look_at_core, look_at_queues);
}
