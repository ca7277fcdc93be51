/* SPDX-License-Identifier: Apache-2.0 */

/*
 * read_ahead.c - windows that move along the log, and the jobs that read and drop their chunks.
 */

#include "storage/read_ahead.h"

#include "proto/base/contract.h"
#include "storage/log_state.h"

#include <stdlib.h>

/* Who was not seen for so long is gone, and so is what was kept for him. */
#define READER_GONE_NS (UINT64_C(60) * 1000 * 1000 * 1000)

/* Who was seen since keeps his window, whoever else would like to have one. */
#define READER_ACTIVE_NS (UINT64_C(2) * 1000 * 1000 * 1000)

enum { COUNT_MAX = UINT8_MAX };

/* One chunk, and where it lies in the log. */
struct chunk {
    struct segment *segment; /* NULL: there is none */
    uint64_t begin;
    uint64_t end;
};

/* Of which something is written. */
static uint64_t chunk_bytes(const struct chunk *chunk)
{
    uint64_t end = segment_end(chunk->segment);
    return (chunk->end < end ? chunk->end : end) - chunk->begin;
}

struct chunk_job {
    struct disk_job job;
    struct commit_log *log;
    struct segment *segment; /* a reference */
    bool drops;
    uint64_t offset;
    uint64_t bytes;
};

/* ------------------------------------------------------------------- jobs */

static void chunk_work(struct disk_job *job)
{
    struct chunk_job *chunks = CONTAINER_OF(job, struct chunk_job, job);
    struct segment *segment = chunks->segment;
    if (chunks->drops) {
        disk_file_drop_range(segment->file, segment->map, chunks->offset, chunks->bytes);
    } else {
        disk_file_read_ahead(segment->file, chunks->offset, chunks->bytes);
    }
}

static void chunk_done(struct disk_job *job)
{
    struct chunk_job *chunks = CONTAINER_OF(job, struct chunk_job, job);
    struct commit_log *log = chunks->log;
    log->ahead_bytes -= chunks->drops ? 0 : chunks->bytes;
    log->jobs--;
    segment_unref(chunks->segment);
    free(chunks);
}

/* Has a chunk read or dropped. */
static void submit(struct commit_log *log, const struct chunk *chunk, bool drops)
{
    struct segment *segment = chunk->segment;
    struct chunk_job *chunks = calloc(1, sizeof(*chunks));
    ASSERT(chunks != NULL);
    *chunks = (struct chunk_job){.job = {.work = chunk_work, .done = chunk_done},
                                 .log = log,
                                 .segment = segment,
                                 .drops = drops,
                                 .offset = chunk->begin - segment->base,
                                 .bytes = chunk_bytes(chunk)};
    segment_ref(segment);
    log->jobs++;
    if (drops) {
        log->counters.dropped_bytes += chunks->bytes;
    } else {
        log->counters.warmed_bytes += chunks->bytes;
        log->ahead_bytes += chunks->bytes;
    }
    disk_submit(log->disk, log->reactor, DISK_WORKER_READ, &chunks->job);
}

/* ----------------------------------------------------------------- chunks */

/* The chunk that a position lies in; of what retention has taken, or was not whole at a start, the next one
 * that is there. The last one of the open segment ends where it will when it is full. */
static struct chunk chunk_at(const struct commit_log *log, uint64_t position)
{
    uint32_t low = 0;
    uint32_t high = log->segment_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        *(log->segments[middle]->base <= position ? &low : &high) = middle;
    }
    low += position >= segment_end(log->segments[low]) && low + 1 < log->segment_count;
    struct segment *segment = log->segments[low];
    uint64_t place = position > segment->base ? position - segment->base : 0;
    if (place >= segment->used) {
        return (struct chunk){.segment = NULL}; /* the end of the log */
    }
    uint64_t begin = place / READ_CHUNK_BYTES * READ_CHUNK_BYTES;
    uint64_t end = begin + READ_CHUNK_BYTES;
    bool is_cut = end > segment->used && segment != log->open;
    return (struct chunk){.segment = segment,
                          .begin = segment->base + begin,
                          .end = segment->base + (is_cut ? segment->used : end)};
}

/* How many readers a chunk counts. A segment's counts are made at the first question; of the open one for
 * all that it will have. */
static uint8_t *count_of(const struct chunk *chunk)
{
    struct segment *segment = chunk->segment;
    if (segment->cold_readers == NULL) {
        segment->cold_readers = calloc(segment->map_bytes / READ_CHUNK_BYTES + 1, 1);
        ASSERT(segment->cold_readers != NULL);
    }
    return &segment->cold_readers[(chunk->begin - segment->base) / READ_CHUNK_BYTES];
}

static bool is_cold(const struct chunk *chunk)
{
    const struct segment *segment = chunk->segment;
    return !disk_file_is_resident(segment->file, chunk->begin - segment->base, chunk_bytes(chunk));
}

static void count_in(const struct chunk *chunk)
{
    uint8_t *count = count_of(chunk);
    *count = *count < COUNT_MAX ? (uint8_t)(*count + 1) : COUNT_MAX;
}

/* Counts the reader in the chunks up to the one that `to` lies in: those that are cold, and those that
 * were so to others. */
static void enter(struct commit_log *log, struct cold_reader *reader, uint64_t to)
{
    for (struct chunk chunk = chunk_at(log, reader->entered);
         chunk.segment != NULL && chunk.begin <= to; chunk = chunk_at(log, chunk.end)) {
        if (*count_of(&chunk) > 0 || is_cold(&chunk)) {
            count_in(&chunk);
        }
        reader->entered = chunk.end;
    }
}

