/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_recovery.c - any bytes at all as the files of a shard.
 *
 * The input is a run of files: which (a byte), its length (two bytes), its content. Where the
 * lowest bit of "which" is set the content is not the bytes of the file but a recipe of records,
 * which get right checksums and positions, so that what lies behind the checksums is reached too.
 * It must hold:
 *
 *   - the log opens, or is refused with one line
 *   - no record is delivered whose checksums are wrong, or whose offset is not the one asked for
 *   - a second start finds what the first one left: the same state
 *   - a log that is not read-only can be written to, and what is written is there again
 */
#include "proto/base/log.h"
#include "proto/events.h"
#include "test/fuzz/fuzz.h"
#include "test/lib/log_world.h"

enum {
    FILE_HEAD_BYTES = 3,
    FILE_BYTES = 8 * 1024,
    RECORD_HEAD_SPEC_BYTES = 6,
    FILES_MAX = 8,
    LATER_MS = 10000
};

static const char *const names[] = {
    "0/00000000000000000000.log", "0/next.log",
    "0/00000000000000000000.idx", "0/00000000000000000300.log",
    "0/00000000000000008192.log", "0/00000000000000000300.idx",
    "0/99999999999999999999.log", "0/00000000000000000000.idx.new",
};

static uint64_t base_of(uint32_t name)
{
    return name == 3 ? 300 : name == 4 ? 8192 : 0;
}

/* Where content is a recipe: kind, queue, offset, epoch, and the length of what element 12 holds. */
static size_t cook(uint8_t *file, uint64_t base, const uint8_t *at, const uint8_t *end)
{
    size_t used = 0;
    while (end - at >= RECORD_HEAD_SPEC_BYTES) {
        enum record_kind kind = (enum record_kind)(1 + at[0] % 6);
        size_t length = at[4] | (size_t)(at[5] & 3) << 8;
        struct record_fields fields = {.kind = kind,
                                       .topic = kind <= RECORD_PREPARED ? 1 + at[1] / 64U : 0,
                                       .queue = at[1] % 4,
                                       .offset = at[2],
                                       .epoch = at[3] % 8U,
                                       .position = base + used,
                                       .stored_at_ms = UINT64_C(1700000000000) + at[2]};
        at += RECORD_HEAD_SPEC_BYTES;
        length = length < (size_t)(end - at) ? length : (size_t)(end - at);
        if (used + RECORD_CONTENT_PLACE + length > FILE_BYTES) {
            break;
        }
        if (kind > RECORD_PREPARED) {
            used += record_build_own(file + used, &fields, bytes_make(at, length));
        } else if (length >= 2) {
            fields.message_crc = crc32c(at, length);
            uint32_t head =
                record_build_head(file + used, &fields, bytes_make(NULL, 0), (uint32_t)length);
            memcpy(file + used + head, at, length);
            used += head + length;
        }
        at += length;
    }
    return used;
}

static void put_files(struct disk_image *image, const uint8_t *data, size_t length)
{
    const uint8_t *end = data + length;
    for (int i = 0; i < FILES_MAX && end - data >= FILE_HEAD_BYTES; i++) {
        static uint8_t file[FILE_BYTES];
        uint32_t name = data[0] / 2U % (sizeof(names) / sizeof(names[0]));
        bool is_recipe = (data[0] & 1) != 0;
        size_t bytes = load_u16(data + 1);
        data += FILE_HEAD_BYTES;
        bytes = bytes < (size_t)(end - data) ? bytes : (size_t)(end - data);
        memset(file, 0, sizeof(file));
        if (is_recipe) {
            (void)cook(file, base_of(name), data, data + bytes);
        } else {
            memcpy(file, data, bytes < FILE_BYTES ? bytes : FILE_BYTES);
        }
        disk_image_put(image, names[name], file, FILE_BYTES);
        data += bytes;
    }
}

struct reading {
    uint64_t next;
};

static void judge(void *context, const uint8_t *record)
{
    struct reading *reading = context;
    struct record_view view;
    ASSERT(record_read_anywhere(bytes_make(record, record_size(record)), &view) == RECORD_WHOLE);
    ASSERT(view.fields.kind == RECORD_MESSAGE && view.fields.offset == reading->next);
    reading->next++;
}

static void judge_queues(struct log_world *world)
{
    for (uint16_t i = 0; i < TALLY_QUEUES; i++) {
        struct queue *queue = commit_log_queue_find(world->log, 1, i);
        if (queue != NULL) {
            struct queue_state state = queue_state(queue);
            struct reading reading = {state.first};
            ASSERT(state.first <= state.visible && state.visible == state.next);
            enum error error = world_read_all(world, i, judge, &reading);
            ASSERT(error == OK || error == ERROR_CORRUPT || error == ERROR_OFFSET_TOO_SMALL);
            ASSERT_IF(error == OK, reading.next == state.visible);
            uint64_t found;
            ASSERT(commit_log_find_time(world->log, queue, UINT64_C(1700000000100), NULL, &found));
            const struct last_seen last_seen = {state.visible, 3};
            ASSERT(commit_log_find_epoch(world->log, queue, &last_seen, NULL, &found));
        }
    }
}

static void write_more(struct log_world *world)
{
    enum error error;
    if (world->report.corrupt || world->report.epoch == UINT32_MAX) {
        return;
    }
    ASSERT(world_begin_epoch(world));
    world_put_queues(world, LOG_DISK);
    uint64_t next = queue_state(commit_log_queue_find(world->log, 1, 1)).next;
    struct produce *produce = world_produce(world, 1, 4, 3000, 1, true, &error);
    ASSERT(error == OK && world_run(world, LATER_MS, produce_is_told, produce));
    world_close(world);
    produce_free(produce);
    ASSERT(world_open(world));
    ASSERT(!world->report.corrupt);
    ASSERT(queue_state(commit_log_queue_find(world->log, 1, 1)).next == next + 4);
}

static void run(struct log_world *world)
{
    if (!world_open(world)) {
        ASSERT(strlen(world->error) > 10 && strchr(world->error, '\n') == NULL);
        return;
    }
    judge_queues(world);
    uint64_t hash = commit_log_hash(world->log);
    uint64_t end = world->report.end;
    bool was_corrupt = world->report.corrupt;
    world_close(world);
    ASSERT(world_open(world));
    ASSERT(commit_log_hash(world->log) == hash && world->report.end == end);
    ASSERT(world->report.corrupt == was_corrupt);
    write_more(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct log_world world;
    struct disk_image *image = disk_image_create(false);
    log_set_level(LOG_LEVEL_ERROR);
    put_files(image, data, length);
    world_init(&world, 1, image);
    run(&world);
    world_deinit(&world);
    disk_image_destroy(image);
    return 0;
}
