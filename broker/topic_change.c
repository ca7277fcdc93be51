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
#include "storage/commit_log.h"

#include <stdlib.h>
#include <string.h>

/* How long after a shard had no room its part of a change is tried again. */
#define OWING_RETRY_NS UINT64_C(1000000000)

struct topic_changes {
    struct core *core0;
    struct leases *leases;
    struct topic_rules rules;
    struct list changes; /* struct topic_change.link of all, in the order in which they came */
    uint32_t count;
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
    ASSERT(list_is_empty(&changes->changes));
    free(changes);
}

static void change_free(struct topic_change *change)
{
    topic_unref(change->topic);
    free(change);
}

void topic_changes_stop(struct topic_changes *changes)
{
    LIST_FOREACH (link, &changes->changes) {
        struct topic_change *change = CONTAINER_OF(link, struct topic_change, link);
        if (change->state == CHANGE_OWING) {
            ASSERT(change->call == NULL && change->away == 0);
            timer_stop(changes->core0->reactor, &change->retry);
            list_remove(&change->link);
            changes->count--;
            change_free(change);
        }
    }
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

/* Sends a change home that no list has any more. */
static void go_home(struct topic_changes *changes, struct topic_change *change)
{
    ASSERT(list_is_empty(&change->link));
    if (change->call == NULL) {
        change_free(change);
        return;
    }
    call_return(change->call, changes->core0, answer_step);
}

static void decide(struct topic_change *change);

static struct bytes change_name(const struct topic_change *change)
{
    return change->kind == CHANGE_PUT ? change->put.name : change->delete.name;
}

/* The first change of `name` that is listed, or NULL. */
static struct topic_change *first_of(struct topic_changes *changes, struct bytes name)
{
    LIST_FOREACH (link, &changes->changes) {
        struct topic_change *change = CONTAINER_OF(link, struct topic_change, link);
        if (bytes_equal(change_name(change), name)) {
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
    changes->count--;
    struct topic_change *next = first_of(changes, change_name(change));
    if (next != NULL) {
        ASSERT(next->state == CHANGE_WAITING);
        decide(next);
    }
}

static void refuse(struct topic_change *change)
{
    struct topic_changes *changes = change->changes;
    change->refused = true;
    leave(change);
    go_home(changes, change);
}

/* ------------------------------------------------------ publish and renew */

static void renewed(struct lease_waiter *waiter)
{
    struct topic_change *change = CONTAINER_OF(waiter, struct topic_change, renewal);
    go_home(change->changes, change);
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

static void publish(struct topic_change *change)
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

/* ---------------------------------------------------------------- append */

static void send_part(struct change_part *part);

static void retry_fired(struct timer *timer)
{
    struct topic_change *change = CONTAINER_OF(timer, struct topic_change, retry);
    change->state = CHANGE_APPENDING;
    for (uint32_t i = 0; i < change->part_count; i++) {
        if (!change->parts[i].appended) {
            change->away++;
            send_part(&change->parts[i]);
        }
    }
}

/* A shard had no room. The change is decided and goes on by itself; who asked for it, and who
 * waits behind it, hears why it takes so long. */
static void owe(struct topic_change *change)
{
    struct topic_changes *changes = change->changes;
    change->state = CHANGE_OWING;
    uint64_t now_ns = reactor_now_ns(changes->core0->reactor);
    timer_start(changes->core0->reactor, &change->retry, now_ns + OWING_RETRY_NS);
    LIST_FOREACH (link, &changes->changes) {
        struct topic_change *waiting = CONTAINER_OF(link, struct topic_change, link);
        if (waiting->state != CHANGE_WAITING ||
            !bytes_equal(change_name(waiting), change_name(change))) {
            continue;
        }
        list_remove(&waiting->link);
        changes->count--;
        waiting->refused = true;
        waiting->refusal = change->refusal;
        go_home(changes, waiting);
    }
    if (change->call != NULL) {
        struct topic_change *answer = calloc(1, sizeof(*answer));
        ASSERT(answer != NULL);
        list_init(&answer->link);
        answer->call = change->call;
        answer->call->own = answer;
        answer->refused = true;
        answer->refusal = change->refusal;
        change->call = NULL;
        go_home(changes, answer);
    }
}

static void part_is_home(struct topic_change *change)
{
    ASSERT(change->away > 0);
    if (--change->away > 0) {
        return;
    }
    for (uint32_t i = 0; i < change->part_count; i++) {
        if (!change->parts[i].appended) {
            owe(change);
            return;
        }
    }
    publish(change);
}

static void deliver_part_home(const struct core_message *message, void *core)
{
    (void)core;
    struct change_part *part = message->object;
    enum error error = (enum error)message->words[0];
    part->appended = error == OK;
    if (error != OK) {
        refusal_set(&part->change->refusal, error, "shard %u cannot record the change now: %s",
                    part->shard->number, error_text(error));
        refusal_add(&part->change->refusal, REFUSAL_RETRY_AFTER_MS, 1000);
    }
    part_is_home(part->change);
}

/* On the shard's core: the part goes home, durable or refused. */
static void send_part_home(struct change_part *part, enum error error)
{
    struct core *at = part->shard->core;
    struct core_message message = {
        .deliver = deliver_part_home,
        .object = part,
        .words = {(uint64_t)error},
    };
    core_send_to(at, at->cores->core[0], &message);
}

static void part_durable(struct log_operation *operation)
{
    send_part_home(CONTAINER_OF(operation, struct change_part, operation), OK);
}

static enum error part_append(struct change_part *part)
{
    struct topic_change *change = part->change;
    part->operation = (struct log_operation){.done = part_durable};
    struct bytes bytes = {change->operation, change->operation_bytes};
    return commit_log_operate(part->shard->log, bytes, &part->operation);
}

static void deliver_part(const struct core_message *message, void *core)
{
    (void)core;
    struct change_part *part = message->object;
    enum error error = part_append(part);
    if (error != OK) {
        send_part_home(part, error);
    }
}

static void send_part(struct change_part *part)
{
    struct core_message message = {.deliver = deliver_part, .object = part};
    core_send_to(part->change->changes->core0, part->shard->core, &message);
}

/* To shard 0 first, which decides: nothing has happened if it refuses. */
static void append(struct topic_change *change, uint64_t shards)
{
    struct cores *cores = change->changes->core0->cores;
    change->part_count = 0;
    for (uint32_t shard = 0; shard < cores->shard_count; shard++) {
        if ((shards >> shard & 1) != 0) {
            change->parts[change->part_count++] =
                (struct change_part){.change = change, .shard = cores->shard[shard]};
        }
    }
    enum error error = part_append(&change->parts[0]);
    if (error != OK) {
        refusal_set(&change->refusal, error, "shard 0 cannot record the change: %s",
                    error_text(error));
        if (error_is_overload(error)) {
            refusal_add(&change->refusal, REFUSAL_RETRY_AFTER_MS, 1000);
        }
        refuse(change);
        return;
    }
    change->state = CHANGE_APPENDING;
    change->away = change->part_count;
    for (uint32_t i = 1; i < change->part_count; i++) {
        send_part(&change->parts[i]);
    }
}

/* ---------------------------------------------------------------- decide */

static void decide_put(struct topic_change *change)
{
    struct topic_changes *changes = change->changes;
    const struct catalogue *catalogue = changes->core0->cores->shard[0]->catalogue;
    if (topic_put_decide(catalogue, &changes->rules, &change->put, &change->topic,
                         &change->refusal) != OK) {
        refuse(change);
        return;
    }
    change->id = change->topic->id;
    change->version = change->topic->version;
    if (change->topic == catalogue_find(catalogue, change->put.name)) {
        leave(change);
        go_home(changes, change);
        return;
    }
    struct writer writer = writer_over(change->operation, sizeof(change->operation));
    catalogue_write_put(&writer, change->topic);
    ASSERT(!writer.overflowed);
    change->operation_bytes = writer_length(&writer);
    append(change, topic_shards(change->topic));
}

static void decide_delete(struct topic_change *change)
{
    struct topic_changes *changes = change->changes;
    const struct catalogue *catalogue = changes->core0->cores->shard[0]->catalogue;
    struct topic *topic;
    struct catalogue_deleted deleted;
    if (topic_delete_decide(catalogue, &changes->rules, &change->delete, &topic, &deleted,
                            &change->refusal) != OK) {
        refuse(change);
        return;
    }
    change->topic = topic_ref(topic);
    change->id = deleted.id;
    change->version = deleted.version;
    struct writer writer = writer_over(change->operation, sizeof(change->operation));
    catalogue_write_delete(&writer, deleted.id, deleted.version);
    ASSERT(!writer.overflowed);
    change->operation_bytes = writer_length(&writer);
    append(change, topic_shards(topic));
}

static void decide(struct topic_change *change)
{
    if (call_is_late(change->call, change->changes->core0)) {
        refusal_set(&change->refusal, ERROR_DEADLINE, "%s", error_text(ERROR_DEADLINE));
        refuse(change);
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
    if (changes->count == CATALOGUE_CHANGES_MAX) {
        struct refusal_overload overload = {
            .what = "changes of topics under way",
            .limit = CATALOGUE_CHANGES_MAX,
            .value = 1,
            .usage = changes->count,
            .retry_after_ms = 100,
        };
        refusal_set_overload(&change->refusal, ERROR_OVERLOADED, &overload);
        change->refused = true;
        go_home(changes, change);
        return;
    }
    struct topic_change *before = first_of(changes, change_name(change));
    if (before != NULL && before->state == CHANGE_OWING) {
        change->refusal = before->refusal;
        change->refused = true;
        go_home(changes, change);
        return;
    }
    list_append(&changes->changes, &change->link);
    changes->count++;
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
    change->retry.fired = retry_fired;
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
