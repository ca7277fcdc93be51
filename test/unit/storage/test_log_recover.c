/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of storage/log_recover.c: torn tails, corruption, what cuts leave behind, and indexes.
 */

#include "proto/events.h"
#include "storage/index.h"
#include "test/lib/check_main.h"
#include "test/lib/log_world.h"

#include <inttypes.h>

enum { LATER_MS = 2000, PATH_BYTES = 64, MESSAGES = 20, MANY = 600 };

static struct log_world world;

static void set_up(void)
{
    world_init(&world, 1, NULL);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world_begin_epoch(&world));
    world_put_queues(&world, LOG_DISK);
}

static void tear_down(void)
{
    world_deinit(&world);
}

static void put(uint16_t queue, uint32_t length, uint64_t number)
{
    enum error error;
    struct produce *produce = world_produce(&world, queue, 1, length, number, true, &error);
    ck_assert_int_eq(error, OK);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produce));
    produce_free(produce);
}

static uint8_t *segment_of(struct disk_image *image, uint64_t base, uint64_t *bytes_out)
{
    char path[PATH_BYTES];
    (void)snprintf(path, sizeof(path), "0/%020" PRIu64 ".log", base);
    return disk_image_bytes(image, path, bytes_out);
}

static struct disk_image *copy_of(struct disk_image *image)
{
    struct disk_cut cut = {disk_image_events(image), DISK_KEEP_ALL, 0};
    return disk_image_cut(image, &cut, true);
}

/* What a broker that was killed now would leave: no mark of the end but those that are there. */
static struct disk_image *killed(void)
{
    return copy_of(world.image);
}

static uint64_t next_of(const struct log_world *of, uint16_t queue)
{
    struct queue *found = commit_log_queue_find(of->log, 1, queue);
    return found == NULL ? 0 : queue_state(found).next;
}

/* The place and size of every record of a segment. */
struct places {
    uint32_t count;
    uint64_t place[4096];
    uint32_t size[4096];
    enum record_kind kind[4096];
};

static void find_places(const uint8_t *file, uint64_t bytes, uint64_t base, struct places *places)
{
    struct record_view view;
    uint64_t place = 0;
    places->count = 0;
    while (record_read(bytes_make(file + place, bytes - place), base + place, &view) ==
           RECORD_WHOLE) {
        places->place[places->count] = place;
        places->size[places->count] = view.fields.size;
        places->kind[places->count++] = view.fields.kind;
        place += view.fields.size;
    }
}

static struct places places;

START_TEST(a_tail_torn_at_any_byte_of_the_last_records_is_cut_there)
{
    for (uint64_t i = 0; i < MESSAGES; i++) {
        put(0, 60, i);
    }
    uint64_t bytes;
    struct disk_image *left = killed();
    uint8_t *file = segment_of(left, 0, &bytes);
    find_places(file, bytes, 0, &places);
    uint32_t last = places.count - 1;
    ck_assert_int_eq(places.kind[last], RECORD_MESSAGE);
    for (uint64_t torn = places.place[last]; torn < places.place[last] + places.size[last];
         torn++) {
        struct disk_image *image = copy_of(left);
        uint8_t *copy = segment_of(image, 0, &bytes);
        bool was_zero = copy[torn] == 0;
        memset(copy + torn, 0, places.place[last] + places.size[last] - torn);
        struct log_world other;
        world_init(&other, 2, image);
        ck_assert_msg(world_open(&other), "%s", other.error);
        ck_assert(!other.report.corrupt);
        bool is_whole = other.report.end == places.place[last] + places.size[last];
        ck_assert(!is_whole || was_zero);
        if (!is_whole) {
            ck_assert_uint_eq(other.report.end, places.place[last]);
            ck_assert_uint_le(other.report.cut_bytes, torn - places.place[last]);
            ck_assert_uint_eq(next_of(&other, 0), MESSAGES - 1);
            /* Zeroed ahead. */
            copy = segment_of(image, 0, &bytes);
            uint64_t zeros = places.place[last];
            while (zeros < bytes && copy[zeros] == 0) {
                zeros++;
            }
            ck_assert_uint_eq(zeros, bytes);
        }
        world_deinit(&other);
        disk_image_destroy(image);
    }
    disk_image_destroy(left);
}
END_TEST

