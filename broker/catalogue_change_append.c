/* SPDX-License-Identifier: Apache-2.0 */
/*
 * catalogue_change_append.c - a change's records: to shard 0, then to the others, and again to one that was full.
 */
#include "broker/call.h"
#include "broker/catalogue_change_state.h"
#include "broker/core.h"
#include "broker/groups.h"
#include "broker/shard.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdlib.h>

/* How long after a shard had no room its part of a change is tried again. */
#define OWING_RETRY_NS UINT64_C(1000000000)

static void send_part(struct change_part *part);

static void retry_fired(struct timer *timer)
{
    struct catalogue_change *change = CONTAINER_OF(timer, struct catalogue_change, retry);
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
static void owe(struct catalogue_change *change)
{
    struct catalogue_changes *changes = change->changes;
    change->state = CHANGE_OWING;
    change->retry.fired = retry_fired;
    uint64_t now_ns = reactor_now_ns(changes->core0->reactor);
    timer_start(changes->core0->reactor, &change->retry, now_ns + OWING_RETRY_NS);
    LIST_FOREACH (link, &changes->changes) {
        struct catalogue_change *waiting = CONTAINER_OF(link, struct catalogue_change, link);
        if (waiting->state != CHANGE_WAITING || !catalogue_change_meets(waiting, change)) {
            continue;
        }
        list_remove(&waiting->link);
        changes->listed--;
        waiting->refused = true;
        waiting->refusal = change->refusal;
        catalogue_change_go_home(waiting);
    }
    if (change->call != NULL || change->waiter != NULL) {
        struct catalogue_change *answer = calloc(1, sizeof(*answer));
        ASSERT(answer != NULL);
        list_init(&answer->link);
        answer->changes = changes;
        changes->under_way++;
        answer->call = change->call;
        answer->waiter = change->waiter;
        if (answer->call != NULL) {
            answer->call->own = answer;
        }
        answer->refused = true;
        answer->refusal = change->refusal;
        change->call = NULL;
        change->waiter = NULL;
        catalogue_change_go_home(answer);
    }
    catalogue_changes_stop_check(changes);
}

static void part_is_home(struct catalogue_change *change)
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
    catalogue_change_publish(change);
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

static enum error operate(struct change_part *part)
{
    struct catalogue_change *change = part->change;
    part->operation = (struct log_operation){.done = part_durable};
    struct bytes bytes = {change->operation, change->operation_bytes};
    return commit_log_operate(part->shard->log, bytes, &part->operation);
}

/* On the shard's core. Where its groups stand follows its catalogue, which knows the group from here. */
static enum error part_append(struct change_part *part)
{
    const struct catalogue *catalogue = part->shard->catalogue;
    const struct catalogue_change *change = part->change;
    if (change->kind != CHANGE_PUT_GROUP && change->kind != CHANGE_MEMBER) {
        return operate(part);
    }
    struct group *old = catalogue_find_group_id(catalogue, change->id);
    if (old != NULL) {
        group_ref(old);
    }
    enum error error = operate(part);
    if (error == OK) {
        groups_put(part->shard, catalogue_find_group_id(catalogue, change->id), old);
    }
    group_unref(old);
    return error;
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

/* Who lost what, and when, is found in the broker's log. */
static void say_decided(const struct catalogue_change *change)
{
    bool is_deleted = change->kind == CHANGE_DELETE_TOPIC || change->kind == CHANGE_DELETE_GROUP;
    bool is_topic = change->topic != NULL;
    const char *what = is_deleted ? "deleted" : change->is_new ? "created" : "changed";
    uint32_t count = is_topic ? change->topic->queue_count : change->group->topic_count;
    log_info("%s '%.*s' was %s%s: id %u, version %" PRIu64 ", %u %s%s",
             is_topic ? "topic" : "group", (int)change->name.length,
             (const char *)change->name.data, what,
             change->is_idle ? ", since nobody has used it for as long as it says" : "", change->id,
             change->version, count, is_topic ? "queue" : "topic", count == 1 ? "" : "s");
}

/* To shard 0 first, which decides: nothing has happened if it refuses. */
void catalogue_change_append(struct catalogue_change *change, uint64_t shards)
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
        catalogue_change_refuse(change);
        return;
    }
    say_decided(change);
    change->state = CHANGE_APPENDING;
    change->away = change->part_count;
    for (uint32_t i = 1; i < change->part_count; i++) {
        send_part(&change->parts[i]);
    }
}
