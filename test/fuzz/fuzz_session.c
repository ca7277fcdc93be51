/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_session.c - any bytes at all on a connection to a live broker.
 *
 * The first byte chooses how many cores the broker has and whether somebody else waits for
 * messages; what follows is the connection's whole stream, cut into pieces by the simulation. It
 * must hold:
 *
 *   - what comes back is answers and nothing else, and no more of them than there were bytes for
 *   - somebody else is served all the while
 *   - what was stored can be read, in order, by somebody else
 *   - the broker ends in order, and nothing is lost from memory (the sanitizers see to that)
 *
 * A whole broker is made for each input, so that an input says the same wherever it is replayed.
 */
#include "net/simulation.h"
#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "proto/limits.h"
#include "proto/record.h"
#include "storage/disk.h"
#include "storage/disk_simulated.h"
#include "test/lib/broker_simulated.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

enum {
    REQUEST_BYTES_MAX = 1024,
    REQUEST_BYTES_LEAST = 4, /* three bytes of envelope and one of method at the least */
    QUEUES = 2,
    SETTLE_MS = 100, /* of simulated time, for what needs no timer */
    TWO_CORES = 1,   /* bits of the first byte */
    ONE_WAITS = 2,
    ON_DISK = 4
};

static uint32_t next_msgid;

static struct writer request_to(uint8_t room[REQUEST_BYTES_MAX], const char *method,
                                uint32_t argument_count)
{
    struct writer writer = writer_over(room, REQUEST_BYTES_MAX);
    request_begin(&writer, ++next_msgid, method, argument_count);
    return writer;
}

static struct answer must_answer(struct client_simulated *client, const struct writer *request)
{
    struct answer answer;
    bool answered = client_simulated_call(client, request, &answer);
    ASSERT(answered && !answer.failed);
    return answer;
}

static void make_topic(struct client_simulated *client, const char *name, const char *route)
{
    uint8_t room[REQUEST_BYTES_MAX];
    struct writer request = request_to(room, "topic.put", 3);
    writer_put_key_string(&request, "name", name);
    writer_put_key_uint(&request, "queues", QUEUES);
    writer_put_string(&request, "settings");
    writer_put_map(&request, 1);
    writer_put_key_string(&request, "route", route);
    (void)must_answer(client, &request);
}

static void produce_some(struct client_simulated *client)
{
    uint8_t room[REQUEST_BYTES_MAX];
    struct writer request = request_to(room, "produce", 3);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 0);
    writer_put_string(&request, "messages");
    writer_put_array(&request, 2);
    writer_put_bin(&request, BYTES_OF("first"));
    writer_put_bin(&request, BYTES_OF("second"));
    (void)must_answer(client, &request);
}

/* Leaves a poll waiting at the end of a queue. */
static void wait_for_more(struct client_simulated *client)
{
    uint8_t room[REQUEST_BYTES_MAX];
    struct writer request = request_to(room, "pull", 4);
    writer_put_key_string(&request, "topic", "t");
    writer_put_key_uint(&request, "queue", 1);
    writer_put_key_bool(&request, "last", true);
    writer_put_key_uint(&request, "wait_ms", WAIT_MS_MAX);
    client_simulated_send(client, writer_bytes(&request));
}

/* Every offset once, none left out, each record whole. */
static void check_records(struct cursor *messages, uint32_t count, uint64_t first)
{
    for (uint32_t i = 0; i < count; i++) {
        struct bytes span;
        struct record_view record;
        bool whole = cursor_take_span(messages, &span) &&
                     record_read_anywhere(span, &record) == RECORD_WHOLE;
        ASSERT(whole);
        ASSERT(record.fields.kind == RECORD_MESSAGE && record.fields.offset == first + i);
    }
}

