/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group_settings.c - one reader a setting, one writer for all.
 */
#include "proto/group_settings.h"

#include "proto/base/utf8.h"
#include "proto/method.h"
#include "proto/names.h"

static const char *const setting_names[GROUP_SETTING_COUNT] = {
    [GROUP_SETTING_TOPICS] = "topics",       [GROUP_SETTING_FROM] = "from",
    [GROUP_SETTING_ORDER] = "order",         [GROUP_SETTING_BROADCAST] = "broadcast",
    [GROUP_SETTING_LEASE_MS] = "lease_ms",   [GROUP_SETTING_ATTEMPTS] = "attempts",
    [GROUP_SETTING_BACKOFF] = "backoff",     [GROUP_SETTING_JITTER] = "jitter",
    [GROUP_SETTING_EXHAUSTED] = "exhausted", [GROUP_SETTING_IDLE_EXPIRE_MS] = "idle_expire_ms",
};

/* RocketMQ's sixteen steps of a retry. */
static const uint32_t backoff_default_ms[] = {
    10000,  30000,  60000,  120000, 180000,  240000,  300000,  360000,
    420000, 480000, 540000, 600000, 1200000, 1800000, 3600000, 7200000,
};

void group_settings_init(struct group_settings *settings)
{
    *settings = (struct group_settings){
        .from = GROUP_FROM_LAST,
        .order = GROUP_ORDER_NONE,
        .lease_ms = GROUP_LEASE_MS_DEFAULT,
        .attempts = GROUP_ATTEMPTS_DEFAULT,
        .backoff_count = sizeof(backoff_default_ms) / sizeof(backoff_default_ms[0]),
        .exhausted = GROUP_EXHAUSTED_DEAD,
    };
    memcpy(settings->backoff_ms, backoff_default_ms, sizeof(backoff_default_ms));
}

static bool is_given(const struct group_settings *settings, enum group_setting setting)
{
    return (settings->given >> setting & 1) != 0;
}

/* ---- read ---- */

/* Refuses the value of setting `name`; `limit` says what was expected. */
static enum error refuse(struct refusal *refusal, const char *name, const char *limit)
{
    (void)refusal_set(refusal, ERROR_BAD_ARGUMENT, "setting %s has to be %s", name, limit);
    refusal_add_key(refusal, bytes_from_string(name));
    refusal_add_limit_text(refusal, limit);
    return refusal->code;
}

static enum error refuse_unknown(struct refusal *refusal, struct bytes key)
{
    int shown = key.length > REFUSAL_KEY_BYTES ? REFUSAL_KEY_BYTES : (int)key.length;
    (void)refusal_set(refusal, ERROR_BAD_ARGUMENT, "a group has no setting %.*s", shown,
                      (const char *)key.data);
    refusal_add_key(refusal, key);
    return refusal->code;
}

/* Takes a pair of `topics`; false: it is none. */
static bool take_topic(struct cursor *pairs, struct group_topic_setting *topic_out)
{
    struct group_topic_setting topic = {.filter = {NULL, 0}};
    if (!cursor_take_text(pairs, &topic.name) || !name_is_any_topic(topic.name)) {
        return false;
    }
    if (!cursor_try_nil(pairs) &&
        (!cursor_take_text(pairs, &topic.filter) || topic.filter.length > FILTER_BYTES_MAX ||
         !utf8_is_valid(topic.filter))) {
        return false;
    }
    *topic_out = topic;
    return true;
}

struct group_topic_setting group_settings_take_topic(struct cursor *topics)
{
    struct group_topic_setting topic;
    bool is_taken = take_topic(topics, &topic);
    ASSERT(is_taken);
    return topic;
}

static enum error read_topics(struct cursor *pairs, struct group_settings *settings,
                              struct refusal *refusal)
{
    struct bytes names[GROUP_TOPICS_MAX];
    uint32_t count;
    size_t bytes = 0;
    if (!cursor_take_map(pairs, &count) || count == 0 || count > GROUP_TOPICS_MAX) {
        return refuse(refusal, "topics", "a map of 1 to 64 topics");
    }
    settings->topics = *pairs;
    settings->topic_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct group_topic_setting topic;
        if (!take_topic(pairs, &topic)) {
            return refuse(refusal, "topics", "names of topics, each with nil or a filter's text");
        }
        for (uint32_t j = 0; j < i; j++) {
            if (bytes_equal(names[j], topic.name)) {
                return refuse(refusal, "topics", "a map that has each topic once");
            }
        }
        names[i] = topic.name;
        bytes += topic.name.length + topic.filter.length + GROUP_TOPIC_HEADER_BYTES;
    }
    settings->topics.end = pairs->at;
    return bytes <= GROUP_TOPICS_BYTES_MAX ? OK
                                           : refuse(refusal, "topics", "at most 14 KiB together");
}

