/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.h - the entries of events, snapshot and segment records: their numbers, and an encoder and
 * a decoder for each that is built.
 *
 * Content of such a record is one msgpack array of entries, `[number, fields..]` each. To write it:
 * events_begin(), then entries, then events_end(). To read it: events_open(), then events_next()
 * until it gives no entry, and for each its decoder over the fields. A decoder that gives false has
 * met a record that its checksum said is whole: that is ERROR_FORMAT, never a guess.
 *
 * Threads: any; spans point into the record.
 * Format:  proto/README.md, "Events and snapshot rows", made from events.def.
 */
#ifndef PROTO_EVENTS_H
#define PROTO_EVENTS_H

#include "proto/arguments.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/group_settings.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

/* The format that begin and segment name; readers accept their own and the one before. */
#define EVENTS_FORMAT 1

/* From here up an entry that is not known may be skipped. */
#define EVENTS_OPTIONAL_FROM 64

enum event_number {
#define EVENT(id, number, name, built, fields) EVENT_##id = (number),
#define ROW(id, number, name, built, fields)   ROW_##id = (number),
#include "proto/events.def"
#undef EVENT
#undef ROW
};

/* "topic.put"; "unknown" of a number that is none of ours. */
const char *event_name(uint64_t number);

/* Starts the array of entries; they are counted by the caller or afterwards: pass to events_end. */
void events_begin(struct writer *writer);

/* Puts the count into the array that began at `place`, the writer_length() before it. */
void events_end(struct writer *writer, size_t place, uint32_t entry_count);

/* What events_begin() writes. */
#define EVENTS_BEGIN_BYTES 5

struct events_reader {
    struct cursor cursor;
    uint32_t left;
};

/* Starts reading content. False: it is no array. */
NODISCARD bool events_open(struct events_reader *reader, struct bytes content);

enum events_result {
    EVENTS_ENTRY, /* `number_out` and `fields_out` are the next entry */
    EVENTS_DONE,  /* there was no more, and nothing after it */
    EVENTS_BAD,   /* not the shape of entries: ERROR_FORMAT */
};

/* `fields_out` stands after the number, over the entry alone. */
NODISCARD enum events_result events_next(struct events_reader *reader, uint64_t *number_out,
                                         struct cursor *fields_out);

/* 16 bytes that name a boot of the machine, or a store. */
#define EVENT_ID_BYTES 16

/* epoch, and the row epochs: one entry an epoch. */
struct event_epoch {
    uint32_t epoch;
    uint64_t start; /* position of the first record of the epoch */
    uint8_t boot_id[EVENT_ID_BYTES];
};
void event_put_epoch(struct writer *writer, enum event_number number,
                     const struct event_epoch *epoch);
NODISCARD bool event_read_epoch(struct cursor fields, struct event_epoch *epoch_out);

/* durable: everything below `position` was synced. */
void event_put_durable(struct writer *writer, uint64_t position);
NODISCARD bool event_read_durable(struct cursor fields, uint64_t *position_out);

/* One queue of a topic lies in one shard of this broker. */
struct event_queue_shard {
    uint16_t queue;
    uint16_t shard;
};

/* `count` queues from `first` on belong to `broker`. */
struct event_placement {
    struct bytes broker;
    uint32_t first;
    uint32_t count;
};

/* topic.put, and the row topic. */
struct event_topic {
    uint32_t id;
    uint64_t version;
    struct bytes name;
    struct topic_settings settings;
    uint32_t placement_count;
    uint32_t queue_count;    /* entries of [[queue, shard]..] */
    struct cursor placement; /* read: over the elements; written: not looked at */
    struct cursor queues;    /* likewise */
};

/* `placement` and `queues` have topic->placement_count and ->queue_count elements. */
void event_put_topic(struct writer *writer, enum event_number number,
                     const struct event_topic *topic, const struct event_placement *placement,
                     const struct event_queue_shard *queues);

/* Checks all of it, so that the two takes below cannot fail as often as the counts say. */
NODISCARD bool event_read_topic(struct cursor fields, struct event_topic *topic_out);
NODISCARD bool event_take_placement(struct cursor *placement, struct event_placement *part_out);
NODISCARD bool event_take_queue_shard(struct cursor *queues, struct event_queue_shard *queue_out);

/* An upper bound of what event_put_topic() writes. */
#define EVENT_TOPIC_BYTES(placement_count, queue_count) \
    (256U + (placement_count)*142U + (queue_count)*7U)

/* group.put, and the row group: `settings` has what was given, topics always; a broadcast has a plain name. */
struct event_group {
    uint32_t id;
    uint64_t version;
    struct bytes name;
    struct group_settings settings;
};
void event_put_group(struct writer *writer, enum event_number number,
                     const struct event_group *group);

/* Settings that are not known here are left out. */
NODISCARD bool event_read_group(struct cursor fields, struct event_group *group_out);

/* An upper bound of what event_put_group() writes. */
#define EVENT_GROUP_BYTES_MAX (GROUP_SETTINGS_BYTES_MAX + GROUP_ANY_NAME_BYTES_MAX + 64U)

/* topic.delete, group.delete, and the row deleted: ids of both come from one sequence. */
struct event_deleted {
    uint32_t id;
    uint64_t version;
};
void event_put_deleted(struct writer *writer, enum event_number number,
                       const struct event_deleted *deleted);
NODISCARD bool event_read_deleted(struct cursor fields, struct event_deleted *deleted_out);

/* Longest name and value of a setting: a str8 each. */
#define EVENT_SETTING_TEXT_BYTES_MAX 255

/* setting, and the row setting: a name, not empty, and a value, both text. */
struct event_setting {
    struct bytes name;
    struct bytes value;
    uint64_t version;
};
void event_put_setting(struct writer *writer, enum event_number number,
                       const struct event_setting *setting);
NODISCARD bool event_read_setting(struct cursor fields, struct event_setting *setting_out);

/* The row queue: offsets from `first` (inclusive) to `next` are there. */
struct event_queue {
    uint32_t topic;
    uint16_t queue;
    uint64_t first;
    uint64_t next;
    uint64_t last_stored_at_ms;
};
void event_put_queue(struct writer *writer, const struct event_queue *queue);
NODISCARD bool event_read_queue(struct cursor fields, struct event_queue *queue_out);

/* The row segment: the one entry of a segment's first record. */
struct event_segment {
    uint32_t format;
    uint8_t store_id[EVENT_ID_BYTES];
    uint16_t shard;
    uint64_t base;
    uint32_t epoch;
    uint32_t previous_head_crc; /* of the last record of the segment before; 0: there is none */
};
void event_put_segment(struct writer *writer, const struct event_segment *segment);
NODISCARD bool event_read_segment(struct cursor fields, struct event_segment *segment_out);

/* The rows begin {format} and end {begin: position of the record that holds begin}. */
void event_put_begin(struct writer *writer);
NODISCARD bool event_read_begin(struct cursor fields, uint32_t *format_out);
void event_put_end(struct writer *writer, uint64_t begin);
NODISCARD bool event_read_end(struct cursor fields, uint64_t *begin_out);

/* An upper bound of every entry above but topics, groups and settings. */
#define EVENT_BYTES_MAX 64

#endif
