/* SPDX-License-Identifier: Apache-2.0 */
/* group_presence.c - makes sure that a group is on every broker of a topic. */
#include "tools/cli/group_presence.h"

#include "proto/writer.h"
#include "tools/cli/group.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PUT_ROOM = 128 + GROUP_ANY_NAME_BYTES_MAX };

/* What is found of the group. */
struct presence {
    const struct group_need *need;
    uint8_t *settings; /* of the first broker that has it, as it answered; NULL: none has it */
    size_t settings_bytes;
    bool is_broadcast;
    bool reads_topic;
    bool has_other_filter;
    char filter[FILTER_BYTES_MAX + 1]; /* that the topic has */
    struct group_holders holders;
    struct group_reach reach; /* who is away gets the group when it is back */
};

/* ------------------------------------------------------------------ looking */

/* Looks for the topic among those of the group. */
static void read_topics(struct presence *presence, struct bytes settings)
{
    struct cursor topics;
    uint32_t pairs = 0;
    if (!result_find(settings, "topics", &topics) || !cursor_take_map(&topics, &pairs)) {
        return;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct bytes name;
        struct bytes filter = {NULL, 0};
        if (!cursor_take_text(&topics, &name) ||
            (!cursor_try_nil(&topics) && !cursor_take_text(&topics, &filter))) {
            return;
        }
        if (!bytes_equal(name, bytes_from_string(presence->need->topic)) ||
            filter.length >= sizeof(presence->filter)) {
            continue;
        }
        presence->reads_topic = true;
        if (filter.length > 0) {
            memcpy(presence->filter, filter.data, filter.length);
        }
        presence->filter[filter.length] = '\0';
    }
    const char *wanted = presence->need->filter;
    presence->has_other_filter = wanted != NULL && strcmp(wanted, presence->filter) != 0;
}

static bool note_group(void *context, const char *broker, struct bytes row)
{
    struct presence *presence = context;
    struct bytes name;
    struct bytes settings;
    struct cursor cursor;
    struct group_settings read;
    if (!result_find_text(row, "name", &name) || !result_find(row, "settings", &cursor) ||
        !cursor_take_span(&cursor, &settings)) {
        return false;
    }
    if (!bytes_equal(name, bytes_from_string(presence->need->group))) {
        return true;
    }
    if (!group_holders_add(&presence->holders, bytes_from_string(broker))) {
        return false;
    }
    if (presence->settings == NULL) {
        presence->settings = malloc(settings.length);
        if (presence->settings == NULL) {
            return false;
        }
        memcpy(presence->settings, settings.data, settings.length);
        presence->settings_bytes = settings.length;
        presence->is_broadcast = group_settings_of_row(row, &read) && read.broadcast;
        read_topics(presence, settings);
    }
    return true;
}

/* ------------------------------------------------------------------- making */

static int make_group(struct invocation *invocation, const struct group_need *need)
{
    const struct ternmq_group_topic topic = {.name = need->topic, .filter = need->filter};
    const struct ternmq_group_options options = {
        .name = need->group,
        .topics = &topic,
        .topic_count = 1,
        .from = need->from,
        .from_ms = need->from_ms,
    };
    struct ternmq_error error;
    if (ternmq_group_put(invocation->client, &options, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "group %s of topic %s", need->group,
                                    need->topic);
    }
    invocation_say(invocation, "group %s was not there: it is made now, and reads %s from %s%s%s",
                   need->group, need->topic,
                   need->from == TERNMQ_FROM_FIRST  ? "the first message on"
                   : need->from == TERNMQ_FROM_LAST ? "now on"
                                                    : "that time on",
                   need->filter == NULL ? "" : ", with the filter ",
                   need->filter == NULL ? "" : need->filter);
    return EXIT_DONE;
}

