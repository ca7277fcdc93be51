/* SPDX-License-Identifier: Apache-2.0 */
/* dead_letter.c - one dying message after the other: read, appended, gone. */
#include "broker/dead_letter.h"

#include "broker/catalogue.h"
#include "broker/catalogue_change.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/group_retention.h"
#include "broker/groups.h"
#include "broker/queue_reader.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "proto/dead_letter_extra.h"
#include "proto/message.h"
#include "proto/names.h"
#include "storage/segment.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_MS UINT64_C(1000000)

enum {
    /* After the log refused one, or where its group or topic changes. */
    REFUSED_RETRY_MS = 1000,
    CHANGED_RETRY_MS = 100,
    /* Where a topic of dead letters is missing: how often it is looked for, and asked for again. */
    TOPIC_LOOK_MS = 100,
    TOPIC_LOOKS_AN_ASK = 10,
    /* Of a turn: those that are put off, or of which nothing is appended. */
    STEPS_MAX = 1024
};

struct dead_letters {
    struct shard *shard;
    bool busy;    /* one is being read or appended */
    bool stopped; /* none begins */
    struct timer timer;
    struct timer topic_timer; /* runs while something is in groups->dying_later */
    uint32_t topic_looks;
    struct log_limit log_unreadable;
    struct queue_reader reader;
    struct group *group; /* a reference, for its filter, while it is read */
    /* What is under way: looked for again after each step, since its group or topic may go. */
    struct group_place place;
    uint64_t offset;
    uint8_t *record;
    struct append append;
    struct append_message message;
    uint8_t extra[EXTRA_BYTES_MAX];
};

static void go_on(struct dead_letters *dead);

static void write_extra(struct dead_letters *dead, const struct group *group,
                        const struct topic *topic, const struct open_range *range)
{
    const struct dead_letter_extra extra = {
        .group = name_is_member(group->name) ? name_group_of(group->name) : group->name,
        .topic = topic->name,
        .queue = dead->place.queue,
        .offset = dead->offset,
        .attempts = range->attempts,
        .reason = reason_text(range->reason),
        .group_id = dead->place.group,
        .topic_id = dead->place.topic,
        .generation = range->queue->generation,
    };
    struct writer writer = writer_over(dead->extra, sizeof(dead->extra));
    dead_letter_extra_write(&writer, &extra);
    ASSERT(!writer.overflowed);
    dead->append.extra = writer_bytes(&writer);
}

/* --------------------------------------------------------------------- topic */

static struct topic *find_topic(struct dead_letters *dead, const struct group *group)
{
    char text[TOPIC_NAME_BYTES_MAX];
    struct bytes name = name_of_dead_letters(group->name, text);
    struct topic *topic = directory_find(dead->shard->core->directory, name);
    return topic != NULL && topic->queue_count > dead->shard->number ? topic : NULL;
}

/* On core 0: the group's name lies in the group, which the message holds. */
static void deliver_ask(const struct core_message *message, void *core)
{
    struct group *group = message->object;
    struct bytes of = name_is_member(group->name) ? name_group_of(group->name) : group->name;
    catalogue_change_dead_letters(core, of);
    group_unref(group);
}

static void ask_for_topic(struct dead_letters *dead, struct group *group)
{
    struct core *core = dead->shard->core;
    struct core_message message = {.deliver = deliver_ask, .object = group_ref(group)};
    core_send_to(core, core->cores->core[0], &message);
}

static void wait_for_topics(struct dead_letters *dead, uint32_t wait_ms)
{
    struct reactor *reactor = dead->shard->core->reactor;
    timer_start(reactor, &dead->topic_timer, reactor_now_ns(reactor) + wait_ms * NS_PER_MS);
}

/* What was put off of a group is there again, behind all others. */
static void take_back(struct groups *groups, struct shard_group *group)
{
    list_remove(&group->in_dying_later);
    list_move_all(&groups->dying, &group->dying_later);
}

