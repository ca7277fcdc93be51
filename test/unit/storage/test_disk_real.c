/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of storage/disk_real.c and disk_workers.c, and one of a log on them.
 */

#include "net/reactor.h"
#include "proto/base/contract.h"
#include "proto/base/crc32c.h"
#include "storage/commit_log.h"
#include "storage/disk.h"
#include "test/lib/check_main.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ERROR_BYTES = 300, PATH_BYTES = 128, JOBS = 50, MESSAGES = 2000, BODY_BYTES = 700 };

static char folder[PATH_BYTES];
static char path[PATH_BYTES + 32];
static char error[ERROR_BYTES];
static struct disk *disk;
static struct reactor *reactor;

static void set_up(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/test_disk_real.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/deep/store", folder);
    ck_assert_msg(disk_open(&disk, path, error, sizeof(error)), "%s", error);
    reactor = reactor_create_epoll(4 << 20);
    ck_assert_ptr_nonnull(reactor);
}

static void tear_down(void)
{
    char command[PATH_BYTES + 16];
    if (disk != NULL) {
        disk_close(disk);
    }
    reactor_destroy(reactor);
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

START_TEST(a_second_opener_is_told_who_has_the_store)
{
    struct disk *second = NULL;
    char pid[32];
    ck_assert(!disk_open(&second, path, error, sizeof(error)));
    (void)snprintf(pid, sizeof(pid), "process %ld", (long)getpid());
    ck_assert_ptr_nonnull(strstr(error, path));
    ck_assert_ptr_nonnull(strstr(error, pid));
    disk_close(disk);
    ck_assert(disk_open(&disk, path, error, sizeof(error)));
}
END_TEST

START_TEST(a_path_that_cannot_be_made_is_one_line_that_names_it)
{
    struct disk *other = NULL;
    ck_assert(!disk_open(&other, "/proc/no/such", error, sizeof(error)));
    ck_assert_ptr_nonnull(strstr(error, "/proc/no"));
    ck_assert(!disk_open(&other, "", error, sizeof(error)));
    ck_assert_ptr_nonnull(strstr(error, "empty"));
    ck_assert(!disk_open_to_read(&other, "/tmp/there/is/nothing", error, sizeof(error)));
    ck_assert_ptr_nonnull(strstr(error, "/tmp/there/is/nothing"));
}
END_TEST

START_TEST(files_keep_what_the_header_promises)
{
    struct disk_file *file;
    struct disk_file *again;
    char text[16] = "";
    ck_assert_int_eq(disk_make_directory(disk, "0"), 0);
    ck_assert_int_eq(disk_make_directory(disk, "0"), 0);
    ck_assert_int_eq(disk_file_open(disk, "0/a", DISK_WRITE, &file), -ENOENT);
    ck_assert_int_eq(disk_file_open(disk, "0/a", DISK_CREATE, &file), 0);
    ck_assert_int_eq(disk_file_open(disk, "0/a", DISK_CREATE, &again), -EEXIST);
    ck_assert_int_eq(disk_file_allocate(file, 10000), 0);
    ck_assert_int_eq(disk_file_size(file), 10000);
    const uint8_t *map = disk_file_map(file, 10000);
    ck_assert_ptr_nonnull(map);
    char hello[] = "hello";
    struct iovec iov[2] = {{.iov_base = hello, .iov_len = 3},
                           {.iov_base = hello + 3, .iov_len = 2}};
    ck_assert_int_eq(disk_file_write(file, iov, 2, 4094), 0);
    ck_assert_mem_eq(map + 4094, "hello", 5);
    ck_assert_int_eq(disk_file_sync(file), 0);
    disk_file_drop_cache(file);
    ck_assert_int_eq(disk_file_read(file, text, 5, 4094), 5);
    ck_assert_str_eq(text, "hello");
    ck_assert_int_eq(disk_file_read(file, text, 16, 9990), 10);
    ck_assert_int_eq(disk_file_zero(file, 4095, 3), 0);
    ck_assert_mem_eq(map + 4094, "h\0\0\0o", 5);
    ck_assert_int_eq(disk_file_size(file), 10000);
    ck_assert_int_ge(disk_file_descriptor(file), 0);
    ck_assert_int_eq(disk_rename(disk, "0/a", "0/b"), 0);
    ck_assert_int_eq(disk_sync_directory(disk, "0"), 0);
    ck_assert_int_eq(disk_sync_directory(disk, ""), 0);
    ck_assert_int_eq(disk_remove(disk, "0/b"), 0);
    ck_assert_int_eq(disk_remove(disk, "0/b"), 0);
    ck_assert_int_eq(map[4094], 'h'); /* As long as it is mapped. */
    disk_file_unmap(file, map, 10000);
    disk_file_close(file);
    ck_assert_int_gt(disk_free_bytes(disk), 0);
}
END_TEST

static bool count_name(void *context, const char *name)
{
    ck_assert(strcmp(name, "a") == 0 || strcmp(name, "b") == 0);
    (*(int *)context)++;
    return true;
}

START_TEST(a_directory_lists_its_names)
{
    struct disk_file *file;
    int count = 0;
    ck_assert_int_eq(disk_make_directory(disk, "0"), 0);
    ck_assert_int_eq(disk_file_open(disk, "0/a", DISK_CREATE, &file), 0);
    disk_file_close(file);
    ck_assert_int_eq(disk_file_open(disk, "0/b", DISK_CREATE, &file), 0);
    disk_file_close(file);
    ck_assert_int_eq(disk_list(disk, "0", count_name, &count), 0);
    ck_assert_int_eq(count, 2);
    ck_assert_int_eq(disk_list(disk, "none", count_name, &count), -ENOENT);
}
END_TEST

START_TEST(a_disk_opened_to_read_takes_no_lock_and_refuses_every_write)
{
    struct disk *reader;
    struct disk_file *file;
    ck_assert_int_eq(disk_file_open(disk, "a", DISK_CREATE, &file), 0);
    disk_file_close(file);
    ck_assert(disk_open_to_read(&reader, path, error, sizeof(error)));
    ck_assert_int_eq(disk_file_open(reader, "a", DISK_WRITE, &file), -EROFS);
    ck_assert_int_eq(disk_file_open(reader, "b", DISK_CREATE, &file), -EROFS);
    ck_assert_int_eq(disk_make_directory(reader, "d"), -EROFS);
    ck_assert_int_eq(disk_rename(reader, "a", "b"), -EROFS);
    ck_assert_int_eq(disk_remove(reader, "a"), -EROFS);
    ck_assert_int_eq(disk_file_open(reader, "a", DISK_READ, &file), 0);
    disk_file_close(file);
    disk_close(reader);
}
END_TEST

START_TEST(a_limit_of_file_sizes_is_an_error_and_not_a_kill)
{
    struct disk_file *file;
    struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
    ck_assert_int_eq(disk_file_open(disk, "a", DISK_CREATE, &file), 0);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    char byte = 'x';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    ck_assert_int_eq(disk_file_write(file, &iov, 1, 8192), -EFBIG);
    disk_file_close(file);
}
END_TEST

struct counted_job {
    struct disk_job job;
    int number;
};

static int works;
static int dones;

static void count_work(struct disk_job *job)
{
    ck_assert_int_eq(works, ((struct counted_job *)job)->number);
    works++;
}

static void count_done(struct disk_job *job)
{
    ck_assert(!job->in_flight);
    ck_assert_int_eq(dones, ((struct counted_job *)job)->number);
    dones++;
}

START_TEST(jobs_of_a_worker_run_in_order_and_come_home_to_the_loop)
{
    static struct counted_job jobs[JOBS];
    for (int i = 0; i < JOBS; i++) {
        jobs[i] =
            (struct counted_job){.job = {.work = count_work, .done = count_done}, .number = i};
        disk_submit(disk, reactor, DISK_WORKER_FILES, &jobs[i].job);
    }
    ck_assert_int_eq(dones, 0);
    while (dones < JOBS) {
        reactor_run_once(reactor, -1);
    }
    ck_assert_int_eq(works, JOBS);
}
END_TEST

/* ----------------------------------------------------------------- a log */

static bool is_closed;
static uint32_t told;

static void closed(void *owner)
{
    (void)owner;
    is_closed = true;
}

static void append_done(struct append *append)
{
    (void)append;
    told++;
}

static struct commit_log *open_log(struct recovery_report *report)
{
    struct commit_log *log;
    static const uint8_t boot_id[16] = {1};
    struct commit_log_options options = {
        .disk = disk,
        .reactor = reactor,
        .store_id = 7,
        .segment_bytes_least = 128 * 1024,
        .segment_bytes_most = 128 * 1024,
    };
    ck_assert_msg(commit_log_open(&log, &options, report, error, sizeof(error)), "%s", error);
    ck_assert_msg(commit_log_begin_epoch(log, report->epoch + 1, boot_id, error, sizeof(error)),
                  "%s", error);
    commit_log_queue_put(log, 1, 0, LOG_DISK);
    return log;
}

static void close_log(struct commit_log *log)
{
    is_closed = false;
    commit_log_close(log, closed, NULL);
    while (!is_closed) {
        reactor_run_once(reactor, -1);
    }
}

START_TEST(a_log_on_a_real_disk_rolls_and_is_there_again)
{
    static struct append appends[MESSAGES];
    static uint8_t body[BODY_BYTES] = {0xc5};
    struct recovery_report report;
    store_u16(body + 1, BODY_BYTES - 3);
    struct append_message message = {
        .bytes = body, .length = BODY_BYTES, .crc = crc32c(body, BODY_BYTES)};
    struct commit_log *log = open_log(&report);
    ck_assert(report.fresh);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        appends[i] = (struct append){.done = append_done,
                                     .queue = commit_log_queue_find(log, 1, 0),
                                     .messages = &message,
                                     .count = 1,
                                     .wait_durable = true};
        ck_assert_int_eq(commit_log_append(log, &appends[i]), OK);
        if (i % 20 == 19) {
            reactor_run_once(reactor, 0);
        }
    }
    while (told < MESSAGES) {
        reactor_run_once(reactor, -1);
    }
    struct commit_log_counters counters;
    commit_log_counters(log, &counters);
    ck_assert_uint_gt(counters.rolls, 5);
    uint64_t hash = commit_log_hash(log);
    close_log(log);

    struct commit_log *again = open_log(&report);
    ck_assert(!report.fresh && !report.corrupt);
    ck_assert_uint_eq(report.cut_bytes, 0);
    ck_assert_uint_ne(commit_log_hash(again), hash); /* An epoch more. */
    struct queue *queue = commit_log_queue_find(again, 1, 0);
    ck_assert_uint_eq(queue_state(queue).visible, MESSAGES);
    struct run_list list;
    ck_assert_int_eq(
        commit_log_read(again, queue, &(struct read_limits){0, MESSAGES, 16 << 20, false}, &list),
        OK);
    ck_assert_uint_eq(list.messages, MESSAGES);
    ck_assert_int_ge(segment_file(list.runs[0].segment), 0);
    for (uint32_t i = 0; i < list.count; i++) {
        segment_unref(list.runs[i].segment);
    }
    close_log(again);
}
END_TEST

static Suite *disk_real_suite(void)
{
    Suite *suite = suite_create("storage/disk_real");
    TCase *files = tcase_create("files");
    tcase_add_checked_fixture(files, set_up, tear_down);
    tcase_add_test(files, a_second_opener_is_told_who_has_the_store);
    tcase_add_test(files, a_path_that_cannot_be_made_is_one_line_that_names_it);
    tcase_add_test(files, files_keep_what_the_header_promises);
    tcase_add_test(files, a_directory_lists_its_names);
    tcase_add_test(files, a_disk_opened_to_read_takes_no_lock_and_refuses_every_write);
    tcase_add_test(files, a_limit_of_file_sizes_is_an_error_and_not_a_kill);
    tcase_add_test(files, jobs_of_a_worker_run_in_order_and_come_home_to_the_loop);
    tcase_add_test(files, a_log_on_a_real_disk_rolls_and_is_there_again);
    suite_add_tcase(suite, files);
    return suite;
}

TEST_MAIN(disk_real_suite)
