/* SPDX-License-Identifier: Apache-2.0 */

/*
 * bench_append.c - how fast one core appends to a commit log, without a network.
 *
 *     bench_append DIR [messages] [body bytes] [durability: memory|disk]
 *
 * Appends of 1, 10 and 100 messages, 64 KiB of them a turn as a busy connection would give, to four
 * queues in turn, on the real disk below DIR. Prints messages a second, ns a message, and the share
 * of a bare loop that builds heads, checks both checksums and writes the same bytes.
 */

#include "net/reactor.h"
#include "proto/base/contract.h"
#include "proto/base/crc32c.h"
#include "proto/record.h"
#include "storage/commit_log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    QUEUES = 4,
    BATCH_MOST = 100,
    TURN_BYTES = 64 * 1024,
    PIECE_BYTES = 256 * 1024,
    SEGMENT_BYTES = 256 << 20,
    /* What is not written yet: a broker's connections are bounded too. */
    WAITING_BYTES_MAX = 16 << 20,
    /* Old segments go, or the run would measure a full disk. */
    RETAIN_BYTES = 512 << 20,
    APPENDS_MAX = 4096
};

struct bench {
    struct reactor *reactor;
    struct disk *disk;
    struct commit_log *log;
    struct queue *queues[QUEUES];
    struct append_message messages[BATCH_MOST];
    uint8_t *body;
    uint32_t body_bytes;
    enum log_durability durability;
    uint64_t waiting;
    bool closed;
};

struct bench_append {
    struct append append;
    struct bench *bench;
    struct bench_append *next_free;
};

static struct bench_append appends[APPENDS_MAX];
static struct bench_append *free_appends;

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static _Noreturn void give_up(const char *what)
{
    (void)fprintf(stderr, "bench_append: %s\n", what);
    exit(EXIT_FAILURE);
}

static void append_done(struct append *append)
{
    struct bench_append *own = (struct bench_append *)append;
    own->bench->waiting--;
    own->next_free = free_appends;
    free_appends = own;
}

static void closed(void *owner)
{
    ((struct bench *)owner)->closed = true;
}

static void failed(void *owner, const char *what)
{
    (void)owner;
    give_up(what);
}

static void open_log(struct bench *bench, const char *path)
{
    char error[256];
    struct recovery_report report;
    uint8_t boot_id[16] = {0};
    if (!disk_open(&bench->disk, path, error, sizeof(error))) {
        give_up(error);
    }
    struct commit_log_options options = {
        .disk = bench->disk,
        .reactor = bench->reactor,
        .store_id = 1,
        .segment_bytes_least = SEGMENT_BYTES,
        .segment_bytes_most = SEGMENT_BYTES,
        .retain_bytes = RETAIN_BYTES,
        .failed = failed,
    };
    if (!commit_log_open(&bench->log, &options, &report, error, sizeof(error)) ||
        !commit_log_begin_epoch(bench->log, report.epoch + 1, boot_id, error, sizeof(error))) {
        give_up(error);
    }
    for (uint16_t i = 0; i < QUEUES; i++) {
        commit_log_queue_put(bench->log, 1, i, bench->durability);
        bench->queues[i] = commit_log_queue_find(bench->log, 1, i);
    }
}

static void close_log(struct bench *bench)
{
    bench->closed = false;
    commit_log_close(bench->log, closed, bench);
    while (!bench->closed) {
        reactor_run_once(bench->reactor, -1);
    }
    disk_close(bench->disk);
}

static void give_append(struct bench *bench, uint32_t batch, uint64_t number)
{
    struct bench_append *own = free_appends;
    free_appends = own->next_free;
    own->bench = bench;
    own->append = (struct append){
        .done = append_done,
        .queue = bench->queues[number % QUEUES],
        .messages = bench->messages,
        .count = batch,
        .wait_durable = bench->durability == LOG_DISK,
    };
    enum error error = commit_log_append(bench->log, &own->append);
    if (error != OK) {
        give_up(error_name(error));
    }
    bench->waiting++;
}

static double run(struct bench *bench, uint32_t batch, uint64_t messages)
{
    uint64_t number = 0;
    uint32_t in_turn = 0;
    uint32_t turn = TURN_BYTES / (bench->body_bytes * batch) + 1;
    uint64_t started = now_ns();
    for (uint64_t sent = 0; sent < messages; sent += batch) {
        while (free_appends == NULL ||
               bench->waiting * batch * bench->body_bytes > WAITING_BYTES_MAX) {
            reactor_run_once(bench->reactor, -1);
        }
        give_append(bench, batch, number++);
        if (++in_turn == turn) {
            in_turn = 0;
            reactor_run_once(bench->reactor, 0);
        }
    }
    while (bench->waiting > 0) {
        reactor_run_once(bench->reactor, -1);
    }
    return (double)(now_ns() - started) / (double)messages;
}

