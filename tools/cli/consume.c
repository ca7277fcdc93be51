/* SPDX-License-Identifier: Apache-2.0 */
/* consume.c - the command `consume`: bodies to standard output, everything else to standard error. */
#include "tools/cli/consume.h"

#include "proto/limits.h"
#include "tools/cli/message_json.h"
#include "tools/cli/output.h"
#include "tools/cli/text.h"
#include "tools/cli/topic.h"

#include <stdio.h>
#include <string.h>

enum { DELIVERIES_MAX = 1024 };

static const struct setting CONSUME_ROWS[] = {
    [CONSUME_FROM] = {.name = "from",
                      .metavar = "first|last|OFFSET|TIME",
                      .type = SETTING_TEXT,
                      .fallback = "first",
                      .help =
                          "Where to begin in each queue; a TIME is 2026-01-31T12:00:00 (ISO 8601) "
                          "or -1h"},
    [CONSUME_QUEUE] = {.name = "queue",
                       .type = SETTING_INTEGER,
                       .most = QUEUES_PER_TOPIC_MAX - 1,
                       .help = "Only this queue"},
    [CONSUME_COUNT] = {.name = "count",
                       .metavar = "N",
                       .type = SETTING_INTEGER,
                       .help = "End after so many messages"},
    [CONSUME_FILTER] = {.name = "filter",
                        .metavar = "EXPR",
                        .type = SETTING_TEXT,
                        .help = "Only messages that this wants: tags, or SQL on properties; see "
                                "ternmq filter test --help"},
    [CONSUME_FOLLOW] = {.name = "follow",
                        .alias = 'f',
                        .type = SETTING_FLAG,
                        .help =
                            "Go on with what comes, instead of ending where each queue ended at "
                            "the start"},
    [CONSUME_FORMAT] = {.name = "format",
                        .type = SETTING_CHOICE,
                        .fallback = "body",
                        .choices = "body|json",
                        .help = "A body a line, or an object a line; --json is the same"},
    [CONSUME_GROUP] = {.name = "group",
                       .metavar = "GROUP",
                       .type = SETTING_TEXT,
                       .least = 1,
                       .most = GROUP_ANY_NAME_BYTES_MAX,
                       .help = "As a member of this group, and for as long as messages come; the "
                               "options below need it"},
    [CONSUME_MEMBER] = {.name = "member",
                        .metavar = "NAME",
                        .type = SETTING_TEXT,
                        .least = 1,
                        .most = MEMBER_NAME_BYTES_MAX,
                        .help = "The member's name, which a broadcast group needs; else HOST-PID"},
    [CONSUME_LEASE] = {.name = "lease",
                       .type = SETTING_DURATION,
                       .least = GROUP_LEASE_MS_LEAST,
                       .most = GROUP_LEASE_MS_MOST,
                       .help =
                           "How long a message is leased at a time; else as the group says. The "
                           "lease is extended while the message is worked on"},
    [CONSUME_ACK] = {.name = "ack",
                     .type = SETTING_CHOICE,
                     .fallback = "auto",
                     .choices = "auto|exec",
                     .help =
                         "A message is acked when it is written, or when the command behind exec, "
                         "which gets it on standard input, ends with 0"},
    [CONSUME_CREDIT] =
        {.name = "credit",
         .metavar = "N",
         .type = SETTING_INTEGER,
         .least = 1,
         .most = MESSAGES_PER_CALL_MAX,
         .help = "How many messages are leased to it at a time at most (auto: 100, exec: 2)"},
    [CONSUME_IDLE] = {.name = "idle",
                      .type = SETTING_DURATION,
                      .least = 1,
                      .most = DURATION_MS_MAX,
                      .help = "End when nothing came for so long"},
};

/* A consume command under way. */
struct consumption {
    struct invocation *invocation;
    struct ternmq *client;
    struct ternmq_consumer *consumer;
    const char *topic;
    uint64_t from; /* the offset that was asked for; 0: none */
    uint64_t most;
    bool json;
    bool follow;
    uint64_t count;
    uint64_t bytes;
    struct output output;
    int status;
    uint64_t began_ms;
};

