/* SPDX-License-Identifier: Apache-2.0 */

/*
 * index.c - the index of a segment in memory, and its file.
 */

#include "storage/index.h"

#include "proto/base/contract.h"
#include "proto/base/crc32c.h"
#include "storage/index_entries.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    INDEX_FORMAT = 1,
    PART_ENTRIES_LEAST = 4, /* many queues have few messages in a segment */
    PARTS_LEAST = 16,
    SECTIONS_WRITTEN = 3,
    SECTIONS_MAX = 64, /* far above what will ever be; bounds what a damaged header claims */
    WRITE_RANGES = 256,
    CHECK_BYTES = 256 * 1024, /* read at once */
    /* Of 2,730 queues: a thousand segments have 64 MiB of them then. */
    ROWS_KEPT_BYTES = 64 * 1024
};

enum section_number { SECTION_QUEUES = 1, SECTION_ENTRIES = 2, SECTION_TIMES = 3 };

static const uint8_t index_magic[8] = {'T', 'E', 'R', 'N', 'I', 'D', 'X', '\n'};

struct index_header {
    uint8_t magic[8];
    uint32_t format;
    uint32_t section_count;
    uint64_t base;
    uint64_t used;
    uint32_t crc; /* of the header, with 0 here, and the table behind it */
    uint32_t zero;
};

struct index_section {
    uint32_t number;
    uint32_t crc;
    uint64_t offset;
    uint64_t bytes;
};

struct index_row {
    uint32_t topic;
    uint16_t queue;
    uint16_t zero;
    uint64_t first;
    uint32_t count;
    uint32_t first_entry;
};

struct index_times {
    uint64_t first_stored_ms;
    uint64_t last_stored_ms;
};

_Static_assert(sizeof(struct index_entry) == 16, "as in the file");
_Static_assert(sizeof(struct index_header) == 40, "as in the file");
_Static_assert(sizeof(struct index_section) == 24, "as in the file");
_Static_assert(sizeof(struct index_row) == 24, "as in the file");
_Static_assert(sizeof(struct index_times) == 16, "as in the file");

/* ---------------------------------------------------------------- memory */

void index_init(struct index *index)
{
    *index = (struct index){0};
}

static void free_parts(struct index *index)
{
    for (uint32_t i = 0; i < index->part_count; i++) {
        ASSERT(index->parts[i]->owner == NULL);
        index_entries_free(index->parts[i]->entries, index->parts[i]->capacity);
        free(index->parts[i]);
    }
    free(index->parts);
    index->parts = NULL;
    index->part_count = 0;
    index->part_capacity = 0;
}

void index_deinit(struct index *index)
{
    free_parts(index);
    free(index->rows_kept);
    if (index->file != NULL) {
        disk_file_unmap(index->file, index->map, index->map_bytes);
        disk_file_close(index->file);
    }
    index_init(index);
}

struct index_part *index_part_add(struct index *index, uint32_t topic, uint16_t queue,
                                  uint64_t first)
{
    ASSERT(!index->sealed);
    if (index->part_count == index->part_capacity) {
        index->part_capacity = index->part_count == 0 ? PARTS_LEAST : index->part_count * 2;
        index->parts = realloc(index->parts, index->part_capacity * sizeof(*index->parts));
        ASSERT(index->parts != NULL);
    }
    struct index_part *part = calloc(1, sizeof(*part));
    ASSERT(part != NULL);
    part->topic = topic;
    part->queue = queue;
    part->first = first;
    index->parts[index->part_count++] = part;
    return part;
}

void index_part_grow(struct index_part *part)
{
    uint32_t capacity = part->capacity == 0 ? PART_ENTRIES_LEAST : part->capacity * 2;
    part->entries = index_entries_grow(part->entries, part->capacity, capacity);
    part->capacity = capacity;
}

static int compare_keys(uint32_t topic_a, uint16_t queue_a, uint32_t topic_b, uint16_t queue_b)
{
    if (topic_a != topic_b) {
        return topic_a < topic_b ? -1 : 1;
    }
    return (queue_a > queue_b) - (queue_a < queue_b);
}

