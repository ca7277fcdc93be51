/* SPDX-License-Identifier: Apache-2.0 */
/* group_show.c - the commands `group show` and `group members`: where a group stands, and who is in it. */
#include "proto/writer.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"
#include "tools/cli/table.h"
#include "tools/cli/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------- cells */

/* Text of a peer, with what could steer a terminal replaced. */
static void add_text(struct table *table, struct bytes row, const char *key)
{
    char clean[128 + 1];
    struct bytes text = {NULL, 0};
    (void)result_find_text(row, key, &text);
    table_add(table, "%s", text_clean(text, clean, sizeof(clean)));
}

static void add_number(struct table *table, struct bytes row, const char *key)
{
    uint64_t number;
    if (result_find_number(row, key, &number)) {
        table_add(table, "%s", text_of_number(number));
    } else {
        table_add(table, "-");
    }
}

/* How long a moment is from now, in the past or to come. */
static void add_distance(struct table *table, struct bytes row, const char *key)
{
    uint64_t moment_ms;
    if (!result_find_number(row, key, &moment_ms)) {
        table_add(table, "-");
        return;
    }
    uint64_t now_ms = clock_wall_ms();
    uint64_t distance_ms = moment_ms > now_ms ? moment_ms - now_ms : now_ms - moment_ms;
    table_add(table, "%s%.1f s%s", moment_ms > now_ms ? "in " : "", (double)distance_ms / 1000,
              moment_ms > now_ms ? "" : " ago");
}

/* ------------------------------------------------------------------- parts */

static const char *const QUEUE_NUMBERS[] = {"cursor",   "end",  "lag",     "leased",
                                            "retrying", "dead", "skipped", NULL};

static bool print_queues(struct bytes answer)
{
    static const char *const headings[] = {"TOPIC",    ">QUEUE",  ">CURSOR",     ">END",
                                           ">LAG",     ">LEASED", ">RETRYING",   ">DEAD",
                                           ">SKIPPED", ">OLDEST", ">NEXT RETRY", NULL};
    struct group_rows rows;
    struct bytes row;
    struct table table;
    if (!group_rows_begin(&rows, answer, "queues")) {
        return false;
    }
    table_init(&table, headings);
    while (group_rows_next(&rows, &row)) {
        add_text(&table, row, "topic");
        add_number(&table, row, "queue");
        for (const char *const *key = QUEUE_NUMBERS; *key != NULL; key++) {
            add_number(&table, row, *key);
        }
        add_distance(&table, row, "oldest");
        add_distance(&table, row, "next_retry");
    }
    table_print(&table, stdout);
    return rows.left == 0;
}

/* What holds an ordered group back, a line each. */
static void print_blocks(struct bytes queue)
{
    struct group_rows blocks;
    struct bytes block;
    struct bytes topic = {NULL, 0};
    uint64_t number = 0;
    if (!group_rows_begin(&blocks, queue, "blocked_by")) {
        return;
    }
    (void)result_find_text(queue, "topic", &topic);
    (void)result_find_number(queue, "queue", &number);
    while (group_rows_next(&blocks, &block)) {
        struct bytes key;
        uint64_t offset = 0;
        uint64_t attempt = 0;
        uint64_t until_ms = 0;
        (void)result_find_number(block, "attempt", &attempt);
        (void)result_find_number(block, "until", &until_ms);
        (void)printf("%.*s queue %" PRIu64 " is held back by ", (int)topic.length,
                     (const char *)topic.data, number);
        if (result_find_text(block, "key", &key)) {
            (void)fputs("key ", stdout);
            json_put_string(stdout, key);
        } else if (result_find_number(block, "offset", &offset)) {
            (void)printf("offset %" PRIu64, offset);
        }
        (void)printf(", attempt %" PRIu64 ", until %s\n", attempt, text_of_time(until_ms));
    }
}

static void print_all_blocks(struct bytes answer)
{
    struct group_rows rows;
    struct bytes row;
    if (group_rows_begin(&rows, answer, "queues")) {
        while (group_rows_next(&rows, &row)) {
            print_blocks(row);
        }
    }
}

/* The lag of all queues, and since when it is. */
static void print_lag(struct bytes answer)
{
    struct group_rows rows;
    struct bytes row;
    uint64_t lag = 0;
    uint64_t oldest_ms = UINT64_MAX;
    if (!group_rows_begin(&rows, answer, "queues")) {
        return;
    }
    while (group_rows_next(&rows, &row)) {
        uint64_t number;
        lag += result_find_number(row, "lag", &number) ? number : 0;
        if (result_find_number(row, "oldest", &number) && number < oldest_ms) {
            oldest_ms = number;
        }
    }
    uint64_t now_ms = clock_wall_ms();
    (void)printf("%-28s %s", "lag", text_of_count(lag, "message"));
    if (oldest_ms != UINT64_MAX) {
        (void)printf(", the oldest stored %.1f s ago",
                     now_ms > oldest_ms ? (double)(now_ms - oldest_ms) / 1000 : 0.0);
    }
    (void)putchar('\n');
}

static void print_scalars(struct bytes answer)
{
    static const char *const keys[] = {"delivered", "acked", "nacked", "expired", "dead", NULL};
    struct cursor settings;
    print_lag(answer);
    for (const char *const *key = keys; *key != NULL; key++) {
        uint64_t number;
        if (result_find_number(answer, *key, &number)) {
            (void)printf("%-28s %s\n", *key, text_of_number(number));
        }
    }
    struct bytes map;
    if (result_find(answer, "settings", &settings) && cursor_take_span(&settings, &map)) {
        (void)show_map(stdout, map);
    }
}