START_TEST(a_flipped_bit_anywhere_in_the_last_record_cuts_it)
{
    for (uint64_t i = 0; i < MESSAGES; i++) {
        put(0, 60, i);
    }
    uint64_t bytes;
    struct disk_image *left = killed();
    uint8_t *file = segment_of(left, 0, &bytes);
    find_places(file, bytes, 0, &places);
    uint32_t last = places.count - 1;
    for (uint32_t i = 0; i < places.size[last]; i++) {
        struct disk_image *image = copy_of(left);
        segment_of(image, 0, &bytes)[places.place[last] + i] ^= (uint8_t)(1 << (i % 8));
        struct log_world other;
        world_init(&other, 2, image);
        ck_assert_msg(world_open(&other), "%s", other.error);
        ck_assert(!other.report.corrupt);
        ck_assert_uint_eq(other.report.end, places.place[last]);
        ck_assert_uint_eq(other.report.cut_records, 0);
        world_deinit(&other);
        disk_image_destroy(image);
    }
    disk_image_destroy(left);
}
END_TEST

/* The durable position that an events record names last; 0: none. */
static uint64_t mark_of(const uint8_t *file, uint64_t bytes, uint64_t place)
{
    struct record_view view;
    struct events_reader reader;
    struct cursor fields;
    uint64_t number;
    uint64_t mark = 0;
    ck_assert_int_eq(record_read(bytes_make(file + place, bytes - place), place, &view),
                     RECORD_WHOLE);
    ck_assert(view.fields.kind == RECORD_EVENTS && events_open(&reader, record_content(&view)));
    while (events_next(&reader, &number, &fields) == EVENTS_ENTRY) {
        ck_assert(number != EVENT_DURABLE || event_read_durable(fields, &mark));
    }
    return mark;
}

/* Opens a copy with a flipped bit in the middle of it: everything behind is served, nothing is cut. */
static void expect_read_only(struct disk_image *image)
{
    uint64_t bytes;
    struct log_world other;
    uint8_t *file = segment_of(image, 0, &bytes);
    find_places(file, bytes, 0, &places);
    uint32_t bad = places.count / 2;
    while (places.kind[bad] != RECORD_MESSAGE) {
        bad++;
    }
    file[places.place[bad] + 80] ^= 1;
    world_init(&other, 2, image);
    ck_assert_msg(world_open(&other), "%s", other.error);
    ck_assert(other.report.corrupt);
    ck_assert_uint_eq(other.report.corrupt_from, places.place[bad]);
    ck_assert_uint_eq(other.report.corrupt_to, places.place[bad + 1]);
    ck_assert_uint_eq(next_of(&other, 0), MESSAGES);
    world_deinit(&other);
}

START_TEST(an_orderly_end_leaves_a_synced_mark_of_all_that_was_synced)
{
    for (uint64_t i = 0; i < MESSAGES; i++) {
        put(0, 60, i);
    }
    world_close(&world);
    struct disk_cut cut = {disk_image_events(world.image), DISK_KEEP_NONE, 0};
    struct disk_image *image = disk_image_cut(world.image, &cut, true);
    uint64_t bytes;
    uint8_t *file = segment_of(image, 0, &bytes);
    find_places(file, bytes, 0, &places);
    uint64_t last = places.place[places.count - 1];
    ck_assert_uint_eq(mark_of(file, bytes, last), last);
    expect_read_only(image);
    disk_image_destroy(image);
    /* A start that writes nothing leaves nothing. */
    ck_assert(world_open(&world));
    uint64_t end = world.report.end;
    world_close(&world);
    ck_assert(world_open(&world));
    ck_assert_uint_eq(world.report.end, end);
}
END_TEST

