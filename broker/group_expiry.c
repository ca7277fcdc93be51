/* SPDX-License-Identifier: Apache-2.0 */
/* group_expiry.c - a core's look at its groups: which are idle, and when to look again. */
#include "broker/group_expiry.h"

#include "broker/catalogue_change.h"
#include "broker/core.h"
#include "broker/directory.h"
#include "broker/group.h"
#include "broker/home.h"
#include "proto/base/contract.h"
#include "proto/names.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    LOOK_EVERY_MS = 1000,
    /* Of one look: the next finds the rest. */
    IDLE_MAX = 64
};

/* Nothing can make it idle but what is noted. */
#define IN_USE UINT64_MAX

/* -------------------------------------------------------------------- groups */

/* A member of a broadcast group that is gone, or was made anew. */
static bool is_orphan(struct directory *directory, const struct group *group)
{
    if (!name_is_member(group->name)) {
        return false;
    }
    const struct group *broadcast = directory_find_group(directory, name_group_of(group->name));
    return broadcast == NULL || !broadcast->settings.broadcast || broadcast->id > group->id;
}

static bool has_members(const struct directory *directory, const struct group *broadcast)
{
    char text[GROUP_NAME_BYTES_MAX + 1];
    struct bytes prefix = name_of_members(broadcast->name, text);
    uint32_t place = directory_group_place(directory, prefix);
    return place < directory->group_count &&
           bytes_starts_with(directory->groups[place]->name, prefix);
}

/* How long a group may still be idle; 0: it goes. */
static uint64_t left_ms(struct core *core, const struct group *group, uint64_t now_ns)
{
    if (is_orphan(core->directory, group)) {
        return 0;
    }
    struct home *home = home_make(core, group->id);
    if (group->settings.broadcast && has_members(core->directory, group)) {
        return IN_USE;
    }
    if (home_is_in_use(home)) {
        home->used_ns = now_ns;
    }
    uint64_t idle_ms = (now_ns - home->used_ns) / NS_PER_MS;
    uint64_t most_ms = group->settings.idle_expire_ms + HOME_TOLD_USED_EVERY_MS;
    return idle_ms >= most_ms ? 0 : most_ms - idle_ms;
}

/* ---------------------------------------------------------------------- idle */

/* On core 0. */
static void deliver_idle(const struct core_message *message, void *core)
{
    const struct core *core0 = core;
    const struct group *group =
        directory_find_group_id(core0->directory, (uint32_t)message->words[0]);
    if (group != NULL && group->version == message->words[1]) {
        catalogue_change_expire_group(core, group);
    }
}

static void tell_idle(struct core *core, const struct group *group)
{
    struct core_message message = {
        .deliver = deliver_idle,
        .words = {group->id, group->version},
    };
    core_send_to(core, core->cores->core[0], &message);
}

/* ---------------------------------------------------------------------- looks */

static void look_after(struct core *core, uint64_t after_ms)
{
    uint64_t now_ns = reactor_now_ns(core->reactor);
    timer_start(core->reactor, &core->expiry.timer, now_ns + after_ms * NS_PER_MS);
}

static void look(struct core *core)
{
    struct directory *directory = core->directory;
    uint64_t now_ns = reactor_now_ns(core->reactor);
    uint64_t next_ms = IN_USE;
    uint32_t idle = 0;
    core->expiry.looked_ns = now_ns;
    for (uint32_t i = 0; i < directory->group_count && idle < IDLE_MAX; i++) {
        const struct group *group = directory->groups[i];
        if (group->settings.idle_expire_ms == 0 || home_core(core, group->id) != core) {
            continue;
        }
        uint64_t left = left_ms(core, group, now_ns);
        if (left == 0) {
            tell_idle(core, group);
            idle++;
        }
        next_ms = left < next_ms ? left : next_ms;
    }
    if (next_ms != IN_USE) {
        look_after(core, next_ms > LOOK_EVERY_MS ? next_ms : LOOK_EVERY_MS);
    }
}

static void timer_fired(struct timer *timer)
{
    look(CONTAINER_OF(timer, struct core, expiry.timer));
}

/* As soon as may be. */
static void look_soon(struct core *core)
{
    uint64_t since_ms = (reactor_now_ns(core->reactor) - core->expiry.looked_ns) / NS_PER_MS;
    bool may_now = core->expiry.looked_ns == 0 || since_ms >= LOOK_EVERY_MS;
    if (!core->draining) {
        look_after(core, may_now ? 0 : LOOK_EVERY_MS - since_ms);
    }
}

void group_expiry_note_put(struct core *core, const struct group *group)
{
    if (group->settings.idle_expire_ms != 0) {
        look_soon(core);
    }
}

void group_expiry_note_delete(struct core *core, const struct group *group)
{
    if (group->settings.broadcast || name_is_member(group->name)) {
        look_soon(core);
    }
}

void group_expiry_start(struct core *core)
{
    const struct directory *directory = core->directory;
    for (uint32_t i = 0; i < directory->group_count; i++) {
        if (directory->groups[i]->settings.idle_expire_ms != 0) {
            look_soon(core);
            return;
        }
    }
}

void group_expiry_init(struct core *core)
{
    core->expiry = (struct group_expiry){.timer = {.fired = timer_fired}};
}

void group_expiry_stop(struct core *core)
{
    timer_stop(core->reactor, &core->expiry.timer);
}
