/* SPDX-License-Identifier: Apache-2.0 */
/* consume.c - the command `consume`: bodies to standard output, everything else to standard error. */
#include "proto/base/utf8.h"
#include "proto/limits.h"
#include "proto/names.h"
#include "tools/cli/command.h"
#include "tools/cli/json.h"
#include "tools/cli/text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    DELIVERIES_MAX = 1024,
    OUTPUT_BYTES = 256 * 1024,
    /* How often one who waits for messages looks whether its reader has gone. */
    WAIT_MS = 500,
    PROGRESS_MS = 200
};

enum { CONSUME_FROM, CONSUME_QUEUE, CONSUME_COUNT, CONSUME_FILTER, CONSUME_FOLLOW, CONSUME_FORMAT };

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
    bool pipe_closed;
    bool write_failed;
    int write_error;
    int status;
    uint64_t began_ms;
    uint64_t shown_ms;
};

/* ----------------------------------------------------------------- output */

static void write_json(const struct ternmq_delivery *delivery)
{
    struct json_object object = json_open(stdout);
    json_pair_text(&object, "topic", delivery->topic);
    json_pair_number(&object, "queue", delivery->queue);
    json_pair_number(&object, "offset", delivery->offset);
    json_pair_number(&object, "epoch", delivery->epoch);
    json_pair_number(&object, "stored_at", delivery->stored_at_ms);
    json_pair_number(&object, "born_at", delivery->born_at_ms);
    if (delivery->tag.data != NULL) {
        json_key(&object, "tag");
        json_put_string(stdout, bytes_make(delivery->tag.data, delivery->tag.length));
    }
    struct cursor cursor;
    if (delivery->keys.data != NULL) {
        json_key(&object, "keys");
        cursor = cursor_over(bytes_make(delivery->keys.data, delivery->keys.length));
        (void)json_put_value(stdout, &cursor);
    }
    if (delivery->properties.data != NULL) {
        json_key(&object, "properties");
        cursor = cursor_over(bytes_make(delivery->properties.data, delivery->properties.length));
        (void)json_put_value(stdout, &cursor);
    }
    struct bytes body = bytes_make(delivery->body.data, delivery->body.length);
    if (utf8_is_valid(body)) {
        json_key(&object, "body");
        json_put_string(stdout, body);
    } else {
        json_key(&object, "body_base64");
        json_put_base64(stdout, body);
    }
    json_close(&object);
}

static void write_delivery(struct consumption *consumption, const struct ternmq_delivery *delivery)
{
    if (consumption->json) {
        write_json(delivery);
    } else {
        if (delivery->body.length > 0) {
            (void)fwrite_unlocked(delivery->body.data, 1, delivery->body.length, stdout);
        }
        (void)putc_unlocked('\n', stdout);
    }
    consumption->count++;
    consumption->bytes += delivery->body.length;
}

/* Whether output still goes somewhere; a closed pipe is a clean end. */
static bool output_is_open(struct consumption *consumption)
{
    if (ferror(stdout) == 0) {
        return true;
    }
    consumption->write_error = errno;
    consumption->pipe_closed = errno == EPIPE;
    consumption->write_failed = !consumption->pipe_closed;
    return false;
}

/* Whether the reader of a pipe has gone, while there is nothing to write that would tell. */
static bool reader_has_gone(struct consumption *consumption)
{
    struct pollfd output = {.fd = STDOUT_FILENO, .events = 0};
    if (poll(&output, 1, 0) > 0 && (output.revents & POLLERR) != 0) {
        consumption->pipe_closed = true;
    }
    return consumption->pipe_closed;
}

/* ------------------------------------------------------------- the options */

static bool is_digits(const char *text)
{
    return text[0] != '\0' && strspn(text, "0123456789") == strlen(text);
}

