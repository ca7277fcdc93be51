/* SPDX-License-Identifier: Apache-2.0 */
/* group.c - the commands `group create`, `set` and `delete`. */
#include "tools/cli/group.h"

#include "tools/cli/change.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"
#include "tools/cli/topic.h"

#include <stdio.h>

/* Whether a topic is known not to be routed by key. */
static bool is_routed_anyhow(struct ternmq *client, const char *topic)
{
    struct ternmq_answer answer;
    struct ternmq_error error;
    struct cursor cursor;
    struct bytes settings;
    struct bytes route;
    return topic_ask(client, topic, &answer, &error) == TERNMQ_OK &&
           result_find(bytes_make(answer.result.data, answer.result.length), "settings", &cursor) &&
           cursor_take_span(&cursor, &settings) && result_find_text(settings, "route", &route) &&
           bytes_equal(route, BYTES_OF("any"));
}

/* Says why a group was not put: of an order of keys, which topic is in its way. */
static int fail_put(struct invocation *invocation, const struct group_wish *wish, bool is_key_order,
                    const struct ternmq_error *error)
{
    bool may_be_route = is_key_order && error->code == TERNMQ_BAD_ARGUMENT;
    for (size_t i = 0; may_be_route && i < wish->options.topic_count; i++) {
        const char *topic = wish->options.topics[i].name;
        if (is_routed_anyhow(invocation->client, topic)) {
            return invocation_fail(invocation, EXIT_FAILED,
                                   "group %s: topic %s is made with --route any; keys need a topic "
                                   "made with --route key",
                                   wish->options.name, topic);
        }
    }
    return invocation_fail_with(invocation, error, "group %s", wish->options.name);
}

static int put(struct invocation *invocation, const struct group_wish *wish, bool is_key_order)
{
    int status = EXIT_FAILED;
    struct ternmq *client = invocation_client(invocation, &status);
    if (client == NULL) {
        return status;
    }
    struct ternmq_error error;
    if (ternmq_group_put(client, &wish->options, &error) != TERNMQ_OK) {
        return fail_put(invocation, wish, is_key_order, &error);
    }
    return EXIT_DONE;
}

/* ---------------------------------------------------------------- create */

/* What is found of the group. */
struct existing {
    const struct group_wish *wish;
    struct group_holders holders; /* that have it */
    struct group_comparison comparison;
};

static bool note_existing(void *context, const char *broker, struct bytes row)
{
    struct existing *existing = context;
    struct bytes name;
    if (!result_find_text(row, "name", &name)) {
        return false;
    }
    if (!bytes_equal(name, bytes_from_string(existing->wish->options.name))) {
        return true;
    }
    if (existing->comparison.differences.used > 0) {
        return true; /* the first broker where it differs is enough */
    }
    return group_holders_add(&existing->holders, bytes_from_string(broker)) &&
           group_compare(existing->wish, row, &existing->comparison);
}

/* Whether a broker that has the group has a topic, and so would read it. */
static bool is_topic_at_holder(struct invocation *invocation, const struct existing *existing,
                               const char *topic)
{
    struct ternmq_route route;
    struct ternmq_error error;
    if (invocation_common(invocation, OPTION_BROKER)->given) {
        return true;
    }
    if (ternmq_route(invocation->client, topic, &route, &error) != TERNMQ_OK) {
        return false; /* making it says why */
    }
    for (uint32_t i = 0; i < route.span_count; i++) {
        if (group_holders_has(&existing->holders, route.spans[i].broker)) {
            return true;
        }
    }
    return false;
}

/* A topic that no broker has in the group: whoever made it was cut before the topic's broker heard of it, or it was
 * never asked for. */
static void compare_missing_topics(struct invocation *invocation, struct existing *existing)
{
    struct group_comparison *comparison = &existing->comparison;
    for (size_t i = 0; i < existing->wish->options.topic_count; i++) {
        const char *topic = existing->wish->topics[i].name;
        if (!comparison->has_topic[i] && comparison->differences.used == 0 &&
            is_topic_at_holder(invocation, existing, topic)) {
            differences_add(&comparison->differences, "it does not read topic %s", topic);
        }
    }
}

