/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of storage/index.c: an index in memory, its file, and files that are damaged.
 */

#include "proto/base/contract.h"
#include "proto/base/random.h"
#include "storage/disk_simulated.h"
#include "storage/index.h"
#include "test/lib/check_main.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { BASE = 1000, USED = 65000, QUEUES = 40, ENTRIES_MOST = 50 };

static struct disk_image *image;
static struct disk *disk;
static struct random generator;
static const struct index_names names = {"0", "0/x.idx", "0/x.idx.new"};

static void set_up(void)
{
    static const struct disk_simulated_options options = {.seed = 1};
    image = disk_image_create(true);
    disk = disk_simulated_open(image, &options);
    ck_assert_int_eq(disk_make_directory(disk, "0"), 0);
    random_init(&generator, 1);
}

static void tear_down(void)
{
    disk_close(disk);
    disk_image_destroy(image);
}

/* Parts in an order that is not theirs in the file. */
static void fill(struct index *index, uint32_t queues)
{
    index_init(index);
    for (uint32_t i = 0; i < queues; i++) {
        uint32_t topic = 1 + i * 7 % 13;
        uint16_t queue = (uint16_t)(i / 13);
        struct index_part *part = index_part_add(index, topic, queue, 100 * i);
        uint64_t count = 1 + random_below(&generator, ENTRIES_MOST);
        for (uint64_t j = 0; j < count; j++) {
            index_part_push(part,
                            (struct index_entry){(uint32_t)(i * 1000 + j), 71, i, (uint32_t)j});
        }
    }
    index_note_time(index, 5000);
    index_note_time(index, 7000);
    index_seal(index);
}

static void assert_equal(const struct index *a, const struct index *b)
{
    ck_assert_uint_eq(index_span_count(a), index_span_count(b));
    for (uint32_t i = 0; i < index_span_count(a); i++) {
        struct index_span left = index_span_at(a, i);
        struct index_span right;
        ck_assert(index_find(b, left.topic, left.queue, &right));
        ck_assert_uint_eq(left.first, right.first);
        ck_assert_uint_eq(left.count, right.count);
        ck_assert_mem_eq(left.entries, right.entries, left.count * sizeof(*left.entries));
    }
    ck_assert_uint_eq(a->first_stored_ms, b->first_stored_ms);
    ck_assert_uint_eq(a->last_stored_ms, b->last_stored_ms);
}

START_TEST(a_file_says_what_memory_said)
{
    struct index memory;
    struct index file;
    struct index_span span;
    fill(&memory, QUEUES);
    ck_assert_int_eq(index_write(&memory, disk, &names, BASE, USED), 0);
    index_init(&file);
    ck_assert(index_load(&file, disk, names.path, BASE, USED, true));
    assert_equal(&memory, &file);
    ck_assert_uint_gt(index_file_bytes(&file), 0);
    ck_assert(!index_find(&file, 99, 0, &span));
    ck_assert(!index_find(&file, 1, 99, &span));
    index_deinit(&memory);
    index_deinit(&file);
}
END_TEST

START_TEST(an_index_without_messages_is_a_file_too)
{
    struct index memory;
    struct index file;
    fill(&memory, 0);
    ck_assert_int_eq(index_write(&memory, disk, &names, BASE, USED), 0);
    index_init(&file);
    ck_assert(index_load(&file, disk, names.path, BASE, USED, true));
    ck_assert_uint_eq(index_span_count(&file), 0);
    index_deinit(&memory);
    index_deinit(&file);
}
END_TEST

START_TEST(spans_are_in_the_order_of_topic_and_queue)
{
    struct index memory;
    fill(&memory, QUEUES);
    for (uint32_t i = 1; i < index_span_count(&memory); i++) {
        struct index_span a = index_span_at(&memory, i - 1);
        struct index_span b = index_span_at(&memory, i);
        ck_assert(a.topic < b.topic || (a.topic == b.topic && a.queue < b.queue));
    }
    index_deinit(&memory);
}
END_TEST

START_TEST(a_file_of_other_bytes_is_not_taken)
{
    struct index memory;
    struct index file;
    fill(&memory, QUEUES);
    ck_assert_int_eq(index_write(&memory, disk, &names, BASE, USED), 0);
    index_init(&file);
    ck_assert(!index_load(&file, disk, names.path, BASE + 1, USED, true));
    ck_assert(!index_load(&file, disk, names.path, BASE, USED - 1, true));
    ck_assert(!index_load(&file, disk, "0/none.idx", BASE, USED, true));
    index_deinit(&memory);
    index_deinit(&file);
}
END_TEST

START_TEST(any_byte_that_is_damaged_is_noticed)
{
    struct index memory;
    uint64_t bytes;
    fill(&memory, QUEUES);
    ck_assert_int_eq(index_write(&memory, disk, &names, BASE, USED), 0);
    disk_image_bytes(image, names.path, &bytes);
    for (uint64_t i = 0; i < bytes; i++) {
        struct index file;
        index_init(&file);
        disk_image_bytes(image, names.path, &bytes)[i] ^= 1;
        ck_assert_msg(!index_load(&file, disk, names.path, BASE, USED, true), "byte %lu",
                      (unsigned long)i);
        disk_image_bytes(image, names.path, &bytes)[i] ^= 1;
    }
    index_deinit(&memory);
}
END_TEST