/* Adds the members that a broker knows; a table without rows is none. */
static bool add_members(struct table *table, const char *broker, struct bytes answer)
{
    static const char *const headings[] = {"MEMBER",  "BROKER", ">WAITING",
                                           ">LEASED", ">SEEN",  NULL};
    struct group_rows rows;
    struct bytes row;
    if (!group_rows_begin(&rows, answer, "members")) {
        return false;
    }
    while (group_rows_next(&rows, &row)) {
        if (table->column_count == 0) {
            table_init(table, headings);
        }
        add_text(table, row, "member");
        table_add(table, "%s", broker);
        add_number(table, row, "waiting");
        add_number(table, row, "leased");
        add_distance(table, row, "seen_ms");
    }
    return rows.left == 0;
}

/* -------------------------------------------------------------------- asking */

/* Asks one broker where the group stands. */
static int ask(struct invocation *invocation, const struct group_holders *holders, size_t index,
               struct ternmq_answer *answer_out)
{
    uint8_t room[GROUP_ANY_NAME_BYTES_MAX + 16];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "name", holders->group);
    return group_holders_call(invocation, holders, index, "group.show",
                              ternmq_bytes(room, writer_length(&writer)), answer_out);
}

static bool print_group(const char *broker, struct bytes answer, bool has_heading)
{
    if (has_heading) {
        (void)printf("broker %s\n", broker);
    }
    print_scalars(answer);
    (void)putchar('\n');
    bool is_whole = print_queues(answer);
    print_all_blocks(answer);
    struct group_rows members;
    is_whole = group_rows_begin(&members, answer, "members") && is_whole;
    if (members.left > 0) {
        struct table table = {0};
        (void)putchar('\n');
        is_whole = add_members(&table, broker, answer) && is_whole;
        table_print(&table, stdout);
    }
    return is_whole;
}

static int show_at(struct invocation *invocation, const struct group_holders *holders, size_t i)
{
    struct ternmq_answer answer;
    int status = ask(invocation, holders, i, &answer);
    if (status != EXIT_DONE) {
        return status;
    }
    struct bytes map = bytes_make(answer.result.data, answer.result.length);
    bool is_whole = invocation->json ? group_print_json(holders->brokers[i], map)
                                     : print_group(holders->brokers[i], map, holders->count > 1);
    return is_whole
               ? EXIT_DONE
               : invocation_fail(invocation, EXIT_FAILED, "%s answered no group", answer.address);
}

static int run_show(struct invocation *invocation)
{
    struct group_holders holders;
    int status = group_holders_find(invocation, invocation->words[0], &holders);
    group_holders_say_gaps(invocation, &holders, false);
    for (size_t i = 0; i < holders.count; i++) {
        int one = show_at(invocation, &holders, i);
        status = status == EXIT_DONE ? one : status;
    }
    group_holders_free(&holders);
    return group_reach_status(&holders.reach, status);
}

const struct command GROUP_SHOW_COMMAND = {
    .group = "group",
    .name = "show",
    .arguments = "NAME",
    .summary = "Show where a consumer group stands in each queue, and who is in it",
    .help =
        "  ternmq group show billing\n"
        "  ternmq group show billing --json | jq '.queues[] | .lag'\n"
        "\n"
        "CURSOR is the first message that is neither done nor failed, LAG what is not done up to END,\n"
        "OLDEST when the first of that was stored. LEASED is with members now, RETRYING waits for its\n"
        "next attempt, DEAD waits to become a dead letter, SKIPPED went before it was given to anybody.\n"
        "Above them dead is how many dead letters are open, and delivered to expired count from the\n"
        "broker's start: a restart sets them to 0.\n",
    .words_least = 1,
    .words_most = 1,
    .run = run_show,
};

/* ------------------------------------------------------------------- members */

static bool write_members(const char *broker, struct bytes answer)
{
    struct group_rows rows;
    struct bytes row;
    if (!group_rows_begin(&rows, answer, "members")) {
        return false;
    }
    while (group_rows_next(&rows, &row)) {
        if (!group_print_json(broker, row)) {
            return false;
        }
    }
    return rows.left == 0;
}

static int list_members_at(struct invocation *invocation, const struct group_holders *holders,
                           size_t i, struct table *table)
{
    struct ternmq_answer answer;
    int status = ask(invocation, holders, i, &answer);
    if (status != EXIT_DONE) {
        return status;
    }
    struct bytes map = bytes_make(answer.result.data, answer.result.length);
    bool is_whole = invocation->json ? write_members(holders->brokers[i], map)
                                     : add_members(table, holders->brokers[i], map);
    return is_whole
               ? EXIT_DONE
               : invocation_fail(invocation, EXIT_FAILED, "%s answered no members", answer.address);
}

static int run_members(struct invocation *invocation)
{
    struct group_holders holders;
    struct table table = {0};
    int status = group_holders_find(invocation, invocation->words[0], &holders);
    group_holders_say_gaps(invocation, &holders, false);
    for (size_t i = 0; i < holders.count; i++) {
        int one = list_members_at(invocation, &holders, i, &table);
        status = status == EXIT_DONE ? one : status;
    }
    status = group_reach_status(&holders.reach, status);
    if (!invocation->json && status == EXIT_DONE && table.cell_count == 0) {
        invocation_say(invocation, "group %s has no member now", holders.group);
    }
    table_print(&table, stdout);
    group_holders_free(&holders);
    return status;
}

const struct command GROUP_MEMBERS_COMMAND = {
    .group = "group",
    .name = "members",
    .arguments = "NAME",
    .summary = "List the members of a consumer group, and what each holds",
    .help =
        "  ternmq group members billing\n"
        "  ternmq group members billing --json\n"
        "\n"
        "WAITING are its polls that wait for messages, LEASED the messages that it holds, SEEN when\n"
        "it was last heard of.\n",
    .words_least = 1,
    .words_most = 1,
    .run = run_members,
};
