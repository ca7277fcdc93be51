/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_world.h - a commit log in a simulated world: one reactor, one disk image, one view.
 *
 * The view is small and has every kind of change that a real one has: absolute and relative
 * operations, entities that come and go, and counts of messages. Its rows are padded, so that a
 * snapshot takes several chunks and appends go on between them.
 */

#ifndef TEST_LIB_LOG_WORLD_H
#define TEST_LIB_LOG_WORLD_H

#include "net/simulation.h"
#include "proto/base/contract.h"
#include "proto/base/crc32c.h"
#include "proto/base/random.h"
#include "proto/writer.h"
#include "storage/commit_log.h"
#include "storage/disk_simulated.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------- the view */

enum {
    TALLY_KEYS = 200,
    TALLY_QUEUES = 4,
    TALLY_PAD_BYTES = 150,
    /* From 64 up numbers are nobody's. */
    TALLY_SET = 70,  /* key, value: absolute, makes the key */
    TALLY_ADD = 71,  /* key, value: relative */
    TALLY_DROP = 72, /* key */
    TALLY_ROW = 80,  /* key, value, pad */
    TALLY_COUNT_ROW = 81
};

struct tally_entry {
    bool is_there;
    bool is_known; /* while loading: its row was read, or it was made since */
    uint64_t value;
};

struct tally {
    struct view view;
    struct tally_entry entries[TALLY_KEYS];
    struct tally_entry counts[TALLY_QUEUES]; /* of messages; always there */
};

static inline struct tally *tally_of(const struct view *view)
{
    return (struct tally *)(uintptr_t)view;
}

static inline void tally_reset(struct view *view)
{
    struct tally *tally = tally_of(view);
    memset(tally->entries, 0, sizeof(tally->entries));
    memset(tally->counts, 0, sizeof(tally->counts));
}

static inline void tally_message(struct view *view, const struct record_view *record, bool loading)
{
    struct tally_entry *count = &tally_of(view)->counts[record->fields.queue % TALLY_QUEUES];
    if (!loading || count->is_known) {
        count->value += record->fields.offset * 31 + record->fields.position;
        count->value += (uint64_t)crc32c(record->extra.data, record->extra.length) << 8;
    }
}

static inline bool tally_operation(struct view *view, uint32_t number, struct cursor *fields,
                                   uint64_t position, bool loading)
{
    uint64_t key;
    uint64_t value = 0;
    (void)position;
    if (number < TALLY_SET || number > TALLY_DROP ||
        !cursor_take_uint_max(fields, TALLY_KEYS - 1, &key) ||
        (number != TALLY_DROP && !cursor_take_u64(fields, &value))) {
        return false;
    }
    struct tally_entry *entry = &tally_of(view)->entries[key];
    if (number == TALLY_SET) {
        *entry = (struct tally_entry){true, true, value};
    } else if (!loading || entry->is_known) {
        entry->is_there = number == TALLY_ADD && entry->is_there;
        entry->value = entry->is_there ? entry->value * 3 + value : 0;
    }
    return true;
}

static inline void tally_put_row(struct writer *writer, uint64_t number, uint64_t key,
                                 uint64_t value)
{
    static const uint8_t pad[TALLY_PAD_BYTES];
    writer_put_array(writer, 4);
    writer_put_uint(writer, number);
    writer_put_uint(writer, key);
    writer_put_u64_fixed(writer, value);
    writer_put_bin(writer, bytes_make(pad, sizeof(pad)));
}

/* words[0]: the next key, counts behind the entries. */
static inline bool tally_save(struct view *view, struct view_place *place, struct writer *writer,
                              uint32_t *rows)
{
    const struct tally *tally = tally_of(view);
    for (; place->words[0] < TALLY_KEYS + TALLY_QUEUES; place->words[0]++) {
        uint64_t key = place->words[0];
        if (writer_left(writer) < TALLY_PAD_BYTES + 40) {
            return false;
        }
        if (key >= TALLY_KEYS) {
            tally_put_row(writer, TALLY_COUNT_ROW, key - TALLY_KEYS,
                          tally->counts[key - TALLY_KEYS].value);
            (*rows)++;
        } else if (tally->entries[key].is_there) {
            tally_put_row(writer, TALLY_ROW, key, tally->entries[key].value);
            (*rows)++;
        }
    }
    return true;
}

