/* SPDX-License-Identifier: Apache-2.0 */
/* group_list.c - the command `group list`: the groups of one broker, or of all. */
#include "proto/group_settings.h"
#include "proto/writer.h"
#include "tools/cli/group.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"
#include "tools/cli/table.h"
#include "tools/cli/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ pages */

/* A broker may go while all are asked one after the other: it is not waited for as long as one that is
 * meant by itself. */
#define AWAY_MS 3000

/* Pages of rows, of groups or of brokers. */
struct pages {
    enum ternmq_to to;
    const char *broker; /* with TERNMQ_TO_BROKER */
    const char *method;
    const char *prefix;
    bool is_away; /* the broker does not answer, which was said: there are no rows of it */
};

static bool is_away(const struct ternmq_error *error)
{
    return error->code == TERNMQ_UNREACHABLE || error->code == TERNMQ_LOST ||
           error->code == TERNMQ_TIMED_OUT || error->code == TERNMQ_STOPPING;
}

static int ask_page(struct invocation *invocation, struct pages *pages, const char *after,
                    struct ternmq_answer *answer_out)
{
    uint8_t room[2 * GROUP_ANY_NAME_BYTES_MAX + 64];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 2);
    writer_put_key_string(&writer, "after", after);
    writer_put_key_string(&writer, "prefix", pages->prefix);
    const struct ternmq_call call = {
        .to = pages->to,
        .to_name = pages->broker,
        .method = pages->method,
        .arguments = ternmq_bytes(room, writer_length(&writer)),
        .timeout_ms = pages->to == TERNMQ_TO_BROKER ? AWAY_MS : 0,
    };
    if (pages->to != TERNMQ_TO_BROKER) {
        return invocation_call(invocation, &call, answer_out, pages->method);
    }
    struct ternmq_error error;
    if (ternmq_call(invocation->client, &call, answer_out, &error) == TERNMQ_OK) {
        return EXIT_DONE;
    }
    if (!is_away(&error)) {
        return invocation_fail_with(invocation, &error, "%s", pages->method);
    }
    pages->is_away = true;
    invocation_say(invocation, "broker %s is passed over: %s (%s)", pages->broker, error.message,
                   error.name);
    return EXIT_DONE;
}

