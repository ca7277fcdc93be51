/* SPDX-License-Identifier: Apache-2.0 */
/* home.c - calls that wait for a group, shards that are ready, members. */
#include "broker/home.h"

#include "broker/call.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/limits.h"
#include "broker/receive.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

#include <stdlib.h>

struct core *home_core(const struct core *any, uint32_t group)
{
    return any->cores->core[group % any->cores->count];
}

struct home *home_find(const struct core *core, uint32_t group)
{
    return number_map_find(&core->homes, group);
}

struct home *home_make(struct core *core, uint32_t group)
{
    struct home *home = home_find(core, group);
    if (home != NULL) {
        return home;
    }
    home = calloc(1, sizeof(*home));
    ASSERT(home != NULL);
    home->group = group;
    home->used_ns = reactor_now_ns(core->reactor);
    /* Nobody knows yet: a shard that has nothing will say so. */
    uint32_t shards = core->cores->shard_count;
    home->ready = shards == 64 ? UINT64_MAX : (UINT64_C(1) << shards) - 1;
    list_init(&home->waiting);
    list_init(&home->by_seen);
    map_init(&home->members, core->homes.seed);
    ASSERT(number_map_put(&core->homes, group, home));
    return home;
}

static void forget_member(struct core *core, struct home *home, struct group_member *member)
{
    core->home_members--;
    (void)map_remove(&home->members, member->name);
    list_remove(&member->link);
    group_member_unref(member);
}

static void home_destroy(struct core *core, struct home *home)
{
    ASSERT(list_is_empty(&home->waiting));
    LIST_FOREACH (link, &home->by_seen) {
        forget_member(core, home, CONTAINER_OF(link, struct group_member, link));
    }
    map_deinit(&home->members);
    free(home);
}

void homes_deinit(struct core *core)
{
    uint32_t slot = 0;
    struct home *home;
    while ((home = number_map_next(&core->homes, &slot)) != NULL) {
        home_destroy(core, home);
    }
    number_map_deinit(&core->homes);
}

/* ------------------------------------------------------------------ members */

static bool is_forgettable(const struct group_member *member)
{
    return member->waiting == 0 && atomic_load_explicit(&member->leased, memory_order_relaxed) == 0;
}

/* Those that were seen longest ago go, a few at a time; where there is no room for another, whatever their
 * age. */
static void forget_members(struct core *core, struct home *home, uint64_t now_ms)
{
    enum { AT_ONCE = 4 };
    for (uint32_t i = 0; i < AT_ONCE; i++) {
        struct list *link = list_first(&home->by_seen);
        struct group_member *member =
            link == NULL ? NULL : CONTAINER_OF(link, struct group_member, link);
        bool is_full = core->home_members >= HOME_MEMBERS_MAX;
        if (member == NULL || (!is_full && now_ms - member->seen_ms <= MEMBER_FORGOTTEN_MS)) {
            return;
        }
        if (is_forgettable(member)) {
            forget_member(core, home, member);
        } else {
            list_remove(link);
            list_append(&home->by_seen, link);
        }
    }
}

/* The member of that name, seen now; NULL where there are too many. */
static struct group_member *see_member(struct core *core, struct home *home, struct bytes name,
                                       uint64_t now_ms)
{
    struct group_member *member = map_find(&home->members, name);
    if (member == NULL) {
        forget_members(core, home, now_ms);
        if (core->home_members >= HOME_MEMBERS_MAX) {
            return NULL;
        }
        core->home_members++;
        member = group_member_create(name);
        ASSERT(map_put(&home->members, member->name, member));
    }
    member->seen_ms = now_ms;
    list_remove(&member->link);
    list_append(&home->by_seen, &member->link);
    return member;
}

