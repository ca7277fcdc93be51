/* SPDX-License-Identifier: Apache-2.0 */
#ifndef STORAGE_VIEW_H
#define STORAGE_VIEW_H

/*
 * view.h - all that storage knows of the broker.
 *
 * A view is state derived from a log: it can be thrown away and made again by replaying. The log
 * applies every operation and, to views that ask, every message to it: when it is appended, and
 * again in the same order when it is replayed, so that both ways lead to the same state:
 *
 *     replay(L) == load(s) + replay(after s)         for any log L and any snapshot s in it
 *
 * A snapshot is fuzzy: its rows are written over many turns while the state moves on. A row is
 * the absolute value of one whole entity at the moment it is written. When a snapshot is loaded,
 * `loading` is true from its begin to its end record: an operation that comes then for an entity
 * whose row was not read yet is already in that row to come, so a view skips it, unless the
 * operation is itself absolute (gives the entity's whole value), when applying it does no harm.
 *
 * Operations and rows have numbers and fields as in proto/events.def.
 *
 * Threads: the log's reactor; at start the thread that recovers.
 */

#include "proto/cursor.h"
#include "proto/record.h"
#include "proto/writer.h"

#include <stdbool.h>
#include <stdint.h>

struct view;

/* How far a save has come; zero at its begin. The view gives the words their meaning. */
struct view_place {
    uint64_t words[4];
};

struct view_operations {
    /* Back to the state of an empty log. */
    void (*reset)(struct view *view);

    /* A message record (kinds 1 to 3), of which `whole` may be empty. NULL: does not care. Live the
     * messages of a turn come after its operations, as they do in the log. */
    void (*apply_message)(struct view *view, const struct record_view *record, bool loading);

    /* One operation; `fields` stands behind its number. False if the number is not this view's, or
     * its fields do not parse: the log is then of a format that is not understood. `position` is
     * where the log ended when it was applied: for messages to people, not for state, since live it
     * lies a little before that of the record. */
    bool (*apply_operation)(struct view *view, uint32_t number, struct cursor *fields,
                            uint64_t position, bool loading);

    /* Writes rows (arrays `[number, fields..]`, counted in *rows) from `place` on until `writer`
     * is nearly full, moves `place`; true when there are no more. Entities made after the save
     * passed their place may be left out: their operations follow the begin record. */
    bool (*save)(struct view *view, struct view_place *place, struct writer *writer,
                 uint32_t *rows);

    /* One row of a snapshot; false if the number is not this view's, or its fields do not parse. */
    bool (*load)(struct view *view, uint32_t number, struct cursor *fields);

    /* A number that two equal states share, whatever led to them. */
    uint64_t (*hash)(const struct view *view);
};

struct view {
    const char *name;
    const struct view_operations *operations;
};

#endif