/* ----------------------------------------------------------------- output */

static void write_json(const struct ternmq_delivery *delivery)
{
    struct json_object object = json_open(stdout);
    message_json_put_place(&object, delivery);
    message_json_put_body(&object, delivery);
    json_close(&object);
}

static void write_delivery(struct consumption *consumption, const struct ternmq_delivery *delivery)
{
    if (consumption->json) {
        write_json(delivery);
    } else {
        output_put_line(delivery->body);
    }
    consumption->count++;
    consumption->bytes += delivery->body.length;
}

/* ------------------------------------------------------------- the options */

/* Reads --from into where a consumer begins. */
static int read_from(struct invocation *invocation, struct ternmq_consumer_options *options)
{
    const char *from = invocation_option(invocation, CONSUME_FROM)->text;
    if (strcmp(from, "first") == 0) {
        options->start = TERNMQ_START_FIRST;
    } else if (strcmp(from, "last") == 0) {
        options->start = TERNMQ_START_LAST;
    } else if (text_is_digits(from)) {
        const char *digits = from;
        options->start = TERNMQ_START_OFFSET;
        if (!text_take_number(&digits, INTEGER_LIMIT - 1, &options->start_value)) {
            return invocation_fail(invocation, EXIT_WRONG_USAGE,
                                   "--from %s: an offset is below 2^53", from);
        }
    } else {
        options->start = TERNMQ_START_TIME;
        if (!text_read_time(from, clock_wall_ms(), &options->start_value)) {
            return invocation_refuse_time(invocation, "from", from, "first, last, an offset");
        }
    }
    return EXIT_DONE;
}

static int open_consumer(struct consumption *consumption)
{
    struct invocation *invocation = consumption->invocation;
    const struct setting_value *queue = invocation_option(invocation, CONSUME_QUEUE);
    struct ternmq_consumer_options options = {
        .topic = consumption->topic,
        .one_queue = queue->given,
        .queue = (uint32_t)queue->number,
        .filter = invocation_option(invocation, CONSUME_FILTER)->text,
        .until_end = !consumption->follow,
    };
    int status = read_from(invocation, &options);
    if (status != EXIT_DONE) {
        return status;
    }
    consumption->from = options.start == TERNMQ_START_OFFSET ? options.start_value : 0;
    consumption->client = invocation_client(invocation, &status);
    if (consumption->client == NULL) {
        return status;
    }
    struct ternmq_error error;
    consumption->consumer = ternmq_consumer_open(consumption->client, &options, &error);
    if (consumption->consumer == NULL) {
        return invocation_fail_with(invocation, &error, "topic %s", consumption->topic);
    }
    return EXIT_DONE;
}

/* ---------------------------------------------------------------- the loop */

static void show_progress(struct consumption *consumption)
{
    if (!invocation_shows_progress()) {
        return;
    }
    uint64_t took_ms = clock_run_ms() - consumption->began_ms;
    invocation_progress(consumption->invocation, "%s, %s, %s/s",
                        text_of_count(consumption->count, "message"),
                        text_of_bytes(consumption->bytes),
                        text_of_number(took_ms > 0 ? consumption->count * 1000 / took_ms : 0));
}

/* Something is missing where the consumer wanted to read; it goes on behind it. */
static void say_gap(struct consumption *consumption, const struct ternmq_error *error)
{
    if (error->code == TERNMQ_TRUNCATED && error->resume >= 0 &&
        (uint64_t)error->resume < consumption->from) {
        /* Nothing was read there yet, so nothing that was read is gone. */
        invocation_say(
            consumption->invocation,
            "topic %s, queue %lld: offset %llu is beyond the end; going on at offset %lld",
            consumption->topic, (long long)error->queue, (unsigned long long)consumption->from,
            (long long)error->resume);
        return;
    }
    invocation_say(consumption->invocation,
                   "topic %s, queue %lld: %s (%s); going on at offset %lld", consumption->topic,
                   (long long)error->queue, error->message, error->name,
                   (long long)(error->resume < 0 ? 0 : error->resume));
}

