/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - a store opened to look at: its shards, and the segments of each, in order.
 *
 * Memory:  the lists; freed by store_close().
 * Threads: one. Blocks on the disk.
 */
#ifndef TOOLS_INSPECT_STORE_H
#define TOOLS_INSPECT_STORE_H

#include "proto/limits.h"
#include "storage/disk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_shard {
    uint32_t number;
    char directory[16];
    uint64_t *bases; /* of its segments, ascending */
    size_t segment_count;
};

struct store {
    struct disk *disk;
    struct store_shard *shards; /* by number */
    size_t shard_count;
};

/* False: `error` says why in one line. */
bool store_open(struct store *store, const char *path, char *error, size_t error_bytes);
void store_close(struct store *store);

/* How many bytes of a segment's file can hold records: up to the next segment, or all there are.
 * Negative: -errno. */
int64_t store_segment_limit(const struct store_shard *shard, size_t segment,
                            struct disk_file *file);

#endif
