/* SPDX-License-Identifier: Apache-2.0 */
/* topic_name.c - names of topics, and which broker a topic of dead letters is on. */
#include "proto/limits.h"
#include "proto/names.h"
#include "proto/writer.h"
#include "tools/cli/group_holders.h"
#include "tools/cli/topic.h"

#include <stdio.h>

static int fail_name(struct invocation *invocation, const char *name, const char *or_else)
{
    return invocation_fail(invocation, EXIT_WRONG_USAGE,
                           "'%s' is no name of a topic: 1 to %d of A-Z a-z 0-9 . _ -%s", name,
                           TOPIC_NAME_BYTES_MAX, or_else);
}

bool topic_check_name(struct invocation *invocation, const char *name, int *status_out)
{
    if (name_is_topic(bytes_from_string(name))) {
        return true;
    }
    *status_out = fail_name(invocation, name, "");
    return false;
}

/* Who has a topic of dead letters. */
struct finding {
    const char *name;
    size_t count;
    size_t away;
    char address[ADDRESS_BYTES_MAX + 1]; /* of the last that has it */
};

/* Asks one broker. */
static int look_at(struct invocation *invocation, const char *broker, struct finding *finding)
{
    enum { LOOK_MS = 3000 }; /* as long as anybody who is not reachable is tried */
    uint8_t room[TOPIC_NAME_BYTES_MAX + 16];
    struct writer writer = writer_over(room, sizeof(room));
    writer_put_map(&writer, 1);
    writer_put_key_string(&writer, "name", finding->name);
    struct ternmq_call call = {
        .method = "topic.show",
        .arguments = ternmq_bytes(room, writer_length(&writer)),
        .timeout_ms = LOOK_MS,
    };
    group_holders_address(broker, &call);
    struct ternmq_answer answer;
    struct ternmq_error error;
    int code = ternmq_call(invocation->client, &call, &answer, &error);
    if (code == TERNMQ_OK) {
        finding->count++;
        (void)snprintf(finding->address, sizeof(finding->address), "%s", answer.address);
        return EXIT_DONE;
    }
    if (code == TERNMQ_TOPIC_NOT_FOUND) {
        return EXIT_DONE;
    }
    finding->away++;
    return group_holders_pass_over(invocation, broker, &error)
               ? EXIT_DONE
               : invocation_fail_with(invocation, &error, "topic %s", finding->name);
}

static int find(struct invocation *invocation, struct finding *finding)
{
    struct group_holders brokers;
    int status = group_holders_all(invocation, &brokers);
    for (size_t i = 0; status == EXIT_DONE && i < brokers.count; i++) {
        status = look_at(invocation, brokers.brokers[i], finding);
    }
    const struct group_reach reach = {.brokers = brokers.count, .away = finding->away};
    group_holders_free(&brokers);
    return status == EXIT_DONE ? group_reach_check(invocation, &reach, finding->name) : status;
}

/* From here on the invocation goes to one broker. */
static void go_to(struct invocation *invocation, const char *address)
{
    struct setting_value *values = invocation->settings.values;
    invocation_close(invocation);
    (void)snprintf(invocation->broker, sizeof(invocation->broker), "%s", address);
    values[OPTION_NAMESERVER] = (struct setting_value){.given = false};
    values[OPTION_BROKER].given = true;
    values[OPTION_BROKER].text = invocation->broker;
}

bool topic_check_any_name(struct invocation *invocation, const char *name, int *status_out)
{
    struct bytes bytes = bytes_from_string(name);
    if (!name_is_any_topic(bytes)) {
        *status_out = fail_name(invocation, name, ", or %DLQ%GROUP");
        return false;
    }
    if (!name_is_dead_letters(bytes) || invocation_common(invocation, OPTION_BROKER)->given) {
        return true;
    }
    struct finding finding = {.name = name};
    *status_out = find(invocation, &finding);
    if (*status_out != EXIT_DONE) {
        return false;
    }
    if (finding.count == 1) {
        go_to(invocation, finding.address);
        return true;
    }
    *status_out =
        finding.count > 1
            ? invocation_fail(invocation, EXIT_WRONG_USAGE,
                              "%zu brokers have a topic %s, each its own: -b says which is meant, "
                              "'ternmq broker list' where they are",
                              finding.count, name)
            : invocation_fail(invocation, EXIT_FAILED,
                              "no broker that answers has a topic %s (TOPIC_NOT_FOUND): it is made "
                              "with the first dead letter",
                              name);
    return false;
}
