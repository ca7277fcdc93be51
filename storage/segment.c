/* SPDX-License-Identifier: Apache-2.0 */

/*
 * segment.c - counted segments: made, named, given back.
 */

#include "storage/segment.h"

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "storage/segment_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BASE_DIGITS = 20 };

/* ------------------------------------------------------------------ life */

struct segment *segment_create(const struct segment_owner *owner, struct disk_file *file,
                               uint64_t base)
{
    int64_t bytes = disk_file_size(file);
    const uint8_t *map = bytes <= 0 ? NULL : disk_file_map(file, (uint64_t)bytes);
    if (map == NULL) {
        return NULL;
    }
    struct segment *segment = calloc(1, sizeof(*segment));
    ASSERT(segment != NULL);
    segment->references = 1;
    segment->owner = *owner;
    segment->file = file;
    segment->map = map;
    segment->map_bytes = (uint64_t)bytes;
    segment->base = base;
    ASSERT(pthread_mutex_init(&segment->sync_mutex, NULL) == 0);
    index_init(&segment->index);
    return segment;
}

static void close_files(struct segment *segment)
{
    index_deinit(&segment->index);
    if (segment->damaged != NULL) {
        index_deinit(segment->damaged);
        free(segment->damaged);
    }
    disk_file_unmap(segment->file, segment->map, segment->map_bytes);
    disk_file_close(segment->file);
    pthread_mutex_destroy(&segment->sync_mutex);
    free(segment->cold_readers);
}

void segment_destroy(struct segment *segment)
{
    ASSERT(segment->references == 1);
    close_files(segment);
    free(segment);
}

static void close_work(struct disk_job *job)
{
    close_files(CONTAINER_OF(job, struct segment, job));
}

static void close_done(struct disk_job *job)
{
    struct segment *segment = CONTAINER_OF(job, struct segment, job);
    struct segment_owner owner = segment->owner;
    free(segment);
    owner.released(owner.owner);
}

static void last_reference_home(struct op *op, int64_t result)
{
    struct segment *segment = CONTAINER_OF(op, struct segment, op);
    (void)result;
    ASSERT(!segment->busy);
    segment->job = (struct disk_job){.work = close_work, .done = close_done};
    disk_submit(segment->owner.disk, segment->owner.reactor, DISK_WORKER_FILES, &segment->job);
}

void segment_ref(struct segment *segment)
{
    uint32_t before = atomic_fetch_add_explicit(&segment->references, 1, memory_order_relaxed);
    ASSERT(before > 0);
}

void segment_unref(struct segment *segment)
{
    uint32_t before = atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1) {
        segment->op.done = last_reference_home;
        reactor_post(segment->owner.reactor, &segment->op, 0);
    }
}

/* ------------------------------------------------------------------ sync */

int segment_sync(struct segment *segment)
{
    pthread_mutex_lock(&segment->sync_mutex);
    int result = segment->sync_error;
    if (result == 0) {
        result = disk_file_sync(segment->file);
        segment->sync_error = result;
    }
    pthread_mutex_unlock(&segment->sync_mutex);
    return result;
}

/* ---------------------------------------------------------------- asking */

const uint8_t *segment_bytes(const struct segment *segment)
{
    return segment->map;
}

bool segment_read(const struct segment *segment, uint64_t place, void *to, size_t length)
{
    return disk_file_read(segment->file, to, length, place) == (int64_t)length;
}

int segment_file(const struct segment *segment)
{
    return disk_file_descriptor(segment->file);
}

uint64_t segment_base(const struct segment *segment)
{
    return segment->base;
}

/* ----------------------------------------------------------------- names */

void segment_path(char path[SEGMENT_PATH_BYTES], const char *directory, uint64_t base,
                  enum segment_name name)
{
    static const char *const extensions[] = {
        [SEGMENT_LOG] = "log",
        [SEGMENT_INDEX] = "idx",
        [SEGMENT_INDEX_NEW] = "idx.new",
    };
    int length = snprintf(path, SEGMENT_PATH_BYTES, "%s/%0*" PRIu64 ".%s", directory, BASE_DIGITS,
                          base, extensions[name]);
    ASSERT(length < SEGMENT_PATH_BYTES);
}

bool segment_name_read(const char *name, const char *extension, uint64_t *base_out)
{
    uint64_t base = 0;
    for (int i = 0; i < BASE_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9' || __builtin_mul_overflow(base, UINT64_C(10), &base) ||
            __builtin_add_overflow(base, (uint64_t)(name[i] - '0'), &base)) {
            return false;
        }
    }
    if (name[BASE_DIGITS] != '.' || strcmp(name + BASE_DIGITS + 1, extension) != 0) {
        return false;
    }
    *base_out = base;
    return true;
}
