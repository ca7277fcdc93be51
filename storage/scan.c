/* SPDX-License-Identifier: Apache-2.0 */

/*
 * scan.c - a window over a segment file, and records in it.
 */

#include "storage/scan.h"

#include "proto/base/contract.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW_BYTES = 1024 * 1024, RECORD_MARK = 0x9d };

void scan_init(struct scan *scan, struct disk_file *file, uint64_t base, uint64_t limit)
{
    *scan = (struct scan){.file = file, .base = base, .limit = limit};
}

void scan_deinit(struct scan *scan)
{
    free(scan->window);
    scan->window = NULL;
}

static bool window_has(const struct scan *scan, uint64_t place, size_t need)
{
    return place >= scan->window_place && place + need <= scan->window_place + scan->window_bytes;
}

/* What there is from `place` on, at least `need` bytes if the limit leaves so many. */
static struct bytes look(struct scan *scan, uint64_t place, size_t need)
{
    uint64_t left = place < scan->limit ? scan->limit - place : 0;
    need = need < left ? need : (size_t)left;
    if (!window_has(scan, place, need) && scan->error == 0) {
        size_t wanted = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        wanted = wanted > need ? wanted : need;
        if (wanted > scan->window_capacity) {
            free(scan->window);
            scan->window = malloc(wanted);
            ASSERT(scan->window != NULL);
            scan->window_capacity = wanted;
        }
        int64_t got = disk_file_read(scan->file, scan->window, wanted, place);
        scan->error = got < 0 ? (int)got : 0;
        scan->window_place = place;
        scan->window_bytes = got < 0 ? 0 : (size_t)got;
    }
    if (scan->error != 0 || place < scan->window_place ||
        place >= scan->window_place + scan->window_bytes) {
        return bytes_make(NULL, 0);
    }
    size_t skip = (size_t)(place - scan->window_place);
    return bytes_make(scan->window + skip, scan->window_bytes - skip);
}

bool scan_read(struct scan *scan, struct record_view *record_out)
{
    struct record_view record;
    uint64_t position = scan->base + scan->place;
    struct bytes there = look(scan, scan->place, RECORD_HEAD_BYTES_MAX);
    if (there.length < RECORD_BYTES_MIN ||
        record_read_head(there, position, &record) != RECORD_WHOLE ||
        record.fields.size > scan->limit - scan->place) {
        return false;
    }
    there = look(scan, scan->place, record.fields.size);
    return there.length >= record.fields.size &&
           record_read(there, position, record_out) == RECORD_WHOLE;
}

bool scan_find(struct scan *scan)
{
    uint64_t end = scan->place + SCAN_AHEAD_BYTES;
    end = end < scan->limit ? end : scan->limit;
    while (scan->place < end) {
        struct bytes there = look(scan, scan->place, RECORD_BYTES_MIN);
        if (there.length == 0) {
            break;
        }
        const uint8_t *mark = memchr(there.data, RECORD_MARK, there.length);
        scan->place += mark == NULL ? there.length : (size_t)(mark - there.data);
        struct record_view record;
        if (mark != NULL && scan_read(scan, &record)) {
            return true;
        }
        scan->place += mark != NULL;
    }
    scan->place = scan->limit;
    return false;
}

uint64_t scan_dirty_end(struct scan *scan, uint64_t place)
{
    uint64_t end = place;
    while (place < scan->limit && place < end + SCAN_AHEAD_BYTES) {
        struct bytes there = look(scan, place, 1);
        if (there.length == 0) {
            break;
        }
        for (size_t i = there.length; i > 0; i--) {
            if (there.data[i - 1] != 0) {
                end = place + i;
                break;
            }
        }
        place += there.length;
    }
    return end;
}
