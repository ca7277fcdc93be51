/* SPDX-License-Identifier: Apache-2.0 */
/*
 * directory.h - the topics and groups that one core knows, by name and by id.
 *
 * Every core has its own, so that a produce finds its topic without asking anybody. Core 0 decides
 * what is in it: once a change is durable in every shard concerned, it sends each core the new
 * topic or group, and the change is answered when all have it.
 *
 * Nameservers are told of topics alone, and not of those whose name begins with %: these are each
 * broker's own (broker/lease.h).
 *
 * Memory:  a reference to each and about 64 bytes; TOPICS_MAX topics, GROUPS_MAX groups. Owner: the
 *          core.
 * Threads: the core's.
 */
#ifndef BROKER_DIRECTORY_H
#define BROKER_DIRECTORY_H

#include "broker/group.h"
#include "broker/topic.h"
#include "proto/base/map.h"

#include <stdbool.h>
#include <stdint.h>

struct directory {
    struct map by_name;
    struct number_map by_id;
    struct topic **sorted; /* all of them, by name */
    struct topic *last;    /* found last: callers stay with their topic */
    uint32_t count;
    uint32_t capacity;
    struct map groups_by_name;
    struct number_map groups_by_id;
    struct group **groups;    /* all of them, by name */
    struct group *last_group; /* found last */
    uint32_t group_count;
    uint32_t group_capacity;
    uint64_t changes; /* how often something was put or removed, and 1 */
};

/* An empty directory; `seed` is drawn from the core's reactor. */
void directory_init(struct directory *directory, struct map_seed seed);
void directory_deinit(struct directory *directory);

/* The topic, borrowed until the core's next turn (take a reference to keep it), or NULL. */
struct topic *directory_find(struct directory *directory, struct bytes name);
struct topic *directory_find_id(const struct directory *directory, uint32_t id);

/* Puts a topic in, in the place of the one of that id; takes a reference of its own. */
void directory_put(struct directory *directory, struct topic *topic);

/* Takes the topic of that id out; nothing where there is none. */
void directory_remove(struct directory *directory, uint32_t id);

/* The place in `sorted` of the first name at or after `name`; of the first one after it. */
uint32_t directory_place(const struct directory *directory, struct bytes name);
uint32_t directory_place_after(const struct directory *directory, struct bytes name);

/* The same of groups. */
struct group *directory_find_group(struct directory *directory, struct bytes name);
struct group *directory_find_group_id(const struct directory *directory, uint32_t id);
void directory_put_group(struct directory *directory, struct group *group);
void directory_remove_group(struct directory *directory, uint32_t id);

/* The place in `groups` of the first name at or after `name`; of the first one after it. */
uint32_t directory_group_place(const struct directory *directory, struct bytes name);
uint32_t directory_group_place_after(const struct directory *directory, struct bytes name);

/* Whether nameservers are told of it. */
bool directory_announces(const struct topic *topic);

/* A number that changes with the announced topics and their versions: what a lease calls `digest`.
 * Below 2^53, the same for equal directories of any process. */
uint64_t directory_digest(const struct directory *directory);

#endif
