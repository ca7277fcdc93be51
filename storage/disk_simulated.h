/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_DISK_SIMULATED_H
#define STORAGE_DISK_SIMULATED_H

/*
 * disk_simulated.h - disks in memory, which remember what was not synced.
 *
 * An image is a medium: files, and, if it shall remember, every event since it was made. A disk is
 * one process's use of it. Closing a disk leaves the image as it is, as a process that ends leaves
 * the page cache; killing one does the same with files still open and jobs still under way. A power
 * cut is disk_image_cut(): the image that the platter could hold if the power had failed behind any
 * event of the past:
 *
 *   - what a successful sync of its file or directory followed is there
 *   - of the rest, what the cut keeps: nothing, all, a prefix, or a seeded subset in which writes
 *     are torn at 512 bytes
 *   - what a sync that failed should have synced is never kept by a later sync
 *
 * Jobs take simulated time, one after the other for a reactor and worker. A job's work happens at a
 * random moment of that time: what is written before it a sync covers, what is written between it and
 * the job's end it does not. Without a simulation disk_simulated_run_job() runs one.
 *
 * Memory:  the image owns files and events: a copy of all that was written, while it remembers.
 * Threads: one.
 */

#include "storage/disk.h"

#include <stdbool.h>
#include <stdint.h>

struct disk_image;
struct simulation;

enum disk_event_kind {
    DISK_EVENT_CREATE,
    DISK_EVENT_ALLOCATE,
    DISK_EVENT_WRITE,
    DISK_EVENT_ZERO,
    DISK_EVENT_SYNC,
    DISK_EVENT_MAKE_DIRECTORY,
    DISK_EVENT_RENAME,
    DISK_EVENT_REMOVE,
    DISK_EVENT_SYNC_DIRECTORY
};

enum disk_keep {
    DISK_KEEP_NONE,
    DISK_KEEP_ALL,
    DISK_KEEP_PREFIX, /* the first `number` events that were not synced */
    DISK_KEEP_SUBSET  /* `number` is the seed */
};

struct disk_cut {
    uint64_t events; /* so many had happened */
    enum disk_keep keep;
    uint64_t number;
};

/* An empty medium. */
struct disk_image *disk_image_create(bool remembers);

/* No disk may be open on it. */
void disk_image_destroy(struct disk_image *image);

uint64_t disk_image_events(const struct disk_image *image);
enum disk_event_kind disk_image_event_kind(const struct disk_image *image, uint64_t event);

/* Of the first `events`, how many were neither synced nor are syncs. */
uint64_t disk_image_unsynced(const struct disk_image *image, uint64_t events);

/* What a power cut leaves, as a new image. The old one must remember; it stays as it is. */
struct disk_image *disk_image_cut(const struct disk_image *image, const struct disk_cut *cut,
                                  bool remembers);

/* A file's bytes, to look at or to damage; NULL if it is not there. They stay until it is written,
 * allocated or removed. */
uint8_t *disk_image_bytes(struct disk_image *image, const char *path, uint64_t *bytes_out);

/* Puts a file there, as if it had been synced. */
void disk_image_put(struct disk_image *image, const char *path, const void *bytes, size_t length);

/* Nothing of it is in the page cache any more. */
void disk_image_cool(struct disk_image *image);

/* What a disk is asked, for faults. */
enum disk_call {
    DISK_CALL_OPEN,
    DISK_CALL_ALLOCATE,
    DISK_CALL_WRITE,
    DISK_CALL_READ,
    DISK_CALL_SYNC,
    DISK_CALL_ZERO,
    DISK_CALL_RENAME,
    DISK_CALL_REMOVE,
    DISK_CALL_SYNC_DIRECTORY
};

struct disk_simulated_options {
    struct simulation *simulation; /* NULL: jobs run at disk_simulated_run_job() */
    uint64_t job_ns_least;         /* what a job takes */
    uint64_t job_ns_most;
    uint64_t capacity_bytes; /* of all files; 0: no bound */
    uint64_t seed;           /* of the order of jobs, without a simulation */
    uint32_t forgets_one_in; /* questions for what is in the page cache; 0: what is there stays */

    /* Asked before every call: 0, or the -errno that it shall fail with. A write that fails has
     * written its first half. NULL: nothing fails. */
    int (*fault)(void *context, enum disk_call call);
    void *fault_context;
};

/* A process begins to use the image; one at a time. */
struct disk *disk_simulated_open(struct disk_image *image,
                                 const struct disk_simulated_options *options);

/* How often somebody outside of a job read what was not in the page cache, and would have waited. */
uint64_t disk_simulated_waits(const struct disk *disk);

/* Its process is killed: files are closed, jobs forgotten, nobody is told. */
void disk_simulated_kill(struct disk *disk);

/* Runs one job that waits, of a worker chosen by the seed, and posts it home. False: none. */
bool disk_simulated_run_job(struct disk *disk);

#endif
