/* SPDX-License-Identifier: Apache-2.0 */
/*
 * placement.c - parts of a topic's queues, in order and without a gap.
 */
#include "broker/placement.h"

#include "proto/names.h"

#include <stdlib.h>
#include <string.h>

static enum error refuse(struct refusal *refusal, const char *limit)
{
    refusal_set(refusal, ERROR_BAD_ARGUMENT, "placement: %s", limit);
    refusal_add_key(refusal, BYTES_OF("placement"));
    refusal_add_limit_text(refusal, limit);
    return ERROR_BAD_ARGUMENT;
}

bool placement_append(struct placement *placement, struct bytes broker, uint32_t count)
{
    struct event_placement *last =
        placement->part_count == 0 ? NULL : &placement->parts[placement->part_count - 1];
    if (last != NULL && bytes_equal(last->broker, broker)) {
        last->count += count;
    } else if (placement->part_count == PLACEMENT_PARTS_MAX) {
        return false;
    } else {
        placement->parts[placement->part_count++] = (struct event_placement){
            .broker = broker, .first = placement->queue_count, .count = count};
    }
    placement->queue_count += count;
    return true;
}

enum error placement_read(struct cursor elements, uint32_t count, struct placement *placement_out,
                          struct refusal *refusal)
{
    placement_out->part_count = 0;
    placement_out->queue_count = 0;
    if (count == 0) {
        return refuse(refusal, "at least one [broker, first, count]");
    }
    for (uint32_t i = 0; i < count; i++) {
        struct bytes broker;
        uint64_t first;
        uint64_t queues;
        if (!cursor_take_array_of(&elements, 3) || !cursor_take_text(&elements, &broker) ||
            !cursor_take_uint_max(&elements, QUEUES_PER_TOPIC_MAX, &first) ||
            !cursor_take_uint_max(&elements, QUEUES_PER_TOPIC_MAX, &queues) || queues == 0 ||
            !name_is_broker(broker)) {
            return refuse(refusal, "parts are [broker, first, count], a count is 1 or more");
        }
        if (first != placement_out->queue_count) {
            return refuse(refusal, "queues from 0 on, in order and without a gap");
        }
        if (first + queues > QUEUES_PER_TOPIC_MAX) {
            return refuse(refusal, "at most 1024 queues together");
        }
        if (!placement_append(placement_out, broker, (uint32_t)queues)) {
            return refuse(refusal, "at most 48 parts");
        }
    }
    return OK;
}

const struct event_placement *placement_part_of(const struct event_placement *parts,
                                                uint32_t part_count, uint32_t queue)
{
    for (uint32_t i = 0; i < part_count; i++) {
        if (queue - parts[i].first < parts[i].count) {
            return &parts[i];
        }
    }
    UNREACHABLE("parts have no gap, and the queue is below their number");
}

bool placement_names(const struct placement *placement, struct bytes broker)
{
    for (uint32_t i = 0; i < placement->part_count; i++) {
        if (bytes_equal(placement->parts[i].broker, broker)) {
            return true;
        }
    }
    return false;
}

bool placement_extends(const struct placement *placement, const struct placement *old)
{
    if (old->part_count > placement->part_count || old->queue_count > placement->queue_count) {
        return false;
    }
    for (uint32_t i = 0; i < old->part_count; i++) {
        const struct event_placement *now = &placement->parts[i];
        const struct event_placement *was = &old->parts[i];
        bool is_last = i + 1 == old->part_count;
        if (!bytes_equal(now->broker, was->broker) ||
            (is_last ? now->count < was->count : now->count != was->count)) {
            return false;
        }
    }
    return true;
}

struct placement *placement_copy(const struct placement *placement)
{
    size_t names_bytes = 0;
    for (uint32_t i = 0; i < placement->part_count; i++) {
        names_bytes += placement->parts[i].broker.length;
    }
    struct placement *copy = malloc(sizeof(*copy) + names_bytes);
    ASSERT(copy != NULL);
    *copy = *placement;
    uint8_t *name = (uint8_t *)(copy + 1);
    for (uint32_t i = 0; i < copy->part_count; i++) {
        struct bytes *broker = &copy->parts[i].broker;
        memcpy(name, broker->data, broker->length);
        broker->data = name;
        name += broker->length;
    }
    return copy;
}

void placement_write(const struct event_placement *parts, uint32_t part_count,
                     struct writer *writer)
{
    writer_put_array(writer, part_count);
    for (uint32_t i = 0; i < part_count; i++) {
        writer_put_array(writer, 3);
        writer_put_str(writer, parts[i].broker);
        writer_put_uint(writer, parts[i].first);
        writer_put_uint(writer, parts[i].count);
    }
}