START_TEST(a_large_part_grows_without_being_copied)
{
    enum { LARGE = 1024 * 1024, FAULTS_MOST = 200 };
    struct index index;
    struct rusage before;
    struct rusage after;
    index_init(&index);
    struct index_part *part = index_part_add(&index, 1, 0, 0);
    for (uint32_t i = 0; i < LARGE; i++) {
        index_part_push(part, (struct index_entry){i, 71, ~i, 7});
    }
    ck_assert_uint_eq(part->capacity, LARGE);
    ck_assert_int_eq(getrusage(RUSAGE_THREAD, &before), 0);
    index_part_push(part, (struct index_entry){LARGE, 71, ~(uint32_t)LARGE, 7});
    ck_assert_int_eq(getrusage(RUSAGE_THREAD, &after), 0);

    ck_assert_int_lt(after.ru_minflt - before.ru_minflt, FAULTS_MOST);
    for (uint32_t i = 0; i <= LARGE; i++) {
        ck_assert(part->entries[i].place == i && part->entries[i].tag_hash == ~i);
    }
    index_seal(&index);
    index_deinit(&index);
}
END_TEST

START_TEST(entries_are_read_for_their_checksum_alone)
{
    struct index memory;
    struct index file;
    uint64_t bytes;
    fill(&memory, QUEUES);
    ck_assert_int_eq(index_write(&memory, disk, &names, BASE, USED), 0);
    index_init(&file);
    ck_assert(index_load(&file, disk, names.path, BASE, USED, false));
    ck_assert_int_eq(index_check_entries(&file), 0);
    uint64_t first = (uint64_t)((const uint8_t *)file.entries - file.map);
    for (uint64_t i = 0; i < file.entry_count * sizeof(struct index_entry); i += 37) {
        disk_image_bytes(image, names.path, &bytes)[first + i] ^= 1;
        ck_assert_int_eq(index_check_entries(&file), -EBADMSG);
        disk_image_bytes(image, names.path, &bytes)[first + i] ^= 1;
    }
    index_deinit(&file);
    index_deinit(&memory);
}
END_TEST

START_TEST(a_file_cut_anywhere_or_of_random_bytes_is_refused)
{
    struct index memory;
    uint64_t bytes;
    fill(&memory, QUEUES);
    ck_assert_int_eq(index_write(&memory, disk, &names, BASE, USED), 0);
    uint8_t *whole = disk_image_bytes(image, names.path, &bytes);
    for (uint64_t length = 0; length < bytes; length += 13) {
        struct index file;
        uint8_t *part = malloc(length + 1);
        ck_assert_ptr_nonnull(part);
        index_init(&file);
        memcpy(part, whole, length);
        disk_image_put(image, "0/part.idx", part, length);
        ck_assert(!index_load(&file, disk, "0/part.idx", BASE, USED, false));
        random_fill(&generator, part, length);
        disk_image_put(image, "0/part.idx", part, length);
        ck_assert(!index_load(&file, disk, "0/part.idx", BASE, USED, false));
        free(part);
    }
    index_deinit(&memory);
}
END_TEST

START_TEST(a_file_has_its_name_only_when_it_is_whole_on_disk)
{
    struct index memory;
    fill(&memory, QUEUES);
    uint64_t before = disk_image_events(image);
    ck_assert_int_eq(index_write(&memory, disk, &names, BASE, USED), 0);
    for (uint64_t i = before; i <= disk_image_events(image); i++) {
        for (uint64_t keep = 0; keep < 8; keep++) {
            static const struct disk_simulated_options options = {.seed = 1};
            struct disk_cut cut = {i, DISK_KEEP_SUBSET, keep};
            struct disk_image *left = disk_image_cut(image, &cut, false);
            struct disk *other = disk_simulated_open(left, &options);
            struct index file;
            uint64_t bytes;
            index_init(&file);
            bool is_named = disk_image_bytes(left, names.path, &bytes) != NULL;
            ck_assert_int_eq(is_named, index_load(&file, other, names.path, BASE, USED, true));
            index_deinit(&file);
            disk_close(other);
            disk_image_destroy(left);
        }
    }
    index_deinit(&memory);
}
END_TEST

static Suite *index_suite(void)
{
    Suite *suite = suite_create("storage/index");
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, set_up, tear_down);
    tcase_add_test(files, a_file_says_what_memory_said);
    tcase_add_test(files, an_index_without_messages_is_a_file_too);
    tcase_add_test(files, spans_are_in_the_order_of_topic_and_queue);
    tcase_add_test(files, a_file_of_other_bytes_is_not_taken);
    tcase_add_test(files, any_byte_that_is_damaged_is_noticed);
    tcase_add_test(files, entries_are_read_for_their_checksum_alone);
    tcase_add_test(files, a_large_part_grows_without_being_copied);
    tcase_add_test(files, a_file_cut_anywhere_or_of_random_bytes_is_refused);
    tcase_add_test(files, a_file_has_its_name_only_when_it_is_whole_on_disk);
    suite_add_tcase(suite, files);
    return suite;
}

TEST_MAIN(index_suite)