START_TEST(a_log_that_fell_idle_has_a_mark_of_its_end)
{
    for (uint64_t i = 0; i < MESSAGES; i++) {
        put(0, 60, i);
    }
    world_run(&world, 300, NULL, NULL);
    struct disk_image *image = killed();
    uint64_t bytes;
    uint8_t *file = segment_of(image, 0, &bytes);
    find_places(file, bytes, 0, &places);
    uint64_t last = places.place[places.count - 1];
    ck_assert_uint_eq(mark_of(file, bytes, last), last);
    expect_read_only(image);
    disk_image_destroy(image);
}
END_TEST

START_TEST(a_mark_claims_nothing_that_only_memory_queues_have_written)
{
    put(0, 60, 0);
    commit_log_queue_put(world.log, 1, 1, LOG_MEMORY);
    enum error error;
    struct produce *produce = world_produce(&world, 1, 1, 60, 1, false, &error);
    ck_assert_int_eq(error, OK);
    ck_assert(world_run(&world, LATER_MS, produce_is_told, produce));
    world_run(&world, LATER_MS, NULL, NULL);
    struct disk_image *image = killed();
    uint64_t bytes;
    uint8_t *file = segment_of(image, 0, &bytes);
    find_places(file, bytes, 0, &places);
    uint32_t last = places.count - 1;
    ck_assert_uint_eq(mark_of(file, bytes, places.place[last]), produce->append.position);
    disk_image_destroy(image);
    produce_free(produce);
    /* Closed, it is synced and marked, too. */
    world_close(&world);
    file = segment_of(world.image, 0, &bytes);
    find_places(file, bytes, 0, &places);
    last = places.count - 1;
    ck_assert_uint_eq(mark_of(file, bytes, places.place[last]), places.place[last]);
}
END_TEST

START_TEST(whole_records_in_a_tail_that_is_cut_are_counted)
{
    for (uint64_t i = 0; i < MESSAGES; i++) {
        put(0, 60, i);
    }
    uint64_t bytes;
    struct disk_image *left = killed();
    uint8_t *file = segment_of(left, 0, &bytes);
    find_places(file, bytes, 0, &places);
    for (uint32_t behind = 0; behind < 3; behind++) {
        struct disk_image *image = copy_of(left);
        uint32_t bad = places.count - 1 - behind;
        segment_of(image, 0, &bytes)[places.place[bad] + 20] ^= 1;
        struct log_world other;
        world_init(&other, 2, image);
        ck_assert_msg(world_open(&other), "%s", other.error);
        ck_assert(!other.report.corrupt);
        ck_assert_uint_eq(other.report.end, places.place[bad]);
        ck_assert_uint_eq(other.report.cut_records, behind);
        world_deinit(&other);
        disk_image_destroy(image);
    }
    disk_image_destroy(left);
}
END_TEST

static void skip_record(void *context, const uint8_t *record)
{
    (void)record;
    (*(uint32_t *)context)++;
}

