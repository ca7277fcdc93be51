/* SPDX-License-Identifier: Apache-2.0 */
/*
 * example.c - a whole program with libternmq: makes a topic, produces in all three ways, reads it back.
 *
 *     cc example.c $(pkg-config --cflags --libs ternmq) -o example
 *     ./example
 *
 * It looks for the nameserver where TERNMQ_NAMESERVER says, else on 127.0.0.1:9876.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <ternmq.h>

#define TOPIC "example"

static void stop(const char *what, const struct ternmq_error *error)
{
    fprintf(stderr, "%s: %s: %s\n", what, error->name, error->message);
    exit(error->code == TERNMQ_UNREACHABLE ? 3 : 1);
}

/* Whoever runs this right after the nameserver has started waits a moment: say why. */
static void waiting(void *context, const struct ternmq_error *why, uint64_t waited_ms)
{
    (void)context;
    (void)waited_ms;
    fprintf(stderr, "waiting: %s\n", why->message);
}

/* Runs inside ternmq_flush(), once for each message. */
static void stored(void *context, const struct ternmq_produced *produced,
                   const struct ternmq_error *error)
{
    int *count = context;
    if (error != NULL) {
        fprintf(stderr, "not stored (%s), perhaps: %s\n", error->message,
                error->stored == TERNMQ_STORED_NO ? "no" : "yes");
        return;
    }
    (void)produced;
    (*count)++;
}

static void produce(struct ternmq *client)
{
    struct ternmq_error error;
    struct ternmq_producer *producer =
        ternmq_producer_open(client, &(struct ternmq_producer_options){.topic = TOPIC}, &error);
    if (producer == NULL) {
        stop("producer", &error);
    }

    /* One, and wait until it is stored. */
    struct ternmq_message one = {.body = ternmq_text("one")};
    struct ternmq_produced produced;
    if (ternmq_produce(producer, &one, 1, &produced, &error) != TERNMQ_OK) {
        stop("produce", &error);
    }
    printf("stored at %s/%" PRIu32 "/%" PRIu64 "/%" PRIu32 "\n", TOPIC, produced.queue,
           produced.offset, produced.epoch);

    /* Several as one: all are stored, in a row, or none. */
    struct ternmq_bytes key = ternmq_text("customer-7");
    struct ternmq_property property = {ternmq_text("currency"), ternmq_text("EUR")};
    struct ternmq_message two[2] = {
        {.body = ternmq_text("two"), .tag = ternmq_text("paid"), .keys = &key, .key_count = 1},
        {.body = ternmq_text("three"), .properties = &property, .property_count = 1},
    };
    if (ternmq_produce(producer, two, 2, &produced, &error) != TERNMQ_OK) {
        stop("produce", &error);
    }

    /* Many, without waiting for each: they share calls. */
    int count = 0;
    for (int i = 0; i < 1000; i++) {
        char text[16];
        int length = snprintf(text, sizeof(text), "%d", i);
        struct ternmq_message message = {.body = ternmq_bytes(text, (size_t)length)};
        int code;
        while ((code = ternmq_produce_async(producer, &message, stored, &count, &error)) ==
               TERNMQ_FULL) {
            ternmq_poll(client, 1000);
        }
        if (code != TERNMQ_OK) {
            stop("produce", &error);
        }
    }
    ternmq_flush(producer, -1);
    printf("%d more stored\n", count);
    ternmq_producer_close(producer);
}

static void consume(struct ternmq *client)
{
    struct ternmq_error error;
    struct ternmq_consumer *consumer = ternmq_consumer_open(
        client, &(struct ternmq_consumer_options){.topic = TOPIC, .until_end = true}, &error);
    if (consumer == NULL) {
        stop("consumer", &error);
    }
    struct ternmq_delivery deliveries[100];
    size_t count;
    size_t total = 0;
    int code;
    while ((code = ternmq_consume(consumer, 5000, deliveries, 100, &count, &error)) == TERNMQ_OK) {
        for (size_t i = 0; i < count; i++) {
            struct ternmq_bytes value;
            if (ternmq_delivery_property(&deliveries[i], "currency", &value)) {
                printf("queue %" PRIu32 " offset %" PRIu64 ": %.*s in %.*s\n", deliveries[i].queue,
                       deliveries[i].offset, (int)deliveries[i].body.length,
                       (const char *)deliveries[i].body.data, (int)value.length,
                       (const char *)value.data);
            }
        }
        total += count;
    }
    if (code != TERNMQ_END) {
        stop("consume", &error);
    }
    printf("%zu consumed\n", total);
    ternmq_consumer_close(consumer);
}

int main(void)
{
    struct ternmq_error error;
    struct ternmq *client = ternmq_open(
        &(struct ternmq_options){.name = "example", .unreachable_ms = 3000, .waiting = waiting},
        &error);
    if (client == NULL) {
        stop("open", &error);
    }
    const struct ternmq_topic_options topic = {.name = TOPIC, .queues = 4};
    if (ternmq_topic_put(client, &topic, NULL, NULL, &error) != TERNMQ_OK) {
        stop("topic", &error);
    }
    produce(client);
    consume(client);
    if (ternmq_topic_delete(client, TOPIC, &error) != TERNMQ_OK) {
        stop("topic", &error);
    }
    ternmq_close(client);
    return 0;
}