static inline bool tally_load(struct view *view, uint32_t number, struct cursor *fields)
{
    struct tally *tally = tally_of(view);
    uint64_t key;
    uint64_t value;
    if ((number != TALLY_ROW && number != TALLY_COUNT_ROW) || !cursor_take_uint(fields, &key) ||
        !cursor_take_u64(fields, &value) ||
        key >= (number == TALLY_ROW ? (uint64_t)TALLY_KEYS : (uint64_t)TALLY_QUEUES)) {
        return false;
    }
    struct tally_entry *entry = number == TALLY_ROW ? &tally->entries[key] : &tally->counts[key];
    *entry = (struct tally_entry){true, true, value};
    return true;
}

static inline uint64_t tally_hash(const struct view *view)
{
    const struct tally *tally = tally_of(view);
    uint64_t hash = 1;
    for (int i = 0; i < TALLY_KEYS; i++) {
        hash = hash * 31 + (uint64_t)tally->entries[i].is_there;
        hash = hash * 31 + tally->entries[i].value;
    }
    for (int i = 0; i < TALLY_QUEUES; i++) {
        hash = hash * 31 + tally->counts[i].value;
    }
    return hash;
}

static const struct view_operations tally_operations = {
    .reset = tally_reset,
    .apply_message = tally_message,
    .apply_operation = tally_operation,
    .save = tally_save,
    .load = tally_load,
    .hash = tally_hash,
};

/* ------------------------------------------------------------- the world */

enum { WORLD_SEGMENT_BYTES = 64 * 1024, WORLD_ERROR_BYTES = 256 };

struct log_world {
    struct simulation *simulation;
    struct reactor *reactor;
    struct disk_image *image;
    bool owns_image;
    struct disk *disk;
    struct commit_log *log;
    struct tally tally;
    struct view *views[1];
    struct recovery_report report;
    struct commit_log_options options;
    struct disk_simulated_options disk_options;
    struct random random;
    char error[WORLD_ERROR_BYTES];
    char failure[WORLD_ERROR_BYTES]; /* what `failed` said; "" */
    uint32_t failures;
    bool is_closed;
};

static inline void world_failed(void *owner, const char *what)
{
    struct log_world *world = owner;
    world->failures++;
    (void)snprintf(world->failure, sizeof(world->failure), "%s", what);
}

/* A world around an image, or around a new one that remembers, if NULL. */
static inline void world_init(struct log_world *world, uint64_t seed, struct disk_image *image)
{
    static const struct simulation_options options = {
        .wall_ms = UINT64_C(1700000000000),
        .delay_ns_least = 1000,
        .delay_ns_most = 1000000,
        .window_bytes = 65536,
    };
    memset(world, 0, sizeof(*world));
    struct simulation_options seeded = options;
    seeded.seed = seed;
    random_init(&world->random, seed);
    world->simulation = simulation_create(&seeded);
    world->reactor = reactor_create_simulated(world->simulation, "log");
    world->owns_image = image == NULL;
    world->image = image == NULL ? disk_image_create(true) : image;
    world->disk_options = (struct disk_simulated_options){
        .simulation = world->simulation, .job_ns_least = 10000, .job_ns_most = 3000000};
    world->views[0] = &world->tally.view;
    world->options = (struct commit_log_options){
        .reactor = world->reactor,
        .store_id = 4711,
        .segment_bytes_least = WORLD_SEGMENT_BYTES,
        .segment_bytes_most = WORLD_SEGMENT_BYTES,
        .views = world->views,
        .view_count = 1,
        .failed = world_failed,
        .may_remove_owner = world,
        .owner = world,
    };
}