START_TEST(a_bad_record_below_the_durable_mark_makes_the_log_read_only_and_is_named)
{
    for (uint64_t i = 0; i < MESSAGES; i++) {
        put(0, 60, i);
        world_run(&world, 20, NULL, NULL); /* Marks are at least 10 ms apart. */
    }
    world_close(&world);
    uint64_t bytes;
    uint8_t *file = segment_of(world.image, 0, &bytes);
    find_places(file, bytes, 0, &places);
    uint32_t bad = 0;
    for (uint32_t seen = 0; seen < 6; bad++) {
        seen += places.kind[bad] == RECORD_MESSAGE;
    }
    bad--; /* The message with offset 5. */
    file[places.place[bad] + 80] ^= 1;

    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world.report.corrupt);
    ck_assert_uint_eq(world.report.corrupt_from, places.place[bad]);
    ck_assert_uint_eq(world.report.corrupt_to, places.place[bad + 1]);
    struct queue *queue = commit_log_queue_find(world.log, 1, 0);
    enum error error;
    struct produce *refused = world_produce(&world, 0, 1, 100, 0, true, &error);
    ck_assert_int_eq(error, ERROR_READ_ONLY);
    produce_free(refused);
    ck_assert_int_eq(commit_log_may_operate(world.log, 1), ERROR_READ_ONLY);

    /* What is whole is served, before and behind. */
    struct run_list list;
    uint32_t count = 0;
    ck_assert_int_eq(
        commit_log_read(world.log, queue, &(struct read_limits){0, 100, 1 << 20, false}, &list),
        OK);
    ck_assert_uint_eq(list.messages, 5);
    for (uint32_t i = 0; i < list.count; i++) {
        segment_unref(list.runs[i].segment);
    }
    ck_assert_int_eq(
        commit_log_read(world.log, queue, &(struct read_limits){5, 100, 1 << 20, false}, &list),
        ERROR_CORRUPT);
    ck_assert_int_eq(
        commit_log_read(world.log, queue, &(struct read_limits){6, 100, 1 << 20, false}, &list),
        OK);
    ck_assert_uint_eq(list.messages, MESSAGES - 6);
    for (uint32_t i = 0; i < list.count; i++) {
        segment_unref(list.runs[i].segment);
    }
    ck_assert_int_eq(world_read_all(&world, 0, skip_record, &count), ERROR_CORRUPT);
    struct index_span span;
    ck_assert_int_eq(commit_log_entries(world.log, queue, 4, 3, NULL, &span), OK);
    ck_assert_uint_eq(span.count, 3);
    ck_assert_uint_ne(span.entries[0].place, 0);
    ck_assert_uint_eq(span.entries[1].place, 0);
    ck_assert_uint_ne(span.entries[2].place, 0);
    struct commit_log_counters counters;
    commit_log_counters(world.log, &counters);
    ck_assert(counters.read_only);

    /* And nothing was changed: a second start says the same. */
    uint64_t from = world.report.corrupt_from;
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world.report.corrupt);
    ck_assert_uint_eq(world.report.corrupt_from, from);
}
END_TEST

START_TEST(a_bad_record_below_a_later_segment_is_corruption)
{
    /* A large state: the snapshot that the first roll begins is followed by rolls without one. */
    for (uint64_t key = 0; key < TALLY_KEYS; key++) {
        ck_assert_int_eq(world_operate(&world, TALLY_SET, key, key), OK);
    }
    for (uint64_t i = 0; i < 80; i++) {
        put(0, 3000, i);
    }
    world_close(&world);
    uint64_t bytes;
    uint64_t base = 0;
    uint64_t newest = 0;
    uint64_t end = 0;
    for (uint8_t *file; (file = segment_of(world.image, base, &bytes)) != NULL; base = end) {
        find_places(file, bytes, base, &places);
        newest = places.kind[1] == RECORD_SNAPSHOT ? base : newest;
        end = base + places.place[places.count - 1] + places.size[places.count - 1];
    }
    uint8_t *file = segment_of(world.image, newest, &bytes);
    find_places(file, bytes, newest, &places);
    uint32_t bad = places.count - 2;
    ck_assert_int_eq(places.kind[bad], RECORD_MESSAGE);
    ck_assert_uint_lt(newest + places.place[places.count - 1] + places.size[places.count - 1], end);
    file[places.place[bad] + 100] ^= 1;
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world.report.corrupt);
    ck_assert_uint_eq(world.report.corrupt_from, newest + places.place[bad]);
    ck_assert_uint_eq(world.report.corrupt_to, newest + places.place[bad + 1]);
    ck_assert_uint_eq(world.report.end, end);
    /* Behind it everything is served, up to the end. */
    ck_assert_uint_eq(next_of(&world, 0), 80);
    struct run_list list;
    struct queue *queue = commit_log_queue_find(world.log, 1, 0);
    ck_assert_int_eq(
        commit_log_read(world.log, queue, &(struct read_limits){79, 10, 1 << 20, false}, &list),
        OK);
    ck_assert_uint_eq(list.messages, 1);
    segment_unref(list.runs[0].segment);
}
END_TEST

