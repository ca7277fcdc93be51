/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_DISK_H
#define STORAGE_DISK_H

/*
 * disk.h - files: the second seam. Whatever a store does to a disk goes through here.
 *
 * Two implementations: the real one (system calls, three helper threads) and a simulated one
 * (storage/disk_simulated.h) that keeps files in memory, remembers what was not synced, and can
 * give the image that a power cut would leave.
 *
 * Calls are synchronous. What may block for long (sync, allocate, rename, remove, mapping a large
 * file) is called at start, or from a job: a job's `work` runs on a helper thread, its `done` on
 * the reactor that submitted it. In a simulation both run in the one thread, `work` at a later
 * simulated moment.
 *
 * Results: 0 or a byte count, or a negative errno. Paths are relative to the store's directory.
 *
 * Threads: different files on different threads freely; one file's writes on one thread at a time.
 */

#include "net/reactor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct disk;
struct disk_file;

/* ------------------------------------------------------------------ life */

/*
 * Opens the store directory `path`, making it (and what leads to it) if it is not there, and
 * locks it against every other process; tries for 2 s (a killed predecessor's lock lives on for a
 * moment). On failure one line that says what, which path, and what to do is in `error`.
 */
bool disk_open(struct disk **disk_out, const char *path, char *error, size_t error_bytes);

/* As disk_open(), to look only: no lock is taken, nothing is made, every write is refused (EROFS).
 * For inspecting a store while a broker runs on it. */
bool disk_open_to_read(struct disk **disk_out, const char *path, char *error, size_t error_bytes);

/* All files closed, all jobs done: asserted. Releases the lock. */
void disk_close(struct disk *disk);

/* ----------------------------------------------------------------- files */

enum disk_open_mode {
    DISK_READ,  /* must exist */
    DISK_WRITE, /* must exist */
    DISK_CREATE /* must not exist */
};

int disk_file_open(struct disk *disk, const char *path, enum disk_open_mode mode,
                   struct disk_file **file_out);
void disk_file_close(struct disk_file *file);

int64_t disk_file_size(struct disk_file *file);

/* Reserves blocks for [0, bytes) and makes the file so long; they read as zeros. */
int disk_file_allocate(struct disk_file *file, uint64_t bytes);

/* Writes all of it at `offset`, continuing short writes (`iov` is changed). 0 or -errno; after an
 * error nobody knows what was written. */
int disk_file_write(struct disk_file *file, struct iovec *iov, int count, uint64_t offset);

/* As much as there is: the byte count, less than `bytes` only at the file's end. */
int64_t disk_file_read(struct disk_file *file, void *bytes, size_t length, uint64_t offset);

/* fdatasync. An error is final: never call it again and believe the answer. */
int disk_file_sync(struct disk_file *file);

/* Makes [offset, offset + bytes) read as zeros; the file stays as long as it is. */
int disk_file_zero(struct disk_file *file, uint64_t offset, uint64_t bytes);

/* A read-only shared mapping of the first `bytes`, which follows later writes; NULL if refused. */
const uint8_t *disk_file_map(struct disk_file *file, uint64_t bytes);
void disk_file_unmap(struct disk_file *file, const uint8_t *map, uint64_t bytes);

/* Drops what of the file is clean from the page cache, so that reads see the disk. */
void disk_file_drop_cache(struct disk_file *file);

/* Whether reading [offset, offset + bytes) needs no disk, as far as can be told: what is not there is
 * read by a job first. Any thread. */
bool disk_file_is_resident(struct disk_file *file, uint64_t offset, uint64_t bytes);

/* Reads a range, which somebody reads in order, into the page cache, and may have the system read on
 * behind it: what cannot be read is found out by who wants it. For jobs. */
void disk_file_read_ahead(struct disk_file *file, uint64_t offset, uint64_t bytes);

/* Asks for a range, and for nothing behind it, and waits for none of it. For jobs: asking alone takes a quarter
 * of a millisecond a MiB. */
void disk_file_prefetch(struct disk_file *file, uint64_t offset, uint64_t bytes);

/* Waits until a range is in the page cache, reading what nobody asked for yet. 0 or -errno. For jobs. */
int disk_file_fetch(struct disk_file *file, uint64_t offset, uint64_t bytes);

/* Drops what of a range is clean from the page cache, and from `map` (NULL: it is not mapped), which
 * stays valid. Any thread. */
void disk_file_drop_range(struct disk_file *file, const uint8_t *map, uint64_t offset,
                          uint64_t bytes);

/* For sendfile: a file descriptor, or -1 where there is none (simulated). */
int disk_file_descriptor(const struct disk_file *file);

/* ----------------------------------------------------------- directories */

int disk_make_directory(struct disk *disk, const char *path); /* 0 also if it is there */
int disk_rename(struct disk *disk, const char *from, const char *to);
int disk_remove(struct disk *disk, const char *path); /* a file; 0 also if it is not there */
int disk_sync_directory(struct disk *disk, const char *path); /* "" is the store's own */

/* Calls `each` with every name in `path`, in no order, until it answers false. */
int disk_list(struct disk *disk, const char *path, bool (*each)(void *context, const char *name),
              void *context);

int64_t disk_free_bytes(struct disk *disk); /* what an unprivileged writer may still use */

/* ------------------------------------------------------------------ jobs */

/* Three workers a submitting reactor, so that neither making and removing files nor reading what is
 * far behind ever delays a sync. */
enum disk_worker { DISK_WORKER_SYNC, DISK_WORKER_FILES, DISK_WORKER_READ };

struct disk_job {
    void (*work)(struct disk_job *job); /* on the worker: touches only what the job owns */
    void (*done)(struct disk_job *job); /* on the reactor */
    struct op op;                       /* disk */
    struct disk_job *next;              /* disk */
    struct reactor *reactor;            /* disk */
    bool in_flight;                     /* disk; read it, do not set it */
};

/* Jobs of one reactor and one worker run one after the other, in order. */
void disk_submit(struct disk *disk, struct reactor *reactor, enum disk_worker worker,
                 struct disk_job *job);

#endif
