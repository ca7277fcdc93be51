/* SPDX-License-Identifier: Apache-2.0 */

/*
 * disk_simulated.c - one process's use of an image: files, faults, jobs.
 */

#include "storage/disk_simulated.h"

#include "net/simulation.h"
#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/base/list.h"
#include "proto/base/random.h"
#include "storage/disk_backend.h"
#include "storage/disk_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { WORKERS_MAX = 128 };

/* The jobs of one reactor and worker, in order. */
struct worker {
    struct reactor *reactor;
    enum disk_worker kind;
    struct disk_job *first;
    struct disk_job **last;
    struct disk_job *worked; /* its work is done, it is not yet home */
    uint64_t rest_ns;        /* from its work until it is home */
    bool is_scheduled;
};

struct simulated_disk {
    struct disk disk;
    struct disk_image *image;
    struct disk_simulated_options options;
    struct random random;
    struct list files;
    struct worker workers[WORKERS_MAX];
    uint32_t worker_count;
    struct list wakes; /* events of the simulation that are still to come */
    bool is_working;   /* a job is done: it may wait */
    uint64_t waits;
};

struct simulated_file {
    struct disk_file file;
    struct image_file *content;
    bool is_writable;
    struct list link;
};

/* A moment at which a worker goes on; outlives the disk if that is killed before. */
struct wake {
    struct simulated_disk *disk; /* NULL: killed */
    struct worker *worker;
    struct list link;
};

static struct simulated_disk *simulated(struct disk *disk)
{
    return (struct simulated_disk *)disk;
}

static struct simulated_file *file_of(struct disk_file *file)
{
    return (struct simulated_file *)file;
}

static int fault_of(struct disk *disk, enum disk_call call)
{
    const struct disk_simulated_options *options = &simulated(disk)->options;
    return options->fault == NULL ? 0 : options->fault(options->fault_context, call);
}

/* ----------------------------------------------------------------- files */

static int simulated_file_open(struct disk *disk, const char *path, enum disk_open_mode mode,
                               struct disk_file **file_out)
{
    int fault = fault_of(disk, DISK_CALL_OPEN);
    if (fault < 0) {
        return fault;
    }
    struct disk_image *image = simulated(disk)->image;
    struct image_file *content = image_find(image, path);
    if (mode == DISK_CREATE) {
        if (content != NULL) {
            return -EEXIST;
        }
        content = image_create_file(image, path);
    }
    if (content == NULL) {
        return -ENOENT;
    }
    struct simulated_file *file = calloc(1, sizeof(*file));
    ASSERT(file != NULL);
    file->file.disk = disk;
    file->content = content;
    file->is_writable = mode != DISK_READ;
    image_file_ref(content);
    list_append(&simulated(disk)->files, &file->link);
    *file_out = &file->file;
    return 0;
}

static void simulated_file_close(struct disk_file *file)
{
    struct simulated_file *own = file_of(file);
    list_remove(&own->link);
    image_file_unref(own->content);
    free(own);
}

static int64_t simulated_file_size(struct disk_file *file)
{
    return (int64_t)file_of(file)->content->size;
}

static int simulated_file_allocate(struct disk_file *file, uint64_t bytes)
{
    struct simulated_disk *disk = simulated(file->disk);
    struct image_file *content = file_of(file)->content;
    int fault = fault_of(file->disk, DISK_CALL_ALLOCATE);
    if (fault < 0) {
        return fault;
    }
    uint64_t more = bytes > content->size ? bytes - content->size : 0;
    if (disk->options.capacity_bytes != 0 &&
        image_bytes(disk->image) + more > disk->options.capacity_bytes) {
        return -ENOSPC;
    }
    image_allocate(content, bytes);
    return 0;
}

