/* SPDX-License-Identifier: Apache-2.0 */
/* group_retention.c - the queues of groups, looked at one by one before a segment goes. */
#include "broker/group_retention.h"

#include "broker/catalogue.h"
#include "broker/core.h"
#include "broker/dead_letter.h"
#include "broker/group.h"
#include "broker/groups.h"
#include "broker/limits.h"
#include "broker/shard.h"
#include "proto/base/contract.h"
#include "proto/base/log.h"
#include "proto/names.h"
#include "storage/index.h"

#include <stdlib.h>

#define NS_PER_MS UINT64_C(1000000)

enum {
    /* Queues and open ranges of one turn, at one or two microseconds each. */
    STEPS_MAX = 1024,
    /* When nothing goes on by itself. */
    REFUSED_RETRY_MS = 1000
};

#define RETENTION_REASON "retention"

struct group_retention {
    struct shard *shard;
    struct timer timer;
    bool is_asked;        /* a segment waits to go */
    bool is_in_turn;      /* the log asks because the timer has had it ask */
    bool has_looked;      /* at every queue once */
    bool is_owed;         /* something was done that may not be durable yet */
    bool is_syncing;      /* `durable` is the log's */
    struct list again;    /* struct group_queue.in_retention: to be looked at */
    struct list waiting;  /* the same: dead letters of it are on their way */
    uint64_t progress_ns; /* when something was done last */
    struct log_operation durable;
    /* Something that is settled, to be recorded once more and waited for. */
    struct group_place settled_place;
    uint64_t settled_offset;
};

/* One look at one queue. */
struct look {
    struct group_retention *retention;
    struct group_queue *queue;
    const struct group *group;
    bool counts;   /* what nobody had counts as skipped: the group reads the topic */
    uint64_t kept; /* the first offset that is still there */
    uint64_t end;  /* of what goes */
    uint32_t *steps;
    /* To be passed: */
    struct offset_range passed; /* count 0: nothing */
    uint64_t undone;
};

/* --------------------------------------------------------------------- when */

static void go_on_after(struct group_retention *retention, uint64_t after_ms)
{
    struct reactor *reactor = retention->shard->core->reactor;
    timer_start(reactor, &retention->timer, reactor_now_ns(reactor) + after_ms * NS_PER_MS);
}

static void timer_fired(struct timer *timer)
{
    struct group_retention *retention = CONTAINER_OF(timer, struct group_retention, timer);
    retention->is_in_turn = true;
    commit_log_retain(retention->shard->log);
    retention->is_in_turn = false;
}

static void note_progress(struct group_retention *retention)
{
    retention->progress_ns = reactor_now_ns(retention->shard->core->reactor);
}

static bool has_waited_too_long(const struct group_retention *retention)
{
    uint64_t now_ns = reactor_now_ns(retention->shard->core->reactor);
    return now_ns - retention->progress_ns >= RETENTION_WAIT_MS * NS_PER_MS;
}

/* ------------------------------------------------------------------ one queue */

static void note_change(const struct look *look)
{
    struct group_retention *retention = look->retention;
    retention->is_owed = true;
    retention->settled_place = look->queue->place;
    retention->settled_offset = look->end - 1;
    note_progress(retention);
}

/* Records what is to be passed. False: refused. */
static bool pass(struct look *look)
{
    if (look->passed.count == 0) {
        return true;
    }
    if (groups_skip(look->queue, &look->passed, look->counts ? look->undone : 0) != OK) {
        return false;
    }
    look->passed.count = 0;
    look->undone = 0;
    note_change(look);
    return true;
}

/* What lies between two that are to be passed is settled, and may be once more. */
static void pass_later(struct look *look, const struct offset_range *piece)
{
    if (look->passed.count == 0) {
        look->passed.first = piece->first;
    }
    look->passed.count = piece->first + piece->count - look->passed.first;
    look->undone += piece->count;
}

static bool let_die(struct look *look, const struct open_range *range,
                    const struct offset_range *piece)
{
    const struct event_retry retry = {
        .place = look->queue->place,
        .range = *piece,
        .attempt = range->attempts,
        .due_ms = DUE_NEVER,
        .reason = BYTES_OF(RETENTION_REASON),
        .key = range->key,
    };
    if (!pass(look) || groups_retry(look->queue, &retry) != OK) {
        return false;
    }
    note_change(look);
    return true;
}

/* Whether what is open was somebody's, or is to be tried again. */
static bool was_given_out(const struct open_range *range)
{
    return range->state == OPEN_LEASED || range->state == OPEN_WAITING || range->attempts > 0;
}

