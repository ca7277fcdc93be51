/* SPDX-License-Identifier: Apache-2.0 */
/* group_start.c - the first offset of a queue that is new to a group. */
#include "broker/group_start.h"

bool group_find_start(const struct group *group, struct commit_log *log, struct queue *queue,
                      struct cold_range *cold, uint64_t *offset_out)
{
    *offset_out = queue_state(queue).first;
    return group->settings.from != GROUP_FROM_TIME ||
           commit_log_find_time(log, queue, group->settings.from_ms, cold, offset_out);
}
