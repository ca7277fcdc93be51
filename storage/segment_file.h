/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_SEGMENT_FILE_H
#define STORAGE_SEGMENT_FILE_H

/*
 * segment_file.h - a segment as its log sees it: the file, its mapping, its index, its names.
 *
 * A segment is made around an open file. Its log holds one reference from then until retention or
 * the log's end; whoever reads holds others. At the last the mapping and the descriptor are closed
 * by a job (unmapping what was read is slow), and `released` tells the log.
 *
 * Threads: the log's reactor; segment_unref() and segment_sync() on any.
 */

#include "net/reactor.h"
#include "storage/disk.h"
#include "storage/index.h"
#include "storage/segment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

enum {
    /* "<shard>/<20 digits>.idx.new" and a terminator, with room. */
    SEGMENT_PATH_BYTES = 64,
    SEGMENT_BYTES_LEAST = 64 * 1024,
    SEGMENT_BYTES_MOST = 1024 * 1024 * 1024,
    /* Bounds the index of the open segment, which is memory, to 32 MiB. */
    SEGMENT_RECORDS_MAX = 2 * 1024 * 1024
};

struct segment_owner {
    struct disk *disk;
    struct reactor *reactor;
    void (*released)(void *owner); /* the segment is gone */
    void *owner;
};

struct segment {
    _Atomic uint32_t references;
    struct segment_owner owner;
    struct disk_file *file;
    const uint8_t *map;
    uint64_t map_bytes; /* of the file as allocated */
    uint64_t base;
    uint32_t used;              /* bytes of records in it; staged ones count */
    uint32_t records;           /* likewise */
    uint32_t last_head_crc;     /* of its last record */
    uint64_t synced;            /* position up to which a sync of this file has come home */
    pthread_mutex_t sync_mutex; /* of segment_sync() */
    int sync_error;             /* of the first that failed; 0 */
    struct index index;
    struct index *damaged; /* what `index` was before it was made again; NULL: never */
    bool unchecked;        /* entries of `index` were not read for their checksum yet */
    bool named;            /* has its name, and everything before it is synced */
    bool settled;          /* at start: what is read of it is what the disk holds */
    bool busy;             /* a job works on its files */
    uint8_t *cold_readers; /* a chunk each, how many: see read_ahead.h; NULL: nobody was one */
    struct op op;          /* brings the last reference home */
    struct disk_job job;
};

/* Takes `file` over and maps it. NULL: the mapping was refused; the file is still the caller's. */
struct segment *segment_create(const struct segment_owner *owner, struct disk_file *file,
                               uint64_t base);

/* At once, for a log that does not open; the last reference is the caller's. */
void segment_destroy(struct segment *segment);

/*
 * Syncs the file: 0, or -errno, and from the first failure on that one for ever. The kernel tells a
 * failure only once a descriptor, so of two syncs at the same time one would pass for good. Blocks; for
 * the helper threads.
 */
int segment_sync(struct segment *segment);

/* The names of a segment's files. */
enum segment_name { SEGMENT_LOG, SEGMENT_INDEX, SEGMENT_INDEX_NEW };
void segment_path(char path[SEGMENT_PATH_BYTES], const char *directory, uint64_t base,
                  enum segment_name name);

/* The base that a directory entry names, if it is a segment's `.log`, or `.idx`. */
bool segment_name_read(const char *name, const char *extension, uint64_t *base_out);

static inline uint64_t segment_end(const struct segment *segment)
{
    return segment->base + segment->used;
}

#endif
