/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_group.c - the consumer group of a fake server.
 */
#include "test/unit/client/fake_group.h"

#include "proto/base/contract.h"
#include "proto/cursor.h"
#include "proto/request.h"
#include "proto/writer.h"
#include "test/unit/client/fake_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANGES_MAX = 64, ANSWER_BYTES = 64 << 10, FAILED_MAX = 4096, EXPIRY_TICK_MS = 10 };

struct fake_receive {
    struct list link;
    struct fake_group *group;
    struct fake_session *session;
    uint32_t msgid;
    uint64_t max;
    uint64_t lease_ms;
    struct bytes acked; /* the encoded list, in `room`; absent without `ack` */
    uint8_t room[1024];
    struct timer timer;
};

static uint64_t now_ms(const struct fake_group *group)
{
    return (uint64_t)((int64_t)reactor_wall_ms(group->server->reactor) +
                      group->server->clock_ahead_ms);
}

struct fake_offset *fake_group_at(struct fake_group *group, uint32_t queue, uint64_t offset)
{
    uint64_t capacity = group->capacity[queue];
    if (offset >= capacity) {
        uint64_t wanted = offset * 2 + 16;
        group->offsets[queue] = realloc(group->offsets[queue], wanted * sizeof(struct fake_offset));
        memset(group->offsets[queue] + capacity, 0,
               (wanted - capacity) * sizeof(struct fake_offset));
        group->capacity[queue] = wanted;
    }
    return &group->offsets[queue][offset];
}

/* -------------------------------------------------------------------------- arguments */

static bool find(const struct request *request, const char *key, struct cursor *value_out)
{
    struct cursor cursor = cursor_over(request->arguments);
    uint32_t pairs = 0;
    (void)cursor_take_map(&cursor, &pairs);
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes name;
        ASSERT(cursor_take_text(&cursor, &name));
        if (bytes_equal(name, bytes_from_string(key))) {
            *value_out = cursor;
            return true;
        }
        ASSERT(cursor_skip(&cursor));
    }
    return false;
}

static uint64_t number(const struct request *request, const char *key, uint64_t otherwise)
{
    struct cursor cursor;
    uint64_t value = otherwise;
    if (find(request, key, &cursor)) {
        ASSERT(cursor_take_uint(&cursor, &value));
    }
    return value;
}

static bool truth(const struct request *request, const char *key, bool otherwise)
{
    struct cursor cursor;
    bool value = otherwise;
    if (find(request, key, &cursor)) {
        ASSERT(cursor_take_bool(&cursor, &value));
    }
    return value;
}

static void text(const struct request *request, const char *key, char *out, size_t out_bytes)
{
    struct cursor cursor;
    struct bytes value;
    out[0] = '\0';
    if (find(request, key, &cursor)) {
        ASSERT(cursor_take_text(&cursor, &value) && value.length < out_bytes);
        memcpy(out, value.data, value.length);
        out[value.length] = '\0';
    }
}

/* -------------------------------------------------------------------------- settling */

/* What one receipt does to one offset. */
struct fake_settling {
    const struct request *request;
    bool acks;
    bool nacks;
};

static void settle_offset(struct fake_group *group, struct fake_offset *offset,
                          const struct fake_settling *settling, bool is_skipped)
{
    const struct request *request = settling->request;
    if (!settling->acks && !settling->nacks) {
        offset->until_ms = now_ms(group) + number(request, "lease_ms", group->lease_ms);
        return;
    }
    offset->stage = settling->acks ? FAKE_DONE : FAKE_FREE;
    if (is_skipped) {
        return;
    }
    group->leased--;
    if (settling->acks) {
        group->acked++;
        offset->settled++;
        return;
    }
    offset->until_ms = 0;
    text(request, "reason", offset->reason, sizeof(offset->reason));
    if (!truth(request, "count", true)) {
        group->released++;
    } else if (truth(request, "dead", false)) {
        group->dead++;
        offset->stage = FAKE_DONE;
    } else {
        group->retried++;
        offset->attempt++;
        group->delay_ms = number(request, "delay_ms", 1000);
        offset->until_ms = now_ms(group) + group->delay_ms;
    }
}

static bool is_skipped(const struct fake_group *group, uint64_t offset)
{
    return group->skip_modulo != 0 && offset % group->skip_modulo == 0;
}

