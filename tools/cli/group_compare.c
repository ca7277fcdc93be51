/* SPDX-License-Identifier: Apache-2.0 */
/* group_compare.c - a group that is there already beside what was asked for. */
#include "tools/cli/change.h"
#include "tools/cli/group.h"
#include "tools/cli/text.h"

#include <stdio.h>
#include <string.h>

enum {
    TOPICS_TEXT_BYTES = 256,                    /* longer ones are cut */
    BACKOFF_TEXT_BYTES = GROUP_BACKOFF_MAX * 11 /* a day is 86400000ms */
};

const char *group_order_name(enum group_order order)
{
    static const char *const names[] = {"none", "queue", "key"};
    return names[order];
}

const char *group_from_text(const struct group_settings *settings)
{
    return settings->from == GROUP_FROM_FIRST  ? "first"
           : settings->from == GROUP_FROM_LAST ? "last"
                                               : text_of_time(settings->from_ms);
}

void group_topics_write(const struct group_settings *settings, char *text, size_t bytes)
{
    size_t used = 0;
    struct cursor topics = settings->topics;
    text[0] = '\0';
    for (uint32_t i = 0; i < settings->topic_count && used < bytes - 1; i++) {
        struct group_topic_setting topic = group_settings_take_topic(&topics);
        int written = snprintf(text + used, bytes - used, "%s%.*s%s%.*s", i == 0 ? "" : ", ",
                               (int)topic.name.length, (const char *)topic.name.data,
                               topic.filter.length == 0 ? "" : "=", (int)topic.filter.length,
                               (const char *)topic.filter.data);
        used += written < 0 ? bytes : (size_t)written;
    }
}

/* ------------------------------------------------------------------- topics */

/* The place of a topic among those that were asked for; their count: it was not, or not with this filter. */
static size_t find_wished(const struct group_wish *wish, struct group_topic_setting topic)
{
    size_t at = 0;
    while (at < wish->options.topic_count &&
           !bytes_equal(bytes_from_string(wish->topics[at].name), topic.name)) {
        at++;
    }
    if (at < wish->options.topic_count) {
        const char *filter = wish->topics[at].filter;
        bool is_same = bytes_equal(bytes_from_string(filter == NULL ? "" : filter), topic.filter);
        return is_same ? at : wish->options.topic_count;
    }
    return at;
}

/* With several brokers a group has on each the topics that are there: so one that is asked for may be on another. */
static void compare_topics(const struct group_wish *wish, const struct group_settings *settings,
                           struct group_comparison *comparison)
{
    struct cursor topics = settings->topics;
    bool is_met = true;
    for (uint32_t i = 0; i < settings->topic_count; i++) {
        size_t at = find_wished(wish, group_settings_take_topic(&topics));
        is_met = is_met && at < wish->options.topic_count;
        if (at < wish->options.topic_count) {
            comparison->has_topic[at] = true;
        }
    }
    if (!is_met) {
        char text[TOPICS_TEXT_BYTES];
        group_topics_write(settings, text, sizeof(text));
        differences_add(&comparison->differences, "--topic is %s", text);
    }
}

/* --------------------------------------------------------------- other settings */

static bool is_from_met(const struct ternmq_group_options *options,
                        const struct group_settings *settings)
{
    switch (options->from) {
    case TERNMQ_FROM_FIRST:
        return settings->from == GROUP_FROM_FIRST;
    case TERNMQ_FROM_LAST:
        return settings->from == GROUP_FROM_LAST;
    case TERNMQ_FROM_TIME:
        return settings->from == GROUP_FROM_TIME && settings->from_ms == options->from_ms;
    case TERNMQ_FROM_DEFAULT:
        break;
    }
    return true;
}

static void compare_backoff(const struct ternmq_group_options *options,
                            const struct group_settings *settings, struct differences *differences)
{
    if (options->backoff_count == 0 ||
        (options->backoff_count == settings->backoff_count &&
         memcmp(options->backoff_ms, settings->backoff_ms,
                options->backoff_count * sizeof(options->backoff_ms[0])) == 0)) {
        return;
    }
    char text[BACKOFF_TEXT_BYTES + 1];
    size_t used = 0;
    for (uint32_t i = 0; i < settings->backoff_count; i++) {
        int written = snprintf(text + used, sizeof(text) - used, "%s%ums", i == 0 ? "" : ",",
                               settings->backoff_ms[i]);
        used += (size_t)written;
    }
    differences_add(differences, "--backoff is %s", text);
}

static void compare_retries(const struct ternmq_group_options *options,
                            const struct group_settings *settings, struct differences *differences)
{
    if (options->attempts != 0 && options->attempts != settings->attempts) {
        differences_add(differences, "--attempts is %u", settings->attempts);
    }
    compare_backoff(options, settings, differences);
    if (options->has_jitter && options->jitter_percent != settings->jitter_percent) {
        differences_add(differences, "--jitter is %u%%", settings->jitter_percent);
    }
    bool stays = settings->exhausted == GROUP_EXHAUSTED_STAY;
    if (options->exhausted != TERNMQ_EXHAUSTED_DEFAULT &&
        (options->exhausted == TERNMQ_EXHAUSTED_STAY) != stays) {
        differences_add(differences, "--exhausted is %s", stays ? "stay" : "dead");
    }
}

/* What a group has for good. */
static void compare_kind(const struct ternmq_group_options *options,
                         const struct group_settings *settings, struct group_comparison *comparison)
{
    if (options->order != TERNMQ_ORDER_DEFAULT &&
        (uint32_t)options->order - TERNMQ_ORDER_NONE != (uint32_t)settings->order) {
        differences_add(&comparison->differences, "--order is %s",
                        group_order_name(settings->order));
        comparison->is_of_kind = true;
    }
    if (options->broadcast && !settings->broadcast) {
        differences_add(&comparison->differences, "it is no --broadcast");
        comparison->is_of_kind = true;
    }
}

bool group_compare(const struct group_wish *wish, struct bytes row,
                   struct group_comparison *comparison)
{
    const struct ternmq_group_options *options = &wish->options;
    struct differences *differences = &comparison->differences;
    struct group_settings settings;
    if (!group_settings_of_row(row, &settings)) {
        return false;
    }
    compare_topics(wish, &settings, comparison);
    if (!is_from_met(options, &settings)) {
        differences_add(differences, "--from is %s", group_from_text(&settings));
    }
    compare_retries(options, &settings, differences);
    if (options->lease_ms != 0 && options->lease_ms != settings.lease_ms) {
        differences_add(differences, "--lease is %ums", settings.lease_ms);
    }
    if (options->has_idle_expire && options->idle_expire_ms != settings.idle_expire_ms) {
        differences_add(differences, "--idle-expire is %llums",
                        (unsigned long long)settings.idle_expire_ms);
    }
    compare_kind(options, &settings, comparison);
    return true;
}
