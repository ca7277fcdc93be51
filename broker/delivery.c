/* SPDX-License-Identifier: Apache-2.0 */
/* delivery.c - which way each run goes. */
#include "broker/delivery.h"

#include "net/connection.h"
#include "storage/commit_log.h"
#include "storage/segment.h"

static void release_segment(void *segment)
{
    segment_unref(segment);
}

static void write_run(struct connection *connection, struct run *run)
{
    const uint8_t *bytes = segment_bytes(run->segment) + run->place;
    struct output_hold hold = {.release = release_segment, .owner = run->segment};
    int file = segment_file(run->segment);
    if (run->bytes >= DELIVERY_SENDFILE_BYTES && file >= 0) {
        connection_write_file(connection, file, run->place, run->bytes, hold);
    } else {
        connection_write_range(connection, bytes, run->bytes, hold);
    }
}

void delivery_write(struct connection *connection, struct run_list *runs)
{
    for (uint32_t i = 0; i < runs->count; i++) {
        write_run(connection, &runs->runs[i]);
    }
    runs->count = 0;
}

void delivery_drop(struct run_list *runs)
{
    for (uint32_t i = 0; i < runs->count; i++) {
        segment_unref(runs->runs[i].segment);
    }
    runs->count = 0;
}
