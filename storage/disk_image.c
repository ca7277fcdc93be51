/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk_image.c - files in memory, and the events that made them.
 */

#include "storage/disk_image.h"

#include "proto/base/contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_LEAST = 16, EVENTS_LEAST = 64, FILE_BYTES_LEAST = 4096 };

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

struct image_file *image_make_file(struct disk_image *image)
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
        free(file->cold);
        free(file);
    }
}

void image_set_size(struct image_file *file, uint64_t size)
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

void image_put_bytes(struct image_file *file, uint64_t offset, const uint8_t *bytes,
                     uint64_t length)
{
    image_set_size(file, offset + length);
    if (bytes == NULL) {
        memset(file->bytes + offset, 0, length);
    } else {
        memcpy(file->bytes + offset, bytes, length);
    }
    image_cache_fill(file, offset, length);
}

void image_allocate(struct image_file *file, uint64_t bytes)
{
    image_set_size(file, bytes);
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
    image_put_bytes(file, offset, bytes, length);
    note_write(file, offset, bytes, length);
}

void image_zero(struct image_file *file, uint64_t offset, uint64_t bytes)
{
    image_put_bytes(file, offset, NULL, bytes);
    note(file->image,
         (struct image_event){
             .kind = DISK_EVENT_ZERO, .file = file->number, .offset = offset, .length = bytes});
}

bool image_event_is_data(const struct image_event *event)
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
        event->is_lost |= event->file == file->number && image_event_is_data(event);
    }
}

void image_apply(struct image_file *file, const struct image_event *event)
{
    if (event->kind == DISK_EVENT_ALLOCATE) {
        image_set_size(file, event->length);
    } else {
        image_put_bytes(file, event->offset, event->bytes, event->length);
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
        if (event->file == file->number && image_event_is_data(event) && !event->is_lost) {
            image_apply(file, event);
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

void image_drop_name(struct disk_image *image, const char *path)
{
    uint32_t i = name_number(image, path);
    if (i < image->name_count) {
        image_file_unref(image->names[i].file);
        image->names[i] = image->names[--image->name_count];
    }
}

/* Takes a reference. */
void image_set_name(struct disk_image *image, const char *path, struct image_file *file)
{
    image_file_ref(file);
    image_drop_name(image, path);
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
    struct image_file *file = image_make_file(image);
    image_set_name(image, path, file);
    note_path(image, DISK_EVENT_CREATE, file->number, path, NULL);
    return file;
}

bool image_has_directory(const struct disk_image *image, const char *path)
{
    for (uint32_t i = 0; i < image->directory_count; i++) {
        if (strcmp(image->directories[i], path) == 0) {
            return true;
        }
    }
    return false;
}

void image_add_directory(struct disk_image *image, const char *path)
{
    if (!image_has_directory(image, path)) {
        image->directories =
            realloc(image->directories, (image->directory_count + 1) * sizeof(*image->directories));
        ASSERT(image->directories != NULL);
        image->directories[image->directory_count++] = copy_path(path);
    }
}

void image_make_directory(struct disk_image *image, const char *path)
{
    if (!image_has_directory(image, path)) {
        image_add_directory(image, path);
        note_path(image, DISK_EVENT_MAKE_DIRECTORY, UINT32_MAX, path, NULL);
    }
}

bool image_rename(struct disk_image *image, const char *from, const char *to)
{
    struct image_file *file = image_find(image, from);
    if (file == NULL) {
        return false;
    }
    image_set_name(image, to, file);
    image_drop_name(image, from);
    note_path(image, DISK_EVENT_RENAME, file->number, from, to);
    return true;
}

void image_remove(struct disk_image *image, const char *path)
{
    if (image_find(image, path) != NULL) {
        image_drop_name(image, path);
        note_path(image, DISK_EVENT_REMOVE, UINT32_MAX, path, NULL);
    }
}

void image_sync_directory(struct disk_image *image, const char *path)
{
    note_path(image, DISK_EVENT_SYNC_DIRECTORY, UINT32_MAX, path, NULL);
}

/* The part of `path` behind `directory` and a slash, if it lies in it; "" is the top. */
const char *image_name_in(const char *path, const char *directory)
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
        const char *name = image_name_in(image->names[i].path, path);
        if (name != NULL && !each(context, name)) {
            return 0;
        }
    }
    for (uint32_t i = 0; i < image->directory_count; i++) {
        const char *name = image_name_in(image->directories[i], path);
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

/* Where the new image remembers, what it starts with counts as synced. */
void image_note_start(struct disk_image *image)
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