static int simulated_file_write(struct disk_file *file, struct iovec *iov, int count,
                                uint64_t offset)
{
    struct simulated_file *own = file_of(file);
    ASSERT(own->is_writable);
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++) {
        bytes += iov[i].iov_len;
    }
    int fault = fault_of(file->disk, DISK_CALL_WRITE);
    uint64_t left = fault < 0 ? bytes / 2 : bytes;
    uint8_t *gathered = malloc(bytes + 1);
    ASSERT(gathered != NULL);
    uint64_t at = 0;
    for (int i = 0; i < count; i++) {
        if (iov[i].iov_len > 0) {
            memcpy(gathered + at, iov[i].iov_base, iov[i].iov_len);
        }
        at += iov[i].iov_len;
    }
    if (left > 0) {
        image_write(own->content, offset, gathered, left);
    }
    free(gathered);
    return fault;
}

static int64_t simulated_file_read(struct disk_file *file, void *bytes, size_t length,
                                   uint64_t offset)
{
    struct image_file *content = file_of(file)->content;
    struct simulated_disk *disk = simulated(file->disk);
    int fault = fault_of(file->disk, DISK_CALL_READ);
    if (fault < 0) {
        return fault;
    }
    disk->waits += !disk->is_working && !image_cache_has(content, offset, length);
    image_cache_fill(content, offset, length);
    if (offset >= content->size) {
        return 0;
    }
    uint64_t left = content->size - offset;
    size_t now = length < left ? length : (size_t)left;
    memcpy(bytes, content->bytes + offset, now);
    return (int64_t)now;
}

static int simulated_file_sync(struct disk_file *file)
{
    int fault = fault_of(file->disk, DISK_CALL_SYNC);
    image_sync(file_of(file)->content, fault == 0);
    return fault;
}

static int simulated_file_zero(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    int fault = fault_of(file->disk, DISK_CALL_ZERO);
    if (fault == 0 && bytes > 0) {
        image_zero(file_of(file)->content, offset, bytes);
    }
    return fault;
}

static const uint8_t *simulated_file_map(struct disk_file *file, uint64_t bytes)
{
    struct image_file *content = file_of(file)->content;
    if (bytes > content->size) {
        return NULL;
    }
    content->maps++;
    return content->bytes;
}

static void simulated_file_unmap(struct disk_file *file, const uint8_t *map, uint64_t bytes)
{
    struct image_file *content = file_of(file)->content;
    (void)bytes;
    ASSERT(content->maps > 0 && map == content->bytes);
    content->maps--;
}

static void simulated_file_drop_cache(struct disk_file *file)
{
    image_drop_cache(file_of(file)->content);
}

static bool simulated_file_is_resident(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    struct simulated_disk *disk = simulated(file->disk);
    struct image_file *content = file_of(file)->content;
    uint32_t one_in = disk->options.forgets_one_in;
    if (one_in != 0 && random_below(&disk->random, one_in) == 0) {
        image_cache_drop(content, offset, bytes + IMAGE_PAGE_BYTES);
    }
    return image_cache_has(content, offset, bytes);
}

static void simulated_file_read_ahead(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    ASSERT(simulated(file->disk)->is_working);
    image_cache_fill(file_of(file)->content, offset, bytes);
}

static int simulated_file_fetch(struct disk_file *file, uint64_t offset, uint64_t bytes)
{
    ASSERT(simulated(file->disk)->is_working);
    int fault = fault_of(file->disk, DISK_CALL_READ);
    if (fault == 0) {
        image_cache_fill(file_of(file)->content, offset, bytes);
    }
    return fault;
}

static void simulated_file_drop_range(struct disk_file *file, const uint8_t *map, uint64_t offset,
                                      uint64_t bytes)
{
    (void)map;
    image_cache_drop(file_of(file)->content, offset, bytes);
}

static int simulated_file_descriptor(const struct disk_file *file)
{
    (void)file;
    return -1;
}

/* ----------------------------------------------------------- directories */

static int simulated_make_directory(struct disk *disk, const char *path)
{
    image_make_directory(simulated(disk)->image, path);
    return 0;
}

static int simulated_rename(struct disk *disk, const char *from, const char *to)
{
    int fault = fault_of(disk, DISK_CALL_RENAME);
    if (fault < 0) {
        return fault;
    }
    return image_rename(simulated(disk)->image, from, to) ? 0 : -ENOENT;
}

