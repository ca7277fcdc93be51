/* SPDX-License-Identifier: Apache-2.0 */
/* groups_retired.c - queues of groups that have ended: what they had open is taken apart over turns. */
#include "broker/core.h"
#include "broker/groups.h"
#include "broker/shard.h"

/* Ranges of one turn, at less than a microsecond each: a million are gone in a second. */
enum { RANGES_A_TURN = 1024 };

static void go_on(struct groups *groups)
{
    struct reactor *reactor = groups->shard->core->reactor;
    if (!list_is_empty(&groups->retired) && !groups->retired_timer.started) {
        timer_start(reactor, &groups->retired_timer, reactor_now_ns(reactor));
    }
}

void groups_retire(struct group_queue *queue)
{
    struct groups *groups = queue->groups;
    if (queue->open.count == 0 || !groups->is_live) {
        group_queue_destroy(queue);
        return;
    }
    group_queue_detach(queue);
    queue->group = NULL;
    queue->is_retired = true;
    list_append(&groups->retired, &queue->all);
    go_on(groups);
}

/* Nothing is left of it. The one in its place may have waited for room among all ranges. */
static void end(struct group_queue *queue)
{
    struct groups *groups = queue->groups;
    const struct group_place place = queue->place;
    group_queue_destroy(queue);
    struct group_queue *heir = groups_find(groups, &place);
    if (heir != NULL) {
        groups_changed(heir);
    }
}

void groups_dismantle(struct timer *timer)
{
    struct groups *groups = CONTAINER_OF(timer, struct groups, retired_timer);
    uint32_t left = RANGES_A_TURN;
    struct list *link;
    while (left > 0 && (link = list_first(&groups->retired)) != NULL) {
        struct group_queue *queue = CONTAINER_OF(link, struct group_queue, all);
        left -= group_queue_dismantle(queue, left);
        if (queue->open.count == 0) {
            end(queue);
        }
    }
    go_on(groups);
}

void groups_drop_retired(struct groups *groups)
{
    LIST_FOREACH (link, &groups->retired) {
        group_queue_destroy(CONTAINER_OF(link, struct group_queue, all));
    }
}
