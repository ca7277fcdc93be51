/* SPDX-License-Identifier: Apache-2.0 */
/* topic.c - the commands `topic create` and `topic set`. */
#include "tools/cli/topic.h"

#include "proto/limits.h"
#include "proto/names.h"
#include "proto/writer.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"

#include <stdio.h>
#include <string.h>

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

#define BROKERS_OPTION(text)                                                              \
    {                                                                                     \
        .name = "brokers", .metavar = "NAME,NAME..", .type = SETTING_TEXT, .help = (text) \
    }

/* Reads "a,b,c"; an option that was not given has no names. Gives an exit status. */
static int read_brokers(struct invocation *invocation, uint32_t option,
                        struct broker_names *names_out)
{
    const struct setting_value *value = invocation_option(invocation, option);
    names_out->count = 0;
    if (!value->given) {
        return EXIT_DONE;
    }
    if (strlen(value->text) >= sizeof(names_out->text)) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "--brokers: at most %d names",
                               PLACEMENT_PARTS_MAX);
    }
    (void)snprintf(names_out->text, sizeof(names_out->text), "%s", value->text);
    char *rest = names_out->text;
    for (char *name = strsep(&rest, ","); name != NULL; name = strsep(&rest, ",")) {
        bool twice = false;
        for (uint32_t i = 0; i < names_out->count; i++) {
            twice = twice || strcmp(names_out->names[i], name) == 0;
        }
        if (twice || !name_is_broker(bytes_from_string(name)) ||
            names_out->count == PLACEMENT_PARTS_MAX) {
            return invocation_fail(invocation, EXIT_WRONG_USAGE,
                                   "--brokers '%s': give at most %d names with ',' between them, "
                                   "each once",
                                   value->text, PLACEMENT_PARTS_MAX);
        }
        names_out->names[names_out->count++] = name;
    }
    return EXIT_DONE;
}

static enum ternmq_durability durability_of(const struct setting_value *value)
{
    return !value->given        ? TERNMQ_DURABILITY_DEFAULT
           : value->number == 0 ? TERNMQ_DURABILITY_MEMORY
                                : TERNMQ_DURABILITY_DISK;
}

/* ---------------------------------------------------------------- create */

enum { CREATE_QUEUES, CREATE_ROUTE, CREATE_DURABILITY, CREATE_BROKERS };

