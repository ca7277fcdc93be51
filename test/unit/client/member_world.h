/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member_world.h - a world (client_world.h) with a fake group and a worker: a member that takes what is there
 * and settles it, or keeps it.
 */
#ifndef TEST_UNIT_CLIENT_MEMBER_WORLD_H
#define TEST_UNIT_CLIENT_MEMBER_WORLD_H

#include "test/unit/client/client_world.h"
#include "test/unit/client/fake_group.h"
#include "tools/client/member.h"

#include <stdlib.h>

static struct client_world world;
static struct fake_group group;
static struct ternmq_error error;

/* A worker that settles what it gets, or keeps it. */
struct worker {
    struct ternmq_member *member;
    struct ternmq_settlement settlement;
    bool keeps;
    uint64_t received;
    uint64_t lost; /* verdicts */
    int code;      /* the last that was not OK or NOTHING */
    struct ternmq_error why;
    uint64_t receipts[4096]; /* with `keeps` */
    uint32_t receipt_count;
    uint32_t attempt; /* of the last */
    char reason[128];
};

static struct worker worker;

static inline void on_lost(void *context, const char *topic, uint32_t queue, uint64_t offset,
                           const struct ternmq_error *why)
{
    struct worker *of = context;
    ck_assert_str_eq(topic, "t");
    ck_assert_int_eq(why->queue, queue);
    ck_assert_int_eq(why->offset, (int64_t)offset);
    of->lost++;
    of->why = *why;
}

/* Of a world that has begun. */
static inline void group_begin(void)
{
    memset(&group, 0, sizeof(group));
    memset(&worker, 0, sizeof(worker));
    fake_group_init(&group, &world.server);
    world.server.group = &group;
}

static inline void setup(void)
{
    world_init(&world, 3);
    group_begin();
}

static inline void group_end(struct fake_group *one, struct fake_server *server)
{
    server->group = NULL;
    ck_assert_uint_eq(one->parked, 0);
    fake_group_free(one);
}

static inline void teardown(void)
{
    client_detach(world.client, NULL, NULL);
    world.client = NULL;
    fake_server_drop_all(&world.server);
    world_pass(&world, 1000);
    group_end(&group, &world.server);
    world_deinit(&world);
}

static inline struct ternmq_member *open_member(struct ternmq_member_options options)
{
    options.group = options.group == NULL ? "g" : options.group;
    options.lost = on_lost;
    options.context = &worker;
    worker.member = ternmq_member_open(world.client, &options, &error);
    ck_assert_msg(worker.member != NULL, "%s", error.message);
    return worker.member;
}

static inline void check_message(const struct ternmq_received *received)
{
    const struct ternmq_delivery *message = &received->message;
    char digits[32] = {0};
    ck_assert_str_eq(message->topic, "t");
    memcpy(digits, message->body.data, message->body.length);
    ck_assert_uint_eq(strtoull(digits, NULL, 10), message->offset);
    ck_assert_uint_ne(received->receipt, 0);
    worker.attempt = received->attempt;
    snprintf(worker.reason, sizeof(worker.reason), "%.*s", (int)received->reason.length,
             received->reason.data == NULL ? "" : (const char *)received->reason.data);
}

/* Takes what is there and settles it. */
static inline void work_on(void)
{
    struct ternmq_received received[16];
    size_t count;
    int code;
    while ((code = ternmq_receive(worker.member, 0, received, 16, &count, &error)) == TERNMQ_OK) {
        for (size_t i = 0; i < count; i++) {
            check_message(&received[i]);
            worker.received++;
            if (worker.keeps) {
                worker.receipts[worker.receipt_count++] = received[i].receipt;
                continue;
            }
            ck_assert_int_eq(
                ternmq_settle(worker.member, &received[i].receipt, 1, &worker.settlement, &error),
                TERNMQ_OK);
        }
    }
    if (code != TERNMQ_NOTHING) {
        worker.code = code;
        worker.why = error;
    }
}

static inline void settle_kept(enum ternmq_verdict verdict)
{
    const struct ternmq_settlement settlement = {.verdict = verdict};
    ck_assert_int_eq(
        ternmq_settle(worker.member, worker.receipts, worker.receipt_count, &settlement, &error),
        TERNMQ_OK);
    worker.receipt_count = 0;
}

static inline bool has_acked(void *context)
{
    work_on();
    return group.acked >= *(const uint32_t *)context;
}

static inline void run_until_acked(uint32_t count)
{
    world_run(&world, has_acked, &count);
}

static inline bool has_received(void *context)
{
    work_on();
    return worker.received >= *(const uint32_t *)context;
}

static inline void run_until_received(uint32_t count)
{
    world_run(&world, has_received, &count);
}

static inline void fill(struct fake_server *server, uint32_t queues, uint32_t each)
{
    for (uint32_t q = 0; q < queues; q++) {
        for (uint32_t i = 0; i < each; i++) {
            fake_server_append_number(server, q, server->queues[q].next);
        }
    }
}

static inline void check_all_are_done_once(struct fake_group *one, uint32_t queues, uint64_t each)
{
    for (uint32_t q = 0; q < queues; q++) {
        for (uint64_t at = 0; at < each; at++) {
            const struct fake_offset *offset = fake_group_at(one, q, at);
            ck_assert_int_eq(offset->stage, FAKE_DONE);
            ck_assert_uint_le(offset->settled, 1);
        }
    }
}

#endif