static int compare_parts(const void *a, const void *b)
{
    const struct index_part *left = *(struct index_part *const *)a;
    const struct index_part *right = *(struct index_part *const *)b;
    return compare_keys(left->topic, left->queue, right->topic, right->queue);
}

void index_seal(struct index *index)
{
    ASSERT(!index->sealed);
    if (index->part_count > 1) {
        qsort(index->parts, index->part_count, sizeof(struct index_part *), compare_parts);
    }
    index->entry_count = 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        index->parts[i]->owner = NULL;
        index->entry_count += index->parts[i]->count;
    }
    index->sealed = true;
}

/* --------------------------------------------------------------- reading */

uint64_t index_rows_end(const struct index *index)
{
    return (uint64_t)((const uint8_t *)(index->rows + index->row_count) - index->map);
}

uint32_t index_span_count(const struct index *index)
{
    return index->file != NULL ? index->row_count : index->part_count;
}

struct index_span index_span_at(const struct index *index, uint32_t number)
{
    ASSERT(number < index_span_count(index));
    if (index->file == NULL) {
        const struct index_part *part = index->parts[number];
        return (struct index_span){part->entries, part->first, part->count, part->topic,
                                   part->queue};
    }
    const struct index_row *row = &index->rows[number];
    return (struct index_span){index->entries + row->first_entry, row->first, row->count,
                               row->topic, row->queue};
}

bool index_find(const struct index *index, uint32_t topic, uint16_t queue,
                struct index_span *span_out)
{
    ASSERT(index->sealed);
    uint32_t low = 0;
    uint32_t high = index_span_count(index);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct index_span span = index_span_at(index, middle);
        int order = compare_keys(span.topic, span.queue, topic, queue);
        if (order == 0) {
            *span_out = span;
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return false;
}

/* --------------------------------------------------------------- writing */

static struct index_row *make_rows(const struct index *index)
{
    struct index_row *rows = calloc(index->part_count + 1, sizeof(*rows));
    ASSERT(rows != NULL);
    uint32_t first_entry = 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        const struct index_part *part = index->parts[i];
        rows[i] = (struct index_row){.topic = part->topic,
                                     .queue = part->queue,
                                     .first = part->first,
                                     .count = part->count,
                                     .first_entry = first_entry};
        first_entry += part->count;
    }
    return rows;
}

static uint32_t entries_crc(const struct index *index)
{
    uint32_t crc = 0;
    for (uint32_t i = 0; i < index->part_count; i++) {
        const struct index_part *part = index->parts[i];
        crc = crc32c_continue(crc, part->entries, part->count * sizeof(struct index_entry));
    }
    return crc;
}

static int write_at(struct disk_file *file, const void *bytes, size_t length, uint64_t offset)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
    return length == 0 ? 0 : disk_file_write(file, &iov, 1, offset);
}

static int write_entries(const struct index *index, struct disk_file *file, uint64_t offset)
{
    struct iovec ranges[WRITE_RANGES];
    uint32_t next = 0;
    while (next < index->part_count) {
        int count = 0;
        uint64_t bytes = 0;
        while (count < WRITE_RANGES && next < index->part_count) {
            const struct index_part *part = index->parts[next++];
            ranges[count].iov_base = part->entries;
            ranges[count].iov_len = part->count * sizeof(struct index_entry);
            bytes += ranges[count++].iov_len;
        }
        int result = disk_file_write(file, ranges, count, offset);
        if (result < 0) {
            return result;
        }
        offset += bytes;
    }
    return 0;
}

