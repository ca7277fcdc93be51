/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_change.c - a change's way from the call over core 0 and the shards back to the call.
 */
#include "broker/topic_change.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/lease.h"
#include "broker/shard.h"
#include "broker/topic_change_state.h"
#include "storage/commit_log.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ life */

struct topic_changes *topic_changes_create(struct core *core0, struct leases *leases,
                                           const struct topic_rules *rules)
{
    ASSERT(core0->number == 0);
    struct topic_changes *changes = calloc(1, sizeof(*changes));
    ASSERT(changes != NULL);
    changes->core0 = core0;
    changes->leases = leases;
    changes->rules = *rules;
    list_init(&changes->changes);
    return changes;
}

void topic_changes_destroy(struct topic_changes *changes)
{
    if (changes == NULL) {
        return;
    }
    ASSERT(changes->under_way == 0 && list_is_empty(&changes->changes));
    free(changes);
}

static void change_free(struct topic_change *change)
{
    topic_unref(change->topic);
    free(change);
}

void topic_changes_stop_check(struct topic_changes *changes)
{
    if (changes->stopped == NULL) {
        return;
    }
    LIST_FOREACH (link, &changes->changes) {
        struct topic_change *change = CONTAINER_OF(link, struct topic_change, link);
        if (change->state == CHANGE_OWING) {
            ASSERT(change->call == NULL && change->away == 0);
            timer_stop(changes->core0->reactor, &change->retry);
            list_remove(&change->link);
            changes->listed--;
            changes->under_way--;
            change_free(change);
        }
    }
    if (changes->under_way == 0) {
        void (*stopped)(void *owner) = changes->stopped;
        changes->stopped = NULL;
        stopped(changes->stopped_owner);
    }
}

void topic_changes_stop(struct topic_changes *changes, void (*stopped)(void *owner), void *owner)
{
    changes->stopped = stopped;
    changes->stopped_owner = owner;
    topic_changes_stop_check(changes);
}

/* ---------------------------------------------------------------- answer */

/* At home, the last step. */
static void answer_step(struct call *call, struct core *at)
{
    (void)at;
    struct topic_change *change = call->own;
    if (change->refused) {
        struct refusal refusal = change->refusal;
        change_free(change);
        call_refuse(call, &refusal);
        return;
    }
    uint8_t bytes[64];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    writer_put_map(&writer, 2);
    writer_put_key_uint(&writer, "id", change->id);
    writer_put_key_uint(&writer, "version", change->version);
    ASSERT(!writer.overflowed);
    change_free(change);
    call_answer(call, writer_bytes(&writer));
}

void topic_change_go_home(struct topic_change *change)
{
    ASSERT(list_is_empty(&change->link));
    struct topic_changes *changes = change->changes;
    changes->under_way--;
    if (change->call == NULL) {
        change_free(change);
    } else {
        call_return(change->call, changes->core0, answer_step);
    }
    topic_changes_stop_check(changes);
}

static void decide(struct topic_change *change);

struct bytes topic_change_name(const struct topic_change *change)
{
    return change->kind == CHANGE_PUT ? change->put.name : change->delete.name;
}

/* The first change of `name` that is listed, or NULL. */
static struct topic_change *first_of(struct topic_changes *changes, struct bytes name)
{
    LIST_FOREACH (link, &changes->changes) {
        struct topic_change *change = CONTAINER_OF(link, struct topic_change, link);
        if (bytes_equal(topic_change_name(change), name)) {
            return change;
        }
    }
    return NULL;
}

/* Takes a change off the list and lets the next one of its name begin. The change stays. */
static void leave(struct topic_change *change)
{
    struct topic_changes *changes = change->changes;
    list_remove(&change->link);
    changes->listed--;
    struct topic_change *next = first_of(changes, topic_change_name(change));
    if (next != NULL) {
        ASSERT(next->state == CHANGE_WAITING);
        decide(next);
    }
}

void topic_change_refuse(struct topic_change *change)
{
    change->refused = true;
    leave(change);
    topic_change_go_home(change);
}

/* ------------------------------------------------------ publish and renew */

static void renewed(struct lease_waiter *waiter)
{
    struct topic_change *change = CONTAINER_OF(waiter, struct topic_change, renewal);
    topic_change_go_home(change);
}

/* Every core knows it: the next change may begin while nameservers are told of this one. */
static void published(struct topic_change *change)
{
    change->state = CHANGE_RENEWING;
    change->renewal = (struct lease_waiter){.done = renewed};
    leave(change);
    leases_announce(change->changes->leases, &change->renewal);
}

static void publish_at(struct core *core, struct topic_change *change)
{
    if (change->kind == CHANGE_PUT) {
        directory_put(core->directory, change->topic);
    } else {
        directory_remove(core->directory, change->id);
    }
}

static void deliver_published(const struct core_message *message, void *core)
{
    (void)core;
    struct topic_change *change = message->object;
    if (--change->away == 0) {
        published(change);
    }
}

static void deliver_publish(const struct core_message *message, void *core)
{
    struct core *at = core;
    publish_at(at, message->object);
    struct core_message answer = {.deliver = deliver_published, .object = message->object};
    core_send_to(at, at->cores->core[0], &answer);
}

