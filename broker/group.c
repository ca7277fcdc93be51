/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group.c - one block a group: the struct, its topics, its name, and the topics as they are stored.
 */
#include "broker/group.h"

#include "proto/filter.h"
#include "proto/names.h"

#include <stdlib.h>
#include <string.h>

/* Takes the topics of the settings and sorts them by name. */
static void sort_topics(const struct group_settings *settings, struct group_topic_setting *sorted)
{
    struct cursor topics = settings->topics;
    for (uint32_t i = 0; i < settings->topic_count; i++) {
        struct group_topic_setting topic = group_settings_take_topic(&topics);
        uint32_t place = i;
        while (place > 0 && bytes_compare(sorted[place - 1].name, topic.name) > 0) {
            sorted[place] = sorted[place - 1];
            place--;
        }
        sorted[place] = topic;
    }
}

/* At most what write_sorted() writes. */
static size_t stored_bytes(const struct group_topic_setting *sorted, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += sorted[i].name.length + sorted[i].filter.length + GROUP_TOPIC_HEADER_BYTES;
    }
    return bytes;
}

static void write_sorted(struct writer *writer, const struct group_topic_setting *sorted,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        group_settings_put_topic(writer, &sorted[i]);
    }
    ASSERT(!writer->overflowed);
}

/* A filter that wants everything is none, so that nobody asks it. */
static enum error compile(struct group_topic *topic, struct refusal *refusal)
{
    if (topic->filter_text.length == 0) {
        return OK;
    }
    enum error error = filter_create(topic->filter_text, &topic->filter, refusal);
    if (error != OK) {
        topic->filter = NULL;
        refusal_add_key(refusal, topic->name);
        return error;
    }
    if (filter_wants_all(topic->filter)) {
        filter_destroy(topic->filter);
        topic->filter = NULL;
    }
    return OK;
}

static void group_free(struct group *group)
{
    for (uint32_t i = 0; i < group->topic_count; i++) {
        filter_destroy(group->topics[i].filter);
    }
    free(group);
}

/* The block, with the topics in it: their names and filters are spans of what is stored. */
static struct group *make_block(const struct group_parts *parts)
{
    uint32_t count = parts->settings->topic_count;
    struct group_topic_setting sorted[GROUP_TOPICS_MAX];
    sort_topics(parts->settings, sorted);
    size_t most_bytes = stored_bytes(sorted, count);
    ASSERT(most_bytes <= GROUP_TOPICS_BYTES_MAX);

    struct group *group = NULL;
    size_t head_bytes = sizeof(*group) + count * sizeof(group->topics[0]);
    group = calloc(1, head_bytes + parts->name.length + most_bytes);
    ASSERT(group != NULL);
    char *name = (char *)group + head_bytes;
    memcpy(name, parts->name.data, parts->name.length);
    struct writer writer = writer_over(name + parts->name.length, most_bytes);
    write_sorted(&writer, sorted, count);

    atomic_init(&group->references, 1);
    group->id = parts->id;
    group->version = parts->version;
    group->name = bytes_make(name, parts->name.length);
    group->settings = *parts->settings;
    group->settings.topics = cursor_over(writer_bytes(&writer));
    group->topics_bytes = (uint32_t)writer_length(&writer);
    group->topic_count = count;
    struct cursor topics = group->settings.topics;
    for (uint32_t i = 0; i < count; i++) {
        struct group_topic_setting topic = group_settings_take_topic(&topics);
        group->topics[i] = (struct group_topic){.name = topic.name, .filter_text = topic.filter};
    }
    return group;
}

enum error group_create(const struct group_parts *parts, struct group **group_out,
                        struct refusal *refusal)
{
    ASSERT(parts->id > 0);
    ASSERT(name_is_any_group(parts->name));
    ASSERT(parts->settings->topic_count > 0 && parts->settings->topic_count <= GROUP_TOPICS_MAX);

    struct group *group = make_block(parts);
    for (uint32_t i = 0; i < group->topic_count; i++) {
        enum error error = compile(&group->topics[i], refusal);
        if (error != OK) {
            group_free(group);
            return error;
        }
    }
    *group_out = group;
    return OK;
}

struct group *group_ref(struct group *group)
{
    uint32_t before = atomic_fetch_add_explicit(&group->references, 1, memory_order_relaxed);
    ASSERT(before > 0);
    return group;
}

void group_unref(struct group *group)
{
    if (group == NULL) {
        return;
    }
    /* Release: what was read of it here is read before; acquire: the last one sees all of that. */
    uint32_t before = atomic_fetch_sub_explicit(&group->references, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1) {
        group_free(group);
    }
}

const struct group_topic *group_find_topic(const struct group *group, struct bytes name)
{
    uint32_t low = 0;
    uint32_t high = group->topic_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = bytes_compare(group->topics[middle].name, name);
        if (order == 0) {
            return &group->topics[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

enum error group_refuse_missing(struct bytes name, struct refusal *refusal)
{
    return refusal_set(refusal, ERROR_GROUP_NOT_FOUND, "there is no group '%.*s'", (int)name.length,
                       (const char *)name.data);
}

void group_write_settings(const struct group *group, struct writer *writer)
{
    writer_put_string(writer, "settings");
    group_settings_write(&group->settings, writer);
}
