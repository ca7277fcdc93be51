/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue_change_decide.c - from a decision to the operation that records it.
 */
#include "broker/call.h"
#include "broker/catalogue_change_state.h"
#include "broker/core.h"
#include "broker/shard.h"

static const struct catalogue *catalogue_of(const struct catalogue_change *change)
{
    return change->changes->core0->cores->shard[0]->catalogue;
}

/* Every shard of the broker, bit 1 << shard. */
static uint64_t all_shards(const struct catalogue_change *change)
{
    return UINT64_MAX >> (64 - change->changes->rules.shard_count);
}

static void append(struct catalogue_change *change, const struct writer *writer, uint64_t shards)
{
    ASSERT(!writer->overflowed);
    change->operation_bytes = writer_length(writer);
    catalogue_change_append(change, shards);
}

/* ---------------------------------------------------------------- topics */

/* change->topic is what the topic shall be; it is the catalogue's own where nothing changes. */
static void put_topic(struct catalogue_change *change)
{
    const struct topic *old = catalogue_find(catalogue_of(change), change->name);
    change->id = change->topic->id;
    change->version = change->topic->version;
    if (change->topic == old) {
        catalogue_change_end(change);
        return;
    }
    change->is_new = old == NULL;
    struct writer writer = writer_over(change->operation, sizeof(change->operation));
    catalogue_write_put(&writer, change->topic);
    append(change, &writer, topic_shards(change->topic));
}

static void decide_put_topic(struct catalogue_change *change)
{
    if (topic_put_decide(catalogue_of(change), &change->changes->rules, &change->put_topic,
                         &change->topic, &change->refusal) != OK) {
        catalogue_change_refuse(change);
        return;
    }
    put_topic(change);
}

static void decide_dead_letters(struct catalogue_change *change)
{
    if (topic_dead_letters_decide(catalogue_of(change), &change->changes->rules, change->name,
                                  &change->topic, &change->refusal) != OK) {
        log_warn("topic '%.*s' cannot be made now, dead letters wait: %s", (int)change->name.length,
                 (const char *)change->name.data, change->refusal.message);
        catalogue_change_refuse(change);
        return;
    }
    put_topic(change);
}

static void decide_delete_topic(struct catalogue_change *change)
{
    struct topic *topic;
    struct catalogue_deleted deleted;
    if (topic_delete_decide(catalogue_of(change), &change->changes->rules, &change->delete_topic,
                            &topic, &deleted, &change->refusal) != OK) {
        catalogue_change_refuse(change);
        return;
    }
    change->topic = topic_ref(topic);
    change->id = deleted.id;
    change->version = deleted.version;
    struct writer writer = writer_over(change->operation, sizeof(change->operation));
    catalogue_write_delete(&writer, deleted.id, deleted.version);
    append(change, &writer, topic_shards(topic));
}

/* ---------------------------------------------------------------- groups */

static void put_group(struct catalogue_change *change)
{
    const struct group *old = catalogue_find_group(catalogue_of(change), change->name);
    change->id = change->group->id;
    change->version = change->group->version;
    if (change->group == old) {
        catalogue_change_end(change);
        return;
    }
    change->is_new = old == NULL;
    struct writer writer = writer_over(change->operation, sizeof(change->operation));
    catalogue_write_put_group(&writer, change->group);
    append(change, &writer, all_shards(change));
}

static void decide_put_group(struct catalogue_change *change)
{
    if (group_put_decide(catalogue_of(change), &change->changes->rules, &change->put_group,
                         &change->group, &change->refusal) != OK) {
        catalogue_change_refuse(change);
        return;
    }
    put_group(change);
}

static void decide_member(struct catalogue_change *change)
{
    if (group_member_decide(catalogue_of(change), &change->changes->rules, change->name,
                            &change->group, &change->refusal) != OK) {
        catalogue_change_refuse(change);
        return;
    }
    put_group(change);
}

static void decide_delete_group(struct catalogue_change *change)
{
    struct group *group;
    struct catalogue_deleted deleted;
    if (group_delete_decide(catalogue_of(change), &change->changes->rules, &change->delete_group,
                            &group, &deleted, &change->refusal) != OK) {
        catalogue_change_refuse(change);
        return;
    }
    change->group = group_ref(group);
    change->id = deleted.id;
    change->version = deleted.version;
    struct writer writer = writer_over(change->operation, sizeof(change->operation));
    catalogue_write_delete_group(&writer, deleted.id, deleted.version);
    append(change, &writer, all_shards(change));
}

/* ------------------------------------------------------------------- all */

void catalogue_change_decide(struct catalogue_change *change)
{
    typedef void decide_fn(struct catalogue_change *);
    static decide_fn *const deciders[] = {
        [CHANGE_PUT_TOPIC] = decide_put_topic,       [CHANGE_DELETE_TOPIC] = decide_delete_topic,
        [CHANGE_DEAD_LETTERS] = decide_dead_letters, [CHANGE_PUT_GROUP] = decide_put_group,
        [CHANGE_DELETE_GROUP] = decide_delete_group, [CHANGE_MEMBER] = decide_member,
    };
    if (change->call != NULL && call_is_late(change->call, change->changes->core0)) {
        refusal_set(&change->refusal, ERROR_DEADLINE, "%s", error_text(ERROR_DEADLINE));
        catalogue_change_refuse(change);
        return;
    }
    deciders[change->kind](change);
}
