/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_INDEX_H
#define STORAGE_INDEX_H

/*
 * index.h - where each queue's messages lie in one segment.
 *
 * The index of the segment that is written to is memory: a part a queue, entries pushed as records
 * are appended or replayed, by the same code. When the segment is sealed the parts are sorted and
 * written once to `<base>.idx`; from then on the index is that file, mapped. A file that is lost or
 * damaged is made again from its segment, byte for byte the same.
 *
 * An entry whose place is 0 is a hole: an offset whose record is in a range that is not whole. (No
 * message lies at place 0; a segment begins with its segment record.)
 *
 * Memory:  16 bytes a record while in memory; when mapped 24 bytes a queue, at most 64 KiB, else 0.
 *          Owner: the segment.
 * Threads: the log's reactor; index_write() on a worker, once the index is sealed.
 * Format:  storage/README.md, "Index".
 */

#include "storage/disk.h"

#include <stdbool.h>
#include <stdint.h>

struct queue;

/* As in the file, little-endian. */
struct index_entry {
    uint32_t place;
    uint32_t size;
    uint32_t tag_hash;
    uint32_t key_hash;
};

/* The entries of one queue, while in memory. */
struct index_part {
    struct index_entry *entries;
    uint64_t first; /* offset of entries[0] */
    uint32_t count;
    uint32_t capacity;
    uint32_t topic;
    uint16_t queue;
    struct queue *owner; /* the queue that pushes here; NULL when it was removed or sealed */
};

/* What there is of one queue, in either form. */
struct index_span {
    const struct index_entry *entries;
    uint64_t first;
    uint32_t count;
    uint32_t topic;
    uint16_t queue;
};

struct index_row; /* of the file's directory */

struct index {
    struct index_part **parts;
    uint32_t part_count;
    uint32_t part_capacity;
    uint64_t entry_count;
    uint64_t first_stored_ms; /* 0: no record yet */
    uint64_t last_stored_ms;
    bool sealed;

    struct disk_file *file; /* NULL: in memory */
    const uint8_t *map;
    uint64_t map_bytes;
    const struct index_row *rows; /* in memory where they are few, else in the mapping */
    struct index_row *rows_kept;  /* NULL: they are many */
    uint32_t row_count;
    const struct index_entry *entries;
    uint32_t entries_crc; /* as the file says */
};

/* Of an index that is a file and whose rows are not kept: where they end in it. */
uint64_t index_rows_end(const struct index *index);

void index_init(struct index *index);

/* Frees the parts and, where it is mapped, unmaps and closes: may block. */
void index_deinit(struct index *index);

/* A new part of a queue that has none in this index yet. */
struct index_part *index_part_add(struct index *index, uint32_t topic, uint16_t queue,
                                  uint64_t first);

/* Makes room for one entry more. */
void index_part_grow(struct index_part *part);

static inline void index_part_push(struct index_part *part, struct index_entry entry)
{
    if (__builtin_expect(part->count == part->capacity, 0)) {
        index_part_grow(part);
    }
    part->entries[part->count++] = entry;
}

/* Notes that a record of the segment was stored then; never decreasing. */
static inline void index_note_time(struct index *index, uint64_t stored_ms)
{
    if (index->first_stored_ms == 0) {
        index->first_stored_ms = stored_ms;
    }
    index->last_stored_ms = stored_ms;
}

/* No more entries come: sorts the parts. */
void index_seal(struct index *index);

/* Of a sealed index: the entries of a queue, if it has any. */
bool index_find(const struct index *index, uint32_t topic, uint16_t queue,
                struct index_span *span_out);

/* Of a sealed index: its queues in order, from 0 to index_span_count() - 1. */
uint32_t index_span_count(const struct index *index);
struct index_span index_span_at(const struct index *index, uint32_t number);

/* Names of an index file and of the segment that it belongs to. */
struct index_names {
    const char *directory;
    const char *path;
    const char *temporary; /* written here first, then renamed */
};

/* Writes a sealed index in memory to its file, synced under its name. Blocks. 0 or -errno. */
int index_write(const struct index *index, struct disk *disk, const struct index_names *names,
                uint64_t base, uint32_t used);

/*
 * Takes the file's form instead of memory's, if there is a whole file that belongs to exactly these
 * bytes. `check_entries`: also reads all entries for their checksum; the rest is always checked.
 * False: lost or damaged, and the index is as before. Blocks.
 */
bool index_load(struct index *index, struct disk *disk, const char *path, uint64_t base,
                uint32_t used, bool check_entries);

/* Reads the entries of an index that is a file for their checksum, not through the mapping: what cannot
 * be read is an error. 0, -EBADMSG where they are damaged, or -errno. Blocks; for the helper threads. */
int index_check_entries(const struct index *index);

/* Bytes of the file; 0 while in memory. */
static inline uint64_t index_file_bytes(const struct index *index)
{
    return index->map_bytes;
}

#endif
