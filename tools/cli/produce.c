/* SPDX-License-Identifier: Apache-2.0 */
/* produce.c - the command `produce`: arguments or lines in, messages out, in the order given. */
#include "proto/limits.h"
#include "proto/names.h"
#include "proto/writer.h"
#include "tools/cli/command.h"
#include "tools/cli/json.h"
#include "tools/cli/lines.h"
#include "tools/cli/show.h"
#include "tools/cli/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    /* One call: large enough that a sync a call is no brake, small enough to show progress. */
    BATCH_MESSAGES = 16384,
    BATCH_BYTES = 1 << 20,
    /* What may wait behind the call under way, of its deadline too. */
    WINDOW_BYTES = 8 << 20,
    /* What a message costs in a call beside its body. */
    MESSAGE_OVERHEAD_BYTES = 5,
    PROGRESS_MS = 200
};

enum {
    PRODUCE_FILE,
    PRODUCE_TAG,
    PRODUCE_KEY,
    PRODUCE_PROPERTY,
    PRODUCE_QUEUE,
    PRODUCE_DURABILITY
};

static const struct setting PRODUCE_ROWS[] = {
    [PRODUCE_FILE] = {.name = "file",
                      .alias = 'f',
                      .metavar = "PATH",
                      .type = SETTING_TEXT,
                      .help = "A message a line of this file; - is standard input"},
    [PRODUCE_TAG] = {.name = "tag",
                     .type = SETTING_TEXT,
                     .most = TAG_BYTES_MAX,
                     .help = "The tag of the messages"},
    [PRODUCE_KEY] = {.name = "key",
                     .type = SETTING_LIST,
                     .help =
                         "A key of the messages; the first one routes in topics with --route key"},
    [PRODUCE_PROPERTY] = {.name = "property",
                          .metavar = "NAME=VALUE",
                          .type = SETTING_LIST,
                          .help = "A property of the messages"},
    [PRODUCE_QUEUE] = {.name = "queue",
                       .type = SETTING_INTEGER,
                       .most = QUEUES_PER_TOPIC_MAX - 1,
                       .help = "The queue, instead of any or the key's"},
    [PRODUCE_DURABILITY] = {.name = "durability",
                            .type = SETTING_CHOICE,
                            .choices = "memory|disk",
                            .help = "Wait for more than the topic asks for"},
};

/* A produce command under way. */
struct production {
    struct invocation *invocation;
    struct ternmq *client;
    struct ternmq_producer *producer;
    const char *topic;

    /* What all messages have. */
    struct ternmq_bytes tag;
    struct ternmq_bytes keys[KEYS_MAX];
    size_t key_count;
    struct ternmq_property properties[PROPERTIES_MAX];
    size_t property_count;
    size_t extra_bytes; /* of all these, an upper bound */

    /* Where bodies come from: words, or lines. */
    char **words;
    int word_count;
    int next_word;
    bool from_lines;
    const char *source; /* "standard input", the path */
    struct lines lines;
    bool ended;

    /* The batch being filled. */
    struct ternmq_message *batch;
    size_t batch_count;
    size_t batch_bytes; /* with what messages cost beside their bodies */
    uint64_t body_bytes;

    /* What has become of the messages. */
    uint64_t taken;
    uint64_t stored;
    uint64_t stored_bytes;
    uint64_t calls;
    uint32_t queue;
    uint64_t first;
    uint64_t last;
    bool several_queues;
    bool failed;               /* a call was: nothing more is sent */
    bool source_failed;        /* what was read before is still sent */
    struct ternmq_error error; /* of the first call that failed, else of the source */
    uint64_t began_ms;
    uint64_t shown_ms;
};

/* One call: what is to be added up when it is answered. */
struct sent_batch {
    struct production *production;
    uint64_t bytes;
};

/* ------------------------------------------------------------ the options */

static int read_keys(struct production *production)
{
    uint32_t index = 0;
    const char *key;
    while ((key = invocation_list_next(production->invocation, PRODUCE_KEY, &index)) != NULL) {
        if (production->key_count == KEYS_MAX) {
            return invocation_fail(production->invocation, EXIT_WRONG_USAGE,
                                   "--key '%s': a message has at most %d keys", key, KEYS_MAX);
        }
        if (strlen(key) > KEY_BYTES_MAX) {
            return invocation_fail(production->invocation, EXIT_WRONG_USAGE,
                                   "--key: %zu bytes, at most %d are allowed", strlen(key),
                                   KEY_BYTES_MAX);
        }
        production->keys[production->key_count++] = ternmq_text(key);
        production->extra_bytes += strlen(key) + 2;
    }
    return EXIT_DONE;
}