START_TEST(a_bad_first_record_of_the_last_segment_takes_nothing_that_was_durable)
{
    for (uint64_t i = 0; i < 40; i++) {
        put(0, 3000, i);
        world_run(&world, 20, NULL, NULL); /* Marks are at least 10 ms apart. */
    }
    world_close(&world);
    uint64_t bytes;
    uint64_t last = 0;
    uint64_t end = 0;
    for (uint8_t *file; (file = segment_of(world.image, end, &bytes)) != NULL;) {
        last = end;
        find_places(file, bytes, last, &places);
        end = last + places.place[places.count - 1] + places.size[places.count - 1];
    }
    ck_assert_uint_gt(last, 0);
    uint8_t *file = segment_of(world.image, last, &bytes);
    file[20] ^= 1; /* In its segment record. */

    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(world.report.corrupt);
    ck_assert_uint_eq(world.report.corrupt_from, last);
    ck_assert_uint_eq(world.report.corrupt_to, last + places.place[1]);
    ck_assert_ptr_nonnull(segment_of(world.image, last, &bytes));
    uint32_t count = 0;
    ck_assert_int_eq(world_read_all(&world, 0, skip_record, &count), OK);
    ck_assert_uint_eq(count, 40);
}
END_TEST

START_TEST(stale_records_behind_a_cut_never_come_back)
{
    for (uint64_t i = 0; i < MESSAGES; i++) {
        put(0, 60, i);
    }
    struct disk_image *left = killed();
    struct log_world gone = world;
    world_init(&world, 2, left);
    uint64_t bytes;
    uint8_t *file = segment_of(left, 0, &bytes);
    find_places(file, bytes, 0, &places);
    /* Two records are torn out of the unsynced end; the one behind them is still whole. */
    uint32_t torn = places.count - 3;
    memset(file + places.place[torn], 0, places.size[torn]);
    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert_uint_eq(world.report.end, places.place[torn]);
    ck_assert_uint_gt(world.report.cut_bytes, 0);
    uint64_t next = next_of(&world, 0);
    ck_assert(world_begin_epoch(&world));
    for (uint64_t i = 0; i < 3; i++) {
        put(0, 60, 1000 + i);
    }
    world_close(&world);
    ck_assert(world_open(&world));
    ck_assert_uint_eq(next_of(&world, 0), next + 3);
    struct run_list list;
    ck_assert_int_eq(commit_log_read(world.log, commit_log_queue_find(world.log, 1, 0),
                                     &(struct read_limits){next, 3, 1 << 20, false}, &list),
                     OK);
    const uint8_t *record = segment_bytes(list.runs[0].segment) + list.runs[0].place;
    ck_assert_uint_eq(record_epoch(record), 2);
    for (uint32_t i = 0; i < list.count; i++) {
        segment_unref(list.runs[i].segment);
    }
    world_close(&world);
    world_deinit(&world);
    disk_image_destroy(left);
    world = gone;
}
END_TEST

