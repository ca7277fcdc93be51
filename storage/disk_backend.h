/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_DISK_BACKEND_H
#define STORAGE_DISK_BACKEND_H

/*
 * disk_backend.h - what stands behind disk.h: one table of functions an implementation.
 *
 * For the files that implement a disk; nobody else includes it. Each function keeps the promise of
 * the function of the same name in disk.h.
 */

#include "storage/disk.h"

struct disk_operations {
    void (*close)(struct disk *disk);

    int (*file_open)(struct disk *disk, const char *path, enum disk_open_mode mode,
                     struct disk_file **file_out);
    void (*file_close)(struct disk_file *file);
    int64_t (*file_size)(struct disk_file *file);
    int (*file_allocate)(struct disk_file *file, uint64_t bytes);
    int (*file_write)(struct disk_file *file, struct iovec *iov, int count, uint64_t offset);
    int64_t (*file_read)(struct disk_file *file, void *bytes, size_t length, uint64_t offset);
    int (*file_sync)(struct disk_file *file);
    int (*file_zero)(struct disk_file *file, uint64_t offset, uint64_t bytes);
    const uint8_t *(*file_map)(struct disk_file *file, uint64_t bytes);
    void (*file_unmap)(struct disk_file *file, const uint8_t *map, uint64_t bytes);
    void (*file_drop_cache)(struct disk_file *file);
    bool (*file_is_resident)(struct disk_file *file, uint64_t offset, uint64_t bytes);
    void (*file_read_ahead)(struct disk_file *file, uint64_t offset, uint64_t bytes);
    void (*file_prefetch)(struct disk_file *file, uint64_t offset, uint64_t bytes);
    int (*file_fetch)(struct disk_file *file, uint64_t offset, uint64_t bytes);
    void (*file_drop_range)(struct disk_file *file, const uint8_t *map, uint64_t offset,
                            uint64_t bytes);
    int (*file_descriptor)(const struct disk_file *file);

    int (*make_directory)(struct disk *disk, const char *path);
    int (*rename)(struct disk *disk, const char *from, const char *to);
    int (*remove)(struct disk *disk, const char *path);
    int (*sync_directory)(struct disk *disk, const char *path);
    int (*list)(struct disk *disk, const char *path, bool (*each)(void *context, const char *name),
                void *context);
    int64_t (*free_bytes)(struct disk *disk);

    void (*submit)(struct disk *disk, struct reactor *reactor, enum disk_worker worker,
                   struct disk_job *job);
};

/* The first member of every implementation's own. */
struct disk {
    const struct disk_operations *operations;
};

struct disk_file {
    struct disk *disk;
};

#endif
