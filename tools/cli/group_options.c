/* SPDX-License-Identifier: Apache-2.0 */
/* group_options.c - what the command line says of a consumer group. */
#include "proto/names.h"
#include "tools/cli/group.h"
#include "tools/cli/show.h"
#include "tools/cli/text.h"

#include <stdio.h>
#include <string.h>

const struct setting GROUP_ROWS[GROUP_ROW_COUNT] = {
    [GROUP_TOPIC] = {.name = "topic",
                     .metavar = "TOPIC[=FILTER]",
                     .type = SETTING_LIST,
                     .help = "What it reads: a topic, or what the filter wants of it"},
    [GROUP_FROM] = {.name = "from",
                    .metavar = "first|last|TIME",
                    .type = SETTING_TEXT,
                    .help = "Where it begins in a queue: with what is kept, with what is new, or "
                            "at a time such as 2026-01-31T12:00 or -1h (new groups: last)"},
    [GROUP_ATTEMPTS] = {.name = "attempts",
                        .type = SETTING_INTEGER,
                        .least = 1,
                        .most = GROUP_ATTEMPTS_MAX,
                        .help = "How often a message is delivered at most (new groups: 17)"},
    [GROUP_BACKOFF] = {.name = "backoff",
                       .metavar = "TIME,TIME..",
                       .type = SETTING_TEXT,
                       .help = "How long to wait before each retry; the last one repeats (new "
                               "groups: 10s, 30s, 1m to 10m, 20m, 30m, 1h, 2h)"},
    [GROUP_JITTER] = {.name = "jitter",
                      .metavar = "PERCENT",
                      .type = SETTING_TEXT,
                      .help = "By how much a backoff varies, such as 20% (new groups: 0%)"},
    [GROUP_EXHAUSTED] = {.name = "exhausted",
                         .type = SETTING_CHOICE,
                         .choices = GROUP_EXHAUSTED_CHOICES,
                         .help = "What becomes of a message after its last attempt: a dead letter, "
                                 "or it stays and is tried again and again (new groups: dead)"},
    [GROUP_LEASE] = {.name = "lease",
                     .type = SETTING_DURATION,
                     .least = GROUP_LEASE_MS_LEAST,
                     .most = GROUP_LEASE_MS_MOST,
                     .help = "How long a message is with a member that does not ask for another "
                             "time (new groups: 30s)"},
    [GROUP_IDLE_EXPIRE] = {.name = "idle-expire",
                           .type = SETTING_DURATION,
                           .help =
                               "The group is deleted when nobody has received or settled for so "
                               "long; 0: never (new groups: 0)"},
    [GROUP_ORDER] = {.name = "order",
                     .type = SETTING_CHOICE,
                     .choices = GROUP_ORDER_CHOICES,
                     .help = "What is never delivered in parallel: the messages of a queue, or of "
                             "a key; chosen when a group is made (new groups: none)"},
    [GROUP_BROADCAST] = {.name = "broadcast",
                         .type = SETTING_FLAG,
                         .help = "Every member gets every message; chosen when a group is made"},
};

static bool refuse(struct invocation *invocation, int *status_out, const char *option,
                   const char *text, const char *wanted)
{
    *status_out = invocation_fail(invocation, EXIT_WRONG_USAGE, "--%s '%s': has to be %s", option,
                                  text, wanted);
    return false;
}

/* TOPIC or TOPIC=FILTER: what stands behind the first = is the filter. */
static bool read_topic(struct invocation *invocation, const char *text, struct group_wish *wish,
                       int *status_out)
{
    struct ternmq_group_options *options = &wish->options;
    size_t length = strcspn(text, "=");
    if (!name_is_topic(bytes_make(text, length))) {
        return refuse(invocation, status_out, "topic", text,
                      "TOPIC or TOPIC=FILTER, the topic of A-Z a-z 0-9 . _ -");
    }
    if (options->topic_count == GROUP_TOPICS_MAX) {
        return refuse(invocation, status_out, "topic", text, "one of at most 64");
    }
    for (size_t i = 0; i < options->topic_count; i++) {
        if (bytes_equal(bytes_make(text, length), bytes_from_string(wish->topics[i].name))) {
            return refuse(invocation, status_out, "topic", text,
                          "the only one of its topic; a filter may want several tags");
        }
    }
    char *name = wish->names[options->topic_count];
    memcpy(name, text, length);
    name[length] = '\0';
    wish->topics[options->topic_count++] = (struct ternmq_group_topic){
        .name = name,
        .filter = text[length] == '\0' ? NULL : text + length + 1,
    };
    return true;
}

static bool read_topics(struct invocation *invocation, struct group_wish *wish, int *status_out)
{
    uint32_t index = 0;
    const char *text;
    while ((text = invocation_list_next(invocation, GROUP_TOPIC, &index)) != NULL) {
        if (!read_topic(invocation, text, wish, status_out)) {
            return false;
        }
    }
    wish->options.topics = wish->topics;
    return true;
}

bool group_from_read(const char *text, enum ternmq_from *from_out, uint64_t *from_ms_out)
{
    if (strcmp(text, "first") == 0) {
        *from_out = TERNMQ_FROM_FIRST;
    } else if (strcmp(text, "last") == 0) {
        *from_out = TERNMQ_FROM_LAST;
    } else {
        *from_out = TERNMQ_FROM_TIME;
        return text_read_time(text, clock_wall_ms(), from_ms_out);
    }
    return true;
}