START_TEST(an_older_epoch_behind_a_newer_one_is_no_record_of_this_log)
{
    put(0, 60, 0);
    world_close(&world);
    ck_assert(world_open(&world));
    ck_assert(world_begin_epoch(&world));
    put(0, 60, 1);
    world_close(&world);
    uint64_t bytes;
    uint8_t *file = segment_of(world.image, 0, &bytes);
    find_places(file, bytes, 0, &places);
    uint64_t end = places.place[places.count - 1] + places.size[places.count - 1];
    /* A whole record of epoch 1 at exactly the right position and offset. */
    uint8_t message[11];
    produce_fill(message, sizeof(message), 77);
    struct record_fields fields = {.message_crc = crc32c(message, sizeof(message)),
                                   .kind = RECORD_MESSAGE,
                                   .epoch = 1,
                                   .position = end,
                                   .topic = 1,
                                   .offset = 2,
                                   .stored_at_ms = UINT64_C(1800000000000)};
    uint32_t head = record_build_head(file + end, &fields, bytes_make(NULL, 0), sizeof(message));
    memcpy(file + end + head, message, sizeof(message));
    ck_assert(world_open(&world));
    ck_assert_uint_eq(world.report.end, end);
    ck_assert_uint_eq(next_of(&world, 0), 2);
}
END_TEST

static void write_many(void)
{
    for (uint64_t i = 0; i < MANY; i++) {
        enum error error;
        struct produce *produce =
            world_produce(&world, (uint16_t)(i % TALLY_QUEUES), 1, 500, i, true, &error);
        ck_assert_int_eq(error, OK);
        ck_assert_int_eq(world_operate_randomly(&world), OK);
        ck_assert(world_run(&world, LATER_MS, produce_is_told, produce));
        produce_free(produce);
    }
    world_run(&world, LATER_MS, NULL, NULL);
}

START_TEST(an_index_made_again_is_the_one_that_was_written)
{
    char path[PATH_BYTES];
    uint64_t bytes;
    write_many();
    world_close(&world);
    struct disk_image *image = copy_of(world.image);
    struct log_world other;
    uint32_t indexes = 0;
    world_init(&other, 2, image);
    struct disk *disk = disk_simulated_open(image, &other.disk_options);
    for (uint64_t base = 0; segment_of(world.image, base, &bytes) != NULL;) {
        (void)snprintf(path, sizeof(path), "0/%020" PRIu64 ".idx", base);
        (void)disk_remove(disk, path);
        find_places(segment_of(world.image, base, &bytes), bytes, base, &places);
        base += places.place[places.count - 1] + places.size[places.count - 1];
    }
    disk_close(disk);
    ck_assert_msg(world_open(&other), "%s", other.error);
    ck_assert(!other.report.corrupt);
    for (uint64_t base = 0; segment_of(world.image, base, &bytes) != NULL;) {
        uint64_t old_bytes;
        uint64_t new_bytes;
        (void)snprintf(path, sizeof(path), "0/%020" PRIu64 ".idx", base);
        const uint8_t *old_index = disk_image_bytes(world.image, path, &old_bytes);
        const uint8_t *new_index = disk_image_bytes(image, path, &new_bytes);
        ck_assert_int_eq(old_index == NULL, new_index == NULL);
        if (old_index != NULL) {
            ck_assert_uint_eq(old_bytes, new_bytes);
            ck_assert_mem_eq(old_index, new_index, old_bytes);
            indexes++;
        }
        find_places(segment_of(world.image, base, &bytes), bytes, base, &places);
        base += places.place[places.count - 1] + places.size[places.count - 1];
    }
    ck_assert_uint_gt(indexes, 3);
    world_deinit(&other);
    disk_image_destroy(image);
}
END_TEST

/* Lets the jobs behind a start come to their end. */
static void run_behind_start(struct log_world *opened)
{
    (void)world_run(opened, 2000, NULL, NULL);
}

