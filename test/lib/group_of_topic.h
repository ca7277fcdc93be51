/* SPDX-License-Identifier: Apache-2.0 */
/* group_of_topic.h - a group of one topic, made from its parts; for C tests and fuzz targets. */
#ifndef TEST_LIB_GROUP_OF_TOPIC_H
#define TEST_LIB_GROUP_OF_TOPIC_H

#include "broker/group.h"
#include "proto/base/contract.h"
#include "proto/error.h"
#include "proto/group_settings.h"
#include "proto/writer.h"

enum { PAIR_BYTES_MAX = 512 };

/* A group of `topic` with this filter (NULL: none), with one reference. The settings of `parts` are those
 * besides, NULL: none given. */
static inline struct group *group_of_topic(const struct group_parts *parts, const char *topic,
                                           const char *filter)
{
    uint8_t pair[PAIR_BYTES_MAX];
    struct writer writer = writer_over(pair, sizeof(pair));
    writer_put_string(&writer, topic);
    if (filter == NULL) {
        writer_put_nil(&writer);
    } else {
        writer_put_string(&writer, filter);
    }
    struct group_settings settings;
    if (parts->settings == NULL) {
        group_settings_init(&settings);
    } else {
        settings = *parts->settings;
    }
    settings.given |= 1U << GROUP_SETTING_TOPICS;
    settings.topic_count = 1;
    settings.topics = cursor_over(writer_bytes(&writer));
    const struct group_parts whole = {
        .id = parts->id, .version = parts->version, .name = parts->name, .settings = &settings};
    struct group *group = NULL;
    struct refusal refusal;
    ASSERT(group_create(&whole, &group, &refusal) == OK);
    return group;
}

#endif
