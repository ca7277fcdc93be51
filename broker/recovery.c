/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery.c - opening the shards of a store.
 */
#include "broker/recovery.h"

#include "broker/catalogue.h"
#include "broker/dead_letter.h"
#include "broker/group_retention.h"
#include "broker/groups.h"
#include "broker/repair.h"
#include "broker/shard.h"
#include "proto/base/log.h"
#include "storage/commit_log.h"
#include "storage/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first segment of a log; each next one is twice as large, up to --segment-bytes. */
#define SEGMENT_BYTES_LEAST (UINT64_C(16) << 20)

#define RECOVERY_ERROR_BYTES 512

/* Directories are named by the shard's number. */
enum { DIRECTORY_BYTES = 16 };

/* --------------------------------------------------------- what is there */

static bool is_digits(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return length > 0;
}

static bool note_shard(void *context, const char *name)
{
    uint64_t *shards = context;
    size_t length = strlen(name);
    if (is_digits(name, length) && length <= 2 && (length == 1 || name[0] != '0')) {
        unsigned long number = strtoul(name, NULL, 10);
        *shards |= number < SHARDS_MAX ? UINT64_C(1) << number : 0;
    }
    return true;
}

bool broker_count_shards(struct disk *disk, uint32_t wanted, uint32_t *count_out, char *error,
                         size_t error_bytes)
{
    uint64_t shards = 0;
    int listed = disk_list(disk, "", note_shard, &shards);
    if (listed < 0) {
        (void)snprintf(error, error_bytes, "the store cannot be read: %s", strerror(-listed));
        return false;
    }
    uint32_t count = 0;
    while (count < SHARDS_MAX && (shards >> count & 1) != 0) {
        count++;
    }
    if (count < SHARDS_MAX && shards >> count != 0) {
        (void)snprintf(error, error_bytes,
                       "shard %u of the store is missing, later ones are there; put its directory "
                       "back",
                       count);
        return false;
    }
    *count_out = count > wanted ? count : wanted;
    return true;
}

/* A log is there as soon as its first segment has its name. */
static bool note_log(void *context, const char *name)
{
    size_t length = strlen(name);
    bool is_log = length == 24 && is_digits(name, 20) && strcmp(name + 20, ".log") == 0;
    if (is_log) {
        *(bool *)context = true;
    }
    return !is_log;
}

/* ------------------------------------------------------------ one shard */

/* What opening one shard needs and found. */
struct opening {
    const struct recovery_options *options;
    struct shard *shard;
    uint64_t store_id;
    bool has_log;
    bool opened;
    struct recovery_report report;
    char error[RECOVERY_ERROR_BYTES];
};

static void open_shard(struct opening *opening)
{
    const struct broker_options *broker = opening->options->broker;
    struct shard *shard = opening->shard;
    shard->groups = groups_create(shard);
    shard->dead = dead_letters_create(shard);
    shard->retention = group_retention_create(shard);
    struct view *views[] = {&shard->catalogue->view, &shard->groups->view};
    struct commit_log_options options = {
        .disk = broker->disk,
        .reactor = shard->core->reactor,
        .shard = shard->number,
        .store_id = opening->store_id,
        .segment_bytes_least = broker->segment_bytes < SEGMENT_BYTES_LEAST ? broker->segment_bytes
                                                                           : SEGMENT_BYTES_LEAST,
        .segment_bytes_most = broker->segment_bytes,
        .retain_bytes = broker->retain_bytes,
        .views = views,
        .view_count = 2,
        .may_remove = group_retention_may_remove,
        .may_remove_owner = shard->retention,
        .failed = opening->options->log_failed,
        .owner = opening->options->log_owner,
    };
    opening->opened = commit_log_open(&shard->log, &options, &opening->report, opening->error,
                                      sizeof(opening->error));
}

static void say_found(const struct opening *opening)
{
    const struct recovery_report *report = &opening->report;
    uint32_t shard = opening->shard->number;
    if (report->fresh) {
        log_info("shard %u: a new log was made", shard);
        return;
    }
    log_info("shard %u: %" PRIu64 " records, %" PRIu64 " bytes replayed from position %" PRIu64
             " to %" PRIu64 ", %" PRIu64 " unsynced bytes cut, last epoch %u, took %" PRIu64 " ms",
             shard, report->records, report->bytes, report->snapshot_position, report->end,
             report->cut_bytes, report->epoch, report->took_ns / 1000000);
    if (report->cut_records > 0) {
        log_warn(
            "shard %u: %" PRIu64 " whole records stood behind a damaged one at position %" PRIu64
            " and were cut with it: no mark says that they were synced. After a power cut that "
            "is usual; else look at the disk",
            shard, report->cut_records, report->end);
    }
    if (report->corrupt) {
        log_error("shard %u: what was durable is damaged from position %" PRIu64 " to %" PRIu64
                  ": it serves what is whole and takes no writes; restore the store, or go on "
                  "with another one",
                  shard, report->corrupt_from, report->corrupt_to);
    }
}