static int read_properties(struct production *production)
{
    uint32_t index = 0;
    const char *text;
    while ((text = invocation_list_next(production->invocation, PRODUCE_PROPERTY, &index)) !=
           NULL) {
        const char *equals = strchr(text, '=');
        if (equals == NULL || equals == text) {
            return invocation_fail(production->invocation, EXIT_WRONG_USAGE,
                                   "--property '%s': give NAME=VALUE", text);
        }
        if (production->property_count == PROPERTIES_MAX) {
            return invocation_fail(production->invocation, EXIT_WRONG_USAGE,
                                   "--property '%s': a message has at most %d properties", text,
                                   PROPERTIES_MAX);
        }
        production->properties[production->property_count++] = (struct ternmq_property){
            .name = ternmq_bytes(text, (size_t)(equals - text)),
            .value = ternmq_text(equals + 1),
        };
        production->extra_bytes += strlen(text) + 6;
    }
    return EXIT_DONE;
}

static int read_text_options(struct production *production)
{
    const char *tag = invocation_option(production->invocation, PRODUCE_TAG)->text;
    production->tag = ternmq_text(tag);
    production->extra_bytes = tag == NULL ? 0 : strlen(tag) + 16;
    int status = read_keys(production);
    return status == EXIT_DONE ? read_properties(production) : status;
}

/* Whether the topic's messages go where their key says. */
static int ask_route_by_key(struct production *production, bool *by_key_out)
{
    uint8_t room[TOPIC_NAME_BYTES_MAX + 16];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "name", production->topic);
    struct ternmq_call call = {
        .to = TERNMQ_TO_TOPIC,
        .to_name = production->topic,
        .method = "topic.show",
        .arguments = ternmq_bytes(room, writer_length(&writer)),
    };
    struct ternmq_answer answer;
    struct ternmq_error error;
    if (ternmq_call(production->client, &call, &answer, &error) != TERNMQ_OK) {
        return invocation_fail_with(production->invocation, &error, "topic %s", production->topic);
    }
    struct bytes topic = bytes_make(answer.result.data, answer.result.length);
    struct cursor cursor;
    struct bytes settings;
    struct bytes route;
    if (result_find(topic, "settings", &cursor) && cursor_take_span(&cursor, &settings)) {
        topic = settings;
    }
    *by_key_out = result_find_text(topic, "route", &route) && bytes_equal(route, BYTES_OF("key"));
    return EXIT_DONE;
}

static int open_producer(struct production *production)
{
    const struct invocation *invocation = production->invocation;
    const struct setting_value *queue = invocation_option(invocation, PRODUCE_QUEUE);
    const struct setting_value *durability = invocation_option(invocation, PRODUCE_DURABILITY);
    bool by_key = false;
    if (production->key_count > 0 && !queue->given) {
        int status = ask_route_by_key(production, &by_key);
        if (status != EXIT_DONE) {
            return status;
        }
    }
    struct ternmq_producer_options options = {
        .topic = production->topic,
        .choose = queue->given ? TERNMQ_CHOOSE_QUEUE
                  : by_key     ? TERNMQ_CHOOSE_BY_KEY
                               : TERNMQ_CHOOSE_ANY,
        .queue = (uint32_t)queue->number,
        .durability = !durability->given        ? TERNMQ_DURABILITY_DEFAULT
                      : durability->number == 0 ? TERNMQ_DURABILITY_MEMORY
                                                : TERNMQ_DURABILITY_DISK,
        /* One call at a time: then the order holds even where a call is tried again. */
        .window_calls = 1,
        .window_bytes = WINDOW_BYTES,
        .window_messages = 8 * BATCH_MESSAGES,
    };
    struct ternmq_error error;
    production->producer = ternmq_producer_open(production->client, &options, &error);
    if (production->producer == NULL) {
        return invocation_fail_with(production->invocation, &error, "topic %s", production->topic);
    }
    return EXIT_DONE;
}

