/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_DISK_IMAGE_H
#define STORAGE_DISK_IMAGE_H

/*
 * disk_image.h - the medium behind a simulated disk: files, names, and the events that made them.
 *
 * For disk_simulated.c; tests use disk_simulated.h. A file's bytes stay at one address while it is
 * mapped, which is what a mapping that follows later writes needs.
 *
 * Threads: one.
 */

#include "storage/disk_simulated.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { IMAGE_NAME_BYTES = 96 };

struct image_file {
    struct disk_image *image;
    uint32_t number; /* in the order in which they were made */
    uint32_t references;
    uint32_t maps;
    uint8_t *bytes;
    uint64_t size;
    uint64_t capacity;
    bool *cold; /* a page each: not in the page cache; NULL: all are */
    uint64_t cold_count;
};

struct image_name {
    char path[IMAGE_NAME_BYTES];
    struct image_file *file;
};

struct image_event {
    enum disk_event_kind kind;
    bool is_lost; /* the sync that should have covered it failed */
    uint32_t file;
    uint64_t offset; /* of an allocation: 0 */
    uint64_t length;
    uint8_t *bytes; /* of a write */
    char *path;
    char *to;
};

struct disk_image {
    bool remembers;
    bool is_open;
    struct image_name *names;
    uint32_t name_count;
    uint32_t name_capacity;
    uint32_t file_count;
    char **directories;
    uint32_t directory_count;
    struct image_event *events;
    uint64_t event_count;
    uint64_t event_capacity;
};

struct image_file *image_find(struct disk_image *image, const char *path);
struct image_file *image_create_file(struct disk_image *image, const char *path);
void image_file_ref(struct image_file *file);
void image_file_unref(struct image_file *file);

void image_allocate(struct image_file *file, uint64_t bytes);
void image_write(struct image_file *file, uint64_t offset, const uint8_t *bytes, uint64_t length);
void image_zero(struct image_file *file, uint64_t offset, uint64_t bytes);
void image_sync(struct image_file *file, bool succeeds);

/* What a failed sync lost is gone from here on, as it is when its clean pages are dropped. */
void image_drop_cache(struct image_file *file);

/* disk_image_cache.c: which of a file's pages are in the page cache. What is written is. */
enum { IMAGE_PAGE_BYTES = 4096 };
bool image_cache_has(const struct image_file *file, uint64_t offset, uint64_t bytes);
void image_cache_fill(struct image_file *file, uint64_t offset, uint64_t bytes);
void image_cache_drop(struct image_file *file, uint64_t offset, uint64_t bytes); /* whole pages */

void image_make_directory(struct disk_image *image, const char *path);
bool image_rename(struct disk_image *image, const char *from, const char *to);
void image_remove(struct disk_image *image, const char *path);
void image_sync_directory(struct disk_image *image, const char *path);
int image_list(struct disk_image *image, const char *path,
               bool (*each)(void *context, const char *name), void *context);

/* Bytes of all files that have a name. */
uint64_t image_bytes(const struct disk_image *image);

/* For disk_cut.c: changes that are no events. */
struct image_file *image_make_file(struct disk_image *image);
void image_set_size(struct image_file *file, uint64_t size); /* never smaller */
void image_put_bytes(struct image_file *file, uint64_t offset, const uint8_t *bytes,
                     uint64_t length); /* NULL: zeros */
bool image_event_is_data(const struct image_event *event);
void image_apply(struct image_file *file, const struct image_event *event);
void image_set_name(struct disk_image *image, const char *path, struct image_file *file);
void image_drop_name(struct disk_image *image, const char *path);
bool image_has_directory(const struct disk_image *image, const char *path);
void image_add_directory(struct disk_image *image, const char *path);

/* The part of `path` behind `directory` and a slash, if it lies in it; "" is the top. */
const char *image_name_in(const char *path, const char *directory);

/* Notes what is there as events that were synced. */
void image_note_start(struct disk_image *image);

#endif
