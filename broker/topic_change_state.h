/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_change_state.h - what a change is made of; for topic_change*.c alone.
 *
 * Threads: core 0's; a part is on its shard's core while it is away.
 */
#ifndef BROKER_TOPIC_CHANGE_STATE_H
#define BROKER_TOPIC_CHANGE_STATE_H

#include "broker/lease.h"
#include "broker/topic_change.h"
#include "net/reactor.h"
#include "proto/base/list.h"
#include "proto/limits.h"
#include "storage/commit_log.h"

struct shard;

struct topic_changes {
    struct core *core0;
    struct leases *leases;
    struct topic_rules rules;
    struct list changes; /* struct topic_change.link of all, in the order in which they came */
    uint32_t listed;
    uint32_t under_way; /* of all, those that left the list and wait for nameservers, too */
    void (*stopped)(void *owner); /* NULL: not stopping */
    void *stopped_owner;
};

enum change_kind { CHANGE_PUT, CHANGE_DELETE };

enum change_state {
    CHANGE_WAITING,
    CHANGE_APPENDING,
    CHANGE_OWING,
    CHANGE_PUBLISHING,
    CHANGE_RENEWING
};

struct topic_change;

/* A shard's share: one operation. It visits the shard's core and comes back. */
struct change_part {
    struct topic_change *change;
    struct shard *shard;
    struct log_operation operation;
    bool appended; /* accepted by the shard's log */
};

struct topic_change {
    struct list link;
    struct topic_changes *changes;
    struct call *call; /* NULL once it was answered */
    enum change_kind kind;
    enum change_state state;
    struct topic_put put;
    struct topic_delete delete;
    struct topic *topic; /* put: the new one; delete: the old one */
    uint32_t id;
    uint64_t version; /* of the catalogue afterwards: the answer */
    bool is_new;      /* put: there was no topic of this name */
    bool refused;
    struct refusal refusal;
    uint32_t away; /* parts, or publications, that are on other cores or not durable yet */
    uint32_t part_count;
    struct change_part parts[SHARDS_MAX];
    struct timer retry;
    struct lease_waiter renewal;
    size_t operation_bytes;
    uint8_t operation[CATALOGUE_OPERATION_BYTES_MAX];
    char name[TOPIC_NAME_BYTES_MAX];
};

/* The name that a change is about. */
struct bytes topic_change_name(const struct topic_change *change);

/* Records the change in shard 0, which decides, then in the others of `shards` (bit 1 << shard); says
 * so in the broker's log; goes on with topic_change_refuse() or topic_change_publish(). */
void topic_change_append(struct topic_change *change, uint64_t shards);

/* Answers a listed change with its refusal; the next one of its name begins. */
void topic_change_refuse(struct topic_change *change);

/* Every shard has recorded it: tells the directories of all cores, then the nameservers. */
void topic_change_publish(struct topic_change *change);

/* While stopping: leaves what waits for a full shard to the next start, and tells when nothing else is
 * under way. */
void topic_changes_stop_check(struct topic_changes *changes);

/* Sends a change that is not listed home, to be answered, or frees it if nobody waits for it. */
void topic_change_go_home(struct topic_change *change);

#endif
