/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic_placement.c - parts of a topic's queues.
 */
#include "tools/client/topic_placement.h"

#include <stdio.h>
#include <string.h>

static bool append(struct topic_placement *placement, const char *broker, uint32_t count)
{
    if (count == 0) {
        return true;
    }
    struct topic_part *last =
        placement->part_count == 0 ? NULL : &placement->parts[placement->part_count - 1];
    if (last != NULL && strcmp(last->broker, broker) == 0) {
        last->count += count;
    } else if (placement->part_count == PLACEMENT_PARTS_MAX) {
        return false;
    } else {
        struct topic_part *part = &placement->parts[placement->part_count++];
        (void)snprintf(part->broker, sizeof(part->broker), "%s", broker);
        part->count = count;
    }
    placement->queue_count += count;
    return true;
}

bool topic_placement_of_route(const struct ternmq_route *route,
                              struct topic_placement *placement_out)
{
    placement_out->part_count = 0;
    placement_out->queue_count = 0;
    bool fits = true;
    for (uint32_t i = 0; i < route->span_count && fits; i++) {
        fits = append(placement_out, route->spans[i].broker, route->spans[i].queue_count);
    }
    return fits;
}

bool topic_placement_share(struct topic_placement *placement, const char *const *brokers,
                           uint32_t broker_count, uint32_t queues)
{
    bool fits = true;
    for (uint32_t i = 0; i < broker_count && fits; i++) {
        uint32_t share = queues / broker_count + (i < queues % broker_count ? 1 : 0);
        fits = append(placement, brokers[i], share);
    }
    return fits;
}

bool topic_placement_is_first(const struct topic_placement *placement, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(placement->parts[i].broker, placement->parts[index].broker) == 0) {
            return false;
        }
    }
    return true;
}

void topic_placement_write(const struct topic_placement *placement, struct writer *writer)
{
    uint32_t first = 0;
    writer_put_string(writer, "placement");
    writer_put_array(writer, placement->part_count);
    for (uint32_t i = 0; i < placement->part_count; i++) {
        writer_put_array(writer, 3);
        writer_put_string(writer, placement->parts[i].broker);
        writer_put_uint(writer, first);
        writer_put_uint(writer, placement->parts[i].count);
        first += placement->parts[i].count;
    }
}
