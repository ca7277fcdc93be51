/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_DISK_RESIDENCY_H
#define STORAGE_DISK_RESIDENCY_H

/*
 * disk_residency.h - whether a part of a file is in the page cache, and how it gets there.
 *
 * sendfile() and a touch of a mapping wait for the disk where it is not, and nothing that can be set
 * on a descriptor changes that: who must not wait has to ask first. An answer is true for the moment;
 * memory may be short.
 *
 * Threads: any.
 */

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether all pages of [offset, offset + bytes) are there. By cachestat (Linux 6.5), which tells about
 * all pages but counts those that are on their way from the disk, and by reads of single bytes that
 * must not wait, one a 64 KiB, which is the least that the kernel reads ahead at once. Where cachestat is
 * unknown or refused those are all: a page that is missing in between makes somebody wait for the
 * disk then. True also where the file system cannot tell, as on tmpfs, which is memory.
 */
bool descriptor_is_resident(int descriptor, uint64_t offset, uint64_t bytes);

/* Has the kernel read [offset, offset + bytes), and waits for none of it. */
void descriptor_prefetch(int descriptor, uint64_t offset, uint64_t bytes);

/*
 * Reads [offset, offset + bytes), waits for it, and lets the kernel read on behind it in its own way. By
 * sendfile to `sink`, /dev/null: what comes by itself, ahead of one who reads in order, comes in large
 * folios, which take a tenth of the processor's time of what is asked for page by page (0.02 against
 * 0.22 ms a MiB), and half of it again when they are sent. False: there is no sink, or it takes none.
 */
bool descriptor_read_ahead(int descriptor, int sink, uint64_t offset, uint64_t bytes);

/* Waits until each page of [offset, offset + bytes) is there, without copying it anywhere. 0 or -errno. */
int descriptor_fetch(int descriptor, uint64_t offset, uint64_t bytes);

#endif