/* Whether it was once where its messages are: then it can only be away for a while. */
static bool has_reached_a_queue(const struct consumption *consumption)
{
    for (uint32_t queue = 0; queue < QUEUES_PER_TOPIC_MAX; queue++) {
        struct ternmq_position position;
        if (ternmq_consumer_position(consumption->consumer, queue, &position) && position.known) {
            return true;
        }
    }
    return false;
}

/* What ternmq_consume() said other than messages. False: that was the end. */
static bool go_on_after(struct consumption *consumption, int code, const struct ternmq_error *error)
{
    switch (code) {
    case TERNMQ_NOTHING:
        return true;
    case TERNMQ_END:
        return false;
    case TERNMQ_INTERRUPTED:
        return !interrupted;
    case TERNMQ_OFFSET_TOO_SMALL:
    case TERNMQ_TRUNCATED:
    case TERNMQ_TOPIC_CHANGED:
        say_gap(consumption, error);
        return true;
    case TERNMQ_CORRUPT:
        consumption->status =
            invocation_fail_with(consumption->invocation, error, "topic %s", consumption->topic);
        return true;
    default:
        break;
    }
    bool may_come_back = error->retryable || code == TERNMQ_LOST || code == TERNMQ_TIMED_OUT;
    if (consumption->follow && has_reached_a_queue(consumption) && may_come_back) {
        invocation_say_waiting(consumption->invocation, error);
        return true;
    }
    consumption->status =
        invocation_fail_with(consumption->invocation, error, "topic %s", consumption->topic);
    return false;
}

static void consume_all(struct consumption *consumption)
{
    struct ternmq_delivery deliveries[DELIVERIES_MAX];
    struct ternmq_error error;
    while (!interrupted && consumption->count < consumption->most) {
        uint64_t wanted = consumption->most - consumption->count;
        size_t max = wanted < DELIVERIES_MAX ? (size_t)wanted : DELIVERIES_MAX;
        size_t count = 0;
        int code = ternmq_consume(consumption->consumer, 0, deliveries, max, &count, &error);
        if (code == TERNMQ_NOTHING) {
            /* Nobody waits for what is here already. */
            if (!output_flush(&consumption->output) ||
                output_reader_has_gone(&consumption->output)) {
                return;
            }
            code = ternmq_consume(consumption->consumer, CONSUME_WAIT_MS, deliveries, max, &count,
                                  &error);
        }
        if (code != TERNMQ_OK) {
            if (!go_on_after(consumption, code, &error)) {
                return;
            }
            count = 0;
        }
        for (size_t i = 0; i < count; i++) {
            write_delivery(consumption, &deliveries[i]);
        }
        if (count > 0) {
            invocation_stop_waiting(consumption->invocation);
        }
        if (!output_is_open(&consumption->output)) {
            return;
        }
        show_progress(consumption);
    }
}

/* Without a group there are none of its options. */
static int refuse_group_options(struct invocation *invocation)
{
    for (uint32_t row = CONSUME_MEMBER; row < CONSUME_ROW_COUNT; row++) {
        if (invocation_option(invocation, row)->given) {
            return invocation_fail(invocation, EXIT_WRONG_USAGE, "--%s needs --group",
                                   CONSUME_ROWS[row].name);
        }
    }
    if (invocation->word_count > 1) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "there is an argument too many: '%s'",
                               invocation->words[1]);
    }
    return EXIT_DONE;
}

