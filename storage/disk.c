/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk.c - sends each call of disk.h to the implementation that made the disk or the file.
 */

#include "storage/disk.h"

#include "proto/base/contract.h"
#include "storage/disk_backend.h"

void disk_close(struct disk *disk)
{
    disk->operations->close(disk);
}

/* ----------------------------------------------------------------- files */

int disk_file_open(struct disk *disk, const char *path, enum disk_open_mode mode,
                   struct disk_file **file_out)
{
    return disk->operations->file_open(disk, path, mode, file_out);
}

void disk_file_close(struct disk_file *file)
{
    file->disk->operations->file_close(file);
}

int64_t disk_file_size(struct disk_file *file)
{
    return file->disk->operations->file_size(file);
}

int disk_file_allocate(struct disk_file *file, uint64_t bytes)
{
    return file->disk->operations->file_allocate(file, bytes);
}

int disk_file_write(struct disk_file *file, struct iovec *iov, int count, uint64_t offset)
{
    return file->disk->operations->file_write(file, iov, count, offset);
}

int64_t disk_file_read(struct disk_file *file, void *bytes, size_t length, uint64_t offset)
{
    return file->disk->operations->file_read(file, bytes, length, offset);
}

int disk_file_sync(struct disk_file *file)
{
    return file->disk->operations->file_sync(file);
}

int disk_file_zero(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    return file->disk->operations->file_zero(file, offset, bytes);
}

const uint8_t *disk_file_map(struct disk_file *file, uint64_t bytes)
{
    return file->disk->operations->file_map(file, bytes);
}

void disk_file_unmap(struct disk_file *file, const uint8_t *map, uint64_t bytes)
{
    file->disk->operations->file_unmap(file, map, bytes);
}

void disk_file_drop_cache(struct disk_file *file)
{
    file->disk->operations->file_drop_cache(file);
}

bool disk_file_is_resident(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    return file->disk->operations->file_is_resident(file, offset, bytes);
}

void disk_file_read_ahead(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    file->disk->operations->file_read_ahead(file, offset, bytes);
}

void disk_file_prefetch(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    file->disk->operations->file_prefetch(file, offset, bytes);
}

int disk_file_fetch(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    return file->disk->operations->file_fetch(file, offset, bytes);
}

void disk_file_drop_range(struct disk_file *file, const uint8_t *map, uint64_t offset,
                          uint64_t bytes)
{
    file->disk->operations->file_drop_range(file, map, offset, bytes);
}

int disk_file_descriptor(const struct disk_file *file)
{
    return file->disk->operations->file_descriptor(file);
}

/* ----------------------------------------------------------- directories */

int disk_make_directory(struct disk *disk, const char *path)
{
    return disk->operations->make_directory(disk, path);
}

int disk_rename(struct disk *disk, const char *from, const char *to)
{
    return disk->operations->rename(disk, from, to);
}

int disk_remove(struct disk *disk, const char *path)
{
    return disk->operations->remove(disk, path);
}

int disk_sync_directory(struct disk *disk, const char *path)
{
    return disk->operations->sync_directory(disk, path);
}

int disk_list(struct disk *disk, const char *path, bool (*each)(void *context, const char *name),
              void *context)
{
    return disk->operations->list(disk, path, each, context);
}

int64_t disk_free_bytes(struct disk *disk)
{
    return disk->operations->free_bytes(disk);
}

/* ------------------------------------------------------------------ jobs */

void disk_submit(struct disk *disk, struct reactor *reactor, enum disk_worker worker,
                 struct disk_job *job)
{
    ASSERT(!job->in_flight);
    job->in_flight = true;
    job->reactor = reactor;
    disk->operations->submit(disk, reactor, worker, job);
}
