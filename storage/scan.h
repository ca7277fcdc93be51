/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_SCAN_H
#define STORAGE_SCAN_H

/*
 * scan.h - walks the records of one segment file, trusting nothing.
 *
 * Reads through disk_file_read() and not through a mapping, so that a sector that cannot be read is
 * an error and not a signal. Used by recovery, and by whoever inspects a store.
 *
 * Memory:  a window of 1 MiB, or one record if that is more.
 * Threads: whoever owns the scan.
 */

#include "proto/record.h"
#include "storage/disk.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /* A log that went on has the start of a record within the size of two. */
    SCAN_AHEAD_BYTES = 2 * RECORD_BYTES_MAX
};

struct scan {
    struct disk_file *file;
    uint64_t base;  /* position of the file's first byte */
    uint64_t limit; /* bytes of the file that are looked at */
    uint64_t place; /* of the record that is next */
    int error;      /* -errno of a read that failed: nothing that was found is to be relied on */
    uint8_t *window;
    size_t window_capacity;
    uint64_t window_place;
    size_t window_bytes;
};

void scan_init(struct scan *scan, struct disk_file *file, uint64_t base, uint64_t limit);
void scan_deinit(struct scan *scan);

/* The record at scan->place: all of it is there, belongs there, and both checksums are right.
 * Spans are valid until the next call. Does not move. False also at the limit. */
bool scan_read(struct scan *scan, struct record_view *record_out);

/* Moves to the next place from scan->place on at which a whole record stands; false, with the place
 * at the limit, if there is none within SCAN_AHEAD_BYTES. */
bool scan_find(struct scan *scan);

/* One behind the last byte from `place` on that is not zero, looking SCAN_AHEAD_BYTES beyond it. */
uint64_t scan_dirty_end(struct scan *scan, uint64_t place);

#endif
