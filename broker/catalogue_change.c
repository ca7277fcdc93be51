/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue_change.c - a change's way from who asks over core 0 and the shards back to who asked.
 */
#include "broker/catalogue_change.h"

#include "broker/call.h"
#include "broker/catalogue_change_state.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/group_expiry.h"
#include "broker/groups.h"
#include "broker/home.h"
#include "broker/lease.h"
#include "proto/names.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ life */

struct catalogue_changes *catalogue_changes_create(struct core *core0, struct leases *leases,
                                                   const struct catalogue_rules *rules)
{
    ASSERT(core0->number == 0);
    struct catalogue_changes *changes = calloc(1, sizeof(*changes));
    ASSERT(changes != NULL);
    changes->core0 = core0;
    changes->leases = leases;
    changes->rules = *rules;
    list_init(&changes->changes);
    return changes;
}

void catalogue_changes_destroy(struct catalogue_changes *changes)
{
    if (changes == NULL) {
        return;
    }
    ASSERT(changes->under_way == 0 && list_is_empty(&changes->changes));
    free(changes);
}

static void change_free(struct catalogue_change *change)
{
    topic_unref(change->topic);
    group_unref(change->group);
    free(change->placement);
    free(change->topics);
    free(change);
}

void catalogue_changes_stop_check(struct catalogue_changes *changes)
{
    if (changes->stopped == NULL) {
        return;
    }
    LIST_FOREACH (link, &changes->changes) {
        struct catalogue_change *change = CONTAINER_OF(link, struct catalogue_change, link);
        if (change->state == CHANGE_OWING) {
            ASSERT(change->call == NULL && change->waiter == NULL && change->away == 0);
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

void catalogue_changes_stop(struct catalogue_changes *changes, void (*stopped)(void *owner),
                            void *owner)
{
    changes->stopping = true;
    changes->stopped = stopped;
    changes->stopped_owner = owner;
    catalogue_changes_stop_check(changes);
}

/* ---------------------------------------------------------------- answer */

/* At home, the last step. */
static void answer_step(struct call *call, struct core *at)
{
    (void)at;
    struct catalogue_change *change = call->own;
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

void catalogue_change_go_home(struct catalogue_change *change)
{
    ASSERT(list_is_empty(&change->link));
    struct catalogue_changes *changes = change->changes;
    changes->under_way--;
    if (change->call != NULL) {
        call_return(change->call, changes->core0, answer_step);
    } else {
        if (change->waiter != NULL) {
            change->waiter->done(change->waiter, change->refused ? &change->refusal : NULL);
        }
        change_free(change);
    }
    catalogue_changes_stop_check(changes);
}

static bool is_of_group(const struct catalogue_change *change)
{
    return change->kind >= CHANGE_PUT_GROUP;
}

bool catalogue_change_meets(const struct catalogue_change *a, const struct catalogue_change *b)
{
    return is_of_group(a) == is_of_group(b) && bytes_equal(a->name, b->name);
}

/* The first listed change of what `change` is of, or NULL. */
static struct catalogue_change *first_like(const struct catalogue_change *change)
{
    LIST_FOREACH (link, &change->changes->changes) {
        struct catalogue_change *other = CONTAINER_OF(link, struct catalogue_change, link);
        if (catalogue_change_meets(other, change)) {
            return other;
        }
    }
    return NULL;
}

/* Takes a change off the list and lets the next one of its name begin. The change stays. */
static void leave(struct catalogue_change *change)
{
    list_remove(&change->link);
    change->changes->listed--;
    struct catalogue_change *next = first_like(change);
    if (next != NULL) {
        ASSERT(next->state == CHANGE_WAITING);
        catalogue_change_decide(next);
    }
}

void catalogue_change_refuse(struct catalogue_change *change)
{
    change->refused = true;
    catalogue_change_end(change);
}

void catalogue_change_end(struct catalogue_change *change)
{
    leave(change);
    catalogue_change_go_home(change);
}

/* ------------------------------------------------------ publish and renew */

static void renewed(struct lease_waiter *waiter)
{
    struct catalogue_change *change = CONTAINER_OF(waiter, struct catalogue_change, renewal);
    catalogue_change_go_home(change);
}

/* Every core knows it: the next change may begin while nameservers are told of this one. */
static void published(struct catalogue_change *change)
{
    if (change->topic == NULL || !directory_announces(change->topic)) {
        catalogue_change_end(change);
        return;
    }
    change->state = CHANGE_RENEWING;
    change->renewal = (struct lease_waiter){.done = renewed};
    leave(change);
    leases_announce(change->changes->leases, &change->renewal);
}

static void publish_at(struct core *core, struct catalogue_change *change)
{
    switch (change->kind) {
    case CHANGE_PUT_TOPIC:
    case CHANGE_DEAD_LETTERS:
        directory_put(core->directory, change->topic);
        break;
    case CHANGE_DELETE_TOPIC:
        directory_remove(core->directory, change->id);
        break;
    case CHANGE_PUT_GROUP:
    case CHANGE_MEMBER:
        directory_put_group(core->directory, change->group);
        group_expiry_note_put(core, change->group);
        break;
    case CHANGE_DELETE_GROUP:
        directory_remove_group(core->directory, change->id);
        home_drop(core, change->id);
        group_expiry_note_delete(core, change->group);
        break;
    }
    groups_refresh(core);
}

static void deliver_published(const struct core_message *message, void *core)
{
    (void)core;
    struct catalogue_change *change = message->object;
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

void catalogue_change_publish(struct catalogue_change *change)
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

/* ----------------------------------------------------------------- begin */

static enum error refuse_too_many(const struct catalogue_changes *changes, struct refusal *refusal)
{
    const struct refusal_overload overload = {
        .what = "changes of topics and groups under way",
        .limit = CATALOGUE_CHANGES_MAX,
        .value = 1,
        .usage = changes->listed,
        .retry_after_ms = 100,
    };
    return refusal_set_overload(refusal, ERROR_OVERLOADED, &overload);
}

/* On core 0. */
static void begin(struct catalogue_changes *changes, struct catalogue_change *change)
{
    change->changes = changes;
    changes->under_way++;
    if (changes->listed == CATALOGUE_CHANGES_MAX) {
        change->refused = refuse_too_many(changes, &change->refusal) != OK;
        catalogue_change_go_home(change);
        return;
    }
    const struct catalogue_change *before = first_like(change);
    if (before != NULL && before->state == CHANGE_OWING) {
        change->refusal = before->refusal;
        change->refused = true;
        catalogue_change_go_home(change);
        return;
    }
    list_append(&changes->changes, &change->link);
    changes->listed++;
    change->state = CHANGE_WAITING;
    if (before == NULL) {
        catalogue_change_decide(change);
    }
}

static void begin_step(struct call *call, struct core *at)
{
    begin(at->cores->changes, call->own);
}

/* The name outlives its frame here. */
static struct catalogue_change *change_create(enum change_kind kind, struct bytes name)
{
    struct catalogue_change *change = calloc(1, sizeof(*change));
    ASSERT(change != NULL);
    ASSERT(name.length <= sizeof(change->name_text));
    list_init(&change->link);
    change->kind = kind;
    memcpy(change->name_text, name.data, name.length);
    change->name = bytes_make(change->name_text, name.length);
    return change;
}

/* The request was copied: its frame may go. */
static void begin_for(struct call *call, struct catalogue_change *change)
{
    change->call = call;
    call->own = change;
    call_drop_buffer(call);
    call_forward(call, call->home, call->home->cores->core[0], begin_step);
}

void catalogue_change_put_topic(struct call *call, const struct topic_put *put)
{
    struct catalogue_change *change = change_create(CHANGE_PUT_TOPIC, put->name);
    change->put_topic = *put;
    change->put_topic.name = change->name;
    if (put->placement != NULL) {
        change->placement = placement_copy(put->placement);
        change->put_topic.placement = change->placement;
    }
    begin_for(call, change);
}

void catalogue_change_delete_topic(struct call *call, const struct topic_delete *delete)
{
    struct catalogue_change *change = change_create(CHANGE_DELETE_TOPIC, delete->name);
    change->delete_topic = *delete;
    change->delete_topic.name = change->name;
    begin_for(call, change);
}

void catalogue_change_put_group(struct call *call, const struct group_put *put)
{
    struct catalogue_change *change = change_create(CHANGE_PUT_GROUP, put->name);
    change->put_group = *put;
    change->put_group.name = change->name;
    size_t topics_bytes = cursor_left(&put->settings.topics);
    if (topics_bytes > 0) {
        change->topics = malloc(topics_bytes);
        ASSERT(change->topics != NULL);
        memcpy(change->topics, put->settings.topics.at, topics_bytes);
        change->put_group.settings.topics = cursor_over(bytes_make(change->topics, topics_bytes));
    }
    begin_for(call, change);
}

void catalogue_change_delete_group(struct call *call, const struct group_delete *delete)
{
    struct catalogue_change *change = change_create(CHANGE_DELETE_GROUP, delete->name);
    change->delete_group = *delete;
    change->delete_group.name = change->name;
    begin_for(call, change);
}

/* --------------------------------------------------------- the broker's own */

void catalogue_change_dead_letters(struct core *core0, struct bytes group)
{
    struct catalogue_changes *changes = core0->cores->changes;
    char text[TOPIC_NAME_BYTES_MAX];
    struct bytes name = name_of_dead_letters(group, text);
    const struct topic *topic = directory_find(core0->directory, name);
    bool is_there = topic != NULL && topic->queue_count >= changes->rules.shard_count;
    if (!is_there && !changes->stopping) {
        begin(changes, change_create(CHANGE_DEAD_LETTERS, name));
    }
}

void catalogue_change_member(struct core *core0, struct bytes group, struct bytes member,
                             struct change_waiter *waiter)
{
    struct catalogue_changes *changes = core0->cores->changes;
    ASSERT(!changes->stopping); /* the call is answered first */
    char text[GROUP_ANY_NAME_BYTES_MAX];
    struct catalogue_change *change =
        change_create(CHANGE_MEMBER, name_of_member(group, member, text));
    change->waiter = waiter;
    begin(changes, change);
}

void catalogue_change_expire_group(struct core *core0, const struct group *group)
{
    struct catalogue_changes *changes = core0->cores->changes;
    if (changes->stopping || changes->listed >= CATALOGUE_CHANGES_MAX / 2) {
        return; /* there is another look, and others have changes, too */
    }
    struct catalogue_change *change = change_create(CHANGE_DELETE_GROUP, group->name);
    change->delete_group =
        (struct group_delete){.name = change->name, .has_version = true, .version = group->version};
    change->is_idle = true;
    begin(changes, change);
}