static inline bool world_open(struct log_world *world)
{
    world->disk = disk_simulated_open(world->image, &world->disk_options);
    world->options.disk = world->disk;
    memset(&world->tally, 0, sizeof(world->tally));
    world->tally.view = (struct view){"tally", &tally_operations};
    world->failures = 0;
    world->failure[0] = '\0';
    if (!commit_log_open(&world->log, &world->options, &world->report, world->error,
                         sizeof(world->error))) {
        world->log = NULL;
        disk_close(world->disk);
        world->disk = NULL;
        return false;
    }
    return true;
}

static inline bool world_begin_epoch(struct log_world *world)
{
    static const uint8_t boot_id[16] = {7};
    return commit_log_begin_epoch(world->log, world->report.epoch + 1, boot_id, world->error,
                                  sizeof(world->error));
}

static inline void world_put_queues(struct log_world *world, enum log_durability durability)
{
    for (uint16_t i = 0; i < TALLY_QUEUES; i++) {
        commit_log_queue_put(world->log, 1, i, durability);
    }
}

static inline void world_closed(void *owner)
{
    ((struct log_world *)owner)->is_closed = true;
}

static inline bool world_is_closed(void *context)
{
    return ((struct log_world *)context)->is_closed;
}

static inline bool world_run(struct log_world *world, uint64_t most_ms, bool (*until)(void *),
                             void *context)
{
    return simulation_run(world->simulation, most_ms, until, context);
}

static inline void world_close(struct log_world *world)
{
    if (world->log == NULL) {
        return;
    }
    world->is_closed = false;
    commit_log_close(world->log, world_closed, world);
    bool is_closed = world_run(world, 60000, world_is_closed, world);
    ASSERT(is_closed);
    disk_close(world->disk);
    world->log = NULL;
    world->disk = NULL;
}

static inline void world_deinit(struct log_world *world)
{
    world_close(world);
    reactor_destroy(world->reactor);
    simulation_destroy(world->simulation);
    if (world->owns_image) {
        disk_image_destroy(world->image);
    }
}

/* --------------------------------------------------------------- appends */

enum { PRODUCE_BYTES_MAX = 8192, PRODUCE_COUNT_MAX = 16 };

/* One append with its own bytes, which say what they are: number, then noise that follows from it. */
struct produce {
    struct append append;
    struct append_message messages[PRODUCE_COUNT_MAX];
    uint8_t *bytes;
    uint8_t extra[EXTRA_BYTES_MAX];
    uint64_t number;      /* of the first message */
    uint32_t told;        /* how often `done` ran */
    uint64_t told_events; /* events of the image when it was told; 0: not yet */
    struct disk_image *image;
};

static inline void produce_done(struct append *append)
{
    struct produce *produce = (struct produce *)append;
    produce->told++;
    produce->told_events = disk_image_events(produce->image);
}

/* A bin of `length` bytes, header of 3 included, whose content follows from `number`. */
static inline void produce_fill(uint8_t *bytes, uint32_t length, uint64_t number)
{
    bytes[0] = 0xc5;
    store_u16(bytes + 1, (uint16_t)(length - 3));
    for (uint32_t i = 3; i < length; i++) {
        bytes[i] = (uint8_t)(number * 131 + i * 7 + (number >> (i % 8)));
    }
    if (length >= 11) {
        store_u64(bytes + 3, number);
    }
}

