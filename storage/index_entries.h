/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_INDEX_ENTRIES_H
#define STORAGE_INDEX_ENTRIES_H

/*
 * index_entries.h - the memory of one queue's entries in the open segment, which grows without being
 * copied: a queue that has a segment to itself ends with 32 MiB, and copying half of that took 5 ms of a
 * turn. From INDEX_ENTRIES_MAPPED bytes on it is pages of its own, which are moved and not copied.
 *
 * Threads: any, one at a time.
 */

#include <stdint.h>

struct index_entry;

enum { INDEX_ENTRIES_MAPPED = 256 * 1024 };

/* Room for `to` entries instead of `from`, which may be 0: what was there stays, the rest is undefined. */
struct index_entry *index_entries_grow(struct index_entry *entries, uint32_t from, uint32_t to);

void index_entries_free(struct index_entry *entries, uint32_t capacity);

#endif
