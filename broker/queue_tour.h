/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_tour.h - a call that looks at many queues, each at the core of its shard.
 *
 *     home --> shard 0: look, look .. --> shard 1: look .. --> .. --> home: `last`
 *                 |  ^      |  ^
 *           cold  v  |      v  | what was changed is written
 *                 disk      the log
 *
 * A look that needs what the page cache lacks, or that has much to do, is made again: after the disk, or in
 * a coming turn. So a tour never holds a loop up, however many queues it has; and what it tells is of one
 * moment for each queue, not for all of them.
 *
 * Memory:  the struct is its user's, who has it as `own` of the call; a row a queue, of the user's.
 * Threads: as the call.
 */
#ifndef BROKER_QUEUE_TOUR_H
#define BROKER_QUEUE_TOUR_H

#include "broker/call.h"
#include "broker/group.h"
#include "broker/queue_reader.h"
#include "broker/topic.h"

#include <stdbool.h>
#include <stdint.h>

/* Queues of one tour, so that its answer is below FRAME_BYTES_MAX: rows of at most 640 bytes. */
#define TOUR_QUEUES_MAX 4096

struct toured_queue {
    struct topic *topic; /* the tour's reference, in `topics` */
    uint16_t queue;
    uint16_t shard;
};

enum tour_look {
    TOUR_NEXT,  /* the next one */
    TOUR_AGAIN, /* the same in a coming turn */
    TOUR_COLD,  /* the same after the disk: queue_tour_warm() was called */
};

struct queue_tour {
    struct call *call;
    /* At the core of the shard of queues[place]. Sets `changed` where it has appended something. */
    enum tour_look (*look)(struct queue_tour *tour, struct core *at, uint32_t place);
    call_step_fn *last; /* at home */
    bool changed;

    struct topic *topics[GROUP_TOPICS_MAX];
    uint32_t topic_count;
    struct toured_queue *queues; /* by the group's topics, then by number */
    uint32_t count;
    bool of_all_topics; /* none was named */

    /* The tour's own. */
    uint32_t shard;
    uint32_t place;
    struct queue_reader reader; /* to wait for the disk with */
    struct list written;        /* core->toured: goes on when the logs have written */
};

/*
 * Of the queues of a group's topics that are here; with `topic`, not empty, of this alone, and with
 * `queue` not UINT32_MAX of this alone. At home. What they cost is charged to the call's session.
 *
 *   ERROR_TOPIC_NOT_FOUND  the topic is not there, or has no such queue, or the group does not read it
 *   ERROR_WRONG_BROKER     {broker, queue}: the queue is elsewhere
 *   ERROR_TOO_LARGE        the group has more than TOUR_QUEUES_MAX: a topic must be named
 */
NODISCARD enum error queue_tour_init(struct queue_tour *tour, struct call *call,
                                     const struct group *group, struct bytes topic, uint32_t queue,
                                     struct refusal *refusal);

/* Gives back what init took; of a failed one, too. */
void queue_tour_deinit(struct queue_tour *tour);

/* Begins, at `from`, which holds the call. `last` runs once. */
void queue_tour_begin(struct queue_tour *tour, struct core *from);

/* For `look`: where to have told what is cold; NULL: it has waited enough, and waits in the loop now. */
struct cold_range *queue_tour_cold(const struct queue_tour *tour, struct cold_range *cold);

/* For `look`, before it answers TOUR_COLD. */
void queue_tour_warm(struct queue_tour *tour, struct core *at, const struct cold_range *cold);

/* For the core, when its logs have written: tours go on of which the log has what they changed; what waits for a
 * segment stays. */
bool queue_tours_are_written(const struct core *core);
void queue_tours_written(struct core *core);

#endif