/* Settles one receipt. False: not all of it is leased so. */
static bool settle_receipt(struct fake_group *group, struct cursor *cursor,
                           const struct fake_settling *settling)
{
    struct bytes topic;
    struct bytes lease;
    uint32_t queue;
    uint64_t first;
    uint64_t span;
    uint32_t lease_number;
    ASSERT(cursor_take_array_of(cursor, 5) && cursor_take_text(cursor, &topic) &&
           cursor_take_u32(cursor, &queue) && cursor_take_uint(cursor, &first) &&
           cursor_take_uint(cursor, &span) && cursor_take_bin(cursor, &lease));
    ASSERT(bytes_equal(topic, BYTES_OF("t")) && lease.length == 12 && span > 0);
    memcpy(&lease_number, lease.data, sizeof(lease_number));
    bool all = !group->loses_leases;
    for (uint64_t at = first; at < first + span && !group->loses_leases; at++) {
        struct fake_offset *offset = fake_group_at(group, queue, at);
        if (offset->stage == FAKE_LEASED && offset->lease == lease_number) {
            settle_offset(group, offset, settling, is_skipped(group, at));
        } else {
            all = false;
        }
    }
    group->receipts++;
    group->extended += !settling->acks && !settling->nacks && all;
    return all;
}

/* Settles an array of receipts and writes the list of those that failed. */
static void settle_all(struct fake_group *group, struct cursor receipts,
                       const struct fake_settling *settling, struct writer *writer)
{
    uint32_t failed[FAILED_MAX];
    uint32_t failed_count = 0;
    uint32_t count;
    ASSERT(cursor_take_array(&receipts, &count) && count <= FAILED_MAX);
    for (uint32_t i = 0; i < count; i++) {
        if (!settle_receipt(group, &receipts, settling)) {
            failed[failed_count++] = i;
        }
    }
    writer_put_array(writer, failed_count);
    for (uint32_t i = 0; i < failed_count; i++) {
        writer_put_array(writer, 2);
        writer_put_uint(writer, failed[i]);
        writer_put_uint(writer, ERROR_LEASE_LOST);
    }
}

static void run_settle(struct fake_group *group, struct fake_session *session,
                       const struct request *request)
{
    struct cursor receipts;
    const struct fake_settling settling = {
        .request = request,
        .acks = bytes_equal(request->method, BYTES_OF("ack")),
        .nacks = bytes_equal(request->method, BYTES_OF("nack")),
    };
    ASSERT(find(request, "receipts", &receipts));
    group->ack_calls += settling.acks;
    group->durable += truth(request, "durable", false);
    uint8_t *room = malloc(ANSWER_BYTES);
    struct writer writer = writer_over(room, ANSWER_BYTES);
    answer_begin(&writer, request->msgid);
    writer_put_map(&writer, 1);
    writer_put_string(&writer, "failed");
    settle_all(group, receipts, &settling, &writer);
    fake_session_send(session, writer_bytes(&writer));
    free(room);
    fake_group_wake(group);
}

/* -------------------------------------------------------------------------- receiving */

struct fake_range {
    uint32_t queue;
    uint64_t first;
    uint64_t span;
    uint32_t messages;
    uint32_t attempt;
    char reason[121];
};

/* Leases the next run of free offsets of a queue, at most `max` messages, of one attempt. */
static bool lease_run(struct fake_group *group, uint32_t queue, uint64_t max,
                      const struct fake_receive *receive, struct fake_range *range)
{
    uint64_t end = group->server->queues[queue].next;
    uint64_t at = 0;
    *range = (struct fake_range){.queue = queue};
    for (; at < end; at++) {
        const struct fake_offset *offset = fake_group_at(group, queue, at);
        if (offset->stage == FAKE_FREE && offset->until_ms <= now_ms(group)) {
            break;
        }
        bool is_of_this = offset->stage == FAKE_LEASED && offset->lease == group->lease_count;
        if (group->order != NULL && offset->stage != FAKE_DONE && !is_of_this) {
            return false;
        }
    }
    range->first = at;
    for (; at < end && range->messages < max; at++) {
        struct fake_offset *offset = fake_group_at(group, queue, at);
        bool wanted = !is_skipped(group, at);
        if (offset->stage != FAKE_FREE || offset->until_ms > now_ms(group) ||
            (wanted && range->messages > 0 && offset->attempt + 1 != range->attempt)) {
            break;
        }
        offset->stage = FAKE_LEASED;
        offset->lease = group->lease_count;
        offset->until_ms = now_ms(group) + receive->lease_ms;
        range->span++;
        if (wanted) {
            range->attempt = offset->attempt + 1;
            memcpy(range->reason, offset->reason, sizeof(range->reason));
            offset->deliveries++;
            range->messages++;
            group->leased++;
        }
    }
    for (at = range->first; range->messages == 0 && at < range->first + range->span; at++) {
        fake_group_at(group, queue, at)->stage = FAKE_FREE;
    }
    group->leased_most = group->leased > group->leased_most ? group->leased : group->leased_most;
    return range->messages > 0;
}