/* Reads a queue from its first message to its end. The topic may be gone: the input may delete. */
static void read_queue(struct client_simulated *client, uint32_t queue)
{
    uint64_t next = 0;
    uint64_t end = 0;
    do {
        uint8_t room[REQUEST_BYTES_MAX];
        struct writer request = request_to(room, "pull", 3);
        writer_put_key_string(&request, "topic", "t");
        writer_put_key_uint(&request, "queue", queue);
        writer_put_key_uint(&request, "offset", next);
        struct answer answer;
        bool answered = client_simulated_call(client, &request, &answer);
        ASSERT(answered);
        if (answer.failed) {
            return;
        }
        struct cursor result = cursor_over(answer.result);
        uint32_t pairs;
        uint32_t count;
        uint64_t first;
        struct bytes key;
        uint32_t topic_id;
        bool read = cursor_take_map(&result, &pairs) && cursor_take_text(&result, &key) &&
                    cursor_take_u32(&result, &topic_id) && cursor_take_text(&result, &key) &&
                    cursor_take_uint(&result, &first) && cursor_take_text(&result, &key) &&
                    cursor_take_uint(&result, &next) && cursor_take_text(&result, &key) &&
                    cursor_take_uint(&result, &end) && cursor_take_text(&result, &key) &&
                    cursor_take_array(&result, &count);
        ASSERT(read && pairs == 5 && next == first + count && next <= end);
        check_records(&result, count, first);
        ASSERT(cursor_is_done(&result));
        ASSERT(count > 0 || next == end);
    } while (next < end);
}

static void drop_line(void *context, struct bytes line)
{
    (void)context;
    (void)line;
}

/* The input's own connection. */
static void run_stream(struct simulation *world, const struct address *address, struct bytes stream)
{
    struct client_simulated *client = client_simulated_open(world, "stream", address);
    client_simulated_send(client, stream);
    struct answer answer;
    uint64_t answers = 0;
    while (client_simulated_take(client, SETTLE_MS, &answer)) {
        answers++;
    }
    ASSERT(client_simulated_nonsense(client) == 0);
    ASSERT(answers <= stream.length / REQUEST_BYTES_LEAST + 1);
    client_simulated_close(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    if (length == 0) {
        return 0;
    }
    log_set_sink(drop_line, NULL);
    next_msgid = 0;
    const struct simulation_options options = {.seed = length,
                                               .wall_ms = UINT64_C(1700000000000),
                                               .delay_ns_least = 1000,
                                               .delay_ns_most = 100000,
                                               .window_bytes = 64 * 1024};
    struct simulation *world = simulation_create(&options);
    struct disk_image *image = disk_image_create(false);
    const struct disk_simulated_options disk_options = {
        .simulation = world, .job_ns_least = 10000, .job_ns_most = 1000000};
    struct disk *disk = disk_simulated_open(image, &disk_options);
    struct broker_simulated broker;
    const struct broker_simulated_options broker_options = {
        .cores = (data[0] & TWO_CORES) != 0 ? 2 : 1,
        .durability = (data[0] & ON_DISK) != 0 ? DURABILITY_DISK : DURABILITY_MEMORY,
        .segment_bytes = 256 * 1024};
    broker_simulated_start(&broker, world, disk, &broker_options);
    struct client_simulated *other = client_simulated_open(world, "other", &broker.address);
    make_topic(other, "t", "any");
    make_topic(other, "k", "key");
    produce_some(other);
    struct client_simulated *waiting = NULL;
    if ((data[0] & ONE_WAITS) != 0) {
        waiting = client_simulated_open(world, "waiting", &broker.address);
        wait_for_more(waiting);
    }

    run_stream(world, &broker.address, bytes_make(data + 1, length - 1));

    for (uint32_t queue = 0; queue < QUEUES; queue++) {
        read_queue(other, queue);
    }
    if (waiting != NULL) {
        ASSERT(!client_simulated_is_closed(waiting));
        client_simulated_close(waiting);
    }
    client_simulated_close(other);
    broker_simulated_stop(&broker);
    ASSERT(broker.failed == NULL);
    disk_close(disk);
    disk_image_destroy(image);
    simulation_destroy(world);
    return 0;
}
