/* SPDX-License-Identifier: Apache-2.0 */
/*
 * example_group.c - a whole program with consumer groups: a member that receives and settles by itself,
 * then a push consumer whose callbacks run on threads.
 *
 *     cc example_group.c $(pkg-config --cflags --libs ternmq) -o example_group
 *     ./example_group
 *
 * It looks for the nameserver where TERNMQ_NAMESERVER says, else on 127.0.0.1:9876.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <ternmq.h>
#include <ternmq_groups.h>

#define TOPIC "example-orders"
#define GROUP "example-billing"

enum { MESSAGES = 100, CLOSE_MS = 5000 };

static void stop(const char *what, const struct ternmq_error *error)
{
    fprintf(stderr, "%s: %s: %s\n", what, error->name, error->message);
    exit(error->code == TERNMQ_UNREACHABLE ? 3 : 1);
}

/* A topic, a group that reads it from its first message, and something to do. */
static void prepare(struct ternmq *client)
{
    struct ternmq_error error;
    const struct ternmq_topic_options topic = {.name = TOPIC, .queues = 2};
    const struct ternmq_group_topic reads = {.name = TOPIC};
    const uint32_t backoff_ms[] = {100, 1000};
    const struct ternmq_group_options group = {.name = GROUP,
                                               .topics = &reads,
                                               .topic_count = 1,
                                               .from = TERNMQ_FROM_FIRST,
                                               .backoff_ms = backoff_ms,
                                               .backoff_count = 2};
    if (ternmq_topic_put(client, &topic, NULL, NULL, &error) != TERNMQ_OK ||
        ternmq_group_put(client, &group, &error) != TERNMQ_OK) {
        stop("prepare", &error);
    }
    struct ternmq_producer *producer =
        ternmq_producer_open(client, &(struct ternmq_producer_options){.topic = TOPIC}, &error);
    for (int i = 0; producer != NULL && i < MESSAGES; i++) {
        char text[16];
        int length = snprintf(text, sizeof(text), "%d", i);
        struct ternmq_message message = {.body = ternmq_bytes(text, (size_t)length)};
        if (ternmq_produce_async(producer, &message, NULL, NULL, &error) != TERNMQ_OK) {
            stop("produce", &error);
        }
    }
    if (producer == NULL || ternmq_flush(producer, -1) != TERNMQ_OK) {
        stop("produce", &error);
    }
    ternmq_producer_close(producer);
}

/* Ten messages, one after the other. The first is refused, and comes again with the reason. */
static void receive(struct ternmq *client)
{
    struct ternmq_error error;
    struct ternmq_member *member = ternmq_member_open(
        client, &(struct ternmq_member_options){.group = GROUP, .name = "clerk", .credit = 2},
        &error);
    if (member == NULL) {
        stop("member", &error);
    }
    const struct ternmq_settlement later = {
        .verdict = TERNMQ_RETRY_LATER, .delay_ms = 100, .reason = "not before lunch"};
    int refused = 0;
    for (int done = 0; done < 10;) {
        struct ternmq_received received;
        size_t count;
        int code = ternmq_receive(member, 10000, &received, 1, &count, &error);
        if (code != TERNMQ_OK) {
            stop("receive", &error);
        }
        bool refuses = refused == 0;
        refused += refuses;
        done += !refuses;
        if (received.attempt > 1) {
            printf("again: %.*s (%.*s)\n", (int)received.message.body.length,
                   (const char *)received.message.body.data, (int)received.reason.length,
                   (const char *)received.reason.data);
        }
        /* What is not told now is told later: verdicts travel together. */
        if (ternmq_settle(member, &received.receipt, 1, refuses ? &later : NULL, &error) !=
            TERNMQ_OK) {
            stop("settle", &error);
        }
    }
    printf("10 received\n");
    if (ternmq_member_close(member, CLOSE_MS, &error) != TERNMQ_OK) {
        stop("close", &error);
    }
}

/* Runs on four threads at once. */
static struct ternmq_settlement work(void *context, const struct ternmq_received *received)
{
    atomic_int *done = context;
    (void)received;
    (*done)++;
    return (struct ternmq_settlement){.verdict = TERNMQ_ACK};
}

static void failing(void *context, const struct ternmq_error *error)
{
    (void)context;
    fprintf(stderr, "%s: %s\n", error->name, error->message);
}

/* The rest, on threads. This one only waits for them. */
static void push(struct ternmq *client)
{
    struct ternmq_error error;
    atomic_int done = 0;
    struct ternmq_push_consumer *consumer =
        ternmq_push_consumer_open(&(struct ternmq_options){.name = "example"},
                                  &(struct ternmq_push_options){.member.group = GROUP,
                                                                .workers = 4,
                                                                .message = work,
                                                                .failing = failing,
                                                                .context = &done},
                                  &error);
    if (consumer == NULL) {
        stop("push consumer", &error);
    }
    while (done < MESSAGES - 10) {
        ternmq_poll(client, 10);
    }
    if (ternmq_push_consumer_close(consumer, CLOSE_MS, &error) != TERNMQ_OK) {
        stop("close", &error);
    }
    printf("%d pushed\n", done);
}

int main(void)
{
    struct ternmq_error error;
    struct ternmq *client = ternmq_open(&(struct ternmq_options){.name = "example"}, &error);
    if (client == NULL) {
        stop("open", &error);
    }
    prepare(client);
    receive(client);
    push(client);
    if (ternmq_group_delete(client, GROUP, &error) != TERNMQ_OK ||
        ternmq_topic_delete(client, TOPIC, &error) != TERNMQ_OK) {
        stop("delete", &error);
    }
    ternmq_close(client);
    return 0;
}