/* What no log can beat: heads, both checksums, and the same bytes in pieces of the same size. */
static double run_bare(const struct bench *bench, const char *path, uint64_t messages)
{
    char file[4096];
    (void)snprintf(file, sizeof(file), "%s/bare", path);
    int descriptor = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    uint32_t size = RECORD_HEAD_BYTES + bench->body_bytes;
    uint8_t *piece = malloc(PIECE_BYTES + size);
    ASSERT(piece != NULL && descriptor >= 0);
    uint64_t wrap = SEGMENT_BYTES / PIECE_BYTES * (uint64_t)PIECE_BYTES;
    ASSERT(fallocate(descriptor, 0, 0, (off_t)(wrap + PIECE_BYTES)) == 0);
    uint32_t used = 0;
    uint64_t place = 0;
    uint64_t started = now_ns();
    for (uint64_t i = 0; i < messages; i++) {
        struct record_fields fields = {.kind = RECORD_MESSAGE,
                                       .message_crc = crc32c(bench->body, bench->body_bytes),
                                       .position = i,
                                       .offset = i};
        (void)record_build_head(piece + used, &fields, (struct bytes){NULL, 0}, bench->body_bytes);
        memcpy(piece + used + RECORD_HEAD_BYTES, bench->body, bench->body_bytes);
        used += size;
        if (used + size > PIECE_BYTES) {
            ASSERT(pwrite(descriptor, piece, used, (off_t)place) == (ssize_t)used);
            place = (place + used) % wrap;
            used = 0;
        }
    }
    double took = (double)(now_ns() - started) / (double)messages;
    free(piece);
    (void)close(descriptor);
    (void)unlink(file);
    return took;
}

int main(int argc, char **argv)
{
    static const uint32_t batches[] = {1, 10, 100};
    struct bench bench = {.durability = LOG_MEMORY};
    if (argc < 2) {
        give_up("usage: bench_append DIR [messages] [body bytes] [memory|disk]");
    }
    uint64_t messages = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000000;
    bench.body_bytes = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 10) : 256;
    bench.durability = argc > 4 && strcmp(argv[4], "disk") == 0 ? LOG_DISK : LOG_MEMORY;
    bench.body = calloc(1, bench.body_bytes + 3);
    bench.reactor = reactor_create_epoll(16 << 20);
    if (bench.reactor == NULL || bench.body == NULL || bench.body_bytes < 8) {
        give_up("no reactor, no memory, or a body below 8 bytes");
    }
    /* A bin16 of the rest, so that what is stored is a message. */
    bench.body[0] = 0xc5;
    store_u16(bench.body + 1, (uint16_t)(bench.body_bytes - 3));
    for (int i = 0; i < BATCH_MOST; i++) {
        bench.messages[i] = (struct append_message){
            .bytes = bench.body,
            .length = bench.body_bytes,
            .crc = crc32c(bench.body, bench.body_bytes),
        };
    }
    for (int i = 0; i < APPENDS_MAX; i++) {
        appends[i].next_free = free_appends;
        free_appends = &appends[i];
    }
    open_log(&bench, argv[1]);
    double bare = run_bare(&bench, argv[1], messages);
    printf("bare     %8.2f M/s  %6.0f ns a message\n", 1000 / bare, bare);
    for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
        double took = run(&bench, batches[i], messages);
        printf("batch %3u %7.2f M/s  %6.0f ns a message  %3.0f %% of bare\n", batches[i],
               1000 / took, took, 100 * bare / took);
    }
    struct commit_log_counters counters;
    commit_log_counters(bench.log, &counters);
    printf("writes %" PRIu64 ", syncs %" PRIu64 ", rolls %" PRIu64 ", snapshots %" PRIu64
           ", segments removed %" PRIu64 ", waits for a segment %" PRIu64 "\n",
           counters.writes, counters.syncs, counters.rolls, counters.snapshots,
           counters.segments_removed, counters.roll_waits);
    close_log(&bench);
    reactor_destroy(bench.reactor);
    free(bench.body);
    return EXIT_SUCCESS;
}
