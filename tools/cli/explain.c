/* SPDX-License-Identifier: Apache-2.0 */
/* explain.c - the commands `explain group` and `explain message`: why nothing moves, in sentences. */
#include "proto/limits.h"
#include "proto/names.h"
#include "tools/cli/command.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/json.h"
#include "tools/cli/text.h"
#include "tools/cli/topic.h"
#include "tools/client/ternmq_explain.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------- output */

/* What goes before the sentences of a broker: of others that have no part in the explanation. */
enum {
    GAPS_NAMED = 4, /* the others are counted */
    GAP_SENTENCE_BYTES = BROKER_NAME_BYTES_MAX + GROUP_ANY_NAME_BYTES_MAX + 200
};
struct gap_sentences {
    uint32_t count;
    char texts[GAPS_NAMED + 1][GAP_SENTENCE_BYTES];
};

/* `gaps` is NULL where there can be none. */
static void print_json(const char *broker, const char *what, const char *name,
                       const struct gap_sentences *gaps,
                       const struct ternmq_explanation *explanation)
{
    uint32_t gap_count = gaps == NULL ? 0 : gaps->count;
    struct json_object object = json_open(stdout);
    json_pair_text(&object, what, name);
    if (broker != NULL) {
        json_pair_text(&object, "broker", broker);
    }
    json_pair_bool(&object, "well", explanation->is_well && gap_count == 0);
    json_key(&object, "sentences");
    for (size_t i = 0; i < gap_count + explanation->count; i++) {
        const char *sentence =
            i < gap_count ? gaps->texts[i] : explanation->sentences[i - gap_count];
        (void)fputs(i == 0 ? "[" : ",", stdout);
        json_put_string(stdout, bytes_from_string(sentence));
    }
    (void)fputs("]", stdout);
    json_key(&object, "answer");
    struct cursor cursor =
        cursor_over(bytes_make(explanation->answer.data, explanation->answer.length));
    (void)json_put_value(stdout, &cursor);
    json_close(&object);
}

static void print_sentences(const char *broker, const struct ternmq_explanation *explanation)
{
    for (size_t i = 0; i < explanation->count; i++) {
        (void)printf("%s%s%s\n", broker == NULL ? "" : broker, broker == NULL ? "" : ": ",
                     explanation->sentences[i]);
    }
}

/* -------------------------------------------------------------------- group */

static void write_gap(const char *group, const struct group_gap *gap, char text[GAP_SENTENCE_BYTES])
{
    static const char *const reasons[] = {
        [GROUP_GAP_AWAY] = "is away, and nobody gets its messages until it is back",
        [GROUP_GAP_SILENT] = "does not answer, and where the group stands there is not known",
    };
    if (gap->kind == GROUP_GAP_LACKING) {
        (void)snprintf(text, GAP_SENTENCE_BYTES,
                       "Broker %s has queues of its topics, and no group %s, which gets nothing of "
                       "them: 'ternmq group create' as before makes it there.",
                       gap->broker, group);
    } else {
        (void)snprintf(text, GAP_SENTENCE_BYTES, "Broker %s has queues of its topics: it %s.",
                       gap->broker, reasons[gap->kind]);
    }
}

static void write_gaps(const struct group_holders *holders, struct gap_sentences *gaps)
{
    gaps->count = 0;
    for (size_t i = 0; i < holders->gap_count && i < GAPS_NAMED; i++) {
        write_gap(holders->group, &holders->gaps[i], gaps->texts[gaps->count++]);
    }
    if (holders->gap_count > GAPS_NAMED) {
        (void)snprintf(gaps->texts[gaps->count++], GAP_SENTENCE_BYTES,
                       "%s more with queues of its topics lack the group, or do not answer.",
                       text_of_count(holders->gap_count - GAPS_NAMED, "broker"));
    }
}

static int explain_at(struct invocation *invocation, const struct group_holders *holders, size_t i,
                      const struct gap_sentences *gaps)
{
    struct ternmq_explanation explanation;
    struct ternmq_error error;
    const char *broker = holders->brokers[i][0] == '\0' ? NULL : holders->brokers[i];
    if (ternmq_explain_group(invocation->client, broker, holders->group, &explanation, &error) !=
        TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "group %s", holders->group);
    }
    if (invocation->json) {
        print_json(broker, "group", holders->group, gaps, &explanation);
    } else {
        print_sentences(holders->count > 1 ? broker : NULL, &explanation);
    }
    return EXIT_DONE;
}

