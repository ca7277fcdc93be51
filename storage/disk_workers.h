/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_DISK_WORKERS_H
#define STORAGE_DISK_WORKERS_H

/*
 * disk_workers.h - the helper threads of the real disk: three a submitting reactor.
 *
 * What may block for long runs here, so that a loop never does. A worker is started at its
 * reactor's first job, and runs the jobs of that reactor in order; each comes home by
 * reactor_post(). Signals are blocked in workers.
 *
 * Memory:  a thread and a queue a worker; jobs are their submitters'.
 * Threads: submit on the reactor's; the rest at start and end.
 */

#include "storage/disk.h"

struct disk_workers;

/* Aborts where there is no memory: made at start. */
struct disk_workers *disk_workers_create(void);

/* Ends and joins the threads; no job may be under way: asserted. */
void disk_workers_destroy(struct disk_workers *workers);

/* Aborts where no thread can be made: without its worker a log can neither sync nor end. */
void disk_workers_submit(struct disk_workers *workers, struct reactor *reactor,
                         enum disk_worker worker, struct disk_job *job);

#endif
