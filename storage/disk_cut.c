/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk_cut.c - what a power cut leaves of an image.
 */

#include "proto/base/contract.h"
#include "proto/base/random.h"
#include "storage/disk_image.h"

#include <stdlib.h>
#include <string.h>

enum { SECTOR_BYTES = 512, DIRECTORIES_MAX = 16 };

static bool is_sync(const struct image_event *event)
{
    return event->kind == DISK_EVENT_SYNC || event->kind == DISK_EVENT_SYNC_DIRECTORY;
}

/* Syncs seen while walking back from the cut. */
struct syncs {
    bool *files;
    const char *directories[DIRECTORIES_MAX];
    uint32_t directory_count;
};

static bool is_name_synced(const struct syncs *syncs, const char *path)
{
    for (uint32_t i = 0; i < syncs->directory_count; i++) {
        if (image_name_in(path, syncs->directories[i]) != NULL) {
            return true;
        }
    }
    return false;
}

static void note_sync(struct syncs *syncs, const struct image_event *sync)
{
    if (sync->kind == DISK_EVENT_SYNC) {
        syncs->files[sync->file] = true;
        return;
    }
    for (uint32_t i = 0; i < syncs->directory_count; i++) {
        if (strcmp(syncs->directories[i], sync->path) == 0) {
            return;
        }
    }
    ASSERT(syncs->directory_count < DIRECTORIES_MAX);
    syncs->directories[syncs->directory_count++] = sync->path;
}

/* An array of the first `events`: whether a later sync among them covers it. */
static bool *find_covered(const struct disk_image *image, uint64_t events)
{
    struct syncs syncs = {.files = calloc(image->file_count + 1, sizeof(bool))};
    bool *covered = calloc(events + 1, sizeof(bool));
    ASSERT(syncs.files != NULL && covered != NULL);
    for (uint64_t i = events; i > 0; i--) {
        const struct image_event *event = &image->events[i - 1];
        if (is_sync(event)) {
            note_sync(&syncs, event);
        } else if (image_event_is_data(event)) {
            covered[i - 1] = syncs.files[event->file] && !event->is_lost;
        } else {
            covered[i - 1] = is_name_synced(&syncs, event->path);
        }
    }
    free(syncs.files);
    return covered;
}

uint64_t disk_image_unsynced(const struct disk_image *image, uint64_t events)
{
    bool *covered = find_covered(image, events);
    uint64_t count = 0;
    for (uint64_t i = 0; i < events; i++) {
        count += !is_sync(&image->events[i]) && !covered[i];
    }
    free(covered);
    return count;
}

enum part { PART_NONE, PART_ALL, PART_TORN };

/* What the cut keeps of the next event that was not synced. */
static enum part choose(const struct disk_cut *cut, uint64_t number, struct random *random)
{
    switch (cut->keep) {
    case DISK_KEEP_NONE:
        return PART_NONE;
    case DISK_KEEP_ALL:
        return PART_ALL;
    case DISK_KEEP_PREFIX:
        return number < cut->number ? PART_ALL : PART_NONE;
    case DISK_KEEP_SUBSET:
        return (enum part)random_below(random, 3);
    }
    UNREACHABLE("a cut keeps something");
}

static void apply_torn(struct image_file *file, const struct image_event *event,
                       struct random *random)
{
    if (event->kind == DISK_EVENT_ALLOCATE) {
        image_set_size(file, random_below(random, event->length + 1));
        return;
    }
    uint64_t at = event->offset;
    uint64_t end = event->offset + event->length;
    while (at < end) {
        uint64_t sector_end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        uint64_t now = (sector_end < end ? sector_end : end) - at;
        if (random_below(random, 2) == 0) {
            image_put_bytes(file, at,
                            event->bytes == NULL ? NULL : event->bytes + (at - event->offset), now);
        }
        at += now;
    }
}

static void apply_name(struct disk_image *image, const struct image_event *event,
                       struct image_file **files)
{
    switch (event->kind) {
    case DISK_EVENT_CREATE:
        image_set_name(image, event->path, files[event->file]);
        break;
    case DISK_EVENT_RENAME:
        image_set_name(image, event->to, files[event->file]);
        if (image_find(image, event->path) == files[event->file]) {
            image_drop_name(image, event->path);
        }
        break;
    case DISK_EVENT_REMOVE:
        image_drop_name(image, event->path);
        break;
    case DISK_EVENT_MAKE_DIRECTORY:
        image_add_directory(image, event->path);
        break;
    default:
        break;
    }
}

/* A file whose directory was not kept is not there. */
static void drop_homeless(struct disk_image *image)
{
    for (uint32_t i = image->name_count; i > 0; i--) {
        const char *path = image->names[i - 1].path;
        const char *slash = strrchr(path, '/');
        char directory[IMAGE_NAME_BYTES] = "";
        if (slash != NULL) {
            memcpy(directory, path, (size_t)(slash - path));
        }
        if (slash != NULL && !image_has_directory(image, directory)) {
            image_drop_name(image, path);
        }
    }
}

struct disk_image *disk_image_cut(const struct disk_image *image, const struct disk_cut *cut,
                                  bool remembers)
{
    ASSERT(image->remembers && cut->events <= image->event_count);
    struct disk_image *left = disk_image_create(false);
    struct image_file **files = calloc(image->file_count + 1, sizeof(struct image_file *));
    struct random random;
    bool *covered = find_covered(image, cut->events);
    uint64_t unsynced = 0;
    ASSERT(files != NULL);
    random_init(&random, cut->number);
    for (uint32_t i = 0; i < image->file_count; i++) {
        files[i] = image_make_file(left);
        image_file_ref(files[i]);
    }
    for (uint64_t i = 0; i < cut->events; i++) {
        const struct image_event *event = &image->events[i];
        if (is_sync(event)) {
            continue;
        }
        enum part part = covered[i] ? PART_ALL : choose(cut, unsynced++, &random);
        if (part == PART_TORN && image_event_is_data(event)) {
            apply_torn(files[event->file], event, &random);
        } else if (part != PART_NONE && image_event_is_data(event)) {
            image_apply(files[event->file], event);
        } else if (part != PART_NONE) {
            apply_name(left, event, files);
        }
    }
    for (uint32_t i = 0; i < image->file_count; i++) {
        image_file_unref(files[i]);
    }
    free(files);
    free(covered);
    drop_homeless(left);
    left->remembers = remembers;
    image_note_start(left);
    return left;
}
