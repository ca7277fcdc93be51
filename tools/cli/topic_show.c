/* SPDX-License-Identifier: Apache-2.0 */
/* topic_show.c - the command `topic show`: a topic as its brokers say it is, put together. */
#include "proto/base/contract.h"
#include "proto/limits.h"
#include "proto/writer.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"
#include "tools/cli/topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* A broker of a route is alive, or its lease is not over yet: it is not waited for long. */
    SHOW_MS = 3000,
    ADDRESS_BYTES = ADDRESS_BYTES_MAX + 1,
    /* Of the answer that is put together: what is said of a broker and of a queue, beside names. */
    BROKER_ROOM = BROKER_NAME_BYTES_MAX + ADDRESS_BYTES_MAX + 96,
    QUEUE_ROOM = BROKER_NAME_BYTES_MAX + 96,
    AROUND_ROOM = 128
};

/* Where a queue stands, if its broker said so. */
struct queue_row {
    bool is_known;
    uint64_t shard;
    uint64_t first;
    uint64_t end;
    uint64_t next;
};

struct broker_row {
    char name[BROKER_NAME_BYTES_MAX + 1];
    char address[ADDRESS_BYTES]; /* "": not alive */
    bool is_known;               /* it answered */
    uint64_t id;
    uint64_t version;
};

/* A topic on several brokers while it is put together. */
struct gathering {
    struct bytes first; /* what the first answer said; owned */
    uint32_t broker_count;
    struct broker_row brokers[PLACEMENT_PARTS_MAX];
    uint32_t queue_count;
    uint16_t owners[QUEUES_PER_TOPIC_MAX]; /* of each queue: its place in `brokers` */
    struct queue_row queues[QUEUES_PER_TOPIC_MAX];
};

/* topic.show of whoever `call` goes to. */
static int ask(struct ternmq *client, const char *name, struct ternmq_call *call,
               struct ternmq_answer *answer_out, struct ternmq_error *error_out)
{
    uint8_t room[TOPIC_NAME_BYTES_MAX + 16];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "name", name);
    call->method = "topic.show";
    call->arguments = ternmq_bytes(room, writer_length(&writer));
    return ternmq_call(client, call, answer_out, error_out);
}

int topic_ask(struct ternmq *client, const char *name, struct ternmq_answer *answer_out,
              struct ternmq_error *error_out)
{
    struct ternmq_call call = {.to = TERNMQ_TO_TOPIC, .to_name = name, .queue = TERNMQ_QUEUE_ANY};
    return ask(client, name, &call, answer_out, error_out);
}

/* ------------------------------------------------------------------ gather */

static struct bytes copy_of(struct ternmq_bytes bytes)
{
    uint8_t *copy = malloc(bytes.length);
    ASSERT(copy != NULL);
    memcpy(copy, bytes.data, bytes.length);
    return bytes_make(copy, bytes.length);
}

/* The place of a broker of that name, which is made if it is not there; UINT32_MAX: there are too many. */
static uint32_t broker_place(struct gathering *gathering, const char *name)
{
    uint32_t place = 0;
    while (place < gathering->broker_count && strcmp(gathering->brokers[place].name, name) != 0) {
        place++;
    }
    if (place == PLACEMENT_PARTS_MAX) {
        return UINT32_MAX;
    }
    if (place == gathering->broker_count) {
        struct broker_row *row = &gathering->brokers[gathering->broker_count++];
        *row = (struct broker_row){.is_known = false};
        (void)snprintf(row->name, sizeof(row->name), "%s", name);
    }
    return place;
}

/* Notes who has which queue. False: the route is of more than a topic can have. */
static bool note_route(struct gathering *gathering, const struct ternmq_route *route)
{
    for (uint32_t i = 0; i < route->span_count; i++) {
        const struct ternmq_route_span *span = &route->spans[i];
        uint32_t place = broker_place(gathering, span->broker);
        if (place == UINT32_MAX ||
            span->queue_count > QUEUES_PER_TOPIC_MAX - gathering->queue_count) {
            return false;
        }
        if (span->address[0] != '\0') {
            struct broker_row *row = &gathering->brokers[place];
            (void)snprintf(row->address, sizeof(row->address), "%s", span->address);
        }
        for (uint32_t j = 0; j < span->queue_count; j++) {
            gathering->owners[gathering->queue_count++] = (uint16_t)place;
        }
    }
    return true;
}

/* Notes what a broker has answered. */
static void note_answer(struct gathering *gathering, uint32_t place, struct bytes topic)
{
    struct broker_row *broker = &gathering->brokers[place];
    struct cursor rows;
    uint32_t count = 0;
    broker->is_known = result_find_number(topic, "id", &broker->id) &&
                       result_find_number(topic, "version", &broker->version) &&
                       result_find(topic, "queues", &rows) && cursor_take_array(&rows, &count);
    for (uint32_t i = 0; i < count; i++) {
        struct bytes row;
        uint64_t queue;
        struct queue_row noted = {.is_known = true};
        if (cursor_take_span(&rows, &row) && result_find_number(row, "queue", &queue) &&
            queue < gathering->queue_count && gathering->owners[queue] == place &&
            result_find_number(row, "shard", &noted.shard) &&
            result_find_number(row, "first", &noted.first) &&
            result_find_number(row, "end", &noted.end) &&
            result_find_number(row, "next", &noted.next)) {
            gathering->queues[queue] = noted;
        }
    }
}