static int run_group(struct invocation *invocation)
{
    struct group_holders holders;
    int status = group_holders_find(invocation, invocation->words[0], &holders);
    struct gap_sentences gaps;
    write_gaps(&holders, &gaps);
    group_holders_say_away(invocation, &holders, false);
    for (uint32_t i = 0; i < gaps.count && !invocation->json; i++) {
        (void)printf("%s\n", gaps.texts[i]);
    }
    for (size_t i = 0; i < holders.count; i++) {
        int one = explain_at(invocation, &holders, i, &gaps);
        status = status == EXIT_DONE ? one : status;
    }
    group_holders_free(&holders);
    return group_reach_status(&holders.reach, status);
}

const struct command EXPLAIN_GROUP_COMMAND = {
    .group = "explain",
    .name = "group",
    .arguments = "NAME",
    .summary = "Say why the messages of a consumer group do not move, or that all is well",
    .help =
        "  ternmq explain group billing\n"
        "  ternmq explain group billing --json | jq .well\n"
        "\n"
        "Nobody asks, all is leased and until when, what failed and when it is tried again, which\n"
        "key is parked, a bound that is reached, a filter that passes nothing, a topic that is\n"
        "gone, a broker of a topic that lacks the group or does not answer. The numbers themselves:\n"
        "ternmq group show.\n",
    .words_least = 1,
    .words_most = 1,
    .run = run_group,
};

/* ------------------------------------------------------------------ message */

struct message_place {
    char topic[TOPIC_NAME_BYTES_MAX + 1];
    uint64_t numbers[3]; /* queue, offset, epoch; 0 where it is absent */
};

/* TOPIC/QUEUE/OFFSET[/EPOCH]. */
static bool read_place(const char *text, struct message_place *place)
{
    static const uint64_t most[] = {QUEUES_PER_TOPIC_MAX - 1, INTEGER_LIMIT - 1, UINT32_MAX};
    size_t length = strcspn(text, "/");
    if (length > TOPIC_NAME_BYTES_MAX || !name_is_any_topic(bytes_make(text, length))) {
        return false;
    }
    memcpy(place->topic, text, length);
    place->topic[length] = '\0';
    text += length;
    size_t count = 0;
    while (*text == '/' && count < 3) {
        text++;
        if (!text_take_number(&text, most[count], &place->numbers[count])) {
            return false;
        }
        count++;
    }
    return *text == '\0' && count >= 2;
}

static int run_message(struct invocation *invocation)
{
    struct message_place place = {.topic = ""};
    const char *word = invocation->words[0];
    int status = EXIT_FAILED;
    if (!read_place(word, &place)) {
        return invocation_fail(
            invocation, EXIT_WRONG_USAGE,
            "'%s' is no place of a message: TOPIC/QUEUE/OFFSET, as in orders/0/17, "
            "and /EPOCH behind it where that is known",
            word);
    }
    struct ternmq *client = topic_check_any_name(invocation, place.topic, &status)
                                ? invocation_client(invocation, &status)
                                : NULL;
    if (client == NULL) {
        return status;
    }
    struct ternmq_explanation explanation;
    struct ternmq_error error;
    if (ternmq_explain_message(client, place.topic, (uint32_t)place.numbers[0], place.numbers[1],
                               (uint32_t)place.numbers[2], &explanation, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "message %s", word);
    }
    if (invocation->json) {
        print_json(NULL, "message", word, NULL, &explanation);
    } else {
        print_sentences(NULL, &explanation);
    }
    return EXIT_DONE;
}

const struct command EXPLAIN_MESSAGE_COMMAND = {
    .group = "explain",
    .name = "message",
    .arguments = "TOPIC/QUEUE/OFFSET[/EPOCH]",
    .summary = "Say what became of one message in each consumer group",
    .help =
        "  ternmq explain message orders/0/17\n"
        "  ternmq explain message orders/0/17/3 --json\n"
        "\n"
        "When it was stored, whether it is on disk, and for each group: to whom it was given, at\n"
        "which attempt, how that ended, and what comes next. A broker remembers the last 65,536\n"
        "events of each of its logs, and those since its start; where a message is it always knows.\n",
    .words_least = 1,
    .words_most = 1,
    .run = run_message,
};
