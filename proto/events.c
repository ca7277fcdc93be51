/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.c - encoders and decoders of entries, and the walk over them.
 */
#include "proto/events.h"

#include "proto/limits.h"
#include "proto/names.h"

const char *event_name(uint64_t number)
{
    switch (number) {
#define EVENT(id, value, spelling, built, fields) \
    case (value):                                 \
        return spelling;
#define ROW(id, value, spelling, built, fields) EVENT(id, value, spelling, built, fields)
#include "proto/events.def"
#undef EVENT
#undef ROW
    default:
        return "unknown";
    }
}

/* ---- the array of entries ---- */

void events_begin(struct writer *writer)
{
    writer_put_array32(writer, 0);
}

void events_end(struct writer *writer, size_t place, uint32_t entry_count)
{
    writer_patch_u32(writer, place, entry_count);
}

bool events_open(struct events_reader *reader, struct bytes content)
{
    struct cursor cursor = cursor_over(content);
    uint32_t count;
    if (!cursor_take_array(&cursor, &count)) {
        return false;
    }
    *reader = (struct events_reader){.cursor = cursor, .left = count};
    return true;
}

enum events_result events_next(struct events_reader *reader, uint64_t *number_out,
                               struct cursor *fields_out)
{
    struct bytes span;
    uint32_t count;
    uint64_t number;

    if (reader->left == 0) {
        return cursor_is_done(&reader->cursor) ? EVENTS_DONE : EVENTS_BAD;
    }
    if (!cursor_take_span(&reader->cursor, &span)) {
        return EVENTS_BAD;
    }
    struct cursor entry = cursor_over(span);
    if (!cursor_take_array(&entry, &count) || !cursor_take_uint(&entry, &number)) {
        return EVENTS_BAD;
    }
    reader->left--;
    *number_out = number;
    *fields_out = entry;
    return EVENTS_ENTRY;
}

/* The header of an entry of `field_count` fields besides its number. */
static void put_entry(struct writer *writer, enum event_number number, uint32_t field_count)
{
    writer_put_array(writer, field_count + 1);
    writer_put_uint(writer, (uint64_t)number);
}

/* ---- epochs and marks ---- */

static bool take_id(struct cursor *fields, uint8_t *id_out)
{
    struct bytes id;
    if (!cursor_take_bin(fields, &id) || id.length != EVENT_ID_BYTES) {
        return false;
    }
    memcpy(id_out, id.data, EVENT_ID_BYTES);
    return true;
}

void event_put_epoch(struct writer *writer, enum event_number number,
                     const struct event_epoch *epoch)
{
    ASSERT(number == EVENT_EPOCH || number == ROW_EPOCHS);

    put_entry(writer, number, 3);
    writer_put_uint(writer, epoch->epoch);
    writer_put_uint(writer, epoch->start);
    writer_put_bin(writer, bytes_make(epoch->boot_id, EVENT_ID_BYTES));
}

bool event_read_epoch(struct cursor fields, struct event_epoch *epoch_out)
{
    struct event_epoch epoch;
    if (!cursor_take_u32(&fields, &epoch.epoch) || !cursor_take_uint(&fields, &epoch.start) ||
        !take_id(&fields, epoch.boot_id)) {
        return false;
    }
    *epoch_out = epoch;
    return true;
}

void event_put_durable(struct writer *writer, uint64_t position)
{
    put_entry(writer, EVENT_DURABLE, 1);
    writer_put_uint(writer, position);
}

bool event_read_durable(struct cursor fields, uint64_t *position_out)
{
    return cursor_take_uint(&fields, position_out);
}

/* ---- topics ---- */

void event_put_topic(struct writer *writer, enum event_number number,
                     const struct event_topic *topic, const struct event_placement *placement,
                     const struct event_queue_shard *queues)
{
    ASSERT(number == EVENT_TOPIC_PUT || number == ROW_TOPIC);

    put_entry(writer, number, 6);
    writer_put_uint(writer, topic->id);
    writer_put_uint(writer, topic->version);
    writer_put_str(writer, topic->name);
    topic_settings_write(&topic->settings, writer);
    writer_put_array(writer, topic->placement_count);
    for (uint32_t i = 0; i < topic->placement_count; i++) {
        writer_put_array(writer, 3);
        writer_put_str(writer, placement[i].broker);
        writer_put_uint(writer, placement[i].first);
        writer_put_uint(writer, placement[i].count);
    }
    writer_put_array(writer, topic->queue_count);
    for (uint32_t i = 0; i < topic->queue_count; i++) {
        writer_put_array(writer, 2);
        writer_put_uint(writer, queues[i].queue);
        writer_put_uint(writer, queues[i].shard);
    }
}

