/* SPDX-License-Identifier: Apache-2.0 */
/* topic.c - the commands `topic create`, `set`, `show` and `delete`. */
#include "proto/limits.h"
#include "proto/names.h"
#include "proto/writer.h"
#include "tools/cli/command.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DURABILITY_OPTION                                                                 \
    {                                                                                     \
        .name = "durability", .type = SETTING_CHOICE, .choices = "memory|disk",           \
        .help = "What a message must have reached before its producer is told: the page " \
                "cache, or the disk"                                                      \
    }
#define QUEUES_OPTION                                                                        \
    {                                                                                        \
        .name = "queues", .type = SETTING_INTEGER, .least = 1, .most = QUEUES_PER_TOPIC_MAX, \
        .help = "How many queues; each keeps its own order (new topics: 4)"                  \
    }

static enum ternmq_durability durability_of(const struct setting_value *value)
{
    return !value->given        ? TERNMQ_DURABILITY_DEFAULT
           : value->number == 0 ? TERNMQ_DURABILITY_MEMORY
                                : TERNMQ_DURABILITY_DISK;
}

/* The arguments {name}; `room` is kept by the caller. */
static struct ternmq_bytes name_argument(const char *name, uint8_t *room, size_t room_bytes)
{
    struct writer writer = writer_over(room, room_bytes);
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "name", name);
    return ternmq_bytes(room, writer_length(&writer));
}

static bool check_name(struct invocation *invocation, const char *name, int *status_out)
{
    if (name_is_topic(bytes_from_string(name))) {
        return true;
    }
    *status_out = invocation_fail(invocation, EXIT_WRONG_USAGE,
                                  "'%s' is no name of a topic: 1 to %d of A-Z a-z 0-9 . _ -", name,
                                  TOPIC_NAME_BYTES_MAX);
    return false;
}

/* Asks the topic's broker for it. The code that the client gives. */
static int ask_topic(struct ternmq *client, const char *name, struct ternmq_answer *answer_out,
                     struct ternmq_error *error_out)
{
    uint8_t room[TOPIC_NAME_BYTES_MAX + 16];
    struct ternmq_call call = {
        .to = TERNMQ_TO_TOPIC,
        .to_name = name,
        .method = "topic.show",
        .arguments = name_argument(name, room, sizeof(room)),
    };
    return ternmq_call(client, &call, answer_out, error_out);
}

/* ---------------------------------------------------------------- create */

enum { CREATE_QUEUES, CREATE_ROUTE, CREATE_DURABILITY };

static const struct setting CREATE_ROWS[] = {
    [CREATE_QUEUES] = QUEUES_OPTION,
    [CREATE_ROUTE] = {.name = "route",
                      .type = SETTING_CHOICE,
                      .choices = "any|key",
                      .help =
                          "Who chooses a message's queue: anybody, or its first key, so that the "
                          "messages of a key stay in order"},
    [CREATE_DURABILITY] = DURABILITY_OPTION,
};

/* How many queues an answer of topic.show has, whichever way it says so; 0: it does not. */
static uint64_t queues_of(struct bytes topic)
{
    struct cursor cursor;
    uint32_t rows = 0;
    uint64_t count = 0;
    if (!result_find(topic, "queues", &cursor)) {
        return 0;
    }
    if (cursor_peek(&cursor) == CURSOR_ARRAY) {
        return cursor_take_array(&cursor, &rows) ? rows : 0;
    }
    return cursor_take_uint(&cursor, &count) ? count : 0;
}

/* Whether a setting that was asked for is the one that the topic has. */
static bool setting_is(struct bytes topic, const char *name, const struct setting_value *asked)
{
    struct cursor cursor;
    struct bytes settings;
    struct bytes text;
    if (!asked->given) {
        return true;
    }
    if (result_find(topic, "settings", &cursor) && cursor_take_span(&cursor, &settings)) {
        topic = settings;
    }
    return result_find_text(topic, name, &text) &&
           bytes_equal(text, bytes_from_string(asked->text));
}

/* The JSON of a topic that is as asked, whether made now, changed now, or so before. */
static void print_put(const char *name, uint64_t id, uint64_t version)
{
    struct json_object object = json_open(stdout);
    json_pair_text(&object, "name", name);
    json_pair_number(&object, "id", id);
    json_pair_number(&object, "version", version);
    json_close(&object);
}

