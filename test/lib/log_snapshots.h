/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_snapshots.h - the snapshots in the log of a disk image: where each begins, and what is left of a log
 * from which the later ones are taken away. For the equation that every view has to keep,
 *
 *     replay(L) == load(s) + replay(after s)      for every log L and every snapshot s in it
 */
#ifndef TEST_LIB_LOG_SNAPSHOTS_H
#define TEST_LIB_LOG_SNAPSHOTS_H

#include "proto/events.h"
#include "proto/record.h"
#include "storage/disk_simulated.h"

#include <check.h>

#include <inttypes.h>
#include <stdio.h>

enum { SEGMENT_PATH_BYTES = 64, SNAPSHOT_BEGIN_PLACE_MAX = 200 };

/* The file of the segment of shard 0 at `base`, which must be there. */
static inline uint8_t *image_segment(struct disk_image *image, uint64_t base, uint64_t *bytes_out)
{
    char path[SEGMENT_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "0/%020" PRIu64 ".log", base);
    uint8_t *file = disk_image_bytes(image, path, bytes_out);
    ck_assert_ptr_nonnull(file);
    return file;
}

/* A segment's begin record, if it begins with a snapshot; where the segment ends. */
static inline uint8_t *snapshot_find_begin(struct disk_image *image, uint64_t base,
                                           uint64_t *end_out)
{
    uint64_t bytes;
    uint8_t *file = image_segment(image, base, &bytes);
    struct record_view view;
    uint64_t place = 0;
    uint8_t *begin = NULL;
    while (record_read(bytes_make(file + place, bytes - place), base + place, &view) ==
           RECORD_WHOLE) {
        struct events_reader reader;
        struct cursor fields;
        uint64_t number;
        if (begin == NULL && place > 0 && place < SNAPSHOT_BEGIN_PLACE_MAX &&
            view.fields.kind == RECORD_SNAPSHOT && events_open(&reader, record_content(&view)) &&
            events_next(&reader, &number, &fields) == EVENTS_ENTRY && number == ROW_BEGIN) {
            begin = file + place;
        }
        place += view.fields.size;
    }
    *end_out = base + place;
    return begin;
}

/* Makes a begin record say something that nobody need understand, so that it is no snapshot. */
static inline void snapshot_hide_begin(uint8_t *record)
{
    struct record_view view;
    ck_assert_int_eq(record_read_anywhere(bytes_make(record, record_size(record)), &view),
                     RECORD_WHOLE);
    struct bytes content = record_content(&view);
    uint8_t *entry = record + RECORD_CONTENT_PLACE + EVENTS_BEGIN_BYTES;
    ck_assert_uint_eq(entry[1], ROW_BEGIN);
    entry[1] = EVENTS_OPTIONAL_FROM;
    (void)record_build_own(record, &view.fields, content);
}

/* Of the snapshots of a log that ends at `end` only the first `keep` are left, as if the later ones had never
 * begun; the position of the last of them, 0: none. */
static inline uint64_t snapshots_keep(struct disk_image *image, uint32_t keep, uint64_t end)
{
    uint32_t seen = 0;
    uint64_t last = 0;
    for (uint64_t base = 0; base < end;) {
        uint64_t segment_end;
        uint8_t *begin = snapshot_find_begin(image, base, &segment_end);
        if (begin != NULL && ++seen > keep) {
            snapshot_hide_begin(begin);
        } else if (begin != NULL) {
            last = record_position(begin);
        }
        ck_assert_uint_gt(segment_end, base);
        base = segment_end;
    }
    return last;
}

#endif
