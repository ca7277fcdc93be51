/* SPDX-License-Identifier: Apache-2.0 */
/* receive.c - a receive at home: its arguments, where it waits for its socket, how it ends. */
#include "broker/receive.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/delivery.h"
#include "broker/directory.h"
#include "broker/group_decision.h"
#include "broker/groups.h"
#include "broker/home.h"
#include "broker/receive_answer.h"
#include "broker/session.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "proto/names.h"

#include <stdio.h>
#include <string.h>

/* What a client with too much open is asked to wait. */
#define RETRY_AFTER_MS 1000

/* ------------------------------------------------------------------- what it has */

void receive_drop(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    if (receive->ranges == NULL) {
        return; /* and no runs: they come together */
    }
    struct core *owner = receive->shard->core;
    delivery_drop(receive->runs);
    pool_return(&owner->run_lists, receive->runs, owner == at);
    receive->runs = NULL;
    for (uint32_t i = 0; i < receive->ranges->count; i++) {
        reason_unref(receive->ranges->at[i].reason);
    }
    pool_return(&owner->receive_ranges, receive->ranges, owner == at);
    receive->ranges = NULL;
}

bool receive_release(struct call *call)
{
    struct receive_call *receive = &call->receive;
    if (poll_end(&receive->poll)) {
        ASSERT(!receive->parked);
        receive_drop(call, call->home);
        if (receive->has_ack) {
            settling_release(&receive->settling);
        }
        group_unref(receive->group);
        group_member_unref(receive->member);
    }
    return !receive->poll.cancel_under_way;
}

/* --------------------------------------------------------------------- answers */

static void refuse(struct call *call)
{
    struct receive_call *receive = &call->receive;
    struct refusal refusal;
    if (receive->error == ERROR_GROUP_FULL || receive->bound.what != NULL) {
        const struct refusal_overload overload = {
            .what = receive->bound.what,
            .limit = receive->bound.limit,
            .value = 1,
            .usage = receive->bound.usage,
            .retry_after_ms = RETRY_AFTER_MS,
        };
        (void)refusal_set_overload(&refusal, receive->error, &overload);
        call_refuse(call, &refusal);
        return;
    }
    call_fail(call, receive->error);
}

static void go(struct call *call);
static bool make_member_again(struct call *call, struct core *at);

void receive_home(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    struct session *session = call->session;
    if (receive->shard != NULL) {
        session->lease_shards |= UINT64_C(1) << receive->shard->number;
    }
    if (receive->error == OK && receive->ranges == NULL && receive->is_full) {
        receive->error = ERROR_GROUP_FULL;
    } else if (receive->error != ERROR_OVERLOADED) {
        receive->bound.what = NULL;
    }
    if (receive->error == ERROR_GROUP_NOT_FOUND && receive->is_member && !receive->has_waited &&
        make_member_again(call, at)) {
        return;
    }
    if (receive->error != OK) {
        refuse(call);
        return;
    }
    bool is_lost = receive->ranges != NULL && call_is_dropped(call);
    if (receive->ranges != NULL && (is_lost || session_is_full(session))) {
        /* Nobody will read it, or not soon: others may have it. */
        receive_give_back(call, at);
        receive_drop(call, at);
        bool may_hold = !is_lost && !receive->poll.cancel_under_way && !receive->cancelled;
        if (may_hold && !session->ending) {
            list_append(&session->held_receives, &receive->poll.held);
            at->counters.receives_held++;
            return;
        }
    }
    receive_answer(call);
}

void receive_resume_held(struct session *session)
{
    struct list *link;
    while (!session_is_full(session) && (link = list_take_first(&session->held_receives)) != NULL) {
        struct call *call = CONTAINER_OF(link, struct poll, held)->call;
        call->receive.tried = 0;
        call->receive.is_full = false;
        go(call);
    }
}

/* ---------------------------------------------------------------------- cancel */

