/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.c - the command `filter test`: what a filter wants of what a topic has.
 *
 * The messages are read as they are and looked at here, so that those that are left out are counted, too.
 */
#include "proto/filter.h"

#include "proto/limits.h"
#include "tools/cli/command.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"
#include "tools/cli/text.h"
#include "tools/cli/topic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DELIVERIES_MAX = 256,
    LAST_MOST = 10000000,
    SHOW_MOST = 1000,
    /* Of a label, when it is shown to people. */
    SHOWN_BYTES = 200,
    WAIT_MS = 1000
};

enum { TEST_LAST, TEST_SHOW };

static const struct setting TEST_ROWS[] = {
    [TEST_LAST] = {.name = "last",
                   .metavar = "N",
                   .type = SETTING_INTEGER,
                   .fallback = "1000",
                   .least = 1,
                   .most = LAST_MOST,
                   .help = "Look at so many messages, as evenly from all queues as they have them"},
    [TEST_SHOW] = {.name = "show",
                   .metavar = "N",
                   .type = SETTING_INTEGER,
                   .fallback = "3",
                   .most = SHOW_MOST,
                   .help = "Show the first so many that pass"},
};

/* Where a queue stands, and how many of its last messages are looked at. */
struct queue_part {
    uint64_t first;
    uint64_t end;
    uint64_t count;
};

/* A test under way. */
struct filter_test {
    struct invocation *invocation;
    struct ternmq *client;
    const struct filter *filter;
    const char *topic;
    struct queue_part queues[QUEUES_PER_TOPIC_MAX];
    uint32_t queue_count;
    uint64_t show;
    uint64_t looked_at;
    uint64_t passed;
    FILE *shown; /* those that pass, as they are printed in the end */
};

/* ------------------------------------------------------------------ queues */

/* A queue whose broker is away is one without messages. */
static bool read_queue(struct cursor *cursor, struct queue_part *part)
{
    struct bytes row;
    struct cursor value;
    if (!cursor_take_span(cursor, &row)) {
        return false;
    }
    if (!result_find(row, "first", &value)) {
        *part = (struct queue_part){.count = 0};
        return true;
    }
    return result_find_number(row, "first", &part->first) &&
           result_find_number(row, "end", &part->end) && part->end >= part->first;
}

/* Reads where the topic's queues stand. False: the answer does not say it. */
static bool read_queues(struct filter_test *test, struct bytes topic)
{
    struct cursor cursor;
    uint32_t count;
    if (!result_find(topic, "queues", &cursor) || !cursor_take_array(&cursor, &count) ||
        count == 0 || count > QUEUES_PER_TOPIC_MAX) {
        return false;
    }
    test->queue_count = count;
    for (uint32_t i = 0; i < count; i++) {
        if (!read_queue(&cursor, &test->queues[i])) {
            return false;
        }
    }
    return true;
}

/* Shares `left` messages among the queues: as many from each, more from others where one has fewer. */
static void share(struct filter_test *test, uint64_t left)
{
    bool goes_on = true;
    while (goes_on && left > 0) {
        uint64_t each = left / test->queue_count + (left < test->queue_count);
        goes_on = false;
        for (uint32_t i = 0; i < test->queue_count && left > 0; i++) {
            struct queue_part *part = &test->queues[i];
            uint64_t more = part->end - part->first - part->count;
            more = more < each ? more : each;
            more = more < left ? more : left;
            part->count += more;
            left -= more;
            goes_on = goes_on || more > 0;
        }
    }
}

/* ---------------------------------------------------------------- messages */

static struct message_labels labels_of(const struct ternmq_delivery *delivery)
{
    struct message_labels labels = {
        .tag = bytes_make(delivery->tag.data, delivery->tag.length),
        .has_tag = delivery->tag.data != NULL,
    };
    struct cursor cursor =
        cursor_over(bytes_make(delivery->properties.data, delivery->properties.length));
    if (delivery->properties.data != NULL && cursor_take_map(&cursor, &labels.property_count)) {
        labels.properties = bytes_make(cursor.at, cursor_left(&cursor));
    }
    return labels;
}

