/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core.h - one reactor thread of the broker and everything that belongs to it alone.
 *
 * A core owns connections (sessions), pools, its copy of the directory of topics, and the shards
 * that live on it: shard s on core s modulo the number of cores. No core touches what another one
 * owns; a call that needs another core travels there (broker/call.h).
 *
 *     core 0 accepts ---> the core with the fewest sessions ---> session ---> calls
 *                                                                             |  ^
 *                                         core_send(), 64 bytes a message     v  |
 *                                                                    the shard's core
 *
 * Life: cores_create() makes all cores and shards on reactors that do not run yet; who starts the
 * broker opens the logs and fills the directories, then runs the reactors. To end, core_drain() on
 * every core; when all have drained the logs are closed, the reactors stopped, and cores_destroy()
 * gives the memory back.
 *
 * Memory:  sessions as long as their connections and calls; idle blocks of the pools, below 8 MiB
 *          a core. Owner: the core.
 * Threads: a core's members are for its own thread, except where they say atomic. `struct cores`
 *          is written before the cores run and only read afterwards.
 */
#ifndef BROKER_CORE_H
#define BROKER_CORE_H

#include "broker/filter_scan.h"
#include "broker/group_expiry.h"
#include "broker/pool.h"
#include "net/core_ring.h"
#include "net/reactor.h"
#include "proto/base/list.h"
#include "proto/base/log.h"
#include "proto/base/map.h"
#include "proto/error.h"
#include "proto/limits.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct core;
struct directory;
struct queue_choices;
struct shard;
struct catalogue_changes;

/* Message lists of big produce calls come in these sizes; smaller ones lie in the call. */
enum { SPAN_CLASSES = 4 };

/* What a core has done so far: for stats. All of them only grow, unless they say `now`. */
struct core_counters {
    uint64_t connections;     /* taken over */
    uint64_t requests;        /* calls that may be answered */
    uint64_t one_way;         /* one-way calls that were run */
    uint64_t one_way_dropped; /* of unknown methods, or refused */
    uint64_t refused;         /* answered with an error */
    uint64_t malformed;       /* connections closed for bytes that are no frame */
    uint64_t produced_calls;
    uint64_t produced_messages;
    uint64_t produced_bytes;     /* of messages as stored, without heads */
    uint64_t rewritten_messages; /* whose str and bin headers were made right */
    uint64_t pulls;
    uint64_t pulled_messages;
    uint64_t pulled_bytes;      /* of records */
    uint64_t filtered_messages; /* looked at for a filter and not delivered */
    uint64_t pulls_held;        /* waited for the socket to take what was unsent */
    uint64_t receives;          /* answered */
    uint64_t received_messages;
    uint64_t received_bytes;   /* of records */
    uint64_t receives_held;    /* as pulls_held */
    uint64_t forwarded;        /* calls sent to another core */
    uint64_t core_messages;    /* sent to another core, those calls included */
    uint64_t parked;           /* now: polls of this core's sessions that wait */
    uint64_t reading_stopped;  /* times a connection's limits stopped its reading */
    uint64_t too_many_waiting; /* polls refused for PARKED_MAX */
    uint64_t deadlines;        /* calls refused with DEADLINE */
    uint64_t not_yet_durable;  /* produces that timed out */
};

struct core {
    uint32_t number;
    struct cores *cores;
    struct reactor *reactor;
    struct directory *directory; /* this core's; set by who starts the broker */
    struct list sessions;        /* struct session.link */
    _Atomic uint32_t session_count;
    struct pool calls;               /* struct call */
    struct pool spans[SPAN_CLASSES]; /* arrays of struct append_message */
    struct pool run_lists;           /* struct run_list */
    struct pool receive_ranges;      /* struct receive_ranges */
    struct queue_choices *choices;   /* which own queue produces without a queue go to now */
    struct core_counters counters;
    struct log_limit log_malformed; /* one line a second per kind that peers can cause */
    struct log_limit log_not_a_frame;
    struct log_limit log_closed;
    struct list woken;           /* struct call.pull.woken: pulls to be served this turn */
    struct list scanning;        /* the same: they go on in the next turn */
    struct filter_scans scans;   /* what filters may still cost this turn */
    struct list written;         /* struct settling.written: go on when the logs have written */
    struct list settling;        /* struct settling.written: they go on in the next turn */
    uint32_t settle_left;        /* of SETTLE_STEPS_A_TURN */
    struct list toured;          /* struct queue_tour.written: likewise */
    struct list leased;          /* struct receive_call.woken: likewise, home */
    struct list receives;        /* the same: are served again next turn */
    struct list woken_groups;    /* struct shard_group.woken: their homes are told this turn */
    struct number_map homes;     /* struct home: of groups whose home this core is */
    uint32_t home_members;       /* of all of these */
    struct group_expiry expiry;  /* of these */
    uint64_t session_serial;     /* of the last session */
    struct turn_hook woken_hook; /* TURN_WRITE, behind the logs', which wake them */
    bool hooked;                 /* woken_hook is in the loop */
    bool draining;
    bool drained_told;
    void (*drained)(struct core *core, void *owner);
    void *drained_owner;
};

/* What all cores share. */
struct cores {
    uint32_t count;
    struct core *core[CORES_MAX];
    uint32_t shard_count;
    struct shard *shard[SHARDS_MAX];
    struct core_mesh *mesh;
    struct catalogue_changes *changes; /* core 0's: topics and groups being changed */

    /* Who we are: set by who starts the broker, before the cores run. */
    char name[BROKER_NAME_BYTES_MAX + 1];
    uint32_t epoch;
    uint64_t started_wall_ms;
};

/*
 * Makes a core on each of the `count` (1 to CORES_MAX) reactors, `shard_count` (1 to SHARDS_MAX)
 * shards on them, without logs, and the rings between them. Ends the process for want of memory.
 */
struct cores *cores_create(struct reactor *const *reactors, uint32_t count, uint32_t shard_count);

/* No reactor runs any more and every core has drained: asserted. */
void cores_destroy(struct cores *cores);

/* The core that shard `shard` lives on. */
static inline struct core *cores_of_shard(const struct cores *cores, uint32_t shard)
{
    return cores->core[shard % cores->count];
}

/* Sessions of all cores, for bounds on them. Any thread. */
uint32_t cores_session_count(const struct cores *cores);

/* Sends a message to another core, or to itself for a later part of the loop. */
void core_send_to(struct core *from, struct core *to, const struct core_message *message);

/*
 * Takes an accepted socket, on the thread of core 0, and hands it to the core with the fewest
 * sessions, which serves it until it closes. While draining the socket is closed at once.
 */
void cores_take_socket(struct core *core0, int socket);

/*
 * Ends a core's sessions in order, on its thread: nothing more is read, polls that wait are
 * answered as if they had timed out, calls under way are answered, then the connections close.
 * `drained` runs once, from the loop, when the last is gone. Calls travel over other cores, so
 * those must still run then.
 */
void core_drain(struct core *core, void (*drained)(struct core *core, void *owner), void *owner);

/* For session.c: a session of this core, or a socket on its way to it, is gone. */
void core_session_gone(struct core *core);

/* Adds `woken_hook`, once, behind those of the logs, which are open by then: at the broker's start. From within a
 * turn's hooks it would run for the first time in the next. */
void core_hook_woken(struct core *core);

/* How many messages a block of core->spans[span_class] has room for. */
uint32_t span_class_messages(uint32_t span_class);

/* Closes the connections of all sessions now, for a drain that takes too long. */
void core_close_sessions(struct core *core);

#endif
