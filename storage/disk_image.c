/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk_image.c - files in memory, the events that made them, and what a power cut leaves of those.
 */

#include "storage/disk_image.h"

#include "proto/base/contract.h"
#include "proto/base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SECTOR_BYTES = 512,
    NAMES_LEAST = 16,
    EVENTS_LEAST = 64,
    FILE_BYTES_LEAST = 4096,
    DIRECTORIES_MAX = 16
};

/* ---------------------------------------------------------------- events */

static char *copy_path(const char *path)
{
    char *copy = strdup(path);
    ASSERT(copy != NULL);
    return copy;
}

static void note(struct disk_image *image, struct image_event event)
{
    if (!image->remembers) {
        return;
    }
    if (image->event_count == image->event_capacity) {
        image->event_capacity =
            image->event_capacity == 0 ? EVENTS_LEAST : image->event_capacity * 2;
        image->events = realloc(image->events, image->event_capacity * sizeof(*image->events));
        ASSERT(image->events != NULL);
    }
    image->events[image->event_count++] = event;
}

static void note_path(struct disk_image *image, enum disk_event_kind kind, uint32_t file,
                      const char *path, const char *to)
{
    if (image->remembers) {
        note(image, (struct image_event){.kind = kind,
                                         .file = file,
                                         .path = copy_path(path),
                                         .to = to == NULL ? NULL : copy_path(to)});
    }
}

uint64_t disk_image_events(const struct disk_image *image)
{
    return image->event_count;
}

enum disk_event_kind disk_image_event_kind(const struct disk_image *image, uint64_t event)
{
    ASSERT(event < image->event_count);
    return image->events[event].kind;
}

/* ------------------------------------------------------------------ life */

struct disk_image *disk_image_create(bool remembers)
{
    struct disk_image *image = calloc(1, sizeof(*image));
    ASSERT(image != NULL);
    image->remembers = remembers;
    return image;
}

void disk_image_destroy(struct disk_image *image)
{
    ASSERT(!image->is_open);
    for (uint32_t i = 0; i < image->name_count; i++) {
        image_file_unref(image->names[i].file);
    }
    for (uint32_t i = 0; i < image->directory_count; i++) {
        free(image->directories[i]);
    }
    for (uint64_t i = 0; i < image->event_count; i++) {
        free(image->events[i].bytes);
        free(image->events[i].path);
        free(image->events[i].to);
    }
    free(image->names);
    free(image->directories);
    free(image->events);
    free(image);
}

/* ----------------------------------------------------------------- files */

static struct image_file *make_file(struct disk_image *image)
{
    struct image_file *file = calloc(1, sizeof(*file));
    ASSERT(file != NULL);
    file->image = image;
    file->number = image->file_count++;
    return file;
}

void image_file_ref(struct image_file *file)
{
    file->references++;
}

void image_file_unref(struct image_file *file)
{
    if (--file->references == 0) {
        ASSERT(file->maps == 0);
        free(file->bytes);
        free(file);
    }
}

static void set_size(struct image_file *file, uint64_t size)
{
    if (size <= file->size) {
        return;
    }
    if (size > file->capacity) {
        ASSERT(file->maps == 0); /* The mapping could not follow. */
        uint64_t doubled = file->capacity * 2;
        file->capacity = size > doubled ? size : doubled;
        file->capacity = file->capacity < FILE_BYTES_LEAST ? FILE_BYTES_LEAST : file->capacity;
        file->bytes = realloc(file->bytes, file->capacity);
        ASSERT(file->bytes != NULL);
    }
    memset(file->bytes + file->size, 0, size - file->size);
    file->size = size;
}

static void put_bytes(struct image_file *file, uint64_t offset, const uint8_t *bytes,
                      uint64_t length)
{
    set_size(file, offset + length);
    if (bytes == NULL) {
        memset(file->bytes + offset, 0, length);
    } else {
        memcpy(file->bytes + offset, bytes, length);
    }
}

void image_allocate(struct image_file *file, uint64_t bytes)
{
    set_size(file, bytes);
    note(file->image,
         (struct image_event){.kind = DISK_EVENT_ALLOCATE, .file = file->number, .length = bytes});
}

static void note_write(struct image_file *file, uint64_t offset, const uint8_t *bytes,
                       uint64_t length)
{
    if (file->image->remembers) {
        uint8_t *copy = malloc(length);
        ASSERT(copy != NULL);
        memcpy(copy, bytes, length);
        note(file->image, (struct image_event){.kind = DISK_EVENT_WRITE,
                                               .file = file->number,
                                               .offset = offset,
                                               .length = length,
                                               .bytes = copy});
    }
}

void image_write(struct image_file *file, uint64_t offset, const uint8_t *bytes, uint64_t length)
{
    put_bytes(file, offset, bytes, length);
    note_write(file, offset, bytes, length);
}

