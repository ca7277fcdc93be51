/* SPDX-License-Identifier: Apache-2.0 */
/* group_seek.c - the command `group seek`: a group goes on somewhere else. */
#include "proto/names.h"
#include "proto/writer.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"
#include "tools/cli/table.h"
#include "tools/cli/text.h"

#include <stdio.h>
#include <string.h>

enum { SEEK_TO, SEEK_TOPIC, SEEK_QUEUE, SEEK_DRY_RUN };

/* Of what a group reads, where that is not what was meant. */
enum { TOPICS_NAMED = 8 };

static const struct setting SEEK_ROWS[] = {
    [SEEK_TO] =
        {.name = "to",
         .metavar = "first|last|TIME|OFFSET|group:H",
         .type = SETTING_TEXT,
         .least = 1,
         .most = GROUP_ANY_NAME_BYTES_MAX + 6,
         .help = "Where to; a TIME is 2026-01-31T12:00:00 (ISO 8601) or -1h, an OFFSET is of one "
                 "queue, group:H is where group H stands"},
    [SEEK_TOPIC] = {.name = "topic",
                    .type = SETTING_TEXT,
                    .least = 1,
                    .most = TOPIC_NAME_BYTES_MAX,
                    .help = "Only in this topic of the group"},
    [SEEK_QUEUE] = {.name = "queue",
                    .metavar = "N",
                    .type = SETTING_INTEGER,
                    .most = QUEUES_PER_TOPIC_MAX - 1,
                    .help = "Only in this queue of --topic"},
    [SEEK_DRY_RUN] = {.name = "dry-run",
                      .type = SETTING_FLAG,
                      .help = "Only say what would be delivered again, and what be skipped"},
};

static const char GROUP_MARK[] = "group:";

/* Where to, as the protocol says it. */
enum destination_kind { TO_FIRST, TO_LAST, TO_TIME, TO_OFFSET, TO_GROUP };

struct destination {
    enum destination_kind kind;
    uint64_t number;
    const char *group;
};

static bool read_destination(const char *text, struct destination *to)
{
    to->kind = TO_FIRST;
    if (strcmp(text, "first") == 0) {
        return true;
    }
    to->kind = TO_LAST;
    if (strcmp(text, "last") == 0) {
        return true;
    }
    if (strncmp(text, GROUP_MARK, strlen(GROUP_MARK)) == 0) {
        to->kind = TO_GROUP;
        to->group = text + strlen(GROUP_MARK);
        return name_is_any_group(bytes_from_string(to->group));
    }
    if (text_is_digits(text)) {
        to->kind = TO_OFFSET;
        return text_take_number(&text, INTEGER_LIMIT - 1, &to->number);
    }
    to->kind = TO_TIME;
    return text_read_time(text, clock_wall_ms(), &to->number);
}

static void put_destination(struct writer *writer, const struct destination *to)
{
    writer_put_string(writer, "to");
    switch (to->kind) {
    case TO_FIRST:
        writer_put_string(writer, "first");
        break;
    case TO_LAST:
        writer_put_string(writer, "last");
        break;
    case TO_TIME:
        writer_put_map(writer, 1);
        writer_put_key_uint(writer, "at_time", to->number);
        break;
    case TO_OFFSET:
        writer_put_map(writer, 1);
        writer_put_key_uint(writer, "offset", to->number);
        break;
    case TO_GROUP:
        writer_put_map(writer, 1);
        writer_put_key_string(writer, "group", to->group);
        break;
    }
}

/* A seek under way. */
struct seek {
    struct invocation *invocation;
    bool dry_run;
    struct table table;
    uint64_t again;
    uint64_t skipped;
    uint32_t queues;
    uint32_t brokers; /* that have done it */
};

static struct ternmq_bytes write_arguments(const struct invocation *invocation,
                                           const struct destination *to, uint8_t *room,
                                           size_t room_bytes)
{
    const struct setting_value *topic = invocation_option(invocation, SEEK_TOPIC);
    const struct setting_value *queue = invocation_option(invocation, SEEK_QUEUE);
    bool dry_run = invocation_option(invocation, SEEK_DRY_RUN)->given;
    struct writer writer = writer_over(room, room_bytes);
    writer_put_map(&writer, 2U + topic->given + queue->given + dry_run);
    writer_put_key_string(&writer, "group", invocation->words[0]);
    if (topic->given) {
        writer_put_key_string(&writer, "topic", topic->text);
    }
    if (queue->given) {
        writer_put_key_uint(&writer, "queue", queue->number);
    }
    if (dry_run) {
        writer_put_key_bool(&writer, "dry_run", true);
    }
    put_destination(&writer, to);
    return ternmq_bytes(room, writer_length(&writer));
}

static uint64_t number_of(struct bytes row, const char *key)
{
    uint64_t number = 0;
    (void)result_find_number(row, key, &number);
    return number;
}