bool home_is_in_use(const struct home *home)
{
    if (!list_is_empty(&home->waiting)) {
        return true;
    }
    LIST_FOREACH (link, &home->by_seen) {
        const struct group_member *member = CONTAINER_OF(link, struct group_member, link);
        if (atomic_load_explicit(&member->leased, memory_order_relaxed) > 0) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ waiting */

static void stop_waiting(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    list_remove(&receive->waiting);
    timer_stop(at->reactor, &receive->timer);
    receive->parked = false;
    receive->member->waiting--;
    struct home *home = home_find(at, receive->group_id);
    if (home != NULL) {
        home->used_ns = reactor_now_ns(at->reactor);
    }
}

void home_cancel(struct call *call, struct core *at)
{
    if (call->receive.parked) {
        stop_waiting(call, at);
        call_return(call, at, receive_home);
    } else {
        call->receive.cancelled = true;
    }
}

static void timer_fired(struct timer *timer);

/* In the order in which they came. */
static void wait_here(struct home *home, struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    receive->parked = true;
    receive->member->waiting++;
    struct list *place = &home->waiting;
    if (receive->has_waited) {
        place = home->waiting.next;
        while (place != &home->waiting &&
               CONTAINER_OF(place, struct call, receive.waiting)->arrived_ns < call->arrived_ns) {
            place = place->next;
        }
    }
    list_insert_before(place, &receive->waiting);
    receive->has_waited = true;
    receive->timer = (struct timer){.fired = timer_fired};
    timer_start(at->reactor, &receive->timer, receive->wait_until_ns);
}

/* ------------------------------------------------------------------- shards */

static void go_to_shard(struct call *call, struct core *at, uint32_t shard)
{
    call->receive.shard = at->cores->shard[shard];
    call_forward(call, at, call->receive.shard->core, receive_serve);
}

/* To a shard that is ready, or to wait, or home with nothing. */
static void place(struct home *home, struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    uint64_t ready = (home->ready | home->full) & ~receive->tried;
    if (ready != 0) {
        uint64_t later = ready & ~((UINT64_C(1) << home->next_shard) - 1);
        uint32_t shard = (uint32_t)__builtin_ctzll(later != 0 ? later : ready);
        home->next_shard = (shard + 1) % at->cores->shard_count;
        go_to_shard(call, at, shard);
        return;
    }
    bool may_wait = reactor_now_ns(at->reactor) < receive->wait_until_ns && !receive->cancelled &&
                    !at->draining && receive->error == OK;
    if (may_wait) {
        receive->tried = 0;
        wait_here(home, call, at);
        return;
    }
    call_return(call, at, receive_home);
}

/* It has waited as long as it may: where a bound keeps something back the shard says so. */
static void timer_fired(struct timer *timer)
{
    struct call *call = CONTAINER_OF(timer, struct call, receive.timer);
    struct receive_call *receive = &call->receive;
    struct core *at = receive->group_home;
    stop_waiting(call, at);
    struct home *home = home_find(at, receive->group_id);
    receive->is_full = false;
    receive->tried = ~home->full;
    place(home, call, at);
}

/* The home of the call's group; NULL: the group was deleted, and the call is on its way to say so. */
static struct home *home_of_call(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    if (directory_find_group_id(at->directory, receive->group_id) != NULL) {
        return home_make(at, receive->group_id);
    }
    receive->error = ERROR_GROUP_NOT_FOUND;
    call_return(call, at, receive_home);
    return NULL;
}

void home_receive(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    struct home *home = home_of_call(call, at);
    if (home == NULL) {
        return;
    }
    uint64_t now_ms = reactor_wall_ms(at->reactor);
    home->used_ns = reactor_now_ns(at->reactor);
    if (receive->member == NULL) {
        struct bytes name = bytes_make(receive->member_name, receive->member_bytes);
        receive->member = group_member_ref(see_member(at, home, name, now_ms));
    }
    if (receive->member == NULL) {
        receive->error = ERROR_OVERLOADED;
        receive->bound = (struct group_bound){"members of groups that are remembered",
                                              HOME_MEMBERS_MAX, at->home_members};
        call_return(call, at, receive_home);
        return;
    }
    place(home, call, at);
}

/* A call that waits goes to a shard. */
static void wake(struct home *home, struct call *call, struct core *at, uint32_t shard)
{
    stop_waiting(call, at);
    call->receive.round = home->round;
    call->receive.is_full = false;
    go_to_shard(call, at, shard);
}

static struct call *next_of_round(const struct home *home)
{
    LIST_FOREACH (link, &home->waiting) {
        struct call *call = CONTAINER_OF(link, struct call, receive.waiting);
        if (call->receive.round != home->round) {
            return call;
        }
    }
    return NULL;
}

static void deliver_pass(const struct core_message *message, void *core)
{
    struct home *home = home_find(core, (uint32_t)message->words[0]);
    struct call *next = home == NULL ? NULL : next_of_round(home);
    if (next != NULL) {
        wake(home, next, core, (uint32_t)message->words[1]);
    }
}

/* Something is there that `call` did not want: the next that was not asked this round may. Who waits for the same
 * topic does not want it either. A message to the core itself, for there may be many to ask. */
static void pass_on(struct home *home, struct core *at, const struct call *call)
{
    const struct receive_call *receive = &call->receive;
    LIST_FOREACH (link, &home->waiting) {
        struct receive_call *other = &CONTAINER_OF(link, struct call, receive.waiting)->receive;
        bool is_alike = receive->is_of_topic && !receive->was_put_off && other->is_of_topic &&
                        other->topic_id == receive->topic_id;
        other->round = is_alike ? home->round : other->round;
    }
    if (next_of_round(home) != NULL) {
        struct core_message message = {
            .deliver = deliver_pass,
            .words = {home->group, receive->shard->number},
        };
        core_send_to(at, at, &message);
    }
}

void home_return(struct call *call, struct core *at)
{
    struct receive_call *receive = &call->receive;
    struct home *home = home_of_call(call, at);
    if (home == NULL) {
        return;
    }
    uint32_t shard = receive->shard->number;
    uint64_t bit = UINT64_C(1) << shard;
    bool leaves_some = receive->leaves_some;
    /* What it said before this call came from there is over; what it says from now on comes later. */
    home->ready = leaves_some ? home->ready | bit : home->ready & ~bit;
    home->full = receive->is_full_here ? home->full | bit : home->full & ~bit;
    receive->tried |= bit;
    receive->round = home->round;
    if (leaves_some) {
        pass_on(home, at, call);
    }
    place(home, call, at);
}

/* Runs `message`, whose first word is the group, on the core that is its home. */
static void tell_home(struct core *from, const struct core_message *message)
{
    struct core *to = home_core(from, (uint32_t)message->words[0]);
    if (to == from) {
        message->deliver(message, to);
    } else {
        core_send_to(from, to, message);
    }
}

static void deliver_ready(const struct core_message *message, void *core)
{
    uint32_t shard = (uint32_t)message->words[1];
    struct home *home = home_find(core, (uint32_t)message->words[0]);
    if (home == NULL) {
        return; /* the first call will ask all */
    }
    struct list *link = list_first(&home->waiting);
    if (link == NULL) {
        home->ready |= UINT64_C(1) << shard;
        return;
    }
    home->round++;
    wake(home, CONTAINER_OF(link, struct call, receive.waiting), core, shard);
}

void home_tell_ready(struct core *from, uint32_t group, uint32_t shard)
{
    const struct core_message message = {.deliver = deliver_ready, .words = {group, shard}};
    tell_home(from, &message);
}

static void deliver_full(const struct core_message *message, void *core)
{
    struct home *home = home_find(core, (uint32_t)message->words[0]);
    if (home != NULL) {
        uint64_t bit = UINT64_C(1) << message->words[1];
        home->full = message->words[2] != 0 ? home->full | bit : home->full & ~bit;
    }
}

void home_tell_full(struct core *from, uint32_t group, uint32_t shard, bool is_full)
{
    const struct core_message message = {.deliver = deliver_full, .words = {group, shard, is_full}};
    tell_home(from, &message);
}

static void deliver_used(const struct core_message *message, void *core)
{
    struct home *home = home_find(core, (uint32_t)message->words[0]);
    if (home != NULL) {
        home->used_ns = reactor_now_ns(((struct core *)core)->reactor);
    }
}

void home_tell_used(struct core *from, uint32_t group)
{
    const struct core_message message = {.deliver = deliver_used, .words = {group}};
    tell_home(from, &message);
}

void home_drop(struct core *core, uint32_t group)
{
    struct home *home = number_map_remove(&core->homes, group);
    if (home == NULL) {
        return;
    }
    struct list *link;
    while ((link = list_first(&home->waiting)) != NULL) {
        struct call *call = CONTAINER_OF(link, struct call, receive.waiting);
        stop_waiting(call, core);
        call->receive.error = ERROR_GROUP_NOT_FOUND;
        call_return(call, core, receive_home);
    }
    home_destroy(core, home);
}