static int refuse_other(struct invocation *invocation, const char *name,
                        const struct group_comparison *comparison)
{
    if (comparison->is_of_kind) {
        return invocation_fail(invocation, EXIT_FAILED,
                               "group %s is there already, with other settings: %s; its order, and "
                               "whether it is a broadcast, stay: take another name, or delete it "
                               "first",
                               name, comparison->differences.text);
    }
    return invocation_fail(invocation, EXIT_FAILED,
                           "group %s is there already, with other settings: %s; 'ternmq group set "
                           "%s' changes them",
                           name, comparison->differences.text, name);
}

static int say_is_there(struct invocation *invocation, const char *name)
{
    if (invocation->json) {
        struct json_object object = json_open(stdout);
        json_pair_text(&object, "name", name);
        json_pair_bool(&object, "created", false);
        json_close(&object);
    } else {
        invocation_say(invocation, "group %s was there already, as asked", name);
    }
    return EXIT_DONE;
}

static int create(struct invocation *invocation, const struct group_wish *wish,
                  struct existing *existing)
{
    const char *name = wish->options.name;
    bool is_there = existing->holders.count > 0;
    if (is_there) {
        compare_missing_topics(invocation, existing);
    }
    if (existing->comparison.differences.used > 0) {
        return refuse_other(invocation, name, &existing->comparison);
    }
    /* A broker that has one of the topics may lack it still. */
    int status = put(invocation, wish, wish->options.order == TERNMQ_ORDER_KEY);
    if (status != EXIT_DONE) {
        return status;
    }
    return is_there ? say_is_there(invocation, name)
                    : change_say_done(invocation, "group", name, "created");
}

static int run_create(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    struct group_wish wish;
    const char *name = invocation->words[0];
    if (!group_wish_read(invocation, name, &wish, &status)) {
        return status;
    }
    if (wish.options.topic_count == 0) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "a group reads topics: add --topic TOPIC");
    }
    struct existing existing = {.wish = &wish};
    struct group_reach reach; /* who is away is missed below, when the group is put */
    status = group_each(invocation, name, note_existing, &existing, &reach, NULL);
    if (status == EXIT_DONE) {
        status = create(invocation, &wish, &existing);
    }
    group_holders_free(&existing.holders);
    return status;
}

const struct command GROUP_CREATE_COMMAND = {
    .group = "group",
    .name = "create",
    .arguments = "NAME --topic TOPIC[=FILTER].. [--from first|last|TIME] [--order none|queue|key] "
                 "[--broadcast] ..",
    .summary = "Make a consumer group: what it reads, and how",
    .help =
        "  ternmq group create billing --topic orders                  what comes from now on\n"
        "  ternmq group create billing --topic orders --from first     all that is kept, too\n"
        "  ternmq group create audit --topic orders='paid || sent' --topic refunds\n"
        "  ternmq group create users --topic users --order key         a key's messages in order\n"
        "  ternmq group create caches --topic changes --broadcast      every member gets all\n"
        "  ternmq group create mail --topic mail --attempts 4 --backoff 10s,30s,1m --jitter 20%\n"
        "\n"
        "The members of a group share its messages: who asks gets, and has a message until it is\n"
        "acknowledged, given back, or the lease is over. Then it is tried again, after a backoff, and\n"
        "after the last attempt it is a dead letter.\n"
        "An order of keys is for topics of 'ternmq topic create --route key'.\n"
        "A filter is tags ('paid || sent') or SQL on properties; 'ternmq filter test' tries one.\n"
        "A group that is there already as asked is no error; one with other settings is.\n",
    .rows = GROUP_ROWS,
    .row_count = GROUP_ROW_COUNT,
    .words_least = 1,
    .words_most = 1,
    .run = run_create,
};

/* ------------------------------------------------------------------- set */

/* Before a group is changed: whether it is there, for a group.put of what is not would make it, and for whom it stays
 * as it was, for a broker that is away brings it back. Of `*holders_out` no names are left. */
