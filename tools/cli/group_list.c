/* SPDX-License-Identifier: Apache-2.0 */
/* group_list.c - the command `group list`: the groups of one broker, or of all. */
#include "tools/cli/group.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/pages.h"
#include "tools/cli/show.h"
#include "tools/cli/table.h"
#include "tools/cli/text.h"

#include <stdio.h>
#include <string.h>

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
        return pages_each(invocation, &brokers, note_broker, holders_out);
    }
    return group_holders_add(holders_out, BYTES_OF(""))
               ? EXIT_DONE
               : invocation_fail(invocation, EXIT_FAILED, "no memory");
}

int group_each(struct invocation *invocation, const char *prefix,
               bool (*row)(void *context, const char *broker, struct bytes row), void *context,
               struct group_reach *reach_out, struct group_holders *silent_out)
{
    struct group_holders brokers; /* their names: an answer is good until the next call only */
    int status = group_holders_all(invocation, &brokers);
    *reach_out = (struct group_reach){.brokers = brokers.count};
    for (size_t i = 0; status == EXIT_DONE && i < brokers.count; i++) {
        const char *broker = brokers.brokers[i];
        struct pages groups = {
            .to = broker[0] == '\0' ? TERNMQ_TO_ANY_BROKER : TERNMQ_TO_BROKER,
            .broker = broker,
            .method = "group.list",
            .prefix = prefix,
        };
        status = pages_each(invocation, &groups, row, context);
        reach_out->away += groups.is_away;
        if (groups.is_away && silent_out != NULL &&
            !group_holders_add(silent_out, bytes_from_string(broker))) {
            status = invocation_fail(invocation, EXIT_FAILED, "no memory");
        }
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
    struct group_reach reach;
    int status =
        group_each(invocation, prefix == NULL ? "" : prefix, list_row, &listing, &reach, NULL);
    if (status == EXIT_DONE) {
        status = group_reach_check(invocation, &reach, "groups");
    }
    if (!listing.json && listing.count > 0) {
        table_print(&listing.table, stdout);
    } else if (!listing.json && status == EXIT_DONE) {
        pages_say_none(invocation, "group", prefix == NULL ? "" : prefix);
    }
    return group_reach_status(&reach, status);
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