void topic_change_publish(struct topic_change *change)
{
    struct core *core0 = change->changes->core0;
    struct cores *cores = core0->cores;
    change->state = CHANGE_PUBLISHING;
    publish_at(core0, change);
    change->away = cores->count - 1;
    if (change->away == 0) {
        published(change);
        return;
    }
    struct core_message message = {.deliver = deliver_publish, .object = change};
    for (uint32_t i = 1; i < cores->count; i++) {
        core_send_to(core0, cores->core[i], &message);
    }
}

/* ---------------------------------------------------------------- decide */

static void decide_put(struct topic_change *change)
{
    struct topic_changes *changes = change->changes;
    const struct catalogue *catalogue = changes->core0->cores->shard[0]->catalogue;
    if (topic_put_decide(catalogue, &changes->rules, &change->put, &change->topic,
                         &change->refusal) != OK) {
        topic_change_refuse(change);
        return;
    }
    change->id = change->topic->id;
    change->version = change->topic->version;
    if (change->topic == catalogue_find(catalogue, change->put.name)) {
        leave(change);
        topic_change_go_home(change);
        return;
    }
    change->is_new = catalogue_find(catalogue, change->put.name) == NULL;
    struct writer writer = writer_over(change->operation, sizeof(change->operation));
    catalogue_write_put(&writer, change->topic);
    ASSERT(!writer.overflowed);
    change->operation_bytes = writer_length(&writer);
    topic_change_append(change, topic_shards(change->topic));
}

static void decide_delete(struct topic_change *change)
{
    struct topic_changes *changes = change->changes;
    const struct catalogue *catalogue = changes->core0->cores->shard[0]->catalogue;
    struct topic *topic;
    struct catalogue_deleted deleted;
    if (topic_delete_decide(catalogue, &changes->rules, &change->delete, &topic, &deleted,
                            &change->refusal) != OK) {
        topic_change_refuse(change);
        return;
    }
    change->topic = topic_ref(topic);
    change->id = deleted.id;
    change->version = deleted.version;
    struct writer writer = writer_over(change->operation, sizeof(change->operation));
    catalogue_write_delete(&writer, deleted.id, deleted.version);
    ASSERT(!writer.overflowed);
    change->operation_bytes = writer_length(&writer);
    topic_change_append(change, topic_shards(topic));
}

static void decide(struct topic_change *change)
{
    if (call_is_late(change->call, change->changes->core0)) {
        refusal_set(&change->refusal, ERROR_DEADLINE, "%s", error_text(ERROR_DEADLINE));
        topic_change_refuse(change);
    } else if (change->kind == CHANGE_PUT) {
        decide_put(change);
    } else {
        decide_delete(change);
    }
}

/* ----------------------------------------------------------------- begin */

/* On core 0. */
static void begin_step(struct call *call, struct core *at)
{
    struct topic_change *change = call->own;
    struct topic_changes *changes = at->cores->changes;
    change->changes = changes;
    changes->under_way++;
    if (changes->listed == CATALOGUE_CHANGES_MAX) {
        struct refusal_overload overload = {
            .what = "changes of topics under way",
            .limit = CATALOGUE_CHANGES_MAX,
            .value = 1,
            .usage = changes->listed,
            .retry_after_ms = 100,
        };
        refusal_set_overload(&change->refusal, ERROR_OVERLOADED, &overload);
        change->refused = true;
        topic_change_go_home(change);
        return;
    }
    struct topic_change *before = first_of(changes, topic_change_name(change));
    if (before != NULL && before->state == CHANGE_OWING) {
        change->refusal = before->refusal;
        change->refused = true;
        topic_change_go_home(change);
        return;
    }
    list_append(&changes->changes, &change->link);
    changes->listed++;
    change->state = CHANGE_WAITING;
    if (before == NULL) {
        decide(change);
    }
}

/* The request's name outlives its frame here. */
static struct topic_change *change_create(struct call *call, enum change_kind kind,
                                          struct bytes *name)
{
    ASSERT(name->length <= TOPIC_NAME_BYTES_MAX);
    struct topic_change *change = calloc(1, sizeof(*change));
    ASSERT(change != NULL);
    list_init(&change->link);
    change->call = call;
    change->kind = kind;
    memcpy(change->name, name->data, name->length);
    *name = bytes_make(change->name, name->length);
    call->own = change;
    return change;
}

void topic_change_put(struct call *call, const struct topic_put *put)
{
    struct topic_put copy = *put;
    struct topic_change *change = change_create(call, CHANGE_PUT, &copy.name);
    change->put = copy;
    call_drop_buffer(call);
    call_forward(call, call->home, call->home->cores->core[0], begin_step);
}

void topic_change_delete(struct call *call, const struct topic_delete *delete)
{
    struct topic_delete copy = *delete;
    struct topic_change *change = change_create(call, CHANGE_DELETE, &copy.name);
    change->delete = copy;
    call_drop_buffer(call);
    call_forward(call, call->home, call->home->cores->core[0], begin_step);
}