void image_zero(struct image_file *file, uint64_t offset, uint64_t bytes)
{
    put_bytes(file, offset, NULL, bytes);
    note(file->image,
         (struct image_event){
             .kind = DISK_EVENT_ZERO, .file = file->number, .offset = offset, .length = bytes});
}

static bool is_data(const struct image_event *event)
{
    return event->kind == DISK_EVENT_WRITE || event->kind == DISK_EVENT_ZERO ||
           event->kind == DISK_EVENT_ALLOCATE;
}

void image_sync(struct image_file *file, bool succeeds)
{
    struct disk_image *image = file->image;
    if (succeeds) {
        note(image, (struct image_event){.kind = DISK_EVENT_SYNC, .file = file->number});
        return;
    }
    for (uint64_t i = image->event_count; i > 0; i--) {
        struct image_event *event = &image->events[i - 1];
        if (event->file == file->number && event->kind == DISK_EVENT_SYNC) {
            break;
        }
        event->is_lost |= event->file == file->number && is_data(event);
    }
}

static void apply_data(struct image_file *file, const struct image_event *event)
{
    if (event->kind == DISK_EVENT_ALLOCATE) {
        set_size(file, event->length);
    } else {
        put_bytes(file, event->offset, event->bytes, event->length);
    }
}

void image_drop_cache(struct image_file *file)
{
    struct disk_image *image = file->image;
    bool has_lost = false;
    for (uint64_t i = 0; i < image->event_count; i++) {
        has_lost |= image->events[i].is_lost && image->events[i].file == file->number;
    }
    if (!has_lost) {
        return;
    }
    memset(file->bytes, 0, file->size);
    for (uint64_t i = 0; i < image->event_count; i++) {
        const struct image_event *event = &image->events[i];
        if (event->file == file->number && is_data(event) && !event->is_lost) {
            apply_data(file, event);
        }
    }
}

/* ----------------------------------------------------------- directories */

static uint32_t name_number(const struct disk_image *image, const char *path)
{
    uint32_t i = 0;
    while (i < image->name_count && strcmp(image->names[i].path, path) != 0) {
        i++;
    }
    return i;
}

struct image_file *image_find(struct disk_image *image, const char *path)
{
    uint32_t i = name_number(image, path);
    return i < image->name_count ? image->names[i].file : NULL;
}

static void drop_name(struct disk_image *image, const char *path)
{
    uint32_t i = name_number(image, path);
    if (i < image->name_count) {
        image_file_unref(image->names[i].file);
        image->names[i] = image->names[--image->name_count];
    }
}

/* Takes a reference. */
static void set_name(struct disk_image *image, const char *path, struct image_file *file)
{
    image_file_ref(file);
    drop_name(image, path);
    if (image->name_count == image->name_capacity) {
        image->name_capacity = image->name_capacity == 0 ? NAMES_LEAST : image->name_capacity * 2;
        image->names = realloc(image->names, image->name_capacity * sizeof(*image->names));
        ASSERT(image->names != NULL);
    }
    struct image_name *name = &image->names[image->name_count++];
    ASSERT(strlen(path) < sizeof(name->path));
    (void)snprintf(name->path, sizeof(name->path), "%s", path);
    name->file = file;
}

struct image_file *image_create_file(struct disk_image *image, const char *path)
{
    struct image_file *file = make_file(image);
    set_name(image, path, file);
    note_path(image, DISK_EVENT_CREATE, file->number, path, NULL);
    return file;
}

static bool has_directory(const struct disk_image *image, const char *path)
{
    for (uint32_t i = 0; i < image->directory_count; i++) {
        if (strcmp(image->directories[i], path) == 0) {
            return true;
        }
    }
    return false;
}

static void add_directory(struct disk_image *image, const char *path)
{
    if (!has_directory(image, path)) {
        image->directories =
            realloc(image->directories, (image->directory_count + 1) * sizeof(*image->directories));
        ASSERT(image->directories != NULL);
        image->directories[image->directory_count++] = copy_path(path);
    }
}

void image_make_directory(struct disk_image *image, const char *path)
{
    if (!has_directory(image, path)) {
        add_directory(image, path);
        note_path(image, DISK_EVENT_MAKE_DIRECTORY, UINT32_MAX, path, NULL);
    }
}

bool image_rename(struct disk_image *image, const char *from, const char *to)
{
    struct image_file *file = image_find(image, from);
    if (file == NULL) {
        return false;
    }
    set_name(image, to, file);
    drop_name(image, from);
    note_path(image, DISK_EVENT_RENAME, file->number, from, to);
    return true;
}

void image_remove(struct disk_image *image, const char *path)
{
    if (image_find(image, path) != NULL) {
        drop_name(image, path);
        note_path(image, DISK_EVENT_REMOVE, UINT32_MAX, path, NULL);
    }
}

