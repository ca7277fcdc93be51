/* SPDX-License-Identifier: Apache-2.0 */

/*
 * warming.c - cold ranges, and the jobs that read them.
 */

#include "storage/warming.h"

#include "proto/base/contract.h"
#include "storage/log_state.h"

#include <stdlib.h>

enum {
    INDEX_BEHIND_BYTES = 128 * 1024, /* 16 bytes a message */
    /* Of the newest jobs, for one that brings the same: to miss one costs a job more. */
    SHARED_MAX = 64,
    /* Runs that lie so near to each other are asked about together. */
    PROBE_SPAN_BYTES = 1024 * 1024
};

struct warming {
    struct disk_job job;
    struct commit_log *log;
    struct list link;        /* log->warmings */
    struct list waiters;     /* struct warm_waiter */
    struct cold_range range; /* its segment is a reference */
    struct disk_file *file;  /* that of the segment, or of the index that it had */
    uint64_t behind_bytes;   /* right behind the range: asked for, not waited for */
    uint64_t started_ns;
    int error;
};

/* ------------------------------------------------------------------- jobs */

static void warming_work(struct disk_job *job)
{
    struct warming *warming = CONTAINER_OF(job, struct warming, job);
    const struct cold_range *range = &warming->range;
    disk_file_prefetch(warming->file, range->offset, range->bytes + warming->behind_bytes);
    warming->error = disk_file_fetch(warming->file, range->offset, range->bytes);
}

static void warming_done(struct disk_job *job)
{
    struct warming *warming = CONTAINER_OF(job, struct warming, job);
    struct commit_log *log = warming->log;
    struct segment *segment = warming->range.segment;
    uint64_t took_ns = reactor_now_ns(log->reactor) - warming->started_ns;
    log->counters.warm_ns_total += took_ns;
    if (took_ns > log->counters.warm_ns_max) {
        log->counters.warm_ns_max = took_ns;
    }
    list_remove(&warming->link);
    log->jobs--;
    /* Emptied before anybody is told: who is told may find the next cold range at once. */
    struct list told;
    struct list *link;
    int error = warming->error;
    list_init(&told);
    list_move_all(&told, &warming->waiters);
    free(warming);
    while ((link = list_take_first(&told)) != NULL) {
        struct warm_waiter *waiter = CONTAINER_OF(link, struct warm_waiter, link);
        waiter->warmed(waiter, error);
    }
    segment_unref(segment);
}

static struct warming *submit(struct commit_log *log, const struct cold_range *range,
                              uint64_t behind_bytes)
{
    struct warming *warming = calloc(1, sizeof(*warming));
    ASSERT(warming != NULL);
    warming->log = log;
    warming->range = *range;
    /* A damaged index that was made again meanwhile may be in memory now: what is read then is of no use,
     * and does no harm. */
    const struct segment *segment = range->segment;
    bool of_index = range->of_index && segment->index.file != NULL;
    warming->file = of_index ? segment->index.file : segment->file;
    warming->behind_bytes = behind_bytes;
    warming->started_ns = reactor_now_ns(log->reactor);
    warming->job.work = warming_work;
    warming->job.done = warming_done;
    list_init(&warming->waiters);
    list_init(&warming->link);
    list_prepend(&log->warmings, &warming->link);
    segment_ref(range->segment);
    log->jobs++;
    log->counters.warmed_bytes += range->bytes + behind_bytes;
    disk_submit(log->disk, log->reactor, DISK_WORKER_READ, &warming->job);
    return warming;
}

/* How much behind a range is asked for at the same time: whoever reads on needs it next. */
static uint64_t bytes_behind(struct commit_log *log, const struct cold_range *range)
{
    if (range->of_index) {
        uint64_t left = range->segment->index.map_bytes - range->offset - range->bytes;
        return left < INDEX_BEHIND_BYTES ? left : INDEX_BEHIND_BYTES;
    }
    return range->reader.topic == 0 ? 0 : read_ahead_missed(log, range);
}

static bool is_same(const struct cold_range *one, const struct cold_range *other)
{
    return one->segment == other->segment && one->of_index == other->of_index &&
           one->offset == other->offset && one->bytes == other->bytes;
}