static enum error read_from(struct cursor *pairs, struct group_settings *settings,
                            struct refusal *refusal)
{
    if (cursor_peek(pairs) == CURSOR_INTEGER || cursor_peek(pairs) == CURSOR_FLOAT) {
        settings->from = GROUP_FROM_TIME;
        return cursor_take_uint(pairs, &settings->from_ms)
                   ? OK
                   : refuse(refusal, "from", "first, last, or ms since 1970");
    }
    struct bytes text;
    int choice = cursor_take_text(pairs, &text) ? choice_find("first|last", text) : -1;
    settings->from = choice == 0 ? GROUP_FROM_FIRST : GROUP_FROM_LAST;
    settings->from_ms = 0;
    return choice >= 0 ? OK : refuse(refusal, "from", "first, last, or ms since 1970");
}

static enum error read_backoff(struct cursor *pairs, struct group_settings *settings,
                               struct refusal *refusal)
{
    uint32_t count;
    bool is_read = cursor_take_array(pairs, &count) && count >= 1 && count <= GROUP_BACKOFF_MAX;
    for (uint32_t i = 0; is_read && i < count; i++) {
        uint64_t step;
        is_read = cursor_take_uint_max(pairs, DURATION_MS_MAX, &step);
        settings->backoff_ms[i] = is_read ? (uint32_t)step : 0;
    }
    settings->backoff_count = count;
    return is_read ? OK : refuse(refusal, "backoff", "1 to 32 durations of at most 86,400,000 ms");
}

/* Takes an integer from `least` to `most`. */
static bool take_number(struct cursor *pairs, uint64_t least, uint64_t most, uint64_t *number_out)
{
    return cursor_take_uint_max(pairs, most, number_out) && *number_out >= least;
}

static bool take_choice(struct cursor *pairs, const char *choices, int *choice_out)
{
    struct bytes text;
    if (!cursor_take_text(pairs, &text)) {
        return false;
    }
    *choice_out = choice_find(choices, text);
    return *choice_out >= 0;
}

static enum error read_choices(enum group_setting setting, struct cursor *pairs,
                               struct group_settings *settings, struct refusal *refusal)
{
    int choice = 0;
    if (setting == GROUP_SETTING_ORDER) {
        if (!take_choice(pairs, GROUP_ORDER_CHOICES, &choice)) {
            return refuse(refusal, "order", GROUP_ORDER_CHOICES);
        }
        settings->order = (enum group_order)choice;
    } else if (setting == GROUP_SETTING_EXHAUSTED) {
        if (!take_choice(pairs, GROUP_EXHAUSTED_CHOICES, &choice)) {
            return refuse(refusal, "exhausted", GROUP_EXHAUSTED_CHOICES);
        }
        settings->exhausted = (enum group_exhausted)choice;
    } else if (!cursor_take_bool(pairs, &settings->broadcast)) {
        return refuse(refusal, "broadcast", "true or false");
    }
    return OK;
}

static enum error read_numbers(enum group_setting setting, struct cursor *pairs,
                               struct group_settings *settings, struct refusal *refusal)
{
    uint64_t number = 0;
    if (setting == GROUP_SETTING_LEASE_MS) {
        if (!take_number(pairs, GROUP_LEASE_MS_LEAST, GROUP_LEASE_MS_MOST, &number)) {
            return refuse(refusal, "lease_ms", "100 to 43,200,000");
        }
        settings->lease_ms = (uint32_t)number;
    } else if (setting == GROUP_SETTING_ATTEMPTS) {
        if (!take_number(pairs, 1, GROUP_ATTEMPTS_MAX, &number)) {
            return refuse(refusal, "attempts", "1 to 1,000");
        }
        settings->attempts = (uint32_t)number;
    } else if (setting == GROUP_SETTING_JITTER) {
        if (!take_number(pairs, 0, 100, &number)) {
            return refuse(refusal, "jitter", "0 to 100 percent");
        }
        settings->jitter_percent = (uint32_t)number;
    } else {
        if (!take_number(pairs, 0, INTEGER_LIMIT - 1, &number) ||
            (number > 0 && number < GROUP_IDLE_EXPIRE_MS_LEAST)) {
            return refuse(refusal, "idle_expire_ms", "0 for never, or at least 1,000");
        }
        settings->idle_expire_ms = number;
    }
    return OK;
}