static int run_alone(struct invocation *invocation)
{
    const struct setting_value *count = invocation_option(invocation, CONSUME_COUNT);
    struct consumption consumption = {
        .invocation = invocation,
        .topic = invocation->words[0],
        .most = count->given ? count->number : UINT64_MAX,
        .json = invocation->json || invocation_option(invocation, CONSUME_FORMAT)->number == 1,
        .follow = invocation_option(invocation, CONSUME_FOLLOW)->given,
        .status = EXIT_DONE,
        .began_ms = clock_run_ms(),
    };
    int status = refuse_group_options(invocation);
    if (status == EXIT_DONE) {
        status = open_consumer(&consumption);
    }
    if (status != EXIT_DONE) {
        return status;
    }
    output_open();
    consume_all(&consumption);
    (void)output_flush(&consumption.output);
    ternmq_consumer_close(consumption.consumer);
    if (consumption.output.write_failed) {
        return output_status(invocation, &consumption.output, EXIT_FAILED);
    }
    if (consumption.status != EXIT_DONE && consumption.count == 0) {
        return consumption.status;
    }
    invocation_say(invocation, "%s from %s%s", text_of_count(consumption.count, "message"),
                   consumption.topic,
                   consumption.output.pipe_closed ? ", until the reader closed the pipe"
                   : interrupted                  ? ", until interrupted"
                                                  : "");
    return consumption.status;
}

static int run_consume(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    if (!topic_check_any_name(invocation, invocation->words[0], &status)) {
        return status;
    }
    return invocation_option(invocation, CONSUME_GROUP)->given ? consume_group_run(invocation)
                                                               : run_alone(invocation);
}

const struct command CONSUME_COMMAND = {
    .name = "consume",
    .arguments = "TOPIC [--from first|last|OFFSET|TIME] [--queue N] [--count N] [--filter EXPR] "
                 "[--follow] [--format body|json] [--group GROUP ..]",
    .summary = "Write a topic's messages to standard output, a body a line",
    .help =
        "  ternmq consume orders                           everything that is there now\n"
        "  ternmq consume orders --follow --from last      what comes from now on\n"
        "  ternmq consume orders --from -1h | wc -l        of the last hour\n"
        "  ternmq consume orders --queue 0 --from 4711 --count 1\n"
        "  ternmq consume orders --filter 'paid || sent'   by tag\n"
        "  ternmq consume orders --filter \"weight > 2.5 AND city IN ('Rome', 'Oslo')\"\n"
        "  ternmq consume orders --format json | jq .      with queue, offset, tag, keys, ..\n"
        "  ternmq consume %DLQ%billing                     the dead letters of group billing\n"
        "\n"
        "A body that is not UTF-8 is body_base64 in JSON. Everything but messages goes to standard\n"
        "error. Ctrl-C and a closed pipe are a clean end. The messages of a queue come in order.\n"
        "\n"
        "--follow waits out restarts of servers, however long they take, and says so, and again when\n"
        "the first message comes after that; it ends when the topic is deleted. Without it, a server\n"
        "that is away for --timeout ends it.\n"
        "\n"
        "  ternmq consume orders --group billing           a share of them, acked when written\n"
        "  ternmq consume orders --group billing --ack exec ./bill\n"
        "  ternmq consume orders --group billing --ack exec 'jq .total >> totals' --lease 5m\n"
        "\n"
        "The members of a group share its messages, and the broker keeps where they are: each message\n"
        "goes to one of them, until it is acked. A group that is not there is made, from the first\n"
        "message on, with --filter. It goes on until --count, --idle or Ctrl-C, or until the group is\n"
        "deleted, and gives back what it has not done. What went into a pipe counts as written: behind\n"
        "'| head -2' more is acked than is read. Where that matters: --credit 1, or the work as a\n"
        "command of --ack exec.\n"
        "A command has TERNMQ_TOPIC, TERNMQ_QUEUE, TERNMQ_OFFSET, TERNMQ_ATTEMPT, TERNMQ_TAG, TERNMQ_KEY\n"
        "(the first) and TERNMQ_PROPERTY_name in its environment; one word is for the shell, more are a\n"
        "program and its arguments (behind -- where they begin with -). If it ends with another status\n"
        "than 0, the message comes again later, with that as the reason.\n"
        "Ctrl-C ends it with all that it has begun, and gives the message back.\n",
    .rows = CONSUME_ROWS,
    .row_count = sizeof(CONSUME_ROWS) / sizeof(CONSUME_ROWS[0]),
    .words_least = 1,
    .words_most = WORDS_ANY,
    .run = run_consume,
};
