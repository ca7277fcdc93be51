/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c - hello, cancel, stats. */
#include "broker/admin.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/groups.h"
#include "broker/session.h"
#include "broker/shard.h"
#include "net/buffer.h"
#include "proto/base/contract.h"
#include "storage/commit_log.h"

#include <stdlib.h>

/* ------------------------------------------------------------------- hello */

/* The limits are some 400 bytes, the name at most 127. */
enum { HELLO_BYTES_MAX = 2048 };

void hello_run(struct call *call, const struct arguments *arguments)
{
    const struct cores *cores = call->home->cores;
    if (arguments_has(arguments, ARGUMENT_ERRORS)) {
        call->session->error_form = (enum error_form)arguments_number(arguments, ARGUMENT_ERRORS);
    }
    if (arguments_has(arguments, ARGUMENT_RELEASE_ON_CLOSE)) {
        call->session->release_on_close =
            arguments_number(arguments, ARGUMENT_RELEASE_ON_CLOSE) != 0;
    }
    uint8_t buffer[HELLO_BYTES_MAX];
    struct writer writer = writer_over(buffer, sizeof(buffer));
    writer_put_map(&writer, 7);
    writer_put_key_uint(&writer, "protocol", PROTOCOL_VERSION);
    writer_put_string(&writer, "features");
    writer_put_array(&writer, 0);
    answer_put_limits(&writer);
    writer_put_key_string(&writer, "name", cores->name);
    writer_put_key_uint(&writer, "now", reactor_wall_ms(call->home->reactor));
    writer_put_key_uint(&writer, "epoch", cores->epoch);
    writer_put_key_string(&writer, "role", "master");
    ASSERT(!writer.overflowed);
    call_answer(call, writer_bytes(&writer));
}

/* ------------------------------------------------------------------ cancel */

void cancel_run(struct call *call, const struct arguments *arguments)
{
    uint64_t msgid = arguments_number(arguments, ARGUMENT_MSGID);
    LIST_FOREACH (link, &call->session->calls) {
        struct call *other = CONTAINER_OF(link, struct call, link);
        if (other->msgid != msgid || other->one_way) {
            continue;
        }
        if (other->method == METHOD_PULL) {
            pull_cancel(other);
            break;
        }
        if (other->method == METHOD_RECEIVE) {
            receive_cancel(other);
            break;
        }
    }
    call_answer_nil(call);
}

/* ------------------------------------------------------------------- stats */

/* One core's part: its counters and those of the shards that live on it. */
enum {
    STATS_CORE_BYTES_MAX = 4096,
    STATS_SHARD_BYTES_MAX = 2048,
    STATS_HEAD_BYTES_MAX = 512,
};

/* What a tour over the cores gathers; the rows are written already, their number is not known
 * before the end. */
struct stats {
    struct writer cores;
    struct writer shards;
    uint8_t bytes[];
};

static void put_core(struct writer *writer, const struct core *core)
{
    const struct core_counters *counters = &core->counters;
    const struct reactor_counters *loop = reactor_counters(core->reactor);
    const struct buffer_pool *buffers = reactor_buffers(core->reactor);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"core", core->number},
        {"connections", atomic_load_explicit(&core->session_count, memory_order_relaxed)},
        {"connections_taken", counters->connections},
        {"requests", counters->requests},
        {"one_way", counters->one_way},
        {"one_way_dropped", counters->one_way_dropped},
        {"refused", counters->refused},
        {"malformed", counters->malformed},
        {"parked", counters->parked},
        {"produced_calls", counters->produced_calls},
        {"produced_messages", counters->produced_messages},
        {"produced_bytes", counters->produced_bytes},
        {"rewritten_messages", counters->rewritten_messages},
        {"pulls", counters->pulls},
        {"pulled_messages", counters->pulled_messages},
        {"pulled_bytes", counters->pulled_bytes},
        {"filtered_messages", counters->filtered_messages},
        {"pulls_held", counters->pulls_held},
        {"received_calls", counters->receives},
        {"received_messages", counters->received_messages},
        {"received_bytes", counters->received_bytes},
        {"receives_held", counters->receives_held},
        {"group_members", core->home_members},
        {"forwarded", counters->forwarded},
        {"core_messages", counters->core_messages},
        {"reading_stopped", counters->reading_stopped},
        {"too_many_waiting", counters->too_many_waiting},
        {"deadlines", counters->deadlines},
        {"not_yet_durable", counters->not_yet_durable},
        {"calls_made", core->calls.taken},
        {"buffer_bytes", buffer_pool_bytes(buffers)},
        {"buffer_bytes_peak", buffer_pool_bytes_peak(buffers)},
        {"turns", loop->turns},
        {"waits", loop->waits},
        {"receives", loop->receives},
        {"sends", loop->sends},
        {"sendfiles", loop->sendfiles},
        {"wakes", loop->wakes},
        {"stalls", loop->stalls},
        {"stall_us_max", loop->stall_ns_max / 1000},
    };
    uint32_t count = sizeof(rows) / sizeof(rows[0]);
    writer_put_map(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        writer_put_key_uint(writer, rows[i].name, rows[i].value);
    }
}

