/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - the commands `ping`, `stats`, `broker show` and `route`: who is there, and how it is. */
#include "proto/limits.h"
#include "proto/writer.h"
#include "tools/cli/command.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"
#include "tools/cli/text.h"

#include <stdio.h>
#include <string.h>

/* Where a command without an address goes. */
static struct ternmq_call call_of_words(const struct invocation *invocation, const char *method)
{
    struct ternmq_call call = {.method = method};
    if (invocation->word_count > 0) {
        call.to = TERNMQ_TO_ADDRESS;
        call.to_name = invocation->words[0];
    } else if (invocation_common(invocation, OPTION_BROKER)->given) {
        call.to = TERNMQ_TO_ANY_BROKER;
    }
    return call;
}

/* Prints an answer that is one map. */
static void print_answer(const struct invocation *invocation, struct bytes answer)
{
    if (invocation->json) {
        struct cursor cursor = cursor_over(answer);
        (void)json_put_value(stdout, &cursor);
        (void)putchar('\n');
    } else {
        (void)show_map(stdout, answer);
    }
}

/* ------------------------------------------------------------------ ping */

static int run_ping(struct invocation *invocation)
{
    struct ternmq_call call = call_of_words(invocation, "hello");
    invocation->unreachable_ms = 1; /* whether somebody is there now is what was asked */
    char what[300];
    (void)snprintf(what, sizeof(what), "%s",
                   invocation->word_count > 0 ? invocation->words[0]
                                              : invocation_target(invocation));
    struct ternmq_answer answer;
    int status = invocation_call(invocation, &call, &answer, what);
    if (status != EXIT_DONE) {
        return status;
    }
    struct bytes hello = bytes_make(answer.result.data, answer.result.length);
    struct bytes name = BYTES_OF("?");
    uint64_t epoch = 0;
    bool is_broker = result_find_number(hello, "epoch", &epoch);
    (void)result_find_text(hello, "name", &name);
    if (invocation->json) {
        struct json_object object = json_open(stdout);
        json_pair_text(&object, "address", answer.address);
        json_key(&object, "name");
        json_put_string(stdout, name);
        json_pair_text(&object, "kind", is_broker ? "broker" : "nameserver");
        json_pair_number(&object, "round_trip_us", answer.round_trip_us);
        json_close(&object);
        return EXIT_DONE;
    }
    (void)printf("%s: %s%.*s, answered in %.3f ms\n", answer.address, is_broker ? "broker " : "",
                 (int)name.length, (const char *)name.data, (double)answer.round_trip_us / 1000);
    return EXIT_DONE;
}

const struct command PING_COMMAND = {
    .name = "ping",
    .arguments = "[HOST:PORT]",
    .summary = "See whether a server answers, and how fast",
    .help =
        "  ternmq ping                                     the nameserver\n"
        "  ternmq ping 127.0.0.1:10911                     any server; a broker that answers is ready\n",
    .words_most = 1,
    .run = run_ping,
};

/* ----------------------------------------------------------------- stats */

static int stats_of_broker(struct invocation *invocation, const char *name, bool heading)
{
    struct ternmq_call call = {.to = TERNMQ_TO_BROKER, .to_name = name, .method = "stats"};
    struct ternmq_answer answer;
    int status = invocation_call(invocation, &call, &answer, name);
    if (status == EXIT_DONE) {
        if (heading && !invocation->json) {
            (void)printf("broker %s, %s\n", name, answer.address);
        }
        print_answer(invocation, bytes_make(answer.result.data, answer.result.length));
    }
    return status;
}

static int run_stats(struct invocation *invocation)
{
    struct ternmq_call call = call_of_words(invocation, "stats");
    if (call.to != TERNMQ_TO_NAMESERVER) {
        struct ternmq_answer answer;
        int status = invocation_call(invocation, &call, &answer,
                                     invocation->word_count > 0 ? invocation->words[0]
                                                                : invocation_target(invocation));
        if (status == EXIT_DONE) {
            print_answer(invocation, bytes_make(answer.result.data, answer.result.length));
        }
        return status;
    }
    struct group_holders brokers;
    int status = group_holders_all(invocation, &brokers);
    for (size_t i = 0; i < brokers.count; i++) {
        int one = stats_of_broker(invocation, brokers.brokers[i], true);
        status = status == EXIT_DONE ? one : status;
    }
    if (status == EXIT_DONE && brokers.count == 0) {
        status = invocation_fail_without_broker(invocation);
    }
    group_holders_free(&brokers);
    return status;
}

const struct command STATS_COMMAND = {
    .name = "stats",
    .arguments = "[HOST:PORT]",
    .summary = "Show the counters of brokers",
    .help = "  ternmq stats                                    of every broker\n"
            "  ternmq stats 127.0.0.1:10911                    of one\n"
            "  ternmq stats --json | jq .                      an object a broker\n\n"
            "broker/README.md, \"Reading the counters\", says what each of them counts.\n",
    .words_most = 1,
    .run = run_stats,
};

/* ----------------------------------------------------------- broker show */