START_TEST(a_damaged_index_is_made_again_whichever_byte_it_is)
{
    char path[PATH_BYTES];
    uint64_t bytes;
    write_many();
    world_close(&world);
    (void)snprintf(path, sizeof(path), "0/%020d.idx", 0);
    const uint8_t *good = disk_image_bytes(world.image, path, &bytes);
    ck_assert_ptr_nonnull(good);
    for (uint64_t i = 0; i < bytes; i += 1 + bytes / 150) {
        struct disk_image *image = copy_of(world.image);
        uint64_t copy_bytes;
        disk_image_bytes(image, path, &copy_bytes)[i] ^= 0x10;
        struct log_world other;
        world_init(&other, 2, image);
        ck_assert_msg(world_open(&other), "%s", other.error);
        run_behind_start(&other);
        uint32_t count = 0;
        ck_assert_int_eq(world_read_all(&other, 0, skip_record, &count), OK);
        ck_assert_uint_eq(count, MANY / TALLY_QUEUES);
        const uint8_t *again = disk_image_bytes(image, path, &copy_bytes);
        ck_assert_uint_eq(copy_bytes, bytes);
        ck_assert_mem_eq(again, good, bytes);
        world_deinit(&other);
        disk_image_destroy(image);
    }
}
END_TEST

START_TEST(an_index_damaged_with_its_segment_is_found_by_the_next_start)
{
    char path[PATH_BYTES];
    uint64_t bytes;
    write_many();
    world_close(&world);
    uint8_t *segment = segment_of(world.image, 0, &bytes);
    find_places(segment, bytes, 0, &places);
    segment[places.place[places.count / 2] + RECORD_BYTES_MIN - 1] ^= 0x10;
    (void)snprintf(path, sizeof(path), "0/%020d.idx", 0);
    uint8_t *index = disk_image_bytes(world.image, path, &bytes);
    index[bytes / 2] ^= 0x10; /* Of an entry. */

    ck_assert_msg(world_open(&world), "%s", world.error);
    ck_assert(!world.report.corrupt);
    run_behind_start(&world);
    world_close(&world);
    ck_assert_msg(world_open(&world), "%s", world.error);

    ck_assert(world.report.corrupt);
    ck_assert_uint_eq(world.report.corrupt_from, places.place[places.count / 2]);
}
END_TEST

START_TEST(a_start_reads_no_entries_of_segments_that_it_does_not_replay)
{
    char path[PATH_BYTES];
    uint64_t bytes;
    write_many();
    world_close(&world);
    (void)snprintf(path, sizeof(path), "0/%020d.idx", 0);
    uint8_t *index = disk_image_bytes(world.image, path, &bytes);
    index[bytes / 2] ^= 0x10; /* Of an entry. */
    uint8_t *as_damaged = malloc(bytes);
    ck_assert_ptr_nonnull(as_damaged);
    memcpy(as_damaged, index, bytes);

    ck_assert_msg(world_open(&world), "%s", world.error);

    ck_assert_mem_eq(disk_image_bytes(world.image, path, &bytes), as_damaged, bytes);
    free(as_damaged);
}
END_TEST

START_TEST(recovering_twice_is_recovering_once)
{
    write_many();
    uint64_t hash = commit_log_hash(world.log);
    world_close(&world);
    ck_assert(world_open(&world));
    ck_assert_uint_eq(commit_log_hash(world.log), hash);
    uint64_t end = world.report.end;
    world_close(&world);
    ck_assert(world_open(&world));
    ck_assert_uint_eq(commit_log_hash(world.log), hash);
    ck_assert_uint_eq(world.report.end, end);
    ck_assert_uint_eq(world.report.cut_bytes, 0);
    ck_assert(!world.report.fresh);
    ck_assert_uint_eq(world.report.store_id, 4711);
}
END_TEST

START_TEST(work_at_a_start_does_not_grow_with_the_store)
{
    write_many();
    uint64_t records = 0;
    for (int i = 0; i < 3; i++) {
        world_close(&world);
        ck_assert(world_open(&world));
        ck_assert_uint_lt(world.report.bytes, 12 * WORLD_SEGMENT_BYTES);
        records = world.report.records;
        ck_assert(world_begin_epoch(&world));
        world_put_queues(&world, LOG_DISK);
        write_many();
    }
    ck_assert_uint_gt(records, 0);
}
END_TEST

