/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of the simulated disk: what a power cut may keep, and what it must.
 */

#include "proto/base/contract.h"
#include "storage/disk_simulated.h"
#include "test/lib/check_main.h"

#include <errno.h>
#include <string.h>

static struct disk_image *image;
static struct disk *disk;

static void set_up(void)
{
    static const struct disk_simulated_options options = {.seed = 1};
    image = disk_image_create(true);
    disk = disk_simulated_open(image, &options);
}

static void tear_down(void)
{
    disk_close(disk);
    disk_image_destroy(image);
}

static void write_text(struct disk_file *file, const char *text, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    ck_assert_int_eq(disk_file_write(file, &iov, 1, offset), 0);
}

static struct disk_file *create(const char *path)
{
    struct disk_file *file;
    ck_assert_int_eq(disk_file_open(disk, path, DISK_CREATE, &file), 0);
    return file;
}

static struct disk_image *cut(enum disk_keep keep, uint64_t number)
{
    struct disk_cut all = {disk_image_events(image), keep, number};
    return disk_image_cut(image, &all, false);
}

/* Whether the image has the file, with the text at its start. */
static bool has(struct disk_image *of, const char *path, const char *text)
{
    uint64_t bytes;
    const uint8_t *at = disk_image_bytes(of, path, &bytes);
    return at != NULL && bytes >= strlen(text) && memcmp(at, text, strlen(text)) == 0;
}

START_TEST(what_was_written_is_read_and_a_mapping_follows)
{
    char text[16] = "";
    struct disk_file *file = create("a");
    ck_assert_int_eq(disk_file_allocate(file, 100), 0);
    const uint8_t *map = disk_file_map(file, 100);
    ck_assert_ptr_nonnull(map);
    write_text(file, "hello", 10);
    ck_assert_mem_eq(map + 10, "hello", 5);
    ck_assert_int_eq(disk_file_read(file, text, 5, 10), 5);
    ck_assert_str_eq(text, "hello");
    ck_assert_int_eq(disk_file_read(file, text, 16, 95), 5);
    ck_assert_int_eq(disk_file_size(file), 100);
    ck_assert_int_eq(disk_file_zero(file, 10, 5), 0);
    ck_assert_int_eq(map[10], 0);
    ck_assert_int_eq(disk_file_descriptor(file), -1);
    disk_file_unmap(file, map, 100);
    disk_file_close(file);
}
END_TEST

START_TEST(only_a_synced_file_with_a_synced_name_must_survive)
{
    struct disk_file *both = create("both");
    struct disk_file *name = create("name");
    ck_assert_int_eq(disk_sync_directory(disk, ""), 0);
    struct disk_file *bytes = create("bytes");
    write_text(both, "x", 0);
    write_text(name, "x", 0);
    write_text(bytes, "x", 0);
    ck_assert_int_eq(disk_file_sync(both), 0);
    ck_assert_int_eq(disk_file_sync(bytes), 0);
    ck_assert_uint_eq(disk_image_unsynced(image, disk_image_events(image)), 2);
    struct disk_image *none = cut(DISK_KEEP_NONE, 0);
    struct disk_image *all = cut(DISK_KEEP_ALL, 0);
    uint64_t length;
    ck_assert(has(none, "both", "x"));
    ck_assert_ptr_null(disk_image_bytes(none, "bytes", &length));
    ck_assert(!has(none, "name", "x"));
    ck_assert(has(all, "both", "x") && has(all, "name", "x") && has(all, "bytes", "x"));
    disk_image_destroy(none);
    disk_image_destroy(all);
    disk_file_close(both);
    disk_file_close(name);
    disk_file_close(bytes);
}
END_TEST

START_TEST(a_prefix_keeps_the_first_events_and_the_past_can_be_cut_too)
{
    struct disk_file *file = create("a");
    ck_assert_int_eq(disk_sync_directory(disk, ""), 0);
    uint64_t before = disk_image_events(image);
    write_text(file, "1", 0);
    write_text(file, "2", 1);
    write_text(file, "3", 2);
    struct disk_image *two = cut(DISK_KEEP_PREFIX, 2);
    ck_assert(has(two, "a", "12") && !has(two, "a", "123"));
    disk_image_destroy(two);
    struct disk_cut past = {before + 1, DISK_KEEP_ALL, 0};
    struct disk_image *one = disk_image_cut(image, &past, false);
    ck_assert(has(one, "a", "1") && !has(one, "a", "12"));
    disk_image_destroy(one);
    disk_file_close(file);
}
END_TEST

START_TEST(a_subset_tears_writes_at_512_bytes)
{
    static char text[2049];
    uint32_t torn = 0;
    memset(text, 'x', sizeof(text) - 1);
    struct disk_file *file = create("a");
    ck_assert_int_eq(disk_file_allocate(file, 2048), 0);
    ck_assert_int_eq(disk_file_sync(file), 0);
    ck_assert_int_eq(disk_sync_directory(disk, ""), 0);
    write_text(file, text, 0);
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct disk_image *left = cut(DISK_KEEP_SUBSET, seed);
        uint64_t bytes;
        const uint8_t *at = disk_image_bytes(left, "a", &bytes);
        uint32_t kept = 0;
        for (uint32_t sector = 0; sector < 4; sector++) {
            ck_assert_mem_eq(at + sector * 512, at + sector * 512 + 1, 511); /* All the same. */
            kept += at[sector * 512] == 'x';
        }
        torn += kept > 0 && kept < 4;
        disk_image_destroy(left);
    }
    ck_assert_uint_gt(torn, 5);
    disk_file_close(file);
}
END_TEST

