/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_fresh.c - a new log: one segment that begins with the snapshot of the empty state.
 *
 * It is made as next.log and renamed when it is whole and synced, so that a segment of base 0 which
 * has its name is always complete: what a crash leaves before that is nothing.
 */

#include "proto/base/contract.h"
#include "storage/log_state.h"

#include <stdio.h>
#include <string.h>

static bool fail(char *error, size_t error_bytes, const struct commit_log *log, int result)
{
    (void)snprintf(
        error, error_bytes,
        "shard %u: a new log cannot be made: %s: free some room, or choose another store",
        log->options.shard, strerror(-result));
    return false;
}

static int give_name(struct commit_log *log)
{
    char from[LOG_PATH_BYTES];
    char to[LOG_PATH_BYTES];
    log_file_path(log, from, "next.log");
    segment_path(to, log->directory, 0, SEGMENT_LOG);
    int result = disk_file_sync(log->open->file);
    if (result == 0) {
        result = disk_rename(log->disk, from, to);
    }
    if (result == 0) {
        result = disk_sync_directory(log->disk, log->directory);
    }
    return result == 0 ? disk_sync_directory(log->disk, "") : result;
}

bool log_make_fresh(struct commit_log *log, char *error, size_t error_bytes)
{
    log->store_id = log->options.store_id;
    log_next_make(log, 0);
    if (log->next.state != NEXT_READY) {
        return fail(error, error_bytes, log, log->next.error);
    }
    log->next.state = NEXT_NONE;
    log_segment_add(log, log->next.segment);
    log->next.segment = NULL;
    log_set_time(log);
    bool is_put = log_put_segment_record(log) && snapshot_begin(log);
    while (is_put && log->snapshot.active) {
        snapshot_step(log);
        is_put = !log->fenced;
    }
    if (!is_put) {
        (void)snprintf(error, error_bytes, "%s", log->failure);
        return false;
    }
    int result = give_name(log);
    if (result < 0) {
        return fail(error, error_bytes, log, result);
    }
    log->open->named = true;
    log->synced = log->written;
    log->durable = log->written;
    log->marked_end = log->end;
    (void)snapshot_durable(log);
    return true;
}
