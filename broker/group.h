/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group.h - one version of a consumer group, as every core sees it.
 *
 * As a topic (broker/topic.h) a group is immutable and counted: a change makes a new struct, and whoever
 * began with the old one goes on with it, with the filters that belong to it. Where a group stands in its
 * queues is no part of it.
 *
 * Memory:  one block, and what its filters are compiled to, at most eight times their text. Whoever gives
 *          the last reference back frees both.
 * Threads: any; nothing but the count changes.
 */
#ifndef BROKER_GROUP_H
#define BROKER_GROUP_H

#include "proto/base/bytes.h"
#include "proto/base/contract.h"
#include "proto/error.h"
#include "proto/group_settings.h"
#include "proto/writer.h"

#include <stdatomic.h>
#include <stdint.h>

struct filter;

/* A topic that the group reads. By name: it may be deleted, and made again, while the group stays. */
struct group_topic {
    struct bytes name;        /* in the group's block, as the text */
    struct bytes filter_text; /* as it was given; empty: none */
    struct filter *filter;    /* NULL: every message */
};

struct group {
    _Atomic uint32_t references;
    uint32_t id;       /* never reused, of the same sequence as topics' */
    uint64_t version;  /* of the catalogue when this version of it was made */
    struct bytes name; /* in this block; also GROUP@MEMBER and %DLQ%GROUP */
    struct group_settings
        settings;                /* in force; its `given` says what is stored. topics are by name */
    uint32_t topics_bytes;       /* of the topics as stored, filters and all */
    uint32_t topic_count;        /* 1 to GROUP_TOPICS_MAX */
    struct group_topic topics[]; /* by name */
};

/* What a group is made of; all is copied. */
struct group_parts {
    uint32_t id;
    uint64_t version;
    struct bytes name;                     /* name_is_any_group() */
    const struct group_settings *settings; /* with topics, in any order, none twice */
};

/*
 * A group with one reference. Aborts when there is no memory: groups are bounded.
 *
 *   ERROR_BAD_FILTER  {key: the topic, column}
 */
NODISCARD enum error group_create(const struct group_parts *parts, struct group **group_out,
                                  struct refusal *refusal);

struct group *group_ref(struct group *group); /* gives its argument back */
void group_unref(struct group *group);        /* NULL is allowed */

/* The topic of that name, or NULL: the group does not read it. */
const struct group_topic *group_find_topic(const struct group *group, struct bytes name);

/* ERROR_GROUP_NOT_FOUND: there is none of that name. */
enum error group_refuse_missing(struct bytes name, struct refusal *refusal);

/* Writes the key "settings" and the settings in force, as answers show them. */
void group_write_settings(const struct group *group, struct writer *writer);

#endif