/* ------------------------------------------------------------ all shards */

/* The shards of one core, one after the other: they share its reactor, which is for one thread. */
struct core_round {
    struct opening *openings;
    uint32_t shard_count;
    const struct core *core;
    bool has_thread;
    pthread_t thread;
};

static void *open_shards_of_core(void *argument)
{
    const struct core_round *round = argument;
    for (uint32_t i = 0; i < round->shard_count; i++) {
        struct opening *opening = &round->openings[i];
        if (opening->shard->core == round->core && opening->has_log) {
            open_shard(opening);
        }
    }
    return NULL;
}

/* Opens the shards whose log is there. */
static bool open_logs(const struct recovery_options *options, struct opening *openings)
{
    const struct cores *cores = options->cores;
    struct core_round rounds[CORES_MAX];
    for (uint32_t i = 0; i < cores->count; i++) {
        struct core_round *round = &rounds[i];
        *round = (struct core_round){
            .openings = openings,
            .shard_count = cores->shard_count,
            .core = cores->core[i],
        };
        round->has_thread = options->broker->recover_in_parallel && cores->count > 1 &&
                            pthread_create(&round->thread, NULL, open_shards_of_core, round) == 0;
        if (!round->has_thread) {
            (void)open_shards_of_core(round);
        }
    }
    for (uint32_t i = 0; i < cores->count; i++) {
        if (rounds[i].has_thread) {
            (void)pthread_join(rounds[i].thread, NULL);
        }
    }
    bool all_opened = true;
    for (uint32_t i = 0; i < cores->shard_count; i++) {
        all_opened = all_opened && (!openings[i].has_log || openings[i].opened);
    }
    return all_opened;
}

static bool directory_fails(uint32_t shard, int result, char *error, size_t error_bytes)
{
    (void)snprintf(error, error_bytes, "directory %u of the store cannot be used: %s", shard,
                   strerror(-result));
    return false;
}

/* Which shards have a log; nothing is made. */
static bool find_logs(struct opening *openings, uint32_t count, char *error, size_t error_bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        struct disk *disk = openings[i].options->broker->disk;
        char directory[DIRECTORY_BYTES];
        (void)snprintf(directory, sizeof(directory), "%u", i);
        int listed = disk_list(disk, directory, note_log, &openings[i].has_log);
        if (listed < 0 && listed != -ENOENT) {
            return directory_fails(i, listed, error, error_bytes);
        }
    }
    return true;
}

static bool copy_error(const struct opening *openings, uint32_t count, char *error,
                       size_t error_bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!openings[i].opened && openings[i].error[0] != '\0') {
            (void)snprintf(error, error_bytes, "shard %u: %s", i, openings[i].error);
            break;
        }
    }
    return false;
}

/* All logs that were there are parts of one store; new ones become so. */
static bool share_store_id(struct opening *openings, uint32_t count, uint64_t new_store_id,
                           char *error, size_t error_bytes)
{
    uint64_t store_id = new_store_id;
    const struct opening *first = NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (!openings[i].has_log) {
            continue;
        }
        if (first != NULL && openings[i].report.store_id != store_id) {
            (void)snprintf(error, error_bytes,
                           "shard %u is of another store than shard %u; put the right directory "
                           "back",
                           i, first->shard->number);
            return false;
        }
        first = first == NULL ? &openings[i] : first;
        store_id = openings[i].report.store_id;
    }
    for (uint32_t i = 0; i < count; i++) {
        openings[i].store_id = store_id;
    }
    return true;
}

static bool check_lost(const struct opening *openings, uint32_t count, char *error,
                       size_t error_bytes)
{
    struct catalogue *catalogues[SHARDS_MAX];
    uint64_t logs = 0;
    for (uint32_t i = 0; i < count; i++) {
        catalogues[i] = openings[i].shard->catalogue;
        logs |= openings[i].has_log ? UINT64_C(1) << i : 0;
    }
    struct repair_options options = {.catalogues = catalogues, .shard_count = count};
    return catalogues_check_lost(&options, logs, error, error_bytes);
}