void receive_cancel(struct call *call)
{
    struct receive_call *receive = &call->receive;
    struct poll *poll = &receive->poll;
    if (poll->ended || poll->cancel_under_way) {
        return;
    }
    if (!list_is_empty(&poll->held)) {
        list_remove(&poll->held);
        receive_answer(call);
        return;
    }
    if (!receive->is_placed) {
        receive->cancelled = true;
        return;
    }
    poll_cancel_at(poll, receive->group_home);
}

/* ------------------------------------------------------------------- arguments */

/* Who it is: by name, or by the connection. */
static enum error read_member(struct call *call, const struct arguments *arguments,
                              const struct group *group, struct refusal *refusal)
{
    struct receive_call *receive = &call->receive;
    struct bytes member = arguments_bytes(arguments, ARGUMENT_MEMBER);
    char text[MEMBER_NAME_BYTES_MAX];
    if (group->settings.broadcast && !name_is_member_part(member)) {
        return arguments_refuse(refusal, ARGUMENT_MEMBER,
                                "given: a member of a broadcast group has a name of its own");
    }
    if (member.length == 0) {
        int length = snprintf(text, sizeof(text), "connection-%u-%llu", call->home->number,
                              (unsigned long long)(call->session->id & UINT32_MAX));
        member = bytes_make(text, (size_t)length);
    }
    memcpy(receive->member_name, member.data, member.length);
    receive->member_bytes = (uint8_t)member.length;
    return OK;
}

static enum error read_topic(struct call *call, const struct arguments *arguments,
                             const struct group *group, struct refusal *refusal)
{
    struct receive_call *receive = &call->receive;
    receive->is_of_topic = arguments_has(arguments, ARGUMENT_TOPIC);
    if (!receive->is_of_topic) {
        return OK;
    }
    struct bytes name = arguments_bytes(arguments, ARGUMENT_TOPIC);
    const struct topic *topic = directory_find(call->home->directory, name);
    if (topic == NULL) {
        return refusal_set(refusal, ERROR_TOPIC_NOT_FOUND, "%s", error_text(ERROR_TOPIC_NOT_FOUND));
    }
    if (group_find_topic(group, name) == NULL) {
        return arguments_refuse(refusal, ARGUMENT_TOPIC, "one of the group's topics");
    }
    receive->topic_id = topic->id;
    return OK;
}

static void init(struct call *call, struct group *group, const struct arguments *arguments)
{
    struct receive_call *receive = &call->receive;
    memset(receive, 0, sizeof(*receive));
    poll_init(&receive->poll, call, home_cancel);
    list_init(&receive->waiting);
    list_init(&receive->woken);
    receive->group = group_ref(group);
    receive->group_id = group->id;
    receive->group_home = home_core(call->home, group->id);
    receive->session = call->session->id;
    receive->messages_max = (uint32_t)arguments_number(arguments, ARGUMENT_MAX);
    receive->bytes_max = arguments_number(arguments, ARGUMENT_MAX_BYTES);
    receive->lease_ms = (uint32_t)arguments_number(arguments, ARGUMENT_LEASE);
    receive->wait_until_ns = poll_until_ns(call, arguments_number(arguments, ARGUMENT_WAIT_MS));
}

/* All that can be refused before anything happens. */
static enum error read_arguments(struct call *call, const struct arguments *arguments,
                                 struct refusal *refusal)
{
    struct bytes name = arguments_bytes(arguments, ARGUMENT_GROUP);
    struct group *group = directory_find_group(call->home->directory, name);
    if (group == NULL) {
        return group_refuse_missing(name, refusal);
    }
    if (arguments_number(arguments, ARGUMENT_WAIT_MS) > 0 && poll_is_one_too_many(call)) {
        return poll_refuse(call, refusal);
    }
    init(call, group, arguments);
    struct receive_call *receive = &call->receive;
    enum error error = read_member(call, arguments, group, refusal);
    error = error == OK ? read_topic(call, arguments, group, refusal) : error;
    if (error == OK && arguments_has(arguments, ARGUMENT_ACK)) {
        receive->settling.verb = SETTLE_ACK;
        error = settling_read(call, &receive->settling, group, arguments, ARGUMENT_ACK, refusal);
        receive->has_ack = error == OK;
    }
    if (error != OK) {
        group_unref(receive->group);
    }
    return error;
}