static int write_sections(const struct index *index, struct disk_file *file, uint64_t base,
                          uint32_t used)
{
    struct index_row *rows = make_rows(index);
    size_t rows_bytes = index->part_count * sizeof(*rows);
    uint64_t entries_bytes = index->entry_count * sizeof(struct index_entry);
    struct index_times times = {index->first_stored_ms, index->last_stored_ms};
    struct {
        struct index_header header;
        struct index_section sections[SECTIONS_WRITTEN];
    } front = {
        .header = {.format = INDEX_FORMAT,
                   .section_count = SECTIONS_WRITTEN,
                   .base = base,
                   .used = used},
    };
    memcpy(front.header.magic, index_magic, sizeof(index_magic));
    uint64_t at = sizeof(front);
    front.sections[0] =
        (struct index_section){SECTION_QUEUES, crc32c(rows, rows_bytes), at, rows_bytes};
    at += rows_bytes;
    front.sections[1] =
        (struct index_section){SECTION_ENTRIES, entries_crc(index), at, entries_bytes};
    at += entries_bytes;
    front.sections[2] =
        (struct index_section){SECTION_TIMES, crc32c(&times, sizeof(times)), at, sizeof(times)};
    front.header.crc = crc32c(&front, sizeof(front));

    int result = write_at(file, &front, sizeof(front), 0);
    if (result == 0) {
        result = write_at(file, rows, rows_bytes, front.sections[0].offset);
    }
    if (result == 0) {
        result = write_entries(index, file, front.sections[1].offset);
    }
    if (result == 0) {
        result = write_at(file, &times, sizeof(times), front.sections[2].offset);
    }
    free(rows);
    return result;
}

int index_write(const struct index *index, struct disk *disk, const struct index_names *names,
                uint64_t base, uint32_t used)
{
    ASSERT(index->sealed && index->file == NULL);
    struct disk_file *file;
    int result = disk_remove(disk, names->temporary);
    if (result == 0) {
        result = disk_file_open(disk, names->temporary, DISK_CREATE, &file);
    }
    if (result < 0) {
        return result;
    }
    result = write_sections(index, file, base, used);
    if (result == 0) {
        result = disk_file_sync(file);
    }
    disk_file_close(file);
    if (result == 0) {
        result = disk_rename(disk, names->temporary, names->path);
    }
    return result == 0 ? disk_sync_directory(disk, names->directory) : result;
}

/* --------------------------------------------------------------- loading */

/* Header and table; a table beyond it is refused. */
enum { FRONT_BYTES = sizeof(struct index_header) + SECTIONS_MAX * sizeof(struct index_section) };

struct front {
    struct index_header header;
    struct index_section sections[SECTIONS_MAX];
};

/*
 * What is checked is read, and not looked at through the mapping: the kernel reads far ahead of a page that
 * is missed there, which at a cold start is the whole of every index. And what cannot be read is an error.
 */
static bool read_at(struct disk_file *file, void *to, uint64_t length, uint64_t offset)
{
    return disk_file_read(file, to, length, offset) == (int64_t)length;
}

/* The section, if it lies within the file and is a whole number of elements. */
static const struct index_section *find_section(const struct front *front, uint64_t bytes,
                                                enum section_number number, size_t element_bytes)
{
    for (uint32_t i = 0; i < front->header.section_count; i++) {
        const struct index_section *section = &front->sections[i];
        if (section->number == number) {
            bool fits = section->offset % 8 == 0 && section->offset <= bytes &&
                        section->bytes <= bytes - section->offset &&
                        section->bytes % element_bytes == 0;
            return fits ? section : NULL;
        }
    }
    return NULL;
}

static bool read_front(const struct index *index, uint64_t base, uint32_t used, struct front *front)
{
    uint64_t bytes = index->map_bytes < FRONT_BYTES ? index->map_bytes : FRONT_BYTES;
    if (bytes < sizeof(front->header) || !read_at(index->file, front, bytes, 0) ||
        memcmp(front->header.magic, index_magic, sizeof(index_magic)) != 0 ||
        front->header.format != INDEX_FORMAT || front->header.section_count > SECTIONS_MAX ||
        front->header.base != base || front->header.used != used) {
        return false;
    }
    uint64_t table_bytes = front->header.section_count * sizeof(struct index_section);
    if (table_bytes > bytes - sizeof(front->header)) {
        return false;
    }
    uint32_t crc = front->header.crc;
    front->header.crc = 0;
    return crc == crc32c(front, sizeof(front->header) + table_bytes);
}

/* Sorted, and within the entries. */
static bool rows_are_whole(const struct index_row *rows, uint64_t row_count, uint64_t entry_count)
{
    for (uint64_t i = 0; i < row_count; i++) {
        if (rows[i].first_entry > entry_count ||
            rows[i].count > entry_count - rows[i].first_entry) {
            return false;
        }
        if (i > 0 &&
            compare_keys(rows[i - 1].topic, rows[i - 1].queue, rows[i].topic, rows[i].queue) >= 0) {
            return false;
        }
    }
    return true;
}

