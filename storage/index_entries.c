/* SPDX-License-Identifier: Apache-2.0 */

/*
 * index_entries.c - entries in memory: from the allocator while they are few, then in pages of their own.
 */

#include "storage/index_entries.h"

#include "proto/base/contract.h"
#include "storage/index.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static size_t bytes_of(uint32_t capacity)
{
    return capacity * sizeof(struct index_entry);
}

static bool is_mapped(uint32_t capacity)
{
    return bytes_of(capacity) >= INDEX_ENTRIES_MAPPED;
}

/* From the allocator to pages. */
static struct index_entry *move_to_pages(struct index_entry *entries, uint32_t from, uint32_t to)
{
    void *pages =
        mmap(NULL, bytes_of(to), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT(pages != MAP_FAILED);
    if (from > 0) {
        memcpy(pages, entries, bytes_of(from));
    }
    free(entries);
    return pages;
}

struct index_entry *index_entries_grow(struct index_entry *entries, uint32_t from, uint32_t to)
{
    ASSERT(to > from);
    if (!is_mapped(to)) {
        struct index_entry *grown = realloc(entries, bytes_of(to));
        ASSERT(grown != NULL);
        return grown;
    }
    if (!is_mapped(from)) {
        return move_to_pages(entries, from, to);
    }
    void *pages = mremap(entries, bytes_of(from), bytes_of(to), MREMAP_MAYMOVE);
    ASSERT(pages != MAP_FAILED);
    return pages;
}

void index_entries_free(struct index_entry *entries, uint32_t capacity)
{
    if (is_mapped(capacity)) {
        ASSERT(munmap(entries, bytes_of(capacity)) == 0);
    } else {
        free(entries);
    }
}
