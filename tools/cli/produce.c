/* SPDX-License-Identifier: Apache-2.0 */
/* produce.c - the command `produce`: its options, and what it says at the end. */
#include "proto/names.h"
#include "proto/writer.h"
#include "tools/cli/command.h"
#include "tools/cli/json.h"
#include "tools/cli/production.h"
#include "tools/cli/show.h"
#include "tools/cli/text.h"
#include "tools/cli/topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    [PRODUCE_ON_LOST] = {.name = "on-lost",
                         .type = SETTING_CHOICE,
                         .fallback = "stop",
                         .choices = "stop|resend",
                         .help =
                             "When a server goes away before it has answered: end, or send those "
                             "messages again, which may store them twice"},
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
    struct ternmq_answer answer;
    struct ternmq_error error;
    if (topic_ask(production->client, production->topic, &answer, &error) != TERNMQ_OK) {
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

/* ----------------------------------------------------------------- ending */

static void print_json(const struct production *production, uint64_t took_ms)
{
    struct json_object object = json_open(stdout);
    json_pair_text(&object, "topic", production->topic);
    json_pair_number(&object, "messages", production->stored);
    json_pair_number(&object, "bytes", production->stored_bytes);
    json_pair_real(&object, "seconds", (double)took_ms / 1000);
    if (production->resends) {
        json_pair_number(&object, "resent", production->resent);
    }
    if (production->calls > 0 && !production->several_queues) {
        json_pair_number(&object, "queue", production->queue);
        json_pair_number(&object, "first", production->first);
        json_pair_number(&object, "last", production->last);
    }
    json_close(&object);
}

/* The answer to a call never came: says which message is the first that may be stored or not. */
static int fail_unsure(struct production *production, const char *stored)
{
    const struct ternmq_error *error = &production->error;
    return invocation_fail(
        production->invocation, EXIT_FAILED,
        "topic %s: %s stored, then: %s (%s); message %llu is the first that may be stored or not: "
        "look, then go on there; --on-lost resend goes on by itself",
        production->topic, stored, error->message, error->name,
        (unsigned long long)production->stored + 1);
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
    if (production->failed && production->error.stored == TERNMQ_STORED_MAYBE) {
        return fail_unsure(production, stored);
    }
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
        status = production_open_source(production);
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
    production_run(production);
    /* What was taken has its own deadlines; after a Ctrl-C it gets one more second. */
    uint64_t until_ms = clock_run_ms() + 1000;
    while (production_in_flight(production) > 0 && !interrupted && !production->failed) {
        (void)ternmq_flush(production->producer, PROGRESS_MS);
        production_show_progress(production);
    }
    while (interrupted && production_in_flight(production) > 0 && clock_run_ms() < until_ms) {
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
        production->resends = invocation_option(invocation, PRODUCE_ON_LOST)->number == 1;
        status = run_with(production);
        ternmq_producer_close(production->producer);
        production_close_source(production);
    }
    free(batch);
    free(production);
    return status;
}

const struct command PRODUCE_COMMAND = {
    .name = "produce",
    .arguments = "TOPIC [BODY...] [--file PATH|-] [--tag T] [--key K].. [--property NAME=VALUE].. "
                 "[--on-lost stop|resend]",
    .summary = "Produce messages from arguments, a file, or standard input",
    .help =
        "  ternmq produce orders 'one message' 'another'\n"
        "  ternmq produce orders --file orders.jsonl       a message a line\n"
        "  tail -f app.log | ternmq produce logs --on-lost resend\n"
        "                                                  as they come, over restarts too\n"
        "  tail -n +1201 orders.jsonl | ternmq produce orders\n"
        "                                                  go on at message 1201\n"
        "  ternmq produce orders --key 4711 --tag paid --property source=shop '{\"id\":4711}'\n"
        "  ternmq produce orders -- --file                 a body that looks like an option\n"
        "\n"
        "Messages keep their order in a queue; in a topic of one queue, the order of the file. Any\n"
        "length of input is streamed. An error ends it, with how many messages were stored before.\n"
        "\n"
        "A broker that is away is waited for until --timeout. Messages that were on their way when it\n"
        "went may be stored or not (LOST, TIMED_OUT): that ends it, and it says which message is the\n"
        "first of them. With --on-lost resend they are sent again instead: none is lost, and some may\n"
        "be there twice.\n",
    .rows = PRODUCE_ROWS,
    .row_count = sizeof(PRODUCE_ROWS) / sizeof(PRODUCE_ROWS[0]),
    .words_least = 1,
    .words_most = WORDS_ANY,
    .run = run_produce,
};
