/* SPDX-License-Identifier: Apache-2.0 */
/* group_holders.c - the brokers that have a group. */
#include "tools/cli/group_holders.h"

#include "proto/base/contract.h"
#include "proto/names.h"
#include "tools/cli/group.h"
#include "tools/cli/json.h"
#include "tools/cli/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int group_reach_check(struct invocation *invocation, const struct group_reach *reach,
                      const char *what)
{
    if (reach->brokers == 0) {
        return invocation_fail_without_broker(invocation);
    }
    if (reach->away < reach->brokers) {
        return EXIT_DONE;
    }
    struct ternmq_error error = {.code = TERNMQ_UNREACHABLE,
                                 .name = ternmq_code_name(TERNMQ_UNREACHABLE)};
    (void)snprintf(error.message, sizeof(error.message), "no broker that %s knows answers",
                   invocation_target(invocation));
    return invocation_fail_with(invocation, &error, "%s", what);
}

int group_reach_status(const struct group_reach *reach, int status)
{
    return status == EXIT_DONE && reach->away > 0 ? EXIT_FAILED : status;
}

bool group_holders_add(struct group_holders *holders, struct bytes broker)
{
    void *grown = realloc(holders->brokers, (holders->count + 1) * sizeof(holders->brokers[0]));
    if (grown == NULL) {
        return false;
    }
    holders->brokers = grown;
    (void)snprintf(holders->brokers[holders->count++], sizeof(holders->brokers[0]), "%.*s",
                   (int)broker.length, (const char *)broker.data);
    return true;
}

bool group_holders_has(const struct group_holders *holders, const char *broker)
{
    for (size_t i = 0; i < holders->count; i++) {
        if (strcmp(holders->brokers[i], broker) == 0) {
            return true;
        }
    }
    return false;
}

/* --------------------------------------------------------------------- finding */

/* What is found of a group. */
struct search {
    struct group_holders *holders;
    struct group_holders silent; /* who did not answer */
};

/* Adds a topic, once. A group has no more of them than there is room for: what would be more is a server's mistake. */
static void note_topic(struct group_topics *topics, struct bytes name)
{
    for (uint32_t i = 0; i < topics->count; i++) {
        if (bytes_equal(bytes_from_string(topics->names[i]), name)) {
            return;
        }
    }
    if (topics->count < GROUP_TOPICS_MAX) {
        (void)snprintf(topics->names[topics->count++], sizeof(topics->names[0]), "%.*s",
                       (int)name.length, (const char *)name.data);
    }
}

static bool note_topics(struct group_holders *holders, struct bytes row)
{
    struct group_settings settings;
    if (!group_settings_of_row(row, &settings)) {
        return false;
    }
    holders->is_key_order = settings.order == GROUP_ORDER_KEY;
    for (uint32_t i = 0; i < settings.topic_count; i++) {
        struct group_topic_setting topic = group_settings_take_topic(&settings.topics);
        holders->has_filter = holders->has_filter || topic.filter.length > 0;
        note_topic(holders->topics, topic.name);
    }
    return true;
}

static bool note_holder(void *context, const char *broker, struct bytes row)
{
    struct search *search = context;
    struct bytes name;
    if (!result_find_text(row, "name", &name)) {
        return false;
    }
    if (!bytes_equal(name, bytes_from_string(search->holders->group))) {
        return true;
    }
    return note_topics(search->holders, row) &&
           group_holders_add(search->holders, bytes_from_string(broker));
}

/* ------------------------------------------------------------------------ gaps */

static bool has_gap(const struct group_holders *holders, const char *broker)
{
    for (size_t i = 0; i < holders->gap_count; i++) {
        if (strcmp(holders->gaps[i].broker, broker) == 0) {
            return true;
        }
    }
    return false;
}