/* ----------------------------------------------------------------- the journey */

/* To the group's home, from the call's. */
static void go(struct call *call)
{
    struct core *home = call->home;
    if (call->receive.cancelled) {
        receive_answer(call);
        return;
    }
    if (session_is_full(call->session) && !call_is_dropped(call)) {
        list_append(&call->session->held_receives, &call->receive.poll.held);
        home->counters.receives_held++;
        return;
    }
    call->receive.is_placed = true;
    call_forward(call, home, call->receive.group_home, home_receive);
}

/* Its group is the member's from here. */
static void become_member(struct call *call, struct core *at, struct group *member)
{
    struct receive_call *receive = &call->receive;
    group_unref(receive->group);
    receive->group = group_ref(member);
    receive->group_id = member->id;
    receive->group_home = home_core(at, member->id);
    receive->is_member = true;
    go(call);
}

/* The member's group as this core knows it, or NULL. */
static struct group *find_member(const struct receive_call *receive, struct core *at)
{
    char text[GROUP_ANY_NAME_BYTES_MAX];
    return directory_find_group(
        at->directory,
        name_of_member(receive->group->name,
                       bytes_make(receive->member_name, receive->member_bytes), text));
}

static void member_is_there(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    struct group *member = find_member(receive, at);
    if (receive->error == OK && member == NULL) {
        receive->error = ERROR_GROUP_NOT_FOUND;
    }
    if (receive->error != OK) {
        refuse(call);
        return;
    }
    become_member(call, at, member);
}

static void member_changed(struct change_waiter *waiter, const struct refusal *refusal)
{
    struct call *call = CONTAINER_OF(waiter, struct call, receive.change);
    if (refusal != NULL) {
        call->receive.error = refusal->code;
    }
    call_return(call, call->home->cores->core[0], member_is_there);
}

static void make_member(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    receive->change = (struct change_waiter){.done = member_changed};
    catalogue_change_member(at, receive->group->name,
                            bytes_make(receive->member_name, receive->member_bytes),
                            &receive->change);
}

/* What was to be settled first is. */
static void settled(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    if (!receive->group->settings.broadcast) {
        go(call);
        return;
    }
    struct group *member = find_member(receive, at);
    if (member != NULL && group_member_is_current(member, receive->group)) {
        become_member(call, at, member);
    } else {
        call_forward(call, at, at->cores->core[0], make_member);
    }
}

/* The member's group was deleted while the call was on its way to it, for being idle perhaps: it is made anew if the
 * broadcast group is there. False: it is not. */
static bool make_member_again(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    struct group *broadcast =
        directory_find_group(at->directory, name_group_of(receive->group->name));
    if (broadcast == NULL || !broadcast->settings.broadcast) {
        return false;
    }
    group_unref(receive->group);
    receive->group = group_ref(broadcast);
    group_member_unref(receive->member);
    receive->member = NULL;
    receive->error = OK;
    receive->is_placed = false;
    receive->is_member = false;
    receive->tried = 0;
    receive->is_full = false;
    call_forward(call, at, at->cores->core[0], make_member);
    return true;
}

void receive_run(struct call *call, const struct arguments *arguments)
{
    struct refusal refusal;
    call->method = METHOD_COUNT; /* until there is something to release */
    if (read_arguments(call, arguments, &refusal) != OK) {
        call_refuse(call, &refusal);
        return;
    }
    call->method = METHOD_RECEIVE;
    call_drop_buffer(call);
    struct receive_call *receive = &call->receive;
    receive_prune(call->session);
    if (receive->wait_until_ns != 0) {
        poll_begin(&receive->poll);
    }
    if (receive->has_ack) {
        settling_begin(call, &receive->settling, settled);
    } else {
        settled(call, call->home);
    }
}