static void write_range(struct fake_group *group, struct writer *writer,
                        const struct fake_range *range, uint64_t lease_ms)
{
    uint8_t lease[12] = {0};
    memcpy(lease, &group->lease_count, sizeof(group->lease_count));
    writer_put_array(writer, 9);
    writer_put_string(writer, "t");
    writer_put_uint(writer, range->queue);
    writer_put_uint(writer, range->first);
    writer_put_uint(writer, range->span);
    writer_put_uint(writer, range->messages);
    writer_put_uint(writer, range->attempt);
    writer_put_bin(writer, bytes_make(lease, sizeof(lease)));
    writer_put_uint(writer, now_ms(group) + lease_ms);
    if (range->attempt == 1) {
        writer_put_nil(writer);
    } else {
        writer_put_string(writer, range->reason);
    }
}

static void send_records(struct fake_group *group, struct fake_session *session,
                         const struct fake_range *range)
{
    for (uint64_t at = range->first; at < range->first + range->span; at++) {
        if (!is_skipped(group, at)) {
            fake_session_send_record(session, range->queue, at);
        }
    }
}

/* Answers with what can be leased now, if anything can or it `must`. */
static bool serve(struct fake_receive *receive, bool must)
{
    struct fake_group *group = receive->group;
    struct fake_range ranges[RANGES_MAX];
    uint32_t range_count = 0;
    uint64_t messages = 0;
    uint64_t max = receive->max;
    if (group->too_many > 0) {
        group->too_many--;
        max++;
    }
    group->lease_count++;
    for (uint32_t queue = 0; queue < group->server->queue_count && messages < max; queue++) {
        while (messages < max && range_count < RANGES_MAX &&
               lease_run(group, queue, max - messages, receive, &ranges[range_count])) {
            messages += ranges[range_count++].messages;
        }
    }
    if (messages == 0 && !must) {
        return false;
    }
    uint8_t *room = malloc(ANSWER_BYTES);
    struct writer writer = writer_over(room, ANSWER_BYTES);
    bool has_acked = receive->acked.length > 0;
    answer_begin(&writer, receive->msgid);
    writer_put_map(&writer, 2U + has_acked + (group->order != NULL));
    if (group->order != NULL) {
        writer_put_key_string(&writer, "order", group->order);
    }
    writer_put_string(&writer, "ranges");
    writer_put_array(&writer, range_count);
    for (uint32_t i = 0; i < range_count; i++) {
        write_range(group, &writer, &ranges[i], receive->lease_ms);
    }
    if (has_acked) {
        writer_put_string(&writer, "acked");
        writer_put_raw(&writer, receive->acked);
    }
    writer_put_string(&writer, "messages");
    writer_put_array32(&writer, (uint32_t)messages);
    fake_session_send(receive->session, writer_bytes(&writer));
    free(room);
    for (uint32_t i = 0; i < range_count; i++) {
        send_records(group, receive->session, &ranges[i]);
    }
    return true;
}

static void receive_end(struct fake_receive *receive)
{
    timer_stop(receive->group->server->reactor, &receive->timer);
    if (!list_is_empty(&receive->link)) {
        receive->group->parked--;
    }
    list_remove(&receive->link);
    free(receive);
}

static void receive_timed_out(struct timer *timer)
{
    struct fake_receive *receive = CONTAINER_OF(timer, struct fake_receive, timer);
    (void)serve(receive, true);
    receive_end(receive);
}

static void settle_riding(struct fake_group *group, struct fake_receive *receive,
                          const struct request *request)
{
    struct cursor receipts;
    if (!find(request, "ack", &receipts)) {
        return;
    }
    const struct fake_settling settling = {.request = request, .acks = true};
    struct writer writer = writer_over(receive->room, sizeof(receive->room));
    settle_all(group, receipts, &settling, &writer);
    ASSERT(!writer.overflowed);
    receive->acked = writer_bytes(&writer);
    group->rides++;
}