/* Rows that are few are kept: whoever looks for a queue goes through those of many segments. */
static bool read_rows(struct index *index, const struct index_section *queues)
{
    struct index_row *rows = malloc(queues->bytes + 1);
    ASSERT(rows != NULL);
    bool is_whole = read_at(index->file, rows, queues->bytes, queues->offset) &&
                    crc32c(rows, queues->bytes) == queues->crc &&
                    rows_are_whole(rows, index->row_count, index->entry_count);
    if (is_whole && queues->bytes <= ROWS_KEPT_BYTES) {
        index->rows_kept = rows;
        index->rows = rows;
    } else {
        free(rows);
    }
    return is_whole;
}

/* Fills in what the file says. False: damaged. */
static bool read_file(struct index *index, uint64_t base, uint32_t used, bool check_entries)
{
    struct front front;
    struct index_times read_times;
    uint64_t bytes = index->map_bytes;
    if (!read_front(index, base, used, &front)) {
        return false;
    }
    const struct index_section *queues =
        find_section(&front, bytes, SECTION_QUEUES, sizeof(struct index_row));
    const struct index_section *entries =
        find_section(&front, bytes, SECTION_ENTRIES, sizeof(struct index_entry));
    const struct index_section *times =
        find_section(&front, bytes, SECTION_TIMES, sizeof(struct index_times));
    if (queues == NULL || entries == NULL || times == NULL || times->bytes != sizeof(read_times) ||
        !read_at(index->file, &read_times, sizeof(read_times), times->offset) ||
        crc32c(&read_times, sizeof(read_times)) != times->crc) {
        return false;
    }
    index->first_stored_ms = read_times.first_stored_ms;
    index->last_stored_ms = read_times.last_stored_ms;
    index->rows = (const void *)(index->map + queues->offset);
    index->row_count = (uint32_t)(queues->bytes / sizeof(struct index_row));
    index->entries = (const void *)(index->map + entries->offset);
    index->entry_count = entries->bytes / sizeof(struct index_entry);
    index->entries_crc = entries->crc;
    return index->entry_count <= UINT32_MAX && read_rows(index, queues) &&
           (!check_entries || index_check_entries(index) == 0);
}

bool index_load(struct index *index, struct disk *disk, const char *path, uint64_t base,
                uint32_t used, bool check_entries)
{
    struct index loaded = {.sealed = true};
    if (disk_file_open(disk, path, DISK_READ, &loaded.file) < 0) {
        return false;
    }
    int64_t bytes = disk_file_size(loaded.file);
    if (bytes > 0) {
        loaded.map_bytes = (uint64_t)bytes;
        loaded.map = disk_file_map(loaded.file, loaded.map_bytes);
    }
    if (loaded.map == NULL) {
        disk_file_close(loaded.file);
        return false;
    }
    if (!read_file(&loaded, base, used, check_entries)) {
        index_deinit(&loaded);
        return false;
    }
    free_parts(index);
    *index = loaded;
    return true;
}

int index_check_entries(const struct index *index)
{
    ASSERT(index->file != NULL);
    uint64_t place = (uint64_t)((const uint8_t *)index->entries - index->map);
    uint64_t left = index->entry_count * sizeof(struct index_entry);
    uint32_t crc = 0;
    int result = 0;
    uint8_t *bytes = malloc(CHECK_BYTES);
    ASSERT(bytes != NULL);
    while (left > 0 && result == 0) {
        size_t now = left < CHECK_BYTES ? (size_t)left : CHECK_BYTES;
        int64_t got = disk_file_read(index->file, bytes, now, place);
        result = got < 0 ? (int)got : got < (int64_t)now ? -EBADMSG : 0;
        crc = result == 0 ? crc32c_continue(crc, bytes, now) : crc;
        place += now;
        left -= now;
    }
    free(bytes);
    return result == 0 && crc != index->entries_crc ? -EBADMSG : result;
}