void commit_log_warm(struct commit_log *log, const struct cold_range *range,
                     struct warm_waiter *waiter)
{
    struct warming *warming = NULL;
    uint32_t looked_at = 0;
    LIST_FOREACH (link, &log->warmings) {
        struct warming *one = CONTAINER_OF(link, struct warming, link);
        if (is_same(&one->range, range)) {
            warming = one;
            break;
        }
        if (++looked_at == SHARED_MAX) {
            break;
        }
    }
    if (warming == NULL) {
        warming = submit(log, range, bytes_behind(log, range));
    }
    log->counters.cold_reads++;
    list_init(&waiter->link);
    list_append(&warming->waiters, &waiter->link);
}

/* ------------------------------------------------------------------ asking */

void log_note_recent(struct commit_log *log)
{
    uint64_t now_ns = reactor_now_ns(log->reactor);
    uint64_t passed_ns = now_ns - log->recent_ns;
    if (passed_ns >= RECENT_NS) {
        log->recent = passed_ns < 2 * (uint64_t)RECENT_NS ? log->recent_next : log->end;
        log->recent_next = log->end;
        log->recent_ns = now_ns;
    }
}

uint64_t log_recent(const struct commit_log *log)
{
    uint64_t passed_ns = reactor_now_ns(log->reactor) - log->recent_ns;
    return passed_ns < 2 * (uint64_t)RECENT_NS ? log->recent : UINT64_MAX;
}

/* Whether records lie in the page cache. Of those who read what was just written, nearly all, nothing
 * is asked of the system. */
static bool has_records(const struct commit_log *log, const struct segment *segment, uint64_t place,
                        uint64_t bytes)
{
    return segment->base + place >= log_recent(log) ||
           disk_file_is_resident(segment->file, place, bytes);
}

static bool has_part_of_index(struct segment *segment, uint64_t offset, uint64_t bytes,
                              struct cold_range *cold)
{
    struct index *index = &segment->index;
    if (cold == NULL || disk_file_is_resident(index->file, offset, bytes)) {
        return true;
    }
    *cold =
        (struct cold_range){.segment = segment, .of_index = true, .offset = offset, .bytes = bytes};
    return false;
}

bool warming_has_rows(struct segment *segment, struct cold_range *cold)
{
    const struct index *index = &segment->index;
    return index->file == NULL || index->rows_kept != NULL ||
           has_part_of_index(segment, 0, index_rows_end(index), cold);
}

bool warming_has_entries(struct segment *segment, const struct index_entry *entries, uint64_t count,
                         struct cold_range *cold)
{
    const struct index *index = &segment->index;
    return index->file == NULL ||
           has_part_of_index(segment, (uint64_t)((const uint8_t *)entries - index->map),
                             count * sizeof(*entries), cold);
}

bool warming_has_record(const struct commit_log *log, struct segment *segment, uint64_t place,
                        uint64_t bytes, struct cold_range *cold)
{
    if (cold == NULL || has_records(log, segment, place, bytes)) {
        return true;
    }
    *cold = (struct cold_range){.segment = segment, .offset = place, .bytes = bytes};
    return false;
}

static bool has_run(const struct commit_log *log, const struct run *run)
{
    return has_records(log, run->segment, run->place, run->bytes);
}

/* Whether a list lies in one segment, so near together that one question does for all of it. */
static bool has_all_together(const struct commit_log *log, const struct run_list *list)
{
    const struct run *first = &list->runs[0];
    const struct run *last = &list->runs[list->count - 1];
    uint64_t span = (uint64_t)last->place + last->bytes - first->place;
    return first->segment == last->segment && span <= PROBE_SPAN_BYTES &&
           has_records(log, first->segment, first->place, span);
}

/* Gives the runs from `count` on back. */
static void cut_list(struct run_list *list, uint32_t count)
{
    for (uint32_t i = count; i < list->count; i++) {
        list->messages -= list->runs[i].messages;
        list->bytes -= list->runs[i].bytes;
        segment_unref(list->runs[i].segment);
    }
    list->count = count;
}

bool warming_cut(struct commit_log *log, struct run_list *list, struct cold_range *cold)
{
    uint32_t here = has_all_together(log, list) ? list->count : 0;
    while (here < list->count && has_run(log, &list->runs[here])) {
        here++;
    }
    if (here == 0) {
        const struct run *first = &list->runs[0];
        *cold = (struct cold_range){
            .segment = first->segment, .offset = first->place, .bytes = first->bytes};
    }
    cut_list(list, here);
    return here > 0;
}