static void write_row(const char *broker, struct bytes topic, struct bytes row)
{
    static const char *const keys[] = {"queue", "was", "now", "again", "skipped", NULL};
    struct json_object object = json_open(stdout);
    if (broker[0] != '\0') {
        json_pair_text(&object, "broker", broker);
    }
    json_key(&object, "topic");
    json_put_string(stdout, topic);
    for (const char *const *key = keys; *key != NULL; key++) {
        json_pair_number(&object, *key, number_of(row, *key));
    }
    json_close(&object);
}

static void add_row(struct table *table, const char *broker, struct bytes topic, struct bytes row)
{
    static const char *const headings[] = {"TOPIC", ">QUEUE", "BROKER",   ">WAS",
                                           ">NOW",  ">AGAIN", ">SKIPPED", NULL};
    if (table->column_count == 0) {
        table_init(table, headings);
    }
    table_add(table, "%.*s", (int)topic.length, (const char *)topic.data);
    table_add(table, "%llu", (unsigned long long)number_of(row, "queue"));
    table_add(table, "%s", broker);
    table_add(table, "%s", text_of_number(number_of(row, "was")));
    table_add(table, "%s", text_of_number(number_of(row, "now")));
    table_add(table, "%s", text_of_number(number_of(row, "again")));
    table_add(table, "%s", text_of_number(number_of(row, "skipped")));
}

static bool take_rows(struct seek *seek, const char *broker, struct bytes answer)
{
    struct group_rows rows;
    struct bytes row;
    if (!group_rows_begin(&rows, answer, "rows")) {
        return false;
    }
    while (group_rows_next(&rows, &row)) {
        struct bytes topic = {NULL, 0};
        if (!result_find_text(row, "topic", &topic)) {
            return false;
        }
        if (seek->invocation->json) {
            write_row(broker, topic, row);
        } else {
            add_row(&seek->table, broker, topic, row);
        }
        seek->again += number_of(row, "again");
        seek->skipped += number_of(row, "skipped");
        seek->queues++;
    }
    return rows.left == 0;
}

/* Seeks on one broker. That it does not read the topic that is meant is for the others: `*lacks_topic_out`. */
static int seek_at(struct seek *seek, const struct group_holders *holders, size_t i,
                   struct ternmq_bytes arguments, struct ternmq_error *lacks_topic_out)
{
    const char *broker = holders->brokers[i];
    struct ternmq_answer answer;
    struct ternmq_error error;
    struct ternmq_call call = {.method = "group.seek", .arguments = arguments};
    group_holders_address(broker, &call);
    int code = ternmq_call(seek->invocation->client, &call, &answer, &error);
    if (code == TERNMQ_TOPIC_NOT_FOUND) {
        *lacks_topic_out = error;
        return EXIT_DONE;
    }
    if (code != TERNMQ_OK) {
        return invocation_fail_with(seek->invocation, &error, "group %s%s%s", holders->group,
                                    broker[0] == '\0' ? "" : " on broker ", broker);
    }
    seek->brokers++;
    return take_rows(seek, broker, bytes_make(answer.result.data, answer.result.length))
               ? EXIT_DONE
               : invocation_fail(seek->invocation, EXIT_FAILED, "%s answered no rows",
                                 answer.address);
}

static int seek_on_all(struct seek *seek, const struct destination *to,
                       const struct group_holders *holders)
{
    uint8_t room[2 * GROUP_ANY_NAME_BYTES_MAX + TOPIC_NAME_BYTES_MAX + 128];
    struct ternmq_bytes arguments = write_arguments(seek->invocation, to, room, sizeof(room));
    struct ternmq_error lacks_topic = {.code = TERNMQ_OK};
    int status = EXIT_DONE;
    for (size_t i = 0; status == EXIT_DONE && i < holders->count; i++) {
        status = seek_at(seek, holders, i, arguments, &lacks_topic);
    }
    if (status == EXIT_DONE && seek->brokers == 0 && lacks_topic.code != TERNMQ_OK) {
        return invocation_fail_with(seek->invocation, &lacks_topic, "group %s", holders->group);
    }
    return status;
}

/* A topic that the group does not read is not to be made, but mistaken. */
static int check_topic(struct invocation *invocation, const struct group_holders *holders)
{
    const char *topic = invocation_option(invocation, SEEK_TOPIC)->text;
    const struct group_topics *topics = holders->topics;
    char text[TOPICS_NAMED * (TOPIC_NAME_BYTES_MAX + 2) + 32] = "";
    size_t used = 0;
    if (topic == NULL) {
        return EXIT_DONE;
    }
    for (uint32_t i = 0; i < topics->count; i++) {
        if (strcmp(topics->names[i], topic) == 0) {
            return EXIT_DONE;
        }
        if (i < TOPICS_NAMED) {
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i == 0 ? "" : ", ",
                                     topics->names[i]);
        }
    }
    if (topics->count > TOPICS_NAMED) {
        (void)snprintf(text + used, sizeof(text) - used, " and %u more",
                       topics->count - TOPICS_NAMED);
    }
    return invocation_fail(invocation, EXIT_FAILED,
                           "group %s does not read topic %s%s: it reads %s", holders->group, topic,
                           holders->reach.away > 0 ? " on the brokers that answer" : "", text);
}

