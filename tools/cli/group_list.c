/* SPDX-License-Identifier: Apache-2.0 */
/* group_list.c - the command `group list`: the groups of one broker, or of all. */
#include "proto/writer.h"
#include "tools/cli/group.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/show.h"
#include "tools/cli/table.h"
#include "tools/cli/text.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ pages */

/* A broker may go while all are asked one after the other: it is not waited for as long as one that is
 * meant by itself. */
#define AWAY_MS 3000

/* Pages of rows, of groups or of brokers. */
struct pages {
    enum ternmq_to to;
    const char *broker; /* with TERNMQ_TO_BROKER; else "" */
    const char *method;
    const char *prefix;
    bool is_away; /* the broker does not answer, which was said: there are no rows of it */
};

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
    pages->is_away = group_holders_pass_over(invocation, pages->broker, &error);
    return pages->is_away ? EXIT_DONE
                          : invocation_fail_with(invocation, &error, "%s", pages->method);
}

/* Calls `row` for every row of one page. */
static bool each_of_page(struct bytes page, const char *broker,
                         bool (*row)(void *context, const char *broker, struct bytes row),
                         void *context)
{
    struct group_rows rows;
    struct bytes one;
    if (!group_rows_begin(&rows, page, "rows")) {
        return false;
    }
    while (rows.left > 0) {
        if (!group_rows_next(&rows, &one) || !row(context, broker, one)) {
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
        if (!each_of_page(page, pages->broker, row, context)) {
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

static bool note_broker(void *context, const char *broker, struct bytes row)
{
    struct bytes name;
    (void)broker;
    return result_find_text(row, "name", &name) && name.length <= BROKER_NAME_BYTES_MAX &&
           group_holders_add(context, name);
}

int group_holders_all(struct invocation *invocation, struct group_holders *holders_out)
{
    *holders_out = (struct group_holders){.group = ""};
    if (!invocation_common(invocation, OPTION_BROKER)->given) {
        struct pages brokers = {
            .to = TERNMQ_TO_NAMESERVER, .broker = "", .method = "broker.list", .prefix = ""};
        return each_row(invocation, &brokers, note_broker, holders_out);
    }
    return group_holders_add(holders_out, BYTES_OF(""))
               ? EXIT_DONE
               : invocation_fail(invocation, EXIT_FAILED, "no memory");
}

int group_each(struct invocation *invocation, const char *prefix,
               bool (*row)(void *context, const char *broker, struct bytes row), void *context)
{
    struct group_holders brokers; /* their names: an answer is good until the next call only */
    int status = group_holders_all(invocation, &brokers);
    for (size_t i = 0; status == EXIT_DONE && i < brokers.count; i++) {
        const char *broker = brokers.brokers[i];
        struct pages groups = {
            .to = broker[0] == '\0' ? TERNMQ_TO_ANY_BROKER : TERNMQ_TO_BROKER,
            .broker = broker,
            .method = "group.list",
            .prefix = prefix,
        };
        status = each_row(invocation, &groups, row, context);
    }
    group_holders_free(&brokers);
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

static bool add_row(struct table *table, const char *broker, struct bytes row)
{
    char topics[256];
    struct group_settings settings;
    struct bytes name;
    if (!result_find_text(row, "name", &name) || !group_settings_of_row(row, &settings)) {
        return false;
    }
    table_add(table, "%.*s", (int)name.length, (const char *)name.data);
    table_add(table, "%s", broker);
    group_topics_write(&settings, topics, sizeof(topics));
    table_add(table, "%s", topics);
    table_add(table, "%s", group_from_text(&settings));
    table_add(table, "%s%s", group_order_name(settings.order),
              settings.broadcast ? ", broadcast" : "");
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
    return listing->json ? group_print_json(broker, row) : add_row(&listing->table, broker, row);
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
