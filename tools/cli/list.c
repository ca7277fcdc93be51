/* SPDX-License-Identifier: Apache-2.0 */
/* list.c - the commands `topic list` and `broker list`: pages of rows, to their end. */
#include "proto/limits.h"
#include "proto/writer.h"
#include "tools/cli/command.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"

#include <stdio.h>
#include <string.h>

enum { LIST_PREFIX };

static const struct setting LIST_ROWS[] = {
    [LIST_PREFIX] = {.name = "prefix",
                     .type = SETTING_TEXT,
                     .most = TOPIC_NAME_BYTES_MAX,
                     .help = "Only names that begin so"},
};

/* Shows the rows of one page. Gives false where they could not be read. */
static bool show_page(struct invocation *invocation, struct bytes page, struct show_rows *rows)
{
    struct cursor cursor;
    uint32_t count;
    if (!result_find(page, "rows", &cursor) || !cursor_take_array(&cursor, &count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes row;
        if (!cursor_take_span(&cursor, &row)) {
            return false;
        }
        if (invocation->json) {
            struct cursor value = cursor_over(row);
            (void)json_put_value(stdout, &value);
            (void)putchar('\n');
        } else if (!show_rows_add(rows, row)) {
            return false;
        }
    }
    return true;
}

/* Asks for the page after `after`. */
static int ask_page(struct invocation *invocation, const char *method, enum ternmq_to to,
                    const char *after, struct ternmq_answer *answer_out)
{
    const char *prefix = invocation_option(invocation, LIST_PREFIX)->text;
    uint8_t room[2 * TOPIC_NAME_BYTES_MAX + 64];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, prefix == NULL ? 1 : 2);
    writer_put_key_string(&writer, "after", after);
    if (prefix != NULL) {
        writer_put_key_string(&writer, "prefix", prefix);
    }
    struct ternmq_call call = {
        .to = to,
        .method = method,
        .arguments = ternmq_bytes(room, writer_length(&writer)),
    };
    return invocation_call(invocation, &call, answer_out, method);
}

/* An empty table looks like one that failed: says what there is not. */
static void say_nothing_listed(struct invocation *invocation, const char *what)
{
    const char *prefix = invocation_option(invocation, LIST_PREFIX)->text;
    invocation_say(invocation, "%s knows no %s%s%s", invocation_target(invocation), what,
                   prefix == NULL ? "" : " that begins with ", prefix == NULL ? "" : prefix);
}

static int list(struct invocation *invocation, const char *method, enum ternmq_to to,
                const char *what)
{
    struct show_rows rows = {.count = 0};
    char after[TOPIC_NAME_BYTES_MAX + 1] = "";
    uint64_t warming_ms = 0;
    struct bytes next;
    int status;
    bool more;
    do {
        struct ternmq_answer answer;
        status = ask_page(invocation, method, to, after, &answer);
        if (status != EXIT_DONE) {
            break;
        }
        struct bytes page = bytes_make(answer.result.data, answer.result.length);
        uint64_t version;
        if (to == TERNMQ_TO_NAMESERVER && !result_find_number(page, "version", &version)) {
            /* A broker has a topic.list too, of its own topics, that has no version. */
            status = invocation_fail(invocation, EXIT_FAILED,
                                     "%s: %s is a broker: -n is for nameservers, -b for brokers",
                                     method, answer.address);
            break;
        }
        if (!show_page(invocation, page, &rows)) {
            status = invocation_fail(invocation, EXIT_FAILED, "%s: %s answered no rows", method,
                                     answer.address);
            break;
        }
        (void)result_find_number(page, "warming_ms", &warming_ms);
        more = result_find_text(page, "next", &next) && next.length <= TOPIC_NAME_BYTES_MAX;
        if (more) {
            memcpy(after, next.data, next.length);
            after[next.length] = '\0';
        }
    } while (more);
    bool is_empty = rows.count == 0; /* printing counts down */
    show_rows_print(&rows, stdout);
    if (status == EXIT_DONE && is_empty && !invocation->json) {
        say_nothing_listed(invocation, what);
    }
    if (warming_ms > 0) {
        invocation_say(invocation,
                       "the nameserver has just started: for another %.1f s it may not know every "
                       "broker (WARMING)",
                       (double)warming_ms / 1000);
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