/* In order and one by one, so that a crash never leaves one behind a gap: that one is lost. */
static bool make_logs(struct opening *openings, uint32_t count, char *error, size_t error_bytes)
{
    for (uint32_t i = 0; i < count; i++) {
        if (openings[i].has_log) {
            continue;
        }
        struct disk *disk = openings[i].options->broker->disk;
        char directory[DIRECTORY_BYTES];
        (void)snprintf(directory, sizeof(directory), "%u", i);
        int made = disk_make_directory(disk, directory);
        if (made == 0) {
            made = disk_sync_directory(disk, "");
        }
        if (made < 0) {
            return directory_fails(i, made, error, error_bytes);
        }
        open_shard(&openings[i]);
        if (!openings[i].opened) {
            return copy_error(openings, count, error, error_bytes);
        }
    }
    return true;
}

static bool open_all(const struct recovery_options *options, struct opening *openings, char *error,
                     size_t error_bytes)
{
    uint32_t count = options->cores->shard_count;
    uint64_t new_store_id = reactor_random(options->broker->reactors[0]);
    if (!find_logs(openings, count, error, error_bytes)) {
        return false;
    }
    if (!open_logs(options, openings)) {
        return copy_error(openings, count, error, error_bytes);
    }
    if (!share_store_id(openings, count, new_store_id, error, error_bytes) ||
        !check_lost(openings, count, error, error_bytes) ||
        !make_logs(openings, count, error, error_bytes)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        say_found(&openings[i]);
    }
    return true;
}

/* ------------------------------------------------------------------ name */

/* The store's name, wherever it is recorded; NULL in a new store. */
static const char *store_name(const struct cores *cores)
{
    for (uint32_t i = 0; i < cores->shard_count; i++) {
        const struct catalogue_setting *setting =
            catalogue_find_setting(cores->shard[i]->catalogue, CATALOGUE_SETTING_NAME);
        if (setting != NULL) {
            return setting->value;
        }
    }
    return NULL;
}

static bool check_name(const struct recovery_options *options, char *error, size_t error_bytes)
{
    const char *name = store_name(options->cores);
    if (name == NULL || strcmp(name, options->broker->name) == 0) {
        return true;
    }
    (void)snprintf(error, error_bytes,
                   "the store belongs to broker '%s', not '%s': start it with --name %s, or give "
                   "another --store",
                   name, options->broker->name, name);
    return false;
}

/* ----------------------------------------------------------------- epoch */

static bool begin_epoch(const struct recovery_options *options, const struct opening *openings,
                        struct recovery_result *result, char *error, size_t error_bytes)
{
    struct cores *cores = options->cores;
    uint32_t highest = 0;
    result->read_only = 0;
    result->took_ns = 0;
    for (uint32_t i = 0; i < cores->shard_count; i++) {
        const struct recovery_report *report = &openings[i].report;
        highest = report->epoch > highest ? report->epoch : highest;
        result->took_ns = report->took_ns > result->took_ns ? report->took_ns : result->took_ns;
        result->read_only |= report->corrupt ? UINT64_C(1) << i : 0;
    }
    result->epoch = highest + 1;
    for (uint32_t i = 0; i < cores->shard_count; i++) {
        if ((result->read_only >> i & 1) != 0) {
            continue;
        }
        char why[RECOVERY_ERROR_BYTES];
        if (!commit_log_begin_epoch(cores->shard[i]->log, result->epoch, options->broker->boot_id,
                                    why, sizeof(why))) {
            (void)snprintf(error, error_bytes, "shard %u: %s", i, why);
            return false;
        }
    }
    return true;
}

/* ---------------------------------------------------------------- repair */

static bool append_repair(void *context, uint32_t shard, struct bytes operation)
{
    const struct recovery_options *options = context;
    /* Nobody waits for it: what a crash takes of it is found missing again at the next start. */
    struct log_operation waits_for_nothing = {.done = NULL};
    return commit_log_operate(options->cores->shard[shard]->log, operation, &waits_for_nothing) ==
           OK;
}