static int simulated_remove(struct disk *disk, const char *path)
{
    int fault = fault_of(disk, DISK_CALL_REMOVE);
    if (fault == 0) {
        image_remove(simulated(disk)->image, path);
    }
    return fault;
}

static int simulated_sync_directory(struct disk *disk, const char *path)
{
    int fault = fault_of(disk, DISK_CALL_SYNC_DIRECTORY);
    if (fault == 0) {
        image_sync_directory(simulated(disk)->image, path);
    }
    return fault;
}

static int simulated_list(struct disk *disk, const char *path,
                          bool (*each)(void *context, const char *name), void *context)
{
    return image_list(simulated(disk)->image, path, each, context);
}

static int64_t simulated_free_bytes(struct disk *disk)
{
    const struct simulated_disk *own = simulated(disk);
    uint64_t used = image_bytes(own->image);
    uint64_t capacity = own->options.capacity_bytes;
    if (capacity == 0) {
        return INT64_MAX;
    }
    return used < capacity ? (int64_t)(capacity - used) : 0;
}

/* ------------------------------------------------------------------ jobs */

static void job_home(struct op *op, int64_t result)
{
    struct disk_job *job = CONTAINER_OF(op, struct disk_job, op);
    (void)result;
    job->in_flight = false;
    job->done(job);
}

/* Takes the first job and does its work. */
static struct disk_job *work_first(struct simulated_disk *disk, struct worker *worker)
{
    struct disk_job *job = worker->first;
    worker->first = job->next;
    if (worker->first == NULL) {
        worker->last = &worker->first;
    }
    disk->is_working = true;
    job->work(job);
    disk->is_working = false;
    return job;
}

static void send_home(struct disk_job *job)
{
    job->op.done = job_home;
    reactor_post(job->reactor, &job->op, 0);
}

static void schedule(struct simulated_disk *disk, struct worker *worker);

static void wake_up(void *context)
{
    struct wake *wake = context;
    struct simulated_disk *disk = wake->disk;
    struct worker *worker = wake->worker;
    if (disk != NULL) {
        list_remove(&wake->link);
        worker->is_scheduled = false;
        if (worker->worked == NULL) {
            worker->worked = work_first(disk, worker);
        } else {
            struct disk_job *job = worker->worked;
            worker->worked = NULL;
            send_home(job);
        }
        schedule(disk, worker);
    }
    free(wake);
}

/* When the worker goes on: with the first job's work, at a random moment of the time that the job
 * takes, or when that time is over. What is written between the two a sync does not cover. */
static uint64_t next_step_ns(const struct simulated_disk *disk, struct worker *worker)
{
    const struct disk_simulated_options *options = &disk->options;
    if (worker->worked != NULL) {
        return worker->rest_ns;
    }
    uint64_t range = options->job_ns_most - options->job_ns_least + 1;
    uint64_t takes_ns = options->job_ns_least + simulation_random(options->simulation) % range;
    uint64_t work_ns = simulation_random(options->simulation) % (takes_ns + 1);
    worker->rest_ns = takes_ns - work_ns;
    return work_ns;
}

static void schedule(struct simulated_disk *disk, struct worker *worker)
{
    struct simulation *simulation = disk->options.simulation;
    bool is_idle = worker->first == NULL && worker->worked == NULL;
    if (simulation == NULL || is_idle || worker->is_scheduled) {
        return;
    }
    struct wake *wake = calloc(1, sizeof(*wake));
    ASSERT(wake != NULL);
    wake->disk = disk;
    wake->worker = worker;
    list_append(&disk->wakes, &wake->link);
    worker->is_scheduled = true;
    simulation_at(simulation, simulation_now_ns(simulation) + next_step_ns(disk, worker), wake_up,
                  wake);
}