/* The open offsets from `from` on that lie in one range, and are there or are not. */
static struct offset_range piece_of(const struct look *look, const struct open_range *range,
                                    uint64_t from)
{
    uint64_t first = from > range->first ? from : range->first;
    uint64_t end = open_range_end(range) < look->end ? open_range_end(range) : look->end;
    end = first < look->kept && look->kept < end ? look->kept : end;
    return (struct offset_range){first, end - first};
}

/* False: refused. */
static bool look_at_range(struct look *look, const struct open_range *range,
                          const struct offset_range *piece)
{
    bool may_die = piece->first >= look->kept && !name_is_dead_letters(look->group->name);
    if (range->state == OPEN_DYING && may_die) {
        return pass(look);
    }
    if (may_die && was_given_out(range)) {
        return let_die(look, range, piece);
    }
    pass_later(look, piece);
    return true;
}

/* What is open, then what was never given out. False: refused, or the turn's share is used up. */
static bool look_through(struct look *look)
{
    struct group_queue *queue = look->queue;
    struct open_range *range;
    while ((range = open_ranges_find(&queue->open, queue->retention_from)) != NULL &&
           range->first < look->end) {
        if (*look->steps == 0) {
            (void)pass(look);
            return false;
        }
        (*look->steps)--;
        struct offset_range piece = piece_of(look, range, queue->retention_from);
        if (!look_at_range(look, range, &piece)) {
            return false;
        }
        /* What is refused is looked at again from here. */
        queue->retention_from = piece.first + piece.count;
    }
    if (queue->next < look->end) {
        const struct offset_range unread = {queue->next, look->end - queue->next};
        pass_later(look, &unread);
    }
    return pass(look);
}

static bool group_reads(const struct groups *groups, const struct group *group, uint32_t topic_id)
{
    const struct topic *topic = catalogue_find_id(groups->catalogue, topic_id);
    return topic != NULL && group_find_topic(group, topic->name) != NULL;
}

/* Looks at a queue of `again`, which leaves that list if nothing is left to do. False: as above. */
static bool look_at(struct group_retention *retention, struct group_queue *queue,
                    const struct index *index, uint32_t *steps)
{
    struct groups *groups = queue->groups;
    const struct group *group = catalogue_find_group_id(groups->catalogue, queue->place.group);
    struct index_span span;
    (*steps)--;
    if (group == NULL || !index_find(index, queue->place.topic, queue->place.queue, &span)) {
        list_remove(&queue->in_retention);
        return true;
    }
    struct look look = {
        .retention = retention,
        .queue = queue,
        .group = group,
        .counts = group_reads(groups, group, queue->place.topic),
        .kept = span.first,
        .end = span.first + span.count,
        .steps = steps,
    };
    uint64_t from = queue->retention_from;
    bool is_done = look_through(&look);
    if (look.passed.count > 0) {
        queue->retention_from = from; /* refused: what was to be passed was not */
    }
    groups_changed(queue);
    if (is_done) {
        list_remove(&queue->in_retention);
        queue->retention_end = look.end;
        if (group_queue_first_open(queue) < look.end) {
            list_append(&retention->waiting, &queue->in_retention);
        }
    }
    return is_done;
}

/* ----------------------------------------------------------------- all queues */

/* The next queue to look at, or NULL: there is none. */
static struct group_queue *next_queue(struct group_retention *retention)
{
    struct groups *groups = retention->shard->groups;
    struct list *link = list_first(&retention->again);
    if (link == NULL && !retention->has_looked) {
        struct list *all = groups->walk;
        if (all != &groups->queues) {
            groups->walk = all->next;
            struct group_queue *queue = CONTAINER_OF(all, struct group_queue, all);
            queue->retention_from = 0;
            list_remove(&queue->in_retention);
            list_append(&retention->again, &queue->in_retention);
            return queue;
        }
        retention->has_looked = true;
    }
    return link == NULL ? NULL : CONTAINER_OF(link, struct group_queue, in_retention);
}

/* Whether the queues whose dead letters were waited for have none left. */
static bool is_all_dead(struct group_retention *retention)
{
    LIST_FOREACH (link, &retention->waiting) {
        const struct group_queue *queue = CONTAINER_OF(link, struct group_queue, in_retention);
        if (group_queue_first_open(queue) < queue->retention_end) {
            return false;
        }
        list_remove(link);
    }
    return true;
}

/* ------------------------------------------------------------------------- end */

static void became_durable(struct log_operation *operation)
{
    struct group_retention *retention = CONTAINER_OF(operation, struct group_retention, durable);
    retention->is_syncing = false;
    if (retention->is_asked) {
        go_on_after(retention, 0);
    }
}

