/* SPDX-License-Identifier: Apache-2.0 */
/* pages.c - rows that a server answers page by page, to their end. */
#include "tools/cli/pages.h"

#include "proto/limits.h"
#include "proto/writer.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/show.h"

#include <string.h>

/* A broker may go while all are asked one after the other: it is not waited for as long as one that is
 * meant by itself. */
#define AWAY_MS 3000

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

/* A broker has a topic.list too, of its own topics, that has no version. */
static bool is_of_nameserver(struct bytes page)
{
    uint64_t version;
    return result_find_number(page, "version", &version);
}

int pages_each(struct invocation *invocation, struct pages *pages,
               bool (*row)(void *context, const char *broker, struct bytes row), void *context)
{
    char after[GROUP_ANY_NAME_BYTES_MAX + 1] = "";
    struct bytes next = {NULL, 0};
    do {
        struct ternmq_answer answer;
        int status = ask_page(invocation, pages, after, &answer);
        if (status != EXIT_DONE || pages->is_away) {
            return status;
        }
        struct bytes page = bytes_make(answer.result.data, answer.result.length);
        if (pages->to == TERNMQ_TO_NAMESERVER && !is_of_nameserver(page)) {
            return invocation_fail(invocation, EXIT_FAILED,
                                   "%s: %s is a broker: -n is for nameservers, -b for brokers",
                                   pages->method, answer.address);
        }
        if (!each_of_page(page, pages->broker, row, context)) {
            return invocation_fail(invocation, EXIT_FAILED, "%s: %s answered no rows",
                                   pages->method, answer.address);
        }
        (void)result_find_number(page, "warming_ms", &pages->warming_ms);
        if (!result_find_text(page, "next", &next)) {
            return EXIT_DONE;
        }
        if (next.length >= sizeof(after) || bytes_compare(next, bytes_from_string(after)) <= 0) {
            return invocation_fail(invocation, EXIT_FAILED,
                                   "%s: %s answered a page that no other can follow", pages->method,
                                   answer.address);
        }
        memcpy(after, next.data, next.length);
        after[next.length] = '\0';
    } while (true);
}

void pages_say_none(struct invocation *invocation, const char *what, const char *prefix)
{
    invocation_say(invocation, "%s knows no %s%s%s", invocation_target(invocation), what,
                   prefix[0] == '\0' ? "" : " that begins with ", prefix);
}