static void show_json(const struct filter_test *test, const struct ternmq_delivery *delivery)
{
    FILE *to = test->shown;
    (void)fputs(test->passed > 1 ? "," : "", to);
    (void)fprintf(to, "{\"queue\":%u,\"offset\":%llu", delivery->queue,
                  (unsigned long long)delivery->offset);
    if (delivery->tag.data != NULL) {
        (void)fputs(",\"tag\":", to);
        json_put_string(to, bytes_make(delivery->tag.data, delivery->tag.length));
    }
    if (delivery->properties.data != NULL) {
        struct cursor cursor =
            cursor_over(bytes_make(delivery->properties.data, delivery->properties.length));
        (void)fputs(",\"properties\":", to);
        (void)json_put_value(to, &cursor);
    }
    (void)fputs("}", to);
}

/* Text of a producer, with what could steer a terminal replaced. */
static void show_text(FILE *to, struct ternmq_bytes text)
{
    size_t length = text.length < SHOWN_BYTES ? text.length : SHOWN_BYTES;
    char clean[SHOWN_BYTES + 1];
    (void)fputs(text_clean(bytes_make(text.data, length), clean, sizeof(clean)), to);
    (void)fputs(length < text.length ? ".." : "", to);
}

static void show_line(const struct filter_test *test, const struct ternmq_delivery *delivery)
{
    FILE *to = test->shown;
    (void)fprintf(to, "  queue %u, offset %llu:", delivery->queue,
                  (unsigned long long)delivery->offset);
    if (delivery->tag.data != NULL) {
        (void)fputs(" TAGS=", to);
        show_text(to, delivery->tag);
    }
    struct ternmq_property property;
    for (uint32_t i = 0; ternmq_delivery_property_at(delivery, i, &property); i++) {
        (void)putc(' ', to);
        show_text(to, property.name);
        (void)putc('=', to);
        show_text(to, property.value);
    }
    (void)putc('\n', to);
}

static void look_at(struct filter_test *test, const struct ternmq_delivery *delivery)
{
    struct message_labels labels = labels_of(delivery);
    test->looked_at++;
    if (!filter_wants(test->filter, &labels)) {
        return;
    }
    test->passed++;
    if (test->passed <= test->show) {
        if (test->invocation->json) {
            show_json(test, delivery);
        } else {
            show_line(test, delivery);
        }
    }
}

/* Reads the last messages of one queue. Gives an exit status. */
static int read_part(struct filter_test *test, struct ternmq_consumer *consumer, uint64_t count)
{
    struct ternmq_delivery deliveries[DELIVERIES_MAX];
    struct ternmq_error error;
    while (count > 0 && !interrupted) {
        size_t given = 0;
        size_t most = count < DELIVERIES_MAX ? (size_t)count : DELIVERIES_MAX;
        int code = ternmq_consume(consumer, WAIT_MS, deliveries, most, &given, &error);
        if (code == TERNMQ_END) {
            break; /* a corrupt message is none */
        }
        if (code != TERNMQ_OK && code != TERNMQ_NOTHING && code != TERNMQ_CORRUPT &&
            code != TERNMQ_OFFSET_TOO_SMALL && code != TERNMQ_INTERRUPTED) {
            return invocation_fail_with(test->invocation, &error, "topic %s", test->topic);
        }
        given = code == TERNMQ_OK ? given : 0;
        for (size_t i = 0; i < given; i++) {
            look_at(test, &deliveries[i]);
        }
        count -= given;
    }
    return EXIT_DONE;
}

static int test_queue(struct filter_test *test, uint32_t queue)
{
    const struct queue_part *part = &test->queues[queue];
    const struct ternmq_consumer_options options = {
        .topic = test->topic,
        .one_queue = true,
        .queue = queue,
        .start = TERNMQ_START_OFFSET,
        .start_value = part->end - part->count,
        .until_end = true,
    };
    struct ternmq_error error;
    struct ternmq_consumer *consumer = ternmq_consumer_open(test->client, &options, &error);
    if (consumer == NULL) {
        return invocation_fail_with(test->invocation, &error, "topic %s", test->topic);
    }
    int status = read_part(test, consumer, part->count);
    ternmq_consumer_close(consumer);
    return status;
}

/* ------------------------------------------------------------------ result */

static void print_json(const struct filter_test *test, const char *shown)
{
    struct json_object object = json_open(stdout);
    json_pair_text(&object, "topic", test->topic);
    json_pair_text(&object, "filter", test->invocation->words[1]);
    json_pair_number(&object, "looked_at", test->looked_at);
    json_pair_number(&object, "passed", test->passed);
    json_key(&object, "messages");
    (void)printf("[%s]", shown);
    json_close(&object);
}