static void write_brokers(struct writer *writer, const struct gathering *gathering)
{
    writer_put_string(writer, "brokers");
    writer_put_array(writer, gathering->broker_count);
    for (uint32_t i = 0; i < gathering->broker_count; i++) {
        const struct broker_row *row = &gathering->brokers[i];
        writer_put_map(writer, row->is_known ? 5 : 3);
        writer_put_key_string(writer, "broker", row->name);
        writer_put_key_string(writer, "address", row->address);
        writer_put_key_bool(writer, "answers", row->is_known);
        if (row->is_known) {
            writer_put_key_uint(writer, "id", row->id);
            writer_put_key_uint(writer, "version", row->version);
        }
    }
}

static void write_queues(struct writer *writer, const struct gathering *gathering)
{
    writer_put_string(writer, "queues");
    writer_put_array(writer, gathering->queue_count);
    for (uint32_t queue = 0; queue < gathering->queue_count; queue++) {
        const struct queue_row *row = &gathering->queues[queue];
        writer_put_map(writer, row->is_known ? 6 : 2);
        writer_put_key_uint(writer, "queue", queue);
        writer_put_key_string(writer, "broker", gathering->brokers[gathering->owners[queue]].name);
        if (row->is_known) {
            writer_put_key_uint(writer, "shard", row->shard);
            writer_put_key_uint(writer, "first", row->first);
            writer_put_key_uint(writer, "end", row->end);
            writer_put_key_uint(writer, "next", row->next);
        }
    }
}

/* Writes the value that the first answer has of `key`, nil if it has none. */
static void write_of_first(struct writer *writer, const struct gathering *gathering,
                           const char *key)
{
    struct cursor cursor;
    struct bytes value;
    writer_put_string(writer, key);
    if (result_find(gathering->first, key, &cursor) && cursor_take_span(&cursor, &value)) {
        writer_put_raw(writer, value);
    } else {
        writer_put_nil(writer);
    }
}

static struct bytes write_gathered(const struct gathering *gathering)
{
    size_t bytes = AROUND_ROOM + gathering->first.length +
                   (size_t)gathering->broker_count * BROKER_ROOM +
                   (size_t)gathering->queue_count * QUEUE_ROOM;
    uint8_t *room = malloc(bytes);
    ASSERT(room != NULL);
    struct writer writer = writer_over(room, bytes);
    writer_put_map(&writer, 5);
    write_of_first(&writer, gathering, "name");
    write_of_first(&writer, gathering, "settings");
    write_of_first(&writer, gathering, "placement");
    write_brokers(&writer, gathering);
    write_queues(&writer, gathering);
    ASSERT(!writer.overflowed);
    return writer_bytes(&writer);
}

static void ask_brokers(struct ternmq *client, const char *name, struct gathering *gathering)
{
    for (uint32_t i = 0; i < gathering->broker_count; i++) {
        if (gathering->brokers[i].address[0] == '\0') {
            continue;
        }
        struct ternmq_call call = {.to = TERNMQ_TO_ADDRESS,
                                   .to_name = gathering->brokers[i].address,
                                   .timeout_ms = SHOW_MS};
        struct ternmq_answer answer;
        struct ternmq_error error; /* it is shown as one that does not answer */
        if (ask(client, name, &call, &answer, &error) == TERNMQ_OK) {
            note_answer(gathering, i, bytes_make(answer.result.data, answer.result.length));
        }
    }
}

int topic_gather(struct ternmq *client, const char *name, struct bytes *topic_out,
                 struct ternmq_error *error_out)
{
    struct ternmq_answer answer;
    int code = topic_ask(client, name, &answer, error_out);
    if (code != TERNMQ_OK) {
        return code;
    }
    struct gathering *gathering = calloc(1, sizeof(*gathering));
    ASSERT(gathering != NULL);
    gathering->first = copy_of(answer.result);
    struct ternmq_route route;
    code = ternmq_route(client, name, &route, error_out);
    bool is_whole = code == TERNMQ_OK && note_route(gathering, &route);
    if (is_whole && gathering->broker_count > 1) {
        ask_brokers(client, name, gathering);
        *topic_out = write_gathered(gathering);
        free((void *)gathering->first.data);
    } else {
        *topic_out = gathering->first;
    }
    free(gathering);
    return TERNMQ_OK;
}

/* -------------------------------------------------------------------- show */

static int run_show(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    const char *name = invocation->words[0];
    struct ternmq *client = topic_check_any_name(invocation, name, &status)
                                ? invocation_client(invocation, &status)
                                : NULL;
    if (client == NULL) {
        return status;
    }
    struct bytes topic;
    struct ternmq_error error;
    if (topic_gather(client, name, &topic, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", name);
    }
    struct cursor cursor = cursor_over(topic);
    if (invocation->json) {
        (void)json_put_value(stdout, &cursor);
        (void)putchar('\n');
    } else {
        (void)show_map(stdout, topic);
    }
    free((void *)topic.data);
    return EXIT_DONE;
}

const struct command TOPIC_SHOW_COMMAND = {
    .group = "topic",
    .name = "show",
    .arguments = "NAME",
    .summary = "Show a topic and where its queues stand",
    .help =
        "  ternmq topic show orders\n"
        "  ternmq topic show orders --json | jq .settings\n"
        "\n"
        "Of a topic on several brokers those that are alive are asked; queues of the others are shown\n"
        "without where they stand.\n",
    .words_least = 1,
    .words_most = 1,
    .run = run_show,
};
