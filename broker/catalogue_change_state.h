/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue_change_state.h - what a change is made of; for catalogue_change*.c alone.
 *
 * Threads: core 0's; a part is on its shard's core while it is away.
 */
#ifndef BROKER_CATALOGUE_CHANGE_STATE_H
#define BROKER_CATALOGUE_CHANGE_STATE_H

#include "broker/catalogue_change.h"
#include "broker/group_decision.h"
#include "broker/lease.h"
#include "broker/topic_decision.h"
#include "net/reactor.h"
#include "proto/base/list.h"
#include "proto/limits.h"
#include "storage/commit_log.h"

struct shard;

struct catalogue_changes {
    struct core *core0;
    struct leases *leases;
    struct catalogue_rules rules;
    struct list changes; /* struct catalogue_change.link of all, in the order in which they came */
    uint32_t listed;
    uint32_t under_way; /* of all, those that left the list and wait for nameservers, too */
    bool stopping;      /* nothing new is begun */
    void (*stopped)(void *owner); /* NULL: not stopping, or told */
    void *stopped_owner;
};

enum change_kind {
    CHANGE_PUT_TOPIC,
    CHANGE_DELETE_TOPIC,
    CHANGE_DEAD_LETTERS,
    CHANGE_PUT_GROUP,
    CHANGE_DELETE_GROUP,
    CHANGE_MEMBER
};

enum change_state {
    CHANGE_WAITING,
    CHANGE_APPENDING,
    CHANGE_OWING,
    CHANGE_PUBLISHING,
    CHANGE_RENEWING
};

struct catalogue_change;

/* A shard's share: one operation. It visits the shard's core and comes back. */
struct change_part {
    struct catalogue_change *change;
    struct shard *shard;
    struct log_operation operation;
    bool appended; /* accepted by the shard's log */
};

struct catalogue_change {
    struct list link;
    struct catalogue_changes *changes;
    struct call *call;            /* who asked; NULL: nobody waits, or it was answered */
    struct change_waiter *waiter; /* likewise, of a change of the broker's own */
    enum change_kind kind;
    enum change_state state;
    struct bytes name; /* in `name_text`: of the topic, or of the group */
    union {
        struct topic_put put_topic;
        struct topic_delete delete_topic;
        struct group_put put_group;
        struct group_delete delete_group;
    };
    struct topic *topic; /* put: the new one; delete: the old one; NULL: it is of a group */
    struct group *group; /* likewise; NULL: of a topic */
    uint32_t id;
    uint64_t version; /* of the catalogue afterwards: the answer */
    bool is_new;      /* put: there was none of this name */
    bool is_idle;     /* delete: nobody asked for it */
    bool refused;
    struct refusal refusal;
    uint32_t away; /* parts, or publications, that are on other cores or not durable yet */
    uint32_t part_count;
    struct change_part parts[SHARDS_MAX];
    struct timer retry;
    struct lease_waiter renewal;
    struct placement *placement; /* of put_topic, in memory of its own, or NULL */
    uint8_t *topics;             /* of put_group.settings, in memory of its own, or NULL */
    size_t operation_bytes;
    uint8_t operation[CATALOGUE_OPERATION_BYTES_MAX];
    char name_text[GROUP_ANY_NAME_BYTES_MAX];
};

static_assert(TOPIC_NAME_BYTES_MAX <= GROUP_ANY_NAME_BYTES_MAX, "a change has room for both names");

/* Whether two changes are of one topic, or of one group: they happen one after the other. */
bool catalogue_change_meets(const struct catalogue_change *a, const struct catalogue_change *b);

/* Decides what becomes of a listed change whose turn it is, and goes on: refuses it, ends it where nothing
 * changes, or appends. */
void catalogue_change_decide(struct catalogue_change *change);

/* Records the change in shard 0, which decides, then in the others of `shards` (bit 1 << shard); says
 * so in the broker's log; goes on with catalogue_change_refuse() or catalogue_change_publish(). */
void catalogue_change_append(struct catalogue_change *change, uint64_t shards);

/* Answers a listed change with its refusal; the next one of its name begins. */
void catalogue_change_refuse(struct catalogue_change *change);

/* Answers a listed change of which nothing is to be done; the next one of its name begins. */
void catalogue_change_end(struct catalogue_change *change);

/* Every shard has recorded it: tells the directories of all cores, then the nameservers. */
void catalogue_change_publish(struct catalogue_change *change);

/* While stopping: leaves what waits for a full shard to the next start, and tells when nothing else is
 * under way. */
void catalogue_changes_stop_check(struct catalogue_changes *changes);

/* Sends a change that is not listed home, to be answered, or frees it if nobody waits for it. */
void catalogue_change_go_home(struct catalogue_change *change);

#endif