/* The topic is there already: as it was asked for, or not. */
static int judge_existing(struct invocation *invocation, const char *name, struct bytes topic)
{
    const struct setting_value *queues = invocation_option(invocation, CREATE_QUEUES);
    bool same = (!queues->given || queues_of(topic) == queues->number) &&
                setting_is(topic, "route", invocation_option(invocation, CREATE_ROUTE)) &&
                setting_is(topic, "durability", invocation_option(invocation, CREATE_DURABILITY));
    if (!same) {
        return invocation_fail(invocation, EXIT_FAILED,
                               "topic %s exists, and is not as asked: 'ternmq topic show %s' shows "
                               "it, 'ternmq topic set %s' changes it",
                               name, name, name);
    }
    invocation_say(invocation, "topic %s was there already, as asked", name);
    uint64_t id;
    uint64_t version;
    if (invocation->json && result_find_number(topic, "id", &id) &&
        result_find_number(topic, "version", &version)) {
        print_put(name, id, version);
    }
    return EXIT_DONE;
}

static int put_topic(struct invocation *invocation, struct ternmq *client,
                     const struct ternmq_topic_options *options, const char *done)
{
    uint64_t id;
    uint64_t version;
    struct ternmq_error error;
    if (ternmq_topic_put(client, options, &id, &version, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", options->name);
    }
    if (invocation->json) {
        print_put(options->name, id, version);
    } else {
        (void)printf("topic %s %s\n", options->name, done);
    }
    return EXIT_DONE;
}

static int run_create(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    const char *name = invocation->words[0];
    struct ternmq *client =
        check_name(invocation, name, &status) ? invocation_client(invocation, &status) : NULL;
    if (client == NULL) {
        return status;
    }
    struct ternmq_answer answer;
    struct ternmq_error error;
    int code = ask_topic(client, name, &answer, &error);
    if (code == TERNMQ_OK) {
        return judge_existing(invocation, name,
                              bytes_make(answer.result.data, answer.result.length));
    }
    if (code != TERNMQ_TOPIC_NOT_FOUND) {
        return invocation_fail_with(invocation, &error, "topic %s", name);
    }
    const struct setting_value *route = invocation_option(invocation, CREATE_ROUTE);
    struct ternmq_topic_options options = {
        .name = name,
        .queues = (uint32_t)invocation_option(invocation, CREATE_QUEUES)->number,
        .route = !route->given        ? TERNMQ_ROUTE_DEFAULT
                 : route->number == 0 ? TERNMQ_ROUTE_ANY
                                      : TERNMQ_ROUTE_KEY,
        .durability = durability_of(invocation_option(invocation, CREATE_DURABILITY)),
    };
    return put_topic(invocation, client, &options, "created");
}

const struct command TOPIC_CREATE_COMMAND = {
    .group = "topic",
    .name = "create",
    .arguments = "NAME [--queues N] [--route any|key] [--durability memory|disk]",
    .summary = "Make a topic",
    .help =
        "  ternmq topic create orders                      4 queues, any of them for a message\n"
        "  ternmq topic create log --queues 1              one queue: everything in order\n"
        "  ternmq topic create users --route key           in order for each key\n"
        "  ternmq topic create metrics --durability memory faster; a power cut takes the tail\n"
        "\n"
        "A topic that is there already as asked is no error; one that is not as asked is.\n",
    .rows = CREATE_ROWS,
    .row_count = sizeof(CREATE_ROWS) / sizeof(CREATE_ROWS[0]),
    .words_least = 1,
    .words_most = 1,
    .run = run_create,
};

/* ------------------------------------------------------------------- set */

enum { SET_QUEUES, SET_REHASH, SET_DURABILITY };

static const struct setting SET_ROWS[] = {
    [SET_QUEUES] = QUEUES_OPTION,
    [SET_REHASH] = {.name = "rehash",
                    .type = SETTING_FLAG,
                    .help =
                        "With --queues on a topic routed by key: keys may change their queue, and "
                        "with it their order"},
    [SET_DURABILITY] = DURABILITY_OPTION,
};

static int run_set(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    const char *name = invocation->words[0];
    const struct setting_value *queues = invocation_option(invocation, SET_QUEUES);
    const struct setting_value *durability = invocation_option(invocation, SET_DURABILITY);
    const struct setting_value *rehash = invocation_option(invocation, SET_REHASH);
    if (!queues->given && !durability->given) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "nothing to set: give --queues or --durability");
    }
    if (rehash->given && !queues->given) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "--rehash belongs to --queues");
    }
    struct ternmq *client =
        check_name(invocation, name, &status) ? invocation_client(invocation, &status) : NULL;
    if (client == NULL) {
        return status;
    }
    /* A topic.put of what is not there would make it. */
    struct ternmq_answer answer;
    struct ternmq_error error;
    if (ask_topic(client, name, &answer, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", name);
    }
    struct ternmq_topic_options options = {
        .name = name,
        .queues = (uint32_t)queues->number,
        .durability = durability_of(durability),
        .rehash = rehash->given,
    };
    return put_topic(invocation, client, &options, "set");
}