/* False: no memory. */
static bool add_gap(struct group_holders *holders, const char *broker, enum group_gap_kind kind)
{
    struct group_gap *grown =
        realloc(holders->gaps, (holders->gap_count + 1) * sizeof(holders->gaps[0]));
    if (grown == NULL) {
        return false;
    }
    holders->gaps = grown;
    struct group_gap *gap = &grown[holders->gap_count++];
    gap->kind = kind;
    (void)snprintf(gap->broker, sizeof(gap->broker), "%s", broker);
    holders->reach.brokers += kind == GROUP_GAP_AWAY;
    holders->reach.away += kind == GROUP_GAP_AWAY;
    return true;
}

/* Adds those of a topic. False: no memory. */
static bool note_gaps(struct invocation *invocation, const struct search *search, const char *topic)
{
    struct group_holders *holders = search->holders;
    /* A member of a broadcast comes to a broker when it receives there. */
    bool is_made = name_is_group(bytes_from_string(holders->group));
    struct ternmq_route route;
    struct ternmq_error error;
    if (!name_is_topic(bytes_from_string(topic)) ||
        ternmq_route(invocation->client, topic, &route, &error) != TERNMQ_OK) {
        return true; /* whoever has the group says what is wrong with its topic */
    }
    for (uint32_t i = 0; i < route.span_count; i++) {
        const struct ternmq_route_span *span = &route.spans[i];
        enum group_gap_kind kind = span->address[0] == '\0' ? GROUP_GAP_AWAY
                                   : group_holders_has(&search->silent, span->broker)
                                       ? GROUP_GAP_SILENT
                                       : GROUP_GAP_LACKING;
        bool is_gap = kind == GROUP_GAP_AWAY || (!group_holders_has(holders, span->broker) &&
                                                 (kind == GROUP_GAP_SILENT || is_made));
        if (is_gap && !has_gap(holders, span->broker) && !add_gap(holders, span->broker, kind)) {
            return false;
        }
    }
    return true;
}

/* Brokers that the nameserver does not list any more were not asked. */
static int look_for_gaps(struct invocation *invocation, const struct search *search)
{
    const struct group_topics *topics = search->holders->topics;
    bool has_memory = true;
    if (invocation_common(invocation, OPTION_BROKER)->given) {
        return EXIT_DONE;
    }
    for (uint32_t i = 0; i < topics->count && has_memory; i++) {
        has_memory = note_gaps(invocation, search, topics->names[i]);
    }
    return has_memory ? EXIT_DONE : invocation_fail(invocation, EXIT_FAILED, "no memory");
}

void group_holders_say_away(struct invocation *invocation, const struct group_holders *holders,
                            bool changes)
{
    for (size_t i = 0; i < holders->gap_count; i++) {
        if (holders->gaps[i].kind == GROUP_GAP_AWAY) {
            invocation_say(invocation,
                           changes ? "broker %s is away: group %s stays there as it was"
                                   : "broker %s is away: what group %s has there is not known",
                           holders->gaps[i].broker, holders->group);
        }
    }
}

void group_holders_say_gaps(struct invocation *invocation, const struct group_holders *holders,
                            bool changes)
{
    group_holders_say_away(invocation, holders, changes);
    for (size_t i = 0; i < holders->gap_count; i++) {
        if (holders->gaps[i].kind == GROUP_GAP_LACKING) {
            invocation_say(invocation,
                           "broker %s has queues of the topics, and no group %s, which gets "
                           "nothing of them: 'ternmq group create' as before makes it there",
                           holders->gaps[i].broker, holders->group);
        }
    }
}

static int fail_missing(struct invocation *invocation, const struct group_holders *holders)
{
    if (holders->reach.away > 0) {
        return invocation_fail(invocation, EXIT_FAILED,
                               "no broker that answers has a group %s; those that do not may",
                               holders->group);
    }
    return invocation_fail(invocation, EXIT_FAILED,
                           "there is no group %s (GROUP_NOT_FOUND); 'ternmq group list' shows "
                           "what there is, 'ternmq broker list' whether its broker is up",
                           holders->group);
}