void image_sync_directory(struct disk_image *image, const char *path)
{
    note_path(image, DISK_EVENT_SYNC_DIRECTORY, UINT32_MAX, path, NULL);
}

/* The part of `path` behind `directory` and a slash, if it lies in it; "" is the top. */
static const char *name_in(const char *path, const char *directory)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - path);
    bool is_in = strlen(directory) == length && strncmp(path, directory, length) == 0;
    return !is_in ? NULL : slash == NULL ? path : slash + 1;
}

int image_list(struct disk_image *image, const char *path,
               bool (*each)(void *context, const char *name), void *context)
{
    for (uint32_t i = 0; i < image->name_count; i++) {
        const char *name = name_in(image->names[i].path, path);
        if (name != NULL && !each(context, name)) {
            return 0;
        }
    }
    for (uint32_t i = 0; i < image->directory_count; i++) {
        const char *name = name_in(image->directories[i], path);
        if (name != NULL && name[0] != '\0' && !each(context, name)) {
            return 0;
        }
    }
    return 0;
}

uint64_t image_bytes(const struct disk_image *image)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < image->name_count; i++) {
        bytes += image->names[i].file->size;
    }
    return bytes;
}

/* --------------------------------------------------------------- the cut */

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
        if (name_in(path, syncs->directories[i]) != NULL) {
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
        } else if (is_data(event)) {
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
        set_size(file, random_below(random, event->length + 1));
        return;
    }
    uint64_t at = event->offset;
    uint64_t end = event->offset + event->length;
    while (at < end) {
        uint64_t sector_end = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        uint64_t now = (sector_end < end ? sector_end : end) - at;
        if (random_below(random, 2) == 0) {
            put_bytes(file, at, event->bytes == NULL ? NULL : event->bytes + (at - event->offset),
                      now);
        }
        at += now;
    }
}

static void apply_name(struct disk_image *image, const struct image_event *event,
                       struct image_file **files)
{
    switch (event->kind) {
    case DISK_EVENT_CREATE:
        set_name(image, event->path, files[event->file]);
        break;
    case DISK_EVENT_RENAME:
        set_name(image, event->to, files[event->file]);
        if (image_find(image, event->path) == files[event->file]) {
            drop_name(image, event->path);
        }
        break;
    case DISK_EVENT_REMOVE:
        drop_name(image, event->path);
        break;
    case DISK_EVENT_MAKE_DIRECTORY:
        add_directory(image, event->path);
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
        if (slash != NULL && !has_directory(image, directory)) {
            drop_name(image, path);
        }
    }
}

/* Where the new image remembers, what it starts with counts as synced. */
static void note_start(struct disk_image *image)
{
    for (uint32_t i = 0; i < image->directory_count; i++) {
        note_path(image, DISK_EVENT_MAKE_DIRECTORY, UINT32_MAX, image->directories[i], NULL);
    }
    for (uint32_t i = 0; i < image->name_count; i++) {
        struct image_file *file = image->names[i].file;
        note_path(image, DISK_EVENT_CREATE, file->number, image->names[i].path, NULL);
        if (file->size > 0) {
            note_write(file, 0, file->bytes, file->size);
        }
        image_sync(file, true);
    }
    for (uint32_t i = 0; i < image->directory_count; i++) {
        image_sync_directory(image, image->directories[i]);
    }
    image_sync_directory(image, "");
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
        files[i] = make_file(left);
        image_file_ref(files[i]);
    }
    for (uint64_t i = 0; i < cut->events; i++) {
        const struct image_event *event = &image->events[i];
        if (is_sync(event)) {
            continue;
        }
        enum part part = covered[i] ? PART_ALL : choose(cut, unsynced++, &random);
        if (part == PART_TORN && is_data(event)) {
            apply_torn(files[event->file], event, &random);
        } else if (part != PART_NONE && is_data(event)) {
            apply_data(files[event->file], event);
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
    note_start(left);
    return left;
}

/* --------------------------------------------------------------- looking */

uint8_t *disk_image_bytes(struct disk_image *image, const char *path, uint64_t *bytes_out)
{
    struct image_file *file = image_find(image, path);
    if (file == NULL) {
        return NULL;
    }
    *bytes_out = file->size;
    return file->bytes;
}

void disk_image_put(struct disk_image *image, const char *path, const void *bytes, size_t length)
{
    const char *slash = strrchr(path, '/');
    char directory[IMAGE_NAME_BYTES] = "";
    if (slash != NULL) {
        memcpy(directory, path, (size_t)(slash - path));
        image_make_directory(image, directory);
        image_sync_directory(image, "");
    }
    struct image_file *file = image_create_file(image, path);
    if (length > 0) {
        image_write(file, 0, bytes, length);
    }
    image_sync(file, true);
    image_sync_directory(image, directory);
}
