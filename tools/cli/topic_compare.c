/* SPDX-License-Identifier: Apache-2.0 */
/* topic_compare.c - a topic that is there already beside what was asked for. */
#include "proto/base/contract.h"
#include "tools/cli/show.h"
#include "tools/cli/topic.h"

#include <stdio.h>
#include <string.h>

static_assert(PLACEMENT_PARTS_MAX <= 64, "a bit for each broker that is asked for");

/* Queues of a topic that lie at one broker, and the cursor over those that follow. */
struct parts {
    struct cursor cursor;
    uint32_t left;
    struct bytes broker;
    uint32_t queues;
};

/* False: the answer has none that can be read. */
static bool parts_begin(struct parts *parts, struct bytes topic)
{
    parts->left = 0;
    return result_find(topic, "placement", &parts->cursor) &&
           cursor_take_array(&parts->cursor, &parts->left);
}

static bool parts_next(struct parts *parts)
{
    uint32_t first;
    return parts->left-- > 0 && cursor_take_array_of(&parts->cursor, 3) &&
           cursor_take_text(&parts->cursor, &parts->broker) &&
           cursor_take_u32(&parts->cursor, &first) &&
           cursor_take_u32(&parts->cursor, &parts->queues);
}

static void compare_queues(struct bytes topic, const struct setting_value *asked,
                           struct differences *differences)
{
    struct parts parts;
    uint64_t queues = 0;
    if (!asked->given) {
        return;
    }
    for (bool more = parts_begin(&parts, topic); more && parts_next(&parts);) {
        queues += parts.queues;
    }
    if (queues != asked->number) {
        differences_add(differences, "--queues is %llu", (unsigned long long)queues);
    }
}

static void compare_setting(struct bytes topic, const char *name, const struct setting_value *asked,
                            struct differences *differences)
{
    struct cursor cursor;
    struct bytes settings;
    struct bytes text = BYTES_OF("not known");
    if (!asked->given) {
        return;
    }
    if (result_find(topic, "settings", &cursor) && cursor_take_span(&cursor, &settings)) {
        topic = settings;
    }
    if (!result_find_text(topic, name, &text) ||
        !bytes_equal(text, bytes_from_string(asked->text))) {
        differences_add(differences, "--%s is %.*s", name, (int)text.length,
                        (const char *)text.data);
    }
}

/* Adds a broker to "a,b", once, where there is room for it. */
static void add_broker(char *text, size_t bytes, struct bytes broker)
{
    size_t used = strlen(text);
    size_t at = 0;
    while (text[at] != '\0') {
        size_t length = strcspn(text + at, ",");
        if (bytes_equal(bytes_make(text + at, length), broker)) {
            return;
        }
        at += length + (text[at + length] == ',');
    }
    if (used + 1 + broker.length < bytes) {
        (void)snprintf(text + used, bytes - used, "%s%.*s", used == 0 ? "" : ",",
                       (int)broker.length, (const char *)broker.data);
    }
}

/* No names: wherever it is. */
static void compare_brokers(struct bytes topic, const struct broker_names *names,
                            struct differences *differences)
{
    struct parts parts;
    char text[PLACEMENT_PARTS_MAX * (BROKER_NAME_BYTES_MAX + 1)] = "";
    uint64_t seen = 0;
    bool is_elsewhere = false;
    if (names->count == 0) {
        return;
    }
    for (bool more = parts_begin(&parts, topic); more && parts_next(&parts);) {
        uint32_t at = 0;
        while (at < names->count &&
               !bytes_equal(parts.broker, bytes_from_string(names->names[at]))) {
            at++;
        }
        is_elsewhere = is_elsewhere || at == names->count;
        seen |= at == names->count ? 0 : UINT64_C(1) << at;
        add_broker(text, sizeof(text), parts.broker);
    }
    if (is_elsewhere || seen != UINT64_MAX >> (64 - names->count)) {
        differences_add(differences, "--brokers is %s", text);
    }
}

void topic_compare(const struct topic_wish *wish, struct bytes topic,
                   struct differences *differences)
{
    compare_queues(topic, wish->queues, differences);
    compare_setting(topic, "route", wish->route, differences);
    compare_setting(topic, "durability", wish->durability, differences);
    compare_brokers(topic, wish->brokers, differences);
}