/* Reads --from into where a consumer begins. */
static int read_from(struct invocation *invocation, struct ternmq_consumer_options *options)
{
    const char *from = invocation_option(invocation, CONSUME_FROM)->text;
    if (strcmp(from, "first") == 0) {
        options->start = TERNMQ_START_FIRST;
    } else if (strcmp(from, "last") == 0) {
        options->start = TERNMQ_START_LAST;
    } else if (is_digits(from)) {
        errno = 0;
        options->start = TERNMQ_START_OFFSET;
        options->start_value = strtoull(from, NULL, 10);
        if (errno != 0 || options->start_value >= INTEGER_LIMIT) {
            return invocation_fail(invocation, EXIT_WRONG_USAGE,
                                   "--from %s: an offset is below 2^53", from);
        }
    } else {
        options->start = TERNMQ_START_TIME;
        if (from[0] == '-' && is_digits(from + 1)) {
            return invocation_fail(invocation, EXIT_WRONG_USAGE,
                                   "--from %s needs a unit, as in %ss or %sh: digits alone are an "
                                   "offset, and that is never negative",
                                   from, from, from);
        }
        if (!text_read_time(from, clock_wall_ms(), &options->start_value)) {
            return invocation_fail(invocation, EXIT_WRONG_USAGE,
                                   "--from '%s' is none of: first, last, an offset, a time such as "
                                   "2026-01-31T12:00:00 or -1h",
                                   from);
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
    uint64_t now_ms = clock_run_ms();
    if (!invocation_shows_progress() || now_ms - consumption->shown_ms < PROGRESS_MS) {
        return;
    }
    consumption->shown_ms = now_ms;
    uint64_t took_ms = now_ms - consumption->began_ms;
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
            (void)fflush(stdout);
            if (!output_is_open(consumption) || reader_has_gone(consumption)) {
                return;
            }
            code = ternmq_consume(consumption->consumer, WAIT_MS, deliveries, max, &count, &error);
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
        if (!output_is_open(consumption)) {
            return;
        }
        show_progress(consumption);
    }
}

static int run_consume(struct invocation *invocation)
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
    if (!name_is_topic(bytes_from_string(consumption.topic))) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "'%s' is no name of a topic: 1 to %d of A-Z a-z 0-9 . _ -",
                               consumption.topic, TOPIC_NAME_BYTES_MAX);
    }
    int status = open_consumer(&consumption);
    if (status != EXIT_DONE) {
        return status;
    }
    if (isatty(STDOUT_FILENO) == 0) {
        (void)setvbuf(stdout, NULL, _IOFBF, OUTPUT_BYTES);
    }
    consume_all(&consumption);
    if (!consumption.pipe_closed && !consumption.write_failed && fflush(stdout) != 0) {
        (void)output_is_open(&consumption);
    }
    ternmq_consumer_close(consumption.consumer);
    if (consumption.write_failed) {
        return invocation_fail(invocation, EXIT_FAILED, "writing to standard output failed: %s",
                               strerror(consumption.write_error));
    }
    if (consumption.status != EXIT_DONE && consumption.count == 0) {
        return consumption.status;
    }
    invocation_say(invocation, "%s from %s%s", text_of_count(consumption.count, "message"),
                   consumption.topic,
                   consumption.pipe_closed ? ", until the reader closed the pipe"
                   : interrupted           ? ", until interrupted"
                                           : "");
    return consumption.status;
}

const struct command CONSUME_COMMAND = {
    .name = "consume",
    .arguments = "TOPIC [--from first|last|OFFSET|TIME] [--queue N] [--count N] [--filter EXPR] "
                 "[--follow] [--format body|json]",
    .summary = "Write a topic's messages to standard output, a body a line",
    .help =
        "  ternmq consume orders                           everything that is there now\n"
        "  ternmq consume orders --follow --from last      what comes from now on\n"
        "  ternmq consume orders --from -1h | wc -l        of the last hour\n"
        "  ternmq consume orders --queue 0 --from 4711 --count 1\n"
        "  ternmq consume orders --filter 'paid || sent'   by tag\n"
        "  ternmq consume orders --filter \"weight > 2.5 AND city IN ('Rome', 'Oslo')\"\n"
        "  ternmq consume orders --format json | jq .      with queue, offset, tag, keys, ..\n"
        "\n"
        "A body that is not UTF-8 is body_base64 in JSON. Everything but messages goes to standard\n"
        "error. Ctrl-C and a closed pipe are a clean end. The messages of a queue come in order.\n"
        "\n"
        "--follow waits out restarts of servers, however long they take, and says so, and again when\n"
        "the first message comes after that; it ends when the topic is deleted. Without it, a server\n"
        "that is away for --timeout ends it.\n",
    .rows = CONSUME_ROWS,
    .row_count = sizeof(CONSUME_ROWS) / sizeof(CONSUME_ROWS[0]),
    .words_least = 1,
    .words_most = 1,
    .run = run_consume,
};