/* `count` messages of `length` (11 and more) bytes each, not appended yet. */
static inline struct produce *produce_make(struct log_world *world, uint16_t queue, uint32_t count,
                                           uint32_t length, uint64_t number)
{
    struct produce *produce = calloc(1, sizeof(*produce));
    ASSERT(produce != NULL && count <= PRODUCE_COUNT_MAX && length >= 11);
    produce->bytes = malloc((size_t)count * length);
    ASSERT(produce->bytes != NULL);
    produce->number = number;
    produce->image = world->image;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *bytes = produce->bytes + (size_t)i * length;
        produce_fill(bytes, length, number + i);
        produce->messages[i] =
            (struct append_message){.bytes = bytes, .length = length, .crc = crc32c(bytes, length)};
    }
    produce->append = (struct append){
        .done = produce_done,
        .queue = commit_log_queue_find(world->log, 1, queue),
        .messages = produce->messages,
        .count = count,
    };
    return produce;
}

/* Gives a lone message an extra of `length` bytes (1, or 5 and more) that follows from its number. */
static inline void produce_set_extra(struct produce *produce, uint32_t length)
{
    uint8_t *extra = produce->extra;
    ASSERT(length == 1 || (length >= 5 && length <= EXTRA_BYTES_MAX));
    extra[0] = length == 1 ? 0x80 : 0x81;
    if (length > 1) {
        extra[1] = 0xa0; /* the key "" */
        extra[2] = 0xc5;
        store_u16(extra + 3, (uint16_t)(length - 5));
        memset(extra + 5, (int)(produce->number % 251), length - 5);
    }
    produce->append.extra = bytes_make(extra, length);
}

/* Appends `count` messages of `length` (11 and more) bytes each. */
static inline struct produce *world_produce(struct log_world *world, uint16_t queue, uint32_t count,
                                            uint32_t length, uint64_t number, bool durable,
                                            enum error *error_out)
{
    struct produce *produce = produce_make(world, queue, count, length, number);
    produce->append.wait_durable = durable;
    *error_out = commit_log_append(world->log, &produce->append);
    return produce;
}

static inline void produce_free(struct produce *produce)
{
    free(produce->bytes);
    free(produce);
}

static inline bool produce_is_told(void *context)
{
    return ((struct produce *)context)->told > 0;
}

/* ------------------------------------------------------------ operations */

/* An operation that does not wait. */
static inline enum error world_operate(struct log_world *world, uint64_t number, uint64_t key,
                                       uint64_t value)
{
    uint8_t bytes[64];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    struct log_operation operation = {.done = NULL};
    writer_put_array(&writer, number == TALLY_DROP ? 2 : 3);
    writer_put_uint(&writer, number);
    writer_put_uint(&writer, key);
    if (number != TALLY_DROP) {
        writer_put_u64_fixed(&writer, value);
    }
    return commit_log_operate(world->log, writer_bytes(&writer), &operation);
}

static inline enum error world_operate_randomly(struct log_world *world)
{
    uint64_t kind = random_below(&world->random, 10);
    return world_operate(world,
                         kind < 5   ? TALLY_SET
                         : kind < 9 ? TALLY_ADD
                                    : TALLY_DROP,
                         random_below(&world->random, TALLY_KEYS), random_next(&world->random));
}

/* --------------------------------------------------------------- reading */

/* Calls `each` with every visible record of a queue from its first on; the count, or an error. */
static inline enum error world_read_all(struct log_world *world, uint16_t queue,
                                        void (*each)(void *context, const uint8_t *record),
                                        void *context)
{
    struct queue *found = commit_log_queue_find(world->log, 1, queue);
    if (found == NULL) {
        return OK;
    }
    struct queue_state state = queue_state(found);
    uint64_t offset = state.first;
    enum error error = OK;
    while (error == OK && offset < state.visible) {
        struct run_list list;
        error = commit_log_read(world->log, found,
                                &(struct read_limits){offset, 1000, 1 << 16, false}, &list);
        for (uint32_t i = 0; error == OK && i < list.count; i++) {
            const uint8_t *at = segment_bytes(list.runs[i].segment) + list.runs[i].place;
            for (uint32_t j = 0; j < list.runs[i].messages; j++) {
                each(context, at);
                at += record_size(at);
            }
            segment_unref(list.runs[i].segment);
            offset += list.runs[i].messages;
        }
    }
    return error;
}

#endif
