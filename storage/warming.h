/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_WARMING_H
#define STORAGE_WARMING_H

/*
 * warming.h - what of a segment is not in the page cache gets there without the loop waiting
 * for it.
 *
 * A read of a log that finds something cold names it and ends; commit_log_warm() has it read on a
 * helper thread; who waits is told and reads again. Of records everything up to the end of the chunk
 * (storage/read_ahead.h) is asked for at the same time: whoever reads on needs it next.
 *
 * What was written a moment ago is taken to be there without asking.
 *
 * Memory:  a job of about 200 bytes for each cold range, of which each waiting read has one at most.
 *          Owner: the log.
 * Threads: the log's reactor; jobs apart.
 */

#include "storage/commit_log.h"
#include "storage/index.h"

struct segment;

/* Each answers whether a part of a segment can be looked at without a disk. If not, `cold` is told what
 * to have warmed. With NULL for `cold` it is not asked: the caller may wait for the disk.
 *
 *   rows     of its index, to find a queue
 *   entries  of its index, `count` of them
 *   record   [place, place + bytes), to be looked at alone */
bool warming_has_rows(struct segment *segment, struct cold_range *cold);
bool warming_has_entries(struct segment *segment, const struct index_entry *entries, uint64_t count,
                         struct cold_range *cold);
bool warming_has_record(const struct commit_log *log, struct segment *segment, uint64_t place,
                        uint64_t bytes, struct cold_range *cold);

/*
 * Cuts a list down to the runs in front that are in the page cache, and gives the references of the
 * others back. False: not even the first is, and `cold` is told what of it; the list is empty.
 */
bool warming_cut(struct commit_log *log, struct run_list *list, struct cold_range *cold);

#endif