/* A queue of a topic has one broker: the others would not know it. */
static int keep_owner_of_queue(struct invocation *invocation, struct group_holders *holders)
{
    const char *topic = invocation_option(invocation, SEEK_TOPIC)->text;
    uint64_t queue = invocation_option(invocation, SEEK_QUEUE)->number;
    struct ternmq_route route;
    struct ternmq_error error;
    if (invocation_common(invocation, OPTION_BROKER)->given || topic[0] == '%') {
        return EXIT_DONE;
    }
    if (ternmq_route(invocation->client, topic, &route, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", topic);
    }
    for (uint32_t i = 0; i < route.span_count; i++) {
        const struct ternmq_route_span *span = &route.spans[i];
        if (queue >= span->queue_first && queue - span->queue_first < span->queue_count) {
            (void)snprintf(holders->brokers[0], sizeof(holders->brokers[0]), "%s", span->broker);
            holders->count = 1;
            return EXIT_DONE;
        }
    }
    return invocation_fail(invocation, EXIT_WRONG_USAGE, "topic %s has queues 0 to %u, not %llu",
                           topic, route.queue_count - 1, (unsigned long long)queue);
}

static int check_words(struct invocation *invocation, struct destination *to)
{
    const char *text = invocation_option(invocation, SEEK_TO)->text;
    bool has_topic = invocation_option(invocation, SEEK_TOPIC)->given;
    bool has_queue = invocation_option(invocation, SEEK_QUEUE)->given;
    if (text == NULL) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "where to? --to first, last, a time, an offset, or group:H");
    }
    if (!read_destination(text, to)) {
        return invocation_refuse_time(invocation, "to", text, "first, last, an offset, group:H");
    }
    if (has_queue && !has_topic) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "--queue needs --topic");
    }
    if (to->kind == TO_OFFSET && !has_queue) {
        return invocation_fail(
            invocation, EXIT_WRONG_USAGE,
            "--to %s is an offset, which is of one queue: add --topic and --queue", text);
    }
    return EXIT_DONE;
}

/* The broker counts without looking at a message, so that a filter makes of a number a bound. */
static void print_result(struct seek *seek, bool has_filter)
{
    const char *at_most = has_filter ? "at most " : "";
    table_print(&seek->table, stdout);
    (void)printf("%s: %s%s %s again, %s%s %s skipped%s\n", text_of_count(seek->queues, "queue"),
                 at_most, text_of_count(seek->again, "message"),
                 seek->dry_run      ? "would come"
                 : seek->again == 1 ? "comes"
                                    : "come",
                 at_most, text_of_count(seek->skipped, "message"),
                 seek->dry_run        ? "would be"
                 : seek->skipped == 1 ? "is"
                                      : "are",
                 has_filter ? "; what the filter does not want is counted, too" : "");
}

static int run_seek(struct invocation *invocation)
{
    struct seek seek = {.invocation = invocation,
                        .dry_run = invocation_option(invocation, SEEK_DRY_RUN)->given};
    struct destination to = {.kind = TO_FIRST};
    int status = check_words(invocation, &to);
    if (status != EXIT_DONE) {
        return status;
    }
    struct group_holders holders;
    status = group_holders_find(invocation, invocation->words[0], &holders);
    group_holders_say_gaps(invocation, &holders, true);
    if (status == EXIT_DONE) {
        status = check_topic(invocation, &holders);
    }
    if (status == EXIT_DONE && invocation_option(invocation, SEEK_QUEUE)->given) {
        status = keep_owner_of_queue(invocation, &holders);
    }
    if (status == EXIT_DONE) {
        status = seek_on_all(&seek, &to, &holders);
    }
    bool has_filter = holders.has_filter;
    group_holders_free(&holders);
    if (!invocation->json && (status == EXIT_DONE || seek.queues > 0)) {
        print_result(&seek,
                     has_filter); /* also of those that were done before another broker failed */
    }
    return group_reach_status(&holders.reach, status);
}

const struct command GROUP_SEEK_COMMAND = {
    .group = "group",
    .name = "seek",
    .arguments = "NAME --to first|last|TIME|OFFSET|group:H [--topic T] [--queue N] [--dry-run]",
    .summary = "Make a consumer group go on somewhere else",
    .help =
        "  ternmq group seek billing --to -1h --dry-run    what would come again\n"
        "  ternmq group seek billing --to first            everything that is kept\n"
        "  ternmq group seek billing --to last             what is not done is skipped\n"
        "  ternmq group seek billing --to 4711 --topic orders --queue 0\n"
        "  ternmq group seek billing --to group:audit      where audit stands\n"
        "\n"
        "Members may run meanwhile: their leases of these queues are over, and so are the retries.\n"
        "AGAIN are messages that were done and come once more, SKIPPED those that will not come; of a\n"
        "group with a filter both are bounds, as what it does not want is counted, too.\n",
    .rows = SEEK_ROWS,
    .row_count = sizeof(SEEK_ROWS) / sizeof(SEEK_ROWS[0]),
    .words_least = 1,
    .words_most = 1,
    .run = run_seek,
};
