/* SPDX-License-Identifier: Apache-2.0 */
/* core.c - making cores, handing connections out, draining. */
#include "broker/core.h"

#include "broker/call.h"
#include "broker/groups.h"
#include "broker/home.h"
#include "broker/pull.h"
#include "broker/queue_choice.h"
#include "broker/queue_tour.h"
#include "broker/receive.h"
#include "broker/session.h"
#include "broker/settle.h"
#include "broker/shard.h"
#include "proto/base/contract.h"

#include <stdlib.h>

/* Blocks that a core keeps idle. Calls: what a dozen connections may have unanswered, 2 MiB. */
enum { IDLE_CALLS_MAX = 4096, IDLE_RUN_LISTS_MAX = 64 };

/* Of each span class about 1.5 MiB are kept, of the largest two blocks. */
static const struct {
    uint32_t messages;
    uint32_t idle_max;
} span_classes[SPAN_CLASSES] = {{16, 1024}, {128, 512}, {2048, 32}, {MESSAGES_PER_CALL_MAX, 2}};

uint32_t span_class_messages(uint32_t span_class)
{
    return span_classes[span_class].messages;
}

static void woken_hook_run(struct turn_hook *hook)
{
    struct core *core = CONTAINER_OF(hook, struct core, woken_hook);
    /* What the logs have written is known here: all that follows may append. */
    struct list settled;
    list_init(&settled);
    settle_take_written(core, &settled);
    receive_written(core);
    groups_tell_homes(core); /* what an ack has freed is there for the receive that it came with */
    settle_let_go(core, &settled);
    queue_tours_written(core);
    pull_serve_woken(core);
    receive_serve_woken(core);
    settle_go_on(core);
    groups_tell_homes(core);
}

static bool woken_hook_pending(struct turn_hook *hook)
{
    const struct core *core = CONTAINER_OF(hook, struct core, woken_hook);
    return !list_is_empty(&core->woken) || !list_is_empty(&core->scanning) ||
           settle_is_written(core) || !list_is_empty(&core->settling) ||
           queue_tours_are_written(core) || receive_is_written(core) ||
           !list_is_empty(&core->receives) || !list_is_empty(&core->woken_groups);
}

static struct core *core_create(struct cores *cores, uint32_t number, struct reactor *reactor)
{
    struct core *core = calloc(1, sizeof(*core));
    ASSERT(core != NULL);
    core->number = number;
    core->cores = cores;
    core->reactor = reactor;
    list_init(&core->sessions);
    list_init(&core->woken);
    list_init(&core->scanning);
    list_init(&core->written);
    list_init(&core->settling);
    core->settle_left = SETTLE_STEPS_A_TURN;
    list_init(&core->toured);
    list_init(&core->leased);
    list_init(&core->receives);
    list_init(&core->woken_groups);
    const struct map_seed seed = {reactor_random(reactor), reactor_random(reactor)};
    number_map_init(&core->homes, seed);
    group_expiry_init(core);
    core->woken_hook = (struct turn_hook){.run = woken_hook_run, .pending = woken_hook_pending};
    pool_init(&core->calls, sizeof(struct call), IDLE_CALLS_MAX);
    pool_init(&core->run_lists, sizeof(struct run_list), IDLE_RUN_LISTS_MAX);
    pool_init(&core->receive_ranges, sizeof(struct receive_ranges), IDLE_RUN_LISTS_MAX);
    for (uint32_t i = 0; i < SPAN_CLASSES; i++) {
        pool_init(&core->spans[i], span_classes[i].messages * sizeof(struct append_message),
                  span_classes[i].idle_max);
    }
    core->choices = queue_choices_create();
    return core;
}

static void core_destroy(struct core *core)
{
    ASSERT(list_is_empty(&core->sessions));
    ASSERT(!woken_hook_pending(&core->woken_hook));
    group_expiry_stop(core);
    homes_deinit(core);
    if (core->hooked) {
        reactor_hook_remove(core->reactor, &core->woken_hook);
    }
    pool_deinit(&core->calls);
    pool_deinit(&core->run_lists);
    pool_deinit(&core->receive_ranges);
    filter_scans_deinit(&core->scans);
    for (uint32_t i = 0; i < SPAN_CLASSES; i++) {
        pool_deinit(&core->spans[i]);
    }
    queue_choices_destroy(core->choices);
    free(core);
}

