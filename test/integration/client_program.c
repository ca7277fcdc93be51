/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_program.c - the functions of libternmq that block, against real servers; for
 * test_client_blocking.py.
 *
 *     client_program SCENARIO NAMESERVERS
 *
 * Prints what fails and ends with 1; the exit status 0 says that the scenario held.
 */
#include "tools/client/ternmq.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static void open_client(const char *nameservers, uint32_t unreachable_ms)
{
    client = ternmq_open(&(struct ternmq_options){.nameservers = nameservers,
                                                  .name = "client_program",
                                                  .unreachable_ms = unreachable_ms},
                         &error);
    CHECK(client != NULL);
}

static void put_topic(const char *name, uint32_t queues, enum ternmq_route_by route)
{
    uint64_t id = 0;
    const struct ternmq_topic_options topic = {.name = name, .queues = queues, .route = route};
    CHECK(ternmq_topic_put(client, &topic, &id, NULL, &error) == TERNMQ_OK);
    CHECK(id != 0);
}

static struct ternmq_producer *open_producer(const char *topic, enum ternmq_choose choose)
{
    struct ternmq_producer *producer = ternmq_producer_open(
        client, &(struct ternmq_producer_options){.topic = topic, .choose = choose}, &error);
    CHECK(producer != NULL);
    return producer;
}

/* -------------------------------------------------------------------------- round trip */

static void check_message_get(const struct ternmq_produced *produced)
{
    struct ternmq_delivery delivery;
    CHECK(ternmq_message_get(client, "plain", produced->queue, produced->offset, &delivery,
                             &error) == TERNMQ_OK);
    CHECK(delivery.offset == produced->offset && delivery.epoch == produced->epoch);
    CHECK(delivery.body.length == 2 && memcmp(delivery.body.data, "b0", 2) == 0);
    CHECK(ternmq_message_get(client, "plain", produced->queue, 1000000, &delivery, &error) ==
          TERNMQ_MESSAGE_NOT_FOUND);
}

static void check_topic_administration(void)
{
    struct ternmq_route route;
    CHECK(ternmq_route(client, "plain", &route, &error) == TERNMQ_OK);
    CHECK(route.queue_count == 3 && route.span_count == 1);
    CHECK(route.spans[0].address[0] != '\0' && route.spans[0].epoch >= 1);

    /* The same again changes nothing; another version is a conflict; more queues are there at once. */
    uint64_t id;
    uint64_t version;
    struct ternmq_topic_options topic = {.name = "plain", .queues = 3};
    CHECK(ternmq_topic_put(client, &topic, &id, &version, &error) == TERNMQ_OK);
    topic = (struct ternmq_topic_options){.name = "plain", .queues = 5, .version = version + 1};
    CHECK(ternmq_topic_put(client, &topic, NULL, NULL, &error) == TERNMQ_CONFLICT);
    topic.version = version;
    CHECK(ternmq_topic_put(client, &topic, NULL, NULL, &error) == TERNMQ_OK);
    struct ternmq_producer *producer =
        ternmq_producer_open(client,
                             &(struct ternmq_producer_options){
                                 .topic = "plain", .choose = TERNMQ_CHOOSE_QUEUE, .queue = 4},
                             &error);
    struct ternmq_message message = {.body = ternmq_text("new queue")};
    CHECK(ternmq_produce(producer, &message, 1, NULL, &error) == TERNMQ_OK);
    ternmq_producer_close(producer);

    struct ternmq_answer answer;
    CHECK(ternmq_call(client, &(struct ternmq_call){.method = "topic.list"}, &answer, &error) ==
          TERNMQ_OK);
    CHECK(answer.result.length > 0 && answer.address[0] != '\0');
    CHECK(ternmq_call(client,
                      &(struct ternmq_call){.to = TERNMQ_TO_ANY_BROKER, .method = "no.such"},
                      &answer, &error) == TERNMQ_UNKNOWN_METHOD);
}

static void on_stored(void *context, const struct ternmq_produced *produced,
                      const struct ternmq_error *why)
{
    if (why != NULL) {
        error = *why;
    }
    CHECK(why == NULL);
    CHECK(produced->count == 1);
    /* What blocks is refused inside a callback. */
    CHECK(ternmq_poll(client, 0) == TERNMQ_USAGE);
    (*(uint32_t *)context)++;
}