/* Refused, it is written at the next start. */
static void record_setting(const struct recovery_options *options, const char *name,
                           const char *value)
{
    uint8_t bytes[CATALOGUE_OPERATION_BYTES_MAX];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    const struct catalogue *catalogue = options->cores->shard[0]->catalogue;
    catalogue_write_setting(&writer, name, value, catalogue->version + 1);
    (void)append_repair((void *)options, 0, writer_bytes(&writer));
}

/* Whose store it is, and how many shards it has: all are made by now, and no topic of this start is
 * in one yet. What comes later stands behind it in the same log. */
static void record_settings(const struct recovery_options *options)
{
    const struct cores *cores = options->cores;
    const struct catalogue_setting *setting =
        catalogue_find_setting(cores->shard[0]->catalogue, CATALOGUE_SETTING_SHARDS);
    if (store_name(cores) == NULL) {
        record_setting(options, CATALOGUE_SETTING_NAME, options->broker->name);
    }
    if (setting == NULL || strtoul(setting->value, NULL, 10) < cores->shard_count) {
        char count[DIRECTORY_BYTES];
        (void)snprintf(count, sizeof(count), "%u", cores->shard_count);
        record_setting(options, CATALOGUE_SETTING_SHARDS, count);
    }
}

static void found_topic(void *context, struct topic *topic)
{
    const struct recovery_options *options = context;
    options->topic(options->context, topic);
}

static void found_group(void *context, struct group *group)
{
    const struct recovery_options *options = context;
    options->group(options->context, group);
}

static void group_was_put(void *context, uint32_t shard, const struct group *group,
                          const struct group *old)
{
    const struct recovery_options *options = context;
    groups_put(options->cores->shard[shard], group, old);
}

static bool repair(const struct recovery_options *options, uint64_t read_only, char *error,
                   size_t error_bytes)
{
    struct cores *cores = options->cores;
    struct catalogue *catalogues[SHARDS_MAX];
    struct repair_options repair = {
        .catalogues = catalogues,
        .shard_count = cores->shard_count,
        .read_only = read_only,
        .append = append_repair,
        .topic = found_topic,
        .group = found_group,
        .group_put = group_was_put,
        .context = (void *)options,
    };
    for (uint32_t i = 0; i < cores->shard_count; i++) {
        catalogues[i] = cores->shard[i]->catalogue;
        catalogue_attach(catalogues[i], cores->shard[i]->log);
    }
    uint32_t appended = 0;
    if (!catalogues_repair(&repair, &appended, error, error_bytes)) {
        return false;
    }
    if (appended > 0) {
        log_info(
            "the catalogue was repaired: %u records of topics and groups written where they were "
            "missing, as after a crash or in new shards",
            appended);
    }
    if ((read_only & 1) == 0) {
        record_settings(options);
    }
    return true;
}

/* ------------------------------------------------------------------ life */

bool recovery_run(const struct recovery_options *options, struct recovery_result *result_out,
                  char *error, size_t error_bytes)
{
    struct cores *cores = options->cores;
    uint32_t count = cores->shard_count;
    struct opening *openings = calloc(count, sizeof(*openings));
    ASSERT(openings != NULL);
    for (uint32_t i = 0; i < count; i++) {
        cores->shard[i]->catalogue = catalogue_create(i, options->broker->durability);
        openings[i].options = options;
        openings[i].shard = cores->shard[i];
    }
    struct recovery_result result;
    bool done = open_all(options, openings, error, error_bytes) &&
                check_name(options, error, error_bytes) &&
                begin_epoch(options, openings, &result, error, error_bytes) &&
                repair(options, result.read_only, error, error_bytes);
    free(openings);
    if (done) {
        *result_out = result;
    }
    return done;
}

static void log_closed(void *owner)
{
    struct shard *shard = owner;
    shard->log = NULL;
}

void recovery_close(struct cores *cores)
{
    for (uint32_t i = 0; i < cores->shard_count; i++) {
        struct shard *shard = cores->shard[i];
        if (shard->log != NULL) {
            groups_stop(shard->groups);
            dead_letters_stop(shard->groups);
            group_retention_stop(shard->retention);
            commit_log_close(shard->log, log_closed, shard);
            while (shard->log != NULL) {
                reactor_run_once(shard->core->reactor, 100);
            }
        }
        group_retention_destroy(shard->retention);
        dead_letters_destroy(shard->dead);
        groups_destroy(shard->groups);
        catalogue_destroy(shard->catalogue);
        shard->retention = NULL;
        shard->dead = NULL;
        shard->groups = NULL;
        shard->catalogue = NULL;
    }
}