static const struct setting CREATE_ROWS[] = {
    [CREATE_QUEUES] = QUEUES_OPTION,
    [CREATE_ROUTE] = {.name = "route",
                      .type = SETTING_CHOICE,
                      .choices = "any|key",
                      .help =
                          "Who chooses a message's queue: anybody, or its first key, so that the "
                          "messages of a key stay in order"},
    [CREATE_DURABILITY] = DURABILITY_OPTION,
    [CREATE_BROKERS] = BROKERS_OPTION("The brokers that share the queues; without it one has all"),
};

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
static int judge_existing(struct invocation *invocation, const char *name, struct bytes topic,
                          const struct broker_names *brokers)
{
    const struct topic_wish wish = {
        .queues = invocation_option(invocation, CREATE_QUEUES),
        .route = invocation_option(invocation, CREATE_ROUTE),
        .durability = invocation_option(invocation, CREATE_DURABILITY),
        .brokers = brokers,
    };
    struct differences differences = {.used = 0};
    topic_compare(&wish, topic, &differences);
    if (differences.used > 0) {
        return invocation_fail(invocation, EXIT_FAILED,
                               "topic %s is there already, with other settings: %s; 'ternmq topic "
                               "set %s' can add queues and brokers, and change the durability",
                               name, differences.text, name);
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

/* The topic is on several brokers, as asked. Whoever made it may have been cut in the middle, so those
 * that have not heard of it are told; all others change nothing. */
static int tell_all(struct invocation *invocation, struct ternmq *client, const char *name,
                    const struct broker_names *brokers)
{
    struct ternmq_topic_options options = {
        .name = name, .brokers = brokers->names, .broker_count = brokers->count};
    struct ternmq_error error;
    if (ternmq_topic_put(client, &options, NULL, NULL, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", name);
    }
    return EXIT_DONE;
}

static int create(struct invocation *invocation, struct ternmq *client,
                  const struct broker_names *brokers)
{
    const char *name = invocation->words[0];
    struct ternmq_answer answer;
    struct ternmq_error error;
    int code = topic_ask(client, name, &answer, &error);
    if (code == TERNMQ_OK) {
        int status = judge_existing(invocation, name,
                                    bytes_make(answer.result.data, answer.result.length), brokers);
        return status == EXIT_DONE && brokers->count > 0
                   ? tell_all(invocation, client, name, brokers)
                   : status;
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
        .brokers = brokers->names,
        .broker_count = brokers->count,
    };
    return put_topic(invocation, client, &options, "created");
}

static int run_create(struct invocation *invocation)
{
    struct broker_names brokers;
    int status = read_brokers(invocation, CREATE_BROKERS, &brokers);
    if (status != EXIT_DONE) {
        return status;
    }
    const struct setting_value *queues = invocation_option(invocation, CREATE_QUEUES);
    if (queues->given && queues->number < brokers.count) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "--queues %llu: %u brokers need at least one each",
                               (unsigned long long)queues->number, brokers.count);
    }
    status = EXIT_FAILED;
    struct ternmq *client = topic_check_name(invocation, invocation->words[0], &status)
                                ? invocation_client(invocation, &status)
                                : NULL;
    return client == NULL ? status : create(invocation, client, &brokers);
}

const struct command TOPIC_CREATE_COMMAND = {
    .group = "topic",
    .name = "create",
    .arguments = "NAME [--queues N] [--brokers A,B..] [--route any|key] [--durability memory|disk]",
    .summary = "Make a topic",
    .help =
        "  ternmq topic create orders                      4 queues, any of them for a message\n"
        "  ternmq topic create log --queues 1              one queue: everything in order\n"
        "  ternmq topic create users --route key           in order for each key\n"
        "  ternmq topic create metrics --durability memory faster; a power cut takes the tail\n"
        "  ternmq topic create wide --brokers a,b --queues 8  4 queues on each; one may be away, and the\n"
        "                                                  other goes on\n"
        "\n"
        "A topic that is there already as asked is no error; one with other settings is.\n",
    .rows = CREATE_ROWS,
    .row_count = sizeof(CREATE_ROWS) / sizeof(CREATE_ROWS[0]),
    .words_least = 1,
    .words_most = 1,
    .run = run_create,
};

/* ------------------------------------------------------------------- set */

enum { SET_QUEUES, SET_REHASH, SET_DURABILITY, SET_BROKERS };

static const struct setting SET_ROWS[] = {
    [SET_QUEUES] = QUEUES_OPTION,
    [SET_REHASH] = {.name = "rehash",
                    .type = SETTING_FLAG,
                    .help =
                        "With --queues on a topic routed by key: keys may change their queue, and "
                        "with it their order"},
    [SET_DURABILITY] = DURABILITY_OPTION,
    [SET_BROKERS] = BROKERS_OPTION("With --queues: the brokers that share those that are added; "
                                   "without it those that have the topic"),
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
    struct broker_names brokers;
    int read = read_brokers(invocation, SET_BROKERS, &brokers);
    if (read != EXIT_DONE) {
        return read;
    }
    if (brokers.count > 0 && !queues->given) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "--brokers belongs to --queues");
    }
    struct ternmq *client =
        topic_check_name(invocation, name, &status) ? invocation_client(invocation, &status) : NULL;
    if (client == NULL) {
        return status;
    }
    /* A topic.put of what is not there would make it. */
    struct ternmq_answer answer;
    struct ternmq_error error;
    if (topic_ask(client, name, &answer, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", name);
    }
    struct ternmq_topic_options options = {
        .name = name,
        .queues = (uint32_t)queues->number,
        .durability = durability_of(durability),
        .rehash = rehash->given,
        .brokers = brokers.names,
        .broker_count = brokers.count,
    };
    return put_topic(invocation, client, &options, "set");
}

const struct command TOPIC_SET_COMMAND = {
    .group = "topic",
    .name = "set",
    .arguments = "NAME [--queues N [--brokers A,B..] [--rehash]] [--durability memory|disk]",
    .summary = "Change a topic",
    .help =
        "  ternmq topic set orders --queues 8              more queues; never fewer\n"
        "  ternmq topic set users --queues 8 --rehash      keys may change their queue\n"
        "  ternmq topic set orders --queues 12 --brokers c the new queues go to another broker\n"
        "  ternmq topic set orders --durability disk       from the next message on\n"
        "\n"
        "What is not given stays as it is.\n",
    .rows = SET_ROWS,
    .row_count = sizeof(SET_ROWS) / sizeof(SET_ROWS[0]),
    .words_least = 1,
    .words_most = 1,
    .run = run_set,
};