/* Puts one events record of one entry at the end of a closed log. */
static void put_entry_at_end(uint64_t number)
{
    uint64_t bytes;
    uint8_t *file = segment_of(world.image, 0, &bytes);
    uint8_t content[16];
    struct writer writer = writer_over(content, sizeof(content));
    find_places(file, bytes, 0, &places);
    uint64_t end = places.place[places.count - 1] + places.size[places.count - 1];
    events_begin(&writer);
    writer_put_array(&writer, 1);
    writer_put_uint(&writer, number);
    events_end(&writer, 0, 1);
    struct record_fields fields = {.kind = RECORD_EVENTS, .epoch = 1, .position = end};
    (void)record_build_own(file + end, &fields, writer_bytes(&writer));
}

START_TEST(an_operation_that_is_not_known_refuses_to_open_unless_it_is_optional)
{
    put(0, 60, 1);
    world_close(&world);
    put_entry_at_end(EVENTS_OPTIONAL_FROM + 40);
    ck_assert_msg(world_open(&world), "%s", world.error);
    world_close(&world);
    put_entry_at_end(EVENTS_OPTIONAL_FROM - 1);
    ck_assert(!world_open(&world));
    ck_assert_ptr_nonnull(strstr(world.error, "not understood"));
}
END_TEST

START_TEST(a_log_without_a_whole_snapshot_is_refused_with_a_line)
{
    put(0, 60, 1);
    world_close(&world);
    uint64_t bytes;
    uint8_t *file = segment_of(world.image, 0, &bytes);
    file[20] ^= 1;
    ck_assert(!world_open(&world));
    ck_assert_ptr_nonnull(strstr(world.error, "no snapshot"));
}
END_TEST

static Suite *log_recover_suite(void)
{
    Suite *suite = suite_create("storage/log_recover");
    TCase *recovery = tcase_create("recovery");
    tcase_add_checked_fixture(recovery, set_up, tear_down);
    tcase_add_test(recovery, a_tail_torn_at_any_byte_of_the_last_records_is_cut_there);
    tcase_add_test(recovery, a_flipped_bit_anywhere_in_the_last_record_cuts_it);
    tcase_add_test(recovery, an_orderly_end_leaves_a_synced_mark_of_all_that_was_synced);
    tcase_add_test(recovery, a_log_that_fell_idle_has_a_mark_of_its_end);
    tcase_add_test(recovery, a_mark_claims_nothing_that_only_memory_queues_have_written);
    tcase_add_test(recovery, whole_records_in_a_tail_that_is_cut_are_counted);
    tcase_add_test(recovery,
                   a_bad_record_below_the_durable_mark_makes_the_log_read_only_and_is_named);
    tcase_add_test(recovery, a_bad_record_below_a_later_segment_is_corruption);
    tcase_add_test(recovery, a_bad_first_record_of_the_last_segment_takes_nothing_that_was_durable);
    tcase_add_test(recovery, stale_records_behind_a_cut_never_come_back);
    tcase_add_test(recovery, an_older_epoch_behind_a_newer_one_is_no_record_of_this_log);
    tcase_add_test(recovery, an_index_made_again_is_the_one_that_was_written);
    tcase_add_test(recovery, a_damaged_index_is_made_again_whichever_byte_it_is);
    tcase_add_test(recovery, an_index_damaged_with_its_segment_is_found_by_the_next_start);
    tcase_add_test(recovery, a_start_reads_no_entries_of_segments_that_it_does_not_replay);
    tcase_add_test(recovery, recovering_twice_is_recovering_once);
    tcase_add_test(recovery, work_at_a_start_does_not_grow_with_the_store);
    tcase_add_test(recovery, an_operation_that_is_not_known_refuses_to_open_unless_it_is_optional);
    tcase_add_test(recovery, a_log_without_a_whole_snapshot_is_refused_with_a_line);
    suite_add_tcase(suite, recovery);
    return suite;
}

TEST_MAIN(log_recover_suite)
