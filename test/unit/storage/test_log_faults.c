/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults: every call to the disk fails once, in turn, in a log's life of several rolls. Whatever
 * fails, nothing that was acknowledged is lost and nothing crashes.
 */

#include "storage/segment_file.h"
#include "test/lib/check_main.h"
#include "test/lib/log_world.h"

#include <errno.h>

enum { APPENDS = 40, LENGTH = 2600, LATER_MS = 3000, CALLS_MAX = 1000 };

static struct log_world world;
static struct produce *produces[APPENDS];
static uint32_t calls;
static uint32_t fails_at;
static int fails_with;

static int fault(void *context, enum disk_call call)
{
    (void)context;
    (void)call;
    return ++calls == fails_at ? fails_with : 0;
}

static uint64_t acknowledged(void)
{
    uint64_t next = 0;
    for (int i = 0; i < APPENDS; i++) {
        if (produces[i] != NULL && produces[i]->told > 0) {
            ck_assert_uint_eq(produces[i]->told, 1);
            next = produces[i]->append.offset + 1;
        }
    }
    return next;
}

/* A life in which the call `fails_at` fails. True if the log was opened and never fenced. */
static bool live(void)
{
    bool is_open = world_open(&world);
    if (is_open && !world_begin_epoch(&world)) {
        world_close(&world);
        is_open = false;
    }
    if (!is_open) {
        ck_assert_uint_gt(strlen(world.error), 10);
        return false;
    }
    world_put_queues(&world, LOG_DISK);
    for (int i = 0; i < APPENDS; i++) {
        enum error error;
        produces[i] = world_produce(&world, 0, 1, LENGTH, (uint64_t)i, true, &error);
        world_run(&world, 8, NULL, NULL);
    }
    world_run(&world, LATER_MS, NULL, NULL);
    bool is_whole = world.failures == 0;
    ck_assert_uint_le(world.failures, 1);
    world_close(&world);
    return is_whole;
}

static void expect(void *context, const uint8_t *record)
{
    uint64_t *next = context;
    ck_assert_uint_eq(record_offset(record), *next);
    (*next)++;
}

static void recover(struct disk_image *image)
{
    struct log_world other;
    uint64_t next = 0;
    world_init(&other, 3, image);
    ck_assert_msg(world_open(&other), "%s (call %u)", other.error, fails_at);
    ck_assert(!other.report.corrupt);
    ck_assert_int_eq(world_read_all(&other, 0, expect, &next), OK);
    ck_assert_uint_ge(next, acknowledged());
    world_deinit(&other);
}

static void fail_every_call(int with)
{
    bool has_failed = true;
    fails_with = with;
    for (fails_at = 1; fails_at < CALLS_MAX && has_failed; fails_at++) {
        calls = 0;
        world_init(&world, 1, NULL);
        world.disk_options.fault = fault;
        (void)live();
        has_failed = calls >= fails_at;
        /* The same boot, and a power cut. */
        struct disk_cut cut = {disk_image_events(world.image), DISK_KEEP_NONE, 0};
        struct disk_image *image = disk_image_cut(world.image, &cut, false);
        recover(image);
        recover(world.image);
        disk_image_destroy(image);
        world_deinit(&world);
        for (int i = 0; i < APPENDS; i++) {
            if (produces[i] != NULL) {
                produce_free(produces[i]);
                produces[i] = NULL;
            }
        }
    }
    ck_assert(!has_failed);
    ck_assert_uint_gt(fails_at, 60);
}

START_TEST(nothing_acknowledged_is_lost_whichever_call_fails_with_an_input_output_error)
{
    fail_every_call(-EIO);
}
END_TEST

START_TEST(nothing_acknowledged_is_lost_whichever_call_finds_the_disk_full)
{
    fail_every_call(-ENOSPC);
}
END_TEST

static int every_second_sync_fault(void *context, enum disk_call call)
{
    uint32_t *syncs = context;
    return call == DISK_CALL_SYNC && ++*syncs % 2 == 1 ? -EIO : 0;
}

/* As the kernel does, which tells it once: the next sync would look good. */
START_TEST(a_segment_whose_sync_has_failed_is_never_synced_again)
{
    uint32_t syncs = 0;
    struct disk_image *image = disk_image_create(false);
    const struct disk_simulated_options options = {.fault = every_second_sync_fault,
                                                   .fault_context = &syncs};
    struct disk *disk = disk_simulated_open(image, &options);
    struct disk_file *file;
    ck_assert_int_eq(disk_file_open(disk, "segment", DISK_CREATE, &file), 0);
    ck_assert_int_eq(disk_file_allocate(file, SEGMENT_BYTES_LEAST), 0);
    struct segment_owner owner = {.disk = disk};
    struct segment *segment = segment_create(&owner, file, 0);
    ck_assert_ptr_nonnull(segment);
    ck_assert_int_eq(segment_sync(segment), -EIO);
    ck_assert_int_eq(segment_sync(segment), -EIO);
    ck_assert_uint_eq(syncs, 1);
    segment_destroy(segment);
    disk_close(disk);
    disk_image_destroy(image);
}
END_TEST

static Suite *log_faults_suite(void)
{
    Suite *suite = suite_create("storage/log_faults");
    TCase *faults = tcase_create("faults");
    tcase_set_timeout(faults, 100);
    tcase_add_test(faults,
                   nothing_acknowledged_is_lost_whichever_call_fails_with_an_input_output_error);
    tcase_add_test(faults, nothing_acknowledged_is_lost_whichever_call_finds_the_disk_full);
    tcase_add_test(faults, a_segment_whose_sync_has_failed_is_never_synced_again);
    suite_add_tcase(suite, faults);
    return suite;
}

TEST_MAIN(log_faults_suite)