/* Topics that were missing may be there by now; those that are not are asked for again now and then. */
static void topic_timer_fired(struct timer *timer)
{
    struct dead_letters *dead = CONTAINER_OF(timer, struct dead_letters, topic_timer);
    struct groups *groups = dead->shard->groups;
    const struct directory *directory = dead->shard->core->directory;
    bool asks = ++dead->topic_looks % TOPIC_LOOKS_AN_ASK == 0;
    LIST_FOREACH (link, &groups->dying_later) {
        struct shard_group *here = CONTAINER_OF(link, struct shard_group, in_dying_later);
        struct group *group = directory_find_group_id(directory, here->id);
        if (group == NULL || find_topic(dead, group) != NULL) {
            take_back(groups, here);
        } else if (asks) {
            ask_for_topic(dead, group);
        }
    }
    if (!list_is_empty(&groups->dying_later)) {
        wait_for_topics(dead, TOPIC_LOOK_MS);
    }
    go_on(dead);
}

/* The topic of its dead letters is missing: those of other groups need not wait for it. */
static void put_off(struct dead_letters *dead, struct open_range *range, struct group *group)
{
    struct shard_group *here = range->queue->group;
    list_remove(&range->link);
    list_append(&here->dying_later, &range->link);
    if (list_is_empty(&here->in_dying_later)) {
        list_append(&dead->shard->groups->dying_later, &here->in_dying_later);
        ask_for_topic(dead, group);
        wait_for_topics(dead, TOPIC_LOOK_MS);
    }
}

/* Whether a message that is dying has to wait for a topic, and what it was is there as long. */
static bool has_to_wait(struct dead_letters *dead, const struct open_range *range,
                        const struct group *group)
{
    const struct group_place *place = &range->queue->place;
    struct queue *queue = commit_log_queue_find(dead->shard->log, place->topic, place->queue);
    return queue != NULL && queue_state(queue).first <= range->first &&
           find_topic(dead, group) == NULL;
}

/* ---------------------------------------------------------------------- steps */

static void timer_fired(struct timer *timer)
{
    struct dead_letters *dead = CONTAINER_OF(timer, struct dead_letters, timer);
    dead->busy = false;
    go_on(dead);
}

/* The range that is dying, if it still is. */
static struct open_range *find_range(const struct dead_letters *dead)
{
    struct group_queue *queue = groups_find(dead->shard->groups, &dead->place);
    struct open_range *range = queue == NULL ? NULL : open_ranges_find(&queue->open, dead->offset);
    bool is_dying = range != NULL && range->first <= dead->offset && range->state == OPEN_DYING;
    return is_dying ? range : NULL;
}

/* Behind the others, so that one that is refused, being large, holds up nobody. */
static void put_behind(struct dead_letters *dead)
{
    struct open_range *range = find_range(dead);
    if (range != NULL) {
        list_remove(&range->link);
        list_append(&dead->shard->groups->dying, &range->link);
    }
}

static void pause_for(struct dead_letters *dead, uint32_t pause_ms)
{
    struct reactor *reactor = dead->shard->core->reactor;
    dead->busy = true;
    timer_start(reactor, &dead->timer, reactor_now_ns(reactor) + pause_ms * NS_PER_MS);
}

static void try_later(struct dead_letters *dead, uint32_t after_ms)
{
    put_behind(dead);
    pause_for(dead, after_ms);
}

/* One has come to its end, and the next may begin. */
static void is_gone(struct dead_letters *dead)
{
    struct group_queue *queue = groups_find(dead->shard->groups, &dead->place);
    dead->busy = false;
    if (queue != NULL) {
        group_retention_note_dead(queue, dead->offset);
    }
}

static void appended(struct append *append)
{
    struct dead_letters *dead = CONTAINER_OF(append, struct dead_letters, append);
    free(dead->record);
    dead->record = NULL;
    is_gone(dead);
    go_on(dead);
}

/* Element 12 of what was read, checked. */
static bool read_message(struct dead_letters *dead, const struct run *run)
{
    struct record_view view;
    struct message_view message;
    dead->record = malloc(run->bytes);
    ASSERT(dead->record != NULL);
    if (!segment_read(run->segment, run->place, dead->record, run->bytes) ||
        record_read_anywhere(bytes_make(dead->record, run->bytes), &view) != RECORD_WHOLE ||
        !message_read_stored(view.message, &message)) {
        free(dead->record);
        dead->record = NULL;
        return false;
    }
    dead->message = (struct append_message){
        .bytes = view.message.data,
        .length = (uint32_t)view.message.length,
        .crc = view.fields.message_crc,
        .tag_hash = message_tag_hash(&message),
        .key_hash = message_key_hash(&message),
    };
    dead->append.born_ms = view.fields.born_at_ms;
    return true;
}