static uint64_t consume_all(const char *topic)
{
    struct ternmq_consumer *consumer = ternmq_consumer_open(
        client, &(struct ternmq_consumer_options){.topic = topic, .until_end = true}, &error);
    CHECK(consumer != NULL);
    struct ternmq_delivery deliveries[100];
    uint64_t next[64] = {0};
    uint64_t total = 0;
    size_t count;
    int code;
    while ((code = ternmq_consume(consumer, 10000, deliveries, 100, &count, &error)) == TERNMQ_OK) {
        for (size_t i = 0; i < count; i++) {
            CHECK(deliveries[i].offset == next[deliveries[i].queue]++);
        }
        total += count;
    }
    CHECK(code == TERNMQ_END);
    ternmq_consumer_close(consumer);
    return total;
}

static void roundtrip(const char *nameservers)
{
    open_client(nameservers, 0);
    put_topic("plain", 3, TERNMQ_ROUTE_ANY);
    put_topic("keyed", 8, TERNMQ_ROUTE_KEY);

    struct ternmq_producer *producer = open_producer("plain", TERNMQ_CHOOSE_ANY);
    struct ternmq_produced produced;
    struct ternmq_message batch[100];
    for (int i = 0; i < 100; i++) {
        batch[i] = (struct ternmq_message){.body = ternmq_text("b0")};
    }
    CHECK(ternmq_produce(producer, batch, 100, &produced, &error) == TERNMQ_OK);
    CHECK(produced.count == 100 && produced.reached == TERNMQ_DURABILITY_DISK);
    check_message_get(&produced);
    uint32_t stored = 0;
    for (int i = 0; i < 5000; i++) {
        CHECK(ternmq_produce_async(producer, &batch[0], on_stored, &stored, &error) == TERNMQ_OK);
    }
    CHECK(ternmq_flush(producer, -1) == TERNMQ_OK);
    CHECK(stored == 5000);
    CHECK(ternmq_produce_oneway(producer, batch, 7, &error) == TERNMQ_OK);
    CHECK(ternmq_flush(producer, 10000) == TERNMQ_OK);
    /* Behind it in the same connection, so it is stored too when this one is answered. */
    CHECK(ternmq_produce(producer, batch, 1, NULL, &error) == TERNMQ_OK);
    uint64_t until = now_ms() + 10000;
    uint64_t total;
    while ((total = consume_all("plain")) != 5108 && now_ms() < until) {
        ternmq_poll(client, 10);
    }
    CHECK(total == 5108);

    /* A large message, alone in its call. */
    size_t large_bytes = (4 << 20) - 5;
    char *large = calloc(1, large_bytes);
    struct ternmq_message message = {.body = ternmq_bytes(large, large_bytes)};
    CHECK(ternmq_produce(producer, &message, 1, &produced, &error) == TERNMQ_OK);
    CHECK(consume_all("plain") == 5109);
    free(large);

    struct ternmq_producer *keyed = open_producer("keyed", TERNMQ_CHOOSE_BY_KEY);
    for (int i = 0; i < 50; i++) {
        char text[16];
        snprintf(text, sizeof(text), "key-%d", i);
        struct ternmq_bytes key = ternmq_text(text);
        message = (struct ternmq_message){.body = ternmq_text("k"), .keys = &key, .key_count = 1};
        struct ternmq_produced again;
        CHECK(ternmq_produce(keyed, &message, 1, &produced, &error) == TERNMQ_OK);
        CHECK(ternmq_produce(keyed, &message, 1, &again, &error) == TERNMQ_OK);
        CHECK(again.queue == produced.queue && again.offset == produced.offset + 1);
    }
    CHECK(consume_all("keyed") == 100);
    check_topic_administration();

    CHECK(ternmq_topic_delete(client, "plain", &error) == TERNMQ_OK);
    CHECK(ternmq_topic_delete(client, "keyed", &error) == TERNMQ_OK);
    /* Who deleted a topic does not wait for a broker that may still have it. */
    uint64_t began = now_ms();
    put_topic("plain", 1, TERNMQ_ROUTE_ANY);
    CHECK(now_ms() - began < 3000);
    CHECK(ternmq_topic_delete(client, "plain", &error) == TERNMQ_OK);
    ternmq_close(client);
}

/* -------------------------------------------------------------------------- nobody, nothing */

static void unreachable(const char *nameservers)
{
    open_client(nameservers, 500);
    struct ternmq_producer *producer = open_producer("plain", TERNMQ_CHOOSE_ANY);
    struct ternmq_message message = {.body = ternmq_text("x")};
    uint64_t began = now_ms();
    CHECK(ternmq_produce(producer, &message, 1, NULL, &error) == TERNMQ_UNREACHABLE);
    CHECK(error.stored == TERNMQ_STORED_NO && error.retryable);
    struct ternmq_consumer *consumer =
        ternmq_consumer_open(client, &(struct ternmq_consumer_options){.topic = "plain"}, &error);
    struct ternmq_delivery delivery;
    size_t count;
    CHECK(ternmq_consume(consumer, -1, &delivery, 1, &count, &error) == TERNMQ_UNREACHABLE);
    CHECK(now_ms() - began < 10000);
    ternmq_close(client);
}