START_TEST(a_rename_is_kept_or_not_as_one)
{
    struct disk_file *file = create("a");
    write_text(file, "x", 0);
    ck_assert_int_eq(disk_file_sync(file), 0);
    ck_assert_int_eq(disk_sync_directory(disk, ""), 0);
    ck_assert_int_eq(disk_rename(disk, "a", "b"), 0);
    struct disk_image *none = cut(DISK_KEEP_NONE, 0);
    struct disk_image *all = cut(DISK_KEEP_ALL, 0);
    ck_assert(has(none, "a", "x") && !has(none, "b", "x"));
    ck_assert(has(all, "b", "x") && !has(all, "a", "x"));
    disk_image_destroy(none);
    disk_image_destroy(all);
    ck_assert_int_eq(disk_rename(disk, "a", "c"), -ENOENT);
    disk_file_close(file);
}
END_TEST

static int fail_sync(void *context, enum disk_call call)
{
    int *result = context;
    return call == DISK_CALL_SYNC ? *result : 0;
}

START_TEST(what_a_failed_sync_lost_no_later_sync_brings_back)
{
    int result = -EIO;
    struct disk_simulated_options options = {
        .seed = 1, .fault = fail_sync, .fault_context = &result};
    disk_close(disk);
    disk = disk_simulated_open(image, &options);
    struct disk_file *file = create("a");
    ck_assert_int_eq(disk_sync_directory(disk, ""), 0);
    write_text(file, "lost", 0);
    ck_assert_int_eq(disk_file_sync(file), -EIO);
    result = 0;
    write_text(file, "kept", 4);
    ck_assert_int_eq(disk_file_sync(file), 0);
    char text[9] = "";
    ck_assert_int_eq(disk_file_read(file, text, 8, 0), 8);
    ck_assert_str_eq(text, "lostkept"); /* The cache still has it. */
    struct disk_image *none = cut(DISK_KEEP_NONE, 0);
    uint64_t bytes;
    ck_assert_mem_eq(disk_image_bytes(none, "a", &bytes), "\0\0\0\0kept", 8);
    disk_image_destroy(none);
    disk_file_drop_cache(file);
    ck_assert_int_eq(disk_file_read(file, text, 8, 0), 8);
    ck_assert_mem_eq(text, "\0\0\0\0kept", 8);
    disk_file_close(file);
}
END_TEST

START_TEST(a_full_disk_says_so)
{
    struct disk_simulated_options options = {.seed = 1, .capacity_bytes = 1000};
    disk_close(disk);
    disk = disk_simulated_open(image, &options);
    struct disk_file *file = create("a");
    ck_assert_int_eq(disk_file_allocate(file, 600), 0);
    struct disk_file *other = create("b");
    ck_assert_int_eq(disk_file_allocate(other, 600), -ENOSPC);
    ck_assert_int_eq(disk_free_bytes(disk), 400);
    disk_file_close(file);
    disk_file_close(other);
    ck_assert_int_eq(disk_remove(disk, "a"), 0);
    ck_assert_int_eq(disk_remove(disk, "a"), 0);
    ck_assert_int_eq(disk_free_bytes(disk), 1000);
}
END_TEST

START_TEST(a_killed_process_leaves_the_cache_behind)
{
    static const struct disk_simulated_options options = {.seed = 1};
    struct disk_file *file = create("a");
    write_text(file, "x", 0);
    (void)disk_file_map(file, 1);
    disk_simulated_kill(disk);
    ck_assert(has(image, "a", "x"));
    disk = disk_simulated_open(image, &options);
    ck_assert_int_eq(disk_file_open(disk, "a", DISK_WRITE, &file), 0);
    write_text(file, "yy", 0);
    disk_file_close(file);
}
END_TEST

static Suite *disk_simulated_suite(void)
{
    Suite *suite = suite_create("storage/disk_simulated");
    TCase *cuts = tcase_create("cuts");
    tcase_add_checked_fixture(cuts, set_up, tear_down);
    tcase_add_test(cuts, what_was_written_is_read_and_a_mapping_follows);
    tcase_add_test(cuts, only_a_synced_file_with_a_synced_name_must_survive);
    tcase_add_test(cuts, a_prefix_keeps_the_first_events_and_the_past_can_be_cut_too);
    tcase_add_test(cuts, a_subset_tears_writes_at_512_bytes);
    tcase_add_test(cuts, a_rename_is_kept_or_not_as_one);
    tcase_add_test(cuts, what_a_failed_sync_lost_no_later_sync_brings_back);
    tcase_add_test(cuts, a_full_disk_says_so);
    tcase_add_test(cuts, a_killed_process_leaves_the_cache_behind);
    suite_add_tcase(suite, cuts);
    return suite;
}

TEST_MAIN(disk_simulated_suite)
