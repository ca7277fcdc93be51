/* SPDX-License-Identifier: Apache-2.0 */

/*
 * log_view.c - epochs and the durable mark, as a view; and how operations reach all views.
 *
 * Operations: epoch, durable. Row: epochs, one entry an epoch.
 * Bound:      28 bytes an epoch, one a start of the broker; the oldest go above EPOCHS_MAX.
 */

#include "proto/base/contract.h"
#include "storage/log_state.h"

#include <stdlib.h>
#include <string.h>

enum { EPOCHS_LEAST = 8, EPOCHS_MAX = 1024 };

static struct epochs *epochs_of(struct view *view)
{
    return CONTAINER_OF(view, struct epochs, view);
}

static void epochs_reset(struct view *view)
{
    struct epochs *epochs = epochs_of(view);
    epochs->count = 0;
    epochs->durable = 0;
}

/* In order, each once: while loading, an epoch behind the begin comes before the rows of older ones. */
static bool add_epoch(struct epochs *epochs, const struct event_epoch *epoch)
{
    uint32_t place = epochs->count;
    while (place > 0 && epochs->list[place - 1].epoch >= epoch->epoch) {
        place--;
    }
    if (place < epochs->count && epochs->list[place].epoch == epoch->epoch) {
        return true;
    }
    if (epochs->count == EPOCHS_MAX) {
        if (place == 0) {
            return true;
        }
        memmove(epochs->list, epochs->list + 1, (EPOCHS_MAX - 1) * sizeof(*epochs->list));
        epochs->count--;
        place--;
    }
    if (epochs->count == epochs->capacity) {
        epochs->capacity = epochs->capacity == 0 ? EPOCHS_LEAST : epochs->capacity * 2;
        epochs->list = realloc(epochs->list, epochs->capacity * sizeof(*epochs->list));
        ASSERT(epochs->list != NULL);
    }
    memmove(epochs->list + place + 1, epochs->list + place,
            (epochs->count - place) * sizeof(*epochs->list));
    epochs->list[place] = *epoch;
    epochs->count++;
    return true;
}

static bool epochs_apply(struct view *view, uint32_t number, struct cursor *fields,
                         uint64_t position, bool loading)
{
    struct epochs *epochs = epochs_of(view);
    struct event_epoch epoch;
    uint64_t durable;
    (void)position;
    (void)loading;
    if (number == EVENT_EPOCH) {
        return event_read_epoch(*fields, &epoch) && add_epoch(epochs, &epoch);
    }
    if (number == EVENT_DURABLE && event_read_durable(*fields, &durable)) {
        epochs->durable = durable > epochs->durable ? durable : epochs->durable;
        return true;
    }
    return false;
}

/* words[0]: the last epoch that was saved, and 1. */
static bool epochs_save(struct view *view, struct view_place *place, struct writer *writer,
                        uint32_t *rows)
{
    const struct epochs *epochs = epochs_of(view);
    for (uint32_t i = 0; i < epochs->count; i++) {
        if (epochs->list[i].epoch < place->words[0]) {
            continue;
        }
        if (writer_left(writer) < EVENT_BYTES_MAX) {
            return false;
        }
        event_put_epoch(writer, ROW_EPOCHS, &epochs->list[i]);
        (*rows)++;
        place->words[0] = (uint64_t)epochs->list[i].epoch + 1;
    }
    return true;
}

static bool epochs_load(struct view *view, uint32_t number, struct cursor *fields)
{
    struct epochs *epochs = epochs_of(view);
    struct event_epoch epoch;
    return number == ROW_EPOCHS && event_read_epoch(*fields, &epoch) && add_epoch(epochs, &epoch);
}

static uint64_t epochs_hash(const struct view *view)
{
    const struct epochs *epochs = CONTAINER_OF((struct view *)(uintptr_t)view, struct epochs, view);
    uint64_t hash = epochs->count;
    for (uint32_t i = 0; i < epochs->count; i++) {
        hash = (hash ^ epochs->list[i].epoch) * UINT64_C(0x9e3779b97f4a7c15);
        hash = (hash ^ epochs->list[i].start) * UINT64_C(0x9e3779b97f4a7c15);
        for (uint32_t j = 0; j < EVENT_ID_BYTES; j++) {
            hash = (hash ^ epochs->list[i].boot_id[j]) * UINT64_C(0x100000001b3);
        }
    }
    return hash;
}

static const struct view_operations epochs_operations = {
    .reset = epochs_reset,
    .apply_operation = epochs_apply,
    .save = epochs_save,
    .load = epochs_load,
    .hash = epochs_hash,
};

void epochs_init(struct epochs *epochs)
{
    *epochs = (struct epochs){.view = {"epochs", &epochs_operations}};
}

void epochs_deinit(struct epochs *epochs)
{
    free(epochs->list);
}

/* ------------------------------------------------------------- all views */

bool log_apply_operation(struct commit_log *log, uint32_t number, struct cursor *fields,
                         uint64_t position, bool loading)
{
    bool is_known = false;
    for (uint32_t i = 0; i < log->view_count; i++) {
        struct view *view = log->views[i];
        struct cursor copy = *fields;
        is_known |= view->operations->apply_operation(view, number, &copy, position, loading);
    }
    return is_known;
}

uint64_t commit_log_hash(const struct commit_log *log)
{
    uint64_t hash = 0;
    for (uint32_t i = 0; i < log->view_count; i++) {
        const struct view *view = log->views[i];
        hash = (hash ^ view->operations->hash(view)) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 31;
    }
    return hash;
}