/* A broker that came later gets the group as the others have it. */
static int copy_group(struct invocation *invocation, const struct presence *presence,
                      const char *broker)
{
    size_t room_bytes = PUT_ROOM + presence->settings_bytes;
    uint8_t *room = malloc(room_bytes);
    if (room == NULL) {
        return invocation_fail(invocation, EXIT_FAILED, "no memory");
    }
    struct writer writer = writer_over(room, room_bytes);
    writer_put_map(&writer, 2);
    writer_put_key_string(&writer, "name", presence->need->group);
    writer_put_string(&writer, "settings");
    writer_put_raw(&writer, bytes_make(presence->settings, presence->settings_bytes));
    const struct ternmq_call call = {
        .to = TERNMQ_TO_BROKER,
        .to_name = broker,
        .method = "group.put",
        .arguments = ternmq_bytes(room, writer_length(&writer)),
    };
    struct ternmq_answer answer;
    int status = invocation_call(invocation, &call, &answer, presence->need->group);
    free(room);
    if (status == EXIT_DONE) {
        invocation_say(invocation, "group %s was not on broker %s: it is now",
                       presence->need->group, broker);
    }
    return status;
}

static int spread_group(struct invocation *invocation, const struct presence *presence)
{
    struct ternmq_route route;
    struct ternmq_error error;
    const struct group_need *need = presence->need;
    struct group_holders missing = {.count = 0};
    if (invocation_common(invocation, OPTION_BROKER)->given) {
        return EXIT_DONE; /* there is no other */
    }
    if (ternmq_route(invocation->client, need->topic, &route, &error) != TERNMQ_OK) {
        return invocation_fail_with(invocation, &error, "topic %s", need->topic);
    }
    /* The route is good until the next call only. One that is away is told when it is back. */
    int status = EXIT_DONE;
    for (uint32_t i = 0; i < route.span_count && status == EXIT_DONE; i++) {
        const struct ternmq_route_span *span = &route.spans[i];
        if (span->address[0] != '\0' && !group_holders_has(&presence->holders, span->broker) &&
            !group_holders_has(&missing, span->broker) &&
            !group_holders_add(&missing, bytes_from_string(span->broker))) {
            status = invocation_fail(invocation, EXIT_FAILED, "no memory");
        }
    }
    for (size_t i = 0; i < missing.count && status == EXIT_DONE; i++) {
        status = copy_group(invocation, presence, missing.brokers[i]);
    }
    group_holders_free(&missing);
    return status;
}

static int judge(struct invocation *invocation, const struct presence *presence)
{
    const struct group_need *need = presence->need;
    if (presence->settings == NULL && !need->was_there) {
        return make_group(invocation, need);
    }
    if (presence->settings == NULL) {
        return presence->reach.away > 0
                   ? EXIT_DONE /* it may be there still */
                   : invocation_fail(invocation, EXIT_FAILED, "group %s was deleted", need->group);
    }
    if (!presence->reads_topic) {
        return invocation_fail(invocation, EXIT_FAILED,
                               "group %s does not read topic %s: 'ternmq group set %s --topic ..' "
                               "changes what it reads",
                               need->group, need->topic, need->group);
    }
    if (presence->has_other_filter) {
        return invocation_fail(
            invocation, EXIT_FAILED,
            "group %s has another filter for %s: %s; leave --filter away, or change "
            "it with 'ternmq group set'",
            need->group, need->topic, presence->filter[0] == '\0' ? "none" : presence->filter);
    }
    if (presence->is_broadcast && !need->has_member) {
        return invocation_fail(invocation, EXIT_WRONG_USAGE,
                               "group %s is a broadcast: each member gets every message, and goes "
                               "on where it was under the same name; say which this is with "
                               "--member NAME",
                               need->group);
    }
    if (need->from_given) {
        return invocation_fail(invocation, EXIT_FAILED,
                               "group %s is there and knows where it is: --from is for a new one, "
                               "'ternmq group seek' moves one",
                               need->group);
    }
    return spread_group(invocation, presence);
}

int group_presence_ensure(struct invocation *invocation, const struct group_need *need)
{
    struct presence presence = {.need = need};
    int status = EXIT_FAILED;
    if (invocation_client(invocation, &status) == NULL) {
        return status;
    }
    status = group_each(invocation, need->group, note_group, &presence, &presence.reach, NULL);
    if (status == EXIT_DONE) {
        status = judge(invocation, &presence);
    }
    group_holders_free(&presence.holders);
    free(presence.settings);
    return status;
}