static bool read_from(struct invocation *invocation, struct group_wish *wish, int *status_out)
{
    const struct setting_value *from = invocation_option(invocation, GROUP_FROM);
    if (!from->given) {
        return true;
    }
    if (!group_from_read(from->text, &wish->options.from, &wish->options.from_ms)) {
        *status_out = invocation_refuse_time(invocation, "from", from->text, "first, last");
        return false;
    }
    return true;
}

static bool read_backoff(struct invocation *invocation, struct group_wish *wish, int *status_out)
{
    static const struct setting step = {
        .name = "backoff", .type = SETTING_DURATION, .most = DURATION_MS_MAX};
    const char *text = invocation_option(invocation, GROUP_BACKOFF)->text;
    for (const char *at = text; at != NULL;) {
        char one[32];
        char error[SETTINGS_ERROR_BYTES_MAX];
        uint64_t ms;
        size_t length = strcspn(at, ",");
        (void)snprintf(one, sizeof(one), "%.*s", (int)length, at);
        if (length >= sizeof(one) || wish->options.backoff_count == GROUP_BACKOFF_MAX ||
            !settings_read_value(&step, one, &ms, error, sizeof(error))) {
            return refuse(invocation, status_out, "backoff", text,
                          "1 to 32 durations of at most a day, each with its unit, like 10s,1m,1h");
        }
        wish->backoff_ms[wish->options.backoff_count++] = (uint32_t)ms;
        at = at[length] == '\0' ? NULL : at + length + 1;
    }
    wish->options.backoff_ms = wish->backoff_ms;
    return true;
}

/* A number of percent, with or without its sign. */
static bool read_jitter(struct invocation *invocation, struct group_wish *wish, int *status_out)
{
    static const struct setting percent = {.name = "jitter", .type = SETTING_INTEGER, .most = 100};
    const char *text = invocation_option(invocation, GROUP_JITTER)->text;
    if (text == NULL) {
        return true;
    }
    char number[16];
    char error[SETTINGS_ERROR_BYTES_MAX];
    uint64_t value;
    size_t length = strlen(text);
    length -= length > 0 && text[length - 1] == '%';
    (void)snprintf(number, sizeof(number), "%.*s", (int)length, text);
    if (length >= sizeof(number) ||
        !settings_read_value(&percent, number, &value, error, sizeof(error))) {
        return refuse(invocation, status_out, "jitter", text, "0% to 100%");
    }
    wish->options.has_jitter = true;
    wish->options.jitter_percent = (uint32_t)value;
    return true;
}

/* Those that the parser has checked. */
static void take_plain(const struct invocation *invocation, struct group_wish *wish)
{
    struct ternmq_group_options *options = &wish->options;
    const struct setting_value *exhausted = invocation_option(invocation, GROUP_EXHAUSTED);
    const struct setting_value *idle = invocation_option(invocation, GROUP_IDLE_EXPIRE);
    options->attempts = (uint32_t)invocation_option(invocation, GROUP_ATTEMPTS)->number;
    options->lease_ms = (uint32_t)invocation_option(invocation, GROUP_LEASE)->number;
    options->exhausted = exhausted->given
                             ? (enum ternmq_exhausted)(TERNMQ_EXHAUSTED_DEAD + exhausted->number)
                             : TERNMQ_EXHAUSTED_DEFAULT;
    options->has_idle_expire = idle->given;
    options->idle_expire_ms = idle->number;
    const struct setting_value *order = invocation_option(invocation, GROUP_ORDER);
    options->order = order->given ? (enum ternmq_order)(TERNMQ_ORDER_NONE + order->number)
                                  : TERNMQ_ORDER_DEFAULT;
    options->broadcast = invocation_option(invocation, GROUP_BROADCAST)->given;
}

int group_refuse_name(struct invocation *invocation, const char *name)
{
    return invocation_fail(invocation, EXIT_WRONG_USAGE,
                           "'%s' is no name of a group: 1 to %d of A-Z a-z 0-9 . _ -", name,
                           GROUP_NAME_BYTES_MAX);
}

bool group_wish_read(struct invocation *invocation, const char *name, struct group_wish *wish_out,
                     int *status_out)
{
    memset(wish_out, 0, sizeof(*wish_out));
    wish_out->options.name = name;
    if (!name_is_group(bytes_from_string(name))) {
        *status_out = group_refuse_name(invocation, name);
        return false;
    }
    take_plain(invocation, wish_out);
    uint64_t idle_expire_ms = wish_out->options.idle_expire_ms;
    if ((idle_expire_ms > 0 && idle_expire_ms < GROUP_IDLE_EXPIRE_MS_LEAST) ||
        idle_expire_ms >= INTEGER_LIMIT) {
        return refuse(invocation, status_out, "idle-expire",
                      invocation_option(invocation, GROUP_IDLE_EXPIRE)->text,
                      "0 for never, or at least 1s and below 2^53 ms");
    }
    return read_topics(invocation, wish_out, status_out) &&
           read_from(invocation, wish_out, status_out) &&
           read_backoff(invocation, wish_out, status_out) &&
           read_jitter(invocation, wish_out, status_out);
}

bool group_settings_of_row(struct bytes row, struct group_settings *settings_out)
{
    struct refusal refusal;
    struct cursor cursor;
    uint32_t pairs;
    return result_find(row, "settings", &cursor) && cursor_take_map(&cursor, &pairs) &&
           group_settings_read(cursor, pairs, GROUP_SETTINGS_SKIP, settings_out, &refusal) == OK;
}
