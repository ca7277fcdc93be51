/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - finds the shards and segments of a store. */
#include "tools/inspect/store.h"

#include "proto/base/contract.h"
#include "storage/segment_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool add_shard(void *context, const char *name)
{
    struct store *store = context;
    size_t length = strlen(name);
    if (length == 0 || length > 5 || strspn(name, "0123456789") != length) {
        return true;
    }
    store->shards = reallocarray(store->shards, store->shard_count + 1, sizeof(*store->shards));
    ASSERT(store->shards != NULL);
    struct store_shard *shard = &store->shards[store->shard_count++];
    *shard = (struct store_shard){.number = (uint32_t)strtoul(name, NULL, 10)};
    memcpy(shard->directory, name, length + 1);
    return true;
}

static bool add_segment(void *context, const char *name)
{
    struct store_shard *shard = context;
    uint64_t base;
    if (segment_name_read(name, "log", &base)) {
        shard->bases = reallocarray(shard->bases, shard->segment_count + 1, sizeof(*shard->bases));
        ASSERT(shard->bases != NULL);
        shard->bases[shard->segment_count++] = base;
    }
    return true;
}

static int compare_shards(const void *a, const void *b)
{
    uint32_t first = ((const struct store_shard *)a)->number;
    uint32_t second = ((const struct store_shard *)b)->number;
    return (first > second) - (first < second);
}

static int compare_bases(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a;
    uint64_t second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

bool store_open(struct store *store, const char *path, char *error, size_t error_bytes)
{
    *store = (struct store){.disk = NULL};
    if (!disk_open_to_read(&store->disk, path, error, error_bytes)) {
        return false;
    }
    int result = disk_list(store->disk, "", add_shard, store);
    for (size_t i = 0; result >= 0 && i < store->shard_count; i++) {
        struct store_shard *shard = &store->shards[i];
        result = disk_list(store->disk, shard->directory, add_segment, shard);
        if (shard->segment_count > 0) {
            qsort(shard->bases, shard->segment_count, sizeof(*shard->bases), compare_bases);
        }
    }
    if (result < 0) {
        (void)snprintf(error, error_bytes, "%s: %s", path, strerror(-result));
        store_close(store);
        return false;
    }
    if (store->shard_count == 0) {
        (void)snprintf(error, error_bytes, "%s is no store: it has no shard folders 0, 1, ..",
                       path);
        store_close(store);
        return false;
    }
    qsort(store->shards, store->shard_count, sizeof(*store->shards), compare_shards);
    return true;
}

void store_close(struct store *store)
{
    for (size_t i = 0; i < store->shard_count; i++) {
        free(store->shards[i].bases);
    }
    free(store->shards);
    disk_close(store->disk);
}

int64_t store_segment_limit(const struct store_shard *shard, size_t segment, struct disk_file *file)
{
    int64_t size = disk_file_size(file);
    if (size < 0 || segment + 1 == shard->segment_count) {
        return size;
    }
    uint64_t used = shard->bases[segment + 1] - shard->bases[segment];
    return used < (uint64_t)size ? (int64_t)used : size;
}
