/* SPDX-License-Identifier: Apache-2.0 */
/* list.c - the commands `topic list` and `broker list`. */
#include "proto/limits.h"
#include "tools/cli/command.h"
#include "tools/cli/json.h"
#include "tools/cli/pages.h"
#include "tools/cli/show.h"

#include <stdio.h>

enum { LIST_PREFIX };

static const struct setting LIST_ROWS[] = {
    [LIST_PREFIX] = {.name = "prefix",
                     .type = SETTING_TEXT,
                     .most = TOPIC_NAME_BYTES_MAX,
                     .help = "Only names that begin so"},
};

/* A list under way. */
struct listing {
    bool json;
    size_t count;
    struct show_rows rows;
};

static bool list_row(void *context, const char *broker, struct bytes row)
{
    struct listing *listing = context;
    (void)broker;
    listing->count++;
    if (!listing->json) {
        return show_rows_add(&listing->rows, row);
    }
    struct cursor value = cursor_over(row);
    bool is_whole = json_put_value(stdout, &value);
    (void)putchar('\n');
    return is_whole;
}

static int list(struct invocation *invocation, const char *method, enum ternmq_to to,
                const char *what)
{
    const char *prefix = invocation_option(invocation, LIST_PREFIX)->text;
    struct listing listing = {.json = invocation->json};
    struct pages pages = {
        .to = to, .broker = "", .method = method, .prefix = prefix == NULL ? "" : prefix};
    int status = pages_each(invocation, &pages, list_row, &listing);
    show_rows_print(&listing.rows, stdout); /* also those that came before a page that failed */
    if (status == EXIT_DONE && listing.count == 0 && !listing.json) {
        pages_say_none(invocation, what, pages.prefix);
    }
    if (pages.warming_ms > 0) {
        invocation_say(invocation,
                       "the nameserver has just started: for another %.1f s it may not know every "
                       "broker (WARMING)",
                       (double)pages.warming_ms / 1000);
    }
    return status;
}

static int run_topics(struct invocation *invocation)
{
    bool direct = invocation_common(invocation, OPTION_BROKER)->given;
    return list(invocation, "topic.list", direct ? TERNMQ_TO_ANY_BROKER : TERNMQ_TO_NAMESERVER,
                "topic");
}

const struct command TOPIC_LIST_COMMAND = {
    .group = "topic",
    .name = "list",
    .arguments = "[--prefix TEXT]",
    .summary = "List the topics",
    .help = "  ternmq topic list\n"
            "  ternmq topic list --prefix log. --json\n"
            "  ternmq topic list -b 127.0.0.1:10911            those of one broker\n",
    .rows = LIST_ROWS,
    .row_count = 1,
    .words_most = 0,
    .run = run_topics,
};

static int run_brokers(struct invocation *invocation)
{
    if (invocation_common(invocation, OPTION_BROKER)->given) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "a nameserver knows the brokers: leave -b away");
    }
    return list(invocation, "broker.list", TERNMQ_TO_NAMESERVER, "broker");
}

const struct command BROKER_LIST_COMMAND = {
    .group = "broker",
    .name = "list",
    .arguments = "[--prefix TEXT]",
    .summary = "List the brokers that hold a lease",
    .help = "  ternmq broker list\n"
            "  ternmq broker list --json | jq -r .address\n",
    .rows = LIST_ROWS,
    .row_count = 1,
    .words_most = 0,
    .run = run_brokers,
};