static struct worker *worker_for(struct simulated_disk *disk, struct reactor *reactor,
                                 enum disk_worker kind)
{
    for (uint32_t i = 0; i < disk->worker_count; i++) {
        if (disk->workers[i].reactor == reactor && disk->workers[i].kind == kind) {
            return &disk->workers[i];
        }
    }
    ASSERT(disk->worker_count < WORKERS_MAX);
    struct worker *worker = &disk->workers[disk->worker_count++];
    worker->reactor = reactor;
    worker->kind = kind;
    worker->last = &worker->first;
    return worker;
}

static void simulated_submit(struct disk *disk, struct reactor *reactor, enum disk_worker kind,
                             struct disk_job *job)
{
    struct worker *worker = worker_for(simulated(disk), reactor, kind);
    job->next = NULL;
    *worker->last = job;
    worker->last = &job->next;
    schedule(simulated(disk), worker);
}

uint64_t disk_simulated_waits(const struct disk *disk)
{
    return ((const struct simulated_disk *)disk)->waits;
}

bool disk_simulated_run_job(struct disk *disk)
{
    struct simulated_disk *own = simulated(disk);
    ASSERT(own->options.simulation == NULL);
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < own->worker_count; i++) {
        waiting += own->workers[i].first != NULL;
    }
    if (waiting == 0) {
        return false;
    }
    uint64_t chosen = random_below(&own->random, waiting);
    for (uint32_t i = 0; i < own->worker_count; i++) {
        if (own->workers[i].first != NULL && chosen-- == 0) {
            send_home(work_first(own, &own->workers[i]));
            break;
        }
    }
    return true;
}

/* ------------------------------------------------------------------ life */

static void free_disk(struct simulated_disk *disk)
{
    LIST_FOREACH (link, &disk->wakes) {
        CONTAINER_OF(link, struct wake, link)->disk = NULL;
    }
    disk->image->is_open = false;
    free(disk);
}

static void simulated_close(struct disk *disk)
{
    struct simulated_disk *own = simulated(disk);
    ASSERT(list_is_empty(&own->files));
    for (uint32_t i = 0; i < own->worker_count; i++) {
        ASSERT(own->workers[i].first == NULL && own->workers[i].worked == NULL);
    }
    free_disk(own);
}

void disk_simulated_kill(struct disk *disk)
{
    struct simulated_disk *own = simulated(disk);
    LIST_FOREACH (link, &own->files) {
        struct simulated_file *file = CONTAINER_OF(link, struct simulated_file, link);
        file->content->maps = 0;
        simulated_file_close(&file->file);
    }
    free_disk(own);
}

static const struct disk_operations simulated_operations = {
    .close = simulated_close,
    .file_open = simulated_file_open,
    .file_close = simulated_file_close,
    .file_size = simulated_file_size,
    .file_allocate = simulated_file_allocate,
    .file_write = simulated_file_write,
    .file_read = simulated_file_read,
    .file_sync = simulated_file_sync,
    .file_zero = simulated_file_zero,
    .file_map = simulated_file_map,
    .file_unmap = simulated_file_unmap,
    .file_drop_cache = simulated_file_drop_cache,
    .file_is_resident = simulated_file_is_resident,
    .file_read_ahead = simulated_file_read_ahead,
    .file_prefetch = simulated_file_read_ahead,
    .file_fetch = simulated_file_fetch,
    .file_drop_range = simulated_file_drop_range,
    .file_descriptor = simulated_file_descriptor,
    .make_directory = simulated_make_directory,
    .rename = simulated_rename,
    .remove = simulated_remove,
    .sync_directory = simulated_sync_directory,
    .list = simulated_list,
    .free_bytes = simulated_free_bytes,
    .submit = simulated_submit,
};

struct disk *disk_simulated_open(struct disk_image *image,
                                 const struct disk_simulated_options *options)
{
    ASSERT(!image->is_open);
    struct simulated_disk *disk = calloc(1, sizeof(*disk));
    ASSERT(disk != NULL);
    disk->disk.operations = &simulated_operations;
    disk->image = image;
    disk->options = *options;
    random_init(&disk->random, options->seed);
    list_init(&disk->files);
    list_init(&disk->wakes);
    image->is_open = true;
    return &disk->disk;
}