static int look_before(struct invocation *invocation, const char *name,
                       struct group_holders *holders_out)
{
    int status = group_holders_find(invocation, name, holders_out);
    group_holders_say_gaps(invocation, holders_out, true);
    group_holders_free(holders_out);
    return status;
}

static int run_set(struct invocation *invocation)
{
    int status = EXIT_FAILED;
    struct group_wish wish;
    const char *name = invocation->words[0];
    bool is_anything_set = false;
    for (uint32_t row = 0; row < GROUP_ROW_COUNT; row++) {
        bool is_given = invocation_option(invocation, row)->given;
        if (is_given && (row == GROUP_ORDER || row == GROUP_BROADCAST)) {
            return invocation_fail(invocation, EXIT_WRONG_USAGE,
                                   "--%s is chosen when a group is made: take another name, or "
                                   "delete group %s first",
                                   GROUP_ROWS[row].name, name);
        }
        is_anything_set = is_anything_set || is_given;
    }
    if (!is_anything_set) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "nothing to set: 'ternmq group set --help' shows what can be");
    }
    if (!group_wish_read(invocation, name, &wish, &status)) {
        return status;
    }
    struct group_holders holders;
    status = look_before(invocation, name, &holders);
    if (status != EXIT_DONE) {
        return status;
    }
    status = put(invocation, &wish, holders.is_key_order);
    if (status == EXIT_DONE) {
        status = change_say_done(invocation, "group", name, "set");
    }
    return group_reach_status(&holders.reach, status);
}

const struct command GROUP_SET_COMMAND = {
    .group = "group",
    .name = "set",
    .arguments = "NAME [--topic TOPIC[=FILTER]..] [--attempts N] [--backoff TIME,TIME..] ..",
    .summary = "Change a consumer group",
    .help =
        "  ternmq group set billing --attempts 5                       5 deliveries at most\n"
        "  ternmq group set audit --topic orders=paid --topic refunds  in the place of all before\n"
        "  ternmq group set mail --backoff 1s,10s,1m --jitter 50%\n"
        "\n"
        "What is not given stays as it is. Where the group stands does not change, so that --from is\n"
        "of queues that it has not begun; what is leased goes on as it began. --order and --broadcast\n"
        "are chosen when a group is made. A broker that is away is not told: that is said, the exit\n"
        "status is 1, and it is to be done again when the broker is back.\n",
    .rows = GROUP_ROWS,
    .row_count = GROUP_ROW_COUNT,
    .words_least = 1,
    .words_most = 1,
    .run = run_set,
};

/* ---------------------------------------------------------------- delete */

static int run_delete(struct invocation *invocation)
{
    const char *name = invocation->words[0];
    int status = change_confirm_delete(invocation, "group", name, "and where it stands");
    if (status != EXIT_DONE) {
        return status;
    }
    struct group_holders holders;
    status = look_before(invocation, name, &holders);
    if (status != EXIT_DONE) {
        return status;
    }
    struct ternmq_error error;
    if (ternmq_group_delete(invocation->client, name, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "group %s", name);
    }
    status = change_say_done(invocation, "group", name, "deleted");
    return group_reach_status(&holders.reach, status);
}

const struct command GROUP_DELETE_COMMAND = {
    .group = "group",
    .name = "delete",
    .arguments = "NAME [--yes]",
    .summary = "Delete a consumer group and where it stands",
    .help =
        "  ternmq group delete billing                     asks first\n"
        "  ternmq group delete billing --yes               for scripts\n"
        "  ternmq group delete caches@host-7 --yes         a member of a broadcast that is gone\n\n"
        "A group that is made again under this name begins anew. Dead letters stay: the topic\n"
        "%DLQ%NAME on its broker has them. A broker that is away keeps the group: that is said,\n"
        "the exit status is 1, and it is to be done again when the broker is back.\n",
    .rows = DELETE_ROWS,
    .row_count = 1,
    .words_least = 1,
    .words_most = 1,
    .run = run_delete,
};