/* Calls `row` for every row of one page. */
static bool each_of_page(struct bytes page, const char *broker,
                         bool (*row)(void *context, const char *broker, struct bytes row),
                         void *context)
{
    struct cursor cursor;
    uint32_t count;
    if (!result_find(page, "rows", &cursor) || !cursor_take_array(&cursor, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes one;
        if (!cursor_take_span(&cursor, &one) || !row(context, broker, one)) {
            return false;
        }
    }
    return true;
}

static int each_row(struct invocation *invocation, struct pages *pages,
                    bool (*row)(void *context, const char *broker, struct bytes row), void *context)
{
    char after[GROUP_ANY_NAME_BYTES_MAX + 1] = "";
    bool more;
    do {
        struct ternmq_answer answer;
        int status = ask_page(invocation, pages, after, &answer);
        if (status != EXIT_DONE || pages->is_away) {
            return status;
        }
        struct bytes page = bytes_make(answer.result.data, answer.result.length);
        struct bytes next;
        const char *broker = pages->broker == NULL ? "" : pages->broker;
        if (!each_of_page(page, broker, row, context)) {
            return invocation_fail(invocation, EXIT_FAILED, "%s: %s answered no rows",
                                   pages->method, answer.address);
        }
        more = result_find_text(page, "next", &next) && next.length < sizeof(after);
        if (more) {
            memcpy(after, next.data, next.length);
            after[next.length] = '\0';
        }
    } while (more);
    return EXIT_DONE;
}

/* The names of all brokers: an answer is good until the next call only. */
struct broker_names {
    char (*at)[BROKER_NAME_BYTES_MAX + 1];
    size_t count;
};

static bool note_broker(void *context, const char *broker, struct bytes row)
{
    struct broker_names *names = context;
    struct bytes name;
    (void)broker;
    if (!result_find_text(row, "name", &name) || name.length > BROKER_NAME_BYTES_MAX) {
        return false;
    }
    void *grown = realloc(names->at, (names->count + 1) * sizeof(names->at[0]));
    if (grown == NULL) {
        return false;
    }
    names->at = grown;
    memcpy(names->at[names->count], name.data, name.length);
    names->at[names->count++][name.length] = '\0';
    return true;
}

int group_holders_all(struct invocation *invocation, struct group_holders *holders_out)
{
    struct broker_names names = {.count = 0};
    int status = EXIT_DONE;
    if (invocation_common(invocation, OPTION_BROKER)->given) {
        names.at = calloc(1, sizeof(names.at[0]));
        names.count = names.at == NULL ? 0 : 1;
    } else {
        struct pages brokers = {.to = TERNMQ_TO_NAMESERVER, .method = "broker.list", .prefix = ""};
        status = each_row(invocation, &brokers, note_broker, &names);
    }
    *holders_out = (struct group_holders){.group = "", .brokers = names.at, .count = names.count};
    return status;
}

int group_each(struct invocation *invocation, const char *prefix,
               bool (*row)(void *context, const char *broker, struct bytes row), void *context)
{
    struct pages groups = {.to = TERNMQ_TO_ANY_BROKER, .method = "group.list", .prefix = prefix};
    if (invocation_common(invocation, OPTION_BROKER)->given) {
        return each_row(invocation, &groups, row, context);
    }
    struct pages brokers = {.to = TERNMQ_TO_NAMESERVER, .method = "broker.list", .prefix = ""};
    struct broker_names names = {.count = 0};
    int status = each_row(invocation, &brokers, note_broker, &names);
    groups.to = TERNMQ_TO_BROKER;
    for (size_t i = 0; status == EXIT_DONE && i < names.count; i++) {
        groups.broker = names.at[i];
        groups.is_away = false;
        status = each_row(invocation, &groups, row, context);
    }
    free(names.at);
    return status;
}

/* -------------------------------------------------------------------- list */

enum { LIST_PREFIX };

static const struct setting LIST_ROWS[] = {
    [LIST_PREFIX] = {.name = "prefix",
                     .type = SETTING_TEXT,
                     .most = GROUP_ANY_NAME_BYTES_MAX,
                     .help = "Only names that begin so"},
};

struct listing {
    bool json;
    size_t count;
    struct table table;
};

/* The row as the broker answered it, behind the broker's name where there is one. */
static bool write_row(const char *broker, struct bytes row)
{
    struct cursor cursor = cursor_over(row);
    struct json_object object = json_open(stdout);
    uint32_t pairs;
    if (!cursor_take_map(&cursor, &pairs)) {
        return false;
    }
    if (broker[0] != '\0') {
        json_pair_text(&object, "broker", broker);
    }
    for (uint32_t i = 0; i < pairs; i++) {
        char key[64];
        struct bytes text;
        if (!cursor_take_text(&cursor, &text) || text.length >= sizeof(key)) {
            return false;
        }
        memcpy(key, text.data, text.length);
        key[text.length] = '\0';
        json_key(&object, key);
        if (!json_put_value(stdout, &cursor)) {
            return false;
        }
    }
    json_close(&object);
    return true;
}

/* "orders=paid, refunds" */
static void add_topics(struct table *table, const struct group_settings *settings)
{
    char text[256] = "";
    size_t used = 0;
    struct cursor topics = settings->topics;
    for (uint32_t i = 0; i < settings->topic_count && used < sizeof(text) - 1; i++) {
        struct group_topic_setting topic = group_settings_take_topic(&topics);
        int written = snprintf(text + used, sizeof(text) - used, "%s%.*s%s%.*s", i == 0 ? "" : ", ",
                               (int)topic.name.length, (const char *)topic.name.data,
                               topic.filter.length == 0 ? "" : "=", (int)topic.filter.length,
                               (const char *)topic.filter.data);
        used += written < 0 ? sizeof(text) : (size_t)written;
    }
    table_add(table, "%s", text);
}

static void add_from(struct table *table, const struct group_settings *settings)
{
    table_add(table, "%s",
              settings->from == GROUP_FROM_FIRST  ? "first"
              : settings->from == GROUP_FROM_LAST ? "last"
                                                  : text_of_time(settings->from_ms));
}

static bool add_row(struct table *table, const char *broker, struct bytes row)
{
    static const char *const orders[] = {"none", "queue", "key"};
    struct group_settings settings;
    struct refusal refusal;
    struct cursor cursor;
    struct bytes name;
    uint32_t pairs;
    if (!result_find_text(row, "name", &name) || !result_find(row, "settings", &cursor) ||
        !cursor_take_map(&cursor, &pairs) ||
        group_settings_read(cursor, pairs, GROUP_SETTINGS_SKIP, &settings, &refusal) != OK) {
        return false;
    }
    table_add(table, "%.*s", (int)name.length, (const char *)name.data);
    table_add(table, "%s", broker);
    add_topics(table, &settings);
    add_from(table, &settings);
    table_add(table, "%s%s", orders[settings.order], settings.broadcast ? ", broadcast" : "");
    table_add(table, "%u", settings.attempts);
    table_add(table, "%s", settings.exhausted == GROUP_EXHAUSTED_STAY ? "stay" : "dead");
    table_add(table, "%u", settings.lease_ms);
    return true;
}

static bool list_row(void *context, const char *broker, struct bytes row)
{
    static const char *const headings[] = {"name",      "broker",    "topics",    "from", "order",
                                           ">attempts", "exhausted", ">lease_ms", NULL};
    struct listing *listing = context;
    if (!listing->json && listing->count == 0) {
        table_init(&listing->table, headings);
    }
    listing->count++;
    return listing->json ? write_row(broker, row) : add_row(&listing->table, broker, row);
}

static int run_list(struct invocation *invocation)
{
    const char *prefix = invocation_option(invocation, LIST_PREFIX)->text;
    struct listing listing = {.json = invocation->json};
    int status = group_each(invocation, prefix == NULL ? "" : prefix, list_row, &listing);
    if (listing.json) {
        return status;
    }
    if (listing.count > 0) {
        table_print(&listing.table, stdout);
    } else if (status == EXIT_DONE) {
        invocation_say(invocation, "%s knows no group%s%s", invocation_target(invocation),
                       prefix == NULL ? "" : " that begins with ", prefix == NULL ? "" : prefix);
    }
    return status;
}

const struct command GROUP_LIST_COMMAND = {
    .group = "group",
    .name = "list",
    .arguments = "[--prefix TEXT]",
    .summary = "List the consumer groups",
    .help =
        "  ternmq group list\n"
        "  ternmq group list --prefix mail. --json         all settings, a line a group and broker\n"
        "  ternmq group list -b 127.0.0.1:10911            those of one broker\n\n"
        "GROUP@MEMBER is a member of a broadcast group, %DLQ%GROUP what redrives dead letters.\n",
    .rows = LIST_ROWS,
    .row_count = 1,
    .words_most = 0,
    .run = run_list,
};