/* Has those that count somebody read, up to the one that `to` lies in. */
static void read_up_to(struct commit_log *log, struct cold_reader *reader, uint64_t to)
{
    for (struct chunk chunk = chunk_at(log, reader->ahead);
         chunk.segment != NULL && chunk.begin <= to && log->ahead_bytes < READ_AHEAD_BYTES_MAX;
         chunk = chunk_at(log, chunk.end)) {
        if (*count_of(&chunk) > 0) {
            submit(log, &chunk, false);
        }
        reader->ahead = chunk.end;
    }
}

/* Moves the back of a window to the chunk that `to` lies in. What was just written is not dropped: it is
 * taken to be there. */
static void leave(struct commit_log *log, struct cold_reader *reader, uint64_t to, bool drops)
{
    to = to < reader->entered ? to : reader->entered;
    for (struct chunk chunk = chunk_at(log, reader->behind);
         chunk.segment != NULL && chunk.end <= to; chunk = chunk_at(log, chunk.end)) {
        uint8_t *count = count_of(&chunk);
        if (*count > 0 && --*count == 0 && drops && chunk.end <= log_recent(log)) {
            submit(log, &chunk, true);
        }
        reader->behind = chunk.end;
    }
}

/* Begins a new window where he is, if that lies before the one that he has. */
static void jump(struct commit_log *log, struct cold_reader *reader, uint64_t here)
{
    if (here > reader->entered) {
        leave(log, reader, reader->entered, true);
        reader->behind = here;
        reader->entered = here;
    }
}

/* ---------------------------------------------------------------- readers */

static void forget(struct commit_log *log, struct cold_reader *reader, bool drops)
{
    leave(log, reader, reader->entered, drops);
    *reader = (struct cold_reader){.seen_ns = 0};
}

static struct cold_reader *find(struct commit_log *log, const struct reader_place *at)
{
    for (uint32_t i = 0; i < COLD_READERS_MAX; i++) {
        const struct reader_place *next = &log->cold_readers[i].next;
        if (next->topic == at->topic && next->number == at->number && next->offset == at->offset) {
            return &log->cold_readers[i];
        }
    }
    return NULL;
}

/* Forgets who is gone, and if there is no room then, whoever was not seen for the longest time; NULL: all
 * were seen a moment ago. */
static struct cold_reader *find_room(struct commit_log *log, uint64_t now_ns)
{
    struct cold_reader *oldest = &log->cold_readers[0];
    for (uint32_t i = 0; i < COLD_READERS_MAX; i++) {
        struct cold_reader *reader = &log->cold_readers[i];
        if (reader->next.topic != 0 && now_ns - reader->seen_ns > READER_GONE_NS) {
            forget(log, reader, true);
        }
        oldest = reader->seen_ns < oldest->seen_ns ? reader : oldest;
    }
    if (oldest->next.topic != 0) {
        if (now_ns - oldest->seen_ns < READER_ACTIVE_NS) {
            return NULL;
        }
        forget(log, oldest, false);
    }
    return oldest;
}

uint64_t read_ahead_missed(struct commit_log *log, const struct cold_range *range)
{
    uint64_t now_ns = reactor_now_ns(log->reactor);
    uint64_t begin = range->segment->base + range->offset;
    uint64_t end = begin + range->bytes;
    uint64_t first = chunk_at(log, begin).begin;
    struct cold_reader *reader = find(log, &range->reader);
    if (reader == NULL) {
        reader = find_room(log, now_ns);
        if (reader == NULL) {
            return 0;
        }
        *reader = (struct cold_reader){.next = range->reader};
        log->has_cold_readers = true;
    }
    reader->seen_ns = now_ns;
    jump(log, reader, first);
    for (struct chunk chunk = chunk_at(log, reader->entered);
         chunk.segment != NULL && chunk.begin < end; chunk = chunk_at(log, chunk.end)) {
        count_in(&chunk);
        reader->entered = chunk.end;
    }
    struct chunk last = chunk_at(log, end - 1);
    reader->ahead = reader->ahead > last.end ? reader->ahead : last.end;
    return last.begin + chunk_bytes(&last) - end;
}

void read_ahead_moved(struct commit_log *log, const struct reader_place *from,
                      const struct run_list *list)
{
    struct cold_reader *reader = log->has_cold_readers ? find(log, from) : NULL;
    if (reader == NULL) {
        return;
    }
    const struct run *last = &list->runs[list->count - 1];
    uint64_t end = last->segment->base + last->place + last->bytes;
    reader->next.offset = list->next;
    reader->seen_ns = reactor_now_ns(log->reactor);
    if (log->written - end < READ_CHUNK_BYTES) {
        /* He has come to the tail: what lies before him stays. */
        leave(log, reader, end, true);
        forget(log, reader, false);
        return;
    }
    uint64_t near = reader->step_bytes == 0 ? READ_CHUNK_BYTES / 2 : reader->step_bytes;
    if (end + near >= reader->ahead) {
        uint64_t step = reader->step_bytes == 0 ? READ_CHUNK_BYTES : 2 * reader->step_bytes;
        reader->step_bytes = step < READ_AHEAD_BYTES ? step : READ_AHEAD_BYTES;
        /* What he jumped over is not read. */
        uint64_t here = chunk_at(log, end - 1).begin;
        jump(log, reader, here);
        reader->ahead = reader->ahead > here ? reader->ahead : here;
        enter(log, reader, end + reader->step_bytes + READ_UNASKED_BYTES);
        read_up_to(log, reader, end + reader->step_bytes);
    }
    if (end > READ_BEHIND_BYTES) {
        leave(log, reader, end - READ_BEHIND_BYTES, true);
    }
}