/* Nobody can have them any more. */
static void give_up(struct dead_letters *dead, uint64_t end, enum error error)
{
    struct group_queue *queue = groups_find(dead->shard->groups, &dead->place);
    const struct offset_range range = {dead->offset, end - dead->offset};
    log_limited(&dead->log_unreadable, reactor_now_ns(dead->shard->core->reactor), LOG_LEVEL_ERROR,
                "shard %u: message %llu of queue %u of topic %u, and %llu behind it, cannot become "
                "dead letters of group %u: %s",
                dead->shard->number, (unsigned long long)dead->offset, dead->place.queue,
                dead->place.topic, (unsigned long long)(range.count - 1), dead->place.group,
                error_text(error));
    if (queue != NULL && groups_skip(queue, &range, range.count) != OK) {
        try_later(dead, REFUSED_RETRY_MS);
        return;
    }
    if (queue != NULL) {
        groups_changed(queue);
    }
    is_gone(dead);
}

/* False: it is tried again later. */
static bool append(struct dead_letters *dead, struct group *group, const struct topic *origin,
                   const struct open_range *range)
{
    struct shard *shard = dead->shard;
    const struct topic *topic = find_topic(dead, group);
    if (topic == NULL) {
        try_later(dead, CHANGED_RETRY_MS);
        return false;
    }
    write_extra(dead, group, origin, range);
    dead->append.done = appended;
    dead->append.queue = commit_log_queue_find(shard->log, topic->id, (uint16_t)shard->number);
    dead->append.messages = &dead->message;
    dead->append.count = 1;
    dead->append.wait_durable = false;
    dead->append.relocates = true;
    list_init(&dead->append.link);
    enum error error = dead->append.queue == NULL ? ERROR_TOPIC_NOT_FOUND
                                                  : commit_log_append(shard->log, &dead->append);
    if (error != OK) {
        try_later(dead, REFUSED_RETRY_MS);
    }
    return error == OK;
}

/* The reader has come to an end. */
static void was_read(struct dead_letters *dead, struct core *at)
{
    struct queue_reader *reader = &dead->reader;
    struct open_range *range = find_range(dead);
    struct group *group = directory_find_group_id(at->directory, dead->place.group);
    const struct topic *topic = directory_find_id(at->directory, dead->place.topic);
    bool is_lost = reader->error == ERROR_OFFSET_TOO_SMALL || reader->error == ERROR_CORRUPT ||
                   reader->error == ERROR_IO_FAILED;
    bool is_put_off = reader->error == OK && reader->runs == NULL && reader->put_off;
    group_unref(dead->group);
    dead->group = NULL;
    if (range == NULL) { /* it was settled, or sought, meanwhile */
        queue_reader_drop_runs(reader, at);
        dead->busy = false;
        return;
    }
    bool is_known = group != NULL && topic != NULL;
    if (!is_known || is_put_off || (reader->error != OK && !is_lost)) {
        queue_reader_drop_runs(reader, at);
        try_later(dead, CHANGED_RETRY_MS);
        return;
    }
    if (is_lost) {
        bool are_more = reader->error == ERROR_OFFSET_TOO_SMALL && reader->detail > dead->offset;
        uint64_t end = are_more ? reader->detail : dead->offset + 1;
        give_up(dead, end < open_range_end(range) ? end : open_range_end(range), reader->error);
        return;
    }
    uint64_t wanted = reader->runs == NULL ? reader->from : reader->runs->runs[0].offset;
    struct group_queue *queue = range->queue;
    if (wanted > dead->offset) {
        const struct offset_range unwanted = {dead->offset, wanted - dead->offset};
        queue_reader_drop_runs(reader, at);
        if (groups_settle(queue, &unwanted) != OK) {
            try_later(dead, REFUSED_RETRY_MS);
            return;
        }
        groups_changed(queue);
        is_gone(dead);
        return;
    }
    if (reader->runs == NULL || !read_message(dead, &reader->runs->runs[0])) {
        queue_reader_drop_runs(reader, at);
        give_up(dead, dead->offset + 1, ERROR_CORRUPT);
        return;
    }
    queue_reader_drop_runs(reader, at);
    if (!append(dead, group, topic, range)) {
        free(dead->record);
        dead->record = NULL;
    }
}