struct cores *cores_create(struct reactor *const *reactors, uint32_t count, uint32_t shard_count)
{
    ASSERT(count >= 1 && count <= CORES_MAX);
    ASSERT(shard_count >= 1 && shard_count <= SHARDS_MAX);
    struct cores *cores = calloc(1, sizeof(*cores));
    ASSERT(cores != NULL);
    cores->count = count;
    cores->shard_count = shard_count;
    void *objects[CORES_MAX];
    for (uint32_t i = 0; i < count; i++) {
        cores->core[i] = core_create(cores, i, reactors[i]);
        objects[i] = cores->core[i];
    }
    for (uint32_t i = 0; i < shard_count; i++) {
        cores->shard[i] = calloc(1, sizeof(struct shard));
        ASSERT(cores->shard[i] != NULL);
        shard_init(cores->shard[i], cores_of_shard(cores, i), i);
    }
    cores->mesh = core_mesh_create(reactors, objects, count);
    return cores;
}

void cores_destroy(struct cores *cores)
{
    core_mesh_destroy(cores->mesh);
    for (uint32_t i = 0; i < cores->shard_count; i++) {
        shard_deinit(cores->shard[i]);
        free(cores->shard[i]);
    }
    for (uint32_t i = 0; i < cores->count; i++) {
        core_destroy(cores->core[i]);
    }
    free(cores);
}

uint32_t cores_session_count(const struct cores *cores)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < cores->count; i++) {
        count += atomic_load_explicit(&cores->core[i]->session_count, memory_order_relaxed);
    }
    return count;
}

void core_send_to(struct core *from, struct core *to, const struct core_message *message)
{
    from->counters.core_messages += from != to;
    core_send(from->cores->mesh, from->number, to->number, message);
}

void core_hook_woken(struct core *core)
{
    if (!core->hooked) {
        core->hooked = true;
        reactor_hook_add(core->reactor, TURN_WRITE, &core->woken_hook);
    }
}

/* ------------------------------------------------------------- connections */

static void core_take_socket(struct core *core, int socket)
{
    if (core->draining) {
        reactor_close(core->reactor, socket);
        core_session_gone(core);
        return;
    }
    core->counters.connections++;
    session_start(core, socket);
}

static void deliver_socket(const struct core_message *message, void *core)
{
    core_take_socket(core, (int)message->words[0]);
}

void cores_take_socket(struct core *core0, int socket)
{
    struct cores *cores = core0->cores;
    struct core *least = core0;
    for (uint32_t i = 0; i < cores->count; i++) {
        struct core *core = cores->core[i];
        if (atomic_load_explicit(&core->session_count, memory_order_relaxed) <
            atomic_load_explicit(&least->session_count, memory_order_relaxed)) {
            least = core;
        }
    }
    atomic_fetch_add_explicit(&least->session_count, 1, memory_order_relaxed);
    if (least == core0) {
        core_take_socket(core0, socket);
        return;
    }
    struct core_message message = {.deliver = deliver_socket, .words = {(uint64_t)socket}};
    core_send_to(core0, least, &message);
}

/* ------------------------------------------------------------------- drain */

static void deliver_drained(const struct core_message *message, void *object)
{
    (void)message;
    struct core *core = object;
    core->drained(core, core->drained_owner);
}

/* A message to itself, because `drained` must not run inside whatever ended the last session. */
static void core_check_drained(struct core *core)
{
    if (!core->draining || core->drained_told ||
        atomic_load_explicit(&core->session_count, memory_order_relaxed) != 0) {
        return;
    }
    core->drained_told = true;
    struct core_message message = {.deliver = deliver_drained};
    core_send_to(core, core, &message);
}

void core_session_gone(struct core *core)
{
    atomic_fetch_sub_explicit(&core->session_count, 1, memory_order_relaxed);
    core_check_drained(core);
}

void core_drain(struct core *core, void (*drained)(struct core *core, void *owner), void *owner)
{
    ASSERT(!core->draining);
    core->draining = true;
    core->drained = drained;
    core->drained_owner = owner;
    group_expiry_stop(core);
    LIST_FOREACH (link, &core->sessions) {
        session_end(CONTAINER_OF(link, struct session, link));
    }
    core_check_drained(core);
}

void core_close_sessions(struct core *core)
{
    LIST_FOREACH (link, &core->sessions) {
        session_close(CONTAINER_OF(link, struct session, link));
    }
}