static int run_broker_show(struct invocation *invocation)
{
    const char *name = invocation->words[0];
    uint8_t room[BROKER_NAME_BYTES_MAX + 32];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "prefix", name);
    if (writer.overflowed) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE, "no broker has so long a name as '%s'",
                               name);
    }
    struct ternmq_call call = {
        .to = TERNMQ_TO_NAMESERVER,
        .method = "broker.list",
        .arguments = ternmq_bytes(room, writer_length(&writer)),
    };
    struct ternmq_answer answer;
    int status = invocation_call(invocation, &call, &answer, invocation_target(invocation));
    if (status != EXIT_DONE) {
        return status;
    }
    struct cursor rows;
    struct bytes row;
    struct bytes found;
    uint32_t count = 0;
    /* By name, so that the one that is meant comes first of those with its prefix. */
    if (!result_find(bytes_make(answer.result.data, answer.result.length), "rows", &rows) ||
        !cursor_take_array(&rows, &count) || count == 0 || !cursor_take_span(&rows, &row) ||
        !result_find_text(row, "name", &found) || !bytes_equal(found, bytes_from_string(name))) {
        return invocation_fail(
            invocation, EXIT_FAILED,
            "no broker '%s' holds a lease; 'ternmq broker list' shows those that "
            "do",
            name);
    }
    print_answer(invocation, row);
    return stats_of_broker(invocation, name, false);
}

const struct command BROKER_SHOW_COMMAND = {
    .group = "broker",
    .name = "show",
    .arguments = "NAME",
    .summary = "Show a broker: its lease, then its counters",
    .help =
        "  ternmq broker show broker-a\n"
        "  ternmq broker show broker-a --json              two objects: the lease, the counters\n",
    .words_least = 1,
    .words_most = 1,
    .run = run_broker_show,
};

/* ----------------------------------------------------------------- route */

static void print_route_json(const char *topic, const struct ternmq_route *route)
{
    struct json_object object = json_open(stdout);
    json_pair_text(&object, "topic", topic);
    json_pair_number(&object, "version", route->version);
    json_pair_number(&object, "queues", route->queue_count);
    json_key(&object, "spans");
    for (uint32_t i = 0; i < route->span_count; i++) {
        const struct ternmq_route_span *span = &route->spans[i];
        (void)printf("%s{\"first\":%u,\"count\":%u,\"broker\":", i == 0 ? "[" : ",",
                     span->queue_first, span->queue_count);
        json_put_string(stdout, bytes_from_string(span->broker));
        (void)fputs(",\"address\":", stdout);
        json_put_string(stdout, bytes_from_string(span->address));
        (void)printf(",\"epoch\":%llu,\"writable\":%s}", (unsigned long long)span->epoch,
                     span->writable ? "true" : "false");
    }
    (void)fputs(route->span_count == 0 ? "[]" : "]", stdout);
    json_close(&object);
}

/* A broker that is asked itself has the whole topic, and says in its hello who it is. */
static int ask_broker_name(struct invocation *invocation, char *name_out, size_t name_bytes,
                           uint64_t *epoch_out)
{
    struct ternmq_call call = {.to = TERNMQ_TO_ANY_BROKER, .method = "hello"};
    struct ternmq_answer answer;
    int status = invocation_call(invocation, &call, &answer, invocation_target(invocation));
    if (status != EXIT_DONE) {
        return status;
    }
    struct bytes hello = bytes_make(answer.result.data, answer.result.length);
    struct bytes name = BYTES_OF("?");
    (void)result_find_number(hello, "epoch", epoch_out);
    (void)result_find_text(hello, "name", &name);
    (void)snprintf(name_out, name_bytes, "%.*s", (int)name.length, (const char *)name.data);
    return EXIT_DONE;
}

static int run_route(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    const char *topic = invocation->words[0];
    struct ternmq *client = invocation_client(invocation, &status);
    if (client == NULL) {
        return status;
    }
    const char *broker = invocation_common(invocation, OPTION_BROKER)->text;
    char name[BROKER_NAME_BYTES_MAX + 1] = "";
    uint64_t epoch = 0;
    if (broker != NULL) {
        status = ask_broker_name(invocation, name, sizeof(name), &epoch);
        if (status != EXIT_DONE) {
            return status;
        }
    }
    struct ternmq_route route;
    struct ternmq_error error;
    if (ternmq_route(client, topic, &route, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", topic);
    }
    struct ternmq_route_span whole;
    if (broker != NULL && route.span_count == 1) {
        whole = route.spans[0];
        whole.broker = name;
        whole.address = broker;
        whole.epoch = epoch;
        route.spans = &whole;
    }
    if (invocation->json) {
        print_route_json(topic, &route);
        return EXIT_DONE;
    }
    static const char *const HEADINGS[] = {"QUEUES", "BROKER",   "ADDRESS",
                                           ">EPOCH", "WRITABLE", NULL};
    struct table table;
    table_init(&table, HEADINGS);
    for (uint32_t i = 0; i < route.span_count; i++) {
        const struct ternmq_route_span *span = &route.spans[i];
        uint32_t last = span->queue_first + span->queue_count - 1;
        if (last == span->queue_first) {
            table_add(&table, "%u", last);
        } else {
            table_add(&table, "%u-%u", span->queue_first, last);
        }
        table_add(&table, "%s", span->broker);
        table_add(&table, "%s", span->address[0] == '\0' ? "nowhere now" : span->address);
        table_add(&table, "%llu", (unsigned long long)span->epoch);
        table_add(&table, "%s", span->writable ? "yes" : "no");
    }
    table_print(&table, stdout);
    return EXIT_DONE;
}

const struct command ROUTE_COMMAND = {
    .name = "route",
    .arguments = "TOPIC",
    .summary = "Show which brokers have a topic's queues",
    .help = "  ternmq route orders\n"
            "  ternmq route orders --json | jq -r '.spans[].address'\n",
    .words_least = 1,
    .words_most = 1,
    .run = run_route,
};
