/* SPDX-License-Identifier: Apache-2.0 */
/* shard.c - the frame around a log; what happens on it stands in produce.c and pull.c. */
#include "broker/shard.h"

#include "broker/core.h"
#include "broker/produce.h"
#include "proto/base/contract.h"

void shard_init(struct shard *shard, struct core *core, uint32_t number)
{
    *shard = (struct shard){.number = number, .core = core};
    list_init(&shard->waiting_durable);
    shard->waiting_timer.fired = produce_waiting_fired;
}

void shard_deinit(struct shard *shard)
{
    ASSERT(list_is_empty(&shard->waiting_durable));
    /* It is left running when the last produce was written in time, to start again seldom. */
    timer_stop(shard->core->reactor, &shard->waiting_timer);
}