/* ---------------------------------------------------------------- sources */

static int open_source(struct production *production)
{
    struct invocation *invocation = production->invocation;
    const char *path = invocation_option(invocation, PRODUCE_FILE)->text;
    production->words = invocation->words + 1;
    production->word_count = invocation->word_count - 1;
    production->from_lines = production->word_count == 0;
    if (!production->from_lines) {
        return path == NULL ? EXIT_DONE
                            : invocation_fail(invocation, EXIT_WRONG_USAGE,
                                              "give messages as arguments or by --file, not both");
    }
    int file = STDIN_FILENO;
    production->source = "standard input";
    if (path != NULL && strcmp(path, "-") != 0) {
        production->source = path;
        file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0) {
            return invocation_fail(invocation, EXIT_FAILED, "--file %s: %s", path, strerror(errno));
        }
        (void)posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    if (!lines_open(&production->lines, file)) {
        return invocation_fail(invocation, EXIT_FAILED, "no memory to read %s", production->source);
    }
    if (isatty(file) == 1) {
        invocation_say(invocation, "reading messages from the terminal, one a line; Ctrl-D ends");
    }
    return EXIT_DONE;
}

static void stop_with(struct production *production, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The source cannot go on: what was taken before is still sent. */
static void stop_with(struct production *production, int code, const char *format, ...)
{
    production->ended = true;
    production->source_failed = true;
    production->error = (struct ternmq_error){.code = code, .name = ternmq_code_name(code)};
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(production->error.message, sizeof(production->error.message), format,
                    arguments);
    va_end(arguments);
}

static void stop_too_large(struct production *production)
{
    stop_with(production, TERNMQ_TOO_LARGE,
              "message %llu is larger than a message may be, %d bytes with its tag, keys and "
              "properties",
              (unsigned long long)production->taken + 1, MESSAGE_BYTES_MAX);
}

/* The next body, if it is there without waiting for the source. */
static bool take_body(struct production *production, struct bytes *body_out)
{
    if (production->from_lines) {
        bool taken = lines_next(&production->lines, body_out);
        production->ended = !taken && production->lines.at_end;
        return taken;
    }
    production->ended = production->next_word == production->word_count;
    if (!production->ended) {
        *body_out = bytes_from_string(production->words[production->next_word++]);
    }
    return !production->ended;
}

/* Puts what the source has at hand into the batch, until it is full. */
static void fill_batch(struct production *production)
{
    struct bytes body;
    while (!production->ended && production->batch_count < BATCH_MESSAGES &&
           production->batch_bytes < BATCH_BYTES && take_body(production, &body)) {
        size_t bytes = body.length + production->extra_bytes + MESSAGE_OVERHEAD_BYTES;
        if (bytes > MESSAGE_BYTES_MAX) {
            stop_too_large(production);
            return;
        }
        production->batch[production->batch_count++] = (struct ternmq_message){
            .body = ternmq_bytes(body.data == NULL ? (const void *)"" : body.data, body.length),
            .tag = production->tag,
            .keys = production->keys,
            .key_count = production->key_count,
            .properties = production->properties,
            .property_count = production->property_count,
        };
        production->batch_bytes += bytes;
        production->body_bytes += body.length;
        production->taken++;
    }
}

/* Reads more lines; called only when none is left in the buffer, as the batch points into it. */
static void read_lines(struct production *production)
{
    int error = lines_read(&production->lines);
    if (error == -EMSGSIZE) {
        stop_too_large(production);
    } else if (error == -EINTR || error == -EAGAIN) {
        return;
    } else if (error != 0) {
        stop_with(production, TERNMQ_IO_FAILED, "reading %s failed: %s", production->source,
                  strerror(-error));
    }
}

/* ---------------------------------------------------------------- sending */

static void on_produced(void *context, const struct ternmq_produced *produced,
                        const struct ternmq_error *error)
{
    struct sent_batch *sent = context;
    struct production *production = sent->production;
    if (error != NULL) {
        if (!production->failed) {
            production->failed = true;
            production->error = *error;
        }
        production->ended = true;
    } else {
        bool is_first = production->calls == 0;
        production->several_queues |= !is_first && production->queue != produced->queue;
        production->first = is_first ? produced->offset : production->first;
        production->queue = produced->queue;
        production->last = produced->offset + produced->count - 1;
        production->stored += produced->count;
        production->stored_bytes += sent->bytes;
        production->calls++;
    }
    free(sent);
}

static void show_progress(struct production *production)
{
    uint64_t now_ms = clock_run_ms();
    if (!invocation_shows_progress() || now_ms - production->shown_ms < PROGRESS_MS) {
        return;
    }
    production->shown_ms = now_ms;
    uint64_t took_ms = now_ms - production->began_ms;
    invocation_progress(production->invocation, "%s stored, %s, %s/s",
                        text_of_count(production->stored, "message"),
                        text_of_bytes(production->stored_bytes),
                        text_of_number(took_ms > 0 ? production->stored * 1000 / took_ms : 0));
}

/* Gives the batch to the client, waiting while its window is full. */
static void send_batch(struct production *production)
{
    struct sent_batch *sent = malloc(sizeof(*sent));
    if (sent == NULL) {
        stop_with(production, TERNMQ_NO_MEMORY, "no memory for a call");
        return;
    }
    *sent = (struct sent_batch){production, production->body_bytes};
    struct ternmq_error error;
    int code;
    while ((code = ternmq_produce_batch_async(production->producer, production->batch,
                                              production->batch_count, on_produced, sent,
                                              &error)) == TERNMQ_FULL &&
           !interrupted) {
        (void)ternmq_poll(production->client, 100);
        show_progress(production);
    }
    if (code != TERNMQ_OK) {
        free(sent);
        if (!production->failed && !interrupted) {
            production->failed = true;
            production->error = error;
        }
    }
    production->batch_count = 0;
    production->batch_bytes = 0;
    production->body_bytes = 0;
}

static size_t in_flight(const struct production *production)
{
    size_t messages;
    ternmq_producer_in_flight(production->producer, &messages, NULL);
    return messages;
}

/* Reads lines ahead, as far as that needs no waiting. */
static void read_ahead(struct production *production)
{
    struct lines *lines = &production->lines;
    while (!lines->at_end && !production->ended && !interrupted &&
           lines->end - lines->begin < LINES_BYTES / 2 && lines_is_readable(lines, 0)) {
        read_lines(production);
    }
}

/* Whether the next call is worth sending now: it is large, or nothing is under way that it could
 * grow behind. */
static bool is_worth_sending(const struct production *production)
{
    const struct lines *lines = &production->lines;
    return !production->from_lines || lines->at_end ||
           lines->end - lines->begin >= LINES_BYTES / 2 || in_flight(production) == 0;
}

/* Waits for the source to have more, or for the call under way. */
static void wait_for_more(struct production *production)
{
    struct lines *lines = &production->lines;
    if (in_flight(production) > 0) {
        (void)ternmq_poll(production->client, 5);
    } else if (lines->end - lines->begin >= LINES_BYTES / 2) {
        read_lines(production); /* A line that is longer than all before it. */
    } else if (lines_is_readable(lines, 500)) {
        read_lines(production);
    } else {
        (void)ternmq_poll(production->client, 0);
    }
}

/* Runs until the source has ended and all of it was given to the client. */
static void produce_all(struct production *production)
{
    while (!interrupted && !production->failed) {
        if (production->from_lines) {
            read_ahead(production);
        }
        if (is_worth_sending(production)) {
            fill_batch(production);
        }
        if (production->batch_count > 0) {
            send_batch(production);
        } else if (production->ended) {
            return;
        } else {
            wait_for_more(production);
        }
        show_progress(production);
    }
}

/* ----------------------------------------------------------------- ending */

static void print_json(const struct production *production, uint64_t took_ms)
{
    struct json_object object = json_open(stdout);
    json_pair_text(&object, "topic", production->topic);
    json_pair_number(&object, "messages", production->stored);
    json_pair_number(&object, "bytes", production->stored_bytes);
    json_pair_real(&object, "seconds", (double)took_ms / 1000);
    if (production->calls > 0 && !production->several_queues) {
        json_pair_number(&object, "queue", production->queue);
        json_pair_number(&object, "first", production->first);
        json_pair_number(&object, "last", production->last);
    }
    json_close(&object);
}

static int report(struct production *production)
{
    struct invocation *invocation = production->invocation;
    uint64_t took_ms = clock_run_ms() - production->began_ms;
    char where[128] = "";
    if (production->calls > 0 && !production->several_queues) {
        const char *first = text_of_number(production->first);
        if (production->first == production->last) {
            (void)snprintf(where, sizeof(where), ", queue %u offset %s", production->queue, first);
        } else {
            (void)snprintf(where, sizeof(where), ", queue %u offsets %s to %s", production->queue,
                           first, text_of_number(production->last));
        }
    }
    if (invocation->json) {
        print_json(production, took_ms);
    }
    const char *stored = text_of_count(production->stored, "message");
    if (production->failed || production->source_failed) {
        return production->stored == 0
                   ? invocation_fail_with(invocation, &production->error, "topic %s",
                                          production->topic)
                   : invocation_fail_with(invocation, &production->error,
                                          "topic %s: %s stored, then", production->topic, stored);
    }
    if (interrupted) {
        return invocation_fail(invocation, EXIT_FAILED, "interrupted: %s stored in %s%s", stored,
                               production->topic, where);
    }
    invocation_say(invocation, "%s (%s) stored in %s%s, in %.2f s", stored,
                   text_of_bytes(production->stored_bytes), production->topic, where,
                   (double)took_ms / 1000);
    return EXIT_DONE;
}

static int run_with(struct production *production)
{
    if (!name_is_topic(bytes_from_string(production->topic))) {
        return invocation_fail(production->invocation, EXIT_WRONG_USAGE,
                               "'%s' is no name of a topic: 1 to %d of A-Z a-z 0-9 . _ -",
                               production->topic, TOPIC_NAME_BYTES_MAX);
    }
    int status = read_text_options(production);
    if (status == EXIT_DONE) {
        status = open_source(production);
    }
    if (status != EXIT_DONE) {
        return status;
    }
    production->client = invocation_client(production->invocation, &status);
    if (production->client == NULL) {
        return status;
    }
    status = open_producer(production);
    if (status != EXIT_DONE) {
        return status;
    }
    production->began_ms = clock_run_ms();
    produce_all(production);
    /* What was taken has its own deadlines; after a Ctrl-C it gets one more second. */
    uint64_t until_ms = clock_run_ms() + 1000;
    while (in_flight(production) > 0 && !interrupted && !production->failed) {
        (void)ternmq_flush(production->producer, PROGRESS_MS);
        show_progress(production);
    }
    while (interrupted && in_flight(production) > 0 && clock_run_ms() < until_ms) {
        (void)ternmq_poll(production->client, 50);
    }
    return report(production);
}

static int run_produce(struct invocation *invocation)
{
    struct production *production = calloc(1, sizeof(*production));
    struct ternmq_message *batch = calloc(BATCH_MESSAGES, sizeof(*batch));
    int status = EXIT_FAILED;
    if (production == NULL || batch == NULL) {
        status = invocation_fail(invocation, EXIT_FAILED, "no memory to produce");
    } else {
        production->invocation = invocation;
        production->topic = invocation->words[0];
        production->batch = batch;
        status = run_with(production);
        ternmq_producer_close(production->producer);
        lines_close(&production->lines);
        if (production->lines.file > 0) {
            (void)close(production->lines.file);
        }
    }
    free(batch);
    free(production);
    return status;
}

const struct command PRODUCE_COMMAND = {
    .name = "produce",
    .arguments = "TOPIC [BODY...] [--file PATH|-] [--tag T] [--key K].. [--property NAME=VALUE]..",
    .summary = "Produce messages from arguments, a file, or standard input",
    .help =
        "  ternmq produce orders 'one message' 'another'\n"
        "  ternmq produce orders --file orders.jsonl       a message a line\n"
        "  tail -f app.log | ternmq produce logs           as they come\n"
        "  ternmq produce orders --key 4711 --tag paid --property source=shop '{\"id\":4711}'\n"
        "  ternmq produce orders -- --file                 a body that looks like an option\n"
        "\n"
        "Messages keep their order in a queue; in a topic of one queue, the order of the file. Any\n"
        "length of input is streamed. An error ends it, with how many messages were stored before.\n",
    .rows = PRODUCE_ROWS,
    .row_count = sizeof(PRODUCE_ROWS) / sizeof(PRODUCE_ROWS[0]),
    .words_least = 1,
    .words_most = WORDS_ANY,
    .run = run_produce,
};