/* Waits until all that was done is durable: with an operation behind it that says nothing new. */
static void begin_sync(struct group_retention *retention)
{
    uint8_t bytes[EVENT_PROGRESS_BYTES];
    struct writer writer = writer_over(bytes, sizeof(bytes));
    const struct event_progress progress = {.place = retention->settled_place,
                                            .range = {retention->settled_offset, 1}};
    event_put_progress(&writer, &progress, NULL, 0);
    ASSERT(!writer.overflowed);
    retention->durable = (struct log_operation){.done = became_durable};
    if (commit_log_operate(retention->shard->log, writer_bytes(&writer), &retention->durable) ==
        OK) {
        retention->is_owed = false;
        retention->is_syncing = true;
    }
}

static void forget_queues(struct list *queues)
{
    while (list_take_first(queues) != NULL) {
    }
}

/* The segment goes, or is asked about anew. */
static void end(struct group_retention *retention)
{
    retention->is_asked = false;
    retention->is_owed = false;
    retention->shard->groups->walk = NULL;
    forget_queues(&retention->again);
    forget_queues(&retention->waiting);
    timer_stop(retention->shard->core->reactor, &retention->timer);
}

static void begin(struct group_retention *retention)
{
    retention->is_asked = true;
    retention->has_looked = false;
    retention->shard->groups->walk = retention->shard->groups->queues.next;
    note_progress(retention);
    go_on_after(retention, 0);
}

static bool give_up(struct group_retention *retention)
{
    log_error(
        "shard %u: the oldest segment goes, though for %d s no dead letter could be written of "
        "what groups have open in it: that is counted as skipped. Is the disk full, or can "
        "a topic %%DLQ%%GROUP not be made?",
        retention->shard->number, RETENTION_WAIT_MS / 1000);
    end(retention);
    dead_letters_look_again(retention->shard->groups);
    return true;
}

static bool go_on(struct group_retention *retention, const struct index *index)
{
    uint32_t steps = STEPS_MAX;
    struct group_queue *queue = NULL;
    bool is_done = true;
    while (is_done && steps > 0 && (queue = next_queue(retention)) != NULL) {
        is_done = look_at(retention, queue, index, &steps);
    }
    dead_letters_go_on(retention->shard->groups);
    if (steps == 0) {
        go_on_after(retention, 0);
        return false;
    }
    if (is_done && is_all_dead(retention)) {
        if (!retention->is_owed && !retention->is_syncing) {
            end(retention);
            return true;
        }
        if (retention->is_owed && !retention->is_syncing) {
            begin_sync(retention);
        }
    }
    if (!retention->is_syncing && has_waited_too_long(retention)) {
        return give_up(retention);
    }
    go_on_after(retention, REFUSED_RETRY_MS);
    return false;
}

bool group_retention_may_remove(void *owner, const struct index *index)
{
    struct group_retention *retention = owner;
    const struct groups *groups = retention->shard->groups;
    if (!groups->is_live) {
        return false; /* before the start or after the end of its life */
    }
    if (list_is_empty(&groups->queues)) {
        end(retention);
        return true;
    }
    if (!retention->is_asked) {
        begin(retention);
    }
    /* The log may ask in the midst of writing: the answer is found in a turn of its own. */
    if (!retention->is_in_turn) {
        return false;
    }
    return go_on(retention, index);
}

/* ------------------------------------------------------------------------ notes */

void group_retention_note_seek(struct group_queue *queue)
{
    struct group_retention *retention = queue->groups->shard->retention;
    if (retention != NULL && retention->is_asked) {
        queue->retention_from = 0;
        list_remove(&queue->in_retention);
        list_append(&retention->again, &queue->in_retention);
    }
}

void group_retention_note_dead(struct group_queue *queue, uint64_t offset)
{
    struct group_retention *retention = queue->groups->shard->retention;
    bool is_waited_for = retention != NULL && !list_is_empty(&retention->waiting) &&
                         !list_is_empty(&queue->in_retention) && offset < queue->retention_end;
    if (!is_waited_for) {
        return;
    }
    note_progress(retention);
    const struct group_queue *first =
        CONTAINER_OF(retention->waiting.next, struct group_queue, in_retention);
    if (group_queue_first_open(first) >= first->retention_end) {
        go_on_after(retention, 0);
    }
}

/* -------------------------------------------------------------------------- life */

struct group_retention *group_retention_create(struct shard *shard)
{
    struct group_retention *retention = calloc(1, sizeof(*retention));
    ASSERT(retention != NULL);
    retention->shard = shard;
    retention->timer.fired = timer_fired;
    list_init(&retention->again);
    list_init(&retention->waiting);
    return retention;
}

void group_retention_stop(struct group_retention *retention)
{
    end(retention);
}

void group_retention_destroy(struct group_retention *retention)
{
    if (retention != NULL) {
        end(retention);
        free(retention);
    }
}