static void put_shard(struct writer *writer, const struct shard *shard)
{
    struct commit_log_counters log;
    commit_log_counters(shard->log, &log);
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {
        {"shard", shard->number},
        {"core", shard->core->number},
        {"queues", log.queues},
        {"appended_messages", log.appended_messages},
        {"appended_bytes", log.appended_bytes},
        {"writes", log.writes},
        {"syncs", log.syncs},
        {"sync_us", log.sync_ns / 1000},
        {"sync_us_max", log.sync_ns_max / 1000},
        {"rolls", log.rolls},
        {"roll_waits", log.roll_waits},
        {"snapshots", log.snapshots},
        {"segments", log.segments},
        {"segments_removed", log.segments_removed},
        {"cold_reads", log.cold_reads},
        {"warmed_bytes", log.warmed_bytes},
        {"dropped_bytes", log.dropped_bytes},
        {"warm_us_total", log.warm_ns_total / 1000},
        {"warm_us_max", log.warm_ns_max / 1000},
        {"bytes", log.bytes},
        {"position_written", log.position_written},
        {"position_durable", log.position_durable},
        {"groups", shard->groups->by_id.count},
        {"group_ranges", shard->groups->range_count},
        {"read_only", log.read_only ? 1 : 0},
        {"corrupt_from", log.corrupt_from},
        {"corrupt_to", log.corrupt_to},
    };
    uint32_t count = sizeof(rows) / sizeof(rows[0]);
    writer_put_map(writer, count);
    for (uint32_t i = 0; i < count; i++) {
        writer_put_key_uint(writer, rows[i].name, rows[i].value);
    }
}

static void stats_of_core(struct call *call, struct core *at)
{
    struct stats *stats = call->own;
    put_core(&stats->cores, at);
    for (uint32_t i = at->number; i < at->cores->shard_count; i += at->cores->count) {
        put_shard(&stats->shards, at->cores->shard[i]);
    }
}

static void stats_answer(struct call *call, struct core *at)
{
    struct stats *stats = call->own;
    const struct cores *cores = at->cores;
    ASSERT(!stats->cores.overflowed && !stats->shards.overflowed);
    struct bytes core_rows = writer_bytes(&stats->cores);
    struct bytes shard_rows = writer_bytes(&stats->shards);
    size_t bytes = STATS_HEAD_BYTES_MAX + core_rows.length + shard_rows.length;
    uint8_t *result = malloc(bytes);
    ASSERT(result != NULL);
    struct writer writer = writer_over(result, bytes);
    uint64_t now_ms = reactor_wall_ms(at->reactor);
    writer_put_map(&writer, 6);
    writer_put_key_string(&writer, "name", cores->name);
    writer_put_key_uint(&writer, "epoch", cores->epoch);
    writer_put_key_string(&writer, "io", reactor_kind_name(reactor_kind(at->reactor)));
    writer_put_key_uint(&writer, "up_ms",
                        now_ms > cores->started_wall_ms ? now_ms - cores->started_wall_ms : 0);
    writer_put_string(&writer, "cores");
    writer_put_array(&writer, cores->count);
    writer_put_raw(&writer, core_rows);
    writer_put_string(&writer, "shards");
    writer_put_array(&writer, cores->shard_count);
    writer_put_raw(&writer, shard_rows);
    ASSERT(!writer.overflowed);
    free(stats);
    call_answer(call, writer_bytes(&writer));
    free(result);
}

void stats_run(struct call *call, const struct arguments *arguments)
{
    (void)arguments;
    const struct cores *cores = call->home->cores;
    size_t core_bytes = cores->count * (size_t)STATS_CORE_BYTES_MAX;
    size_t shard_bytes = cores->shard_count * (size_t)STATS_SHARD_BYTES_MAX;
    struct stats *stats = malloc(sizeof(*stats) + core_bytes + shard_bytes);
    ASSERT(stats != NULL);
    stats->cores = writer_over(stats->bytes, core_bytes);
    stats->shards = writer_over(stats->bytes + core_bytes, shard_bytes);
    call->own = stats;
    call_drop_buffer(call);
    call_tour(call, call->home, stats_of_core, stats_answer);
}