const struct command TOPIC_SET_COMMAND = {
    .group = "topic",
    .name = "set",
    .arguments = "NAME [--queues N [--rehash]] [--durability memory|disk]",
    .summary = "Change a topic",
    .help = "  ternmq topic set orders --queues 8              more queues; never fewer\n"
            "  ternmq topic set users --queues 8 --rehash      keys may change their queue\n"
            "  ternmq topic set orders --durability disk       from the next message on\n"
            "\n"
            "What is not given stays as it is.\n",
    .rows = SET_ROWS,
    .row_count = sizeof(SET_ROWS) / sizeof(SET_ROWS[0]),
    .words_least = 1,
    .words_most = 1,
    .run = run_set,
};

/* ------------------------------------------------------------------ show */

static int run_show(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    const char *name = invocation->words[0];
    struct ternmq *client =
        check_name(invocation, name, &status) ? invocation_client(invocation, &status) : NULL;
    if (client == NULL) {
        return status;
    }
    struct ternmq_answer answer;
    struct ternmq_error error;
    if (ask_topic(client, name, &answer, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", name);
    }
    struct bytes topic = bytes_make(answer.result.data, answer.result.length);
    struct cursor cursor = cursor_over(topic);
    if (invocation->json) {
        (void)json_put_value(stdout, &cursor);
        (void)putchar('\n');
    } else {
        (void)show_map(stdout, topic);
    }
    return EXIT_DONE;
}

const struct command TOPIC_SHOW_COMMAND = {
    .group = "topic",
    .name = "show",
    .arguments = "NAME",
    .summary = "Show a topic and where its queues stand",
    .help = "  ternmq topic show orders\n"
            "  ternmq topic show orders --json | jq .settings\n",
    .words_least = 1,
    .words_most = 1,
    .run = run_show,
};

/* ---------------------------------------------------------------- delete */

static const struct setting DELETE_ROWS[] = {
    {.name = "yes", .alias = 'y', .type = SETTING_FLAG, .help = "Do not ask"},
};

/* Whether whoever sits there types the topic's name. */
static bool is_confirmed(const char *name)
{
    char line[TOPIC_NAME_BYTES_MAX + 2];
    (void)fprintf(stderr,
                  "This deletes topic %s and all its messages. Type its name to go on: ", name);
    if (fgets(line, sizeof(line), stdin) == NULL) {
        return false;
    }
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, name) == 0;
}

static int run_delete(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    const char *name = invocation->words[0];
    if (!check_name(invocation, name, &status)) {
        return status;
    }
    if (!invocation_option(invocation, 0)->given) {
        if (isatty(STDIN_FILENO) == 0) {
            return invocation_fail(invocation, EXIT_WRONG_USAGE,
                                   "topic %s and all its messages would be deleted: add --yes",
                                   name);
        }
        if (!is_confirmed(name)) {
            return invocation_fail(invocation, EXIT_FAILED, "topic %s was not deleted", name);
        }
    }
    struct ternmq *client = invocation_client(invocation, &status);
    if (client == NULL) {
        return status;
    }
    struct ternmq_error error;
    if (ternmq_topic_delete(client, name, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", name);
    }
    if (invocation->json) {
        struct json_object object = json_open(stdout);
        json_pair_text(&object, "name", name);
        json_key(&object, "deleted");
        (void)fputs("true", stdout);
        json_close(&object);
    } else {
        (void)printf("topic %s deleted\n", name);
    }
    return EXIT_DONE;
}

const struct command TOPIC_DELETE_COMMAND = {
    .group = "topic",
    .name = "delete",
    .arguments = "NAME [--yes]",
    .summary = "Delete a topic and all its messages",
    .help =
        "  ternmq topic delete orders                      asks first\n"
        "  ternmq topic delete orders --yes                for scripts\n\n"
        "Its messages can be read no more. Their room on the disk becomes free only when the broker's\n"
        "--retain-bytes removes the segments they lie in; that is 0 unless set: never.\n",
    .rows = DELETE_ROWS,
    .row_count = 1,
    .words_least = 1,
    .words_most = 1,
    .run = run_delete,
};