static void unknown_topic(const char *nameservers)
{
    open_client(nameservers, 0);
    struct ternmq_producer *producer = open_producer("nothing", TERNMQ_CHOOSE_BY_KEY);
    struct ternmq_bytes key = ternmq_text("k");
    struct ternmq_message message = {.keys = &key, .key_count = 1};
    CHECK(ternmq_produce(producer, &message, 1, NULL, &error) == TERNMQ_TOPIC_NOT_FOUND);
    CHECK(ternmq_topic_delete(client, "nothing", &error) == TERNMQ_TOPIC_NOT_FOUND);
    ternmq_close(client);
}

static void *interrupt_soon(void *unused)
{
    (void)unused;
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    ternmq_interrupt(client);
    return NULL;
}

static void interrupted(const char *nameservers)
{
    open_client(nameservers, 0);
    put_topic("quiet", 1, TERNMQ_ROUTE_ANY);
    struct ternmq_consumer *consumer =
        ternmq_consumer_open(client, &(struct ternmq_consumer_options){.topic = "quiet"}, &error);
    struct ternmq_delivery delivery;
    size_t count;
    CHECK(ternmq_consume(consumer, 100, &delivery, 1, &count, &error) == TERNMQ_NOTHING);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, interrupt_soon, NULL) == 0);
    CHECK(ternmq_consume(consumer, -1, &delivery, 1, &count, &error) == TERNMQ_INTERRUPTED);
    pthread_join(thread, NULL);
    CHECK(ternmq_poll(client, 0) == TERNMQ_OK); /* once */
    CHECK(ternmq_topic_delete(client, "quiet", &error) == TERNMQ_OK);
    ternmq_close(client);
}

/* -------------------------------------------------------------------------- restarts */

enum { RESTART_MESSAGES = 2000 };

/*
 * Produces one by one while the broker is killed and started again, says so on standard output, and
 * then reads: what was stored is there, in order, once; what was told not to be stored is not.
 */
static void restart(const char *nameservers)
{
    static char fate[RESTART_MESSAGES]; /* 'y', 'n', '?' */
    open_client(nameservers, 0);
    put_topic("restart", 1, TERNMQ_ROUTE_ANY);
    struct ternmq_producer *producer = open_producer("restart", TERNMQ_CHOOSE_ANY);
    for (int i = 0; i < RESTART_MESSAGES; i++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", i);
        struct ternmq_message message = {.body = ternmq_text(text)};
        int code = ternmq_produce(producer, &message, 1, NULL, &error);
        fate[i] = code == TERNMQ_OK ? 'y' : error.stored == TERNMQ_STORED_NO ? 'n' : '?';
        CHECK(code == TERNMQ_OK || code == TERNMQ_LOST || error.retryable);
        if (i % 100 == 0) {
            printf("%d\n", i);
            fflush(stdout);
        }
    }
    uint32_t seen[RESTART_MESSAGES] = {0};
    struct ternmq_consumer *consumer = ternmq_consumer_open(
        client, &(struct ternmq_consumer_options){.topic = "restart", .until_end = true}, &error);
    struct ternmq_delivery delivery;
    size_t count;
    int last = -1;
    int code;
    while ((code = ternmq_consume(consumer, 10000, &delivery, 1, &count, &error)) == TERNMQ_OK) {
        char text[16] = {0};
        memcpy(text, delivery.body.data, delivery.body.length);
        int number = atoi(text);
        CHECK(number > last);
        last = number;
        seen[number]++;
    }
    CHECK(code == TERNMQ_END);
    int stored = 0;
    for (int i = 0; i < RESTART_MESSAGES; i++) {
        CHECK(fate[i] == '?' || seen[i] == (fate[i] == 'y' ? 1U : 0U));
        stored += fate[i] == 'y';
    }
    CHECK(stored > RESTART_MESSAGES - 50);
    ternmq_close(client);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const char *nameservers);
    } scenarios[] = {
        {"roundtrip", roundtrip},
        {"unreachable", unreachable},
        {"unknown_topic", unknown_topic},
        {"interrupted", interrupted},
        {"restart", restart},
    };
    for (size_t i = 0; argc == 3 && i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
        if (strcmp(scenarios[i].name, argv[1]) == 0) {
            scenarios[i].run(argv[2]);
            return 0;
        }
    }
    fprintf(stderr, "usage: client_program SCENARIO NAMESERVERS\n");
    return 2;
}
