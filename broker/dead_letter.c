/* SPDX-License-Identifier: Apache-2.0 */
/* dead_letter.c - one dying message after the other: read, appended, gone. */
#include "broker/dead_letter.h"

#include "broker/catalogue.h"
#include "broker/catalogue_change.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/groups.h"
#include "broker/queue_reader.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "proto/message.h"
#include "proto/names.h"
#include "storage/segment.h"

#include <stdlib.h>
#include <string.h>

#define DEAD_LETTERS_PREFIX "%DLQ%"

enum {
    /* After the log refused one, or where its topic is not there yet. */
    REFUSED_RETRY_MS = 1000,
    TOPIC_RETRY_MS = 100
};

struct dead_letters {
    struct shard *shard;
    bool busy;    /* one is being read or appended */
    bool stopped; /* none begins */
    struct timer timer;
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

/* -------------------------------------------------------------------- extra */

static void write_extra(struct dead_letters *dead, const struct group *group,
                        const struct topic *topic, const struct open_range *range)
{
    struct writer writer = writer_over(dead->extra, sizeof(dead->extra));
    writer_put_map(&writer, 2);
    writer_put_string(&writer, "dead");
    writer_put_array(&writer, 6);
    writer_put_str(&writer, name_is_member(group->name) ? name_group_of(group->name) : group->name);
    writer_put_str(&writer, topic->name);
    writer_put_uint(&writer, dead->place.queue);
    writer_put_uint(&writer, dead->offset);
    writer_put_uint(&writer, range->attempts);
    writer_put_str(&writer, reason_text(range->reason));
    writer_put_string(&writer, "place");
    writer_put_array(&writer, 3);
    writer_put_uint(&writer, dead->place.group);
    writer_put_uint(&writer, dead->place.topic);
    writer_put_uint(&writer, range->queue->generation);
    ASSERT(!writer.overflowed);
    dead->append.extra = writer_bytes(&writer);
}

static bool take_dead(struct cursor *cursor, struct dead_letter_origin *origin)
{
    uint32_t count;
    return cursor_take_array(cursor, &count) && count >= 4 && cursor_skip(cursor) &&
           cursor_skip(cursor) && cursor_take_u16(cursor, &origin->place.queue) &&
           cursor_take_uint(cursor, &origin->offset);
}

static bool take_place(struct cursor *cursor, struct dead_letter_origin *origin)
{
    uint32_t count;
    return cursor_take_array(cursor, &count) && count >= 3 &&
           cursor_take_u32(cursor, &origin->place.group) &&
           cursor_take_u32(cursor, &origin->place.topic) &&
           cursor_take_u32(cursor, &origin->generation);
}

bool dead_letter_read_origin(struct bytes extra, struct dead_letter_origin *origin_out)
{
    struct cursor cursor = cursor_over(extra);
    struct dead_letter_origin origin = {.offset = 0};
    uint32_t pairs = 0;
    bool has_dead = false;
    bool has_place = false;
    if (!cursor_take_map(&cursor, &pairs)) {
        return false;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes key;
        struct bytes value;
        if (!cursor_take_text(&cursor, &key) || !cursor_take_span(&cursor, &value)) {
            return false;
        }
        struct cursor inside = cursor_over(value);
        if (bytes_equal(key, BYTES_OF("dead"))) {
            has_dead = take_dead(&inside, &origin);
        } else if (bytes_equal(key, BYTES_OF("place"))) {
            has_place = take_place(&inside, &origin);
        }
    }
    if (!has_dead || !has_place || origin.offset >= INTEGER_LIMIT - 1) {
        return false;
    }
    *origin_out = origin;
    return true;
}

/* --------------------------------------------------------------------- topic */

static struct topic *find_topic(struct dead_letters *dead, const struct group *group)
{
    struct core *core = dead->shard->core;
    uint8_t name[TOPIC_NAME_BYTES_MAX];
    const size_t prefix = sizeof(DEAD_LETTERS_PREFIX) - 1;
    struct bytes of = name_is_member(group->name) ? name_group_of(group->name) : group->name;
    memcpy(name, DEAD_LETTERS_PREFIX, prefix);
    memcpy(name + prefix, of.data, of.length);
    struct topic *topic = directory_find(core->directory, bytes_make(name, prefix + of.length));
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

/* Behind the others, so that one whose topic cannot be made holds up nobody. */
static void put_behind(struct dead_letters *dead)
{
    struct open_range *range = find_range(dead);
    if (range != NULL) {
        list_remove(&range->link);
        list_append(&dead->shard->groups->dying, &range->link);
    }
}

static void try_later(struct dead_letters *dead, uint32_t after_ms)
{
    struct reactor *reactor = dead->shard->core->reactor;
    put_behind(dead);
    dead->busy = true;
    timer_start(reactor, &dead->timer, reactor_now_ns(reactor) + after_ms * UINT64_C(1000000));
}

static void appended(struct append *append)
{
    struct dead_letters *dead = CONTAINER_OF(append, struct dead_letters, append);
    free(dead->record);
    dead->record = NULL;
    dead->busy = false;
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

/* Nobody can have it any more. */
static void give_up(struct dead_letters *dead, enum error error)
{
    struct group_queue *queue = groups_find(dead->shard->groups, &dead->place);
    const struct offset_range range = {dead->offset, 1};
    log_limited(&dead->log_unreadable, reactor_now_ns(dead->shard->core->reactor), LOG_LEVEL_ERROR,
                "shard %u: message %llu of queue %u of topic %u cannot become a dead letter of "
                "group %u: %s",
                dead->shard->number, (unsigned long long)dead->offset, dead->place.queue,
                dead->place.topic, dead->place.group, error_text(error));
    if (queue != NULL && groups_skip(queue, &range, 1) != OK) {
        try_later(dead, REFUSED_RETRY_MS);
        return;
    }
    if (queue != NULL) {
        groups_changed(queue);
    }
    dead->busy = false;
}

/* False: it is tried again later. */
static bool append(struct dead_letters *dead, struct group *group, const struct topic *origin,
                   const struct open_range *range)
{
    struct shard *shard = dead->shard;
    const struct topic *topic = find_topic(dead, group);
    if (topic == NULL) {
        ask_for_topic(dead, group);
        try_later(dead, TOPIC_RETRY_MS);
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
    group_unref(dead->group);
    dead->group = NULL;
    bool is_wanted = range != NULL && group != NULL && topic != NULL;
    bool is_lost = reader->error == ERROR_OFFSET_TOO_SMALL || reader->error == ERROR_CORRUPT ||
                   reader->error == ERROR_IO_FAILED;
    bool is_put_off = reader->error == OK && reader->runs == NULL && reader->put_off;
    if (!is_wanted || is_put_off || (reader->error != OK && !is_lost)) {
        queue_reader_drop_runs(reader, at);
        try_later(dead, TOPIC_RETRY_MS);
        return;
    }
    if (is_lost) {
        give_up(dead, reader->error);
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
        dead->busy = false;
        return;
    }
    if (reader->runs == NULL || !read_message(dead, &reader->runs->runs[0])) {
        queue_reader_drop_runs(reader, at);
        give_up(dead, ERROR_CORRUPT);
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
static bool begin(struct dead_letters *dead, const struct open_range *range)
{
    struct core *core = dead->shard->core;
    struct group *group = directory_find_group_id(core->directory, range->queue->place.group);
    const struct topic *topic = directory_find_id(core->directory, range->queue->place.topic);
    const struct group_topic *read =
        group == NULL || topic == NULL ? NULL : group_find_topic(group, topic->name);
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
    while (!dead->busy && !dead->stopped && groups->is_live &&
           (link = list_first(&groups->dying)) != NULL) {
        if (!begin(dead, CONTAINER_OF(link, struct open_range, link))) {
            return;
        }
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
    list_init(&dead->append.link);
    return dead;
}

void dead_letters_stop(struct groups *groups)
{
    struct dead_letters *dead = groups->shard->dead;
    dead->stopped = true;
    timer_stop(groups->shard->core->reactor, &dead->timer);
}

void dead_letters_destroy(struct dead_letters *dead)
{
    if (dead != NULL) {
        timer_stop(dead->shard->core->reactor, &dead->timer);
        group_unref(dead->group);
        free(dead->record);
        free(dead);
    }
}
