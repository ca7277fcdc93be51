/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_program.c - members and push consumers of libternmq against real servers; for
 * test_group_client.py.
 *
 *     group_program SCENARIO NAMESERVERS
 *
 * Prints what fails and ends with 1; the exit status 0 says that the scenario held. Topics and groups are
 * made by the scenario, called after it.
 */
#include "tools/client/ternmq_groups.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PUSHED = 3000, PATIENCE_MS = 20000 };

static const char *nameservers;
static struct ternmq *client;
static struct ternmq_error error;

#define CHECK(fact)                                                                \
    do {                                                                           \
        if (!(fact)) {                                                             \
            fprintf(stderr, "line %d: %s (last error: %s: %s)\n", __LINE__, #fact, \
                    error.name == NULL ? "none" : error.name, error.message);      \
            exit(1);                                                               \
        }                                                                          \
    } while (0)

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

static void pass(uint32_t ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

static void make_group(const char *name, uint32_t lease_ms)
{
    const struct ternmq_topic_options topic = {.name = name, .queues = 3};
    const struct ternmq_group_topic reads = {.name = name};
    const uint32_t backoff_ms = 200;
    const struct ternmq_group_options group = {.name = name,
                                               .topics = &reads,
                                               .topic_count = 1,
                                               .from = TERNMQ_FROM_FIRST,
                                               .lease_ms = lease_ms,
                                               .backoff_ms = &backoff_ms,
                                               .backoff_count = 1};
    CHECK(ternmq_topic_put(client, &topic, NULL, NULL, &error) == TERNMQ_OK);
    CHECK(ternmq_group_put(client, &group, &error) == TERNMQ_OK);
}

static void produce(const char *topic, uint32_t count)
{
    struct ternmq_producer *producer =
        ternmq_producer_open(client, &(struct ternmq_producer_options){.topic = topic}, &error);
    CHECK(producer != NULL);
    for (uint32_t i = 0; i < count; i++) {
        char text[16];
        int length = snprintf(text, sizeof(text), "%u", i);
        struct ternmq_message message = {.body = ternmq_bytes(text, (size_t)length),
                                         .tag = ternmq_text("blue")};
        CHECK(ternmq_produce_async(producer, &message, NULL, NULL, &error) == TERNMQ_OK);
    }
    CHECK(ternmq_flush(producer, PATIENCE_MS) == TERNMQ_OK);
    ternmq_producer_close(producer);
}

/* Receives exactly `count`. */
static void receive(struct ternmq_member *member, struct ternmq_received *received, size_t count)
{
    size_t have = 0;
    while (have < count) {
        size_t more = 0;
        CHECK(ternmq_receive(member, PATIENCE_MS, received + have, count - have, &more, &error) ==
              TERNMQ_OK);
        have += more;
    }
}

/* -------------------------------------------------------------------------- blocking */

static void receipts_of(const struct ternmq_received *received, size_t count, uint64_t *receipts)
{
    for (size_t i = 0; i < count; i++) {
        receipts[i] = received[i].receipt;
    }
}

static void check_attempts(struct ternmq_member *member)
{
    struct ternmq_received received[10];
    uint64_t receipts[10];
    const struct ternmq_settlement retry = {.verdict = TERNMQ_RETRY, .reason = "not yet"};
    receive(member, received, 10);
    for (size_t i = 0; i < 10; i++) {
        CHECK(received[i].attempt == 1 && received[i].reason.data == NULL);
        CHECK(strcmp(received[i].message.topic, "blocking") == 0);
        CHECK(received[i].message.tag.length == 4);
        CHECK(received[i].lease_left_ms > 1000 && received[i].lease_left_ms <= 2000);
    }
    receipts_of(received, 10, receipts);
    CHECK(ternmq_ack(member, receipts, 7, &error) == TERNMQ_OK);
    CHECK(ternmq_nack(member, receipts + 7, 3, &retry, &error) == TERNMQ_OK);
    CHECK(ternmq_ack(member, receipts, 1, &error) == TERNMQ_USAGE);

    receive(member, received, 3); /* after the group's backoff */
    for (size_t i = 0; i < 3; i++) {
        CHECK(received[i].attempt == 2);
        CHECK(received[i].reason.length == 7 && memcmp(received[i].reason.data, "not yet", 7) == 0);
    }
    receipts_of(received, 3, receipts);
    CHECK(ternmq_settle(member, receipts, 3, NULL, &error) == TERNMQ_OK);
    CHECK(ternmq_member_flush(member, PATIENCE_MS, &error) == TERNMQ_OK);
}

static void check_leases(struct ternmq_member *member)
{
    struct ternmq_received received;
    produce("blocking", 1);
    receive(member, &received, 1);
    CHECK(ternmq_extend(member, &received.receipt, 1, 6000, &error) == TERNMQ_OK);
    pass(2500); /* beyond the lease of 2 s */
    CHECK(ternmq_ack(member, &received.receipt, 1, &error) == TERNMQ_OK);

    produce("blocking", 1);
    receive(member, &received, 1);
    uint64_t late = received.receipt;
    pass(2500);
    /* The lease is over: it comes again, and the old receipt is worth nothing. */
    receive(member, &received, 1);
    CHECK(received.attempt == 2);
    CHECK(ternmq_ack(member, &late, 1, &error) == TERNMQ_LEASE_LOST && error.value == 1);
    CHECK(ternmq_ack(member, &received.receipt, 1, &error) == TERNMQ_OK);
}

/* What is in hand goes back at once, and is no attempt. */
static void check_close(struct ternmq_member *member, const struct ternmq_member_options *options)
{
    struct ternmq_received received[5];
    produce("blocking", 20);
    receive(member, received, 5);
    CHECK(ternmq_member_close(member, PATIENCE_MS, &error) == TERNMQ_OK);
    uint64_t closed_ms = now_ms();
    member = ternmq_member_open(client, options, &error);
    CHECK(member != NULL);
    for (int i = 0; i < 4; i++) {
        uint64_t receipts[5];
        receive(member, received, 5);
        for (size_t j = 0; j < 5; j++) {
            CHECK(received[j].attempt == 1);
        }
        receipts_of(received, 5, receipts);
        CHECK(ternmq_ack(member, receipts, 5, &error) == TERNMQ_OK);
    }
    CHECK(now_ms() - closed_ms < 1500); /* the leases were of 2 s */
    size_t count;
    CHECK(ternmq_receive(member, 300, received, 5, &count, &error) == TERNMQ_NOTHING);
    CHECK(ternmq_member_close(member, PATIENCE_MS, &error) == TERNMQ_OK);
}

static void run_blocking(void)
{
    make_group("blocking", 2000);
    produce("blocking", 10);
    const struct ternmq_member_options options = {
        .group = "blocking", .topic = "blocking", .name = "one", .credit = 50};
    struct ternmq_member *member = ternmq_member_open(client, &options, &error);
    CHECK(member != NULL);
    check_attempts(member);
    check_leases(member);
    check_close(member, &options);
}

static void run_missing(void)
{
    struct ternmq_received received;
    size_t count;
    const struct ternmq_topic_options topic = {.name = "missing", .queues = 1};
    CHECK(ternmq_topic_put(client, &topic, NULL, NULL, &error) == TERNMQ_OK);
    struct ternmq_member *member = ternmq_member_open(
        client, &(struct ternmq_member_options){.group = "nobody", .topic = "missing"}, &error);
    CHECK(member != NULL);
    CHECK(ternmq_receive(member, PATIENCE_MS, &received, 1, &count, &error) ==
          TERNMQ_GROUP_NOT_FOUND);
    CHECK(ternmq_member_close(member, PATIENCE_MS, &error) == TERNMQ_OK);
}

/* -------------------------------------------------------------------------- push */

static _Atomic uint32_t seen[3][PUSHED];
static _Atomic uint32_t done;
static _Atomic uint32_t running;
static _Atomic uint32_t running_most;

static struct ternmq_settlement on_message(void *context, const struct ternmq_received *received)
{
    (void)context;
    uint32_t now = ++running;
    uint32_t most = running_most;
    while (now > most && !atomic_compare_exchange_weak(&running_most, &most, now)) {
    }
    pass(2);
    running--;
    if (received->message.offset % 10 == 0 && received->attempt == 1) {
        return (struct ternmq_settlement){.verdict = TERNMQ_RETRY, .reason = "the first time"};
    }
    if (seen[received->message.queue][received->message.offset]++ == 0) {
        uint32_t count = ++done;
        if (count % 100 == 0) {
            printf("%" PRIu32 "\n", count); /* the test kills the broker by it */
            (void)fflush(stdout);
        }
    }
    return (struct ternmq_settlement){.verdict = TERNMQ_ACK};
}

static void run_push(void)
{
    make_group("push", 2000);
    produce("push", PUSHED);
    struct ternmq_push_consumer *consumer = ternmq_push_consumer_open(
        &(struct ternmq_options){.nameservers = nameservers, .name = "push"},
        &(struct ternmq_push_options){.member.group = "push",
                                      .member.topic = "push",
                                      .member.credit = 40,
                                      .workers = 8,
                                      .message = on_message},
        &error);
    CHECK(consumer != NULL);
    uint64_t began_ms = now_ms();
    while (done < PUSHED) {
        CHECK(now_ms() - began_ms < 100000);
        pass(10);
    }
    CHECK(ternmq_push_consumer_close(consumer, PATIENCE_MS, &error) == TERNMQ_OK);
    CHECK(running_most == 8);
    /* All is settled: another member gets nothing, but for what was lost in a kill. */
    struct ternmq_member *member = ternmq_member_open(
        client, &(struct ternmq_member_options){.group = "push", .topic = "push"}, &error);
    CHECK(member != NULL);
    struct ternmq_received received[64];
    size_t count;
    int code;
    while ((code = ternmq_receive(member, 3000, received, 64, &count, &error)) == TERNMQ_OK) {
        for (size_t i = 0; i < count; i++) {
            CHECK(seen[received[i].message.queue][received[i].message.offset] > 0);
            CHECK(ternmq_ack(member, &received[i].receipt, 1, &error) == TERNMQ_OK);
        }
    }
    CHECK(code == TERNMQ_NOTHING);
    CHECK(ternmq_member_close(member, PATIENCE_MS, &error) == TERNMQ_OK);
}

/* -------------------------------------------------------------------------- order */

enum { ORDERED = 300, LANES = 6 };

/* A lane is a queue, or a key: its messages are worked on one after the other. */
static bool lanes_are_keys;
static _Atomic uint32_t lane_running[LANES];
static _Atomic uint64_t lane_next[LANES];
static _Atomic uint32_t lane_parallel;
static _Atomic uint32_t lane_disorder;
static _Atomic uint32_t ordered;

static struct ternmq_settlement on_ordered(void *context, const struct ternmq_received *received)
{
    const struct ternmq_delivery *message = &received->message;
    char digits[16] = {0};
    (void)context;
    memcpy(digits, message->body.data, message->body.length);
    uint64_t number = strtoull(digits, NULL, 10);
    uint64_t lane = lanes_are_keys ? number % LANES : message->queue;
    uint64_t place = lanes_are_keys ? number / LANES : message->offset;
    lane_parallel += lane_running[lane]++ > 0;
    lane_disorder += place != lane_next[lane];
    pass(1);
    lane_running[lane]--;
    if (place % 10 == 3 && received->attempt == 1) {
        return (struct ternmq_settlement){.verdict = TERNMQ_RETRY};
    }
    lane_next[lane] = place + 1;
    ordered++;
    return (struct ternmq_settlement){.verdict = TERNMQ_ACK};
}

static void make_ordered(const char *name, enum ternmq_order order)
{
    const struct ternmq_topic_options topic = {
        .name = name,
        .queues = 2,
        .route = order == TERNMQ_ORDER_KEY ? TERNMQ_ROUTE_KEY : TERNMQ_ROUTE_ANY,
    };
    const struct ternmq_group_topic reads = {.name = name};
    const uint32_t backoff_ms = 20;
    const struct ternmq_group_options group = {.name = name,
                                               .topics = &reads,
                                               .topic_count = 1,
                                               .from = TERNMQ_FROM_FIRST,
                                               .order = order,
                                               .backoff_ms = &backoff_ms,
                                               .backoff_count = 1};
    CHECK(ternmq_topic_put(client, &topic, NULL, NULL, &error) == TERNMQ_OK);
    CHECK(ternmq_group_put(client, &group, &error) == TERNMQ_OK);
}

static void produce_keyed(const char *topic)
{
    struct ternmq_producer *producer = ternmq_producer_open(
        client, &(struct ternmq_producer_options){.topic = topic, .choose = TERNMQ_CHOOSE_BY_KEY},
        &error);
    CHECK(producer != NULL);
    for (uint32_t i = 0; i < ORDERED; i++) {
        char text[16];
        char name[16];
        int length = snprintf(text, sizeof(text), "%u", i);
        snprintf(name, sizeof(name), "k%u", i % LANES);
        struct ternmq_bytes key = ternmq_text(name);
        struct ternmq_message message = {
            .body = ternmq_bytes(text, (size_t)length), .keys = &key, .key_count = 1};
        CHECK(ternmq_produce(producer, &message, 1, NULL, &error) == TERNMQ_OK);
    }
    ternmq_producer_close(producer);
}

/* Eight workers, and many messages in hand; every tenth of a lane fails at first. */
static void push_in_order(const char *name)
{
    for (uint32_t i = 0; i < LANES; i++) {
        lane_next[i] = 0;
    }
    ordered = 0;
    struct ternmq_push_consumer *consumer =
        ternmq_push_consumer_open(&(struct ternmq_options){.nameservers = nameservers},
                                  &(struct ternmq_push_options){.member.group = name,
                                                                .member.topic = name,
                                                                .member.credit = 40,
                                                                .workers = 8,
                                                                .message = on_ordered},
                                  &error);
    CHECK(consumer != NULL);
    uint64_t began_ms = now_ms();
    while (ordered < ORDERED) {
        CHECK(now_ms() - began_ms < 30000);
        pass(10);
    }
    uint64_t lost;
    ternmq_push_consumer_counts(consumer, NULL, NULL, &lost);
    CHECK(ternmq_push_consumer_close(consumer, PATIENCE_MS, &error) == TERNMQ_OK);
    CHECK(lane_parallel == 0);
    CHECK(lane_disorder == 0);
    CHECK(ordered == ORDERED && lost == 0);
}

static void run_order(void)
{
    make_ordered("by_queue", TERNMQ_ORDER_QUEUE);
    produce("by_queue", ORDERED);
    push_in_order("by_queue");
    lanes_are_keys = true;
    make_ordered("by_key", TERNMQ_ORDER_KEY);
    produce_keyed("by_key");
    push_in_order("by_key");
}

/* ------------------------------------------------------------------- late answers */

/* Who starts this stops it while it waits, until the lease of what comes is over. */
static void run_late(void)
{
    struct ternmq_received received;
    size_t count;
    make_group("late", 100);
    struct ternmq_member *member =
        ternmq_member_open(client, &(struct ternmq_member_options){.group = "late"}, &error);
    CHECK(member != NULL);
    CHECK(ternmq_receive(member, 300, &received, 1, &count, &error) == TERNMQ_NOTHING);
    printf("waiting\n");
    (void)fflush(stdout);
    CHECK(ternmq_receive(member, PATIENCE_MS, &received, 1, &count, &error) == TERNMQ_OK);
    CHECK(received.attempt > 1);
    CHECK(ternmq_ack(member, &received.receipt, 1, &error) == TERNMQ_OK);
    CHECK(ternmq_member_close(member, PATIENCE_MS, &error) == TERNMQ_OK);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {{"blocking", run_blocking},
                     {"missing", run_missing},
                     {"push", run_push},
                     {"order", run_order},
                     {"late", run_late}};
    if (argc != 3) {
        return 2;
    }
    nameservers = argv[2];
    client = ternmq_open(
        &(struct ternmq_options){.nameservers = nameservers, .name = "group_program"}, &error);
    CHECK(client != NULL);
    for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(argv[1], scenarios[i].name) == 0) {
            scenarios[i].run();
            ternmq_close(client);
            return 0;
        }
    }
    return 2;
}
