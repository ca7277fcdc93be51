/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_SEGMENT_H
#define STORAGE_SEGMENT_H

/*
 * segment.h - one file of a commit log, `<shard>/<base, 20 digits>.log`, and its index beside it.
 *
 * Only the last segment of a log is written to; the others are sealed: read, sent, and at last
 * removed by retention. A segment is counted: whoever sends bytes of it holds a reference, on any
 * core, and its mapping and descriptor live until the last is given back, also after its file
 * was removed. Bytes below `written` never change.
 *
 * Threads: ref, unref, bytes and file on any; the rest on the log's reactor.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk_file;
struct segment;

void segment_ref(struct segment *segment);
void segment_unref(struct segment *segment);

/* The mapping: bytes [0, written) of the file. For the kernel to send from: whoever reads it himself is
 * killed (SIGBUS) where the disk cannot give a page. */
const uint8_t *segment_bytes(const struct segment *segment);

/* Copies bytes of the file: for who looks at them. False: the disk cannot give them. Any thread. */
bool segment_read(const struct segment *segment, uint64_t place, void *to, size_t length);

/* For sendfile: a descriptor, or -1 (simulated disk: use the mapping). */
int segment_file(const struct segment *segment);

uint64_t segment_base(const struct segment *segment);

#endif