bool event_take_placement(struct cursor *placement, struct event_placement *part_out)
{
    struct event_placement part;
    if (!cursor_take_array_of(placement, 3) || !cursor_take_str(placement, &part.broker) ||
        !cursor_take_u32(placement, &part.first) || !cursor_take_u32(placement, &part.count)) {
        return false;
    }
    *part_out = part;
    return true;
}

bool event_take_queue_shard(struct cursor *queues, struct event_queue_shard *queue_out)
{
    struct event_queue_shard queue;
    if (!cursor_take_array_of(queues, 2) || !cursor_take_u16(queues, &queue.queue) ||
        !cursor_take_u16(queues, &queue.shard)) {
        return false;
    }
    *queue_out = queue;
    return true;
}

/* Takes the settings map. Values that are not known here are of a newer format. */
static bool take_settings(struct cursor *fields, struct topic_settings *settings_out)
{
    struct bytes span;
    struct refusal refusal;
    uint32_t count;

    if (!cursor_take_span(fields, &span)) {
        return false;
    }
    struct cursor pairs = cursor_over(span);
    return cursor_take_map(&pairs, &count) &&
           topic_settings_read(pairs, count, settings_out, &refusal) == OK;
}

/* Takes `[[name, first, count]..]` and checks each. */
static bool take_placement_list(struct cursor *fields, struct event_topic *topic)
{
    if (!cursor_take_array(fields, &topic->placement_count)) {
        return false;
    }
    topic->placement = *fields;
    for (uint32_t i = 0; i < topic->placement_count; i++) {
        struct event_placement part;
        if (!event_take_placement(fields, &part)) {
            return false;
        }
    }
    topic->placement.end = fields->at;
    return true;
}

/* Takes `[[queue, shard]..]` and checks each. */
static bool take_queue_list(struct cursor *fields, struct event_topic *topic)
{
    if (!cursor_take_array(fields, &topic->queue_count) ||
        topic->queue_count > QUEUES_PER_TOPIC_MAX) {
        return false;
    }
    topic->queues = *fields;
    for (uint32_t i = 0; i < topic->queue_count; i++) {
        struct event_queue_shard queue;
        if (!event_take_queue_shard(fields, &queue)) {
            return false;
        }
    }
    topic->queues.end = fields->at;
    return true;
}

bool event_read_topic(struct cursor fields, struct event_topic *topic_out)
{
    struct event_topic topic;
    if (!cursor_take_u32(&fields, &topic.id) || topic.id == 0 ||
        !cursor_take_uint(&fields, &topic.version) || !cursor_take_str(&fields, &topic.name) ||
        topic.name.length == 0 || topic.name.length > TOPIC_NAME_BYTES_MAX ||
        !take_settings(&fields, &topic.settings) || !take_placement_list(&fields, &topic) ||
        !take_queue_list(&fields, &topic)) {
        return false;
    }
    *topic_out = topic;
    return true;
}

void event_put_group(struct writer *writer, enum event_number number,
                     const struct event_group *group)
{
    ASSERT(number == EVENT_GROUP_PUT || number == ROW_GROUP);

    put_entry(writer, number, 4);
    writer_put_uint(writer, group->id);
    writer_put_uint(writer, group->version);
    writer_put_str(writer, group->name);
    group_settings_write_given(&group->settings, writer);
}

bool event_read_group(struct cursor fields, struct event_group *group_out)
{
    struct event_group group;
    struct refusal refusal;
    struct bytes span;
    uint32_t count;
    if (!cursor_take_u32(&fields, &group.id) || group.id == 0 ||
        !cursor_take_uint(&fields, &group.version) || !cursor_take_str(&fields, &group.name) ||
        !name_is_any_group(group.name) || !cursor_take_span(&fields, &span)) {
        return false;
    }
    struct cursor pairs = cursor_over(span);
    if (!cursor_take_map(&pairs, &count) ||
        group_settings_read(pairs, count, GROUP_SETTINGS_SKIP, &group.settings, &refusal) != OK ||
        group.settings.topic_count == 0 ||
        (group.settings.broadcast && !name_is_group(group.name))) {
        return false;
    }
    *group_out = group;
    return true;
}