static void print_text(const struct filter_test *test, const char *shown)
{
    char passed[64];
    (void)snprintf(passed, sizeof(passed), "%s", text_of_number(test->passed));
    (void)printf("%s of the last %s of %s %s", passed, text_of_count(test->looked_at, "message"),
                 test->topic, test->passed == 1 ? "passes" : "pass");
    if (test->looked_at > 0) {
        (void)printf(" (%.1f %%)", 100.0 * (double)test->passed / (double)test->looked_at);
    }
    (void)printf("\n%s", shown);
}

static int run_on_queues(struct filter_test *test)
{
    int status = EXIT_DONE;
    for (uint32_t i = 0; i < test->queue_count && status == EXIT_DONE && !interrupted; i++) {
        if (test->queues[i].count > 0) {
            status = test_queue(test, i);
        }
    }
    return status;
}

static int run_with_filter(struct filter_test *test)
{
    struct invocation *invocation = test->invocation;
    int status = EXIT_FAILED;
    struct bytes topic;
    struct ternmq_error error;
    test->client = topic_check_any_name(invocation, test->topic, &status)
                       ? invocation_client(invocation, &status)
                       : NULL;
    if (test->client == NULL) {
        return status;
    }
    if (topic_gather(test->client, test->topic, &topic, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", test->topic);
    }
    bool are_known = read_queues(test, topic);
    free((void *)topic.data);
    if (!are_known) {
        return invocation_fail(invocation, EXIT_FAILED,
                               "topic %s: the broker does not say where its queues stand",
                               test->topic);
    }
    share(test, invocation_option(invocation, TEST_LAST)->number);
    char *shown = NULL;
    size_t shown_bytes = 0;
    test->shown = open_memstream(&shown, &shown_bytes);
    if (test->shown == NULL) {
        return invocation_fail(invocation, EXIT_FAILED, "no memory");
    }
    status = run_on_queues(test);
    (void)fclose(test->shown);
    if (status == EXIT_DONE) {
        (invocation->json ? print_json : print_text)(test, shown);
    }
    free(shown);
    return status;
}

static int run_test(struct invocation *invocation)
{
    struct filter *filter = NULL;
    struct refusal refusal;
    if (filter_create(bytes_from_string(invocation->words[1]), &filter, &refusal) != OK) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "%s: %s (BAD_FILTER)",
                               invocation->words[1], refusal.message);
    }
    struct filter_test *test = calloc(1, sizeof(*test));
    int status = EXIT_FAILED;
    if (test != NULL) {
        test->invocation = invocation;
        test->filter = filter;
        test->topic = invocation->words[0];
        test->show = invocation_option(invocation, TEST_SHOW)->number;
        status = run_with_filter(test);
    }
    free(test);
    filter_destroy(filter);
    return status;
}

const struct command FILTER_TEST_COMMAND = {
    .group = "filter",
    .name = "test",
    .arguments = "TOPIC EXPR [--last N] [--show N]",
    .summary = "Count what of a topic's last messages a filter wants",
    .help =
        "  ternmq filter test orders 'paid || sent'                   one of these tags\n"
        "  ternmq filter test orders \"weight > 2.5 AND city IN ('Rome', 'Oslo')\"\n"
        "  ternmq filter test orders \"TAGS LIKE 'eu-%' OR vip = TRUE\" --last 100000 --json\n"
        "\n"
        "Words with || between them are tags, * is every message; everything else is SQL on\n"
        "properties: = <> > >= < <=, [NOT] BETWEEN .. AND .., [NOT] IN (..), [NOT] LIKE '..%_',\n"
        "IS [NOT] NULL, a name alone (whether it is true), and AND, OR, NOT, parentheses. Literals\n"
        "are 'text' (with '' for a quote), 12, -0.5, 1e3, TRUE, FALSE; they say how a property is\n"
        "read. A property that is missing, or is not of that kind, makes its condition UNKNOWN: it\n"
        "is not wanted, nor is its NOT. TAGS is the tag.\n",
    .rows = TEST_ROWS,
    .row_count = sizeof(TEST_ROWS) / sizeof(TEST_ROWS[0]),
    .words_least = 2,
    .words_most = 2,
    .run = run_test,
};