int group_holders_find(struct invocation *invocation, const char *group,
                       struct group_holders *holders_out)
{
    *holders_out = (struct group_holders){.group = group};
    struct search search = {.holders = holders_out};
    struct group_reach *reach = &holders_out->reach;
    if (!name_is_any_group(bytes_from_string(group))) {
        return group_refuse_name(invocation, group);
    }
    holders_out->topics = calloc(1, sizeof(*holders_out->topics));
    if (holders_out->topics == NULL) {
        return invocation_fail(invocation, EXIT_FAILED, "no memory");
    }
    int status = group_each(invocation, group, note_holder, &search, reach, &search.silent);
    if (status == EXIT_DONE) {
        char what[GROUP_ANY_NAME_BYTES_MAX + 16];
        (void)snprintf(what, sizeof(what), "group %s", group);
        status = group_reach_check(invocation, reach, what);
    }
    if (status == EXIT_DONE) {
        status = holders_out->count > 0 ? look_for_gaps(invocation, &search)
                                        : fail_missing(invocation, holders_out);
    }
    group_holders_free(&search.silent);
    return status;
}

void group_holders_free(struct group_holders *holders)
{
    free(holders->brokers);
    free(holders->topics);
    free(holders->gaps);
    holders->brokers = NULL;
    holders->topics = NULL;
    holders->gaps = NULL;
    holders->count = 0;
    holders->gap_count = 0;
}

void group_holders_address(const char *broker, struct ternmq_call *call)
{
    bool is_named = broker[0] != '\0';
    call->to = is_named ? TERNMQ_TO_BROKER : TERNMQ_TO_ANY_BROKER;
    call->to_name = is_named ? broker : NULL;
}

int group_holders_call(struct invocation *invocation, const struct group_holders *holders,
                       size_t index, const char *method, struct ternmq_bytes arguments,
                       struct ternmq_answer *answer_out)
{
    const char *broker = holders->brokers[index];
    char what[GROUP_ANY_NAME_BYTES_MAX + BROKER_NAME_BYTES_MAX + 32];
    (void)snprintf(what, sizeof(what), "group %s%s%s", holders->group,
                   broker[0] == '\0' ? "" : " on broker ", broker);
    struct ternmq_call call = {.method = method, .arguments = arguments};
    group_holders_address(broker, &call);
    return invocation_call(invocation, &call, answer_out, what);
}

bool group_holders_pass_over(struct invocation *invocation, const char *broker,
                             const struct ternmq_error *error)
{
    bool is_away = error->code == TERNMQ_UNREACHABLE || error->code == TERNMQ_LOST ||
                   error->code == TERNMQ_TIMED_OUT || error->code == TERNMQ_STOPPING;
    if (is_away) {
        invocation_say(invocation, "broker %s is passed over: %s (%s)", broker, error->message,
                       error->name);
    }
    return is_away;
}

bool group_rows_begin(struct group_rows *rows, struct bytes answer, const char *key)
{
    rows->left = 0;
    return result_find(answer, key, &rows->cursor) && cursor_take_array(&rows->cursor, &rows->left);
}

bool group_rows_next(struct group_rows *rows, struct bytes *row_out)
{
    if (rows->left == 0) {
        return false;
    }
    rows->left--;
    return cursor_take_span(&rows->cursor, row_out);
}

bool group_print_json(const char *broker, struct bytes map)
{
    struct json_object object = json_open(stdout);
    struct cursor cursor = cursor_over(map);
    uint32_t pairs;
    if (broker[0] != '\0') {
        json_pair_text(&object, "broker", broker);
    }
    bool is_whole = cursor_take_map(&cursor, &pairs);
    for (uint32_t i = 0; is_whole && i < pairs; i++) {
        char key[64];
        struct bytes text;
        is_whole = cursor_take_text(&cursor, &text) && text.length < sizeof(key);
        if (is_whole) {
            (void)snprintf(key, sizeof(key), "%.*s", (int)text.length, (const char *)text.data);
            json_key(&object, key);
            is_whole = json_put_value(stdout, &cursor);
        }
    }
    json_close(&object);
    return is_whole;
}