void event_put_deleted(struct writer *writer, enum event_number number,
                       const struct event_deleted *deleted)
{
    ASSERT(number == EVENT_TOPIC_DELETE || number == EVENT_GROUP_DELETE || number == ROW_DELETED);

    put_entry(writer, number, 2);
    writer_put_uint(writer, deleted->id);
    writer_put_uint(writer, deleted->version);
}

bool event_read_deleted(struct cursor fields, struct event_deleted *deleted_out)
{
    struct event_deleted deleted;
    if (!cursor_take_u32(&fields, &deleted.id) || !cursor_take_uint(&fields, &deleted.version)) {
        return false;
    }
    *deleted_out = deleted;
    return true;
}

void event_put_setting(struct writer *writer, enum event_number number,
                       const struct event_setting *setting)
{
    ASSERT(number == EVENT_SETTING || number == ROW_SETTING);
    ASSERT(setting->name.length > 0 && setting->name.length <= EVENT_SETTING_TEXT_BYTES_MAX);
    ASSERT(setting->value.length <= EVENT_SETTING_TEXT_BYTES_MAX);

    put_entry(writer, number, 3);
    writer_put_str(writer, setting->name);
    writer_put_str(writer, setting->value);
    writer_put_uint(writer, setting->version);
}

bool event_read_setting(struct cursor fields, struct event_setting *setting_out)
{
    struct event_setting setting;
    if (!cursor_take_str(&fields, &setting.name) || !cursor_take_str(&fields, &setting.value) ||
        !cursor_take_uint(&fields, &setting.version) || setting.name.length == 0 ||
        setting.name.length > EVENT_SETTING_TEXT_BYTES_MAX ||
        setting.value.length > EVENT_SETTING_TEXT_BYTES_MAX) {
        return false;
    }
    *setting_out = setting;
    return true;
}

/* ---- rows of storage ---- */

void event_put_queue(struct writer *writer, const struct event_queue *queue)
{
    ASSERT(queue->first <= queue->next);

    put_entry(writer, ROW_QUEUE, 5);
    writer_put_uint(writer, queue->topic);
    writer_put_uint(writer, queue->queue);
    writer_put_uint(writer, queue->first);
    writer_put_uint(writer, queue->next);
    writer_put_uint(writer, queue->last_stored_at_ms);
}

bool event_read_queue(struct cursor fields, struct event_queue *queue_out)
{
    struct event_queue queue;
    if (!cursor_take_u32(&fields, &queue.topic) || !cursor_take_u16(&fields, &queue.queue) ||
        !cursor_take_uint(&fields, &queue.first) || !cursor_take_uint(&fields, &queue.next) ||
        !cursor_take_uint(&fields, &queue.last_stored_at_ms) || queue.first > queue.next) {
        return false;
    }
    *queue_out = queue;
    return true;
}

void event_put_segment(struct writer *writer, const struct event_segment *segment)
{
    put_entry(writer, ROW_SEGMENT, 6);
    writer_put_uint(writer, segment->format);
    writer_put_bin(writer, bytes_make(segment->store_id, EVENT_ID_BYTES));
    writer_put_uint(writer, segment->shard);
    writer_put_uint(writer, segment->base);
    writer_put_uint(writer, segment->epoch);
    writer_put_uint(writer, segment->previous_head_crc);
}

bool event_read_segment(struct cursor fields, struct event_segment *segment_out)
{
    struct event_segment segment;
    if (!cursor_take_u32(&fields, &segment.format) || !take_id(&fields, segment.store_id) ||
        !cursor_take_u16(&fields, &segment.shard) || !cursor_take_uint(&fields, &segment.base) ||
        !cursor_take_u32(&fields, &segment.epoch) ||
        !cursor_take_u32(&fields, &segment.previous_head_crc)) {
        return false;
    }
    *segment_out = segment;
    return true;
}

void event_put_begin(struct writer *writer)
{
    put_entry(writer, ROW_BEGIN, 1);
    writer_put_uint(writer, EVENTS_FORMAT);
}

bool event_read_begin(struct cursor fields, uint32_t *format_out)
{
    return cursor_take_u32(&fields, format_out);
}

void event_put_end(struct writer *writer, uint64_t begin)
{
    put_entry(writer, ROW_END, 1);
    writer_put_uint(writer, begin);
}

bool event_read_end(struct cursor fields, uint64_t *begin_out)
{
    return cursor_take_uint(&fields, begin_out);
}