static enum error read_value(enum group_setting setting, struct cursor *pairs,
                             struct group_settings *settings, struct refusal *refusal)
{
    switch (setting) {
    case GROUP_SETTING_TOPICS:
        return read_topics(pairs, settings, refusal);
    case GROUP_SETTING_FROM:
        return read_from(pairs, settings, refusal);
    case GROUP_SETTING_BACKOFF:
        return read_backoff(pairs, settings, refusal);
    case GROUP_SETTING_ORDER:
    case GROUP_SETTING_BROADCAST:
    case GROUP_SETTING_EXHAUSTED:
        return read_choices(setting, pairs, settings, refusal);
    case GROUP_SETTING_LEASE_MS:
    case GROUP_SETTING_ATTEMPTS:
    case GROUP_SETTING_JITTER:
    case GROUP_SETTING_IDLE_EXPIRE_MS:
        return read_numbers(setting, pairs, settings, refusal);
    case GROUP_SETTING_COUNT:
        break;
    }
    UNREACHABLE("a setting that the enum does not have");
}

/* The setting of a key, or GROUP_SETTING_COUNT. */
static enum group_setting find_setting(struct bytes key)
{
    uint32_t setting = 0;
    while (setting < GROUP_SETTING_COUNT &&
           !bytes_equal(key, bytes_from_string(setting_names[setting]))) {
        setting++;
    }
    return (enum group_setting)setting;
}

enum error group_settings_read(struct cursor pairs, uint32_t pair_count,
                               enum group_settings_unknown unknown,
                               struct group_settings *settings_out, struct refusal *refusal)
{
    struct group_settings settings;
    group_settings_init(&settings);
    for (uint32_t i = 0; i < pair_count; i++) {
        struct bytes key;
        if (!cursor_take_text(&pairs, &key)) {
            return refuse(refusal, "settings", "a map with text keys");
        }
        enum group_setting setting = find_setting(key);
        if (setting == GROUP_SETTING_COUNT) {
            if (unknown == GROUP_SETTINGS_REFUSE || !cursor_skip(&pairs)) {
                return refuse_unknown(refusal, key);
            }
            continue;
        }
        if (cursor_try_nil(&pairs)) {
            continue;
        }
        if (is_given(&settings, setting)) {
            return refuse(refusal, setting_names[setting], "given once");
        }
        enum error error = read_value(setting, &pairs, &settings, refusal);
        if (error != OK) {
            return error;
        }
        settings.given |= 1U << setting;
    }
    *settings_out = settings;
    return OK;
}

/* ---- merge and compare ---- */

static void copy_value(enum group_setting setting, const struct group_settings *from,
                       struct group_settings *to)
{
    switch (setting) {
    case GROUP_SETTING_TOPICS:
        to->topics = from->topics;
        to->topic_count = from->topic_count;
        break;
    case GROUP_SETTING_FROM:
        to->from = from->from;
        to->from_ms = from->from_ms;
        break;
    case GROUP_SETTING_ORDER:
        to->order = from->order;
        break;
    case GROUP_SETTING_BROADCAST:
        to->broadcast = from->broadcast;
        break;
    case GROUP_SETTING_LEASE_MS:
        to->lease_ms = from->lease_ms;
        break;
    case GROUP_SETTING_ATTEMPTS:
        to->attempts = from->attempts;
        break;
    case GROUP_SETTING_BACKOFF:
        to->backoff_count = from->backoff_count;
        memcpy(to->backoff_ms, from->backoff_ms, sizeof(to->backoff_ms));
        break;
    case GROUP_SETTING_JITTER:
        to->jitter_percent = from->jitter_percent;
        break;
    case GROUP_SETTING_EXHAUSTED:
        to->exhausted = from->exhausted;
        break;
    case GROUP_SETTING_IDLE_EXPIRE_MS:
        to->idle_expire_ms = from->idle_expire_ms;
        break;
    case GROUP_SETTING_COUNT:
        UNREACHABLE("a setting that the enum does not have");
    }
}

struct group_settings group_settings_merge(const struct group_settings *settings,
                                           const struct group_settings *change)
{
    struct group_settings merged = *settings;
    for (uint32_t i = 0; i < GROUP_SETTING_COUNT; i++) {
        if (is_given(change, (enum group_setting)i)) {
            copy_value((enum group_setting)i, change, &merged);
        }
    }
    merged.given |= change->given;
    return merged;
}