static void run_receive(struct fake_group *group, struct fake_session *session,
                        const struct request *request)
{
    struct fake_receive *receive = calloc(1, sizeof(*receive));
    uint64_t wait_ms = number(request, "wait_ms", 0);
    group->receives++;
    text(request, "member", group->member, sizeof(group->member));
    receive->group = group;
    receive->session = session;
    receive->msgid = request->msgid;
    receive->max = number(request, "max", 65535);
    receive->lease_ms = number(request, "lease_ms", group->lease_ms);
    receive->timer.fired = receive_timed_out;
    list_init(&receive->link);
    settle_riding(group, receive, request);
    if (serve(receive, wait_ms == 0)) {
        receive_end(receive);
        return;
    }
    list_append(&group->polls, &receive->link);
    group->parked++;
    timer_start(group->server->reactor, &receive->timer,
                reactor_now_ns(group->server->reactor) + wait_ms * 1000000U);
}

bool fake_group_run(struct fake_group *group, struct fake_session *session,
                    const struct request *request)
{
    bool is_receive = bytes_equal(request->method, BYTES_OF("receive"));
    if (!is_receive && !bytes_equal(request->method, BYTES_OF("ack")) &&
        !bytes_equal(request->method, BYTES_OF("nack")) &&
        !bytes_equal(request->method, BYTES_OF("extend"))) {
        return false;
    }
    if (!group->is_there) {
        fake_session_refuse(session, request->msgid, ERROR_GROUP_NOT_FOUND);
    } else if (is_receive) {
        run_receive(group, session, request);
    } else {
        run_settle(group, session, request);
    }
    return true;
}

/* -------------------------------------------------------------------------- time */

void fake_group_wake(struct fake_group *group)
{
    LIST_FOREACH (link, &group->polls) {
        struct fake_receive *receive = CONTAINER_OF(link, struct fake_receive, link);
        if (serve(receive, false)) {
            receive_end(receive);
        }
    }
}

/* Leases that are over end, as often as it ticks. */
static void tick(struct timer *timer)
{
    struct fake_group *group = CONTAINER_OF(timer, struct fake_group, timer);
    for (uint32_t queue = 0; queue < group->server->queue_count; queue++) {
        for (uint64_t at = 0; at < group->server->queues[queue].next; at++) {
            struct fake_offset *offset = fake_group_at(group, queue, at);
            if (offset->stage != FAKE_LEASED || offset->until_ms > now_ms(group)) {
                continue;
            }
            offset->stage = FAKE_FREE;
            offset->until_ms = 0;
            if (!is_skipped(group, at)) {
                offset->attempt++;
                group->leased--;
                group->expired++;
                snprintf(offset->reason, sizeof(offset->reason), "lease expired");
            }
        }
    }
    fake_group_wake(group);
    timer_start(group->server->reactor, &group->timer,
                reactor_now_ns(group->server->reactor) + EXPIRY_TICK_MS * 1000000U);
}

void fake_group_forget(struct fake_group *group, const struct fake_session *session)
{
    LIST_FOREACH (link, &group->polls) {
        struct fake_receive *receive = CONTAINER_OF(link, struct fake_receive, link);
        if (receive->session == session) {
            receive_end(receive);
        }
    }
}

void fake_group_cancel(struct fake_group *group, const struct fake_session *session, uint64_t msgid)
{
    LIST_FOREACH (link, &group->polls) {
        struct fake_receive *receive = CONTAINER_OF(link, struct fake_receive, link);
        if (receive->session == session && receive->msgid == msgid) {
            (void)serve(receive, true);
            receive_end(receive);
        }
    }
}

void fake_group_init(struct fake_group *group, struct fake_server *server)
{
    group->server = server;
    group->lease_ms = 30000;
    group->is_there = true;
    list_init(&group->polls);
    group->timer.fired = tick;
    timer_start(server->reactor, &group->timer, reactor_now_ns(server->reactor));
}

void fake_group_free(struct fake_group *group)
{
    timer_stop(group->server->reactor, &group->timer);
    for (uint32_t i = 0; i < FAKE_GROUP_QUEUES; i++) {
        free(group->offsets[i]);
    }
}
