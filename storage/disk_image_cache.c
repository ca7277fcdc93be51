/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk_image_cache.c - which pages of a simulated medium are in the page cache. Their bytes are the
 * same either way: what differs is what a disk answers, and that a read would have waited.
 */

#include "proto/base/contract.h"
#include "storage/disk_image.h"

#include <stdlib.h>

bool image_cache_has(const struct image_file *file, uint64_t offset, uint64_t bytes)
{
    uint64_t end = (offset + bytes + IMAGE_PAGE_BYTES - 1) / IMAGE_PAGE_BYTES;
    for (uint64_t page = offset / IMAGE_PAGE_BYTES; page < end; page++) {
        if (page < file->cold_count && file->cold[page]) {
            return false;
        }
    }
    return true;
}

void image_cache_fill(struct image_file *file, uint64_t offset, uint64_t bytes)
{
    uint64_t end = (offset + bytes + IMAGE_PAGE_BYTES - 1) / IMAGE_PAGE_BYTES;
    for (uint64_t page = offset / IMAGE_PAGE_BYTES; page < end && page < file->cold_count; page++) {
        file->cold[page] = false;
    }
}

void image_cache_drop(struct image_file *file, uint64_t offset, uint64_t bytes)
{
    uint64_t end = (offset + bytes) / IMAGE_PAGE_BYTES;
    if (end > file->cold_count) {
        file->cold = realloc(file->cold, end * sizeof(*file->cold));
        ASSERT(file->cold != NULL);
        while (file->cold_count < end) {
            file->cold[file->cold_count++] = false;
        }
    }
    for (uint64_t page = (offset + IMAGE_PAGE_BYTES - 1) / IMAGE_PAGE_BYTES; page < end; page++) {
        file->cold[page] = true;
    }
}

void disk_image_cool(struct disk_image *image)
{
    for (uint32_t i = 0; i < image->name_count; i++) {
        struct image_file *file = image->names[i].file;
        image_cache_drop(file, 0, file->size + IMAGE_PAGE_BYTES - 1);
    }
}