bool group_settings_equal(const struct group_settings *a, const struct group_settings *b)
{
    if (a->given != b->given || a->topic_count != b->topic_count || a->from != b->from ||
        a->from_ms != b->from_ms || a->order != b->order || a->broadcast != b->broadcast ||
        a->lease_ms != b->lease_ms || a->attempts != b->attempts ||
        a->jitter_percent != b->jitter_percent || a->exhausted != b->exhausted ||
        a->idle_expire_ms != b->idle_expire_ms || a->backoff_count != b->backoff_count ||
        memcmp(a->backoff_ms, b->backoff_ms, a->backoff_count * sizeof(a->backoff_ms[0])) != 0) {
        return false;
    }
    struct cursor topics_a = a->topics;
    struct cursor topics_b = b->topics;
    for (uint32_t i = 0; i < a->topic_count; i++) {
        struct group_topic_setting topic_a = group_settings_take_topic(&topics_a);
        struct group_topic_setting topic_b = group_settings_take_topic(&topics_b);
        if (!bytes_equal(topic_a.name, topic_b.name) ||
            !bytes_equal(topic_a.filter, topic_b.filter)) {
            return false;
        }
    }
    return true;
}

uint32_t group_settings_backoff_ms(const struct group_settings *settings, uint32_t attempt)
{
    ASSERT(attempt >= 2);
    uint32_t step = attempt - 2;
    uint32_t last = settings->backoff_count - 1;
    return settings->backoff_ms[step < last ? step : last];
}

/* ---- write ---- */

void group_settings_put_topic(struct writer *writer, const struct group_topic_setting *topic)
{
    writer_put_str(writer, topic->name);
    if (topic->filter.length == 0) {
        writer_put_nil(writer);
    } else {
        writer_put_str(writer, topic->filter);
    }
}

static void write_topics(const struct group_settings *settings, struct writer *writer)
{
    struct cursor topics = settings->topics;
    writer_put_map(writer, settings->topic_count);
    for (uint32_t i = 0; i < settings->topic_count; i++) {
        struct group_topic_setting topic = group_settings_take_topic(&topics);
        group_settings_put_topic(writer, &topic);
    }
}

static void write_from(const struct group_settings *settings, struct writer *writer)
{
    if (settings->from == GROUP_FROM_TIME) {
        writer_put_uint(writer, settings->from_ms);
    } else {
        writer_put_string(writer, settings->from == GROUP_FROM_FIRST ? "first" : "last");
    }
}

static void write_value(enum group_setting setting, const struct group_settings *settings,
                        struct writer *writer)
{
    switch (setting) {
    case GROUP_SETTING_TOPICS:
        write_topics(settings, writer);
        break;
    case GROUP_SETTING_FROM:
        write_from(settings, writer);
        break;
    case GROUP_SETTING_ORDER:
        writer_put_str(writer, choice_text(GROUP_ORDER_CHOICES, settings->order));
        break;
    case GROUP_SETTING_BROADCAST:
        writer_put_bool(writer, settings->broadcast);
        break;
    case GROUP_SETTING_LEASE_MS:
        writer_put_uint(writer, settings->lease_ms);
        break;
    case GROUP_SETTING_ATTEMPTS:
        writer_put_uint(writer, settings->attempts);
        break;
    case GROUP_SETTING_BACKOFF:
        writer_put_array(writer, settings->backoff_count);
        for (uint32_t i = 0; i < settings->backoff_count; i++) {
            writer_put_uint(writer, settings->backoff_ms[i]);
        }
        break;
    case GROUP_SETTING_JITTER:
        writer_put_uint(writer, settings->jitter_percent);
        break;
    case GROUP_SETTING_EXHAUSTED:
        writer_put_str(writer, choice_text(GROUP_EXHAUSTED_CHOICES, settings->exhausted));
        break;
    case GROUP_SETTING_IDLE_EXPIRE_MS:
        writer_put_uint(writer, settings->idle_expire_ms);
        break;
    case GROUP_SETTING_COUNT:
        UNREACHABLE("a setting that the enum does not have");
    }
}

/* Writes those of `which`, bit 1 << enum group_setting. */
static void write_some(const struct group_settings *settings, uint32_t which, struct writer *writer)
{
    writer_put_map(writer, (uint32_t)__builtin_popcount(which));
    for (uint32_t i = 0; i < GROUP_SETTING_COUNT; i++) {
        if ((which >> i & 1) != 0) {
            writer_put_string(writer, setting_names[i]);
            write_value((enum group_setting)i, settings, writer);
        }
    }
}

void group_settings_write_given(const struct group_settings *settings, struct writer *writer)
{
    write_some(settings, settings->given, writer);
}

void group_settings_write(const struct group_settings *settings, struct writer *writer)
{
    write_some(settings, (1U << GROUP_SETTING_COUNT) - 1, writer);
}
