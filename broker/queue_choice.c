/* SPDX-License-Identifier: Apache-2.0 */
/* queue_choice.c - a small table of where a core produces to, by topic. */
#include "broker/queue_choice.h"

#include "broker/core.h"
#include "broker/topic.h"
#include "proto/base/contract.h"

#include <stdbool.h>
#include <stdlib.h>

struct choice {
    uint32_t topic_id; /* 0: the slot is free */
    uint16_t queue;
    uint64_t version; /* of the topic: another one may have other queues */
    uint64_t until_ns;
    size_t bytes_left;
};

struct queue_choices {
    struct choice slots[CHOICE_SLOTS];
};

struct queue_choices *queue_choices_create(void)
{
    struct queue_choices *choices = calloc(1, sizeof(*choices));
    ASSERT(choices != NULL);
    return choices;
}

void queue_choices_destroy(struct queue_choices *choices)
{
    free(choices);
}

/* The first queue from `start` on, going round, that this core owns; else the first that is here. */
static uint16_t own_queue_from(const struct core *core, const struct topic *topic, uint32_t start)
{
    uint32_t here = topic->queue_count;
    for (uint32_t step = 0; step < topic->queue_count; step++) {
        uint32_t queue = (start + step) % topic->queue_count;
        if (!topic_has(topic, queue)) {
            continue;
        }
        if (cores_of_shard(core->cores, topic_shard(topic, queue)) == core) {
            return (uint16_t)queue;
        }
        here = here == topic->queue_count ? queue : here;
    }
    ASSERT(here < topic->queue_count); /* nobody has a topic without a queue of it */
    return (uint16_t)here;
}

uint16_t queue_choices_take(struct core *core, const struct topic *topic, size_t bytes)
{
    struct choice *choice = &core->choices->slots[topic->id % CHOICE_SLOTS];
    uint64_t now_ns = reactor_now_ns(core->reactor);
    bool known = choice->topic_id == topic->id && choice->version == topic->version;
    if (!known || now_ns >= choice->until_ns || choice->bytes_left == 0) {
        uint64_t start = known ? choice->queue + 1U : reactor_random(core->reactor);
        choice->queue = own_queue_from(core, topic, (uint32_t)(start % topic->queue_count));
        choice->topic_id = topic->id;
        choice->version = topic->version;
        choice->until_ns = now_ns + CHOICE_MS * UINT64_C(1000000);
        choice->bytes_left = CHOICE_BYTES;
    }
    choice->bytes_left -= bytes < choice->bytes_left ? bytes : choice->bytes_left;
    return choice->queue;
}
