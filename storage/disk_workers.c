/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk_workers.c - helper threads that run disk jobs, one queue each.
 */

#include "storage/disk_workers.h"

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/limits.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

static const char *const worker_names[] = {
    [DISK_WORKER_SYNC] = "disk-sync",
    [DISK_WORKER_FILES] = "disk-files",
    [DISK_WORKER_READ] = "disk-read",
};

enum { WORKER_KINDS = sizeof(worker_names) / sizeof(worker_names[0]) };

struct worker {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t filled;
    struct disk_job *first;
    struct disk_job **last; /* where the next job is linked */
    bool ends;
    bool busy;
};

struct reactor_workers {
    struct reactor *reactor;
    struct worker *workers[WORKER_KINDS];
};

struct disk_workers {
    pthread_mutex_t mutex; /* of the table; taken once a job, which is rare */
    struct reactor_workers table[SHARDS_MAX];
    uint32_t count;
};

/* ------------------------------------------------------------------ jobs */

static void job_home(struct op *op, int64_t result)
{
    struct disk_job *job = CONTAINER_OF(op, struct disk_job, op);
    (void)result;
    job->in_flight = false;
    job->done(job);
}

static struct disk_job *worker_take(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    worker->busy = false;
    while (worker->first == NULL && !worker->ends) {
        pthread_cond_wait(&worker->filled, &worker->mutex);
    }
    struct disk_job *job = worker->first;
    if (job != NULL) {
        worker->first = job->next;
        if (worker->first == NULL) {
            worker->last = &worker->first;
        }
        worker->busy = true;
    }
    pthread_mutex_unlock(&worker->mutex);
    return job;
}

static void *worker_run(void *context)
{
    struct worker *worker = context;
    struct disk_job *job;
    while ((job = worker_take(worker)) != NULL) {
        job->work(job);
        job->op.done = job_home;
        reactor_post(job->reactor, &job->op, 0);
    }
    return NULL;
}

static void worker_give(struct worker *worker, struct disk_job *job)
{
    job->next = NULL;
    pthread_mutex_lock(&worker->mutex);
    *worker->last = job;
    worker->last = &job->next;
    pthread_cond_signal(&worker->filled);
    pthread_mutex_unlock(&worker->mutex);
}

/* ------------------------------------------------------------------ life */

static struct worker *worker_create(enum disk_worker kind)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    ASSERT(worker != NULL);
    worker->last = &worker->first;
    ASSERT(pthread_mutex_init(&worker->mutex, NULL) == 0);
    ASSERT(pthread_cond_init(&worker->filled, NULL) == 0);

    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ASSERT(pthread_create(&worker->thread, NULL, worker_run, worker) == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_setname_np(worker->thread, worker_names[kind]);
    return worker;
}

static void worker_destroy(struct worker *worker)
{
    pthread_mutex_lock(&worker->mutex);
    ASSERT(worker->first == NULL);
    worker->ends = true;
    pthread_cond_signal(&worker->filled);
    pthread_mutex_unlock(&worker->mutex);
    pthread_join(worker->thread, NULL);
    pthread_cond_destroy(&worker->filled);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
}

struct disk_workers *disk_workers_create(void)
{
    struct disk_workers *workers = calloc(1, sizeof(*workers));
    ASSERT(workers != NULL);
    ASSERT(pthread_mutex_init(&workers->mutex, NULL) == 0);
    return workers;
}

void disk_workers_destroy(struct disk_workers *workers)
{
    for (uint32_t i = 0; i < workers->count; i++) {
        for (int kind = 0; kind < WORKER_KINDS; kind++) {
            if (workers->table[i].workers[kind] != NULL) {
                worker_destroy(workers->table[i].workers[kind]);
            }
        }
    }
    pthread_mutex_destroy(&workers->mutex);
    free(workers);
}

static struct worker *workers_find(struct disk_workers *workers, struct reactor *reactor,
                                   enum disk_worker kind)
{
    pthread_mutex_lock(&workers->mutex);
    uint32_t i = 0;
    while (i < workers->count && workers->table[i].reactor != reactor) {
        i++;
    }
    if (i == workers->count) {
        ASSERT(workers->count < SHARDS_MAX);
        workers->table[i].reactor = reactor;
        workers->count++;
    }
    if (workers->table[i].workers[kind] == NULL) {
        workers->table[i].workers[kind] = worker_create(kind);
    }
    struct worker *worker = workers->table[i].workers[kind];
    pthread_mutex_unlock(&workers->mutex);
    return worker;
}

void disk_workers_submit(struct disk_workers *workers, struct reactor *reactor,
                         enum disk_worker kind, struct disk_job *job)
{
    worker_give(workers_find(workers, reactor, kind), job);
}