static void read_again(struct queue_reader *reader, struct core *at)
{
    struct dead_letters *dead = CONTAINER_OF(reader, struct dead_letters, reader);
    if (!queue_reader_read(reader, at)) {
        return;
    }
    was_read(dead, at);
    go_on(dead);
}

/* Begins with the first of the dying. False: it waits for something. */
static bool begin(struct dead_letters *dead, struct open_range *range)
{
    struct core *core = dead->shard->core;
    if (range->queue->is_retired) {
        group_queue_drop(range);
        return true;
    }
    struct group *group = directory_find_group_id(core->directory, range->queue->place.group);
    const struct topic *topic = directory_find_id(core->directory, range->queue->place.topic);
    const struct group_topic *read =
        group == NULL || topic == NULL ? NULL : group_find_topic(group, topic->name);
    if (group != NULL && has_to_wait(dead, range, group)) {
        put_off(dead, range, group);
        return true;
    }
    dead->busy = true;
    dead->place = range->queue->place;
    dead->offset = range->first;
    queue_reader_init(&dead->reader, dead->shard, dead->place.topic, dead->place.queue, 1);
    dead->reader.again = read_again;
    dead->reader.filter = read == NULL ? NULL : read->filter;
    dead->group = group == NULL ? NULL : group_ref(group);
    dead->reader.from = range->first;
    dead->reader.until = open_range_end(range);
    dead->reader.messages_max = 1;
    core_hook_woken(core);
    if (!queue_reader_read(&dead->reader, core)) {
        return false;
    }
    was_read(dead, core);
    return !dead->busy;
}

static void go_on(struct dead_letters *dead)
{
    struct groups *groups = dead->shard->groups;
    struct list *link;
    uint32_t steps = 0;
    while (!dead->busy && !dead->stopped && groups->is_live &&
           (link = list_first(&groups->dying)) != NULL) {
        if (steps++ == STEPS_MAX) {
            pause_for(dead, 0);
            return;
        }
        if (!begin(dead, CONTAINER_OF(link, struct open_range, link))) {
            return;
        }
    }
}

void dead_letters_look_again(struct groups *groups)
{
    LIST_FOREACH (link, &groups->dying_later) {
        take_back(groups, CONTAINER_OF(link, struct shard_group, in_dying_later));
    }
    if (groups->shard->dead != NULL && !groups->shard->dead->stopped) {
        wait_for_topics(groups->shard->dead, 0);
    }
}

void dead_letters_go_on(struct groups *groups)
{
    if (groups->shard->dead != NULL) {
        go_on(groups->shard->dead);
    }
}

/* ----------------------------------------------------------------------- life */

struct dead_letters *dead_letters_create(struct shard *shard)
{
    struct dead_letters *dead = calloc(1, sizeof(*dead));
    ASSERT(dead != NULL);
    dead->shard = shard;
    dead->timer.fired = timer_fired;
    dead->topic_timer.fired = topic_timer_fired;
    list_init(&dead->append.link);
    return dead;
}

void dead_letters_stop(struct groups *groups)
{
    struct dead_letters *dead = groups->shard->dead;
    dead->stopped = true;
    timer_stop(groups->shard->core->reactor, &dead->timer);
    timer_stop(groups->shard->core->reactor, &dead->topic_timer);
}

void dead_letters_destroy(struct dead_letters *dead)
{
    if (dead != NULL) {
        timer_stop(dead->shard->core->reactor, &dead->timer);
        timer_stop(dead->shard->core->reactor, &dead->topic_timer);
        group_unref(dead->group);
        free(dead->record);
        free(dead);
    }
}
